// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The life of an area, its memory coming and going, and lookups. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/pages.h>

#include "data/vmalloc/private.h"

/* Blocks are as large as the arena's steps, and at least this many. */
#define BLOCK_SHIFT_MAX CHUNK_SHIFT
#define BLOCKS_MIN 32

int area_new(struct kho *kho, uint64_t max, unsigned int block_shift,
	     struct kho_vmalloc **result, struct kho_error *err)
{
	uint64_t limit = KHO_VMALLOC_MAX_PAGES << kho->page_shift;
	uint64_t block = 1ull << block_shift;
	struct kho_vmalloc *area;
	int ret;

	if (!max || max > limit)
		return kho_fail(err, -EINVAL,
				"vmalloc: an area has 1 to %llu bytes, not %llu",
				(unsigned long long)limit,
				(unsigned long long)max);
	area = calloc(1, sizeof(*area));
	if (!area)
		return kho_fail(err, -ENOMEM, "vmalloc: out of memory");
	area->kho = kho;
	area->block_shift = block_shift;
	area->max = (max + block - 1) & -block;
	pthread_mutex_init(&area->lock, NULL);
	ret = map_reserve(area, err);
	if (ret) {
		pthread_mutex_destroy(&area->lock);
		free(area);
		return ret;
	}
	*result = area;
	return 0;
}

/* The smallest page that both the arena and the system's mmap() take. */
static unsigned int min_block_shift(const struct kho *kho)
{
	unsigned int shift = kho->page_shift;

	while (1l << shift < sysconf(_SC_PAGESIZE))
		shift++;
	return shift;
}

int kho_vmalloc_create(struct kho *kho, uint64_t max, uint64_t block,
		       struct kho_vmalloc **area, struct kho_error *err)
{
	unsigned int shift, min = min_block_shift(kho);
	int ret;

	if (block) {
		shift = (unsigned int)__builtin_ctzll(block);
		if (block & (block - 1) || shift < min ||
		    shift > KHO_MAX_FOLIO_SHIFT)
			return kho_fail(err, -EINVAL,
					"vmalloc: a block of %llu bytes is not a power of two from %llu to 1 GiB",
					(unsigned long long)block, 1ull << min);
	} else {
		shift = BLOCK_SHIFT_MAX;
		while (shift > min && max >> shift < BLOCKS_MIN)
			shift--;
	}
	ret = area_new(kho, max, shift, area, err);
	if (!ret)
		area_add(*area);
	return ret;
}

void area_free(struct kho_vmalloc *area)
{
	uint64_t blocks;

	blocks = area->version ? 0 : area->end >> area->block_shift;
	for (uint64_t i = 0; i < blocks; i++)
		if (area->table[i])
			kho_free_pages(area->kho,
				       kho_ptr(area->kho, area->table[i], 1),
				       1ul << area_order(area));
	map_release(area);
	pthread_mutex_destroy(&area->lock);
	free(area->lists.page);
	free(area);
}

void kho_vmalloc_close(struct kho_vmalloc *area)
{
	if (!area)
		return;
	instances_del(area->kho, &area->instance);
	area_free(area);
}

void *kho_vmalloc_base(const struct kho_vmalloc *area)
{
	return area->base;
}

uint64_t kho_vmalloc_max(const struct kho_vmalloc *area)
{
	return area->max;
}

uint64_t kho_vmalloc_block(const struct kho_vmalloc *area)
{
	return 1ull << area->block_shift;
}

uint64_t kho_vmalloc_size(const struct kho_vmalloc *area)
{
	return __atomic_load_n(&area->end, __ATOMIC_ACQUIRE);
}

uint64_t kho_vmalloc_populated(const struct kho_vmalloc *area)
{
	return __atomic_load_n(&area->populated, __ATOMIC_ACQUIRE);
}

uint32_t kho_vmalloc_version(const struct kho_vmalloc *area)
{
	return __atomic_load_n(&area->version, __ATOMIC_ACQUIRE);
}

static uint64_t block_phys(const struct kho_vmalloc *area, uint64_t offset)
{
	return __atomic_load_n(&area->table[offset >> area->block_shift],
			       __ATOMIC_ACQUIRE);
}

void *kho_vmalloc_ptr(const struct kho_vmalloc *area, uint64_t offset,
		      size_t size)
{
	uint64_t mask = kho_vmalloc_block(area) - 1;

	if (offset >= area->max || size > area->max - offset)
		return NULL;
	for (uint64_t at = offset & ~mask; at < offset + size || at == offset;
	     at += mask + 1)
		if (!block_phys(area, at))
			return NULL;
	return area->base + offset;
}

uint64_t kho_vmalloc_phys(const struct kho_vmalloc *area, const void *ptr)
{
	uint64_t offset = (uintptr_t)ptr - (uintptr_t)area->base, phys;

	if (!ptr || offset >= area->max)
		return 0;
	phys = block_phys(area, offset);
	return phys ? phys + (offset & (kho_vmalloc_block(area) - 1)) : 0;
}

/* Bytes. */
uint64_t area_holes(const struct kho_vmalloc *area)
{
	return area->end - area->populated;
}

/* What has memory in blocks @from to @to, joined; add it to @runs. */
int area_runs(const struct kho_vmalloc *area, uint64_t from, uint64_t to,
	      struct runs *runs)
{
	uint64_t end = area->end >> area->block_shift;
	int ret = 0;

	for (uint64_t i = from; i < to && i < end && !ret; i++)
		if (area->table[i])
			ret = runs_join(runs,
					(struct run){
						.phys = area->table[i],
						.index = i << area_order(area),
						.pages = 1ull
							 << area_order(area),
					},
					area->kho->page_shift);
	return ret;
}

/* Memory has come, or gone: let the lookups know. */
void area_set(struct kho_vmalloc *area, const struct runs *runs, bool there)
{
	unsigned int order = area_order(area);
	uint64_t end = area->end >> area->block_shift;
	uint64_t populated = area->populated;

	for (size_t r = 0; r < runs->n; r++) {
		const struct run *run = &runs->run[r];
		uint64_t first = run->index >> order;
		uint64_t n = run->pages >> order;

		for (uint64_t i = 0; i < n; i++)
			__atomic_store_n(&area->table[first + i],
					 there ? run->phys +
							 (i
							  << area->block_shift) :
						 0,
					 __ATOMIC_RELEASE);
		populated += there ? n << area->block_shift :
				     -(n << area->block_shift);
		if (there && end < first + n)
			end = first + n;
	}
	while (end && !area->table[end - 1])
		end--;
	__atomic_store_n(&area->end, end << area->block_shift,
			 __ATOMIC_RELEASE);
	__atomic_store_n(&area->populated, populated, __ATOMIC_RELEASE);
}

/* Pages for a hole, in pieces as large as the arena has. */
static int alloc_hole(struct kho_vmalloc *area, uint64_t index, uint64_t pages,
		      struct runs *runs)
{
	unsigned int shift = area->kho->page_shift;
	uint64_t block = 1ull << area_order(area), n;
	uint64_t most = 1ull << (KHO_MAX_FOLIO_SHIFT - shift);
	void *p;
	int ret;

	for (n = most; pages; index += n, pages -= n) {
		n = n < pages ? n : pages;
		while (!(p = kho_alloc_pages(area->kho, n))) {
			if (errno != ENOSPC || n == block)
				return -errno;
			/* The next smaller power of two. */
			n = 1ull << (63 - __builtin_clzll(n - 1));
		}
		ret = runs_join(runs,
				(struct run){ .phys = kho_phys(area->kho, p),
					      .index = index,
					      .pages = n },
				shift);
		if (ret) {
			kho_free_pages(area->kho, p, n);
			return ret;
		}
	}
	return 0;
}

static int alloc_holes(struct kho_vmalloc *area, uint64_t from, uint64_t to,
		       struct runs *runs)
{
	unsigned int order = area_order(area);
	uint64_t hole;
	int ret = 0;

	for (; from < to && !ret; from++) {
		for (hole = from; from < to && !area->table[from]; from++)
			;
		if (from > hole)
			ret = alloc_hole(area, hole << order,
					 (from - hole) << order, runs);
	}
	return ret;
}

static void clear_runs(struct kho_vmalloc *area, const struct runs *runs)
{
	unsigned int shift = area->kho->page_shift;

	for (size_t i = 0; i < runs->n; i++)
		memset(area->base + (runs->run[i].index << shift), 0,
		       runs->run[i].pages << shift);
}

/*
 * Will there be holes, when blocks @from to @to have got memory, or have lost
 * it?
 */
static bool will_have_holes(const struct kho_vmalloc *area, uint64_t from,
			    uint64_t to, bool there)
{
	uint64_t end = area->end >> area->block_shift;
	uint64_t blocks = area->populated >> area->block_shift;

	for (uint64_t i = from; i < to; i++) {
		if (there && !area->table[i])
			blocks++;
		else if (!there && area->table[i])
			blocks--;
	}
	if (there)
		end = end > to ? end : to;
	else if (from < end && to >= end)
		for (end = from; end && !area->table[end - 1]; end--)
			;
	return blocks != end;
}

static int by_index(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

/* All anew. Version 1 has the blocks in their order, and @added may fill holes. */
static int rewrite(struct kho_vmalloc *area, uint32_t version,
		   const struct runs *added)
{
	struct lists lists = { 0 };
	struct runs runs = { 0 };
	int ret = area_runs(area, 0, UINT64_MAX, &runs);

	for (size_t i = 0; i < added->n && !ret; i++)
		ret = runs_add(&runs, added->run[i]);
	if (runs.n)
		qsort(runs.run, runs.n, sizeof(*runs.run), by_index);
	if (!ret)
		ret = lists_write(area, version, &runs, &lists);
	if (!ret)
		lists_publish(area, version, &lists);
	free(runs.run);
	return ret;
}

/*
 * From now on a preserved area has this memory too. Version 1 cannot just
 * grow, so an area in it gets the version in effect on the way.
 */
static int preserve_added(struct kho_vmalloc *area, uint32_t version,
			  const struct runs *added)
{
	int ret = preserve_runs(area, added);

	if (ret)
		return ret;
	ret = area->version == 1 || area->version > version ?
		      rewrite(area, version, added) :
		      lists_append(area, added);
	if (ret)
		unpreserve_runs(area, added);
	return ret;
}

static int populate(struct kho_vmalloc *area, uint64_t from, uint64_t to,
		    struct kho_error *err)
{
	uint32_t version = area->version ? version_in_effect(area) : 0;
	struct runs added = { 0 };
	int ret;

	if (version == 1 && will_have_holes(area, from, to, true))
		return area_refuse_holes(err);
	ret = alloc_holes(area, from, to, &added);
	if (!ret && !added.n)
		return 0;
	if (ret) {
		kho_fail(err, ret, "vmalloc: no memory for the area: %s",
			 strerror(-ret));
		goto out;
	}
	ret = map_runs(area, &added, err);
	if (!ret) {
		clear_runs(area, &added);
		ret = version ? preserve_added(area, version, &added) : 0;
		if (ret)
			kho_fail(err, ret,
				 "vmalloc: cannot preserve the memory: %s",
				 strerror(-ret));
	}
	if (!ret)
		area_set(area, &added, true);
	else
		map_holes(area, &added);
out:
	if (ret)
		free_runs(area, &added);
	free(added.run);
	return ret;
}

/* The lists of a preserved area without blocks @from to @to. */
static int lists_without(struct kho_vmalloc *area, uint32_t version,
			 uint64_t from, uint64_t to, struct lists *lists)
{
	struct runs runs = { 0 };
	int ret = area_runs(area, 0, from, &runs);

	if (!ret)
		ret = area_runs(area, to, UINT64_MAX, &runs);
	if (!ret)
		ret = lists_write(area, version, &runs, lists);
	free(runs.run);
	return ret;
}

static int punch(struct kho_vmalloc *area, uint64_t from, uint64_t to,
		 struct kho_error *err)
{
	uint32_t version = area->version ? version_in_effect(area) : 0;
	struct lists lists = { 0 };
	struct runs removed = { 0 };
	int ret;

	if (version == 1 && will_have_holes(area, from, to, false))
		return area_refuse_holes(err);
	ret = area_runs(area, from, to, &removed);
	if (ret || !removed.n)
		goto out;
	if (version)
		ret = lists_without(area, version, from, to, &lists);
	if (!ret)
		ret = map_holes(area, &removed);
	if (ret) {
		lists_free(area, &lists);
		goto out;
	}
	area_set(area, &removed, false);
	if (version) {
		lists_publish(area, version, &lists);
		unpreserve_runs(area, &removed);
	}
	free_runs(area, &removed);
out:
	free(removed.run);
	return ret ? kho_fail(err, ret, "vmalloc: cannot make a hole: %s",
			      strerror(-ret)) :
		     0;
}

static int check_range(const struct kho_vmalloc *area, uint64_t offset,
		       uint64_t size, struct kho_error *err)
{
	if (!kho_writable(area->kho))
		return kho_fail(err, -EROFS, "vmalloc: the arena is read-only");
	if (offset <= area->max && size <= area->max - offset)
		return 0;
	return kho_fail(err, -ERANGE,
			"vmalloc: %llu bytes at offset %llu are beyond the area's maximum of %llu",
			(unsigned long long)size, (unsigned long long)offset,
			(unsigned long long)area->max);
}

static uint64_t block_up(const struct kho_vmalloc *area, uint64_t bytes)
{
	return (bytes + kho_vmalloc_block(area) - 1) >> area->block_shift;
}

int kho_vmalloc_populate(struct kho_vmalloc *area, uint64_t offset,
			 uint64_t size, struct kho_error *err)
{
	int ret = check_range(area, offset, size, err);

	if (ret || !size)
		return ret;
	pthread_mutex_lock(&area->lock);
	ret = populate(area, offset >> area->block_shift,
		       block_up(area, offset + size), err);
	pthread_mutex_unlock(&area->lock);
	return ret;
}

int kho_vmalloc_punch(struct kho_vmalloc *area, uint64_t offset, uint64_t size,
		      struct kho_error *err)
{
	int ret = check_range(area, offset, size, err);

	if (ret || !size)
		return ret;
	if ((offset | size) & (kho_vmalloc_block(area) - 1))
		return kho_fail(err, -EINVAL,
				"vmalloc: a hole is made of whole blocks of %llu bytes",
				(unsigned long long)kho_vmalloc_block(area));
	pthread_mutex_lock(&area->lock);
	ret = punch(area, offset >> area->block_shift,
		    (offset + size) >> area->block_shift, err);
	pthread_mutex_unlock(&area->lock);
	return ret;
}

int kho_vmalloc_resize(struct kho_vmalloc *area, uint64_t size,
		       struct kho_error *err)
{
	int ret = check_range(area, 0, size, err);
	uint64_t from, to;

	if (ret)
		return ret;
	pthread_mutex_lock(&area->lock);
	from = area->end >> area->block_shift;
	to = block_up(area, size);
	if (from < to)
		ret = populate(area, from, to, err);
	else if (from > to)
		ret = punch(area, to, from, err);
	pthread_mutex_unlock(&area->lock);
	return ret;
}
