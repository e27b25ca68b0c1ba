/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the files of block share: the format in small helpers. */
#ifndef KHO_BLOCK_PRIVATE_H
#define KHO_BLOCK_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/abi/block.h>
#include <kho/block.h>

#include "base/crc32c.h"
#include "data/block/read.h"

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

#pragma GCC visibility pop

#endif
