/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The hash table in the arena; table.h says how it is built and why. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <kho/compat.h>
#include <kho/pages.h>
#include <kho/tree.h>

#include "table.h"

/* Of the versions that are read; all of them can be written, too. */
#define OLDEST (KVSTORE_VERSION < 3 ? 1 : 3)
/* Bytes of key and value together. */
#define ENTRY_MAX ((1ul << 30) - 64)
/* Keys that a refusal names. */
#define NAMED 3
/* Of the array of buckets. */
#define BLOCK_SIZE (64ul << 10)
#define ARRAY_MAX (2ul << 30)
/* Of an order: below is the kind. */
#define POSITION (~0xffull)
/* A bit of the position that only elements have. */
#define ELEMENT 0x100ull

static struct entry *entry_at(const struct table *t, uint64_t phys)
{
	return kho_ptr(t->kho, phys, sizeof(struct entry));
}

static uint64_t position(const struct entry *e)
{
	return e->order & POSITION;
}

/* ---- changes ---- */

/* Stores that a kill cannot part: first all of them into the log, then commit. */
static void set(struct table *t, uint64_t *word, uint64_t value)
{
	uint64_t phys = kho_phys(t->kho, word);

	if (!phys)
		phys = kho_vmalloc_phys(t->area, word);
	publish(&t->root->log[t->logged].phys, phys);
	publish(&t->root->log[t->logged++].value, value);
}

static void apply(struct table *t)
{
	uint64_t *word, i;

	for (i = 0; i < t->root->logged; i++) {
		word = kho_ptr(t->kho, t->root->log[i].phys, sizeof(*word));
		if (word)
			publish(word, t->root->log[i].value);
	}
	publish(&t->root->logged, 0);
}

static void commit(struct table *t)
{
	publish(&t->root->logged, t->logged);
	t->logged = 0;
	apply(t);
}

/* ---- memory ---- */

/* What is too large for kmalloc gets pages of its own; how many of them. */
static size_t own_pages(const struct table *t, size_t size)
{
	unsigned int shift = kho_page_shift(t->kho);

	if (size <= kho_kmem_max_size(t->kmem))
		return 0;
	return (size + (1ul << shift) - 1) >> shift;
}

static void *table_alloc(struct table *t, size_t size)
{
	size_t pages = own_pages(t, size);
	void *object;
	int ret;

	if (!pages)
		return kho_kmalloc(t->kmem, size);
	object = kho_alloc_pages(t->kho, pages);
	ret = object ? kho_preserve_pages(t->kho, object, pages) : -errno;
	if (!ret)
		return object;
	if (object)
		kho_free_pages(t->kho, object, pages);
	errno = -ret;
	return NULL;
}

static void table_free(struct table *t, void *object, size_t size)
{
	size_t pages = own_pages(t, size);

	if (!pages) {
		kho_kfree(t->kmem, object);
		return;
	}
	/* Not claimed yet, if it came with a handover. */
	kho_restore_pages(t->kho, kho_phys(t->kho, object), pages);
	kho_unpreserve_pages(t->kho, object, pages);
	kho_free_pages(t->kho, object, pages);
}

/* ---- entries ---- */

static size_t entry_size(const struct entry *e)
{
	return sizeof(*e) + e->klen + e->vlen;
}

/* ---- the order ---- */

static uint64_t reverse(uint64_t x)
{
	x = (x >> 1 & 0x5555555555555555) | (x & 0x5555555555555555) << 1;
	x = (x >> 2 & 0x3333333333333333) | (x & 0x3333333333333333) << 2;
	x = (x >> 4 & 0x0f0f0f0f0f0f0f0f) | (x & 0x0f0f0f0f0f0f0f0f) << 4;
	return __builtin_bswap64(x);
}

/*
 * FNV-1a, 64 bits. A seed that nobody knows keeps lists of keys that meet from
 * being made once for all servers. It is no keyed hash such as SipHash, though:
 * who can measure times may still find some.
 */
static uint64_t hash(const struct table *t, struct str key)
{
	uint64_t h = 0xcbf29ce484222325 ^ t->root->seed;
	size_t i;

	for (i = 0; i < key.len; i++)
		h = (h ^ (uint8_t)key.p[i]) * 0x100000001b3;
	return h;
}

/* ---- buckets ---- */

static uint64_t *table_bucket(const struct table *t, uint64_t index)
{
	return (uint64_t *)kho_vmalloc_base(t->area) + index;
}

/*
 * The bucket of a position, by the lowest bits of the hash: one bit more for
 * those that were parted already. @end: where the next one's positions begin;
 * 0 behind the last one.
 */
static uint64_t bucket_of(const struct table *t, uint64_t pos, uint64_t *end)
{
	uint64_t last = t->root->buckets - 1, top, index, bits;

	*end = 0;
	if (!last)
		return 0;
	bits = 64 - (uint64_t)__builtin_clzll(last);
	top = 1ull << (bits - 1);
	index = reverse(pos) & (top - 1);
	if (index + top > last)
		bits--;
	else
		index = reverse(pos) & (2 * top - 1);
	if (bits)
		*end = reverse(index) + (1ull << (64 - bits));
	return index;
}

/* The first link from @link on that leads to @pos or beyond. */
static uint64_t *seek(const struct table *t, uint64_t *link, uint64_t pos)
{
	struct entry *e;

	while ((e = entry_at(t, *link)) && position(e) < pos)
		link = &e->next;
	return link;
}

static uint64_t *find_position(const struct table *t, uint64_t pos)
{
	uint64_t end;

	return seek(t, table_bucket(t, bucket_of(t, pos, &end)), pos);
}

/* The link that leads to the key's entry, or where it would be linked. */
static uint64_t *find(const struct table *t, struct str key, uint64_t pos,
		      struct entry **found)
{
	uint64_t *link = find_position(t, pos);
	struct entry *e;

	while ((e = entry_at(t, *link)) && position(e) == pos) {
		*found = e;
		if (e->klen == key.len && !memcmp(e + 1, key.p, key.len))
			return link;
		link = &e->next;
	}
	*found = NULL;
	return link;
}

static uint64_t entries(const struct table *t)
{
	return t->root->count + t->root->elements;
}

/*
 * One or two more buckets, each with the end of another one's chain. Without
 * memory for them, the chains just get longer.
 */
static void grow(struct table *t)
{
	uint64_t new = t->root->buckets, size, *link;
	unsigned int n;

	for (n = 0; n < 2 && new < entries(t); n++, new ++) {
		size = kho_vmalloc_size(t->area);
		if (new == size / sizeof(*link) &&
		    kho_vmalloc_resize(t->area, 2 * size, NULL)) {
			t->grow_at = entries(t) + entries(t) / 8;
			return;
		}
		link = table_bucket(t, new & ~(1ull
					       << (63 - __builtin_clzll(new))));
		link = seek(t, link, reverse(new));
		set(t, table_bucket(t, new), *link);
		set(t, link, 0);
		set(t, &t->root->buckets, new + 1);
		commit(t);
	}
}

/* ---- finding, putting, deleting ---- */

static uint64_t position_of(const struct table *t, enum kind kind,
			    struct str key)
{
	return (reverse(hash(t, key)) & POSITION & ~ELEMENT) |
	       (kind == ENTRY_ELEMENT ? ELEMENT : 0);
}

struct entry *table_find(struct table *t, enum kind kind, struct str key)
{
	struct entry *e;

	find(t, key, position_of(t, kind, key), &e);
	return e;
}

struct entry *table_new(struct table *t, enum kind kind, struct str key,
			struct str value, uint64_t expires)
{
	size_t size = sizeof(struct entry) + key.len + value.len;
	struct entry *e = NULL;

	if (size > ENTRY_MAX)
		errno = EFBIG;
	else
		e = table_alloc(t, size);
	if (!e)
		return NULL;
	*e = (struct entry){ .order = position_of(t, kind, key) | kind,
			     .expires = expires,
			     .klen = (uint32_t)key.len,
			     .vlen = (uint32_t)value.len };
	entry_touch(t, e);
	memcpy(e + 1, key.p, key.len);
	memcpy((char *)(e + 1) + key.len, value.p, value.len);
	return e;
}

void table_drop(struct table *t, struct entry *e)
{
	if (entry_kind(e) == ENTRY_LIST)
		list_pop(t, e, LIST_FIRST, entry_list(e)->length);
	table_free(t, e, entry_size(e));
}

/* How many there are of its kind. */
static uint64_t *counter(struct table *t, const struct entry *e)
{
	return entry_kind(e) == ENTRY_ELEMENT ? &t->root->elements :
						&t->root->count;
}

/* Links an entry; returns the one whose place it took. */
static struct entry *put(struct table *t, struct entry *e)
{
	struct entry *old;
	uint64_t *link = find(t, entry_key(e), position(e), &old);

	if (old == e)
		return NULL;
	e->next = old ? old->next : *link;
	set(t, link, kho_phys(t->kho, e));
	if (!old)
		set(t, counter(t, e), *counter(t, e) + 1);
	commit(t);
	if (!old && entries(t) > t->grow_at)
		grow(t);
	return old;
}

/* More than one are written down first, for table_resume() to finish the job. */
int table_put(struct table *t, struct entry **entries, size_t nr)
{
	size_t size = (nr + 1) * sizeof(uint64_t), i;
	uint64_t *redo = NULL;

	if (nr > 1) {
		redo = table_alloc(t, size);
		if (!redo)
			return -errno;
		redo[0] = nr;
		for (i = 0; i < nr; i++)
			redo[i + 1] = kho_phys(t->kho, entries[i]);
		publish(&t->root->redo, kho_phys(t->kho, redo));
	}
	for (i = 0; i < nr; i++)
		entries[i] = put(t, entries[i]);
	publish(&t->root->redo, 0);
	/* Not before: it would have needed them. */
	for (i = 0; i < nr; i++) {
		if (entries[i])
			table_drop(t, entries[i]);
	}
	if (redo)
		table_free(t, redo, size);
	return 0;
}

bool table_delete(struct table *t, enum kind kind, struct str key)
{
	struct entry *e;
	uint64_t *link = find(t, key, position_of(t, kind, key), &e);

	if (!e)
		return false;
	set(t, link, e->next);
	set(t, counter(t, e), *counter(t, e) - 1);
	commit(t);
	table_drop(t, e);
	return true;
}

/* Needs no memory. What was in the table is freed then, or after a crash. */
void table_flush(struct table *t)
{
	uint64_t next = *table_bucket(t, 0), nr = t->root->buckets, i = 0;
	struct entry *e;

	set(t, table_bucket(t, 0), 0);
	set(t, &t->root->buckets, 1);
	set(t, &t->root->count, 0);
	set(t, &t->root->elements, 0);
	commit(t);
	t->grow_at = 0;
	do {
		while ((e = entry_at(t, next))) {
			next = e->next;
			table_free(t, e, entry_size(e));
		}
		next = ++i < nr ? *table_bucket(t, i) : 0;
	} while (i < nr);
	kho_vmalloc_resize(t->area, BLOCK_SIZE, NULL);
}

uint64_t table_walk(struct table *t, uint64_t cursor, uint64_t nr,
		    void (*visit)(struct table *t, struct entry *e, void *arg),
		    void *arg)
{
	uint64_t pos = cursor << 8, buckets = 10 * nr, at, before, *link;
	struct entry *e;

	do {
		link = table_bucket(t, bucket_of(t, pos, &pos));
		while ((e = entry_at(t, *link))) {
			at = position(e);
			before = entries(t);
			visit(t, e, arg);
			/* What was deleted may be what the link is in. */
			link = entries(t) == before ? &e->next :
						      find_position(t, at);
			nr -= nr > 0;
		}
	} while (pos && nr && --buckets);
	return pos >> 8;
}

/* ---- lists ---- */

/* The key of an element. @position: of the key that has the list. */
struct element_key {
	uint64_t position;
	uint64_t id;
	uint64_t index;
};

struct list *entry_list(const struct entry *e)
{
	return (void *)(((uintptr_t)entry_value(e).p + 7) & ~7ul);
}

struct entry *list_new(struct table *t, struct str key)
{
	static const char zeros[sizeof(struct list) + 7];
	struct entry *e = NULL;

	/* There was no memory to make it more than a table of version 1. */
	errno = ENOSPC;
	if (t->root->version >= 2)
		e = table_new(t, ENTRY_LIST, key,
			      (struct str){ zeros, sizeof(zeros) }, 0);
	if (e) {
		publish(&t->root->lists, t->root->lists + 1);
		entry_list(e)->id = t->root->lists;
	}
	return e;
}

/* Of the element there, counted from the first one; good for one call. */
static struct str key_of(const struct entry *e, uint64_t at)
{
	static struct element_key key;

	key = (struct element_key){ position(e), entry_list(e)->id,
				    entry_list(e)->first + at };
	return (struct str){ (char *)&key, sizeof(key) };
}

struct entry *list_at(struct table *t, const struct entry *e, uint64_t index)
{
	if (index >= entry_list(e)->length)
		return NULL;
	return table_find(t, ENTRY_ELEMENT, key_of(e, index));
}

int list_push(struct table *t, struct entry *e, enum list_end end,
	      const struct str *values, size_t nr)
{
	struct list *list = entry_list(e);
	uint64_t at = end == LIST_FIRST ? -1ull : list->length;
	uint64_t step = end == LIST_FIRST ? -1ull : 1;
	struct entry *element;
	size_t i;
	int ret;

	for (i = 0; i < nr; i++, at += step) {
		element = table_new(t, ENTRY_ELEMENT, key_of(e, at), values[i],
				    0);
		if (!element) {
			ret = -errno;
			while (i--)
				table_delete(t, ENTRY_ELEMENT,
					     key_of(e, at -= step));
			return ret;
		}
		table_put(t, &element, 1);
	}
	if (end == LIST_FIRST)
		set(t, &list->first, list->first - nr);
	set(t, &list->length, list->length + nr);
	commit(t);
	return 0;
}

void list_pop(struct table *t, struct entry *e, enum list_end end, uint64_t nr)
{
	struct list *list = entry_list(e);
	uint64_t at = end == LIST_FIRST ? -nr : list->length - nr;

	if (end == LIST_FIRST)
		set(t, &list->first, list->first + nr);
	set(t, &list->length, list->length - nr);
	commit(t);
	for (; nr--; at++)
		table_delete(t, ENTRY_ELEMENT, key_of(e, at));
}

/* Left behind by a kill: the list does not reach so far, or is gone. */
static bool is_orphan(struct table *t, const struct entry *element)
{
	const struct element_key *key = (void *)entry_key(element).p;
	struct entry *e = entry_at(t, *find_position(t, key->position));

	for (; e && position(e) == key->position; e = entry_at(t, e->next)) {
		if (entry_kind(e) == ENTRY_LIST && entry_list(e)->id == key->id)
			return key->index - entry_list(e)->first >=
			       entry_list(e)->length;
	}
	return true;
}

/* ---- other versions ---- */

struct in_the_way {
	unsigned long long n;
	char names[NAMED * 50];
};

/* Adds a key as people can read it: quoted, escaped, cut. */
static void name(struct in_the_way *w, struct str key)
{
	char *p = w->names + strlen(w->names), *start;
	size_t i;

	p += sprintf(p, w->n > 1 ? ", '" : "'");
	start = p;
	for (i = 0; i < key.len && p - start < 39; i++)
		p += sprintf(p,
			     key.p[i] >= ' ' && key.p[i] <= '~' ? "%c" :
								  "\\x%02x",
			     (uint8_t)key.p[i]);
	sprintf(p, i < key.len ? "...'" : "'");
}

static void look(struct table *t, struct entry *e, void *arg)
{
	struct in_the_way *w = arg;

	if (entry_kind(e) == ENTRY_LIST && !entry_expired(t, e) &&
	    ++w->n <= NAMED)
		name(w, entry_key(e));
}

/* Lists are all that version 1 cannot hold; but for those that have expired. */
static int can_write(struct kho *kho, uint32_t version, void *arg,
		     struct kho_error *why)
{
	struct in_the_way w = { 0 };
	struct table *t = arg;
	char more[32] = "";

	(void)kho;
	if (version < 2 && t->root->elements)
		table_walk(t, 0, UINT32_MAX, look, &w);
	if (!w.n)
		return 0;
	if (w.n > NAMED)
		snprintf(more, sizeof(more), " and %llu more", w.n - NAMED);
	return kho_fail(why, -ENOTSUP,
			"%llu %s, which kvtable-v%u cannot: %s%s: "
			"delete %s (DEL) or stay",
			w.n, w.n == 1 ? "key holds a list" : "keys hold lists",
			version, w.names, more, w.n == 1 ? "it" : "them");
}

/* A list goes with its elements; some may be left of one that was killed. */
static void remove_list(struct table *t, struct entry *e, void *arg)
{
	(void)arg;
	if (entry_kind(e) == ENTRY_LIST ||
	    (entry_kind(e) == ENTRY_ELEMENT && is_orphan(t, e)))
		table_delete(t, entry_kind(e), entry_key(e));
}

/* Killed in the middle it leaves a table of version 2. */
int table_convert(struct kho *kho, uint32_t version, void *arg,
		  struct kho_error *why)
{
	struct table *t = arg;
	int ret = can_write(kho, version, arg, why);

	if (ret)
		return ret;
	if (version < 2 && t->root->elements)
		table_walk(t, 0, UINT32_MAX, remove_list, NULL);
	if (version > t->root->version)
		publish(&t->root->since, t->now);
	publish(&t->root->version, version);
	return 0;
}

static const struct kho_component_ops ops = {
	.can_write = can_write,
	.convert = table_convert,
};
KHO_COMPONENT_OPS(kvtable, &ops, .write = { OLDEST, KVSTORE_VERSION },
		  .read = { OLDEST, KVSTORE_VERSION },
		  .deps = { "kmalloc", "vmalloc" },
		  .flags = KHO_COMPONENT_CAN_WRITE | KHO_COMPONENT_CONVERT);

void table_upgrade(struct table *t)
{
	if (t->root->version < KVSTORE_VERSION &&
	    !kho_set_version(t->kho, &kvtable_component, KVSTORE_VERSION, NULL))
		table_convert(t->kho, KVSTORE_VERSION, t, NULL);
}

/* ---- recovery ---- */

void table_resume(struct table *t)
{
	uint64_t *redo, i;

	apply(t);
	redo = kho_ptr(t->kho, t->root->redo, sizeof(*redo));
	for (i = 1; redo && i <= *redo; i++)
		put(t, entry_at(t, redo[i]));
	publish(&t->root->redo, 0);
}

/* What is linked: elements that no list has go, pages are claimed. */
static void claim(struct table *t, struct entry *e, void *arg)
{
	(void)arg;
	if (entry_kind(e) == ENTRY_ELEMENT && is_orphan(t, e))
		table_delete(t, ENTRY_ELEMENT, entry_key(e));
	else if (own_pages(t, entry_size(e)))
		kho_restore_pages(t->kho, kho_phys(t->kho, e),
				  own_pages(t, entry_size(e)));
}

/* An object is in use where the table leads to it, whatever is in it. */
static bool is_linked(void *object, size_t size, void *arg)
{
	struct table *t = arg;
	uint64_t pos = position(object);
	struct entry *e = entry_at(t, *find_position(t, pos));

	(void)size;
	while (e && e != object && position(e) == pos)
		e = entry_at(t, e->next);
	return e == object;
}

bool table_recover_step(struct table *t, unsigned int nr)
{
	if (t->recovered != UINT64_MAX) {
		t->recovered = table_walk(t, t->recovered, nr, claim, NULL);
		if (!t->recovered)
			t->recovered = UINT64_MAX;
		return true;
	}
	if (kho_kmem_sweep_slab(t->kmem, &t->slab, is_linked, t) >= 0 &&
	    t->slab)
		return true;
	/* What nobody claimed has pages of its own, and nothing leads to it. */
	kho_free_unclaimed(t->kho, NULL);
	return false;
}

/* ---- its life ---- */

/* Every byte is taken as hostile. */
int table_check(const struct kho_mem *mem, uint64_t phys, struct kho_error *why)
{
	unsigned long long at = phys;
	struct kvtable root;

	if (kho_mem_read(mem, phys, &root, sizeof(root)))
		return kho_fail(why, -EFAULT,
				"the table at phys %#llx is outside the memory",
				at);
	if (root.version < OLDEST || root.version > KVSTORE_VERSION)
		return kho_fail(why, -EBADMSG,
				"there is no table at phys %#llx", at);
	if (!root.buckets || root.buckets > ARRAY_MAX / sizeof(uint64_t))
		return kho_fail(why, -EBADMSG,
				"the table at phys %#llx has %llu buckets", at,
				(unsigned long long)root.buckets);
	if (root.logged > sizeof(root.log) / sizeof(*root.log))
		return kho_fail(why, -EBADMSG,
				"the table at phys %#llx logged %llu words", at,
				(unsigned long long)root.logged);
	return 0;
}

int table_create(struct table *t, struct kho *kho)
{
	int ret;

	*t = (struct table){ .kho = kho, .now = t->now };
	t->root = kho_alloc_preserve(kho, sizeof(*t->root));
	if (!t->root)
		return -errno;
	ret = kho_kmem_create(kho, &t->kmem, NULL);
	if (!ret)
		ret = kho_vmalloc_create(kho, ARRAY_MAX, BLOCK_SIZE, &t->area,
					 NULL);
	if (!ret)
		ret = kho_vmalloc_resize(t->area, BLOCK_SIZE, NULL);
	if (!ret)
		ret = kho_vmalloc_preserve(t->area, &t->root->area, NULL);
	if (ret)
		return ret; /* and the program ends, with its new arena */
	t->root->version = KVSTORE_VERSION;
	t->root->kmem = kho_kmem_phys(t->kmem);
	t->root->buckets = 1;
	if (KVSTORE_VERSION >= 3 &&
	    getrandom(&t->root->seed, sizeof(t->root->seed), 0) < 0)
		abort(); /* no random numbers: the machine is broken */
	return 0;
}

int table_restore(struct table *t, struct kho *kho, uint64_t phys,
		  struct kho_error *err)
{
	int ret;

	*t = (struct table){ .kho = kho, .now = t->now };
	t->root = kho_restore_folio(kho, phys);
	if (!t->root)
		return kho_fail(err, -errno, "no table at phys %#llx",
				(unsigned long long)phys);
	ret = kho_vmalloc_restore(kho, &t->root->area, ARRAY_MAX, &t->area,
				  err);
	if (!ret)
		ret = kho_kmem_restore(kho, t->root->kmem, &t->kmem, err);
	if (!ret &&
	    t->root->buckets > kho_vmalloc_size(t->area) / sizeof(uint64_t))
		ret = kho_fail(err, -EBADMSG, "the table lacks buckets");
	return ret;
}
