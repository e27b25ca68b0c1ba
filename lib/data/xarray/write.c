// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Writers: store, erase, marks.
 *
 * A store has two parts. The first one allocates whatever will be needed and
 * may fail; the second one stores, entry by entry, and cannot.
 */
#include <errno.h>

#include "data/xarray/private.h"

/* From the root, at [top], down to where an index leads, at [level]. */
struct path {
	unsigned int top;
	unsigned int level;
	xa_node *node[LEVELS];
	unsigned int slot[LEVELS]; /* canonical ones */
};

/* What is to be stored. */
struct item {
	uint64_t value;
	bool phys;
};

/* A range is made of as many entries at most: two of each order. */
#define ENTRIES_MAX 128

/* New nodes: one of each level at either end of the range, and a copy. */
#define NODES_MAX (2 * LEVELS + 1)

struct reserve {
	unsigned int n_nodes;
	unsigned int n_wide;
	xa_node *node[NODES_MAX];
	struct kho_xarray_wide *wide[ENTRIES_MAX];
};

/* Lock the array for a change; 0, or -EROFS and it is not locked. */
static int lock(struct kho_xa *xa)
{
	pthread_mutex_lock(&xa->lock);
	if (!kho_writable(xa->kho)) {
		pthread_mutex_unlock(&xa->lock);
		return -EROFS;
	}
	if (xa->unclean)
		xa_repair(xa);
	return 0;
}

static void unlock(struct kho_xa *xa)
{
	pthread_mutex_unlock(&xa->lock);
}

/*
 * Go down to @level or, when there is an entry or nothing above it, as far as
 * that. There is a root, which covers @index and is not below @level.
 */
static uint64_t descend(const struct kho_xa *xa, uint64_t index,
			unsigned int level, struct path *path)
{
	xa_node *node = entry_ptr(xa, xa->head->root);
	unsigned int l = node->shift / SLOT_BITS, slot;
	uint64_t entry;

	for (path->top = l;; l--) {
		slot = slot_of(node->shift, index);
		entry = node->slots[slot];
		if (is_sibling(entry)) {
			slot = sibling_slot(entry);
			entry = node->slots[slot];
		}
		path->level = l;
		path->node[l] = node;
		path->slot[l] = slot;
		if (l == level || !is_node(entry))
			return entry;
		node = entry_ptr(xa, entry);
	}
}

/* The same, to the entry that is at @index; false when there is none. */
static bool descend_to_entry(const struct kho_xa *xa, uint64_t index,
			     struct path *path, uint64_t *entry)
{
	uint64_t root = xa->head->root;

	if (!root || index > node_last(entry_ptr(xa, root)))
		return false;
	*entry = descend(xa, index, 0, path);
	return *entry;
}

/* Let whatever pointed to the node at @level of the path be @entry. */
static void relink(struct kho_xa *xa, const struct path *path,
		   unsigned int level, uint64_t entry)
{
	xa_node *parent;

	if (level == path->top) {
		xa_put(xa->head->check, &xa->head->root, entry);
		return;
	}
	parent = path->node[level + 1];
	xa_put(parent->check, &parent->slots[path->slot[level + 1]], entry);
}

/*
 * Something at the end of the path went: unlink nodes that are empty now, and
 * clear the marks above that nothing has any more.
 */
static void tidy_up(struct kho_xa *xa, const struct path *path)
{
	xa_node *gone[LEVELS], *node, *parent;
	unsigned int n = 0, slot;
	bool changed = true;

	for (unsigned int l = path->level; changed && l < path->top; l++) {
		node = path->node[l];
		parent = path->node[l + 1];
		slot = path->slot[l + 1];
		changed = xa_node_empty(node);
		if (changed) {
			xa_clear_slots(xa, parent, slot, 1);
			gone[n++] = node;
			continue;
		}
		for (int m = 0; m < MARKS; m++) {
			if (node->marks[m] || !(parent->marks[m] >> slot & 1))
				continue;
			xa_put(parent->check, &parent->marks[m],
			       parent->marks[m] & ~(1ull << slot));
			changed = true;
		}
	}
	if (n)
		grace_wait(xa->grace);
	while (n)
		kho_kfree(xa->kmem, gone[--n]);
}

/* ---- Building ---- */

static void node_init(const struct kho_xa *xa, xa_node *node, uint64_t index,
		      unsigned int level)
{
	memset(node, 0, sizeof(*node));
	node->head.phys = xa->phys;
	node->magic = KHO_XARRAY_NODE_MAGIC;
	node->shift = level * SLOT_BITS;
	if (level < LEVELS - 1)
		node->index = index & ~0ull << (node->shift + SLOT_BITS);
}

static void node_seal(xa_node *node)
{
	node->check[0] = node_sum(node);
	node->check[1] = node->check[0];
}

/* Store one entry over @n slots of a node that nobody can find yet. */
static void node_fill(xa_node *node, unsigned int slot, unsigned int n,
		      uint64_t entry)
{
	node->slots[slot] = entry;
	for (unsigned int i = 1; i < n; i++)
		node->slots[slot + i] = make_sibling(slot);
}

/* The entry for @item; a wide value comes from the reserve. */
static uint64_t item_entry(const struct kho_xa *xa, const struct item *item,
			   uint64_t index, struct reserve *reserve)
{
	struct kho_xarray_wide *wide;

	if (item->phys)
		return item->value;
	if (item->value < WIDE_MIN)
		return item->value << 1 | KHO_XARRAY_VALUE;
	wide = reserve->wide[--reserve->n_wide];
	wide->head.phys = xa->phys;
	wide->index = index;
	wide->value = item->value;
	wide->check = wide_sum(wide);
	return make_entry(xa, wide, KHO_XARRAY_TAG_WIDE);
}

/* ---- First part: allocate ---- */

/*
 * Let the tree have a root of @level at least that covers @last. A node more
 * at the top changes nothing, so each one is linked at once.
 */
static int grow(struct kho_xa *xa, uint64_t last, unsigned int level)
{
	unsigned int l;
	xa_node *node, *old;
	uint64_t root;

	while (level < LEVELS - 1 && last >> (level + 1) * SLOT_BITS)
		level++;
	for (;;) {
		root = xa->head->root;
		old = entry_ptr(xa, root);
		l = root ? old->shift / SLOT_BITS + 1 : level;
		if (l > level)
			return 0;
		node = kho_kmalloc(xa->kmem, sizeof(*node));
		if (!node)
			return -errno;
		node_init(xa, node, 0, l);
		node->slots[0] = root;
		for (int m = 0; root && m < MARKS; m++)
			node->marks[m] = !!old->marks[m];
		node_seal(node);
		xa_put(xa->head->check, &xa->head->root,
		       make_entry(xa, node, KHO_XARRAY_TAG_NODE));
	}
}

/* How an entry can be stored where a path ends. */
enum how {
	REPLACE, /* there is one, for all its indices and maybe more */
	BUILD, /* there is nothing: build the nodes that are missing */
	FILL, /* the slots are empty */
	COPY, /* they are not: change a copy of the node, so that all of them
		 change with one store */
};

static enum how how_to_store(const struct path *path, uint64_t entry,
			     unsigned int order)
{
	const xa_node *node = path->node[path->level];
	unsigned int slot = path->slot[path->level];
	unsigned int n = 1u << order % SLOT_BITS;
	bool above = path->level > order / SLOT_BITS;

	if (entry && !is_node(entry) && (above || entry_slots(node, slot) >= n))
		return REPLACE;
	if (above)
		return BUILD;
	for (unsigned int i = 0; i < n; i++)
		if (node->slots[slot + i])
			return COPY;
	return FILL;
}

/* Order of the largest aligned range that begins at @first. */
static unsigned int first_order(uint64_t first, uint64_t last)
{
	unsigned int order = KHO_XA_MAX_ORDER;

	if (first)
		order = (unsigned int)__builtin_ctzll(first);
	while ((1ull << order) - 1 > last - first)
		order--;
	return order;
}

/*
 * For each entry of a range, in turn: its order in @order, and its index in
 * @index. No index is above @last.
 */
#define for_each_order(index, order, first, last)                              \
	for (bool more_ = ((index) = (first), true);                           \
	     more_ && ((order) = first_order((index), (last)), true);          \
	     more_ = (last) - (index) >= 1ull << (order),                      \
		  (index) += 1ull << (order))

/* Count what a store will need. */
static void plan(const struct kho_xa *xa, uint64_t first, uint64_t last,
		 const struct item *item, struct reserve *reserve)
{
	uint64_t index, entry, at, built[LEVELS];
	bool copies = false, any[LEVELS] = { false };
	unsigned int order, l;
	struct path path;

	reserve->n_nodes = 0;
	reserve->n_wide = 0;
	for_each_order(index, order, first, last) {
		entry = descend(xa, index, order / SLOT_BITS, &path);
		if (!item->phys && item->value >= WIDE_MIN)
			reserve->n_wide++;
		switch (how_to_store(&path, entry, order)) {
		case BUILD:
			/* Neighbours share nodes. */
			for (l = order / SLOT_BITS; l < path.level; l++) {
				at = index >> (l + 1) * SLOT_BITS;
				if (any[l] && built[l] == at)
					continue;
				any[l] = true;
				built[l] = at;
				reserve->n_nodes++;
			}
			break;
		case COPY:
			copies = true;
			break;
		case REPLACE:
		case FILL:
			break;
		}
	}
	/* The node that was copied serves as the next copy. */
	reserve->n_nodes += copies;
}

static void give_back(struct kho_xa *xa, struct reserve *reserve)
{
	while (reserve->n_nodes)
		kho_kfree(xa->kmem, reserve->node[--reserve->n_nodes]);
	while (reserve->n_wide)
		kho_kfree(xa->kmem, reserve->wide[--reserve->n_wide]);
}

/* Allocate what was counted, all or nothing. */
static int allocate(struct kho_xa *xa, struct reserve *reserve)
{
	unsigned int nodes = reserve->n_nodes, wide = reserve->n_wide;
	void *object;
	int err;

	reserve->n_nodes = 0;
	reserve->n_wide = 0;
	while (reserve->n_nodes < nodes) {
		object = kho_kmalloc(xa->kmem, sizeof(xa_node));
		if (!object)
			goto fail;
		reserve->node[reserve->n_nodes++] = object;
	}
	while (reserve->n_wide < wide) {
		object = kho_kmalloc(xa->kmem, sizeof(struct kho_xarray_wide));
		if (!object)
			goto fail;
		reserve->wide[reserve->n_wide++] = object;
	}
	return 0;

fail:
	err = -errno;
	give_back(xa, reserve);
	return err;
}

/* ---- Second part: store ---- */

static void replace(struct kho_xa *xa, const struct path *path, uint64_t old,
		    const struct item *item, struct reserve *reserve)
{
	xa_node *node = path->node[path->level];
	unsigned int slot = path->slot[path->level];
	uint64_t index = node->index + ((uint64_t)slot << node->shift);

	xa_put(node->check, &node->slots[slot],
	       item_entry(xa, item, index, reserve));
	if (is_wide(old)) {
		grace_wait(xa->grace);
		xa_free_entry(xa, old);
	}
}

/* From below; all appears when the last one is linked. */
static void build(struct kho_xa *xa, const struct path *path, uint64_t index,
		  unsigned int order, uint64_t entry, struct reserve *reserve)
{
	xa_node *node, *parent = path->node[path->level];
	unsigned int n = 1u << order % SLOT_BITS;

	for (unsigned int l = order / SLOT_BITS; l < path->level; l++) {
		node = reserve->node[--reserve->n_nodes];
		node_init(xa, node, index, l);
		node_fill(node, slot_of(node->shift, index), n, entry);
		node_seal(node);
		entry = make_entry(xa, node, KHO_XARRAY_TAG_NODE);
		n = 1;
	}
	xa_put(parent->check, &parent->slots[path->slot[path->level]], entry);
}

/* Siblings first: they are nothing until their canonical slot is something. */
static void fill(const struct path *path, unsigned int n, uint64_t entry)
{
	xa_node *node = path->node[path->level];
	unsigned int slot = path->slot[path->level];

	for (unsigned int i = 1; i < n; i++)
		xa_put(node->check, &node->slots[slot + i], make_sibling(slot));
	xa_put(node->check, &node->slots[slot], entry);
}

static void copy(struct kho_xa *xa, struct path *path, unsigned int n,
		 uint64_t entry, struct reserve *reserve)
{
	xa_node *new = reserve->node[--reserve->n_nodes];
	xa_node *old = path->node[path->level];
	unsigned int slot = path->slot[path->level];
	uint64_t range = (~0ull >> (64 - n)) << slot;

	memcpy(new, old, sizeof(*new));
	node_fill(new, slot, n, entry);
	for (int m = 0; m < MARKS; m++)
		new->marks[m] &= ~range;
	node_seal(new);
	relink(xa, path, path->level, make_entry(xa, new, KHO_XARRAY_TAG_NODE));
	path->node[path->level] = new;
	tidy_up(xa, path);

	grace_wait(xa->grace);
	for (unsigned int i = 0; i < n; i++)
		xa_free_entry(xa, old->slots[slot + i]);
	reserve->node[reserve->n_nodes++] = old;
}

static void store_one(struct kho_xa *xa, uint64_t index, unsigned int order,
		      const struct item *item, struct reserve *reserve)
{
	unsigned int n = 1u << order % SLOT_BITS;
	struct path path;
	uint64_t old = descend(xa, index, order / SLOT_BITS, &path);

	switch (how_to_store(&path, old, order)) {
	case REPLACE:
		replace(xa, &path, old, item, reserve);
		break;
	case BUILD:
		build(xa, &path, index, order,
		      item_entry(xa, item, index, reserve), reserve);
		break;
	case FILL:
		fill(&path, n, item_entry(xa, item, index, reserve));
		break;
	case COPY:
		copy(xa, &path, n, item_entry(xa, item, index, reserve),
		     reserve);
		break;
	}
}

static int store(struct kho_xa *xa, uint64_t first, uint64_t last,
		 struct item item)
{
	unsigned int order, highest = 0;
	struct reserve reserve;
	uint64_t index;
	int ret;

	for_each_order(index, order, first, last)
		highest = order > highest ? order : highest;
	ret = lock(xa);
	if (ret)
		return ret;
	ret = grow(xa, last, highest / SLOT_BITS);
	if (!ret) {
		plan(xa, first, last, &item, &reserve);
		ret = allocate(xa, &reserve);
	}
	if (ret) {
		xa_shrink(xa);
	} else {
		for_each_order(index, order, first, last)
			store_one(xa, index, order, &item, &reserve);
		give_back(xa, &reserve);
	}
	unlock(xa);
	return ret;
}

int kho_xa_store(struct kho_xa *xa, uint64_t index, uint64_t value)
{
	return store(xa, index, index, (struct item){ .value = value });
}

static bool good_order(uint64_t index, unsigned int order)
{
	return order <= KHO_XA_MAX_ORDER && !(index & ((1ull << order) - 1));
}

int kho_xa_store_order(struct kho_xa *xa, uint64_t index, unsigned int order,
		       uint64_t value)
{
	if (!good_order(index, order))
		return -EINVAL;
	return store(xa, index, index + ((1ull << order) - 1),
		     (struct item){ .value = value });
}

int kho_xa_store_range(struct kho_xa *xa, uint64_t first, uint64_t last,
		       uint64_t value)
{
	if (first > last)
		return -EINVAL;
	return store(xa, first, last, (struct item){ .value = value });
}

int kho_xa_store_ptr(struct kho_xa *xa, uint64_t index, unsigned int order,
		     const void *ptr)
{
	struct item item = { .value = kho_phys(xa->kho, ptr), .phys = true };

	if (!is_phys(item.value) || !good_order(index, order))
		return -EINVAL;
	return store(xa, index, index + ((1ull << order) - 1), item);
}

/* ---- Erase ---- */

static int erase(struct kho_xa *xa, uint64_t index)
{
	struct path path;
	unsigned int slot;
	uint64_t entry;
	xa_node *node;

	if (!descend_to_entry(xa, index, &path, &entry))
		return -ENOENT;
	node = path.node[path.level];
	slot = path.slot[path.level];
	xa_clear_slots(xa, node, slot, entry_slots(node, slot));
	tidy_up(xa, &path);
	xa_shrink(xa);
	if (is_wide(entry)) {
		grace_wait(xa->grace);
		xa_free_entry(xa, entry);
	}
	return 0;
}

int kho_xa_erase(struct kho_xa *xa, uint64_t index)
{
	int ret = lock(xa);

	if (ret)
		return ret;
	ret = erase(xa, index);
	unlock(xa);
	return ret;
}

int kho_xa_erase_range(struct kho_xa *xa, uint64_t first, uint64_t last)
{
	struct kho_xa_entry entry;
	int ret;

	if (first > last)
		return -EINVAL;
	ret = lock(xa);
	if (ret)
		return ret;
	kho_xa_for_each_range(xa, &entry, first, last, KHO_XA_PRESENT)
		erase(xa, entry.index);
	unlock(xa);
	return 0;
}

/* ---- Marks ---- */

/* From the top: what has a mark can always be found by it. */
static void set_mark(const struct path *path, enum kho_xa_mark mark)
{
	uint64_t bit;
	xa_node *node;

	for (unsigned int l = path->top + 1; l-- > path->level;) {
		node = path->node[l];
		bit = 1ull << path->slot[l];
		if (!(node->marks[mark] & bit))
			xa_put(node->check, &node->marks[mark],
			       node->marks[mark] | bit);
	}
}

static void clear_mark(struct kho_xa *xa, const struct path *path,
		       enum kho_xa_mark mark)
{
	xa_node *node = path->node[path->level];
	uint64_t bit = 1ull << path->slot[path->level];

	if (!(node->marks[mark] & bit))
		return;
	xa_put(node->check, &node->marks[mark], node->marks[mark] & ~bit);
	tidy_up(xa, path);
}

static int change_mark(struct kho_xa *xa, uint64_t index, enum kho_xa_mark mark,
		       bool set)
{
	struct path path;
	uint64_t entry;
	int ret;

	if (mark >= KHO_XA_PRESENT)
		return -EINVAL;
	ret = lock(xa);
	if (ret)
		return ret;
	if (!descend_to_entry(xa, index, &path, &entry))
		ret = -ENOENT;
	else if (set)
		set_mark(&path, mark);
	else
		clear_mark(xa, &path, mark);
	unlock(xa);
	return ret;
}

int kho_xa_set_mark(struct kho_xa *xa, uint64_t index, enum kho_xa_mark mark)
{
	return change_mark(xa, index, mark, true);
}

int kho_xa_clear_mark(struct kho_xa *xa, uint64_t index, enum kho_xa_mark mark)
{
	return change_mark(xa, index, mark, false);
}
