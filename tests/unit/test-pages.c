// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Pages: allocation, preservation, restore, against a model, across
 * handovers, at the arena's limits, and from several threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#include <kho/tree.h>

#include "arena.h"

#define MIB (1ul << 20)

static struct kho *reattach(struct kho *kho, int fd, uint64_t max)
{
	kho_close(kho);
	return arena_attach(fd, 0, max);
}

static void orders(void **state)
{
	static const unsigned int shifts[] = { 12, 14, 16 };

	(void)state;
	for (size_t s = 0; s < 3; s++) {
		int fd = make_memfd();
		struct kho *kho = arena_attach(fd, shifts[s], 4096 * MIB);
		uint64_t before = pages_info(kho).allocated;

		assert_int_equal(kho_page_shift(kho), shifts[s]);
		for (unsigned int o = 0; o + shifts[s] <= 26; o++) {
			void *folio = kho_alloc_folio(kho, o);

			assert_non_null(folio);
			assert_int_equal(kho_phys(kho, folio) %
						 (1ull << (o + shifts[s])),
					 0);
			assert_int_equal(kho_folio_size(kho, folio),
					 1ull << (o + shifts[s]));
			memset(folio, 0xa5, 1ul << (o + shifts[s]));
			assert_int_equal(kho_free_folio(kho, folio), 0);
			assert_int_equal(kho_free_folio(kho, folio), -EINVAL);
		}
		assert_int_equal(pages_info(kho).allocated, before);
		assert_null(kho_alloc_folio(kho, 30 - shifts[s] + 1));
		assert_int_equal(errno, EINVAL);
		kho_close(kho);
		close(fd);
	}
}

/* The largest folio, a GiB, fits once into 2 GiB beside the superblock. */
static void largest_folio(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 2048 * MIB);
	void *folio = kho_alloc_folio(kho, 18);

	(void)state;
	assert_non_null(folio);
	assert_int_equal(kho_phys(kho, folio), 1024 * MIB);
	assert_null(kho_alloc_folio(kho, 18));
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(kho_free_folio(kho, folio), 0);
	kho_close(kho);
	close(fd);
}

static void misuse_is_refused(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 64 * MIB);
	char *folio = kho_alloc_folio(kho, 2), *pages = kho_alloc_pages(kho, 5);
	int local;

	(void)state;
	assert_int_equal(kho_free_folio(kho, &local), -EINVAL);
	assert_int_equal(kho_free_folio(kho, folio + 4096), -EINVAL);
	assert_int_equal(kho_free_folio(kho, folio + 1), -EINVAL);
	assert_int_equal(kho_free_folio(kho, pages), -EINVAL);
	assert_int_equal(kho_free_pages(kho, pages, 6), -EINVAL);
	assert_int_equal(kho_free_pages(kho, pages, SIZE_MAX), -EINVAL);
	assert_int_equal(kho_unpreserve_folio(kho, folio), -ENOENT);
	assert_int_equal(kho_preserve_folio(kho, folio), 0);
	assert_int_equal(kho_preserve_folio(kho, folio), -EEXIST);
	assert_int_equal(kho_free_folio(kho, folio), -EBUSY);
	assert_int_equal(kho_preserve_folio(kho, pages), -EINVAL);
	assert_int_equal(kho_preserve_pages(kho, pages, 5), 0);
	assert_int_equal(kho_preserve_pages(kho, pages, 5), -EEXIST);
	assert_int_equal(kho_free_pages(kho, pages, 5), -EBUSY);
	/* 5 pages are a block of 4 and one of 1: other arguments do not fit. */
	assert_int_equal(kho_unpreserve_pages(kho, pages, 2), -ENOENT);
	assert_int_equal(kho_unpreserve_pages(kho, pages, 5), 0);
	assert_int_equal(kho_free_pages(kho, pages, 5), 0);
	assert_null(kho_restore_folio(kho, kho_phys(kho, folio)));
	assert_int_equal(errno, EBUSY);
	assert_null(kho_restore_folio(kho, 64 * MIB));
	assert_int_equal(errno, ENOENT);
	assert_null(kho_restore_folio(kho, 0));
	assert_int_equal(kho_unpreserve_free(kho, folio), 0);
	assert_null(kho_ptr(kho, 0, 1));
	assert_null(kho_ptr(kho, 2 * MIB, UINT64_MAX));
	assert_null(kho_alloc_preserve(kho, 0));
	assert_null(kho_alloc_preserve(kho, (1ul << 30) + 1));
	assert_null(kho_alloc_pages(kho, 0));
	kho_close(kho);
	close(fd);
}

/* At its maximum size: -ENOSPC, everything as it was, and it goes on after. */
static void maximum_size(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 8 * MIB);
	void *all[4096];
	struct kho_pages_info full;
	size_t n = 0;

	(void)state;
	while ((all[n] = kho_alloc_preserve(kho, 4096)))
		n++;
	assert_int_equal(errno, ENOSPC);
	/* All but the superblock, the root FDT, and the tracker. */
	full = pages_info(kho);
	assert_int_equal(full.total, 2048);
	assert_int_equal(full.free, 0);
	assert_int_equal(full.preserved, n + 1);
	assert_int_equal(n + 1 + 1 + full.nodes, 2048);
	assert_int_equal(kho_unpreserve_free(kho, all[--n]), 0);
	all[n] = kho_alloc_preserve(kho, 4096);
	assert_non_null(all[n]);
	assert_null(kho_alloc_pages(kho, 2));
	while (n > 0)
		assert_int_equal(kho_unpreserve_free(kho, all[n--]), 0);
	assert_int_equal(kho_unpreserve_free(kho, all[0]), 0);
	assert_non_null(kho_alloc_folio(kho, 9));
	kho_close(kho);
	close(fd);
}

static void freed_memory_goes_back(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 1024 * MIB);
	void *big = kho_alloc_folio(kho, 15);
	struct stat st;

	(void)state;
	assert_non_null(big);
	memset(big, 1, 128 * MIB);
	fstat(fd, &st);
	assert_true((uint64_t)st.st_blocks * 512 >= 128 * MIB);
	assert_int_equal(kho_free_folio(kho, big), 0);
	fstat(fd, &st);
	/* Some idle chunks keep their memory, most are holes. */
	assert_true((uint64_t)st.st_blocks * 512 <= 40 * MIB);
	kho_close(kho);
	close(fd);
}

/* What a program that crashed had allocated is given back at kho_ready(). */
static void unpreserved_is_gone(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 1024 * MIB);
	char *kept = kho_alloc_preserve(kho, 100), *lost;
	uint64_t phys = kho_phys(kho, kept);
	struct stat st;

	(void)state;
	strcpy(kept, "kept");
	lost = kho_alloc_folio(kho, 14);
	memset(lost, 1, 64 * MIB);
	kho_close(kho);
	kho = arena_attach(fd, 0, 1024 * MIB);
	assert_int_equal(kho_preserve_folio(kho, kept), -EROFS);
	assert_null(kho_alloc_folio(kho, 0));
	assert_int_equal(errno, EROFS);
	assert_int_equal(kho_free_unclaimed(kho, NULL), -EROFS);
	kept = kho_restore_folio(kho, phys);
	assert_string_equal(kept, "kept");
	assert_null(kho_restore_folio(kho, phys));
	assert_int_equal(errno, EBUSY);
	assert_int_equal(kho_ready(kho, NULL), 0);
	assert_int_equal(kho_generation(kho), 1);
	fstat(fd, &st);
	assert_true((uint64_t)st.st_blocks * 512 <= 4 * MIB);
	/* The root FDT and `kept`. */
	assert_int_equal(pages_info(kho).allocated, 2);
	kho_close(kho);
	close(fd);
}

static void free_unclaimed(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 64 * MIB);
	uint64_t keep = kho_phys(kho, kho_alloc_preserve(kho, 1));

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_non_null(kho_alloc_preserve(kho, 8192));
	kho = reattach(kho, fd, 64 * MIB);
	assert_non_null(kho_restore_folio(kho, keep));
	assert_int_equal(kho_ready(kho, NULL), 0);
	assert_int_equal(pages_info(kho).unclaimed, 200);
	assert_int_equal(kho_free_unclaimed(kho, NULL), 200);
	assert_int_equal(kho_free_unclaimed(kho, NULL), 0);
	assert_int_equal(pages_info(kho).preserved, 2);
	kho_close(kho);
	close(fd);
}

static void ranges_are_restored_as_given(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 64 * MIB);
	char *pages = kho_alloc_pages(kho, 13);
	uint64_t phys = kho_phys(kho, pages);

	(void)state;
	for (int i = 0; i < 13; i++)
		pages[i * 4096] = (char)i;
	/* From the second page on: blocks of 1, 2, 4, 4 and 1. */
	assert_int_equal(kho_preserve_pages(kho, pages + 4096, 12), 0);
	kho = reattach(kho, fd, 64 * MIB);
	assert_null(kho_restore_pages(kho, phys, 12));
	assert_int_equal(errno, ENOENT);
	assert_null(kho_restore_pages(kho, phys + 4096, 13));
	assert_null(kho_restore_pages(kho, phys + 4096, SIZE_MAX));
	assert_null(kho_restore_pages(kho, phys + 4096, 0));
	assert_int_equal(pages_info(kho).unclaimed, 12);
	pages = kho_restore_pages(kho, phys + 4096, 12);
	assert_non_null(pages);
	assert_null(kho_restore_pages(kho, phys + 4096, 12));
	assert_int_equal(errno, EBUSY);
	for (int i = 0; i < 12; i++)
		assert_int_equal(pages[i * 4096], i + 1);
	assert_int_equal(kho_ready(kho, NULL), 0);
	assert_int_equal(kho_unpreserve_pages(kho, pages, 12), 0);
	assert_int_equal(kho_free_pages(kho, pages, 12), 0);
	kho_close(kho);
	close(fd);
}

/* One allocation of the model. */
struct block {
	uint64_t phys;
	size_t pages;
	uint64_t stamp;
	char range, preserved;
};

static void stamp(struct kho *kho, const struct block *b)
{
	for (size_t i = 0; i < b->pages; i++)
		*(uint64_t *)kho_ptr(kho, b->phys + i * 4096, 8) = b->stamp + i;
}

static void check_stamp(struct kho *kho, const struct block *b)
{
	for (size_t i = 0; i < b->pages; i++)
		assert_int_equal(*(uint64_t *)kho_ptr(kho, b->phys + i * 4096,
						      8),
				 b->stamp + i);
}

static int block_alloc(struct kho *kho, struct block *b)
{
	void *ptr;

	b->range = rnd() % 2;
	b->pages = b->range ? 1 + rnd() % 37 : 1ul << rnd() % 6;
	b->preserved = 0;
	b->stamp = rnd();
	ptr = b->range ?
		      kho_alloc_pages(kho, b->pages) :
		      kho_alloc_folio(kho,
				      (unsigned int)__builtin_ctzl(b->pages));
	if (!ptr) {
		assert_int_equal(errno, ENOSPC);
		return -1;
	}
	b->phys = kho_phys(kho, ptr);
	stamp(kho, b);
	return 0;
}

static void block_toggle(struct kho *kho, struct block *b)
{
	void *ptr = kho_ptr(kho, b->phys, 1);
	int ret;

	if (b->preserved)
		ret = b->range ? kho_unpreserve_pages(kho, ptr, b->pages) :
				 kho_unpreserve_folio(kho, ptr);
	else
		ret = b->range ? kho_preserve_pages(kho, ptr, b->pages) :
				 kho_preserve_folio(kho, ptr);
	/* The tracker may have found no page for a node. */
	if (ret)
		assert_int_equal(ret, -ENOSPC);
	else
		b->preserved = !b->preserved;
}

static void block_free(struct kho *kho, struct block *b)
{
	void *ptr = kho_ptr(kho, b->phys, 1);

	check_stamp(kho, b);
	if (b->preserved)
		block_toggle(kho, b);
	assert_int_equal(b->range ? kho_free_pages(kho, ptr, b->pages) :
				    kho_free_folio(kho, ptr),
			 0);
}

/*
 * Random allocations in an arena that is often full, with handovers in
 * between that lose what is not preserved, and nothing else.
 */
static void model(void **state)
{
	enum { BLOCKS = 400, OPS = 60000 };
	struct block *blocks = calloc(BLOCKS, sizeof(*blocks));
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 16 * MIB);
	size_t n = 0, handovers = 0, full = 0;

	(void)state;
	for (int op = 0; op < OPS; op++) {
		unsigned int dice = (unsigned int)(rnd() % 100);
		size_t i = n ? rnd() % n : 0;

		if (dice < 45 && n < BLOCKS) {
			if (block_alloc(kho, &blocks[n]))
				full++;
			else
				n++;
		} else if (dice < 75 && n) {
			block_toggle(kho, &blocks[i]);
		} else if (dice < 99 && n) {
			block_free(kho, &blocks[i]);
			blocks[i] = blocks[--n];
		} else if (rnd() % 4 == 0) {
			uint64_t pages = 0;

			kho = reattach(kho, fd, 16 * MIB);
			handovers++;
			for (i = 0; i < n;) {
				struct block *b = &blocks[i];
				void *ptr;

				if (!b->preserved) {
					*b = blocks[--n];
					continue;
				}
				ptr = b->range ?
					      kho_restore_pages(kho, b->phys,
								b->pages) :
					      kho_restore_folio(kho, b->phys);
				assert_non_null(ptr);
				check_stamp(kho, b);
				pages += b->pages;
				i++;
			}
			assert_int_equal(pages_info(kho).unclaimed, 0);
			assert_int_equal(pages_info(kho).preserved, pages + 1);
			assert_int_equal(kho_ready(kho, NULL), 0);
		}
	}
	assert_true(handovers > 10);
	assert_true(full > 10);
	for (size_t i = 0; i < n; i++)
		block_free(kho, &blocks[i]);
	assert_int_equal(pages_info(kho).allocated, 1);
	assert_int_equal(pages_info(kho).preserved, 1);
	kho_close(kho);
	close(fd);
	free(blocks);
}

static void *hammer(void *arg)
{
	struct kho *kho = arg;
	void **mine[32] = { 0 };

	for (int i = 0; i < 4000; i++) {
		size_t slot = (size_t)i * 7 % 32;

		if (mine[slot]) {
			/* Nobody else writes here. */
			if (*mine[slot] != mine[slot])
				return (void *)1;
			if (kho_unpreserve_free(kho, mine[slot]))
				return (void *)2;
			mine[slot] = NULL;
		} else {
			mine[slot] = kho_alloc_preserve(kho, 4096u << i % 3);
			if (!mine[slot])
				return (void *)3;
			*mine[slot] = mine[slot];
		}
		if (kho_ptr(kho, kho_phys(kho, mine[slot]), 1) != mine[slot])
			return (void *)4;
	}
	for (size_t i = 0; i < 32; i++)
		kho_unpreserve_free(kho, mine[i]);
	return NULL;
}

static void threads(void **state)
{
	int fd = make_memfd();
	struct kho *kho = arena_attach(fd, 0, 256 * MIB);
	pthread_t tid[4];
	void *ret;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&tid[i], NULL, hammer, kho), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(tid[i], &ret), 0);
		assert_null(ret);
	}
	assert_int_equal(pages_info(kho).allocated, 1);
	kho_close(kho);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(orders),
		cmocka_unit_test(largest_folio),
		cmocka_unit_test(misuse_is_refused),
		cmocka_unit_test(maximum_size),
		cmocka_unit_test(freed_memory_goes_back),
		cmocka_unit_test(unpreserved_is_gone),
		cmocka_unit_test(free_unclaimed),
		cmocka_unit_test(ranges_are_restored_as_given),
		cmocka_unit_test(model),
		cmocka_unit_test(threads),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
