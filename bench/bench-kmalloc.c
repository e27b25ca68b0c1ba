// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Small objects: time against malloc() in the same run, memory for each
 * object, and time to restore a million of them.
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <kho/attach.h>
#include <kho/kmalloc.h>
#include <kho/pages.h>

#define OBJECTS 1000000
#define LIVE 100000
#define REPLACED 2000000
#define ROUNDS 5
#define SEED 88172645463325252ull

static struct kho *kho;
static struct kho_kmem *kmem;
static void *object[OBJECTS];
static uint64_t random_state;

static void die(const char *what, int err)
{
	fprintf(stderr, "bench-kmalloc: %s: %s\n", what, strerror(-err));
	exit(1);
}

static uint32_t below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32) % n;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void *arena_alloc(size_t size)
{
	void *p = kho_kmalloc(kmem, size);

	if (!p)
		die("kmalloc", -errno);
	return p;
}

static void arena_free(void *p)
{
	int err = kho_kfree(kmem, p);

	if (err)
		die("kfree", err);
}

static void *heap_alloc(size_t size)
{
	void *p = malloc(size);

	if (!p)
		die("malloc", -ENOMEM);
	return p;
}

/* What a program does with an object at the least. */
static void *touched(void *p)
{
	*(uint64_t *)p = 1;
	return p;
}

struct result {
	double fill, replace, drain; /* ns for each object; the best round */
};

static void best(double *result, double ns, int n)
{
	ns /= n;
	if (*result == 0 || ns < *result)
		*result = ns;
}

static void run(struct result *r, void *(*alloc)(size_t size),
		void (*release)(void *p), uint32_t min, uint32_t max)
{
	double start;
	uint32_t o;

	random_state = SEED;
	start = now();
	for (int i = 0; i < LIVE; i++)
		object[i] = touched(alloc(min + below(max - min + 1)));
	best(&r->fill, now() - start, LIVE);

	start = now();
	for (int i = 0; i < REPLACED; i++) {
		o = below(LIVE);
		release(object[o]);
		object[o] = touched(alloc(min + below(max - min + 1)));
	}
	best(&r->replace, now() - start, REPLACED);

	start = now();
	for (int i = 0; i < LIVE; i++)
		release(object[i]);
	best(&r->drain, now() - start, LIVE);
}

static void print_row(const char *what, double ours, double theirs)
{
	printf("  %-34s %8.1f ns %8.1f ns   %.2f\n", what, ours, theirs,
	       ours / theirs);
}

static void bench_time(uint32_t min, uint32_t max)
{
	struct result ours = { 0 }, theirs = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		run(&ours, arena_alloc, arena_free, min, max);
		run(&theirs, heap_alloc, free, min, max);
	}
	printf("%u to %u bytes, %u objects live\n", min, max, LIVE);
	print_row("allocate all", ours.fill, theirs.fill);
	print_row("free one, allocate one, at random", ours.replace,
		  theirs.replace);
	print_row("free all", ours.drain, theirs.drain);
}

static uint64_t arena_bytes(void)
{
	struct kho_pages_info info;

	kho_pages_info(kho, &info);
	return (info.preserved + info.nodes) << kho_page_shift(kho);
}

static void bench_memory(uint32_t min, uint32_t max)
{
	uint64_t asked = 0, usable = 0, used = arena_bytes(), heap;
	uint32_t size;

	random_state = SEED;
	for (int i = 0; i < OBJECTS; i++) {
		size = min + below(max - min + 1);
		object[i] = arena_alloc(size);
		asked += size;
		usable += kho_ksize(kmem, object[i]);
	}
	used = arena_bytes() - used;
	for (int i = 0; i < OBJECTS; i++)
		arena_free(object[i]);

	random_state = SEED;
	heap = mallinfo2().uordblks;
	for (int i = 0; i < OBJECTS; i++)
		object[i] = heap_alloc(min + below(max - min + 1));
	heap = mallinfo2().uordblks - heap;
	for (int i = 0; i < OBJECTS; i++)
		free(object[i]);

	printf("  %4u to %4u bytes %10.2f %10.2f %10.2f %10.2f\n", min, max,
	       (double)(usable - asked) / OBJECTS,
	       (double)(used - usable) / OBJECTS,
	       (double)(used - asked) / OBJECTS,
	       (double)(heap - asked) / OBJECTS);
}

static void attach(int fd)
{
	int err = kho_attach_fd(&kho, fd, NULL, NULL);

	if (err)
		die("attach", err);
}

/* What the next program waits for. */
static void bench_restore(int fd, uint32_t size)
{
	uint64_t phys = kho_kmem_phys(kmem), slabs;
	double start, attached, restored;
	int err;

	slabs = arena_bytes();
	for (int i = 0; i < OBJECTS; i++)
		touched(arena_alloc(size));
	slabs = (arena_bytes() - slabs) / (16ul << kho_page_shift(kho));
	kho_kmem_close(kmem);
	kho_close(kho);

	start = now();
	attach(fd);
	attached = now();
	err = kho_kmem_restore(kho, phys, &kmem, NULL);
	restored = now();
	if (err)
		die("restore", err);
	err = kho_ready(kho, NULL);
	if (err)
		die("ready", err);
	printf("restore %d objects of %u bytes, %lu slabs: %.3f ms (attach: %.3f ms)\n",
	       OBJECTS, size, slabs, (restored - attached) / 1e6,
	       (attached - start) / 1e6);
	err = kho_kmem_destroy(kmem);
	if (!err)
		err = kho_kmem_create(kho, &kmem, NULL);
	if (err)
		die("start again", err);
}

int main(void)
{
	int fd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	if (fd < 0)
		die("memfd", -errno);
	attach(fd);
	err = kho_kmem_create(kho, &kmem, NULL);
	if (err)
		die("create", err);

	printf("%38s %9s %11s   ratio\n", "", "kmalloc", "malloc");
	bench_time(64, 64);
	bench_time(16, 256);
	bench_time(8, 2048);
	printf("\nbytes lost per object %10s %10s %10s %10s\n", "rounding",
	       "slabs", "both", "malloc");
	bench_memory(16, 16);
	bench_memory(64, 64);
	bench_memory(16, 256);
	bench_memory(8, 2048);
	printf("\n");
	bench_restore(fd, 16);
	bench_restore(fd, 64);
	bench_restore(fd, 256);
	kho_kmem_close(kmem);
	kho_close(kho);
	return 0;
}
