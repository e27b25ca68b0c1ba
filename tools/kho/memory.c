// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* What the preserved pages of a state are for. */
#include <stdlib.h>
#include <string.h>

#include <kho/tracker.h>

#include "kho.h"
#include "memory.h"

/* The order has room where the phys of a page has zeros. */
static int add_folio(uint64_t phys, unsigned int order, void *arg)
{
	struct memory *memory = arg;

	*append(memory->folios, memory->n_folios) = phys | order;
	memory->by_order[order]++;
	memory->pages += 1ull << order;
	return 0;
}

static int add_node(uint64_t phys, void *arg)
{
	struct memory *memory = arg;

	memory->nodes++;
	memory_reach(memory, 0, phys, 1);
	return 0;
}

int memory_read(struct memory *memory, const struct kho_mem *mem,
		uint64_t tracker, struct kho_error *err)
{
	const struct kho_tracker_walk walk = { .folio = add_folio,
					       .node = add_node,
					       .arg = memory };
	int ret;

	*memory = (struct memory){ .page_shift = mem->page_shift };
	memory_use(memory, USE_TRACKER, "/", "tracker");
	ret = kho_tracker_walk(mem, tracker, &walk, err);
	if (memory->n_folios)
		qsort(memory->folios, memory->n_folios, sizeof(*memory->folios),
		      compare_numbers);
	return ret;
}

void memory_free(struct memory *memory)
{
	for (size_t i = 0; i < memory->n_uses; i++) {
		free(memory->uses[i].owner);
		free(memory->uses[i].what);
	}
	free(memory->uses);
	free(memory->extents);
	free(memory->folios);
	*memory = (struct memory){ 0 };
}

int memory_order(const struct memory *memory, uint64_t phys)
{
	size_t low = 0, high = memory->n_folios;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (folio_phys(memory, middle) < phys)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == memory->n_folios || folio_phys(memory, low) != phys)
		return -1;
	return (int)folio_order(memory, low);
}

uint32_t memory_use(struct memory *memory, enum use_class class,
		    const char *owner, const char *what)
{
	*append(memory->uses, memory->n_uses) = (struct use){
		.class = class,
		.owner = must(strdup(owner)),
		.what = must(strdup(what)),
	};
	return (uint32_t)memory->n_uses - 1;
}

void memory_reach(struct memory *memory, uint32_t use, uint64_t phys,
		  uint64_t size)
{
	uint64_t first = phys >> memory->page_shift, end;
	struct extent *last;

	if (!size || phys + size - 1 < phys)
		return;
	end = ((phys + size - 1) >> memory->page_shift) + 1;
	memory->uses[use].pages += end - first;
	last = memory->n_extents ? &memory->extents[memory->n_extents - 1] :
				   NULL;
	if (last && last->use == use && last->end == first) {
		last->end = end;
		return;
	}
	*append(memory->extents, memory->n_extents) =
		(struct extent){ first, end, use };
}

void memory_reach_object(struct memory *memory, uint32_t use, uint64_t phys,
			 uint64_t size)
{
	int order = memory_order(memory, phys);
	uint64_t folio = 0;

	if (order >= 0 && (unsigned int)order + memory->page_shift < 64)
		folio = 1ull << ((unsigned int)order + memory->page_shift);
	memory_reach(memory, use, phys, size > folio ? size : folio);
}

/*
 * The comparison is a sweep over the pages at which something begins or ends:
 * an extent, or (@use is NO_USE) folios.
 */
struct event {
	uint64_t page;
	uint32_t use;
	bool begins;
};

static int by_page(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	return (x->page > y->page) - (x->page < y->page);
}

/* Folios that follow one another count as one: there may be millions. */
static size_t folio_events(const struct memory *memory, struct event *events)
{
	uint64_t end = 0;
	size_t n = 0;

	for (size_t i = 0; i < memory->n_folios; i++) {
		uint64_t first = folio_phys(memory, i) >> memory->page_shift;

		if (!n || first != end) {
			events[n++] = (struct event){ first, NO_USE, true };
			n++;
		}
		end = first + (1ull << folio_order(memory, i));
		events[n - 1] = (struct event){ end, NO_USE, false };
	}
	return n;
}

static struct event *make_events(const struct memory *memory, size_t *n)
{
	struct event *events =
		must(calloc(2 * (memory->n_folios + memory->n_extents) + 1,
			    sizeof(*events)));

	*n = folio_events(memory, events);
	for (size_t i = 0; i < memory->n_extents; i++) {
		const struct extent *e = &memory->extents[i];

		events[(*n)++] = (struct event){ e->first, e->use, true };
		events[(*n)++] = (struct event){ e->end, e->use, false };
	}
	qsort(events, *n, sizeof(*events), by_page);
	return events;
}

/*
 * struct open - what a place of the sweep is in
 * @folios: how many
 * @users: how many extents
 * @count: of them, by use
 * @first: a use that has any; the others follow, a list
 * @next, @prev: in it
 */
struct open {
	uint64_t folios;
	uint64_t users;
	uint64_t *count;
	uint32_t first;
	uint32_t *next;
	uint32_t *prev;
};

static void open_init(struct open *open, size_t n_uses)
{
	*open = (struct open){
		.count = must(calloc(n_uses, sizeof(*open->count))),
		.first = NO_USE,
		.next = must(calloc(n_uses, sizeof(*open->next))),
		.prev = must(calloc(n_uses, sizeof(*open->prev))),
	};
}

static void open_free(struct open *open)
{
	free(open->count);
	free(open->next);
	free(open->prev);
}

static void open_link(struct open *open, uint32_t use)
{
	open->next[use] = open->first;
	open->prev[use] = NO_USE;
	if (open->first != NO_USE)
		open->prev[open->first] = use;
	open->first = use;
}

static void open_unlink(struct open *open, uint32_t use)
{
	uint32_t next = open->next[use], prev = open->prev[use];

	if (next != NO_USE)
		open->prev[next] = prev;
	if (prev != NO_USE)
		open->next[prev] = next;
	else
		open->first = next;
}

static void open_change(struct open *open, const struct event *event)
{
	if (event->use == NO_USE) {
		open->folios += event->begins ? 1 : -1ull;
	} else if (event->begins) {
		open->users++;
		if (!open->count[event->use]++)
			open_link(open, event->use);
	} else {
		open->users--;
		if (!--open->count[event->use])
			open_unlink(open, event->use);
	}
}

/* Is it no matter of the tracker? */
static bool is_kept(const struct memory *memory, uint32_t use)
{
	return memory->uses[use].class == USE_TRACKER ||
	       memory->uses[use].class == USE_SUPER;
}

/* What is so at this place; false when there is nothing. */
static bool judge(const struct memory *memory, const struct open *open,
		  struct accounted *a)
{
	a->use = open->first;
	a->other = NO_USE;
	if (open->users > 1) {
		a->account = SHARED;
		a->other = open->count[a->use] > 1 ? a->use :
						     open->next[a->use];
	} else if (open->users && is_kept(memory, a->use)) {
		a->account = open->folios ? PRESERVED_KEPT : ACCOUNTED;
	} else if (open->folios > 1) {
		a->account = PRESERVED_TWICE;
	} else if (open->users) {
		a->account = open->folios ? ACCOUNTED : UNPRESERVED;
	} else {
		a->account = UNREACHED;
	}
	return open->users || open->folios;
}

void memory_account(const struct memory *memory,
		    void (*each)(const struct accounted *accounted, void *arg),
		    void *arg)
{
	struct accounted run = { 0 }, now = { 0 };
	struct event *events;
	bool running = false;
	struct open open;
	size_t n;

	open_init(&open, memory->n_uses);
	events = make_events(memory, &n);
	for (size_t i = 0; i < n;) {
		uint64_t page = events[i].page;
		bool any;

		while (i < n && events[i].page == page)
			open_change(&open, &events[i++]);
		any = judge(memory, &open, &now);
		if (running && any && now.account == run.account &&
		    now.use == run.use && now.other == run.other)
			continue;
		run.end = page;
		if (running)
			each(&run, arg);
		run = now;
		run.first = page;
		running = any;
	}
	free(events);
	open_free(&open);
}
