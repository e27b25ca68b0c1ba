/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: The arena's superblock (component ``arena``)
 *
 * An arena is a memfd; phys is the offset in it. Page 0 is the superblock, so
 * phys 0 is NULL. Its two root slots name the state's root FDT: the valid
 * slot with the higher sequence number counts. A new root is written to fresh
 * pages and then into the *other* slot: sequence number 0, the fields, the
 * CRC, and last the sequence number, so that a program that is killed between
 * any two instructions leaves the old root or the new one.
 *
 * The numbers that change while the arena lives, @chunks and @generation, are
 * words that carry their own check, so that one store changes both: bits 31:0
 * are the number, bits 63:32 the CRC32C of @id, of the word's offset in the
 * superblock, and of the number, both 32 bits. The file grows before @chunks
 * says so: a program that is killed in between leaves a file that is longer
 * than needed, and whoever grows it next leaves it that long.
 *
 * Only what the tracker preserves, the tracker's nodes and page 0 are
 * meaningful; every other page is free.
 *
 * This header is a contract. A change of any layout or meaning here needs a
 * new KHO_ARENA_VERSION; readers keep understanding the old one.
 */
#ifndef KHO_ABI_ARENA_H
#define KHO_ABI_ARENA_H

#include <stdint.h>

#define KHO_ARENA_VERSION 1

/** KHO_ARENA_MAGIC - "KHOARENA" read as a little-endian number. */
#define KHO_ARENA_MAGIC 0x414e4552414f484bull

/**
 * KHO_ARENA_MAKING - "KHOARNEW": the magic of an arena that is being made
 *
 * It is the first thing in the file, and KHO_ARENA_MAGIC the last, when there is
 * a root. As long as it is there nothing else means anything: whoever finds it
 * without its maker begins anew.
 */
#define KHO_ARENA_MAKING 0x57454e52414f484bull

/* Page sizes an arena can have: 4, 16 and 64 KiB. */
#define KHO_ARENA_PAGE_SHIFT_4K 12
#define KHO_ARENA_PAGE_SHIFT_16K 14
#define KHO_ARENA_PAGE_SHIFT_64K 16

/** KHO_ARENA_CHUNK_SHIFT - an arena is made of chunks of 2 MiB. */
#define KHO_ARENA_CHUNK_SHIFT 21

/** KHO_ARENA_SIZE_MAX - no arena is larger: 16 TiB. */
#define KHO_ARENA_SIZE_MAX 0x100000000000ull

#define KHO_ARENA_ID_SIZE 16
#define KHO_ARENA_SLOTS 2

/**
 * struct kho_arena_slot - one root
 * @seq: sequence number; 0 in a slot that was never written, or is not valid
 * @fdt: phys of the root FDT, page aligned
 * @fdt_size: bytes of the root FDT
 * @reserved: 0
 * @crc: CRC32C of the fields above
 */
struct kho_arena_slot {
	uint64_t seq;
	uint64_t fdt;
	uint64_t fdt_size;
	uint32_t reserved;
	uint32_t crc;
};

/**
 * struct kho_arena_super - page 0 of an arena
 * @magic: KHO_ARENA_MAGIC; at first KHO_ARENA_MAKING
 * @version: KHO_ARENA_VERSION
 * @page_shift: log2 of the page size
 * @id: random, given at creation, never changed
 * @reserved: 0
 * @crc: CRC32C of the fields above, with KHO_ARENA_MAGIC
 * @chunks: word: how many may be used; the file is never shorter
 * @generation: word: handovers that this arena has survived
 * @slot: the roots
 */
struct kho_arena_super {
	uint64_t magic;
	uint32_t version;
	uint32_t page_shift;
	uint8_t id[KHO_ARENA_ID_SIZE];
	uint32_t reserved;
	uint32_t crc;
	uint64_t chunks;
	uint64_t generation;
	struct kho_arena_slot slot[KHO_ARENA_SLOTS];
};

#endif
