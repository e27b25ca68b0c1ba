/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Reading the state in an arena that may be in use. */
#ifndef TOOLS_KHO_ARENA_H
#define TOOLS_KHO_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include <kho/state.h>
#include <kho/arena.h>
#include <kho/error.h>
#include <kho/state.h>

#include "memory.h"

/*
 * struct snapshot - what is in an arena
 * @info: the superblock
 * @allocated: bytes of memory that the file takes
 * @state: the root FDT
 * @memory: what is preserved, and what the tree points to; with
 *          SNAPSHOT_MEMORY
 * @used: the composites in it; with SNAPSHOT_USED
 * @n_used: how many
 */
struct snapshot {
	struct kho_arena_info info;
	uint64_t allocated;
	struct kho_state *state;
	struct memory memory;
	struct kho_used *used;
	size_t n_used;
};

#define SNAPSHOT_MEMORY (1u << 0)
#define SNAPSHOT_USED (1u << 1)

/*
 * Reads an arena; @what: SNAPSHOT_*. A program that uses it may change it
 * meanwhile: what does not fit together is read again.
 *
 * Return: 0 or a negative errno; then there is nothing to free.
 */
int snapshot_read(int fd, unsigned int what, struct snapshot *snapshot,
		  struct kho_error *err);

void snapshot_free(struct snapshot *snapshot);

#endif
