/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Large typed arrays
 *
 * An area of vmalloc.h that knows what is in it: how many elements, of how
 * many bytes, and the name of their type. A program that expects something
 * else gets an error, not somebody else's bytes.
 *
 * ::
 *
 *   static const struct kho_varray_type type = { "bucket",
 *                                                sizeof(struct bucket) };
 *   struct bucket *b;
 *
 *   kho_varray_create(kho, &blob->buckets, &type, max, &array, &err);
 *   kho_varray_resize(array, 1000, &err);
 *   b = kho_varray_at(array, 999);
 *
 * The name says what the elements are. How they look in detail is the owner's
 * version to tell, so a new version of the owner keeps the name. A component
 * that owns an array declares ``.deps = { "varray" }``.
 *
 * Every function may be called from any thread at any time, unless it says
 * otherwise. Lookups take no lock. Elements do not move until the array is
 * closed.
 */
#ifndef KHO_VARRAY_H
#define KHO_VARRAY_H

#include <stddef.h>
#include <stdint.h>

#include <kho/abi/varray.h>
#include <kho/error.h>
#include <kho/mem.h>
#include <kho/vmalloc.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kho;

/**
 * struct kho_varray - an array
 *
 * Opaque; volatile: the side of an array that is in the process's own memory.
 */
struct kho_varray;

/**
 * struct kho_varray_type - of the elements
 * @name: 1 to 23 printable ASCII characters, of the owner's choice
 * @size: bytes of an element, at least 1
 */
struct kho_varray_type {
	const char *name;
	uint32_t size;
};

/**
 * kho_varray_create() - make an array without elements
 * @kho: the arena; must outlive the array's close
 * @desc: where to write the descriptor: in the arena, multiple of 8 bytes; the
 *        caller's to preserve. It belongs to the array from now on
 * @type: of the elements
 * @max: elements that it can grow to, at least 1
 * @array: result; close with kho_varray_close(), or kho_varray_destroy()
 * @err: why not; may be NULL
 *
 * The array survives from now on. Its area is in vmalloc's version in effect.
 *
 * Return: 0; -EINVAL for a bad type, maximum or @desc; as
 * kho_vmalloc_create() and kho_vmalloc_preserve().
 */
int kho_varray_create(struct kho *kho, struct kho_varray_desc *desc,
		      const struct kho_varray_type *type, uint64_t max,
		      struct kho_varray **array, struct kho_error *err);

/**
 * kho_varray_restore() - check, claim and map an array
 * @kho: the arena; must outlive the array's close
 * @desc: what kho_varray_create() wrote, maybe damaged since; in the arena. It
 *        belongs to the array from now on
 * @type: what the caller expects
 * @max: elements that it can grow to; when it has more already, those
 * @array: result; close with kho_varray_close(), or kho_varray_destroy()
 * @err: what is wrong and where; may be NULL
 *
 * Writes nothing.
 *
 * Return: 0; -EPROTOTYPE when the elements are of another type or size, or as
 * kho_varray_verify(), and then nothing was claimed; as kho_vmalloc_restore().
 */
int kho_varray_restore(struct kho *kho, struct kho_varray_desc *desc,
		       const struct kho_varray_type *type, uint64_t max,
		       struct kho_varray **array, struct kho_error *err);

/**
 * kho_varray_close() - free the volatile side of an array
 * @array: the array; NULL is allowed. No other thread may be using it.
 *         Pointers to its elements become invalid
 */
void kho_varray_close(struct kho_varray *array);

/**
 * kho_varray_destroy() - give an array and its memory back
 * @array: the array, closed on success; NULL is allowed. No other thread may
 *         be using it
 *
 * Return: 0; -EROFS, and then nothing has changed.
 */
int kho_varray_destroy(struct kho_varray *array);

/** kho_varray_count() - elements of an array. */
uint64_t kho_varray_count(const struct kho_varray *array);

/**
 * kho_varray_at() - find an element
 * @array: the array
 * @index: of the element
 *
 * Takes no lock. All elements are in one piece, so that those of a higher
 * index can be reached from element 0.
 *
 * Return: the element; NULL when there is none of that index.
 */
void *kho_varray_at(const struct kho_varray *array, uint64_t index);

/**
 * kho_varray_resize() - let an array grow or shrink at its end
 * @array: the array
 * @count: elements that it shall have
 * @err: why not; may be NULL
 *
 * New elements are zeros. Each growth over the end of a block costs a system
 * call or two, so let a large array grow by many elements at a time. When it
 * shrinks and there is no memory to say so, the memory stays with the array.
 *
 * Return: 0; -ERANGE beyond the maximum; -ENOSPC, -ENOMEM; -EROFS. Then
 * nothing has changed.
 */
int kho_varray_resize(struct kho_varray *array, uint64_t count,
		      struct kho_error *err);

/**
 * kho_varray_area() - the area that an array is in
 * @array: the array
 *
 * For kho_vmalloc_phys() and for looking. Its size is the array's to change.
 *
 * Return: the area, the array's.
 */
struct kho_vmalloc *kho_varray_area(const struct kho_varray *array);

/**
 * struct kho_varray_stats - what an array consists of
 * @type: name of the elements' type
 * @size: bytes of an element
 * @count: elements
 * @area: what the area consists of
 */
struct kho_varray_stats {
	char type[KHO_VARRAY_TYPE_SIZE];
	uint32_t size;
	uint64_t count;
	struct kho_vmalloc_stats area;
};

/**
 * kho_varray_verify() - check an array and count what it consists of
 * @mem: the memory it is in
 * @desc: phys of its descriptor
 * @stats: result; may be NULL
 * @err: what is wrong and where; may be NULL
 *
 * As kho_vmalloc_verify(), on whose area it is called too.
 *
 * Return: 0; as kho_vmalloc_verify().
 */
int kho_varray_verify(const struct kho_mem *mem, uint64_t desc,
		      struct kho_varray_stats *stats, struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
