// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The radix tree: its format to the byte, ranges, finding, handover, running
 * out of memory, and a model that does all of it at random.
 */
#include <errno.h>
#include <inttypes.h>

#include <kho/tracker.h>
#include <kho/tree.h>

#include "heap.h"
#include "radix.h"
#include "arena/radix/radix.h"

static const unsigned int page_shifts[] = { 12, 14, 16 };

/* ---- Failing allocations on the heap: linked with --wrap ---- */

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

void *__wrap_realloc(void *p, size_t size)
{
	return heap_fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return heap_fails() ? NULL : __real_aligned_alloc(align, size);
}

/* ---- A little memory of pages, for trees as the core has one ---- */

struct pool {
	unsigned int page_shift;
	size_t n, in_use, fail_after;
	char *pages;
	char *used;
};

static void *pool_alloc(void *ctx, uint64_t *phys)
{
	struct pool *pool = ctx;

	if (pool->fail_after == 0) {
		errno = ENOSPC;
		return NULL;
	}
	pool->fail_after--;
	for (size_t i = 1; i < pool->n; i++) {
		if (pool->used[i])
			continue;
		pool->used[i] = 1;
		pool->in_use++;
		*phys = (uint64_t)i << pool->page_shift;
		return memset(pool->pages + *phys, 0, 1ul << pool->page_shift);
	}
	errno = ENOSPC;
	return NULL;
}

static void pool_free(void *ctx, uint64_t phys)
{
	struct pool *pool = ctx;

	assert_int_equal(pool->used[phys >> pool->page_shift], 1);
	pool->used[phys >> pool->page_shift] = 0;
	pool->in_use--;
}

static const struct radix_ops pool_ops = {
	.alloc = pool_alloc,
	.free = pool_free,
};

static struct kho_radix make_tree(struct pool *pool, unsigned int page_shift,
				  unsigned int key_bits, size_t n)
{
	struct kho_radix radix = {
		.ops = &pool_ops,
		.ctx = pool,
		.page_shift = page_shift,
		.key_bits = key_bits,
		.top = KHO_RADIX_LEVELS(key_bits, page_shift) - 1,
	};

	memset(pool, 0, sizeof(*pool));
	pool->page_shift = page_shift;
	pool->n = n;
	pool->fail_after = SIZE_MAX;
	pool->pages = calloc(n, 1ul << page_shift);
	pool->used = calloc(n, 1);
	assert_true(pool->pages && pool->used);
	radix.base = pool->pages;
	assert_int_equal(radix_create(&radix), 0);
	return radix;
}

static void free_pool(struct pool *pool)
{
	free(pool->pages);
	free(pool->used);
}

static struct kho_mem_array pool_mem(const struct pool *pool)
{
	return kho_mem_array(pool->pages, pool->n << pool->page_shift, 0,
			     pool->page_shift);
}

/* ---- The format, by hand ---- */

/*
 * A key, and where it must be: the slots from the root down, then the bit of
 * the leaf. The first three are trackers with one page: at 0x22a1000 with 4 KiB
 * pages, at 0x30000 with 16 and 64 KiB. The others cut 0xfedcba9876543210 into
 * 4 + 5 * 9 + 15, 3 + 4 * 11 + 17 and 6 + 3 * 13 + 19 bits.
 */
static const struct vector {
	unsigned int page_shift, key_bits;
	uint64_t key;
	unsigned int levels;
	uint16_t slot[6];
	uint32_t bit;
} vectors[] = {
	{ 12, 53, 0x100000000022a1, 6, { 2 }, 0x22a1 },
	{ 14, 51, 0x400000000000c, 5, { 1 }, 0xc },
	{ 16, 49, 0x1000000000003, 4, { 8 }, 3 },
	{ 12,
	  64,
	  0xfedcba9876543210,
	  7,
	  { 0xf, 0x1db, 0x12e, 0x14c, 0x076, 0x0a8 },
	  0x3210 },
	{ 14,
	  64,
	  0xfedcba9876543210,
	  6,
	  { 0x7, 0x7b7, 0x175, 0x187, 0x32a },
	  0x3210 },
	{ 16,
	  64,
	  0xfedcba9876543210,
	  5,
	  { 0x3f, 0x16e5, 0x1a98, 0x0eca },
	  0x43210 },
	{ 12, 15, 0x7fff, 1, { 0 }, 0x7fff },
	{ 12, 16, 0x8000, 2, { 1 }, 0 },
};

#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static void check_words(const struct pool *pool, uint64_t phys, size_t i,
			uint64_t word)
{
	const uint64_t *node = (uint64_t *)(pool->pages + phys);

	for (size_t j = 0; j < (1ul << pool->page_shift) / 8; j++)
		assert_int_equal(node[j], j == i ? word : 0);
}

static void writes_the_format(void **state)
{
	struct kho_radix radix;
	struct pool pool;
	uint64_t phys;

	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];

		radix = make_tree(&pool, v->page_shift, v->key_bits, 16);
		assert_int_equal(kho_radix_add(&radix, v->key), 0);
		assert_int_equal(pool.in_use, v->levels);
		phys = radix.root;
		for (unsigned int l = 0; l + 1 < v->levels; l++) {
			uint64_t *node = (uint64_t *)(pool.pages + phys);
			uint64_t next = node[v->slot[l]];

			assert_int_not_equal(next, 0);
			check_words(&pool, phys, v->slot[l], next);
			phys = next;
		}
		check_words(&pool, phys, v->bit / 64, 1ull << v->bit % 64);
		assert_int_equal(kho_radix_del(&radix, v->key), 0);
		assert_int_equal(pool.in_use, 1);
		check_words(&pool, radix.root, 0, 0);
		free_pool(&pool);
	}
}

struct seen {
	uint64_t keys[4], nodes[8];
	size_t n_keys, n_nodes;
};

static int see_key(uint64_t key, void *arg)
{
	struct seen *seen = arg;

	assert_true(seen->n_keys < 4);
	seen->keys[seen->n_keys++] = key;
	return 0;
}

static int see_node(uint64_t phys, void *arg)
{
	struct seen *seen = arg;

	assert_true(seen->n_nodes < 8);
	seen->nodes[seen->n_nodes++] = phys;
	return 0;
}

/* Pages of another writer, in an arena: walked, and restored. */
static void reads_the_format(void **state)
{
	uint64_t *page[7], key;
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];
		struct seen seen = { .n_keys = 0 };
		const struct kho_radix_walk walk = { see_key, see_node, &seen };
		unsigned int leaf = v->levels - 1;
		struct kho_arena_view *view;

		create(&f, v->page_shift, v->key_bits, 1 << 26);
		assert_int_equal(kho_radix_destroy(f.radix), 0);
		f.radix = NULL;
		for (unsigned int l = 0; l < v->levels; l++) {
			page[l] = kho_alloc_preserve(f.kho, 8);
			assert_non_null(page[l]);
		}
		for (unsigned int l = 0; l < leaf; l++)
			page[l][v->slot[l]] = kho_phys(f.kho, page[l + 1]);
		page[leaf][v->bit / 64] = 1ull << v->bit % 64;
		f.root = kho_phys(f.kho, page[0]);

		assert_int_equal(kho_arena_view(f.fd, &view, NULL), 0);
		assert_int_equal(kho_radix_walk(kho_arena_view_mem(view),
						f.root, v->key_bits, &walk,
						NULL),
				 0);
		kho_arena_view_close(view);
		assert_int_equal(seen.n_keys, 1);
		assert_int_equal(seen.keys[0], v->key);
		assert_int_equal(seen.n_nodes, v->levels);
		for (unsigned int l = 0; l < v->levels; l++)
			assert_int_equal(seen.nodes[l],
					 kho_phys(f.kho, page[l]));

		hand_over(&f);
		assert_int_equal(kho_radix_count(f.radix), 1);
		assert_int_equal(kho_radix_next(f.radix, 0, &key), 0);
		assert_int_equal(key, v->key);
		assert_int_equal(kho_radix_del(f.radix, v->key), 0);
		assert_int_equal(verify(&f).nodes, 1);
		discard(&f);
	}
}

/* Levels and order bits for the page sizes, from the formula in words. */
static void geometry(void **state)
{
	(void)state;
	assert_int_equal(KHO_RADIX_LEVELS(53, 12), 6);
	assert_int_equal(KHO_RADIX_LEVELS(51, 14), 5);
	assert_int_equal(KHO_RADIX_LEVELS(49, 16), 4);
	assert_int_equal(KHO_RADIX_LEVELS(15, 12), 1);
	assert_int_equal(KHO_RADIX_LEVELS(16, 12), 2);
	assert_int_equal(KHO_RADIX_LEVELS(1, 16), 1);
	assert_int_equal(kho_tracker_key(12, 0x22a1000, 0), 0x100000000022a1);
	assert_int_equal(kho_tracker_key(12, 0x200000, 9), 1ull << 43 | 1);
	assert_int_equal(kho_tracker_key(12, 0, 1), 1ull << 51);
	assert_int_equal(kho_tracker_key(16, 0x30000, 0), 1ull << 48 | 3);
	assert_int_equal(kho_tracker_key(14, 0x30000, 0), 1ull << 50 | 0xc);
	assert_int_equal(kho_tracker_key(14, 0x8000, 1), 1ull << 49 | 1);
}

static void keys_decode(void **state)
{
	uint64_t phys, at, key;
	unsigned int order, s;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		s = page_shifts[i];
		for (unsigned int o = 0; o < 64 - s; o++) {
			at = o + s < 63 ? 1ull << (o + s) : 0;
			key = kho_tracker_key(s, at, o);
			assert_int_equal(kho_tracker_decode(s, key, &phys,
							    &order),
					 0);
			assert_int_equal(phys, at);
			assert_int_equal(order, o);
		}
		assert_int_equal(kho_tracker_decode(s, 0, &phys, &order),
				 -EBADMSG);
		assert_int_equal(kho_tracker_decode(s, 1, &phys, &order),
				 -EBADMSG);
		assert_int_equal(kho_tracker_decode(s, 1ull << (65 - s), &phys,
						    &order),
				 -EBADMSG);
	}
}

/* ---- Keys ---- */

static void width_is_checked(void **state)
{
	struct kho_radix *radix;
	uint64_t max, key;
	struct fixture f;

	(void)state;
	for (unsigned int bits = 1; bits <= 64; bits++) {
		create(&f, page_shifts[bits % 3], bits, 1 << 26);
		radix = f.radix;
		max = ~0ull >> (64 - bits);
		if (bits < 64) {
			assert_int_equal(kho_radix_add(radix, max + 1),
					 -ERANGE);
			assert_int_equal(kho_radix_del(radix, max + 1),
					 -ERANGE);
			assert_int_equal(kho_radix_add(radix, ~0ull), -ERANGE);
			assert_int_equal(kho_radix_add_range(radix, max,
							     max + 1),
					 -ERANGE);
			assert_int_equal(kho_radix_del_range(radix, 0, max + 1),
					 -ERANGE);
			assert_int_equal(kho_radix_next(radix, max + 1, &key),
					 -ERANGE);
			assert_int_equal(kho_radix_next_gap(radix, max + 1,
							    &key),
					 -ERANGE);
			assert_false(kho_radix_test(radix, max + 1));
		}
		assert_int_equal(kho_radix_add_range(radix, 1, 0), -EINVAL);
		assert_int_equal(kho_radix_del_range(radix, max, 0), -EINVAL);
		assert_int_equal(kho_radix_next(radix, 0, &key), -ENOENT);
		assert_int_equal(kho_radix_add(radix, max), 0);
		assert_int_equal(kho_radix_add(radix, max), -EEXIST);
		assert_int_equal(kho_radix_del(radix, 0), -ENOENT);
		assert_true(kho_radix_test(radix, max));
		assert_int_equal(kho_radix_next(radix, 0, &key), 0);
		assert_int_equal(key, max);
		assert_int_equal(kho_radix_next(radix, max, &key), 0);
		assert_int_equal(key, max);
		assert_int_equal(kho_radix_next_gap(radix, max, &key), -ENOENT);
		assert_int_equal(kho_radix_next_gap(radix, max - 1, &key), 0);
		assert_int_equal(key, max - 1);
		assert_int_equal(kho_radix_count(radix), 1);
		assert_int_equal(verify(&f).keys, 1);
		hand_over(&f);
		assert_int_equal(kho_radix_del_range(f.radix, 0, max), 0);
		assert_int_equal(kho_radix_next(f.radix, 0, &key), -ENOENT);
		assert_int_equal(verify(&f).nodes, 1);
		discard(&f);
	}
	create(&f, 12, 64, 1 << 26);
	assert_int_equal(kho_radix_create(f.kho, 0, &radix, NULL), -EINVAL);
	assert_int_equal(kho_radix_create(f.kho, 65, &radix, NULL), -EINVAL);
	assert_int_equal(kho_radix_restore(f.kho, f.root, 0, &radix, &f.err),
			 -EINVAL);
	assert_int_equal(kho_radix_restore(f.kho, f.root, 65, &radix, &f.err),
			 -EINVAL);
	assert_non_null(strstr(f.err.text, "65 bits"));
	assert_int_equal(kho_radix_restore(f.kho, 0, 64, &radix, &f.err),
			 -EBADMSG);
	discard(&f);
}

/* Ends of ranges around those of words and leaves, against single keys. */
static void ranges_at_the_edges(void **state)
{
	static const uint64_t edge[] = { 0,	1,	62,	63,    64,
					 65,	127,	128,	32767, 32768,
					 32769, 65535,	65536,	98303, 98304,
					 98305, 131071, 131072, 131135 };
	enum { EDGES = sizeof(edge) / sizeof(edge[0]) };
	uint64_t first, last, key, keep;
	struct kho_radix radix;
	struct pool pool;

	(void)state;
	for (size_t i = 0; i < EDGES; i++) {
		for (size_t j = i; j < EDGES; j++) {
			first = edge[i];
			last = edge[j];
			keep = edge[(i + j) / 2];
			radix = make_tree(&pool, 12, 53, 32);
			assert_int_equal(kho_radix_add(&radix, keep), 0);
			assert_int_equal(kho_radix_add_range(&radix, first,
							     last),
					 0);
			for (size_t e = 0; e < EDGES; e++)
				assert_int_equal(kho_radix_test(&radix,
								edge[e]),
						 edge[e] >= first &&
							 edge[e] <= last);
			assert_int_equal(kho_radix_next(&radix, 0, &key), 0);
			assert_int_equal(key, first);
			assert_int_equal(kho_radix_next_gap(&radix, first,
							    &key),
					 0);
			assert_int_equal(key, last + 1);
			assert_int_equal(kho_radix_next(&radix, last + 1, &key),
					 -ENOENT);
			if (first < keep)
				assert_int_equal(kho_radix_del_range(&radix,
								     first,
								     keep - 1),
						 0);
			assert_int_equal(kho_radix_del_range(&radix, keep + 1,
							     1ull << 50),
					 0);
			assert_int_equal(kho_radix_next(&radix, 0, &key), 0);
			assert_int_equal(key, keep);
			assert_int_equal(kho_radix_next_gap(&radix, keep, &key),
					 0);
			assert_int_equal(key, keep + 1);
			assert_int_equal(pool.in_use, 6);
			assert_int_equal(kho_radix_del(&radix, keep), 0);
			assert_int_equal(pool.in_use, 1);
			free_pool(&pool);
		}
	}
}

/* The first and the last of all keys. */
static void ranges_at_the_end(void **state)
{
	const uint64_t max = ~0ull;
	struct fixture f;
	uint64_t key;

	(void)state;
	create(&f, 12, 64, 1 << 26);
	assert_int_equal(kho_radix_add_range(f.radix, max - 99999, max), 0);
	assert_int_equal(kho_radix_count(f.radix), 100000);
	assert_int_equal(kho_radix_next(f.radix, 0, &key), 0);
	assert_int_equal(key, max - 99999);
	assert_int_equal(kho_radix_next_gap(f.radix, max - 99999, &key),
			 -ENOENT);
	assert_int_equal(kho_radix_next_gap(f.radix, max - 100001, &key), 0);
	assert_int_equal(key, max - 100001);
	/* More than there is room for: as it was. */
	assert_int_equal(kho_radix_add_range(f.radix, 0, max), -ENOSPC);
	assert_int_equal(kho_radix_count(f.radix), 100000);
	assert_int_equal(verify(&f).empty, 0);
	assert_int_equal(kho_radix_del_range(f.radix, 0, max), 0);
	assert_int_equal(kho_radix_count(f.radix), 0);
	assert_int_equal(verify(&f).nodes, 1);
	discard(&f);
}

/* Without memory for all of it, a range is not added at all. */
static void ranges_are_all_or_nothing(void **state)
{
	const uint64_t first = 1000, last = 40ull << 15, there = 5ull << 15;
	struct kho_radix radix;
	struct pool pool;
	uint64_t key;
	size_t n;
	int ret;

	(void)state;
	for (n = 0;; n++) {
		radix = make_tree(&pool, 12, 53, 64);
		assert_int_equal(kho_radix_add(&radix, there), 0);
		pool.fail_after = n;
		ret = kho_radix_add_range(&radix, first, last);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOSPC);
		assert_int_equal(pool.in_use, 6);
		assert_int_equal(kho_radix_next(&radix, 0, &key), 0);
		assert_int_equal(key, there);
		assert_int_equal(kho_radix_next(&radix, there + 1, &key),
				 -ENOENT);
		free_pool(&pool);
	}
	/* 41 leaves, one of which was there. */
	assert_int_equal(n, 40);
	assert_int_equal(kho_radix_next_gap(&radix, first, &key), 0);
	assert_int_equal(key, last + 1);
	free_pool(&pool);
}

static int stop_at(uint64_t key, void *arg)
{
	return key == *(uint64_t *)arg ? 42 : 0;
}

static int delete_it(uint64_t key, void *arg)
{
	return kho_radix_del(arg, key);
}

static void walks(void **state)
{
	uint64_t last = 1ull << 40;
	struct fixture f;

	(void)state;
	create(&f, 12, 41, 1 << 26);
	assert_int_equal(kho_radix_for_each(f.radix, stop_at, &last), 0);
	assert_int_equal(kho_radix_add_range(f.radix, 0, 40000), 0);
	assert_int_equal(kho_radix_add(f.radix, last), 0);
	assert_int_equal(kho_radix_for_each(f.radix, stop_at, &last), 42);
	/* The callback may delete, even the leaf that is being walked. */
	assert_int_equal(kho_radix_for_each(f.radix, delete_it, f.radix), 0);
	assert_int_equal(kho_radix_count(f.radix), 0);
	assert_int_equal(verify(&f).nodes, 1);
	assert_int_equal(kho_radix_add(f.radix, (1ull << 41) - 1), 0);
	assert_int_equal(kho_radix_for_each(f.radix, delete_it, f.radix), 0);
	discard(&f);
}

static int count_key(uint64_t key, void *arg)
{
	(void)key;
	++*(uint64_t *)arg;
	return 0;
}

static void walk_refuses(void **state)
{
	struct pool pool;
	struct kho_radix radix = make_tree(&pool, 12, 53, 64);
	struct kho_mem_array mem = pool_mem(&pool);
	uint64_t *root = (uint64_t *)(pool.pages + radix.root), good;
	uint64_t n = 0;
	const struct kho_radix_walk walk = { count_key, NULL, &n };
	struct kho_error err;

	(void)state;
	assert_int_equal(kho_radix_add(&radix, 1ull << 52), 0);
	good = root[2];

	root[2] = good + 8;
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 53, &walk, &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, "not page aligned"));
	root[2] = 64 << 12;
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 53, &walk, &err),
			 -EFAULT);
	assert_non_null(strstr(err.text, "outside"));
	root[2] = radix.root;
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 53, &walk, &err),
			 -ELOOP);
	root[2] = good;
	root[1] = good;
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 53, &walk, &err),
			 -ELOOP);
	assert_non_null(strstr(err.text, "twice"));
	root[1] = 0;
	root[4] = good; /* bit 53: a key of 54 bits */
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 53, &walk, &err),
			 -EBADMSG);
	root[4] = 0;
	assert_int_equal(kho_radix_walk(&mem.mem, 0, 53, &walk, &err),
			 -EBADMSG);
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 0, &walk, &err),
			 -EINVAL);
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 65, &walk, &err),
			 -EINVAL);
	mem.mem.page_shift = 13;
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 53, &walk, &err),
			 -EINVAL);
	mem.mem.page_shift = 12;
	n = 0;
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 53, &walk, &err),
			 0);
	assert_int_equal(n, 1);
	free_pool(&pool);

	/* A leaf that is the root has bits that no key can have. */
	radix = make_tree(&pool, 12, 10, 4);
	mem = pool_mem(&pool);
	root = (uint64_t *)(pool.pages + radix.root);
	root[1023 / 64] = 1ull << 63;
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 10, &walk, &err),
			 0);
	root[1024 / 64] = 1;
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 10, &walk, &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, "more than 10 bits"));
	free_pool(&pool);
}

/* ---- The life of a set ---- */

static void survives_handover(void **state)
{
	struct kho_radix_stats before, after;
	struct kho_radix *radix;
	struct fixture f;
	uint64_t pages;

	(void)state;
	for (int s = 0; s < 3; s++) {
		create(&f, page_shifts[s], 48, 1 << 28);
		pages = pages_info(f.kho).preserved;
		assert_int_equal(kho_radix_add_range(f.radix, 5, 1234567), 0);
		for (uint64_t i = 0; i < 100; i++)
			assert_int_equal(kho_radix_add(f.radix,
						       (i + 1) * 1000000007000),
					 0);
		assert_int_equal(kho_radix_stats(f.radix, &before), 0);
		assert_int_equal(before.keys, 1234563 + 100);
		assert_int_equal(pages_info(f.kho).preserved,
				 pages + before.nodes - 1);
		detach(&f);
		attach(&f);
		restore(&f);

		/* Not ours yet: can be read, not changed. */
		assert_int_equal(kho_radix_count(f.radix), before.keys);
		assert_true(kho_radix_test(f.radix, 1000000007000));
		assert_int_equal(kho_radix_add(f.radix, 4), -EROFS);
		assert_int_equal(kho_radix_del(f.radix, 5), -EROFS);
		assert_int_equal(kho_radix_add_range(f.radix, 0, 9), -EROFS);
		assert_int_equal(kho_radix_del_range(f.radix, 0, 9), -EROFS);
		assert_int_equal(kho_radix_destroy(f.radix), -EROFS);
		assert_int_equal(kho_radix_create(f.kho, 48, &radix, NULL),
				 -EROFS);
		assert_int_equal(kho_radix_restore(f.kho, f.root, 48, &radix,
						   &f.err),
				 -EBUSY);
		assert_non_null(strstr(f.err.text, "claimed before"));

		assert_int_equal(kho_ready(f.kho, NULL), 0);
		assert_int_equal(kho_free_unclaimed(f.kho, NULL), 0);
		assert_int_equal(kho_radix_stats(f.radix, &after), 0);
		assert_memory_equal(&before, &after, sizeof(before));
		assert_int_equal(kho_radix_del(f.radix, 5), 0);
		assert_int_equal(kho_radix_stats(f.radix, &after), 0);
		assert_int_equal(after.keys, before.keys - 1);
		assert_int_not_equal(after.crc, before.crc);

		assert_int_equal(kho_radix_destroy(f.radix), 0);
		assert_int_equal(pages_info(f.kho).preserved, pages - 1);
		f.radix = NULL;
		assert_int_equal(kho_radix_destroy(NULL), 0);
		discard(&f);
	}
}

static void refuses_what_is_not_preserved(void **state)
{
	struct kho_radix *radix;
	struct fixture f;
	uint64_t *root, *folio;

	(void)state;
	create(&f, 12, 16, 1 << 26);
	assert_int_equal(kho_radix_add(f.radix, 0), 0);
	root = kho_ptr(f.kho, f.root, 4096);
	assert_int_equal(kho_unpreserve_folio(f.kho,
					      kho_ptr(f.kho, root[0], 1)),
			 0);
	detach(&f);
	attach(&f);
	assert_int_equal(kho_radix_restore(f.kho, f.root, 16, &radix, &f.err),
			 -ENOENT);
	assert_non_null(strstr(f.err.text, "no preserved folio"));
	discard(&f);

	/* The first page of a larger folio is no node. */
	create(&f, 12, 16, 1 << 26);
	folio = kho_alloc_preserve(f.kho, 8192);
	root = kho_ptr(f.kho, f.root, 4096);
	root[1] = kho_phys(f.kho, folio);
	detach(&f);
	attach(&f);
	assert_int_equal(kho_radix_restore(f.kho, f.root, 16, &radix, &f.err),
			 -EBADMSG);
	assert_non_null(strstr(f.err.text, "bytes instead of"));
	discard(&f);
}

static void a_full_heap(void **state)
{
	struct kho_radix *radix = NULL;
	struct fixture f;
	uint64_t pages;
	int ret, n;

	(void)state;
	create(&f, 12, 64, 1 << 26);
	pages = pages_info(f.kho).preserved;
	for (n = 0;; n++) {
		fail_in = n;
		ret = kho_radix_create(f.kho, 64, &radix, NULL);
		fail_in = -1;
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(pages_info(f.kho).preserved, pages);
	}
	assert_int_equal(n, 2);
	assert_int_equal(kho_radix_destroy(radix), 0);

	assert_int_equal(kho_radix_add_range(f.radix, 0, 3000000), 0);
	for (n = 0;; n++) {
		detach(&f);
		attach(&f);
		pages = pages_info(f.kho).unclaimed;
		fail_in = n;
		ret = kho_radix_restore(f.kho, f.root, 64, &f.radix, &f.err);
		fail_in = -1;
		if (!ret)
			break;
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(f.err.code, -ENOMEM);
		assert_non_null(strstr(f.err.text, "out of memory"));
		assert_int_equal(pages_info(f.kho).unclaimed, pages);
	}
	assert_true(n > 92);
	assert_int_equal(kho_radix_count(f.radix), 3000001);
	discard(&f);
}

/* ---- The model ---- */

/*
 * Keys come in clusters of CLUSTER, far from each other; the model has a byte
 * for each. The clusters begin somewhere in a leaf.
 */
#define CLUSTERS 24
#define CLUSTER (1 << 17)

#ifdef __SANITIZE_ADDRESS__
#define MODEL_OPS 500000
#else
#define MODEL_OPS 1500000
#endif

struct model {
	struct fixture f;
	uint64_t base[CLUSTERS];
	char *have; /* CLUSTERS * CLUSTER, then a 0 and a 1 */
	uint64_t n;
	uint64_t others; /* pages that are preserved besides the tree */
	uint64_t lost; /* of them, by us */
	uint32_t full, handovers;
};

static uint64_t model_key(const struct model *m, uint64_t i)
{
	return m->base[i / CLUSTER] + i % CLUSTER;
}

/* Number of keys in the model among @n from @i on. */
static uint64_t model_count(const struct model *m, uint64_t i, uint64_t n)
{
	uint64_t count = 0;

	for (uint64_t j = i; j < i + n; j++)
		count += (uint64_t)m->have[j];
	return count;
}

/* Failed for want of memory: then the tree has the pages it had. */
static bool model_full(struct model *m, int ret, uint64_t pages)
{
	if (ret != -ENOSPC)
		return false;
	assert_int_equal(pages_info(m->f.kho).preserved, pages);
	assert_int_equal(kho_radix_count(m->f.radix), m->n);
	m->full++;
	return true;
}

static void model_add(struct model *m, uint64_t i)
{
	uint64_t pages = pages_info(m->f.kho).preserved;
	int ret = kho_radix_add(m->f.radix, model_key(m, i));

	if (model_full(m, ret, pages))
		return;
	assert_int_equal(ret, m->have[i] ? -EEXIST : 0);
	m->n += !m->have[i];
	m->have[i] = 1;
}

static void model_del(struct model *m, uint64_t i)
{
	assert_int_equal(kho_radix_del(m->f.radix, model_key(m, i)),
			 m->have[i] ? 0 : -ENOENT);
	m->n -= (uint64_t)m->have[i];
	m->have[i] = 0;
}

/* A length of any magnitude. */
static uint64_t model_length(uint64_t i)
{
	uint64_t n = 1 + below(1ull << below(18));

	return n < CLUSTER - i % CLUSTER ? n : CLUSTER - i % CLUSTER;
}

static void model_add_range(struct model *m, uint64_t i)
{
	uint64_t n = model_length(i), pages = pages_info(m->f.kho).preserved;
	int ret = kho_radix_add_range(m->f.radix, model_key(m, i),
				      model_key(m, i) + n - 1);

	if (model_full(m, ret, pages))
		return;
	assert_int_equal(ret, 0);
	m->n += n - model_count(m, i, n);
	memset(m->have + i, 1, n);
}

/* Sometimes over several clusters, and what is between them. */
static void model_del_range(struct model *m, uint64_t i)
{
	uint64_t n = model_length(i);

	if (below(20) == 0) {
		n = below(3 * CLUSTER) + 1;
		if (n > CLUSTERS * CLUSTER - i)
			n = CLUSTERS * CLUSTER - i;
	}
	assert_int_equal(kho_radix_del_range(m->f.radix, model_key(m, i),
					     model_key(m, i + n - 1)),
			 0);
	m->n -= model_count(m, i, n);
	memset(m->have + i, 0, n);
}

static void model_next(struct model *m, uint64_t i)
{
	char *next = memchr(m->have + i, 1, CLUSTERS * CLUSTER - i);
	char *gap = memchr(m->have + i, 0, CLUSTER - i % CLUSTER);
	uint64_t key, from = model_key(m, i);

	assert_int_equal(kho_radix_next(m->f.radix, from, &key),
			 next ? 0 : -ENOENT);
	if (next)
		assert_int_equal(key, model_key(m, (uint64_t)(next - m->have)));
	assert_int_equal(kho_radix_next_gap(m->f.radix, from, &key), 0);
	assert_int_equal(key, gap ? model_key(m, (uint64_t)(gap - m->have)) :
				    m->base[i / CLUSTER] + CLUSTER);
}

struct compare {
	struct model *m;
	uint64_t at, n; /* index in the model, keys seen */
};

static int compare_key(uint64_t key, void *arg)
{
	struct compare *c = arg;
	char *next = memchr(c->m->have + c->at, 1, CLUSTERS * CLUSTER - c->at);

	assert_non_null(next);
	c->at = (uint64_t)(next - c->m->have);
	assert_int_equal(key, model_key(c->m, c->at));
	c->at++;
	c->n++;
	return 0;
}

/* Both have the same keys, and the tree no page too many. */
static void model_compare(struct model *m)
{
	struct compare seen = { m, 0, 0 }, walked = { m, 0, 0 };
	const struct kho_radix_walk walk = { compare_key, NULL, &walked };
	struct kho_radix_stats stats = verify(&m->f);
	struct kho_arena_view *view;

	assert_int_equal(kho_radix_count(m->f.radix), m->n);
	assert_int_equal(stats.keys, m->n);
	assert_int_equal(stats.empty, 0);
	assert_int_equal(pages_info(m->f.kho).preserved,
			 m->others + stats.nodes);
	assert_int_equal(pages_info(m->f.kho).unclaimed,
			 m->handovers ? m->lost : 0);
	assert_int_equal(kho_radix_for_each(m->f.radix, compare_key, &seen), 0);
	assert_int_equal(seen.n, m->n);
	assert_int_equal(kho_arena_view(m->f.fd, &view, NULL), 0);
	assert_int_equal(kho_radix_walk(kho_arena_view_mem(view), m->f.root,
					m->f.key_bits, &walk, NULL),
			 0);
	kho_arena_view_close(view);
	assert_int_equal(walked.n, m->n);
}

static void model_hand_over(struct model *m)
{
	detach(&m->f);
	attach(&m->f);
	restore(&m->f);
	m->handovers++;
	model_compare(m);
	if (below(2)) {
		/* Aborted: the old one goes on. */
		detach(&m->f);
		attach(&m->f);
		restore(&m->f);
	}
	assert_int_equal(kho_ready(m->f.kho, NULL), 0);
}

/* Take all memory but @room pages. */
static void model_fill(struct model *m, uint32_t room)
{
	size_t size = 1ul << kho_page_shift(m->f.kho);
	void **page = calloc(room, sizeof(*page)), *p;

	m->others = pages_info(m->f.kho).preserved - 1;
	for (uint64_t i = 0; (p = kho_alloc_preserve(m->f.kho, size)); i++) {
		m->lost++;
		page[i % room] = p;
	}
	for (uint32_t i = 0; i < room; i++, m->lost--)
		assert_int_equal(kho_unpreserve_free(m->f.kho, page[i]), 0);
	m->others += m->lost;
	free(page);
}

static void model_step(struct model *m, uint64_t ops_left, uint32_t *grow)
{
	uint64_t i = below(CLUSTERS * CLUSTER), what = below(1000);
	bool add = below(100) < *grow;

	/* The tree grows until memory is full, and shrinks again. */
	if (ops_left % 5000 == 0)
		*grow = 20 + (uint32_t)below(60);
	if (ops_left % 50000 == 0)
		model_hand_over(m);
	else if (what < 20)
		add ? model_add_range(m, i) : model_del_range(m, i);
	else if (what < 30)
		model_next(m, i);
	else if (what < 100)
		assert_int_equal(kho_radix_test(m->f.radix, model_key(m, i)),
				 m->have[i]);
	else if (what < 500)
		add ? model_add(m, i) : model_del(m, i);
	else if (add)
		/* Few keys, so that leaves come and go. */
		model_add(m, i / CLUSTER * CLUSTER + below(4) * (CLUSTER / 4));
	else
		model_del(m, i / CLUSTER * CLUSTER + below(4) * (CLUSTER / 4));
}

static void model_run(unsigned int page_shift, unsigned int key_bits,
		      uint32_t room, uint64_t ops)
{
	struct model *m = calloc(1, sizeof(*m));
	uint32_t grow = 60;

	create(&m->f, page_shift, key_bits, 512ull << page_shift);
	m->have = calloc(CLUSTERS, CLUSTER);
	for (uint64_t c = 0; c < CLUSTERS; c++)
		m->base[c] = c * (radix_max_key(key_bits) / CLUSTERS) +
			     below(CLUSTER);
	model_fill(m, room);
	while (ops--)
		model_step(m, ops, &grow);
	model_compare(m);
	print_message("# page shift %u: %" PRIu64
		      " keys at the end, %u handovers, %u times full\n",
		      page_shift, m->n, m->handovers, m->full);
	assert_true(m->handovers && m->full);
	assert_int_equal(kho_radix_del_range(m->f.radix, m->base[0],
					     radix_max_key(key_bits)),
			 0);
	assert_int_equal(kho_radix_count(m->f.radix), 0);
	assert_int_equal(verify(&m->f).nodes, 1);
	discard(&m->f);
	free(m->have);
	free(m);
}

static void model_4k(void **state)
{
	(void)state;
	model_run(12, 53, 100, MODEL_OPS);
}

static void model_16k(void **state)
{
	(void)state;
	model_run(14, 40, 60, MODEL_OPS / 2);
}

static void model_64k(void **state)
{
	(void)state;
	model_run(16, 64, 60, MODEL_OPS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_format),
		cmocka_unit_test(reads_the_format),
		cmocka_unit_test(geometry),
		cmocka_unit_test(keys_decode),
		cmocka_unit_test(width_is_checked),
		cmocka_unit_test(ranges_at_the_edges),
		cmocka_unit_test(ranges_at_the_end),
		cmocka_unit_test(ranges_are_all_or_nothing),
		cmocka_unit_test(walks),
		cmocka_unit_test(walk_refuses),
		cmocka_unit_test(survives_handover),
		cmocka_unit_test(refuses_what_is_not_preserved),
		cmocka_unit_test(a_full_heap),
		cmocka_unit_test(model_4k),
		cmocka_unit_test(model_16k),
		cmocka_unit_test(model_64k),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
