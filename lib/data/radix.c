// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The life of a set in an arena: create, restore, close, destroy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kho/pages.h>

#include "arena/arena.h"
#include "arena/radix/radix.h"

static void *node_alloc(void *ctx, uint64_t *phys)
{
	struct kho *kho = ctx;
	void *page = kho_alloc_preserve(kho, 1ul << kho->page_shift);

	*phys = kho_phys(kho, page);
	return page;
}

/*
 * Nothing refers to the page any more. Should this fail, it is lost until the
 * next kho_free_unclaimed().
 */
static void node_free(void *ctx, uint64_t phys)
{
	struct kho *kho = ctx;

	kho_unpreserve_free(kho, kho->base + phys);
}

static bool node_writable(const void *ctx)
{
	return kho_writable(ctx);
}

static const struct radix_ops arena_ops = {
	.alloc = node_alloc,
	.free = node_free,
	.writable = node_writable,
};

/* The volatile side of a set that has no root yet. */
static struct kho_radix *radix_new(struct kho *kho, unsigned int key_bits)
{
	struct kho_radix *radix = calloc(1, sizeof(*radix));

	if (!radix)
		return NULL;
	radix->ops = &arena_ops;
	radix->ctx = kho;
	radix->base = kho->base;
	radix->page_shift = kho->page_shift;
	radix->key_bits = key_bits;
	radix->top = KHO_RADIX_LEVELS(key_bits, kho->page_shift) - 1;
	radix->sync = radix_sync_new(radix->top + 1);
	if (!radix->sync) {
		free(radix);
		return NULL;
	}
	return radix;
}

int kho_radix_create(struct kho *kho, unsigned int key_bits,
		     struct kho_radix **result, struct kho_error *err)
{
	struct kho_radix *radix;
	int ret;

	if (key_bits < 1 || key_bits > 64)
		return kho_fail(err, -EINVAL,
				"radix: keys have 1 to 64 bits, not %u",
				key_bits);
	radix = radix_new(kho, key_bits);
	if (!radix)
		return arena_refuses(kho, "radix", -ENOMEM, err);
	ret = radix_create(radix);
	if (ret) {
		kho_radix_close(radix);
		return arena_refuses(kho, "radix", ret, err);
	}
	*result = radix;
	return 0;
}

/* The nodes of a tree that was read. */
struct nodes {
	uint64_t *phys;
	size_t n, max;
	struct kho_error *err;
};

static int collect_node(uint64_t phys, void *arg)
{
	struct nodes *nodes = arg;

	if (nodes->n == nodes->max) {
		size_t max = nodes->max ? nodes->max * 2 : 64;
		uint64_t *more = realloc(nodes->phys, max * sizeof(*more));

		if (!more)
			return kho_fail(nodes->err, -ENOMEM,
					"radix: out of memory");
		nodes->phys = more;
		nodes->max = max;
	}
	nodes->phys[nodes->n++] = phys;
	return 0;
}

int kho_radix_restore(struct kho *kho, uint64_t root, unsigned int key_bits,
		      struct kho_radix **result, struct kho_error *err)
{
	struct kho_mem_live live = mem_live(kho);
	struct nodes nodes = { .err = err };
	const struct kho_radix_walk walk = { .node = collect_node,
					     .arg = &nodes };
	struct kho_radix_stats stats;
	const struct reader in = { "radix", &live.mem, err };
	struct kho_radix *radix = NULL;
	void *node;
	int ret;

	ret = radix_read(&live.mem, root, key_bits, &walk, &stats, err);
	if (ret)
		goto out;
	radix = radix_new(kho, key_bits);
	if (!radix) {
		ret = kho_fail(err, -ENOMEM, "radix: out of memory");
		goto out;
	}
	radix->root = root;
	radix->sync->stripes[0][0].keys = stats.keys;
	for (size_t i = 0; !ret && i < nodes.n; i++)
		ret = pages_claim_folio(kho, &in, nodes.phys[i],
					1ul << kho->page_shift, &node);
	if (ret)
		kho_radix_close(radix);
	else
		*result = radix;
out:
	free(nodes.phys);
	return ret;
}

uint64_t kho_radix_root(const struct kho_radix *radix)
{
	return radix->root;
}

int kho_radix_stats(const struct kho_radix *radix,
		    struct kho_radix_stats *stats)
{
	struct kho_mem_live live = mem_live(radix->ctx);

	return kho_radix_verify(&live.mem, radix->root, radix->key_bits, stats,
				NULL);
}

void kho_radix_close(struct kho_radix *radix)
{
	if (!radix)
		return;
	radix_sync_free(radix->sync);
	free(radix);
}

int kho_radix_destroy(struct kho_radix *radix)
{
	if (!radix)
		return 0;
	if (!kho_writable(radix->ctx))
		return -EROFS;
	radix_free_pages(radix);
	kho_radix_close(radix);
	return 0;
}
