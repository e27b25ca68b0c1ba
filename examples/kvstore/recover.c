/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * After a crash: finds memory that nothing leads to, because the program was
 * killed before it was linked or before it was freed. That means to look at
 * everything, which is done in small steps, in between: each object that is in
 * use gets a mark, those that come meanwhile too; what has none at the end is
 * freed. A kill meanwhile just means to begin anew.
 */
#include <stdlib.h>

#include <kho/pages.h>
#include <kho/tree.h>

#include "table.h"

/*
 * @marks has a bit for each 8 bytes of the first @marked bytes, set where an
 * object begins; what is behind came later. Entries up to @cursor have their
 * marks; when all have, the elements in @list are next, from @slot of its ring
 * on; when there is no list any more, up to @slab what has no mark was freed.
 * Without memory for the marks, what was lost waits for the next start.
 */
void table_recover(struct table *t)
{
	struct kho_pages_info info;

	kho_pages_info(t->kho, &info);
	t->marked = info.total << kho_page_shift(t->kho);
	t->marks = calloc(t->marked / 512 + 1, sizeof(*t->marks));
}

/* What has pages of its own is claimed, unless it has been. */
void recover_mark(struct table *t, const void *object, size_t size)
{
	uint64_t phys = kho_phys(t->kho, object);
	size_t pages = table_pages(t, size);

	if (pages)
		kho_restore_pages(t->kho, phys, pages);
	else if (t->marks && phys < t->marked)
		t->marks[phys / 512] |= 1ull << phys / 8 % 64;
}

static void mark_entry(struct table *t, struct entry *e, void *arg)
{
	struct list *list = entry_list(e);

	(void)arg;
	recover_mark(t, e, entry_size(e));
	if (entry_is_list(e))
		recover_mark(t, kho_ptr(t->kho, list->ring, 8), 8 * list->room);
}

static void mark_elements(struct table *t, unsigned int nr)
{
	struct element *element;
	struct list *list;

	for (; t->list && nr; nr--) {
		list = entry_list(t->list);
		if (t->slot == list->room) {
			t->list = list_next(t, t->list);
			t->slot = 0;
			continue;
		}
		element = list_at(t, t->list,
				  (t->slot++ - list->first) & (list->room - 1));
		if (element)
			recover_mark(t, element,
				     sizeof(*element) + element->len);
	}
}

static bool is_marked(void *object, size_t size, void *arg)
{
	const struct table *t = arg;
	uint64_t phys = kho_phys(t->kho, object);

	(void)size;
	return phys >= t->marked || t->marks[phys / 512] >> phys / 8 % 64 & 1;
}

bool table_recover_step(struct table *t, unsigned int nr)
{
	if (t->cursor != UINT64_MAX) {
		t->cursor = table_walk(t, t->cursor, nr, mark_entry, NULL);
		if (!t->cursor) {
			t->cursor = UINT64_MAX;
			t->list = list_next(t, NULL);
		}
		return true;
	}
	if (t->list) {
		mark_elements(t, nr);
		return true;
	}
	if (kho_kmem_sweep_slab(t->kmem, &t->slab, is_marked, t) >= 0 &&
	    t->slab)
		return true;
	/* Such as the buckets that table_flush() did not come to free. */
	kho_free_unclaimed(t->kho, NULL);
	free(t->marks);
	t->marks = NULL;
	return false;
}
