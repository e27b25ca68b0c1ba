// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading a cache through a view of memory, where every byte is hostile. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "data/kmalloc/private.h"

_Static_assert(sizeof(struct kho_kmalloc_head) == 32, "format");
_Static_assert(sizeof(struct kho_kmalloc_slab) == 40, "format");

int read_head(struct cache_reader *r)
{
	const struct kho_kmalloc_head *head = &r->head;
	int ret;

	if (!r->phys || r->phys & ((1ull << r->in.mem->page_shift) - 1))
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "a cache's head starts a page");
	ret = reader_get(&r->in, r->phys, &r->head, sizeof(r->head), "head");
	if (ret)
		return ret;
	if (head->magic != KHO_KMALLOC_HEAD_MAGIC)
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "not the head of a cache");
	if (head->crc != head_crc(head))
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "the head's CRC is wrong");
	if (head->version != KHO_KMALLOC_VERSION)
		return reader_fail(&r->in, -EPROTONOSUPPORT, r->phys,
				   "version %u; version %u can be read",
				   head->version, KHO_KMALLOC_VERSION);
	if (head->reserved || head->slab_shift < KHO_KMALLOC_SLAB_SHIFT_MIN ||
	    head->slab_shift > KHO_KMALLOC_SLAB_SHIFT_MAX ||
	    head->slab_shift <= r->in.mem->page_shift)
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "the head has a bad slab shift, %u",
				   head->slab_shift);
	return 0;
}

static int read_slab_header(struct cache_reader *r, uint64_t phys,
			    struct kho_kmalloc_slab *hdr)
{
	uint64_t slab_size = 1ull << r->head.slab_shift;
	int ret = reader_get(&r->in, phys, hdr, sizeof(*hdr), "slab");

	if (ret)
		return ret;
	if (hdr->magic != KHO_KMALLOC_SLAB_MAGIC)
		return reader_fail(&r->in, -EBADMSG, phys, "not a slab");
	if (hdr->crc != slab_crc(hdr))
		return reader_fail(&r->in, -EBADMSG, phys,
				   "the slab's CRC is wrong");
	if (hdr->head.phys != r->phys)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "the slab belongs to the cache at 0x%llx",
				   (unsigned long long)hdr->head.phys);
	if (!hdr->size || hdr->size % KHO_KMALLOC_ALIGN ||
	    hdr->size > 1u << (r->in.mem->page_shift - 1))
		return reader_fail(&r->in, -EBADMSG, phys,
				   "the slab has a bad object size, %u",
				   hdr->size);
	if (!hdr->objects || hdr->objects > slab_size / hdr->size ||
	    hdr->first % size_align(hdr->size) ||
	    hdr->first < slab_first(hdr->size, hdr->objects) ||
	    hdr->first + (uint64_t)hdr->objects * hdr->size > slab_size)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "%u objects of %u bytes at offset %u do not fit the slab",
				   hdr->objects, hdr->size, hdr->first);
	return 0;
}

static int read_slab(struct cache_reader *r, uint64_t phys,
		     struct kho_kmalloc_slab *hdr, uint64_t *map)
{
	uint32_t w, words, valid;
	int ret;

	ret = read_slab_header(r, phys, hdr);
	if (ret < 0)
		return ret;
	words = map_words(hdr->objects);
	ret = reader_get(&r->in, phys + sizeof(*hdr), map, words * sizeof(*map),
			 "slab's map");
	if (ret)
		return ret;
	for (w = 0; w < words; w++) {
		valid = map_valid(hdr->objects, w);
		if ((map_allocated(map[w]) ^ map_free(map[w])) != valid ||
		    (map_allocated(map[w]) & map_free(map[w])))
			return reader_fail(&r->in, -EBADMSG, phys,
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

static int read_chain(struct cache_reader *r, uint64_t *map)
{
	uint64_t link = r->head.slabs, at = r->phys;
	struct reader_chain chain = { 0 };
	uint64_t phys;
	uint64_t slab_mask = (1ull << r->head.slab_shift) - 1;
	struct kho_kmalloc_slab hdr;
	int ret;

	for (;; link = hdr.next, at = phys) {
		phys = link & ~LINK_CHECK_MASK;
		if (link != link_make(phys) || phys & slab_mask)
			return reader_fail(&r->in, -EBADMSG, at,
					   "the link to the next slab is damaged: 0x%016llx",
					   (unsigned long long)link);
		if (!phys)
			return 0;
		ret = reader_follow(&r->in, &chain, phys, "slabs");
		if (ret)
			return ret;
		if (phys == (r->phys & ~slab_mask))
			return reader_fail(&r->in, -EBADMSG, phys,
					   "the slab would contain the cache's head");
		ret = read_slab(r, phys, &hdr, map);
		if (ret)
			return ret;
	}
}

/* Check and count the slabs of a cache whose head was read. */
int read_slabs(struct cache_reader *r)
{
	uint64_t *map;
	int ret;

	memset(&r->stats, 0, sizeof(r->stats));
	r->stats.slab_size = 1ull << r->head.slab_shift;
	map = calloc(max_map_words(r->head.slab_shift), sizeof(*map));
	if (!map)
		return reader_fail(&r->in, -ENOMEM, r->phys, "out of memory");
	ret = read_chain(r, map);
	free(map);
	return ret;
}

int kho_kmem_verify(const struct kho_mem *mem, uint64_t phys,
		    struct kho_kmem_stats *stats, struct kho_error *err)
{
	struct cache_reader reader = { .in = { "kmalloc", mem, err },
				       .phys = phys };
	int ret;

	ret = read_head(&reader);
	if (!ret)
		ret = read_slabs(&reader);
	if (!ret && stats)
		*stats = reader.stats;
	return ret;
}
