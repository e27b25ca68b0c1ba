// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Arrays: values, ranges, marks, handover, running out of memory, the format
 * to the byte, and a model that does all of it at random.
 */
#include <kho/compat.h>
#include <kho/tree.h>

#include "xarray.h"

KHO_COMPONENT(app, .write = { 1, 1 }, .read = { 1, 1 }, .deps = { "xarray" });

static const unsigned int page_shifts[] = { 12, 14, 16 };

static uint64_t load(struct xfixture *x, uint64_t index)
{
	uint64_t value;

	assert_int_equal(kho_xa_load(x->xa, index, &value), 0);
	return value;
}

static bool is_empty_at(struct xfixture *x, uint64_t index)
{
	uint64_t value;
	int ret = kho_xa_load(x->xa, index, &value);

	assert_true(ret == 0 || ret == -ENOENT);
	return ret == -ENOENT;
}

/* ---- Composites: a dependency of a dependency ---- */

static void check_composite(const char *name, const char *expected)
{
	struct kho_composite composite;
	char text[KHO_COMPOSITE_SIZE];

	assert_int_equal(kho_component_composite(kho_component_find(name), 1,
						 &composite, NULL),
			 0);
	assert_true(kho_composite_format(&composite, text, sizeof(text)) > 0);
	assert_string_equal(text, expected);
}

static void composites(void **state)
{
	(void)state;
	check_composite("xarray", "xarray-v1;kmalloc-v1");
	check_composite("app", "app-v1;kmalloc-v1;xarray-v1");
}

/* ---- Values and indices ---- */

static void every_index_and_value(void **state)
{
	static const uint64_t some[] = {
		0,
		1,
		63,
		64,
		65,
		4095,
		4096,
		1ull << 31,
		1ull << 60,
		(1ull << 60) - 1,
		(1ull << 63) - 1,
		1ull << 63,
		(1ull << 63) + 1,
		UINT64_MAX - 64,
		UINT64_MAX - 1,
		UINT64_MAX,
	};
	const int n = sizeof(some) / sizeof(some[0]);
	struct xfixture x;

	(void)state;
	for (int s = 0; s < 3; s++) {
		xcreate(&x, page_shifts[s], 1 << 26);
		assert_true(kho_xa_empty(x.xa));
		for (int i = 0; i < n; i++)
			assert_int_equal(kho_xa_store(x.xa, some[i],
						      some[n - 1 - i]),
					 0);
		for (int round = 0; round < 2; round++) {
			for (int i = 0; i < n; i++)
				assert_int_equal(load(&x, some[i]),
						 some[n - 1 - i]);
			assert_true(is_empty_at(&x, 2));
			assert_true(is_empty_at(&x, 1ull << 62));
			assert_true(is_empty_at(&x, UINT64_MAX - 2));
			assert_int_equal(xverify(&x, 0).entries, n);
			assert_int_equal(xverify(&x, 0).wide, 5);
			xhand_over(&x);
		}
		for (int i = 0; i < n; i++) {
			assert_int_equal(kho_xa_erase(x.xa, some[i]), 0);
			assert_int_equal(kho_xa_erase(x.xa, some[i]), -ENOENT);
			assert_true(is_empty_at(&x, some[i]));
		}
		assert_true(kho_xa_empty(x.xa));
		assert_int_equal(xverify(&x, 0).nodes, 0);
		xdiscard(&x);
	}
}

static void only_as_much_tree_as_needed(void **state)
{
	struct xfixture x;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	for (uint64_t i = 0; i < 64; i++)
		assert_int_equal(kho_xa_store(x.xa, i, i), 0);
	assert_int_equal(xverify(&x, 0).nodes, 1);
	assert_int_equal(kho_xa_store(x.xa, 64, 1), 0);
	assert_int_equal(xverify(&x, 0).nodes, 3);
	assert_int_equal(kho_xa_store(x.xa, UINT64_MAX, 1), 0);
	assert_int_equal(xverify(&x, 0).nodes, 3 + 9 + 10);
	assert_int_equal(kho_xa_erase(x.xa, UINT64_MAX), 0);
	assert_int_equal(xverify(&x, 0).nodes, 3);
	assert_int_equal(kho_xa_erase(x.xa, 64), 0);
	assert_int_equal(xverify(&x, 0).nodes, 1);
	assert_int_equal(load(&x, 63), 63);
	xdiscard(&x);
}

static void pointers(void **state)
{
	struct xfixture x;
	char *object, local;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	object = kho_kmalloc(x.f.kmem, 64);
	assert_int_equal(kho_xa_store_ptr(x.xa, 7, 0, object), 0);
	assert_int_equal(kho_xa_store_ptr(x.xa, 64, 6, object + 4), 0);
	assert_ptr_equal(kho_xa_load_ptr(x.xa, 7), object);
	assert_ptr_equal(kho_xa_load_ptr(x.xa, 100), object + 4);
	assert_int_equal(load(&x, 7), kho_phys(x.f.kho, object));
	assert_null(kho_xa_load_ptr(x.xa, 8));
	assert_int_equal(kho_xa_store(x.xa, 8, kho_phys(x.f.kho, object)), 0);
	assert_null(kho_xa_load_ptr(x.xa, 8));
	assert_int_equal(kho_xa_store_ptr(x.xa, 9, 0, object + 1), -EINVAL);
	assert_int_equal(kho_xa_store_ptr(x.xa, 9, 0, &local), -EINVAL);
	assert_int_equal(kho_xa_store_ptr(x.xa, 9, 0, NULL), -EINVAL);
	assert_int_equal(kho_xa_store_ptr(x.xa, 9, 1, object), -EINVAL);
	xhand_over(&x);
	assert_ptr_equal(kho_xa_load_ptr(x.xa, 127),
			 kho_ptr(x.f.kho, load(&x, 7) + 4, 1));
	xdiscard(&x);
}

/* ---- Multi-index entries ---- */

static struct kho_xa_entry find(struct xfixture *x, uint64_t first,
				uint64_t last)
{
	struct kho_xa_entry entry;

	kho_xa_find(x->xa, &entry, first, last, KHO_XA_PRESENT);
	return entry;
}

static void is_range(struct xfixture *x, uint64_t index, uint64_t first,
		     uint64_t last, uint64_t value)
{
	struct kho_xa_entry entry = find(x, index, index);

	assert_int_equal(entry.kind, KHO_XA_VALUE);
	assert_int_equal(entry.index, first);
	assert_int_equal(entry.last, last);
	assert_int_equal(entry.value, value);
}

static void every_order(void **state)
{
	struct xfixture x;
	uint64_t last;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	for (unsigned int order = 0; order <= KHO_XA_MAX_ORDER; order++) {
		for (uint64_t at = 0; at < 3; at++) {
			uint64_t first = at << order;

			if (first >> order != at)
				continue;
			last = first + ((1ull << order) - 1);
			assert_int_equal(kho_xa_store_order(x.xa, first, order,
							    order),
					 0);
			is_range(&x, first, first, last, order);
			is_range(&x, last, first, last, order);
			is_range(&x, first + (last - first) / 2, first, last,
				 order);
			assert_true(last == UINT64_MAX ||
				    is_empty_at(&x, last + 1));
			assert_true(first == 0 || is_empty_at(&x, first - 1));
			assert_int_equal(xverify(&x, 0).entries, 1);
			assert_int_equal(kho_xa_erase(x.xa, last), 0);
			assert_true(is_empty_at(&x, first));
			assert_int_equal(xverify(&x, 0).nodes, 0);
		}
	}
	assert_int_equal(kho_xa_store_order(x.xa, 0, 64, 1), -EINVAL);
	assert_int_equal(kho_xa_store_order(x.xa, 4, 3, 1), -EINVAL);
	assert_true(kho_xa_empty(x.xa));
	xdiscard(&x);
}

/* As in Linux: what happens to one index of an entry happens to all. */
static void a_range_is_one_entry(void **state)
{
	struct xfixture x;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	assert_int_equal(kho_xa_store_order(x.xa, 8, 3, 1), 0);
	assert_int_equal(kho_xa_set_mark(x.xa, 13, KHO_XA_MARK_1), 0);
	assert_int_equal(kho_xa_store(x.xa, 11, 2), 0);
	is_range(&x, 8, 8, 15, 2);
	assert_int_equal(kho_xa_store_order(x.xa, 12, 2, UINT64_MAX), 0);
	is_range(&x, 9, 8, 15, UINT64_MAX);
	assert_true(kho_xa_get_mark(x.xa, 8, KHO_XA_MARK_1));
	assert_false(kho_xa_get_mark(x.xa, 8, KHO_XA_MARK_0));

	/* A larger one takes the place of all that is there. */
	assert_int_equal(kho_xa_store(x.xa, 4, 4), 0);
	assert_int_equal(kho_xa_set_mark(x.xa, 4, KHO_XA_MARK_0), 0);
	assert_int_equal(kho_xa_store(x.xa, 20, 20), 0);
	assert_int_equal(kho_xa_store_order(x.xa, 0, 4, 5), 0);
	is_range(&x, 4, 0, 15, 5);
	assert_false(kho_xa_marked(x.xa, KHO_XA_MARK_0));
	assert_false(kho_xa_marked(x.xa, KHO_XA_MARK_1));
	assert_int_equal(load(&x, 20), 20);
	assert_int_equal(xverify(&x, 0).entries, 2);

	/* Also when there are nodes below it. */
	assert_int_equal(kho_xa_store(x.xa, 5000, UINT64_MAX), 0);
	assert_int_equal(kho_xa_set_mark(x.xa, 5000, KHO_XA_MARK_2), 0);
	assert_int_equal(kho_xa_store_order(x.xa, 4096, 12, 6), 0);
	is_range(&x, 5000, 4096, 8191, 6);
	assert_false(kho_xa_marked(x.xa, KHO_XA_MARK_2));
	assert_int_equal(xverify(&x, 0).wide, 0);
	assert_int_equal(kho_xa_store_order(x.xa, 0, 20, 7), 0);
	is_range(&x, 20, 0, (1 << 20) - 1, 7);
	assert_int_equal(xverify(&x, 0).entries, 1);
	assert_int_equal(kho_xa_erase(x.xa, 12345), 0);
	assert_true(kho_xa_empty(x.xa));
	xverify(&x, 0);
	xdiscard(&x);
}

static void arbitrary_ranges(void **state)
{
	struct xfixture x;
	struct kho_xa_entry entry;
	uint64_t next = 3;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	assert_int_equal(kho_xa_store_range(x.xa, 3, 1000, 9), 0);
	kho_xa_for_each(x.xa, &entry) {
		assert_int_equal(entry.index, next);
		assert_int_equal(entry.value, 9);
		next = entry.last + 1;
	}
	assert_int_equal(next, 1001);
	/* 3, 4-7, 8-15, ..., 256-511, 512-767, 768-895, ..., 992-999, 1000 */
	assert_int_equal(xverify(&x, 0).entries, 8 + 6);
	assert_int_equal(kho_xa_store_range(x.xa, 5, 4, 9), -EINVAL);
	assert_int_equal(kho_xa_erase_range(x.xa, 5, 4), -EINVAL);
	assert_int_equal(kho_xa_erase_range(x.xa, 5, 999), 0);
	assert_int_equal(load(&x, 3), 9);
	assert_true(is_empty_at(&x, 4));
	assert_int_equal(load(&x, 1000), 9);
	assert_int_equal(xverify(&x, 0).entries, 2);

	assert_int_equal(kho_xa_store_range(x.xa, 0, UINT64_MAX, UINT64_MAX),
			 0);
	is_range(&x, 3, 0, (1ull << 63) - 1, UINT64_MAX);
	is_range(&x, UINT64_MAX, 1ull << 63, UINT64_MAX, UINT64_MAX);
	assert_int_equal(kho_xa_store_range(x.xa, 1, UINT64_MAX - 1, 1), 0);
	is_range(&x, 0, 0, (1ull << 63) - 1, 1);
	assert_int_equal(kho_xa_erase_range(x.xa, 0, UINT64_MAX), 0);
	assert_int_equal(kho_xa_store_range(x.xa, 1, UINT64_MAX - 1,
					    1ull << 63),
			 0);
	assert_int_equal(xverify(&x, 0).wide, 2 * 63);
	assert_int_equal(kho_xa_erase_range(x.xa, 0, UINT64_MAX), 0);
	xverify(&x, 0);
	assert_true(kho_xa_empty(x.xa));
	xdiscard(&x);
}

/* ---- Marks and iteration ---- */

static void marks(void **state)
{
	struct kho_xa_entry entry;
	struct xfixture x;
	uint64_t n = 0;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	assert_int_equal(kho_xa_set_mark(x.xa, 1, KHO_XA_MARK_0), -ENOENT);
	assert_int_equal(kho_xa_set_mark(x.xa, 1, KHO_XA_PRESENT), -EINVAL);
	for (uint64_t i = 0; i < 100000; i++)
		assert_int_equal(kho_xa_store(x.xa, i, i), 0);
	for (uint64_t i = 0; i < 100000; i += 777)
		assert_int_equal(kho_xa_set_mark(x.xa, i, KHO_XA_MARK_2), 0);
	xhand_over(&x);
	kho_xa_for_each_marked(x.xa, &entry, KHO_XA_MARK_2) {
		assert_int_equal(entry.index, n);
		assert_int_equal(entry.value, n);
		n += 777;
	}
	assert_int_equal(n, 777 * 129);
	assert_int_equal(xverify(&x, 0).marked[2], 129);
	assert_int_equal(xverify(&x, 0).marked[0], 0);

	/* They stay when the entry is replaced, and go with it. */
	assert_int_equal(kho_xa_store(x.xa, 777, 0), 0);
	assert_true(kho_xa_get_mark(x.xa, 777, KHO_XA_MARK_2));
	assert_int_equal(kho_xa_erase(x.xa, 777), 0);
	assert_false(kho_xa_get_mark(x.xa, 777, KHO_XA_MARK_2));
	assert_int_equal(kho_xa_store(x.xa, 777, 0), 0);
	assert_false(kho_xa_get_mark(x.xa, 777, KHO_XA_MARK_2));
	for (uint64_t i = 0; i < 100000; i += 777) {
		assert_true(kho_xa_marked(x.xa, KHO_XA_MARK_2));
		assert_int_equal(kho_xa_clear_mark(x.xa, i, KHO_XA_MARK_2), 0);
	}
	assert_false(kho_xa_marked(x.xa, KHO_XA_MARK_2));
	xdiscard(&x);
}

static void finds(void **state)
{
	struct kho_xa_entry entry;
	struct xfixture x;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	assert_int_equal(find(&x, 0, UINT64_MAX).kind, KHO_XA_NONE);
	assert_int_equal(kho_xa_store(x.xa, 5, 50), 0);
	assert_int_equal(kho_xa_store_order(x.xa, 1 << 20, 10, 60), 0);
	assert_int_equal(kho_xa_store(x.xa, UINT64_MAX, 70), 0);
	assert_int_equal(find(&x, 0, 5).value, 50);
	assert_int_equal(find(&x, 5, 5).value, 50);
	assert_int_equal(find(&x, 0, 4).kind, KHO_XA_NONE);
	assert_int_equal(find(&x, 6, (1 << 20) - 1).kind, KHO_XA_NONE);
	assert_int_equal(find(&x, 6, 1 << 20).value, 60);
	assert_int_equal(find(&x, (1 << 20) + 5, 1 << 30).index, 1 << 20);
	assert_int_equal(find(&x, (1 << 20) + 1024, UINT64_MAX - 1).kind,
			 KHO_XA_NONE);
	assert_int_equal(find(&x, 7, 6).kind, KHO_XA_NONE);
	entry = find(&x, 6, UINT64_MAX);
	assert_true(
		kho_xa_find_after(x.xa, &entry, UINT64_MAX, KHO_XA_PRESENT));
	assert_int_equal(entry.value, 70);
	assert_false(
		kho_xa_find_after(x.xa, &entry, UINT64_MAX, KHO_XA_PRESENT));
	assert_int_equal(entry.kind, KHO_XA_NONE);
	entry = find(&x, 0, 5);
	assert_false(kho_xa_find_after(x.xa, &entry, 5, KHO_XA_PRESENT));
	xdiscard(&x);
}

/* ---- Handover ---- */

static void read_only_until_ready(void **state)
{
	struct kho_xa *other;
	struct xfixture x;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	assert_int_equal(kho_xa_store_order(x.xa, 0, 4, UINT64_MAX), 0);
	xdetach(&x);
	xrestore(&x);
	assert_int_equal(load(&x, 15), UINT64_MAX);
	assert_int_equal(kho_xa_store(x.xa, 0, 1), -EROFS);
	assert_int_equal(kho_xa_store_range(x.xa, 0, 99, 1), -EROFS);
	assert_int_equal(kho_xa_erase(x.xa, 0), -EROFS);
	assert_int_equal(kho_xa_erase_range(x.xa, 0, 99), -EROFS);
	assert_int_equal(kho_xa_set_mark(x.xa, 0, KHO_XA_MARK_0), -EROFS);
	assert_int_equal(kho_xa_destroy(x.xa), -EROFS);
	assert_int_equal(kho_xa_create(x.f.kho, x.f.kmem, &other, NULL),
			 -EROFS);
	assert_int_equal(kho_ready(x.f.kho, NULL), 0);
	assert_int_equal(kho_xa_store(x.xa, 0, 1), 0);
	assert_int_equal(load(&x, 15), 1);
	xdiscard(&x);
}

/* Several arrays share a cache with others. */
static void shared_cache(void **state)
{
	struct kho_kmem *kmem;
	struct kho_xa *a, *b;
	struct xfixture x;
	uint64_t phys;
	void *object;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	a = x.xa;
	assert_int_equal(kho_xa_create(x.f.kho, x.f.kmem, &b, NULL), 0);
	for (uint64_t i = 0; i < 500; i++) {
		assert_int_equal(kho_xa_store(a, i * 7, UINT64_MAX - i), 0);
		assert_int_equal(kho_xa_store(b, i * 999, UINT64_MAX - i), 0);
	}
	phys = kho_xa_phys(b);
	object = kho_kmalloc(x.f.kmem, 600);
	assert_non_null(object);
	/* A copy of a node is no node. */
	memcpy(object,
	       kho_ptr(x.f.kho,
		       ((struct kho_xarray_head *)kho_ptr(x.f.kho, x.phys, 8))
				       ->root &
			       ~15ull,
		       576),
	       576);
	assert_true(kho_xa_owns(a, kho_ptr(x.f.kho, x.phys, 1), 48));
	assert_false(kho_xa_owns(b, kho_ptr(x.f.kho, x.phys, 1), 48));
	assert_false(kho_xa_owns(a, object, 640));

	/* Sweeping with one array frees the other one, and the object. */
	assert_int_equal(kho_kmem_create(x.f.kho, &kmem, NULL), 0);
	kho_xa_close(b);
	assert_int_equal(kho_xa_restore(x.f.kho, kmem, phys, &b, &x.f.err),
			 -EINVAL);
	assert_non_null(strstr(x.f.err.text, "not in the one at"));
	assert_int_equal(kho_xa_restore(x.f.kho, x.f.kmem, phys, &b, NULL), 0);
	assert_int_equal(kho_xa_restore(x.f.kho, x.f.kmem, phys + 8, &b,
					&x.f.err),
			 -EBADMSG);
	kho_xa_close(b);
	assert_true(kho_kmem_sweep(x.f.kmem, xowns, a) > 502);
	assert_int_equal(kho_ksize(x.f.kmem, object), 0);
	assert_int_equal(xverify(&x, 0).entries, 500);
	assert_int_equal(kho_xa_restore(x.f.kho, x.f.kmem, phys, &b, &x.f.err),
			 -EBADMSG);
	assert_non_null(strstr(x.f.err.text, "no allocated object"));
	assert_int_equal(kho_xa_destroy(a), 0);
	assert_int_equal(count(&x.f), 0);
	assert_int_equal(kho_xa_destroy(NULL), 0);
	kho_kmem_close(kmem);
	discard(&x.f);
}

/* ---- The format, to the byte ---- */

static uint64_t sum(const uint64_t *words, int n)
{
	uint64_t total = 0, v;

	for (int i = 0; i < n; i++) {
		v = words[i] + (uint64_t)(i + 1) * 0x9e3779b97f4a7c15ull;
		v = (v ^ v >> 32) * 0xd6e8feb86659fd93ull;
		total += v ^ v >> 32;
	}
	return total;
}

static void format(void **state)
{
	uint64_t *head, *node, *wide, expected[72] = { 0 };
	struct xfixture x;
	void *object;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	object = kho_kmalloc(x.f.kmem, 64);
	assert_int_equal(kho_xa_store(x.xa, 0, 0), 0);
	assert_int_equal(kho_xa_store(x.xa, 1, 0x7fffffffffffffff), 0);
	assert_int_equal(kho_xa_store(x.xa, 2, 0x8000000000000001), 0);
	assert_int_equal(kho_xa_store_ptr(x.xa, 3, 0, object), 0);
	assert_int_equal(kho_xa_store_order(x.xa, 8, 2, 5), 0);
	assert_int_equal(kho_xa_set_mark(x.xa, 9, KHO_XA_MARK_1), 0);

	head = kho_ptr(x.f.kho, x.phys, 48);
	assert_memory_equal(&head[2], "KHOXARR\0\1\0\0\0\0\0\0\0", 16);
	assert_int_equal(head[4], kho_kmem_phys(x.f.kmem));
	assert_int_equal(head[0], sum(&head[2], 4));
	assert_int_equal(head[1], head[0]);
	assert_int_equal(head[5] & 15, 2);

	node = kho_ptr(x.f.kho, head[5] & ~15ull, 576);
	wide = kho_ptr(x.f.kho, node[8 + 2] & ~15ull, 32);
	expected[2] = x.phys;
	expected[4] = 0x444f4e58;
	expected[6] = 1 << 8;
	expected[8] = 1;
	expected[9] = UINT64_MAX;
	expected[10] = kho_phys(x.f.kho, wide) | 6;
	expected[11] = kho_phys(x.f.kho, object);
	expected[16] = 11;
	expected[17] = expected[18] = expected[19] = 0x8a;
	expected[0] = expected[1] = sum(&expected[2], 70);
	assert_memory_equal(node, expected, 576);
	assert_memory_equal((char *)node + 32, "XNOD\0\0\0\0", 8);

	assert_int_equal(wide[0], sum(&wide[1], 3));
	assert_int_equal(wide[1], x.phys);
	assert_int_equal(wide[2], 2);
	assert_int_equal(wide[3], 0x8000000000000001);

	/* A node above: its slots are of 64 indices. */
	assert_int_equal(kho_xa_store_order(x.xa, 128, 6, 7), 0);
	node = kho_ptr(x.f.kho, head[5] & ~15ull, 576);
	assert_int_equal(node[3], 0);
	assert_int_equal(node[4], 6ull << 32 | 0x444f4e58);
	assert_int_equal(node[6], 1);
	assert_int_equal(node[8] & 15, 2);
	assert_int_equal(node[10], 15);
	xdiscard(&x);
}

/* The example of docs/formats.md, as somebody else would have written it. */
static void the_example(void **state)
{
	uint64_t image[0x300 / 8] = {
		[0] = 0x8dbed18b16fb22a0,
		0x8dbed18b16fb22a0,
		0x00525241584f484b,
		1,
		0x3000,
		0x1042,
		[8] = 0xf221926e517897a9,
		0xf221926e517897a9,
		0x1000,
		0,
		0x444f4e58,
		0,
		0x10,
		0,
		[16] = 0x55,
		0x5000,
		0x1286,
		0,
		0xf,
		0x4a,
		0x4a,
		0x4a,
		[80] = 0x6acba4acb5f2ca07,
		0x1000,
		2,
		UINT64_MAX,
	};
	struct kho_mem_array mem =
		kho_mem_array(image, sizeof(image), 0x1000, 12);
	struct kho_xa_stats stats;
	struct kho_error err;

	(void)state;
	if (kho_xa_verify(&mem.mem, 0x1000, &stats, &err))
		fail_msg("%s", err.text);
	assert_int_equal(stats.entries, 4);
	assert_int_equal(stats.marked[1], 1);
	assert_int_equal(stats.nodes, 1);
	assert_int_equal(stats.wide, 1);
}

/* ---- Out of memory ---- */

/* Fill the arena, but for @spare nodes; the objects are in a list. */
static void fill_up(struct xfixture *x, void **list, uint64_t *n, int spare)
{
	static const size_t size[] = { 576, 32 };
	void *object;

	for (int s = 0; s < 2; s++) {
		while ((object = kho_kmalloc(x->f.kmem, size[s]))) {
			*(void **)object = *list;
			*list = object;
			++*n;
		}
		assert_int_equal(errno, ENOSPC);
	}
	for (; spare && *list;) {
		object = *list;
		*list = *(void **)object;
		spare -= kho_ksize(x->f.kmem, object) >= 576;
		kho_kfree(x->f.kmem, object);
		--*n;
	}
}

static void free_list(struct xfixture *x, void **list, uint64_t *n)
{
	void *object;

	while ((object = *list)) {
		*list = *(void **)object;
		assert_int_equal(kho_kfree(x->f.kmem, object), 0);
		--*n;
	}
}

static void all_or_nothing(void **state)
{
	struct kho_xa_stats before, after;
	struct xfixture x;
	void *list = NULL;
	uint64_t n = 0;
	int failed = 0, ret;

	(void)state;
	for (int what = 0; what < 4; what++) {
		xcreate(&x, 12, 1 << 21);
		assert_int_equal(kho_xa_store(x.xa, 3, 3), 0);
		for (int spare = 0;; spare++) {
			fill_up(&x, &list, &n, spare);
			before = xverify(&x, n);
			if (what == 0)
				ret = kho_xa_store(x.xa, UINT64_MAX, 1);
			else if (what == 1)
				ret = kho_xa_store_range(x.xa, 1,
							 UINT64_MAX - 1, 1);
			else if (what == 2)
				ret = kho_xa_store_range(x.xa, 1, 1 << 20,
							 UINT64_MAX);
			else
				ret = kho_xa_store_order(x.xa, 0, 2, 1);
			if (ret == 0)
				break;
			assert_int_equal(ret, -ENOSPC);
			failed++;
			after = xverify(&x, n);
			assert_memory_equal(&before, &after, sizeof(before));
			assert_int_equal(load(&x, 3), 3);
			/* What needs no memory works. */
			assert_int_equal(kho_xa_store(x.xa, 3, 4), 0);
			assert_int_equal(kho_xa_store(x.xa, 4, 4), 0);
			assert_int_equal(kho_xa_erase(x.xa, 4), 0);
			assert_int_equal(kho_xa_store(x.xa, 3, 3), 0);
			free_list(&x, &list, &n);
		}
		xverify(&x, n);
		free_list(&x, &list, &n);
		xdiscard(&x);
	}
	assert_true(failed > 20);
}

/* ---- A model ---- */

struct run {
	struct xfixture x;
	struct model m, peeked;
	uint32_t spread;
	void *ballast;
	uint64_t n_ballast;
	uint32_t failed, handovers, entries;
};

static void compare(struct run *run)
{
	struct kho_xa_stats stats = xverify(&run->x, run->n_ballast);
	uint64_t marked[KHO_XARRAY_MARKS] = { 0 }, n;
	struct kho_mem_array mem = xmem(&run->x);
	struct kho_xa_entry entry;

	assert_true(same_content(&run->x, &run->m));
	peek(mem.data, run->x.phys, true, &run->peeked);
	assert_true(same_models(&run->peeked, &run->m));
	assert_int_equal(stats.entries, run->m.n);
	for (size_t i = 0; i < run->m.n; i++)
		for (int m = 0; m < KHO_XARRAY_MARKS; m++)
			marked[m] += run->m.e[i].marks >> m & 1;
	for (int m = 0; m < KHO_XARRAY_MARKS; m++) {
		assert_int_equal(stats.marked[m], marked[m]);
		assert_int_equal(kho_xa_marked(run->x.xa, m), marked[m] != 0);
		n = 0;
		kho_xa_for_each_marked(run->x.xa, &entry, m) {
			assert_true(
				model_find(&run->m, entry.index, entry.index)
						->marks >>
					m &
				1);
			n++;
		}
		assert_int_equal(n, marked[m]);
	}
	run->entries = run->m.n > run->entries ? (uint32_t)run->m.n :
						 run->entries;
}

static void hand_it_over(struct run *run)
{
	free_list(&run->x, &run->ballast, &run->n_ballast);
	xdetach(&run->x);
	xrestore(&run->x);
	compare(run);
	if (below(2)) {
		/* Aborted: the old one goes on. */
		xdetach(&run->x);
		xrestore(&run->x);
	}
	assert_int_equal(kho_ready(run->x.f.kho, NULL), 0);
	assert_int_equal(kho_free_unclaimed(run->x.f.kho, NULL), 0);
	assert_int_equal(kho_kmem_sweep(run->x.f.kmem, xowns, run->x.xa), 0);
	run->handovers++;
}

static void look(struct run *run)
{
	uint64_t index = random_index(run->spread), last, value = 0;
	struct mentry *e = model_find(&run->m, index, index);
	enum kho_xa_mark mark = below(KHO_XARRAY_MARKS);
	struct kho_xa_entry entry;

	assert_int_equal(kho_xa_load(run->x.xa, index, &value),
			 e ? 0 : -ENOENT);
	assert_true(!e || value == e->value);
	assert_int_equal(kho_xa_get_mark(run->x.xa, index, mark),
			 e && e->marks >> mark & 1);
	last = index + below(1000);
	if (last < index)
		last = UINT64_MAX;
	e = model_find(&run->m, index, last);
	assert_int_equal(kho_xa_find(run->x.xa, &entry, index, last,
				     KHO_XA_PRESENT),
			 e != NULL);
	assert_true(!e || same_entry(&run->x, e, &entry));
}

static void change(struct run *run)
{
	struct op op = random_op(run->spread);
	int expected = op_result(&run->m, &op);
	int ret = op_xa(&run->x, &op);

	if (ret == -ENOSPC && run->n_ballast) {
		run->failed++;
		return;
	}
	assert_int_equal(ret, expected);
	op_model(&run->m, &op, ALL_STEPS);
}

static void model_run(unsigned int page_shift, uint32_t spread, uint32_t ops)
{
	struct run *run = calloc(1, sizeof(*run));

#ifdef __SANITIZE_ADDRESS__
	ops /= 10;
#endif
	run->spread = spread;
	xcreate(&run->x, page_shift, 512ull << page_shift);
	while (ops--) {
		switch (below(8000)) {
		case 0:
			compare(run);
			break;
		case 1:
			hand_it_over(run);
			break;
		case 2:
			fill_up(&run->x, &run->ballast, &run->n_ballast,
				(int)below(4));
			break;
		case 3:
		case 4:
			free_list(&run->x, &run->ballast, &run->n_ballast);
			break;
		case 5:
			assert_int_equal(kho_xa_erase_range(run->x.xa, 0,
							    UINT64_MAX),
					 0);
			run->m.n = 0;
			break;
		default:
			if (below(3))
				change(run);
			else
				look(run);
		}
	}
	/* What chance did not bring. */
	if (!run->handovers)
		hand_it_over(run);
	while (!run->failed) {
		fill_up(&run->x, &run->ballast, &run->n_ballast, 0);
		change(run);
	}
	compare(run);
	print_message("# page shift %u: %u entries at most, %u handovers, %u ENOSPC\n",
		      page_shift, run->entries, run->handovers, run->failed);
	free_list(&run->x, &run->ballast, &run->n_ballast);
	assert_int_equal(kho_xa_destroy(run->x.xa), 0);
	assert_int_equal(count(&run->x.f), 0);
	discard(&run->x.f);
	free(run);
}

static void model_4k(void **state)
{
	(void)state;
	model_run(12, 300, 2000000);
}

static void model_4k_small(void **state)
{
	(void)state;
	model_run(12, 20, 500000);
}

static void model_16k(void **state)
{
	(void)state;
	model_run(14, 300, 500000);
}

static void model_64k(void **state)
{
	(void)state;
	model_run(16, 300, 500000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(composites),
		cmocka_unit_test(every_index_and_value),
		cmocka_unit_test(only_as_much_tree_as_needed),
		cmocka_unit_test(pointers),
		cmocka_unit_test(every_order),
		cmocka_unit_test(a_range_is_one_entry),
		cmocka_unit_test(arbitrary_ranges),
		cmocka_unit_test(marks),
		cmocka_unit_test(finds),
		cmocka_unit_test(read_only_until_ready),
		cmocka_unit_test(shared_cache),
		cmocka_unit_test(format),
		cmocka_unit_test(the_example),
		cmocka_unit_test(all_or_nothing),
		cmocka_unit_test(model_4k),
		cmocka_unit_test(model_4k_small),
		cmocka_unit_test(model_16k),
		cmocka_unit_test(model_64k),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
