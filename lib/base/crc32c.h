/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* CRC32C (Castagnoli), by ISA-L. */
#ifndef KHO_CRC32C_H
#define KHO_CRC32C_H

#include <isa-l/crc.h>
#include <stddef.h>
#include <stdint.h>

/* The CRC of what has the CRC @crc, and @data behind it. */
static inline uint32_t crc32c_more(uint32_t crc, const void *data, size_t len)
{
	/* ISA-L leaves the inversions to the caller, and takes an int. */
	return ~crc32_iscsi((unsigned char *)(uintptr_t)data, (int)len, ~crc);
}

static inline uint32_t crc32c(const void *data, size_t len)
{
	return crc32c_more(0, data, len);
}

#endif
