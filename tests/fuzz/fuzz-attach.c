// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * An arena of hostile bytes: kho_attach_fd(), and when it is accepted, all that
 * a program does with it. The checksums are put right, for a damaged one is
 * refused at once.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kho/abi/arena.h>
#include <kho/attach.h>
#include <kho/pages.h>
#include <kho/tree.h>

#include "arena/arena.h"
#include "base/crc32c.h"
#include "sparse.h"

#define MEMORY (2ul << 20)

KHO_COMPONENT(app, .write = { 3, 3 }, .read = { 1, 3 });

static void put(size_t at, const uint8_t *bytes, size_t len, void *arg)
{
	if (pwrite(*(int *)arg, bytes, len, (off_t)at) < 0)
		abort();
}

static void fix_checksums(int fd)
{
	struct kho_arena_super super;

	if (pread(fd, &super, sizeof(super), 0) != sizeof(super))
		abort();
	super.crc = crc32c(&super, offsetof(struct kho_arena_super, crc));
	super.chunks = arena_super_word(&super, offsetof(typeof(super), chunks),
					(uint32_t)super.chunks);
	super.generation = arena_super_word(&super,
					    offsetof(typeof(super), generation),
					    (uint32_t)super.generation);
	for (int i = 0; i < KHO_ARENA_SLOTS; i++)
		super.slot[i].crc =
			crc32c(&super.slot[i],
			       offsetof(struct kho_arena_slot, crc));
	if (pwrite(fd, &super, sizeof(super), 0) != sizeof(super))
		abort();
}

static void use(struct kho *kho)
{
	struct kho_pages_info info;
	void *pages[8];
	size_t size;
	char *blob;

	blob = kho_subtree(kho, "app", &size, NULL);
	for (size_t i = 0; blob && i < size; i += 4096)
		*(volatile char *)&blob[i];
	if (kho_ready(kho, NULL))
		abort();
	for (int i = 0; i < 8; i++)
		pages[i] = kho_alloc_preserve(kho, 4096ul << i);
	kho_free_unclaimed(kho, NULL);
	for (int i = 0; i < 8; i++)
		if (kho_unpreserve_free(kho, pages[i]))
			abort();
	kho_pages_info(kho, &info);
	if (info.free + info.allocated + info.nodes + 1 != info.total)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct kho_error err;
	struct kho_attach_opts opts = { .size = sizeof(opts),
					.max_size = 8ul << 20 };
	struct kho *kho;

	if (fd < 0 || ftruncate(fd, MEMORY))
		abort();
	sparse_read(data, size, MEMORY, put, &fd);
	fix_checksums(fd);
	if (kho_attach_fd(&kho, fd, &opts, &err) == 0) {
		use(kho);
		kho_close(kho);
	}
	close(fd);
	return 0;
}
