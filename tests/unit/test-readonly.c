// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Who does not own the arena changes nothing: every call that would is
 * -EROFS, and not a byte of the arena differs, before kho_ready(), while it
 * is frozen, and when a successor has it.
 */
#include <errno.h>

#include <kho/block.h>
#include <kho/kmalloc.h>
#include <kho/radix.h>
#include <kho/tree.h>
#include <kho/varray.h>
#include <kho/vmalloc.h>
#include <kho/xarray.h>

#include "arena.h"
#include "arena/arena.h"
#include "base/crc32c.h"

#define MIB (1ul << 20)

static int convert(struct kho *kho, uint32_t version, void *arg,
		   struct kho_error *why)
{
	(void)kho;
	(void)version;
	(void)arg;
	(void)why;
	return 0;
}

static const struct kho_component_ops ops = { .convert = convert };
KHO_COMPONENT_OPS(app, &ops, .write = { 1, 2 }, .read = { 1, 2 },
		  .deps = { "block", "kmalloc", "radix", "varray", "xarray" },
		  .flags = KHO_COMPONENT_CONVERT);

static const struct kho_varray_type type = { .name = "word", .size = 8 };

/* One of everything. */
struct all {
	struct kho *kho;
	void *folio, *preserved, *pages, *preserved_pages, *blob, *object;
	struct kho_radix *radix;
	struct kho_kmem *kmem;
	struct kho_block_root *root;
	struct kho_blocks *blocks;
	struct kho_vmalloc_desc *desc, *desc2;
	struct kho_vmalloc *area, *area2;
	struct kho_varray_desc *vdesc;
	struct kho_varray *varray;
	struct kho_xa *xa;
};

static void make_all(struct all *a, int fd)
{
	struct kho *kho = arena_attach(fd, 0, 64 * MIB);
	uint64_t word = 7;

	a->kho = kho;
	a->folio = kho_alloc_folio(kho, 1);
	a->preserved = kho_alloc_preserve(kho, 8192);
	a->pages = kho_alloc_pages(kho, 3);
	a->preserved_pages = kho_alloc_pages(kho, 3);
	assert_int_equal(kho_preserve_pages(kho, a->preserved_pages, 3), 0);
	a->blob = kho_alloc_preserve(kho, 4096);
	assert_int_equal(kho_add_subtree(kho, "app", &app_component, 0, a->blob,
					 8, NULL),
			 0);
	assert_int_equal(kho_radix_create(kho, 40, &a->radix, NULL), 0);
	assert_int_equal(kho_radix_add(a->radix, 5), 0);
	assert_int_equal(kho_kmem_create(kho, &a->kmem, NULL), 0);
	a->object = kho_kmalloc(a->kmem, 64);
	a->root = kho_kmalloc(a->kmem, sizeof(*a->root));
	assert_int_equal(kho_block_create(kho, 8, a->root, &a->blocks, NULL),
			 0);
	assert_int_equal(kho_block_append(a->blocks, &word), 0);
	a->desc = kho_kmalloc(a->kmem, sizeof(*a->desc));
	a->desc2 = kho_kmalloc(a->kmem, sizeof(*a->desc2));
	assert_int_equal(kho_vmalloc_create(kho, MIB, 4096, &a->area, NULL), 0);
	assert_int_equal(kho_vmalloc_resize(a->area, 8192, NULL), 0);
	assert_int_equal(kho_vmalloc_preserve(a->area, a->desc, NULL), 0);
	assert_int_equal(kho_vmalloc_create(kho, MIB, 4096, &a->area2, NULL),
			 0);
	assert_int_equal(kho_vmalloc_resize(a->area2, 8192, NULL), 0);
	a->vdesc = kho_kmalloc(a->kmem, sizeof(*a->vdesc));
	assert_int_equal(kho_varray_create(kho, a->vdesc, &type, 100,
					   &a->varray, NULL),
			 0);
	assert_int_equal(kho_varray_resize(a->varray, 3, NULL), 0);
	assert_int_equal(kho_xa_create(kho, a->kmem, &a->xa, NULL), 0);
	assert_int_equal(kho_xa_store(a->xa, 9, 1), 0);
}

#define refused(call) assert_int_equal(call, -EROFS)
#define refused_ptr(call)                                                      \
	do {                                                                   \
		errno = 0;                                                     \
		assert_null(call);                                             \
		assert_int_equal(errno, EROFS);                                \
	} while (0)

static void try_pages(struct all *a)
{
	struct kho *kho = a->kho;

	refused_ptr(kho_alloc_folio(kho, 0));
	refused_ptr(kho_alloc_pages(kho, 3));
	refused_ptr(kho_alloc_preserve(kho, 100));
	refused(kho_free_folio(kho, a->folio));
	refused(kho_free_pages(kho, a->pages, 3));
	refused(kho_preserve_folio(kho, a->folio));
	refused(kho_preserve_pages(kho, a->pages, 3));
	refused(kho_unpreserve_folio(kho, a->preserved));
	refused(kho_unpreserve_pages(kho, a->preserved_pages, 3));
	refused(kho_unpreserve_free(kho, a->preserved));
	refused(kho_free_unclaimed(kho, NULL));
	refused(kho_add_subtree(kho, "more", &app_component, 0, a->blob, 8,
				NULL));
	refused(kho_replace_subtree(kho, "app", &app_component, 1, a->blob, 8,
				    NULL));
	refused(kho_remove_subtree(kho, "app", NULL));
	refused(kho_set_version(kho, &app_component, 1, NULL));
}

static void try_radix(struct all *a)
{
	struct kho_radix *radix;

	refused(kho_radix_create(a->kho, 8, &radix, NULL));
	refused(kho_radix_add(a->radix, 6));
	refused(kho_radix_del(a->radix, 5));
	refused(kho_radix_add_range(a->radix, 1, 1ul << 20));
	refused(kho_radix_del_range(a->radix, 1, 1ul << 20));
	refused(kho_radix_destroy(a->radix));
}

static bool unreachable(void *object, size_t size, void *arg)
{
	(void)object;
	(void)size;
	(void)arg;
	return false;
}

static void try_kmalloc(struct all *a)
{
	struct kho_kmem *kmem;

	refused(kho_kmem_create(a->kho, &kmem, NULL));
	refused_ptr(kho_kmalloc(a->kmem, 64));
	refused(kho_kfree(a->kmem, a->object));
	refused((int)kho_kmem_sweep(a->kmem, unreachable, NULL));
	refused(kho_kmem_destroy(a->kmem));
}

static void try_block(struct all *a)
{
	struct kho_blocks *blocks;
	uint64_t word = 8;

	refused(kho_block_create(a->kho, 8, a->root, &blocks, NULL));
	refused((int)kho_block_append(a->blocks, &word));
	refused(kho_block_grow(a->blocks, 5000));
	refused(kho_block_shrink(a->blocks, 0));
	refused(kho_block_destroy(a->blocks));
}

static void try_vmalloc(struct all *a)
{
	struct kho_varray *varray;

	refused(kho_vmalloc_resize(a->area, 0, NULL));
	refused(kho_vmalloc_resize(a->area, MIB, NULL));
	refused(kho_vmalloc_populate(a->area, 8192, 4096, NULL));
	refused(kho_vmalloc_punch(a->area, 0, 4096, NULL));
	refused(kho_vmalloc_preserve(a->area2, a->desc2, NULL));
	refused(kho_vmalloc_unpreserve(a->area));
	refused(kho_vmalloc_destroy(a->area));
	refused(kho_varray_create(a->kho, a->vdesc, &type, 10, &varray, NULL));
	refused(kho_varray_resize(a->varray, 2, NULL));
	refused(kho_varray_resize(a->varray, 50, NULL));
	refused(kho_varray_destroy(a->varray));
}

static void try_xarray(struct all *a)
{
	struct kho_xa *xa;

	refused(kho_xa_create(a->kho, a->kmem, &xa, NULL));
	refused(kho_xa_store(a->xa, 9, 2));
	refused(kho_xa_store_order(a->xa, 64, 6, 2));
	refused(kho_xa_store_range(a->xa, 1, 100, 2));
	refused(kho_xa_store_ptr(a->xa, 10, 0, a->blob));
	refused(kho_xa_erase(a->xa, 9));
	refused(kho_xa_erase_range(a->xa, 0, UINT64_MAX));
	refused(kho_xa_set_mark(a->xa, 9, KHO_XA_MARK_0));
	refused(kho_xa_clear_mark(a->xa, 9, KHO_XA_MARK_0));
	refused(kho_xa_destroy(a->xa));
}

static uint32_t checksum(int fd)
{
	size_t len;
	void *bytes = arena_copy(fd, &len);
	uint32_t crc = crc32c(bytes, len);

	free(bytes);
	return crc;
}

static void nothing_changes(void **state)
{
	static const enum kho_stage stages[] = { KHO_RESTORING, KHO_FROZEN,
						 KHO_GONE };
	struct all a;
	int fd = make_memfd();
	uint32_t crc;

	(void)state;
	make_all(&a, fd);
	crc = checksum(fd);
	for (size_t i = 0; i < 3; i++) {
		__atomic_store_n(&a.kho->stage, stages[i], __ATOMIC_RELEASE);
		if (stages[i] != KHO_FROZEN)
			assert_int_equal(arena_set_writable(a.kho, false), 0);
		try_pages(&a);
		try_radix(&a);
		try_kmalloc(&a);
		try_block(&a);
		try_vmalloc(&a);
		try_xarray(&a);
		assert_true(checksum(fd) == crc);
		assert_int_equal(arena_set_writable(a.kho, true), 0);
	}
	/* An abort: all goes on. */
	__atomic_store_n(&a.kho->stage, KHO_SERVING, __ATOMIC_RELEASE);
	assert_int_equal(kho_kfree(a.kmem, a.object), 0);
	assert_int_equal(kho_xa_destroy(a.xa), 0);
	assert_int_equal(kho_varray_destroy(a.varray), 0);
	assert_int_equal(kho_vmalloc_destroy(a.area2), 0);
	assert_int_equal(kho_vmalloc_destroy(a.area), 0);
	assert_int_equal(kho_block_destroy(a.blocks), 0);
	assert_int_equal(kho_radix_destroy(a.radix), 0);
	assert_int_equal(kho_kmem_destroy(a.kmem), 0);
	kho_close(a.kho);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
