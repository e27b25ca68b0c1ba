/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: The root FDT (component ``kho``)
 *
 * ::
 *
 *   / { compatible = "kho-v4;radix-v1", "kho-v4";
 *       preserved-memory-map = <u64>;      phys of the tracker's root node
 *       NAME { compatible = "COMPOSITE";   of the component that owns the blob
 *              preserved-data = <u64>;     phys of the blob
 *              blob-size = <u64>;          bytes
 *              optional; };                empty property, may be absent
 *     };
 *
 * The u64 properties are eight raw bytes in CPU byte order, only 4-byte
 * aligned. The layout is that of Linux 7.2 and 7.3
 * (include/linux/kho/abi/kexec_handover.h), where the root's ``compatible`` is
 * the second string alone and subnodes have neither ``compatible`` nor
 * ``optional``. The key that the tracker's radix tree holds for a preserved
 * folio is part of this format:
 *
 * with S the page shift and o the folio's order, bit (64 - S - o) is set and
 * the bits below it are the phys shifted right by S + o. The highest bit set
 * tells the order; the key is at most 64 - S + 1 bits wide.
 *
 * This header is a contract: a change needs a new KHO_VERSION.
 */
#ifndef KHO_ABI_KEXEC_HANDOVER_H
#define KHO_ABI_KEXEC_HANDOVER_H

#define KHO_VERSION 4

/** KHO_FDT_COMPATIBLE_LINUX - what Linux compares with strcmp(). */
#define KHO_FDT_COMPATIBLE_LINUX "kho-v4"

#define KHO_FDT_MEMORY_MAP "preserved-memory-map"
#define KHO_FDT_SUBTREE_PHYS "preserved-data"
#define KHO_FDT_SUBTREE_SIZE "blob-size"

/** KHO_TRACKER_KEY_BITS - width of the tracker's keys for page shift @s. */
#define KHO_TRACKER_KEY_BITS(s) (64 - (s) + 1)

#endif
