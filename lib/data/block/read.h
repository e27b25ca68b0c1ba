/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* A chain that is being read, for whoever decodes what is in its blocks. */
#ifndef KHO_BLOCK_READ_H
#define KHO_BLOCK_READ_H

#include <stddef.h>
#include <stdint.h>

#include <kho/block.h>

#include "base/reader.h"

#pragma GCC visibility push(hidden)

/*
 * struct block_reader - a chain that is being read; every byte is hostile
 * @in: the memory it is in
 * @version: of the format; 0 is replaced by what the first block says
 * @entry_size: of an entry; likewise
 * @block: called for each block that was found good, with its entries; may be
 *         NULL
 * @arg: for @block
 * @stats: result; in @block, what came before
 * @crc: of the last block up to its entries
 */
struct block_reader {
	struct reader in;
	uint32_t version;
	size_t entry_size;
	int (*block)(struct block_reader *r, uint64_t phys, const char *entries,
		     uint32_t count);
	void *arg;
	struct kho_block_stats stats;
	uint32_t crc;
};

int block_read(struct block_reader *r, uint64_t first);

#pragma GCC visibility pop

#endif
