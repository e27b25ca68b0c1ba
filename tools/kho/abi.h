/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The formats of include/kho/abi/ in memory, as a kho-abi document describes
 * them: of this build, or of another one.
 */
#ifndef TOOLS_ABI_H
#define TOOLS_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/compat.h>

struct json_object;

/* What a layout is made of: constants, structs and their fields. */
struct abi_item {
	const char *of; /* the struct; "" for a constant */
	const char *name; /* "" for the struct itself */
	const char *text; /* value of a constant, type of a field, or "" */
	uint32_t offset; /* of a field; otherwise 0 */
	uint32_t size; /* of a struct or a field; otherwise 0 */
};

struct abi_format {
	const char *name;
	bool component;
	const char *title;
	const char *header;
	uint32_t version; /* 0: it has none */
	struct kho_range write;
	struct kho_range read;
	const char *fingerprint; /* of all items: 64 hexadecimal digits */
	size_t n;
	struct abi_item *items; /* sorted by @of and @name, unique */
};

struct abi {
	struct json_object *document; /* owns all strings */
	size_t n;
	struct abi_format *formats; /* sorted by @name, unique */
};

/*
 * Reads a document; @where: what to call it in messages. 0, or -EBADMSG or
 * -ENOMEM and why; every byte is hostile.
 */
int abi_parse(const char *text, size_t len, const char *where, struct abi *abi,
	      struct kho_error *err);
void abi_free(struct abi *abi);

/* Orders items by @of and @name. */
int abi_compare_items(const void *a, const void *b);

/* A document without the versions that are written and read; generated. */
extern const char abi_of_this_build[];

/*
 * Says what differs, the offending first, as a table or as a kho-abi-diff
 * document. The names are those of the two files, @new_name NULL for this
 * build. Returns an exit code.
 */
int abi_diff(const struct abi *old, const char *old_name, const struct abi *new,
	     const char *new_name, bool json);

#endif
