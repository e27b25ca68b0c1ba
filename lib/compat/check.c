// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Can one side read what the other writes?
 *
 * Both checks come down to judge(): a range that is written, a range that is
 * read. They differ in what counts as written: all that a program may write,
 * or what is in a state.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

static struct kho_report *new_report(const char *from, const char *to, size_t n)
{
	struct kho_report *report = calloc(1, sizeof(*report));

	if (!report)
		return NULL;
	report->from = strdup(from);
	report->to = strdup(to);
	report->findings = calloc(n ? n : 1, sizeof(*report->findings));
	if (report->from && report->to && report->findings)
		return report;
	kho_report_free(report);
	return NULL;
}

static int compare_findings(const void *a, const void *b)
{
	const struct kho_finding *x = a, *y = b;
	int order = (x->verdict == KHO_OK) - (y->verdict == KHO_OK);

	if (!order)
		order = strcmp(x->name, y->name);
	if (!order)
		order = (x->version > y->version) - (x->version < y->version);
	return order;
}

static void finish_report(struct kho_report *report)
{
	qsort(report->findings, report->n, sizeof(*report->findings),
	      compare_findings);
	report->compatible = !report->n ||
			     report->findings[0].verdict == KHO_OK;
}

/* False when it is full; then it says so. */
static bool add_needed_by(struct kho_finding *finding, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static bool add_needed_by(struct kho_finding *finding, const char *fmt, ...)
{
	static const char more[] = ", ...";
	char *text = finding->needed_by;
	size_t len = strlen(text);
	size_t room = sizeof(finding->needed_by) - len - (sizeof(more) - 1);
	char one[sizeof(finding->needed_by)];
	va_list ap;
	int n;

	va_start(ap, fmt);
	vsnprintf(one, sizeof(one), fmt, ap);
	va_end(ap);
	n = snprintf(text + len, room, "%s%s", len ? ", " : "", one);
	if ((size_t)n < room)
		return true;
	strcpy(text + len, more);
	return false;
}

/* A program's name in a sentence: the end of its path. */
static const char *short_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static void reason(struct kho_finding *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void reason(struct kho_finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->reason, sizeof(f->reason), fmt, ap);
	va_end(ap);
}

/*
 * Say what is wrong and what would help. @has: what the writing side has, a
 * clause; @writer: its name when it could be built differently, NULL for a
 * state, which is what it is.
 */
static void explain(struct kho_finding *f, const char *has, const char *writer,
		    const char *reader)
{
	const struct kho_range *w = &f->writer, *r = &f->reader;

	if (!w->max)
		reason(f,
		       "%.40s needs %s, but neither it nor its libraries can "
		       "write it: build it with a version of %s that can",
		       writer, f->name, f->name);
	else if (f->verdict == KHO_UNKNOWN)
		reason(f,
		       "%s, %.40s does not know %s: build it with %s in a "
		       "version that reads %s",
		       has, reader, f->name, f->name, range_text(w).text);
	else if (!r->max)
		reason(f,
		       "%s, %.40s can only write %s: build it with support for "
		       "reading v%u",
		       has, reader, f->name, w->max);
	else if (w->max < r->min || !writer)
		reason(f,
		       "%s, %.40s reads only %s: update through a program that "
		       "reads %s-v%u and writes %s-v%u, or build the successor "
		       "with support for v%u",
		       has, reader, range_text(r).text, f->name, w->max,
		       f->name, w->max < r->min ? r->min : r->max, w->max);
	else
		reason(f,
		       "%s, %.40s reads only %s: build %.40s so that it also "
		       "writes v%u, or the successor with support for v%u",
		       has, reader, range_text(r).text, writer, r->max, w->min);
}

/* Needs the finding's name and its writer's range. */
static void judge(struct kho_finding *f, const char *writer,
		  const struct kho_manifest *to)
{
	const struct kho_manifest_entry *reader =
		kho_manifest_find(to, f->name);
	const struct kho_range *w = &f->writer, *r = &f->reader;
	char has[128];
	uint32_t v;

	if (reader)
		f->reader = reader->desc.read;
	v = w->max < r->max ? w->max : r->max;
	if (v && v >= w->min && v >= r->min) {
		f->verdict = KHO_OK;
		f->version = v;
		return;
	}
	f->verdict = reader ? KHO_INCOMPATIBLE : KHO_UNKNOWN;
	if (writer)
		snprintf(has, sizeof(has), "%.40s writes %s %s", writer,
			 f->name, range_text(w).text);
	else
		snprintf(has, sizeof(has), "state has %s-v%u", f->name, w->max);
	explain(f, has, writer, short_name(to->target));
}

/* A component that counts, and what its program says of it. */
struct counted {
	const char *name;
	const struct kho_component_desc *desc; /* NULL: nothing */
};

static bool depends_on(const struct kho_component_desc *desc, const char *name)
{
	size_t i;

	for (i = 0; i < KHO_DEPS_MAX && desc->deps[i][0]; i++)
		if (!strcmp(desc->deps[i], name))
			return true;
	return false;
}

static int compare_counted(const void *a, const void *b)
{
	const struct counted *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/*
 * What a program uses: what it writes for its own sake, and what that depends
 * on. To be freed; NULL when out of memory.
 */
static struct counted *count(const struct kho_manifest *from, size_t *n)
{
	/* Every component, and every dependency should it be none. */
	struct counted *counted =
		calloc(1 + from->n * (1 + KHO_DEPS_MAX), sizeof(*counted));
	size_t i, j, k;

	if (!counted)
		return NULL;
	*n = 0;
	for (i = 0; i < from->n; i++) {
		const struct kho_component_desc *desc = &from->entries[i].desc;

		if (desc->write.max && !(desc->flags & KHO_COMPONENT_STRUCTURE))
			counted[(*n)++] = (struct counted){ desc->name, desc };
	}
	for (i = 0; i < *n; i++) {
		const struct kho_component_desc *desc = counted[i].desc;

		for (j = 0; desc && j < KHO_DEPS_MAX && desc->deps[j][0]; j++) {
			const char *name = desc->deps[j];
			const struct kho_manifest_entry *entry;

			for (k = 0; k < *n; k++)
				if (!strcmp(counted[k].name, name))
					break;
			if (k < *n)
				continue;
			entry = kho_manifest_find(from, name);
			counted[(*n)++] =
				(struct counted){ name,
						  entry ? &entry->desc : NULL };
		}
	}
	qsort(counted, *n, sizeof(*counted), compare_counted);
	return counted;
}

/* Who depends on it, and who on them: the nearest first. */
static void who_needs(struct kho_finding *f, const struct counted *counted,
		      size_t n)
{
	/* More names than there is room for. */
	const char *found[sizeof(f->needed_by) / 2];
	size_t i, j, k, n_found = 1;

	found[0] = f->name;
	for (i = 0; i < n_found; i++) {
		for (j = 0; j < n; j++) {
			if (!counted[j].desc ||
			    !depends_on(counted[j].desc, found[i]))
				continue;
			for (k = 0; k < n_found; k++)
				if (!strcmp(found[k], counted[j].name))
					break;
			if (k < n_found)
				continue;
			if (!add_needed_by(f, "%s", counted[j].name))
				return;
			found[n_found++] = counted[j].name;
		}
	}
}

int kho_check_manifests(const struct kho_manifest *from,
			const struct kho_manifest *to,
			struct kho_report **report)
{
	struct counted *counted;
	struct kho_report *r;
	size_t i, n;

	counted = count(from, &n);
	if (!counted)
		return -ENOMEM;
	r = new_report(from->target, to->target, n);
	if (!r)
		goto free_counted;
	for (i = 0; i < n; i++) {
		const struct kho_component_desc *desc = counted[i].desc;
		struct kho_finding *f = &r->findings[r->n++];

		strcpy(f->name, counted[i].name);
		if (desc)
			f->writer = desc->write;
		judge(f, short_name(from->target), to);
		if (!desc || desc->flags & KHO_COMPONENT_STRUCTURE)
			who_needs(f, counted, n);
	}
	finish_report(r);
	free(counted);
	*report = r;
	return 0;

free_counted:
	free(counted);
	return -ENOMEM;
}

/* A token in a state. */
struct use {
	const struct kho_token *token;
	const struct kho_used *by;
};

static int compare_tokens(const struct kho_token *x, const struct kho_token *y)
{
	int order = strcmp(x->name, y->name);

	return order ? order :
		       (x->version > y->version) - (x->version < y->version);
}

static int compare_uses(const void *a, const void *b)
{
	const struct use *x = a, *y = b;
	int order = compare_tokens(x->token, y->token);

	return order ? order : (x->by > y->by) - (x->by < y->by);
}

static struct use *uses_of(const struct kho_used *used, size_t n,
			   size_t *n_uses)
{
	struct use *uses;
	size_t i, j, total = 0;

	for (i = 0; i < n; i++)
		total += used[i].composite.n;
	uses = calloc(total ? total : 1, sizeof(*uses));
	if (!uses)
		return NULL;
	*n_uses = 0;
	for (i = 0; i < n; i++)
		for (j = 0; j < used[i].composite.n; j++)
			uses[(*n_uses)++] =
				(struct use){ &used[i].composite.tokens[j],
					      &used[i] };
	qsort(uses, total, sizeof(*uses), compare_uses);
	return uses;
}

int kho_check_state(const struct kho_used *used, size_t n, const char *from,
		    const struct kho_manifest *to, struct kho_report **report)
{
	struct kho_finding *f = NULL;
	struct kho_report *r;
	struct use *uses;
	size_t i, n_uses;
	bool full = false;

	uses = uses_of(used, n, &n_uses);
	if (!uses)
		return -ENOMEM;
	r = new_report(from, to->target, n_uses);
	if (!r) {
		free(uses);
		return -ENOMEM;
	}
	for (i = 0; i < n_uses; i++) {
		const struct kho_token *token = uses[i].token;
		const struct kho_composite *in = &uses[i].by->composite;

		if (!i || compare_tokens(token, uses[i - 1].token)) {
			f = &r->findings[r->n++];
			strcpy(f->name, token->name);
			f->writer.min = f->writer.max = token->version;
			judge(f, NULL, to);
			f->version = token->version;
			full = false;
		}
		if (full)
			continue;
		if (token == in->tokens)
			full = !add_needed_by(f, "%s", uses[i].by->owner);
		else
			full = !add_needed_by(f, "%s (%s)", in->tokens[0].name,
					      uses[i].by->owner);
	}
	free(uses);
	finish_report(r);
	*report = r;
	return 0;
}
