// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The life of a cache: create, restore, close, destroy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kho/compat.h>
#include <kho/pages.h>

#include "data/kmalloc/private.h"

KHO_COMPONENT(kmalloc, .write = { 1, KHO_KMALLOC_VERSION },
	      .read = { 1, KHO_KMALLOC_VERSION },
	      .flags = KHO_COMPONENT_STRUCTURE);

/* A slab of 16 pages holds 31 objects of half a page: 3 % for the header. */
#define SLAB_PAGES_SHIFT 4

/* The volatile side of a cache without slabs. */
static struct kho_kmem *kmem_alloc(struct kho *kho, unsigned int slab_shift)
{
	unsigned int page_shift = kho_page_shift(kho);
	struct kho_pages_info info;
	struct kho_kmem *kmem;
	uint64_t pages;

	kmem = aligned_alloc(_Alignof(struct kho_kmem), sizeof(*kmem));
	if (!kmem)
		return NULL;
	memset(kmem, 0, sizeof(*kmem));
	kmem->kho = kho;
	kmem->slab_shift = slab_shift;
	kmem->max_size = (size_t)1 << (page_shift - 1);
	/* One pointer for each place a slab can be; untouched ones cost none. */
	kho_pages_info(kho, &info);
	pages = info.max > info.total ? info.max : info.total;
	kmem->table_len = (pages >> (slab_shift - page_shift)) + 1;
	kmem->table = calloc(kmem->table_len, sizeof(struct slab *));
	if (!kmem->table) {
		free(kmem);
		return NULL;
	}
	pthread_mutex_init(&kmem->lock, NULL);
	TAILQ_INIT(&kmem->chain);
	TAILQ_INIT(&kmem->spare);
	kmem_init_classes(kmem);
	return kmem;
}

int kho_kmem_create(struct kho *kho, struct kho_kmem **result,
		    struct kho_error *err)
{
	unsigned int slab_shift = kho_page_shift(kho) + SLAB_PAGES_SHIFT;
	struct kho_kmalloc_head *head;
	struct kho_kmem *kmem;
	int ret;

	kmem = kmem_alloc(kho, slab_shift);
	if (!kmem)
		return arena_refuses(kho, "kmalloc", -ENOMEM, err);
	head = kho_alloc_preserve(kho, sizeof(*head));
	if (!head) {
		ret = arena_refuses(kho, "kmalloc", -errno, err);
		kho_kmem_close(kmem);
		return ret;
	}
	head->magic = KHO_KMALLOC_HEAD_MAGIC;
	head->version = KHO_KMALLOC_VERSION;
	head->slab_shift = slab_shift;
	head->crc = head_crc(head);
	head->slabs = link_make(0);
	kmem->head = head;
	kmem->phys = kho_phys(kho, head);
	*result = kmem;
	return 0;
}

static int claim_slab(struct cache_reader *r, uint64_t phys,
		      const struct kho_kmalloc_slab *hdr, const uint64_t *map)
{
	void *folio;
	int ret;

	ret = pages_claim_folio(r->kmem->kho, &r->in, phys,
				(size_t)1 << r->head.slab_shift, &folio);
	if (ret < 0)
		return ret;
	ret = slab_restore(r->kmem, folio, hdr, map);
	if (ret < 0)
		return reader_fail(&r->in, ret, phys, "out of memory");
	return 0;
}

int kho_kmem_restore(struct kho *kho, uint64_t phys, struct kho_kmem **result,
		     struct kho_error *err)
{
	struct kho_mem_live live = mem_live(kho);
	struct cache_reader reader = { .in = { "kmalloc", &live.mem, err },
				       .phys = phys };
	struct kho_kmem *kmem;
	void *head;
	int ret;

	ret = read_head(&reader);
	if (!ret)
		ret = read_slabs(&reader);
	if (ret < 0)
		return ret;
	kmem = kmem_alloc(kho, reader.head.slab_shift);
	if (!kmem)
		return reader_fail(&reader.in, -ENOMEM, phys, "out of memory");
	reader.kmem = kmem;
	ret = pages_claim_folio(kho, &reader.in, phys,
				(size_t)1 << kho_page_shift(kho), &head);
	if (!ret) {
		kmem->head = head;
		kmem->phys = phys;
		reader.slab = claim_slab;
		ret = read_slabs(&reader);
	}
	if (ret < 0) {
		kho_kmem_close(kmem);
		return ret;
	}
	*result = kmem;
	return 0;
}

uint64_t kho_kmem_phys(const struct kho_kmem *kmem)
{
	return kmem->phys;
}

size_t kho_kmem_max_size(const struct kho_kmem *kmem)
{
	return kmem->max_size;
}

void kho_kmem_close(struct kho_kmem *kmem)
{
	struct slab *slab;
	unsigned int i;

	if (!kmem)
		return;
	TAILQ_CONCAT(&kmem->chain, &kmem->spare, chain);
	while ((slab = TAILQ_FIRST(&kmem->chain))) {
		TAILQ_REMOVE(&kmem->chain, slab, chain);
		free(slab);
	}
	for (i = 0; i < kmem->n_classes; i++)
		pthread_mutex_destroy(&kmem->classes[i].lock);
	pthread_mutex_destroy(&kmem->lock);
	free(kmem->table);
	free(kmem);
}

int kho_kmem_destroy(struct kho_kmem *kmem)
{
	struct slab *slab;

	if (!kmem)
		return 0;
	if (!kho_writable(kmem->kho))
		return -EROFS;
	/* Empty before the first slab goes. */
	__atomic_store_n(&kmem->head->slabs, link_make(0), __ATOMIC_RELEASE);
	for (slab = TAILQ_FIRST(&kmem->chain); slab;
	     slab = TAILQ_NEXT(slab, chain))
		kho_unpreserve_free(kmem->kho, slab->hdr);
	kho_unpreserve_free(kmem->kho, kmem->head);
	kho_kmem_close(kmem);
	return 0;
}
