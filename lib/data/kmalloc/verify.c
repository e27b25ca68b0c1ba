// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading a cache through a view of memory, where every byte is hostile. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/kmalloc/private.h"

_Static_assert(sizeof(struct kho_kmalloc_head) == 32, "format");
_Static_assert(sizeof(struct kho_kmalloc_slab) == 40, "format");

/* Write down what is wrong at phys @at, when somebody wants to know. */
int read_fail(const struct reader *r, int code, uint64_t at, const char *fmt,
	      ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return kho_fail(r->err, code, "kmalloc: at 0x%llx: %s",
			(unsigned long long)at, text);
}

int read_head(struct reader *r)
{
	const struct kho_kmalloc_head *head = &r->head;

	if (!r->phys || r->phys & ((1ull << r->mem->page_shift) - 1))
		return read_fail(r, -EBADMSG, r->phys,
				 "a cache's head starts a page");
	if (kho_mem_read(r->mem, r->phys, &r->head, sizeof(r->head)) < 0)
		return read_fail(r, -EFAULT, r->phys,
				 "the head is outside the memory");
	if (head->magic != KHO_KMALLOC_HEAD_MAGIC)
		return read_fail(r, -EBADMSG, r->phys,
				 "not the head of a cache");
	if (head->crc != head_crc(head))
		return read_fail(r, -EBADMSG, r->phys,
				 "the head's CRC is wrong");
	if (head->version != KHO_KMALLOC_VERSION)
		return read_fail(r, -EPROTONOSUPPORT, r->phys,
				 "version %u; version %u can be read",
				 head->version, KHO_KMALLOC_VERSION);
	if (head->reserved || head->slab_shift < KHO_KMALLOC_SLAB_SHIFT_MIN ||
	    head->slab_shift > KHO_KMALLOC_SLAB_SHIFT_MAX ||
	    head->slab_shift <= r->mem->page_shift)
		return read_fail(r, -EBADMSG, r->phys,
				 "the head has a bad slab shift, %u",
				 head->slab_shift);
	return 0;
}

static int read_slab_header(struct reader *r, uint64_t phys,
			    struct kho_kmalloc_slab *hdr)
{
	uint64_t slab_size = 1ull << r->head.slab_shift;

	if (kho_mem_read(r->mem, phys, hdr, sizeof(*hdr)) < 0)
		return read_fail(r, -EFAULT, phys,
				 "the slab is outside the memory");
	if (hdr->magic != KHO_KMALLOC_SLAB_MAGIC)
		return read_fail(r, -EBADMSG, phys, "not a slab");
	if (hdr->crc != slab_crc(hdr))
		return read_fail(r, -EBADMSG, phys, "the slab's CRC is wrong");
	if (hdr->head.phys != r->phys)
		return read_fail(r, -EBADMSG, phys,
				 "the slab belongs to the cache at 0x%llx",
				 (unsigned long long)hdr->head.phys);
	if (!hdr->size || hdr->size % KHO_KMALLOC_ALIGN ||
	    hdr->size > 1u << (r->mem->page_shift - 1))
		return read_fail(r, -EBADMSG, phys,
				 "the slab has a bad object size, %u",
				 hdr->size);
	if (!hdr->objects || hdr->objects > slab_size / hdr->size ||
	    hdr->first % size_align(hdr->size) ||
	    hdr->first < slab_first(hdr->size, hdr->objects) ||
	    hdr->first + (uint64_t)hdr->objects * hdr->size > slab_size)
		return read_fail(r, -EBADMSG, phys,
				 "%u objects of %u bytes at offset %u do not fit the slab",
				 hdr->objects, hdr->size, hdr->first);
	return 0;
}

static int read_slab(struct reader *r, uint64_t phys,
		     struct kho_kmalloc_slab *hdr, uint64_t *map)
{
	uint32_t w, words, valid;
	int ret;

	ret = read_slab_header(r, phys, hdr);
	if (ret < 0)
		return ret;
	words = map_words(hdr->objects);
	if (kho_mem_read(r->mem, phys + sizeof(*hdr), map,
			 words * sizeof(*map)) < 0)
		return read_fail(r, -EFAULT, phys,
				 "the slab's map is outside the memory");
	for (w = 0; w < words; w++) {
		valid = map_valid(hdr->objects, w);
		if ((map_allocated(map[w]) ^ map_free(map[w])) != valid ||
		    (map_allocated(map[w]) & map_free(map[w])))
			return read_fail(r, -EBADMSG, phys,
					 "word %u of the slab's map is damaged: 0x%016llx",
					 w, (unsigned long long)map[w]);
		ret = __builtin_popcount(map_allocated(map[w]));
		r->stats.objects += (uint64_t)ret;
		r->stats.bytes += (uint64_t)ret * hdr->size;
	}
	r->stats.capacity += hdr->objects;
	r->stats.slabs++;
	return r->slab ? r->slab(r, phys, hdr, map) : 0;
}

/*
 * Follow the chain. A slab that is reached twice is reached for ever, so
 * remembering one slab is enough when it is a later one each time: Brent's
 * algorithm.
 */
static int read_chain(struct reader *r, uint64_t *map)
{
	uint64_t link = r->head.slabs, at = r->phys;
	uint64_t phys, mark = 0, n = 0, next_mark = 1;
	uint64_t slab_mask = (1ull << r->head.slab_shift) - 1;
	struct kho_kmalloc_slab hdr;
	int ret;

	for (;; link = hdr.next, at = phys) {
		phys = link & ~LINK_CHECK_MASK;
		if (link != link_make(phys) || phys & slab_mask)
			return read_fail(r, -EBADMSG, at,
					 "the link to the next slab is damaged: 0x%016llx",
					 (unsigned long long)link);
		if (!phys)
			return 0;
		if (phys == mark)
			return read_fail(r, -ELOOP, phys,
					 "the chain of slabs does not end");
		if (++n == next_mark) {
			mark = phys;
			next_mark *= 2;
		}
		if (phys == (r->phys & ~slab_mask))
			return read_fail(r, -EBADMSG, phys,
					 "the slab would contain the cache's head");
		ret = read_slab(r, phys, &hdr, map);
		if (ret)
			return ret;
	}
}

/* Check and count the slabs of a cache whose head was read. */
int read_slabs(struct reader *r)
{
	uint64_t *map;
	int ret;

	memset(&r->stats, 0, sizeof(r->stats));
	r->stats.slab_size = 1ull << r->head.slab_shift;
	map = calloc(max_map_words(r->head.slab_shift), sizeof(*map));
	if (!map)
		return read_fail(r, -ENOMEM, r->phys, "out of memory");
	ret = read_chain(r, map);
	free(map);
	return ret;
}

int kho_kmem_verify(const struct kho_mem *mem, uint64_t phys,
		    struct kho_kmem_stats *stats, struct kho_error *err)
{
	struct reader reader = { .mem = mem, .phys = phys, .err = err };
	int ret;

	ret = read_head(&reader);
	if (!ret)
		ret = read_slabs(&reader);
	if (!ret && stats)
		*stats = reader.stats;
	return ret;
}
