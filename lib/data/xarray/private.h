/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * What the files of xarray share.
 *
 * Writers take xa->lock. Readers take none. They see every word before or
 * after a change, and what they can reach is freed after a grace period only.
 * That leaves one trap, multi-index entries: a reader that has seen a sibling
 * goes on to its canonical slot, and by then the entry may be gone and another
 * one, for fewer indices, be there. So whoever takes a multi-index entry apart
 * in place counts xa->dissolved up after the canonical slot is empty, before
 * the first sibling goes; a reader that finds it changed starts again.
 */
#ifndef KHO_XARRAY_PRIVATE_H
#define KHO_XARRAY_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <kho/abi/xarray.h>
#include <kho/kmalloc.h>
#include <kho/pages.h>
#include <kho/xarray.h>

#include "base/grace.h"
#include "base/reader.h"
#include "arena/arena.h"

#pragma GCC visibility push(hidden)

#define SLOTS KHO_XARRAY_SLOTS
#define SLOT_BITS KHO_XARRAY_SLOT_BITS
#define MARKS KHO_XARRAY_MARKS
#define SHIFT_MAX KHO_XARRAY_SHIFT_MAX
#define LEVELS (SHIFT_MAX / SLOT_BITS + 1)

/* Values from here on are wide. */
#define WIDE_MIN (1ull << 63)

typedef struct kho_xarray_node xa_node;

struct kho_xa {
	struct kho *kho;
	struct kho_kmem *kmem;
	struct kho_xarray_head *head;
	uint64_t phys;
	pthread_mutex_t lock; /* of writers */
	bool unclean; /* a program that was killed left something over */
	uint64_t dissolved; /* atomic: multi-index entries that were erased */
	struct grace *grace;
};

/* ---- Entries ---- */

static inline bool is_value(uint64_t entry)
{
	return entry & KHO_XARRAY_VALUE;
}

static inline bool is_phys(uint64_t entry)
{
	return entry && !(entry & 3);
}

static inline bool is_node(uint64_t entry)
{
	return (entry & KHO_XARRAY_TAG_MASK) == KHO_XARRAY_TAG_NODE;
}

static inline bool is_wide(uint64_t entry)
{
	return (entry & KHO_XARRAY_TAG_MASK) == KHO_XARRAY_TAG_WIDE;
}

static inline bool is_sibling(uint64_t entry)
{
	return (entry & KHO_XARRAY_TAG_MASK) == KHO_XARRAY_TAG_SIBLING;
}

static inline uint64_t make_sibling(unsigned int slot)
{
	return (uint64_t)slot << 4 | KHO_XARRAY_TAG_SIBLING;
}

static inline unsigned int sibling_slot(uint64_t entry)
{
	return entry >> 4 & (SLOTS - 1);
}

static inline uint64_t entry_phys(uint64_t entry)
{
	return entry & ~KHO_XARRAY_TAG_MASK;
}

/* Of an entry that is known to be good. */
static inline void *entry_ptr(const struct kho_xa *xa, uint64_t entry)
{
	return xa->kho->base + entry_phys(entry);
}

static inline uint64_t make_entry(const struct kho_xa *xa, const void *object,
				  unsigned int tag)
{
	return kho_phys(xa->kho, object) | tag;
}

/* ---- Nodes ---- */

static inline uint64_t load_word(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline uint64_t load_root(const struct kho_xa *xa)
{
	return load_word(&xa->head->root);
}

static inline unsigned int slot_of(uint32_t shift, uint64_t index)
{
	return index >> shift & (SLOTS - 1);
}

/* Last of the indices that @n slots from @index on have. */
static inline uint64_t last_index(uint64_t index, uint64_t n, uint32_t shift)
{
	return index + ((n - 1) << shift) + ((1ull << shift) - 1);
}

/* Slots that exist: the topmost possible node has indices for 16. */
static inline unsigned int slots_in(uint32_t shift)
{
	return shift == SHIFT_MAX ? 1u << (64 - SHIFT_MAX) : SLOTS;
}

static inline uint64_t node_last(const xa_node *node)
{
	return last_index(node->index, slots_in(node->shift), node->shift);
}

/* Slots of the entry whose canonical slot this is. */
static inline unsigned int entry_slots(const xa_node *node, unsigned int slot)
{
	unsigned int n = 1;

	while (slot + n < SLOTS &&
	       load_word(&node->slots[slot + n]) == make_sibling(slot))
		n++;
	return n;
}

static inline bool has_mark(const xa_node *node, unsigned int slot,
			    enum kho_xa_mark mark)
{
	return mark == KHO_XA_PRESENT ||
	       load_word(&node->marks[mark]) >> slot & 1;
}

/* ---- The check ---- */

/* Word number @i, counted from the first that is behind the check. */
static inline uint64_t mix(size_t i, uint64_t word)
{
	uint64_t x = word + (i + 1) * KHO_XARRAY_CHECK_STEP;

	x = (x ^ x >> 32) * KHO_XARRAY_CHECK_MIX;
	return x ^ x >> 32;
}

static inline uint64_t check_sum(const void *words, size_t n)
{
	uint64_t sum = 0, word;

	for (size_t i = 0; i < n; i++) {
		memcpy(&word, (const char *)words + i * sizeof(word),
		       sizeof(word));
		sum += mix(i, word);
	}
	return sum;
}

#define HEAD_WORDS ((sizeof(struct kho_xarray_head) - 16) / 8)
#define NODE_WORDS ((sizeof(xa_node) - 16) / 8)
#define WIDE_WORDS ((sizeof(struct kho_xarray_wide) - 8) / 8)

static inline uint64_t head_sum(const struct kho_xarray_head *head)
{
	return check_sum(&head->magic, HEAD_WORDS);
}

static inline uint64_t node_sum(const xa_node *node)
{
	return check_sum(&node->head, NODE_WORDS);
}

static inline uint64_t wide_sum(const struct kho_xarray_wide *wide)
{
	return check_sum(&wide->head, WIDE_WORDS);
}

/*
 * struct array_reader - an array that is being read; every byte of it is hostile
 * @in: the memory it is in
 * @kmem: check that everything is an allocated object of it; may be NULL
 * @kho: of @kmem
 * @phys: of the head
 * @head: result
 * @stats: result
 * @unclean: result: a program that was killed left something over
 */
struct array_reader {
	struct reader in;
	const struct kho_kmem *kmem;
	const struct kho *kho;
	uint64_t phys;
	struct kho_xarray_head head;
	struct kho_xa_stats stats;
	bool unclean;
};

/* read.c */
const xa_node *xa_seek(const struct kho_xa *xa, uint64_t index,
		       unsigned int *slot, uint64_t *entry);

/* tidy.c */
void xa_put(uint64_t check[2], uint64_t *word, uint64_t value);
void xa_clear_slots(struct kho_xa *xa, xa_node *node, unsigned int slot,
		    unsigned int n);
bool xa_node_empty(const xa_node *node);
void xa_free_entry(struct kho_xa *xa, uint64_t entry);
void xa_shrink(struct kho_xa *xa);
void xa_repair(struct kho_xa *xa);

/* verify.c */
int xa_read(struct array_reader *r);

#pragma GCC visibility pop

#endif
