/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: An array that survives
 *
 * From any u64 to any u64, or to something in the arena: Linux's XArray, in
 * small objects of a kho_kmem cache, which several arrays and other users may
 * share. Indices that are close together cost about 10 bytes each. One that is
 * far from all others costs a path of its own, up to ten nodes of 640 bytes:
 * number things from 0, as in Linux, and do not use hashes for indices.
 *
 * 1. kho_xa_create() makes an array. Write its kho_xa_phys() into a blob of
 *    your own; your component declares ``.deps = { "xarray" }``.
 * 2. kho_xa_store(), kho_xa_load(), kho_xa_erase(); ranges, marks, iteration.
 * 3. After a handover or a crash, kho_kmem_restore() of the cache, and then
 *    kho_xa_restore(), check everything. They write nothing.
 * 4. A program that was killed in the middle of a change may have lost an
 *    object or two. When it sweeps its cache (kho_kmem_sweep()), it keeps what
 *    kho_xa_owns() says is part of an array.
 * 5. kho_xa_close() at the end, or kho_xa_destroy() to give all back. Both
 *    before the cache is closed.
 *
 * **Entries.** An entry is a value or a phys. It is at one index or, as a
 * multi-index entry, at 2^order indices, naturally aligned. As in Linux it is
 * then one entry: what is stored, erased or marked at any of its indices is so
 * at all of them. A store over a larger range replaces all entries in it.
 *
 * **Marks.** Every entry has three, unset at first. They stay when the entry
 * is replaced at the same indices, or at some of a multi-index entry's.
 *
 * **Killed** between any two instructions, a program leaves every entry as it
 * was before the change or after it, a multi-index one as a whole. After a
 * kill in kho_xa_store_range() or kho_xa_erase_range() the ranges of the
 * entries that it is made of are new up to some index, and old from there on.
 *
 * An array belongs to a struct kho. Before kho_ready() on an arena that came
 * from somebody else, a restored array can be read; what would change it fails
 * with -EROFS.
 *
 * Every function may be called from any thread at any time, unless it says
 * otherwise. Readers (load, find, marked) take no lock and wait for nobody.
 * Writers wait for each other; one that frees memory also waits for the
 * readers that are looking at it, which is short.
 */
#ifndef KHO_XARRAY_H
#define KHO_XARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho;
struct kho_kmem;

/**
 * struct kho_xa - an array
 *
 * Opaque; volatile: the side of an array that is in the process's own memory.
 */
struct kho_xa;

/** KHO_XA_MAX_ORDER - an entry has at most 2^63 indices. */
#define KHO_XA_MAX_ORDER 63

/**
 * enum kho_xa_mark - which entries
 * @KHO_XA_MARK_0: those that have this mark
 * @KHO_XA_MARK_1: those that have this mark
 * @KHO_XA_MARK_2: those that have this mark
 * @KHO_XA_PRESENT: all
 */
enum kho_xa_mark {
	KHO_XA_MARK_0,
	KHO_XA_MARK_1,
	KHO_XA_MARK_2,
	KHO_XA_PRESENT,
};

/**
 * enum kho_xa_kind - of an entry
 * @KHO_XA_NONE: there is no entry
 * @KHO_XA_VALUE: a value
 * @KHO_XA_PHYS: the phys of something
 */
enum kho_xa_kind {
	KHO_XA_NONE,
	KHO_XA_VALUE,
	KHO_XA_PHYS,
};

/**
 * struct kho_xa_entry - an entry, and where it is
 * @kind: what it is; when it is KHO_XA_NONE, the rest is undefined
 * @index: the first of its indices
 * @last: the last one
 * @value: value or phys
 */
struct kho_xa_entry {
	enum kho_xa_kind kind;
	uint64_t index;
	uint64_t last;
	uint64_t value;
};

/**
 * kho_xa_create() - make an empty array
 * @kho: the arena; must outlive the array's close
 * @kmem: cache of the same arena, for the array's objects; must outlive the
 *        array's close
 * @xa: result; close with kho_xa_close(), or kho_xa_destroy()
 * @err: why not; may be NULL
 *
 * A program that is killed before it has noted kho_xa_phys() loses one object
 * to kho_kmem_sweep().
 *
 * Return: 0; -ENOSPC when the arena is full; -ENOMEM; -EROFS.
 */
int kho_xa_create(struct kho *kho, struct kho_kmem *kmem, struct kho_xa **xa,
		  struct kho_error *err);

/**
 * kho_xa_restore() - check an array after a handover or a crash
 * @kho: the arena; must outlive the array's close
 * @kmem: the array's cache, restored; must outlive the array's close
 * @phys: what kho_xa_phys() returned, maybe damaged since
 * @xa: result; close with kho_xa_close(), or kho_xa_destroy()
 * @err: what is wrong and where; may be NULL
 *
 * Checks as kho_xa_verify(), and that everything is an allocated object of
 * @kmem. Writes nothing. An array must not be restored twice.
 *
 * Return: 0; as kho_xa_verify(); -EINVAL when the array is in another cache;
 * -ENOMEM.
 */
int kho_xa_restore(struct kho *kho, struct kho_kmem *kmem, uint64_t phys,
		   struct kho_xa **xa, struct kho_error *err);

/**
 * kho_xa_phys() - by what an array is found again
 * @xa: the array
 *
 * Return: the phys of its head, the same for the array's whole life.
 */
uint64_t kho_xa_phys(const struct kho_xa *xa);

/**
 * kho_xa_close() - free the volatile side of an array
 * @xa: the array; NULL is allowed. No other thread may be using it
 *
 * Writes nothing to the arena; the entries stay.
 */
void kho_xa_close(struct kho_xa *xa);

/**
 * kho_xa_destroy() - give an array and all its objects back
 * @xa: the array, closed on success; NULL is allowed. No other thread may be
 *      using it
 *
 * What the entries are the phys of is not freed. Remove every reference to the
 * array first. Killed half-way, it leaves an empty array, and objects for
 * kho_kmem_sweep().
 *
 * Return: 0; -EROFS, and then nothing has changed.
 */
int kho_xa_destroy(struct kho_xa *xa);

/**
 * kho_xa_store() - store a value at an index
 * @xa: the array
 * @index: where; an entry that is there is replaced, at all its indices
 * @value: any; 2^63 and above cost an object of 32 bytes each
 *
 * Return: 0; -ENOSPC when the arena is full, -ENOMEM, -EROFS, and then the
 * array is as it was.
 */
int kho_xa_store(struct kho_xa *xa, uint64_t index, uint64_t value);

/**
 * kho_xa_store_order() - store one entry over 2^order indices
 * @xa: the array
 * @index: the first one, a multiple of 2^order
 * @order: 0 to KHO_XA_MAX_ORDER
 * @value: any
 *
 * All entries in the range are replaced by this one. If the range is a part of
 * an entry's, that one is replaced, at all its indices.
 *
 * Return: as kho_xa_store(); -EINVAL for a bad order or index.
 */
int kho_xa_store_order(struct kho_xa *xa, uint64_t index, unsigned int order,
		       uint64_t value);

/**
 * kho_xa_store_range() - store a value over any range
 * @xa: the array
 * @first: first index
 * @last: last index, inclusive
 * @value: any
 *
 * Stores the fewest entries, as kho_xa_store_order(), that make up the range,
 * in ascending order. Not one of them is stored if there is no memory for all.
 *
 * Return: as kho_xa_store(); -EINVAL when @first is above @last.
 */
int kho_xa_store_range(struct kho_xa *xa, uint64_t first, uint64_t last,
		       uint64_t value);

/**
 * kho_xa_store_ptr() - store the phys of something in the arena
 * @xa: the array
 * @index: the first index, a multiple of 2^order
 * @order: 0 for one index, up to KHO_XA_MAX_ORDER
 * @ptr: into the arena, aligned to 4 bytes
 *
 * Otherwise as kho_xa_store_order(). The array takes no hold of what is there.
 *
 * Return: as kho_xa_store_order(); -EINVAL for a bad @ptr.
 */
int kho_xa_store_ptr(struct kho_xa *xa, uint64_t index, unsigned int order,
		     const void *ptr);

/**
 * kho_xa_erase() - erase the entry at an index
 * @xa: the array
 * @index: any of the entry's indices; it goes from all of them
 *
 * Needs no memory. What the entry is the phys of is not freed.
 *
 * Return: 0; -ENOENT when there is none; -EROFS.
 */
int kho_xa_erase(struct kho_xa *xa, uint64_t index);

/**
 * kho_xa_erase_range() - erase every entry that has an index in a range
 * @xa: the array
 * @first: first index
 * @last: last index, inclusive
 *
 * Return: 0; -EINVAL when @first is above @last; -EROFS.
 */
int kho_xa_erase_range(struct kho_xa *xa, uint64_t first, uint64_t last);

/**
 * kho_xa_load() - what is at an index
 * @xa: the array
 * @index: where
 * @value: result: value or phys
 *
 * Return: 0; -ENOENT when there is no entry.
 */
int kho_xa_load(const struct kho_xa *xa, uint64_t index, uint64_t *value);

/**
 * kho_xa_load_ptr() - pointer to what is at an index
 * @xa: the array
 * @index: where
 *
 * Return: pointer to the phys; NULL when there is no entry, or a value, or a
 * phys outside the arena.
 */
void *kho_xa_load_ptr(const struct kho_xa *xa, uint64_t index);

/** kho_xa_empty() - is there no entry in the array? */
bool kho_xa_empty(const struct kho_xa *xa);

/**
 * kho_xa_find() - find the first entry in a range
 * @xa: the array
 * @entry: result; its @kind is KHO_XA_NONE when there is none
 * @first: first index; may be in the middle of the entry that is found
 * @last: last index, inclusive
 * @mark: find only an entry with this mark, or KHO_XA_PRESENT
 *
 * Entries that another thread stores, erases or marks meanwhile may or may not
 * be found.
 *
 * Return: true when there is one.
 */
bool kho_xa_find(const struct kho_xa *xa, struct kho_xa_entry *entry,
		 uint64_t first, uint64_t last, enum kho_xa_mark mark);

/**
 * kho_xa_find_after() - find the entry after one that was found
 * @xa: the array
 * @entry: what was found; result
 * @last: as for kho_xa_find()
 * @mark: as for kho_xa_find()
 *
 * Return: as kho_xa_find().
 */
bool kho_xa_find_after(const struct kho_xa *xa, struct kho_xa_entry *entry,
		       uint64_t last, enum kho_xa_mark mark);

/**
 * kho_xa_for_each_range() - iterate over some of an array, in ascending order
 * @xa: the array
 * @entry: struct kho_xa_entry *, set to each entry
 * @first: first index
 * @last: last index, inclusive
 * @mark: only entries with this mark, or KHO_XA_PRESENT
 *
 * The array may be changed in the loop.
 */
#define kho_xa_for_each_range(xa, entry, first, last, mark)                    \
	for (kho_xa_find((xa), (entry), (first), (last), (mark));              \
	     (entry)->kind != KHO_XA_NONE;                                     \
	     kho_xa_find_after((xa), (entry), (last), (mark)))

/** kho_xa_for_each() - iterate over an array; as kho_xa_for_each_range(). */
#define kho_xa_for_each(xa, entry)                                             \
	kho_xa_for_each_range(xa, entry, 0, UINT64_MAX, KHO_XA_PRESENT)

/** kho_xa_for_each_marked() - iterate over what has a mark; likewise. */
#define kho_xa_for_each_marked(xa, entry, mark)                                \
	kho_xa_for_each_range(xa, entry, 0, UINT64_MAX, mark)

/**
 * kho_xa_set_mark() - mark the entry at an index
 * @xa: the array
 * @index: any of the entry's indices
 * @mark: not KHO_XA_PRESENT
 *
 * Return: 0, also when it has the mark; -ENOENT when there is no entry;
 * -EINVAL for a bad mark; -EROFS.
 */
int kho_xa_set_mark(struct kho_xa *xa, uint64_t index, enum kho_xa_mark mark);

/** kho_xa_clear_mark() - take a mark off; otherwise as kho_xa_set_mark(). */
int kho_xa_clear_mark(struct kho_xa *xa, uint64_t index, enum kho_xa_mark mark);

/** kho_xa_get_mark() - is there an entry at an index, with this mark? */
bool kho_xa_get_mark(const struct kho_xa *xa, uint64_t index,
		     enum kho_xa_mark mark);

/** kho_xa_marked() - has any entry this mark? */
bool kho_xa_marked(const struct kho_xa *xa, enum kho_xa_mark mark);

/**
 * kho_xa_owns() - is an object a part of the array?
 * @xa: the array
 * @object: an allocated object of its cache
 * @size: its usable bytes
 *
 * For the callback of kho_kmem_sweep(), which has these arguments. It answers
 * for the objects of the array itself, not for what its entries are the phys
 * of. No other thread may be changing array or object. Takes the time of a
 * kho_xa_load().
 *
 * Return: true when the array reaches it.
 */
bool kho_xa_owns(const struct kho_xa *xa, const void *object, size_t size);

/**
 * struct kho_xa_stats - what is in an array
 * @entries: entries, a multi-index one counted once
 * @marked: of these, how many have each mark
 * @nodes: nodes of the tree
 * @wide: values of 2^63 and above
 * @bytes: of all objects, as the array asked for them
 */
struct kho_xa_stats {
	uint64_t entries;
	uint64_t marked[KHO_XA_PRESENT];
	uint64_t nodes;
	uint64_t wide;
	uint64_t bytes;
};

/**
 * kho_xa_verify() - check an array and count what is in it
 * @mem: the memory it is in
 * @phys: of its head
 * @stats: result; may be NULL
 * @err: what is wrong and where; may be NULL
 *
 * Every byte is taken as hostile. The memory may be in use: then a change that
 * is under way can look like damage, which is gone when asked again. That the
 * objects are allocated is kho_kmem_verify()'s to say. What a phys leads to is
 * not looked at.
 *
 * Return: 0; -EFAULT for an object that is outside the view; -EBADMSG for
 * damage; -EPROTONOSUPPORT for a version that is not known.
 */
int kho_xa_verify(const struct kho_mem *mem, uint64_t phys,
		  struct kho_xa_stats *stats, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
