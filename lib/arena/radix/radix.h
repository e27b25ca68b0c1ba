/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * What the files of radix share, and the core, whose tracker is a tree of its
 * own kind: its nodes are not in the tracker, and the page allocator's lock
 * serializes it.
 *
 * How threads go together
 * -----------------------
 *
 * A node has a level, 0 being the leaves, and a position: what its keys have
 * in common. Every position has a lock, one of a few stripes for each level,
 * so locks are known before there is a node.
 *
 *  1. A node's words change only under the lock of its position.
 *  2. A node is linked or unlinked under its own lock and its parent's.
 *  3. Locks are taken from the leaf upwards, one of each level at most: no
 *     deadlock.
 *  4. A node is unlinked only when it is empty; an unlinked node never changes
 *     again.
 *  5. Pages that were unlinked are freed after a grace period (grace.h): when
 *     everybody has left who was between radix_read_begin() and
 *     radix_read_end() at the time.
 *
 * A lookup goes down from the root between begin and end. By 5 no page it
 * meets is freed and reused. It sees every word either before or after a
 * change, as a change is one store. So lookups are always right, without a
 * lock.
 *
 * A writer that holds the lock of a position and looks up the node there
 * learns the truth, although nodes above may come and go meanwhile:
 *
 *  - Where there is a node, it stays while we hold its lock (2). Then no node
 *    above it is empty, so none of them is unlinked (4), and every slot on the
 *    way down holds what it held when the node was linked. Whoever linked it
 *    released our lock before we took it, and had seen all the links above:
 *    so do we.
 *  - Where there is none, we might only find one that was unlinked before.
 *    But whoever unlinked it cleared the slot that we would have to read, and
 *    then released our lock; no later link of that position can have happened.
 *    (Reached through a parent that is unlinked itself, the slot is just as
 *    clear: 4.)
 */
#ifndef KHO_RADIX_PRIVATE_H
#define KHO_RADIX_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/radix.h>

#include "base/grace.h"

#pragma GCC visibility push(hidden)

/* Levels of the deepest tree: 64 bit keys in pages of 4 KiB. */
#define LEVELS_MAX KHO_RADIX_LEVELS(64, 12)

/*
 * struct radix_ops - where a tree's pages come from
 * @alloc: a zeroed page: its pointer, and its phys in @phys; NULL and errno
 *         when there is none
 * @free: give a page back
 * @writable: may the tree be changed; NULL: always
 */
struct radix_ops {
	void *(*alloc)(void *ctx, uint64_t *phys);
	void (*free)(void *ctx, uint64_t phys);
	bool (*writable)(const void *ctx);
};

struct kho_radix {
	const struct radix_ops *ops;
	void *ctx; /* for them */
	char *base; /* of phys 0 */
	unsigned int page_shift;
	unsigned int key_bits;
	unsigned int top; /* level of the root */
	uint64_t root;
	struct radix_sync *sync; /* NULL: the user serializes everything */
};

/* tree.c */
int radix_create(struct kho_radix *radix);
void radix_free_pages(struct kho_radix *radix);

/* verify.c */
int radix_read(const struct kho_mem *mem, uint64_t root, unsigned int key_bits,
	       const struct kho_radix_walk *walk, struct kho_radix_stats *stats,
	       struct kho_error *err);

/* Bits of the key that a node at @level resolves, with all below it. */
static inline unsigned int radix_span(unsigned int page_shift,
				      unsigned int level)
{
	return KHO_RADIX_LEAF_BITS(page_shift) +
	       level * KHO_RADIX_NODE_BITS(page_shift);
}

static inline uint64_t radix_max_key(unsigned int key_bits)
{
	return ~0ull >> (64 - key_bits);
}

/* Slots of a node at @level that keys can have: the root may have more. */
static inline uint64_t radix_slots(unsigned int page_shift,
				   unsigned int key_bits, unsigned int level)
{
	unsigned int shift = radix_span(page_shift, level - 1);
	uint64_t all = 1ull << KHO_RADIX_NODE_BITS(page_shift);
	uint64_t used = (radix_max_key(key_bits) >> shift) + 1;

	return used < all ? used : all;
}

/* ---- Threads: sync.c ---- */

#define STRIPES 32

struct radix_stripe {
	_Alignas(64) pthread_mutex_t lock;
	uint64_t keys; /* in the leaves under this lock; modulo 2^64 */
};

/* Keys whose leaves must not be unlinked, though they may be empty. */
struct radix_pin {
	uint64_t first, last;
	struct radix_pin *next;
};

struct radix_sync {
	struct grace grace;
	pthread_mutex_t pin_lock;
	struct radix_pin *pins;
	unsigned int levels;
	struct radix_stripe stripes[][STRIPES]; /* by level */
};

struct radix_sync *radix_sync_new(unsigned int levels);
void radix_sync_free(struct radix_sync *sync);
void radix_synchronize(struct radix_sync *sync);
void radix_pin(struct kho_radix *radix, struct radix_pin *pin);
void radix_unpin(struct kho_radix *radix, struct radix_pin *pin);
bool radix_is_pinned(struct kho_radix *radix, uint64_t key);

static inline uint64_t radix_hash(uint64_t x)
{
	return x * 0x9e3779b97f4a7c15ull >> 32;
}

/* The stripe of the position that @key has at @level; NULL: no locks. */
static inline struct radix_stripe *
radix_stripe(const struct kho_radix *radix, unsigned int level, uint64_t key)
{
	unsigned int span = radix_span(radix->page_shift, level);

	if (!radix->sync)
		return NULL;
	return &radix->sync->stripes[level]
				    [radix_hash(span < 64 ? key >> span : 0) %
				     STRIPES];
}

static inline void radix_lock(struct radix_stripe *stripe)
{
	if (stripe)
		pthread_mutex_lock(&stripe->lock);
}

static inline void radix_unlock(struct radix_stripe *stripe)
{
	if (stripe)
		pthread_mutex_unlock(&stripe->lock);
}

static inline uint64_t *radix_read_begin(const struct kho_radix *radix)
{
	return radix->sync ? grace_enter(&radix->sync->grace) : NULL;
}

static inline void radix_read_end(uint64_t *counter)
{
	if (counter)
		grace_leave(counter);
}

#pragma GCC visibility pop

#endif
