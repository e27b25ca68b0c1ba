/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The kinds of files that manifests are read from: a table, which tools extend. */
#ifndef KHO_FILES_MANIFEST_H
#define KHO_FILES_MANIFEST_H

#include <stdbool.h>

#include "compat/manifest.h"

#pragma GCC visibility push(hidden)

/**
 * struct manifest_reader - a kind of file
 * @begins: does a file begin as one
 * @read: its manifest, as kho_manifest_read()
 */
struct manifest_reader {
	bool (*begins)(int fd);
	int (*read)(int fd, const char *path, struct kho_manifest **manifest,
		    struct kho_error *err);
};

/* Of a document that was read already, as kho_manifest_parse(). */
struct json_object;
int manifest_of_json(struct json_object *json, const char *where,
		     struct kho_manifest **manifest, struct kho_error *err);

extern const struct manifest_reader manifest_json_reader;
/* Takes every file, and says why it is no program. */
extern const struct manifest_reader manifest_program_reader;

/*
 * With the first reader that takes the file; the last one takes any. As
 * kho_manifest_read() and kho_manifest_open().
 */
int manifest_read(const struct manifest_reader *const *readers, int fd,
		  const char *path, struct kho_manifest **manifest,
		  struct kho_error *err);
int manifest_open(const struct manifest_reader *const *readers,
		  const char *path, struct kho_manifest **manifest,
		  struct kho_error *err);

#pragma GCC visibility pop

#endif
