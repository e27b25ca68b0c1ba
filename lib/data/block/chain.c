// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A chain of blocks: its life, its writers and its readers.
 *
 * What survives is in the arena, in the format of abi/block.h. The volatile
 * side is an index of the blocks, so that any entry is found at once. The
 * index is an array in segments, each twice as long as the one before: it
 * grows without moving, which is why readers need no lock.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <kho/compat.h>
#include <kho/pages.h>
#include <kho/ptr.h>
#include <kho/tree.h>

#include "arena/arena.h"
#include "data/block/private.h"

static int can_write(struct kho *kho, uint32_t version, void *arg,
		     struct kho_error *why);
static int convert(struct kho *kho, uint32_t version, void *arg,
		   struct kho_error *why);

static const struct kho_component_ops block_ops = {
	.can_write = can_write,
	.convert = convert,
};
KHO_COMPONENT_OPS(block, &block_ops, .write = { 1, KHO_BLOCK_VERSION },
		  .read = { 1, KHO_BLOCK_VERSION },
		  .flags = KHO_COMPONENT_STRUCTURE | KHO_COMPONENT_CAN_WRITE |
			   KHO_COMPONENT_CONVERT);

/* Blocks in the first segment of the index; enough segments for all phys. */
#define SEGMENT_SHIFT 4
#define SEGMENTS (64 - SEGMENT_SHIFT)

/*
 * struct slot - a block
 * @page: where it is
 * @start: index of its first entry; atomic
 */
struct slot {
	struct kho_block *page;
	uint64_t start;
};

struct kho_blocks {
	struct instance instance;
	struct kho *kho;
	struct kho_block_root *root;
	uint32_t version;
	uint32_t capacity; /* entries that a block has room for */
	size_t entry_size;
	size_t header_size;
	bool sparse; /* a block that is not the last one may not be full */
	pthread_mutex_t lock; /* of the writers */
	uint64_t count; /* entries; atomic, and whoever sees it sees them */
	uint64_t blocks; /* in the chain; atomic */
	uint64_t pages; /* of these, and spare ones behind them */
	uint64_t room; /* entries that kho_block_grow() made room for */
	uint32_t crc; /* version 2: of the last block up to its entries */
	struct slot *segment[SEGMENTS];
};

/* ---- The index ---- */

static struct slot *slot_at(const struct kho_blocks *b, uint64_t block)
{
	uint64_t n = block + (1ull << SEGMENT_SHIFT);
	unsigned int top = 63 - (unsigned int)__builtin_clzll(n);

	return &b->segment[top - SEGMENT_SHIFT][n ^ 1ull << top];
}

/* Make a slot for a block; the ones before it have one. */
static struct slot *slot_make(struct kho_blocks *b, uint64_t block)
{
	uint64_t n = block + (1ull << SEGMENT_SHIFT);
	unsigned int top = 63 - (unsigned int)__builtin_clzll(n);
	struct slot **segment = &b->segment[top - SEGMENT_SHIFT];

	if (!*segment)
		*segment = calloc(1ull << top, sizeof(struct slot));
	return *segment ? &(*segment)[n ^ 1ull << top] : NULL;
}

static uint64_t slot_start(const struct kho_blocks *b, uint64_t block)
{
	return __atomic_load_n(&slot_at(b, block)->start, __ATOMIC_RELAXED);
}

static void *entry_at(const struct kho_blocks *b, uint64_t block, uint64_t slot)
{
	return (char *)slot_at(b, block)->page + b->header_size +
	       slot * b->entry_size;
}

static uint64_t load_count(const struct kho_blocks *b)
{
	return __atomic_load_n(&b->count, __ATOMIC_ACQUIRE);
}

/*
 * At least as many as the count that was loaded before needs, and maybe more:
 * whoever sees a block sees its slot and the segment that it is in.
 */
static uint64_t load_blocks(const struct kho_blocks *b)
{
	return __atomic_load_n(&b->blocks, __ATOMIC_ACQUIRE);
}

static void set_length(struct kho_blocks *b, uint64_t blocks, uint64_t count)
{
	__atomic_store_n(&b->blocks, blocks, __ATOMIC_RELEASE);
	__atomic_store_n(&b->count, count, __ATOMIC_RELEASE);
}

/* The block of an entry that there is. */
static uint64_t find_block(const struct kho_blocks *b, uint64_t index)
{
	uint64_t low = index / b->capacity, high, mid;

	if (!b->sparse)
		return low;
	high = load_blocks(b) - 1;
	while (low < high) {
		mid = high - (high - low) / 2;
		if (slot_start(b, mid) <= index)
			low = mid;
		else
			high = mid - 1;
	}
	return low;
}

/* ---- Pages ---- */

static int add_page(struct kho_blocks *b)
{
	struct slot *slot = slot_make(b, b->pages);

	if (!slot)
		return -ENOMEM;
	slot->page = kho_alloc_preserve(b->kho, 1ul << kho_page_shift(b->kho));
	if (!slot->page)
		return -errno;
	b->pages++;
	return 0;
}

/*
 * Give pages back that are not in the chain. Should this fail, they are lost
 * until the next kho_free_unclaimed().
 */
static void drop_pages(struct kho_blocks *b, uint64_t keep)
{
	while (b->pages > keep)
		kho_unpreserve_free(b->kho, slot_at(b, --b->pages)->page);
}

/* Entries that the last block has room for. */
static uint64_t room_in_last(const struct kho_blocks *b)
{
	if (!b->blocks)
		return 0;
	return slot_start(b, b->blocks - 1) + b->capacity - b->count;
}

/* Pages that @count entries need, but not less than are in the chain. */
static uint64_t pages_for(const struct kho_blocks *b, uint64_t count)
{
	uint64_t room = b->count + room_in_last(b);

	if (count <= room)
		return b->blocks;
	count -= room;
	return b->blocks + count / b->capacity + !!(count % b->capacity);
}

/* ---- Changing the chain ---- */

/* Let the first @count entries of a block count, and link it to @next. */
static void commit(struct kho_block *page, uint32_t crc, uint64_t count,
		   uint64_t next)
{
	struct kho_block_v2 *v2 = (struct kho_block_v2 *)page;

	__atomic_store_n(&v2->commit, block_commit(crc, (uint32_t)count, next),
			 __ATOMIC_RELEASE);
}

static void append_to_last(struct kho_blocks *b, const void *entries,
			   uint64_t n)
{
	uint64_t last = b->blocks - 1, count = b->count - slot_start(b, last);
	struct kho_block *page = slot_at(b, last)->page;
	void *place = entry_at(b, last, count);

	memcpy(place, entries, n * b->entry_size);
	if (b->version == 1) {
		__atomic_store_n(&((struct kho_block_v1 *)page)->count,
				 count + n, __ATOMIC_RELEASE);
	} else {
		b->crc = crc32c_more(b->crc, place, n * b->entry_size);
		commit(page, b->crc, count + n, 0);
	}
	set_length(b, b->blocks, b->count + n);
}

/* Link a complete block behind the last one. */
static void link_block(struct kho_blocks *b, struct kho_block *page)
{
	struct kho_block *last;

	if (!b->blocks) {
		kho_ptr_store(b->kho, b->root->first, page);
		return;
	}
	last = slot_at(b, b->blocks - 1)->page;
	if (b->version == 1) {
		kho_ptr_store(b->kho, ((struct kho_block_v1 *)last)->next,
			      page);
	} else {
		kho_ptr_store(b->kho, ((struct kho_block_v2 *)last)->next,
			      page);
		commit(last, b->crc, b->capacity, kho_phys(b->kho, page));
	}
}

/* Append to a new block, for which there is a page. */
static void append_to_new(struct kho_blocks *b, const void *entries, uint64_t n)
{
	struct slot *slot = slot_at(b, b->blocks);
	struct kho_block_v1 *v1 = (struct kho_block_v1 *)slot->page;
	struct kho_block_v2 *v2 = (struct kho_block_v2 *)slot->page;
	uint32_t crc = 0;
	void *place;

	__atomic_store_n(&slot->start, b->count, __ATOMIC_RELAXED);
	place = entry_at(b, b->blocks, 0);
	memcpy(place, entries, n * b->entry_size);
	if (b->version == 1) {
		v1->count = n;
	} else {
		v2->magic = KHO_BLOCK_MAGIC;
		v2->entry_size = (uint32_t)b->entry_size;
		crc = crc32c_more(block_crc_begin(b->entry_size), place,
				  n * b->entry_size);
		commit(slot->page, crc, n, 0);
	}
	link_block(b, slot->page);
	b->crc = crc;
	set_length(b, b->blocks + 1, b->count + n);
}

/* Append as many of @n entries as go into one block; returns how many. */
static uint64_t append_some(struct kho_blocks *b, const void *entries,
			    uint64_t n)
{
	uint64_t room = room_in_last(b), most = room ? room : b->capacity;

	n = n < most ? n : most;
	if (room)
		append_to_last(b, entries, n);
	else
		append_to_new(b, entries, n);
	return n;
}

static void set_version(struct kho_blocks *b, uint32_t version)
{
	b->version = version;
	b->capacity =
		block_capacity(kho_page_shift(b->kho), version, b->entry_size);
	b->header_size = block_header_size(version);
	b->sparse = false;
}

/*
 * A chain without entries is in the version that is in effect, as if it were
 * made now; but not in a higher one in which there would be less room than
 * somebody was promised.
 */
static void follow_version(struct kho_blocks *b)
{
	uint32_t version = kho_version(b->kho, &block_component);
	uint64_t capacity =
		block_capacity(kho_page_shift(b->kho), version, b->entry_size);

	if (version == b->version || !capacity ||
	    (version > b->version && b->room > b->pages * capacity))
		return;
	set_version(b, version);
}

static int64_t append(struct kho_blocks *b, const void *entry)
{
	int64_t index = (int64_t)b->count;
	int err;

	if (!b->blocks)
		follow_version(b);
	if (!room_in_last(b) && b->pages == b->blocks) {
		err = add_page(b);
		if (err)
			return err;
	}
	append_some(b, entry, 1);
	return index;
}

int64_t kho_block_append(struct kho_blocks *b, const void *entry)
{
	int64_t ret;

	pthread_mutex_lock(&b->lock);
	ret = kho_writable(b->kho) ? append(b, entry) : -EROFS;
	pthread_mutex_unlock(&b->lock);
	return ret;
}

static int grow(struct kho_blocks *b, uint64_t count)
{
	uint64_t pages = pages_for(b, count), had = b->pages;

	if (pages > b->kho->max >> kho_page_shift(b->kho))
		return -ENOSPC;
	while (b->pages < pages) {
		int err = add_page(b);

		if (err) {
			drop_pages(b, had);
			return err;
		}
	}
	b->room = b->room > count ? b->room : count;
	return 0;
}

int kho_block_grow(struct kho_blocks *b, uint64_t count)
{
	int ret;

	pthread_mutex_lock(&b->lock);
	if (!kho_writable(b->kho)) {
		ret = -EROFS;
	} else {
		if (!b->blocks)
			follow_version(b);
		ret = grow(b, count);
	}
	pthread_mutex_unlock(&b->lock);
	return ret;
}

/* Drop the entries from @count on, but not all. */
static void truncate_to(struct kho_blocks *b, uint64_t count)
{
	uint64_t last = find_block(b, count - 1);
	uint64_t n = count - slot_start(b, last);
	struct kho_block *page = slot_at(b, last)->page;

	if (b->version == 1) {
		struct kho_block_v1 *v1 = (struct kho_block_v1 *)page;

		kho_ptr_store(b->kho, v1->next, NULL);
		__atomic_store_n(&v1->count, n, __ATOMIC_RELEASE);
	} else {
		b->crc = crc32c_more(block_crc_begin(b->entry_size),
				     entry_at(b, last, 0), n * b->entry_size);
		commit(page, b->crc, n, 0);
	}
	set_length(b, last + 1, count);
}

static int shrink(struct kho_blocks *b, uint64_t count)
{
	if (count && count < b->count) {
		truncate_to(b, count);
	} else if (count < b->count) {
		kho_ptr_store(b->kho, b->root->first, NULL);
		set_length(b, 0, 0);
	}
	drop_pages(b, pages_for(b, count));
	b->room = b->room < count ? b->room : count;
	return 0;
}

int kho_block_shrink(struct kho_blocks *b, uint64_t count)
{
	int ret;

	pthread_mutex_lock(&b->lock);
	ret = kho_writable(b->kho) ? shrink(b, count) : -EROFS;
	pthread_mutex_unlock(&b->lock);
	return ret;
}

/* ---- Reading it ---- */

uint64_t kho_block_count(const struct kho_blocks *b)
{
	return load_count(b);
}

const void *kho_block_get(const struct kho_blocks *b, uint64_t index)
{
	uint64_t block;

	if (index >= load_count(b))
		return NULL;
	block = find_block(b, index);
	return entry_at(b, block, index - slot_start(b, block));
}

struct kho_block_iter kho_block_begin(const struct kho_blocks *b)
{
	return (struct kho_block_iter){ .blocks = b };
}

struct kho_block_iter kho_block_end(const struct kho_blocks *b)
{
	struct kho_block_iter iter = { .blocks = b, .index = load_count(b) };

	if (iter.index) {
		iter.block = find_block(b, iter.index - 1);
		iter.slot = iter.index - slot_start(b, iter.block);
	}
	return iter;
}

const void *kho_block_next(struct kho_block_iter *iter)
{
	const struct kho_blocks *b = iter->blocks;

	if (iter->index >= load_count(b))
		return NULL;
	if (iter->slot && iter->block + 1 < load_blocks(b) &&
	    slot_start(b, iter->block + 1) == iter->index) {
		iter->block++;
		iter->slot = 0;
	}
	iter->index++;
	return entry_at(b, iter->block, iter->slot++);
}

const void *kho_block_prev(struct kho_block_iter *iter)
{
	const struct kho_blocks *b = iter->blocks;

	if (!iter->index)
		return NULL;
	if (!iter->slot) {
		iter->block--;
		iter->slot = iter->index - slot_start(b, iter->block);
	}
	iter->index--;
	return entry_at(b, iter->block, --iter->slot);
}

/* ---- Its life ---- */

static struct kho_blocks *blocks_alloc(struct kho *kho, uint32_t version,
				       size_t entry_size,
				       struct kho_block_root *root)
{
	struct kho_blocks *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->kho = kho;
	b->root = root;
	b->entry_size = entry_size;
	set_version(b, version);
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

static void blocks_free(struct kho_blocks *b)
{
	if (!b)
		return;
	for (int i = 0; i < SEGMENTS; i++)
		free(b->segment[i]);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

/* What is elsewhere cannot be switched to another version in one store. */
static bool root_is_good(const struct kho *kho,
			 const struct kho_block_root *root)
{
	return (uintptr_t)root % _Alignof(struct kho_block_root) == 0 &&
	       kho_ptr(kho, kho_phys(kho, root), sizeof(*root));
}

int kho_block_create(struct kho *kho, size_t entry_size,
		     struct kho_block_root *root, struct kho_blocks **blocks,
		     struct kho_error *err)
{
	uint32_t version = kho_version(kho, &block_component);
	struct kho_blocks *b;

	if (!block_capacity(kho_page_shift(kho), version, entry_size))
		return kho_fail(err, -EINVAL,
				"block: no entry of %zu bytes fits into a page",
				entry_size);
	if (!root_is_good(kho, root))
		return kho_fail(err, -EINVAL,
				"block: the root is not in the arena, at a "
				"multiple of 8 bytes");
	if (!kho_writable(kho))
		return arena_refuses(kho, "block", -EROFS, err);
	b = blocks_alloc(kho, version, entry_size, root);
	if (!b)
		return arena_refuses(kho, "block", -ENOMEM, err);
	kho_ptr_store(kho, root->first, NULL);
	instances_add(kho, &b->instance, &block_component);
	*blocks = b;
	return 0;
}

/* Claim a block that was found good, and put it into the index. */
static int claim_block(struct block_reader *r, uint64_t phys,
		       const char *entries, uint32_t count)
{
	struct kho_blocks *b = r->arg;
	struct slot *slot = slot_make(b, b->blocks);
	void *page;
	int ret;

	(void)entries;
	if (!slot)
		return reader_fail(&r->in, -ENOMEM, phys, "out of memory");
	ret = pages_claim_folio(b->kho, &r->in, phys,
				1ul << r->in.mem->page_shift, &page);
	if (ret)
		return ret;
	slot->page = page;
	slot->start = b->count;
	b->sparse |= slot->start != b->blocks * b->capacity;
	b->pages = ++b->blocks;
	b->count += count;
	return 0;
}

int kho_block_restore(struct kho *kho, size_t entry_size,
		      struct kho_block_root *root, struct kho_blocks **blocks,
		      struct kho_error *err)
{
	struct kho_mem_live live = mem_live(kho);
	struct block_reader reader = {
		.in = { "block", &live.mem, err },
		.entry_size = entry_size,
	};
	struct kho_blocks *b;
	uint64_t first;
	int ret;

	if (!entry_size)
		return kho_fail(err, -EINVAL, "block: entries of 0 bytes");
	if (!root_is_good(kho, root))
		return kho_fail(err, -EINVAL,
				"block: the root must be in the arena, at a multiple of 8 bytes");
	first = __atomic_load_n(&root->first.phys, __ATOMIC_ACQUIRE);
	if (!first)
		reader.version = kho_version(kho, &block_component);
	ret = block_read(&reader, first);
	if (ret < 0)
		return ret;
	b = blocks_alloc(kho, reader.version, entry_size, root);
	if (!b)
		return kho_fail(err, -ENOMEM, "block: out of memory");
	reader.block = claim_block;
	reader.arg = b;
	ret = block_read(&reader, first);
	if (ret < 0) {
		blocks_free(b);
		return ret;
	}
	b->crc = reader.crc;
	instances_add(kho, &b->instance, &block_component);
	*blocks = b;
	return 0;
}

void kho_block_close(struct kho_blocks *b)
{
	if (!b)
		return;
	instances_del(b->kho, &b->instance);
	blocks_free(b);
}

int kho_block_destroy(struct kho_blocks *b)
{
	int ret;

	if (!b)
		return 0;
	ret = kho_block_shrink(b, 0);
	if (!ret)
		kho_block_close(b);
	return ret;
}

/* ---- Another version ---- */

/* Which chain, for an error. */
static unsigned long long which(const struct kho_blocks *b)
{
	return kho_phys(b->kho, b->root);
}

static struct kho_blocks *to_chain(struct instance *instance)
{
	return (struct kho_blocks *)((char *)instance -
				     offsetof(struct kho_blocks, instance));
}

static int can_write_chain(struct instance *instance, uint32_t version,
			   struct kho_error *why)
{
	const struct kho_blocks *b = to_chain(instance);
	unsigned int shift = kho_page_shift(b->kho);

	if (block_capacity(shift, version, b->entry_size))
		return 0;
	return kho_fail(why, -EOPNOTSUPP,
			"the chain at 0x%llx has entries of %zu bytes, and at most %zu fit: keep the version, or make them smaller",
			which(b), b->entry_size,
			((size_t)1 << shift) - block_header_size(version));
}

static int can_write(struct kho *kho, uint32_t version, void *arg,
		     struct kho_error *why)
{
	(void)arg;
	return instances_each(kho, &block_component, can_write_chain, version,
			      why);
}

/* Append all entries of @from, for which there are pages. */
static void append_all(struct kho_blocks *b, const struct kho_blocks *from)
{
	while (b->count < from->count) {
		uint64_t block = find_block(from, b->count), end = from->count;
		uint64_t start = slot_start(from, block);

		if (block + 1 < from->blocks)
			end = slot_start(from, block + 1);
		append_some(b, entry_at(from, block, b->count - start),
			    end - b->count);
	}
}

/* Let @b have what @copy has, and the other way round. */
static void swap_blocks(struct kho_blocks *b, struct kho_blocks *copy)
{
	uint64_t pages = b->pages;

	for (int i = 0; i < SEGMENTS; i++) {
		struct slot *segment = b->segment[i];

		b->segment[i] = copy->segment[i];
		copy->segment[i] = segment;
	}
	b->pages = copy->pages;
	copy->pages = pages;
	b->crc = copy->crc;
	set_version(b, copy->version);
	set_length(b, copy->blocks, copy->count);
}

static int convert_to(struct kho_blocks *b, uint32_t version,
		      struct kho_error *why)
{
	uint64_t room = b->room > b->count ? b->room : b->count;
	struct kho_block_root root = { 0 };
	struct kho_blocks *copy;
	int ret = -ENOMEM;

	if (!kho_writable(b->kho))
		return kho_fail(why, -EROFS, "the arena is read-only");
	copy = blocks_alloc(b->kho, version, b->entry_size, &root);
	if (copy)
		ret = grow(copy, room);
	if (!ret) {
		append_all(copy, b);
		/* The moment: before it there is the old chain. */
		__atomic_store_n(&b->root->first.phys, root.first.phys,
				 __ATOMIC_RELEASE);
		swap_blocks(b, copy);
		drop_pages(copy, 0);
	}
	blocks_free(copy);
	return ret ? kho_fail(why, ret,
			      "no room to copy the %llu entries of the chain at 0x%llx: %s",
			      (unsigned long long)b->count, which(b),
			      strerror(-ret)) :
		     0;
}

static int convert_chain(struct instance *instance, uint32_t version,
			 struct kho_error *why)
{
	struct kho_blocks *b = to_chain(instance);
	int ret = can_write_chain(instance, version, why);

	if (ret)
		return ret;
	pthread_mutex_lock(&b->lock);
	ret = version == b->version ? 0 : convert_to(b, version, why);
	pthread_mutex_unlock(&b->lock);
	return ret;
}

static int convert(struct kho *kho, uint32_t version, void *arg,
		   struct kho_error *why)
{
	(void)arg;
	return instances_each(kho, &block_component, convert_chain, version,
			      why);
}
