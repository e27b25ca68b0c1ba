// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* An array that many threads use at once; also run under ThreadSanitizer. */
#include <pthread.h>

#include "xarray.h"
#include "data/xarray/private.h"

#define READERS 2
#define WRITERS 2
/* Under ThreadSanitizer each waits long for the others. */
#ifdef __SANITIZE_THREAD__
#define OPS 4000
#else
#define OPS 60000
#endif
#define SPAN 512 /* indices of each writer */

struct shared {
	struct xfixture x;
	bool done; /* atomic */
};

struct worker {
	struct shared *shared;
	uint64_t base;
	unsigned int seed;
	pthread_t thread;
	const char *failed; /* what, or NULL */
	uint64_t at;
};

static void *fails(struct worker *w, const char *what, uint64_t at)
{
	w->failed = what;
	w->at = at;
	return NULL;
}

static uint32_t pick(struct worker *w, uint32_t n)
{
	return (uint32_t)rand_r(&w->seed) % n;
}

/*
 * A value says where it may be: range in the low bits. Half of the values are
 * wide, so that they come and go as objects.
 */
static uint64_t make_value(uint64_t first, unsigned int order, bool wide)
{
	return (uint64_t)wide << 63 | first << 8 | order;
}

static bool fits(uint64_t value, uint64_t index)
{
	uint64_t first = (value & ~(1ull << 63)) >> 8;

	return index >= first && index - first < 1ull << (value & 0xff);
}

/*
 * Stores only where it does not change an entry for more indices, as that
 * would then be found at indices that its value does not have.
 */
static void *write_some(void *arg)
{
	struct worker *w = arg;
	struct kho_xa *xa = w->shared->x.xa;
	struct kho_xa_entry entry;
	unsigned int order;
	uint64_t index;
	int ret;

	for (int i = 0; i < OPS; i++) {
		order = pick(w, 4) ? pick(w, 4) : pick(w, 9);
		index = (w->base + pick(w, SPAN)) & ~0ull << order;
		if (kho_xa_find(xa, &entry, index, index, KHO_XA_PRESENT) &&
		    (entry.last - entry.index >= 1ull << order || pick(w, 2))) {
			ret = kho_xa_erase(xa, index);
			if (ret)
				return fails(w, "erase", index);
			continue;
		}
		ret = kho_xa_store_order(xa, index, order,
					 make_value(index, order, pick(w, 2)));
		if (ret)
			return fails(w, "store", index);
		if (pick(w, 3) == 0 &&
		    kho_xa_set_mark(xa, index, KHO_XA_MARK_0))
			return fails(w, "mark", index);
		if (!kho_xa_find(xa, &entry, index, index, KHO_XA_PRESENT) ||
		    entry.index != index ||
		    entry.last != index + ((1ull << order) - 1) ||
		    !fits(entry.value, index))
			return fails(w, "own entry", index);
	}
	return NULL;
}

/* One index is never touched and must be there all the time. */
#define STEADY (WRITERS * SPAN + 7)

static void *read_some(void *arg)
{
	struct worker *w = arg;
	struct kho_xa *xa = w->shared->x.xa;
	struct kho_xa_entry entry;
	uint64_t index, value, seen = 0, last;

	while (!seen || !__atomic_load_n(&w->shared->done, __ATOMIC_ACQUIRE)) {
		index = pick(w, WRITERS * SPAN);
		if (kho_xa_load(xa, index, &value) == 0) {
			if (!fits(value, index))
				return fails(w, "load", index);
			seen++;
		}
		if (kho_xa_load(xa, STEADY, &value) || value != STEADY)
			return fails(w, "the steady entry", STEADY);
		if (kho_xa_find(xa, &entry, index, UINT64_MAX,
				KHO_XA_PRESENT)) {
			if (entry.last < index ||
			    (entry.index != STEADY &&
			     (!fits(entry.value, entry.index) ||
			      !fits(entry.value, entry.last))))
				return fails(w, "find", index);
		} else {
			return fails(w, "find the steady entry", index);
		}
		if (pick(w, 100))
			continue;
		last = 0;
		kho_xa_for_each(xa, &entry) {
			/* It may begin before, if it was stored just now. */
			if (last && entry.last <= last)
				return fails(w, "order", entry.index);
			last = entry.last;
		}
		if (last != STEADY)
			return fails(w, "iterate", last);
		kho_xa_for_each_marked(xa, &entry, KHO_XA_MARK_0)
			if (!fits(entry.value, entry.index))
				return fails(w, "marked", entry.index);
		kho_xa_get_mark(xa, index, KHO_XA_MARK_0);
	}
	return NULL;
}

static void start(struct shared *shared, struct worker *w, uint64_t base,
		  void *(*run)(void *arg))
{
	w->shared = shared;
	w->base = base;
	w->seed = (unsigned int)rnd();
	w->failed = NULL;
	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
}

static void join(struct worker *w)
{
	assert_int_equal(pthread_join(w->thread, NULL), 0);
	if (w->failed)
		fail_msg("%s at %" PRIu64, w->failed, w->at);
}

/* Each writer has indices of its own, in an array that all share. */
static void readers_and_writers(void **state)
{
	static struct shared shared;
	struct worker reader[READERS], writer[WRITERS];
	struct xfixture *x = &shared.x;

	(void)state;
	xcreate(x, 12, 1 << 26);
	assert_int_equal(kho_xa_store(x->xa, STEADY, STEADY), 0);
	for (int i = 0; i < READERS; i++)
		start(&shared, &reader[i], 0, read_some);
	for (int i = 0; i < WRITERS; i++)
		start(&shared, &writer[i], (uint64_t)i * SPAN, write_some);
	for (int i = 0; i < WRITERS; i++)
		join(&writer[i]);
	__atomic_store_n(&shared.done, true, __ATOMIC_RELEASE);
	for (int i = 0; i < READERS; i++)
		join(&reader[i]);
	/* All that was freed is back. */
	xverify(x, 0);
	assert_int_equal(kho_xa_erase_range(x->xa, 0, UINT64_MAX), 0);
	assert_int_equal(xverify(x, 0).nodes, 0);
	xdiscard(x);
}

/* ---- Grace periods ---- */

static void *change_one(void *arg)
{
	struct worker *w = arg;
	struct kho_xa *xa = w->shared->x.xa;
	int ret = -1;

	switch (w->base) {
	case 0: /* a wide value goes */
		ret = kho_xa_erase(xa, 1);
		break;
	case 1: /* another one */
		ret = kho_xa_store(xa, 0, 2);
		break;
	case 2: /* both of them, and a node that was copied */
		ret = kho_xa_store_order(xa, 0, 1, 3);
		break;
	case 3: /* a leaf */
		ret = kho_xa_erase(xa, 64);
		break;
	case 4: /* the root */
		ret = kho_xa_erase(xa, 128);
		break;
	}
	return ret ? fails(w, "change", w->base) : NULL;
}

/* Which entry shows that it has happened. */
static const uint64_t changes[] = { 1, 0, 0, 64, 128 };

#define CHANGES (sizeof(changes) / sizeof(changes[0]))

static void wait_for_reader(struct shared *shared, uint64_t change,
			    uint64_t *counter)
{
	struct xfixture *x = &shared->x;
	uint64_t objects, value;
	struct worker w;

	assert_int_equal(kho_xa_store(x->xa, 0, UINT64_MAX), 0);
	assert_int_equal(kho_xa_store(x->xa, 1, UINT64_MAX), 0);
	if (change == 3 || change == 2)
		assert_int_equal(kho_xa_store(x->xa, 64, 0), 0);
	if (change != 0)
		assert_int_equal(kho_xa_store_order(x->xa, 128, 6, 0), 0);
	__atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL);
	objects = count(&x->f);
	start(shared, &w, change, change_one);
	while (kho_xa_load(x->xa, changes[change], &value) == 0 &&
	       (value == UINT64_MAX || value == 0))
		usleep(100);
	usleep(1000);
	assert_true(count(&x->f) >= objects);
	__atomic_fetch_sub(counter, 1, __ATOMIC_RELEASE);
	join(&w);
	assert_true(count(&x->f) < objects);
	assert_int_equal(kho_xa_erase_range(x->xa, 0, UINT64_MAX), 0);
	xverify(x, 0);
}

/* No object is freed while a reader is inside, in either phase. */
static void objects_wait_for_readers(void **state)
{
	static struct shared shared;
	struct grace *grace;

	(void)state;
	xcreate(&shared.x, 12, 1 << 26);
	grace = shared.x.xa->grace;
	for (uint64_t change = 0; change < CHANGES; change++)
		for (int i = 0; i < 2 * GRACE_PAIRS; i++)
			wait_for_reader(&shared, change,
					&grace->readers[i / 2].counter[i % 2]);
	xdiscard(&shared.x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_and_writers),
		cmocka_unit_test(objects_wait_for_readers),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
