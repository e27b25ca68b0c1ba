// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Bundles: what Linux's monolithic versions stand for.
 *
 * Up to 7.3 all of Linux's data structures shared a few version strings. Such
 * a version is a fixed set of component versions, so that who reads them one
 * by one understands a state or a kernel that only says the whole, and the
 * other way round.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "compat/bundle.h"
#include "compat/manifest.h"

/* A bundle never changes. A new version of Linux's is a new line. */
static const struct bundle bundles[] = {
	{ "kho-v4", "kho-v4;block-v1;radix-v1;vmalloc-v1" },
	{ "luo-v5", "luo-v5;block-v1" },
	{ "memblock-v1", "memblock-v1;reserve-mem-v1" },
	{ "memfd-v2", "memfd-v2;vmalloc-v1" },
};

#define N_BUNDLES (sizeof(bundles) / sizeof(bundles[0]))

const struct bundle *bundle_find_token(const char *token)
{
	size_t i;

	for (i = 0; i < N_BUNDLES; i++)
		if (!strcmp(bundles[i].token, token))
			return &bundles[i];
	return NULL;
}

const struct bundle *bundle_find(const char *name, uint32_t version)
{
	char token[KHO_TOKEN_SIZE];

	snprintf(token, sizeof(token), "%s-v%u", name, version);
	return bundle_find_token(token);
}

static int add_part(struct kho_manifest *manifest, const struct bundle *bundle,
		    size_t source, const struct kho_token *token,
		    struct kho_error *err)
{
	const struct kho_range version = { token->version, token->version };
	struct kho_component_desc desc = {
		.flags = KHO_COMPONENT_STRUCTURE,
		.write = version,
		.read = version,
	};

	if (manifest_lookup(manifest, token->name))
		return 0;
	if (manifest->n == MANIFEST_MAX)
		return kho_fail(err, -EBADMSG,
				"%s: more than %d components, with what %s "
				"stands for",
				manifest->target, MANIFEST_MAX, bundle->token);
	strcpy(desc.name, token->name);
	if (manifest_append(manifest, &desc, source))
		return kho_fail(err, -ENOMEM, "out of memory");
	manifest->entries[manifest->n - 1].bundle = bundle->token;
	return 0;
}

int bundles_add(struct kho_manifest *manifest, struct kho_error *err)
{
	size_t n = manifest->n, i, j;
	int ret = 0;

	for (i = 0; i < n; i++) {
		struct kho_component_desc *desc = &manifest->entries[i].desc;
		const struct kho_range *range = desc->write.max ? &desc->write :
								  &desc->read;
		const struct bundle *bundle =
			bundle_find(desc->name, range->max);
		size_t source = manifest->entries[i].source;
		struct kho_composite c;

		/* Who declares dependencies is no monolith. */
		if (!bundle || desc->deps[0][0])
			continue;
		kho_composite_parse(bundle->composite, &c, NULL);
		for (j = 1; j < c.n; j++)
			strcpy(desc->deps[j - 1], c.tokens[j].name);
		/* From here on @desc may have moved. */
		for (j = 1; !ret && j < c.n; j++)
			ret = add_part(manifest, bundle, source, &c.tokens[j],
				       err);
		if (ret)
			return ret;
	}
	return 0;
}
