/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The hash table in the arena (component kvtable).
 *
 * All entries are in one list, sorted by the bit-reversed hash of their keys.
 * The nodes of the buckets are in the same list, each in front of its entries.
 * So the table grows by adding bucket nodes: no entry ever moves, a position
 * in the list is a cursor that stays good while the table grows, and each
 * change becomes visible with a single store. A program that is killed between
 * any two instructions leaves the table without the change or with it.
 *
 * The bucket nodes are an array in virtually contiguous memory (vmalloc), so
 * the array grows in place; small entries come from kmalloc, large ones have
 * pages of their own.
 *
 * What can be left behind is memory that nothing links to, and a count that is
 * off: table_recover() puts that right.
 *
 * Links are phys, never pointers: the successor maps the arena elsewhere.
 *
 * Versions of the format:
 *   1: entries have a key, a value and an expiry;
 *   2: entries also say when they were last used, and may be lists (list.h).
 *      What is new stands behind what version 1 knew, so that the way back is
 *      one store per entry, for all but lists. Entries of version 1 may remain:
 *      each entry says what it is;
 *   3: the hash is seeded. The order of the list is another, so versions 1 and
 *      2 cannot be read.
 */
#ifndef KVSTORE_TABLE_H
#define KVSTORE_TABLE_H

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
#if KVSTORE_VERSION == 1
#define KVTABLE_OLDEST 1
#define KVTABLE_VERSION 1
#elif KVSTORE_VERSION == 2
#define KVTABLE_OLDEST 1
#define KVTABLE_VERSION 2
#elif KVSTORE_VERSION == 3
#define KVTABLE_OLDEST 3
#define KVTABLE_VERSION 3
#else
#error "KVSTORE_VERSION must be 1, 2 or 3"
#endif

/* Bytes of key and value together. */
#define KVTABLE_DATA_MAX ((1ul << 30) - 64)

/**
 * enum kvtable_kind - what a node is
 * @KVTABLE_PENDING: a bucket while its node goes into the list; one that a
 *                   killed program left so is done again
 * @KVTABLE_BUCKET: and when it is there
 * @KVTABLE_ENTRY_V1: key and value, as version 1 writes them
 * @KVTABLE_ENTRY_V2: and when they were last used
 * @KVTABLE_LIST: key and list; since version 2
 */
enum kvtable_kind {
	KVTABLE_PENDING = 1,
	KVTABLE_BUCKET = 2,
	KVTABLE_ENTRY_V1 = 0x11,
	KVTABLE_ENTRY_V2 = 0x12,
	KVTABLE_LIST = 0x22,
};

/**
 * struct kvtable_node - a link of the list
 * @next: phys of the next node; 0 at the end
 * @order: the hash, its bits reversed; the lowest 8 bits say what it is
 */
struct kvtable_node {
	uint64_t next;
	uint64_t order;
};

/**
 * struct kvtable_entry - key and value
 * @node: in the list
 * @expires: milliseconds since the epoch; 0: never
 * @klen: bytes of the key
 * @vlen: bytes of the value; 0 in a list
 *
 * Key and value follow. Then, at the next multiple of 8 bytes, in a
 * KVTABLE_ENTRY_V2 an uint64_t: when it was last used, milliseconds since the
 * epoch; in a KVTABLE_LIST a struct kvtable_list.
 */
struct kvtable_entry {
	struct kvtable_node node;
	uint64_t expires;
	uint32_t klen;
	uint32_t vlen;
};

/**
 * struct kvtable_map - buckets
 * @buckets: in use, a power of two
 * @count: entries
 * @seed: of the hash; since version 3
 * @head: bucket 0, where the list begins; a table of a few entries needs no
 *        other
 * @area: the array of the others, by their index; zeros when there are none
 */
struct kvtable_map {
	uint64_t buckets;
	uint64_t count;
#if KVSTORE_VERSION >= 3
	uint64_t seed[2];
#endif
	struct kvtable_node head;
	struct kho_vmalloc_desc area;
};

/**
 * struct kvtable - the table
 * @version: of the entries that may be in it, and of those that are written
 * @kmem: phys of the allocator that the smaller entries come from
 * @current: which map counts; flushing switches to the other one
 * @redo: phys of the entries that table_put() was linking when it was killed
 * @map: the maps
 * @upgraded: entries up to this order have the newest format; since version 2
 * @lists: of each map, phys of the first of its lists; since version 2
 *
 * In a folio of its own, zeroed beyond what an older version knew.
 */
struct kvtable {
	uint64_t version;
	uint64_t kmem;
	uint64_t current;
	uint64_t redo;
	struct kvtable_map map[2];
	uint64_t upgraded;
	uint64_t lists[2];
};

/**
 * struct table - the table in this process
 * @small: bytes of the largest object that comes from @kmem
 * @area: that of the map that counts; NULL when it has none
 * @grow_at: entries from which on it wants more buckets
 */
struct table {
	struct kho *kho;
	struct kho_kmem *kmem;
	size_t small;
	struct kvtable *root;
	struct kho_vmalloc *area;
	uint64_t grow_at;
};

/* Is there a table at @phys that table_restore() could take? */
int table_check(const struct kho_mem *mem, uint64_t phys,
		struct kho_error *why);
int table_create(struct table *table, struct kho *kho);
int table_restore(struct table *table, struct kho *kho, uint64_t phys,
		  struct kho_error *err);
int table_recover(struct table *table);
/* The state tree says the new version: it may be written from now on. */
void table_raise_version(struct table *table);
bool table_upgrade(struct table *table, uint64_t now, unsigned int nr);
/* Can all keys be held in @version? If not, @why names those in the way. */
int table_can_write(const struct table *table, uint32_t version, uint64_t now,
		    struct kho_error *why);
int table_convert(struct table *table, uint32_t version, uint64_t now,
		  struct kho_error *why);

uint64_t table_version(const struct table *table);
uint64_t table_count(const struct table *table);
uint64_t table_buckets(const struct table *table);

/* An entry that was found is good until the table is changed. */
struct kvtable_entry *table_find(struct table *table, struct str key);
struct kvtable_entry *table_new(struct table *table, struct str key,
				struct str value, uint64_t expires,
				uint64_t now);
struct kvtable_entry *table_new_list(struct table *table, struct str key,
				     uint64_t now);
void table_drop(struct table *table, struct kvtable_entry *entry);
int table_put(struct table *table, struct kvtable_entry **entries, size_t nr);
bool table_delete(struct table *table, struct str key);
void table_flush(struct table *table);

/* Returns the cursor to go on from, 0 at the end; @visit must change nothing. */
uint64_t table_scan(struct table *table, uint64_t cursor, uint64_t nr,
		    void (*visit)(const struct kvtable_entry *entry, void *arg),
		    void *arg);
uint64_t table_expire(struct table *table, uint64_t cursor, uint64_t nr,
		      uint64_t now);

bool entry_is_list(const struct kvtable_entry *entry);
struct str entry_key(const struct kvtable_entry *entry);
struct str entry_value(const struct kvtable_entry *entry);
bool entry_expired(const struct kvtable_entry *entry, uint64_t now);
void entry_set_expires(struct kvtable_entry *entry, uint64_t expires);
uint64_t entry_accessed(const struct kvtable_entry *entry);
void entry_touch(struct kvtable_entry *entry, uint64_t now);
/* What stands behind the key of a list. */
struct kvtable_list *entry_list(const struct kvtable_entry *entry);

/* Memory that survives, of any size; NULL: errno. For table.c and list.c. */
void *table_alloc(struct table *table, size_t size);
void table_free(struct table *table, void *object, size_t size);

/* Makes what was written before it reachable, in one store. */
static inline void table_publish(uint64_t *link, uint64_t value)
{
	__atomic_store_n(link, value, __ATOMIC_RELEASE);
}

#endif
