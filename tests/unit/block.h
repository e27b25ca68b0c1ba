/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* An arena with a chain of blocks, for the tests of block. */
#ifndef TEST_BLOCK_H
#define TEST_BLOCK_H

#include <stdbool.h>

#include <kho/block.h>
#include <kho/tree.h>

#include "arena.h"

/* Who owns the chain. */
KHO_COMPONENT(chain, .write = { 1, 1 }, .read = { 1, 1 }, .deps = { "block" });

struct fixture {
	int fd;
	unsigned int page_shift;
	uint64_t max;
	struct kho_error err;
	struct kho *kho;
	struct kho_blocks *blocks;
	uint32_t version; /* in effect at the start */
	size_t entry_size;
	uint64_t root_phys;
	struct kho_block_root *root;
	uint64_t pages; /* preserved without the chain */
};

static inline uint64_t below(uint64_t n)
{
	return rnd() % n;
}

static inline void attach(struct fixture *f)
{
	f->kho = arena_attach(f->fd, f->page_shift, f->max);
}

static inline uint64_t pages_preserved(struct fixture *f)
{
	return pages_info(f->kho).preserved;
}

static inline const struct kho_component *block(void)
{
	return kho_component_find("block");
}

static inline void set_version(struct fixture *f, uint32_t version)
{
	assert_int_equal(kho_set_version(f->kho, block(), version, NULL), 0);
}

/* As a handover does it, at freeze. */
static inline int convert(struct fixture *f, uint32_t version)
{
	memset(&f->err, 0, sizeof(f->err));
	return block()->ops->convert(f->kho, version, NULL, &f->err);
}

static inline void create(struct fixture *f, unsigned int page_shift,
			  uint32_t version, size_t entry_size, uint64_t max)
{
	memset(f, 0, sizeof(*f));
	f->fd = make_memfd();
	f->page_shift = page_shift;
	f->max = max;
	f->version = version;
	f->entry_size = entry_size;
	attach(f);
	assert_int_equal(kho_ready(f->kho, NULL), 0);
	f->root = kho_alloc_preserve(f->kho, sizeof(*f->root));
	assert_non_null(f->root);
	f->root_phys = kho_phys(f->kho, f->root);
	assert_int_equal(kho_add_subtree(f->kho, "chain", &chain_component, 0,
					 f->root, sizeof(*f->root), NULL),
			 0);
	set_version(f, version);
	f->root->first.phys = 1;
	f->pages = pages_preserved(f);
	assert_int_equal(kho_block_create(f->kho, entry_size, f->root,
					  &f->blocks, NULL),
			 0);
	assert_int_equal(f->root->first.phys, 0);
	assert_int_equal(pages_preserved(f), f->pages);
}

static inline void detach(struct fixture *f)
{
	kho_block_close(f->blocks);
	kho_close(f->kho);
	f->blocks = NULL;
	f->kho = NULL;
}

static inline int try_restore(struct fixture *f)
{
	f->root = kho_subtree(f->kho, "chain", NULL, NULL);
	return kho_block_restore(f->kho, f->entry_size, f->root, &f->blocks,
				 &f->err);
}

static inline void restore(struct fixture *f)
{
	if (try_restore(f))
		fail_msg("restore: %s", f->err.text);
}

/* As the next program: nothing but the arena and a phys comes over. */
static inline void hand_over(struct fixture *f)
{
	detach(f);
	attach(f);
	restore(f);
	assert_int_equal(kho_ready(f->kho, NULL), 0);
}

static inline void discard(struct fixture *f)
{
	detach(f);
	close(f->fd);
}

static inline struct kho_block_stats verify(struct fixture *f)
{
	struct kho_mem_array mem = arena_bytes(f->kho, f->fd);
	struct kho_block_stats stats;

	if (kho_block_verify(&mem.mem, 0, f->entry_size, f->root->first.phys,
			     &stats, &f->err))
		fail_msg("verify: %s", f->err.text);
	return stats;
}

/* Byte @i of the entry that stands for a number. */
static inline uint8_t filler(uint64_t number, size_t i)
{
	return (uint8_t)((number >> i % 8 * 8) ^ i / 8);
}

static inline bool is_filled(const void *entry, size_t size, uint64_t number)
{
	const uint8_t *byte = entry;

	for (size_t i = 0; i < size; i++)
		if (byte[i] != filler(number, i))
			return false;
	return true;
}

static inline int64_t append(struct fixture *f, uint64_t number)
{
	uint8_t *entry = malloc(f->entry_size);
	int64_t ret;

	assert_non_null(entry);
	for (size_t i = 0; i < f->entry_size; i++)
		entry[i] = filler(number, i);
	ret = kho_block_append(f->blocks, entry);
	free(entry);
	return ret;
}

#endif
