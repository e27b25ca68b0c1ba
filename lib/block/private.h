/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the files of block share: the format in small helpers, and the reader. */
#ifndef KHO_BLOCK_PRIVATE_H
#define KHO_BLOCK_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/abi/block.h>
#include <kho/block.h>

#include "../crc32c.h"

#pragma GCC visibility push(hidden)

/*
 * The version of a block that begins with @word; 0: of none. A page's phys in
 * version 1, a magic in all others.
 */
static inline uint32_t block_version(uint32_t word, unsigned int page_shift)
{
	if (!(word & ((1u << page_shift) - 1)))
		return 1;
	return word == KHO_BLOCK_MAGIC ? 2 : 0;
}

static inline size_t block_header_size(uint32_t version)
{
	return version == 1 ? sizeof(struct kho_block_v1) :
			      sizeof(struct kho_block_v2);
}

/* Entries that a block has room for; 0 when their size is bad. */
static inline uint32_t block_capacity(unsigned int page_shift, uint32_t version,
				      size_t entry_size)
{
	size_t room = ((size_t)1 << page_shift) - block_header_size(version);

	return entry_size ? (uint32_t)(room / entry_size) : 0;
}

/* Version 2: what the entries' CRC begins with. */
static inline uint32_t block_crc_begin(size_t entry_size)
{
	const uint32_t fixed[] = { KHO_BLOCK_MAGIC, (uint32_t)entry_size };

	return crc32c(fixed, sizeof(fixed));
}

/* Version 2: a commit. @crc is that up to the entries; @next is 0: no link. */
static inline uint64_t block_commit(uint32_t crc, uint32_t count, uint64_t next)
{
	uint32_t low = next ? count | KHO_BLOCK_LINKED : count;

	crc = crc32c_more(crc, &next, sizeof(next));
	crc = crc32c_more(crc, &low, sizeof(low));
	return (uint64_t)crc << 32 | low;
}

/*
 * struct block_reader - a chain that is being read; every byte is hostile
 * @mem: the memory it is in
 * @version: of the format; 0 is replaced by what the first block says
 * @entry_size: of an entry; likewise
 * @block: called for each block that was found good, with its entries; may be
 *         NULL
 * @arg: for @block
 * @err: what is wrong; may be NULL
 * @stats: result; in @block, what came before
 * @crc: of the last block up to its entries
 */
struct block_reader {
	const struct kho_mem *mem;
	uint32_t version;
	size_t entry_size;
	int (*block)(struct block_reader *r, uint64_t phys, const char *entries,
		     uint32_t count);
	void *arg;
	struct kho_error *err;
	struct kho_block_stats stats;
	uint32_t crc;
};

/* read.c */
int block_read_fail(const struct block_reader *r, int code, uint64_t at,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
int block_read(struct block_reader *r, uint64_t first);

#pragma GCC visibility pop

#endif
