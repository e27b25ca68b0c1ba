// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Reading an array through a view of memory, where every byte is hostile.
 *
 * A node says where in the tree it is, so it can be good at one place only:
 * there are no cycles, and no node is read twice.
 */
#include <errno.h>

#include "data/xarray/private.h"

_Static_assert(sizeof(struct kho_xarray_head) == 48, "format");
_Static_assert(sizeof(xa_node) == 576, "format");
_Static_assert(sizeof(struct kho_xarray_wide) == 32, "format");

static int read_object(struct array_reader *r, uint64_t phys, void *buf,
		       size_t size, const char *what)
{
	int ret;

	if (phys & (KHO_XARRAY_ALIGN - 1) || !phys)
		return reader_fail(&r->in, -EBADMSG, phys, "no place for a %s",
				   what);
	ret = reader_get(&r->in, phys, buf, size, what);
	if (!ret)
		r->stats.bytes += size;
	return ret;
}

/* What has been read is what it seems to be; is it its cache's, too? */
static int check_allocated(struct array_reader *r, uint64_t phys, size_t size,
			   const char *what)
{
	if (r->kmem && kho_ksize(r->kmem, kho_ptr(r->kho, phys, 1)) < size)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "the %s is no allocated object of the cache",
				   what);
	return 0;
}

static int read_head(struct array_reader *r)
{
	struct kho_xarray_head *head = &r->head;
	uint64_t sum;
	int ret;

	ret = read_object(r, r->phys, head, sizeof(*head), "head");
	if (ret)
		return ret;
	if (head->magic != KHO_XARRAY_HEAD_MAGIC)
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "not the head of an array");
	sum = head_sum(head);
	if (head->check[0] != sum && head->check[1] != sum)
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "the head's check is wrong");
	if (head->version != KHO_XARRAY_VERSION)
		return reader_fail(&r->in, -EPROTONOSUPPORT, r->phys,
				   "version %u; version %u can be read",
				   head->version, KHO_XARRAY_VERSION);
	if (head->reserved || (head->root && !is_node(head->root)))
		return reader_fail(&r->in, -EBADMSG, r->phys,
				   "the head is damaged: root 0x%llx",
				   (unsigned long long)head->root);
	if (r->kmem && head->kmem.phys != kho_kmem_phys(r->kmem))
		return reader_fail(&r->in, -EINVAL, r->phys,
				   "the array is in the cache at 0x%llx, not in the one at 0x%llx",
				   (unsigned long long)head->kmem.phys,
				   (unsigned long long)kho_kmem_phys(r->kmem));
	r->unclean |= head->check[0] != head->check[1];
	return check_allocated(r, r->phys, sizeof(*head), "head");
}

static int read_wide(struct array_reader *r, uint64_t phys, uint64_t index)
{
	struct kho_xarray_wide wide;
	int ret;

	ret = read_object(r, phys, &wide, sizeof(wide), "wide value");
	if (ret)
		return ret;
	if (wide.check != wide_sum(&wide))
		return reader_fail(&r->in, -EBADMSG, phys,
				   "the wide value's check is wrong");
	if (wide.head.phys != r->phys || wide.index != index ||
	    wide.value < WIDE_MIN)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "not the wide value of index 0x%llx of this array",
				   (unsigned long long)index);
	r->stats.wide++;
	return check_allocated(r, phys, sizeof(wide), "wide value");
}

/* A sibling must be one of a run behind its canonical slot. */
static int read_sibling(struct array_reader *r, uint64_t phys,
			const xa_node *node, unsigned int slot)
{
	unsigned int canonical = sibling_slot(node->slots[slot]), n;
	uint64_t entry = node->slots[canonical];

	if (node->slots[slot] != make_sibling(canonical) || canonical >= slot ||
	    is_node(entry) || is_sibling(entry))
		return reader_fail(&r->in, -EBADMSG, phys,
				   "slot %u: a sibling of slot %u: 0x%llx",
				   slot, canonical,
				   (unsigned long long)node->slots[slot]);
	if (!entry) {
		r->unclean = true;
		return 0;
	}
	n = entry_slots(node, canonical);
	if (slot >= canonical + n || n & (n - 1) || canonical & (n - 1) ||
	    n == slots_in(node->shift))
		return reader_fail(&r->in, -EBADMSG, phys,
				   "slot %u: the entry at slot %u has no good range",
				   slot, canonical);
	return 0;
}

static int read_node(struct array_reader *r, uint64_t phys, uint64_t index,
		     uint32_t shift, uint64_t marks[MARKS]);

static int read_slot(struct array_reader *r, uint64_t phys, const xa_node *node,
		     unsigned int slot)
{
	uint64_t index = node->index + ((uint64_t)slot << node->shift);
	uint64_t entry = node->slots[slot], marks[MARKS];
	int ret;

	if (slot >= slots_in(node->shift))
		return reader_fail(&r->in, -EBADMSG, phys,
				   "slot %u: an index above 2^64 - 1", slot);
	if (is_sibling(entry))
		return read_sibling(r, phys, node, slot);
	if (is_node(entry)) {
		if (node->shift == 0)
			return reader_fail(&r->in, -EBADMSG, phys,
					   "slot %u: a node below a leaf",
					   slot);
		ret = read_node(r, entry_phys(entry), index,
				node->shift - SLOT_BITS, marks);
		for (int m = 0; !ret && m < MARKS; m++) {
			if (marks[m] && !has_mark(node, slot, m))
				return reader_fail(&r->in, -EBADMSG, phys,
						   "slot %u: mark %d is below, but not here",
						   slot, m);
			r->unclean |= !marks[m] && has_mark(node, slot, m);
		}
		return ret;
	}
	r->stats.entries++;
	for (int m = 0; m < MARKS; m++)
		r->stats.marked[m] += has_mark(node, slot, m);
	if (is_wide(entry))
		return read_wide(r, entry_phys(entry), index);
	if (!is_value(entry) && !is_phys(entry))
		return reader_fail(&r->in, -EBADMSG, phys,
				   "slot %u: a bad entry: 0x%llx", slot,
				   (unsigned long long)entry);
	return 0;
}

/* @marks: result: the marks of what is in the node. */
static int read_node(struct array_reader *r, uint64_t phys, uint64_t index,
		     uint32_t shift, uint64_t marks[MARKS])
{
	uint64_t sum, some = 0, siblings = 0;
	xa_node node;
	int ret;

	ret = read_object(r, phys, &node, sizeof(node), "node");
	if (ret)
		return ret;
	if (node.magic != KHO_XARRAY_NODE_MAGIC)
		return reader_fail(&r->in, -EBADMSG, phys, "not a node");
	sum = node_sum(&node);
	if (node.check[0] != sum && node.check[1] != sum)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "the node's check is wrong");
	if (node.head.phys != r->phys || node.index != index ||
	    node.shift != shift)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "not the node of index 0x%llx and shift %u of this array",
				   (unsigned long long)index, shift);
	ret = check_allocated(r, phys, sizeof(node), "node");
	for (unsigned int slot = 0; !ret && slot < SLOTS; slot++) {
		if (!node.slots[slot])
			continue;
		some |= 1ull << slot;
		if (is_sibling(node.slots[slot]))
			siblings |= 1ull << slot;
		ret = read_slot(r, phys, &node, slot);
	}
	if (ret)
		return ret;
	for (int m = 0; m < MARKS; m++) {
		if (node.marks[m] & siblings)
			return reader_fail(&r->in, -EBADMSG, phys,
					   "mark %d of a sibling", m);
		r->unclean |= (node.marks[m] & ~some) != 0;
		marks[m] = node.marks[m] & some;
	}
	r->unclean |= node.check[0] != node.check[1] || !some;
	r->stats.nodes++;
	return 0;
}

/* How high is the tree? The rest of the root is read as any node. */
static int read_root_shift(struct array_reader *r, uint64_t phys,
			   uint32_t *shift)
{
	uint64_t at = phys + offsetof(xa_node, shift);

	if (at < phys || kho_mem_read(r->in.mem, at, shift, sizeof(*shift)) < 0)
		return reader_fail(&r->in, -EFAULT, phys,
				   "the root is outside the memory");
	if (*shift > SHIFT_MAX || *shift % SLOT_BITS)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "the root has a bad shift, %u", *shift);
	return 0;
}

/* Check and count everything. */
int xa_read(struct array_reader *r)
{
	uint64_t phys, marks[MARKS];
	uint32_t shift;
	int ret;

	ret = read_head(r);
	if (ret || !r->head.root)
		return ret;
	phys = entry_phys(r->head.root);
	ret = read_root_shift(r, phys, &shift);
	return ret ? ret : read_node(r, phys, 0, shift, marks);
}

int kho_xa_verify(const struct kho_mem *mem, uint64_t phys,
		  struct kho_xa_stats *stats, struct kho_error *err)
{
	struct array_reader reader = { .in = { "xarray", mem, err },
				       .phys = phys };
	int ret;

	ret = xa_read(&reader);
	if (!ret && stats)
		*stats = reader.stats;
	return ret;
}
