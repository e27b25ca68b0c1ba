/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: The state tree
 *
 * Named entries, each pointing to a preserved blob and carrying the composite
 * of the component that owns it. A change is published atomically: a program
 * killed in the middle leaves the old tree or the new one.
 *
 * Every function may be called from any thread at any time.
 */
#ifndef KHO_TREE_H
#define KHO_TREE_H

#include <stddef.h>
#include <stdint.h>

#include <kho/check.h>
#include <kho/compat.h>
#include <kho/error.h>
#include <kho/mem.h>

struct kho;

/** KHO_SUBTREE_NAME_SIZE - bytes of a subtree's name, its NUL included. */
#define KHO_SUBTREE_NAME_SIZE 32

/**
 * kho_add_subtree() - add a named entry
 * @kho: the arena
 * @name: 1 to 31 characters of ``[0-9a-zA-Z,._+-]``
 * @component: who owns the blob
 * @version: version the blob has, in the component's write range; 0: its
 *           highest
 * @blob: in preserved pages, which stay the caller's to preserve and to free
 * @size: bytes of the blob, at least 1
 *
 * Return: 0; -EINVAL for a bad name or a blob that is not preserved; -EEXIST;
 * as kho_component_composite(); -ENOSPC, -ENOMEM; -EROFS. On failure the tree
 * is as it was.
 */
int kho_add_subtree(struct kho *kho, const char *name,
		    const struct kho_component *component, uint32_t version,
		    void *blob, size_t size);

/**
 * kho_replace_subtree() - let a named entry point elsewhere
 *
 * Arguments as for kho_add_subtree(). In one step: at every moment either the
 * old entry is there or the new one. The old blob is the caller's to free.
 *
 * Return: as kho_add_subtree(), but -ENOENT when there is no such entry.
 */
int kho_replace_subtree(struct kho *kho, const char *name,
			const struct kho_component *component, uint32_t version,
			void *blob, size_t size);

/**
 * kho_remove_subtree() - remove a named entry
 * @kho: the arena
 * @name: the entry; its blob is the caller's to free afterwards
 *
 * Return: 0; -ENOENT; -ENOSPC, -ENOMEM; -EROFS.
 */
int kho_remove_subtree(struct kho *kho, const char *name);

/**
 * kho_subtree() - find a named entry
 * @kho: the arena
 * @name: the entry
 * @size: bytes of its blob; may be NULL
 * @version: version of the component that owns it; may be NULL
 *
 * Restores the folio that the blob starts in, when it came with a handover
 * and was not restored yet; a blob that reaches over several folios is the
 * caller's to restore further.
 *
 * Return: the blob, NULL when there is no such entry.
 */
void *kho_subtree(struct kho *kho, const char *name, size_t *size,
		  uint32_t *version);

/**
 * struct kho_state_subtree - an entry, as read
 * @name: its name
 * @phys: of the blob
 * @size: bytes of the blob
 * @compatible: composite as it stands there; empty in a Linux state
 */
struct kho_state_subtree {
	char name[KHO_SUBTREE_NAME_SIZE];
	uint64_t phys;
	uint64_t size;
	char compatible[KHO_COMPOSITE_SIZE];
};

/**
 * struct kho_state - a root FDT, as read
 * @compatible: the root's first compatible string
 * @tracker: phys of the tracker's root node, 0 when nothing is preserved
 * @n: subtrees
 * @subtrees: in the tree's order
 */
struct kho_state {
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
 * @state: result, to free()
 * @err: what is wrong; may be NULL
 *
 * Every byte is taken as hostile. Thread-safe.
 *
 * Return: 0; -EFAULT outside the view; -EBADMSG not a root FDT, or damaged;
 * -ENOMEM.
 */
int kho_state_read(const struct kho_mem *mem, uint64_t fdt, uint64_t size,
		   struct kho_state **state, struct kho_error *err);

/**
 * kho_state_used() - the composites in a state
 * @state: as read
 * @used: result, to free()
 * @n: how many
 * @err: which entry is wrong and why; may be NULL
 *
 * Return: 0; -EBADMSG for an entry without a composite or with a malformed
 * one; -ENOMEM.
 */
int kho_state_used(const struct kho_state *state, struct kho_used **used,
		   size_t *n, struct kho_error *err);

#endif
