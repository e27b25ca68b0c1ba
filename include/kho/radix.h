/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: A set of u64 keys that survives
 *
 * The radix tree of Linux's KHO, for any keys, in preserved pages: about one
 * bit for each key where they are dense, a page and more where they are far
 * apart. The format is in abi/radix_tree.h; what is to be remembered is the
 * phys of the root, which does not change as long as the set lives.
 *
 * 1. kho_radix_create() makes a set. Write its kho_radix_root() into a blob of
 *    your own; your component declares ``.deps = { "radix" }``.
 * 2. Add, delete, test, single keys or ranges; find the next key or gap.
 * 3. After a handover or a crash, kho_radix_restore() checks and claims it.
 * 4. kho_radix_close() at the end, or kho_radix_destroy() to give all back.
 *
 * Every change is one store into the tree. Killed at any moment, a program
 * leaves the set as it was before the key was added or deleted, or after. A
 * range is many such steps, a u64 of the bitmap each: killed in the middle,
 * its lower part is there, or gone. At worst there are pages that nothing
 * points to, for kho_free_unclaimed(), and empty nodes.
 *
 * A set belongs to a struct kho and must be closed before it. Before
 * kho_ready() on an arena that came from somebody else, a restored set can be
 * read; what would change it fails with -EROFS.
 *
 * Every function may be called from any thread at any time, unless it says
 * otherwise. Readers (test, next, next_gap, for_each, count) take no lock and
 * never wait. Two threads that change keys in different leaves wait for each
 * other only when both make or give back a node of the same parent, or when
 * their leaves share one of the set's locks. A delete that empties a node also
 * waits until the lookups that are under way are through.
 */
#ifndef KHO_RADIX_H
#define KHO_RADIX_H

#include <stdbool.h>
#include <stdint.h>

#include <kho/abi/radix_tree.h>
#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho;

/**
 * struct kho_radix - a set of keys
 *
 * Opaque; volatile: the side of a set that is in the process's own memory.
 */
struct kho_radix;

/**
 * kho_radix_create() - make an empty set
 * @kho: the arena; must outlive the set's close
 * @key_bits: width of the keys, 1 to 64; no part of the format, so the caller
 *            must know it when it restores the set
 * @radix: result; close with kho_radix_close(), or kho_radix_destroy()
 * @err: why not; may be NULL
 *
 * Takes one page until there is a key.
 *
 * Return: 0; -EINVAL for a bad width; -ENOSPC when the arena is full; -ENOMEM;
 * -EROFS.
 */
int kho_radix_create(struct kho *kho, unsigned int key_bits,
		     struct kho_radix **radix, struct kho_error *err);

/**
 * kho_radix_restore() - check and claim a set after a handover or a crash
 * @kho: the arena; must outlive the set's close
 * @root: what kho_radix_root() returned, maybe damaged since
 * @key_bits: as given to kho_radix_create()
 * @radix: result; close with kho_radix_close(), or kho_radix_destroy()
 * @err: what is wrong and where; may be NULL
 *
 * First checks everything, as kho_radix_verify(), then claims all nodes with
 * kho_restore_folio(). Writes nothing.
 *
 * Return: 0; as kho_radix_verify(), and then nothing was claimed; -ENOENT when
 * a node is not preserved, -EBUSY when it was claimed before, -EBADMSG when
 * its folio is larger than a page, and then what was claimed so far stays
 * claimed; -ENOMEM.
 */
int kho_radix_restore(struct kho *kho, uint64_t root, unsigned int key_bits,
		      struct kho_radix **radix, struct kho_error *err);

/** kho_radix_root() - phys of the root, by which a set is found again. */
uint64_t kho_radix_root(const struct kho_radix *radix);

/**
 * kho_radix_close() - free the volatile side of a set
 * @radix: the set; NULL is allowed. No other thread may be using it
 *
 * Writes nothing to the arena; the keys stay.
 */
void kho_radix_close(struct kho_radix *radix);

/**
 * kho_radix_destroy() - give a set and all its pages back
 * @radix: the set, closed on success; NULL is allowed. No other thread may be
 *         using it
 *
 * Remove every reference to the root first. Killed half-way, it leaves a set
 * with some of the keys or none, and pages for kho_free_unclaimed().
 *
 * Return: 0; -EROFS, and then nothing has changed.
 */
int kho_radix_destroy(struct kho_radix *radix);

/**
 * kho_radix_add() - add a key
 * @radix: the set
 * @key: less than 2^key_bits
 *
 * Return: 0; -EEXIST; -ERANGE when the key is too wide; -ENOSPC, -ENOMEM and
 * -EROFS, and then the set is as it was.
 */
int kho_radix_add(struct kho_radix *radix, uint64_t key);

/**
 * kho_radix_del() - delete a key
 * @radix: the set
 * @key: less than 2^key_bits
 *
 * Nodes that got empty are given back, except the root.
 *
 * Return: 0; -ENOENT; -ERANGE; -EROFS.
 */
int kho_radix_del(struct kho_radix *radix, uint64_t key);

/**
 * kho_radix_add_range() - add a run of keys
 * @radix: the set
 * @first: the lowest one
 * @last: the highest one, inclusive; less than 2^key_bits
 *
 * Keys that are in the set stay in it. Other threads see the keys come word by
 * word, in ascending order, and only when there is memory for all of them.
 *
 * Return: 0; -EINVAL when @first is above @last; -ERANGE; -ENOSPC, -ENOMEM and
 * -EROFS, and then none of the keys was added.
 */
int kho_radix_add_range(struct kho_radix *radix, uint64_t first, uint64_t last);

/**
 * kho_radix_del_range() - delete a run of keys
 *
 * Arguments as for kho_radix_add_range(). Keys that are not in the set are
 * skipped, in time that depends on the nodes there are, not on the range.
 *
 * Return: 0; -EINVAL; -ERANGE; -EROFS.
 */
int kho_radix_del_range(struct kho_radix *radix, uint64_t first, uint64_t last);

/** kho_radix_test() - is a key in the set; false also when it is too wide. */
bool kho_radix_test(const struct kho_radix *radix, uint64_t key);

/**
 * kho_radix_next() - find the next key
 * @radix: the set
 * @from: where to begin
 * @key: result: the lowest key in the set that is not below @from
 *
 * Return: 0; -ENOENT when there is none; -ERANGE when @from is too wide. A key
 * that another thread adds or deletes meanwhile may or may not be found.
 */
int kho_radix_next(const struct kho_radix *radix, uint64_t from, uint64_t *key);

/**
 * kho_radix_next_gap() - find the next key that is not there
 * @radix: the set
 * @from: where to begin
 * @key: result: the lowest key below 2^key_bits that is not below @from and
 *       not in the set
 *
 * Return: as kho_radix_next().
 */
int kho_radix_next_gap(const struct kho_radix *radix, uint64_t from,
		       uint64_t *key);

/**
 * kho_radix_for_each() - call back for every key
 * @radix: the set
 * @key: called with each key, in ascending order, and @arg; other than 0 ends
 *       the walk with that value
 * @arg: for @key
 *
 * The callback may change the set. A key that is added or deleted meanwhile
 * may or may not be called for.
 *
 * Return: 0; the callback's value.
 */
int kho_radix_for_each(const struct kho_radix *radix,
		       int (*key)(uint64_t key, void *arg), void *arg);

/** kho_radix_count() - how many keys there are; at once, whatever the number. */
uint64_t kho_radix_count(const struct kho_radix *radix);

/**
 * struct kho_radix_walk - whom to call
 * @key: for each key, in ascending order; may be NULL
 * @node: for each page of the tree, before what is below it; may be NULL
 * @arg: passed to both
 *
 * A callback that returns other than 0 ends the walk with that value.
 */
struct kho_radix_walk {
	int (*key)(uint64_t key, void *arg);
	int (*node)(uint64_t phys, void *arg);
	void *arg;
};

/**
 * kho_radix_walk() - read a tree through a view of memory
 * @mem: the memory it is in
 * @root: phys of its top page
 * @key_bits: width of the keys
 * @walk: whom to call
 * @err: what is wrong and where; may be NULL
 *
 * Every byte is taken as hostile. Thread-safe.
 *
 * Return: 0; a callback's value; -EFAULT for a page outside the view;
 * -EBADMSG for a root of 0, a page that is not aligned or a key that is too
 * wide; -ELOOP for a page that is reached twice; -EINVAL for a width that is
 * not 1 to 64 or a page size that is not 4, 16 or 64 KiB; -ENOMEM.
 */
int kho_radix_walk(const struct kho_mem *mem, uint64_t root,
		   unsigned int key_bits, const struct kho_radix_walk *walk,
		   struct kho_error *err);

/**
 * struct kho_radix_stats - what is in a tree
 * @keys: keys
 * @nodes: pages
 * @empty: pages without a key or a child, but the root; a kill can leave some,
 *         for the next key there to use
 * @crc: CRC32C over the position and contents of the leaves that have keys
 *
 * The format has nothing by which a set could be told from another one: a
 * changed bit of a leaf is a set with a key more or less. Who must know keeps
 * @keys and @crc of the final state beside the root and compares: the change
 * of a single byte in a leaf always changes one of them.
 */
struct kho_radix_stats {
	uint64_t keys;
	uint64_t nodes;
	uint64_t empty;
	uint32_t crc;
};

/**
 * kho_radix_verify() - check a tree and count what is in it
 * @mem: the memory it is in
 * @root: phys of its top page
 * @key_bits: width of the keys
 * @stats: result; may be NULL
 * @err: what is wrong and where; may be NULL
 *
 * Every byte is taken as hostile. The memory may be in use: then a node that
 * comes or goes meanwhile can look like damage, which is gone when asked
 * again. Whether the pages are preserved is the tracker's to say.
 *
 * Return: as kho_radix_walk().
 */
int kho_radix_verify(const struct kho_mem *mem, uint64_t root,
		     unsigned int key_bits, struct kho_radix_stats *stats,
		     struct kho_error *err);

/**
 * kho_radix_stats() - as kho_radix_verify(), for a set that is in use
 * @radix: the set; no other thread may change it meanwhile
 * @stats: result
 *
 * Return: as kho_radix_verify().
 */
int kho_radix_stats(const struct kho_radix *radix,
		    struct kho_radix_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
