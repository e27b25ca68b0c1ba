/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: An array from u64 to u64 (component ``xarray``)
 *
 * The XArray of Linux, for memory that survives. An array is a *head* and a
 * tree of *nodes* of 64 slots, each an allocated object of one cache of the
 * component ``kmalloc``; several arrays may share a cache. A node with shift s
 * covers 2^(s + 6) indices from @index on, 2^s in each slot; the nodes in its
 * slots have shift s - 6. The root covers index 0. Only as much tree as there
 * are indices: an array of 64 has one node.
 *
 * ::
 *
 *   head:  0 check[2]  16 magic  24 version  28 reserved  32 kmem  40 root
 *   node:  0 check[2]  16 head  24 index  32 magic  36 shift  40 marks[3]
 *         64 slots[64]
 *   wide:  0 check  8 head  16 index  24 value
 *
 * All integers are little endian. Head, nodes and wide values are aligned to
 * KHO_XARRAY_ALIGN bytes.
 *
 * **Entries.** @root and the slots hold entries, told apart by the low bits:
 *
 * ========  ==================================================================
 * all 0     nothing
 * ``---1``  a value below 2^63, shifted left by one
 * ``--00``  the phys of anything, a multiple of 4
 * ``0010``  a node: its phys, with this tag
 * ``0110``  a *wide* value, 2^63 or more, in an object of its own: its phys
 * ``1010``  a sibling: bits 4 to 9 are the number of the slot that it follows
 * ``1110``  reserved
 * ========  ==================================================================
 *
 * So every u64 can be stored; the upper half of them costs an object each.
 * @root is nothing or a node.
 *
 * **Multi-index entries.** An entry over 2^n indices, naturally aligned, is in
 * the node where a slot has at most that many: in one slot (its *canonical*
 * one), or in several, of which the others are siblings of the first. They are
 * as many as a power of two, and aligned to it.
 *
 * **Marks.** Bit i of marks[m] says of the entry in slot i that it has mark m,
 * and of a node in slot i that something below it may have.
 *
 * **Check.** For the 8-byte words w[0], w[1], ... that follow @check::
 *
 *   x = w[i] + (i + 1) * KHO_XARRAY_CHECK_STEP
 *   x = (x ^ x >> 32) * KHO_XARRAY_CHECK_MIX
 *   check = sum over i of (x ^ x >> 32)
 *
 * all modulo 2^64. For each i this is one to one, so that the change of a
 * single word always changes the sum, which can be kept up to date with one
 * word's old and new value.
 *
 * **One change** of a word of head or node is three stores: the new sum to
 * check[1], the word, the new sum to check[0]. At every moment one of the two
 * is right, and an object is good when one of them is. Everything is built
 * before it is linked, so that it appears with one store; a wide value never
 * changes.
 *
 * **After a kill** between any two instructions each index has its old or its
 * new entry, and a multi-index entry is the old or the new one as a whole.
 * What may be left over is harmless, and a reader must accept it:
 *
 * - one of the two sums is wrong;
 * - siblings of a slot that is empty: they are empty too;
 * - a node without an entry, or a root higher than it need be;
 * - marks of an empty slot; a mark of a node below which nothing has it. (The
 *   reverse, a mark that the node above does not have, is damage.)
 * - objects that are allocated but not linked; they belong to nobody.
 *
 * A writer clears this up before its first change.
 *
 * Limits that a reader checks: shift is a multiple of 6, at most
 * KHO_XARRAY_SHIFT_MAX; each node is where its @head, @index and @shift say,
 * so that none can be reached twice; a wide value is 2^63 or more and says the
 * first index of its entry; no index is above 2^64 - 1.
 *
 * This header is a contract. A change of any layout or meaning here needs a
 * new KHO_XARRAY_VERSION; readers keep understanding the old one.
 */
#ifndef KHO_ABI_XARRAY_H
#define KHO_ABI_XARRAY_H

#include <stdint.h>

#include <kho/abi/ptr.h>

struct kho_kmalloc_head;

#define KHO_XARRAY_VERSION 1

/** KHO_XARRAY_HEAD_MAGIC - "KHOXARR" and a NUL, as a little-endian number. */
#define KHO_XARRAY_HEAD_MAGIC 0x00525241584f484bull

/** KHO_XARRAY_NODE_MAGIC - "XNOD", as a little-endian number. */
#define KHO_XARRAY_NODE_MAGIC 0x444f4e58u

#define KHO_XARRAY_CHECK_STEP 0x9e3779b97f4a7c15ull
#define KHO_XARRAY_CHECK_MIX 0xd6e8feb86659fd93ull

/** KHO_XARRAY_SLOT_BITS - a node resolves so many bits of the index. */
#define KHO_XARRAY_SLOT_BITS 6
#define KHO_XARRAY_SLOTS 64
#define KHO_XARRAY_SHIFT_MAX 60
#define KHO_XARRAY_MARKS 3

/** KHO_XARRAY_ALIGN - so much room for tags has the phys of an object. */
#define KHO_XARRAY_ALIGN 16

/** KHO_XARRAY_VALUE - this bit alone says that an entry is a value. */
#define KHO_XARRAY_VALUE 0x1

#define KHO_XARRAY_TAG_MASK 0xfull
#define KHO_XARRAY_TAG_NODE 0x2
#define KHO_XARRAY_TAG_WIDE 0x6
#define KHO_XARRAY_TAG_SIBLING 0xa

/**
 * struct kho_xarray_head - from where all nodes are found
 * @check: of what follows
 * @magic: KHO_XARRAY_HEAD_MAGIC
 * @version: KHO_XARRAY_VERSION
 * @reserved: 0
 * @kmem: the cache that all objects of the array are in
 * @root: entry: nothing, or the topmost node
 */
struct kho_xarray_head {
	uint64_t check[2];
	uint64_t magic;
	uint32_t version;
	uint32_t reserved;
	KHO_PTR(struct kho_kmalloc_head) kmem;
	uint64_t root;
};

/**
 * struct kho_xarray_node - a node of the tree
 * @check: of what follows
 * @head: the array that it belongs to
 * @index: the first one of slot 0
 * @magic: KHO_XARRAY_NODE_MAGIC
 * @shift: log2 of the indices in a slot
 * @marks: for each mark a bit for each slot
 * @slots: entries
 */
struct kho_xarray_node {
	uint64_t check[2];
	KHO_PTR(struct kho_xarray_head) head;
	uint64_t index;
	uint32_t magic;
	uint32_t shift;
	uint64_t marks[KHO_XARRAY_MARKS];
	uint64_t slots[KHO_XARRAY_SLOTS];
};

/**
 * struct kho_xarray_wide - a value that does not fit in an entry
 * @check: of what follows
 * @head: the array that it belongs to
 * @index: the first one of its entry
 * @value: 2^63 or more
 */
struct kho_xarray_wide {
	uint64_t check;
	KHO_PTR(struct kho_xarray_head) head;
	uint64_t index;
	uint64_t value;
};

#endif
