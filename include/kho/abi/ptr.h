/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Serializable pointers
 *
 * In preserved memory a pointer is a u64 phys, 0 for NULL. KHO_PTR() is such a
 * u64 that knows what it points to; <kho/ptr.h> loads and stores it without
 * casts, so that the compiler sees a phys of the wrong type.
 *
 * This header is a contract: KHO_PTR() stays a little-endian u64.
 */
#ifndef KHO_ABI_PTR_H
#define KHO_ABI_PTR_H

#include <stdint.h>

/**
 * KHO_PTR() - type of a pointer in preserved memory
 * @type: what it points to
 *
 * @phys is the value. @pointee is never read or written: it carries the type.
 */
#define KHO_PTR(type)                                                          \
	union {                                                                \
		uint64_t phys;                                                 \
		type *pointee;                                                 \
	}

#endif
