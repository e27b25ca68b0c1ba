/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* CRC32C (Castagnoli), by ISA-L. */
#ifndef KHO_CRC32C_H
#define KHO_CRC32C_H

#include <isa-l/crc.h>
#include <stddef.h>
#include <stdint.h>

static inline uint32_t crc32c(const void *data, size_t len)
{
	/* ISA-L leaves the final inversion to the caller, and takes an int. */
	return ~crc32_iscsi((unsigned char *)(uintptr_t)data, (int)len,
			    0xffffffff);
}

#endif
