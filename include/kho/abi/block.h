/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Fixed-size entries in a chain of pages (component ``block``)
 *
 * A block is one page: a header, and behind it @count entries without gaps.
 * Blocks are linked by phys; the owner of the chain holds the phys of the
 * first one in a struct kho_block_root. A chain without entries has no block:
 * the root is 0, and no block is ever empty. An entry does not change once
 * it counts.
 *
 * Of which version a block is, its first four bytes say: a magic, or in
 * version 1 the low half of the phys of a page. So a magic is never a multiple
 * of 4096. All blocks of a chain are of one version. A chain without entries
 * has none; it gets that which is in effect when it gets entries.
 *
 * **Version 1** is that of Linux 7.2 and 7.3 (include/linux/kho/abi/block.h)::
 *
 *   0 next   phys of the next block, 0 in the last one
 *   8 count  entries in this block, at least 1
 *   16       entries; what is behind them means nothing
 *
 * Both sides know the size of an entry. A block that has a next one need not
 * be full. Any bytes could be a block: a reader that expects another size, or
 * a damaged page, may go unnoticed.
 *
 * **Version 2** says what it is and how its content is known to be right::
 *
 *   0 magic   KHO_BLOCK_MAGIC
 *   4 entry_size
 *   8 commit  bits 30:0 count, bit 31 linked, bits 63:32 CRC32C
 *   16 next   phys of the next block; means nothing when not linked
 *   24        entries; what is behind them means nothing
 *
 * The CRC is that of, in this order: magic and entry_size (8 bytes), the
 * entries that count, next (8 bytes, taken as 0 when not linked) and the low
 * half of commit (4 bytes). A block that is linked is full.
 *
 * Why a program may be killed between any two instructions: whatever the CRC
 * covers counts from the store into commit on, and until the next such store
 * nothing that it covers is written to. To append is to write the entry behind
 * those that count, then commit; to add a block, to complete it with its first
 * entry, write its phys into next, which means nothing yet, then commit; to
 * drop entries, to commit the smaller count, not linked. Each is one aligned
 * store of 8 bytes, so there is the old content or the new one, each with its
 * CRC. In version 1 the stores are into next and count: dropping entries may
 * take both, next first, and in between some of them are still there.
 *
 * To take a chain to another version is to write all of it to new blocks,
 * then the root, which is one aligned store as well.
 *
 * This header is a contract. A change of any layout or meaning here needs a
 * new KHO_BLOCK_VERSION; readers keep understanding the old ones.
 */
#ifndef KHO_ABI_BLOCK_H
#define KHO_ABI_BLOCK_H

#include <stdint.h>

#include <kho/abi/ptr.h>

#define KHO_BLOCK_VERSION 2

/** KHO_BLOCK_MAGIC - "KBLK", as a little-endian number. */
#define KHO_BLOCK_MAGIC 0x4b4c424bu

/* The low half of a commit. */
#define KHO_BLOCK_COUNT_MASK 0x7fffffffu
#define KHO_BLOCK_LINKED 0x80000000u

/* A block of any version. */
struct kho_block;

/**
 * struct kho_block_root - where a chain begins; in the memory of its owner
 * @first: the first block; NULL when there are no entries
 */
struct kho_block_root {
	KHO_PTR(struct kho_block) first;
};

/**
 * struct kho_block_v1 - a block of version 1; the entries follow
 * @next: the next block
 * @count: entries in this one
 */
struct kho_block_v1 {
	KHO_PTR(struct kho_block) next;
	uint64_t count;
};

/**
 * struct kho_block_v2 - a block of version 2; the entries follow
 * @magic: KHO_BLOCK_MAGIC
 * @entry_size: bytes of an entry
 * @commit: count, KHO_BLOCK_LINKED and CRC
 * @next: the next block, when linked
 */
struct kho_block_v2 {
	uint32_t magic;
	uint32_t entry_size;
	uint64_t commit;
	KHO_PTR(struct kho_block) next;
};

#endif
