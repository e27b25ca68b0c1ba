/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Reading the state in an arena that may be in use. */
#ifndef TOOLS_KHO_STATE_H
#define TOOLS_KHO_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include <kho/arena.h>
#include <kho/error.h>
#include <kho/tree.h>

/* Orders that a folio can have. */
#define ORDERS 64

/*
 * struct snapshot - what is in an arena
 * @info: the superblock
 * @allocated: bytes of memory that the file takes
 * @state: the root FDT
 * @folios: preserved, by order
 * @nodes: pages of the tracker
 */
struct snapshot {
	struct kho_arena_info info;
	uint64_t allocated;
	struct kho_state *state;
	uint64_t folios[ORDERS];
	uint64_t nodes;
};

/*
 * Reads an arena; with @count, the tracker too. A program that uses it may
 * change it meanwhile: what does not fit together is read again.
 *
 * Return: 0 or a negative errno; then there is nothing to free.
 */
int snapshot_read(int fd, bool count, struct snapshot *snapshot,
		  struct kho_error *err);

void snapshot_free(struct snapshot *snapshot);

#endif
