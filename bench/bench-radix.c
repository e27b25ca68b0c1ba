// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Sets of keys: time and memory against a plain bitmap, a sorted array and,
 * where it is installed, Judy, in the same run; threads against a bitmap with
 * a lock.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#ifdef HAVE_JUDY
#include <Judy.h>
#endif

#include <kho/attach.h>
#include <kho/pages.h>
#include <kho/radix.h>

#define KEYS 10000000
#define SPARSE_KEYS 1000000
#define BITMAP_BITS 27
#define TOGGLES 5000000

static struct kho *kho;
static uint64_t key[KEYS];

static void die(const char *what, int err)
{
	fprintf(stderr, "bench-radix: %s: %s\n", what, strerror(-err));
	exit(1);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* ---- The sets ---- */

/* Adds, tests and deletes answer whether it was so; -1: there is no such. */
struct set {
	const char *name;
	bool any_key; /* not only small ones */
	void (*make)(void);
	int (*add)(uint64_t k);
	void (*added)(void); /* all of them; may be NULL */
	int (*test)(uint64_t k);
	int (*next)(uint64_t from, uint64_t *k);
	int (*del)(uint64_t k); /* may be NULL */
	uint64_t (*bytes)(void);
	void (*destroy)(void);
};

static struct kho_radix *radix;
static uint64_t pages_before;

static uint64_t pages_used(void)
{
	struct kho_pages_info info;

	kho_pages_info(kho, &info);
	return info.preserved + info.nodes;
}

static void radix_make(void)
{
	int err;

	pages_before = pages_used();
	err = kho_radix_create(kho, 64, &radix, NULL);
	if (err)
		die("create", err);
}

static int radix_add(uint64_t k)
{
	int err = kho_radix_add(radix, k);

	if (err && err != -EEXIST)
		die("add", err);
	return !err;
}

static int radix_test(uint64_t k)
{
	return kho_radix_test(radix, k);
}

static int radix_next(uint64_t from, uint64_t *k)
{
	return !kho_radix_next(radix, from, k);
}

static int radix_del(uint64_t k)
{
	return !kho_radix_del(radix, k);
}

/* With what the tracker has to remember of its pages. */
static uint64_t radix_bytes(void)
{
	return (pages_used() - pages_before) << kho_page_shift(kho);
}

static void radix_destroy(void)
{
	kho_radix_destroy(radix);
}

static uint64_t *bitmap;

static void bitmap_make(void)
{
	/* A word more, where next() ends. */
	bitmap = calloc((1ul << (BITMAP_BITS - 6)) + 1, sizeof(*bitmap));
	if (!bitmap)
		die("bitmap", -ENOMEM);
}

static int bitmap_add(uint64_t k)
{
	uint64_t old = bitmap[k / 64];

	bitmap[k / 64] = old | 1ull << k % 64;
	return !(old >> k % 64 & 1);
}

static int bitmap_test(uint64_t k)
{
	return bitmap[k / 64] >> k % 64 & 1;
}

static int bitmap_next(uint64_t from, uint64_t *k)
{
	uint64_t word = bitmap[from / 64] & ~0ull << from % 64;

	from /= 64;
	while (!word && ++from < 1ull << (BITMAP_BITS - 6))
		word = bitmap[from];
	if (!word)
		return 0;
	*k = from * 64 + (uint64_t)__builtin_ctzll(word);
	return 1;
}

static int bitmap_del(uint64_t k)
{
	uint64_t old = bitmap[k / 64];

	bitmap[k / 64] = old & ~(1ull << k % 64);
	return old >> k % 64 & 1;
}

static uint64_t bitmap_bytes(void)
{
	return 1ull << (BITMAP_BITS - 3);
}

static void bitmap_destroy(void)
{
	free(bitmap);
}

static uint64_t *array;
static size_t array_n;

static void array_make(void)
{
	array = malloc(sizeof(key));
	array_n = 0;
	if (!array)
		die("array", -ENOMEM);
}

static int array_add(uint64_t k)
{
	array[array_n++] = k;
	return 1;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void array_added(void)
{
	size_t n = 0;

	qsort(array, array_n, sizeof(*array), compare);
	for (size_t i = 0; i < array_n; i++)
		if (n == 0 || array[i] != array[n - 1])
			array[n++] = array[i];
	array_n = n;
}

static int array_next(uint64_t from, uint64_t *k)
{
	size_t low = 0, high = array_n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (array[mid] < from)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == array_n)
		return 0;
	*k = array[low];
	return 1;
}

static int array_test(uint64_t k)
{
	uint64_t found;

	return array_next(k, &found) && found == k;
}

static uint64_t array_bytes(void)
{
	return array_n * sizeof(*array);
}

static void array_destroy(void)
{
	free(array);
}

#ifdef HAVE_JUDY
static void *judy;

static void judy_make(void)
{
	judy = NULL;
}

static int judy_add(uint64_t k)
{
	return Judy1Set(&judy, k, PJE0);
}

static int judy_test(uint64_t k)
{
	return Judy1Test(judy, k, PJE0);
}

static int judy_next(uint64_t from, uint64_t *k)
{
	Word_t word = from;
	int found = Judy1First(judy, &word, PJE0);

	*k = word;
	return found;
}

static int judy_del(uint64_t k)
{
	return Judy1Unset(&judy, k, PJE0);
}

static uint64_t judy_bytes(void)
{
	return Judy1MemUsed(judy);
}

static void judy_destroy(void)
{
	Judy1FreeArray(&judy, PJE0);
}
#endif

static const struct set sets[] = {
	{ "radix", true, radix_make, radix_add, NULL, radix_test, radix_next,
	  radix_del, radix_bytes, radix_destroy },
	{ "bitmap", false, bitmap_make, bitmap_add, NULL, bitmap_test,
	  bitmap_next, bitmap_del, bitmap_bytes, bitmap_destroy },
	{ "sorted array", true, array_make, array_add, array_added, array_test,
	  array_next, NULL, array_bytes, array_destroy },
#ifdef HAVE_JUDY
	{ "Judy1", true, judy_make, judy_add, NULL, judy_test, judy_next,
	  judy_del, judy_bytes, judy_destroy },
#endif
};

#define SETS (sizeof(sets) / sizeof(sets[0]))

/* ---- One thread ---- */

struct result {
	double add, test, next, del; /* ns for each key; 0: there is no such */
	double bytes;
	uint64_t found; /* so that all sets do the same, and none of it is idle */
};

static struct result run(const struct set *set, size_t n)
{
	struct result r = { 0 };
	uint64_t k, from = 0, distinct = 0;
	double start = now();

	set->make();
	for (size_t i = 0; i < n; i++)
		set->add(key[i]);
	if (set->added)
		set->added();
	r.add = (now() - start) / (double)n;

	start = now();
	for (size_t i = 0; i < n; i++)
		r.found += (uint64_t)set->test(key[i] ^ (i & 1));
	r.test = (now() - start) / (double)n;

	start = now();
	for (; set->next(from, &k); from = k + 1)
		distinct++;
	r.next = (now() - start) / (double)distinct;
	r.found += distinct;
	r.bytes = (double)set->bytes() / (double)distinct;

	start = now();
	for (size_t i = 0; set->del && i < n; i++)
		set->del(key[i]);
	if (set->del)
		r.del = (now() - start) / (double)n;
	set->destroy();
	return r;
}

static void print_cell(double ours, double theirs)
{
	if (theirs > 0)
		printf(" %8.2f (%5.2f)", theirs, ours / theirs);
	else
		printf(" %8s %7s", "-", "");
}

static void bench_keys(const char *what, size_t n, bool small)
{
	struct result ours = { 0 };

	printf("%s\n  %-14s%17s%17s%17s%17s%17s\n", what, "", "add", "test",
	       "next", "delete", "bytes per key");
	for (size_t i = 0; i < SETS; i++) {
		struct result r;

		if (!small && !sets[i].any_key)
			continue;
		r = run(&sets[i], n);
		if (i == 0)
			ours = r;
		if (r.found != ours.found)
			die("the sets differ", -EINVAL);
		printf("  %-14s", sets[i].name);
		print_cell(ours.add, r.add);
		print_cell(ours.test, r.test);
		print_cell(ours.next, r.next);
		print_cell(ours.del, r.del);
		print_cell(ours.bytes, r.bytes);
		printf("\n");
	}
}

static void bench_range(void)
{
	double start, added, deleted;
	int err;

	radix_make();
	start = now();
	err = kho_radix_add_range(radix, 1000, 1000 + KEYS - 1);
	added = now();
	if (err || kho_radix_count(radix) != KEYS)
		die("add_range", err);
	kho_radix_del_range(radix, 1000, 1000 + KEYS - 1);
	deleted = now();
	printf("\na range of %d keys: added in %.3f ms, deleted in %.3f ms\n",
	       KEYS, (added - start) / 1e6, (deleted - added) / 1e6);
	radix_destroy();
}

static void bench_restore(int fd)
{
	double start, attached, restored;
	uint64_t root, state = 1;
	int err;

	radix_make();
	root = kho_radix_root(radix);
	for (size_t i = 0; i < KEYS; i++)
		radix_add(next_random(&state) >> (64 - BITMAP_BITS));
	kho_radix_close(radix);
	kho_close(kho);
	start = now();
	err = kho_attach_fd(&kho, fd, NULL, NULL);
	attached = now();
	if (!err)
		err = kho_radix_restore(kho, root, 64, &radix, NULL);
	restored = now();
	if (!err)
		err = kho_ready(kho, NULL);
	if (err)
		die("restore", err);
	printf("restore %lu random keys: %.3f ms (attach: %.3f ms)\n",
	       kho_radix_count(radix), (restored - attached) / 1e6,
	       (attached - start) / 1e6);
	radix_destroy();
}

/* ---- Threads: each has leaves of its own ---- */

static pthread_mutex_t bitmap_lock = PTHREAD_MUTEX_INITIALIZER;

struct toggler {
	pthread_t thread;
	uint64_t first;
	bool use_radix;
};

static void *toggle(void *arg)
{
	struct toggler *t = arg;
	uint64_t state = t->first + 1, k;

	for (int i = 0; i < TOGGLES; i++) {
		k = t->first + (next_random(&state) >> (64 - 20));
		if (t->use_radix) {
			if (!radix_add(k))
				radix_del(k);
			continue;
		}
		pthread_mutex_lock(&bitmap_lock);
		if (!bitmap_add(k))
			bitmap_del(k);
		pthread_mutex_unlock(&bitmap_lock);
	}
	return NULL;
}

static double toggles(int threads, bool use_radix)
{
	struct toggler t[8];
	double start = now();

	for (int i = 0; i < threads; i++) {
		t[i].first = (uint64_t)i << 20;
		t[i].use_radix = use_radix;
		if (pthread_create(&t[i].thread, NULL, toggle, &t[i]))
			die("thread", -EAGAIN);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(t[i].thread, NULL);
	return (now() - start) / TOGGLES / threads;
}

static void bench_threads(void)
{
	printf("\nadd or delete, keys of different leaves: ns of the clock for each, over all threads\n");
	printf("  %-14s%14s%20s\n", "", "radix", "bitmap with a lock");
	for (int n = 1; n <= 4; n *= 2) {
		double ours, theirs;

		radix_make();
		bitmap_make();
		ours = toggles(n, true);
		theirs = toggles(n, false);
		printf("  %d thread%-6s %13.1f %19.1f   %.2f\n", n,
		       n > 1 ? "s" : "", ours, theirs, ours / theirs);
		radix_destroy();
		bitmap_destroy();
	}
}

int main(void)
{
	int fd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint64_t state = 88172645463325252ull;
	int err;

	if (fd < 0)
		die("memfd", -errno);
	err = kho_attach_fd(&kho, fd, NULL, NULL);
	if (err)
		die("attach", err);

	printf("ns for each key (radix over it)\n\n");
	for (size_t i = 0; i < KEYS; i++)
		key[i] = i;
	bench_keys("10 million keys, one after the other", KEYS, true);
	for (size_t i = 0; i < KEYS; i++)
		key[i] = next_random(&state) >> (64 - BITMAP_BITS);
	bench_keys("10 million keys, random below 2^27", KEYS, true);
	for (size_t i = 0; i < SPARSE_KEYS; i++)
		key[i] = i % 64 ? key[i - 1] + 1 : next_random(&state) & ~63ull;
	bench_keys("1 million keys, random runs of 64 below 2^64", SPARSE_KEYS,
		   false);
	bench_range();
	bench_restore(fd);
	bench_threads();
	kho_close(kho);
	return 0;
}
