// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho abi --diff: did a layout change, and did its version change with it? */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "kho.h"
#include "table.h"

/* The offending first, in the order of a report. */
enum verdict {
	LAYOUT_CHANGED,
	REMOVED,
	NARROWED,
	VERSION_CHANGED,
	ADDED,
	UNCHANGED,
};

static const char *const verdict_names[] = {
	[LAYOUT_CHANGED] = "layout-changed",
	[REMOVED] = "removed",
	[NARROWED] = "narrowed",
	[VERSION_CHANGED] = "version-changed",
	[ADDED] = "added",
	[UNCHANGED] = "unchanged",
};

/* An item that differs; NULL on the side that does not have it. */
struct change {
	const struct abi_item *old, *new;
};

/* A format that is on at least one side. */
struct finding {
	enum verdict verdict;
	const struct abi_format *old, *new;
	size_t n;
	struct change *changes;
};

static bool same_item(const struct abi_item *a, const struct abi_item *b)
{
	return a->offset == b->offset && a->size == b->size &&
	       !strcmp(a->text, b->text);
}

/* By struct, which comes before its fields, and these as they are in it. */
static int compare_changes(const void *a, const void *b)
{
	const struct change *x = a, *y = b;
	const struct abi_item *i = x->new ? x->new : x->old;
	const struct abi_item *j = y->new ? y->new : y->old;
	int order = strcmp(i->of, j->of);

	if (!order)
		order = (*i->name != 0) - (*j->name != 0);
	if (!order)
		order = (i->offset > j->offset) - (i->offset < j->offset);
	return order ? order : strcmp(i->name, j->name);
}

static void compare_layouts(struct finding *finding)
{
	const struct abi_format *old = finding->old, *new = finding->new;
	size_t i = 0, j = 0;

	finding->changes =
		must(calloc(old->n + new->n + 1, sizeof(struct change)));
	while (i < old->n || j < new->n) {
		/* Which of the next ones comes first, or both. */
		int order = j == new->n ? -1 :
			    i == old->n ? 1 :
					  abi_compare_items(&old->items[i],
							    &new->items[j]);
		struct change change = {
			.old = order <= 0 ? &old->items[i++] : NULL,
			.new = order >= 0 ? &new->items[j++] : NULL,
		};

		if (order || !same_item(change.old, change.new))
			finding->changes[finding->n++] = change;
	}
	qsort(finding->changes, finding->n, sizeof(struct change),
	      compare_changes);
}

static bool same_range(const struct kho_range *a, const struct kho_range *b)
{
	return a->min == b->min && a->max == b->max;
}

/* Is there a version that only the old one can read? */
static bool reads_less(const struct abi_format *old,
		       const struct abi_format *new)
{
	const struct kho_range *was = &old->read, *is = &new->read;

	if (!was->max)
		return new->version < old->version;
	return !is->max || is->min > was->min || is->max < was->max;
}

static enum verdict judge(const struct finding *finding)
{
	const struct abi_format *old = finding->old, *new = finding->new;

	if (!new)
		return REMOVED;
	if (!old)
		return ADDED;
	if (finding->n && old->version == new->version)
		return LAYOUT_CHANGED;
	if (reads_less(old, new))
		return NARROWED;
	if (old->version != new->version ||
	    !same_range(&old->write, &new->write) ||
	    !same_range(&old->read, &new->read))
		return VERSION_CHANGED;
	return UNCHANGED;
}

static const char *name_of(const struct finding *finding)
{
	return (finding->new ? finding->new : finding->old)->name;
}

static int compare_findings(const void *a, const void *b)
{
	const struct finding *x = a, *y = b;

	if (x->verdict != y->verdict)
		return x->verdict < y->verdict ? -1 : 1;
	return strcmp(name_of(x), name_of(y));
}

/* 0, or a format whose layout and fingerprint contradict each other. */
static const struct abi_format *compare(const struct abi *old,
					const struct abi *new,
					struct finding *findings, size_t *n)
{
	size_t i = 0, j = 0;

	while (i < old->n || j < new->n) {
		int order = j == new->n ? -1 :
			    i == old->n ? 1 :
					  strcmp(old->formats[i].name,
						 new->formats[j].name);
		struct finding *finding = &findings[(*n)++];

		finding->old = order <= 0 ? &old->formats[i++] : NULL;
		finding->new = order >= 0 ? &new->formats[j++] : NULL;
		if (!order) {
			compare_layouts(finding);
			if (!finding->n != !strcmp(finding->old->fingerprint,
						   finding->new->fingerprint))
				return finding->new;
		}
		finding->verdict = judge(finding);
	}
	qsort(findings, *n, sizeof(*findings), compare_findings);
	return NULL;
}

/* Why not; NULL when all is well. */
static char *reason(const struct finding *finding)
{
	const struct abi_format *old = finding->old, *new = finding->new;

	switch (finding->verdict) {
	case LAYOUT_CHANGED:
		return new->version ?
			       format("LAYOUT CHANGED WITHOUT A NEW VERSION: both are v%u: raise it in %s",
				      new->version, new->header) :
			       format("LAYOUT CHANGED WITHOUT A NEW VERSION: it has none, and must not change");
	case REMOVED:
		return format("is gone: nobody reads what was written");
	case NARROWED:
		return old->read.max ?
			       format("read %s before, now %s: what is there in another version cannot be read any more",
				      range_text(&old->read).text,
				      range_text(&new->read).text) :
			       format("v%u became v%u: versions only grow",
				      old->version, new->version);
	case VERSION_CHANGED:
	case ADDED:
	case UNCHANGED:
		break;
	}
	return NULL;
}

/* "old -> new", or once what is the same. */
static void add_pair(struct table *table, const char *old, const char *new)
{
	if (strcmp(old, new) != 0)
		table_cell(table, NULL, "%s -> %s", old, new);
	else
		table_cell(table, NULL, "%s", old);
}

static void print_findings(const struct finding *findings, size_t n)
{
	static const struct abi_format none;
	struct table table =
		TABLE("FORMAT", "VERDICT", "VERSION", "WRITES", "READS");

	for (size_t i = 0; i < n; i++) {
		const struct finding *f = &findings[i];
		const struct abi_format *old = f->old ? f->old : &none;
		const struct abi_format *new = f->new ? f->new : &none;
		struct kho_range was = { old->version, old->version };
		struct kho_range is = { new->version, new->version };

		table_cell(&table, NULL, "%s", name_of(f));
		table_cell(&table, f->verdict <= NARROWED ? RED : GREEN, "%s",
			   verdict_names[f->verdict]);
		add_pair(&table, range_text(&was).text, range_text(&is).text);
		add_pair(&table, range_text(&old->write).text,
			 range_text(&new->write).text);
		add_pair(&table, range_text(&old->read).text,
			 range_text(&new->read).text);
	}
	table_print(&table);
}

static char *item_name(const struct abi_item *item)
{
	return format("%s%s%s", item->of, *item->of && *item->name ? "." : "",
		      item->name);
}

/* What an item is; the type of a field only @with_type. NULL: nothing. */
static char *item_text(const struct abi_item *item, bool with_type)
{
	if (!item)
		return NULL;
	if (!*item->of)
		return format("%s", item->text);
	if (!*item->name)
		return format("%" PRIu32 " bytes", item->size);
	return format("at %" PRIu32 ", %" PRIu32 " bytes%s%s", item->offset,
		      item->size, with_type ? ", " : "",
		      with_type ? item->text : "");
}

static void print_changes(const struct finding *f)
{
	struct table table = TABLE(f->new->header, "OLD", "NEW");

	printf("\n");
	for (size_t i = 0; i < f->n; i++) {
		const struct abi_item *old = f->changes[i].old;
		const struct abi_item *new = f->changes[i].new;
		bool types = !old || !new || strcmp(old->text, new->text) != 0;
		char *name = item_name(new ? new : old);
		char *was = item_text(old, types), *is = item_text(new, types);

		table_row(&table, name, was ? was : "-", is ? is : "-");
		free(name);
		free(was);
		free(is);
	}
	table_print(&table);
}

/* The worst comes first. */
static bool is_broken(const struct finding *findings)
{
	return findings[0].verdict <= NARROWED;
}

static const char *result_of(const struct finding *findings)
{
	return is_broken(findings)		? "broken" :
	       findings[0].verdict != UNCHANGED ? "versioned" :
						  "unchanged";
}

static void print_diff(const struct finding *findings, size_t n,
		       const char *old_name, const char *new_name)
{
	bool color = want_color();

	printf("%s%s%s: ",
	       !color		   ? "" :
	       is_broken(findings) ? RED :
				     GREEN,
	       result_of(findings), color ? PLAIN : "");
	print_line("%s -> %s", old_name, new_name ? new_name : "this build");
	for (size_t i = 0; i < n && findings[i].verdict <= NARROWED; i++) {
		const struct finding *f = &findings[i];
		char *why = reason(f);

		print_line("  %s: %s", name_of(f), why);
		free(why);
	}
	printf("\n");
	print_findings(findings, n);
	for (size_t i = 0; i < n; i++)
		if (findings[i].n)
			print_changes(&findings[i]);
}

static struct json_object *side_json(const struct abi_format *format)
{
	if (!format)
		return NULL;
	return json_make(J("version", format->version ?
					      json_of_number(format->version) :
					      NULL),
			 J("write", &format->write), J("read", &format->read),
			 J("fingerprint", format->fingerprint));
}

static struct json_object *change_json(const struct change *change)
{
	char *name = item_name(change->new ? change->new : change->old);
	char *old = item_text(change->old, true);
	char *new = item_text(change->new, true);
	struct json_object *json =
		json_make(J("name", name), J("old", old), J("new", new));

	free(name);
	free(old);
	free(new);
	return json;
}

static struct json_object *finding_json(const struct finding *finding)
{
	struct json_object *changes = new_array(), *json;
	char *why = reason(finding);

	for (size_t i = 0; i < finding->n; i++)
		push_json(changes, change_json(&finding->changes[i]));
	json = json_make(J("name", name_of(finding)),
			 J("verdict", verdict_names[finding->verdict]),
			 J("reason", why), J("old", side_json(finding->old)),
			 J("new", side_json(finding->new)),
			 J("changes", changes));
	free(why);
	return json;
}

static void print_diff_json(const struct finding *findings, size_t n,
			    const char *old_name, const char *new_name)
{
	struct json_object *json = new_document("kho-abi-diff");
	struct json_object *formats = new_array();

	for (size_t i = 0; i < n; i++)
		push_json(formats, finding_json(&findings[i]));
	json_add(json, J("result", result_of(findings)), J("old", old_name),
		 J("new", new_name), J("formats", formats));
	print_json(json);
}

int abi_diff(const struct abi *old, const char *old_name, const struct abi *new,
	     const char *new_name, bool json)
{
	struct finding *findings =
		must(calloc(old->n + new->n, sizeof(*findings)));
	const struct abi_format *wrong;
	size_t n = 0;
	int code;

	wrong = compare(old, new, findings, &n);
	if (wrong)
		code = fail("abi: %s, %s: %s: layout and fingerprint contradict each other: save them again with 'kho abi --json'",
			    old_name, new_name ? new_name : "this build",
			    wrong->name);
	else
		code = is_broken(findings) ? EXIT_NO : EXIT_YES;
	if (!wrong && json)
		print_diff_json(findings, n, old_name, new_name);
	else if (!wrong)
		print_diff(findings, n, old_name, new_name);
	for (size_t i = 0; i < n; i++)
		free(findings[i].changes);
	free(findings);
	return code;
}
