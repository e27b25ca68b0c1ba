/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the files of lib/compat share among themselves. */
#ifndef KHO_COMPAT_PRIVATE_H
#define KHO_COMPAT_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json_object.h>

#include <kho/check.h>
#include <kho/compat.h>
#include <kho/manifest.h>

#pragma GCC visibility push(hidden)

/* composite.c */

/* Put the tokens behind the base into canonical order. */
void composite_sort(struct kho_composite *composite);

/* component.c */

/* Is @desc well formed, wherever it comes from: 0 or -EINVAL. */
int desc_check(const struct kho_component_desc *desc, struct kho_error *err);

/* The newest registered component; the others follow in ->next. */
const struct kho_component *component_first(void);

/* manifest.c */

/*
 * Add what a note says. @source: index into the manifest's sources; @offset:
 * of the note in that file, for messages. 0, also when the same is there
 * already; -EBADMSG when it contradicts or there are too many; -ENOMEM.
 */
int manifest_add(struct kho_manifest *manifest,
		 const struct kho_component_desc *desc, size_t source,
		 uint64_t offset, struct kho_error *err);

/* elf.c: one ELF file */

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
 * Read the file behind @fd, which is source @source of @manifest: its notes go
 * there, the libraries that it needs to @deps, to be freed with
 * elf_deps_free() in any case. -ENOEXEC: not an ELF program or library of this
 * machine's class and byte order, or damaged, and nothing was added; -EBADMSG:
 * a malformed or contradicting note; -ENOMEM; -EIO.
 */
int elf_read(int fd, struct kho_manifest *manifest, size_t source,
	     struct elf_deps *deps, struct kho_error *err);
void elf_deps_free(struct elf_deps *deps);

/* libpath.c: where the loader looks for libraries */

/**
 * struct string_list - paths or names, in the order to try them
 * @n: how many
 * @strings: them
 */
struct string_list {
	size_t n;
	char **strings;
};

/* Add a string that was allocated, and own it: 0; -ENOMEM, also for NULL. */
int string_list_add(struct string_list *list, char *string);
void string_list_free(struct string_list *list);
/*
 * A path with $ORIGIN replaced. NULL with errno ENOMEM, or EINVAL when there
 * is another variable in it, whose value only the loader knows.
 */
char *libpath_expand(const char *path, size_t len, const char *origin);
/* Add the directories of a DT_RPATH or DT_RUNPATH: 0; -ENOMEM. */
int libpath_add_search(struct string_list *list, const char *search,
		       const char *origin);
/* Add the directories that an ld.so.conf names: 0; -ENOMEM. */
int libpath_add_conf(struct string_list *list, const char *conf);
/* Add the system's directories: 0; -ENOMEM. */
int libpath_add_system(struct string_list *list);

/* report.c */

/* "v1-v3", "v2", or "-" for no version. */
struct range_text {
	char text[28];
};
struct range_text range_text(const struct kho_range *range);

/* json.c: an object that lacks a part for lack of memory is NULL */

void json_set(struct json_object **object, const char *key,
	      struct json_object *value);
void json_set_null(struct json_object **object, const char *key);
/* {"min": n, "max": m}, or null for no version. */
void json_set_range(struct json_object **object, const char *key,
		    const struct kho_range *range);
void json_push(struct json_object **array, struct json_object *value);
/* The object as a string to free(), and put it; NULL when out of memory. */
char *json_finish(struct json_object *object);

#pragma GCC visibility pop

#endif
