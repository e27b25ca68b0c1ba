// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A chain that many threads use at once, and chains that come and go; also run
 * under ThreadSanitizer.
 */
#include <pthread.h>
#include <stdlib.h>

#include "block.h"

#define WRITERS 3
#define READERS 2
#define OPS 20000

/* An entry says itself whether it is complete. */
struct entry {
	uint64_t writer;
	uint64_t number;
	uint64_t sum;
};

struct shared {
	struct fixture f;
	bool done; /* atomic */
};

struct worker {
	struct shared *shared;
	uint64_t id;
	unsigned int seed;
	pthread_t thread;
	const char *failed; /* what, or NULL */
};

static void *fails(struct worker *w, const char *what)
{
	w->failed = what;
	return NULL;
}

static bool is_complete(const struct entry *entry)
{
	return entry && entry->sum == (entry->writer ^ ~entry->number);
}

static void *append_some(void *arg)
{
	struct worker *w = arg;
	struct kho_blocks *blocks = w->shared->f.blocks;
	struct entry entry = { .writer = w->id };
	int64_t index, before = -1;

	for (entry.number = 0; entry.number < OPS; entry.number++) {
		entry.sum = entry.writer ^ ~entry.number;
		index = kho_block_append(blocks, &entry);
		if (index <= before)
			return fails(w, "append");
		before = index;
		if (memcmp(kho_block_get(blocks, (uint64_t)index), &entry,
			   sizeof(entry)))
			return fails(w, "what was appended");
		/* Room comes and goes behind the entries. */
		if (entry.number % 100 == 0 &&
		    kho_block_grow(blocks, (uint64_t)index + 1000))
			return fails(w, "grow");
		if (entry.number % 300 == 0 &&
		    kho_block_shrink(blocks, UINT64_MAX))
			return fails(w, "shrink");
	}
	return NULL;
}

static void *read_all(void *arg)
{
	struct worker *w = arg;
	struct kho_blocks *blocks = w->shared->f.blocks;
	struct kho_block_iter iter = kho_block_begin(blocks), back;
	const struct entry *entry;
	uint64_t n, steps;

	while (!__atomic_load_n(&w->shared->done, __ATOMIC_ACQUIRE)) {
		n = kho_block_count(blocks);
		while (iter.index < n)
			if (!is_complete(kho_block_next(&iter)))
				return fails(w, "next");
		back = kho_block_end(blocks);
		if (back.index < n)
			return fails(w, "end");
		for (steps = 0; steps < 1000; steps++) {
			entry = kho_block_prev(&back);
			if (entry && !is_complete(entry))
				return fails(w, "prev");
		}
		for (steps = 0; n && steps < 1000; steps++)
			if (!is_complete(
				    kho_block_get(blocks,
						  (uint64_t)rand_r(&w->seed) %
							  n)))
				return fails(w, "get");
	}
	return NULL;
}

static void start(struct shared *shared, struct worker *w, uint64_t n,
		  void *(*run)(void *arg))
{
	for (uint64_t i = 0; i < n; i++) {
		w[i] = (struct worker){ .shared = shared,
					.id = i,
					.seed = (unsigned int)rnd() };
		assert_int_equal(pthread_create(&w[i].thread, NULL, run, &w[i]),
				 0);
	}
}

static void join(struct worker *w, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
		if (w[i].failed)
			fail_msg("%s", w[i].failed);
	}
}

/* Each writer's entries are there, once, in its order. */
static void check_entries(struct fixture *f)
{
	struct kho_block_iter iter = kho_block_begin(f->blocks);
	uint64_t next[WRITERS] = { 0 };
	const struct entry *entry;

	assert_int_equal(kho_block_count(f->blocks), WRITERS * OPS);
	while ((entry = kho_block_next(&iter))) {
		assert_true(is_complete(entry) && entry->writer < WRITERS);
		assert_int_equal(entry->number, next[entry->writer]);
		next[entry->writer]++;
	}
}

static void many_threads(void **state)
{
	struct worker writers[WRITERS], readers[READERS];
	static struct shared shared;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		shared.done = false;
		create(&shared.f, 12, version, sizeof(struct entry), 1 << 26);
		start(&shared, readers, READERS, read_all);
		start(&shared, writers, WRITERS, append_some);
		join(writers, WRITERS);
		__atomic_store_n(&shared.done, true, __ATOMIC_RELEASE);
		join(readers, READERS);
		check_entries(&shared.f);
		hand_over(&shared.f);
		check_entries(&shared.f);
		discard(&shared.f);
	}
}

/* Readers of what stays need not care that the rest comes and goes. */
static void *read_first(void *arg)
{
	struct worker *w = arg;
	uint64_t n = 1000;

	while (!__atomic_load_n(&w->shared->done, __ATOMIC_ACQUIRE)) {
		struct kho_block_iter iter =
			kho_block_begin(w->shared->f.blocks);

		while (iter.index < n) {
			if (!is_complete(kho_block_get(w->shared->f.blocks,
						       iter.index)) ||
			    !is_complete(kho_block_next(&iter)))
				return fails(w, "what stays");
		}
	}
	return NULL;
}

static void make_sparse(struct fixture *f)
{
	struct kho_block_v1 *block = kho_ptr(f->kho, f->root->first.phys, 4096);

	for (int i = 0; i < 5; i++) {
		block->count -= 7;
		block = kho_ptr(f->kho, block->next.phys, 4096);
	}
	hand_over(f);
}

static void dropping_beside_readers(void **state)
{
	static struct shared shared;
	struct entry entry = { .sum = ~0ull };
	struct worker readers[READERS];

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		shared.done = false;
		create(&shared.f, 12, version, sizeof(struct entry), 1 << 26);
		for (int i = 0; i < 2000; i++)
			assert_true(kho_block_append(shared.f.blocks, &entry) >=
				    0);
		if (version == 1)
			make_sparse(&shared.f);
		start(&shared, readers, READERS, read_first);
		for (int i = 0; i < 200; i++) {
			assert_int_equal(kho_block_shrink(shared.f.blocks,
							  1000 + below(300)),
					 0);
			while (kho_block_append(shared.f.blocks, &entry) < 1500)
				;
		}
		__atomic_store_n(&shared.done, true, __ATOMIC_RELEASE);
		join(readers, READERS);
		assert_int_equal(verify(&shared.f).entries, 1501);
		discard(&shared.f);
	}
}

/* ---- Chains that come and go while others are converted ---- */

#define OWNERS 3
#define CHAINS 300

static void *make_and_drop(void *arg)
{
	struct worker *w = arg;
	struct kho *kho = w->shared->f.kho;
	struct kho_block_root *root = kho_alloc_preserve(kho, sizeof(*root));
	struct kho_blocks *blocks;
	uint64_t entry = w->id, n;

	for (int i = 0; i < CHAINS; i++) {
		if (kho_block_create(kho, sizeof(entry), root, &blocks, NULL))
			return fails(w, "create");
		/* Into the second block of either version. */
		for (n = 0; n < 520; n++)
			if (kho_block_append(blocks, &entry) != (int64_t)n)
				return fails(w, "append");
		if (kho_block_shrink(blocks, 5))
			return fails(w, "shrink");
		if (kho_block_count(blocks) != 5)
			return fails(w, "count");
		if (kho_block_destroy(blocks))
			return fails(w, "destroy");
	}
	kho_unpreserve_free(kho, root);
	return NULL;
}

static void chains_come_and_go(void **state)
{
	struct worker owners[OWNERS];
	static struct shared shared;
	uint32_t version = 1;
	uint64_t n = 0;

	(void)state;
	create(&shared.f, 12, 2, 1000, 1 << 26);
	for (uint64_t i = 0; i < 10; i++)
		append(&shared.f, i);
	start(&shared, owners, OWNERS, make_and_drop);
	for (int i = 0; i < 300; i++, version = 3 - version) {
		assert_int_equal(block()->ops->can_write(shared.f.kho, version,
							 NULL, &shared.f.err),
				 0);
		assert_int_equal(convert(&shared.f, version), 0);
		assert_int_equal(verify(&shared.f).version, version);
	}
	join(owners, OWNERS);
	for (n = 0; n < 10; n++)
		assert_true(
			is_filled(kho_block_get(shared.f.blocks, n), 1000, n));
	assert_int_equal(pages_preserved(&shared.f), shared.f.pages + 3);
	discard(&shared.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_threads),
		cmocka_unit_test(dropping_beside_readers),
		cmocka_unit_test(chains_come_and_go),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
