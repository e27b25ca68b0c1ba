/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Memory of mostly zeros from few bytes, so that a seed stays small: records
 * of u32 offset, u16 length, and as many bytes.
 */
#ifndef FUZZ_SPARSE_H
#define FUZZ_SPARSE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Calls @put for every record that lies within @limit. */
static inline void sparse_read(const uint8_t *data, size_t size, size_t limit,
			       void (*put)(size_t at, const uint8_t *bytes,
					   size_t len, void *arg),
			       void *arg)
{
	while (size >= 6) {
		uint32_t at;
		uint16_t len;

		memcpy(&at, data, 4);
		memcpy(&len, data + 4, 2);
		data += 6;
		size -= 6;
		if (len > size)
			len = (uint16_t)size;
		if (at <= limit && len <= limit - at)
			put(at, data, len, arg);
		data += len;
		size -= len;
	}
}

#endif
