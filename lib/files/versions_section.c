// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The section .liveupdate_versions: composites that a kernel understands.
 *
 * A composite says less than a note. Its base is a component, and so is each
 * that it depends on. Of a component that is there in several versions, those
 * that follow each other down from the highest are read, and the highest is
 * written.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compat/component.h"
#include "files/versions_section.h"

/* Far more than any real kernel has. */
#define MAX_STRINGS 1024
#define MAX_TOKENS (MAX_STRINGS * (KHO_LIVEUPDATE_STRING_SIZE / 4))

struct section {
	struct collection *collection;
	const char *path;
	uint64_t offset; /* in the file, of what is looked at */
	size_t n_tokens;
	struct kho_token tokens[MAX_TOKENS];
	size_t n_descs;
	struct kho_component_desc descs[MANIFEST_MAX];
};

static int bad(const struct section *s, const char *why)
{
	return kho_fail(s->collection->err, -EBADMSG,
			"%s: " KHO_LIVEUPDATE_SECTION " at offset 0x%llx: %s",
			s->path, (unsigned long long)s->offset, why);
}

/* The component of a token; NULL when there are too many. */
static struct kho_component_desc *see(struct section *s,
				      const struct kho_token *token)
{
	struct kho_component_desc *desc;
	size_t i;

	s->tokens[s->n_tokens++] = *token;
	for (i = 0; i < s->n_descs; i++)
		if (!strcmp(s->descs[i].name, token->name))
			return &s->descs[i];
	if (s->n_descs == MANIFEST_MAX)
		return NULL;
	desc = &s->descs[s->n_descs++];
	memcpy(desc->name, token->name, sizeof(desc->name));
	/* Until it is a base. */
	desc->flags = KHO_COMPONENT_STRUCTURE;
	return desc;
}

static int read_string(struct section *s,
		       const char string[KHO_LIVEUPDATE_STRING_SIZE])
{
	struct kho_component_desc *base;
	struct kho_composite c;
	struct kho_error why;
	size_t i;

	if (string[KHO_LIVEUPDATE_STRING_SIZE - 1])
		return bad(s, "a string that is not terminated");
	if (kho_composite_parse(string, &c, &why))
		return bad(s, why.text);
	base = see(s, &c.tokens[0]);
	if (!base)
		return bad(s, "too many components");
	base->flags = 0;
	for (i = 1; i < c.n; i++) {
		if (!see(s, &c.tokens[i]))
			return bad(s, "too many components");
		if (!desc_add_dep(base, c.tokens[i].name))
			return bad(s, "a component with more than 8 "
				      "dependencies");
	}
	return 0;
}

static int read_strings(struct section *s, const char *bytes, size_t size)
{
	struct kho_liveupdate_versions header;
	size_t at;
	int ret = 0;

	if (size < sizeof(header))
		return bad(s, "too short for its header");
	memcpy(&header, bytes, sizeof(header));
	if (header.magic != KHO_LIVEUPDATE_MAGIC)
		return bad(s, "its magic number is wrong");
	if (header.version != KHO_LIVEUPDATE_VERSION)
		return bad(s, "it has a version that is not known: use a "
			      "newer kho");
	if ((size - sizeof(header)) % KHO_LIVEUPDATE_STRING_SIZE)
		return bad(s, "its size is not that of a header and strings "
			      "of 48 bytes");
	if ((size - sizeof(header)) / KHO_LIVEUPDATE_STRING_SIZE > MAX_STRINGS)
		return bad(s, "too many strings");
	s->offset += sizeof(header);
	for (at = sizeof(header); !ret && at < size;
	     at += KHO_LIVEUPDATE_STRING_SIZE) {
		ret = read_string(s, bytes + at);
		s->offset += KHO_LIVEUPDATE_STRING_SIZE;
	}
	return ret;
}

static int compare_tokens(const void *a, const void *b)
{
	const struct kho_token *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order :
		       (x->version > y->version) - (x->version < y->version);
}

/* @tokens: sorted, of one component, @n of them. */
static void set_versions(struct kho_component_desc *desc,
			 const struct kho_token *tokens, size_t n)
{
	uint32_t max = tokens[n - 1].version, min = max;

	while (n-- && min - tokens[n].version <= 1)
		min = tokens[n].version;
	desc->write = (struct kho_range){ max, max };
	desc->read = (struct kho_range){ min, max };
}

static int collect_all(struct section *s, size_t source)
{
	size_t i, begin, end;
	int ret = 0;

	qsort(s->tokens, s->n_tokens, sizeof(s->tokens[0]), compare_tokens);
	for (begin = 0; !ret && begin < s->n_tokens; begin = end) {
		const struct kho_token *tokens = &s->tokens[begin];

		for (end = begin; end < s->n_tokens; end++)
			if (strcmp(s->tokens[end].name, tokens->name) != 0)
				break;
		for (i = 0; strcmp(s->descs[i].name, tokens->name) != 0; i++)
			;
		set_versions(&s->descs[i], tokens, end - begin);
		ret = collect(s->collection, &s->descs[i], false, source,
			      s->offset);
	}
	return ret;
}

int versions_section_read(struct collection *collection, size_t source,
			  const void *bytes, size_t size, uint64_t offset)
{
	struct section *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return kho_fail(collection->err, -ENOMEM, "out of memory");
	s->collection = collection;
	s->path = collection->manifest->sources[source];
	s->offset = offset;
	ret = read_strings(s, bytes, size);
	s->offset = offset;
	if (!ret)
		ret = collect_all(s, source);
	free(s);
	return ret;
}
