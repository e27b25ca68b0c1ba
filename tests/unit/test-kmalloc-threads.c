// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* A cache that many threads use at once; also run under ThreadSanitizer. */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>

#include "kmalloc.h"

#define THREADS 4
#define SLOTS 512
#define OPS 200000
#define RACES 3000

struct shared {
	struct fixture f;
	uint64_t *slot[SLOTS]; /* atomic; an object, or NULL */
	void *race[RACES];
	uint64_t freed; /* atomic */
	bool done; /* atomic */
};

struct worker {
	struct shared *shared;
	unsigned int seed;
	pthread_t thread;
	const char *failed; /* what, or NULL */
};

static void *fails(struct worker *w, const char *what)
{
	w->failed = what;
	return NULL;
}

/* What a thread allocates, another one checks and frees. */
static void *allocate_and_free(void *arg)
{
	static const uint32_t size[] = { 8, 40, 200, 2000, 2000 };
	struct worker *w = arg;
	struct kho_kmem *kmem = w->shared->f.kmem;
	uint64_t *object, **slot;
	uint32_t n;

	for (int i = 0; i < OPS; i++) {
		slot = &w->shared->slot[(uint32_t)rand_r(&w->seed) % SLOTS];
		n = size[(uint32_t)rand_r(&w->seed) % 5];
		object = NULL;
		if (rand_r(&w->seed) % 3) {
			object = kho_kmalloc(kmem, n);
			if (!object)
				return fails(w, "kmalloc");
			for (uint32_t j = 0; j < n / 8; j++)
				object[j] = (uintptr_t)object;
		}
		object = __atomic_exchange_n(slot, object, __ATOMIC_ACQ_REL);
		if (!object)
			continue;
		n = (uint32_t)kho_ksize(kmem, object);
		if (n < 8 || object[0] != (uintptr_t)object ||
		    object[n / 16] != (uintptr_t)object)
			return fails(w, "contents");
		if (kho_kfree(kmem, object))
			return fails(w, "kfree");
	}
	return NULL;
}

static int look(void *object, size_t size, void *arg)
{
	struct fixture *f = arg;

	return !object || size < 8 || kho_phys(f->kho, object) % 8;
}

static void *walk(void *arg)
{
	struct worker *w = arg;

	while (!__atomic_load_n(&w->shared->done, __ATOMIC_ACQUIRE))
		if (kho_kmem_walk(w->shared->f.kmem, look, &w->shared->f))
			return fails(w, "walk");
	return NULL;
}

static void start(struct shared *shared, struct worker *w, int n,
		  void *(*run)(void *arg))
{
	for (int i = 0; i < n; i++) {
		w[i].shared = shared;
		w[i].seed = (unsigned int)rnd();
		w[i].failed = NULL;
		assert_int_equal(pthread_create(&w[i].thread, NULL, run, &w[i]),
				 0);
	}
}

static void join(struct worker *w, int n)
{
	for (int i = 0; i < n; i++) {
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
		if (w[i].failed)
			fail_msg("%s", w[i].failed);
	}
}

static void many_threads(void **state)
{
	static struct shared shared;
	struct worker workers[THREADS], walker;
	uint64_t n = 0;

	(void)state;
	create(&shared.f, 12, 1 << 26);
	start(&shared, &walker, 1, walk);
	start(&shared, workers, THREADS, allocate_and_free);
	join(workers, THREADS);
	__atomic_store_n(&shared.done, true, __ATOMIC_RELEASE);
	join(&walker, 1);
	for (int i = 0; i < SLOTS; i++)
		n += !!shared.slot[i];
	assert_int_equal(count(&shared.f), n);
	assert_int_equal(verify(&shared.f).objects, n);
	hand_over(&shared.f);
	assert_int_equal(count(&shared.f), n);
	discard(&shared.f);
}

static void *free_all(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < RACES; i++)
		if (kho_kfree(w->shared->f.kmem, w->shared->race[i]) == 0)
			__atomic_add_fetch(&w->shared->freed, 1,
					   __ATOMIC_RELAXED);
	return NULL;
}

/* Of several threads that free the same object, one succeeds. */
static void double_frees(void **state)
{
	static struct shared shared;
	struct worker workers[THREADS];

	(void)state;
	create(&shared.f, 12, 1 << 26);
	for (int i = 0; i < RACES; i++) {
		shared.race[i] = kho_kmalloc(shared.f.kmem, 1000);
		assert_non_null(shared.race[i]);
	}
	start(&shared, workers, THREADS, free_all);
	join(workers, THREADS);
	assert_int_equal(shared.freed, RACES);
	assert_int_equal(count(&shared.f), 0);
	assert_int_equal(pages_preserved(&shared.f), shared.f.pages + 16);
	discard(&shared.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_threads),
		cmocka_unit_test(double_frees),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
