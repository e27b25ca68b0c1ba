/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Manifests
 *
 * A manifest says what a program can write and read: for each component two
 * version ranges. It is read from the program's file (and the shared
 * libraries that it needs) without running it, from a JSON file, or taken from
 * this process. The bytes of a file are hostile: a malformed note is an error
 * that names the file and the offset, never a crash.
 *
 * Where a manifest has one of Linux's monolithic versions (a component that is
 * in the table of bundles and declares no dependencies), the versions that it
 * stands for are added: ``kho-v4`` is also radix-v1, vmalloc-v1 and block-v1.
 */
#ifndef KHO_MANIFEST_H
#define KHO_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/abi/compat.h>
#include <kho/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kho_manifest_entry - one component
 * @desc: name, ranges, flags and dependencies
 * @source: index into the manifest's @sources: where it was found. What a
 *          bundle stands for has the source of the bundle
 * @bundle: the monolithic version that it was added for, such as "kho-v4";
 *          NULL: it was found itself
 */
struct kho_manifest_entry {
	struct kho_component_desc desc;
	size_t source;
	const char *bundle;
};

/**
 * enum kho_builtin - what becomes of a built-in command line
 * @KHO_BUILTIN_BEFORE: it comes before the one that the kernel is given
 * @KHO_BUILTIN_INSTEAD: the one that it is given is ignored
 * @KHO_BUILTIN_OTHERWISE: it counts when none is given
 */
enum kho_builtin {
	KHO_BUILTIN_BEFORE,
	KHO_BUILTIN_INSTEAD,
	KHO_BUILTIN_OTHERWISE,
};

/**
 * struct kho_image - what a kernel's file says besides its manifest
 * @format: how it is packed, from the outside in: "UKI, bzImage, zstd, vmlinux"
 * @release: as `uname -r` says it
 * @missing: empty, or why it has no component, a clause without a subject:
 *           "was built without CONFIG_KEXEC_HANDOVER". It can neither hand over
 *           nor take over anything
 * @cmdline: the command line that a UKI brings along, cut if it is longer;
 *           empty: none
 * @config: a configuration is built into it (CONFIG_IKCONFIG), and none of its
 *          command line is from a bootconfig: the next three are known
 * @kho_on: KHO is on if the command line does not say
 *          (CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT)
 * @builtin: the command line that is built into it (CONFIG_CMDLINE); empty: none
 * @builtin_use: when that counts
 * @cmdline_size: bytes that its command line has at most, without a NUL; 0: not
 *                known
 * @memory: bytes in one piece that it needs to start; 0: not known
 *
 * All texts are printable, in one line.
 */
struct kho_image {
	char format[96];
	char release[66];
	char missing[160];
	char cmdline[4096];
	bool config;
	bool kho_on;
	char builtin[2048];
	enum kho_builtin builtin_use;
	uint32_t cmdline_size;
	uint32_t memory;
};

/**
 * struct kho_manifest - what a program can write and read
 * @target: the program's path, or "self"
 * @n: entries
 * @entries: sorted by name, unique
 * @n_sources: files that were looked into
 * @sources: their paths; the program first
 * @image: what else is known of a kernel; NULL: it is none
 */
struct kho_manifest {
	char *target;
	size_t n;
	struct kho_manifest_entry *entries;
	size_t n_sources;
	char **sources;
	struct kho_image *image;
};

/**
 * kho_manifest_read() - read a program's manifest from its file
 * @fd: open for reading; not closed; its offset is not used
 * @path: the file's path, for $ORIGIN and messages
 * @manifest: result; free with kho_manifest_free()
 * @err: why not; may be NULL
 *
 * A file that begins with ``{`` is read as JSON, see kho_manifest_parse().
 * Otherwise looks into the program and, following DT_NEEDED with DT_RPATH,
 * DT_RUNPATH, $ORIGIN and the system's library paths, into the libraries it
 * needs, for notes and for ``.liveupdate_versions``. A kernel image is a tool's
 * business, see <kho/image.h>. Thread-safe.
 *
 * Return: 0; -ENOEXEC when the file is neither JSON nor an ELF file of this
 * machine's class and byte order; -ELIBACC when a library that it needs is not
 * found; -ENODATA when neither it nor its libraries have a manifest; -EBADMSG for a malformed or contradicting one; -ENOMEM;
 * -EIO.
 */
int kho_manifest_read(int fd, const char *path, struct kho_manifest **manifest,
		      struct kho_error *err);

/**
 * kho_manifest_open() - open a file and read its manifest
 * @path: the program
 * @manifest: result; free with kho_manifest_free()
 * @err: why not; may be NULL
 *
 * Return: as kho_manifest_read(), or the errno of open(); -EISDIR.
 */
int kho_manifest_open(const char *path, struct kho_manifest **manifest,
		      struct kho_error *err);

/**
 * kho_manifest_self() - the manifest of this process
 * @manifest: result; free with kho_manifest_free()
 *
 * What is registered, no file is read. Thread-safe.
 *
 * Return: 0; -ENOMEM.
 */
int kho_manifest_self(struct kho_manifest **manifest);

/**
 * kho_manifest_find() - look a component up
 * @manifest: in it
 * @name: NUL-terminated
 *
 * Return: the entry, NULL when there is none.
 */
const struct kho_manifest_entry *
kho_manifest_find(const struct kho_manifest *manifest, const char *name);

/**
 * kho_manifest_json() - write a manifest as JSON
 * @manifest: what to write
 *
 * Schema: docs/schemas.md, "kho-manifest", version 1. kho_manifest_parse()
 * reads it back.
 *
 * Return: a string to free(); NULL when out of memory.
 */
char *kho_manifest_json(const struct kho_manifest *manifest);

/**
 * kho_manifest_parse() - read a manifest that was written as JSON
 * @text: JSON; need not be terminated
 * @len: its bytes
 * @where: what to call it in messages, such as the file's path
 * @manifest: result; free with kho_manifest_free()
 * @err: what is wrong and where; may be NULL
 *
 * Every byte is taken as hostile. The manifest's target is @where. Thread-safe.
 *
 * Return: 0; -EBADMSG; -ENODATA when it has no component and does not say why;
 * -ENOMEM.
 */
int kho_manifest_parse(const char *text, size_t len, const char *where,
		       struct kho_manifest **manifest, struct kho_error *err);

/** kho_manifest_free() - free a manifest; NULL is allowed. */
void kho_manifest_free(struct kho_manifest *manifest);

#ifdef __cplusplus
}
#endif

#endif
