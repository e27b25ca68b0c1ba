// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Pages: a buddy allocator over the arena, and their preservation.
 *
 * The allocator's state is volatile and lives on the heap: what is neither
 * preserved nor a node of the tracker is free, so it can always be rebuilt
 * from the tracker.
 *
 * Memory comes and goes in chunks of 2 MiB. A chunk that has a page in use is
 * backed by fallocate(), so that no access can fail later; of the idle ones a
 * few keep their memory for the next allocation, the others are holes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <kho/abi/kexec_handover.h>
#include <kho/pages.h>
#include <kho/tracker.h>

#include "arena/private.h"
#include "arena/radix/radix.h"

KHO_COMPONENT(kho, .write = { KHO_VERSION, KHO_VERSION },
	      .read = { KHO_VERSION, KHO_VERSION }, .deps = { "radix" });

/*
 * struct page - what is known of a page, as in Linux, by page frame number
 * @next: in the list of free blocks of its order; 0 at the end
 * @prev: the same; 0 at the head
 * @order: of the block that starts here
 * @flags: PG_*; only the first page of a block has any
 */
struct page {
	uint32_t next;
	uint32_t prev;
	uint8_t order;
	uint8_t flags;
};

_Static_assert(KHO_ARENA_SIZE_MAX >> KHO_ARENA_PAGE_SHIFT_4K <= 1ull << 32,
	       "a page frame number has 32 bits");

/* The page allocator's own state: volatile, rebuilt from the tracker. */
struct pages {
	pthread_mutex_t lock;
	struct page *pages;
	size_t pages_bytes;
	uint64_t *backed; /* chunks that have memory */
	uint64_t *idle; /* chunks with no page in use */
	uint32_t free_head[32];
	uint32_t lazy[16]; /* idle chunks that still have memory, a ring */
	unsigned int lazy_next;
	uint64_t nr_free, nr_preserved, nr_unclaimed, nr_nodes;
	struct kho_radix tracker;
};

#define PG_FREE 0x01 /* head of a free block */
#define PG_HEAD 0x02 /* head of a block in use */
#define PG_RANGE 0x04 /* one page of kho_alloc_pages() */
#define PG_PRESERVED 0x08
#define PG_UNCLAIMED 0x10 /* came with the handover, not restored */
#define PG_NODE 0x20 /* of the tracker */

#define LAZY_CHUNKS (sizeof(((struct pages *)NULL)->lazy) / 4)

static unsigned int max_order(const struct kho *kho)
{
	return KHO_MAX_FOLIO_SHIFT - kho->page_shift;
}

static unsigned int chunk_order(const struct kho *kho)
{
	return CHUNK_SHIFT - kho->page_shift;
}

static bool test_bit(const uint64_t *map, uint64_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static void set_bit(uint64_t *map, uint64_t i)
{
	map[i / 64] |= 1ull << (i % 64);
}

static void clear_bit(uint64_t *map, uint64_t i)
{
	map[i / 64] &= ~(1ull << (i % 64));
}

static void *pfn_ptr(const struct kho *kho, uint64_t pfn)
{
	return kho->base + (pfn << kho->page_shift);
}

/* Largest block that starts at @pfn, naturally aligned, within @nr pages. */
static unsigned int block_order(const struct kho *kho, uint64_t pfn,
				uint64_t nr)
{
	unsigned int order = 63 - (unsigned int)__builtin_clzll(nr);

	if (pfn && (unsigned int)__builtin_ctzll(pfn) < order)
		order = (unsigned int)__builtin_ctzll(pfn);
	return order < max_order(kho) ? order : max_order(kho);
}

static void list_add(struct pages *a, uint64_t pfn, unsigned int order)
{
	struct page *page = &a->pages[pfn];

	page->order = (uint8_t)order;
	page->flags = PG_FREE;
	page->prev = 0;
	page->next = a->free_head[order];
	if (page->next)
		a->pages[page->next].prev = (uint32_t)pfn;
	a->free_head[order] = (uint32_t)pfn;
	a->nr_free += 1ull << order;
}

static void list_del(struct pages *a, uint64_t pfn)
{
	struct page *page = &a->pages[pfn];

	if (page->prev)
		a->pages[page->prev].next = page->next;
	else
		a->free_head[page->order] = page->next;
	if (page->next)
		a->pages[page->next].prev = page->prev;
	page->flags = 0;
	a->nr_free -= 1ull << page->order;
}

static int punch(struct kho *kho, uint64_t chunk, uint64_t nr)
{
	return fallocate(kho->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)(chunk << CHUNK_SHIFT),
			 (off_t)(nr << CHUNK_SHIFT));
}

/*
 * A chunk has no page in use any more. It keeps its memory until enough others
 * got idle after it: whoever frees a page often wants one again.
 */
static void chunk_idle(struct kho *kho, uint64_t chunk)
{
	struct pages *a = kho->pages;
	uint64_t oldest = a->lazy[a->lazy_next];

	set_bit(a->idle, chunk);
	a->lazy[a->lazy_next] = (uint32_t)chunk;
	a->lazy_next = (a->lazy_next + 1) % LAZY_CHUNKS;
	/* Chunk 0 has the superblock and is never idle: 0 is "none". */
	if (oldest && oldest != chunk && test_bit(a->idle, oldest) &&
	    test_bit(a->backed, oldest) && punch(kho, oldest, 1) == 0)
		clear_bit(a->backed, oldest);
}

/* What was given to idle chunks, though there is not enough for all of them. */
static void unback(struct kho *kho, uint64_t first, uint64_t end)
{
	struct pages *a = kho->pages;

	for (uint64_t chunk = first; chunk < end; chunk++)
		if (test_bit(a->idle, chunk) && test_bit(a->backed, chunk) &&
		    punch(kho, chunk, 1) == 0)
			clear_bit(a->backed, chunk);
}

/* Give the block memory: all of it, or none. */
static int back_block(struct kho *kho, uint64_t pfn, unsigned int order)
{
	struct pages *a = kho->pages;
	uint64_t first = pfn >> chunk_order(kho);
	uint64_t last = (pfn + (1ull << order) - 1) >> chunk_order(kho);

	for (uint64_t chunk = first; chunk <= last; chunk++) {
		int ret;

		/* Within the file: no SIGXFSZ. */
		if (test_bit(a->backed, chunk))
			continue;
		do {
			ret = fallocate(kho->fd, FALLOC_FL_KEEP_SIZE,
					(off_t)(chunk << CHUNK_SHIFT),
					CHUNK_SIZE);
		} while (ret < 0 && errno == EINTR);
		if (ret < 0) {
			ret = -errno;
			unback(kho, first, chunk);
			return ret;
		}
		set_bit(a->backed, chunk);
	}
	for (uint64_t chunk = first; chunk <= last; chunk++)
		clear_bit(a->idle, chunk);
	return 0;
}

/* Put a block back, joined with its free buddies. */
static void free_block(struct kho *kho, uint64_t pfn, unsigned int order)
{
	struct pages *a = kho->pages;
	uint64_t pages = kho_size(kho) >> kho->page_shift;
	uint64_t head = pfn;
	unsigned int o = order;

	a->pages[pfn].flags = 0;
	while (o < max_order(kho)) {
		uint64_t buddy = head ^ 1ull << o;

		if (buddy + (1ull << o) > pages ||
		    a->pages[buddy].flags != PG_FREE ||
		    a->pages[buddy].order != o)
			break;
		list_del(a, buddy);
		head &= ~(1ull << o);
		o++;
	}
	list_add(a, head, o);
	if (o < chunk_order(kho))
		return;
	for (uint64_t chunk = pfn >> chunk_order(kho);
	     chunk <= (pfn + (1ull << order) - 1) >> chunk_order(kho); chunk++)
		if (!test_bit(a->idle, chunk))
			chunk_idle(kho, chunk);
}

static void free_range(struct kho *kho, uint64_t pfn, uint64_t nr)
{
	while (nr) {
		unsigned int order = block_order(kho, pfn, nr);

		free_block(kho, pfn, order);
		pfn += 1ull << order;
		nr -= 1ull << order;
	}
}

/* Grow the file so that a block of @order fits. */
static int grow(struct kho *kho, unsigned int order)
{
	uint64_t block = 1ull << (order + kho->page_shift);
	uint64_t old = kho_size(kho), size, step = old / 8;
	int err;

	if (block < CHUNK_SIZE)
		block = CHUNK_SIZE;
	size = ((old + block - 1) & ~(block - 1)) + block;
	if (size > kho->max)
		return -ENOSPC;
	/* Not too often, and not much more than is used. */
	step = (step < 32 * CHUNK_SIZE ? step : 32 * CHUNK_SIZE) &
	       ~(CHUNK_SIZE - 1);
	if (size < old + step)
		size = old + step < kho->max ? old + step : kho->max;
	err = arena_resize(kho, size);
	if (err)
		return err;
	for (uint64_t i = old >> CHUNK_SHIFT; i < size >> CHUNK_SHIFT; i++)
		set_bit(kho->pages->idle, i);
	free_range(kho, old >> kho->page_shift,
		   (size - old) >> kho->page_shift);
	return 0;
}

/* A block of memory, or 0 and an error. Called with the lock held. */
static uint64_t alloc_block(struct kho *kho, unsigned int order, int *err)
{
	struct pages *a = kho->pages;
	unsigned int o;
	uint64_t pfn;

	for (;;) {
		for (o = order; o <= max_order(kho) && !a->free_head[o]; o++)
			;
		if (o <= max_order(kho))
			break;
		*err = grow(kho, order);
		if (*err)
			return 0;
	}
	pfn = a->free_head[o];
	list_del(a, pfn);
	while (o > order) {
		o--;
		list_add(a, pfn + (1ull << o), o);
	}
	*err = back_block(kho, pfn, order);
	if (*err) {
		free_block(kho, pfn, order);
		return 0;
	}
	a->pages[pfn].order = (uint8_t)order;
	a->pages[pfn].flags = PG_HEAD;
	return pfn;
}

/* The tracker's own pages: called with the lock held, by the radix tree. */
static void *node_alloc(void *ctx, uint64_t *phys)
{
	struct kho *kho = ctx;
	uint64_t pfn;
	int err;

	pfn = alloc_block(kho, 0, &err);
	if (!pfn) {
		errno = -err;
		return NULL;
	}
	kho->pages->pages[pfn].flags |= PG_NODE;
	kho->pages->nr_nodes++;
	*phys = pfn << kho->page_shift;
	return memset(pfn_ptr(kho, pfn), 0, 1ul << kho->page_shift);
}

static void node_free(void *ctx, uint64_t phys)
{
	struct kho *kho = ctx;

	kho->pages->nr_nodes--;
	free_block(kho, phys >> kho->page_shift, 0);
}

static const struct radix_ops node_ops = {
	.alloc = node_alloc,
	.free = node_free,
};

static int tracker_add(struct kho *kho, uint64_t pfn, unsigned int order)
{
	int err = kho_radix_add(&kho->pages->tracker,
				kho_tracker_key(kho->page_shift,
						pfn << kho->page_shift, order));

	if (!err)
		kho->pages->nr_preserved += 1ull << order;
	return err;
}

static int tracker_del(struct kho *kho, uint64_t pfn, unsigned int order)
{
	int err = kho_radix_del(&kho->pages->tracker,
				kho_tracker_key(kho->page_shift,
						pfn << kho->page_shift, order));

	if (!err)
		kho->pages->nr_preserved -= 1ull << order;
	return err;
}

static bool tracker_test(const struct kho *kho, uint64_t pfn,
			 unsigned int order)
{
	return kho_radix_test(&kho->pages->tracker,
			      kho_tracker_key(kho->page_shift,
					      pfn << kho->page_shift, order));
}

/* Heap state for an arena that is mapped; nothing is free yet. */
int pages_init(struct kho *kho, struct kho_error *err)
{
	struct pages *a = calloc(1, sizeof(*a));
	uint64_t chunks = kho->max >> CHUNK_SHIFT;

	if (!a)
		return kho_fail(err, -ENOMEM, "arena: out of memory");
	kho->pages = a;
	pthread_mutex_init(&a->lock, NULL);
	/* Only what is touched costs memory. */
	a->pages_bytes = (kho->max >> kho->page_shift) * sizeof(struct page);
	a->pages = mmap(NULL, a->pages_bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (a->pages == MAP_FAILED) {
		a->pages = NULL;
		return kho_fail(err, -ENOMEM,
				"arena: no memory for the page allocator; a smaller max_size may help");
	}
	a->backed = calloc(chunks / 64 + 1, 8);
	a->idle = calloc(chunks / 64 + 1, 8);
	if (!a->backed || !a->idle)
		return kho_fail(err, -ENOMEM, "arena: out of memory");
	a->tracker = (struct kho_radix){
		.ops = &node_ops,
		.ctx = kho,
		.base = kho->base,
		.page_shift = kho->page_shift,
		.key_bits = KHO_TRACKER_KEY_BITS(kho->page_shift),
		.top = KHO_RADIX_LEVELS(KHO_TRACKER_KEY_BITS(kho->page_shift),
					kho->page_shift) -
		       1,
	};
	a->pages[0].flags = PG_HEAD | PG_NODE;
	set_bit(a->backed, 0);
	if (kho->cold) {
		int ret;

		free_range(kho, 1, (kho_size(kho) >> kho->page_shift) - 1);
		ret = radix_create(&a->tracker);
		if (ret)
			return kho_fail(err, ret,
					"arena: no page for the tracker: %s",
					strerror(-ret));
	}
	return 0;
}

void pages_exit(struct kho *kho)
{
	struct pages *a = kho->pages;

	if (!a)
		return;
	if (a->pages)
		munmap(a->pages, a->pages_bytes);
	free(a->backed);
	free(a->idle);
	free(a);
}

uint64_t pages_tracker(const struct kho *kho)
{
	return kho->pages->tracker.root;
}

static int live_read(const struct kho_mem *mem, uint64_t phys, void *buf,
		     size_t len)
{
	const struct kho *kho = ((const struct kho_mem_live *)mem)->kho;
	uint64_t size = kho_size(kho);

	if (phys > size || len > size - phys)
		return -EFAULT;
	memcpy(buf, kho->base + phys, len);
	return 0;
}

/* The arena's own memory, for decoders. */
struct kho_mem_live mem_live(const struct kho *kho)
{
	return (struct kho_mem_live){
		.mem = { .read = live_read, .page_shift = kho->page_shift },
		.kho = kho,
	};
}

/* Rebuilding: which pages are in use, and whether the tracker makes sense. */
struct rebuild {
	struct kho *kho;
	uint64_t *used;
	uint64_t pages;
	struct kho_error *err;
};

static int rebuild_mark(struct rebuild *r, uint64_t phys, unsigned int order,
			const char *what)
{
	struct pages *a = r->kho->pages;
	uint64_t pfn = phys >> r->kho->page_shift;
	uint64_t end;

	if (order > max_order(r->kho) || pfn >= r->pages ||
	    (end = pfn + (1ull << order)) > r->pages)
		return kho_fail(r->err, -EBADMSG,
				"arena: damaged: %s of order %u at %#llx is outside the arena",
				what, order, (unsigned long long)phys);
	for (uint64_t i = pfn; i < end; i++) {
		if (test_bit(r->used, i))
			return kho_fail(r->err, -EBADMSG,
					"arena: damaged: page %#llx of the %s at %#llx is in use twice",
					(unsigned long long)i
						<< r->kho->page_shift,
					what, (unsigned long long)phys);
		set_bit(r->used, i);
	}
	for (uint64_t i = pfn >> chunk_order(r->kho);
	     i <= (end - 1) >> chunk_order(r->kho); i++)
		set_bit(a->backed, i);
	a->pages[pfn].order = (uint8_t)order;
	return 0;
}

static int rebuild_folio(uint64_t phys, unsigned int order, void *arg)
{
	struct rebuild *r = arg;
	struct pages *a = r->kho->pages;
	int err = rebuild_mark(r, phys, order, "preserved folio");

	if (err)
		return err;
	a->pages[phys >> r->kho->page_shift].flags = PG_HEAD | PG_PRESERVED |
						     PG_UNCLAIMED;
	a->nr_preserved += 1ull << order;
	a->nr_unclaimed += 1ull << order;
	return 0;
}

static int rebuild_node(uint64_t phys, void *arg)
{
	struct rebuild *r = arg;
	struct pages *a = r->kho->pages;
	int err = rebuild_mark(r, phys, 0, "tracker node");

	if (err)
		return err;
	a->pages[phys >> r->kho->page_shift].flags = PG_HEAD | PG_NODE;
	a->nr_nodes++;
	return 0;
}

int pages_rebuild(struct kho *kho, uint64_t tracker, struct kho_error *err)
{
	struct pages *a = kho->pages;
	struct kho_mem_live live = mem_live(kho);
	struct rebuild r = {
		.kho = kho,
		.pages = kho_size(kho) >> kho->page_shift,
		.err = err,
	};
	const struct kho_tracker_walk walk = { rebuild_folio, rebuild_node,
					       &r };
	int ret;

	if (!tracker)
		return kho_fail(err, -EBADMSG,
				"arena: damaged: its root has no tracker");
	r.used = calloc(r.pages / 64 + 1, 8);
	if (!r.used)
		return kho_fail(err, -ENOMEM, "arena: out of memory");
	set_bit(r.used, 0);
	ret = kho_tracker_walk(&live.mem, tracker, &walk, err);
	if (ret)
		goto out;
	a->tracker.root = tracker;

	for (uint64_t i = 0; i < kho_size(kho) >> CHUNK_SHIFT; i++)
		if (!test_bit(a->backed, i))
			set_bit(a->idle, i);
	for (uint64_t pfn = 0, end; pfn < r.pages; pfn = end) {
		bool used = test_bit(r.used, pfn);

		for (end = pfn + 1; end < r.pages; end++) {
			if (end % 64 == 0 &&
			    r.used[end / 64] == (used ? ~0ull : 0)) {
				end += 63;
				continue;
			}
			if (test_bit(r.used, end) != used)
				break;
		}
		if (end > r.pages)
			end = r.pages;
		if (!used)
			free_range(kho, pfn, end - pfn);
	}
out:
	free(r.used);
	return ret;
}

/* Make holes of all idle chunks: a program that crashed left its memory. */
void pages_trim(struct kho *kho)
{
	struct pages *a = kho->pages;
	uint64_t chunks = kho_size(kho) >> CHUNK_SHIFT, end;

	pthread_mutex_lock(&a->lock);
	for (uint64_t i = 0; i < chunks; i = end + 1) {
		for (end = i; end < chunks && test_bit(a->idle, end); end++)
			clear_bit(a->backed, end);
		/* Without the hole they merely cost memory for longer. */
		if (end > i)
			punch(kho, i, end - i);
	}
	pthread_mutex_unlock(&a->lock);
}

unsigned int kho_page_shift(const struct kho *kho)
{
	return kho->page_shift;
}

uint64_t kho_phys(const struct kho *kho, const void *ptr)
{
	uintptr_t base = (uintptr_t)kho->base, p = (uintptr_t)ptr;

	return p >= base && p - base < kho_size(kho) ? p - base : 0;
}

void *kho_ptr(const struct kho *kho, uint64_t phys, size_t size)
{
	uint64_t end = kho_size(kho);

	if (!phys || phys > end || size > end - phys)
		return NULL;
	return kho->base + phys;
}

/* Page frame number of the page that starts at @ptr, 0 when there is none. */
static uint64_t ptr_pfn(const struct kho *kho, const void *ptr)
{
	uint64_t phys = kho_phys(kho, ptr);

	return phys & ((1ull << kho->page_shift) - 1) ? 0 :
							phys >> kho->page_shift;
}

static void *alloc_failed(int err)
{
	errno = -err;
	return NULL;
}

void *kho_alloc_folio(struct kho *kho, unsigned int order)
{
	uint64_t pfn;
	int err;

	if (!kho_writable(kho))
		return alloc_failed(-EROFS);
	if (order > max_order(kho))
		return alloc_failed(-EINVAL);
	pthread_mutex_lock(&kho->pages->lock);
	pfn = alloc_block(kho, order, &err);
	pthread_mutex_unlock(&kho->pages->lock);
	return pfn ? pfn_ptr(kho, pfn) : alloc_failed(err);
}

void *kho_alloc_pages(struct kho *kho, size_t nr)
{
	struct pages *a = kho->pages;
	unsigned int order = 0;
	uint64_t pfn;
	int err;

	if (!kho_writable(kho))
		return alloc_failed(-EROFS);
	if (nr == 0 || nr > 1ull << max_order(kho))
		return alloc_failed(-EINVAL);
	while (1ull << order < nr)
		order++;
	pthread_mutex_lock(&a->lock);
	pfn = alloc_block(kho, order, &err);
	if (pfn) {
		for (uint64_t i = pfn; i < pfn + nr; i++) {
			a->pages[i].order = 0;
			a->pages[i].flags = PG_HEAD | PG_RANGE;
		}
		free_range(kho, pfn + nr, (1ull << order) - nr);
	}
	pthread_mutex_unlock(&a->lock);
	return pfn ? pfn_ptr(kho, pfn) : alloc_failed(err);
}

/* The folio that starts at @pfn has these flags and no others. */
static bool is_folio(const struct kho *kho, uint64_t pfn, unsigned int flags)
{
	return pfn && kho->pages->pages[pfn].flags == (PG_HEAD | flags);
}

/* All pages are of a range and have these flags and no others. */
static bool is_range(const struct kho *kho, uint64_t pfn, uint64_t nr,
		     unsigned int flags)
{
	uint64_t pages = kho_size(kho) >> kho->page_shift;

	if (!pfn || nr == 0 || pfn >= pages || nr > pages - pfn)
		return false;
	for (uint64_t i = pfn; i < pfn + nr; i++)
		if (kho->pages->pages[i].flags != (PG_HEAD | PG_RANGE | flags))
			return false;
	return true;
}

int kho_free_folio(struct kho *kho, void *folio)
{
	struct pages *a = kho->pages;
	uint64_t pfn = ptr_pfn(kho, folio);
	int err = 0;

	if (!folio)
		return 0;
	if (!kho_writable(kho))
		return -EROFS;
	pthread_mutex_lock(&a->lock);
	if (is_folio(kho, pfn, 0))
		free_block(kho, pfn, a->pages[pfn].order);
	else
		err = is_folio(kho, pfn, PG_PRESERVED) ? -EBUSY : -EINVAL;
	pthread_mutex_unlock(&a->lock);
	return err;
}

int kho_free_pages(struct kho *kho, void *pages, size_t nr)
{
	uint64_t pfn = ptr_pfn(kho, pages);
	int err = 0;

	if (!pages)
		return 0;
	if (!kho_writable(kho))
		return -EROFS;
	pthread_mutex_lock(&kho->pages->lock);
	if (is_range(kho, pfn, nr, 0)) {
		for (uint64_t i = pfn; i < pfn + nr; i++)
			kho->pages->pages[i].flags = 0;
		free_range(kho, pfn, nr);
	} else {
		err = is_range(kho, pfn, nr, PG_PRESERVED) ? -EBUSY : -EINVAL;
	}
	pthread_mutex_unlock(&kho->pages->lock);
	return err;
}

int kho_preserve_folio(struct kho *kho, void *folio)
{
	struct pages *a = kho->pages;
	uint64_t pfn = ptr_pfn(kho, folio);
	int err;

	if (!kho_writable(kho))
		return -EROFS;
	pthread_mutex_lock(&a->lock);
	if (is_folio(kho, pfn, 0)) {
		err = tracker_add(kho, pfn, a->pages[pfn].order);
		if (!err)
			a->pages[pfn].flags |= PG_PRESERVED;
	} else {
		err = is_folio(kho, pfn, PG_PRESERVED) ? -EEXIST : -EINVAL;
	}
	pthread_mutex_unlock(&a->lock);
	return err;
}

static int unpreserve_folio(struct kho *kho, uint64_t pfn)
{
	struct page *page = &kho->pages->pages[pfn];
	int err;

	if (!is_folio(kho, pfn, PG_PRESERVED))
		return is_folio(kho, pfn, 0) ? -ENOENT : -EINVAL;
	err = tracker_del(kho, pfn, page->order);
	if (!err)
		page->flags &= (uint8_t)~PG_PRESERVED;
	return err;
}

int kho_unpreserve_folio(struct kho *kho, void *folio)
{
	int err;

	if (!kho_writable(kho))
		return -EROFS;
	pthread_mutex_lock(&kho->pages->lock);
	err = unpreserve_folio(kho, ptr_pfn(kho, folio));
	pthread_mutex_unlock(&kho->pages->lock);
	return err;
}

static void range_set_flags(struct kho *kho, uint64_t pfn, uint64_t nr,
			    unsigned int flags)
{
	for (uint64_t i = pfn; i < pfn + nr; i++) {
		kho->pages->pages[i].order = 0;
		kho->pages->pages[i].flags =
			(uint8_t)(PG_HEAD | PG_RANGE | flags);
	}
}

int kho_preserve_pages(struct kho *kho, void *pages, size_t nr)
{
	uint64_t first = ptr_pfn(kho, pages), pfn = first, end = first + nr;
	int err = 0;

	if (!kho_writable(kho))
		return -EROFS;
	pthread_mutex_lock(&kho->pages->lock);
	if (!is_range(kho, first, nr, 0)) {
		err = is_range(kho, first, nr, PG_PRESERVED) ? -EEXIST :
							       -EINVAL;
		goto out;
	}
	while (pfn < end) {
		unsigned int order = block_order(kho, pfn, end - pfn);

		err = tracker_add(kho, pfn, order);
		if (err)
			break;
		pfn += 1ull << order;
	}
	if (!err) {
		range_set_flags(kho, first, nr, PG_PRESERVED);
		goto out;
	}
	for (uint64_t undo = first; undo < pfn;) {
		unsigned int order = block_order(kho, undo, end - undo);

		tracker_del(kho, undo, order);
		undo += 1ull << order;
	}
out:
	pthread_mutex_unlock(&kho->pages->lock);
	return err;
}

int kho_unpreserve_pages(struct kho *kho, void *pages, size_t nr)
{
	uint64_t first = ptr_pfn(kho, pages), end = first + nr, pfn;
	unsigned int order;
	int err = 0;

	if (!kho_writable(kho))
		return -EROFS;
	pthread_mutex_lock(&kho->pages->lock);
	if (!is_range(kho, first, nr, PG_PRESERVED)) {
		err = is_range(kho, first, nr, 0) ? -ENOENT : -EINVAL;
		goto out;
	}
	/* The blocks must be those that preserve made of the same arguments. */
	for (pfn = first; pfn < end; pfn += 1ull << order) {
		order = block_order(kho, pfn, end - pfn);
		if (!tracker_test(kho, pfn, order)) {
			err = -ENOENT;
			goto out;
		}
	}
	for (pfn = first; pfn < end; pfn += 1ull << order) {
		order = block_order(kho, pfn, end - pfn);
		tracker_del(kho, pfn, order);
	}
	range_set_flags(kho, first, nr, 0);
out:
	pthread_mutex_unlock(&kho->pages->lock);
	return err;
}

void *kho_alloc_preserve(struct kho *kho, size_t size)
{
	unsigned int order = 0;
	void *folio;
	int err;

	if (size == 0 || size > 1ull << KHO_MAX_FOLIO_SHIFT)
		return alloc_failed(-EINVAL);
	while (1ull << (order + kho->page_shift) < size)
		order++;
	folio = kho_alloc_folio(kho, order);
	if (!folio)
		return NULL;
	memset(folio, 0, 1ul << (order + kho->page_shift));
	err = kho_preserve_folio(kho, folio);
	if (err) {
		kho_free_folio(kho, folio);
		return alloc_failed(err);
	}
	return folio;
}

int kho_unpreserve_free(struct kho *kho, void *folio)
{
	uint64_t pfn = ptr_pfn(kho, folio);
	int err;

	if (!folio)
		return 0;
	if (!kho_writable(kho))
		return -EROFS;
	pthread_mutex_lock(&kho->pages->lock);
	err = unpreserve_folio(kho, pfn);
	if (!err)
		free_block(kho, pfn, kho->pages->pages[pfn].order);
	pthread_mutex_unlock(&kho->pages->lock);
	return err;
}

void *kho_restore_folio(struct kho *kho, uint64_t phys)
{
	struct pages *a = kho->pages;
	uint64_t pfn = ptr_pfn(kho, kho_ptr(kho, phys, 1));
	int err = 0;

	pthread_mutex_lock(&a->lock);
	if (is_folio(kho, pfn, PG_PRESERVED | PG_UNCLAIMED)) {
		a->pages[pfn].flags &= (uint8_t)~PG_UNCLAIMED;
		a->nr_unclaimed -= 1ull << a->pages[pfn].order;
	} else {
		err = is_folio(kho, pfn, PG_PRESERVED) ? -EBUSY : -ENOENT;
	}
	pthread_mutex_unlock(&a->lock);
	return err ? alloc_failed(err) : pfn_ptr(kho, pfn);
}

void *kho_restore_pages(struct kho *kho, uint64_t phys, size_t nr)
{
	struct pages *a = kho->pages;
	uint64_t first = ptr_pfn(kho, kho_ptr(kho, phys, 1)), pfn, end;
	unsigned int order;
	int err = 0;

	if (!first || nr == 0 ||
	    nr > (kho_size(kho) >> kho->page_shift) - first)
		return alloc_failed(-ENOENT);
	end = first + nr;
	pthread_mutex_lock(&a->lock);
	for (pfn = first; pfn < end; pfn += 1ull << order) {
		order = block_order(kho, pfn, end - pfn);
		if (is_folio(kho, pfn, PG_PRESERVED | PG_UNCLAIMED) &&
		    a->pages[pfn].order == order)
			continue;
		err = is_range(kho, first, nr, PG_PRESERVED) ? -EBUSY : -ENOENT;
		goto out;
	}
	range_set_flags(kho, first, nr, PG_PRESERVED);
	a->nr_unclaimed -= nr;
out:
	pthread_mutex_unlock(&a->lock);
	return err ? alloc_failed(err) : pfn_ptr(kho, first);
}

size_t kho_folio_size(const struct kho *kho, const void *folio)
{
	struct pages *a = kho->pages;
	uint64_t pfn = ptr_pfn(kho, folio);
	size_t size = 0;

	pthread_mutex_lock(&a->lock);
	if (is_folio(kho, pfn, 0) || is_folio(kho, pfn, PG_PRESERVED) ||
	    is_folio(kho, pfn, PG_PRESERVED | PG_UNCLAIMED))
		size = 1ul << (a->pages[pfn].order + kho->page_shift);
	pthread_mutex_unlock(&a->lock);
	return size;
}

static int claim_fail(const struct reader *r, int code, uint64_t phys)
{
	return reader_fail(r, code, phys, "cannot be claimed: %s",
			   code == -ENOENT ? "no preserved folio" :
					     "was claimed before");
}

int pages_claim_folio(struct kho *kho, const struct reader *r, uint64_t phys,
		      size_t size, void **folio)
{
	*folio = kho_restore_folio(kho, phys);
	if (!*folio)
		return claim_fail(r, -errno, phys);
	if (kho_folio_size(kho, *folio) != size)
		return reader_fail(r, -EBADMSG, phys,
				   "the folio has %zu bytes instead of %zu",
				   kho_folio_size(kho, *folio), size);
	return 0;
}

int pages_claim(struct kho *kho, const struct reader *r, uint64_t phys,
		size_t n)
{
	return kho_restore_pages(kho, phys, n) ? 0 :
						 claim_fail(r, -errno, phys);
}

uint64_t pages_free_unclaimed(struct kho *kho)
{
	struct pages *a = kho->pages;
	uint64_t pages, freed = 0;

	pthread_mutex_lock(&a->lock);
	pages = kho_size(kho) >> kho->page_shift;
	for (uint64_t pfn = 1, next; pfn < pages && a->nr_unclaimed;
	     pfn = next) {
		uint8_t flags = a->pages[pfn].flags;
		unsigned int order = a->pages[pfn].order;

		next = pfn + (flags & (PG_HEAD | PG_FREE) ? 1ull << order : 1);
		if (!(flags & PG_UNCLAIMED) || tracker_del(kho, pfn, order))
			continue;
		a->nr_unclaimed -= 1ull << order;
		freed += 1ull << order;
		free_block(kho, pfn, order);
	}
	pthread_mutex_unlock(&a->lock);
	return freed;
}

/* Is every byte of a blob in preserved pages? */
bool pages_are_preserved(struct kho *kho, uint64_t phys, uint64_t size)
{
	struct pages *a = kho->pages;
	uint64_t pfn, end;
	bool all;

	if (size == 0 || !kho_ptr(kho, phys, size))
		return false;
	pfn = phys >> kho->page_shift;
	end = (phys + size - 1) >> kho->page_shift;
	pthread_mutex_lock(&a->lock);
	/* The block that has the first page may start before it. */
	for (unsigned int o = 0; o <= max_order(kho); o++) {
		uint64_t head = pfn & ~((1ull << o) - 1);

		if (a->pages[head].flags & PG_HEAD) {
			if (head + (1ull << a->pages[head].order) > pfn)
				pfn = head;
			break;
		}
	}
	while (pfn <= end && a->pages[pfn].flags & PG_PRESERVED)
		pfn += 1ull << a->pages[pfn].order;
	all = pfn > end;
	pthread_mutex_unlock(&a->lock);
	return all;
}

void kho_pages_info(struct kho *kho, struct kho_pages_info *info)
{
	struct pages *a = kho->pages;

	pthread_mutex_lock(&a->lock);
	info->total = kho_size(kho) >> kho->page_shift;
	info->free = a->nr_free;
	info->nodes = a->nr_nodes;
	/* Page 0 is the superblock: neither free nor allocated. */
	info->allocated = info->total - 1 - info->free - info->nodes;
	info->preserved = a->nr_preserved;
	info->unclaimed = a->nr_unclaimed;
	info->max = kho->max >> kho->page_shift;
	pthread_mutex_unlock(&a->lock);
}
