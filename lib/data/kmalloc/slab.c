// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Slabs: their size classes, their coming and going, and how to find them. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kho/pages.h>
#include <kho/ptr.h>

#include "data/kmalloc/private.h"

/* ---- Size classes: this writer's choice, no part of the format ---- */

unsigned int kmem_class_index(size_t size)
{
	unsigned int order;

	if (size <= 64)
		return (unsigned int)(size - 1) / 8;
	order = 63 - (unsigned int)__builtin_clzl(size - 1);
	return 8 + (order - 6) * 4 +
	       (unsigned int)((size - 1) >> (order - 2) & 3);
}

static uint32_t class_size(unsigned int index)
{
	if (index < 8)
		return (index + 1) * 8;
	return (5 + index % 4) << (index / 4 + 2);
}

static void class_init(struct size_class *sc, uint32_t size, uint64_t slab_size)
{
	uint32_t objects = (uint32_t)(slab_size / size);

	while (slab_first(size, objects) + (uint64_t)objects * size > slab_size)
		objects--;
	pthread_mutex_init(&sc->lock, NULL);
	sc->size = size;
	sc->objects = objects;
	sc->first = (uint32_t)slab_first(size, objects);
	sc->empty = NULL;
	TAILQ_INIT(&sc->partial);
}

void kmem_init_classes(struct kho_kmem *kmem)
{
	unsigned int i;

	kmem->n_classes = kmem_class_index(kmem->max_size) + 1;
	for (i = 0; i < kmem->n_classes; i++)
		class_init(&kmem->classes[i], class_size(i),
			   1ull << kmem->slab_shift);
}

/*
 * The class to which a restored slab belongs: the largest one whose objects
 * fit, in size and alignment. The slab's writer may have had other classes.
 */
static struct size_class *class_of_slab(struct kho_kmem *kmem, uint32_t size)
{
	struct size_class *sc = &kmem->classes[kmem_class_index(size)];

	while (sc->size > size || size % size_align(sc->size))
		sc--;
	return sc;
}

/* ---- Slabs ---- */

/* The slab that @phys is in, or NULL. Takes no lock. */
struct slab *slab_get(const struct kho_kmem *kmem, uint64_t phys)
{
	uint64_t index = phys >> kmem->slab_shift;

	if (index >= kmem->table_len)
		return NULL;
	return __atomic_load_n(&kmem->table[index], __ATOMIC_ACQUIRE);
}

static void table_set(struct kho_kmem *kmem, uint64_t phys, struct slab *slab)
{
	uint64_t index = phys >> kmem->slab_shift;

	__atomic_store_n(&kmem->table[index], slab, __ATOMIC_RELEASE);
	if (index >= kmem->table_used)
		__atomic_store_n(&kmem->table_used, index + 1,
				 __ATOMIC_RELEASE);
}

/* The slab that @phys is in, with its class locked, or NULL. */
struct slab *slab_lock(struct kho_kmem *kmem, uint64_t phys)
{
	struct size_class *sc;
	struct slab *slab;

	while ((slab = slab_get(kmem, phys))) {
		sc = __atomic_load_n(&slab->class, __ATOMIC_RELAXED);
		pthread_mutex_lock(&sc->lock);
		if (slab == slab_get(kmem, phys) &&
		    sc == __atomic_load_n(&slab->class, __ATOMIC_RELAXED))
			break;
		/* Given back, and maybe reused, before it was locked. */
		pthread_mutex_unlock(&sc->lock);
	}
	return slab;
}

static struct slab *slab_alloc(struct kho_kmem *kmem)
{
	size_t avail = (max_map_words(kmem->slab_shift) + 63) / 64;
	struct slab *slab;

	pthread_mutex_lock(&kmem->lock);
	slab = TAILQ_FIRST(&kmem->spare);
	if (slab)
		TAILQ_REMOVE(&kmem->spare, slab, chain);
	pthread_mutex_unlock(&kmem->lock);
	if (!slab)
		slab = malloc(sizeof(*slab) + avail * sizeof(slab->avail[0]));
	return slab;
}

static void slab_put_spare(struct kho_kmem *kmem, struct slab *slab)
{
	pthread_mutex_lock(&kmem->lock);
	TAILQ_INSERT_HEAD(&kmem->spare, slab, chain);
	pthread_mutex_unlock(&kmem->lock);
}

/* Build the volatile side from a header and a map that were checked. */
static void slab_init(struct slab *slab, struct size_class *sc,
		      struct kho_kmalloc_slab *folio,
		      const struct kho_kmalloc_slab *hdr, const uint64_t *map)
{
	uint32_t w, words = map_words(hdr->objects);

	__atomic_store_n(&slab->class, sc, __ATOMIC_RELAXED);
	slab->hdr = folio;
	slab->size = hdr->size;
	slab->objects = hdr->objects;
	slab->first = hdr->first;
	slab->free = 0;
	memset(slab->avail, 0, (words + 63) / 64 * sizeof(slab->avail[0]));
	for (w = 0; w < words; w++) {
		if (map_free(map[w]))
			slab->avail[w / 64] |= 1ull << w % 64;
		slab->free += (uint32_t)__builtin_popcount(map_free(map[w]));
	}
}

/* A new slab for a class that is locked; NULL with errno. */
struct slab *slab_new(struct kho_kmem *kmem, struct size_class *sc)
{
	struct kho_kmalloc_slab *hdr;
	uint64_t *map, phys;
	struct slab *slab;
	uint32_t w;

	slab = slab_alloc(kmem);
	if (!slab) {
		errno = ENOMEM;
		return NULL;
	}
	hdr = kho_alloc_preserve(kmem->kho, (size_t)1 << kmem->slab_shift);
	if (!hdr) {
		slab_put_spare(kmem, slab);
		return NULL;
	}
	phys = kho_phys(kmem->kho, hdr);
	assert(phys >> kmem->slab_shift < kmem->table_len);

	hdr->magic = KHO_KMALLOC_SLAB_MAGIC;
	kho_ptr_store(kmem->kho, hdr->head, kmem->head);
	hdr->size = sc->size;
	hdr->objects = sc->objects;
	hdr->first = sc->first;
	hdr->crc = slab_crc(hdr);
	map = slab_map(hdr);
	for (w = 0; w < map_words(hdr->objects); w++)
		map[w] = (uint64_t)map_valid(hdr->objects, w) << 32;
	slab_init(slab, sc, hdr, hdr, map);

	pthread_mutex_lock(&kmem->lock);
	hdr->next = kmem->head->slabs;
	/* The slab is complete: from here on it survives. */
	__atomic_store_n(&kmem->head->slabs, link_make(phys), __ATOMIC_RELEASE);
	TAILQ_INSERT_HEAD(&kmem->chain, slab, chain);
	table_set(kmem, phys, slab);
	pthread_mutex_unlock(&kmem->lock);
	TAILQ_INSERT_HEAD(&sc->partial, slab, partial);
	return slab;
}

/*
 * Take over a slab that was checked and claimed: @folio, of which @hdr and
 * @map are copies. Slabs come in the order of the chain.
 */
int slab_restore(struct kho_kmem *kmem, struct kho_kmalloc_slab *folio,
		 const struct kho_kmalloc_slab *hdr, const uint64_t *map)
{
	struct size_class *sc = class_of_slab(kmem, hdr->size);
	struct slab *slab = slab_alloc(kmem);

	if (!slab)
		return -ENOMEM;
	slab_init(slab, sc, folio, hdr, map);
	TAILQ_INSERT_TAIL(&kmem->chain, slab, chain);
	table_set(kmem, kho_phys(kmem->kho, folio), slab);
	if (slab->free == slab->objects) {
		sc->empty = slab;
		TAILQ_INSERT_TAIL(&sc->partial, slab, partial);
	} else if (slab->free) {
		TAILQ_INSERT_HEAD(&sc->partial, slab, partial);
	}
	return 0;
}

/* Give an empty slab of a locked class back. */
void slab_release(struct kho_kmem *kmem, struct slab *slab)
{
	struct kho_kmalloc_slab *hdr = slab->hdr;
	struct slab *prev;

	TAILQ_REMOVE(&slab->class->partial, slab, partial);
	pthread_mutex_lock(&kmem->lock);
	prev = TAILQ_PREV(slab, slab_list, chain);
	__atomic_store_n(prev ? &prev->hdr->next : &kmem->head->slabs,
			 hdr->next, __ATOMIC_RELEASE);
	TAILQ_REMOVE(&kmem->chain, slab, chain);
	table_set(kmem, kho_phys(kmem->kho, hdr), NULL);
	TAILQ_INSERT_HEAD(&kmem->spare, slab, chain);
	pthread_mutex_unlock(&kmem->lock);
	/*
	 * Nothing refers to the folio any more. Should this fail, it is lost
	 * until the next kho_free_unclaimed().
	 */
	kho_unpreserve_free(kmem->kho, hdr);
}

/* Give the empty slabs back that are kept; how many there were. */
unsigned int kmem_shrink(struct kho_kmem *kmem)
{
	struct size_class *sc;
	unsigned int i, n = 0;

	for (i = 0; i < kmem->n_classes; i++) {
		sc = &kmem->classes[i];
		pthread_mutex_lock(&sc->lock);
		if (sc->empty) {
			slab_release(kmem, sc->empty);
			sc->empty = NULL;
			n++;
		}
		pthread_mutex_unlock(&sc->lock);
	}
	return n;
}
