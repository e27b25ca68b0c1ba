// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A chain of hostile bytes, its first block at page 1: kho_block_walk(). The
 * input begins with the version (u8, 0: what the block says) and the size of an
 * entry (u16).
 */
#include <stdint.h>
#include <stdlib.h>

#include <kho/block.h>

#include "sparse.h"

#define MEMORY (20ul << 12)

static void put(size_t at, const uint8_t *bytes, size_t len, void *arg)
{
	memcpy((uint8_t *)arg + at, bytes, len);
}

struct seen {
	uint64_t entries;
	uint64_t sum;
};

static int on_entry(const void *entry, size_t size, uint64_t index, void *arg)
{
	const uint8_t *byte = entry;
	struct seen *seen = arg;

	if (index != seen->entries++)
		abort();
	for (size_t i = 0; i < size; i++)
		seen->sum += byte[i];
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kho_block_stats stats;
	struct seen seen = { 0, 0 };
	struct kho_mem_array mem;
	struct kho_error err;
	uint16_t entry_size;
	uint8_t *memory;

	if (size < 3)
		return 0;
	memory = calloc(1, MEMORY);
	if (!memory)
		abort();
	memcpy(&entry_size, data + 1, 2);
	sparse_read(data + 3, size - 3, MEMORY, put, memory);
	mem = kho_mem_array(memory, MEMORY, 0, 12);
	if (!kho_block_walk(&mem.mem, data[0], entry_size, 4096, on_entry,
			    &seen, &err) &&
	    (kho_block_verify(&mem.mem, data[0], entry_size, 4096, &stats,
			      &err) ||
	     stats.entries != seen.entries ||
	     kho_block_verify(&mem.mem, stats.version, entry_size, 4096, NULL,
			      &err)))
		abort();
	free(memory);
	return 0;
}
