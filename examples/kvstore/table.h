/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The hash table in the arena (component kvtable).
 *
 * An array of buckets, in virtually contiguous memory (vmalloc), and behind
 * each bucket a chain of entries, sorted by the bit-reversed hash of their
 * keys. The table grows by a bucket at a time: what belongs into the new one is
 * the end of an old one's chain, which is cut off. So nothing ever moves, and
 * the hash is a cursor that stays good while the table grows.
 *
 * An entry is a key with a value, a key with a list, or an element of a list,
 * whose key nobody sees: which list, and where in it. So the elements grow,
 * move and are recovered with everything else.
 *
 * A change stores several words: a link, the number of keys, the length of a
 * list. They are written into the table's log first and then to their places.
 * After a kill table_resume() does so again, and it is as if the kill had come
 * before the change or behind it. All that can be lost is memory that nothing
 * leads to, and elements that no list has: table_recover_step() finds them in
 * small steps, while the table is in use.
 *
 * Links are phys, never pointers: the successor maps the arena elsewhere.
 *
 * Versions of the format:
 *   1: entries have a key, a value and an expiry;
 *   2: entries also say when they were last used, for which version 1 reserved
 *      room, and there are lists. Nothing has to be rewritten for that: what
 *      stands in the entries counts from the time on when the table became one
 *      of version 2. The way back is one store, but not with lists;
 *   3: the hash is seeded. The order is another, so versions 1 and 2 cannot be
 *      read.
 */
#ifndef TABLE_H
#define TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/attach.h>
#include <kho/error.h>
#include <kho/kmalloc.h>
#include <kho/mem.h>
#include <kho/vmalloc.h>

#include "resp.h"

enum kind {
	ENTRY_STRING = 1,
	ENTRY_LIST = 2,
	ENTRY_ELEMENT = 3,
};

/*
 * A key and its value, which follow. @order is the hash, its bits reversed, and
 * in the lowest 8 bits the enum kind; the bit above is set in elements alone,
 * so none of them is taken for a key. Times are milliseconds since the epoch,
 * @accessed is reserved in version 1.
 */
struct entry {
	uint64_t next; /* of the bucket; 0 at the end */
	uint64_t order;
	uint64_t expires; /* 0: never */
	uint64_t accessed;
	uint32_t klen;
	uint32_t vlen;
};

/* The value of a list, at the next multiple of 8 bytes. It has some elements. */
struct list {
	uint64_t id;
	uint64_t first; /* the first element's index */
	uint64_t length;
};

/* The table. */
struct kvtable {
	uint64_t version; /* of the entries that may be in it, or are written */
	uint64_t kmem; /* larger entries have pages of their own */
	uint64_t buckets;
	uint64_t count; /* of keys */
	uint64_t elements; /* of all lists; since version 2 */
	uint64_t lists; /* the last one's id; since version 2 */
	uint64_t since; /* when it became version 2 */
	uint64_t seed; /* of the hash; since version 3 */
	uint64_t redo; /* what table_put() was linking when it was killed */
	struct kho_vmalloc_desc area; /* the array of buckets */
	uint64_t logged; /* words in the log that are to be stored */
	struct {
		uint64_t phys;
		uint64_t value;
	} log[4];
};

/* The table in this process. */
struct table {
	struct kho *kho;
	uint64_t now; /* milliseconds since the epoch */
	struct kho_kmem *kmem;
	struct kvtable *root;
	struct kho_vmalloc *area;
	uint64_t grow_at; /* entries; from there it wants more buckets */
	uint64_t logged; /* of words that are to be stored together */
	uint64_t recovered; /* so far, as a position, and then as a slab */
	uint64_t slab;
};

/* Is there a table at @phys that table_restore() could take? */
int table_check(const struct kho_mem *mem, uint64_t phys,
		struct kho_error *why);
int table_create(struct table *t, struct kho *kho);
/* Takes no longer with more entries, and writes nothing. */
int table_restore(struct table *t, struct kho *kho, uint64_t phys,
		  struct kho_error *err);
/* Finishes what a kill interrupted, before anybody looks. */
void table_resume(struct table *t);

/* Complete, but nothing leads to it yet. NULL: errno. */
struct entry *table_new(struct table *t, enum kind kind, struct str key,
			struct str value, uint64_t expires);
/* Frees an entry that nothing leads to. */
void table_drop(struct table *t, struct entry *e);
/*
 * Links entries, all or none of them. The last one of several with the same key
 * counts. On failure they are still the caller's; -errno.
 */
int table_put(struct table *t, struct entry **entries, size_t nr);
/* A key's entry is good until the table is changed; @kind: element or not. */
struct entry *table_find(struct table *t, enum kind kind, struct str key);
bool table_delete(struct table *t, enum kind kind, struct str key);
void table_flush(struct table *t);
/*
 * Calls @visit for about @nr entries from @cursor on; it may delete what it
 * likes. Returns where to go on, 0 at the end.
 */
uint64_t table_walk(struct table *t, uint64_t cursor, uint64_t nr,
		    void (*visit)(struct table *t, struct entry *e, void *arg),
		    void *arg);

/* ---- entries ---- */

/* Makes what was written before it visible, in one store. */
static inline void publish(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline enum kind entry_kind(const struct entry *e)
{
	return (enum kind)(uint8_t)e->order;
}

static inline struct str entry_key(const struct entry *e)
{
	return (struct str){ (const char *)(e + 1), e->klen };
}

static inline struct str entry_value(const struct entry *e)
{
	return (struct str){ (const char *)(e + 1) + e->klen, e->vlen };
}

static inline bool entry_expired(const struct table *t, const struct entry *e)
{
	return e->expires && e->expires <= t->now;
}

static inline void entry_expire(struct entry *e, uint64_t when)
{
	publish(&e->expires, when);
}

/* When it was last used; 0 where that is not known. */
static inline uint64_t entry_accessed(const struct table *t,
				      const struct entry *e)
{
	return t->root->version < 2 || e->accessed < t->root->since ?
		       0 :
		       e->accessed;
}

static inline void entry_touch(const struct table *t, struct entry *e)
{
	if (t->root->version >= 2)
		publish(&e->accessed, t->now);
}

/* ---- lists ---- */

enum list_end {
	LIST_FIRST,
	LIST_LAST,
};

struct list *entry_list(const struct entry *e);
/* Without elements: they come before it is linked. NULL: errno. */
struct entry *list_new(struct table *t, struct str key);
/* NULL when there is no such element. */
struct entry *list_at(struct table *t, const struct entry *e, uint64_t index);
/* All of them are added, one after the other, or none: -errno. */
int list_push(struct table *t, struct entry *e, enum list_end end,
	      const struct str *values, size_t nr);
/* Not all of them, but before the list itself goes. */
void list_pop(struct table *t, struct entry *e, enum list_end end, uint64_t nr);

/*
 * To the newest version, as soon as there is memory to say so, or to the one
 * that a successor wants, where @arg is what begins with the table. Keys that
 * cannot be held in it are named.
 */
void table_upgrade(struct table *t);
int table_convert(struct kho *kho, uint32_t version, void *arg,
		  struct kho_error *why);

/* After a crash. One step on the way; false: no more to do. */
bool table_recover_step(struct table *t, unsigned int nr);

#endif
