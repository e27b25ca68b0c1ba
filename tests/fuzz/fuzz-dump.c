// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* A core of hostile bytes, and the search for a root in it. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kho/dump.h>

#include "sparse.h"

#define FILE_SIZE (256ul << 10)

static void put(size_t at, const uint8_t *bytes, size_t len, void *arg)
{
	if (pwrite(*(int *)arg, bytes, len, (off_t)at) < 0)
		abort();
}

/* Sorted, without overlaps, and all of it can be read that is said to be there. */
static void check_segments(const struct kho_dump *core)
{
	const struct kho_mem *mem = kho_dump_mem(core);
	struct kho_dump_info info;
	uint64_t end = 0;
	char byte;

	kho_dump_info(core, &info);
	for (size_t i = 0; i < info.n; i++) {
		const struct kho_dump_segment *s = &info.segments[i];

		if (!s->size || s->phys < end || s->phys + s->size < s->phys)
			abort();
		end = s->phys + s->size;
		/* A page that is packed may be damaged. */
		if (info.kind != KHO_DUMP_KDUMP &&
		    (kho_mem_read(mem, s->phys, &byte, 1) ||
		     kho_mem_read(mem, end - 1, &byte, 1)))
			abort();
	}
	end = 0;
	for (size_t i = 0; i < info.n_absent; i++) {
		const struct kho_dump_segment *s = &info.absent[i];

		if (!s->size || s->phys < end || s->phys + s->size < s->phys)
			abort();
		end = s->phys + s->size;
		if (!kho_mem_read(mem, s->phys, &byte, 1) ||
		    !kho_mem_read(mem, end - 1, &byte, 1))
			abort();
	}
}

static void search(struct kho_dump *core)
{
	struct kho_dump_root roots[KHO_DUMP_ROOTS], again;
	struct kho_error err;
	size_t n;

	if (kho_dump_find(core, roots, &n, &err))
		return;
	for (size_t i = 0; i < n; i++)
		if (kho_dump_root(core, roots[i].phys, &again, &err) ||
		    again.readable != roots[i].readable)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum kho_dump_kind kinds[] = { KHO_DUMP_AUTO,
						    KHO_DUMP_KCORE,
						    KHO_DUMP_RAW };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0)
		abort();
	sparse_read(data, size, FILE_SIZE, put, &fd);
	for (size_t i = 0; i < 3; i++) {
		const struct kho_dump_opts opts = { .size = sizeof(opts),
						    .kind = kinds[i] };
		struct kho_dump *core;
		struct kho_error err;

		if (kho_dump_open(fd, &opts, &core, &err))
			continue;
		check_segments(core);
		search(core);
		kho_dump_close(core);
	}
	close(fd);
	return 0;
}
