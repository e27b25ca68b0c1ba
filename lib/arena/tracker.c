// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The tracker: the radix tree of preserved folios, its keys and its reader. */
#include <errno.h>

#include <kho/abi/kexec_handover.h>
#include <kho/radix.h>
#include <kho/tracker.h>

uint64_t kho_tracker_key(unsigned int page_shift, uint64_t phys,
			 unsigned int order)
{
	return 1ull << (64 - page_shift - order) | phys >> (page_shift + order);
}

int kho_tracker_decode(unsigned int page_shift, uint64_t key, uint64_t *phys,
		       unsigned int *order)
{
	unsigned int top;

	if (!key)
		return -EBADMSG;
	top = 63 - (unsigned int)__builtin_clzll(key);
	/* Bit 64 - S is order 0; an order of 64 - S would be all of memory. */
	if (top > 64 - page_shift || top == 0)
		return -EBADMSG;
	*order = 64 - page_shift - top;
	*phys = (key ^ 1ull << top) << (page_shift + *order);
	return 0;
}

struct folio_walk {
	const struct kho_tracker_walk *walk;
	unsigned int page_shift;
	struct kho_error *err;
};

static int walk_key(uint64_t key, void *arg)
{
	const struct folio_walk *fw = arg;
	unsigned int order;
	uint64_t phys;
	int err;

	err = kho_tracker_decode(fw->page_shift, key, &phys, &order);
	if (err)
		return kho_fail(fw->err, err,
				"tracker: %#llx is no folio's key",
				(unsigned long long)key);
	return fw->walk->folio(phys, order, fw->walk->arg);
}

static int walk_node(uint64_t phys, void *arg)
{
	const struct folio_walk *fw = arg;

	return fw->walk->node ? fw->walk->node(phys, fw->walk->arg) : 0;
}

int kho_tracker_walk(const struct kho_mem *mem, uint64_t root,
		     const struct kho_tracker_walk *walk, struct kho_error *err)
{
	struct folio_walk fw = { walk, mem->page_shift, err };
	const struct kho_radix_walk rw = { walk_key, walk_node, &fw };

	if (!root)
		return 0;
	return kho_radix_walk(mem, root, KHO_TRACKER_KEY_BITS(mem->page_shift),
			      &rw, err);
}
