// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading a preserved memfd through a view of memory: every byte is hostile. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kho/compat.h>
#include <kho/luo.h>
#include <kho/pages.h>

#include "data/vmalloc/read.h"

_Static_assert(sizeof(struct kho_memfd) == 48, "format");
_Static_assert(sizeof(struct kho_memfd_folio) == 16, "format");

/* What is read at a time. */
#define PIECE (1u << 20)

bool luo_handler_is_memfd(const char *handler)
{
	struct kho_composite c;

	return kho_composite_parse(handler, &c, NULL) == 0 &&
	       !strcmp(c.tokens[0].name, "memfd") &&
	       c.tokens[0].version == KHO_MEMFD_VERSION;
}

/* A memfd that is being read. */
struct memfd_reader {
	struct reader in;
	const struct luo_reach *reach;
	uint64_t phys;
	struct kho_memfd raw;
	struct luo_memfd *memfd;
};

static int tell(const struct memfd_reader *r, enum luo_part part, uint64_t phys,
		uint64_t size)
{
	return r->reach ? r->reach->pages(part, phys, size, r->reach->arg) : 0;
}

static int read_head(struct memfd_reader *r)
{
	static const struct kho_vmalloc_desc zeros;
	const struct kho_memfd *raw = &r->raw;
	unsigned int shift = r->in.mem->page_shift;
	int ret;

	if (!r->phys || r->phys & ((1ull << shift) - 1))
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "no page begins there");
	ret = tell(r, LUO_PART_FILE, r->phys, 1ull << shift);
	if (ret)
		return ret;
	if (kho_mem_read(r->in.mem, r->phys, &r->raw, sizeof(r->raw)))
		return reader_fail(&r->in, -EFAULT, r->phys,
				   "it is outside the memory");
	if (raw->seals & ~KHO_MEMFD_SEALS || raw->flags)
		return reader_fail(&r->in, -EOPNOTSUPP, r->phys,
				   "seals %#x, flags %#x: Linux refuses what it does not know",
				   raw->seals, raw->flags);
	if (raw->size > INT64_MAX || raw->position > INT64_MAX)
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "size %llu, position %llu: no file has such",
				   (unsigned long long)raw->size,
				   (unsigned long long)raw->position);
	if (!raw->folios && memcmp(&raw->array, &zeros, sizeof(zeros)))
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "an array, but no folios that would be in it");
	if (raw->folios > (raw->size + (1ull << shift) - 1) >> shift)
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "%llu folio%s in a file of %llu byte%s",
				   (unsigned long long)raw->folios,
				   raw->folios == 1 ? "" : "s",
				   (unsigned long long)raw->size,
				   raw->size == 1 ? "" : "s");
	return 0;
}

/* Room for a power of two folios, one more than @n. */
static bool grow(struct luo_memfd *memfd)
{
	size_t n = memfd->n;
	void *more;

	if (n & (n - 1))
		return true;
	more = reallocarray(memfd->folios, n ? 2 * n : 1,
			    sizeof(*memfd->folios));
	if (!more)
		return false;
	memfd->folios = more;
	return true;
}

static int read_folio(struct memfd_reader *r, const struct kho_memfd_folio *raw)
{
	unsigned int shift = r->in.mem->page_shift;
	uint64_t pfn = raw->bits & KHO_MEMFD_PFN_MASK;
	uint64_t end = ((r->raw.size - 1) >> shift) + 1;
	struct luo_memfd *memfd = r->memfd;
	struct luo_memfd_folio *folio;
	int order = 0;

	if (!pfn)
		return 0;
	if (pfn >> (64 - shift) ||
	    raw->bits & ~(KHO_MEMFD_PFN_MASK | KHO_MEMFD_DIRTY |
			  KHO_MEMFD_UPTODATE))
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "%#llx is no folio",
				   (unsigned long long)raw->bits);
	if (r->reach && r->reach->order)
		order = r->reach->order(pfn << shift, r->reach->arg);
	/* Whoever asked will see that such a page is not preserved. */
	if (order < 0)
		order = 0;
	if ((unsigned int)order + shift > KHO_MAX_FOLIO_SHIFT)
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "a folio of order %d", order);
	if (raw->index >= end)
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "a folio at page %llu of a file of %llu pages",
				   (unsigned long long)raw->index,
				   (unsigned long long)end);
	if (!grow(memfd))
		return reader_fail(&r->in, -ENOMEM, r->phys, "out of memory");
	folio = &memfd->folios[memfd->n++];
	folio->phys = pfn << shift;
	folio->index = raw->index;
	folio->pages = 1u << order;
	folio->uptodate = raw->bits & KHO_MEMFD_UPTODATE;
	memfd->pages += folio->pages;
	return tell(r, LUO_PART_CONTENTS, folio->phys,
		    (uint64_t)folio->pages << shift);
}

/* A run of the array; nothing is behind the last folio. */
static int read_run(struct memfd_reader *r, const struct run *run,
		    uint64_t *left)
{
	size_t size = 1ul << r->in.mem->page_shift;
	struct kho_memfd_folio *page = malloc(size);
	int ret = page ? 0 :
			 reader_fail(&r->in, -ENOMEM, r->phys, "out of memory");

	for (uint64_t i = 0; !ret && *left && i < run->pages; i++) {
		uint64_t n = size / sizeof(*page);

		if (n > *left)
			n = *left;
		if (kho_mem_read(r->in.mem, run->phys + i * size, page,
				 n * sizeof(*page)))
			ret = reader_fail(&r->in, -EFAULT, r->phys,
					  "its array is outside the memory");
		for (uint64_t j = 0; !ret && j < n; j++)
			ret = read_folio(r, &page[j]);
		*left -= n;
	}
	free(page);
	return ret;
}

static int by_index(const void *a, const void *b)
{
	const struct luo_memfd_folio *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

/* No page of the file may be there twice. */
static int sort_folios(const struct memfd_reader *r)
{
	struct luo_memfd *memfd = r->memfd;
	const struct luo_memfd_folio *folio = memfd->folios;

	if (memfd->n)
		qsort(memfd->folios, memfd->n, sizeof(*folio), by_index);
	for (size_t i = 1; i < memfd->n; i++)
		if (folio[i].index - folio[i - 1].index < folio[i - 1].pages)
			return reader_fail(&r->in, -EBADMSG, r->phys,
					   "page %llu of the file is there twice",
					   (unsigned long long)folio[i].index);
	return 0;
}

/* The folios of an area that was found good. */
static int read_folios(struct memfd_reader *r, const struct area_reader *area)
{
	unsigned int shift = r->in.mem->page_shift;
	uint64_t left = r->raw.folios, room = 0;
	int ret = 0;

	for (size_t i = 0; i < area->runs.n; i++)
		room += area->runs.run[i].pages;
	room = (room << shift) / sizeof(struct kho_memfd_folio);
	if (left > room)
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "%llu folios, its array has room for %llu",
				   (unsigned long long)left,
				   (unsigned long long)room);
	for (size_t i = 0; !ret && i < area->runs.n; i++)
		ret = read_run(r, &area->runs.run[i], &left);
	return ret ? ret : sort_folios(r);
}

static int read_array(struct memfd_reader *r)
{
	unsigned int shift = r->in.mem->page_shift;
	struct area_reader area = {
		.in = { "vmalloc", r->in.mem, r->in.err },
		.desc = r->phys + offsetof(struct kho_memfd, array),
	};
	int ret = area_read(&area);

	for (size_t i = 0; !ret && i < area.lists.n; i++)
		ret = tell(r, LUO_PART_LISTS, area.lists.run[i].phys,
			   1ull << shift);
	for (size_t i = 0; !ret && i < area.runs.n; i++)
		ret = tell(r, LUO_PART_ARRAY, area.runs.run[i].phys,
			   area.runs.run[i].pages << shift);
	if (!ret)
		ret = read_folios(r, &area);
	area_read_free(&area);
	return ret;
}

int luo_memfd_read(const struct kho_mem *mem, uint64_t phys,
		   const struct luo_reach *reach, struct luo_memfd **memfd,
		   struct kho_error *err)
{
	struct memfd_reader r = {
		.in = { "memfd", mem, err },
		.reach = reach,
		.phys = phys,
	};
	int ret;

	r.memfd = calloc(1, sizeof(*r.memfd));
	if (!r.memfd)
		return kho_fail(err, -ENOMEM, "memfd: out of memory");
	ret = read_head(&r);
	if (!ret && r.raw.folios)
		ret = read_array(&r);
	if (ret) {
		luo_memfd_free(r.memfd);
		return ret;
	}
	r.memfd->position = r.raw.position;
	r.memfd->size = r.raw.size;
	r.memfd->seals = r.raw.seals;
	*memfd = r.memfd;
	return 0;
}

void luo_memfd_free(struct luo_memfd *memfd)
{
	if (!memfd)
		return;
	free(memfd->folios);
	free(memfd);
}

/* The bytes of a file that are being read. */
struct contents {
	const struct kho_mem *mem;
	int (*bytes)(const void *bytes, size_t len, void *arg);
	void *arg;
	struct kho_error *err;
	char *piece;
};

/* @len bytes from @phys, or zeros. */
static int pass_on(const struct contents *c, bool zeros, uint64_t phys,
		   uint64_t len)
{
	int ret = 0;

	if (zeros)
		memset(c->piece, 0, len < PIECE ? len : PIECE);
	while (!ret && len) {
		size_t n = len < PIECE ? len : PIECE;

		if (!zeros && kho_mem_read(c->mem, phys, c->piece, n))
			return kho_fail(c->err, -EFAULT,
					"memfd: the contents at %#llx are outside the memory",
					(unsigned long long)phys);
		ret = c->bytes(c->piece, n, c->arg);
		phys += n;
		len -= n;
	}
	return ret;
}

/* Bytes of @memfd that no folio has. */
static uint64_t holes(const struct luo_memfd *memfd, unsigned int shift)
{
	uint64_t has = 0;

	for (size_t i = 0; i < memfd->n; i++) {
		uint64_t at = memfd->folios[i].index << shift;
		uint64_t size = (uint64_t)memfd->folios[i].pages << shift;

		has += size < memfd->size - at ? size : memfd->size - at;
	}
	return memfd->size - has;
}

int luo_memfd_contents(const struct kho_mem *mem, const struct luo_memfd *memfd,
		       int (*bytes)(const void *bytes, size_t len, void *arg),
		       void *arg, struct kho_error *err)
{
	struct contents c = { mem, bytes, arg, err, malloc(PIECE) };
	unsigned int shift = mem->page_shift;
	uint64_t at = 0;
	int ret = 0;

	if (!c.piece)
		return kho_fail(err, -ENOMEM, "memfd: out of memory");
	if (holes(memfd, shift) > LUO_MEMFD_HOLES_MAX)
		ret = kho_fail(err, -EFBIG,
			       "memfd: %llu of %llu bytes are holes, and Linux leaves none",
			       (unsigned long long)holes(memfd, shift),
			       (unsigned long long)memfd->size);
	for (size_t i = 0; !ret && i < memfd->n; i++) {
		const struct luo_memfd_folio *folio = &memfd->folios[i];
		uint64_t start = folio->index << shift;
		uint64_t size = (uint64_t)folio->pages << shift;

		if (size > memfd->size - start)
			size = memfd->size - start;
		ret = pass_on(&c, true, 0, start - at);
		if (!ret)
			ret = pass_on(&c, !folio->uptodate, folio->phys, size);
		at = start + size;
	}
	if (!ret)
		ret = pass_on(&c, true, 0, memfd->size - at);
	free(c.piece);
	return ret;
}
