/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the arena's files share among themselves. */
#ifndef KHO_ARENA_PRIVATE_H
#define KHO_ARENA_PRIVATE_H

#include "arena/arena.h"

#pragma GCC visibility push(hidden)

/* file.c */
int arena_publish(struct kho *kho, uint64_t fdt, uint64_t size);
int arena_resize(struct kho *kho, uint64_t size);

/* pages.c */
void pages_exit(struct kho *kho);
bool pages_are_preserved(struct kho *kho, uint64_t phys, uint64_t size);
/* phys of the tracker's root. */
uint64_t pages_tracker(const struct kho *kho);
/* Free what came with the handover and was not restored: pages. */
uint64_t pages_free_unclaimed(struct kho *kho);

/* tree.c */
struct tree *tree_new(void);
void tree_free(struct tree *tree);

/* versions.c */
/* versions.c */
void versions_init(struct kho *kho);
void versions_exit(struct kho *kho);

/* instances.c */
/* instances.c */
void instances_init(struct kho *kho);
void instances_exit(struct kho *kho);

#pragma GCC visibility pop

#endif
