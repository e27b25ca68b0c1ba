/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Reserved memory (component ``memblock``, uses ``reserve-mem``)
 *
 * The blob of the subtree ``memblock`` is an FDT::
 *
 *   / { compatible = "memblock-v1";
 *       NAME { ... };     a region, see abi/reserve_mem.h
 *     };
 *
 * As in Linux 7.2 and 7.3 (include/linux/kho/abi/memblock.h).
 *
 * This header is a contract: a change needs a new KHO_MEMBLOCK_VERSION.
 */
#ifndef KHO_ABI_MEMBLOCK_H
#define KHO_ABI_MEMBLOCK_H

#define KHO_MEMBLOCK_VERSION 1

/** KHO_MEMBLOCK_SUBTREE - name of the entry of the state tree. */
#define KHO_MEMBLOCK_SUBTREE "memblock"

/** KHO_MEMBLOCK_COMPATIBLE - of the FDT's root. */
#define KHO_MEMBLOCK_COMPATIBLE "memblock-v1"

#endif
