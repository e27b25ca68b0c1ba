// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Manifests: putting one together, looking into one, and that of this process. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compat/bundle.h"
#include "compat/component.h"
#include "compat/manifest.h"

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

int collect(struct collection *collection,
	    const struct kho_component_desc *desc, bool note, size_t source,
	    uint64_t offset)
{
	struct kho_manifest *manifest = collection->manifest;
	struct kho_manifest_entry *entry =
		manifest_lookup(manifest, desc->name);
	const char *path = manifest->sources[source];
	bool *noted;

	if (!entry) {
		if (manifest->n == MANIFEST_MAX)
			return kho_fail(collection->err, -EBADMSG,
					"%s: at offset 0x%llx: more than %d "
					"components",
					path, (unsigned long long)offset,
					MANIFEST_MAX);
		if (manifest_append(manifest, desc, source))
			return kho_fail(collection->err, -ENOMEM,
					"out of memory");
		collection->noted[manifest->n - 1] = note;
		return 0;
	}
	noted = &collection->noted[entry - manifest->entries];
	if (note && *noted && memcmp(&entry->desc, desc, sizeof(*desc)) != 0)
		return kho_fail(collection->err, -EBADMSG,
				"%s: note at offset 0x%llx: component '%s' "
				"contradicts the one in %s: build both from "
				"the same version",
				path, (unsigned long long)offset, desc->name,
				manifest->sources[entry->source]);
	if (note && !*noted) {
		entry->desc = *desc;
		entry->source = source;
		*noted = true;
	}
	return 0;
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

bool desc_add_dep(struct kho_component_desc *desc, const char *name)
{
	size_t i;

	for (i = 0; i < KHO_DEPS_MAX && desc->deps[i][0]; i++)
		if (!strcmp(desc->deps[i], name))
			return true;
	if (i < KHO_DEPS_MAX)
		strcpy(desc->deps[i], name);
	return i < KHO_DEPS_MAX;
}
