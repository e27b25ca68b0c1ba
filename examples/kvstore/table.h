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
 * What can be left behind is an entry that nothing links to, and a count that
 * is off: table_recover() puts that right.
 *
 * Links are phys, never pointers: the successor maps the arena elsewhere.
 *
 * Versions of the format:
 *   1: entries have a key, a value and an expiry;
 *   2: entries also say when they were last used. Old entries may remain, each
 *      says what it is;
 *   3: the hash is seeded. The order of the list is another, so versions 1 and
 *      2 cannot be read.
 */
#ifndef KVSTORE_TABLE_H
#define KVSTORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/attach.h>
#include <kho/kmalloc.h>
#include <kho/vmalloc.h>

#include "str.h"

#if KVSTORE_VERSION == 1
#define KVTABLE_VERSION 1
#define KVTABLE_READS                                                          \
	{                                                                      \
		1, 1                                                           \
	}
#elif KVSTORE_VERSION == 2
#define KVTABLE_VERSION 2
#define KVTABLE_READS                                                          \
	{                                                                      \
		1, 2                                                           \
	}
#elif KVSTORE_VERSION == 3
#define KVTABLE_VERSION 3
#define KVTABLE_READS                                                          \
	{                                                                      \
		3, 3                                                           \
	}
#else
#error "KVSTORE_VERSION must be 1, 2 or 3"
#endif

/* Bytes of an entry with all that is in it. */
#define KVTABLE_ENTRY_MAX (1ul << 30)

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
 * @vlen: bytes of the value
 *
 * In version 2 uint64_t accessed follows: when it was last used, milliseconds
 * since the epoch. Then come the key and the value.
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
 *
 * In a folio of its own, zeroed beyond what an older version knew.
 */
struct kvtable {
	uint64_t version;
	uint64_t kmem;
	uint64_t current;
	uint64_t redo;
	struct kvtable_map map[2];
#if KVSTORE_VERSION >= 2
	uint64_t upgraded;
#endif
};

/**
 * struct table - the table in this process
 * @area: that of the map that counts; NULL when it has none
 * @grow_at: entries from which on it wants more buckets
 */
struct table {
	struct kho *kho;
	struct kho_kmem *kmem;
	struct kvtable *root;
	struct kho_vmalloc *area;
	uint64_t grow_at;
};

int table_create(struct table *table, struct kho *kho);
int table_restore(struct table *table, struct kho *kho, uint64_t phys,
		  struct kho_error *err);
int table_recover(struct table *table);
/* The state tree says the new version: it may be written from now on. */
void table_raise_version(struct table *table);
bool table_upgrade(struct table *table, uint64_t now, unsigned int nr);

uint64_t table_count(const struct table *table);
uint64_t table_buckets(const struct table *table);

/* An entry that was found is good until the table is changed. */
struct kvtable_entry *table_find(struct table *table, struct str key);
struct kvtable_entry *table_new(struct table *table, struct str key,
				struct str value, uint64_t expires,
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

struct str entry_key(const struct kvtable_entry *entry);
struct str entry_value(const struct kvtable_entry *entry);
bool entry_expired(const struct kvtable_entry *entry, uint64_t now);
void entry_set_expires(struct kvtable_entry *entry, uint64_t expires);
uint64_t entry_accessed(const struct kvtable_entry *entry);
void entry_touch(struct kvtable_entry *entry, uint64_t now);

#endif
