/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Looking into an arena
 *
 * A read-only view for tools. It takes no lock on the arena and offers no way
 * to restore anything: that takes kho_attach(), which checks first.
 */
#ifndef KHO_ARENA_H
#define KHO_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include <kho/abi/arena.h>
#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho_arena_view;

/**
 * struct kho_arena_info - what the superblock says
 * @version: of the arena's format
 * @page_shift: log2 of the page size
 * @id: random, for the arena's lifetime
 * @size: bytes in use by the superblock's account
 * @file_size: bytes of the file
 * @generation: handovers survived
 * @seq: sequence number of the valid root; 0 when there is none yet
 * @fdt: phys of the root FDT; 0 when there is none yet
 * @fdt_size: its bytes
 */
struct kho_arena_info {
	uint32_t version;
	uint32_t page_shift;
	uint8_t id[KHO_ARENA_ID_SIZE];
	uint64_t size;
	uint64_t file_size;
	uint64_t generation;
	uint64_t seq;
	uint64_t fdt;
	uint64_t fdt_size;
};

/**
 * kho_arena_view() - open an arena for looking
 * @fd: memfd or a file with an arena's bytes; not closed, may be closed after
 * @view: result; close with kho_arena_view_close()
 * @err: what is wrong; may be NULL
 *
 * The arena may be in use; what is read may change at any time.
 *
 * Return: 0; -EBADMSG when it is not an arena, or truncated or damaged; -EFBIG
 * above 16 TiB; -EPROTONOSUPPORT for a version that is not known; -EINVAL for a
 * page size that is not; -ENOMEM; the errno of the system calls.
 */
int kho_arena_view(int fd, struct kho_arena_view **view, struct kho_error *err);

/** kho_arena_view_info() - read the superblock again; as kho_arena_view(). */
int kho_arena_view_info(const struct kho_arena_view *view,
			struct kho_arena_info *info, struct kho_error *err);

/** kho_arena_view_mem() - its memory; valid until the view is closed. */
const struct kho_mem *kho_arena_view_mem(const struct kho_arena_view *view);

/** kho_arena_view_close() - close it; NULL is allowed. */
void kho_arena_view_close(struct kho_arena_view *view);

#ifdef __cplusplus
}
#endif

#endif
