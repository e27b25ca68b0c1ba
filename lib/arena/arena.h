/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * What the arena is to the floors above, and the handle that everybody has. It
 * knows nothing of who hands it over.
 */
#ifndef KHO_ARENA_ARENA_H
#define KHO_ARENA_ARENA_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <kho/abi/arena.h>
#include <kho/compat.h>
#include <kho/error.h>
#include <kho/mem.h>
#include <kho/state.h>
#include <kho/tree.h>

#include "base/reader.h"

#pragma GCC visibility push(hidden)

/* The arena backs, and gives back, memory in steps of this size. */
#define CHUNK_SHIFT KHO_ARENA_CHUNK_SHIFT
#define CHUNK_SIZE (1ul << CHUNK_SHIFT)

/*
 * Somebody who has mapped pages of the arena a second time: they become
 * writable, and cease to be, with the arena.
 */
struct mapping {
	LIST_ENTRY(mapping) entry;
	int (*set_writable)(struct mapping *mapping, bool writable);
};

struct mappings {
	pthread_mutex_t lock;
	LIST_HEAD(, mapping) list;
	bool writable; /* the arena is */
};

/* The version that a component is written in; others are in their highest. */
struct version {
	const struct kho_component *component;
	uint32_t version;
};

struct versions {
	pthread_mutex_t lock;
	size_t n;
	struct version *list;
};

/*
 * A structure that is alive in this process and can be rewritten in another
 * version: a chain of blocks, an area. Embedded in its volatile side.
 */
struct instance {
	LIST_ENTRY(instance) entry;
	const struct kho_component *component;
};

struct instances {
	pthread_mutex_t lock;
	LIST_HEAD(, instance) list;
};

/*
 * A handover takes an arena through these: on an arena that came from
 * somebody else, nothing may be changed before it is ours.
 */
enum kho_stage {
	KHO_RESTORING, /* read-only until kho_ready() */
	KHO_SERVING,
	KHO_FROZEN, /* a successor is restoring */
	KHO_GONE, /* a successor has it */
};

struct kho {
	int fd; /* of a description of our own, which holds the lock */
	unsigned int page_shift;
	char *base;
	uint64_t max; /* bytes mapped */
	uint64_t size; /* bytes of the file, multiple of CHUNK_SIZE; atomic */
	enum kho_stage stage; /* atomic */
	bool cold; /* a new arena */
	struct kho_arena_super *super;
	struct mappings mappings;
	struct instances instances;
	struct versions versions;
	struct pages *pages; /* pages.c */
	struct tree *tree; /* tree.c */
	struct service *service; /* of the floor above, which makes the handle */
};

static inline enum kho_stage kho_stage(const struct kho *kho)
{
	return __atomic_load_n(&kho->stage, __ATOMIC_ACQUIRE);
}

static inline bool kho_writable(const struct kho *kho)
{
	return kho_stage(kho) == KHO_SERVING;
}

static inline uint64_t kho_size(const struct kho *kho)
{
	return __atomic_load_n(&kho->size, __ATOMIC_ACQUIRE);
}

/* file.c: the handle, the file and its superblock */
/* A handle without a file; NULL when out of memory. */
struct kho *arena_new(void);
/* Whatever of it there is. */
void arena_free(struct kho *kho);
int arena_create_fd(struct kho_error *err);
/* A description without our lock: the fd, or a negative errno. */
int arena_reopen(const struct kho *kho);
int arena_lock(int fd, int *own, struct kho_error *err);
int arena_read_super(int fd, struct kho_arena_super *super,
		     struct kho_error *err);
int arena_pick_slot(const struct kho_arena_super *super);
/* The word at an offset of the superblock, for a number. */
uint64_t arena_super_word(const struct kho_arena_super *super, size_t offset,
			  uint32_t number);
/* Of a superblock that was found good: bytes, handovers. */
uint64_t arena_super_size(const struct kho_arena_super *super);
void arena_set_super_size(struct kho_arena_super *super, uint64_t size);
uint32_t arena_generation(const struct kho *kho);
void arena_next_generation(struct kho *kho);
/* From then on nobody can take away what has been checked. */
int arena_seal(int fd, struct kho_error *err);
/* A new arena: is it one; then in this order. */
int arena_is_new(int fd, bool *is_new, struct kho_error *err);
int arena_begin(int fd, struct kho_error *err);
int arena_init(struct kho *kho, struct kho_error *err);
void arena_made(struct kho *kho);
int arena_map(struct kho *kho, uint64_t max, bool huge, struct kho_error *err);
int arena_set_writable(struct kho *kho, bool writable);
void arena_add_mapping(struct kho *kho, struct mapping *mapping);
void arena_del_mapping(struct kho *kho, struct mapping *mapping);
/*
 * Why the arena of @what cannot be changed, or has no more memory: -EROFS,
 * -ENOSPC or -ENOMEM, said.
 */
int arena_refuses(const struct kho *kho, const char *what, int code,
		  struct kho_error *err);

/* copy.c */
/*
 * A copy of an arena that ends where its data does, when that takes less memory
 * than the arena without its holes would; otherwise @copy is -1. Nobody may be
 * changing it.
 */
int arena_trimmed_copy(int fd, int *copy, struct kho_error *err);

/* pages.c */
int pages_init(struct kho *kho, struct kho_error *err);
int pages_rebuild(struct kho *kho, uint64_t tracker, struct kho_error *err);
void pages_trim(struct kho *kho);
struct kho_mem_live {
	struct kho_mem mem;
	const struct kho *kho;
};
struct kho_mem_live mem_live(const struct kho *kho);
/*
 * Claim what a decoder found: a folio of @size bytes; @n pages that were
 * preserved as such. 0, or why not, said.
 */
int pages_claim_folio(struct kho *kho, const struct reader *r, uint64_t phys,
		      size_t size, void **folio);
int pages_claim(struct kho *kho, const struct reader *r, uint64_t phys,
		size_t n);

/* tree.c */
/* tree.c */
int tree_init(struct kho *kho, struct kho_error *err);
int tree_load(struct kho *kho, const struct kho_state *state,
	      const struct kho_used *used, const struct kho_report *report,
	      struct kho_error *err);
int tree_take_over(struct kho *kho);
int tree_refresh(struct kho *kho);
int tree_reversion(struct kho *kho, const struct kho_report *report);
bool tree_unseen(struct kho *kho, const char *component,
		 char name[KHO_SUBTREE_NAME_SIZE]);
int tree_used(struct kho *kho, struct kho_used **used, size_t *n,
	      struct kho_error *err);

/* versions.c */
uint32_t versions_get(struct kho *kho, const struct kho_component *component);
int versions_set(struct kho *kho, const struct kho_component *component,
		 uint32_t version);
int versions_learn(struct kho *kho, const struct kho_component *component,
		   uint32_t version);
int versions_save(struct kho *kho, struct versions *saved);
void versions_raise(struct kho *kho, const struct versions *saved);
void versions_swap(struct kho *kho, struct versions *saved);

/* instances.c */
void instances_add(struct kho *kho, struct instance *instance,
		   const struct kho_component *component);
void instances_del(struct kho *kho, struct instance *instance);
/* Calls @each for those of one component, until it returns other than 0. */
int instances_each(struct kho *kho, const struct kho_component *component,
		   int (*each)(struct instance *instance, uint32_t version,
			       struct kho_error *why),
		   uint32_t version, struct kho_error *why);

#pragma GCC visibility pop

#endif
