/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the words PROGRAM and TARGET on the command line stand for. */
#ifndef TOOLS_KHO_TARGET_H
#define TOOLS_KHO_TARGET_H

#include <stdbool.h>

#include <kho/error.h>
#include <kho/manifest.h>

/*
 * Finds PROGRAM: a path when it has a '/', otherwise searched for in PATH. It
 * must be a file that can be executed.
 * @path: absolute; to free()
 */
int program_find(const char *name, char **path, struct kho_error *err);

/*
 * Does a word mean a service? It does when it has no '/' and a service of that
 * name is in custody; a file of the same name is then written ./NAME.
 */
bool is_service(const char *word);

/* Where a file of the running kernel is: below KHO_ROOT, if not in /; to free(). */
char *kernel_path(const char *path);

/*
 * Reads the manifest of a TARGET: a service's program, "running", which is the
 * kernel, a file, or a program in PATH.
 */
int target_manifest(const char *target, struct kho_manifest **manifest,
		    struct kho_error *err);

#endif
