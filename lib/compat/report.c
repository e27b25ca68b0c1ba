// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reports for people: a table that begins with what fails, one line. */
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
						   "incompatible";
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
	return outcome == KHO_OUTCOME_COMPATIBLE ? GREEN :
	       outcome == KHO_OUTCOME_DEGRADED	 ? YELLOW :
						   RED;
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

void kho_report_print(const struct kho_report *report, FILE *out, bool color)
{
	size_t i;

	if (color)
		fputs(outcome_color(report->outcome), out);
	fputs(kho_outcome_name(report->outcome), out);
	fputs(color ? PLAIN ": " : ": ", out);
	put(report->from, out);
	fputs(" -> ", out);
	put(report->to, out);
	fputc('\n', out);
	for (i = 0; i < report->n; i++) {
		const struct kho_finding *f = &report->findings[i];

		if (f->verdict == KHO_OK)
			continue;
		fputs("  ", out);
		put(f->name, out);
		fputs(": ", out);
		put(f->reason, out);
		fputc('\n', out);
	}
	if (!report->n)
		return;
	fputc('\n', out);
	print_table(report, out, color);
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
