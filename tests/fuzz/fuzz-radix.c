// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A tree of hostile bytes: kho_radix_verify(), kho_radix_walk(). The first two
 * bytes are the width of the keys and the page size, then comes memory, with
 * the root at page 1.
 */
#include <stdint.h>
#include <stdlib.h>

#include <kho/radix.h>

#include "sparse.h"

#define PAGES 12

static void put(size_t at, const uint8_t *bytes, size_t len, void *arg)
{
	memcpy((uint8_t *)arg + at, bytes, len);
}

struct seen {
	uint64_t keys, nodes, last, max;
};

static int on_key(uint64_t key, void *arg)
{
	struct seen *seen = arg;

	if (key > seen->max || (seen->keys && key <= seen->last))
		abort();
	seen->last = key;
	seen->keys++;
	return 0;
}

static int on_node(uint64_t phys, void *arg)
{
	struct seen *seen = arg;

	if (phys == 0)
		abort();
	seen->nodes++;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen seen = { 0 };
	const struct kho_radix_walk walk = { on_key, on_node, &seen };
	unsigned int key_bits, page_shift;
	struct kho_radix_stats stats;
	struct kho_mem_array mem;
	struct kho_error err;
	uint8_t *memory;
	size_t bytes;
	int ret;

	if (size < 2)
		return 0;
	key_bits = 1 + data[0] % 64;
	page_shift = 12 + data[1] % 3 * 2;
	bytes = PAGES << page_shift;
	memory = calloc(1, bytes);
	if (!memory)
		abort();
	sparse_read(data + 2, size - 2, bytes, put, memory);
	mem = kho_mem_array(memory, bytes, 0, page_shift);
	seen.max = ~0ull >> (64 - key_bits);
	ret = kho_radix_walk(&mem.mem, 1ul << page_shift, key_bits, &walk,
			     &err);
	/* Both read the same, and none reaches a page twice. */
	if (kho_radix_verify(&mem.mem, 1ul << page_shift, key_bits, &stats,
			     &err) != ret ||
	    seen.nodes >= PAGES)
		abort();
	if (!ret && (stats.keys != seen.keys || stats.nodes != seen.nodes ||
		     stats.empty >= seen.nodes))
		abort();
	free(memory);
	return 0;
}
