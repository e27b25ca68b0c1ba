/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The lists in the table; list.h says how they are built and why. */
#include <errno.h>
#include <string.h>

#include <kho/pages.h>

#include "list.h"

static struct kvtable_element *at(const struct table *table, uint64_t phys)
{
	return kho_ptr(table->kho, phys, sizeof(struct kvtable_element));
}

struct str element_value(const struct kvtable_element *element)
{
	return (struct str){ (const char *)(element + 1), element->len };
}

size_t element_size(const struct kvtable_element *element)
{
	return sizeof(*element) + element->len;
}

/* ---- finding ---- */

const struct kvtable_element *list_next(const struct table *table,
					const struct kvtable_element *element)
{
	return at(table, element->next);
}

const struct kvtable_element *list_prev(const struct table *table,
					const struct kvtable_element *element)
{
	return at(table, element->prev);
}

/* From the nearer end. */
static struct kvtable_element *
seek(const struct table *table, const struct kvtable_list *list, uint64_t index)
{
	struct kvtable_element *element;

	if (index >= list->length)
		return NULL;
	if (index < list->length / 2) {
		element = at(table, list->first);
		while (index--)
			element = at(table, element->next);
	} else {
		element = at(table, list->last);
		while (++index < list->length)
			element = at(table, element->prev);
	}
	return element;
}

const struct kvtable_element *list_at(const struct table *table,
				      const struct kvtable_entry *entry,
				      uint64_t index)
{
	return seek(table, entry_list(entry), index);
}

/* ---- adding and taking away ---- */

static void free_elements(struct table *table, struct kvtable_element *element,
			  const struct kvtable_element *end)
{
	struct kvtable_element *next;

	for (; element != end; element = next) {
		next = at(table, element->next);
		table_free(table, element, element_size(element));
	}
}

/* A piece of a list, from @first to @last, that nothing links to yet. */
struct piece {
	struct kvtable_element *first;
	struct kvtable_element *last;
};

/* What goes to the front of a list comes to stand there in opposite order. */
static void add_to_piece(const struct table *table, struct piece *piece,
			 enum list_end end, struct kvtable_element *new)
{
	struct kvtable_element *prev = end == LIST_LAST ? piece->last : NULL;
	struct kvtable_element *next = end == LIST_FIRST ? piece->first : NULL;

	new->prev = kho_phys(table->kho, prev);
	new->next = kho_phys(table->kho, next);
	if (prev)
		prev->next = kho_phys(table->kho, new);
	else
		piece->first = new;
	if (next)
		next->prev = kho_phys(table->kho, new);
	else
		piece->last = new;
}

static int make_piece(struct table *table, struct piece *piece,
		      enum list_end end, const struct str *values, size_t nr)
{
	struct kvtable_element *new;
	size_t i;

	*piece = (struct piece){ 0 };
	for (i = 0; i < nr; i++) {
		new = table_alloc(table, sizeof(*new) + values[i].len);
		if (!new) {
			free_elements(table, piece->first, NULL);
			return -ENOMEM;
		}
		new->len = values[i].len;
		memcpy(new + 1, values[i].p, values[i].len);
		add_to_piece(table, piece, end, new);
	}
	return 0;
}

int list_push(struct table *table, struct kvtable_entry *entry,
	      enum list_end end, const struct str *values, size_t nr)
{
	struct kvtable_list *list = entry_list(entry);
	struct kvtable_element *first = at(table, list->first);
	struct kvtable_element *last = at(table, list->last);
	struct piece piece;
	int ret = make_piece(table, &piece, end, values, nr);

	if (ret)
		return ret;
	if (end == LIST_LAST && last) {
		piece.first->prev = list->last;
		table_publish(&last->next, kho_phys(table->kho, piece.first));
	} else {
		piece.last->next = list->first;
		table_publish(&list->first, kho_phys(table->kho, piece.first));
	}
	if (end == LIST_FIRST && first)
		first->prev = kho_phys(table->kho, piece.last);
	else
		list->last = kho_phys(table->kho, piece.last);
	list->length += nr;
	return 0;
}

void list_pop(struct table *table, struct kvtable_entry *entry,
	      enum list_end end, uint64_t nr)
{
	struct kvtable_list *list = entry_list(entry);
	uint64_t rest = list->length - nr;
	struct kvtable_element *gone, *stays;

	if (end == LIST_FIRST) {
		gone = at(table, list->first);
		stays = seek(table, list, nr);
		table_publish(&list->first, kho_phys(table->kho, stays));
		stays->prev = 0;
		free_elements(table, gone, stays);
	} else {
		stays = seek(table, list, rest - 1);
		gone = at(table, stays->next);
		table_publish(&stays->next, 0);
		list->last = kho_phys(table->kho, stays);
		free_elements(table, gone, NULL);
	}
	list->length = rest;
}

/* ---- for the table ---- */

void list_free(struct table *table, struct kvtable_entry *entry)
{
	free_elements(table, at(table, entry_list(entry)->first), NULL);
}

void list_mend(struct table *table, struct kvtable_entry *entry)
{
	struct kvtable_list *list = entry_list(entry);
	struct kvtable_element *element;
	uint64_t next;

	list->last = 0;
	list->length = 0;
	for (next = list->first; next; next = element->next) {
		element = at(table, next);
		element->prev = list->last;
		list->last = next;
		list->length++;
	}
}

void list_chain(struct table *table, struct kvtable_entry *entry)
{
	uint64_t *head = &table->root->lists[table->root->current];
	struct kvtable_list *list = entry_list(entry);
	struct kvtable_entry *next = list_chained(table, NULL);

	list->chain = *head;
	list->chained = kho_phys(table->kho, head);
	if (next)
		entry_list(next)->chained = kho_phys(table->kho, &list->chain);
	*head = kho_phys(table->kho, entry);
}

void list_unchain(struct table *table, struct kvtable_entry *entry)
{
	const struct kvtable_list *list = entry_list(entry);
	struct kvtable_entry *next = list_chained(table, entry);
	uint64_t *from = kho_ptr(table->kho, list->chained, sizeof(*from));

	*from = list->chain;
	if (next)
		entry_list(next)->chained = list->chained;
}

/* The next list of the table; the first one behind NULL; NULL at the end. */
struct kvtable_entry *list_chained(const struct table *table,
				   const struct kvtable_entry *before)
{
	uint64_t phys = before ? entry_list(before)->chain :
				 table->root->lists[table->root->current];

	return kho_ptr(table->kho, phys, sizeof(struct kvtable_entry));
}
