/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * What the files of vmalloc share.
 *
 * The volatile side of an area has a table with the phys of each block: the
 * lookups read it, and everything else is computed from it. How the same is
 * written down in the arena, in *lists* of one page, is list.c's business for
 * writing and read.c's for reading.
 */
#ifndef KHO_VMALLOC_PRIVATE_H
#define KHO_VMALLOC_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include <kho/vmalloc.h>

#include "arena/arena.h"
#include "base/crc32c.h"
#include "data/vmalloc/read.h"

#pragma GCC visibility push(hidden)

/* A descriptor and the pages that it leads to, in the order of their making. */
struct lists {
	union desc desc;
	void **page;
	size_t n;
};

struct kho_vmalloc {
	struct instance instance;
	struct kho *kho;
	struct mapping mapping;
	char *base;
	uint64_t max; /* bytes, whole blocks */
	unsigned int block_shift;
	uint64_t *table; /* phys of each block, 0 in a hole; atomic */
	uint64_t end; /* bytes up to the end of the last block; atomic */
	uint64_t populated; /* bytes; atomic */
	pthread_mutex_t lock; /* for what follows, and for every change */
	bool writable; /* the mapping is */
	uint32_t version; /* 0: not preserved; atomic */
	struct kho_vmalloc_desc *desc;
	struct lists lists;
};

/* Blocks in a chunk, runs in a list. */
static inline size_t chunk_blocks(unsigned int page_shift)
{
	return ((size_t)1 << page_shift) / sizeof(uint64_t) - 1;
}

static inline size_t list_runs(unsigned int page_shift)
{
	return (((size_t)1 << page_shift) - sizeof(struct kho_vmalloc_list)) /
	       sizeof(struct kho_vmalloc_run);
}

static inline uint32_t run_crc(const struct kho_vmalloc_run *run)
{
	return crc32c(run, offsetof(struct kho_vmalloc_run, crc));
}

static inline uint32_t list_crc(const struct kho_vmalloc_list *list)
{
	return crc32c(list, offsetof(struct kho_vmalloc_list, crc));
}

static inline uint32_t desc_crc(const struct kho_vmalloc_desc_v2 *desc)
{
	struct kho_vmalloc_desc_v2 copy = *desc;

	copy.crc = 0;
	return crc32c(&copy, sizeof(copy));
}

static inline unsigned int area_order(const struct kho_vmalloc *area)
{
	return area->block_shift - area->kho->page_shift;
}

/* area.c */
int area_new(struct kho *kho, uint64_t max, unsigned int block_shift,
	     struct kho_vmalloc **result, struct kho_error *err);
int area_runs(const struct kho_vmalloc *area, uint64_t from, uint64_t to,
	      struct runs *runs);
void area_free(struct kho_vmalloc *area);
void area_set(struct kho_vmalloc *area, const struct runs *runs, bool there);
uint64_t area_holes(const struct kho_vmalloc *area);

/* map.c */
int map_reserve(struct kho_vmalloc *area, struct kho_error *err);
void map_release(struct kho_vmalloc *area);
int map_runs(struct kho_vmalloc *area, const struct runs *runs,
	     struct kho_error *err);
int map_holes(struct kho_vmalloc *area, const struct runs *runs);

/* preserve.c */
void area_add(struct kho_vmalloc *area);
uint32_t version_in_effect(const struct kho_vmalloc *area);
int area_refuse_holes(struct kho_error *err);
int preserve_runs(struct kho_vmalloc *area, const struct runs *runs);
void unpreserve_runs(struct kho_vmalloc *area, const struct runs *runs);
void free_runs(struct kho_vmalloc *area, const struct runs *runs);

/* list.c */
int runs_add(struct runs *runs, struct run run);
int runs_join(struct runs *runs, struct run run, unsigned int page_shift);
int lists_write(struct kho_vmalloc *area, uint32_t version,
		const struct runs *runs, struct lists *lists);
int lists_append(struct kho_vmalloc *area, const struct runs *added);
void lists_publish(struct kho_vmalloc *area, uint32_t version,
		   struct lists *lists);
void lists_free(struct kho_vmalloc *area, struct lists *lists);

#pragma GCC visibility pop

#endif
