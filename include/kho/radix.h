/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: A set of u64 keys in pages
 *
 * The radix tree of Linux's KHO, for any keys. The tree's pages come from its
 * user, through struct kho_radix_ops. A change is one store into the tree:
 * whoever is killed in the middle leaves the set as it was before or after,
 * and at worst pages that nothing points to.
 *
 * The user serializes add and delete.
 *
 * The format is in abi/radix_tree.h.
 */
#ifndef KHO_RADIX_H
#define KHO_RADIX_H

#include <stdbool.h>
#include <stdint.h>

#include <kho/abi/radix_tree.h>
#include <kho/error.h>
#include <kho/mem.h>

/**
 * struct kho_radix_ops - where a tree's pages come from
 * @alloc: a zeroed page: its pointer, and its phys in @phys; NULL and errno
 *         when there is none
 * @free: give a page back
 * @node: pointer to the page at a phys that @alloc gave
 */
struct kho_radix_ops {
	void *(*alloc)(void *ctx, uint64_t *phys);
	void (*free)(void *ctx, uint64_t phys);
	void *(*node)(void *ctx, uint64_t phys);
};

/**
 * struct kho_radix - a tree that can be changed
 * @ops: where its pages come from
 * @ctx: passed to them
 * @page_shift: log2 of the page size
 * @key_bits: width of the keys
 * @root: phys of the top page; does not change as long as the tree lives
 */
struct kho_radix {
	const struct kho_radix_ops *ops;
	void *ctx;
	unsigned int page_shift;
	unsigned int key_bits;
	uint64_t root;
};

/**
 * kho_radix_create() - make an empty tree
 * @radix: @ops, @ctx, @page_shift and @key_bits filled in
 *
 * Return: 0, and @root is set; the errno of @ops->alloc, negative.
 */
int kho_radix_create(struct kho_radix *radix);

/**
 * kho_radix_add() - add a key
 * @radix: the tree
 * @key: less than 2^key_bits
 *
 * Return: 0; -EEXIST; -ERANGE when the key is too wide; the errno of
 * @ops->alloc, negative, and the tree is as it was.
 */
int kho_radix_add(struct kho_radix *radix, uint64_t key);

/**
 * kho_radix_del() - delete a key
 * @radix: the tree
 * @key: less than 2^key_bits
 *
 * Pages that got empty are given back, except the root.
 *
 * Return: 0; -ENOENT; -ERANGE.
 */
int kho_radix_del(struct kho_radix *radix, uint64_t key);

/** kho_radix_test() - is a key in the tree; serialize with add and delete. */
bool kho_radix_test(const struct kho_radix *radix, uint64_t key);

/**
 * struct kho_radix_walk - whom to call
 * @key: for each key, in ascending order; may be NULL
 * @node: for each page of the tree, before what is below it; may be NULL
 * @arg: passed to both
 *
 * A callback that returns other than 0 ends the walk with that value.
 */
struct kho_radix_walk {
	int (*key)(uint64_t key, void *arg);
	int (*node)(uint64_t phys, void *arg);
	void *arg;
};

/**
 * kho_radix_walk() - read a tree through a view of memory
 * @mem: the memory it is in
 * @root: phys of its top page
 * @key_bits: width of the keys
 * @walk: whom to call
 * @err: what is wrong and where; may be NULL
 *
 * Every byte is taken as hostile. Thread-safe.
 *
 * Return: 0; a callback's value; -EFAULT for a page outside the view;
 * -EBADMSG for a page that is not aligned or a key that is too wide; -ELOOP
 * for a page that is reached twice; -EINVAL for a page size that is not 4, 16
 * or 64 KiB; -ENOMEM.
 */
int kho_radix_walk(const struct kho_mem *mem, uint64_t root,
		   unsigned int key_bits, const struct kho_radix_walk *walk,
		   struct kho_error *err);

#endif
