/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The hash table in the arena; table.h says how it is built and why. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <kho/pages.h>
#include <kho/tree.h>

#include "list.h"
#include "table.h"

/* Of a node's order: below is its kind. */
#define KIND_BITS 8

/* So many entries are found fast enough without more buckets. */
#define FEW_ENTRIES 16
/* Of the array. In so many blocks a process can map it, wherever they are. */
#define BLOCK_SIZE (64ul << 10)
#define ARRAY_MAX (2ul << 30)
/* Value of upgraded: all entries have the newest format. */
#define UPGRADED UINT64_MAX
/* Keys that a refusal names. */
#define NAMED 3
/* Buckets; so far ahead their first entries are fetched from memory. */
#define AHEAD 8

static struct kvtable_node *at(const struct table *table, uint64_t phys)
{
	return kho_ptr(table->kho, phys, sizeof(struct kvtable_node));
}

static struct kvtable_map *current(const struct table *table)
{
	return &table->root->map[table->root->current];
}

static uint64_t position(const struct kvtable_node *node)
{
	return node->order >> KIND_BITS;
}

static uint8_t kind(const struct kvtable_node *node)
{
	return (uint8_t)node->order;
}

static bool is_entry(const struct kvtable_node *node)
{
	return kind(node) == KVTABLE_ENTRY_V1 ||
	       kind(node) == KVTABLE_ENTRY_V2 || kind(node) == KVTABLE_LIST;
}

static uint64_t reverse(uint64_t x)
{
	x = (x >> 1 & 0x5555555555555555) | (x & 0x5555555555555555) << 1;
	x = (x >> 2 & 0x3333333333333333) | (x & 0x3333333333333333) << 2;
	x = (x >> 4 & 0x0f0f0f0f0f0f0f0f) | (x & 0x0f0f0f0f0f0f0f0f) << 4;
	return __builtin_bswap64(x);
}

/* ---- entries ---- */

/* Where that begins of which version 1 knows nothing. */
static size_t tail_offset(const struct kvtable_entry *entry)
{
	return (sizeof(*entry) + entry->klen + entry->vlen + 7) & ~7ul;
}

static void *tail(const struct kvtable_entry *entry)
{
	return (void *)((uintptr_t)entry + tail_offset(entry));
}

/* Bytes that an entry has, or would have. */
static size_t size_as(const struct kvtable_entry *entry, uint8_t what)
{
	if (what == KVTABLE_ENTRY_V1)
		return sizeof(*entry) + entry->klen + entry->vlen;
	return tail_offset(entry) + (what == KVTABLE_LIST ?
					     sizeof(struct kvtable_list) :
					     sizeof(uint64_t));
}

static size_t entry_size(const struct kvtable_entry *entry)
{
	return size_as(entry, kind(&entry->node));
}

bool entry_is_list(const struct kvtable_entry *entry)
{
	return kind(&entry->node) == KVTABLE_LIST;
}

struct kvtable_list *entry_list(const struct kvtable_entry *entry)
{
	return tail(entry);
}

/* Comes first there, in a list as well. */
static uint64_t *last_used(const struct kvtable_entry *entry)
{
	return tail(entry);
}

struct str entry_key(const struct kvtable_entry *entry)
{
	return (struct str){ (const char *)(entry + 1), entry->klen };
}

struct str entry_value(const struct kvtable_entry *entry)
{
	struct str key = entry_key(entry);

	return (struct str){ key.p + key.len, entry->vlen };
}

bool entry_expired(const struct kvtable_entry *entry, uint64_t now)
{
	return entry->expires && entry->expires <= now;
}

void entry_set_expires(struct kvtable_entry *entry, uint64_t expires)
{
	table_publish(&entry->expires, expires);
}

/* When it was last used; 0 where that is not known. */
uint64_t entry_accessed(const struct kvtable_entry *entry)
{
	return kind(&entry->node) == KVTABLE_ENTRY_V1 ? 0 : *last_used(entry);
}

void entry_touch(struct kvtable_entry *entry, uint64_t now)
{
	if (kind(&entry->node) != KVTABLE_ENTRY_V1)
		table_publish(last_used(entry), now);
}

/* ---- memory ---- */

/* What is too large for kmalloc gets pages of its own; how many of them. */
static size_t object_pages(const struct table *table, size_t size)
{
	unsigned int shift;

	if (size <= table->small)
		return 0;
	shift = kho_page_shift(table->kho);
	return (size + (1ul << shift) - 1) >> shift;
}

void *table_alloc(struct table *table, size_t size)
{
	size_t pages = object_pages(table, size);
	void *object;
	int ret;

	if (!pages)
		return kho_kmalloc(table->kmem, size);
	object = kho_alloc_pages(table->kho, pages);
	if (!object)
		return NULL;
	ret = kho_preserve_pages(table->kho, object, pages);
	if (ret) {
		kho_free_pages(table->kho, object, pages);
		errno = -ret;
		return NULL;
	}
	return object;
}

void table_free(struct table *table, void *object, size_t size)
{
	size_t pages = object_pages(table, size);

	if (!pages) {
		kho_kfree(table->kmem, object);
		return;
	}
	/* Not claimed yet, if it came with a handover. */
	kho_restore_pages(table->kho, kho_phys(table->kho, object), pages);
	kho_unpreserve_pages(table->kho, object, pages);
	kho_free_pages(table->kho, object, pages);
}

static void free_entry(struct table *table, struct kvtable_entry *entry)
{
	if (entry_is_list(entry))
		list_free(table, entry);
	table_free(table, entry, entry_size(entry));
}

/* ---- the hash ---- */

#if KVSTORE_VERSION >= 3

/* SipHash-1-3: who does not know the seed cannot make keys collide. */
static void sip_round(uint64_t v[4])
{
#define ROTL(x, n) ((x) << (n) | (x) >> (64 - (n)))
	v[0] += v[1];
	v[2] += v[3];
	v[1] = ROTL(v[1], 13) ^ v[0];
	v[3] = ROTL(v[3], 16) ^ v[2];
	v[0] = ROTL(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = ROTL(v[1], 17) ^ v[2];
	v[3] = ROTL(v[3], 21) ^ v[0];
	v[2] = ROTL(v[2], 32);
#undef ROTL
}

static uint64_t hash(const struct kvtable_map *map, struct str key)
{
	uint64_t v[4] = { map->seed[0] ^ 0x736f6d6570736575,
			  map->seed[1] ^ 0x646f72616e646f6d,
			  map->seed[0] ^ 0x6c7967656e657261,
			  map->seed[1] ^ 0x7465646279746573 };
	size_t left = key.len;
	uint64_t word;

	for (; left >= sizeof(word); left -= sizeof(word)) {
		memcpy(&word, key.p + key.len - left, sizeof(word));
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = 0;
	memcpy(&word, key.p + key.len - left, left);
	word |= (uint64_t)key.len << 56;
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static int seed(struct kvtable_map *map)
{
	if (getrandom(map->seed, sizeof(map->seed), 0) != sizeof(map->seed))
		return -EIO;
	return 0;
}

#else

/* FNV-1a, 64 bits. */
static uint64_t hash(const struct kvtable_map *map, struct str key)
{
	uint64_t h = 0xcbf29ce484222325;
	size_t i;

	(void)map;
	for (i = 0; i < key.len; i++)
		h = (h ^ (uint8_t)key.p[i]) * 0x100000001b3;
	return h;
}

static int seed(struct kvtable_map *map)
{
	(void)map;
	return 0;
}

#endif

static uint64_t order(const struct table *table, struct str key)
{
	return reverse(hash(current(table), key)) >> KIND_BITS;
}

/* ---- buckets ---- */

static int map_init(struct kvtable_map *map)
{
	memset(map, 0, sizeof(*map));
	map->buckets = 1;
	map->head.order = KVTABLE_BUCKET;
	return seed(map);
}

static struct kvtable_node *slot(const struct table *table, uint64_t index)
{
	struct kvtable_node *first = index ? kho_vmalloc_base(table->area) :
					     &current(table)->head;

	return &first[index];
}

/* The first link behind @node that leads to @pos or beyond. */
static uint64_t *seek_from(const struct table *table, struct kvtable_node *node,
			   uint64_t pos)
{
	struct kvtable_node *next;

	while (node->next) {
		next = at(table, node->next);
		if (position(next) >= pos)
			break;
		node = next;
	}
	return &node->next;
}

/*
 * The node of a bucket. It goes into the list when it is first needed, behind
 * that of the bucket it was split from: the same index without its top bit.
 */
static struct kvtable_node *bucket(struct table *table, uint64_t index)
{
	struct kvtable_node *node = slot(table, index);
	uint64_t pos = reverse(index) >> KIND_BITS;
	uint64_t *link, phys, top;

	if (kind(node) == KVTABLE_BUCKET)
		return node;
	phys = kho_vmalloc_phys(table->area, node);
	top = 1ull << (63 - __builtin_clzll(index));
	link = seek_from(table, bucket(table, index & ~top), pos);
	if (*link != phys) {
		table_publish(&node->order, pos << KIND_BITS | KVTABLE_PENDING);
		node->next = *link;
		table_publish(link, phys);
	}
	table_publish(&node->order, pos << KIND_BITS | KVTABLE_BUCKET);
	return node;
}

static uint64_t *seek(struct table *table, uint64_t pos)
{
	uint64_t mask = current(table)->buckets - 1;

	return seek_from(table, bucket(table, reverse(pos << KIND_BITS) & mask),
			 pos);
}

/* The link that leads to the key, or that it belongs behind. */
static uint64_t *find(struct table *table, struct str key, uint64_t pos,
		      struct kvtable_entry **found)
{
	uint64_t *link = seek(table, pos);
	struct kvtable_entry *entry;
	struct str other;

	*found = NULL;
	while (*link) {
		entry = (struct kvtable_entry *)at(table, *link);
		if (position(&entry->node) != pos)
			break;
		other = entry_key(entry);
		if (is_entry(&entry->node) && other.len == key.len &&
		    !memcmp(other.p, key.p, key.len)) {
			*found = entry;
			break;
		}
		link = &entry->node.next;
	}
	return link;
}

/* Without memory for more buckets, the old ones just get longer. */
static void grow(struct table *table)
{
	struct kvtable_map *map = current(table);
	size_t size = sizeof(struct kvtable_node);
	uint64_t nr = map->buckets > 1 ? map->buckets * 2 : BLOCK_SIZE / size;

	table->grow_at = map->count + map->count / 8;
	if (!table->area && kho_vmalloc_create(table->kho, ARRAY_MAX,
					       BLOCK_SIZE, &table->area, NULL))
		return;
	if (kho_vmalloc_resize(table->area, nr * size, NULL))
		return;
	if (!kho_vmalloc_version(table->area) &&
	    kho_vmalloc_preserve(table->area, &map->area, NULL))
		return;
	table_publish(&map->buckets, nr);
	table->grow_at = nr;
}

/* ---- life cycle ---- */

static void forget_table(struct table *table)
{
	if (table->kmem)
		kho_kmem_destroy(table->kmem);
	kho_unpreserve_free(table->kho, table->root);
}

/* Every byte is taken as hostile. */
int table_check(const struct kho_mem *mem, uint64_t phys, struct kho_error *why)
{
	const struct kvtable_map *map;
	struct kvtable root;
	unsigned long long where = phys;

	if (kho_mem_read(mem, phys, &root, sizeof(root)))
		return kho_fail(why, -EFAULT,
				"the table at phys %#llx is outside the memory",
				where);
	if (root.version < KVTABLE_OLDEST || root.version > KVTABLE_VERSION ||
	    root.current > 1)
		return kho_fail(why, -EBADMSG,
				"there is no table at phys %#llx", where);
	map = &root.map[root.current];
	if (!map->buckets || map->buckets & (map->buckets - 1) ||
	    map->buckets > ARRAY_MAX / sizeof(struct kvtable_node))
		return kho_fail(why, -EBADMSG,
				"the table at phys %#llx has %llu buckets",
				where, (unsigned long long)map->buckets);
	return 0;
}

int table_create(struct table *table, struct kho *kho)
{
	int ret;

	memset(table, 0, sizeof(*table));
	table->kho = kho;
	table->grow_at = FEW_ENTRIES;
	table->root = kho_alloc_preserve(kho, sizeof(*table->root));
	if (!table->root)
		return -errno;
	ret = kho_kmem_create(kho, &table->kmem);
	if (!ret)
		ret = map_init(current(table));
	if (ret) {
		forget_table(table);
		return ret;
	}
	table->small = kho_kmem_max_size(table->kmem);
	table->root->version = KVTABLE_VERSION;
	table->root->upgraded = UPGRADED;
	table->root->kmem = kho_kmem_phys(table->kmem);
	return 0;
}

/*
 * Claims what the table consists of, and writes nothing. Entries that have
 * pages of their own are claimed when they are freed, so that the time this
 * takes does not depend on them.
 */
int table_restore(struct table *table, struct kho *kho, uint64_t phys,
		  struct kho_error *err)
{
	struct kvtable_map *map;
	int ret = 0;

	memset(table, 0, sizeof(*table));
	table->kho = kho;
	table->root = kho_restore_folio(kho, phys);
	if (!table->root)
		return kho_fail(err, -errno, "no table at phys %#llx",
				(unsigned long long)phys);
	map = current(table);
	table->grow_at = map->buckets > 1 ? map->buckets : FEW_ENTRIES;
	if (map->area.flags)
		ret = kho_vmalloc_restore(kho, &map->area, ARRAY_MAX,
					  &table->area, err);
	if (!ret)
		ret = kho_kmem_restore(kho, table->root->kmem, &table->kmem,
				       err);
	if (!ret)
		table->small = kho_kmem_max_size(table->kmem);
	return ret;
}

/* ---- finding, putting, deleting ---- */

uint64_t table_version(const struct table *table)
{
	return table->root->version;
}

uint64_t table_count(const struct table *table)
{
	return current(table)->count;
}

uint64_t table_buckets(const struct table *table)
{
	return current(table)->buckets;
}

struct kvtable_entry *table_find(struct table *table, struct str key)
{
	struct kvtable_entry *entry;

	find(table, key, order(table, key), &entry);
	return entry;
}

static struct kvtable_entry *new_entry(struct table *table, uint8_t what,
				       struct str key, struct str value)
{
	struct kvtable_entry head = { .klen = (uint32_t)key.len,
				      .vlen = (uint32_t)value.len };
	struct kvtable_entry *entry = NULL;

	if (key.len + value.len > KVTABLE_DATA_MAX)
		errno = EFBIG;
	else
		entry = table_alloc(table, size_as(&head, what));
	if (!entry)
		return NULL;
	head.node.order = order(table, key) << KIND_BITS | what;
	*entry = head;
	memcpy(entry + 1, key.p, key.len);
	memcpy((char *)(entry + 1) + key.len, value.p, value.len);
	return entry;
}

/* A complete entry that nothing links to yet. NULL: errno. */
struct kvtable_entry *table_new(struct table *table, struct str key,
				struct str value, uint64_t expires,
				uint64_t now)
{
	bool v1 = table->root->version < 2;
	struct kvtable_entry *entry =
		new_entry(table, v1 ? KVTABLE_ENTRY_V1 : KVTABLE_ENTRY_V2, key,
			  value);

	if (!entry)
		return NULL;
	entry->expires = expires;
	entry_touch(entry, now);
	return entry;
}

/*
 * The same for a list, without elements. Not in a table of version 1, which
 * this one is only while there is no memory to make it more.
 */
struct kvtable_entry *table_new_list(struct table *table, struct str key,
				     uint64_t now)
{
	struct kvtable_entry *entry = NULL;

	if (table->root->version < 2)
		errno = ENOSPC;
	else
		entry = new_entry(table, KVTABLE_LIST, key,
				  (struct str){ "", 0 });
	if (entry)
		*entry_list(entry) = (struct kvtable_list){ .accessed = now };
	return entry;
}

/* Frees an entry that nothing links to. */
void table_drop(struct table *table, struct kvtable_entry *entry)
{
	free_entry(table, entry);
}

/* Links an entry; returns the one whose place it took. */
static struct kvtable_entry *link_entry(struct table *table,
					struct kvtable_entry *entry)
{
	struct kvtable_entry *old;
	uint64_t *link =
		find(table, entry_key(entry), position(&entry->node), &old);

	if (old == entry)
		return NULL;
	entry->node.next = old ? old->node.next : *link;
	table_publish(link, kho_phys(table->kho, entry));
	if (!old && ++current(table)->count > table->grow_at)
		grow(table);
	return old;
}

/*
 * Links entries, all or none of them, even if killed: more than one are
 * written down first, so that table_recover() can finish the job. The last one
 * of several with the same key counts. On failure they are still the
 * caller's; -errno.
 */
int table_put(struct table *table, struct kvtable_entry **entries, size_t nr)
{
	size_t redo_size = (nr + 1) * sizeof(uint64_t);
	struct kvtable_entry *old;
	uint64_t *redo = NULL;
	size_t i;

	if (nr > 1) {
		redo = table_alloc(table, redo_size);
		if (!redo)
			return -errno;
		redo[0] = nr;
		for (i = 0; i < nr; i++)
			redo[i + 1] = kho_phys(table->kho, entries[i]);
		table_publish(&table->root->redo, kho_phys(table->kho, redo));
	}
	/* Nothing is freed before the last one is linked: redo needs it. */
	for (i = 0; i < nr; i++) {
		old = link_entry(table, entries[i]);
		if (old && entry_is_list(old))
			list_unchain(table, old);
		if (entry_is_list(entries[i]))
			list_chain(table, entries[i]);
		entries[i] = old;
	}
	table_publish(&table->root->redo, 0);
	for (i = 0; i < nr; i++) {
		if (entries[i])
			free_entry(table, entries[i]);
	}
	if (redo)
		table_free(table, redo, redo_size);
	return 0;
}

/* Takes out the entry that @link leads to. */
static void unlink_entry(struct table *table, uint64_t *link,
			 struct kvtable_entry *entry)
{
	table_publish(link, entry->node.next);
	current(table)->count--;
	if (entry_is_list(entry))
		list_unchain(table, entry);
	free_entry(table, entry);
}

bool table_delete(struct table *table, struct str key)
{
	struct kvtable_entry *entry;
	uint64_t *link = find(table, key, order(table, key), &entry);

	if (entry)
		unlink_entry(table, link, entry);
	return entry;
}

/*
 * Empties the table in one store, which needs no memory: the other map takes
 * over. What the old one had is freed then, or after a crash.
 */
void table_flush(struct table *table)
{
	uint64_t other = !table->root->current;
	struct kvtable_node *node = &current(table)->head;
	uint64_t next;

	if (map_init(&table->root->map[other]))
		abort(); /* no random numbers: the machine is broken */
	table->root->lists[other] = 0;
	table_publish(&table->root->current, other);
	table->grow_at = FEW_ENTRIES;

	for (next = node->next; next;) {
		node = at(table, next);
		next = node->next;
		if (is_entry(node))
			free_entry(table, (struct kvtable_entry *)node);
	}
	kho_vmalloc_destroy(table->area);
	table->area = NULL;
}

/* ---- walking ---- */

/*
 * Calls @visit for entries from position @cursor on. It gets the link that
 * leads to the entry, may change or remove the entry there, and returns the
 * link to go on from. Stops after @nr entries, or ten times as many nodes, but
 * never between entries of the same position.
 *
 * Returns the position to go on from, 0 at the end.
 */
static uint64_t walk(struct table *table, uint64_t cursor, uint64_t nr,
		     uint64_t *(*visit)(struct table *table, uint64_t *link,
					struct kvtable_entry *entry, void *arg),
		     void *arg)
{
	uint64_t nodes = nr * 10, last = cursor;
	uint64_t *link = seek(table, cursor);
	struct kvtable_node *node;

	while (*link) {
		node = at(table, *link);
		if ((!nr || !nodes) && position(node) != last)
			return position(node);
		last = position(node);
		nodes -= nodes > 0;
		if (is_entry(node)) {
			nr -= nr > 0;
			link = visit(table, link, (struct kvtable_entry *)node,
				     arg);
		} else {
			link = &node->next;
		}
	}
	return 0;
}

struct scan {
	void (*visit)(const struct kvtable_entry *entry, void *arg);
	void *arg;
};

static uint64_t *scan_entry(struct table *table, uint64_t *link,
			    struct kvtable_entry *entry, void *arg)
{
	struct scan *scan = arg;

	(void)table;
	(void)link;
	scan->visit(entry, scan->arg);
	return &entry->node.next;
}

uint64_t table_scan(struct table *table, uint64_t cursor, uint64_t nr,
		    void (*visit)(const struct kvtable_entry *entry, void *arg),
		    void *arg)
{
	struct scan scan = { visit, arg };

	return walk(table, cursor, nr, scan_entry, &scan);
}

static uint64_t *expire_entry(struct table *table, uint64_t *link,
			      struct kvtable_entry *entry, void *arg)
{
	if (!entry_expired(entry, *(uint64_t *)arg))
		return &entry->node.next;
	unlink_entry(table, link, entry);
	return link;
}

/* Deletes the expired ones of the next @nr entries; returns the next cursor. */
uint64_t table_expire(struct table *table, uint64_t cursor, uint64_t nr,
		      uint64_t now)
{
	return walk(table, cursor, nr, expire_entry, &now);
}

/* ---- upgrading and recovering ---- */

void table_raise_version(struct table *table)
{
	table_publish(&table->root->version, KVTABLE_VERSION);
}

/* Is the entry's memory the right one for another format, too? */
static bool fits(const struct table *table, const struct kvtable_entry *entry,
		 uint8_t what)
{
	size_t size = size_as(entry, what);
	size_t pages = object_pages(table, size);

	if (pages != object_pages(table, entry_size(entry)))
		return false;
	return pages || size <= entry_size(entry) ||
	       size <= kho_ksize(table->kmem, entry);
}

/*
 * Gives the entry that @link leads to another format: where it is, with one
 * store, if it fits there. Returns the entry; NULL: there is no memory.
 */
static struct kvtable_entry *reformat(struct table *table, uint64_t *link,
				      struct kvtable_entry *entry, uint8_t what,
				      uint64_t now)
{
	struct kvtable_entry *new;

	if (fits(table, entry, what)) {
		if (what == KVTABLE_ENTRY_V2)
			*last_used(entry) = now;
		table_publish(&entry->node.order,
			      position(&entry->node) << KIND_BITS | what);
		return entry;
	}
	new = new_entry(table, what, entry_key(entry), entry_value(entry));
	if (!new)
		return NULL;
	new->expires = entry->expires;
	entry_touch(new, now);
	new->node.next = entry->node.next;
	table_publish(link, kho_phys(table->kho, new));
	free_entry(table, entry);
	return new;
}

struct upgrade {
	uint64_t now;
	bool failed;
};

static uint64_t *upgrade_entry(struct table *table, uint64_t *link,
			       struct kvtable_entry *entry, void *arg)
{
	struct upgrade *upgrade = arg;
	struct kvtable_entry *new = entry;

	if (kind(&entry->node) == KVTABLE_ENTRY_V1)
		new = reformat(table, link, entry, KVTABLE_ENTRY_V2,
			       upgrade->now);
	if (!new)
		upgrade->failed = true;
	return new ? &new->node.next : &entry->node.next;
}

/*
 * Brings the next @nr entries to the newest format. Returns false when there
 * is no more to do for now: what there is no memory for stays as it is, and
 * readable, until another call.
 */
bool table_upgrade(struct table *table, uint64_t now, unsigned int nr)
{
	struct upgrade upgrade = { .now = now };
	uint64_t next;

	if (table->root->version < 2 || table->root->upgraded == UPGRADED)
		return false;
	next = walk(table, table->root->upgraded, nr, upgrade_entry, &upgrade);
	if (upgrade.failed)
		return false;
	table_publish(&table->root->upgraded, next ? next : UPGRADED);
	return next;
}

/* ---- going back ---- */

/* A key as people can read it: quoted, escaped, cut. */
static void quote(struct str key, char *text, size_t size)
{
	size_t at = 0, i;

	at += (size_t)snprintf(text, size, "'");
	for (i = 0; i < key.len && at + 8 < size; i++)
		at += (size_t)snprintf(text + at, size - at,
				       key.p[i] >= ' ' && key.p[i] <= '~' ?
					       "%c" :
					       "\\x%02x",
				       (uint8_t)key.p[i]);
	snprintf(text + at, size - at, i < key.len ? "...'" : "'");
}

/*
 * Lists are all that version 1 cannot hold. One that has expired and is still
 * there, because nobody came across it, does not count.
 */
int table_can_write(const struct table *table, uint32_t version, uint64_t now,
		    struct kho_error *why)
{
	struct kvtable_entry *entry = NULL;
	char names[200] = "", name[48], more[32] = "";
	unsigned long long n = 0;
	size_t at = 0;

	if (version >= 2)
		return 0;
	while ((entry = list_chained(table, entry))) {
		if (entry_expired(entry, now) || ++n > NAMED)
			continue;
		quote(entry_key(entry), name, sizeof(name));
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s",
				       n > 1 ? ", " : "", name);
	}
	if (!n)
		return 0;
	if (n > NAMED)
		snprintf(more, sizeof(more), " and %llu more", n - NAMED);
	return kho_fail(why, -ENOTSUP,
			"%llu %s, which kvtable-v%u cannot: %s%s: "
			"delete %s (DEL) or stay",
			n, n == 1 ? "key holds a list" : "keys hold lists",
			version, names, more, n == 1 ? "it" : "them");
}

/* The bucket that is the @n-th in the list, or would be. */
static struct kvtable_node *nth_bucket(const struct table *table, uint64_t n)
{
	uint64_t mask = current(table)->buckets - 1;

	n &= mask;
	return slot(table, mask ? reverse(n) >> __builtin_clzll(mask) : 0);
}

static void fetch(const void *entry)
{
	__builtin_prefetch(entry);
	__builtin_prefetch((const struct kvtable_entry *)entry + 1);
}

/*
 * To walk the list means to wait for memory at each step. Where buckets are is
 * known before, and so what comes next can be fetched in the meantime: buckets,
 * their first entries, and the ones behind these.
 */
static void fetch_ahead(const struct table *table, uint64_t n)
{
	const struct kvtable_node *first;

	__builtin_prefetch(nth_bucket(table, n + 3 * AHEAD));
	fetch(at(table, nth_bucket(table, n + 2 * AHEAD)->next));
	first = at(table, nth_bucket(table, n + AHEAD)->next);
	if (first)
		fetch(at(table, first->next));
}

/* The entries behind a bucket, up to the next one. */
static bool downgrade_from(struct table *table, struct kvtable_node *node)
{
	uint64_t *link = &node->next;
	struct kvtable_entry *entry;

	while (*link) {
		entry = (struct kvtable_entry *)at(table, *link);
		if (kind(&entry->node) == KVTABLE_BUCKET)
			break;
		if (kind(&entry->node) == KVTABLE_ENTRY_V2)
			entry = reformat(table, link, entry, KVTABLE_ENTRY_V1,
					 0);
		if (!entry)
			return false;
		link = &entry->node.next;
	}
	return true;
}

static int downgrade(struct table *table, struct kho_error *why)
{
	uint64_t buckets = current(table)->buckets, n;
	struct kvtable_node *node;

	for (n = 0; n < buckets; n++) {
		fetch_ahead(table, n);
		node = nth_bucket(table, n);
		/* Where it is none yet, its entries are behind the one before. */
		if (kind(node) == KVTABLE_BUCKET &&
		    !downgrade_from(table, node))
			return kho_fail(why, -errno,
					"no memory to rewrite a key: %s",
					strerror(errno));
	}
	return 0;
}

/*
 * Rewrites the table in another version. Killed or failed in the middle, it
 * leaves entries of both versions, which is a table of version 2.
 */
int table_convert(struct table *table, uint32_t version, uint64_t now,
		  struct kho_error *why)
{
	struct kvtable *root = table->root;
	struct kvtable_entry *entry;
	int ret = 0;

	if (version < 2 && root->version >= 2) {
		ret = table_can_write(table, version, now, why);
		if (ret)
			return ret;
		while ((entry = list_chained(table, NULL)))
			table_delete(table, entry_key(entry));
		table_publish(&root->upgraded, 0);
		memset(root->lists, 0, sizeof(root->lists));
		ret = downgrade(table, why);
	}
	if (!ret)
		table_publish(&root->version, version);
	return ret;
}

/* ---- recovering ---- */

/* What is in use: a bit for each 8 bytes of the arena, set where it begins. */
struct reached {
	struct table *table;
	uint64_t *bits;
};

static int reach(struct reached *reached, const void *object, size_t size)
{
	uint64_t phys = kho_phys(reached->table->kho, object);
	size_t pages = object_pages(reached->table, size);

	if (pages)
		return kho_restore_pages(reached->table->kho, phys, pages) ?
			       0 :
			       -errno;
	reached->bits[phys / 512] |= 1ull << phys / 8 % 64;
	return 0;
}

static bool is_reached(void *object, size_t size, void *arg)
{
	struct reached *reached = arg;
	uint64_t phys = kho_phys(reached->table->kho, object);

	(void)size;
	return reached->bits[phys / 512] >> phys / 8 % 64 & 1;
}

static int reach_entry(struct reached *reached, struct kvtable_entry *entry)
{
	struct table *table = reached->table;
	const struct kvtable_element *element;
	int ret = reach(reached, entry, entry_size(entry));

	if (ret || !entry_is_list(entry))
		return ret;
	list_mend(table, entry);
	list_chain(table, entry);
	for (element = list_at(table, entry, 0); element && !ret;
	     element = list_next(table, element))
		ret = reach(reached, element, element_size(element));
	return ret;
}

static int reach_all(struct reached *reached)
{
	struct table *table = reached->table;
	struct kvtable_map *map = current(table);
	struct kvtable_node *node;
	uint64_t next;
	int ret = 0;

	map->count = 0;
	memset(table->root->lists, 0, sizeof(table->root->lists));
	for (next = map->head.next; next && !ret; next = node->next) {
		node = at(table, next);
		if (!is_entry(node))
			continue;
		map->count++;
		ret = reach_entry(reached, (struct kvtable_entry *)node);
	}
	return ret;
}

/*
 * After a crash: finishes what table_put() began, counts, puts the lists right,
 * claims what has pages of its own, and frees what nothing links to. Pages
 * that nobody claimed, such as an array that table_flush() did not get to
 * free, are left to kho_free_unclaimed().
 */
int table_recover(struct table *table)
{
	struct reached reached = { .table = table };
	struct kho_pages_info info;
	uint64_t *redo, i;
	int64_t ret;

	if (table->root->redo) {
		redo = kho_ptr(table->kho, table->root->redo, sizeof(*redo));
		for (i = 1; i <= *redo; i++)
			link_entry(table,
				   (struct kvtable_entry *)at(table, redo[i]));
		table_publish(&table->root->redo, 0);
	}
	memset(&table->root->map[!table->root->current], 0,
	       sizeof(struct kvtable_map));
	kho_pages_info(table->kho, &info);
	reached.bits = calloc((info.total << kho_page_shift(table->kho)) / 512,
			      sizeof(*reached.bits));
	if (!reached.bits)
		return -ENOMEM;
	ret = reach_all(&reached);
	if (!ret)
		ret = kho_kmem_sweep(table->kmem, is_reached, &reached);
	free(reached.bits);
	return ret < 0 ? (int)ret : 0;
}
