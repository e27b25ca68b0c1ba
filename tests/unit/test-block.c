// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Chains of blocks: their bytes, room, handover, running out of memory, and a
 * model that does all of it at random.
 */
#include <errno.h>

#include <kho/tree.h>

#include "block.h"
#include "heap.h"

static const unsigned int page_shifts[] = { 12, 14, 16 };

#ifdef __SANITIZE_ADDRESS__
#define SCALE 10
#else
#define SCALE 1
#endif

/* ---- Bytes ---- */

static void put(uint8_t *at, unsigned int bytes, uint64_t value)
{
	for (unsigned int i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

/* The definition: bit by bit, reflected, polynomial 0x1EDC6F41. */
static uint32_t slow_crc(uint32_t crc, const uint8_t *data, size_t len)
{
	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void put_entries(uint8_t *at, size_t size, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		for (size_t j = 0; j < size; j++)
			at[i * size + j] = filler(first + i, j);
}

/* A block as the documents say; returns the bytes that mean something. */
static size_t put_block(uint8_t *page, uint32_t version, size_t size,
			uint64_t first, uint64_t count, uint64_t next)
{
	uint8_t tail[12];
	uint32_t crc;

	if (version == 1) {
		put(page, 8, next);
		put(page + 8, 8, count);
		put_entries(page + 16, size, first, count);
		return 16 + count * size;
	}
	memcpy(page, "KBLK", 4);
	put(page + 4, 4, size);
	put(page + 16, 8, next);
	put_entries(page + 24, size, first, count);
	put(tail, 8, next);
	put(tail + 8, 4, count | (next ? 1u << 31 : 0));
	crc = slow_crc(0, page, 8);
	crc = slow_crc(crc, page + 24, count * size);
	crc = slow_crc(crc, tail, 12);
	memcpy(page + 8, tail + 8, 4);
	put(page + 12, 4, crc);
	return 24 + count * size;
}

static void writes_the_bytes(void **state)
{
	/* LUO's files and sessions, and the largest entry of 4 KiB. */
	static const size_t sizes[] = { 64, 80, 4072 };
	/* In pages of 4, 16 and 64 KiB. */
	static const uint64_t capacities[2][3][3] = {
		{ { 63, 51, 1 }, { 255, 204, 4 }, { 1023, 819, 16 } },
		{ { 63, 50, 1 }, { 255, 204, 4 }, { 1023, 818, 16 } },
	};

	(void)state;
	for (int i = 0; i < 18; i++) {
		int p = i % 3, s = i / 3 % 3, v = i / 9;
		uint64_t capacity = capacities[v][p][s];
		size_t size = 1ul << page_shifts[p], len;
		uint8_t *want = malloc(size);
		struct kho_block_v1 *v1;
		struct kho_block_v2 *v2;
		struct fixture f;
		uint64_t at;

		create(&f, page_shifts[p], (uint32_t)v + 1, sizes[s], 1 << 26);
		for (uint64_t n = 0; n < 2 * capacity + 1; n++)
			assert_int_equal(append(&f, n), n);
		at = f.root->first.phys;
		for (uint64_t b = 0; b < 3; b++) {
			assert_int_equal(at % size, 0);
			v1 = kho_ptr(f.kho, at, size);
			v2 = kho_ptr(f.kho, at, size);
			at = v ? v2->next.phys : v1->next.phys;
			assert_int_equal(!at, b == 2);
			len = put_block(want, f.version, sizes[s], b * capacity,
					b < 2 ? capacity : 1, at);
			assert_memory_equal(v1, want, len);
		}
		assert_int_equal(pages_preserved(&f), f.pages + 3);
		free(want);
		discard(&f);
	}
}

/* The example in docs/formats.md. */
static void writes_the_example(void **state)
{
	static const uint8_t v1[] = {
		0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0,
	};
	static const uint8_t v2[] = {
		0x4b, 0x42, 0x4c, 0x4b, 8, 0, 0, 0, 1, 0, 0,  0, 0xed, 0xfc,
		0x5d, 0x73, 0,	  0,	0, 0, 0, 0, 0, 0, 42, 0, 0,    0,
	};
	const uint64_t entry = 42;
	struct fixture f;

	(void)state;
	create(&f, 12, 1, 8, 1 << 26);
	assert_int_equal(kho_block_append(f.blocks, &entry), 0);
	assert_memory_equal(kho_ptr(f.kho, f.root->first.phys, sizeof(v1)), v1,
			    sizeof(v1));
	discard(&f);
	create(&f, 12, 2, 8, 1 << 26);
	assert_int_equal(kho_block_append(f.blocks, &entry), 0);
	assert_memory_equal(kho_ptr(f.kho, f.root->first.phys, sizeof(v2)), v2,
			    sizeof(v2));
	discard(&f);
}

struct seen {
	uint64_t n;
	size_t size;
};

static int see(const void *entry, size_t size, uint64_t index, void *arg)
{
	struct seen *seen = arg;

	assert_int_equal(index, seen->n);
	assert_int_equal(size, seen->size);
	assert_true(is_filled(entry, size, index));
	seen->n++;
	return 0;
}

/* What somebody else wrote: in version 1, blocks need not be full. */
static void reads_the_bytes(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		unsigned int shift = page_shifts[i % 3];
		uint32_t version = i < 3 ? 1 : 2;
		uint64_t full = ((1ul << shift) - (i < 3 ? 16 : 24)) / 72;
		uint64_t counts[] = { i < 3 ? 2 : full, full, 5 };
		struct kho_block_iter iter;
		struct kho_mem_array mem;
		struct kho_block_stats stats;
		struct seen seen = { 0, 72 };
		struct fixture f;
		uint8_t *page[3];
		uint64_t n = 0;

		create(&f, shift, version, 72, 1 << 26);
		for (int b = 0; b < 3; b++)
			page[b] = kho_alloc_preserve(f.kho, 1ul << shift);
		for (int b = 0; b < 3; n += counts[b++])
			put_block(page[b], version, 72, n, counts[b],
				  b < 2 ? kho_phys(f.kho, page[b + 1]) : 0);
		f.root->first.phys = kho_phys(f.kho, page[0]);

		mem = arena_bytes(f.kho, f.fd);
		assert_int_equal(kho_block_walk(&mem.mem, version, 72,
						f.root->first.phys, see, &seen,
						&f.err),
				 0);
		assert_int_equal(seen.n, n);
		stats = verify(&f);
		assert_int_equal(stats.blocks, 3);
		assert_int_equal(stats.entries, n);
		assert_int_equal(stats.entry_size, 72);

		hand_over(&f);
		assert_int_equal(kho_block_count(f.blocks), n);
		for (uint64_t j = 0; j < n; j++)
			assert_true(
				is_filled(kho_block_get(f.blocks, j), 72, j));
		assert_null(kho_block_get(f.blocks, n));
		iter = kho_block_begin(f.blocks);
		for (uint64_t j = 0; j < n; j++)
			assert_true(is_filled(kho_block_next(&iter), 72, j));
		assert_null(kho_block_next(&iter));
		for (uint64_t j = n; j-- > 0;)
			assert_true(is_filled(kho_block_prev(&iter), 72, j));
		assert_null(kho_block_prev(&iter));

		/* And it is written to as if it were ours. */
		for (; n < 3 * full + 1; n++)
			assert_int_equal(append(&f, n), n);
		assert_int_equal(verify(&f).blocks, 4);
		for (n = 2 * full; n > 0; n--) {
			assert_int_equal(kho_block_shrink(f.blocks, n), 0);
			assert_int_equal(verify(&f).entries, n);
		}
		for (n = 1; n < 2 * full; n++)
			assert_int_equal(append(&f, n), n);
		hand_over(&f);
		for (uint64_t j = 0; j < n; j++)
			assert_true(
				is_filled(kho_block_get(f.blocks, j), 72, j));
		discard(&f);
	}
}

/* ---- Arguments ---- */

static void refuses_bad_arguments(void **state)
{
	struct kho_block_root local = { { 5 } }, *root;
	struct kho_blocks *blocks;
	struct kho_mem_array mem;
	struct fixture f;

	(void)state;
	for (int i = 0; i < 3; i++) {
		size_t page = 1ul << page_shifts[i];

		create(&f, page_shifts[i], 1, 1, 1 << 26);
		root = kho_alloc_preserve(f.kho, sizeof(*root));
		root->first.phys = 5;
		assert_int_equal(kho_block_create(f.kho, 0, root, &blocks,
						  NULL),
				 -EINVAL);
		assert_int_equal(kho_block_create(f.kho, page - 15, root,
						  &blocks, NULL),
				 -EINVAL);
		set_version(&f, 2);
		assert_int_equal(kho_block_create(f.kho, page - 23, root,
						  &blocks, NULL),
				 -EINVAL);
		assert_int_equal(kho_block_create(f.kho, SIZE_MAX, root,
						  &blocks, NULL),
				 -EINVAL);
		assert_int_equal(root->first.phys, 5);
		/* What is elsewhere cannot be converted. */
		assert_int_equal(kho_block_create(f.kho, 8, &local, &blocks,
						  NULL),
				 -EINVAL);
		assert_int_equal(kho_block_create(f.kho, 8,
						  (void *)((char *)root + 4),
						  &blocks, NULL),
				 -EINVAL);
		assert_int_equal(kho_block_restore(f.kho, 8, &local, &blocks,
						   &f.err),
				 -EINVAL);
		assert_non_null(strstr(f.err.text, "in the arena"));
		assert_int_equal(local.first.phys, 5);
		mem = arena_bytes(f.kho, f.fd);
		assert_int_equal(kho_block_verify(&mem.mem,
						  KHO_BLOCK_VERSION + 1, 8, 0,
						  NULL, NULL),
				 -EPROTONOSUPPORT);
		assert_int_equal(kho_block_verify(&mem.mem, 1, 0, 0, NULL,
						  NULL),
				 -EINVAL);
		assert_int_equal(kho_block_verify(&mem.mem, 2, page - 23, 0,
						  NULL, NULL),
				 -EINVAL);
		mem.mem.page_shift = 13;
		assert_int_equal(kho_block_verify(&mem.mem, 2, 8, 0, NULL,
						  NULL),
				 -EINVAL);
		f.entry_size = 0;
		kho_block_close(f.blocks);
		f.blocks = NULL;
		assert_int_equal(try_restore(&f), -EINVAL);
		discard(&f);
	}
}

static void any_size(void **state)
{
	static const size_t sizes[] = { 1, 7, 8, 1000, 2036, 2041, 4072 };
	struct fixture f;

	(void)state;
	for (int i = 0; i < 14; i++) {
		size_t size = sizes[i % 7];
		uint32_t version = 1 + (uint32_t)i / 7;
		uint64_t n = 3 * 4096 / size;

		create(&f, 12, version, size, 1 << 26);
		for (uint64_t j = 0; j < n; j++)
			assert_int_equal(append(&f, j), j);
		hand_over(&f);
		for (uint64_t j = 0; j < n; j++) {
			const void *entry = kho_block_get(f.blocks, j);

			assert_true(is_filled(entry, size, j));
			if (size % 8 == 0)
				assert_int_equal((uintptr_t)entry % 8, 0);
		}
		discard(&f);
	}
}

/* Version 2 knows what it is; version 1 does not, but takes nothing else. */
static void versions_are_told_apart(void **state)
{
	struct kho_block_stats stats;
	struct kho_mem_array mem;
	struct fixture f;

	(void)state;
	create(&f, 12, 2, 40, 1 << 26);
	append(&f, 1);
	assert_memory_equal(kho_ptr(f.kho, f.root->first.phys, 4), "KBLK", 4);
	mem = arena_bytes(f.kho, f.fd);
	for (uint32_t version = 0; version <= 2; version += 2) {
		assert_int_equal(kho_block_verify(&mem.mem, version, 0,
						  f.root->first.phys, &stats,
						  NULL),
				 0);
		assert_int_equal(stats.version, 2);
		assert_int_equal(stats.entry_size, 40);
	}
	assert_int_equal(kho_block_verify(&mem.mem, 1, 40, f.root->first.phys,
					  NULL, &f.err),
			 -EBADMSG);
	detach(&f);
	attach(&f);
	f.entry_size = 48;
	assert_int_equal(try_restore(&f), -EBADMSG);
	assert_non_null(strstr(f.err.text, "40 bytes instead of 48"));
	f.entry_size = 40;
	restore(&f);
	discard(&f);

	create(&f, 12, 1, 40, 1 << 26);
	append(&f, 1);
	mem = arena_bytes(f.kho, f.fd);
	assert_int_equal(kho_block_verify(&mem.mem, 0, 40, f.root->first.phys,
					  &stats, NULL),
			 0);
	assert_int_equal(stats.version, 1);
	/* Of these it does not say how large they are. */
	assert_int_equal(kho_block_verify(&mem.mem, 0, 0, f.root->first.phys,
					  NULL, NULL),
			 -EINVAL);
	assert_int_equal(kho_block_verify(&mem.mem, 2, 40, f.root->first.phys,
					  NULL, &f.err),
			 -EBADMSG);
	assert_non_null(strstr(f.err.text, "not a block of version 2"));
	/* Without blocks there is nothing to tell. */
	assert_int_equal(kho_block_verify(&mem.mem, 0, 0, 0, &stats, NULL), 0);
	assert_int_equal(stats.version, 0);
	discard(&f);
}

/* ---- Room ---- */

static void iterates_both_ways(void **state)
{
	struct kho_block_iter iter, other;
	struct fixture f;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		create(&f, 12, version, 1000, 1 << 26);
		iter = kho_block_end(f.blocks);
		assert_null(kho_block_prev(&iter));
		assert_null(kho_block_next(&iter));
		for (uint64_t n = 0; n < 40; n++) {
			append(&f, n);
			/* What was the end finds what came behind it. */
			assert_true(is_filled(kho_block_next(&iter), 1000, n));
			assert_null(kho_block_next(&iter));
			assert_true(is_filled(kho_block_prev(&iter), 1000, n));
			assert_true(is_filled(kho_block_next(&iter), 1000, n));
			other = kho_block_end(f.blocks);
			assert_int_equal(other.index, n + 1);
			for (uint64_t i = n + 1; i-- > 0;)
				assert_true(is_filled(kho_block_prev(&other),
						      1000, i));
			assert_null(kho_block_prev(&other));
		}
		discard(&f);
	}
}

static void grows_and_shrinks(void **state)
{
	struct fixture f;
	void *first;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		/* Four entries to a page. */
		create(&f, 12, version, 1000, 1 << 26);
		assert_int_equal(kho_block_grow(f.blocks, 9), 0);
		assert_int_equal(pages_preserved(&f), f.pages + 3);
		assert_int_equal(f.root->first.phys, 0);
		assert_int_equal(kho_block_grow(f.blocks, 12), 0);
		assert_int_equal(pages_preserved(&f), f.pages + 3);
		assert_int_equal(kho_block_shrink(f.blocks, 8), 0);
		assert_int_equal(pages_preserved(&f), f.pages + 2);
		for (uint64_t n = 0; n < 8; n++)
			append(&f, n);
		assert_int_equal(pages_preserved(&f), f.pages + 2);
		append(&f, 8);
		assert_int_equal(pages_preserved(&f), f.pages + 3);
		assert_int_equal(kho_block_grow(f.blocks, 100), 0);
		assert_int_equal(pages_preserved(&f), f.pages + 25);
		assert_int_equal(kho_block_shrink(f.blocks, 20), 0);
		assert_int_equal(pages_preserved(&f), f.pages + 5);
		assert_int_equal(kho_block_count(f.blocks), 9);
		assert_int_equal(verify(&f).blocks, 3);
		first = kho_ptr(f.kho, f.root->first.phys, 1);
		assert_int_equal(kho_block_shrink(f.blocks, 8), 0);
		assert_int_equal(pages_preserved(&f), f.pages + 2);
		assert_int_equal(verify(&f).entries, 8);
		assert_int_equal(append(&f, 8), 8);
		assert_int_equal(kho_block_shrink(f.blocks, 3), 0);
		assert_int_equal(verify(&f).entries, 3);
		assert_int_equal(pages_preserved(&f), f.pages + 1);
		assert_ptr_equal(kho_ptr(f.kho, f.root->first.phys, 1), first);
		assert_null(kho_block_get(f.blocks, 3));
		assert_int_equal(kho_block_shrink(f.blocks, 0), 0);
		assert_int_equal(pages_preserved(&f), f.pages);
		assert_int_equal(f.root->first.phys, 0);
		assert_int_equal(append(&f, 0), 0);
		assert_int_equal(verify(&f).entries, 1);

		assert_int_equal(kho_block_destroy(f.blocks), 0);
		assert_int_equal(f.root->first.phys, 0);
		assert_int_equal(pages_preserved(&f), f.pages);
		f.blocks = NULL;
		assert_int_equal(kho_block_destroy(NULL), 0);
		discard(&f);
	}
}

/* More blocks than Linux takes, more segments of the index than a few. */
static void a_long_chain(void **state)
{
	enum { ENTRIES = 12000 };
	struct fixture f;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		create(&f, 12, version, 4072, 1 << 27);
		for (uint64_t n = 0; n < ENTRIES; n++)
			assert_int_equal(append(&f, n), n);
		assert_int_equal(verify(&f).blocks, ENTRIES);
		hand_over(&f);
		for (uint64_t n = 0; n < ENTRIES; n++)
			assert_int_equal(*(const uint64_t *)
						 kho_block_get(f.blocks, n),
					 n);
		assert_int_equal(kho_block_destroy(f.blocks), 0);
		f.blocks = NULL;
		assert_int_equal(pages_preserved(&f), f.pages);
		discard(&f);
	}
}

static void many_entries(void **state)
{
	enum { ENTRIES = 10000000 / SCALE };
	const uint64_t *entry;
	struct kho_block_iter iter;
	struct fixture f;

	(void)state;
	create(&f, 12, 2, 8, 1 << 28);
	for (uint64_t n = 0; n < ENTRIES; n++)
		if (kho_block_append(f.blocks, &n) != (int64_t)n)
			fail_msg("append");
	hand_over(&f);
	iter = kho_block_begin(f.blocks);
	for (uint64_t n = 0; n < ENTRIES; n++) {
		entry = kho_block_next(&iter);
		if (!entry || *entry != n ||
		    kho_block_get(f.blocks, n) != entry)
			fail_msg("entry %lu", n);
	}
	/* One page for 509. */
	assert_int_equal(pages_preserved(&f), f.pages + (ENTRIES + 508) / 509);
	discard(&f);
}

/* ---- Handover ---- */

static void survives_handover(void **state)
{
	struct kho_blocks *other;
	struct fixture f;

	(void)state;
	for (int i = 0; i < 6; i++) {
		create(&f, page_shifts[i % 3], 1 + (uint32_t)i / 3, 100,
		       1 << 27);
		for (uint64_t n = 0; n < 3000; n++)
			append(&f, n);
		detach(&f);
		attach(&f);
		restore(&f);

		/* Not ours yet: can be read, not changed. */
		assert_int_equal(kho_block_count(f.blocks), 3000);
		for (uint64_t n = 0; n < 3000; n++)
			assert_true(
				is_filled(kho_block_get(f.blocks, n), 100, n));
		assert_int_equal(append(&f, 1), -EROFS);
		assert_int_equal(kho_block_grow(f.blocks, 1), -EROFS);
		assert_int_equal(kho_block_shrink(f.blocks, 1), -EROFS);
		assert_int_equal(kho_block_destroy(f.blocks), -EROFS);
		assert_int_equal(kho_block_create(f.kho, 8, f.root, &other,
						  NULL),
				 -EROFS);

		assert_int_equal(kho_ready(f.kho, NULL), 0);
		assert_int_equal(append(&f, 3000), 3000);
		assert_int_equal(kho_free_unclaimed(f.kho, NULL), 0);
		hand_over(&f);
		assert_int_equal(kho_block_count(f.blocks), 3001);
		assert_int_equal(try_restore(&f), -EBUSY);
		assert_non_null(strstr(f.err.text, "claimed before"));
		discard(&f);
	}
}

static void an_empty_chain_survives(void **state)
{
	struct fixture f;

	(void)state;
	create(&f, 12, 1, 8, 1 << 26);
	/* Room that nobody used is lost, and comes back. */
	assert_int_equal(kho_block_grow(f.blocks, 2000), 0);
	hand_over(&f);
	assert_int_equal(kho_block_count(f.blocks), 0);
	assert_int_equal(kho_free_unclaimed(f.kho, NULL), 4);
	assert_int_equal(append(&f, 5), 0);
	hand_over(&f);
	assert_int_equal(kho_block_count(f.blocks), 1);
	discard(&f);
}

static void refuses_what_is_not_preserved(void **state)
{
	struct fixture f;
	void *page;

	(void)state;
	create(&f, 12, 2, 1000, 1 << 26);
	for (uint64_t n = 0; n < 8; n++)
		append(&f, n);
	page = (char *)(uintptr_t)kho_block_get(f.blocks, 4) - 24;
	assert_int_equal(kho_unpreserve_folio(f.kho, page), 0);
	detach(&f);
	attach(&f);
	assert_int_equal(try_restore(&f), -ENOENT);
	assert_non_null(strstr(f.err.text, "no preserved folio"));
	discard(&f);

	create(&f, 12, 1, 8, 1 << 26);
	page = kho_alloc_preserve(f.kho, 8192);
	assert_non_null(page);
	put_block(page, 1, 8, 0, 3, 0);
	f.root->first.phys = kho_phys(f.kho, page);
	detach(&f);
	attach(&f);
	assert_int_equal(try_restore(&f), -EBADMSG);
	assert_non_null(strstr(f.err.text, "bytes instead of"));
	discard(&f);
}

/* ---- Out of memory ---- */

static void a_full_arena(void **state)
{
	struct fixture f;
	uint64_t n = 0, pages;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		create(&f, 12, version, 1000, 1 << 22);
		pages = f.pages;
		assert_int_equal(kho_block_grow(f.blocks, 1 << 20), -ENOSPC);
		assert_int_equal(kho_block_grow(f.blocks, 4090), -ENOSPC);
		assert_int_equal(kho_block_grow(f.blocks, UINT64_MAX), -ENOSPC);
		assert_int_equal(pages_preserved(&f), pages);
		assert_int_equal(kho_block_grow(f.blocks, 40), 0);
		while (kho_alloc_preserve(f.kho, 4096))
			;
		assert_int_equal(errno, ENOSPC);
		for (n = 0; n < 40; n++)
			assert_int_equal(append(&f, n), n);
		assert_int_equal(append(&f, n), -ENOSPC);
		assert_int_equal(kho_block_grow(f.blocks, 41), -ENOSPC);
		assert_int_equal(kho_block_count(f.blocks), 40);
		assert_int_equal(verify(&f).entries, 40);
		assert_int_equal(kho_block_shrink(f.blocks, 33), 0);
		assert_int_equal(append(&f, 33), 33);
		assert_int_equal(verify(&f).entries, 34);
		discard(&f);
	}
}

static void a_full_heap(void **state)
{
	struct kho_block_root *root;
	struct kho_blocks *blocks;
	struct fixture f;
	uint64_t entry = 1;
	int64_t ret;
	int n;

	(void)state;
	create(&f, 12, 2, 8, 1 << 26);
	root = kho_alloc_folio(f.kho, 0);
	for (n = 0;; n++) {
		root->first.phys = 7;
		fail_in = n;
		ret = kho_block_create(f.kho, 8, root, &blocks, NULL);
		fail_in = -1;
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(root->first.phys, 7);
	}
	assert_true(n >= 1);
	kho_block_close(blocks);

	for (n = 0;; n++) {
		fail_in = n;
		ret = kho_block_append(f.blocks, &entry);
		fail_in = -1;
		if (ret >= 0)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(f.root->first.phys, 0);
		assert_int_equal(pages_preserved(&f), f.pages);
	}
	assert_true(n >= 1);

	/* The second segment of the index begins with block 16. */
	fail_in = 0;
	assert_int_equal(kho_block_grow(f.blocks, 17 * 509), -ENOMEM);
	fail_in = -1;
	assert_int_equal(pages_preserved(&f), f.pages + 1);
	assert_int_equal(kho_block_grow(f.blocks, 17 * 509), 0);

	for (n = 0;; n++) {
		detach(&f);
		attach(&f);
		fail_in = n;
		ret = try_restore(&f);
		fail_in = -1;
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_non_null(strstr(f.err.text, "memory"));
	}
	assert_true(n >= 4);
	assert_int_equal(kho_block_count(f.blocks), 1);
	discard(&f);
}

/* ---- The model ---- */

#define MODEL_OPS (120000 / SCALE)

struct model {
	struct fixture f;
	uint64_t *number; /* that each entry stands for */
	uint64_t n;
	uint64_t room; /* entries that there must be room for */
	uint64_t most;
	uint64_t full, no_heap, handovers, aborted, converted, refused;
};

static void check_entry(struct model *m, const void *entry, uint64_t index)
{
	if (index >= m->n)
		assert_null(entry);
	else if (!entry || !is_filled(entry, m->f.entry_size, m->number[index]))
		fail_msg("entry %lu of %lu", index, m->n);
}

/* A walk of some steps, mostly forward or mostly back. */
static void model_iterate(struct model *m)
{
	struct kho_block_iter iter = below(2) ? kho_block_begin(m->f.blocks) :
						kho_block_end(m->f.blocks);
	uint64_t back = iter.index ? 3 : 1;

	for (uint64_t i = below(60); i > 0; i--) {
		uint64_t index = iter.index;

		if (below(4) < back && index)
			check_entry(m, kho_block_prev(&iter), index - 1);
		else
			check_entry(m, kho_block_next(&iter), index);
	}
}

static void model_check(struct model *m)
{
	struct kho_block_iter iter = kho_block_begin(m->f.blocks);

	assert_int_equal(kho_block_count(m->f.blocks), m->n);
	assert_int_equal(verify(&m->f).entries, m->n);
	assert_true(verify(&m->f).version <= kho_version(m->f.kho, block()));
	for (uint64_t i = 0; i < m->n; i++)
		check_entry(m, kho_block_next(&iter), i);
	assert_null(kho_block_next(&iter));
}

static void model_append(struct model *m)
{
	uint64_t number = rnd();
	bool no_heap = below(8) == 0;
	uint8_t entry[2048];
	int64_t ret;

	for (size_t i = 0; i < m->f.entry_size; i++)
		entry[i] = filler(number, i);
	fail_in = no_heap ? 0 : -1;
	ret = kho_block_append(m->f.blocks, entry);
	fail_in = -1;
	if (ret < 0) {
		assert_true(m->n >= m->room);
		assert_true(ret == -ENOSPC || (no_heap && ret == -ENOMEM));
		m->full += ret == -ENOSPC;
		m->no_heap += ret == -ENOMEM;
		return;
	}
	assert_int_equal(ret, m->n);
	m->number[m->n++] = number;
	if (m->n > m->most)
		m->most = m->n;
}

/* While @filling, entries are not dropped. */
static void model_resize(struct model *m, bool filling)
{
	uint64_t count = m->n + below(m->n / 4 + 10);
	int ret;

	if (below(2)) {
		ret = kho_block_grow(m->f.blocks, count);
		if (!ret && count > m->room)
			m->room = count;
		assert_true(!ret || ret == -ENOSPC);
		return;
	}
	if (!filling)
		count = below(20) ? m->n - below(m->n / 20 + 1) :
				    below(m->n + 1);
	assert_int_equal(kho_block_shrink(m->f.blocks, count), 0);
	m->room = count < m->room ? count : m->room;
	m->n = count < m->n ? count : m->n;
}

/* What is raised is said before it is done, what is lowered after it. */
static void model_convert(struct model *m)
{
	uint32_t version = 1 + (uint32_t)below(2);
	bool raise = version > kho_version(m->f.kho, block());
	int ret;

	if (raise && kho_set_version(m->f.kho, block(), version, NULL))
		return;
	fail_in = below(4) ? -1 : (int)below(4);
	ret = convert(&m->f, version);
	fail_in = -1;
	if (ret) {
		assert_true(ret == -ENOSPC || ret == -ENOMEM);
		m->refused++;
	} else {
		if (m->n)
			assert_int_equal(verify(&m->f).version, version);
		m->converted++;
		/* Without a page for that, the chain is in an older version. */
		kho_set_version(m->f.kho, block(), version, NULL);
	}
	model_check(m);
}

static void model_hand_over(struct model *m)
{
	model_check(m);
	if (below(2)) {
		detach(&m->f);
		attach(&m->f);
		restore(&m->f);
		assert_int_equal(append(&m->f, 0), -EROFS);
		model_check(m);
		m->aborted++;
	}
	hand_over(&m->f);
	m->room = 0;
	m->handovers++;
	model_check(m);
	kho_free_unclaimed(m->f.kho, NULL);
	assert_int_equal(pages_preserved(&m->f),
			 m->f.pages + verify(&m->f).blocks);
}

static void model_run(unsigned int page_shift, uint32_t version, size_t size)
{
	struct model m = { 0 };

	create(&m.f, page_shift, version, size, 1 << 22);
	m.number = malloc(((1 << 22) / size) * sizeof(uint64_t));
	assert_non_null(m.number);
	for (int op = 0; op < MODEL_OPS; op++) {
		bool filling = op / (MODEL_OPS / 10) % 2 == 0;
		uint64_t dice = below(10000), index;

		if (dice < 7000) {
			model_append(&m);
		} else if (dice < 9000) {
			index = below(m.n + 1);
			check_entry(&m, kho_block_get(m.f.blocks, index),
				    index);
		} else if (dice < 9700) {
			model_iterate(&m);
		} else if (dice < 9993) {
			model_resize(&m, filling);
		} else if (dice < 9998) {
			model_convert(&m);
		} else {
			model_hand_over(&m);
		}
	}
	model_hand_over(&m);
	print_message("# page 2^%u, v%u, %zu bytes: at most %lu entries; %lu handovers, %lu aborted; %lu conversions, %lu refused; full: arena %lu, heap %lu times\n",
		      page_shift, version, size, m.most, m.handovers, m.aborted,
		      m.converted, m.refused, m.full, m.no_heap);
	free(m.number);
	discard(&m.f);
}

static void model(void **state)
{
	static const size_t sizes[] = { 8, 100, 700 };

	(void)state;
	for (uint32_t version = 1; version <= 2; version++)
		for (int i = 0; i < 3; i++)
			for (int s = 0; s < 3; s++)
				model_run(page_shifts[i], version, sizes[s]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_bytes),
		cmocka_unit_test(writes_the_example),
		cmocka_unit_test(reads_the_bytes),
		cmocka_unit_test(refuses_bad_arguments),
		cmocka_unit_test(any_size),
		cmocka_unit_test(versions_are_told_apart),
		cmocka_unit_test(iterates_both_ways),
		cmocka_unit_test(grows_and_shrinks),
		cmocka_unit_test(a_long_chain),
		cmocka_unit_test(many_entries),
		cmocka_unit_test(survives_handover),
		cmocka_unit_test(an_empty_chain_survives),
		cmocka_unit_test(refuses_what_is_not_preserved),
		cmocka_unit_test(a_full_arena),
		cmocka_unit_test(a_full_heap),
		cmocka_unit_test(model),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
