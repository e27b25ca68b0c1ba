/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The lists that keys of the table can hold; table.h says how. */
#include <errno.h>
#include <string.h>

#include <kho/pages.h>

#include "table.h"

static uint64_t *slot(const struct table *t, const struct list *list,
		      uint64_t index)
{
	uint64_t *ring = kho_ptr(t->kho, list->ring, sizeof(*ring));

	return &ring[(list->first + index) & (list->room - 1)];
}

struct element *list_at(const struct table *t, const struct entry *e,
			uint64_t index)
{
	const struct list *list = entry_list(e);

	if (index >= list->length)
		return NULL;
	return kho_ptr(t->kho, *slot(t, list, index), sizeof(struct element));
}

static void free_elements(struct table *t, const struct list *list,
			  uint64_t from, uint64_t nr)
{
	struct element *element;

	for (; nr--; from++) {
		element = kho_ptr(t->kho, *slot(t, list, from), 8);
		table_free(t, element, sizeof(*element) + element->len);
	}
}

static void free_ring(struct table *t, const struct list *list)
{
	if (list->ring)
		table_free(t, kho_ptr(t->kho, list->ring, 8), 8 * list->room);
}

/* A larger ring, with all elements at its beginning. */
static int enlarge(struct table *t, struct entry *e, uint64_t length)
{
	struct list *list = entry_list(e), old = *list;
	uint64_t room = old.room ? old.room : 4, *ring, i;

	while (room < length)
		room *= 2;
	if (room == old.room)
		return 0;
	ring = table_alloc(t, room * sizeof(*ring));
	if (!ring)
		return -errno;
	for (i = 0; i < old.length; i++)
		ring[i] = *slot(t, &old, i);
	table_log(t, &list->ring, kho_phys(t->kho, ring));
	table_log(t, &list->room, room);
	table_log(t, &list->first, 0);
	table_commit(t);
	free_ring(t, &old);
	if (t->list == e)
		t->slot = 0;
	return 0;
}

int list_push(struct table *t, struct entry *e, enum list_end end,
	      const struct str *values, size_t nr)
{
	struct list *list = entry_list(e);
	int ret = enlarge(t, e, list->length + nr);
	struct element *new;
	uint64_t i, at;

	for (i = 0; i < nr && !ret; i++) {
		at = end == LIST_FIRST ? -i - 1 : list->length + i;
		new = table_alloc(t, sizeof(*new) + values[i].len);
		if (!new) {
			ret = -errno;
			free_elements(t, list,
				      end == LIST_FIRST ? -i : list->length, i);
			break;
		}
		new->len = values[i].len;
		memcpy(new->bytes, values[i].p, values[i].len);
		*slot(t, list, at) = kho_phys(t->kho, new);
	}
	if (ret)
		return ret;
	if (end == LIST_FIRST)
		table_log(t, &list->first, list->first - nr);
	table_log(t, &list->length, list->length + nr);
	table_commit(t);
	return 0;
}

void list_pop(struct table *t, struct entry *e, enum list_end end, uint64_t nr)
{
	struct list *list = entry_list(e), old = *list;

	if (end == LIST_FIRST)
		table_log(t, &list->first, list->first + nr);
	table_log(t, &list->length, list->length - nr);
	table_commit(t);
	free_elements(t, &old, end == LIST_FIRST ? 0 : list->length, nr);
}

void list_free(struct table *t, struct entry *e)
{
	const struct list *list = entry_list(e);

	free_elements(t, list, 0, list->length);
	free_ring(t, list);
}

/* ---- all lists of the table ---- */

struct entry *list_next(const struct table *t, const struct entry *e)
{
	return table_entry(t, e ? entry_list(e)->next : t->root->lists);
}

void list_link(struct table *t, struct entry *e)
{
	struct entry *next = list_next(t, NULL);
	struct list *list = entry_list(e);

	list->next = t->root->lists;
	list->link = kho_phys(t->kho, &t->root->lists);
	if (next)
		table_log(t, &entry_list(next)->link,
			  kho_phys(t->kho, &list->next));
	table_log(t, &t->root->lists, kho_phys(t->kho, e));
}

void list_unlink(struct table *t, struct entry *e)
{
	struct entry *next = list_next(t, e);
	struct list *list = entry_list(e);

	if (next)
		table_log(t, &entry_list(next)->link, list->link);
	table_log(t, kho_ptr(t->kho, list->link, 8), list->next);
	if (t->list == e) {
		t->list = next;
		t->slot = 0;
	}
}
