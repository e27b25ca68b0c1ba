// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* An area that many threads use at once; also run under ThreadSanitizer. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "arena/arena.h"
#include "vmalloc.h"

#define THREADS 4
#define BLOCK 4096ul
#define BLOCKS 64 /* of each thread */
#define OPS 20000

struct shared {
	struct fixture f;
	struct kho_vmalloc *area;
	bool done; /* atomic */
};

struct worker {
	struct shared *shared;
	uint64_t first; /* block */
	unsigned int seed;
	pthread_t thread;
	const char *failed; /* what, or NULL */
};

/* Each thread has some of the area for itself. */
static void *change(void *arg)
{
	struct worker *w = arg;
	struct kho_vmalloc *area = w->shared->area;
	bool there[BLOCKS] = { false };

	for (int op = 0; op < OPS; op++) {
		uint64_t i = (uint64_t)rand_r(&w->seed) % BLOCKS;
		uint64_t offset = (w->first + i) * BLOCK, *p;

		p = kho_vmalloc_ptr(area, offset, BLOCK);
		if (!p != !there[i])
			w->failed = "block is there, or is not";
		else if (p &&
			 (p[0] != offset || !kho_vmalloc_phys(area, &p[100])))
			w->failed = "content";
		else if (p && kho_vmalloc_punch(area, offset, BLOCK, NULL))
			w->failed = "punch";
		else if (!p && kho_vmalloc_populate(area, offset, 1, NULL))
			w->failed = "populate";
		if (w->failed)
			return NULL;
		there[i] = !p;
		if (!p)
			*(uint64_t *)kho_vmalloc_ptr(area, offset, 8) = offset;
	}
	return NULL;
}

/* Meanwhile: conversions. */
static void *convert_all(void *arg)
{
	struct worker *w = arg;
	struct fixture *f = &w->shared->f;
	int ret;

	while (!__atomic_load_n(&w->shared->done, __ATOMIC_ACQUIRE)) {
		ret = can_write(f, 1);
		if (ret && ret != -EOPNOTSUPP)
			w->failed = "can it be written";
		ret = convert(f, 1);
		if (ret && ret != -EOPNOTSUPP)
			w->failed = "convert";
		if (convert(f, 2))
			w->failed = "convert back";
	}
	return NULL;
}

/* And other areas, and an arena that becomes writable once more. */
static void *disturb(void *arg)
{
	struct worker *w = arg;
	struct shared *shared = w->shared;
	struct kho_vmalloc *other;

	while (!__atomic_load_n(&shared->done, __ATOMIC_ACQUIRE)) {
		if (arena_set_writable(shared->f.kho, true))
			w->failed = "writable";
		if (kho_vmalloc_create(shared->f.kho, 64 * MIB, 0, &other,
				       NULL) ||
		    kho_vmalloc_resize(other, MIB, NULL) ||
		    kho_vmalloc_preserve(other, shared->f.desc + 1, NULL) ||
		    kho_vmalloc_resize(other, 2 * MIB, NULL) ||
		    kho_vmalloc_destroy(other))
			w->failed = "another one";
		if (kho_vmalloc_size(shared->area) >
		    kho_vmalloc_max(shared->area))
			w->failed = "size";
	}
	return NULL;
}

static void threads(void **state)
{
	void *(*run[])(void *) = { change, change,	change,
				   change, convert_all, disturb };
	struct worker w[THREADS + 2];
	struct shared shared = { 0 };

	(void)state;
	create(&shared.f, 12, 64 * MIB);
	assert_int_equal(kho_vmalloc_create(shared.f.kho,
					    THREADS * BLOCKS * BLOCK, BLOCK,
					    &shared.area, NULL),
			 0);
	assert_int_equal(kho_vmalloc_preserve(shared.area, shared.f.desc, NULL),
			 0);
	for (int t = 0; t < THREADS + 2; t++) {
		w[t] = (struct worker){ .shared = &shared,
					.first = (uint64_t)t * BLOCKS,
					.seed = (unsigned int)rnd() };
		assert_int_equal(pthread_create(&w[t].thread, NULL, run[t],
						&w[t]),
				 0);
	}
	for (int t = 0; t < THREADS + 2; t++) {
		if (t == THREADS)
			__atomic_store_n(&shared.done, true, __ATOMIC_RELEASE);
		pthread_join(w[t].thread, NULL);
		if (w[t].failed)
			fail_msg("thread %d: %s", t, w[t].failed);
	}
	assert_int_equal(verify(&shared.f).populated,
			 kho_vmalloc_populated(shared.area));
	assert_int_equal(kho_vmalloc_destroy(shared.area), 0);
	assert_int_equal(pages_info(shared.f.kho).preserved, shared.f.pages);
	discard(&shared.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
