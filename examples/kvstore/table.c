/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The hash table in the arena; table.h says how it is built and why. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <kho/pages.h>

#include "table.h"

/* So many entries are found fast enough in one bucket. */
#define FEW_ENTRIES 16
/* Of the array of buckets. */
#define BLOCK_SIZE (64ul << 10)
#define ARRAY_MAX (2ul << 30)
/* Of an order: below is the kind. */
#define POSITION (~0xffull)

struct entry *table_entry(const struct table *t, uint64_t phys)
{
	return kho_ptr(t->kho, phys, sizeof(struct entry));
}

static uint64_t position(const struct entry *e)
{
	return e->order & POSITION;
}

/* ---- changes ---- */

void table_log(struct table *t, uint64_t *word, uint64_t value)
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

void table_commit(struct table *t)
{
	publish(&t->root->logged, t->logged);
	t->logged = 0;
	apply(t);
}

/* ---- memory ---- */

/* What is too large for kmalloc gets pages of its own; how many of them. */
size_t table_pages(const struct table *t, size_t size)
{
	unsigned int shift = kho_page_shift(t->kho);

	if (size <= kho_kmem_max_size(t->kmem))
		return 0;
	return (size + (1ul << shift) - 1) >> shift;
}

void *table_alloc(struct table *t, size_t size)
{
	size_t pages = table_pages(t, size);
	void *object;
	int ret;

	if (!pages) {
		object = kho_kmalloc(t->kmem, size);
		if (object)
			recover_mark(t, object, size);
		return object;
	}
	object = kho_alloc_pages(t->kho, pages);
	ret = object ? kho_preserve_pages(t->kho, object, pages) : -errno;
	if (!ret)
		return object;
	if (object)
		kho_free_pages(t->kho, object, pages);
	errno = -ret;
	return NULL;
}

void table_free(struct table *t, void *object, size_t size)
{
	size_t pages = table_pages(t, size);

	if (!pages) {
		kho_kfree(t->kmem, object);
		return;
	}
	/* Not claimed yet, if it came with a handover. */
	kho_restore_pages(t->kho, kho_phys(t->kho, object), pages);
	kho_unpreserve_pages(t->kho, object, pages);
	kho_free_pages(t->kho, object, pages);
}

void table_drop(struct table *t, struct entry *e)
{
	if (entry_is_list(e))
		list_free(t, e);
	table_free(t, e, entry_size(e));
}

/* ---- entries ---- */

bool entry_is_list(const struct entry *e)
{
	return (uint8_t)e->order == ENTRY_LIST;
}

struct str entry_key(const struct entry *e)
{
	return (struct str){ (const char *)(e + 1), e->klen };
}

struct str entry_value(const struct entry *e)
{
	return (struct str){ (const char *)(e + 1) + e->klen, e->vlen };
}

struct list *entry_list(const struct entry *e)
{
	return (void *)(((uintptr_t)(e + 1) + e->klen + 7) & ~7ul);
}

size_t entry_size(const struct entry *e)
{
	if (entry_is_list(e))
		return (size_t)((char *)(entry_list(e) + 1) - (char *)e);
	return sizeof(*e) + e->klen + e->vlen;
}

bool entry_expired(const struct entry *e, uint64_t now)
{
	return e->expires && e->expires <= now;
}

uint64_t entry_accessed(const struct entry *e)
{
	return (uint8_t)e->order == ENTRY_V1 ? 0 : e->accessed;
}

void entry_touch(struct entry *e, uint64_t now)
{
	if ((uint8_t)e->order != ENTRY_V1)
		publish(&e->accessed, now);
}

/* ---- the order ---- */

static uint64_t reverse(uint64_t x)
{
	x = (x >> 1 & 0x5555555555555555) | (x & 0x5555555555555555) << 1;
	x = (x >> 2 & 0x3333333333333333) | (x & 0x3333333333333333) << 2;
	x = (x >> 4 & 0x0f0f0f0f0f0f0f0f) | (x & 0x0f0f0f0f0f0f0f0f) << 4;
	return __builtin_bswap64(x);
}

/* FNV-1a, 64 bits; where nobody can foretell it, keys cannot be made to meet. */
static uint64_t hash(const struct table *t, struct str key)
{
	uint64_t h = 0xcbf29ce484222325 ^ t->root->seed;
	size_t i;

	for (i = 0; i < key.len; i++)
		h = (h ^ (uint8_t)key.p[i]) * 0x100000001b3;
	return h;
}

/* ---- buckets ---- */

uint64_t *table_bucket(const struct table *t, uint64_t index)
{
	return index ? (uint64_t *)kho_vmalloc_base(t->area) + index :
		       &t->root->first;
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

	while ((e = table_entry(t, *link)) && position(e) < pos)
		link = &e->next;
	return link;
}

/* The link that leads to the key's entry, or where it would be linked. */
static uint64_t *find(const struct table *t, struct str key, uint64_t pos,
		      struct entry **found)
{
	uint64_t end, *link = table_bucket(t, bucket_of(t, pos, &end));
	struct entry *e;

	link = seek(t, link, pos);
	while ((e = table_entry(t, *link)) && position(e) == pos) {
		*found = e;
		if (e->klen == key.len && !memcmp(e + 1, key.p, key.len))
			return link;
		link = &e->next;
	}
	*found = NULL;
	return link;
}

static bool enlarge(struct table *t)
{
	struct kho_vmalloc *area = t->area;
	uint64_t size = area ? 2 * kho_vmalloc_size(area) : BLOCK_SIZE;

	if (!area &&
	    kho_vmalloc_create(t->kho, ARRAY_MAX, BLOCK_SIZE, &area, NULL))
		return false;
	if (!kho_vmalloc_resize(area, size, NULL) &&
	    (t->area || !kho_vmalloc_preserve(area, &t->root->area, NULL))) {
		t->area = area;
		return true;
	}
	if (!t->area)
		kho_vmalloc_destroy(area);
	return false;
}

/*
 * One or two more buckets, each with the end of another one's chain. Without
 * memory for them, the chains just get longer.
 */
static void grow(struct table *t)
{
	struct kvtable *root = t->root;
	uint64_t new = root->buckets, room, *link;
	unsigned int n;

	for (n = 0; n < 2 && new < root->count; n++, new ++) {
		room = t->area ? kho_vmalloc_size(t->area) : 0;
		if ((new + 1) * sizeof(*link) > room && !enlarge(t)) {
			t->grow_at = root->count + root->count / 8;
			return;
		}
		link = table_bucket(t, new & ~(1ull
					       << (63 - __builtin_clzll(new))));
		link = seek(t, link, reverse(new));
		table_log(t, table_bucket(t, new), *link);
		table_log(t, link, 0);
		table_log(t, &root->buckets, new + 1);
		table_commit(t);
	}
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
	if (root.version < KVTABLE_OLDEST || root.version > KVTABLE_VERSION)
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

	*t = (struct table){ .kho = kho, .grow_at = FEW_ENTRIES };
	t->root = kho_alloc_preserve(kho, sizeof(*t->root));
	if (!t->root)
		return -errno;
	ret = kho_kmem_create(kho, &t->kmem, NULL);
	if (ret) {
		kho_unpreserve_free(kho, t->root);
		return ret;
	}
	t->root->version = KVTABLE_VERSION;
	t->root->kmem = kho_kmem_phys(t->kmem);
	t->root->buckets = 1;
	if (KVTABLE_VERSION >= 3 &&
	    getrandom(&t->root->seed, sizeof(t->root->seed), 0) < 0)
		abort(); /* no random numbers: the machine is broken */
	return 0;
}

int table_restore(struct table *t, struct kho *kho, uint64_t phys,
		  struct kho_error *err)
{
	uint64_t room = 0;
	int ret = 0;

	*t = (struct table){ .kho = kho, .grow_at = FEW_ENTRIES };
	t->root = kho_restore_folio(kho, phys);
	if (!t->root)
		return kho_fail(err, -errno, "no table at phys %#llx",
				(unsigned long long)phys);
	if (t->root->area.flags)
		ret = kho_vmalloc_restore(kho, &t->root->area, ARRAY_MAX,
					  &t->area, err);
	if (!ret)
		ret = kho_kmem_restore(kho, t->root->kmem, &t->kmem, err);
	if (!ret && t->area)
		room = kho_vmalloc_size(t->area) / sizeof(uint64_t);
	if (!ret && t->root->buckets > 1 && t->root->buckets > room)
		ret = kho_fail(err, -EBADMSG, "the table lacks buckets");
	return ret;
}

/* ---- finding, putting, deleting ---- */

static uint64_t position_of(const struct table *t, struct str key)
{
	return reverse(hash(t, key)) & POSITION;
}

struct entry *table_find(struct table *t, struct str key)
{
	struct entry *e;

	find(t, key, position_of(t, key), &e);
	return e;
}

static struct entry *new_entry(struct table *t, enum kind kind, struct str key,
			       struct str value, uint64_t now)
{
	struct entry head = { .order = position_of(t, key) | kind,
			      .klen = (uint32_t)key.len,
			      .vlen = (uint32_t)value.len };
	struct entry *e = NULL;

	if (key.len + value.len > ENTRY_MAX)
		errno = EFBIG;
	else
		e = table_alloc(t, entry_size(&head));
	if (!e)
		return NULL;
	*e = head;
	entry_touch(e, now);
	memcpy(e + 1, key.p, key.len);
	memcpy((char *)(e + 1) + key.len, value.p, value.len);
	return e;
}

struct entry *table_new(struct table *t, struct str key, struct str value,
			uint64_t expires, uint64_t now)
{
	enum kind kind = t->root->version < 2 ? ENTRY_V1 : ENTRY_V2;
	struct entry *e = new_entry(t, kind, key, value, now);

	if (e)
		e->expires = expires;
	return e;
}

/* Without memory to make it more, this may still be a table of version 1. */
struct entry *table_new_list(struct table *t, struct str key, uint64_t now)
{
	struct entry *e = NULL;

	if (t->root->version < 2)
		errno = ENOSPC;
	else
		e = new_entry(t, ENTRY_LIST, key, (struct str){ "", 0 }, now);
	if (e)
		*entry_list(e) = (struct list){ 0 };
	return e;
}

/* Links an entry; returns the one whose place it took. */
static struct entry *put(struct table *t, struct entry *e)
{
	struct entry *old;
	uint64_t *link = find(t, entry_key(e), position(e), &old);

	if (old == e)
		return NULL;
	e->next = old ? old->next : *link;
	table_log(t, link, kho_phys(t->kho, e));
	if (!old)
		table_log(t, &t->root->count, t->root->count + 1);
	else if (entry_is_list(old))
		list_unlink(t, old);
	if (entry_is_list(e))
		list_link(t, e);
	table_commit(t);
	if (!old && t->root->count > t->grow_at)
		grow(t);
	return old;
}

/*
 * Links entries, all or none of them, even if killed: more than one are
 * written down first, so that table_resume() can finish the job. The last one
 * of several with the same key counts. On failure they are still the
 * caller's; -errno.
 */
int table_put(struct table *t, struct entry **entries, size_t nr)
{
	size_t size = (nr + 1) * sizeof(uint64_t), i;
	uint64_t *redo = nr > 1 ? table_alloc(t, size) : NULL;

	if (nr > 1 && !redo)
		return -errno;
	for (i = 0; redo && i < nr; i++)
		redo[i + 1] = kho_phys(t->kho, entries[i]);
	if (redo) {
		redo[0] = nr;
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

void table_resume(struct table *t)
{
	uint64_t *redo, i;

	apply(t);
	redo = kho_ptr(t->kho, t->root->redo, sizeof(*redo));
	for (i = 1; redo && i <= *redo; i++)
		put(t, table_entry(t, redo[i]));
	publish(&t->root->redo, 0);
}

bool table_delete(struct table *t, struct str key)
{
	struct entry *e;
	uint64_t *link = find(t, key, position_of(t, key), &e);

	if (!e)
		return false;
	table_log(t, link, e->next);
	table_log(t, &t->root->count, t->root->count - 1);
	if (entry_is_list(e))
		list_unlink(t, e);
	table_commit(t);
	table_drop(t, e);
	return true;
}

/* Needs no memory. What was in the table is freed then, or after a crash. */
void table_flush(struct table *t)
{
	uint64_t next = t->root->first, nr = t->root->buckets, i = 0;
	struct entry *e;

	table_log(t, &t->root->first, 0);
	table_log(t, &t->root->buckets, 1);
	table_log(t, &t->root->count, 0);
	table_log(t, &t->root->lists, 0);
	table_commit(t);
	t->list = NULL;
	t->grow_at = FEW_ENTRIES;
	do {
		while ((e = table_entry(t, next))) {
			next = e->next;
			table_drop(t, e);
		}
		next = ++i < nr ? *table_bucket(t, i) : 0;
	} while (i < nr);
	kho_vmalloc_destroy(t->area);
	t->area = NULL;
}

uint64_t table_walk(struct table *t, uint64_t cursor, uint64_t nr,
		    void (*visit)(struct table *t, struct entry *e, void *arg),
		    void *arg)
{
	uint64_t pos = cursor << 8, buckets = 10 * nr, phys, *link;

	do {
		link = table_bucket(t, bucket_of(t, pos, &pos));
		while ((phys = *link)) {
			visit(t, table_entry(t, phys), arg);
			if (*link == phys)
				link = &table_entry(t, phys)->next;
			nr -= nr > 0;
		}
	} while (pos && nr && --buckets);
	return pos >> 8;
}
