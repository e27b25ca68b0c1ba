// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* A tracker of hostile bytes, its root at page 1: kho_tracker_walk(). */
#include <stdint.h>
#include <stdlib.h>

#include <kho/tracker.h>

#include "sparse.h"

#define MEMORY (20ul << 12)

static void put(size_t at, const uint8_t *bytes, size_t len, void *arg)
{
	memcpy((uint8_t *)arg + at, bytes, len);
}

static int on_folio(uint64_t phys, unsigned int order, void *arg)
{
	uint64_t key = kho_tracker_key(12, phys, order), again;
	unsigned int o;

	(void)arg;
	/* What was decoded encodes to the same. */
	if (kho_tracker_decode(12, key, &again, &o) || again != phys ||
	    o != order)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct kho_tracker_walk walk = { .folio = on_folio };
	uint8_t *memory = calloc(1, MEMORY);
	struct kho_mem_array mem = kho_mem_array(memory, MEMORY, 0, 12);
	struct kho_error err;

	if (!memory)
		abort();
	sparse_read(data, size, MEMORY, put, memory);
	kho_tracker_walk(&mem.mem, 4096, &walk, &err);
	free(memory);
	return 0;
}
