// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Preserve, unpreserve, convert and restore an area. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kho/compat.h>
#include <kho/pages.h>
#include <kho/tree.h>

#include "data/vmalloc/private.h"

static int can_write(struct kho *kho, uint32_t version, void *arg,
		     struct kho_error *why);
static int convert(struct kho *kho, uint32_t version, void *arg,
		   struct kho_error *why);

static const struct kho_component_ops vmalloc_ops = {
	.can_write = can_write,
	.convert = convert,
};
KHO_COMPONENT_OPS(vmalloc, &vmalloc_ops, .write = { 1, KHO_VMALLOC_VERSION },
		  .read = { 1, KHO_VMALLOC_VERSION },
		  .flags = KHO_COMPONENT_STRUCTURE | KHO_COMPONENT_CAN_WRITE |
			   KHO_COMPONENT_CONVERT);

/* An area is complete: from now on it can be converted. */
void area_add(struct kho_vmalloc *area)
{
	instances_add(area->kho, &area->instance, &vmalloc_component);
}

uint32_t version_in_effect(const struct kho_vmalloc *area)
{
	return kho_version(area->kho, &vmalloc_component);
}

int area_refuse_holes(struct kho_error *err)
{
	return kho_fail(err, -EOPNOTSUPP,
			"vmalloc: an area with holes needs version 2, and version 1 is in effect: raise it with kho_set_version()");
}

static uint64_t block_pages(const struct kho_vmalloc *area)
{
	return 1ull << area_order(area);
}

static void *page_ptr(const struct kho_vmalloc *area, const struct run *run,
		      uint64_t page)
{
	return kho_ptr(area->kho, run->phys + (page << area->kho->page_shift),
		       1);
}

/* The first @pages of a run. */
static void unpreserve_run(struct kho_vmalloc *area, const struct run *run,
			   uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i += block_pages(area))
		kho_unpreserve_pages(area->kho, page_ptr(area, run, i),
				     block_pages(area));
}

void unpreserve_runs(struct kho_vmalloc *area, const struct runs *runs)
{
	for (size_t i = 0; i < runs->n; i++)
		unpreserve_run(area, &runs->run[i], runs->run[i].pages);
}

/* Each block as one folio, because version 1 knows nothing else. */
static int preserve_run(struct kho_vmalloc *area, const struct run *run)
{
	int ret;

	for (uint64_t i = 0; i < run->pages; i += block_pages(area)) {
		ret = kho_preserve_pages(area->kho, page_ptr(area, run, i),
					 block_pages(area));
		if (ret) {
			unpreserve_run(area, run, i);
			return ret;
		}
	}
	return 0;
}

/* All or nothing. */
int preserve_runs(struct kho_vmalloc *area, const struct runs *runs)
{
	struct runs done = { .run = runs->run };
	int ret;

	for (; done.n < runs->n; done.n++) {
		ret = preserve_run(area, &runs->run[done.n]);
		if (ret) {
			unpreserve_runs(area, &done);
			return ret;
		}
	}
	return 0;
}

void free_runs(struct kho_vmalloc *area, const struct runs *runs)
{
	for (size_t i = 0; i < runs->n; i++)
		kho_free_pages(area->kho, page_ptr(area, &runs->run[i], 0),
			       runs->run[i].pages);
}

static int preserve(struct kho_vmalloc *area, struct kho_vmalloc_desc *desc,
		    struct kho_error *err)
{
	uint32_t version = version_in_effect(area);
	struct lists lists = { 0 };
	struct runs runs = { 0 };
	int ret;

	if (area->version)
		return kho_fail(err, -EEXIST,
				"vmalloc: the area is preserved already");
	if (!kho_writable(area->kho))
		return kho_fail(err, -EROFS, "vmalloc: the arena is read-only");
	if (version == 1 && area_holes(area))
		return area_refuse_holes(err);
	ret = area_runs(area, 0, UINT64_MAX, &runs);
	if (!ret)
		ret = lists_write(area, version, &runs, &lists);
	if (!ret)
		ret = preserve_runs(area, &runs);
	if (!ret) {
		area->desc = desc;
		lists_publish(area, version, &lists);
	} else {
		lists_free(area, &lists);
		kho_fail(err, ret,
			 "vmalloc: cannot write where the memory is: %s",
			 strerror(-ret));
	}
	free(runs.run);
	return ret;
}

static int check_desc(const struct kho *kho,
		      const struct kho_vmalloc_desc *desc,
		      struct kho_error *err)
{
	if ((uintptr_t)desc % _Alignof(struct kho_vmalloc_desc) == 0 &&
	    kho_ptr(kho, kho_phys(kho, desc), sizeof(*desc)))
		return 0;
	return kho_fail(err, -EINVAL,
			"vmalloc: the descriptor must be in the arena, at a multiple of 8 bytes");
}

int kho_vmalloc_preserve(struct kho_vmalloc *area,
			 struct kho_vmalloc_desc *desc, struct kho_error *err)
{
	int ret = check_desc(area->kho, desc, err);

	if (ret)
		return ret;
	pthread_mutex_lock(&area->lock);
	ret = preserve(area, desc, err);
	pthread_mutex_unlock(&area->lock);
	return ret;
}

static int unpreserve(struct kho_vmalloc *area)
{
	struct lists none = { 0 };

	if (!kho_writable(area->kho))
		return -EROFS;
	if (!area->version)
		return -ENOENT;
	lists_publish(area, 0, &none);
	for (uint64_t i = 0; i < area->end >> area->block_shift; i++)
		if (area->table[i])
			kho_unpreserve_pages(area->kho,
					     kho_ptr(area->kho, area->table[i],
						     1),
					     block_pages(area));
	return 0;
}

int kho_vmalloc_unpreserve(struct kho_vmalloc *area)
{
	int ret;

	pthread_mutex_lock(&area->lock);
	ret = unpreserve(area);
	pthread_mutex_unlock(&area->lock);
	return ret;
}

int kho_vmalloc_destroy(struct kho_vmalloc *area)
{
	int ret = area ? kho_vmalloc_unpreserve(area) : 0;

	if (ret && ret != -ENOENT)
		return ret;
	kho_vmalloc_close(area);
	return 0;
}

static int claim_lists(struct kho_vmalloc *area, const struct area_reader *r)
{
	struct lists *lists = &area->lists;
	uint64_t phys;
	int ret;

	lists->desc = r->raw;
	lists->page = calloc(r->lists.n, sizeof(*lists->page));
	if (!lists->page)
		return reader_fail(&r->in, -ENOMEM, r->desc, "out of memory");
	lists->n = r->lists.n;
	/* In version 2 the chain begins with the page that was made last. */
	for (size_t i = 0; i < lists->n; i++) {
		phys = r->lists.run[lists->n - 1 - i].phys;
		ret = pages_claim_folio(area->kho, &r->in, phys,
					1ul << area->kho->page_shift,
					&lists->page[i]);
		if (ret)
			return ret;
	}
	return 0;
}

static int claim_runs(struct kho_vmalloc *area, const struct area_reader *r)
{
	size_t n = block_pages(area);
	int ret = 0;

	for (size_t i = 0; !ret && i < r->runs.n; i++) {
		const struct run *run = &r->runs.run[i];

		for (uint64_t page = 0; !ret && page < run->pages; page += n)
			ret = pages_claim(area->kho, &r->in,
					  run->phys +
						  (page
						   << area->kho->page_shift),
					  n);
	}
	return ret;
}

/* Make an area of what was read and checked. */
static int restore(struct kho *kho, struct kho_vmalloc_desc *desc, uint64_t max,
		   const struct area_reader *r, struct kho_vmalloc **result)
{
	const struct run *last = r->runs.n ? &r->runs.run[r->runs.n - 1] : NULL;
	uint64_t end = last ? (last->index + last->pages) << kho->page_shift :
			      1;
	struct kho_vmalloc *area;
	int ret;

	ret = area_new(kho, max > end ? max : end, kho->page_shift + r->order,
		       &area, r->in.err);
	if (ret)
		return ret;
	area->version = r->version;
	area->desc = desc;
	ret = claim_lists(area, r);
	if (!ret)
		ret = claim_runs(area, r);
	if (!ret) {
		pthread_mutex_lock(&area->lock);
		ret = map_runs(area, &r->runs, r->in.err);
		if (!ret)
			area_set(area, &r->runs, true);
		pthread_mutex_unlock(&area->lock);
	}
	if (ret) {
		area_free(area);
		return ret;
	}
	area_add(area);
	*result = area;
	return 0;
}

int kho_vmalloc_restore(struct kho *kho, struct kho_vmalloc_desc *desc,
			uint64_t max, struct kho_vmalloc **area,
			struct kho_error *err)
{
	struct kho_mem_live live = mem_live(kho);
	struct area_reader reader = {
		.in = { "vmalloc", &live.mem, err },
		.kho = kho,
		.desc = kho_phys(kho, desc),
	};
	int ret;

	ret = check_desc(kho, desc, err);
	if (!ret)
		ret = area_read(&reader);
	if (!ret)
		ret = restore(kho, desc, max, &reader, area);
	area_read_free(&reader);
	return ret;
}

/* ---- Another version ---- */

static struct kho_vmalloc *to_area(struct instance *instance)
{
	return (struct kho_vmalloc *)((char *)instance -
				      offsetof(struct kho_vmalloc, instance));
}

static int check_holes(const struct kho_vmalloc *area, uint32_t version,
		       struct kho_error *why)
{
	if (!area->version || version > 1 || !area_holes(area))
		return 0;
	return kho_fail(why, -EOPNOTSUPP,
			"area at 0x%llx has holes (%llu bytes): populate or drop them",
			(unsigned long long)kho_phys(area->kho, area->desc),
			(unsigned long long)area_holes(area));
}

static int can_write_area(struct instance *instance, uint32_t version,
			  struct kho_error *why)
{
	struct kho_vmalloc *area = to_area(instance);
	int ret;

	pthread_mutex_lock(&area->lock);
	ret = check_holes(area, version, why);
	pthread_mutex_unlock(&area->lock);
	return ret;
}

static int can_write(struct kho *kho, uint32_t version, void *arg,
		     struct kho_error *why)
{
	(void)arg;
	return instances_each(kho, &vmalloc_component, can_write_area, version,
			      why);
}

/* The same memory in the same place, and in every moment one descriptor. */
static int convert_to(struct kho_vmalloc *area, uint32_t version,
		      struct kho_error *why)
{
	struct lists lists = { 0 };
	struct runs runs = { 0 };
	int ret = check_holes(area, version, why);

	if (ret)
		return ret;
	if (!kho_writable(area->kho))
		return kho_fail(why, -EROFS, "the arena is read-only");
	ret = area_runs(area, 0, UINT64_MAX, &runs);
	if (!ret)
		ret = lists_write(area, version, &runs, &lists);
	if (!ret)
		lists_publish(area, version, &lists);
	free(runs.run);
	return ret ? kho_fail(why, ret,
			      "no room to write where the memory of the area at 0x%llx is: %s",
			      (unsigned long long)kho_phys(area->kho,
							   area->desc),
			      strerror(-ret)) :
		     0;
}

static int convert_area(struct instance *instance, uint32_t version,
			struct kho_error *why)
{
	struct kho_vmalloc *area = to_area(instance);
	int ret = 0;

	pthread_mutex_lock(&area->lock);
	if (area->version && area->version != version)
		ret = convert_to(area, version, why);
	pthread_mutex_unlock(&area->lock);
	return ret;
}

static int convert(struct kho *kho, uint32_t version, void *arg,
		   struct kho_error *why)
{
	(void)arg;
	return instances_each(kho, &vmalloc_component, convert_area, version,
			      why);
}
