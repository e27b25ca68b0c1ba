// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Where the loader looks for a library that a program needs.
 *
 * As ld.so(8), with two exceptions. LD_LIBRARY_PATH is left out: whoever asks
 * is not the one who starts the program, and the answer shall not depend on
 * the shell in which it was asked. And /etc/ld.so.conf is read itself instead
 * of the cache that ldconfig makes of it: its format is one of people, and
 * does not change. $LIB and $PLATFORM have values that only the loader knows.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/libpath.h"

#define MAX_DIRS 1024 /* of the system */
#define MAX_SEARCH 64 /* directories of one DT_RPATH or DT_RUNPATH */
#define MAX_INCLUDE 8 /* files including files */

static const char *const built_in[] = {
#if defined(__x86_64__)
	"/lib/x86_64-linux-gnu",
	"/usr/lib/x86_64-linux-gnu",
#elif defined(__aarch64__)
	"/lib/aarch64-linux-gnu",
	"/usr/lib/aarch64-linux-gnu",
#elif defined(__riscv)
	"/lib/riscv64-linux-gnu",
	"/usr/lib/riscv64-linux-gnu",
#endif
	"/lib64",
	"/usr/lib64",
	"/lib",
	"/usr/lib",
};

int string_list_add(struct string_list *list, char *string)
{
	char **strings = NULL;

	if (string)
		strings = realloc(list->strings,
				  (list->n + 1) * sizeof(*strings));
	if (!strings) {
		free(string);
		return -ENOMEM;
	}
	list->strings = strings;
	strings[list->n++] = string;
	return 0;
}

void string_list_free(struct string_list *list)
{
	size_t i;

	for (i = 0; i < list->n; i++)
		free(list->strings[i]);
	free(list->strings);
}

char *libpath_expand(const char *path, size_t len, const char *origin)
{
	static const char *const names[] = { "$ORIGIN", "${ORIGIN}" };
	char *out, *to;
	size_t i, n, size = len + 1;

	for (i = 0; i < len; i++)
		if (path[i] == '$')
			size += strlen(origin);
	out = malloc(size);
	if (!out)
		return NULL;
	for (to = out; len; path += n, len -= n) {
		if (*path != '$') {
			*to++ = *path;
			n = 1;
			continue;
		}
		for (i = 0; i < 2; i++) {
			n = strlen(names[i]);
			if (len >= n && !memcmp(path, names[i], n))
				break;
		}
		if (i == 2) {
			free(out);
			errno = EINVAL;
			return NULL;
		}
		to = stpcpy(to, origin);
	}
	*to = '\0';
	return out;
}

int libpath_add_search(struct string_list *list, const char *search,
		       const char *origin)
{
	size_t i, len;
	char *path;
	int ret;

	for (i = 0; i < MAX_SEARCH; i++) {
		len = strcspn(search, ":");
		/* An empty one is the current directory, as for the loader. */
		path = len ? libpath_expand(search, len, origin) : strdup(".");
		if (path || errno == ENOMEM) {
			ret = string_list_add(list, path);
			if (ret)
				return ret;
		}
		if (!search[len])
			break;
		search += len + 1;
	}
	return 0;
}

static int add_conf(struct string_list *list, const char *conf, int depth);

static int add_include(struct string_list *list, const char *conf,
		       const char *pattern, int depth)
{
	const char *slash = strrchr(conf, '/');
	char *full = NULL;
	glob_t found;
	size_t i;
	int ret = 0;

	if (depth == MAX_INCLUDE || list->n >= MAX_DIRS)
		return 0;
	/* Relative to the file that includes. */
	if (*pattern != '/' && slash &&
	    asprintf(&full, "%.*s/%s", (int)(slash - conf), conf, pattern) < 0)
		return -ENOMEM;
	if (!glob(full ? full : pattern, 0, NULL, &found)) {
		for (i = 0; !ret && i < found.gl_pathc; i++)
			ret = add_conf(list, found.gl_pathv[i], depth + 1);
		globfree(&found);
	}
	free(full);
	return ret;
}

static int add_conf(struct string_list *list, const char *conf, int depth)
{
	FILE *file = fopen(conf, "re");
	char *line = NULL, *word, *rest;
	size_t size = 0;
	int ret = 0;

	if (!file)
		return 0;
	while (!ret && list->n < MAX_DIRS && getline(&line, &size, file) >= 0) {
		line[strcspn(line, "#\n")] = '\0';
		word = strtok_r(line, " \t", &rest);
		if (!word)
			continue;
		if (!strcmp(word, "include")) {
			while (!ret && (word = strtok_r(NULL, " \t", &rest)))
				ret = add_include(list, conf, word, depth);
		} else if (*word == '/') {
			ret = string_list_add(list, strdup(word));
		}
	}
	free(line);
	fclose(file);
	return ret;
}

int libpath_add_conf(struct string_list *list, const char *conf)
{
	return add_conf(list, conf, 0);
}

int libpath_add_system(struct string_list *list)
{
	int ret = libpath_add_conf(list, "/etc/ld.so.conf");
	size_t i;

	for (i = 0; !ret && i < sizeof(built_in) / sizeof(built_in[0]); i++)
		ret = string_list_add(list, strdup(built_in[i]));
	return ret;
}
