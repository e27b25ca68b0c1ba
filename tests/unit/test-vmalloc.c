// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Areas: their formats to the byte, growing and shrinking, holes, handover,
 * running out of memory and of mappings.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/crc32c.h"
#include "heap.h"
#include "arena/arena.h"
#include "vmalloc.h"

static const unsigned int page_shifts[] = { 12, 14, 16 };

/* ---- Failing allocations on the heap: linked with --wrap ---- */

void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return heap_fails() ? NULL : __real_reallocarray(p, n, size);
}

/* ---- What the tests do ---- */

static struct kho_vmalloc *make(struct fixture *f, uint64_t max, uint64_t block)
{
	struct kho_vmalloc *area;

	if (kho_vmalloc_create(f->kho, max, block, &area, &f->err))
		fail_msg("create: %s", f->err.text);
	return area;
}

static void resize(struct fixture *f, struct kho_vmalloc *area, uint64_t size)
{
	if (kho_vmalloc_resize(area, size, &f->err))
		fail_msg("resize: %s", f->err.text);
}

static void preserve(struct fixture *f, struct kho_vmalloc *area,
		     uint32_t version)
{
	set_version(f, version);
	if (kho_vmalloc_preserve(area, f->desc, &f->err))
		fail_msg("preserve: %s", f->err.text);
}

static uint64_t load(struct fixture *f, uint64_t phys, unsigned int bytes)
{
	uint64_t value = 0;

	memcpy(&value, kho_ptr(f->kho, phys, bytes), bytes);
	return value;
}

static void store(struct fixture *f, uint64_t phys, uint64_t value,
		  unsigned int bytes)
{
	memcpy(kho_ptr(f->kho, phys, bytes), &value, bytes);
}

/* ---- Sizes and refusals ---- */

static void defaults(void **state)
{
	static const struct {
		uint64_t max, block;
	} expected[] = {
		{ 1, 4096 },
		{ 4096 * 32, 4096 },
		{ 4096 * 64, 8192 },
		{ 64 * MIB, 2 * MIB },
		{ 64 * 1024 * MIB, 2 * MIB },
	};
	struct kho_vmalloc *area;
	struct fixture f;

	(void)state;
	create(&f, 12, 64 * MIB);
	for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
		area = make(&f, expected[i].max, 0);
		assert_int_equal(kho_vmalloc_block(area), expected[i].block);
		assert_true(kho_vmalloc_max(area) >= expected[i].max);
		assert_int_equal(kho_vmalloc_size(area), 0);
		assert_int_equal(kho_vmalloc_populated(area), 0);
		assert_int_equal(kho_vmalloc_version(area), 0);
		assert_null(kho_vmalloc_ptr(area, 0, 1));
		assert_int_equal(kho_vmalloc_phys(area, kho_vmalloc_base(area)),
				 0);
		kho_vmalloc_close(area);
	}
	discard(&f);
}

static void refusals(void **state)
{
	struct kho_vmalloc *area;
	struct fixture f;
	uint64_t local[2];

	(void)state;
	create(&f, 14, 64 * MIB);
	fails(&f, -EINVAL, kho_vmalloc_create(f.kho, 0, 0, &area, &f.err));
	fails(&f, -EINVAL,
	      kho_vmalloc_create(f.kho, UINT64_MAX, 0, &area, &f.err));
	fails(&f, -EINVAL, kho_vmalloc_create(f.kho, 1, 4096, &area, &f.err));
	fails(&f, -EINVAL,
	      kho_vmalloc_create(f.kho, 1, 3 << 14, &area, &f.err));
	fails(&f, -EINVAL,
	      kho_vmalloc_create(f.kho, 1, 2ul << 30, &area, &f.err));

	area = make(&f, 8 * MIB, 1 << 16);
	fails(&f, -ERANGE, kho_vmalloc_resize(area, 8 * MIB + 1, &f.err));
	fails(&f, -ERANGE, kho_vmalloc_populate(area, 8 * MIB, 1, &f.err));
	fails(&f, -ERANGE, kho_vmalloc_populate(area, UINT64_MAX, 2, &f.err));
	fails(&f, -EINVAL, kho_vmalloc_punch(area, 1, 1 << 16, &f.err));
	fails(&f, -EINVAL, kho_vmalloc_punch(area, 1 << 16, 10, &f.err));
	assert_int_equal(kho_vmalloc_populate(area, 5, 0, &f.err), 0);
	assert_int_equal(kho_vmalloc_unpreserve(area), -ENOENT);
	fails(&f, -EINVAL, kho_vmalloc_preserve(area, (void *)local, &f.err));
	fails(&f, -EINVAL,
	      kho_vmalloc_preserve(area, (void *)((char *)f.page + 4), &f.err));
	fails(&f, -EINVAL,
	      kho_vmalloc_restore(f.kho, (void *)local, 0, &area, &f.err));
	/* What is empty is nothing. */
	fails(&f, -ENOENT,
	      kho_vmalloc_restore(f.kho, f.desc, 0, &area, &f.err));

	preserve(&f, area, 2);
	assert_int_equal(kho_vmalloc_version(area), 2);
	fails(&f, -EEXIST, kho_vmalloc_preserve(area, f.desc, &f.err));
	resize(&f, area, 1 << 16);

	/* After a handover: everything as it is, until kho_ready(). */
	kho_vmalloc_close(area);
	reattach(&f);
	area = restore(&f, 0);
	assert_int_equal(kho_vmalloc_max(area), 1 << 16);
	fails(&f, -EROFS, kho_vmalloc_resize(area, 0, &f.err));
	fails(&f, -EROFS, kho_vmalloc_populate(area, 0, 1 << 16, &f.err));
	fails(&f, -EROFS, kho_vmalloc_punch(area, 0, 1 << 16, &f.err));
	assert_int_equal(kho_vmalloc_unpreserve(area), -EROFS);
	assert_int_equal(kho_vmalloc_destroy(area), -EROFS);
	/* Twice is once too much. */
	fails(&f, -EBUSY, kho_vmalloc_restore(f.kho, f.desc, 0, &area, &f.err));
	kho_vmalloc_close(area);
	discard(&f);
}

/* 2^32 pages, of which the last ones are there; not one byte more. */
static void largest(void **state)
{
	uint64_t limit = KHO_VMALLOC_MAX_PAGES << 12;
	struct kho_vmalloc *area;
	struct fixture f;
	char *last;

	(void)state;
	create(&f, 12, 64 * MIB);
	fails(&f, -EINVAL,
	      kho_vmalloc_create(f.kho, limit + 1, 2 * MIB, &area, &f.err));
	area = make(&f, limit, 2 * MIB);
	assert_int_equal(kho_vmalloc_populate(area, limit - 1, 1, &f.err), 0);
	fails(&f, -ERANGE, kho_vmalloc_populate(area, limit, 1, &f.err));
	assert_int_equal(kho_vmalloc_size(area), limit);
	last = kho_vmalloc_ptr(area, limit - 1, 1);
	*last = 'x';
	preserve(&f, area, 2);
	assert_int_equal(verify(&f).size, limit);
	kho_vmalloc_close(area);
	reattach(&f);
	fails(&f, -EINVAL,
	      kho_vmalloc_restore(f.kho, f.desc, limit + 1, &area, &f.err));
	area = restore(&f, 0);
	assert_int_equal(kho_vmalloc_max(area), limit);
	last = kho_vmalloc_ptr(area, limit - 1, 1);
	assert_int_equal(*last, 'x');
	assert_null(kho_vmalloc_ptr(area, limit, 1));
	assert_null(kho_vmalloc_ptr(area, 0, 1));
	kho_vmalloc_close(area);
	discard(&f);
}

/* Nothing stays behind. */
static void gives_all_back(void **state)
{
	struct kho_vmalloc *area;
	struct kho_pages_info before;
	struct fixture f;

	(void)state;
	create(&f, 12, 64 * MIB);
	before = pages_info(f.kho);
	area = make(&f, 32 * MIB, 4096);
	resize(&f, area, 5 * MIB);
	assert_int_equal(pages_info(f.kho).preserved, before.preserved);
	assert_int_equal(pages_info(f.kho).allocated - before.allocated, 1280);
	kho_vmalloc_close(area);
	assert_int_equal(pages_info(f.kho).allocated, before.allocated);

	area = make(&f, 32 * MIB, 4096);
	preserve(&f, area, 1);
	resize(&f, area, 5 * MIB);
	/* 1280 blocks, 511 in a chunk. */
	assert_int_equal(pages_info(f.kho).preserved - before.preserved,
			 1280 + 3);
	assert_int_equal(kho_vmalloc_unpreserve(area), 0);
	assert_int_equal(pages_info(f.kho).preserved, before.preserved);
	assert_int_equal(f.desc->first.phys, 0);
	preserve(&f, area, 2);
	assert_int_equal(pages_info(f.kho).preserved - before.preserved,
			 1280 + 1);
	resize(&f, area, 0);
	assert_int_equal(pages_info(f.kho).preserved - before.preserved, 1);
	assert_int_equal(kho_vmalloc_destroy(area), 0);
	assert_int_equal(pages_info(f.kho).allocated, before.allocated);
	assert_int_equal(pages_info(f.kho).preserved, before.preserved);
	discard(&f);
}

/* ---- Version 1, to the byte ---- */

/* @n blocks in chunks, as linux would have written them; checks what we do. */
static void check_v1(unsigned int shift, unsigned int order, uint64_t n)
{
	uint64_t block = 1ull << (shift + order), cap = (1ull << shift) / 8 - 1;
	uint64_t chunk, i = 0, k, chunks = 1;
	struct kho_vmalloc *area;
	struct fixture f;

	create(&f, shift, 256 * MIB);
	area = make(&f, (n + 1) * block, block);
	resize(&f, area, n * block);
	preserve(&f, area, 1);

	chunk = load(&f, f.phys, 8);
	assert_int_equal(load(&f, f.phys + 8, 4), n << order);
	assert_int_equal(load(&f, f.phys + 12, 2), order ? 3 : 1);
	assert_int_equal(load(&f, f.phys + 14, 2), order);
	for (;; chunks++) {
		assert_int_equal(chunk % (1ull << shift), 0);
		for (k = 0; k < cap && i < n; k++, i++)
			assert_int_equal(load(&f, chunk + 8 + 8 * k, 8),
					 kho_vmalloc_phys(area,
							  kho_vmalloc_ptr(area,
									  i * block,
									  1)));
		if (k < cap)
			break;
		chunk = load(&f, chunk, 8);
	}
	assert_int_equal(i, n);
	assert_int_equal(load(&f, chunk, 8), 0);
	assert_int_equal(load(&f, chunk + 8 + 8 * k, 8), 0);
	assert_int_equal(chunks, n / cap + 1);
	assert_int_equal(verify(&f).lists, chunks);
	assert_int_equal(pages_info(f.kho).preserved - f.pages,
			 (n << order) + chunks);
	kho_vmalloc_close(area);
	discard(&f);
}

static void writes_v1(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint64_t cap = (1ull << page_shifts[i]) / 8 - 1;

		check_v1(page_shifts[i], 0, 0);
		check_v1(page_shifts[i], 0, 1);
		check_v1(page_shifts[i], 2, 7);
		/* 8191 pages of 64 KiB would be half a gigabyte. */
		if (page_shifts[i] == 16)
			continue;
		check_v1(page_shifts[i], 0, cap - 1);
		check_v1(page_shifts[i], 0, cap);
		check_v1(page_shifts[i], 0, cap + 1);
		if (page_shifts[i] == 12)
			check_v1(page_shifts[i], 3, 2 * cap);
	}
}

/* Pages of our own making, block after block from the highest phys down. */
static void check_read_v1(unsigned int shift, unsigned int order, uint64_t n)
{
	uint64_t page = 1ull << shift, block = page << order,
		 cap = page / 8 - 1;
	uint64_t chunk = 0, i, k = cap, phys;
	struct kho_vmalloc *area;
	char **blocks, *base;
	struct fixture f;

	create(&f, shift, 256 * MIB);
	set_version(&f, 1);
	blocks = calloc(n + 1, sizeof(*blocks));
	for (i = 0; i < n; i++)
		blocks[i] = kho_alloc_pages(f.kho, 1ul << order);
	store(&f, f.phys + 8, n << order, 4);
	store(&f, f.phys + 12, 1, 2);
	store(&f, f.phys + 14, order, 2);
	for (i = 0; i <= n; i++) {
		if (k == cap) {
			phys = kho_phys(f.kho, kho_alloc_preserve(f.kho, page));
			store(&f, chunk ? chunk : f.phys, phys, 8);
			chunk = phys;
			k = 0;
		}
		if (i == n)
			break;
		memset(blocks[n - 1 - i], (int)(i % 251), block);
		assert_int_equal(kho_preserve_pages(f.kho, blocks[n - 1 - i],
						    1ul << order),
				 0);
		store(&f, chunk + 8 + 8 * k++,
		      kho_phys(f.kho, blocks[n - 1 - i]), 8);
	}
	free(blocks);

	reattach(&f);
	area = restore(&f, 2 * n * block);
	assert_int_equal(kho_vmalloc_version(area), 1);
	assert_int_equal(kho_vmalloc_block(area), block);
	assert_int_equal(kho_vmalloc_size(area), n * block);
	assert_int_equal(pages_info(f.kho).unclaimed, 0);
	base = kho_vmalloc_base(area);
	for (i = 0; i < n; i++) {
		assert_int_equal(base[i * block], (char)(i % 251));
		assert_memory_equal(base + i * block, base + i * block + 1,
				    block - 1);
	}
	assert_int_equal(kho_ready(f.kho, NULL), 0);
	/* It is ours to change, and to free. */
	if (n)
		base[(n - 1) * block] = 'x';
	resize(&f, area, n * block + 1);
	assert_int_equal(base[n * block], 0);
	assert_int_equal(verify(&f).version, 1);
	assert_int_equal(kho_vmalloc_destroy(area), 0);
	assert_int_equal(pages_info(f.kho).preserved, f.pages);
	discard(&f);
}

static void reads_v1(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint64_t cap = (1ull << page_shifts[i]) / 8 - 1;

		check_read_v1(page_shifts[i], 0, 1);
		check_read_v1(page_shifts[i], 2, 7);
		if (page_shifts[i] == 16)
			continue;
		check_read_v1(page_shifts[i], 0, cap - 1);
		check_read_v1(page_shifts[i], 0, cap);
		check_read_v1(page_shifts[i], 0, cap + 1);
		if (page_shifts[i] == 12)
			check_read_v1(page_shifts[i], 2, 2 * cap);
	}
}

/* ---- Version 2, to the byte ---- */

static void check_list(struct fixture *f, uint64_t list, uint64_t next,
		       unsigned int order)
{
	assert_memory_equal(kho_ptr(f->kho, list, 8), "KHORUNS", 8);
	assert_int_equal(load(f, list + 8, 8), next);
	assert_int_equal(load(f, list + 16, 2), order);
	assert_int_equal(load(f, list + 18, 2), 0);
	assert_int_equal(load(f, list + 20, 4),
			 crc32c(kho_ptr(f->kho, list, 20), 20));
}

static void check_run(struct fixture *f, uint64_t list, unsigned int i,
		      uint64_t phys, uint64_t index, uint64_t pages)
{
	uint64_t run = list + 24 + 24 * i;

	assert_int_equal(load(f, run, 8), phys);
	assert_int_equal(load(f, run + 8, 8), index);
	assert_int_equal(load(f, run + 16, 4), pages);
	assert_int_equal(load(f, run + 20, 4),
			 crc32c(kho_ptr(f->kho, run, 20), 20));
}

static uint64_t check_desc(struct fixture *f, unsigned int runs)
{
	unsigned char copy[16];

	memcpy(copy, f->desc, 16);
	memset(copy + 8, 0, 4);
	assert_int_equal(load(f, f->phys + 8, 4), crc32c(copy, 16));
	assert_int_equal(load(f, f->phys + 12, 2), 0x8002);
	assert_int_equal(load(f, f->phys + 14, 2), runs);
	return load(f, f->phys, 8);
}

static uint64_t phys_at(struct kho_vmalloc *area, uint64_t offset)
{
	return kho_vmalloc_phys(area, kho_vmalloc_ptr(area, offset, 1));
}

static void writes_v2(void **state)
{
	(void)state;
	for (size_t s = 0; s < 3; s++) {
		uint64_t page = 1ull << page_shifts[s], list;
		struct kho_vmalloc *area;
		struct fixture f;

		create(&f, page_shifts[s], 256 * MIB);
		area = make(&f, 1024 * page, 4 * page);
		preserve(&f, area, 2);
		list = check_desc(&f, 0);
		check_list(&f, list, 0, 2);
		assert_int_equal(kho_vmalloc_populate(area, 64 * page,
						      32 * page, NULL),
				 0);
		assert_int_equal(check_desc(&f, 1), list);
		check_run(&f, list, 0, phys_at(area, 64 * page), 64, 32);
		/* Without its end, all is written anew. */
		assert_int_equal(kho_vmalloc_punch(area, 92 * page, 4 * page,
						   NULL),
				 0);
		list = check_desc(&f, 1);
		check_run(&f, list, 0, phys_at(area, 64 * page), 64, 28);
		/* The same pages again: the run grows. */
		assert_int_equal(kho_vmalloc_populate(area, 92 * page, 1, NULL),
				 0);
		assert_int_equal(phys_at(area, 92 * page),
				 phys_at(area, 64 * page) + 28 * page);
		assert_int_equal(check_desc(&f, 1), list);
		check_run(&f, list, 0, phys_at(area, 64 * page), 64, 32);
		/* Before it: another one. */
		assert_int_equal(kho_vmalloc_populate(area, 0, page, NULL), 0);
		assert_int_equal(check_desc(&f, 2), list);
		check_run(&f, list, 1, phys_at(area, 0), 0, 4);
		check_list(&f, list, 0, 2);
		/* A hole in the middle: all anew, in order. */
		assert_int_equal(kho_vmalloc_punch(area, 72 * page, 4 * page,
						   NULL),
				 0);
		list = check_desc(&f, 3);
		check_list(&f, list, 0, 2);
		check_run(&f, list, 0, phys_at(area, 0), 0, 4);
		check_run(&f, list, 1, phys_at(area, 64 * page), 64, 8);
		check_run(&f, list, 2, phys_at(area, 76 * page), 76, 20);
		kho_vmalloc_close(area);
		discard(&f);
	}
}

/* So many runs that there are several lists. */
static void many_lists(void **state)
{
	uint64_t list, next;
	struct kho_vmalloc_stats stats;
	struct kho_vmalloc *area;
	struct fixture f;

	(void)state;
	create(&f, 12, 64 * MIB);
	area = make(&f, 32 * MIB, 4096);
	preserve(&f, area, 2);
	for (uint64_t i = 0; i < 2 * 169; i++)
		assert_int_equal(kho_vmalloc_populate(area, 8192 * i, 1, NULL),
				 0);
	list = check_desc(&f, 169);
	next = load(&f, list + 8, 8);
	check_list(&f, list, next, 0);
	check_list(&f, next, 0, 0);
	assert_int_equal(verify(&f).lists, 2);
	assert_int_equal(kho_vmalloc_populate(area, 8192 * 2 * 169, 1, NULL),
			 0);
	next = list;
	list = check_desc(&f, 1);
	check_list(&f, list, next, 0);
	/* The holes in between: 338 more, in one go. */
	assert_int_equal(kho_vmalloc_resize(area, 4 * MIB, NULL), 0);
	assert_int_equal(kho_vmalloc_populate(area, 0, 4 * MIB, NULL), 0);
	stats = verify(&f);
	assert_int_equal(stats.populated, 4 * MIB);
	assert_int_equal(convert(&f, 1), 0);
	assert_int_equal(verify(&f).lists, 1024 / 511 + 1);
	assert_int_equal(convert(&f, 2), 0);
	assert_int_equal(verify(&f).runs, stats.runs);
	assert_true(verify(&f).lists <= stats.lists);

	kho_vmalloc_close(area);
	reattach(&f);
	area = restore(&f, 0);
	assert_int_equal(pages_info(f.kho).unclaimed, 0);
	assert_int_equal(kho_vmalloc_populated(area), 4 * MIB);
	kho_vmalloc_close(area);
	discard(&f);
}

/* A gigabyte in one piece is one run, also when it came bit by bit. */
static void one_run(void **state)
{
	struct kho_vmalloc_stats stats;
	struct kho_vmalloc *area;
	struct fixture f;

	(void)state;
	create(&f, 12, 4096 * MIB);
	area = make(&f, 2048 * MIB, 0);
	preserve(&f, area, 2);
	resize(&f, area, 1024 * MIB);
	stats = verify(&f);
	assert_int_equal(stats.runs, 1);
	assert_int_equal(stats.lists, 1);
	check_run(&f, check_desc(&f, 1), 0, phys_at(area, 0), 0, 1 << 18);
	kho_vmalloc_close(area);
	discard(&f);

	create(&f, 12, 4096 * MIB);
	area = make(&f, 256 * MIB, 0);
	preserve(&f, area, 2);
	for (uint64_t size = 2 * MIB; size <= 64 * MIB; size += 2 * MIB)
		resize(&f, area, size);
	/* The buddies of the pieces need not come in order. */
	assert_true(verify(&f).runs <= 8);
	kho_vmalloc_close(area);
	discard(&f);
}

/* ---- Life ---- */

static void page_changes(void *p, bool writable)
{
	/* A system call that writes there tells without a signal. */
	int byte = memfd_create("byte", 0);

	assert_int_equal(pwrite(byte, "x", 1, 0), 1);
	errno = 0;
	assert_int_equal(pread(byte, p, 1, 0), writable ? 1 : -1);
	assert_int_equal(errno, writable ? 0 : EFAULT);
	close(byte);
}

static void read_only_until_ready(void **state)
{
	struct kho_vmalloc *area;
	struct fixture f;
	char *base;

	(void)state;
	create(&f, 12, 64 * MIB);
	area = make(&f, 16 * MIB, 4096);
	assert_int_equal(kho_vmalloc_populate(area, 0, 4 * MIB, NULL), 0);
	assert_int_equal(kho_vmalloc_populate(area, 8 * MIB, 4096, NULL), 0);
	preserve(&f, area, 2);
	base = kho_vmalloc_base(area);
	base[5] = 5;
	base[8 * MIB] = 8;
	page_changes(base + 4 * MIB, false);
	kho_vmalloc_close(area);
	for (int aborted = 0; aborted < 2; aborted++) {
		reattach(&f);
		area = restore(&f, 32 * MIB);
		base = kho_vmalloc_base(area);
		assert_int_equal(base[5], 5);
		assert_int_equal(base[8 * MIB], 8);
		page_changes(base, false);
		page_changes(base + 8 * MIB, false);
		if (!aborted)
			kho_vmalloc_close(area);
	}
	assert_int_equal(kho_ready(f.kho, NULL), 0);
	page_changes(base, true);
	page_changes(base + 8 * MIB, true);
	page_changes(base + 4 * MIB, false);
	assert_int_equal(kho_vmalloc_populate(area, 20 * MIB, 1, NULL), 0);
	page_changes(base + 20 * MIB, true);
	kho_vmalloc_close(area);
	discard(&f);
}

static void lookups(void **state)
{
	struct kho_vmalloc *area;
	struct fixture f;
	char *base;

	(void)state;
	create(&f, 12, 64 * MIB);
	area = make(&f, 1 * MIB, 8192);
	base = kho_vmalloc_base(area);
	assert_int_equal(kho_vmalloc_populate(area, 8191, 2, NULL), 0);
	assert_int_equal(kho_vmalloc_populated(area), 16384);
	assert_ptr_equal(kho_vmalloc_ptr(area, 0, 16384), base);
	assert_ptr_equal(kho_vmalloc_ptr(area, 16383, 1), base + 16383);
	assert_ptr_equal(kho_vmalloc_ptr(area, 16383, 0), base + 16383);
	assert_null(kho_vmalloc_ptr(area, 16383, 2));
	assert_null(kho_vmalloc_ptr(area, 16384, 0));
	assert_null(kho_vmalloc_ptr(area, 1 * MIB, 1));
	assert_null(kho_vmalloc_ptr(area, UINT64_MAX, 1));
	assert_null(kho_vmalloc_ptr(area, 1, UINT64_MAX));
	assert_int_equal(kho_vmalloc_phys(area, NULL), 0);
	assert_int_equal(kho_vmalloc_phys(area, base - 1), 0);
	assert_int_equal(kho_vmalloc_phys(area, base + 16384), 0);
	assert_int_equal(kho_vmalloc_phys(area, base + 1 * MIB), 0);
	base[100] = 'a';
	assert_int_equal(load(&f, kho_vmalloc_phys(area, base + 100), 1), 'a');
	store(&f, kho_vmalloc_phys(area, base + 8200), 'b', 1);
	assert_int_equal(base[8200], 'b');
	kho_vmalloc_close(area);
	discard(&f);
}

static int sum_piece(uint64_t offset, uint64_t phys, uint64_t size, void *arg)
{
	uint64_t *sum = arg;

	assert_true(offset >= sum[0]);
	assert_int_not_equal(phys, 0);
	sum[0] = offset + size;
	sum[1] += size;
	return sum[1] > 10 * MIB ? 42 : 0;
}

static void walks(void **state)
{
	struct kho_vmalloc *area;
	struct kho_mem_array mem;
	uint64_t sum[2] = { 0 };
	struct fixture f;

	(void)state;
	create(&f, 12, 64 * MIB);
	area = make(&f, 64 * MIB, 0);
	preserve(&f, area, 2);
	assert_int_equal(kho_vmalloc_populate(area, 20 * MIB, MIB, NULL), 0);
	assert_int_equal(kho_vmalloc_populate(area, 0, 4 * MIB, NULL), 0);
	mem = arena_bytes(f.kho, f.fd);
	assert_int_equal(kho_vmalloc_walk(&mem.mem, f.phys, sum_piece, sum,
					  NULL),
			 0);
	assert_int_equal(sum[0], 22 * MIB);
	assert_int_equal(sum[1], 6 * MIB);
	assert_int_equal(kho_vmalloc_populate(area, 40 * MIB, 8 * MIB, NULL),
			 0);
	memset(sum, 0, sizeof(sum));
	mem = arena_bytes(f.kho, f.fd);
	assert_int_equal(kho_vmalloc_walk(&mem.mem, f.phys, sum_piece, sum,
					  NULL),
			 42);
	kho_vmalloc_close(area);
	discard(&f);
}

/* A full arena: the area is as it was, and so is the arena. */
static void full(void **state)
{
	struct kho_pages_info before, after;
	unsigned char image[16];
	struct kho_vmalloc *area;
	struct fixture f;
	uint64_t size;

	(void)state;
	for (uint32_t version = 0; version <= 2; version++) {
		create(&f, 12, 8 * MIB);
		area = make(&f, 64 * MIB, 4096);
		if (version)
			preserve(&f, area, version);
		/* Ever less, so that the last pages go to the lists. */
		for (uint64_t step = 4 * MIB; step >= 4096;) {
			size = kho_vmalloc_size(area);
			before = pages_info(f.kho);
			memcpy(image, f.desc, 16);
			if (kho_vmalloc_resize(area, size + step, &f.err) == 0)
				continue;
			assert_int_equal(f.err.code, -ENOSPC);
			assert_int_equal(kho_vmalloc_size(area), size);
			assert_memory_equal(image, f.desc, 16);
			after = pages_info(f.kho);
			assert_int_equal(after.preserved, before.preserved);
			assert_int_equal(after.allocated, before.allocated);
			if (version)
				assert_int_equal(verify(&f).size, size);
			step /= 2;
		}
		assert_true(kho_vmalloc_size(area) > 6 * MIB);
		if (!version) {
			fails(&f, -ENOSPC,
			      kho_vmalloc_preserve(area, f.desc, &f.err));
			assert_int_equal(pages_info(f.kho).preserved, f.pages);
		}
		assert_int_equal(kho_vmalloc_destroy(area), 0);
		assert_int_equal(pages_info(f.kho).preserved, f.pages);
		discard(&f);
	}
}

/* What a change did to the area, or did not do. */
static int try_change(struct kho_vmalloc *area, int i, struct fixture *f)
{
	switch (i) {
	case 0:
		return kho_vmalloc_preserve(area, f->desc, &f->err);
	case 1:
		return kho_vmalloc_populate(area, 100 * 4096, 1, &f->err);
	case 2:
		return kho_vmalloc_punch(area, 8192, 4096, &f->err);
	case 3:
		return kho_vmalloc_populate(area, 0, 100 * 4096, &f->err);
	case 4:
		return convert(f, 1);
	case 5:
		return kho_vmalloc_resize(area, 200 * 4096, &f->err);
	default:
		return kho_vmalloc_resize(area, 4096, &f->err);
	}
}

/* Whichever allocation fails, nothing has changed. */
static void out_of_heap(void **state)
{
	struct kho_vmalloc *area = NULL;
	struct kho_pages_info before;
	unsigned char image[16];
	uint64_t populated;
	struct fixture f;
	int ret, n;

	(void)state;
	create(&f, 12, 64 * MIB);
	fail_in = 0;
	ret = kho_vmalloc_create(f.kho, MIB, 4096, &area, &f.err);
	fail_in = -1;
	fails(&f, -ENOMEM, ret);
	area = make(&f, MIB, 4096);
	resize(&f, area, 10 * 4096);
	for (int i = 0; i < 7; i++) {
		for (n = 0;; n++) {
			before = pages_info(f.kho);
			memcpy(image, f.desc, 16);
			populated = kho_vmalloc_populated(area);
			fail_in = n;
			ret = try_change(area, i, &f);
			fail_in = -1;
			if (!ret)
				break;
			fails(&f, -ENOMEM, ret);
			assert_memory_equal(image, f.desc, 16);
			assert_int_equal(kho_vmalloc_populated(area),
					 populated);
			assert_int_equal(pages_info(f.kho).allocated,
					 before.allocated);
			assert_int_equal(pages_info(f.kho).preserved,
					 before.preserved);
		}
		assert_true(n > 0);
		verify(&f);
		if (i == 4)
			set_version(&f, 1);
	}
	kho_vmalloc_close(area);
	for (n = 0;; n++) {
		reattach(&f);
		fail_in = n;
		ret = kho_vmalloc_restore(f.kho, f.desc, 0, &area, &f.err);
		fail_in = -1;
		if (!ret)
			break;
		fails(&f, -ENOMEM, ret);
	}
	assert_true(n > 3);
	kho_vmalloc_close(area);
	discard(&f);
}

static int cannot(struct mapping *mapping, bool writable)
{
	(void)mapping;
	return writable ? 0 : -ENOMEM;
}

/* When a successor takes the arena, and when that comes to nothing. */
static void follows_the_arena(void **state)
{
	struct mapping bad = { .set_writable = cannot };
	struct kho_vmalloc *area[2];
	struct fixture f;
	char *base[2];

	(void)state;
	create(&f, 12, 64 * MIB);
	for (int i = 0; i < 2; i++) {
		area[i] = make(&f, 16 * MIB, 4096);
		base[i] = kho_vmalloc_base(area[i]);
		resize(&f, area[i], 100 * 4096);
	}
	assert_int_equal(kho_vmalloc_punch(area[0], 10 * 4096, 4096, &f.err),
			 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(arena_set_writable(f.kho, i), 0);
		page_changes(base[0], i);
		page_changes(base[0] + 99 * 4096, i);
		page_changes(base[0] + 10 * 4096, false);
		page_changes(base[1], i);
		page_changes(f.page, i);
	}
	/* One that cannot: all stays as it was. */
	arena_add_mapping(f.kho, &bad);
	kho_vmalloc_close(area[1]);
	area[1] = make(&f, 16 * MIB, 4096);
	base[1] = kho_vmalloc_base(area[1]);
	resize(&f, area[1], 4096);
	assert_int_equal(arena_set_writable(f.kho, false), -ENOMEM);
	for (int i = 0; i < 2; i++)
		page_changes(base[i], true);
	page_changes(f.page, true);
	arena_del_mapping(f.kho, &bad);
	for (int i = 0; i < 2; i++)
		kho_vmalloc_close(area[i]);
	discard(&f);
}

/* ---- Large and sparse ---- */

#define SPARSE (16ull << 30)
#define SPARSE_BLOCKS 2048

static void sparse(void **state)
{
	struct kho_vmalloc_stats stats;
	struct kho_vmalloc *area;
	uint64_t block = 1 << 16, *p;
	struct fixture f;

	(void)state;
	create(&f, 12, 1024 * MIB);
	area = make(&f, SPARSE, block);
	preserve(&f, area, 2);
	for (uint64_t i = 0; i < SPARSE_BLOCKS; i++) {
		uint64_t at =
			(i * 40503 % SPARSE_BLOCKS) * (SPARSE / SPARSE_BLOCKS);

		if (kho_vmalloc_populate(area, at + 5, 1, &f.err))
			fail_msg("%s", f.err.text);
		p = kho_vmalloc_ptr(area, at, block);
		assert_non_null(p);
		assert_int_equal(p[0] | p[block / 8 - 1], 0);
		p[0] = at;
		p[block / 8 - 1] = ~at;
	}
	assert_null(kho_vmalloc_ptr(area, block, 1));
	stats = verify(&f);
	assert_int_equal(stats.populated, SPARSE_BLOCKS * block);
	assert_int_equal(stats.runs, SPARSE_BLOCKS);
	assert_int_equal(stats.lists, SPARSE_BLOCKS / 169 + 1);
	kho_vmalloc_close(area);
	reattach(&f);
	area = restore(&f, SPARSE);
	assert_int_equal(kho_vmalloc_max(area), SPARSE);
	assert_int_equal(pages_info(f.kho).unclaimed, 0);
	assert_int_equal(kho_ready(f.kho, NULL), 0);
	for (uint64_t i = 0; i < SPARSE_BLOCKS; i++) {
		uint64_t at = i * (SPARSE / SPARSE_BLOCKS);

		p = kho_vmalloc_ptr(area, at, block);
		assert_non_null(p);
		assert_int_equal(p[0], at);
		assert_int_equal(p[block / 8 - 1], ~at);
	}
	/* A hole from end to end but for the two ends. */
	assert_int_equal(kho_vmalloc_punch(area, block,
					   kho_vmalloc_size(area) - 2 * block,
					   &f.err),
			 0);
	assert_int_equal(verify(&f).runs, 2);
	assert_int_equal(pages_info(f.kho).preserved - f.pages, 2 * 16 + 1);
	kho_vmalloc_close(area);
	discard(&f);
}

static uint64_t max_map_count(void)
{
	uint64_t n = 0;
	FILE *file = fopen("/proc/sys/vm/max_map_count", "r");

	if (!file || fscanf(file, "%" SCNu64, &n) != 1)
		n = 0;
	if (file)
		fclose(file);
	return n;
}

/* More pieces than a process can have mappings: refused, and nothing lost. */
static void too_many_mappings(void **state)
{
	/* Every other page of it is a mapping: a reserve, for malloc() too. */
	char *reserve = mmap(NULL, 100 * 4096, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t i = 0, limit = max_map_count();
	struct kho_vmalloc *area;
	struct fixture f;
	int ret = 0;

	(void)state;
	if (!limit || limit > 100000) {
		print_message("# vm.max_map_count is %" PRIu64
			      ", nothing to see\n",
			      limit);
		return;
	}
	create(&f, 12, 1024 * MIB);
	area = make(&f, SPARSE, 4096);
	preserve(&f, area, 2);
	for (i = 0; i < 100; i += 2)
		assert_int_equal(mprotect(reserve + 4096 * i, 4096, PROT_READ),
				 0);
	/* Each piece is two mappings, for the hole in front of it is one. */
	for (i = 0; i < limit && !ret; i++)
		ret = kho_vmalloc_populate(area, 8192 * i + 4096, 1, &f.err);
	i--;
	assert_int_equal(ret, -ENOMEM);
	assert_true(i > limit / 2 - 1000 && i < limit / 2 + 1);
	assert_non_null(strstr(f.err.text, "vm.max_map_count"));
	assert_int_equal(kho_vmalloc_populated(area), 4096 * i);
	munmap(reserve, 100 * 4096);
	assert_int_equal(verify(&f).populated, 4096 * i);
	/* With some less there is room again. */
	assert_int_equal(kho_vmalloc_punch(area, 0, 8192 * 100, &f.err), 0);
	assert_int_equal(verify(&f).populated, 4096 * (i - 100));
	assert_int_equal(kho_vmalloc_populate(area, 4096 * 100, 4096 * 100,
					      &f.err),
			 0);
	kho_vmalloc_close(area);
	reattach(&f);
	area = restore(&f, SPARSE);
	assert_int_equal(kho_vmalloc_populated(area), 4096 * i);
	kho_vmalloc_close(area);
	discard(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(refusals),
		cmocka_unit_test(largest),
		cmocka_unit_test(gives_all_back),
		cmocka_unit_test(writes_v1),
		cmocka_unit_test(reads_v1),
		cmocka_unit_test(writes_v2),
		cmocka_unit_test(many_lists),
		cmocka_unit_test(one_run),
		cmocka_unit_test(read_only_until_ready),
		cmocka_unit_test(lookups),
		cmocka_unit_test(walks),
		cmocka_unit_test(full),
		cmocka_unit_test(out_of_heap),
		cmocka_unit_test(follows_the_arena),
		cmocka_unit_test(sparse),
		cmocka_unit_test(too_many_mappings),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
