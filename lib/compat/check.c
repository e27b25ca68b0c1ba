// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Can one side read what the other writes?
 *
 * closure.c says what is in use and what comes of it. Here are the questions to
 * the components themselves, and the report: what is wrong with whom, and what
 * would help.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/opts.h"
#include "base/text.h"
#include "compat/bundle.h"
#include "compat/closure.h"
#include "compat/manifest.h"
#include "compat/report.h"

/**
 * struct check - a check that is being made
 * @opts: how to check
 * @to: the reader
 * @writer: the writer's name in a sentence; NULL: nobody writes
 * @missing: why the writer, a kernel, can write nothing; NULL: it can
 * @reader: the reader's name in a sentence
 * @closure: what is in use
 * @judgements: one for each part
 */
struct check {
	struct kho_check_opts opts;
	const struct kho_manifest *to;
	const char *writer;
	const char *missing;
	const char *reader;
	struct closure closure;
	struct judgement *judgements;
};

/* A program's name in a sentence: the end of its path. */
static const char *short_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static struct kho_report *new_report(const char *from, const char *to, size_t n)
{
	struct kho_report *report = calloc(1, sizeof(*report));

	if (!report)
		return NULL;
	report->from = strdup(from);
	report->to = strdup(to);
	report->findings = calloc(n + 1, sizeof(*report->findings));
	report->n = n;
	if (report->from && report->to && report->findings)
		return report;
	kho_report_free(report);
	return NULL;
}

static int rank(enum kho_verdict verdict)
{
	if (verdict == KHO_INCOMPATIBLE || verdict == KHO_UNKNOWN)
		return 0;
	return verdict == KHO_DROPPED ? 1 : 2;
}

static int descending(uint32_t x, uint32_t y)
{
	return (x < y) - (x > y);
}

static int compare_findings(const void *a, const void *b)
{
	const struct kho_finding *x = a, *y = b;
	int order = rank(x->verdict) - rank(y->verdict);

	if (!order)
		order = strcmp(x->name, y->name);
	if (!order)
		order = descending(x->version, y->version);
	if (!order)
		order = descending(x->has, y->has);
	if (!order)
		order = descending(x->writer.max, y->writer.max);
	return order;
}

/* Nothing more is added to one that is full: then it says so. */
static void add_needed_by(struct kho_finding *finding, bool *full,
			  const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void add_needed_by(struct kho_finding *finding, bool *full,
			  const char *fmt, ...)
{
	static const char more[] = ", ...";
	char *text = finding->needed_by;
	size_t len = strlen(text);
	size_t room = sizeof(finding->needed_by) - len - (sizeof(more) - 1);
	char one[sizeof(finding->needed_by)];
	va_list ap;
	int n;

	if (*full)
		return;
	va_start(ap, fmt);
	vsnprintf(one, sizeof(one), fmt, ap);
	va_end(ap);
	n = snprintf(text + len, room, "%s%s", len ? ", " : "", one);
	*full = (size_t)n >= room;
	if (*full)
		strcpy(text + len, more);
}

static bool depends_on(const struct part *part, const char *name)
{
	const struct kho_component_desc *desc = part->desc;
	size_t i;

	for (i = 0; desc && i < KHO_DEPS_MAX && desc->deps[i][0]; i++)
		if (!strcmp(desc->deps[i], name))
			return true;
	return false;
}

/* Which components depend on it, and which on these: the nearest first. */
static void needed_by_components(struct kho_finding *f,
				 const struct closure *closure)
{
	/* More names than there is room for. */
	const char *found[sizeof(f->needed_by) / 2];
	size_t i, j, k, n_found = 1;
	bool full = false;

	found[0] = f->name;
	for (i = 0; i < n_found && !full; i++) {
		for (j = 0; j < closure->n_parts && !full; j++) {
			const struct part *part = &closure->parts[j];

			if (!depends_on(part, found[i]))
				continue;
			for (k = 0; k < n_found; k++)
				if (!strcmp(found[k], part->name))
					break;
			if (k < n_found)
				continue;
			add_needed_by(f, &full, "%s", part->name);
			found[n_found++] = part->name;
		}
	}
}

/* Which subtrees have it, and as a part of what. @full: for each finding. */
static void needed_by_subtrees(struct kho_report *report,
			       const struct closure *closure, bool *full)
{
	size_t i, j;

	for (i = 0; i < closure->n_owners; i++) {
		const struct owner *owner = &closure->owners[i];
		const char *subtree = owner->used->owner;

		for (j = 0; j < owner->n; j++) {
			size_t n = closure->links[owner->first + j];
			struct kho_finding *f = &report->findings[n];

			if (!j)
				add_needed_by(f, &full[n], "%s", subtree);
			else
				add_needed_by(f, &full[n], "%s (%s)",
					      closure->parts[owner->base].name,
					      subtree);
		}
	}
}

/* Add to the finding's reason; a text that does not fit is cut behind a word. */
static void reason(struct kho_finding *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void reason(struct kho_finding *f, const char *fmt, ...)
{
	size_t len = strlen(f->reason);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(f->reason + len, sizeof(f->reason) - len, fmt, ap);
	va_end(ap);
	text_cut(f->reason, sizeof(f->reason), n < 0 ? 0 : len + (size_t)n);
}

/* There is nothing that could be written of it. */
static void explain_writer(const struct check *check, const struct part *part,
			   struct kho_finding *f)
{
	const char *name = part->name;

	if (check->missing)
		reason(f, "%s %s: it hands nothing over", check->writer,
		       check->missing);
	else if (!part->has && !part->write.max)
		reason(f,
		       "%s needs %s, but neither it nor its libraries can "
		       "write it: build it with a version of %s that can",
		       check->writer, name, name);
	else if (!part->has)
		reason(f,
		       "profile '%s' pins %s to v%u, %s writes only %s: "
		       "change the pin, or build %s so that it writes v%u",
		       check->opts.profile->name, name, part->pin,
		       check->writer, range_text(&part->write).text,
		       check->writer, part->pin);
	else if (part->write.max)
		reason(f,
		       "profile '%s' pins %s to v%u, the state has v%u, "
		       "which %s can only convert to %s: change the pin",
		       check->opts.profile->name, name, part->pin, part->has,
		       check->writer, range_text(&part->write).text);
	else
		reason(f,
		       "profile '%s' pins %s to v%u, the state has v%u, "
		       "which nobody converts: change the pin",
		       check->opts.profile->name, name, part->pin, part->has);
}

/* What there is for the reader, a clause. */
static void describe_offer(const struct check *check, const struct part *part,
			   struct kho_finding *f)
{
	if (part->pin)
		reason(f, "profile '%s' pins %s to v%u",
		       check->opts.profile->name, part->name, part->pin);
	else if (!part->has)
		reason(f, "%s writes %s %s", check->writer, part->name,
		       range_text(&part->write).text);
	else if (part->write.max)
		reason(f, "state has %s-v%u, %s can convert it to %s",
		       part->name, part->has, check->writer,
		       range_text(&part->write).text);
	else
		reason(f, "state has %s-v%u", part->name, part->has);
}

/* The reader knows it, but the ranges do not meet: what would help? */
static void explain_ranges(const struct check *check, const struct part *part,
			   struct kho_finding *f)
{
	const struct offer unpinned = make_offer(&part->write, part->has, 0);
	const struct kho_range *r = &f->reader;
	uint32_t best = part->pin ? part->pin : part->offer.best;
	uint32_t without_pin = negotiate(&unpinned, r);

	reason(f, ", %s reads only %s: ", check->reader, range_text(r).text);
	if (part->pin && without_pin)
		reason(f,
		       "change the pin to v%u, or build the successor with "
		       "support for v%u",
		       without_pin, part->pin);
	else if (best < r->min || part->has)
		reason(f,
		       "update through a program that reads %s-v%u and writes "
		       "%s-v%u, or build the successor with support for v%u",
		       part->name, best, part->name,
		       best < r->min ? r->min : r->max, best);
	else
		reason(f,
		       "build %s so that it also writes v%u, or the "
		       "successor with support for v%u",
		       check->writer, r->max,
		       part->pin ? part->pin : part->write.min);
}

/* Why a part has no version. */
static void explain(const struct check *check, const struct part *part,
		    struct kho_finding *f)
{
	const struct offer *offer = &part->offer;
	const char *name = part->name;

	if (part->nameless) {
		reason(f,
		       "%s does not say what it is, and nothing is known of "
		       "one of this name: its writer has to add a composite",
		       name);
		return;
	}
	if (!offer->write.max) {
		explain_writer(check, part, f);
		return;
	}
	describe_offer(check, part, f);
	if (manifest_missing(check->to))
		reason(f, ", %s %s", check->reader,
		       manifest_missing(check->to));
	else if (f->verdict == KHO_UNKNOWN)
		reason(f,
		       ", %s does not know %s: build it with %s in a "
		       "version that reads %s",
		       check->reader, name, name,
		       range_text(&offer->write).text);
	else if (!f->reader.max)
		reason(f,
		       ", %s can only write %s: build it with support for "
		       "reading v%u",
		       check->reader, name, offer->write.max);
	else
		explain_ranges(check, part, f);
}

/* Why a version is older than the writer's best. */
static void explain_older(const struct check *check, const struct part *part,
			  struct kho_finding *f)
{
	if (part->pin)
		reason(f, "profile '%s' pins it to v%u",
		       check->opts.profile->name, part->pin);
	else
		reason(f, "%s reads only up to v%u", check->reader,
		       f->reader.max);
}

/* It is readable itself, but gone with what it depends on. */
static void explain_base(const struct check *check, size_t n,
			 struct kho_finding *f)
{
	const struct closure *closure = &check->closure;
	size_t i, j;

	for (i = 0; i < closure->n_owners; i++) {
		const struct owner *owner = &closure->owners[i];

		if (owner->base != n)
			continue;
		for (j = 0; j < owner->n; j++) {
			size_t link = closure->links[owner->first + j];

			if (check->judgements[link].version)
				continue;
			reason(f, "needs %s, which cannot be handed over",
			       closure->parts[link].name);
			return;
		}
	}
}

/* Ask those who know more than the versions. */
static void ask(const struct check *check, const struct part *part,
		struct judgement *judgement, struct kho_finding *f)
{
	const struct kho_check_opts *opts = &check->opts;
	struct kho_error why = { 0 };
	int ret;

	/* What is carried goes on as it is, whatever the writer knows of it. */
	if (!opts->ask || !judgement->version ||
	    (check->writer && part->carried))
		return;
	ret = opts->ask(part->name, judgement->version, opts->arg, &why);
	if (!ret)
		return;
	judgement->verdict = KHO_INCOMPATIBLE;
	judgement->version = 0;
	reason(f, "%s", why.text[0] ? why.text : strerror(-ret));
}

/* Each part by itself; a reason only where @ask refused. */
static void judge_parts(struct check *check, struct kho_report *report)
{
	size_t i;

	for (i = 0; i < check->closure.n_parts; i++) {
		const struct part *part = &check->closure.parts[i];
		const struct kho_manifest_entry *reader =
			part->nameless ?
				NULL :
				kho_manifest_find(check->to, part->name);
		struct kho_finding *f = &report->findings[i];
		struct judgement *judgement = &check->judgements[i];

		snprintf(f->name, sizeof(f->name), "%s", part->name);
		f->has = part->has;
		f->pin = part->pin;
		f->optional = true;
		if (part->write.max)
			f->writer = part->write;
		else
			f->writer = (struct kho_range){ part->has, part->has };
		if (reader)
			f->reader = reader->desc.read;
		judge(&part->offer, reader ? &f->reader : NULL, judgement);
		if (part->nameless)
			judgement->verdict = KHO_UNKNOWN;
		/* For the reason; settle() may change it. */
		f->verdict = judgement->verdict;
		ask(check, part, judgement, f);
	}
}

static void mark_required(const struct closure *closure,
			  struct kho_report *report)
{
	size_t i, j;

	for (i = 0; i < closure->n_owners; i++) {
		const struct owner *owner = &closure->owners[i];

		for (j = 0; j < owner->n && !owner->optional && !owner->carried;
		     j++)
			report->findings[closure->links[owner->first + j]]
				.optional = false;
	}
}

/* Everything about a part once it is settled. */
static void conclude(const struct check *check, size_t n, struct kho_finding *f)
{
	const struct judgement *judgement = &check->judgements[n];
	const struct part *part = &check->closure.parts[n];
	bool fits = judgement->version;

	if (!fits && !f->reason[0])
		explain(check, part, f);
	else if (judgement->verdict == KHO_OLDER)
		explain_older(check, part, f);
	else if (fits && judgement->verdict == KHO_DROPPED)
		explain_base(check, n, f);

	if (judgement->verdict == KHO_DROPPED)
		reason(f,
		       part->carried ?
			       "; carried along as before" :
			       "; optional: goes on without it and carries it "
			       "along");
	else if (!fits && f->optional && !manifest_missing(check->to))
		reason(f, "; it is optional: --allow-degraded would go on "
			  "without it");

	f->verdict = judgement->verdict;
	if (f->verdict != KHO_DROPPED)
		f->version = judgement->version;
	/* What nobody writes stays what it is, readable or not. */
	if (!check->writer || part->carried)
		f->version = part->has;
}

/*
 * What only a bundle stands for, and the reader does not know by itself, tells
 * no more than the bundle when all that need it fail anyhow.
 */
static bool is_repetition(const struct check *check, size_t n)
{
	const struct closure *closure = &check->closure;
	const struct part *part = &closure->parts[n];
	size_t i;

	if (!part->implied || check->judgements[n].verdict != KHO_UNKNOWN)
		return false;
	for (i = 0; i < closure->n_parts; i++)
		if (check->judgements[i].version &&
		    depends_on(&closure->parts[i], part->name))
			return false;
	return true;
}

static void drop_repetitions(const struct check *check,
			     struct kho_report *report)
{
	size_t i, n = 0;

	for (i = 0; i < check->closure.n_parts; i++)
		if (!is_repetition(check, i))
			report->findings[n++] = report->findings[i];
	report->n = n;
}

/* Of what is in the closure. */
static int make_report(struct check *check, const char *from,
		       struct kho_report **result)
{
	const struct closure *closure = &check->closure;
	bool state = closure->n_owners && closure->owners[0].used;
	struct kho_report *report =
		new_report(from, check->to->target, closure->n_parts);
	bool *full = calloc(closure->n_parts + 1, sizeof(*full));
	size_t i;

	check->judgements =
		calloc(closure->n_parts + 1, sizeof(*check->judgements));
	if (!report || !full || !check->judgements) {
		kho_report_free(report);
		free(full);
		free(check->judgements);
		return -ENOMEM;
	}
	judge_parts(check, report);
	report->outcome =
		settle(closure, check->opts.allow_degraded, check->judgements);
	mark_required(closure, report);
	for (i = 0; i < closure->n_parts; i++) {
		conclude(check, i, &report->findings[i]);
		if (!state && !is_owner(closure->parts[i].desc))
			needed_by_components(&report->findings[i], closure);
	}
	if (state)
		needed_by_subtrees(report, closure, full);
	drop_repetitions(check, report);
	qsort(report->findings, report->n, sizeof(*report->findings),
	      compare_findings);
	*result = report;
	free(full);
	free(check->judgements);
	return 0;
}

int kho_check_manifests(const struct kho_manifest *from,
			const struct kho_manifest *to,
			const struct kho_check_opts *opts,
			struct kho_report **report, struct kho_error *err)
{
	struct check check = {
		.to = to,
		.writer = short_name(from->target),
		.missing = manifest_missing(from),
		.reader = short_name(to->target),
	};
	int ret = OPTS_COPY(&check.opts, opts, kho_check_opts, err);

	if (ret)
		return ret;
	ret = closure_of_manifest(from, check.opts.profile, &check.closure);
	if (!ret) {
		ret = make_report(&check, from->target, report);
		closure_free(&check.closure);
	}
	return ret ? kho_fail(err, ret, "check: out of memory") : 0;
}

int kho_check_state(const struct kho_used *used, size_t n, const char *from,
		    const struct kho_manifest *writer,
		    const struct kho_manifest *to,
		    const struct kho_check_opts *opts,
		    struct kho_report **report, struct kho_error *err)
{
	struct check check = {
		.to = to,
		.writer = writer ? short_name(writer->target) : NULL,
		.reader = short_name(to->target),
	};
	int ret = OPTS_COPY(&check.opts, opts, kho_check_opts, err);

	if (ret)
		return ret;
	ret = closure_of_state(used, n, writer, check.opts.profile,
			       &check.closure);
	if (!ret) {
		ret = make_report(&check, from, report);
		closure_free(&check.closure);
	}
	return ret ? kho_fail(err, ret, "check: out of memory") : 0;
}
