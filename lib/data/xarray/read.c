// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Readers: they take no lock; private.h says why that is right. */
#include <assert.h>
#include <errno.h>

#include "data/xarray/private.h"

static uint64_t load_dissolved(const struct kho_xa *xa)
{
	return load_word(&xa->dissolved);
}

/*
 * The node that has the entry for @index, its canonical slot, and the entry;
 * NULL when there is none. Inside a grace period, or under the lock.
 */
const xa_node *xa_seek(const struct kho_xa *xa, uint64_t index,
		       unsigned int *slot, uint64_t *entry)
{
	uint64_t dissolved;
	const xa_node *node;

again:
	dissolved = load_dissolved(xa);
	*entry = load_root(xa);
	if (!*entry)
		return NULL;
	node = entry_ptr(xa, *entry);
	if (index > node_last(node))
		return NULL;
	for (;;) {
		*slot = slot_of(node->shift, index);
		*entry = load_word(&node->slots[*slot]);
		if (is_sibling(*entry)) {
			*slot = sibling_slot(*entry);
			*entry = load_word(&node->slots[*slot]);
			if (load_dissolved(xa) != dissolved)
				goto again;
		}
		if (!is_node(*entry))
			return *entry ? node : NULL;
		node = entry_ptr(xa, *entry);
	}
}

static uint64_t entry_value(const struct kho_xa *xa, uint64_t entry)
{
	const struct kho_xarray_wide *wide;

	if (is_value(entry))
		return entry >> 1;
	if (is_phys(entry))
		return entry;
	wide = entry_ptr(xa, entry);
	return wide->value;
}

int kho_xa_load(const struct kho_xa *xa, uint64_t index, uint64_t *value)
{
	uint64_t *inside = grace_enter(xa->grace);
	unsigned int slot;
	uint64_t entry;
	bool found;

	found = xa_seek(xa, index, &slot, &entry);
	if (found)
		*value = entry_value(xa, entry);
	grace_leave(inside);
	return found ? 0 : -ENOENT;
}

void *kho_xa_load_ptr(const struct kho_xa *xa, uint64_t index)
{
	uint64_t *inside = grace_enter(xa->grace);
	unsigned int slot;
	uint64_t entry;
	bool found;

	found = xa_seek(xa, index, &slot, &entry);
	grace_leave(inside);
	return found && is_phys(entry) ? kho_ptr(xa->kho, entry, 1) : NULL;
}

bool kho_xa_get_mark(const struct kho_xa *xa, uint64_t index,
		     enum kho_xa_mark mark)
{
	const xa_node *node;
	uint64_t *inside;
	unsigned int slot;
	uint64_t entry;
	bool marked;

	assert(mark <= KHO_XA_PRESENT);
	inside = grace_enter(xa->grace);
	node = xa_seek(xa, index, &slot, &entry);
	marked = node && has_mark(node, slot, mark);
	grace_leave(inside);
	return marked;
}

/* The first slot from @slot on that may be what is looked for, or SLOTS. */
static unsigned int next_slot(const xa_node *node, unsigned int slot,
			      enum kho_xa_mark mark)
{
	uint64_t entry;

	for (; slot < SLOTS; slot++) {
		if (mark != KHO_XA_PRESENT) {
			uint64_t bits = load_word(&node->marks[mark]) >> slot;

			if (!bits)
				return SLOTS;
			slot += (unsigned int)__builtin_ctzll(bits);
		}
		entry = load_word(&node->slots[slot]);
		if (entry && !is_sibling(entry))
			break;
	}
	return slot;
}

enum find { FOUND, NOT_THERE, AGAIN };

/*
 * Find the first entry from *@index on that is in the tree of @node, which has
 * *@index. When it is NOT_THERE, *@index is the last one of a node in which
 * there is none from the old *@index on. AGAIN: it has changed meanwhile.
 */
static enum find find_in(const struct kho_xa *xa, const xa_node *node,
			 uint64_t *index, enum kho_xa_mark mark,
			 struct kho_xa_entry *found)
{
	unsigned int slot, first;
	uint64_t entry;

	for (;; node = entry_ptr(xa, entry)) {
		first = slot_of(node->shift, *index);
		entry = load_word(&node->slots[first]);
		slot = is_sibling(entry) ? sibling_slot(entry) : first;
		entry = load_word(&node->slots[slot]);
		if (!entry || is_sibling(entry) ||
		    !has_mark(node, slot, mark)) {
			slot = next_slot(node, first, mark);
			if (slot == SLOTS) {
				*index = node_last(node);
				return NOT_THERE;
			}
			entry = load_word(&node->slots[slot]);
			if (slot > first)
				*index = node->index +
					 ((uint64_t)slot << node->shift);
		}
		if (!is_node(entry))
			break;
		if (slot < first)
			return AGAIN;
	}
	if (!entry || is_sibling(entry))
		return AGAIN;
	found->kind = is_phys(entry) ? KHO_XA_PHYS : KHO_XA_VALUE;
	found->value = entry_value(xa, entry);
	found->index = node->index + ((uint64_t)slot << node->shift);
	found->last =
		last_index(found->index, entry_slots(node, slot), node->shift);
	return FOUND;
}

/* kho_xa_find(), inside a grace period. */
static bool find(const struct kho_xa *xa, struct kho_xa_entry *entry,
		 uint64_t index, uint64_t last, enum kho_xa_mark mark)
{
	uint64_t dissolved, root;
	const xa_node *node;

	for (;;) {
		dissolved = load_dissolved(xa);
		root = load_root(xa);
		if (!root)
			return false;
		node = entry_ptr(xa, root);
		if (index > node_last(node))
			return false;
		switch (find_in(xa, node, &index, mark, entry)) {
		case FOUND:
			if (load_dissolved(xa) == dissolved)
				return entry->index <= last;
			break;
		case NOT_THERE:
			if (index >= last)
				return false;
			index++;
			break;
		case AGAIN:
			break;
		}
	}
}

bool kho_xa_find(const struct kho_xa *xa, struct kho_xa_entry *entry,
		 uint64_t first, uint64_t last, enum kho_xa_mark mark)
{
	uint64_t *inside;
	bool found;

	assert(mark <= KHO_XA_PRESENT);
	inside = grace_enter(xa->grace);
	found = first <= last && find(xa, entry, first, last, mark);
	grace_leave(inside);
	if (!found)
		entry->kind = KHO_XA_NONE;
	return found;
}

bool kho_xa_find_after(const struct kho_xa *xa, struct kho_xa_entry *entry,
		       uint64_t last, enum kho_xa_mark mark)
{
	if (entry->kind != KHO_XA_NONE && entry->last < last)
		return kho_xa_find(xa, entry, entry->last + 1, last, mark);
	entry->kind = KHO_XA_NONE;
	return false;
}

bool kho_xa_empty(const struct kho_xa *xa)
{
	struct kho_xa_entry entry;

	return !kho_xa_find(xa, &entry, 0, UINT64_MAX, KHO_XA_PRESENT);
}

bool kho_xa_marked(const struct kho_xa *xa, enum kho_xa_mark mark)
{
	struct kho_xa_entry entry;

	return kho_xa_find(xa, &entry, 0, UINT64_MAX, mark);
}
