// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The manifest of a file, which is a program with the libraries that it needs or
 * a JSON document.
 *
 * The libraries are gone through breadth first, as the loader does: each is
 * looked for once, in the name's first place that has a library of this
 * machine's class. One that is not found may have components: without it there
 * is no manifest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "files/elf.h"
#include "files/json.h"
#include "files/libpath.h"
#include "files/manifest.h"

/* Names of libraries, found or not; far more than any real program has. */
#define MAX_NAMES 4096

static int no_memory(struct kho_error *err)
{
	return kho_fail(err, -ENOMEM, "out of memory");
}

struct file {
	struct elf_deps deps;
	size_t parent; /* who needs it; the program: itself */
	dev_t dev;
	ino_t ino;
};

/* What a look at a program with its libraries needs to remember. */
struct walk {
	struct collection collection;
	struct kho_manifest *manifest; /* the collection's */
	struct file *files; /* one for each of the manifest's sources */
	struct string_list names; /* that were looked for */
	struct string_list missing;
	struct string_list system; /* directories */
	struct kho_error *err;
};

/* @path is owned from now on, whatever comes out. */
static int add_file(struct walk *w, int fd, char *path, size_t parent)
{
	struct kho_manifest *manifest = w->manifest;
	size_t n = manifest->n_sources;
	struct file *files;
	struct stat st;
	int ret;

	if (n == MANIFEST_MAX_SOURCES) {
		free(path);
		return kho_fail(w->err, -EBADMSG,
				"%s: needs more than %d libraries",
				manifest->target, MANIFEST_MAX_SOURCES);
	}
	files = realloc(w->files, (n + 1) * sizeof(*files));
	if (files)
		w->files = files;
	ret = files ? manifest_add_source(manifest, path) : -ENOMEM;
	free(path);
	if (ret)
		return no_memory(w->err);
	memset(&files[n], 0, sizeof(files[n]));
	files[n].parent = parent;
	if (!fstat(fd, &st)) {
		files[n].dev = st.st_dev;
		files[n].ino = st.st_ino;
	}
	ret = elf_read(fd, &w->collection, n, &files[n].deps);
	if (ret) {
		elf_deps_free(&files[n].deps);
		free(manifest->sources[--manifest->n_sources]);
	}
	return ret;
}

/*
 * Only a regular file is opened: opening a device may do something, opening a
 * FIFO may wait.
 */
static int open_regular(const char *path, struct stat *st)
{
	int fd;

	if (stat(path, st) < 0)
		return -errno;
	if (S_ISDIR(st->st_mode))
		return -EISDIR;
	if (!S_ISREG(st->st_mode))
		return -ENOEXEC;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* 0: it is in the walk; -ENOENT: not a library that the loader would take. */
static int try_library(struct walk *w, char *path, size_t parent)
{
	struct stat st;
	int fd, ret;
	size_t i;

	if (!path)
		return no_memory(w->err);
	fd = open_regular(path, &st);
	if (fd < 0) {
		free(path);
		return -ENOENT;
	}
	for (i = 0; i < w->manifest->n_sources; i++)
		if (w->files[i].dev == st.st_dev &&
		    w->files[i].ino == st.st_ino)
			break;
	if (i < w->manifest->n_sources) {
		free(path);
		ret = 0;
	} else {
		ret = add_file(w, fd, path, parent);
	}
	close(fd);
	return ret == -ENOEXEC || ret == -EIO ? -ENOENT : ret;
}

static int try_dirs(struct walk *w, const struct string_list *dirs,
		    const char *name, size_t parent)
{
	int ret = -ENOENT;
	size_t i;

	for (i = 0; ret == -ENOENT && i < dirs->n; i++) {
		char *path;

		if (asprintf(&path, "%s/%s", dirs->strings[i], name) < 0)
			return no_memory(w->err);
		path_tidy(path);
		ret = try_library(w, path, parent);
	}
	return ret;
}

/* The directory that $ORIGIN stands for in a source, to free(). */
static char *origin_of(const struct walk *w, size_t source)
{
	const char *path = w->manifest->sources[source];
	char *real = realpath(path, NULL);
	char *origin = real ? real : strdup(path);
	char *slash = origin ? strrchr(origin, '/') : NULL;

	if (slash)
		slash[slash == origin] = '\0';
	return origin;
}

static int add_search(struct walk *w, struct string_list *dirs, size_t source,
		      const char *search)
{
	char *origin = origin_of(w, source);
	int ret = -ENOMEM;

	if (origin)
		ret = libpath_add_search(dirs, search, origin);
	free(origin);
	return ret ? no_memory(w->err) : 0;
}

/* The directories that the program and its libraries name themselves. */
static int own_dirs(struct walk *w, size_t source, struct string_list *dirs)
{
	const struct elf_deps *deps = &w->files[source].deps;
	size_t i = source, up;

	if (deps->runpath)
		return add_search(w, dirs, source, deps->runpath);
	/* DT_RPATH is inherited, DT_RUNPATH is not and overrides it. */
	do {
		deps = &w->files[i].deps;
		if (deps->rpath && !deps->runpath &&
		    add_search(w, dirs, i, deps->rpath))
			return -ENOMEM;
		up = i;
		i = w->files[i].parent;
	} while (i != up);
	return 0;
}

static int find_library(struct walk *w, size_t source, const char *name)
{
	struct string_list dirs = { 0 };
	char *origin, *path;
	int ret;

	if (strchr(name, '/')) {
		origin = origin_of(w, source);
		if (!origin)
			return no_memory(w->err);
		path = libpath_expand(name, strlen(name), origin);
		free(origin);
		return !path && errno == EINVAL ? -ENOENT :
						  try_library(w, path, source);
	}
	ret = own_dirs(w, source, &dirs);
	if (!ret)
		ret = try_dirs(w, &dirs, name, source);
	string_list_free(&dirs);
	if (ret != -ENOENT)
		return ret;
	if (!w->system.n && libpath_add_system(&w->system))
		return no_memory(w->err);
	return try_dirs(w, &w->system, name, source);
}

static int need(struct walk *w, size_t source, const char *name)
{
	size_t i;
	int ret;

	for (i = 0; i < w->names.n; i++)
		if (!strcmp(w->names.strings[i], name))
			return 0;
	if (w->names.n == MAX_NAMES)
		return kho_fail(w->err, -EBADMSG,
				"%s: needs more than %d libraries",
				w->manifest->target, MAX_NAMES);
	if (string_list_add(&w->names, strdup(name)))
		return no_memory(w->err);
	ret = find_library(w, source, name);
	if (ret != -ENOENT)
		return ret;
	return string_list_add(&w->missing, strdup(name)) ? no_memory(w->err) :
							    0;
}

static int no_manifest(const struct walk *w)
{
	return kho_fail(w->err, -ENODATA,
			"%s: no manifest: neither it nor a library that it "
			"needs defines a component (KHO_COMPONENT)",
			w->manifest->target);
}

/* What is in there nobody knows. */
static int library_missing(const struct walk *w)
{
	const struct string_list *missing = &w->missing;
	char names[256];
	size_t i, len = 0;

	for (i = 0; i < missing->n && len < sizeof(names); i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len,
					"%s%s", i ? ", " : "",
					missing->strings[i]);
	text_cut(names, sizeof(names), len);
	text_clean(names);
	return kho_fail(w->err, -ELIBACC,
			"%s: cannot tell without what it needs, which is not "
			"found: %s: install it, or link with a RUNPATH that "
			"leads there; LD_LIBRARY_PATH does not count",
			w->manifest->target, names);
}

static int walk(struct walk *w, int fd, char *path)
{
	size_t i, j;
	int ret;

	ret = path ? add_file(w, fd, path, 0) : no_memory(w->err);
	for (i = 0; !ret && i < w->manifest->n_sources; i++)
		for (j = 0; !ret && j < w->files[i].deps.n; j++)
			ret = need(w, i, w->files[i].deps.needed[j]);
	if (!ret && w->missing.n)
		ret = library_missing(w);
	if (!ret && !w->manifest->n)
		ret = no_manifest(w);
	return ret ? ret : manifest_finish(w->manifest, w->err);
}

static int read_program(int fd, const char *path,
			struct kho_manifest **manifest, struct kho_error *err)
{
	struct kho_manifest *m = manifest_new(path);
	struct walk w = {
		.collection = { .manifest = m, .err = err },
		.manifest = m,
		.err = err,
	};
	size_t i;
	int ret;

	if (!m)
		return no_memory(err);
	ret = walk(&w, fd, strdup(path));
	for (i = 0; i < m->n_sources; i++)
		elf_deps_free(&w.files[i].deps);
	free(w.files);
	string_list_free(&w.names);
	string_list_free(&w.missing);
	string_list_free(&w.system);
	if (ret)
		kho_manifest_free(m);
	else
		*manifest = m;
	return ret;
}

static int read_json(int fd, const char *path, struct kho_manifest **manifest,
		     struct kho_error *err)
{
	size_t len;
	char *text;
	int ret = json_read_file(fd, path, &text, &len, err);

	if (ret)
		return ret;
	ret = kho_manifest_parse(text, len, path, manifest, err);
	free(text);
	return ret;
}

static bool is_json(int fd)
{
	char begin[4096];
	ssize_t n = pread(fd, begin, sizeof(begin), 0);

	return n > 0 && json_begins(begin, (size_t)n);
}

static bool is_anything(int fd)
{
	(void)fd;
	return true;
}

const struct manifest_reader manifest_json_reader = { is_json, read_json };
const struct manifest_reader manifest_program_reader = { is_anything,
							 read_program };

/* What a service can hand over to. */
static const struct manifest_reader *const readers[] = {
	&manifest_json_reader,
	&manifest_program_reader,
	NULL,
};

int manifest_read(const struct manifest_reader *const *reader, int fd,
		  const char *path, struct kho_manifest **manifest,
		  struct kho_error *err)
{
	while (!(*reader)->begins(fd))
		reader++;
	return (*reader)->read(fd, path, manifest, err);
}

int manifest_open(const struct manifest_reader *const *reader, const char *path,
		  struct kho_manifest **manifest, struct kho_error *err)
{
	struct stat st;
	int fd = open_regular(path, &st);
	int ret;

	if (fd == -ENOEXEC)
		return kho_fail(err, fd, "%s: not a regular file", path);
	if (fd < 0)
		return kho_fail(err, fd, "%s: %s", path, strerror(-fd));
	ret = manifest_read(reader, fd, path, manifest, err);
	close(fd);
	return ret;
}

int kho_manifest_read(int fd, const char *path, struct kho_manifest **manifest,
		      struct kho_error *err)
{
	return manifest_read(readers, fd, path, manifest, err);
}

int kho_manifest_open(const char *path, struct kho_manifest **manifest,
		      struct kho_error *err)
{
	return manifest_open(readers, path, manifest, err);
}
