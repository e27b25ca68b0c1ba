/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: A region of reserved memory (component ``reserve-mem``)
 *
 * What Linux's parameter ``reserve_mem=`` asked for, a node in the FDT of
 * memblock::
 *
 *   NAME { compatible = "reserve-mem-v1";
 *          start = <u64>;     phys
 *          size = <u64>;      bytes
 *        };
 *
 * The numbers are eight raw bytes in CPU byte order. The region is preserved.
 *
 * As in Linux 7.2 and 7.3 (include/linux/kho/abi/memblock.h).
 *
 * This header is a contract: a change needs a new KHO_RESERVE_MEM_VERSION.
 */
#ifndef KHO_ABI_RESERVE_MEM_H
#define KHO_ABI_RESERVE_MEM_H

#define KHO_RESERVE_MEM_VERSION 1

/** KHO_RESERVE_MEM_COMPATIBLE - of a region's node. */
#define KHO_RESERVE_MEM_COMPATIBLE "reserve-mem-v1"

#define KHO_RESERVE_MEM_START "start"
#define KHO_RESERVE_MEM_SIZE "size"

#endif
