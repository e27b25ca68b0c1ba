/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Virtually contiguous memory (component ``vmalloc``)
 *
 * An area is a descriptor of 16 bytes, which is where its owner wants it, and
 * preserved pages that say where the area's memory is: in *blocks* of 2^order
 * pages, each preserved as one folio of that order. A descriptor of zeros
 * describes nothing. With bit KHO_VMALLOC_VERSIONED of @flags, at the same
 * place in both versions, the other bits are the version; without, it is 1.
 *
 * **Version 1** is that of Linux 7.2 and 7.3 (kho_preserve_vmalloc()), struct
 * kho_vmalloc_desc. The area has no holes; its blocks, in their order, are
 * listed in chunks of one page each. The array of a chunk ends with a 0 or
 * with the page; a chunk that is full is followed by another one, which may be
 * empty. An area without memory has one empty chunk.
 *
 * **Version 2**, struct kho_vmalloc_desc_v2, lists *runs* of contiguous pages
 * in lists of one page each. Runs may stand in any order, and what no run
 * covers is a hole. The descriptor leads to the list that was begun last, of
 * which only the first so many runs count; each other list is full. So an area
 * grows without any change to what counts already, until a store to the
 * descriptor makes the new runs count. The last run of all may also become
 * longer, by one store to @pages and @crc together.
 *
 * Limits that a reader checks: order is at most 30 minus the page shift; pages
 * are whole blocks, index and phys are multiples of a block; no page of the
 * area is described twice, and no page of memory is used twice; index plus
 * pages is at most KHO_VMALLOC_MAX_PAGES; a list that another one leads to is
 * full.
 *
 * All integers are little endian. The 16 bytes of a descriptor are written by
 * one store.
 *
 * This header is a contract. A change of any layout or meaning here needs a
 * new KHO_VMALLOC_VERSION; readers keep understanding the old ones.
 */
#ifndef KHO_ABI_VMALLOC_H
#define KHO_ABI_VMALLOC_H

#include <stdint.h>

#include <kho/abi/ptr.h>

#define KHO_VMALLOC_VERSION 2

/* Flags of version 1, as of the vmalloc() that the memory came from. */
#define KHO_VMALLOC_ALLOC 0x0001
#define KHO_VMALLOC_HUGE_VMAP 0x0002

/** KHO_VMALLOC_VERSIONED - the other bits of flags are the version. */
#define KHO_VMALLOC_VERSIONED 0x8000

/** KHO_VMALLOC_LIST_MAGIC - "KHORUNS" and a NUL, as a little-endian number. */
#define KHO_VMALLOC_LIST_MAGIC 0x00534e55524f484bull

/** KHO_VMALLOC_MAX_PAGES - an area has at most so many pages. */
#define KHO_VMALLOC_MAX_PAGES (1ull << 32)

/**
 * struct kho_vmalloc_chunk - version 1: a page of blocks
 * @next: the next chunk, 0 = last
 * @phys: of the blocks; as many as fit into the page
 */
__extension__ struct kho_vmalloc_chunk {
	KHO_PTR(struct kho_vmalloc_chunk) next;
	uint64_t phys[];
};

/**
 * struct kho_vmalloc_desc - an area, version 1
 * @first: the first chunk
 * @total_pages: of the area
 * @flags: KHO_VMALLOC_ALLOC, KHO_VMALLOC_HUGE_VMAP
 * @order: log2 of the pages of a block
 *
 * Also the type of the 16 bytes that an owner sets aside for a descriptor of
 * any version.
 */
struct kho_vmalloc_desc {
	KHO_PTR(struct kho_vmalloc_chunk) first;
	uint32_t total_pages;
	uint16_t flags;
	uint16_t order;
};

/**
 * struct kho_vmalloc_run - version 2: contiguous pages
 * @phys: of the first page
 * @index: of the first page in the area, in pages
 * @pages: how many
 * @crc: CRC32C of the fields above
 */
struct kho_vmalloc_run {
	uint64_t phys;
	uint64_t index;
	uint32_t pages;
	uint32_t crc;
};

/**
 * struct kho_vmalloc_list - version 2: a page of runs
 * @magic: KHO_VMALLOC_LIST_MAGIC
 * @next: the list that was begun before this one, 0 = none
 * @order: log2 of the pages of a block, the same in all lists of an area
 * @reserved: 0
 * @crc: CRC32C of the fields above
 * @run: as many as fit into the page
 */
__extension__ struct kho_vmalloc_list {
	uint64_t magic;
	KHO_PTR(struct kho_vmalloc_list) next;
	uint16_t order;
	uint16_t reserved;
	uint32_t crc;
	struct kho_vmalloc_run run[];
};

/**
 * struct kho_vmalloc_desc_v2 - an area, version 2
 * @first: the list that was begun last
 * @crc: CRC32C of the descriptor, with 0 here
 * @flags: KHO_VMALLOC_VERSIONED | 2
 * @runs: runs that count in @first
 */
struct kho_vmalloc_desc_v2 {
	KHO_PTR(struct kho_vmalloc_list) first;
	uint32_t crc;
	uint16_t flags;
	uint16_t runs;
};

#endif
