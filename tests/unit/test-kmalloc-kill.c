// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Programs that are killed while they allocate and free. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include <kho/tree.h>

#include "clear.h"
#include "kmalloc.h"
#include "step.h"

#define KILL_SLOTS 200
#define KILL_THREADS 2
#define KILL_ROUNDS 60

/* What the killed program knew: its "own data". */
struct shared {
	uint64_t phys; /* of the cache */
	uint64_t ready;
	uint64_t slot[KILL_THREADS * KILL_SLOTS];
};

struct worker {
	struct fixture *f;
	struct shared *shared;
	uint64_t *slot;
	unsigned int seed;
};

static void *kill_worker(void *arg)
{
	static const uint32_t size[] = { 24, 500, 2000, 2000 };
	struct worker *w = arg;
	uint64_t *object, *slot;
	uint32_t n, drain = 0;

	for (;;) {
		slot = &w->slot[rand_r(&w->seed) % KILL_SLOTS];
		/* Now and then empty everything, so that slabs go. */
		if (!drain && rand_r(&w->seed) % 1000 == 0)
			drain = 2000;
		drain -= !!drain;
		if (*slot) {
			object = kho_ptr(w->f->kho, *slot, 8);
			__atomic_store_n(slot, 0, __ATOMIC_RELEASE);
			if (kho_kfree(w->f->kmem, object))
				abort();
		} else if (!drain) {
			n = size[rand_r(&w->seed) % 4];
			object = kho_kmalloc(w->f->kmem, n);
			if (!object)
				abort();
			for (uint32_t i = 0; i < n / 8; i++)
				object[i] = (uintptr_t)slot;
			__atomic_store_n(slot, kho_phys(w->f->kho, object),
					 __ATOMIC_RELEASE);
		}
	}
	return NULL;
}

static void kill_child(void *fixture, void *arg)
{
	struct fixture *f = fixture;
	struct shared *shared = arg;
	struct worker w[KILL_THREADS];
	pthread_t thread;

	if (kho_attach_fd(&f->kho, f->fd, NULL, NULL) ||
	    kho_kmem_restore(f->kho, shared->phys, &f->kmem, NULL) ||
	    kho_ready(f->kho, NULL))
		abort();
	for (int t = 0; t < KILL_THREADS; t++) {
		w[t] = (struct worker){ f, shared,
					&shared->slot[t * KILL_SLOTS],
					(unsigned int)rnd() + (unsigned int)t };
		if (pthread_create(&thread, NULL, kill_worker, &w[t]))
			abort();
	}
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

struct reached {
	struct fixture *f;
	struct shared *shared;
};

static bool kill_reaches(void *object, size_t size, void *arg)
{
	struct reached *r = arg;
	uint64_t phys = kho_phys(r->f->kho, object);

	(void)size;
	for (int i = 0; i < KILL_THREADS * KILL_SLOTS; i++)
		if (r->shared->slot[i] == phys)
			return true;
	return false;
}

/* As the next program after a crash. */
static void kill_recover(struct fixture *f, struct shared *shared)
{
	struct reached reached = { f, shared };
	uint64_t *slot, *object, linked = 0;
	int64_t swept;

	attach(f);
	restore(f);
	for (int i = 0; i < KILL_THREADS * KILL_SLOTS; i++) {
		slot = &shared->slot[i];
		if (!*slot)
			continue;
		linked++;
		object = kho_ptr(f->kho, *slot, 24);
		assert_true(kho_ksize(f->kmem, object) >= 24);
		for (int j = 0; j < 3; j++)
			assert_int_equal(object[j], (uintptr_t)slot);
	}
	assert_int_equal(kho_ready(f->kho, NULL), 0);
	swept = kho_kmem_sweep(f->kmem, kill_reaches, &reached);
	assert_true(swept >= 0 && swept <= KILL_THREADS);
	assert_int_equal(count(f), linked);
	assert_int_equal(verify(f).objects, linked);
	/* At most one slab of each thread was not linked, or not any more. */
	assert_in_range(kho_free_unclaimed(f->kho, NULL), 0, 16 * KILL_THREADS);
	assert_int_equal(pages_preserved(f), f->pages + 16 * verify(f).slabs);
}

static void kills(void **state)
{
	struct shared *shared = shared_memory(sizeof(*shared));
	struct fixture f;

	(void)state;
	create(&f, 12, 1 << 26);
	shared->phys = f.phys;
	for (int i = 0; i < KILL_ROUNDS; i++) {
		detach(&f);
		kill_soon(kill_child, &f, shared, &shared->ready, 10000);
		kill_recover(&f, shared);
	}
	munmap(shared, sizeof(*shared));
	discard(&f);
}

/* ---- A kill after each single instruction ---- */

/* Makes three slabs, gives back the one in the middle, empties another. */
static void step_child(void *fixture)
{
	struct fixture *f = fixture;
	void *object[70];

	if (kho_attach_fd(&f->kho, f->fd, NULL, NULL) ||
	    kho_kmem_restore(f->kho, f->phys, &f->kmem, NULL) ||
	    kho_ready(f->kho, NULL))
		_exit(1);
	step_begin();
	stepping = true;
	for (int i = 0; i < 70; i++)
		object[i] = kho_kmalloc(f->kmem, 2048);
	for (int i = 0; i < 62; i++)
		kho_kfree(f->kmem, object[i]);
	_exit(0);
}

struct progress {
	uint64_t phys; /* of the cache */
	struct kho_kmem_stats stats;
	uint64_t changes;
};

/*
 * Seen from outside after every instruction, the cache is always sound, and
 * one object at a time comes or goes.
 */
static int look_on(const struct kho_mem *mem, void *arg, struct kho_error *err)
{
	struct progress *p = arg;
	uint64_t objects = p->stats.objects, slabs = p->stats.slabs;
	int ret = kho_kmem_verify(mem, p->phys, &p->stats, err);

	if (ret)
		return ret;
	assert_in_range(p->stats.objects + 1, objects, objects + 2);
	assert_in_range(p->stats.slabs + 1, slabs, slabs + 2);
	assert_true(p->stats.objects == objects || p->stats.slabs == slabs);
	p->changes += p->stats.objects != objects || p->stats.slabs != slabs;
	return 0;
}

static void every_instruction(void **state)
{
	struct progress p = { 0 };
	struct fixture f;

	(void)state;
	create(&f, 12, 1 << 21);
	assert_non_null(kho_kmalloc(f.kmem, 8));
	p.phys = f.phys;
	p.stats = verify(&f);
	detach(&f);
	step_through(step_child, &f, f.fd, 1 << 21, look_on, &p);
	/* 70 objects came, 62 went; 3 slabs came, 1 went. */
	assert_int_equal(p.changes, 70 + 62 + 3 + 1);
	attach(&f);
	restore(&f);
	assert_int_equal(count(&f), 9);
	discard(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kills),
		cmocka_unit_test(every_instruction),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
