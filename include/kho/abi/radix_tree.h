/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: The radix tree (component ``radix``)
 *
 * A set of u64 keys, in pages. With page shift S, a leaf is a page used as a
 * bitmap of 2^(S+3) bits, indexed by the low S+3 bits of the key (bit b is bit
 * b % 64 of the u64 number b / 64). An inner node is a page of 2^(S-3) u64
 * phys, 0 where there is no child. A tree of keys that are w bits wide has
 * ceil((w - (S + 3)) / (S - 3)) + 1 levels, at least one.
 *
 * As in Linux 7.2 and 7.3 (include/linux/kho_radix_tree.h).
 *
 * This header is a contract: a change needs a new KHO_RADIX_VERSION.
 */
#ifndef KHO_ABI_RADIX_TREE_H
#define KHO_ABI_RADIX_TREE_H

#include <stdint.h>

#define KHO_RADIX_VERSION 1

/** KHO_RADIX_LEAF_BITS - bits of the key that a leaf resolves. */
#define KHO_RADIX_LEAF_BITS(s) ((s) + 3)

/* It would take (s) for a cast. */
/* clang-format off */

/** KHO_RADIX_NODE_BITS - bits of the key that an inner node resolves. */
#define KHO_RADIX_NODE_BITS(s) ((s) - 3)

/** KHO_RADIX_LEVELS - levels of a tree of @w bit keys, page shift @s. */
#define KHO_RADIX_LEVELS(w, s)                                                 \
	((w) <= KHO_RADIX_LEAF_BITS(s) ?                                       \
		 1 :                                                           \
		 ((w) - KHO_RADIX_LEAF_BITS(s) + KHO_RADIX_NODE_BITS(s) - 1) / \
				 KHO_RADIX_NODE_BITS(s) +                      \
			 1)

/* clang-format on */

#endif
