/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Large memory in one piece
 *
 * An *area* is memory that is contiguous in the process and scattered in the
 * arena, so that it can grow to gigabytes at the same address when no such
 * piece of the arena is free. For small objects there is kmalloc.h, for typed
 * arrays in an area varray.h.
 *
 * 1. kho_vmalloc_create() reserves address space: as much as the area may ever
 *    need. That costs no memory.
 * 2. kho_vmalloc_resize() gives it memory, and takes it back. Or, for an area
 *    with holes, kho_vmalloc_populate() and kho_vmalloc_punch(). A hole must
 *    not be touched; kho_vmalloc_ptr() tells.
 * 3. kho_vmalloc_preserve() writes the descriptor into memory of the caller's,
 *    and from then on the area survives: also as it grows and shrinks, and
 *    whenever the program is killed. It may be called first.
 * 4. After a handover or a crash, kho_vmalloc_restore() checks the descriptor
 *    and all it leads to, claims the memory and maps it, maybe at another
 *    address. It writes nothing.
 * 5. kho_vmalloc_close() at the end, or kho_vmalloc_destroy() to give all
 *    back.
 *
 * Memory comes in *blocks*, of one size for all blocks of an area. Large ones
 * need fewer mappings, of which a process may have 65530 (vm.max_map_count):
 * neighbours that are neighbours in the arena, too, share one.
 *
 * **Versions.** You never name one; a component that owns an area declares
 * ``.deps = { "vmalloc" }``. Version 1 is Linux's. Version 2 can also hold an
 * area with holes, finds damage, and grows in constant time; in version 1 each
 * change writes a new list of all blocks. What is written is in the version that
 * kho_version() says. An area that came in an older one stays in it until a
 * change needs a new list anyway. When a successor needs another version,
 * kho_update() converts all areas once the freeze callback has returned. Their
 * memory and its addresses stay what they are. An area that was not restored, or
 * was closed, cannot be converted: keep those open that your state has.
 *
 * Pointers into an area are no pointers into the arena: kho_phys() does not
 * know them, kho_vmalloc_phys() does.
 *
 * An area belongs to a struct kho and must be closed before it. Before
 * kho_ready() on an arena that came from somebody else, a restored area can be
 * read; what would change it fails with -EROFS.
 *
 * Every function may be called from any thread at any time, unless it says
 * otherwise. Lookups take no lock.
 */
#ifndef KHO_VMALLOC_H
#define KHO_VMALLOC_H

#include <stddef.h>
#include <stdint.h>

#include <kho/abi/vmalloc.h>
#include <kho/error.h>
#include <kho/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho;

/**
 * struct kho_vmalloc - an area
 *
 * Opaque; volatile: the side of an area that is in the process's own memory.
 */
struct kho_vmalloc;

/**
 * kho_vmalloc_create() - make an area without memory
 * @kho: the arena; must outlive the area's close
 * @max: bytes that the area can grow to, at least 1; rounded up to a block
 * @block: bytes of a block: a power of two from the page size to 1 GiB; 0: as
 *         suits @max, at most 2 MiB
 * @area: result; close with kho_vmalloc_close(), or kho_vmalloc_destroy()
 * @err: why not; may be NULL
 *
 * Return: 0; -EINVAL for a bad size; -ENOMEM when there is not so much address
 * space.
 */
int kho_vmalloc_create(struct kho *kho, uint64_t max, uint64_t block,
		       struct kho_vmalloc **area, struct kho_error *err);

/**
 * kho_vmalloc_close() - free the volatile side of an area
 * @area: the area; NULL is allowed. No other thread may be using it. Pointers
 *        into it become invalid
 *
 * The memory of an area that is preserved stays in the arena, as it is. The
 * memory of any other is freed.
 */
void kho_vmalloc_close(struct kho_vmalloc *area);

/**
 * kho_vmalloc_destroy() - give an area and its memory back
 * @area: the area, closed on success; NULL is allowed. No other thread may be
 *        using it
 *
 * As kho_vmalloc_unpreserve(), then kho_vmalloc_close().
 *
 * Return: 0; -EROFS, and then nothing has changed.
 */
int kho_vmalloc_destroy(struct kho_vmalloc *area);

/**
 * kho_vmalloc_base() - the area's first byte
 * @area: the area
 *
 * Return: the address, the same until the area is closed.
 */
void *kho_vmalloc_base(const struct kho_vmalloc *area);

/** kho_vmalloc_max() - bytes that the area can grow to. */
uint64_t kho_vmalloc_max(const struct kho_vmalloc *area);

/** kho_vmalloc_block() - bytes of a block. */
uint64_t kho_vmalloc_block(const struct kho_vmalloc *area);

/** kho_vmalloc_size() - bytes up to the end of the last block with memory. */
uint64_t kho_vmalloc_size(const struct kho_vmalloc *area);

/** kho_vmalloc_populated() - bytes that have memory. */
uint64_t kho_vmalloc_populated(const struct kho_vmalloc *area);

/**
 * kho_vmalloc_version() - of the descriptor
 *
 * Return: the version; 0 when the area is not preserved.
 */
uint32_t kho_vmalloc_version(const struct kho_vmalloc *area);

/**
 * kho_vmalloc_ptr() - pointer to bytes in an area
 * @area: the area
 * @offset: of the first byte
 * @size: bytes that shall be accessible there
 *
 * Takes no lock.
 *
 * Return: the pointer; NULL when a byte is in a hole or outside.
 */
void *kho_vmalloc_ptr(const struct kho_vmalloc *area, uint64_t offset,
		      size_t size);

/**
 * kho_vmalloc_phys() - phys of a pointer into an area
 * @area: the area
 * @ptr: any pointer
 *
 * Takes no lock. What comes behind is contiguous up to the end of the block.
 *
 * Return: the phys; 0 for NULL, in a hole and outside.
 */
uint64_t kho_vmalloc_phys(const struct kho_vmalloc *area, const void *ptr);

/**
 * kho_vmalloc_resize() - let an area grow or shrink at its end
 * @area: the area
 * @size: bytes that it shall have; rounded up to a block
 * @err: why not; may be NULL
 *
 * As kho_vmalloc_populate() from its end on, or kho_vmalloc_punch() up to it.
 *
 * Return: as these two.
 */
int kho_vmalloc_resize(struct kho_vmalloc *area, uint64_t size,
		       struct kho_error *err);

/**
 * kho_vmalloc_populate() - give a part of an area memory
 * @area: the area
 * @offset: first byte of the part
 * @size: its bytes
 * @err: why not; may be NULL
 *
 * What has memory keeps it. Every other block that the part touches gets some,
 * of zeros, in pieces as large as the arena has. All or nothing.
 *
 * Return: 0; -ERANGE beyond the area's maximum; -EOPNOTSUPP when a preserved
 * area would have holes, and the version in effect has none: kho_set_version()
 * can change that; -ENOSPC when the arena is full; -ENOMEM also when the process
 * would have too many mappings; -EROFS.
 */
int kho_vmalloc_populate(struct kho_vmalloc *area, uint64_t offset,
			 uint64_t size, struct kho_error *err);

/**
 * kho_vmalloc_punch() - make a hole: take a part's memory back
 * @area: the area
 * @offset: first byte of the part, multiple of a block
 * @size: its bytes, multiple of a block
 * @err: why not; may be NULL
 *
 * All or nothing. A preserved area needs some pages for its new list.
 *
 * Return: 0; -EINVAL for half a block; -ERANGE; -EOPNOTSUPP as
 * kho_vmalloc_populate(); -ENOSPC; -ENOMEM; -EROFS.
 */
int kho_vmalloc_punch(struct kho_vmalloc *area, uint64_t offset, uint64_t size,
		      struct kho_error *err);

/**
 * kho_vmalloc_preserve() - let an area survive
 * @area: the area
 * @desc: where to write it: in the arena, multiple of 8 bytes; the caller's to
 *        preserve. It belongs to the area until it is unpreserved: do not
 *        write to it
 * @err: why not; may be NULL
 *
 * The last step is the descriptor, in one piece.
 *
 * Return: 0; -EINVAL for a bad @desc; -EEXIST when it is preserved already;
 * -EOPNOTSUPP as kho_vmalloc_populate(); -ENOSPC, -ENOMEM; -EROFS.
 */
int kho_vmalloc_preserve(struct kho_vmalloc *area,
			 struct kho_vmalloc_desc *desc, struct kho_error *err);

/**
 * kho_vmalloc_unpreserve() - take kho_vmalloc_preserve() back
 * @area: the area; keeps its memory
 *
 * The first step is the descriptor, which becomes all zeros.
 *
 * Return: 0; -ENOENT when it is not preserved; -EROFS.
 */
int kho_vmalloc_unpreserve(struct kho_vmalloc *area);

/**
 * kho_vmalloc_restore() - check, claim and map an area
 * @kho: the arena; must outlive the area's close
 * @desc: what kho_vmalloc_preserve() wrote, maybe damaged since; in the arena.
 *        It belongs to the area from now on
 * @max: bytes that the area can grow to; when it is larger already, that
 * @area: result; close with kho_vmalloc_close(), or kho_vmalloc_destroy()
 * @err: what is wrong and where; may be NULL
 *
 * First checks everything, as kho_vmalloc_verify(), then claims all of it with
 * kho_restore_pages(). Writes nothing.
 *
 * Return: 0; as kho_vmalloc_verify(), and then nothing was claimed; -ENOENT
 * when a part of it is not preserved, -EBUSY when it was claimed before, and
 * then what was claimed so far stays claimed; -EINVAL for a bad @desc; -ENOMEM
 * also when the process would have too many mappings.
 */
int kho_vmalloc_restore(struct kho *kho, struct kho_vmalloc_desc *desc,
			uint64_t max, struct kho_vmalloc **area,
			struct kho_error *err);

/**
 * struct kho_vmalloc_stats - what an area consists of
 * @version: of the descriptor
 * @block: bytes of a block
 * @size: bytes up to the end of the last block with memory
 * @populated: bytes that have memory
 * @runs: pieces that are contiguous, in the area and in memory
 * @lists: pages that say where the memory is
 */
struct kho_vmalloc_stats {
	uint32_t version;
	uint64_t block;
	uint64_t size;
	uint64_t populated;
	uint64_t runs;
	uint64_t lists;
};

/**
 * kho_vmalloc_verify() - check an area and count what it consists of
 * @mem: the memory it is in
 * @desc: phys of its descriptor
 * @stats: result; may be NULL
 * @err: what is wrong and where; may be NULL
 *
 * Every byte is taken as hostile. The memory may be in use: then an area that
 * changes meanwhile can look damaged, which is gone when asked again. Whether
 * the pages are preserved is the tracker's to say, and what is in them the
 * owner's.
 *
 * Return: 0; -ENOENT for a descriptor of zeros; -EFAULT for what is outside
 * the view; -EBADMSG for damage; -EPROTONOSUPPORT for a version or flags that
 * are not known; -ELOOP for a chain that does not end; -ENOMEM.
 */
int kho_vmalloc_verify(const struct kho_mem *mem, uint64_t desc,
		       struct kho_vmalloc_stats *stats, struct kho_error *err);

/**
 * kho_vmalloc_walk() - find the memory of an area
 * @mem: the memory it is in
 * @desc: phys of its descriptor
 * @run: called for each contiguous piece with its offset in the area, its phys
 *       and its bytes, in the order of the offsets, after everything was
 *       checked; other than 0 ends the walk with that value
 * @arg: for @run
 * @err: what is wrong and where; may be NULL
 *
 * Return: 0; as kho_vmalloc_verify(); the callback's value.
 */
int kho_vmalloc_walk(const struct kho_mem *mem, uint64_t desc,
		     int (*run)(uint64_t offset, uint64_t phys, uint64_t size,
				void *arg),
		     void *arg, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
