/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Reading a tracker
 *
 * The tracker is the radix tree of preserved folios; the format of its keys is
 * in abi/kexec_handover.h. These functions read one through a view of memory;
 * the arena's own tracker is written by kho_preserve_folio() and its kin.
 */
#ifndef KHO_TRACKER_H
#define KHO_TRACKER_H

#include <stdint.h>

#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

/** kho_tracker_key() - key of the folio of 2^@order pages at @phys. */
uint64_t kho_tracker_key(unsigned int page_shift, uint64_t phys,
			 unsigned int order);

/**
 * kho_tracker_decode() - folio of a key
 * @page_shift: log2 of the page size
 * @key: from a tracker, maybe damaged
 * @phys: of its first page
 * @order: of the folio
 *
 * Return: 0; -EBADMSG when no folio has such a key.
 */
int kho_tracker_decode(unsigned int page_shift, uint64_t key, uint64_t *phys,
		       unsigned int *order);

/**
 * struct kho_tracker_walk - whom to call
 * @folio: for each preserved folio
 * @node: for each page of the tracker itself; may be NULL
 * @arg: passed to both
 *
 * A callback that returns other than 0 ends the walk with that value.
 */
struct kho_tracker_walk {
	int (*folio)(uint64_t phys, unsigned int order, void *arg);
	int (*node)(uint64_t phys, void *arg);
	void *arg;
};

/**
 * kho_tracker_walk() - call back for everything in a tracker
 * @mem: the memory it is in
 * @root: phys of its root node; 0: an empty tracker
 * @walk: whom to call
 * @err: what is wrong and where; may be NULL
 *
 * Every byte is taken as hostile. Thread-safe.
 *
 * Return: 0; a callback's value; -EFAULT for a node outside the view;
 * -EBADMSG for an unaligned node or a key that is none; -ELOOP for a node that
 * is reached twice; -ENOMEM.
 */
int kho_tracker_walk(const struct kho_mem *mem, uint64_t root,
		     const struct kho_tracker_walk *walk,
		     struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
