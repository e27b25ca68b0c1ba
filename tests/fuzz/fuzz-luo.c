// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Sessions, files and memfds of hostile bytes: the header of LUO is page 1, the
 * metadata of the kernel page 2, and its reserved memory page 3.
 */
#include <stdint.h>
#include <stdlib.h>

#include <kho/linux.h>
#include <kho/luo.h>

#include "sparse.h"

#define MEMORY (64ul << 12)

struct fuzz {
	struct kho_mem_array mem;
	unsigned int files;
};

static void put(size_t at, const uint8_t *bytes, size_t len, void *arg)
{
	memcpy((uint8_t *)arg + at, bytes, len);
}

static int on_pages(enum luo_part part, uint64_t phys, uint64_t size, void *arg)
{
	(void)arg;
	if (part > LUO_PART_CONTENTS || !size || phys & 4095 || size & 4095)
		abort();
	return 0;
}

static int on_order(uint64_t phys, void *arg)
{
	(void)arg;
	return (phys >> 12 & 7) == 7;
}

static const struct luo_reach reach = { on_pages, on_order, NULL };

static int on_bytes(const void *bytes, size_t len, void *arg)
{
	(void)bytes;
	*(uint64_t *)arg += len;
	return 0;
}

static int on_file(const struct luo_state_file *file, void *arg)
{
	struct fuzz *fuzz = arg;
	struct luo_memfd *memfd;
	struct kho_error err;
	uint64_t n = 0;

	if (!memchr(file->handler, 0, sizeof(file->handler)))
		abort();
	/* Some thousand files may all be the same large one. */
	if (++fuzz->files > 16)
		return 1;
	luo_handler_is_memfd(file->handler);
	if (luo_memfd_read(&fuzz->mem.mem, file->data, &reach, &memfd, &err))
		return 0;
	if (luo_memfd_contents(&fuzz->mem.mem, memfd, on_bytes, &n, &err) ==
		    0 &&
	    n != memfd->size)
		abort();
	luo_memfd_free(memfd);
	return 0;
}

static int on_session(const struct luo_state_session *session, void *arg)
{
	struct fuzz *fuzz = arg;
	struct kho_error err;

	if (!memchr(session->name, 0, sizeof(session->name)))
		abort();
	luo_state_files(&fuzz->mem.mem, session, &reach, on_file, fuzz, &err);
	return fuzz->files > 16;
}

static int on_flb(const struct luo_state_flb *flb, void *arg)
{
	(void)arg;
	if (!memchr(flb->name, 0, sizeof(flb->name)))
		abort();
	return 0;
}

static int on_region(const struct kho_linux_region *region, void *arg)
{
	(void)arg;
	if (!region->size || region->phys + region->size < region->phys)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t memory[MEMORY] __attribute__((aligned(8)));
	struct fuzz fuzz = { .mem = kho_mem_array(memory, MEMORY, 0, 12) };
	const struct kho_mem *mem = &fuzz.mem.mem;
	struct kho_linux_metadata metadata;
	struct luo_state state;
	struct kho_error err;

	memset(memory, 0, MEMORY);
	sparse_read(data, size, MEMORY, put, memory);
	if (luo_state_read(mem, 1 << 12, 32, &state, &err) == 0) {
		luo_state_sessions(mem, &state, &reach, on_session, &fuzz,
				   &err);
		luo_state_flbs(mem, &state, &reach, on_flb, NULL, &err);
	}
	kho_linux_metadata(mem, 2 << 12, 73, &metadata, &err);
	kho_linux_regions(mem, 3 << 12, 4096, on_region, NULL, &err);
	return 0;
}
