// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Reports for people and for programs: a table that begins with what fails,
 * JSON, one line.
 */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define RED "\033[1;31m"
#define GREEN "\033[32m"
#define PLAIN "\033[0m"

const char *kho_verdict_name(enum kho_verdict verdict)
{
	switch (verdict) {
	case KHO_OK:
		return "ok";
	case KHO_INCOMPATIBLE:
		return "incompatible";
	case KHO_UNKNOWN:
		break;
	}
	return "unknown";
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

/* A line of the table; pointers into a finding and into version. */
struct row {
	const char *cell[N_COLUMNS];
	struct range_text version[3];
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
	const struct kho_range version = { f->version, f->version };

	row->version[0] = range_text(&version);
	row->version[1] = range_text(&f->writer);
	row->version[2] = range_text(&f->reader);
	row->cell[COMPONENT] = f->name;
	row->cell[VERDICT] = kho_verdict_name(f->verdict);
	row->cell[VERSION] = row->version[0].text;
	row->cell[WRITER] = row->version[1].text;
	row->cell[READER] = row->version[2].text;
	row->cell[NEEDED_BY] = f->needed_by;
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
			  !color	       ? "" :
			  f->verdict == KHO_OK ? GREEN :
						 RED);
	}
}

void kho_report_print(const struct kho_report *report, FILE *out, bool color)
{
	size_t i;

	if (color)
		fputs(report->compatible ? GREEN : RED, out);
	fputs(report->compatible ? "compatible" : "incompatible", out);
	fputs(color ? PLAIN ": " : ": ", out);
	put(report->from, out);
	fputs(" -> ", out);
	put(report->to, out);
	fputc('\n', out);
	for (i = 0; i < report->n; i++) {
		const struct kho_finding *f = &report->findings[i];

		if (f->verdict == KHO_OK)
			break;
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

void kho_report_summary(const struct kho_report *report, char *buf, size_t size)
{
	size_t i, len = 0;

	if (size)
		*buf = '\0';
	for (i = 0; i < report->n && len < size; i++) {
		const struct kho_finding *f = &report->findings[i];

		if (f->verdict == KHO_OK)
			break;
		len += (size_t)snprintf(buf + len, size - len, "%s%s %s (%s)",
					i ? "; " : "", f->name,
					kho_verdict_name(f->verdict),
					f->reason);
	}
	if (!len)
		snprintf(buf, size, "compatible");
}

static json_object *finding_json(const struct kho_finding *f)
{
	json_object *object = json_object_new_object();

	json_set(&object, "name", json_object_new_string(f->name));
	json_set(&object, "verdict",
		 json_object_new_string(kho_verdict_name(f->verdict)));
	if (f->version)
		json_set(&object, "version", json_object_new_int64(f->version));
	else
		json_set_null(&object, "version");
	json_set_range(&object, "writer", &f->writer);
	json_set_range(&object, "reader", &f->reader);
	json_set(&object, "needed_by", json_object_new_string(f->needed_by));
	json_set(&object, "reason", json_object_new_string(f->reason));
	return object;
}

char *kho_report_json(const struct kho_report *report)
{
	json_object *object = json_object_new_object();
	json_object *components = json_object_new_array();
	size_t i;

	for (i = 0; i < report->n; i++)
		json_push(&components, finding_json(&report->findings[i]));
	json_set(&object, "schema", json_object_new_string("kho-report"));
	json_set(&object, "version", json_object_new_int(1));
	json_set(&object, "compatible",
		 json_object_new_boolean(report->compatible));
	json_set(&object, "from", json_object_new_string(report->from));
	json_set(&object, "to", json_object_new_string(report->to));
	json_set(&object, "components", components);
	return json_finish(object);
}
