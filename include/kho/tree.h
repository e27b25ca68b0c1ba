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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/compat.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho;

/**
 * kho_add_subtree() - add a named entry
 * @kho: the arena
 * @name: 1 to 31 characters of ``[0-9a-zA-Z,._+-]``
 * @component: who owns the blob
 * @version: version the blob has, in the component's write range; 0: that of
 *           kho_version()
 * @blob: in preserved pages, which stay the caller's to preserve and to free
 * @size: bytes of the blob, at least 1
 * @err: why not; may be NULL
 *
 * The entry's composite has the dependencies in the versions in which they are
 * written, see kho_version(). It is optional when its component is.
 *
 * Return: 0; -EINVAL for a bad name or a blob that is not preserved; -EEXIST,
 * also for a carried entry; as kho_component_composite(); -ENOSPC, -ENOMEM;
 * -EROFS; -EOVERFLOW after 2^64 - 1 changes. On failure the tree is as it was.
 */
int kho_add_subtree(struct kho *kho, const char *name,
		    const struct kho_component *component, uint32_t version,
		    void *blob, size_t size, struct kho_error *err);

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
			void *blob, size_t size, struct kho_error *err);

/**
 * kho_remove_subtree() - remove a named entry
 * @kho: the arena
 * @name: the entry; its blob is the caller's to free afterwards
 * @err: why not; may be NULL
 *
 * Return: 0; -ENOENT; -EPROTONOSUPPORT for a carried entry, which is somebody
 * else's; -ENOSPC, -ENOMEM; -EROFS.
 */
int kho_remove_subtree(struct kho *kho, const char *name,
		       struct kho_error *err);

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
 * Return: the blob, NULL when there is no such entry, or this program cannot
 * read it: then it is carried along for one that can.
 */
void *kho_subtree(struct kho *kho, const char *name, size_t *size,
		  uint32_t *version);

/**
 * kho_version() - the version that a component is written in
 * @kho: the arena
 * @component: of this program
 *
 * That which the state tree says, the highest of them, or the lowest that this
 * program writes, if that is higher; while the tree does not have the component,
 * the highest that this program writes. After a handover it is
 * what was negotiated, so an older one than this program's best is possible:
 * kho_set_version() ends that. During freeze it is what was negotiated with the
 * successor, also for a component that is not in use yet.
 *
 * Return: the version.
 */
uint32_t kho_version(struct kho *kho, const struct kho_component *component);

/**
 * kho_set_version() - write a component in another version from now on
 * @kho: the arena
 * @component: of this program
 * @version: in its write range
 * @err: why not; may be NULL
 *
 * In one step, every composite in the state tree says so. What is there is
 * the component's own to convert: afterwards, when the new format includes the
 * old one, or before.
 *
 * Return: 0; -ERANGE; -ENOSPC, -ENOMEM; -EROFS. On failure nothing changed.
 */
int kho_set_version(struct kho *kho, const struct kho_component *component,
		    uint32_t version, struct kho_error *err);

/**
 * kho_free_unclaimed() - give back what nobody restored
 * @kho: the arena
 * @err: why not; may be NULL
 *
 * For a program that knows that it has restored everything it can reach:
 * unpreserves and frees each folio that came with the handover and was not
 * restored. What a program lost that was killed between allocating and
 * linking comes back this way.
 *
 * Return: pages freed; 0 as long as a subtree is carried for another program,
 * for nobody here knows what it reaches; -EBUSY when a subtree was not retrieved
 * yet, because what it reaches would be freed; -EROFS.
 */
int64_t kho_free_unclaimed(struct kho *kho, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
