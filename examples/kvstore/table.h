/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The hash table in the arena (component kvtable), and the lists in it.
 *
 * An array of buckets, in virtually contiguous memory (vmalloc), and behind
 * each bucket a chain of entries, sorted by the bit-reversed hash of their
 * keys. The table grows by a bucket at a time: what belongs into the new one is
 * the end of an old one's chain, which is cut off. So nothing ever moves, and
 * the hash is a cursor that stays good while the table grows.
 *
 * A change stores several words: a link, the number of keys, the length of a
 * list. They are written into the table's log first and then to their places.
 * After a kill table_resume() does so again, and it is as if the kill had come
 * before the change or behind it. All that can be lost is memory that nothing
 * leads to: table_recover() finds it in small steps, while the table is in use.
 *
 * Links are phys, never pointers: the successor maps the arena elsewhere.
 *
 * Versions of the format:
 *   1: entries have a key, a value and an expiry;
 *   2: entries also say when they were last used, for which version 1 reserved
 *      room, and may be lists. Each says what it is: those of version 1 may
 *      remain, and the way back is one store for each, but for lists;
 *   3: the hash is seeded. The order is another, so versions 1 and 2 cannot be
 *      read.
 */
#ifndef KVTABLE_TABLE_H
#define KVTABLE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/attach.h>
#include <kho/error.h>
#include <kho/kmalloc.h>
#include <kho/mem.h>
#include <kho/vmalloc.h>

#include "str.h"

/* Versions that are read; all of them can be written, too. */
#define KVTABLE_VERSION KVSTORE_VERSION
#define KVTABLE_OLDEST (KVSTORE_VERSION < 3 ? 1 : 3)

/* Bytes of key and value together. */
#define ENTRY_MAX ((1ul << 30) - 64)

enum kind {
	ENTRY_V1 = 0x11,
	ENTRY_V2 = 0x12,
	ENTRY_LIST = 0x22,
};

/*
 * A key, which follows, and what it holds. @order is the hash, its bits
 * reversed, and in the lowest 8 bits the enum kind; times are milliseconds since
 * the epoch, @accessed is reserved in version 1. Behind the key stands the value
 * or, @vlen is 0 then, at the next multiple of 8 bytes a struct list.
 */
struct entry {
	uint64_t next; /* of the bucket; 0 at the end */
	uint64_t order;
	uint64_t expires; /* 0: never */
	uint64_t accessed;
	uint32_t klen;
	uint32_t vlen;
};

/* A ring of elements, of which there are some. */
struct list {
	uint64_t next; /* entry that is the next list of the table */
	uint64_t link; /* to what leads to this one */
	uint64_t ring; /* for each element its phys */
	uint64_t room; /* elements that fit into it, a power of two */
	uint64_t first; /* where in the ring the list begins */
	uint64_t length;
};

struct element {
	uint64_t len;
	char bytes[];
};

/* The table. */
struct kvtable {
	uint64_t version; /* of the entries that may be in it, or are written */
	uint64_t kmem; /* larger objects have pages of their own */
	uint64_t buckets;
	uint64_t count; /* of entries */
	uint64_t lists; /* the first one; since version 2 */
	uint64_t upgraded; /* how far, as a position; since version 2 */
	uint64_t seed; /* of the hash; since version 3 */
	uint64_t redo; /* what table_put() was linking when it was killed */
	uint64_t first; /* bucket 0; some entries need no other */
	struct kho_vmalloc_desc area; /* the array of the others; or zeros */
	uint64_t logged; /* words in the log that are to be stored */
	struct {
		uint64_t phys;
		uint64_t value;
	} log[6];
};

/* The table in this process. */
struct table {
	struct kho *kho;
	struct kho_kmem *kmem;
	struct kvtable *root;
	struct kho_vmalloc *area;
	uint64_t grow_at; /* entries; from there it wants more buckets */
	uint64_t logged; /* words that table_commit() shall store */

	/* See recover.c. */
	uint64_t *marks;
	uint64_t marked;
	uint64_t cursor;
	struct entry *list;
	uint64_t slot;
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

/* An entry that was found is good until the table is changed. */
struct entry *table_find(struct table *t, struct str key);
/* Complete, but nothing leads to them yet. NULL: errno. */
struct entry *table_new(struct table *t, struct str key, struct str value,
			uint64_t expires, uint64_t now);
struct entry *table_new_list(struct table *t, struct str key, uint64_t now);
/* Frees an entry that nothing leads to. */
void table_drop(struct table *t, struct entry *e);
int table_put(struct table *t, struct entry **entries, size_t nr);
bool table_delete(struct table *t, struct str key);
void table_flush(struct table *t);
/*
 * Calls @visit for about @nr entries from @cursor on; it may delete its entry,
 * no other. Returns where to go on, 0 at the end.
 */
uint64_t table_walk(struct table *t, uint64_t cursor, uint64_t nr,
		    void (*visit)(struct table *t, struct entry *e, void *arg),
		    void *arg);

bool entry_is_list(const struct entry *e);
struct str entry_key(const struct entry *e);
struct str entry_value(const struct entry *e);
bool entry_expired(const struct entry *e, uint64_t now);
/* When it was last used; 0 where that is not known. */
uint64_t entry_accessed(const struct entry *e);
void entry_touch(struct entry *e, uint64_t now);

/* ---- list.c ---- */

enum list_end {
	LIST_FIRST,
	LIST_LAST,
};

struct list *entry_list(const struct entry *e);
/* NULL when there is no such element. */
struct element *list_at(const struct table *t, const struct entry *e,
			uint64_t index);
/* All of them are added, one after the other, or none: -errno. */
int list_push(struct table *t, struct entry *e, enum list_end end,
	      const struct str *values, size_t nr);
/* Not all of them: a list has some. */
void list_pop(struct table *t, struct entry *e, enum list_end end, uint64_t nr);
/* The next list of the table; the first one behind NULL; NULL at the end. */
struct entry *list_next(const struct table *t, const struct entry *e);

/* ---- versions.c ---- */

/* One step on the way to the newest format; false: no more to do. */
bool table_upgrade(struct table *t, uint64_t now, unsigned int nr);
/* Can all keys be held in @version? If not, @why names those in the way. */
int table_can_write(const struct table *t, uint32_t version, uint64_t now,
		    struct kho_error *why);
int table_convert(struct table *t, uint32_t version, uint64_t now,
		  struct kho_error *why);

/* ---- recover.c ---- */

void table_recover(struct table *t);
/* One step on the way; false: no more to do. */
bool table_recover_step(struct table *t, unsigned int nr);

/* ---- what these files share ---- */

/* Makes what was written before it visible, in one store. */
static inline void publish(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Stores that a kill cannot part: first all into the log, then commit. */
void table_log(struct table *t, uint64_t *word, uint64_t value);
void table_commit(struct table *t);
/* Memory that survives, of any size; NULL: errno. */
void *table_alloc(struct table *t, size_t size);
void table_free(struct table *t, void *object, size_t size);
size_t table_pages(const struct table *t, size_t size);
uint64_t *table_bucket(const struct table *t, uint64_t index);
struct entry *table_entry(const struct table *t, uint64_t phys);
size_t entry_size(const struct entry *e);
void list_link(struct table *t, struct entry *e);
void list_unlink(struct table *t, struct entry *e);
void list_free(struct table *t, struct entry *e);
void recover_mark(struct table *t, const void *object, size_t size);

#endif
