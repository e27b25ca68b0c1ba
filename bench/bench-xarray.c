// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Arrays: time against the C library's balanced tree and, where it is
 * installed, JudyL, in the same run; memory for each index, readers at the
 * same time, time to restore.
 */
#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_JUDY
#include <Judy.h>
#endif

#include <kho/attach.h>
#include <kho/kmalloc.h>
#include <kho/pages.h>
#include <kho/xarray.h>

#define MANY 10000000
#define SOME 1000000
#define FEW 100000
#define LOOKUPS 2000000
#define THREADS 2

static struct kho *kho;
static struct kho_kmem *kmem;
static struct kho_xa *xa;
static uint64_t sink;

static void die(const char *what, int err)
{
	fprintf(stderr, "bench-xarray: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void check(const char *what, int err)
{
	if (err)
		die(what, err);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* One to one, so that no index comes twice. */
static uint64_t scatter(uint64_t i)
{
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9ull;
	i = (i ^ i >> 27) * 0x94d049bb133111ebull;
	return i ^ i >> 31;
}

static uint64_t random_below(uint64_t *state, uint64_t n)
{
	*state += 0x9e3779b97f4a7c15ull;
	return scatter(*state) % n;
}

static uint64_t arena_bytes(void)
{
	struct kho_pages_info info;

	kho_pages_info(kho, &info);
	return (info.preserved + info.nodes) << kho_page_shift(kho);
}

static void start_again(void)
{
	if (xa)
		check("destroy", kho_xa_destroy(xa));
	if (kmem)
		check("destroy the cache", kho_kmem_destroy(kmem));
	check("create the cache", kho_kmem_create(kho, &kmem, NULL));
	check("create", kho_xa_create(kho, kmem, &xa, NULL));
}

/* ---- What is compared ---- */

static void xa_store(uint64_t index, uint64_t value)
{
	check("store", kho_xa_store(xa, index, value));
}

static uint64_t xa_load(uint64_t index)
{
	uint64_t value;

	check("load", kho_xa_load(xa, index, &value));
	return value;
}

static void xa_erase(uint64_t index)
{
	check("erase", kho_xa_erase(xa, index));
}

struct pair {
	uint64_t index;
	uint64_t value;
};

static void *tree;

static int compare(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

static void tree_store(uint64_t index, uint64_t value)
{
	struct pair wanted = { .index = index }, *pair, **found;

	found = tsearch(&wanted, &tree, compare);
	if (!found)
		die("tsearch", -ENOMEM);
	if (*found == &wanted) {
		pair = malloc(sizeof(*pair));
		if (!pair)
			die("malloc", -ENOMEM);
		pair->index = index;
		*found = pair;
	}
	(*found)->value = value;
}

static uint64_t tree_load(uint64_t index)
{
	struct pair wanted = { .index = index }, **found;

	found = tfind(&wanted, &tree, compare);
	return (*found)->value;
}

static void tree_erase(uint64_t index)
{
	struct pair wanted = { .index = index }, *pair;

	pair = *(struct pair **)tfind(&wanted, &tree, compare);
	tdelete(pair, &tree, compare);
	free(pair);
}

#ifdef HAVE_JUDY
static void *judy;

static void judy_store(uint64_t index, uint64_t value)
{
	PPvoid_t at = JudyLIns(&judy, index, PJE0);

	if (at == PPJERR)
		die("JudyLIns", -ENOMEM);
	*(uint64_t *)at = value;
}

static uint64_t judy_load(uint64_t index)
{
	return *(uint64_t *)JudyLGet(judy, index, PJE0);
}

static void judy_erase(uint64_t index)
{
	JudyLDel(&judy, index, PJE0);
}
#endif

static const struct map {
	const char *name;
	void (*store)(uint64_t index, uint64_t value);
	uint64_t (*load)(uint64_t index);
	void (*erase)(uint64_t index);
} maps[] = {
	{ "xarray", xa_store, xa_load, xa_erase },
	{ "tsearch", tree_store, tree_load, tree_erase },
#ifdef HAVE_JUDY
	{ "JudyL", judy_store, judy_load, judy_erase },
#endif
};

#define MAPS (sizeof(maps) / sizeof(maps[0]))

static uint64_t dense(uint64_t i)
{
	return i;
}

static void bench_time(const char *what, uint64_t n, uint64_t (*at)(uint64_t i))
{
	static const char *const name[] = {
		"store, in order",
		"load, at random",
		"store again, at random",
		"erase, in order",
	};
	double t[MAPS][4], start;
	const struct map *map;
	uint64_t seed;

	start_again();
	for (size_t m = 0; m < MAPS; m++) {
		map = &maps[m];
		start = now();
		for (uint64_t i = 0; i < n; i++)
			map->store(at(i), i);
		t[m][0] = (now() - start) / (double)n;
		seed = 1;
		start = now();
		for (int i = 0; i < LOOKUPS; i++)
			sink += map->load(at(random_below(&seed, n)));
		t[m][1] = (now() - start) / LOOKUPS;
		start = now();
		for (uint64_t i = 0; i < LOOKUPS; i++)
			map->store(at(random_below(&seed, n)), i);
		t[m][2] = (now() - start) / LOOKUPS;
		start = now();
		for (uint64_t i = 0; i < n; i++)
			map->erase(at(i));
		t[m][3] = (now() - start) / (double)n;
	}
	printf("%-28s", what);
	for (size_t m = 0; m < MAPS; m++)
		printf(" %11s%s", maps[m].name, m ? "  ratio" : "");
	printf("\n");
	for (int i = 0; i < 4; i++) {
		printf("  %-26s %8.1f ns", name[i], t[0][i]);
		for (size_t m = 1; m < MAPS; m++)
			printf(" %8.1f ns %6.2f", t[m][i], t[0][i] / t[m][i]);
		printf("\n");
	}
}

/* ---- Memory ---- */

static void bench_memory(const char *what, uint64_t n, uint64_t (*at)(uint64_t),
			 uint64_t value)
{
	uint64_t before;

	start_again();
	before = arena_bytes();
	for (uint64_t i = 0; i < n; i++)
		xa_store(at(i), value + i);
	printf("  %-44s %10.2f\n", what,
	       (double)(arena_bytes() - before) / (double)n);
}

/* ---- Readers at the same time ---- */

static bool stop; /* atomic */

static void *reader(void *arg)
{
	uint64_t *loads = arg, seed = (uintptr_t)arg, value;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (int i = 0; i < 100; i++)
			kho_xa_load(xa, random_below(&seed, SOME), &value);
		*loads += 100;
	}
	return NULL;
}

static double bench_readers(int n)
{
	uint64_t loads[THREADS][8] = { { 0 } }, total = 0;
	pthread_t thread[THREADS];
	double start = now();

	__atomic_store_n(&stop, false, __ATOMIC_RELAXED);
	for (int i = 0; i < n; i++)
		if (pthread_create(&thread[i], NULL, reader, loads[i]))
			die("thread", -EAGAIN);
	usleep(500000);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < n; i++) {
		pthread_join(thread[i], NULL);
		total += loads[i][0];
	}
	return (double)total / (now() - start) * 1e3;
}

/* ---- What the next program waits for ---- */

static void bench_restore(int fd)
{
	uint64_t kmem_phys = kho_kmem_phys(kmem), phys = kho_xa_phys(xa);
	struct kho_xa_entry entry;
	double start, restored;
	uint64_t n = 0;

	kho_xa_close(xa);
	kho_kmem_close(kmem);
	kho_close(kho);
	check("attach", kho_attach_fd(&kho, fd, NULL, NULL));
	check("restore the cache",
	      kho_kmem_restore(kho, kmem_phys, &kmem, NULL));
	start = now();
	check("restore", kho_xa_restore(kho, kmem, phys, &xa, NULL));
	restored = now();
	kho_xa_for_each(xa, &entry)
		n++;
	printf("restore %lu indices: %.2f ms; iterate: %.1f ns each\n", n,
	       (restored - start) / 1e6, (now() - restored) / (double)n);
	check("ready", kho_ready(kho, NULL));
}

int main(void)
{
	int fd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	double one, two;

	if (fd < 0)
		die("memfd", -errno);
	check("attach", kho_attach_fd(&kho, fd, NULL, NULL));

	bench_time("1000000 dense indices", SOME, dense);
	bench_time("100000 anywhere in 2^64", FEW, scatter);

	printf("bytes for each index, all included\n");
	bench_memory("1000000 dense, values above 2^63", SOME, dense,
		     1ull << 63);
	bench_memory("100000 anywhere in 2^64", FEW, scatter, 0);
	bench_memory("1000000 dense, values below 2^63", SOME, dense, 0);
	one = bench_readers(1);
	two = bench_readers(THREADS);
	bench_memory("10000000 dense, values below 2^63", MANY, dense, 0);
	bench_restore(fd);
	printf("loads: %.1f million/s by one thread, %.1f by %d\n", one, two,
	       THREADS);
	kho_xa_close(xa);
	kho_kmem_close(kmem);
	kho_close(kho);
	return sink == 1;
}
