/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* One ELF file: its notes, and the libraries that it needs. */
#ifndef KHO_FILES_ELF_H
#define KHO_FILES_ELF_H

#include <stddef.h>

#include "compat/manifest.h"

#pragma GCC visibility push(hidden)

/**
 * struct elf_deps - the libraries that an ELF file needs
 * @n: how many
 * @needed: their names, DT_NEEDED
 * @rpath: DT_RPATH or NULL
 * @runpath: DT_RUNPATH or NULL
 */
struct elf_deps {
	size_t n;
	char **needed;
	char *rpath;
	char *runpath;
};

/*
 * Read the file behind @fd, which is source @source of the manifest: what it
 * says of components goes there, the libraries that it needs to @deps, to be
 * freed with elf_deps_free() in any case. -ENOEXEC: not an ELF program or
 * library of this machine's class and byte order, or damaged, and nothing was
 * added; -EBADMSG: malformed or contradicting; -ENOMEM; -EIO.
 */
int elf_read(int fd, struct collection *collection, size_t source,
	     struct elf_deps *deps);
void elf_deps_free(struct elf_deps *deps);

#pragma GCC visibility pop

#endif
