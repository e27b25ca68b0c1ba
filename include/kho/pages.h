/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Pages and their preservation
 *
 * Memory in the arena comes in folios: 2^order naturally aligned pages. A page
 * is only worth something to the next program when it is *preserved*: what is
 * neither preserved nor part of the tracker is free after a handover or a
 * crash. After a handover every preserved folio belongs to nobody until it is
 * *restored*; it stays preserved all the while, so that a crash right after
 * the handover loses nothing.
 *
 * Every function may be called from any thread at any time. Before
 * kho_ready() on an arena that came from somebody else, everything that would
 * change it fails with -EROFS.
 *
 * Functions that return a pointer return NULL on failure and set errno.
 */
#ifndef KHO_PAGES_H
#define KHO_PAGES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho;

/**
 * KHO_MAX_FOLIO_SHIFT - a folio has at most 1 GiB
 *
 * The largest page that processors map. A larger piece would have to be found
 * free and aligned in one; kho/vmalloc.h makes it of smaller ones.
 */
#define KHO_MAX_FOLIO_SHIFT 30

/** kho_page_shift() - log2 of the arena's page size. */
unsigned int kho_page_shift(const struct kho *kho);

/**
 * kho_phys() - phys of a pointer into the arena
 * @kho: the arena
 * @ptr: NULL, or a pointer into it
 *
 * Takes no lock.
 *
 * Return: the phys; 0 for NULL and for a pointer outside the arena.
 */
uint64_t kho_phys(const struct kho *kho, const void *ptr);

/**
 * kho_ptr() - pointer to bytes in the arena
 * @kho: the arena
 * @phys: address of the first byte
 * @size: bytes that shall be accessible there
 *
 * Takes no lock. Says nothing of what is at @phys.
 *
 * Return: the pointer, valid until kho_close(); NULL for phys 0 and when the
 * bytes are not all inside the arena.
 */
void *kho_ptr(const struct kho *kho, uint64_t phys, size_t size);

/**
 * kho_alloc_folio() - allocate 2^order pages
 * @kho: the arena
 * @order: 0 to KHO_MAX_FOLIO_SHIFT - page shift
 *
 * The contents are undefined. Not preserved: gone after a crash.
 *
 * Return: the folio, free with kho_free_folio(); NULL: EINVAL for an order
 * that is too large, ENOSPC when the arena is at its maximum size, ENOMEM when
 * the system has no memory, EROFS.
 */
void *kho_alloc_folio(struct kho *kho, unsigned int order);

/**
 * kho_alloc_pages() - allocate a contiguous range of pages
 * @kho: the arena
 * @nr: pages, at least 1
 *
 * As kho_alloc_folio(), but of any number of pages; the range is naturally
 * aligned to the next power of two. Free with kho_free_pages().
 *
 * Return: as kho_alloc_folio().
 */
void *kho_alloc_pages(struct kho *kho, size_t nr);

/**
 * kho_free_folio() - free a folio
 * @kho: the arena
 * @folio: from kho_alloc_folio() or kho_restore_folio(); NULL is allowed
 *
 * Return: 0; -EBUSY when it is preserved; -EINVAL when it is no such folio;
 * -EROFS.
 */
int kho_free_folio(struct kho *kho, void *folio);

/**
 * kho_free_pages() - free a range of pages
 * @kho: the arena
 * @pages: from kho_alloc_pages() or kho_restore_pages(); NULL is allowed
 * @nr: as given there
 *
 * Return: as kho_free_folio().
 */
int kho_free_pages(struct kho *kho, void *pages, size_t nr);

/**
 * kho_preserve_folio() - mark a folio for handover
 * @kho: the arena
 * @folio: from kho_alloc_folio()
 *
 * Takes effect at once, for a crash too.
 *
 * Return: 0; -EINVAL when it is no folio; -EEXIST when it is preserved;
 * -ENOSPC, -ENOMEM when the tracker cannot grow; -EROFS.
 */
int kho_preserve_folio(struct kho *kho, void *folio);

/** kho_unpreserve_folio() - take the mark back; -ENOENT when there is none. */
int kho_unpreserve_folio(struct kho *kho, void *folio);

/**
 * kho_preserve_pages() - mark a range of pages for handover
 * @kho: the arena
 * @pages: first page; all of them allocated with kho_alloc_pages()
 * @nr: how many
 *
 * Stored as the fewest naturally aligned blocks. Must be unpreserved and
 * restored with the same arguments. All or nothing.
 *
 * Return: as kho_preserve_folio().
 */
int kho_preserve_pages(struct kho *kho, void *pages, size_t nr);

/** kho_unpreserve_pages() - take the marks back; -ENOENT when not all are there. */
int kho_unpreserve_pages(struct kho *kho, void *pages, size_t nr);

/**
 * kho_alloc_preserve() - allocate zeroed, preserved memory
 * @kho: the arena
 * @size: bytes; rounded up to a folio
 *
 * Return: the memory, give it back with kho_unpreserve_free(); NULL as
 * kho_alloc_folio(), EINVAL for a size of 0 or above 1 GiB.
 */
void *kho_alloc_preserve(struct kho *kho, size_t size);

/**
 * kho_unpreserve_free() - unpreserve and free a folio
 * @kho: the arena
 * @folio: from kho_alloc_preserve() or kho_restore_folio(); NULL is allowed
 *
 * Return: 0; as kho_unpreserve_folio() and kho_free_folio().
 */
int kho_unpreserve_free(struct kho *kho, void *folio);

/**
 * kho_restore_folio() - claim a folio after a handover
 * @kho: the arena
 * @phys: of its first page
 *
 * Writes nothing; the folio stays preserved.
 *
 * Return: the folio; NULL: ENOENT when no folio that starts at @phys is
 * preserved, EBUSY when it was restored already.
 */
void *kho_restore_folio(struct kho *kho, uint64_t phys);

/**
 * kho_restore_pages() - claim a range of pages after a handover
 * @kho: the arena
 * @phys: of the first page
 * @nr: pages, as given to kho_preserve_pages()
 *
 * Return: as kho_restore_folio().
 */
void *kho_restore_pages(struct kho *kho, uint64_t phys, size_t nr);

/**
 * kho_folio_size() - bytes of the folio that starts at a pointer
 * @kho: the arena
 * @folio: its first byte
 *
 * Return: bytes; 0 when no allocated folio starts there.
 */
size_t kho_folio_size(const struct kho *kho, const void *folio);

/**
 * struct kho_pages_info - what is in the arena, in pages
 * @total: of the file
 * @free: allocatable without growing
 * @allocated: allocated, preserved or not
 * @preserved: preserved
 * @unclaimed: preserved, came with the handover, not restored
 * @nodes: of the tracker
 * @max: what the arena can grow to
 */
struct kho_pages_info {
	uint64_t total;
	uint64_t free;
	uint64_t allocated;
	uint64_t preserved;
	uint64_t unclaimed;
	uint64_t nodes;
	uint64_t max;
};

/** kho_pages_info() - count what is in the arena; thread-safe. */
void kho_pages_info(struct kho *kho, struct kho_pages_info *info);

#ifdef __cplusplus
}
#endif

#endif
