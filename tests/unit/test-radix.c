// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The radix tree: its format to the byte, its operations against a model. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <kho/radix.h>
#include <kho/tracker.h>

#include "seed.h"

/* A little memory of pages to keep a tree in. */
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

static void *pool_node(void *ctx, uint64_t phys)
{
	struct pool *pool = ctx;

	assert_true(phys < pool->n << pool->page_shift);
	return pool->pages + phys;
}

static const struct kho_radix_ops pool_ops = { pool_alloc, pool_free,
					       pool_node };

static struct kho_radix make_tree(struct pool *pool, unsigned int page_shift,
				  unsigned int key_bits, size_t n)
{
	struct kho_radix radix = { &pool_ops, pool, page_shift, key_bits, 0 };

	*pool = (struct pool){ .page_shift = page_shift, .n = n,
			       .fail_after = SIZE_MAX };
	pool->pages = calloc(n, 1ul << page_shift);
	pool->used = calloc(n, 1);
	assert_non_null(pool->pages);
	assert_int_equal(kho_radix_create(&radix), 0);
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

/*
 * Order 0 at phys 0x22a1000 with 4K pages: key 1 << 52 | 0x22a1. Six levels:
 * bits 59:51 are 2, 50:15 are 0, and the leaf's bit is 0x22a1.
 */
static void format_4k_by_hand(void **state)
{
	struct pool pool;
	struct kho_radix radix = make_tree(&pool, 12, 53, 64);
	uint64_t key = kho_tracker_key(12, 0x22a1000, 0), *node, phys;

	(void)state;
	assert_int_equal(key, 1ull << 52 | 0x22a1);
	assert_int_equal(kho_radix_add(&radix, key), 0);
	assert_int_equal(pool.in_use, 6);
	phys = radix.root;
	for (int level = 5; level > 0; level--) {
		size_t slot = level == 5 ? 2 : 0;

		node = (uint64_t *)(pool.pages + phys);
		for (size_t i = 0; i < 512; i++)
			assert_int_equal(node[i] != 0, i == slot);
		phys = node[slot];
	}
	node = (uint64_t *)(pool.pages + phys);
	for (size_t i = 0; i < 512; i++)
		assert_int_equal(node[i], i == 0x22a1 / 64 ?
						  1ull << (0x22a1 % 64) :
						  0);
	free_pool(&pool);
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
	assert_int_equal(kho_tracker_key(12, 0x200000, 9), 1ull << 43 | 1);
	assert_int_equal(kho_tracker_key(12, 0, 1), 1ull << 51);
	assert_int_equal(kho_tracker_key(16, 0x30000, 0), 1ull << 48 | 3);
	assert_int_equal(kho_tracker_key(14, 0x8000, 1), 1ull << 49 | 1);
}

static void keys_decode(void **state)
{
	static const unsigned int shifts[] = { 12, 14, 16 };
	unsigned int order;
	uint64_t phys;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		unsigned int s = shifts[i];

		for (unsigned int o = 0; o < 64 - s; o++) {
			uint64_t at = o + s < 63 ? 1ull << (o + s) : 0;

			assert_int_equal(
				kho_tracker_decode(s, kho_tracker_key(s, at, o),
						   &phys, &order),
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

static void width_is_checked(void **state)
{
	struct pool pool;
	struct kho_radix radix = make_tree(&pool, 12, 20, 64);

	(void)state;
	assert_int_equal(kho_radix_add(&radix, 1 << 20), -ERANGE);
	assert_int_equal(kho_radix_del(&radix, 1 << 20), -ERANGE);
	assert_false(kho_radix_test(&radix, 1 << 20));
	assert_int_equal(kho_radix_add(&radix, (1 << 20) - 1), 0);
	assert_int_equal(kho_radix_add(&radix, (1 << 20) - 1), -EEXIST);
	assert_int_equal(kho_radix_del(&radix, 5), -ENOENT);
	free_pool(&pool);
}

struct seen {
	const char *model;
	size_t n;
	uint64_t last;
};

static int see_key(uint64_t key, void *arg)
{
	struct seen *seen = arg;

	assert_true(seen->n == 0 || key > seen->last);
	assert_int_equal(seen->model[key], 1);
	seen->last = key;
	seen->n++;
	return 0;
}

/* Random adds and deletes, some without memory, against a plain array. */
static void model(void **state)
{
	enum { BITS = 22, OPS = 400000 };
	char *have = calloc(1 << BITS, 1);
	struct pool pool;
	struct kho_radix radix = make_tree(&pool, 12, BITS, 256);
	struct kho_mem_array mem = pool_mem(&pool);
	size_t count = 0;

	(void)state;
	for (int i = 0; i < OPS; i++) {
		/* Few leaves, so that many get empty again. */
		uint64_t key = (rnd() % 128) << 15 | rnd() % 8;
		size_t before = pool.in_use;
		int ret;

		if (rnd() % 16 == 0)
			pool.fail_after = rnd() % 2;
		if (rnd() % 2) {
			ret = kho_radix_add(&radix, key);
			if (ret == -ENOSPC) {
				assert_int_equal(pool.in_use, before);
			} else {
				assert_int_equal(ret, have[key] ? -EEXIST : 0);
				count += !have[key];
				have[key] = 1;
			}
		} else {
			ret = kho_radix_del(&radix, key);
			assert_int_equal(ret, have[key] ? 0 : -ENOENT);
			count -= (size_t)have[key];
			have[key] = 0;
		}
		pool.fail_after = SIZE_MAX;
		assert_int_equal(kho_radix_test(&radix, key), have[key]);
		if (i % 20000 == 0) {
			struct seen seen = { .model = have };
			const struct kho_radix_walk walk = { see_key, NULL,
							     &seen };

			assert_int_equal(kho_radix_walk(&mem.mem, radix.root,
							BITS, &walk, NULL),
					 0);
			assert_int_equal(seen.n, count);
		}
	}
	for (uint64_t key = 0; key < 1 << BITS; key++)
		if (have[key])
			assert_int_equal(kho_radix_del(&radix, key), 0);
	/* Only the root is left. */
	assert_int_equal(pool.in_use, 1);
	free_pool(&pool);
	free(have);
}

static int count_key(uint64_t key, void *arg)
{
	(void)key;
	++*(size_t *)arg;
	return 0;
}

static void walk_refuses(void **state)
{
	struct pool pool;
	struct kho_radix radix = make_tree(&pool, 12, 53, 64);
	struct kho_mem_array mem = pool_mem(&pool);
	uint64_t *root = (uint64_t *)(pool.pages + radix.root), good;
	size_t n = 0;
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
	mem.mem.page_shift = 13;
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 53, &walk, &err),
			 -EINVAL);
	mem.mem.page_shift = 12;
	n = 0;
	assert_int_equal(kho_radix_walk(&mem.mem, radix.root, 53, &walk, &err),
			 0);
	assert_int_equal(n, 1);
	free_pool(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(format_4k_by_hand),
		cmocka_unit_test(geometry),
		cmocka_unit_test(keys_decode),
		cmocka_unit_test(width_is_checked),
		cmocka_unit_test(model),
		cmocka_unit_test(walk_refuses),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
