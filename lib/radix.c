// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* A set of u64 keys in pages: the radix tree of Linux's KHO. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include <kho/compat.h>
#include <kho/radix.h>

/* Levels of the deepest tree: 64 bit keys in pages of 4 KiB. */
#define LEVELS_MAX KHO_RADIX_LEVELS(64, 12)

KHO_COMPONENT(radix, .read = { 1, KHO_RADIX_VERSION },
	      .write = { 1, KHO_RADIX_VERSION },
	      .flags = KHO_COMPONENT_STRUCTURE);

static unsigned int levels(unsigned int key_bits, unsigned int page_shift)
{
	return KHO_RADIX_LEVELS(key_bits, page_shift);
}

static bool too_wide(uint64_t key, unsigned int key_bits)
{
	return key_bits < 64 && key >> key_bits;
}

/* Index into the node at @level, level 0 being the leaf (its bit number). */
static uint64_t slot_of(uint64_t key, unsigned int level,
			unsigned int page_shift)
{
	unsigned int shift;

	if (level == 0)
		return key & ((1ull << KHO_RADIX_LEAF_BITS(page_shift)) - 1);
	shift = KHO_RADIX_LEAF_BITS(page_shift) +
		(level - 1) * KHO_RADIX_NODE_BITS(page_shift);
	return (key >> shift) & ((1ull << KHO_RADIX_NODE_BITS(page_shift)) - 1);
}

int kho_radix_create(struct kho_radix *radix)
{
	return radix->ops->alloc(radix->ctx, &radix->root) ? 0 : -errno;
}

/*
 * The nodes from the root, at [levels - 1], down to the leaf, at [0]. Returns
 * the lowest level there is: 0 when the path is complete.
 */
static unsigned int find_path(const struct kho_radix *radix, uint64_t key,
			      uint64_t *path[LEVELS_MAX])
{
	unsigned int level = levels(radix->key_bits, radix->page_shift) - 1;

	path[level] = radix->ops->node(radix->ctx, radix->root);
	while (level > 0) {
		uint64_t child = path[level][slot_of(key, level,
						     radix->page_shift)];

		if (!child)
			break;
		path[--level] = radix->ops->node(radix->ctx, child);
	}
	return level;
}

bool kho_radix_test(const struct kho_radix *radix, uint64_t key)
{
	uint64_t *path[LEVELS_MAX];
	uint64_t bit;

	if (too_wide(key, radix->key_bits) || find_path(radix, key, path) != 0)
		return false;
	bit = slot_of(key, 0, radix->page_shift);
	return path[0][bit / 64] >> (bit % 64) & 1;
}

int kho_radix_add(struct kho_radix *radix, uint64_t key)
{
	uint64_t *path[LEVELS_MAX];
	uint64_t fresh[LEVELS_MAX];
	unsigned int have, level;
	uint64_t bit;
	int err;

	if (too_wide(key, radix->key_bits))
		return -ERANGE;
	have = find_path(radix, key, path);
	bit = slot_of(key, 0, radix->page_shift);
	if (have == 0) {
		if (path[0][bit / 64] >> (bit % 64) & 1)
			return -EEXIST;
		__atomic_fetch_or(&path[0][bit / 64], 1ull << (bit % 64),
				  __ATOMIC_RELEASE);
		return 0;
	}

	/* Build what is missing from below; it appears with the last store. */
	for (level = 0; level < have; level++) {
		path[level] = radix->ops->alloc(radix->ctx, &fresh[level]);
		if (!path[level]) {
			err = -errno;
			goto undo;
		}
		if (level == 0)
			path[0][bit / 64] = 1ull << (bit % 64);
		else
			path[level][slot_of(key, level, radix->page_shift)] =
				fresh[level - 1];
	}
	__atomic_store_n(&path[have][slot_of(key, have, radix->page_shift)],
			 fresh[have - 1], __ATOMIC_RELEASE);
	return 0;

undo:
	while (level-- > 0)
		radix->ops->free(radix->ctx, fresh[level]);
	return err;
}

static bool node_empty(const struct kho_radix *radix, const uint64_t *node)
{
	size_t n = (1ul << radix->page_shift) / sizeof(*node);

	for (size_t i = 0; i < n; i++)
		if (node[i])
			return false;
	return true;
}

int kho_radix_del(struct kho_radix *radix, uint64_t key)
{
	unsigned int top = levels(radix->key_bits, radix->page_shift) - 1;
	uint64_t *path[LEVELS_MAX];
	uint64_t bit, left;

	if (too_wide(key, radix->key_bits))
		return -ERANGE;
	bit = slot_of(key, 0, radix->page_shift);
	if (find_path(radix, key, path) != 0 ||
	    !(path[0][bit / 64] >> (bit % 64) & 1))
		return -ENOENT;
	left = __atomic_and_fetch(&path[0][bit / 64], ~(1ull << (bit % 64)),
				  __ATOMIC_RELEASE);
	for (unsigned int level = 0; left == 0 && level < top; level++) {
		uint64_t *parent = path[level + 1];
		uint64_t slot = slot_of(key, level + 1, radix->page_shift);
		uint64_t phys = parent[slot];

		if (!node_empty(radix, path[level]))
			break;
		__atomic_store_n(&parent[slot], 0, __ATOMIC_RELEASE);
		radix->ops->free(radix->ctx, phys);
	}
	return 0;
}

/* State of a walk: the pages seen, so that a page reached twice is found. */
struct walker {
	const struct kho_mem *mem;
	const struct kho_radix_walk *walk;
	struct kho_error *err;
	unsigned int key_bits;
	void *seen;
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

static int walk_leaf(const struct walker *w, const uint64_t *leaf,
		     uint64_t prefix, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		for (uint64_t word = leaf[i]; word; word &= word - 1) {
			uint64_t key = prefix | (i * 64 +
				       (uint64_t)__builtin_ctzll(word));
			int err;

			if (too_wide(key, w->key_bits))
				return kho_fail(w->err, -EBADMSG,
						"radix: key %#llx has more than %u bits",
						(unsigned long long)key,
						w->key_bits);
			err = w->walk->key ? w->walk->key(key, w->walk->arg) :
					     0;
			if (err)
				return err;
		}
	}
	return 0;
}

static int walk_node(struct walker *w, uint64_t phys, unsigned int level,
		     uint64_t prefix)
{
	unsigned int page_shift = w->mem->page_shift;
	size_t size = 1ul << page_shift;
	unsigned int shift;
	uint64_t *node;
	int err;

	if (phys & (size - 1))
		return kho_fail(w->err, -EBADMSG,
				"radix: node at %#llx is not page aligned",
				(unsigned long long)phys);
	err = mark_seen(w, phys);
	if (err)
		return kho_fail(w->err, err, "radix: node at %#llx%s",
				(unsigned long long)phys,
				err == -ELOOP ? " is reached twice" :
						": out of memory");
	node = malloc(size);
	if (!node)
		return kho_fail(w->err, -ENOMEM, "radix: out of memory");
	err = kho_mem_read(w->mem, phys, node, size);
	if (err) {
		kho_fail(w->err, err,
			 "radix: node at %#llx is outside the memory",
			 (unsigned long long)phys);
		goto out;
	}
	err = w->walk->node ? w->walk->node(phys, w->walk->arg) : 0;
	if (err)
		goto out;
	if (level == 0) {
		err = walk_leaf(w, node, prefix, size / sizeof(*node));
		goto out;
	}
	shift = KHO_RADIX_LEAF_BITS(page_shift) +
		(level - 1) * KHO_RADIX_NODE_BITS(page_shift);
	for (size_t i = 0; !err && i < size / sizeof(*node); i++) {
		if (!node[i])
			continue;
		/* A child past the key's width would wrap around in u64. */
		if (shift < 64 && !(i >> (64 - shift)) &&
		    !too_wide((uint64_t)i << shift, w->key_bits))
			err = walk_node(w, node[i], level - 1,
					prefix | (uint64_t)i << shift);
		else
			err = kho_fail(w->err, -EBADMSG,
				       "radix: node at %#llx has an entry past %u bit keys",
				       (unsigned long long)phys, w->key_bits);
	}
out:
	free(node);
	return err;
}

int kho_radix_walk(const struct kho_mem *mem, uint64_t root,
		   unsigned int key_bits, const struct kho_radix_walk *walk,
		   struct kho_error *err)
{
	struct walker w = { mem, walk, err, key_bits, NULL };
	int ret;

	if (mem->page_shift != 12 && mem->page_shift != 14 &&
	    mem->page_shift != 16)
		return kho_fail(err, -EINVAL, "radix: page size 2^%u is not supported",
				mem->page_shift);
	ret = walk_node(&w, root, levels(key_bits, mem->page_shift) - 1, 0);
	tdestroy(w.seen, free);
	return ret;
}
