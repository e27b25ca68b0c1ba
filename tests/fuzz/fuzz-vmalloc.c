// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * An area, or an array, of hostile bytes, its descriptor at page 1. As it is,
 * and once more with all checksums right, so that one gets behind them.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <kho/varray.h>

#include "base/crc32c.h"
#include "sparse.h"

#define PAGES 256ul
#define MEMORY (PAGES << 12)

static void put(size_t at, const uint8_t *bytes, size_t len, void *arg)
{
	memcpy((uint8_t *)arg + at, bytes, len);
}

static int on_run(uint64_t offset, uint64_t phys, uint64_t size, void *arg)
{
	uint64_t *end = arg;

	/* In order, without overlaps, and all of it in the memory. */
	if (offset < *end || !size || !phys || phys > MEMORY ||
	    size > MEMORY - phys)
		abort();
	*end = offset + size;
	return 0;
}

static void check(const uint8_t *memory)
{
	struct kho_mem_array mem = kho_mem_array(memory, MEMORY, 0, 12);
	struct kho_varray_stats array;
	struct kho_vmalloc_stats area;
	struct kho_error err;
	uint64_t end = 0;
	int ret;

	ret = kho_vmalloc_walk(&mem.mem, 4096, on_run, &end, &err);
	if (kho_vmalloc_verify(&mem.mem, 4096, &area, &err) != ret)
		abort();
	if (!ret && (area.size != end || area.populated > end))
		abort();
	if (kho_varray_verify(&mem.mem, 4096, &array, &err) == 0 &&
	    (ret || array.count > end / array.size))
		abort();
}

static void seal(uint8_t *memory)
{
	struct kho_varray_desc *desc = (void *)(memory + 4096);
	struct kho_vmalloc_desc_v2 *area = (void *)&desc->area;

	desc->crc = crc32c_more(crc32c(desc->type, sizeof(desc->type)),
				&desc->size, sizeof(desc->size));
	if (!(area->flags & KHO_VMALLOC_VERSIONED))
		return;
	area->crc = 0;
	area->crc = crc32c(area, sizeof(*area));
	for (size_t page = 2; page < PAGES; page++) {
		struct kho_vmalloc_list *list = (void *)(memory + 4096 * page);

		if (list->magic != KHO_VMALLOC_LIST_MAGIC)
			continue;
		list->crc =
			crc32c(list, offsetof(struct kho_vmalloc_list, crc));
		for (int i = 0; i < 169; i++)
			list->run[i].crc =
				crc32c(&list->run[i],
				       offsetof(struct kho_vmalloc_run, crc));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t memory[MEMORY] __attribute__((aligned(8)));

	memset(memory, 0, MEMORY);
	sparse_read(data, size, MEMORY, put, memory);
	check(memory);
	seal(memory);
	check(memory);
	return 0;
}
