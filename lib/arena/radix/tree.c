// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Adding, deleting and finding keys.
 *
 * A change is one store: of a leaf's word, or of the slot by which a new
 * subtree appears or an empty node disappears. private.h says how threads go
 * together.
 */
#include <errno.h>

#include <kho/compat.h>

#include "arena/radix/radix.h"

KHO_COMPONENT(radix, .write = { 1, KHO_RADIX_VERSION },
	      .read = { 1, KHO_RADIX_VERSION },
	      .flags = KHO_COMPONENT_STRUCTURE);

static bool too_wide(const struct kho_radix *radix, uint64_t key)
{
	return key > radix_max_key(radix->key_bits);
}

static bool writable(const struct kho_radix *radix)
{
	return !radix->ops->writable || radix->ops->writable(radix->ctx);
}

/* Number of the bit in its leaf. */
static uint64_t bit_of(const struct kho_radix *radix, uint64_t key)
{
	return key & ((1ull << KHO_RADIX_LEAF_BITS(radix->page_shift)) - 1);
}

/* Index into the inner node at @level. */
static uint64_t slot_of(const struct kho_radix *radix, uint64_t key,
			unsigned int level)
{
	return key >> radix_span(radix->page_shift, level - 1) &
	       ((1ull << KHO_RADIX_NODE_BITS(radix->page_shift)) - 1);
}

/* Highest key that is in the node of @key at @level. */
static uint64_t last_of(const struct kho_radix *radix, uint64_t key,
			unsigned int level)
{
	unsigned int span = radix_span(radix->page_shift, level);

	return span < 64 ? key | ((1ull << span) - 1) : ~0ull;
}

static uint64_t *node_ptr(const struct kho_radix *radix, uint64_t phys)
{
	return (uint64_t *)(radix->base + phys);
}

static size_t node_words(const struct kho_radix *radix)
{
	return (1ul << radix->page_shift) / sizeof(uint64_t);
}

int radix_create(struct kho_radix *radix)
{
	return radix->ops->alloc(radix->ctx, &radix->root) ? 0 : -errno;
}

/*
 * The nodes from the root, at [top], down to the leaf, at [0]. Returns the
 * lowest level there is: 0 when the path is complete. In a read section.
 */
static unsigned int go_down(const struct kho_radix *radix, uint64_t key,
			    uint64_t *path[LEVELS_MAX])
{
	unsigned int level = radix->top;
	uint64_t child;

	path[level] = node_ptr(radix, radix->root);
	while (level > 0) {
		child = __atomic_load_n(&path[level][slot_of(radix, key, level)],
					__ATOMIC_ACQUIRE);
		if (!child)
			break;
		path[--level] = node_ptr(radix, child);
	}
	return level;
}

/* The same for a writer: what it finds under its locks stays. */
static unsigned int find_path(const struct kho_radix *radix, uint64_t key,
			      uint64_t *path[LEVELS_MAX])
{
	uint64_t *section = radix_read_begin(radix);
	unsigned int level = go_down(radix, key, path);

	radix_read_end(section);
	return level;
}

/* Of @n bits from @bit on, those that are in the word of @bit. */
static uint64_t word_mask(uint64_t bit, uint64_t n)
{
	uint64_t mask = ~0ull << bit % 64;

	return n < 64 - bit % 64 ? mask & ((1ull << (bit % 64 + n)) - 1) : mask;
}

/* Set or clear @n bits of a leaf, word by word; how many have changed. */
static uint64_t leaf_change(uint64_t *leaf, uint64_t bit, uint64_t n, bool set)
{
	uint64_t end = bit + n, changed = 0;

	for (; bit < end; bit = (bit | 63) + 1) {
		uint64_t mask = word_mask(bit, end - bit);
		uint64_t old = leaf[bit / 64];
		uint64_t new = set ? old | mask : old & ~mask;

		if (new == old)
			continue;
		__atomic_store_n(&leaf[bit / 64], new, __ATOMIC_RELEASE);
		changed += (uint64_t)__builtin_popcountll(new ^ old);
	}
	return changed;
}

static void count_keys(struct radix_stripe *stripe, uint64_t n)
{
	if (stripe)
		__atomic_store_n(&stripe->keys, stripe->keys + n,
				 __ATOMIC_RELAXED);
}

/*
 * Make the leaf of @key, with @n bits set from @key on, and what is missing
 * above it. Built from below; it appears with the last store. The leaf's lock
 * is held.
 */
static int link_leaf(struct kho_radix *radix, uint64_t key, uint64_t n)
{
	uint64_t *path[LEVELS_MAX], *page;
	uint64_t fresh[LEVELS_MAX];
	unsigned int level = 0;
	int err = 0;

	do {
		page = radix->ops->alloc(radix->ctx, &fresh[level]);
		if (!page) {
			err = -errno;
			break;
		}
		if (level == 0)
			leaf_change(page, bit_of(radix, key), n, true);
		else
			page[slot_of(radix, key, level)] = fresh[level - 1];
		level++;
		radix_lock(radix_stripe(radix, level, key));
	} while (find_path(radix, key, path) != level);

	if (!err)
		__atomic_store_n(&path[level][slot_of(radix, key, level)],
				 fresh[level - 1], __ATOMIC_RELEASE);
	for (; level > 0; level--) {
		radix_unlock(radix_stripe(radix, level, key));
		if (err)
			radix->ops->free(radix->ctx, fresh[level - 1]);
	}
	return err;
}

/*
 * Add @n keys of one leaf, from @key on; @n may be 0, then the leaf is there
 * afterwards. Returns how many are new, or a negative errno.
 */
static int64_t add_run(struct kho_radix *radix, uint64_t key, uint64_t n)
{
	struct radix_stripe *stripe = radix_stripe(radix, 0, key);
	uint64_t *path[LEVELS_MAX];
	int64_t added = 0;

	radix_lock(stripe);
	if (find_path(radix, key, path) == 0) {
		n = leaf_change(path[0], bit_of(radix, key), n, true);
		added = (int64_t)n;
	} else {
		added = link_leaf(radix, key, n);
		if (!added)
			added = (int64_t)n;
	}
	if (added > 0)
		count_keys(stripe, n);
	radix_unlock(stripe);
	return added;
}

/*
 * Go on behind the node of @key at @level: false when there are no keys
 * behind it.
 */
static bool skip_node(const struct kho_radix *radix, uint64_t *key,
		      unsigned int level)
{
	uint64_t last = last_of(radix, *key, level);

	*key = last + 1;
	return last < radix_max_key(radix->key_bits);
}

/*
 * The first leaf from that of @key on, and its first key, not below @key, in
 * @key. In a read section.
 */
static bool next_leaf(const struct kho_radix *radix, uint64_t *key,
		      uint64_t **leaf)
{
	uint64_t *path[LEVELS_MAX], first, slot, n;
	unsigned int level, shift;

	while ((level = go_down(radix, *key, path)) > 0) {
		n = radix_slots(radix->page_shift, radix->key_bits, level);
		first = slot_of(radix, *key, level);
		for (slot = first + 1; slot < n; slot++)
			if (__atomic_load_n(&path[level][slot],
					    __ATOMIC_RELAXED))
				break;
		shift = radix_span(radix->page_shift, level - 1);
		if (slot < n)
			*key = ((*key >> shift) + slot - first) << shift;
		else if (!skip_node(radix, key, level))
			return false;
	}
	*leaf = path[0];
	return true;
}

/* Pages that were unlinked and wait for the next grace period. */
#define GONE_MAX 64

struct gone {
	unsigned int n;
	uint64_t phys[GONE_MAX];
};

static void free_gone(struct kho_radix *radix, struct gone *gone)
{
	if (gone->n == 0)
		return;
	radix_synchronize(radix->sync);
	while (gone->n > 0)
		radix->ops->free(radix->ctx, gone->phys[--gone->n]);
}

static bool node_empty(const struct kho_radix *radix, const uint64_t *node)
{
	/* Keys often go in order: then there is one left at either end. */
	if (node[0])
		return false;
	for (size_t i = node_words(radix) - 1; i > 0; i--)
		if (node[i])
			return false;
	return true;
}

/* Take an empty leaf out, and what gets empty by that; its lock is held. */
static void unlink_leaf(struct kho_radix *radix, uint64_t key,
			uint64_t *path[LEVELS_MAX], struct gone *gone)
{
	unsigned int level = 0;
	uint64_t *slot;

	do {
		slot = &path[level + 1][slot_of(radix, key, level + 1)];
		level++;
		radix_lock(radix_stripe(radix, level, key));
		gone->phys[gone->n++] = *slot;
		__atomic_store_n(slot, 0, __ATOMIC_RELEASE);
	} while (level < radix->top && node_empty(radix, path[level]));
	for (; level > 0; level--)
		radix_unlock(radix_stripe(radix, level, key));
}

/*
 * Delete @n keys of one leaf, from @key on, and the leaf when it is empty
 * then. Returns how many there were. @gone has room for a path.
 */
static uint64_t del_run(struct kho_radix *radix, uint64_t key, uint64_t n,
			struct gone *gone)
{
	struct radix_stripe *stripe = radix_stripe(radix, 0, key);
	uint64_t *path[LEVELS_MAX], bit = bit_of(radix, key), deleted = 0;

	radix_lock(stripe);
	if (find_path(radix, key, path) == 0) {
		deleted = leaf_change(path[0], bit, n, false);
		count_keys(stripe, -deleted);
		if (radix->top > 0 && !path[0][bit / 64] &&
		    node_empty(radix, path[0]) && !radix_is_pinned(radix, key))
			unlink_leaf(radix, key, path, gone);
	}
	radix_unlock(stripe);
	return deleted;
}

int kho_radix_add(struct kho_radix *radix, uint64_t key)
{
	int64_t added;

	if (too_wide(radix, key))
		return -ERANGE;
	if (!writable(radix))
		return -EROFS;
	added = add_run(radix, key, 1);
	if (added < 0)
		return (int)added;
	return added ? 0 : -EEXIST;
}

int kho_radix_del(struct kho_radix *radix, uint64_t key)
{
	struct gone gone;
	uint64_t deleted;

	if (too_wide(radix, key))
		return -ERANGE;
	if (!writable(radix))
		return -EROFS;
	gone.n = 0;
	deleted = del_run(radix, key, 1, &gone);
	free_gone(radix, &gone);
	return deleted ? 0 : -ENOENT;
}

static int check_range(const struct kho_radix *radix, uint64_t first,
		       uint64_t last)
{
	if (first > last)
		return -EINVAL;
	if (too_wide(radix, last))
		return -ERANGE;
	return writable(radix) ? 0 : -EROFS;
}

/* Of the keys up to @last, how many are in the leaf of @key, from it on. */
static uint64_t run_length(const struct kho_radix *radix, uint64_t key,
			   uint64_t last)
{
	uint64_t end = last_of(radix, key, 0);

	return (end < last ? end : last) - key + 1;
}

/* Each leaf's run, or with @make_leaves only the leaves. */
static int add_runs(struct kho_radix *radix, uint64_t first, uint64_t last,
		    bool make_leaves)
{
	uint64_t key = first, n;
	int64_t added;

	for (;;) {
		n = run_length(radix, key, last);
		added = add_run(radix, key, make_leaves ? 0 : n);
		if (added < 0)
			return (int)added;
		if (key + n - 1 == last)
			return 0;
		key += n;
	}
}

/* Delete the keys; or, with @prune, only the leaves that are empty. */
static void del_runs(struct kho_radix *radix, uint64_t first, uint64_t last,
		     bool prune)
{
	struct gone gone = { .n = 0 };
	uint64_t key = first, n, *leaf, *section;
	bool found;

	for (;;) {
		section = radix_read_begin(radix);
		found = next_leaf(radix, &key, &leaf);
		radix_read_end(section);
		if (!found || key > last)
			break;
		n = run_length(radix, key, last);
		if (gone.n + LEVELS_MAX > GONE_MAX)
			free_gone(radix, &gone);
		del_run(radix, key, prune ? 0 : n, &gone);
		key += n - 1;
		if (key == last)
			break;
		key++;
	}
	free_gone(radix, &gone);
}

int kho_radix_add_range(struct kho_radix *radix, uint64_t first, uint64_t last)
{
	struct radix_pin pin = { .first = first, .last = last };
	int err = check_range(radix, first, last);

	if (err)
		return err;
	if (last <= last_of(radix, first, 0))
		return add_runs(radix, first, last, false);
	/* First the leaves, which may fail, and nobody takes them away. */
	radix_pin(radix, &pin);
	err = add_runs(radix, first, last, true);
	if (!err)
		err = add_runs(radix, first, last, false);
	radix_unpin(radix, &pin);
	/* All of the range: others may have left a leaf because of the pin. */
	if (err)
		del_runs(radix, first, last, true);
	return err;
}

int kho_radix_del_range(struct kho_radix *radix, uint64_t first, uint64_t last)
{
	int err = check_range(radix, first, last);

	if (!err)
		del_runs(radix, first, last, false);
	return err;
}

static uint64_t load_word(const uint64_t *leaf, uint64_t bit)
{
	return __atomic_load_n(&leaf[bit / 64], __ATOMIC_ACQUIRE);
}

bool kho_radix_test(const struct kho_radix *radix, uint64_t key)
{
	uint64_t *path[LEVELS_MAX], *section, bit = bit_of(radix, key);
	bool found;

	if (too_wide(radix, key))
		return false;
	section = radix_read_begin(radix);
	found = go_down(radix, key, path) == 0 &&
		load_word(path[0], bit) >> bit % 64 & 1;
	radix_read_end(section);
	return found;
}

/*
 * The first word that has keys from @key on: these keys in @word, and in @key
 * that of its lowest bit.
 */
static bool next_word(const struct kho_radix *radix, uint64_t *key,
		      uint64_t *word)
{
	uint64_t leaf_bits = 1ull << KHO_RADIX_LEAF_BITS(radix->page_shift);
	uint64_t *section, *leaf, bit;

	do {
		section = radix_read_begin(radix);
		if (!next_leaf(radix, key, &leaf)) {
			radix_read_end(section);
			return false;
		}
		*word = 0;
		for (bit = bit_of(radix, *key); bit < leaf_bits;
		     bit = (bit | 63) + 1) {
			*word = load_word(leaf, bit) & ~0ull << bit % 64;
			if (*word)
				break;
		}
		radix_read_end(section);
		if (*word) {
			*key = (*key & ~(leaf_bits - 1)) | (bit & ~63ull);
			return true;
		}
	} while (skip_node(radix, key, 0));
	return false;
}

int kho_radix_next(const struct kho_radix *radix, uint64_t from, uint64_t *key)
{
	uint64_t word;

	if (too_wide(radix, from))
		return -ERANGE;
	if (!next_word(radix, &from, &word))
		return -ENOENT;
	*key = from | (uint64_t)__builtin_ctzll(word);
	return 0;
}

int kho_radix_for_each(const struct kho_radix *radix,
		       int (*key)(uint64_t key, void *arg), void *arg)
{
	uint64_t at = 0, word;
	int ret;

	while (next_word(radix, &at, &word)) {
		for (; word; word &= word - 1) {
			ret = key(at | (uint64_t)__builtin_ctzll(word), arg);
			if (ret)
				return ret;
		}
		at |= 63;
		if (at >= radix_max_key(radix->key_bits))
			break;
		at++;
	}
	return 0;
}

/* The first key of a leaf, or behind its last one, that is not set. */
static uint64_t leaf_gap(const uint64_t *leaf, uint64_t bit, uint64_t leaf_bits)
{
	uint64_t gaps;

	for (; bit < leaf_bits; bit = (bit | 63) + 1) {
		gaps = ~load_word(leaf, bit) & ~0ull << bit % 64;
		if (gaps)
			return (bit & ~63ull) | (uint64_t)__builtin_ctzll(gaps);
	}
	return leaf_bits;
}

int kho_radix_next_gap(const struct kho_radix *radix, uint64_t from,
		       uint64_t *key)
{
	uint64_t leaf_bits = 1ull << KHO_RADIX_LEAF_BITS(radix->page_shift);
	uint64_t *path[LEVELS_MAX], *section, bit, gap;

	if (too_wide(radix, from))
		return -ERANGE;
	do {
		gap = bit = bit_of(radix, from);
		/* A section for each leaf: full ones can be many. */
		section = radix_read_begin(radix);
		if (go_down(radix, from, path) == 0)
			gap = leaf_gap(path[0], bit, leaf_bits);
		radix_read_end(section);
		if (gap < leaf_bits) {
			*key = from - bit + gap;
			return too_wide(radix, *key) ? -ENOENT : 0;
		}
	} while (skip_node(radix, &from, 0));
	return -ENOENT;
}

uint64_t kho_radix_count(const struct kho_radix *radix)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < STRIPES; i++)
		n += __atomic_load_n(&radix->sync->stripes[0][i].keys,
				     __ATOMIC_RELAXED);
	return n;
}

static void free_below(struct kho_radix *radix, uint64_t phys,
		       unsigned int level)
{
	uint64_t *node = node_ptr(radix, phys);

	for (size_t i = 0; level > 0 && i < node_words(radix); i++)
		if (node[i])
			free_below(radix, node[i], level - 1);
	radix->ops->free(radix->ctx, phys);
}

/* Give all pages back. Nobody else uses the tree. */
void radix_free_pages(struct kho_radix *radix)
{
	uint64_t *root = node_ptr(radix, radix->root), child;

	/* A subtree is out of the tree before its first page goes. */
	for (size_t i = 0; radix->top > 0 && i < node_words(radix); i++) {
		child = root[i];
		if (!child)
			continue;
		__atomic_store_n(&root[i], 0, __ATOMIC_RELEASE);
		free_below(radix, child, radix->top - 1);
	}
	radix->ops->free(radix->ctx, radix->root);
}
