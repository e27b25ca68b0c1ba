// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * An array of hostile bytes: kho_xa_verify(). The head is at page 1, and other
 * objects at every CELL bytes behind it. Their checks are made right, as no
 * fuzzer would find them, unless the first byte is odd.
 */
#include <stdint.h>
#include <stdlib.h>

#include <kho/abi/xarray.h>
#include <kho/xarray.h>

#include "sparse.h"

#define MEMORY (8ul << 12)
#define HEAD 4096
#define CELL 640

static void put(size_t at, const uint8_t *bytes, size_t len, void *arg)
{
	memcpy((uint8_t *)arg + at, bytes, len);
}

static void seal(uint8_t *object, size_t check, size_t size)
{
	uint64_t sum = 0, x;

	for (size_t at = check; at < size; at += sizeof(x)) {
		memcpy(&x, object + at, sizeof(x));
		x += ((at - check) / sizeof(x) + 1) * KHO_XARRAY_CHECK_STEP;
		x = (x ^ x >> 32) * KHO_XARRAY_CHECK_MIX;
		sum += x ^ x >> 32;
	}
	memcpy(object, &sum, sizeof(sum));
}

static void seal_all(uint8_t *memory)
{
	const size_t magic = offsetof(struct kho_xarray_node, magic);
	uint32_t word;

	seal(memory + HEAD, 16, sizeof(struct kho_xarray_head));
	for (size_t at = HEAD + CELL; at + CELL <= MEMORY; at += CELL) {
		memcpy(&word, memory + at + magic, sizeof(word));
		if (word == KHO_XARRAY_NODE_MAGIC)
			seal(memory + at, 16, sizeof(struct kho_xarray_node));
		else
			seal(memory + at, 8, sizeof(struct kho_xarray_wide));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *memory = calloc(1, MEMORY);
	struct kho_mem_array mem = kho_mem_array(memory, MEMORY, 0, 12);
	struct kho_xa_stats stats;
	struct kho_error err;

	if (!memory)
		abort();
	if (size > 0) {
		sparse_read(data + 1, size - 1, MEMORY, put, memory);
		if (!(data[0] & 1))
			seal_all(memory);
	}
	/* Whatever is good has room in the memory. */
	if (!kho_xa_verify(&mem.mem, HEAD, &stats, &err) &&
	    stats.bytes > MEMORY)
		abort();
	free(memory);
	return 0;
}
