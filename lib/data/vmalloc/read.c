// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading an area through a view of memory, where every byte is hostile. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kho/pages.h>

#include "data/vmalloc/private.h"

_Static_assert(sizeof(struct kho_vmalloc_desc) == 16, "format");
_Static_assert(sizeof(struct kho_vmalloc_desc_v2) == 16, "format");
_Static_assert(sizeof(struct kho_vmalloc_run) == 24, "format");
_Static_assert(sizeof(struct kho_vmalloc_list) == 24, "format");

/* Write down what is wrong at phys @at, when somebody wants to know. */
int area_fail(const struct reader *r, int code, uint64_t at, const char *fmt,
	      ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return kho_fail(r->err, code, "vmalloc: at 0x%llx: %s",
			(unsigned long long)at, text);
}

/*
 * The next page of the chain from @at. A page that is reached twice is reached
 * for ever, so it is enough to compare with one page, a later one each time:
 * Brent's algorithm.
 */
static int read_page(struct reader *r, uint64_t at, uint64_t phys, void *page,
		     uint64_t *mark)
{
	size_t n = r->lists.n;

	if (!phys || phys & ((1ull << r->mem->page_shift) - 1))
		return area_fail(r, -EBADMSG, at,
				 "the next list is at 0x%llx, which no page is",
				 (unsigned long long)phys);
	if (n && phys == *mark)
		return area_fail(r, -ELOOP, phys,
				 "the chain of lists does not end");
	if (!(n & (n - 1)))
		*mark = phys;
	if (kho_mem_read(r->mem, phys, page, 1ull << r->mem->page_shift) < 0)
		return area_fail(r, -EFAULT, phys,
				 "the list is outside the memory");
	if (runs_add(&r->lists, (struct run){ .phys = phys, .pages = 1 }))
		return area_fail(r, -ENOMEM, phys, "out of memory");
	return 0;
}

static bool is_readable(const struct reader *r, const struct run *run)
{
	uint64_t size = run->pages << r->mem->page_shift;
	char byte;

	/* Without touching each page of a large area. */
	if (r->kho)
		return kho_ptr(r->kho, run->phys, size);
	return run->phys + size > run->phys &&
	       kho_mem_read(r->mem, run->phys, &byte, 1) == 0 &&
	       kho_mem_read(r->mem, run->phys + size - 1, &byte, 1) == 0;
}

/* Note a piece of the area that is described at phys @at. */
static int read_run(struct reader *r, uint64_t at, struct run run)
{
	uint64_t pages = 1ull << r->order;
	uint64_t block = pages << r->mem->page_shift;

	if (!run.phys || run.phys & (block - 1))
		return area_fail(r, -EBADMSG, at,
				 "there can be no block of %llu bytes at 0x%llx",
				 (unsigned long long)block,
				 (unsigned long long)run.phys);
	if (!run.pages || (run.pages | run.index) & (pages - 1) ||
	    run.index > KHO_VMALLOC_MAX_PAGES ||
	    run.pages > KHO_VMALLOC_MAX_PAGES - run.index)
		return area_fail(r, -EBADMSG, at,
				 "there can be no %llu pages at page %llu of the area",
				 (unsigned long long)run.pages,
				 (unsigned long long)run.index);
	if (!is_readable(r, &run))
		return area_fail(r, -EFAULT, at,
				 "the %llu pages at 0x%llx are not all in the memory",
				 (unsigned long long)run.pages,
				 (unsigned long long)run.phys);
	if (runs_join(&r->runs, run, r->mem->page_shift))
		return area_fail(r, -ENOMEM, at, "out of memory");
	return 0;
}

static int read_order(struct reader *r, uint64_t at, unsigned int order)
{
	if (order + r->mem->page_shift > KHO_MAX_FOLIO_SHIFT)
		return area_fail(r, -EBADMSG, at,
				 "the order of the blocks is too large: %u",
				 order);
	r->order = order;
	return 0;
}

/* Version 1. */
static int read_chunks(struct reader *r, void *page)
{
	const struct kho_vmalloc_desc *desc = &r->raw.v1;
	size_t i, cap = chunk_blocks(r->mem->page_shift);
	uint64_t at = r->desc, phys, mark = 0, pages = 0;
	const struct kho_vmalloc_chunk *chunk = page;
	int ret;

	if (desc->flags & ~(KHO_VMALLOC_ALLOC | KHO_VMALLOC_HUGE_VMAP))
		return area_fail(r, -EPROTONOSUPPORT, at,
				 "flags 0x%x are not known", desc->flags);
	ret = read_order(r, at, desc->order);
	if (ret)
		return ret;
	for (phys = desc->first.phys;; phys = chunk->next.phys) {
		ret = read_page(r, at, phys, page, &mark);
		if (ret)
			return ret;
		at = phys;
		for (i = 0; i < cap && chunk->phys[i]; i++) {
			ret = read_run(r,
				       at + sizeof(*chunk) +
					       i * sizeof(chunk->phys[0]),
				       (struct run){ .phys = chunk->phys[i],
						     .index = pages,
						     .pages = 1ull
							      << r->order });
			if (ret)
				return ret;
			pages += 1ull << r->order;
		}
		if (pages > desc->total_pages)
			break;
		/* There is another chunk exactly when this one is full. */
		if (i < cap && chunk->next.phys)
			return area_fail(r, -EBADMSG, at,
					 "the chunk is not full, but not the last");
		if (i < cap)
			break;
	}
	if (pages != desc->total_pages)
		return area_fail(r, -EBADMSG, r->desc,
				 "%u pages, but the chunks have %s%llu",
				 desc->total_pages,
				 pages > desc->total_pages ? "at least " : "",
				 (unsigned long long)pages);
	return 0;
}

static int read_list(struct reader *r, uint64_t at,
		     const struct kho_vmalloc_list *list, size_t n)
{
	int ret;

	if (list->magic != KHO_VMALLOC_LIST_MAGIC)
		return area_fail(r, -EBADMSG, at, "not a list of runs");
	if (list->crc != list_crc(list))
		return area_fail(r, -EBADMSG, at, "the list's CRC is wrong");
	if (list->reserved || (r->lists.n > 1 && list->order != r->order))
		return area_fail(r, -EBADMSG, at,
				 "the list does not belong here");
	ret = read_order(r, at, list->order);
	for (size_t i = 0; i < n && !ret; i++) {
		const struct kho_vmalloc_run *run = &list->run[i];
		uint64_t where = at + sizeof(*list) + i * sizeof(*run);

		if (run->crc != run_crc(run))
			return area_fail(r, -EBADMSG, where,
					 "the run's CRC is wrong");
		ret = read_run(r, where,
			       (struct run){ .phys = run->phys,
					     .index = run->index,
					     .pages = run->pages });
	}
	return ret;
}

/* Version 2. */
static int read_lists(struct reader *r, void *page)
{
	const struct kho_vmalloc_desc_v2 *desc = &r->raw.v2;
	size_t n = desc->runs, cap = list_runs(r->mem->page_shift);
	const struct kho_vmalloc_list *list = page;
	uint64_t at = r->desc, phys, mark = 0;
	int ret;

	if (desc->crc != desc_crc(desc))
		return area_fail(r, -EBADMSG, at,
				 "the descriptor's CRC is wrong");
	if (n > cap)
		return area_fail(r, -EBADMSG, at,
				 "%zu runs are more than a page has", n);
	for (phys = desc->first.phys; phys; phys = list->next.phys) {
		ret = read_page(r, at, phys, page, &mark);
		if (!ret)
			ret = read_list(r, phys, list, n);
		if (ret)
			return ret;
		at = phys;
		n = cap;
	}
	return r->lists.n ? 0 : area_fail(r, -EBADMSG, at, "no list of runs");
}

static int by_phys(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	return x->phys < y->phys ? -1 : x->phys > y->phys;
}

static int by_index(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	return x->index < y->index ? -1 : x->index > y->index;
}

/* Is no page of memory used twice? */
static int check_phys(const struct reader *r)
{
	size_t n = r->runs.n + r->lists.n;
	struct run *all = calloc(n, sizeof(*all));
	int ret = 0;

	if (!all)
		return area_fail(r, -ENOMEM, r->desc, "out of memory");
	memcpy(all, r->lists.run, r->lists.n * sizeof(*all));
	if (r->runs.n)
		memcpy(all + r->lists.n, r->runs.run, r->runs.n * sizeof(*all));
	qsort(all, n, sizeof(*all), by_phys);
	for (size_t i = 1; i < n && !ret; i++)
		if (all[i - 1].phys + (all[i - 1].pages << r->mem->page_shift) >
		    all[i].phys)
			ret = area_fail(r, -EBADMSG, r->desc,
					"the page at 0x%llx is used twice",
					(unsigned long long)all[i].phys);
	free(all);
	return ret;
}

/* Sort and join the runs. Does none describe what another one describes? */
static int check_index(struct reader *r)
{
	struct runs sorted = { 0 };
	int ret = 0;

	if (r->runs.n)
		qsort(r->runs.run, r->runs.n, sizeof(*r->runs.run), by_index);
	for (size_t i = 0; i < r->runs.n && !ret; i++) {
		const struct run *run = &r->runs.run[i];

		if (i && run[-1].index + run[-1].pages > run->index)
			ret = area_fail(r, -EBADMSG, r->desc,
					"page %llu of the area is described twice",
					(unsigned long long)run->index);
		else if (runs_join(&sorted, *run, r->mem->page_shift))
			ret = area_fail(r, -ENOMEM, r->desc, "out of memory");
	}
	free(r->runs.run);
	r->runs = sorted;
	return ret;
}

/* Read and check it all. Free the reader with area_read_free(). */
int area_read(struct reader *r)
{
	static const union desc zeros;
	unsigned int flags;
	void *page;
	int ret;

	if (kho_mem_read(r->mem, r->desc, &r->raw, sizeof(r->raw)) < 0)
		return area_fail(r, -EFAULT, r->desc,
				 "the descriptor is outside the memory");
	if (!memcmp(&r->raw, &zeros, sizeof(zeros)))
		return area_fail(r, -ENOENT, r->desc,
				 "the descriptor is empty: no area is preserved here");
	flags = r->raw.v1.flags;
	r->version = flags & KHO_VMALLOC_VERSIONED ?
			     flags & ~KHO_VMALLOC_VERSIONED :
			     1;
	if (r->version > KHO_VMALLOC_VERSION ||
	    (flags & KHO_VMALLOC_VERSIONED && r->version < 2))
		return area_fail(r, -EPROTONOSUPPORT, r->desc,
				 "version %u; versions 1 to %u can be read",
				 r->version, KHO_VMALLOC_VERSION);
	page = malloc(1ul << r->mem->page_shift);
	if (!page)
		return area_fail(r, -ENOMEM, r->desc, "out of memory");
	ret = r->version == 1 ? read_chunks(r, page) : read_lists(r, page);
	free(page);
	if (!ret)
		ret = check_phys(r);
	return ret ? ret : check_index(r);
}

void area_read_free(struct reader *r)
{
	free(r->runs.run);
	free(r->lists.run);
}

static void count(const struct reader *r, struct kho_vmalloc_stats *stats)
{
	unsigned int shift = r->mem->page_shift;

	*stats = (struct kho_vmalloc_stats){
		.version = r->version,
		.block = 1ull << (r->order + shift),
		.runs = r->runs.n,
		.lists = r->lists.n,
	};
	for (size_t i = 0; i < r->runs.n; i++) {
		const struct run *run = &r->runs.run[i];

		stats->populated += run->pages << shift;
		stats->size = (run->index + run->pages) << shift;
	}
}

int kho_vmalloc_verify(const struct kho_mem *mem, uint64_t desc,
		       struct kho_vmalloc_stats *stats, struct kho_error *err)
{
	struct reader reader = { .mem = mem, .desc = desc, .err = err };
	int ret = area_read(&reader);

	if (!ret && stats)
		count(&reader, stats);
	area_read_free(&reader);
	return ret;
}

int kho_vmalloc_walk(const struct kho_mem *mem, uint64_t desc,
		     int (*run)(uint64_t offset, uint64_t phys, uint64_t size,
				void *arg),
		     void *arg, struct kho_error *err)
{
	struct reader reader = { .mem = mem, .desc = desc, .err = err };
	unsigned int shift = mem->page_shift;
	int ret = area_read(&reader);

	for (size_t i = 0; i < reader.runs.n && !ret; i++)
		ret = run(reader.runs.run[i].index << shift,
			  reader.runs.run[i].phys,
			  reader.runs.run[i].pages << shift, arg);
	area_read_free(&reader);
	return ret;
}
