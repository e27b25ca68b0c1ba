// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reports, as JSON. What comes from a program can be anything. */
#include <stdlib.h>
#include <string.h>

#include "files/json.h"
#include "report.h"
#include "table.h"

struct json_object *report_json(struct kho_report *report)
{
	struct json_object *json = must(report_to_json(report));

	kho_report_free(report);
	return json;
}

struct json_object *report_in(struct json_object *answer)
{
	struct json_object *report = get_json(answer, "report");
	struct json_object *components = get_json(report, "components");

	return json_object_is_type(components, json_type_array) ? report : NULL;
}

enum kho_outcome report_outcome(struct json_object *report)
{
	const char *outcome = get_text(report, "outcome");
	enum kho_outcome i = KHO_OUTCOME_COMPATIBLE;

	while (i < KHO_OUTCOME_UNKNOWN &&
	       strcmp(outcome, kho_outcome_name(i)) != 0)
		i++;
	return i;
}

int report_exit(struct json_object *report)
{
	static const int codes[] = {
		[KHO_OUTCOME_COMPATIBLE] = EXIT_YES,
		[KHO_OUTCOME_DEGRADED] = EXIT_DEGRADED,
		[KHO_OUTCOME_INCOMPATIBLE] = EXIT_NO,
		[KHO_OUTCOME_UNKNOWN] = EXIT_UNKNOWN,
	};

	return codes[report_outcome(report)];
}

/* Of what may be no array. */
static size_t length(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ?
		       json_object_array_length(array) :
		       0;
}

size_t report_n(struct json_object *report)
{
	return length(get_json(report, "components"));
}

struct json_object *report_get(struct json_object *report, size_t i)
{
	return json_object_array_get_idx(get_json(report, "components"), i);
}

enum kho_verdict finding_verdict(struct json_object *finding)
{
	const char *verdict = get_text(finding, "verdict");
	enum kho_verdict i = KHO_OK;

	while (i < KHO_UNKNOWN && strcmp(verdict, kho_verdict_name(i)) != 0)
		i++;
	return i;
}

uint32_t finding_version(struct json_object *finding, const char *key)
{
	return (uint32_t)json_object_get_int64(get_json(finding, key));
}

struct kho_range finding_range(struct json_object *finding, const char *key)
{
	struct json_object *range = get_json(finding, key);

	return (struct kho_range){ finding_version(range, "min"),
				   finding_version(range, "max") };
}

static void add_finding(struct table *table, struct json_object *finding)
{
	static const char *const colors[] = {
		[KHO_OK] = GREEN,	[KHO_OLDER] = YELLOW,
		[KHO_DROPPED] = YELLOW, [KHO_INCOMPATIBLE] = RED,
		[KHO_UNKNOWN] = RED,
	};
	enum kho_verdict verdict = finding_verdict(finding);
	uint32_t version = finding_version(finding, "version");
	uint32_t has = finding_version(finding, "has");
	struct kho_range writer = finding_range(finding, "writer");
	struct kho_range reader = finding_range(finding, "reader");
	struct kho_range one = { version, version };

	table_cell(table, NULL, "%s", get_text(finding, "name"));
	table_cell(table, colors[verdict], "%s", kho_verdict_name(verdict));
	table_row(table,
		  has && version && has != version ?
			  text_of("v%u -> v%u", has, version).text :
			  range_text(&one).text,
		  range_text(&writer).text, range_text(&reader).text,
		  get_text(finding, "needed_by"));
}

/* Conditions and components that are not "ok", in this order. */
static void each_failing(struct json_object *report,
			 void (*each)(struct json_object *one, void *arg),
			 void *arg)
{
	static const char *const members[] = { "conditions", "components" };

	for (int m = 0; m < 2; m++) {
		struct json_object *array = get_json(report, members[m]);

		for (size_t i = 0; i < length(array); i++) {
			struct json_object *one =
				json_object_array_get_idx(array, i);

			if (strcmp(get_text(one, "verdict"), "ok") != 0)
				each(one, arg);
		}
	}
}

static void add_name(struct json_object *one, void *arg)
{
	char **names = arg;
	char *more = format("%s%s%s %s", *names ? *names : "",
			    *names ? ", " : "", get_text(one, "name"),
			    get_text(one, "verdict"));

	free(*names);
	*names = more;
}

char *report_names(struct json_object *report)
{
	char *names = NULL;

	each_failing(report, add_name, &names);
	return names ? names : format("%s", "nothing");
}

static void print_reason(struct json_object *one, void *arg)
{
	(void)arg;
	print_line("  %s: %s", get_text(one, "name"), get_text(one, "reason"));
}

/* Why one is not met was said already. */
static void print_conditions(struct json_object *report)
{
	struct json_object *array = get_json(report, "conditions");
	struct table table = TABLE("CONDITION", "VERDICT", "");

	for (size_t i = 0; i < length(array); i++) {
		struct json_object *one = json_object_array_get_idx(array, i);
		const char *verdict = get_text(one, "verdict");
		bool ok = !strcmp(verdict, "ok");

		table_cell(&table, NULL, "%s", get_text(one, "name"));
		table_cell(&table,
			   ok			       ? GREEN :
			   !strcmp(verdict, "unknown") ? YELLOW :
							 RED,
			   "%s", verdict);
		table_cell(&table, NULL, "%s",
			   ok ? get_text(one, "reason") : "");
	}
	if (table.n)
		putchar('\n');
	table_print(&table);
}

void report_print(struct json_object *report)
{
	static const char *const colors[] = {
		[KHO_OUTCOME_COMPATIBLE] = GREEN,
		[KHO_OUTCOME_DEGRADED] = YELLOW,
		[KHO_OUTCOME_INCOMPATIBLE] = RED,
		[KHO_OUTCOME_UNKNOWN] = YELLOW,
	};
	struct table table = TABLE("COMPONENT", "VERDICT", "VERSION", "WRITER",
				   "READER", "NEEDED BY");
	enum kho_outcome outcome = report_outcome(report);
	bool color = want_color();

	printf("%s%s%s", color ? colors[outcome] : "",
	       outcome == KHO_OUTCOME_UNKNOWN ? "cannot tell" :
						kho_outcome_name(outcome),
	       color ? PLAIN : "");
	print_line(": %s -> %s", get_text(report, "from"),
		   get_text(report, "to"));
	each_failing(report, print_reason, NULL);
	for (size_t i = 0; i < report_n(report); i++)
		add_finding(&table, report_get(report, i));
	if (table.n)
		putchar('\n');
	table_print(&table);
	print_conditions(report);
}
