/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Loading and storing serializable pointers
 *
 * For fields declared with KHO_PTR() of abi/ptr.h. Thread-safe: a load is an
 * acquire and a store a release, so that whoever finds the pointer finds what
 * it points to, also after a kill between any two instructions.
 */
#ifndef KHO_PTR_H
#define KHO_PTR_H

#include <kho/abi/ptr.h>
#include <kho/pages.h>

/**
 * kho_ptr_load() - the pointer that a field holds
 * @kho: the arena
 * @field: lvalue of a KHO_PTR() type
 *
 * Return: pointer of the field's type; NULL when it is NULL, or when what it
 * points to is not all inside the arena.
 */
#define kho_ptr_load(kho, field)                                               \
	((__typeof__((field).pointee))                                         \
		 kho_ptr((kho),                                                \
			 __atomic_load_n(&(field).phys, __ATOMIC_ACQUIRE),     \
			 sizeof(*(field).pointee)))

/**
 * kho_ptr_store() - let a field point to something
 * @kho: the arena
 * @field: lvalue of a KHO_PTR() type, in writable memory
 * @ptr: pointer of the same type into the arena, or NULL
 */
#define kho_ptr_store(kho, field, ptr)                                         \
	__atomic_store_n(&(field).phys,                                        \
			 kho_phys((kho), 1 ? (ptr) : (field).pointee),         \
			 __ATOMIC_RELEASE)

#endif
