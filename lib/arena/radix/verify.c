// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading a tree through a view of memory, where every byte is hostile. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "arena/radix/radix.h"
#include "base/crc32c.h"
#include "base/reader.h"

/*
 * struct walker - state of a walk
 * @seen: the pages, so that one that is reached twice is found
 * @pages: copies of the nodes on the path, a page for each level
 */
struct walker {
	struct reader in;
	const struct kho_radix_walk *walk;
	unsigned int key_bits;
	unsigned int top;
	void *seen;
	char *pages;
	struct kho_radix_stats stats;
};

static int compare_phys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int mark_seen(struct walker *w, uint64_t phys)
{
	uint64_t *copy = malloc(sizeof(*copy));
	uint64_t **found;

	if (!copy)
		return -ENOMEM;
	*copy = phys;
	found = tsearch(copy, &w->seen, compare_phys);
	if (!found || *found != copy) {
		free(copy);
		return found ? -ELOOP : -ENOMEM;
	}
	return 0;
}

/* A copy of the page at @phys. */
static int read_node(struct walker *w, uint64_t phys, uint64_t *node)
{
	size_t size = 1ul << w->in.mem->page_shift;
	int err;

	if (!phys || phys & (size - 1))
		return reader_fail(&w->in, -EBADMSG, phys,
				   "the node is not page aligned");
	err = mark_seen(w, phys);
	if (err)
		return reader_fail(&w->in, err, phys,
				   err == -ELOOP ? "the node is reached twice" :
						   "out of memory");
	err = reader_get(&w->in, phys, node, size, "node");
	if (err)
		return err;
	w->stats.nodes++;
	return w->walk->node ? w->walk->node(phys, w->walk->arg) : 0;
}

/* What the CRC is over, for each leaf that has keys. */
struct leaf_crc {
	uint64_t before; /* CRC of the leaves before it */
	uint64_t first; /* its first key */
	uint64_t contents; /* CRC of the page */
};

static int walk_leaf(struct walker *w, const uint64_t *leaf, uint64_t first)
{
	size_t size = 1ul << w->in.mem->page_shift;
	uint64_t n = w->stats.keys, word, key;
	int err;

	for (size_t i = 0; i < size / sizeof(*leaf); i++) {
		for (word = leaf[i]; word; word &= word - 1) {
			key = first +
			      (i * 64 + (uint64_t)__builtin_ctzll(word));
			if (key > radix_max_key(w->key_bits))
				return kho_fail(w->in.err, -EBADMSG,
						"radix: key %#llx has more than %u bits",
						(unsigned long long)key,
						w->key_bits);
			err = w->walk->key ? w->walk->key(key, w->walk->arg) :
					     0;
			if (err)
				return err;
		}
		w->stats.keys += (uint64_t)__builtin_popcountll(leaf[i]);
	}
	if (n != w->stats.keys) {
		const struct leaf_crc part = { w->stats.crc, first,
					       crc32c(leaf, size) };

		w->stats.crc = crc32c(&part, sizeof(part));
	} else if (w->top > 0) {
		w->stats.empty++;
	}
	return 0;
}

static int walk_node(struct walker *w, uint64_t phys, unsigned int level,
		     uint64_t first)
{
	unsigned int page_shift = w->in.mem->page_shift;
	uint64_t *node = (void *)(w->pages + ((size_t)level << page_shift));
	uint64_t slots, children = 0;
	unsigned int shift;
	int err;

	err = read_node(w, phys, node);
	if (err)
		return err;
	if (level == 0)
		return walk_leaf(w, node, first);
	slots = radix_slots(page_shift, w->key_bits, level);
	shift = radix_span(page_shift, level - 1);
	for (uint64_t i = 0; i < (1ul << page_shift) / sizeof(*node); i++) {
		if (!node[i])
			continue;
		if (i >= slots)
			return reader_fail(&w->in, -EBADMSG, phys,
					   "the node has an entry past %u bit keys",
					   w->key_bits);
		err = walk_node(w, node[i], level - 1, first + (i << shift));
		if (err)
			return err;
		children++;
	}
	if (children == 0 && level < w->top)
		w->stats.empty++;
	return 0;
}

/* kho_radix_walk() and kho_radix_verify() in one; @stats may be NULL. */
int radix_read(const struct kho_mem *mem, uint64_t root, unsigned int key_bits,
	       const struct kho_radix_walk *walk, struct kho_radix_stats *stats,
	       struct kho_error *err)
{
	struct walker w = {
		.in = { "radix", mem, err },
		.walk = walk,
		.key_bits = key_bits,
	};
	int ret;

	if (mem->page_shift != 12 && mem->page_shift != 14 &&
	    mem->page_shift != 16)
		return kho_fail(err, -EINVAL,
				"radix: page size 2^%u is not supported",
				mem->page_shift);
	if (key_bits < 1 || key_bits > 64)
		return kho_fail(err, -EINVAL,
				"radix: keys of %u bits; 1 to 64 are possible",
				key_bits);
	w.top = KHO_RADIX_LEVELS(key_bits, mem->page_shift) - 1;
	w.pages = malloc((w.top + 1ul) << mem->page_shift);
	if (!w.pages)
		return kho_fail(err, -ENOMEM, "radix: out of memory");
	ret = walk_node(&w, root, w.top, 0);
	tdestroy(w.seen, free);
	free(w.pages);
	if (!ret && stats)
		*stats = w.stats;
	return ret;
}

int kho_radix_walk(const struct kho_mem *mem, uint64_t root,
		   unsigned int key_bits, const struct kho_radix_walk *walk,
		   struct kho_error *err)
{
	return radix_read(mem, root, key_bits, walk, NULL, err);
}

int kho_radix_verify(const struct kho_mem *mem, uint64_t root,
		     unsigned int key_bits, struct kho_radix_stats *stats,
		     struct kho_error *err)
{
	const struct kho_radix_walk nobody = { 0 };

	return radix_read(mem, root, key_bits, &nobody, stats, err);
}
