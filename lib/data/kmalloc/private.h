/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * What the files of kmalloc share: small helpers for the format, the reader,
 * and the volatile side of a cache.
 *
 * What must survive is in the arena, in the format of abi/kmalloc.h, and is
 * changed by single stores in an order that leaves a valid cache at every
 * moment. What only makes it fast is volatile, in the heap, and is rebuilt by
 * kho_kmem_restore(): for each slab a struct slab, found through a table
 * indexed by phys; for each size class the slabs that have free objects.
 *
 * Locks: a class's lock covers its slabs, their maps and their place in the
 * table; inside it kmem->lock covers the chain. Lookups go through the table
 * without a lock, which is why a struct slab is reused but not freed before
 * the cache is closed.
 */
#ifndef KHO_KMALLOC_PRIVATE_H
#define KHO_KMALLOC_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <kho/abi/kmalloc.h>
#include <kho/kmalloc.h>

#include "arena/arena.h"
#include "base/crc32c.h"
#include "base/reader.h"

#pragma GCC visibility push(hidden)

/* The low bits of a link. */
#define LINK_CHECK_MASK 0xffffull

static inline uint64_t link_make(uint64_t phys)
{
	return phys | ((phys >> 16 ^ phys >> 32 ^ phys >> 48 ^
			KHO_KMALLOC_LINK_CHECK) &
		       LINK_CHECK_MASK);
}

static inline uint64_t *slab_map(struct kho_kmalloc_slab *hdr)
{
	return (uint64_t *)(hdr + 1);
}

static inline uint32_t map_words(uint32_t objects)
{
	return (objects + KHO_KMALLOC_MAP_OBJECTS - 1) /
	       KHO_KMALLOC_MAP_OBJECTS;
}

/* One bit for each object that the map's word describes. */
static inline uint32_t map_valid(uint32_t objects, uint32_t word)
{
	uint32_t n = objects - word * KHO_KMALLOC_MAP_OBJECTS;

	return n >= KHO_KMALLOC_MAP_OBJECTS ? UINT32_MAX : (1u << n) - 1;
}

static inline uint32_t map_allocated(uint64_t word)
{
	return (uint32_t)word;
}

static inline uint32_t map_free(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static inline uint32_t size_align(uint32_t size)
{
	return size & -size;
}

/* Offset of the first object in a slab of so many objects. */
static inline uint64_t slab_first(uint32_t size, uint32_t objects)
{
	uint64_t align = size_align(size);

	return (sizeof(struct kho_kmalloc_slab) +
		map_words(objects) * sizeof(uint64_t) + align - 1) &
	       -align;
}

static inline uint32_t head_crc(const struct kho_kmalloc_head *head)
{
	return crc32c(head, offsetof(struct kho_kmalloc_head, crc));
}

static inline uint32_t slab_crc(const struct kho_kmalloc_slab *hdr)
{
	return crc32c(hdr, offsetof(struct kho_kmalloc_slab, crc));
}

/* Words of the largest map, that of the smallest objects. */
static inline size_t max_map_words(unsigned int slab_shift)
{
	return ((size_t)1 << slab_shift) / KHO_KMALLOC_ALIGN /
	       KHO_KMALLOC_MAP_OBJECTS;
}

/*
 * struct cache_reader - a cache that is being read; every byte of it is hostile
 * @in: the memory it is in
 * @phys: of its head
 * @slab: called for each slab that was found good; may be NULL
 * @kmem: for @slab
 * @head: result
 * @stats: result
 */
struct cache_reader {
	struct reader in;
	uint64_t phys;
	int (*slab)(struct cache_reader *reader, uint64_t phys,
		    const struct kho_kmalloc_slab *hdr, const uint64_t *map);
	struct kho_kmem *kmem;
	struct kho_kmalloc_head head;
	struct kho_kmem_stats stats;
};

/* verify.c */
int read_head(struct cache_reader *r);
int read_slabs(struct cache_reader *r);

/* Up to 64 bytes, then four to each power of two, up to half of 64 KiB. */
#define CLASSES_MAX (8 + 4 * (15 - 6))

TAILQ_HEAD(slab_list, slab);

struct size_class {
	_Alignas(64) pthread_mutex_t lock;
	uint32_t size;
	uint32_t objects;
	uint32_t first;
	struct slab *empty; /* kept so that one object does not cost a slab */
	struct slab_list partial; /* slabs with free objects */
};

struct slab {
	struct size_class *class; /* atomic */
	struct kho_kmalloc_slab *hdr;
	uint32_t size;
	uint32_t objects;
	uint32_t first;
	uint32_t free;
	TAILQ_ENTRY(slab) chain;
	TAILQ_ENTRY(slab) partial;
	uint64_t avail[]; /* which words of the map have a free object */
};

struct kho_kmem {
	struct kho *kho;
	struct kho_kmalloc_head *head;
	uint64_t phys;
	unsigned int slab_shift;
	size_t max_size;
	struct slab **table; /* atomic, by phys >> slab_shift */
	size_t table_len;
	size_t table_used; /* atomic, grows only */
	pthread_mutex_t lock;
	struct slab_list chain; /* in the order of the links */
	struct slab_list spare; /* for reuse */
	unsigned int n_classes;
	struct size_class classes[CLASSES_MAX];
};

/* slab.c */
unsigned int kmem_class_index(size_t size);
void kmem_init_classes(struct kho_kmem *kmem);
struct slab *slab_get(const struct kho_kmem *kmem, uint64_t phys);
struct slab *slab_lock(struct kho_kmem *kmem, uint64_t phys);
struct slab *slab_new(struct kho_kmem *kmem, struct size_class *sc);
int slab_restore(struct kho_kmem *kmem, struct kho_kmalloc_slab *folio,
		 const struct kho_kmalloc_slab *hdr, const uint64_t *map);
void slab_release(struct kho_kmem *kmem, struct slab *slab);
unsigned int kmem_shrink(struct kho_kmem *kmem);

#pragma GCC visibility pop

#endif
