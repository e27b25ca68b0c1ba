// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Chains of blocks: time against an array on the heap in the same run, memory
 * for each entry, and time to restore and to convert ten million of them.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <kho/attach.h>
#include <kho/block.h>
#include <kho/pages.h>
#include <kho/tree.h>

#define ENTRIES 2000000
#define RANDOM_GETS 2000000
#define MANY 10000000
#define ROUNDS 5
#define ENTRY_MAX 256

KHO_COMPONENT(bench, .write = { 1, 1 }, .read = { 1, 1 }, .deps = { "block" });

static struct kho *kho;
static struct kho_block_root *root;
static volatile uint64_t sink;

static void die(const char *what, int err)
{
	fprintf(stderr, "bench-block: %s: %s\n", what, strerror(-err));
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* ns for each entry; the best round */
struct result {
	double append, next, prev, get;
};

static void best(double *result, double ns)
{
	if (*result <= 0 || ns < *result)
		*result = ns;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (*state >> 32) % ENTRIES;
}

static struct kho_blocks *fill(uint32_t version, size_t size, uint64_t n)
{
	char entry[ENTRY_MAX] = { 1 };
	struct kho_blocks *blocks;
	int64_t ret = kho_set_version(kho, kho_component_find("block"), version,
				      NULL);

	if (!ret)
		ret = kho_block_create(kho, size, root, &blocks, NULL);
	for (uint64_t i = 0; ret >= 0 && i < n; i++)
		ret = kho_block_append(blocks, entry);
	if (ret < 0)
		die("append", (int)ret);
	return blocks;
}

static void run_chain(struct result *r, uint32_t version, size_t size)
{
	uint64_t sum = 0, state = 1;
	struct kho_block_iter iter;
	struct kho_blocks *blocks;
	const uint64_t *entry;
	double start = now();

	blocks = fill(version, size, ENTRIES);
	best(&r->append, (now() - start) / ENTRIES);

	iter = kho_block_begin(blocks);
	start = now();
	while ((entry = kho_block_next(&iter)))
		sum += *entry;
	best(&r->next, (now() - start) / ENTRIES);
	start = now();
	while ((entry = kho_block_prev(&iter)))
		sum += *entry;
	best(&r->prev, (now() - start) / ENTRIES);

	start = now();
	for (int i = 0; i < RANDOM_GETS; i++) {
		entry = kho_block_get(blocks, next_random(&state));
		sum += *entry;
	}
	best(&r->get, (now() - start) / RANDOM_GETS);
	sink = sum;
	kho_block_destroy(blocks);
}

/* As a program without an arena does it. */
static void run_array(struct result *r, size_t size)
{
	uint64_t sum = 0, state = 1;
	char entry[ENTRY_MAX] = { 1 };
	char *array = NULL;
	size_t room = 0;
	double start = now();

	for (size_t i = 0; i < ENTRIES; i++) {
		if (i == room) {
			room = room ? room * 2 : 16;
			array = realloc(array, room * size);
			if (!array)
				die("realloc", -errno);
		}
		memcpy(array + i * size, entry, size);
	}
	best(&r->append, (now() - start) / ENTRIES);

	start = now();
	for (size_t i = 0; i < ENTRIES; i++)
		sum += *(uint64_t *)(void *)(array + i * size);
	best(&r->next, (now() - start) / ENTRIES);
	start = now();
	for (size_t i = ENTRIES; i-- > 0;)
		sum += *(uint64_t *)(void *)(array + i * size);
	best(&r->prev, (now() - start) / ENTRIES);

	start = now();
	for (int i = 0; i < RANDOM_GETS; i++)
		sum += *(uint64_t *)(void *)(array +
					     next_random(&state) * size);
	best(&r->get, (now() - start) / RANDOM_GETS);
	sink = sum;
	free(array);
}

static void print_row(const char *what, double v1, double v2, double array)
{
	printf("  %-12s %8.1f ns %8.1f ns %8.1f ns   %5.2f  %5.2f\n", what, v1,
	       v2, array, v1 / array, v2 / array);
}

static void bench_time(size_t size)
{
	struct result v1 = { 0 }, v2 = { 0 }, array = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		run_chain(&v1, 1, size);
		run_chain(&v2, 2, size);
		run_array(&array, size);
	}
	printf("%d entries of %zu bytes\n", ENTRIES, size);
	print_row("append", v1.append, v2.append, array.append);
	print_row("next", v1.next, v2.next, array.next);
	print_row("prev", v1.prev, v2.prev, array.prev);
	print_row("get, random", v1.get, v2.get, array.get);
}

static uint64_t arena_bytes(void)
{
	struct kho_pages_info info;

	kho_pages_info(kho, &info);
	return (info.preserved + info.nodes) << kho_page_shift(kho);
}

static double bench_memory(uint32_t version, size_t size)
{
	uint64_t used = arena_bytes();
	struct kho_blocks *blocks = fill(version, size, ENTRIES);

	used = arena_bytes() - used;
	kho_block_destroy(blocks);
	return (double)used / ENTRIES - (double)size;
}

static void attach(int fd)
{
	int err = kho_attach_fd(&kho, fd, NULL, NULL);

	if (err)
		die("attach", err);
}

/* What the next program waits for. */
static void bench_restore(int fd, uint32_t version, size_t size)
{
	struct kho_blocks *blocks = fill(version, size, MANY);
	double start;
	int err;

	kho_block_close(blocks);
	kho_close(kho);
	attach(fd);
	root = kho_subtree(kho, "bench", NULL, NULL);
	start = now();
	err = kho_block_restore(kho, size, root, &blocks, NULL);
	start = now() - start;
	if (!err)
		err = kho_ready(kho, NULL);
	if (err)
		die("restore", err);
	printf("restore %d entries of %zu bytes, version %u: %.1f ms\n", MANY,
	       size, version, start / 1e6);
	kho_block_destroy(blocks);
}

/* What a handover to a program that reads another version waits for. */
static void bench_convert(uint32_t version, size_t size)
{
	const struct kho_component *block = kho_component_find("block");
	struct kho_blocks *blocks = fill(version, size, MANY);
	struct kho_error err;
	double start = now();

	if (block->ops->convert(kho, 3 - version, NULL, &err)) {
		fprintf(stderr, "bench-block: convert: %s\n", err.text);
		exit(1);
	}
	printf("convert %d entries of %zu bytes, version %u to %u: %.1f ms\n",
	       MANY, size, version, 3 - version, (now() - start) / 1e6);
	kho_block_destroy(blocks);
}

int main(void)
{
	static const size_t sizes[] = { 8, 64, 80, 256 };
	int fd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		die("memfd", -errno);
	attach(fd);
	root = kho_alloc_preserve(kho, sizeof(*root));
	if (!root)
		die("root", -errno);
	if (kho_add_subtree(kho, "bench", &bench_component, 0, root,
			    sizeof(*root), NULL))
		die("subtree", -EINVAL);

	printf("%25s %11s %11s   ratio v1, v2\n", "version 1", "version 2",
	       "array");
	bench_time(8);
	bench_time(64);
	bench_time(256);
	printf("\nbytes more than the entry   version 1  version 2\n");
	for (int i = 0; i < 4; i++)
		printf("  %3zu bytes %23.2f %10.2f\n", sizes[i],
		       bench_memory(1, sizes[i]), bench_memory(2, sizes[i]));
	printf("\n");
	for (uint32_t version = 1; version <= 2; version++) {
		bench_restore(fd, version, 8);
		bench_restore(fd, version, 64);
		bench_convert(version, 8);
		bench_convert(version, 64);
	}
	kho_close(kho);
	return 0;
}
