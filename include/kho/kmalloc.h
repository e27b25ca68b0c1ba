/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Small objects that survive
 *
 * malloc() for the arena: objects of 8 bytes to half a page, packed into
 * preserved slabs. A cache, with all its objects, survives crash and handover
 * at the same phys; what is to be remembered is one number.
 *
 * 1. kho_kmem_create() makes a cache. Write its kho_kmem_phys() into a blob of
 *    your own; your component declares ``.deps = { "kmalloc" }``.
 * 2. kho_kmalloc(), kho_kfree(). An object is allocated when kho_kmalloc()
 *    returns and free when kho_kfree() begins; that a kill comes in between
 *    makes no difference to any other object.
 * 3. After a handover or a crash, kho_kmem_restore() checks and claims the
 *    cache. It writes nothing, and its time is that of the slabs, not of the
 *    objects. The objects are where they were: kho_ptr() of their phys.
 * 4. A program that was killed between kho_kmalloc() and linking the object
 *    to its own data has lost that object. After kho_ready() kho_kmem_sweep()
 *    gives back what the program does not reach, at once before it serves or
 *    with kho_kmem_sweep_slab() meanwhile; kho_free_unclaimed() does the same
 *    for whole slabs that were lost.
 * 5. kho_kmem_close() at the end, or kho_kmem_destroy() to give all back.
 *
 * Sizes are rounded up: to multiples of 8 up to 64 bytes, above to one of four
 * steps between a power of two and the next (80, 96, 112, 128, 160 ...), so at
 * most a fifth of an object is lost. The objects of a size share slabs of 16
 * pages. One empty slab of each size is kept, as long as the arena is not full.
 *
 * A cache belongs to a struct kho and must be closed before it. Before
 * kho_ready() on an arena that came from somebody else, a restored cache can
 * be read and walked; what would change it fails with -EROFS.
 *
 * Every function may be called from any thread at any time, unless it says
 * otherwise. kho_ksize() takes no lock; threads that work on objects of
 * different size classes do not wait for each other.
 */
#ifndef KHO_KMALLOC_H
#define KHO_KMALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho;

/**
 * struct kho_kmem - a cache of small objects
 *
 * Opaque; volatile: the side of a cache that is in the process's own memory.
 */
struct kho_kmem;

/**
 * kho_kmem_create() - make a cache
 * @kho: the arena; must outlive the cache's close
 * @kmem: result; close with kho_kmem_close(), or kho_kmem_destroy()
 * @err: why not; may be NULL
 *
 * Takes one page until there is an object. A program that is killed before
 * it has noted kho_kmem_phys() loses the cache to kho_free_unclaimed().
 *
 * Return: 0; -ENOSPC when the arena is full; -ENOMEM; -EROFS.
 */
int kho_kmem_create(struct kho *kho, struct kho_kmem **kmem,
		    struct kho_error *err);

/**
 * kho_kmem_restore() - check and claim a cache after a handover or a crash
 * @kho: the arena; must outlive the cache's close
 * @phys: what kho_kmem_phys() returned, maybe damaged since
 * @kmem: result; close with kho_kmem_close(), or kho_kmem_destroy()
 * @err: what is wrong and where; may be NULL
 *
 * First checks everything, as kho_kmem_verify(), then claims all slabs with
 * kho_restore_folio(). Writes nothing.
 *
 * Return: 0; as kho_kmem_verify(), and then nothing was claimed; -ENOENT when
 * the head or a slab is not preserved, -EBUSY when it was claimed before,
 * -EBADMSG when a slab's folio has another size, and then what was claimed so
 * far stays claimed; -ENOMEM.
 */
int kho_kmem_restore(struct kho *kho, uint64_t phys, struct kho_kmem **kmem,
		     struct kho_error *err);

/**
 * kho_kmem_phys() - by what a cache is found again
 * @kmem: the cache
 *
 * Return: the phys of its head, the same for the cache's whole life.
 */
uint64_t kho_kmem_phys(const struct kho_kmem *kmem);

/**
 * kho_kmem_close() - free the volatile side of a cache
 * @kmem: the cache; NULL is allowed. No other thread may be using it
 *
 * Writes nothing to the arena; the objects stay.
 */
void kho_kmem_close(struct kho_kmem *kmem);

/**
 * kho_kmem_destroy() - give a cache and all its objects back
 * @kmem: the cache, closed on success; NULL is allowed. No other thread may be
 *        using it
 *
 * Remove every reference to the cache and its objects first. Killed half-way,
 * it leaves an empty cache, and pages for kho_free_unclaimed().
 *
 * Return: 0; -EROFS, and then nothing has changed.
 */
int kho_kmem_destroy(struct kho_kmem *kmem);

/**
 * kho_kmem_max_size() - size of the largest object
 * @kmem: the cache
 *
 * Return: bytes: half a page.
 */
size_t kho_kmem_max_size(const struct kho_kmem *kmem);

/**
 * kho_kmalloc() - allocate an object
 * @kmem: the cache
 * @size: bytes, 1 to kho_kmem_max_size()
 *
 * The contents are undefined. The object is aligned to 8 bytes, to 16 when
 * @size is a multiple of 16, and to @size when that is a power of two, up to
 * 4096.
 *
 * Return: the object, free with kho_kfree(); NULL with errno: EINVAL for a bad
 * size, ENOSPC when the arena is full, ENOMEM, EROFS. On failure the cache is
 * as it was.
 */
void *kho_kmalloc(struct kho_kmem *kmem, size_t size);

/**
 * kho_kfree() - free an object
 * @kmem: the cache
 * @object: from kho_kmalloc() of this cache, in this process or one before;
 *          NULL is allowed
 *
 * Any pointer may be given: what is not an allocated object's first byte is
 * refused.
 *
 * Return: 0; -EINVAL for a pointer that is not an allocated object of this
 * cache (freed already, inside an object, foreign), -EROFS; then nothing has
 * changed.
 */
int kho_kfree(struct kho_kmem *kmem, void *object);

/**
 * kho_ksize() - usable bytes of an object
 * @kmem: the cache
 * @object: any pointer
 *
 * Takes no lock.
 *
 * Return: bytes, at least what was asked for; 0 for NULL and for what is not
 * an allocated object of this cache.
 */
size_t kho_ksize(const struct kho_kmem *kmem, const void *object);

/**
 * kho_kmem_walk() - call back for every allocated object
 * @kmem: the cache
 * @object: called with each object, its usable bytes and @arg, in the order of
 *          phys; other than 0 ends the walk with that value
 * @arg: for @object
 *
 * No lock is held in the callback: it may use the cache, and free the object
 * it was called for. An object that another thread allocates or frees
 * meanwhile may or may not be called for.
 *
 * Return: 0; the callback's value.
 */
int kho_kmem_walk(struct kho_kmem *kmem,
		  int (*object)(void *object, size_t size, void *arg),
		  void *arg);

/**
 * kho_kmem_sweep() - free what the program does not reach
 * @kmem: the cache
 * @reachable: says of an object whether it is in use; false frees it
 * @arg: for @reachable
 *
 * No other thread may allocate meanwhile, as its object would be freed before
 * it could be linked.
 *
 * Return: objects freed; -EROFS.
 */
int64_t kho_kmem_sweep(struct kho_kmem *kmem,
		       bool (*reachable)(void *object, size_t size, void *arg),
		       void *arg);

/**
 * kho_kmem_sweep_slab() - do so step by step
 * @kmem: the cache
 * @cursor: 0 to begin with; where to go on, and 0 after the last slab
 * @reachable: as kho_kmem_sweep(), and so is @arg
 * @arg: for @reachable
 *
 * Looks at the objects of one slab, so that a program can serve in between, if
 * @reachable knows what is allocated and linked meanwhile.
 *
 * Return: objects freed; -EROFS.
 */
int64_t kho_kmem_sweep_slab(struct kho_kmem *kmem, uint64_t *cursor,
			    bool (*reachable)(void *object, size_t size,
					      void *arg),
			    void *arg);

/**
 * struct kho_kmem_stats - what is in a cache
 * @slabs: slabs
 * @slab_size: bytes of each
 * @capacity: objects that the slabs have room for
 * @objects: allocated objects
 * @bytes: usable bytes of the allocated objects
 */
struct kho_kmem_stats {
	uint64_t slabs;
	uint64_t slab_size;
	uint64_t capacity;
	uint64_t objects;
	uint64_t bytes;
};

/**
 * kho_kmem_verify() - check a cache and count what is in it
 * @mem: the memory it is in
 * @phys: of its head
 * @stats: result; may be NULL
 * @err: what is wrong and where; may be NULL
 *
 * Every byte is taken as hostile. The memory may be in use: then a slab that
 * comes or goes meanwhile can look like damage, which is gone when asked
 * again. Whether the pages are preserved is the tracker's to say.
 *
 * Return: 0; -EFAULT for a head or slab that is outside the view; -EBADMSG
 * for damage; -EPROTONOSUPPORT for a version that is not known; -ELOOP for a
 * chain of slabs that does not end; -ENOMEM.
 */
int kho_kmem_verify(const struct kho_mem *mem, uint64_t phys,
		    struct kho_kmem_stats *stats, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
