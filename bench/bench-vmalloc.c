// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Areas: time against anonymous memory in the same run, time to restore, and
 * the memory that an area costs besides its own.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <kho/attach.h>
#include <kho/pages.h>
#include <kho/tree.h>
#include <kho/vmalloc.h>

#define MIB (1ul << 20)
#define GIB (1ul << 30)
#define ROUNDS 3
#define READS 20000000

static struct kho *kho;
static struct kho_vmalloc_desc *desc;
static struct kho_error err;

static void die(const char *what, int code)
{
	fprintf(stderr, "bench-vmalloc: %s: %s\n", what,
		err.code ? err.text : strerror(-code));
	exit(1);
}

static void must(const char *what, int code)
{
	if (code)
		die(what, code);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static struct kho_vmalloc *make(uint64_t max, uint64_t block, uint32_t version)
{
	struct kho_vmalloc *area;

	must("version", kho_set_version(kho, kho_component_find("vmalloc"),
					version, NULL));
	must("create", kho_vmalloc_create(kho, max, block, &area, &err));
	must("preserve", kho_vmalloc_preserve(area, desc, &err));
	return area;
}

/* Memory of zeros, 2 MiB at a time. */
static double grow_area(uint64_t size, uint32_t version)
{
	struct kho_vmalloc *area = make(size, 0, version);
	double start = now();

	for (uint64_t at = 2 * MIB; at <= size; at += 2 * MIB)
		must("resize", kho_vmalloc_resize(area, at, &err));
	start = now() - start;
	must("destroy", kho_vmalloc_destroy(area));
	return start;
}

static double grow_anonymous(uint64_t size)
{
	char *base = mmap(NULL, size, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	double start = now();

	if (base == MAP_FAILED)
		die("mmap", -errno);
	for (uint64_t at = 0; at < size; at += 2 * MIB) {
		if (mprotect(base + at, 2 * MIB, PROT_READ | PROT_WRITE))
			die("mprotect", -errno);
		memset(base + at, 0, 2 * MIB);
	}
	start = now() - start;
	munmap(base, size);
	return start;
}

static double read_words(const uint64_t *base, uint64_t size)
{
	uint64_t x = 88172645463325252ull, sum = 0;
	double start = now();

	for (int i = 0; i < READS; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		sum += base[(x >> 20) % (size / 8)];
	}
	if (sum)
		die("zeros", -EBADMSG);
	return (now() - start) / READS;
}

static double best(double result, double time)
{
	return result > 0 && result < time ? result : time;
}

static void print_row(const char *what, double ours, double theirs,
		      const char *unit)
{
	printf("  %-36s %8.1f %s %8.1f %s   %.2f\n", what, ours, unit, theirs,
	       unit, ours / theirs);
}

static void bench_time(void)
{
	double v1 = 0, v2 = 0, anonymous = 0, reads = 0, anonymous_reads = 0;
	struct kho_vmalloc *area = make(GIB, 0, 2);
	uint64_t *plain = mmap(NULL, GIB, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (plain == MAP_FAILED)
		die("mmap", -errno);
	memset(plain, 0, GIB);
	must("resize", kho_vmalloc_resize(area, GIB, &err));
	for (int i = 0; i < ROUNDS; i++) {
		reads = best(reads, read_words(kho_vmalloc_base(area), GIB));
		anonymous_reads = best(anonymous_reads, read_words(plain, GIB));
	}
	munmap(plain, GIB);
	must("destroy", kho_vmalloc_destroy(area));
	for (int i = 0; i < ROUNDS; i++) {
		v1 = best(v1, grow_area(512 * MIB, 1));
		v2 = best(v2, grow_area(512 * MIB, 2));
		anonymous = best(anonymous, grow_anonymous(512 * MIB));
	}
	printf("%38s %11s %11s   ratio\n", "", "vmalloc", "anonymous");
	print_row("grow to 512 MiB, 2 MiB at a time, v1", v1 / 1e6,
		  anonymous / 1e6, "ms");
	print_row("grow to 512 MiB, 2 MiB at a time, v2", v2 / 1e6,
		  anonymous / 1e6, "ms");
	print_row("read a word of 1 GiB at random", reads, anonymous_reads,
		  "ns");
}

static struct kho_pages_info info(void)
{
	struct kho_pages_info i;

	kho_pages_info(kho, &i);
	return i;
}

/*
 * A block for each @step bytes, or all of them for a step of @size: what the
 * next program waits for, and what the arena has besides the area's
 * memory: its lists, and the tracker's nodes.
 */
static void bench_restore(int fd, const char *what, uint64_t size,
			  uint64_t block, uint64_t step, uint32_t version)
{
	struct kho_pages_info before = info(), after;
	struct kho_vmalloc *area = make(size, block, version);
	uint64_t phys = kho_phys(kho, desc), at, blocks;
	double start, restored;

	for (at = 0; at < size; at += step)
		must("populate",
		     kho_vmalloc_populate(area, at, step == size ? size : block,
					  &err));
	after = info();
	blocks = kho_vmalloc_populated(area) / block;
	kho_vmalloc_close(area);
	kho_close(kho);
	must("attach", kho_attach_fd(&kho, fd, NULL, NULL));
	desc = kho_restore_folio(kho, phys);
	start = now();
	must("restore", kho_vmalloc_restore(kho, desc, size, &area, &err));
	restored = now();
	must("ready", kho_ready(kho, NULL));
	printf("  %-28s v%u %8lu %9.2f ms %8.1f ns %10.2f bytes\n", what,
	       version, blocks, (restored - start) / 1e6,
	       (restored - start) / (double)blocks,
	       (double)((after.preserved + after.nodes - before.preserved -
			 before.nodes) *
				4096 -
			blocks * block) /
		       (double)blocks);
	must("destroy", kho_vmalloc_destroy(area));
}

int main(void)
{
	int fd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		die("memfd", -errno);
	must("attach", kho_attach_fd(&kho, fd, NULL, NULL));
	desc = kho_alloc_preserve(kho, sizeof(*desc));
	if (!desc)
		die("alloc", -errno);

	bench_time();
	printf("\n%-33s %8s %12s %11s %16s\n", "restore", "blocks", "time",
	       "per block", "overhead/block");
	for (uint32_t version = 1; version <= 2; version++) {
		bench_restore(fd, "1 GiB of 2 MiB blocks", GIB, 2 * MIB, GIB,
			      version);
		bench_restore(fd, "1 GiB of 4 KiB blocks", GIB, 4096, GIB,
			      version);
	}
	bench_restore(fd, "16 GiB, 64 KiB of each 1 MiB", 16 * GIB, 64 << 10,
		      MIB, 2);
	bench_restore(fd, "16 GiB, 4 KiB of each 1 MiB", 16 * GIB, 4096, MIB,
		      2);
	kho_close(kho);
	return 0;
}
