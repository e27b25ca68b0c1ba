// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Writing down where an area's memory is: chunks in version 1, lists of runs
 * in version 2. Nothing that is written counts before the descriptor does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kho/pages.h>
#include <kho/ptr.h>

#include "data/vmalloc/private.h"

int runs_add(struct runs *runs, struct run run)
{
	size_t cap = runs->cap ? 2 * runs->cap : 16;
	struct run *more;

	if (runs->n == runs->cap) {
		more = reallocarray(runs->run, cap, sizeof(*more));
		if (!more)
			return -ENOMEM;
		runs->run = more;
		runs->cap = cap;
	}
	runs->run[runs->n++] = run;
	return 0;
}

/* Make the last run longer where @run goes on, in the area and in memory. */
int runs_join(struct runs *runs, struct run run, unsigned int page_shift)
{
	struct run *last = runs->n ? &runs->run[runs->n - 1] : NULL;

	if (!last || last->index + last->pages != run.index ||
	    last->phys + (last->pages << page_shift) != run.phys)
		return runs_add(runs, run);
	last->pages += run.pages;
	return 0;
}

static size_t page_size(const struct kho_vmalloc *area)
{
	return (size_t)1 << area->kho->page_shift;
}

/* A new page for @lists; they do not lead to it yet. */
static void *lists_add(struct kho_vmalloc *area, struct lists *lists)
{
	void **more = reallocarray(lists->page, lists->n + 1, sizeof(*more));

	if (!more) {
		errno = ENOMEM;
		return NULL;
	}
	lists->page = more;
	more[lists->n] = kho_alloc_preserve(area->kho, page_size(area));
	return more[lists->n] ? more[lists->n++] : NULL;
}

/* Give all pages back but the first @n. */
static void lists_cut(struct kho_vmalloc *area, struct lists *lists, size_t n)
{
	while (lists->n > n)
		kho_unpreserve_free(area->kho, lists->page[--lists->n]);
}

void lists_free(struct kho_vmalloc *area, struct lists *lists)
{
	lists_cut(area, lists, 0);
	free(lists->page);
	memset(lists, 0, sizeof(*lists));
}

/* Version 1: the blocks in their order, and always room for one more. */
static int write_chunks(struct kho_vmalloc *area, const struct runs *runs,
			struct lists *lists)
{
	size_t n = 0, cap = chunk_blocks(area->kho->page_shift);
	uint64_t block = kho_vmalloc_block(area), pages = 0, done;
	struct kho_vmalloc_chunk *chunk, *next;

	chunk = lists_add(area, lists);
	if (!chunk)
		return -errno;
	lists->desc.v1 = (struct kho_vmalloc_desc){
		.first.phys = kho_phys(area->kho, chunk),
		.flags = KHO_VMALLOC_ALLOC,
		.order = (uint16_t)area_order(area),
	};
	if (lists->desc.v1.order)
		lists->desc.v1.flags |= KHO_VMALLOC_HUGE_VMAP;
	for (size_t i = 0; i < runs->n; i++) {
		const struct run *run = &runs->run[i];

		pages += run->pages;
		for (done = 0; done < run->pages << area->kho->page_shift;
		     done += block) {
			chunk->phys[n++] = run->phys + done;
			if (n < cap)
				continue;
			next = lists_add(area, lists);
			if (!next)
				return -errno;
			kho_ptr_store(area->kho, chunk->next, next);
			chunk = next;
			n = 0;
		}
	}
	/* An arena has less than 2^32 pages. */
	lists->desc.v1.total_pages = (uint32_t)pages;
	return 0;
}

static struct kho_vmalloc_list *new_list(struct kho_vmalloc *area,
					 struct lists *lists,
					 struct kho_vmalloc_list *previous)
{
	struct kho_vmalloc_list *list = lists_add(area, lists);

	if (!list)
		return NULL;
	list->magic = KHO_VMALLOC_LIST_MAGIC;
	kho_ptr_store(area->kho, list->next, previous);
	list->order = (uint16_t)area_order(area);
	list->crc = list_crc(list);
	return list;
}

/*
 * Version 2: add runs to none or some lists, which count with the descriptor
 * in @lists and no sooner.
 */
static int write_runs(struct kho_vmalloc *area, const struct runs *runs,
		      struct lists *lists)
{
	size_t old = lists->n, n = old ? lists->desc.v2.runs : 0, i = 0;
	struct kho_vmalloc_list *list = old ? lists->page[old - 1] : NULL;
	int ret;

	while (!list || i < runs->n) {
		struct kho_vmalloc_run *run;

		if (!list || n == list_runs(area->kho->page_shift)) {
			list = new_list(area, lists, list);
			if (!list) {
				ret = -errno;
				lists_cut(area, lists, old);
				return ret;
			}
			n = 0;
			continue;
		}
		run = &list->run[n++];
		run->phys = runs->run[i].phys;
		run->index = runs->run[i].index;
		run->pages = (uint32_t)runs->run[i++].pages;
		run->crc = run_crc(run);
	}
	lists->desc.v2 = (struct kho_vmalloc_desc_v2){
		.first.phys = kho_phys(area->kho, list),
		.flags = KHO_VMALLOC_VERSIONED | 2,
		.runs = (uint16_t)n,
	};
	lists->desc.v2.crc = desc_crc(&lists->desc.v2);
	return 0;
}

/* Write new lists; @lists is empty before, and after a failure. */
int lists_write(struct kho_vmalloc *area, uint32_t version,
		const struct runs *runs, struct lists *lists)
{
	int ret = version == 1 ? write_chunks(area, runs, lists) :
				 write_runs(area, runs, lists);

	if (ret)
		lists_free(area, lists);
	return ret;
}

/* The moment at which the area changes: one instruction stores it all. */
static void store_desc(struct kho_vmalloc *area, const union desc *desc)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
	*(volatile desc_bits *)area->desc = desc->bits;
}

/* Let @lists count, instead of what did; takes them. */
void lists_publish(struct kho_vmalloc *area, uint32_t version,
		   struct lists *lists)
{
	store_desc(area, &lists->desc);
	__atomic_store_n(&area->version, version, __ATOMIC_RELEASE);
	lists_free(area, &area->lists);
	area->lists = *lists;
}

/* Let the last run grow, when the one that was added goes on where it ends. */
static bool extend_last(struct kho_vmalloc *area, const struct run *added)
{
	typedef uint64_t __attribute__((may_alias)) tail_bits;
	const struct lists *lists = &area->lists;
	struct kho_vmalloc_list *list = lists->page[lists->n - 1];
	struct kho_vmalloc_run *last, run;
	tail_bits *tail, bits;

	if (!lists->desc.v2.runs)
		return false;
	last = &list->run[lists->desc.v2.runs - 1];
	run = *last;
	if (run.index + run.pages != added->index ||
	    run.phys + ((uint64_t)run.pages << area->kho->page_shift) !=
		    added->phys)
		return false;
	run.pages += (uint32_t)added->pages;
	run.crc = run_crc(&run);
	tail = (void *)&last->pages;
	memcpy(&bits, &run.pages, sizeof(bits));
	__atomic_store_n(tail, bits, __ATOMIC_RELEASE);
	return true;
}

/* Version 2: what was added counts too. In time that depends on it alone. */
int lists_append(struct kho_vmalloc *area, const struct runs *added)
{
	int ret;

	if (added->n == 1 && extend_last(area, &added->run[0]))
		return 0;
	ret = write_runs(area, added, &area->lists);
	if (!ret)
		store_desc(area, &area->lists.desc);
	return ret;
}
