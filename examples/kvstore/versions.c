/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The table in another version: step by step to a newer one, and back at once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "table.h"

/* Value of upgraded: all entries have the newest format. */
#define UPGRADED UINT64_MAX
/* Keys that a refusal names. */
#define NAMED 3
/* Buckets; so far ahead entries are fetched from memory. */
#define AHEAD 8

static void upgrade_entry(struct table *t, struct entry *e, void *now)
{
	(void)t;
	if ((uint8_t)e->order != ENTRY_V1)
		return;
	e->accessed = *(uint64_t *)now;
	publish(&e->order, (e->order & ~0xffull) | ENTRY_V2);
}

bool table_upgrade(struct table *t, uint64_t now, unsigned int nr)
{
	uint64_t next;

	if (t->root->version < 2 || t->root->upgraded == UPGRADED)
		return false;
	next = table_walk(t, t->root->upgraded, nr, upgrade_entry, &now);
	publish(&t->root->upgraded, next ? next : UPGRADED);
	return next;
}

/* A key as people can read it: quoted, escaped, cut. */
static int quote(struct str key, char *text, size_t size)
{
	int at = snprintf(text, size, "'");
	size_t i;

	for (i = 0; i < key.len && at < 40; i++)
		at += snprintf(text + at, size - (size_t)at,
			       key.p[i] >= ' ' && key.p[i] <= '~' ? "%c" :
								    "\\x%02x",
			       (uint8_t)key.p[i]);
	return at + snprintf(text + at, size - (size_t)at, "%s",
			     i < key.len ? "...'" : "'");
}

/* Lists are all that version 1 cannot hold; but for those that have expired. */
int table_can_write(const struct table *t, uint32_t version, uint64_t now,
		    struct kho_error *why)
{
	struct entry *e = NULL;
	char names[200] = "", more[32] = "";
	unsigned long long n = 0;
	int at = 0;

	while (version < 2 && (e = list_next(t, e))) {
		if (entry_expired(e, now) || ++n > NAMED)
			continue;
		at += snprintf(names + at, sizeof(names) - (size_t)at, "%s",
			       n > 1 ? ", " : "");
		at += quote(entry_key(e), names + at,
			    sizeof(names) - (size_t)at);
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

/* To wait for memory at each step takes longer than all the rest. */
static void fetch_ahead(const struct table *t, uint64_t bucket)
{
	const struct entry *first;

	if (bucket + 2 * AHEAD >= t->root->buckets)
		return;
	__builtin_prefetch(
		table_entry(t, *table_bucket(t, bucket + 2 * AHEAD)));
	first = table_entry(t, *table_bucket(t, bucket + AHEAD));
	if (first && first->next)
		__builtin_prefetch(table_entry(t, first->next));
}

static void downgrade(struct table *t)
{
	struct entry *e;
	uint64_t i;

	for (i = 0; i < t->root->buckets; i++) {
		fetch_ahead(t, i);
		e = table_entry(t, *table_bucket(t, i));
		for (; e; e = table_entry(t, e->next))
			publish(&e->order, (e->order & ~0xffull) | ENTRY_V1);
	}
}

/* Killed in the middle it leaves both formats: a table of version 2. */
int table_convert(struct table *t, uint32_t version, uint64_t now,
		  struct kho_error *why)
{
	struct entry *e;
	int ret;

	if (version < 2 && t->root->version >= 2) {
		ret = table_can_write(t, version, now, why);
		if (ret)
			return ret;
		while ((e = list_next(t, NULL)))
			table_delete(t, entry_key(e));
		publish(&t->root->upgraded, 0);
		downgrade(t);
	}
	publish(&t->root->version, version);
	return 0;
}
