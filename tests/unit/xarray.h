/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * For the tests of xarray: an arena with a cache and an array, a plain model
 * of an array, and random operations that can be done on both.
 */
#ifndef TEST_XARRAY_H
#define TEST_XARRAY_H

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include <kho/abi/xarray.h>
#include <kho/xarray.h>

#include "kmalloc.h"

/* ---- An arena with an array ---- */

struct xfixture {
	struct fixture f;
	struct kho_xa *xa;
	uint64_t phys;
};

static inline void xcreate(struct xfixture *x, unsigned int page_shift,
			   uint64_t max)
{
	create(&x->f, page_shift, max);
	assert_int_equal(kho_xa_create(x->f.kho, x->f.kmem, &x->xa, NULL), 0);
	x->phys = kho_xa_phys(x->xa);
}

static inline void xdetach(struct xfixture *x)
{
	kho_xa_close(x->xa);
	x->xa = NULL;
	detach(&x->f);
}

/* As the next program, which is not ready yet. */
static inline void xrestore(struct xfixture *x)
{
	attach(&x->f);
	restore(&x->f);
	if (kho_xa_restore(x->f.kho, x->f.kmem, x->phys, &x->xa, &x->f.err))
		fail_msg("restore: %s", x->f.err.text);
	assert_int_equal(kho_xa_phys(x->xa), x->phys);
}

static inline void xhand_over(struct xfixture *x)
{
	xdetach(x);
	xrestore(x);
	assert_int_equal(kho_ready(x->f.kho, NULL), 0);
}

static inline void xdiscard(struct xfixture *x)
{
	kho_xa_close(x->xa);
	discard(&x->f);
}

static inline struct kho_mem_array xmem(struct xfixture *x)
{
	struct stat st;

	assert_int_equal(fstat(x->f.fd, &st), 0);
	return kho_mem_array((char *)kho_ptr(x->f.kho, 1, 1) - 1,
			     (size_t)st.st_size, 0, kho_page_shift(x->f.kho));
}

/* The array is good, and no object is lost besides @others. */
static inline struct kho_xa_stats xverify(struct xfixture *x, uint64_t others)
{
	struct kho_mem_array mem = xmem(x);
	struct kho_xa_stats stats;

	if (kho_xa_verify(&mem.mem, x->phys, &stats, &x->f.err))
		fail_msg("verify: %s", x->f.err.text);
	assert_int_equal(stats.bytes,
			 sizeof(struct kho_xarray_head) +
				 stats.nodes * sizeof(struct kho_xarray_node) +
				 stats.wide * sizeof(struct kho_xarray_wide));
	assert_int_equal(verify(&x->f).objects,
			 1 + stats.nodes + stats.wide + others);
	return stats;
}

static inline bool xowns(void *object, size_t size, void *arg)
{
	return kho_xa_owns(arg, object, size);
}

/* ---- The model: entries in a sorted list ---- */

#define MODEL_MAX 8192

struct mentry {
	uint64_t first, last, value;
	bool phys;
	unsigned int marks;
};

struct model {
	size_t n;
	struct mentry e[MODEL_MAX];
};

/* The first entry that does not end before @index. */
static inline size_t model_at(const struct model *m, uint64_t index)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (m->e[mid].last < index)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static inline struct mentry *model_find(struct model *m, uint64_t first,
					uint64_t last)
{
	size_t i = model_at(m, first);

	return i < m->n && m->e[i].first <= last ? &m->e[i] : NULL;
}

/* Remove all entries that have an index in the range. */
static inline void model_erase(struct model *m, uint64_t first, uint64_t last)
{
	size_t i = model_at(m, first), end = i;

	while (end < m->n && m->e[end].first <= last)
		end++;
	memmove(&m->e[i], &m->e[end], (m->n - end) * sizeof(m->e[0]));
	m->n -= end - i;
}

static inline void model_store(struct model *m, uint64_t first,
			       unsigned int order, uint64_t value, bool phys)
{
	uint64_t last = first + ((1ull << order) - 1);
	struct mentry *e = model_find(m, first, first);
	size_t i;

	if (e && e->last >= last) {
		e->value = value;
		e->phys = phys;
		return;
	}
	model_erase(m, first, last);
	assert_true(m->n < MODEL_MAX);
	i = model_at(m, first);
	memmove(&m->e[i + 1], &m->e[i], (m->n - i) * sizeof(m->e[0]));
	m->e[i] = (struct mentry){ first, last, value, phys, 0 };
	m->n++;
}

/* ---- Operations ---- */

enum what { STORE, STORE_PTR, STORE_RANGE, ERASE, ERASE_RANGE, MARK, UNMARK };

struct op {
	enum what what;
	uint64_t index; /* or the first one */
	uint64_t last; /* of a range */
	unsigned int order;
	uint64_t value;
	enum kho_xa_mark mark;
};

/* Indices are close together, in places that are far apart. */
static inline uint64_t random_index(uint32_t spread)
{
	static const uint64_t place[] = {
		0, 0, 0, 1ull << 12, 1ull << 36, (1ull << 63) - 128, UINT64_MAX,
	};
	uint64_t at = place[below(sizeof(place) / sizeof(place[0]))];

	return at == UINT64_MAX ? at - below(spread) : at + below(spread);
}

static inline uint64_t random_value(void)
{
	uint64_t value = rnd();

	switch (below(4)) {
	case 0:
		return value & 0xff;
	case 1:
		return value | 1ull << 63;
	default:
		return value >> 1;
	}
}

static inline struct op random_op(uint32_t spread)
{
	static const enum what mix[] = {
		STORE,	   STORE,	STORE, STORE, STORE,
		STORE_PTR, STORE_RANGE, ERASE, ERASE, ERASE,
		ERASE,	   ERASE_RANGE, MARK,  MARK,  UNMARK,
	};
	struct op op = {
		.what = mix[below(sizeof(mix) / sizeof(mix[0]))],
		.index = random_index(spread),
		.value = random_value(),
		.mark = below(KHO_XARRAY_MARKS),
	};

	if (below(2) == 0)
		op.order = below(6);
	if (below(20) == 0)
		op.order = below(10);
	if (below(2000) == 0)
		op.order = below(KHO_XA_MAX_ORDER + 1);
	if (op.what == STORE || op.what == STORE_PTR)
		op.index &= ~0ull << op.order;
	if (op.what == STORE_PTR)
		op.value = (8 + below(1000)) * 4;
	op.last = op.index + below(op.order < 8 ? 20 : 3000);
	if (below(3000) == 0)
		op.last = random_index(spread);
	if (op.last < op.index)
		op.last = UINT64_MAX;
	return op;
}

static inline int op_xa(struct xfixture *x, const struct op *op)
{
	switch (op->what) {
	case STORE:
		if (op->order == 0)
			return kho_xa_store(x->xa, op->index, op->value);
		return kho_xa_store_order(x->xa, op->index, op->order,
					  op->value);
	case STORE_PTR:
		return kho_xa_store_ptr(x->xa, op->index, op->order,
					kho_ptr(x->f.kho, op->value, 1));
	case STORE_RANGE:
		return kho_xa_store_range(x->xa, op->index, op->last,
					  op->value);
	case ERASE:
		return kho_xa_erase(x->xa, op->index);
	case ERASE_RANGE:
		return kho_xa_erase_range(x->xa, op->index, op->last);
	case MARK:
		return kho_xa_set_mark(x->xa, op->index, op->mark);
	case UNMARK:
		return kho_xa_clear_mark(x->xa, op->index, op->mark);
	}
	return -EINVAL;
}

/*
 * Does an operation on the model, but only the first @steps of the changes
 * that it is made of; false when it has no more than that.
 */
static inline bool op_model(struct model *m, const struct op *op,
			    unsigned int steps)
{
	uint64_t at = op->index, end;
	struct mentry *e;
	unsigned int order;

	switch (op->what) {
	case STORE:
	case STORE_PTR:
		if (steps == 0)
			return true;
		model_store(m, op->index, op->order, op->value,
			    op->what == STORE_PTR);
		return steps <= 1;
	case STORE_RANGE:
		for (; steps; steps--) {
			order = at ? (unsigned int)__builtin_ctzll(at) : 63;
			while ((1ull << order) - 1 > op->last - at)
				order--;
			end = at + ((1ull << order) - 1);
			model_store(m, at, order, op->value, false);
			if (end == op->last)
				return steps <= 1;
			at = end + 1;
		}
		return true;
	case ERASE:
	case ERASE_RANGE:
		end = op->what == ERASE ? op->index : op->last;
		for (; steps; steps--) {
			e = model_find(m, op->index, end);
			if (!e)
				return false;
			model_erase(m, e->first, e->first);
		}
		return true;
	case MARK:
	case UNMARK:
		e = model_find(m, op->index, op->index);
		if (!e)
			return false;
		if (steps && op->what == MARK)
			e->marks |= 1u << op->mark;
		else if (steps)
			e->marks &= ~(1u << op->mark);
		return steps <= 1;
	}
	return false;
}

#define ALL_STEPS 100000000

/* What an operation returns when it does not fail. */
static inline int op_result(struct model *m, const struct op *op)
{
	bool needs = op->what == ERASE || op->what == MARK ||
		     op->what == UNMARK;

	return needs && !model_find(m, op->index, op->index) ? -ENOENT : 0;
}

/* ---- Both have the same ---- */

static inline bool same_entry(struct xfixture *x, const struct mentry *e,
			      const struct kho_xa_entry *entry)
{
	if (entry->index != e->first || entry->last != e->last ||
	    entry->value != e->value ||
	    entry->kind != (e->phys ? KHO_XA_PHYS : KHO_XA_VALUE))
		return false;
	for (unsigned int m = 0; m < KHO_XARRAY_MARKS; m++)
		if (kho_xa_get_mark(x->xa, e->first, m) != (e->marks >> m & 1))
			return false;
	return true;
}

static inline bool same_content(struct xfixture *x, const struct model *m)
{
	struct kho_xa_entry entry;
	size_t i = 0;

	kho_xa_for_each(x->xa, &entry) {
		if (i == m->n || !same_entry(x, &m->e[i], &entry))
			return false;
		i++;
	}
	return i == m->n;
}

/* ---- What is in memory, without the library ---- */

struct peek {
	const char *memory;
	bool tidy; /* check that nothing is left over */
	struct model *m;
};

static inline void peek_node(struct peek *p, uint64_t entry)
{
	const struct kho_xarray_node *node =
		(const void *)(p->memory + (entry & ~15ull));
	bool empty = true;
	struct mentry *e;
	unsigned int n;

	if (p->tidy)
		assert_int_equal(node->check[0], node->check[1]);
	for (unsigned int slot = 0; slot < 64; slot++) {
		uint64_t at = node->slots[slot];

		empty &= !at;
		if (p->tidy && (at & 15) == 10)
			assert_int_not_equal(node->slots[at >> 4], 0);
		for (int m = 0; p->tidy && m < KHO_XARRAY_MARKS && !at; m++)
			assert_int_equal(node->marks[m] >> slot & 1, 0);
		if (!at || (at & 15) == 10)
			continue;
		if ((at & 15) == 2) {
			const struct kho_xarray_node *below =
				(const void *)(p->memory + (at & ~15ull));

			for (int m = 0; p->tidy && m < KHO_XARRAY_MARKS; m++)
				assert_int_equal(node->marks[m] >> slot & 1,
						 below->marks[m] != 0);
			peek_node(p, at);
			continue;
		}
		n = 1;
		while (slot + n < 64 &&
		       node->slots[slot + n] == (slot << 4 | 10))
			n++;
		e = &p->m->e[p->m->n++];
		*e = (struct mentry){
			.first = node->index + ((uint64_t)slot << node->shift),
			.value = at,
			.phys = !(at & 3),
		};
		e->last = e->first + ((uint64_t)n << node->shift) - 1;
		if (at & 1)
			e->value = at >> 1;
		else if ((at & 15) == 6)
			e->value = *(const uint64_t *)(p->memory +
						       (at & ~15ull) + 24);
		for (int m = 0; m < KHO_XARRAY_MARKS; m++)
			if (node->marks[m] >> slot & 1)
				e->marks |= 1u << m;
	}
	assert_true(!p->tidy || !empty);
}

static inline void peek(const char *memory, uint64_t phys, bool tidy,
			struct model *m)
{
	const struct kho_xarray_head *head = (const void *)(memory + phys);
	struct peek p = { memory, tidy, m };

	m->n = 0;
	if (tidy)
		assert_int_equal(head->check[0], head->check[1]);
	if (head->root)
		peek_node(&p, head->root);
}

static inline bool same_models(const struct model *a, const struct model *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->e[i].first != b->e[i].first ||
		    a->e[i].last != b->e[i].last ||
		    a->e[i].value != b->e[i].value ||
		    a->e[i].phys != b->e[i].phys ||
		    a->e[i].marks != b->e[i].marks)
			return false;
	return true;
}

#endif
