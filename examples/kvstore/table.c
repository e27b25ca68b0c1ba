/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The hash table in the arena; table.h says how it is built and why. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <kho/compat.h>
#include <kho/pages.h>

#include "table.h"

KHO_COMPONENT(kvtable, .write = { KVTABLE_VERSION, KVTABLE_VERSION },
	      .read = KVTABLE_READS, .deps = { "kmalloc", "vmalloc" });

/*
 * What a node is: the lowest byte of its order. A bucket is PENDING while its
 * node goes into the list; one that a killed program left so is done again.
 */
enum {
	PENDING = 1,
	BUCKET = 2,
	ENTRY_V1 = 0x11,
	ENTRY_V2 = 0x12,
};
#define ORDER_SHIFT 8

/* So many entries are found fast enough without more buckets. */
#define FEW_ENTRIES 16
/* Of the array. In so many blocks a process can map it, wherever they are. */
#define BLOCK_SIZE (64ul << 10)
#define ARRAY_MAX (2ul << 30)

/* Makes what was written before it reachable, in one store. */
static void publish(uint64_t *link, uint64_t value)
{
	__atomic_store_n(link, value, __ATOMIC_RELEASE);
}

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
	return node->order >> ORDER_SHIFT;
}

static uint8_t kind(const struct kvtable_node *node)
{
	return (uint8_t)node->order;
}

static bool is_entry(const struct kvtable_node *node)
{
	return kind(node) == ENTRY_V1 || kind(node) == ENTRY_V2;
}

static uint64_t reverse(uint64_t x)
{
	x = (x >> 1 & 0x5555555555555555) | (x & 0x5555555555555555) << 1;
	x = (x >> 2 & 0x3333333333333333) | (x & 0x3333333333333333) << 2;
	x = (x >> 4 & 0x0f0f0f0f0f0f0f0f) | (x & 0x0f0f0f0f0f0f0f0f) << 4;
	return __builtin_bswap64(x);
}

/* ---- entries ---- */

static size_t head_size(uint8_t what)
{
	return sizeof(struct kvtable_entry) +
	       (what == ENTRY_V2 ? sizeof(uint64_t) : 0);
}

static size_t entry_size(const struct kvtable_entry *entry)
{
	return head_size(kind(&entry->node)) + entry->klen + entry->vlen;
}

struct str entry_key(const struct kvtable_entry *entry)
{
	const char *p = (const char *)entry + head_size(kind(&entry->node));

	return (struct str){ p, entry->klen };
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
	publish(&entry->expires, expires);
}

/* When it was last used; 0 where that is not known. */
uint64_t entry_accessed(const struct kvtable_entry *entry)
{
	const uint64_t *accessed = (const uint64_t *)(entry + 1);

	return kind(&entry->node) == ENTRY_V2 ? *accessed : 0;
}

void entry_touch(struct kvtable_entry *entry, uint64_t now)
{
	if (kind(&entry->node) == ENTRY_V2)
		publish((uint64_t *)(entry + 1), now);
}

/* ---- memory ---- */

/* What is too large for kmalloc gets pages of its own; how many of them. */
static size_t object_pages(const struct table *table, size_t size)
{
	size_t page = 1ul << kho_page_shift(table->kho);

	if (size <= kho_kmem_max_size(table->kmem))
		return 0;
	return (size + page - 1) / page;
}

static void *alloc_object(struct table *table, size_t size)
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

static void free_object(struct table *table, void *object, size_t size)
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
	free_object(table, entry, entry_size(entry));
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
	return reverse(hash(current(table), key)) >> ORDER_SHIFT;
}

/* ---- buckets ---- */

static int map_init(struct kvtable_map *map)
{
	memset(map, 0, sizeof(*map));
	map->buckets = 1;
	map->head.order = BUCKET;
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
	uint64_t pos = reverse(index) >> ORDER_SHIFT;
	uint64_t *link, phys, top;

	if (kind(node) == BUCKET)
		return node;
	phys = kho_vmalloc_phys(table->area, node);
	top = 1ull << (63 - __builtin_clzll(index));
	link = seek_from(table, bucket(table, index & ~top), pos);
	if (*link != phys) {
		publish(&node->order, pos << ORDER_SHIFT | PENDING);
		node->next = *link;
		publish(link, phys);
	}
	publish(&node->order, pos << ORDER_SHIFT | BUCKET);
	return node;
}

static uint64_t *seek(struct table *table, uint64_t pos)
{
	uint64_t mask = current(table)->buckets - 1;

	return seek_from(table,
			 bucket(table, reverse(pos << ORDER_SHIFT) & mask),
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
	    kho_vmalloc_preserve(table->area, 0, &map->area, NULL))
		return;
	publish(&map->buckets, nr);
	table->grow_at = nr;
}

/* ---- life cycle ---- */

static void forget_table(struct table *table)
{
	if (table->kmem)
		kho_kmem_destroy(table->kmem);
	kho_unpreserve_free(table->kho, table->root);
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
	table->root->version = KVTABLE_VERSION;
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
	return ret ? ret :
		     kho_kmem_restore(kho, table->root->kmem, &table->kmem,
				      err);
}

/* ---- finding, putting, deleting ---- */

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

/* A complete entry that nothing links to yet. NULL: errno. */
struct kvtable_entry *table_new(struct table *table, struct str key,
				struct str value, uint64_t expires,
				uint64_t now)
{
	uint8_t what = table->root->version >= 2 ? ENTRY_V2 : ENTRY_V1;
	size_t size = head_size(what) + key.len + value.len;
	struct kvtable_entry *entry;

	if (size > KVTABLE_ENTRY_MAX) {
		errno = EFBIG;
		return NULL;
	}
	entry = alloc_object(table, size);
	if (!entry)
		return NULL;
	entry->node.next = 0;
	entry->node.order = order(table, key) << ORDER_SHIFT | what;
	entry->expires = expires;
	entry->klen = (uint32_t)key.len;
	entry->vlen = (uint32_t)value.len;
	entry_touch(entry, now);
	memcpy((char *)entry + head_size(what), key.p, key.len);
	memcpy((char *)entry + head_size(what) + key.len, value.p, value.len);
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
	publish(link, kho_phys(table->kho, entry));
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
	uint64_t *redo = NULL;
	size_t i;

	if (nr > 1) {
		redo = alloc_object(table, redo_size);
		if (!redo)
			return -errno;
		redo[0] = nr;
		for (i = 0; i < nr; i++)
			redo[i + 1] = kho_phys(table->kho, entries[i]);
		publish(&table->root->redo, kho_phys(table->kho, redo));
	}
	/* Nothing is freed before the last one is linked: redo needs it. */
	for (i = 0; i < nr; i++)
		entries[i] = link_entry(table, entries[i]);
	publish(&table->root->redo, 0);
	for (i = 0; i < nr; i++) {
		if (entries[i])
			free_entry(table, entries[i]);
	}
	if (redo)
		free_object(table, redo, redo_size);
	return 0;
}

/* Takes out the entry that @link leads to. */
static void unlink_entry(struct table *table, uint64_t *link,
			 struct kvtable_entry *entry)
{
	publish(link, entry->node.next);
	current(table)->count--;
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
	publish(&table->root->current, other);
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
	publish(&table->root->version, KVTABLE_VERSION);
}

#if KVSTORE_VERSION == 2

#define UPGRADED UINT64_MAX

struct upgrade {
	uint64_t now;
	bool failed;
};

static uint64_t *upgrade_entry(struct table *table, uint64_t *link,
			       struct kvtable_entry *entry, void *arg)
{
	struct upgrade *upgrade = arg;
	struct kvtable_entry *new;

	if (kind(&entry->node) == ENTRY_V2)
		return &entry->node.next;
	new = table_new(table, entry_key(entry), entry_value(entry),
			entry->expires, upgrade->now);
	if (!new) {
		upgrade->failed = true;
		return &entry->node.next;
	}
	new->node.next = entry->node.next;
	publish(link, kho_phys(table->kho, new));
	free_entry(table, entry);
	return &new->node.next;
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
	publish(&table->root->upgraded, next ? next : UPGRADED);
	return next;
}

#else

bool table_upgrade(struct table *table, uint64_t now, unsigned int nr)
{
	(void)table;
	(void)now;
	(void)nr;
	return false;
}

#endif

/* Is the object an entry that its key leads to? Its bytes may be anything. */
static bool reachable(void *object, size_t size, void *arg)
{
	struct table *table = arg;
	struct kvtable_entry *entry = object, *found;

	if (size < sizeof(*entry) || !is_entry(&entry->node) ||
	    entry_size(entry) > size)
		return false;
	find(table, entry_key(entry), order(table, entry_key(entry)), &found);
	return found == entry;
}

/*
 * After a crash: finishes what table_put() began, counts, claims the entries
 * that have pages of their own, and frees those that nothing links to. Pages
 * that nobody claimed, such as an array that table_flush() did not get to
 * free, are left to kho_free_unclaimed().
 */
int table_recover(struct table *table)
{
	struct kvtable_map *map = current(table);
	struct kvtable_node *node;
	struct kvtable_entry *entry;
	uint64_t count = 0, *redo, i, next;
	int64_t swept;
	size_t pages;

	if (table->root->redo) {
		redo = kho_ptr(table->kho, table->root->redo, sizeof(*redo));
		for (i = 1; i <= *redo; i++)
			link_entry(table,
				   (struct kvtable_entry *)at(table, redo[i]));
		publish(&table->root->redo, 0);
	}
	for (next = map->head.next; next; next = node->next) {
		node = at(table, next);
		if (!is_entry(node))
			continue;
		count++;
		entry = (struct kvtable_entry *)node;
		pages = object_pages(table, entry_size(entry));
		if (pages && !kho_restore_pages(table->kho, next, pages))
			return -errno;
	}
	map->count = count;
	memset(&table->root->map[!table->root->current], 0, sizeof(*map));
	swept = kho_kmem_sweep(table->kmem, reachable, table);
	return swept < 0 ? (int)swept : 0;
}
