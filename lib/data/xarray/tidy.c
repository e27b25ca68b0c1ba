// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Changing single words, freeing, and clearing up what a kill left over. */
#include "data/xarray/private.h"

/*
 * Change a word that is covered by @check: three stores, and after each of
 * them one of the two sums is right. Both are right before, as xa_repair()
 * has seen to.
 */
void xa_put(uint64_t check[2], uint64_t *word, uint64_t value)
{
	size_t i = (size_t)(word - &check[2]);
	uint64_t sum = check[0] - mix(i, *word) + mix(i, value);

	__atomic_store_n(&check[1], sum, __ATOMIC_RELEASE);
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	__atomic_store_n(&check[0], sum, __ATOMIC_RELEASE);
}

/* Empty the slots of an entry: it goes with the first store, as a whole. */
void xa_clear_slots(struct kho_xa *xa, xa_node *node, unsigned int slot,
		    unsigned int n)
{
	xa_put(node->check, &node->slots[slot], 0);
	if (n > 1)
		__atomic_store_n(&xa->dissolved, xa->dissolved + 1,
				 __ATOMIC_RELEASE);
	while (n-- > 1)
		xa_put(node->check, &node->slots[slot + n], 0);
	for (int mark = 0; mark < MARKS; mark++)
		if (node->marks[mark] >> slot & 1)
			xa_put(node->check, &node->marks[mark],
			       node->marks[mark] & ~(1ull << slot));
}

bool xa_node_empty(const xa_node *node)
{
	for (unsigned int slot = 0; slot < SLOTS; slot++)
		if (node->slots[slot])
			return false;
	return true;
}

/* Free what belongs to an entry that nobody can find any more. */
void xa_free_entry(struct kho_xa *xa, uint64_t entry)
{
	xa_node *node;

	if (is_node(entry)) {
		node = entry_ptr(xa, entry);
		for (unsigned int slot = 0; slot < SLOTS; slot++)
			xa_free_entry(xa, node->slots[slot]);
	}
	if (is_node(entry) || is_wide(entry))
		kho_kfree(xa->kmem, entry_ptr(xa, entry));
}

/*
 * Take roots away that lead to one node only, or to nothing. The array is
 * locked.
 */
void xa_shrink(struct kho_xa *xa)
{
	struct kho_xarray_head *head = xa->head;
	uint64_t root, first;
	xa_node *node;

	while ((root = head->root)) {
		node = entry_ptr(xa, root);
		first = node->slots[0];
		if (first && !is_node(first))
			return;
		for (unsigned int slot = 1; slot < SLOTS; slot++)
			if (node->slots[slot])
				return;
		xa_put(head->check, &head->root, first);
		grace_wait(xa->grace);
		kho_kfree(xa->kmem, node);
	}
}

/* ---- After a kill ---- */

/* One of the sums is right: make it both. */
static void repair_check(uint64_t check[2], uint64_t sum)
{
	__atomic_store_n(&check[0], sum, __ATOMIC_RELEASE);
	__atomic_store_n(&check[1], sum, __ATOMIC_RELEASE);
}

static void repair_siblings(struct kho_xa *xa, xa_node *node)
{
	for (unsigned int slot = 0; slot < SLOTS; slot++) {
		uint64_t entry = node->slots[slot];

		if (!is_sibling(entry) || node->slots[sibling_slot(entry)])
			continue;
		__atomic_store_n(&xa->dissolved, xa->dissolved + 1,
				 __ATOMIC_RELEASE);
		xa_put(node->check, &node->slots[slot], 0);
	}
}

/* Has the entry, or anything below it, a mark that @node says it has? */
static bool mark_is_true(const struct kho_xa *xa, uint64_t entry, int mark)
{
	const xa_node *child;

	if (!is_node(entry))
		return entry;
	child = entry_ptr(xa, entry);
	return child->marks[mark];
}

static void repair_marks(struct kho_xa *xa, xa_node *node, int mark)
{
	uint64_t marks = node->marks[mark];

	for (unsigned int slot = 0; slot < SLOTS; slot++)
		if (!mark_is_true(xa, node->slots[slot], mark))
			marks &= ~(1ull << slot);
	if (marks != node->marks[mark])
		xa_put(node->check, &node->marks[mark], marks);
}

static void repair_node(struct kho_xa *xa, xa_node *node)
{
	repair_check(node->check, node_sum(node));
	repair_siblings(xa, node);
	for (unsigned int slot = 0; slot < SLOTS; slot++) {
		uint64_t entry = node->slots[slot];

		if (!is_node(entry))
			continue;
		repair_node(xa, entry_ptr(xa, entry));
		if (!xa_node_empty(entry_ptr(xa, entry)))
			continue;
		xa_put(node->check, &node->slots[slot], 0);
		grace_wait(xa->grace);
		xa_free_entry(xa, entry);
	}
	for (int mark = 0; mark < MARKS; mark++)
		repair_marks(xa, node, mark);
}

/* Clear up what abi/xarray.h says may be left over. The array is locked. */
void xa_repair(struct kho_xa *xa)
{
	uint64_t root = xa->head->root;

	repair_check(xa->head->check, head_sum(xa->head));
	if (root)
		repair_node(xa, entry_ptr(xa, root));
	xa_shrink(xa);
	xa->unclean = false;
}
