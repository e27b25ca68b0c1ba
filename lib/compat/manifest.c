// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Manifests: of a file, which is a program with the libraries that it needs or
 * a JSON document, and of this process.
 *
 * The libraries are gone through breadth first, as the loader does: each is
 * looked for once, in the name's first place that has a library of this
 * machine's class. One that is not found is the loader's business; it is only
 * named when there is no manifest at all, because it may be the reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../image/private.h"
#include "private.h"

/* Names of libraries, found or not; far more than any real program has. */
#define MAX_NAMES 4096

static int no_memory(struct kho_error *err)
{
	return kho_fail(err, -ENOMEM, "out of memory");
}

static int compare_entries(const void *a, const void *b)
{
	const struct kho_manifest_entry *x = a, *y = b;

	return strcmp(x->desc.name, y->desc.name);
}

const struct kho_manifest_entry *
kho_manifest_find(const struct kho_manifest *manifest, const char *name)
{
	size_t low = 0, high = manifest->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(name, manifest->entries[mid].desc.name);

		if (!order)
			return &manifest->entries[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

struct kho_manifest *manifest_new(const char *target)
{
	struct kho_manifest *manifest = calloc(1, sizeof(*manifest));

	if (!manifest)
		return NULL;
	manifest->target = strdup(target);
	if (manifest->target)
		return manifest;
	free(manifest);
	return NULL;
}

int manifest_add_source(struct kho_manifest *manifest, const char *path)
{
	char *copy = strdup(path);
	char **sources = NULL;

	if (copy)
		sources = realloc(manifest->sources,
				  (manifest->n_sources + 1) * sizeof(*sources));
	if (!sources) {
		free(copy);
		return -ENOMEM;
	}
	manifest->sources = sources;
	sources[manifest->n_sources++] = copy;
	return 0;
}

int manifest_append(struct kho_manifest *manifest,
		    const struct kho_component_desc *desc, size_t source)
{
	struct kho_manifest_entry *entries =
		realloc(manifest->entries,
			(manifest->n + 1) * sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	manifest->entries = entries;
	entries[manifest->n++] = (struct kho_manifest_entry){
		.desc = *desc,
		.source = source,
	};
	return 0;
}

struct kho_manifest_entry *manifest_lookup(const struct kho_manifest *manifest,
					   const char *name)
{
	size_t i;

	for (i = 0; i < manifest->n; i++)
		if (!strcmp(manifest->entries[i].desc.name, name))
			return &manifest->entries[i];
	return NULL;
}

static void sort(struct kho_manifest *manifest)
{
	if (manifest->n)
		qsort(manifest->entries, manifest->n,
		      sizeof(manifest->entries[0]), compare_entries);
}

int manifest_finish(struct kho_manifest *manifest, struct kho_error *err)
{
	int ret;

	/* Before, so that who a part was added for is no accident. */
	sort(manifest);
	ret = bundles_add(manifest, err);
	sort(manifest);
	return ret;
}

/* Is what notes of all types have the same? */
static bool agree(const struct kho_component_desc *a,
		  const struct kho_component_desc *b)
{
	const size_t after_flags = sizeof(a->flags);

	return !((a->flags ^ b->flags) & KHO_NOTE_FLAGS_V1) &&
	       !memcmp((const char *)a + after_flags,
		       (const char *)b + after_flags,
		       KHO_COMPONENT_DESC_V1_SIZE - after_flags);
}

int collect(struct collection *collection,
	    const struct kho_component_desc *desc, uint32_t type, size_t source,
	    uint64_t offset)
{
	struct kho_manifest *manifest = collection->manifest;
	struct kho_manifest_entry *entry =
		manifest_lookup(manifest, desc->name);
	const char *path = manifest->sources[source];
	uint32_t *known;

	if (!entry) {
		if (manifest->n == MANIFEST_MAX)
			return kho_fail(collection->err, -EBADMSG,
					"%s: at offset 0x%llx: more than %d "
					"components",
					path, (unsigned long long)offset,
					MANIFEST_MAX);
		if (manifest_append(manifest, desc, source))
			return no_memory(collection->err);
		collection->types[manifest->n - 1] = type;
		return 0;
	}
	known = &collection->types[entry - manifest->entries];
	if (type && *known &&
	    (!agree(&entry->desc, desc) ||
	     (type == *known && memcmp(&entry->desc, desc, sizeof(*desc)) != 0)))
		return kho_fail(collection->err, -EBADMSG,
				"%s: note at offset 0x%llx: component '%s' "
				"contradicts the one in %s: build both from "
				"the same version",
				path, (unsigned long long)offset, desc->name,
				manifest->sources[entry->source]);
	/* The higher the type of a note, the more it says. */
	if (type > *known) {
		entry->desc = *desc;
		entry->source = source;
		*known = type;
	}
	return 0;
}

/* What a look at a program with its libraries needs to remember. */
struct walk {
	struct collection collection;
	struct kho_manifest *manifest; /* the collection's */
	struct file {
		struct elf_deps deps;
		size_t parent; /* who needs it; the program: itself */
		dev_t dev;
		ino_t ino;
	} * files; /* one for each of the manifest's sources */
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
	const struct string_list *missing = &w->missing;
	char names[256] = "", *c;
	size_t i, len = 0;

	for (i = 0; i < missing->n && len < sizeof(names); i++)
		len += (size_t)snprintf(names + len, sizeof(names) - len,
					"%s%s", i ? ", " : "",
					missing->strings[i]);
	for (c = names; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return kho_fail(w->err, -ENODATA,
			"%s: no manifest: neither it nor a library that it "
			"needs defines a component (KHO_COMPONENT)%s%s",
			w->manifest->target,
			missing->n ? "; libraries not found: " : "", names);
}

static int walk(struct walk *w, int fd, char *path)
{
	size_t i, j;
	int ret;

	ret = path ? add_file(w, fd, path, 0) : no_memory(w->err);
	for (i = 0; !ret && i < w->manifest->n_sources; i++)
		for (j = 0; !ret && j < w->files[i].deps.n; j++)
			ret = need(w, i, w->files[i].deps.needed[j]);
	if (!ret && !w->manifest->n)
		ret = no_manifest(w);
	return ret ? ret : manifest_finish(w->manifest, w->err);
}

static int read_elf(int fd, const char *path, struct kho_manifest **manifest,
		    struct kho_error *err)
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

int kho_manifest_read(int fd, const char *path, struct kho_manifest **manifest,
		      struct kho_error *err)
{
	char begin[4096];
	ssize_t n = pread(fd, begin, sizeof(begin), 0);

	if (n > 0 && json_begins(begin, (size_t)n))
		return read_json(fd, path, manifest, err);
	if (image_begins(fd))
		return image_read(fd, path, manifest, err);
	return read_elf(fd, path, manifest, err);
}

int kho_manifest_open(const char *path, struct kho_manifest **manifest,
		      struct kho_error *err)
{
	struct stat st;
	int fd = open_regular(path, &st);
	int ret;

	if (fd == -ENOEXEC)
		return kho_fail(err, fd, "%s: not a regular file", path);
	if (fd < 0)
		return kho_fail(err, fd, "%s: %s", path, strerror(-fd));
	ret = kho_manifest_read(fd, path, manifest, err);
	close(fd);
	return ret;
}

int kho_manifest_self(struct kho_manifest **manifest)
{
	struct kho_manifest *self = manifest_new("self");
	const struct kho_component *c;
	int ret = self ? manifest_add_source(self, self->target) : -ENOMEM;

	for (c = component_first(); !ret && c; c = c->next)
		ret = manifest_append(self, c->desc, 0);
	if (ret) {
		kho_manifest_free(self);
		return -ENOMEM;
	}
	sort(self);
	*manifest = self;
	return 0;
}

void kho_manifest_free(struct kho_manifest *manifest)
{
	size_t i;

	if (!manifest)
		return;
	for (i = 0; i < manifest->n_sources; i++)
		free(manifest->sources[i]);
	free(manifest->sources);
	free(manifest->entries);
	free(manifest->target);
	free(manifest->image);
	free(manifest);
}
