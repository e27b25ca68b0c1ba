/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The memory of a machine whose kernel hands something over, made by hand: the
 * formats as they stand in docs/formats.md, without the library's code.
 */
#ifndef TEST_GUEST_H
#define TEST_GUEST_H

#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <kho/luo.h>
#include <kho/mem.h>

/* Where its memory begins. */
#define GUEST_BASE 0x40000000ull

struct guest {
	unsigned int shift;
	size_t size;
	uint8_t *bytes;
	uint64_t next; /* the first page that is free */
	uint64_t tracker;
	uint64_t root;
	uint64_t luo;
};

static inline uint64_t guest_page_size(const struct guest *g)
{
	return 1ull << g->shift;
}

static inline void *guest_ptr(const struct guest *g, uint64_t phys)
{
	assert_in_range(phys, GUEST_BASE, GUEST_BASE + g->size - 1);
	return g->bytes + (phys - GUEST_BASE);
}

/* 2^@order pages, naturally aligned. */
static inline uint64_t guest_alloc(struct guest *g, unsigned int order)
{
	uint64_t size = guest_page_size(g) << order;
	uint64_t phys = (g->next + size - 1) & ~(size - 1);

	g->next = phys + size;
	assert_true(g->next <= GUEST_BASE + g->size);
	return phys;
}

static inline struct guest guest_new(unsigned int shift, unsigned int pages)
{
	struct guest g = { .shift = shift,
			   .size = (size_t)pages << shift,
			   .next = GUEST_BASE };

	g.bytes = calloc(1, g.size);
	assert_non_null(g.bytes);
	g.tracker = guest_alloc(&g, 0);
	return g;
}

static inline void guest_free(struct guest *g)
{
	free(g->bytes);
}

static inline struct kho_mem_array guest_mem(const struct guest *g)
{
	return kho_mem_array(g->bytes, g->size, GUEST_BASE, g->shift);
}

/* Puts a folio into the tracker. */
static inline void guest_preserve(struct guest *g, uint64_t phys,
				  unsigned int order)
{
	uint64_t key = 1ull << (64 - g->shift - order) |
		       phys >> (g->shift + order);
	unsigned int leaf = g->shift + 3, inner = g->shift - 3;
	unsigned int levels = (65 - g->shift - leaf + inner - 1) / inner;
	uint64_t node = g->tracker;
	uint8_t *bits;

	for (unsigned int level = levels; level; level--) {
		unsigned int shift = leaf + (level - 1) * inner;
		uint64_t *slot = (uint64_t *)guest_ptr(g, node) +
				 (key >> shift & ((1u << inner) - 1));

		if (!*slot)
			*slot = guest_alloc(g, 0);
		node = *slot;
	}
	bits = guest_ptr(g, node);
	key &= (1u << leaf) - 1;
	bits[key / 8] |= (uint8_t)(1 << key % 8);
}

static inline uint64_t guest_preserved(struct guest *g, unsigned int order)
{
	uint64_t phys = guest_alloc(g, order);

	guest_preserve(g, phys, order);
	return phys;
}

static inline void guest_subtree(void *fdt, const char *name, uint64_t phys,
				 uint64_t size)
{
	assert_int_equal(fdt_begin_node(fdt, name), 0);
	assert_int_equal(fdt_property(fdt, "preserved-data", &phys, 8), 0);
	assert_int_equal(fdt_property(fdt, "blob-size", &size, 8), 0);
	assert_int_equal(fdt_end_node(fdt), 0);
}

/* Writes the root FDT, with LUO when there is one. */
static inline uint64_t guest_root(struct guest *g)
{
	uint64_t phys = guest_preserved(g, 0);
	void *fdt = guest_ptr(g, phys);

	assert_int_equal(fdt_create(fdt, (int)guest_page_size(g)), 0);
	assert_int_equal(fdt_finish_reservemap(fdt), 0);
	assert_int_equal(fdt_begin_node(fdt, ""), 0);
	assert_int_equal(fdt_property_string(fdt, "compatible", "kho-v4"), 0);
	assert_int_equal(fdt_property(fdt, "preserved-memory-map", &g->tracker,
				      8),
			 0);
	if (g->luo)
		guest_subtree(fdt, "LUO", g->luo,
			      sizeof(struct kho_luo_header));
	assert_int_equal(fdt_end_node(fdt), 0);
	assert_int_equal(fdt_finish(fdt), 0);
	g->root = phys;
	return phys;
}

/* A chain of blocks of @per entries each; returns the first. */
static inline uint64_t guest_blocks(struct guest *g, const void *entries,
				    size_t size, uint64_t n, uint64_t per)
{
	uint64_t first = 0, *link = &first;

	for (uint64_t i = 0; i < n; i += per) {
		uint64_t count = n - i < per ? n - i : per;
		uint64_t phys = guest_preserved(g, 0);
		uint64_t *block = guest_ptr(g, phys);

		*link = phys;
		link = &block[0];
		block[1] = count;
		memcpy(block + 2, (const char *)entries + i * size,
		       count * size);
	}
	return first;
}

/* An area of version 1 with @size bytes from @data; its descriptor. */
static inline struct kho_vmalloc_desc guest_area(struct guest *g,
						 const void *data, size_t size)
{
	uint64_t page = guest_page_size(g), per = page / 8 - 1;
	uint64_t chunk = guest_preserved(g, 0), n = 0;
	struct kho_vmalloc_desc desc = {
		.first.phys = chunk,
		.flags = 1,
	};

	for (size_t at = 0; at < size; at += page) {
		uint64_t phys = guest_preserved(g, 0);

		memcpy(guest_ptr(g, phys), (const char *)data + at,
		       size - at < page ? size - at : page);
		((uint64_t *)guest_ptr(g, chunk))[1 + n++ % per] = phys;
		desc.total_pages++;
		/* A chunk that is full has a next one. */
		if (n % per == 0) {
			uint64_t next = guest_preserved(g, 0);

			((uint64_t *)guest_ptr(g, chunk))[0] = next;
			chunk = next;
		}
	}
	return desc;
}

/*
 * A memfd of @size bytes whose folios have @order; @holes: every such folio is
 * not there, 0: all are. Page n of the file begins with the number n + 1.
 */
static inline uint64_t guest_memfd(struct guest *g, uint64_t size,
				   unsigned int order, uint64_t holes)
{
	uint64_t step = guest_page_size(g) << order;
	uint64_t n = 0, max = size / step + 1, data = guest_preserved(g, 0);
	struct kho_memfd_folio *folios = calloc(max, sizeof(*folios));
	struct kho_memfd *memfd = guest_ptr(g, data);

	assert_non_null(folios);
	for (uint64_t at = 0; at < size; at += step) {
		uint64_t phys;

		if (holes && (at / step + 1) % holes == 0)
			continue;
		phys = guest_preserved(g, order);
		for (uint64_t i = 0; i < 1ull << order; i++)
			*(uint64_t *)guest_ptr(g, phys + (i << g->shift)) =
				(at >> g->shift) + i + 1;
		folios[n].bits = phys >> g->shift | KHO_MEMFD_DIRTY |
				 KHO_MEMFD_UPTODATE;
		folios[n++].index = at >> g->shift;
	}
	memfd->size = size;
	memfd->seals = 1;
	memfd->folios = n;
	if (n)
		memfd->array = guest_area(g, folios, n * sizeof(*folios));
	free(folios);
	return data;
}

#endif
