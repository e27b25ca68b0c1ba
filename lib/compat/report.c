// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reports for people: what fails, and why; the same in one line. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
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

const char *kho_condition_name(enum kho_condition_verdict verdict)
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
	int n;

	if (!more)
		return -ENOMEM;
	report->conditions = more;
	condition = &more[report->n_conditions++];
	condition->verdict = verdict;
	snprintf(condition->name, sizeof(condition->name), "%s", name);
	va_start(ap, fmt);
	n = vsnprintf(condition->reason, sizeof(condition->reason), fmt, ap);
	va_end(ap);
	text_cut(condition->reason, sizeof(condition->reason),
		 n < 0 ? 0 : (size_t)n);
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

static const char *outcome_color(enum kho_outcome outcome)
{
	return outcome == KHO_OUTCOME_COMPATIBLE   ? GREEN :
	       outcome == KHO_OUTCOME_INCOMPATIBLE ? RED :
						     YELLOW;
}

static void print_reason(const char *name, const char *reason, FILE *out)
{
	char *line;

	if (asprintf(&line, "  %s: %s", name, reason) < 0)
		return;
	text_print(out, line, 0, 4);
	free(line);
}

void kho_report_print(const struct kho_report *report, FILE *out, bool color)
{
	const char *outcome = report->outcome == KHO_OUTCOME_UNKNOWN ?
				      "cannot tell" :
				      kho_outcome_name(report->outcome);
	char *line;
	size_t i;

	fprintf(out, "%s%s%s: ", color ? outcome_color(report->outcome) : "",
		outcome, color ? PLAIN : "");
	if (asprintf(&line, "%s -> %s", report->from, report->to) < 0)
		return;
	text_print(out, line, (int)strlen(outcome) + 2, 2);
	free(line);
	for (i = 0; i < report->n_conditions; i++)
		if (report->conditions[i].verdict != KHO_CONDITION_OK)
			print_reason(report->conditions[i].name,
				     report->conditions[i].reason, out);
	for (i = 0; i < report->n; i++)
		if (report->findings[i].verdict != KHO_OK)
			print_reason(report->findings[i].name,
				     report->findings[i].reason, out);
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
						kho_condition_name(c->verdict),
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
		len = (size_t)snprintf(buf, size, "%s",
				       kho_outcome_name(report->outcome));
	text_cut(buf, size, len);
}
