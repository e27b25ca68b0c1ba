// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading an area through a view of memory, where every byte is hostile. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kho/pages.h>

#include "data/vmalloc/private.h"

_Static_assert(sizeof(struct kho_vmalloc_desc) == 16, "format");
_Static_assert(sizeof(struct kho_vmalloc_desc_v2) == 16, "format");
_Static_assert(sizeof(struct kho_vmalloc_run) == 24, "format");
_Static_assert(sizeof(struct kho_vmalloc_list) == 24, "format");

/* The next page of the chain from @at. */
static int read_page(struct area_reader *r, uint64_t at, uint64_t phys,
		     void *page, struct reader_chain *chain)
{
	int ret;

	if (!phys || phys & ((1ull << r->in.mem->page_shift) - 1))
		return reader_fail(&r->in, -EBADMSG, at,
				   "the next list is at 0x%llx, which no page is",
				   (unsigned long long)phys);
	ret = reader_follow(&r->in, chain, phys, "lists");
	if (!ret)
		ret = reader_get(&r->in, phys, page,
				 1ull << r->in.mem->page_shift, "list");
	if (!ret &&
	    runs_add(&r->lists, (struct run){ .phys = phys, .pages = 1 }))
		ret = reader_fail(&r->in, -ENOMEM, phys, "out of memory");
	return ret;
}

static bool is_readable(const struct area_reader *r, const struct run *run)
{
	uint64_t size = run->pages << r->in.mem->page_shift;
	char byte;

	/* Without touching each page of a large area. */
	if (r->kho)
		return kho_ptr(r->kho, run->phys, size);
	return run->phys + size > run->phys &&
	       kho_mem_read(r->in.mem, run->phys, &byte, 1) == 0 &&
	       kho_mem_read(r->in.mem, run->phys + size - 1, &byte, 1) == 0;
}

/* Note a piece of the area that is described at phys @at. */
static int read_run(struct area_reader *r, uint64_t at, struct run run)
{
	uint64_t pages = 1ull << r->order;
	uint64_t block = pages << r->in.mem->page_shift;

	if (!run.phys || run.phys & (block - 1))
		return reader_fail(&r->in, -EBADMSG, at,
				   "there can be no block of %llu bytes at 0x%llx",
				   (unsigned long long)block,
				   (unsigned long long)run.phys);
	if (!run.pages || (run.pages | run.index) & (pages - 1) ||
	    run.index > KHO_VMALLOC_MAX_PAGES ||
	    run.pages > KHO_VMALLOC_MAX_PAGES - run.index)
		return reader_fail(&r->in, -EBADMSG, at,
				   "there can be no %llu pages at page %llu of the area",
				   (unsigned long long)run.pages,
				   (unsigned long long)run.index);
	if (!is_readable(r, &run))
		return reader_fail(&r->in, -EFAULT, at,
				   "the %llu pages at 0x%llx are not all in the memory",
				   (unsigned long long)run.pages,
				   (unsigned long long)run.phys);
	if (runs_join(&r->runs, run, r->in.mem->page_shift))
		return reader_fail(&r->in, -ENOMEM, at, "out of memory");
	return 0;
}

static int read_order(struct area_reader *r, uint64_t at, unsigned int order)
{
	if (order + r->in.mem->page_shift > KHO_MAX_FOLIO_SHIFT)
		return reader_fail(&r->in, -EBADMSG, at,
				   "the order of the blocks is too large: %u",
				   order);
	r->order = order;
	return 0;
}

/* Version 1. */
static int read_chunks(struct area_reader *r, void *page)
{
	const struct kho_vmalloc_desc *desc = &r->raw.v1;
	size_t i, cap = chunk_blocks(r->in.mem->page_shift);
	uint64_t at = r->desc, phys, pages = 0;
	struct reader_chain chain = { 0 };
	const struct kho_vmalloc_chunk *chunk = page;
	int ret;

	if (desc->flags & ~(KHO_VMALLOC_ALLOC | KHO_VMALLOC_HUGE_VMAP))
		return reader_fail(&r->in, -EPROTONOSUPPORT, at,
				   "flags 0x%x are not known", desc->flags);
	ret = read_order(r, at, desc->order);
	if (ret)
		return ret;
	for (phys = desc->first.phys;; phys = chunk->next.phys) {
		ret = read_page(r, at, phys, page, &chain);
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
			return reader_fail(&r->in, -EBADMSG, at,
					   "the chunk is not full, but not the last");
		if (i < cap)
			break;
	}
	if (pages != desc->total_pages)
		return reader_fail(&r->in, -EBADMSG, r->desc,
				   "%u page%s, but the chunks have %s%llu",
				   desc->total_pages,
				   desc->total_pages == 1 ? "" : "s",
				   pages > desc->total_pages ? "at least " : "",
				   (unsigned long long)pages);
	return 0;
}

static int read_list(struct area_reader *r, uint64_t at,
		     const struct kho_vmalloc_list *list, size_t n)
{
	int ret;

	if (list->magic != KHO_VMALLOC_LIST_MAGIC)
		return reader_fail(&r->in, -EBADMSG, at, "not a list of runs");
	if (list->crc != list_crc(list))
		return reader_fail(&r->in, -EBADMSG, at,
				   "the list's CRC is wrong");
	if (list->reserved || (r->lists.n > 1 && list->order != r->order))
		return reader_fail(&r->in, -EBADMSG, at,
				   "the list does not belong here");
	ret = read_order(r, at, list->order);
	for (size_t i = 0; i < n && !ret; i++) {
		const struct kho_vmalloc_run *run = &list->run[i];
		uint64_t where = at + sizeof(*list) + i * sizeof(*run);

		if (run->crc != run_crc(run))
			return reader_fail(&r->in, -EBADMSG, where,
					   "the run's CRC is wrong");
		ret = read_run(r, where,
			       (struct run){ .phys = run->phys,
					     .index = run->index,
					     .pages = run->pages });
	}
	return ret;
}

/* Version 2. */
static int read_lists(struct area_reader *r, void *page)
{
	const struct kho_vmalloc_desc_v2 *desc = &r->raw.v2;
	size_t n = desc->runs, cap = list_runs(r->in.mem->page_shift);
	const struct kho_vmalloc_list *list = page;
	uint64_t at = r->desc, phys;
	struct reader_chain chain = { 0 };
	int ret;

	if (desc->crc != desc_crc(desc))
		return reader_fail(&r->in, -EBADMSG, at,
				   "the descriptor's CRC is wrong");
	if (n > cap)
		return reader_fail(&r->in, -EBADMSG, at,
				   "%zu runs are more than a page has", n);
	for (phys = desc->first.phys; phys; phys = list->next.phys) {
		ret = read_page(r, at, phys, page, &chain);
		if (!ret)
			ret = read_list(r, phys, list, n);
		if (ret)
			return ret;
		at = phys;
		n = cap;
	}
	return r->lists.n ?
		       0 :
		       reader_fail(&r->in, -EBADMSG, at, "no list of runs");
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
static int check_phys(const struct area_reader *r)
{
	size_t n = r->runs.n + r->lists.n;
	struct run *all = calloc(n, sizeof(*all));
	int ret = 0;

	if (!all)
		return reader_fail(&r->in, -ENOMEM, r->desc, "out of memory");
	memcpy(all, r->lists.run, r->lists.n * sizeof(*all));
	if (r->runs.n)
		memcpy(all + r->lists.n, r->runs.run, r->runs.n * sizeof(*all));
	qsort(all, n, sizeof(*all), by_phys);
	for (size_t i = 1; i < n && !ret; i++)
		if (all[i - 1].phys +
			    (all[i - 1].pages << r->in.mem->page_shift) >
		    all[i].phys)
			ret = reader_fail(&r->in, -EBADMSG, r->desc,
					  "the page at 0x%llx is used twice",
					  (unsigned long long)all[i].phys);
	free(all);
	return ret;
}

/* Sort and join the runs. Does none describe what another one describes? */
static int check_index(struct area_reader *r)
{
	struct runs sorted = { 0 };
	int ret = 0;

	if (r->runs.n)
		qsort(r->runs.run, r->runs.n, sizeof(*r->runs.run), by_index);
	for (size_t i = 0; i < r->runs.n && !ret; i++) {
		const struct run *run = &r->runs.run[i];

		if (i && run[-1].index + run[-1].pages > run->index)
			ret = reader_fail(&r->in, -EBADMSG, r->desc,
					  "page %llu of the area is described twice",
					  (unsigned long long)run->index);
		else if (runs_join(&sorted, *run, r->in.mem->page_shift))
			ret = reader_fail(&r->in, -ENOMEM, r->desc,
					  "out of memory");
	}
	free(r->runs.run);
	r->runs = sorted;
	return ret;
}

/* Read and check it all. Free the reader with area_read_free(). */
int area_read(struct area_reader *r)
{
	static const union desc zeros;
	unsigned int flags;
	void *page;
	int ret;

	ret = reader_get(&r->in, r->desc, &r->raw, sizeof(r->raw),
			 "descriptor");
	if (ret)
		return ret;
	if (!memcmp(&r->raw, &zeros, sizeof(zeros)))
		return reader_fail(&r->in, -ENOENT, r->desc,
				   "the descriptor is empty: no area is preserved here");
	flags = r->raw.v1.flags;
	r->version = flags & KHO_VMALLOC_VERSIONED ?
			     flags & ~KHO_VMALLOC_VERSIONED :
			     1;
	if (r->version > KHO_VMALLOC_VERSION ||
	    (flags & KHO_VMALLOC_VERSIONED && r->version < 2))
		return reader_fail(&r->in, -EPROTONOSUPPORT, r->desc,
				   "version %u; versions 1 to %u can be read",
				   r->version, KHO_VMALLOC_VERSION);
	page = malloc(1ul << r->in.mem->page_shift);
	if (!page)
		return reader_fail(&r->in, -ENOMEM, r->desc, "out of memory");
	ret = r->version == 1 ? read_chunks(r, page) : read_lists(r, page);
	free(page);
	if (!ret)
		ret = check_phys(r);
	return ret ? ret : check_index(r);
}

void area_read_free(struct area_reader *r)
{
	free(r->runs.run);
	free(r->lists.run);
}

static void count(const struct area_reader *r, struct kho_vmalloc_stats *stats)
{
	unsigned int shift = r->in.mem->page_shift;

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
	struct area_reader reader = { .in = { "vmalloc", mem, err },
				      .desc = desc };
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
	struct area_reader reader = { .in = { "vmalloc", mem, err },
				      .desc = desc };
	unsigned int shift = mem->page_shift;
	int ret = area_read(&reader);

	for (size_t i = 0; i < reader.runs.n && !ret; i++)
		ret = run(reader.runs.run[i].index << shift,
			  reader.runs.run[i].phys,
			  reader.runs.run[i].pages << shift, arg);
	area_read_free(&reader);
	return ret;
}
