// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Programs that are killed while they change a set. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>

#include <kho/tree.h>

#include "clear.h"
#include "radix.h"
#include "arena/radix/radix.h"
#include "step.h"

#define LEAF (1ull << 15) /* keys of a leaf, with 4 KiB pages */
#define KILL_THREADS 2
#define KILL_ROUNDS 60
#define KILL_KEYS (3 * LEAF / 2)
#define KILL_ALONE 16

/* What the killed program knew of its keys, and what it was about to do. */
struct log {
	char have[KILL_KEYS + KILL_ALONE];
	bool busy, add;
	uint64_t first, n;
};

struct shared {
	uint64_t ready;
	struct log log[KILL_THREADS];
};

struct worker {
	struct fixture *f;
	struct log *log;
	unsigned int number, seed;
};

/* The last ones have a leaf each, among those of the other thread. */
static uint64_t kill_key(unsigned int number, uint64_t i)
{
	if (i < KILL_KEYS)
		return number * KILL_KEYS + i;
	return 1ull << 40 | (i * KILL_THREADS + number) << 20;
}

static void kill_change(struct worker *w, uint64_t first, uint64_t n, bool add)
{
	uint64_t a = kill_key(w->number, first);
	uint64_t b = kill_key(w->number, first + n - 1);
	struct log *log = w->log;
	int ret;

	log->first = first;
	log->n = n;
	log->add = add;
	__atomic_store_n(&log->busy, true, __ATOMIC_SEQ_CST);
	if (n > 1)
		ret = add ? kho_radix_add_range(w->f->radix, a, b) :
			    kho_radix_del_range(w->f->radix, a, b);
	else
		ret = add ? kho_radix_add(w->f->radix, a) :
			    kho_radix_del(w->f->radix, a);
	if (ret && ret != -EEXIST && ret != -ENOENT)
		abort();
	memset(log->have + first, add, n);
	__atomic_store_n(&log->busy, false, __ATOMIC_SEQ_CST);
}

static void *kill_worker(void *arg)
{
	struct worker *w = arg;
	uint64_t i, n;

	for (;;) {
		i = (uint64_t)rand_r(&w->seed) % KILL_KEYS;
		n = 1;
		if (rand_r(&w->seed) % 2)
			i = KILL_KEYS + (uint64_t)rand_r(&w->seed) % KILL_ALONE;
		else if (rand_r(&w->seed) % 2)
			n = 1 + (uint64_t)rand_r(&w->seed) % (KILL_KEYS - i);
		kill_change(w, i, n, rand_r(&w->seed) % 2);
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
	    kho_radix_restore(f->kho, f->root, f->key_bits, &f->radix, NULL) ||
	    kho_ready(f->kho, NULL))
		abort();
	for (unsigned int t = 0; t < KILL_THREADS; t++) {
		w[t] = (struct worker){ f, &shared->log[t], t,
					(unsigned int)rnd() };
		if (pthread_create(&thread, NULL, kill_worker, &w[t]))
			abort();
	}
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
}

/* As the next program after a crash. */
static void kill_recover(struct fixture *f, struct shared *shared,
			 uint64_t others)
{
	struct kho_radix_stats stats;
	uint64_t keys = 0;
	bool there, busy;

	attach(f);
	restore(f);
	for (unsigned int t = 0; t < KILL_THREADS; t++) {
		struct log *log = &shared->log[t];

		for (uint64_t i = 0; i < KILL_KEYS + KILL_ALONE; i++) {
			there = kho_radix_test(f->radix, kill_key(t, i));
			busy = log->busy && i >= log->first &&
			       i < log->first + log->n;
			/* What is being added may be there, and so on. */
			if (there != log->have[i] &&
			    !(busy && there == log->add))
				fail_msg("key %" PRIu64 " of thread %u", i, t);
			log->have[i] = there;
			keys += there;
		}
		log->busy = false;
	}
	assert_int_equal(kho_radix_count(f->radix), keys);
	assert_int_equal(kho_ready(f->kho, NULL), 0);
	/* Pages that were not linked yet, or not any more. */
	assert_in_range(kho_free_unclaimed(f->kho, NULL), 0,
			KILL_THREADS * (64 + LEVELS_MAX));
	stats = verify(f);
	assert_int_equal(stats.keys, keys);
	assert_int_equal(pages_info(f->kho).preserved, others + stats.nodes);
}

static void kills(void **state)
{
	struct shared *shared = shared_memory(sizeof(*shared));
	struct fixture f;
	uint64_t others;

	(void)state;
	create(&f, 12, 53, 1 << 26);
	others = pages_info(f.kho).preserved - 1;
	for (int i = 0; i < KILL_ROUNDS; i++) {
		detach(&f);
		kill_soon(kill_child, &f, shared, &shared->ready, 10000);
		kill_recover(&f, shared, others);
	}
	/* Whatever the kills have left serves, or goes with the set. */
	assert_int_equal(kho_radix_destroy(f.radix), 0);
	f.radix = NULL;
	assert_int_equal(pages_info(f.kho).preserved, others);
	munmap(shared, sizeof(*shared));
	discard(&f);
}

/* ---- A kill after each single instruction ---- */

#define KEY_A (5 * LEAF)
#define KEY_B (1ull << 30)

static void step_child(void *fixture)
{
	struct fixture *f = fixture;

	if (kho_attach_fd(&f->kho, f->fd, NULL, NULL) ||
	    kho_radix_restore(f->kho, f->root, f->key_bits, &f->radix, NULL) ||
	    kho_ready(f->kho, NULL))
		_exit(1);
	step_begin();
	stepping = true;
	kho_radix_add(f->radix, KEY_A);
	kho_radix_add(f->radix, KEY_B);
	kho_radix_add(f->radix, KEY_B + 1);
	kho_radix_add_range(f->radix, KEY_A - 100, KEY_A + 99);
	kho_radix_del(f->radix, KEY_B);
	kho_radix_del(f->radix, KEY_B + 1);
	kho_radix_del_range(f->radix, KEY_A - 100, KEY_A + 99);
	_exit(0);
}

/* The states that this goes through; no other one is ever seen. */
static const struct {
	uint64_t keys, nodes;
} steps[] = {
	{ 0, 1 }, /* the root */
	{ 1, 4 }, /* A, with two inner nodes and a leaf */
	{ 2, 6 }, /* B, with an inner node and a leaf */
	{ 3, 6 }, /* its neighbour */
	{ 3, 7 }, /* the leaf before A's, so that the range cannot fail */
	{ 39, 7 }, /* 100 keys before A: 36 in a word */
	{ 103, 7 }, /* and 64 in the next */
	{ 166, 7 }, /* 100 keys from A on, which was there: 63 */
	{ 202, 7 }, /* and 36 */
	{ 201, 7 }, /* without B */
	{ 200, 7 }, /* and its neighbour */
	{ 200, 6 }, /* and then the nodes that got empty, one by one */
	{ 200, 5 }, { 164, 5 }, /* the range, word by word, and a leaf when it is empty */
	{ 100, 5 }, { 100, 4 }, { 36, 4 }, { 0, 4 },
	{ 0, 3 },   { 0, 2 },	{ 0, 1 },
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

struct progress {
	const struct fixture *f;
	size_t at;
};

/* Seen from outside after every instruction, the set is sound. */
static int look_on(const struct kho_mem *mem, void *arg, struct kho_error *err)
{
	struct kho_radix_stats stats;
	struct progress *p = arg;
	int ret;

	ret = kho_radix_verify(mem, p->f->root, p->f->key_bits, &stats, err);
	if (ret)
		return ret;
	if (p->at + 1 < STEPS && (stats.keys != steps[p->at].keys ||
				  stats.nodes != steps[p->at].nodes))
		p->at++;
	if (stats.keys == steps[p->at].keys &&
	    stats.nodes == steps[p->at].nodes)
		return 0;
	snprintf(err->text, sizeof(err->text),
		 "%" PRIu64 " keys, %" PRIu64 " nodes instead of step %zu",
		 stats.keys, stats.nodes, p->at);
	return -1;
}

static void every_instruction(void **state)
{
	struct fixture f;
	struct progress p = { .f = &f };

	(void)state;
	create(&f, 12, 42, 1 << 21);
	detach(&f);
	step_through(step_child, &f, f.fd, 1 << 21, look_on, &p);
	assert_int_equal(p.at, STEPS - 1);
	attach(&f);
	restore(&f);
	assert_int_equal(kho_radix_count(f.radix), 0);
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
