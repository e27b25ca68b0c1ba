// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Objects: allocating, freeing and walking them. */
#include <errno.h>

#include <kho/pages.h>

#include "data/kmalloc/private.h"

/* What changes in a word of the map when its object 0 comes or goes. */
#define OBJECT_BITS ((1ull << 32) | 1)

/* Take a free object of a slab that has one; its class is locked. */
static void *slab_take(struct slab *slab)
{
	struct size_class *sc = slab->class;
	uint64_t *map = slab_map(slab->hdr);
	uint32_t w = 0, i;
	uint64_t word;

	while (!slab->avail[w])
		w++;
	w = w * 64 + (uint32_t)__builtin_ctzll(slab->avail[w]);
	i = (uint32_t)__builtin_ctz(map_free(map[w]));
	word = map[w] ^ OBJECT_BITS << i;
	__atomic_store_n(&map[w], word, __ATOMIC_RELEASE);

	if (!map_free(word))
		slab->avail[w / 64] &= ~(1ull << w % 64);
	if (--slab->free == 0)
		TAILQ_REMOVE(&sc->partial, slab, partial);
	if (sc->empty == slab)
		sc->empty = NULL;
	i += w * KHO_KMALLOC_MAP_OBJECTS;
	return (char *)slab->hdr + slab->first + (size_t)i * slab->size;
}

/* Free object number @i of a slab; its class is locked. */
static void slab_give(struct kho_kmem *kmem, struct slab *slab, uint32_t i)
{
	uint64_t *map = slab_map(slab->hdr);
	uint32_t w = i / KHO_KMALLOC_MAP_OBJECTS;
	struct size_class *sc = slab->class;

	__atomic_store_n(&map[w],
			 map[w] ^ OBJECT_BITS << i % KHO_KMALLOC_MAP_OBJECTS,
			 __ATOMIC_RELEASE);
	slab->avail[w / 64] |= 1ull << w % 64;
	if (slab->free++ == 0)
		TAILQ_INSERT_HEAD(&sc->partial, slab, partial);
	if (slab->free < slab->objects)
		return;
	if (sc->empty) {
		slab_release(kmem, slab);
		return;
	}
	/* Last in the list, so that it stays empty while there are others. */
	sc->empty = slab;
	TAILQ_REMOVE(&sc->partial, slab, partial);
	TAILQ_INSERT_TAIL(&sc->partial, slab, partial);
}

/* Number of the allocated object that starts at @phys in a slab, or -1. */
static int64_t slab_find(const struct kho_kmem *kmem, const struct slab *slab,
			 uint64_t phys)
{
	uint32_t offset = (uint32_t)phys & ((1u << kmem->slab_shift) - 1);
	uint32_t i = (offset - slab->first) / slab->size;
	uint64_t word;

	if (offset < slab->first || i >= slab->objects ||
	    slab->first + i * slab->size != offset)
		return -1;
	word = __atomic_load_n(&slab_map(
				       slab->hdr)[i / KHO_KMALLOC_MAP_OBJECTS],
			       __ATOMIC_RELAXED);
	if (!(map_allocated(word) >> i % KHO_KMALLOC_MAP_OBJECTS & 1))
		return -1;
	return i;
}

static void *alloc_object(struct kho_kmem *kmem, struct size_class *sc)
{
	void *object = NULL;
	struct slab *slab;

	pthread_mutex_lock(&sc->lock);
	slab = TAILQ_FIRST(&sc->partial);
	if (!slab)
		slab = slab_new(kmem, sc);
	if (slab)
		object = slab_take(slab);
	pthread_mutex_unlock(&sc->lock);
	return object;
}

void *kho_kmalloc(struct kho_kmem *kmem, size_t size)
{
	struct size_class *sc;
	void *object;

	if (!size || size > kmem->max_size) {
		errno = EINVAL;
		return NULL;
	}
	if (!kho_writable(kmem->kho)) {
		errno = EROFS;
		return NULL;
	}
	sc = &kmem->classes[kmem_class_index(size)];
	object = alloc_object(kmem, sc);
	if (!object && errno == ENOSPC && kmem_shrink(kmem))
		object = alloc_object(kmem, sc);
	return object;
}

int kho_kfree(struct kho_kmem *kmem, void *object)
{
	struct size_class *sc;
	struct slab *slab;
	uint64_t phys;
	int64_t i;

	if (!object)
		return 0;
	if (!kho_writable(kmem->kho))
		return -EROFS;
	phys = kho_phys(kmem->kho, object);
	slab = slab_lock(kmem, phys);
	if (!slab)
		return -EINVAL;
	sc = slab->class;
	i = slab_find(kmem, slab, phys);
	if (i >= 0)
		slab_give(kmem, slab, (uint32_t)i);
	pthread_mutex_unlock(&sc->lock);
	return i < 0 ? -EINVAL : 0;
}

size_t kho_ksize(const struct kho_kmem *kmem, const void *object)
{
	uint64_t phys = kho_phys(kmem->kho, object);
	struct slab *slab = slab_get(kmem, phys);

	if (!slab || slab_find(kmem, slab, phys) < 0)
		return 0;
	return slab->size;
}

/*
 * The allocated objects of word @w of the map of the slab at @index, as bits;
 * *@first is the object of bit 0. False when there is no such word.
 */
static bool walk_word(struct kho_kmem *kmem, uint64_t index, uint32_t w,
		      uint32_t *allocated, char **first, size_t *size)
{
	struct slab *slab = slab_lock(kmem, index << kmem->slab_shift);
	bool more;

	if (!slab)
		return false;
	more = w < map_words(slab->objects);
	if (more) {
		*allocated = map_allocated(slab_map(slab->hdr)[w]);
		*size = slab->size;
		*first = (char *)slab->hdr + slab->first +
			 w * KHO_KMALLOC_MAP_OBJECTS * *size;
	}
	pthread_mutex_unlock(&slab->class->lock);
	return more;
}

/* The allocated objects of the slab at @index, if there is one. */
static int walk_slab(struct kho_kmem *kmem, uint64_t index,
		     int (*object)(void *object, size_t size, void *arg),
		     void *arg)
{
	uint32_t w, bits;
	size_t size, i;
	char *first;
	int ret;

	for (w = 0; walk_word(kmem, index, w, &bits, &first, &size); w++) {
		for (; bits; bits &= bits - 1) {
			i = (size_t)__builtin_ctz(bits);
			ret = object(first + i * size, size, arg);
			if (ret)
				return ret;
		}
	}
	return 0;
}

static uint64_t table_used(const struct kho_kmem *kmem)
{
	return __atomic_load_n(&kmem->table_used, __ATOMIC_ACQUIRE);
}

int kho_kmem_walk(struct kho_kmem *kmem,
		  int (*object)(void *object, size_t size, void *arg),
		  void *arg)
{
	uint64_t index;
	int ret = 0;

	for (index = 0; index < table_used(kmem) && !ret; index++)
		ret = walk_slab(kmem, index, object, arg);
	return ret;
}

struct sweep {
	struct kho_kmem *kmem;
	bool (*reachable)(void *object, size_t size, void *arg);
	void *arg;
	int64_t freed;
};

static int sweep_object(void *object, size_t size, void *arg)
{
	struct sweep *sweep = arg;

	if (!sweep->reachable(object, size, sweep->arg) &&
	    !kho_kfree(sweep->kmem, object))
		sweep->freed++;
	return 0;
}

int64_t kho_kmem_sweep(struct kho_kmem *kmem,
		       bool (*reachable)(void *object, size_t size, void *arg),
		       void *arg)
{
	struct sweep sweep = { kmem, reachable, arg, 0 };

	if (!kho_writable(kmem->kho))
		return -EROFS;
	kho_kmem_walk(kmem, sweep_object, &sweep);
	return sweep.freed;
}

int64_t kho_kmem_sweep_slab(struct kho_kmem *kmem, uint64_t *cursor,
			    bool (*reachable)(void *object, size_t size,
					      void *arg),
			    void *arg)
{
	struct sweep sweep = { kmem, reachable, arg, 0 };
	uint64_t index = *cursor;

	if (!kho_writable(kmem->kho))
		return -EROFS;
	while (index < table_used(kmem) &&
	       !slab_get(kmem, index << kmem->slab_shift))
		index++;
	walk_slab(kmem, index, sweep_object, &sweep);
	*cursor = ++index < table_used(kmem) ? index : 0;
	return sweep.freed;
}
