// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The life of an array: create, restore, close, destroy. */
#include <errno.h>
#include <stdlib.h>

#include <kho/compat.h>

#include "data/xarray/private.h"

KHO_COMPONENT(xarray, .write = { 1, KHO_XARRAY_VERSION },
	      .read = { 1, KHO_XARRAY_VERSION }, .deps = { "kmalloc" },
	      .flags = KHO_COMPONENT_STRUCTURE);

/* The volatile side of an array that has no head yet. */
static struct kho_xa *xa_new(struct kho *kho, struct kho_kmem *kmem)
{
	struct kho_xa *xa = calloc(1, sizeof(*xa));

	if (!xa)
		return NULL;
	xa->grace = aligned_alloc(_Alignof(struct grace), sizeof(*xa->grace));
	if (!xa->grace) {
		free(xa);
		return NULL;
	}
	grace_init(xa->grace);
	pthread_mutex_init(&xa->lock, NULL);
	xa->kho = kho;
	xa->kmem = kmem;
	return xa;
}

int kho_xa_create(struct kho *kho, struct kho_kmem *kmem,
		  struct kho_xa **result, struct kho_error *err)
{
	struct kho_xa *xa = xa_new(kho, kmem);
	struct kho_xarray_head *head;
	int ret;

	if (!xa)
		return arena_refuses(kho, "xarray", -ENOMEM, err);
	head = kho_kmalloc(kmem, sizeof(*head));
	if (!head) {
		ret = arena_refuses(kho, "xarray", -errno, err);
		kho_xa_close(xa);
		return ret;
	}
	memset(head, 0, sizeof(*head));
	head->magic = KHO_XARRAY_HEAD_MAGIC;
	head->version = KHO_XARRAY_VERSION;
	head->kmem.phys = kho_kmem_phys(kmem);
	head->check[0] = head_sum(head);
	head->check[1] = head->check[0];
	xa->head = head;
	xa->phys = kho_phys(kho, head);
	*result = xa;
	return 0;
}

int kho_xa_restore(struct kho *kho, struct kho_kmem *kmem, uint64_t phys,
		   struct kho_xa **result, struct kho_error *err)
{
	struct kho_mem_live live = mem_live(kho);
	struct array_reader reader = {
		.in = { "xarray", &live.mem, err },
		.kmem = kmem,
		.kho = kho,
		.phys = phys,
	};
	struct kho_xa *xa;
	int ret;

	ret = xa_read(&reader);
	if (ret)
		return ret;
	xa = xa_new(kho, kmem);
	if (!xa)
		return kho_fail(err, -ENOMEM, "xarray: out of memory");
	xa->head = kho_ptr(kho, phys, sizeof(*xa->head));
	xa->phys = phys;
	xa->unclean = reader.unclean;
	*result = xa;
	return 0;
}

uint64_t kho_xa_phys(const struct kho_xa *xa)
{
	return xa->phys;
}

void kho_xa_close(struct kho_xa *xa)
{
	if (!xa)
		return;
	pthread_mutex_destroy(&xa->lock);
	grace_exit(xa->grace);
	free(xa->grace);
	free(xa);
}

int kho_xa_destroy(struct kho_xa *xa)
{
	uint64_t root;

	if (!xa)
		return 0;
	if (!kho_writable(xa->kho))
		return -EROFS;
	if (xa->unclean)
		xa_repair(xa);
	root = xa->head->root;
	/* Empty before the first node goes. */
	xa_put(xa->head->check, &xa->head->root, 0);
	xa_free_entry(xa, root);
	kho_kfree(xa->kmem, xa->head);
	kho_xa_close(xa);
	return 0;
}

/* Is this node where it says it is? */
static bool owns_node(const struct kho_xa *xa, const xa_node *node)
{
	uint64_t entry = load_root(xa);
	uint64_t wanted = make_entry(xa, node, KHO_XARRAY_TAG_NODE);
	const xa_node *at;

	while (is_node(entry) && entry != wanted) {
		at = entry_ptr(xa, entry);
		if (node->index > node_last(at))
			return false;
		entry = at->slots[slot_of(at->shift, node->index)];
	}
	return entry == wanted;
}

static bool owns_wide(const struct kho_xa *xa,
		      const struct kho_xarray_wide *wide)
{
	unsigned int slot;
	uint64_t entry;

	return xa_seek(xa, wide->index, &slot, &entry) &&
	       entry == make_entry(xa, wide, KHO_XARRAY_TAG_WIDE);
}

bool kho_xa_owns(const struct kho_xa *xa, const void *object, size_t size)
{
	const struct kho_xarray_wide *wide = object;
	const xa_node *node = object;

	if (object == xa->head)
		return true;
	if (size >= sizeof(*node) && node->head.phys == xa->phys &&
	    owns_node(xa, node))
		return true;
	return size >= sizeof(*wide) && wide->head.phys == xa->phys &&
	       owns_wide(xa, wide);
}
