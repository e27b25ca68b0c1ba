// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* A set that many threads use at once; also run under ThreadSanitizer. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "radix.h"
#include "arena/radix/radix.h"

#define WRITERS 4
#define LEAF (1ull << 15) /* keys of a leaf, with 4 KiB pages */

#ifdef __SANITIZE_THREAD__
#define OPS 8000
#else
#define OPS 150000
#endif

/*
 * The keys of a writer, which no other one touches: a block of two and a half
 * leaves, so that writers meet in leaves, and keys that have a leaf each,
 * mixed with those of the others, so that they meet in inner nodes.
 */
#define BLOCK (LEAF * 5 / 2)
#define ALONE 64

static uint64_t block_key(unsigned int writer, uint64_t i)
{
	return writer * BLOCK + i;
}

static uint64_t alone_key(unsigned int writer, uint64_t i)
{
	return 1ull << 40 | (i * WRITERS + writer) << (i % 2 ? 15 : 24);
}

/* A key in the midst of the others', which is always there. */
static uint64_t constant_key(uint64_t i)
{
	return 1ull << 40 | 3ull << 32 | i << 20;
}

#define CONSTANTS 16

struct shared {
	struct fixture f;
	bool done; /* atomic */
};

struct worker {
	struct shared *shared;
	unsigned int number, seed;
	pthread_t thread;
	const char *failed; /* what, or NULL */
	uint64_t n;
	char block[BLOCK], alone[ALONE];
};

static void *fails(struct worker *w, const char *what)
{
	w->failed = what;
	return NULL;
}

static uint64_t random_below(struct worker *w, uint64_t n)
{
	return (uint64_t)rand_r(&w->seed) % n;
}

/* Toggle a key; what it was must be what this writer made of it. */
static bool toggle(struct worker *w, uint64_t key, char *have)
{
	struct kho_radix *radix = w->shared->f.radix;

	if (kho_radix_test(radix, key) != *have)
		return false;
	if (*have ? kho_radix_add(radix, key) != -EEXIST :
		    kho_radix_del(radix, key) != -ENOENT)
		return false;
	if (*have ? kho_radix_del(radix, key) : kho_radix_add(radix, key))
		return false;
	*have = !*have;
	return kho_radix_test(radix, key) == *have;
}

static bool change_range(struct worker *w, bool add)
{
	struct kho_radix *radix = w->shared->f.radix;
	uint64_t i = random_below(w, BLOCK);
	uint64_t n = 1 + random_below(w, BLOCK - i), found;
	uint64_t first = block_key(w->number, i), last = first + n - 1;

	memset(w->block + i, add, n);
	if (add) {
		if (kho_radix_add_range(radix, first, last) ||
		    kho_radix_next_gap(radix, first, &found) || found <= last)
			return false;
		return !kho_radix_next(radix, first, &found) && found == first;
	}
	return !kho_radix_del_range(radix, first, last) &&
	       !kho_radix_next(radix, first, &found) && found > last &&
	       !kho_radix_next_gap(radix, first, &found) && found == first;
}

static void *write_keys(void *arg)
{
	struct worker *w = arg;
	uint64_t i;

	for (int op = 0; op < OPS; op++) {
		if (rand_r(&w->seed) % 200 == 0) {
			if (!change_range(w, rand_r(&w->seed) % 3 == 0))
				return fails(w, "range");
		} else if (rand_r(&w->seed) % 2) {
			i = random_below(w, BLOCK);
			if (!toggle(w, block_key(w->number, i), &w->block[i]))
				return fails(w, "key of a block");
		} else {
			i = random_below(w, ALONE);
			if (!toggle(w, alone_key(w->number, i), &w->alone[i]))
				return fails(w, "key alone in its leaf");
		}
	}
	return NULL;
}

static int ascends(uint64_t key, void *arg)
{
	uint64_t *last = arg;

	if (key <= *last && *last)
		return -1;
	*last = key;
	return 0;
}

static void *read_keys(void *arg)
{
	struct worker *w = arg;
	struct kho_radix *radix = w->shared->f.radix;
	uint64_t key, from, last;

	while (!__atomic_load_n(&w->shared->done, __ATOMIC_ACQUIRE)) {
		w->n++;
		key = constant_key(random_below(w, CONSTANTS));
		if (!kho_radix_test(radix, key) ||
		    kho_radix_test(radix, key + 1))
			return fails(w, "test");
		if (kho_radix_next(radix, key, &from) || from != key)
			return fails(w, "next");
		if (kho_radix_next_gap(radix, key, &from) || from != key + 1)
			return fails(w, "next_gap");
		from = random_below(w, 2) ? random_below(w, WRITERS * BLOCK) :
					    alone_key(0, 0) - 1;
		if (kho_radix_next(radix, from, &key) || key < from ||
		    key > constant_key(0))
			return fails(w, "next in what changes");
		last = 0;
		if (w->n % 16 == 0 && kho_radix_for_each(radix, ascends, &last))
			return fails(w, "for_each");
		if (w->n % 16 == 0 && last != constant_key(CONSTANTS - 1))
			return fails(w, "the last key");
	}
	return NULL;
}

static struct worker *start(struct shared *shared, unsigned int n,
			    void *(*run)(void *arg))
{
	struct worker *w = calloc(n, sizeof(*w));

	assert_non_null(w);
	for (unsigned int i = 0; i < n; i++) {
		w[i].shared = shared;
		w[i].number = i;
		w[i].seed = (unsigned int)rnd();
		assert_int_equal(pthread_create(&w[i].thread, NULL, run, &w[i]),
				 0);
	}
	return w;
}

static void join(struct worker *w, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
		if (w[i].failed)
			fail_msg("thread %u: %s", i, w[i].failed);
	}
}

/* Every key is there that should be, and no other; no page is lost. */
static void check_keys(struct shared *shared, struct worker *writers)
{
	uint64_t pages = pages_info(shared->f.kho).preserved, n = CONSTANTS;
	struct kho_radix *radix = shared->f.radix;
	struct kho_radix_stats stats = verify(&shared->f);

	for (unsigned int w = 0; w < WRITERS; w++) {
		for (uint64_t i = 0; i < BLOCK; i++) {
			assert_int_equal(kho_radix_test(radix, block_key(w, i)),
					 writers[w].block[i]);
			n += (uint64_t)writers[w].block[i];
		}
		for (uint64_t i = 0; i < ALONE; i++) {
			assert_int_equal(kho_radix_test(radix, alone_key(w, i)),
					 writers[w].alone[i]);
			n += (uint64_t)writers[w].alone[i];
		}
	}
	assert_int_equal(kho_radix_count(radix), n);
	assert_int_equal(stats.keys, n);
	assert_int_equal(stats.empty, 0);
	assert_int_equal(kho_radix_destroy(radix), 0);
	shared->f.radix = NULL;
	assert_int_equal(pages_info(shared->f.kho).preserved,
			 pages - stats.nodes);
}

static void many_threads(void **state)
{
	static struct shared shared;
	struct worker *writers, *readers;

	(void)state;
	create(&shared.f, 12, 53, 1 << 26);
	for (uint64_t i = 0; i < CONSTANTS; i++)
		assert_int_equal(kho_radix_add(shared.f.radix, constant_key(i)),
				 0);
	readers = start(&shared, 2, read_keys);
	writers = start(&shared, WRITERS, write_keys);
	join(writers, WRITERS);
	__atomic_store_n(&shared.done, true, __ATOMIC_RELEASE);
	join(readers, 2);
	assert_true(readers[0].n && readers[1].n);
	check_keys(&shared, writers);
	discard(&shared.f);
	free(writers);
	free(readers);
}

/* ---- Ranges that fail while others make and empty the same leaves ---- */

#define LEAVES 40

static void *fill_and_empty(void *arg)
{
	struct worker *w = arg;
	struct kho_radix *radix = w->shared->f.radix;
	uint64_t first = w->number, last = LEAVES * LEAF + w->number, key;

	/* Two writers add overlapping ranges for which there is no memory. */
	for (int i = 0; i < OPS / 200; i++) {
		if (w->number < 2) {
			if (kho_radix_add_range(radix, first, last) != -ENOSPC)
				return fails(w, "a range without memory");
			continue;
		}
		/* The others come and go where the ranges would be. */
		for (int j = 0; j < 10; j++) {
			key = random_below(w, LEAVES) * LEAF + w->number;
			if (kho_radix_add(radix, key))
				continue;
			if (!kho_radix_test(radix, key) ||
			    kho_radix_del(radix, key))
				return fails(w, "a key");
		}
	}
	return NULL;
}

static void failing_ranges(void **state)
{
	static struct shared shared;
	struct worker *workers;
	void *page[20];
	int n = 0;

	(void)state;
	create(&shared.f, 12, 53, 512 << 12);
	while ((page[n % 20] = kho_alloc_folio(shared.f.kho, 0)))
		n++;
	for (int i = 1; i < 20; i++)
		kho_free_folio(shared.f.kho, page[(n + i) % 20]);
	workers = start(&shared, WRITERS, fill_and_empty);
	join(workers, WRITERS);
	assert_int_equal(kho_radix_count(shared.f.radix), 0);
	assert_int_equal(verify(&shared.f).nodes, 1);
	discard(&shared.f);
	free(workers);
}

/* ---- Who waits for whom ---- */

/* Memory of which an allocation can be held up, and the later ones fail. */
struct stuck {
	const struct radix_ops *real;
	void *ctx;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int hold; /* this allocation from now on; 0: no more of them */
	bool held, full;
};

static void *stuck_alloc(void *ctx, uint64_t *phys)
{
	struct stuck *s = ctx;
	bool full;

	pthread_mutex_lock(&s->lock);
	full = s->full;
	if (s->hold && --s->hold == 0) {
		s->held = true;
		pthread_cond_broadcast(&s->cond);
		while (s->held)
			pthread_cond_wait(&s->cond, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	if (full) {
		errno = ENOSPC;
		return NULL;
	}
	return s->real->alloc(s->ctx, phys);
}

static void stuck_free(void *ctx, uint64_t phys)
{
	struct stuck *s = ctx;

	s->real->free(s->ctx, phys);
}

static const struct radix_ops stuck_ops = {
	.alloc = stuck_alloc,
	.free = stuck_free,
};

/* Let @run go until its allocation number @hold. */
static struct worker *start_stuck(struct shared *shared, struct stuck *s,
				  int hold, void *(*run)(void *arg))
{
	struct kho_radix *radix = shared->f.radix;
	struct worker *w;

	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->cond, NULL);
	s->real = radix->ops;
	s->ctx = radix->ctx;
	s->hold = hold;
	radix->ops = &stuck_ops;
	radix->ctx = s;
	w = start(shared, 1, run);
	pthread_mutex_lock(&s->lock);
	while (!s->held)
		pthread_cond_wait(&s->cond, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return w;
}

static void end_stuck(struct shared *shared, struct stuck *s, bool full,
		      struct worker *w)
{
	pthread_mutex_lock(&s->lock);
	s->held = false;
	s->full = full;
	pthread_cond_broadcast(&s->cond);
	pthread_mutex_unlock(&s->lock);
	join(w, 1);
	free(w);
	shared->f.radix->ops = s->real;
	shared->f.radix->ctx = s->ctx;
}

/* The next leaf from number @i on that shares no lock with that of @key. */
static uint64_t other_leaf(struct kho_radix *radix, uint64_t key, uint64_t i)
{
	while (radix_stripe(radix, 0, i * LEAF) == radix_stripe(radix, 0, key))
		i++;
	return i;
}

static void *add_one(void *arg)
{
	struct worker *w = arg;

	return kho_radix_add(w->shared->f.radix, 0) ? fails(w, "add") : NULL;
}

/*
 * While one writer is in the middle of making a leaf, others change, make and
 * give back other leaves, and readers read.
 */
static void nobody_waits(void **state)
{
	static struct shared shared;
	struct kho_radix *radix;
	struct stuck stuck;
	struct worker *w;
	uint64_t key, other, found;

	(void)state;
	create(&shared.f, 12, 53, 1 << 26);
	radix = shared.f.radix;
	key = other_leaf(radix, 0, 1);
	other = other_leaf(radix, 0, key + 1) * LEAF;
	key *= LEAF;
	assert_int_equal(kho_radix_add(radix, key), 0);
	assert_int_equal(kho_radix_add(radix, other), 0);
	w = start_stuck(&shared, &stuck, 1, add_one);

	assert_int_equal(kho_radix_add(radix, key + 1), 0);
	assert_int_equal(kho_radix_del(radix, key + 1), 0);
	assert_int_equal(kho_radix_add_range(radix, key + 7, key + 700), 0);
	assert_int_equal(kho_radix_del(radix, other), 0);
	assert_int_equal(kho_radix_add(radix, other), 0);
	assert_int_equal(kho_radix_del_range(radix, key, key + 699), 0);
	assert_int_equal(kho_radix_next(radix, 0, &found), 0);
	assert_int_equal(found, key + 700);
	assert_int_equal(kho_radix_next_gap(radix, 0, &found), 0);
	assert_int_equal(found, 0);
	assert_false(kho_radix_test(radix, 0));
	assert_int_equal(kho_radix_count(radix), 2);

	end_stuck(&shared, &stuck, false, w);
	assert_true(kho_radix_test(radix, 0));
	assert_int_equal(kho_radix_count(radix), 3);
	discard(&shared.f);
}

static void *add_three(void *arg)
{
	struct worker *w = arg;

	if (kho_radix_add_range(w->shared->f.radix, 0, 3 * LEAF - 1))
		return fails(w, "add_range");
	return NULL;
}

/* Nobody takes away a leaf that a range has made and not yet filled. */
static void ranges_keep_their_leaves(void **state)
{
	static struct shared shared;
	struct kho_radix *radix;
	struct stuck stuck;
	struct worker *w;

	(void)state;
	create(&shared.f, 12, 53, 1 << 26);
	radix = shared.f.radix;
	/* The first leaf is not locked while the third one is made. */
	assert_int_equal(other_leaf(radix, 2 * LEAF, 0), 0);
	assert_int_equal(kho_radix_add(radix, 5 * LEAF), 0);
	w = start_stuck(&shared, &stuck, 3, add_three);

	assert_int_equal(kho_radix_count(radix), 1);
	assert_int_equal(kho_radix_add(radix, 7), 0);
	assert_int_equal(kho_radix_del(radix, 7), 0);
	assert_int_equal(verify(&shared.f).empty, 2);

	/* Another leaf would not be to be had. */
	end_stuck(&shared, &stuck, true, w);
	assert_int_equal(kho_radix_count(radix), 3 * LEAF + 1);
	assert_int_equal(verify(&shared.f).empty, 0);
	discard(&shared.f);
}

/* ---- Grace periods ---- */

static void *delete_one(void *arg)
{
	struct worker *w = arg;

	return kho_radix_del(w->shared->f.radix, 0) ? fails(w, "del") : NULL;
}

/* A page is not free while a reader is in its section, in either phase. */
static void pages_wait_for_readers(void **state)
{
	static struct shared shared;
	struct kho_radix *radix;
	struct worker *w;
	uint64_t pages, *counter;

	(void)state;
	create(&shared.f, 12, 16, 1 << 26);
	radix = shared.f.radix;
	for (int i = 0; i < 2 * GRACE_PAIRS; i++) {
		assert_int_equal(kho_radix_add(radix, 0), 0);
		pages = pages_info(shared.f.kho).preserved;
		/* 0, 1, 1, 0: not in the order of the phases. */
		counter = &radix->sync->grace.readers[i / 2]
				   .counter[(i + i / 2) % 2];
		__atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL);
		w = start(&shared, 1, delete_one);
		while (kho_radix_test(radix, 0))
			usleep(100);
		usleep(5000);
		assert_int_equal(pages_info(shared.f.kho).preserved, pages);
		__atomic_fetch_sub(counter, 1, __ATOMIC_RELEASE);
		join(w, 1);
		free(w);
		assert_int_equal(pages_info(shared.f.kho).preserved, pages - 1);
	}
	discard(&shared.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_threads),
		cmocka_unit_test(failing_ranges),
		cmocka_unit_test(nobody_waits),
		cmocka_unit_test(ranges_keep_their_leaves),
		cmocka_unit_test(pages_wait_for_readers),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
