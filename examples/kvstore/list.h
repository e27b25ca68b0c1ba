/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The lists that entries of the table can be (component kvtable, version 2).
 *
 * The elements of a list are linked both ways. What can be reached from its
 * first element is the list: one store there adds elements at either end or
 * takes some away, however many, so a killed program leaves the list without
 * the change or with it. The links back, the last element and the length
 * follow; where a kill came in between, list_mend() puts them right.
 *
 * An element takes 24 bytes and what it holds. To add one or take one away at
 * an end is the same work in a short list and in a long one; to find one in
 * the middle means to walk there from the nearer end.
 *
 * All lists of a table are in a chain, so that it does not take a walk over
 * all keys to know whether there are any.
 */
#ifndef KVSTORE_LIST_H
#define KVSTORE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "str.h"
#include "table.h"

/**
 * struct kvtable_list - a list; stands behind the key of its entry
 * @accessed: when it was last used, milliseconds since the epoch
 * @first: phys of the first element; never 0 in the table
 * @last: phys of the last one
 * @length: elements
 * @chain: phys of the entry that is the next list of the table
 * @chained: phys of what leads here: another list's @chain, or the table's
 */
struct kvtable_list {
	uint64_t accessed;
	uint64_t first;
	uint64_t last;
	uint64_t length;
	uint64_t chain;
	uint64_t chained;
};

/**
 * struct kvtable_element - of a list
 * @next: phys of the next one; 0 at the end
 * @prev: phys of the one before
 * @len: bytes that follow
 */
struct kvtable_element {
	uint64_t next;
	uint64_t prev;
	uint64_t len;
};

enum list_end {
	LIST_FIRST,
	LIST_LAST,
};

/*
 * Adds elements at an end, one after the other: all of them or, returning
 * -errno, none.
 */
int list_push(struct table *table, struct kvtable_entry *entry,
	      enum list_end end, const struct str *values, size_t nr);
/* Takes @nr elements, less than all, away: a list in the table has some. */
void list_pop(struct table *table, struct kvtable_entry *entry,
	      enum list_end end, uint64_t nr);

/* NULL when there is no such element, or no more. */
const struct kvtable_element *list_at(const struct table *table,
				      const struct kvtable_entry *entry,
				      uint64_t index);
const struct kvtable_element *list_next(const struct table *table,
					const struct kvtable_element *element);
const struct kvtable_element *list_prev(const struct table *table,
					const struct kvtable_element *element);
struct str element_value(const struct kvtable_element *element);
size_t element_size(const struct kvtable_element *element);

/* For the table: all elements go, and the rest after a crash. */
void list_free(struct table *table, struct kvtable_entry *entry);
void list_mend(struct table *table, struct kvtable_entry *entry);

/* And the chain of all lists. */
void list_chain(struct table *table, struct kvtable_entry *entry);
void list_unchain(struct table *table, struct kvtable_entry *entry);
struct kvtable_entry *list_chained(const struct table *table,
				   const struct kvtable_entry *before);

#endif
