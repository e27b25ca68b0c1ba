// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reports for people: a table that begins with what fails, one line. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compat/manifest.h"
#include "compat/report.h"

#define RED "\033[1;31m"
#define YELLOW "\033[33m"
#define GREEN "\033[32m"
#define PLAIN "\033[0m"

const char *kho_verdict_name(enum kho_verdict verdict)
{
	switch (verdict) {
	case KHO_OK:
		return "ok";
	case KHO_OLDER:
		return "older";
	case KHO_DROPPED:
		return "dropped";
	case KHO_INCOMPATIBLE:
		return "incompatible";
	case KHO_UNKNOWN:
		break;
	}
	return "unknown";
}

const char *kho_outcome_name(enum kho_outcome outcome)
{
	return outcome == KHO_OUTCOME_COMPATIBLE ? "compatible" :
	       outcome == KHO_OUTCOME_DEGRADED	 ? "degraded" :
	       outcome == KHO_OUTCOME_UNKNOWN	 ? "unknown" :
						   "incompatible";
}

const char *condition_name(enum kho_condition_verdict verdict)
{
	return verdict == KHO_CONDITION_OK	? "ok" :
	       verdict == KHO_CONDITION_UNKNOWN ? "unknown" :
	       verdict == KHO_CONDITION_FAILS	? "fails" :
						  "fatal";
}

int kho_report_add(struct kho_report *report, const char *name,
		   enum kho_condition_verdict verdict, const char *fmt, ...)
{
	struct kho_condition *more =
		realloc(report->conditions,
			(report->n_conditions + 1) * sizeof(*more));
	struct kho_condition *condition;
	va_list ap;

	if (!more)
		return -ENOMEM;
	report->conditions = more;
	condition = &more[report->n_conditions++];
	condition->verdict = verdict;
	snprintf(condition->name, sizeof(condition->name), "%s", name);
	va_start(ap, fmt);
	vsnprintf(condition->reason, sizeof(condition->reason), fmt, ap);
	va_end(ap);
	if (verdict == KHO_CONDITION_FAILS || verdict == KHO_CONDITION_FATAL)
		report->outcome = KHO_OUTCOME_INCOMPATIBLE;
	else if (verdict == KHO_CONDITION_UNKNOWN &&
		 report->outcome != KHO_OUTCOME_INCOMPATIBLE)
		report->outcome = KHO_OUTCOME_UNKNOWN;
	return 0;
}

const struct kho_finding *kho_report_find(const struct kho_report *report,
					  const char *name)
{
	const struct kho_finding *dropped = NULL;
	size_t i;

	for (i = 0; i < report->n; i++) {
		const struct kho_finding *f = &report->findings[i];

		if (strcmp(f->name, name))
			continue;
		if (f->verdict != KHO_DROPPED)
			return f;
		if (!dropped)
			dropped = f;
	}
	return dropped;
}

void kho_report_free(struct kho_report *report)
{
	if (!report)
		return;
	free(report->from);
	free(report->to);
	free(report->findings);
	free(report->conditions);
	free(report);
}

enum { COMPONENT, VERDICT, VERSION, WRITER, READER, NEEDED_BY, N_COLUMNS };

/* A line of the table; pointers into a finding and into the row. */
struct row {
	const char *cell[N_COLUMNS];
	struct range_text writer, reader;
	char version[28];
};

struct range_text range_text(const struct kho_range *range)
{
	struct range_text range_text = { "-" };
	char *text = range_text.text;

	if (range->min != range->max)
		snprintf(text, sizeof(range_text.text), "v%u-v%u", range->min,
			 range->max);
	else if (range->max)
		snprintf(text, sizeof(range_text.text), "v%u", range->max);
	return range_text;
}

static void fill_row(struct row *row, const struct kho_finding *f)
{
	if (!f->version)
		strcpy(row->version, "-");
	else if (f->has && f->has != f->version)
		snprintf(row->version, sizeof(row->version), "v%u -> v%u",
			 f->has, f->version);
	else
		snprintf(row->version, sizeof(row->version), "v%u", f->version);
	row->writer = range_text(&f->writer);
	row->reader = range_text(&f->reader);
	row->cell[COMPONENT] = f->name;
	row->cell[VERDICT] = kho_verdict_name(f->verdict);
	row->cell[VERSION] = row->version;
	row->cell[WRITER] = row->writer.text;
	row->cell[READER] = row->reader.text;
	row->cell[NEEDED_BY] = f->needed_by;
}

static const char *verdict_color(enum kho_verdict verdict)
{
	switch (verdict) {
	case KHO_OK:
		return GREEN;
	case KHO_OLDER:
	case KHO_DROPPED:
		return YELLOW;
	case KHO_INCOMPATIBLE:
	case KHO_UNKNOWN:
		break;
	}
	return RED;
}

static const char *outcome_color(enum kho_outcome outcome)
{
	return outcome == KHO_OUTCOME_COMPATIBLE   ? GREEN :
	       outcome == KHO_OUTCOME_INCOMPATIBLE ? RED :
						     YELLOW;
}

/* A path or a name may have been chosen to play with the terminal. */
static void put(const char *text, FILE *out)
{
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text,
		      out);
}

static void print_row(const struct row *row, const int width[N_COLUMNS],
		      FILE *out, const char *color)
{
	int i, last = N_COLUMNS - 1;

	/* No blanks at the end of a line. */
	while (last && !*row->cell[last])
		last--;
	for (i = 0; i <= last; i++) {
		fputs("  ", out);
		fputs(i == VERDICT ? color : "", out);
		put(row->cell[i], out);
		if (i < last)
			fprintf(out, "%*s",
				width[i] - (int)strlen(row->cell[i]), "");
		fputs(i == VERDICT && *color ? PLAIN : "", out);
	}
	fputc('\n', out);
}

static void print_table(const struct kho_report *report, FILE *out, bool color)
{
	static const struct row header = { .cell = { "COMPONENT", "VERDICT",
						     "VERSION", "WRITER",
						     "READER", "NEEDED BY" } };
	struct row row;
	int width[N_COLUMNS] = { 0 };
	size_t i;
	int j;

	for (j = 0; j < N_COLUMNS; j++)
		width[j] = (int)strlen(header.cell[j]);
	for (i = 0; i < report->n; i++) {
		fill_row(&row, &report->findings[i]);
		for (j = 0; j < N_COLUMNS; j++)
			if (width[j] < (int)strlen(row.cell[j]))
				width[j] = (int)strlen(row.cell[j]);
	}
	print_row(&header, width, out, "");
	for (i = 0; i < report->n; i++) {
		const struct kho_finding *f = &report->findings[i];

		fill_row(&row, f);
		print_row(&row, width, out,
			  color ? verdict_color(f->verdict) : "");
	}
}

static const char *condition_color(enum kho_condition_verdict verdict)
{
	return verdict == KHO_CONDITION_OK	? GREEN :
	       verdict == KHO_CONDITION_UNKNOWN ? YELLOW :
						  RED;
}

/* Why one is not met was said already. */
static void print_conditions(const struct kho_report *report, FILE *out,
			     bool color)
{
	int width = (int)strlen("CONDITION");
	size_t i;

	for (i = 0; i < report->n_conditions; i++)
		if (width < (int)strlen(report->conditions[i].name))
			width = (int)strlen(report->conditions[i].name);
	fprintf(out, "\n  %-*s  VERDICT\n", width, "CONDITION");
	for (i = 0; i < report->n_conditions; i++) {
		const struct kho_condition *c = &report->conditions[i];

		fprintf(out, "  %-*s  %s%s%s", width, c->name,
			color ? condition_color(c->verdict) : "",
			condition_name(c->verdict), color ? PLAIN : "");
		if (c->verdict == KHO_CONDITION_OK) {
			fprintf(out, "%*s", (int)strlen("VERDICT"), "");
			put(c->reason, out);
		}
		fputc('\n', out);
	}
}

static void print_reason(const char *name, const char *reason, FILE *out)
{
	fputs("  ", out);
	put(name, out);
	fputs(": ", out);
	put(reason, out);
	fputc('\n', out);
}

void kho_report_print(const struct kho_report *report, FILE *out, bool color)
{
	size_t i;

	if (color)
		fputs(outcome_color(report->outcome), out);
	fputs(report->outcome == KHO_OUTCOME_UNKNOWN ?
		      "cannot tell" :
		      kho_outcome_name(report->outcome),
	      out);
	fputs(color ? PLAIN ": " : ": ", out);
	put(report->from, out);
	fputs(" -> ", out);
	put(report->to, out);
	fputc('\n', out);
	for (i = 0; i < report->n_conditions; i++)
		if (report->conditions[i].verdict != KHO_CONDITION_OK)
			print_reason(report->conditions[i].name,
				     report->conditions[i].reason, out);
	for (i = 0; i < report->n; i++)
		if (report->findings[i].verdict != KHO_OK)
			print_reason(report->findings[i].name,
				     report->findings[i].reason, out);
	if (report->n) {
		fputc('\n', out);
		print_table(report, out, color);
	}
	if (report->n_conditions)
		print_conditions(report, out, color);
}

/* Does it stand in the way, or did it make the outcome a degraded one? */
static bool is_notable(const struct kho_report *report,
		       enum kho_verdict verdict)
{
	return verdict == KHO_INCOMPATIBLE || verdict == KHO_UNKNOWN ||
	       (verdict == KHO_DROPPED &&
		report->outcome == KHO_OUTCOME_DEGRADED);
}

void kho_report_summary(const struct kho_report *report, char *buf, size_t size)
{
	size_t i, len = 0;

	if (size)
		*buf = '\0';
	for (i = 0; i < report->n_conditions && len < size; i++) {
		const struct kho_condition *c = &report->conditions[i];

		if (c->verdict != KHO_CONDITION_OK)
			len += (size_t)snprintf(buf + len, size - len,
						"%s%s %s (%s)", len ? "; " : "",
						c->name,
						condition_name(c->verdict),
						c->reason);
	}
	for (i = 0; i < report->n && len < size; i++) {
		const struct kho_finding *f = &report->findings[i];

		if (is_notable(report, f->verdict))
			len += (size_t)snprintf(buf + len, size - len,
						"%s%s %s (%s)", len ? "; " : "",
						f->name,
						kho_verdict_name(f->verdict),
						f->reason);
	}
	if (!len)
		snprintf(buf, size, "%s", kho_outcome_name(report->outcome));
}
