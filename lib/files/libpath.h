/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Where the loader looks for libraries. */
#ifndef KHO_FILES_LIBPATH_H
#define KHO_FILES_LIBPATH_H

#include <stddef.h>

#pragma GCC visibility push(hidden)

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

#pragma GCC visibility pop

#endif
