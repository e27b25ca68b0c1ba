/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* A manifest that is being put together, by whoever reads files. */
#ifndef KHO_COMPAT_MANIFEST_H
#define KHO_COMPAT_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/compat.h>
#include <kho/manifest.h>

#pragma GCC visibility push(hidden)

/*
 * The end of a source that only guesses: it has found a kernel's version string,
 * which can say one version, but never a range.
 */
#define MANIFEST_STRINGS "version strings"

/* Components of a program, far more than any real one has. */
#define MANIFEST_MAX 256
/* Files that were looked into. */
#define MANIFEST_MAX_SOURCES 1024

/* An empty manifest; NULL when out of memory. */
struct kho_manifest *manifest_new(const char *target);
/* Add a source, which is copied: 0; -ENOMEM. */
int manifest_add_source(struct kho_manifest *manifest, const char *path);
/* Add an entry at the end: 0; -ENOMEM. MANIFEST_MAX is the caller's to keep. */
int manifest_append(struct kho_manifest *manifest,
		    const struct kho_component_desc *desc, size_t source);
/* Look up in a manifest that is not sorted yet. */
struct kho_manifest_entry *manifest_lookup(const struct kho_manifest *manifest,
					   const char *name);
/* Why a kernel has no component, a clause without a subject; NULL: it is none. */
static inline const char *manifest_missing(const struct kho_manifest *manifest)
{
	return manifest->image && manifest->image->missing[0] ?
		       manifest->image->missing :
		       NULL;
}
/*
 * What is left to do when all has been read: add what bundles stand for, sort.
 * 0; -EBADMSG when that is too much; -ENOMEM.
 */
int manifest_finish(struct kho_manifest *manifest, struct kho_error *err);

/**
 * struct collection - a manifest that is put together from ELF files
 * @manifest: what was found so far
 * @noted: of each entry: a note says so
 * @err: why it fails
 */
struct collection {
	struct kho_manifest *manifest;
	bool noted[MANIFEST_MAX];
	struct kho_error *err;
};

/*
 * Add what a @note says, or another section, which counts less. @source: index
 * into the manifest's sources; @offset: in that file, for messages. 0, also when
 * the same is there already, or a better source was; -EBADMSG when it
 * contradicts or there are too many; -ENOMEM.
 */
int collect(struct collection *collection,
	    const struct kho_component_desc *desc, bool note, size_t source,
	    uint64_t offset);

/* Add a dependency, if it is not there yet; false: there are too many. */
bool desc_add_dep(struct kho_component_desc *desc, const char *name);

#pragma GCC visibility pop

#endif
