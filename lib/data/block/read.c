// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading a chain through a view of memory, where every byte is hostile. */
#include <errno.h>
#include <stdlib.h>

#include "data/block/private.h"

_Static_assert(sizeof(struct kho_block_root) == 8, "format");
_Static_assert(sizeof(struct kho_block_v1) == 16, "format");
_Static_assert(sizeof(struct kho_block_v2) == 24, "format");

/* A header, as far as both versions have it. */
struct header {
	uint64_t count;
	uint64_t next; /* 0: the last block */
	uint64_t commit; /* version 2 */
};

static int read_header_v1(struct block_reader *r, uint64_t phys,
			  struct header *header)
{
	struct kho_block_v1 v1;
	int ret = reader_get(&r->in, phys, &v1, sizeof(v1), "block");

	if (ret)
		return ret;
	header->count = v1.count;
	header->next = v1.next.phys;
	return 0;
}

static int read_header_v2(struct block_reader *r, uint64_t phys,
			  struct header *header)
{
	struct kho_block_v2 v2;
	int ret = reader_get(&r->in, phys, &v2, sizeof(v2), "block");

	if (ret)
		return ret;
	if (v2.magic != KHO_BLOCK_MAGIC)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "not a block of version 2");
	if (!r->entry_size)
		r->entry_size = v2.entry_size;
	if (v2.entry_size != r->entry_size)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "entries of %u bytes instead of %zu",
				   v2.entry_size, r->entry_size);
	header->commit = v2.commit;
	header->count = v2.commit & KHO_BLOCK_COUNT_MASK;
	header->next = 0;
	if (v2.commit & KHO_BLOCK_LINKED) {
		header->next = v2.next.phys;
		if (!header->next)
			return reader_fail(&r->in, -EBADMSG, phys,
					   "linked to nothing");
	}
	return 0;
}

static int check_entry_size(const struct block_reader *r)
{
	unsigned int shift = r->in.mem->page_shift;

	if (r->entry_size ? block_capacity(shift, r->version, r->entry_size) :
			    r->version > 1)
		return 0;
	return kho_fail(r->in.err, -EINVAL,
			"block: entries of %zu bytes; 1 to %zu fit",
			r->entry_size,
			((size_t)1 << shift) - block_header_size(r->version));
}

static int read_version(struct block_reader *r, uint64_t phys)
{
	uint32_t word;
	int ret = reader_get(&r->in, phys, &word, sizeof(word), "block");

	if (ret)
		return ret;
	r->version = block_version(word, r->in.mem->page_shift);
	if (!r->version)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "not a block of any of the versions 1 to %u",
				   KHO_BLOCK_VERSION);
	return check_entry_size(r);
}

/* Read and check one block; @page has room for a page. */
static int read_block(struct block_reader *r, uint64_t phys, char *page,
		      uint64_t *next)
{
	struct header header = { 0 };
	uint32_t capacity, count;
	int ret = 0;

	if (phys & ((1ull << r->in.mem->page_shift) - 1))
		return reader_fail(&r->in, -EBADMSG, phys,
				   "a block starts a page");
	if (!r->version)
		ret = read_version(r, phys);
	if (!ret)
		ret = r->version == 1 ? read_header_v1(r, phys, &header) :
					read_header_v2(r, phys, &header);
	if (ret)
		return ret;
	capacity = block_capacity(r->in.mem->page_shift, r->version,
				  r->entry_size);
	if (!header.count || header.count > capacity)
		return reader_fail(&r->in, -EBADMSG, phys,
				   "%llu entries; of %zu bytes, a block has 1 to %u",
				   (unsigned long long)header.count,
				   r->entry_size, capacity);
	count = (uint32_t)header.count;
	if (kho_mem_read(r->in.mem, phys + block_header_size(r->version), page,
			 count * r->entry_size) < 0)
		return reader_fail(&r->in, -EFAULT, phys,
				   "the entries are outside the memory");
	if (r->version > 1) {
		r->crc = crc32c_more(block_crc_begin(r->entry_size), page,
				     count * r->entry_size);
		if (header.commit != block_commit(r->crc, count, header.next))
			return reader_fail(&r->in, -EBADMSG, phys,
					   "the CRC is wrong");
		if (header.next && count < capacity)
			return reader_fail(&r->in, -EBADMSG, phys,
					   "linked with %u of %u entries",
					   count, capacity);
	}
	*next = header.next;
	ret = r->block ? r->block(r, phys, page, count) : 0;
	r->stats.blocks++;
	r->stats.entries += count;
	return ret;
}

static int read_chain(struct block_reader *r, uint64_t phys, char *page)
{
	struct reader_chain chain = { 0 };
	uint64_t next = 0;
	int ret = 0;

	for (; phys && !ret; phys = next) {
		ret = reader_follow(&r->in, &chain, phys, "blocks");
		if (!ret)
			ret = read_block(r, phys, page, &next);
	}
	return ret;
}

int block_read(struct block_reader *r, uint64_t first)
{
	unsigned int shift = r->in.mem->page_shift;
	char *page;
	int ret;

	r->stats = (struct kho_block_stats){ 0 };
	if (r->version > KHO_BLOCK_VERSION)
		return kho_fail(r->in.err, -EPROTONOSUPPORT,
				"block: version %u; 1 to %u can be read",
				r->version, KHO_BLOCK_VERSION);
	if (shift != 12 && shift != 14 && shift != 16)
		return kho_fail(r->in.err, -EINVAL,
				"block: page size 2^%u is not supported",
				shift);
	ret = r->version ? check_entry_size(r) : 0;
	if (ret)
		return ret;
	page = malloc((size_t)1 << shift);
	if (!page)
		return kho_fail(r->in.err, -ENOMEM, "block: out of memory");
	ret = read_chain(r, first, page);
	r->stats.version = r->version;
	r->stats.entry_size = r->entry_size;
	free(page);
	return ret;
}

int kho_block_verify(const struct kho_mem *mem, uint32_t version,
		     size_t entry_size, uint64_t first,
		     struct kho_block_stats *stats, struct kho_error *err)
{
	struct block_reader reader = {
		.in = { "block", mem, err },
		.version = version,
		.entry_size = entry_size,
	};
	int ret = block_read(&reader, first);

	if (!ret && stats)
		*stats = reader.stats;
	return ret;
}

struct walk {
	int (*entry)(const void *entry, size_t size, uint64_t index, void *arg);
	void *arg;
};

static int walk_block(struct block_reader *r, uint64_t phys,
		      const char *entries, uint32_t count)
{
	const struct walk *walk = r->arg;
	int ret = 0;

	(void)phys;
	for (uint32_t i = 0; i < count && !ret; i++)
		ret = walk->entry(entries + i * r->entry_size, r->entry_size,
				  r->stats.entries + i, walk->arg);
	return ret;
}

int kho_block_walk(const struct kho_mem *mem, uint32_t version,
		   size_t entry_size, uint64_t first,
		   int (*entry)(const void *entry, size_t size, uint64_t index,
				void *arg),
		   void *arg, struct kho_error *err)
{
	struct walk walk = { entry, arg };
	struct block_reader reader = {
		.in = { "block", mem, err },
		.version = version,
		.entry_size = entry_size,
		.block = walk_block,
		.arg = &walk,
	};

	return block_read(&reader, first);
}
