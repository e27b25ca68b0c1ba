/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Small objects in slabs (component ``kmalloc``)
 *
 * A cache is a *head* and a chain of *slabs*. The head is at the start of a
 * preserved folio of one page. Every slab is a preserved folio of 2^slab_shift
 * bytes, the same for all slabs of a cache, so that an object's slab is found
 * by clearing the low bits of the object's phys. All objects of a slab have
 * one size; which sizes there are is the writer's choice.
 *
 * ::
 *
 *   head:  0 magic  8 version  12 slab_shift  16 reserved  20 crc  24 slabs
 *   slab:  0 magic  8 head  16 size  20 objects  24 first  28 crc  32 next
 *          40 map[]          one u64 for each 32 objects
 *          first             the objects, without gaps
 *
 * All integers are little endian. Everything but @slabs, @next and the map is
 * constant once the head or the slab can be reached.
 *
 * **Link.** @slabs and @next hold the phys of the next slab and a check in the
 * low 16 bits, which are 0 in the phys of a slab: with p the phys, the check
 * is (p >> 16 ^ p >> 32 ^ p >> 48 ^ KHO_KMALLOC_LINK_CHECK) & 0xffff. The
 * chain ends with a link whose p is 0 (and whose check is right).
 *
 * **Map.** Objects are numbered from 0. Object i belongs to word i / 32: bit
 * i % 32 is set when it is allocated, bit 32 + i % 32 when it is free. Exactly
 * one of the two is set for every object; both are 0 beyond the last object.
 *
 * Links and map words are each changed by one store, so a writer that is
 * killed between any two instructions leaves a valid cache: a slab is linked
 * after it is complete, and an object is marked before anybody gets to know
 * it. A change of any single byte of head, header or map shows.
 *
 * Limits that a reader checks: slab_shift is at least KHO_KMALLOC_SLAB_SHIFT_MIN
 * and at most KHO_KMALLOC_SLAB_SHIFT_MAX and more than the page shift; size is
 * a multiple of KHO_KMALLOC_ALIGN, at least that and at most half a page;
 * objects is at least 1; first is behind the map and a multiple of the largest
 * power of two that divides size; all objects are inside the slab.
 *
 * This header is a contract. A change of any layout or meaning here needs a
 * new KHO_KMALLOC_VERSION; readers keep understanding the old one.
 */
#ifndef KHO_ABI_KMALLOC_H
#define KHO_ABI_KMALLOC_H

#include <stdint.h>

#include <kho/abi/ptr.h>

#define KHO_KMALLOC_VERSION 1

/** KHO_KMALLOC_HEAD_MAGIC - "KHOKMEM" and a NUL, as a little-endian number. */
#define KHO_KMALLOC_HEAD_MAGIC 0x004d454d4b4f484bull

/** KHO_KMALLOC_SLAB_MAGIC - "KHOSLAB" and a NUL, as a little-endian number. */
#define KHO_KMALLOC_SLAB_MAGIC 0x0042414c534f484bull

/** KHO_KMALLOC_LINK_CHECK - makes a link of zeros invalid. */
#define KHO_KMALLOC_LINK_CHECK 0x6b6d

/** KHO_KMALLOC_ALIGN - sizes of objects are multiples of this. */
#define KHO_KMALLOC_ALIGN 8

/** KHO_KMALLOC_MAP_OBJECTS - objects that a word of the map describes. */
#define KHO_KMALLOC_MAP_OBJECTS 32

#define KHO_KMALLOC_SLAB_SHIFT_MIN 16
#define KHO_KMALLOC_SLAB_SHIFT_MAX 24

/**
 * struct kho_kmalloc_head - from where all slabs are found
 * @magic: KHO_KMALLOC_HEAD_MAGIC
 * @version: KHO_KMALLOC_VERSION
 * @slab_shift: log2 of the bytes of a slab
 * @reserved: 0
 * @crc: CRC32C of the fields above
 * @slabs: link to the first slab
 */
struct kho_kmalloc_head {
	uint64_t magic;
	uint32_t version;
	uint32_t slab_shift;
	uint32_t reserved;
	uint32_t crc;
	uint64_t slabs;
};

/**
 * struct kho_kmalloc_slab - what a slab starts with; the map follows
 * @magic: KHO_KMALLOC_SLAB_MAGIC
 * @head: the cache's head
 * @size: bytes of an object
 * @objects: how many there are, allocated or free
 * @first: offset of object 0 from the start of the slab, in bytes
 * @crc: CRC32C of the fields above
 * @next: link to the next slab
 */
struct kho_kmalloc_slab {
	uint64_t magic;
	KHO_PTR(struct kho_kmalloc_head) head;
	uint32_t size;
	uint32_t objects;
	uint32_t first;
	uint32_t crc;
	uint64_t next;
};

#endif
