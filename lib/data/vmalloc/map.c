// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * An area's address space. What has no memory is PROT_NONE; the rest are
 * mappings of the arena's file, writable when the arena is.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "data/vmalloc/private.h"

/* So that large blocks can be mapped with large pages. */
#define BASE_ALIGN CHUNK_SIZE

#define HOLE_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

static size_t table_bytes(const struct kho_vmalloc *area)
{
	return (area->max >> area->block_shift) * sizeof(*area->table);
}

/* The arena becomes writable, or ceases to be. */
static int set_writable(struct mapping *mapping, bool writable)
{
	struct kho_vmalloc *area =
		(void *)((char *)mapping -
			 offsetof(struct kho_vmalloc, mapping));
	int prot = PROT_READ | (writable ? PROT_WRITE : 0), ret = 0;
	uint64_t blocks, from, to;

	pthread_mutex_lock(&area->lock);
	blocks = area->end >> area->block_shift;
	for (from = 0; from < blocks && !ret; from = to + 1) {
		for (to = from; to < blocks && area->table[to]; to++)
			;
		if (to > from &&
		    mprotect(area->base + (from << area->block_shift),
			     (to - from) << area->block_shift, prot) < 0)
			ret = -errno;
	}
	if (!ret)
		area->writable = writable;
	pthread_mutex_unlock(&area->lock);
	return ret;
}

int map_reserve(struct kho_vmalloc *area, struct kho_error *err)
{
	size_t size = area->max + BASE_ALIGN, before;
	char *p;

	/* Of the table, too, only what is touched costs memory. */
	p = mmap(NULL, table_bytes(area), PROT_READ | PROT_WRITE, HOLE_FLAGS,
		 -1, 0);
	if (p == MAP_FAILED)
		goto fail;
	area->table = (uint64_t *)(void *)p;
	p = mmap(NULL, size, PROT_NONE, HOLE_FLAGS, -1, 0);
	if (p == MAP_FAILED) {
		munmap(area->table, table_bytes(area));
		goto fail;
	}
	before = -(uintptr_t)p & (BASE_ALIGN - 1);
	if (before)
		munmap(p, before);
	munmap(p + before + area->max, BASE_ALIGN - before);
	area->base = p + before;
	area->mapping.set_writable = set_writable;
	arena_add_mapping(area->kho, &area->mapping);
	return 0;
fail:
	return kho_fail(err, -ENOMEM,
			"vmalloc: no address space for %llu bytes: %s; a smaller maximum may help",
			(unsigned long long)area->max, strerror(errno));
}

void map_release(struct kho_vmalloc *area)
{
	arena_del_mapping(area->kho, &area->mapping);
	munmap(area->base, area->max);
	munmap(area->table, table_bytes(area));
}

static int map_run(struct kho_vmalloc *area, const struct run *run)
{
	unsigned int shift = area->kho->page_shift;
	int prot = PROT_READ | (area->writable ? PROT_WRITE : 0);
	void *p = mmap(area->base + (run->index << shift), run->pages << shift,
		       prot, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
		       area->kho->fd, (off_t)run->phys);

	return p == MAP_FAILED ? -errno : 0;
}

/* Map memory; on failure some of it may be mapped. */
int map_runs(struct kho_vmalloc *area, const struct runs *runs,
	     struct kho_error *err)
{
	int ret;

	for (size_t i = 0; i < runs->n; i++) {
		ret = map_run(area, &runs->run[i]);
		if (!ret)
			continue;
		return kho_fail(err, ret,
				"vmalloc: cannot map %llu bytes at offset %llu: %s%s",
				(unsigned long long)runs->run[i].pages
					<< area->kho->page_shift,
				(unsigned long long)runs->run[i].index
					<< area->kho->page_shift,
				strerror(-ret),
				ret == -ENOMEM ?
					"; are there more than vm.max_map_count mappings? larger blocks need fewer" :
					"");
	}
	return 0;
}

/* Make holes; on failure all is as before. */
int map_holes(struct kho_vmalloc *area, const struct runs *runs)
{
	unsigned int shift = area->kho->page_shift;

	for (size_t i = 0; i < runs->n; i++) {
		const struct run *run = &runs->run[i];
		void *p = mmap(area->base + (run->index << shift),
			       run->pages << shift, PROT_NONE,
			       HOLE_FLAGS | MAP_FIXED, -1, 0);
		int ret = -errno;

		if (p != MAP_FAILED)
			continue;
		/* This only joins what was one mapping before. */
		while (i--)
			map_run(area, &runs->run[i]);
		return ret;
	}
	return 0;
}
