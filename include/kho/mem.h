/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: A bounded read-only view of memory
 *
 * Every decoder reads preserved memory through this: "give me these bytes at
 * this phys, or fail". What is behind it (an arena, an array in a test, later
 * a crash dump or a live kernel) makes no difference to the decoder.
 *
 * The bytes are copied, so that what was checked is what is used even when
 * the memory is still being written to.
 */
#ifndef KHO_MEM_H
#define KHO_MEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct kho_mem - a view of memory
 * @read: copies @len bytes at @phys to @buf; returns 0 or -EFAULT when any of
 *        them is outside the view. Must be safe to call from several threads.
 * @page_shift: log2 of the page size of what is in the view
 *
 * Backends embed it as their first field.
 */
struct kho_mem {
	int (*read)(const struct kho_mem *mem, uint64_t phys, void *buf,
		    size_t len);
	unsigned int page_shift;
};

/**
 * kho_mem_read() - copy bytes out of a view
 * @mem: the view
 * @phys: address of the first byte
 * @buf: where to
 * @len: bytes
 *
 * Thread-safe.
 *
 * Return: 0; -EFAULT when a byte is outside the view or @phys + @len
 * overflows. What @buf holds after a failure is undefined.
 */
int kho_mem_read(const struct kho_mem *mem, uint64_t phys, void *buf,
		 size_t len);

/**
 * struct kho_mem_array - a view of bytes in this process
 * @mem: the view
 * @base: phys of the first byte
 * @data: the bytes; must stay valid as long as the view is used
 * @len: how many
 */
struct kho_mem_array {
	struct kho_mem mem;
	uint64_t base;
	const void *data;
	size_t len;
};

/**
 * kho_mem_array() - make a view of bytes in this process
 * @data: the bytes
 * @len: how many
 * @base: phys that the first one shall have
 * @page_shift: log2 of the page size
 *
 * Return: the view, by value; nothing to free.
 */
struct kho_mem_array kho_mem_array(const void *data, size_t len, uint64_t base,
				   unsigned int page_shift);

#ifdef __cplusplus
}
#endif

#endif
