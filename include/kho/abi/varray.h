/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Typed arrays in an area (component ``varray``, uses ``vmalloc``)
 *
 * A descriptor of an area, and what is in it: elements of one type and size,
 * without gaps, from the area's first byte on. The area has no holes and is
 * large enough for all elements.
 *
 * **Count.** The low 48 bits of @count are the number of elements n, the high
 * 16 a check: (n ^ n >> 16 ^ n >> 32 ^ KHO_VARRAY_COUNT_CHECK) & 0xffff. It is
 * changed by one store: when it grows, after the area did; when it shrinks,
 * before the area does.
 *
 * This header is a contract. A change of any layout or meaning here needs a
 * new KHO_VARRAY_VERSION; readers keep understanding the old ones.
 */
#ifndef KHO_ABI_VARRAY_H
#define KHO_ABI_VARRAY_H

#include <stdint.h>

#include <kho/abi/vmalloc.h>

#define KHO_VARRAY_VERSION 1

/** KHO_VARRAY_TYPE_SIZE - bytes of a type's name, its NUL included. */
#define KHO_VARRAY_TYPE_SIZE 24

/** KHO_VARRAY_COUNT_CHECK - makes a count of zeros invalid. */
#define KHO_VARRAY_COUNT_CHECK 0x7661

/**
 * struct kho_varray_desc - an array
 * @area: where it is, in any version of vmalloc
 * @type: name of the elements' type, NUL padded
 * @count: elements, and a check
 * @size: bytes of an element
 * @crc: CRC32C of @type and @size
 */
struct kho_varray_desc {
	struct kho_vmalloc_desc area;
	char type[KHO_VARRAY_TYPE_SIZE];
	uint64_t count;
	uint32_t size;
	uint32_t crc;
};

#endif
