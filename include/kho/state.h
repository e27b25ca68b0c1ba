/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Reading a state tree
 *
 * The decoder of a root FDT and of what its subtrees say they are, through any
 * view of memory. Every byte is taken as hostile; nothing is changed.
 */
#ifndef KHO_STATE_H
#define KHO_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/check.h>
#include <kho/compat.h>
#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

/** KHO_SUBTREE_NAME_SIZE - bytes of a subtree's name, its NUL included. */
#define KHO_SUBTREE_NAME_SIZE 32

/**
 * struct kho_state_subtree - an entry, as read
 * @name: its name
 * @phys: of the blob
 * @size: bytes of the blob
 * @compatible: composite as it stands there; empty in a Linux state
 * @optional: it may be gone without
 * @carried: somebody who could not read it carried it along
 */
struct kho_state_subtree {
	char name[KHO_SUBTREE_NAME_SIZE];
	uint64_t phys;
	uint64_t size;
	char compatible[KHO_COMPOSITE_SIZE];
	bool optional;
	bool carried;
};

/**
 * struct kho_state - a root FDT, as read
 * @compatible: the root's first compatible string
 * @tracker: phys of the tracker's root node, 0 when nothing is preserved
 * @n: subtrees
 * @subtrees: in the tree's order
 */
__extension__ struct kho_state {
	char compatible[KHO_COMPOSITE_SIZE];
	uint64_t tracker;
	size_t n;
	struct kho_state_subtree subtrees[];
};

/**
 * kho_state_read() - read a root FDT
 * @mem: the memory it is in
 * @fdt: its phys
 * @size: bytes, at most 1 MiB
 * @state: result; free with kho_state_free()
 * @err: what is wrong; may be NULL
 *
 * Every byte is taken as hostile. Thread-safe.
 *
 * Return: 0; -EFAULT outside the view; -EBADMSG not a root FDT, or damaged;
 * -ENOMEM.
 */
int kho_state_read(const struct kho_mem *mem, uint64_t fdt, uint64_t size,
		   struct kho_state **state, struct kho_error *err);

/** kho_state_free() - free a state; NULL is allowed. */
void kho_state_free(struct kho_state *state);

/**
 * kho_state_used() - the composites in a state
 * @mem: the memory it is in
 * @state: as read
 * @used: result; free with kho_used_free()
 * @n: how many
 * @err: which entry is wrong and why; may be NULL
 *
 * An entry of a Linux state has no composite: what it is comes from its name
 * and, by the table of bundles, from the version that its blob begins with. Of
 * one that is not known there, @used has no token.
 *
 * Return: 0; -EBADMSG for a malformed composite or blob; -EFAULT for a blob
 * outside the view; -ENOMEM.
 */
int kho_state_used(const struct kho_mem *mem, const struct kho_state *state,
		   struct kho_used **used, size_t *n, struct kho_error *err);

/** kho_used_free() - free what kho_state_used() found; NULL is allowed. */
void kho_used_free(struct kho_used *used);

#ifdef __cplusplus
}
#endif

#endif
