// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * kho plan: a chain of updates when there is no direct one.
 *
 * When FROM is a service, its first update is judged by what is in its arena:
 * seen from outside for every class, because that is quick; then its program
 * is asked about the one that the plan begins with. If it says no, there is
 * another plan.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "kho.h"
#include "service.h"
#include "target.h"
#include "target-classes.h"

static const char help[] =
	"Usage: kho plan [--allow-degraded] [--profile FILE] [--json] FROM TO\n"
	"                [--targets FILE] [--via TARGET...]\n"
	"\n"
	"Finds the shortest chain of updates that leads from FROM to TO through the given\n"
	"TARGETs, and the versions that each update would write. When there is none, says\n"
	"how far one gets, what is missing, and which program would bridge it. Nothing is\n"
	"run.\n"
	"\n"
	"FROM, TO and TARGETs are programs' files, kernel images, manifests (JSON), NAMEs\n"
	"of services in custody, or running, the kernel. When FROM is a service, what its\n"
	"arena really contains counts for the first update; otherwise all that a program\n"
	"could write.\n"
	"\n"
	"  --via TARGET...   programs that can come in between; after FROM and TO\n"
	"  --targets FILE    more of them, one in a line; - is standard input; lines\n"
	"                    that are empty or begin with # say nothing\n"
	"  --allow-degraded  consent to go on without optional components\n"
	"  --profile FILE    write the versions that the profile pins\n"
	"  --json            for programs; see docs/schemas.md, kho-plan\n"
	"  --help            this text\n"
	"\n"
	"Exit: 0 there is a chain, 1 there is none, 2 cannot tell: a TARGET cannot be\n"
	"read, so that there may be a shorter one, 3 there is one, without optional\n"
	"components.\n"
	"\n"
	"Example: kho plan cache ./cache-v4 --via ./cache-v2 ./cache-v3\n";

/**
 * struct plan - what was asked, and what came out
 * @options: how
 * @targets: FROM, TO and those in between
 * @service: FROM, when it is one; its name is NULL otherwise
 * @first: per class, what FROM's arena says; NULL: it is no service
 * @from: class of FROM
 * @to: class of TO
 * @found: the chain, or the gap
 */
struct plan {
	struct targets_options options;
	struct targets targets;
	struct service service;
	struct kho_fleet_answer *first;
	size_t from;
	size_t to;
	struct kho_fleet_plan found;
};

static const char *name_of(const struct plan *plan, size_t class)
{
	return plan->targets.classes[class].members[0];
}

/* A list can have FROM and TO once more. */
static bool is_other(const struct target_class *class, size_t member)
{
	return strcmp(class->members[member], class->members[0]) != 0;
}

/* Of an update. NULL, and why not was said. */
static struct json_object *update_report(const struct plan *plan, size_t from,
					 size_t to)
{
	const struct kho_manifest *manifest =
		plan->targets.classes[to].manifest;
	const struct kho_check_opts *opts = &plan->options.opts;
	struct json_object *report;
	struct kho_error err;

	if (!plan->first || from != plan->from)
		return report_json(
			targets_report(&plan->targets, from, to, opts));
	if (!check_service(plan->service.name, manifest, opts, &report, &err))
		return report;
	fail("plan: %s", err.text);
	return NULL;
}

static bool ask_first(struct plan *plan)
{
	size_t n = plan->targets.n_classes;
	struct json_object *report;
	struct kho_error err;

	plan->first = must(calloc(n, sizeof(*plan->first)));
	for (size_t i = 0; i < n; i++) {
		if (check_outside(&plan->service,
				  plan->targets.classes[i].manifest,
				  &plan->options.opts, &report, &err)) {
			fail("plan: %s", err.text);
			return false;
		}
		plan->first[i].outcome = report_outcome(report);
		json_object_put(report);
	}
	return true;
}

static void search(struct plan *plan)
{
	free(plan->found.classes);
	if (kho_fleet_plan(plan->targets.fleet, plan->from, plan->to,
			   plan->first, &plan->found))
		must(NULL);
}

/* Until the program itself agrees with the first update. */
static bool search_service(struct plan *plan)
{
	bool *asked = must(calloc(plan->targets.n_classes, sizeof(*asked)));
	bool ok = ask_first(plan), agreed = false;

	while (ok && !agreed) {
		struct json_object *report;
		size_t next;

		search(plan);
		next = plan->found.n > 1 ? plan->found.classes[1] : plan->from;
		/* A state may change while we ask, but not for ever. */
		if (next == plan->from || asked[next])
			break;
		asked[next] = true;
		report = update_report(plan, plan->from, next);
		ok = report;
		agreed = ok &&
			 report_outcome(report) == plan->first[next].outcome;
		if (ok)
			plan->first[next].outcome = report_outcome(report);
		json_object_put(report);
	}
	free(asked);
	return ok;
}

/* A chain between two classes that have one, as text; to free(). */
static char *chain_text(const struct plan *plan, size_t from, size_t to)
{
	struct kho_fleet_plan chain;
	struct line line;

	line_begin(&line);
	if (kho_fleet_plan(plan->targets.fleet, from, to,
			   from == plan->from ? plan->first : NULL, &chain))
		must(NULL);
	for (size_t i = 0; i < chain.n; i++)
		fprintf(line.out, "%s%s", i ? " -> " : "",
			name_of(plan, chain.classes[i]));
	kho_fleet_plan_free(&chain);
	return line_text(&line);
}

/* ---- What would bridge a gap ---- */

/**
 * struct bridge - how a program could bridge one component
 * @reads: version
 * @writes: version; 0: it does without the component
 */
struct bridge {
	uint32_t reads;
	uint32_t writes;
};

/* From what is there to what is read, the nearest two. False: they meet. */
static bool nearest(const struct kho_range *write, const struct kho_range *read,
		    struct bridge *bridge)
{
	if (write->max < read->min)
		*bridge = (struct bridge){ write->max, read->min };
	else if (write->min > read->max)
		*bridge = (struct bridge){ write->min, read->max };
	else
		return false;
	return true;
}

static bool stands_in_the_way(struct json_object *f)
{
	return finding_verdict(f) == KHO_INCOMPATIBLE ||
	       finding_verdict(f) == KHO_UNKNOWN;
}

/* False: no other version of it would help. */
static bool bridge_of(struct json_object *f, struct bridge *bridge)
{
	struct kho_range writer = finding_range(f, "writer");
	struct kho_range reader = finding_range(f, "reader");
	uint32_t pin = finding_version(f, "pin");

	if (!stands_in_the_way(f))
		return false;
	if (pin)
		writer = (struct kho_range){ pin, pin };
	if (!writer.max)
		return false;
	if (reader.max)
		return nearest(&writer, &reader, bridge);
	*bridge = (struct bridge){ .reads = writer.max };
	return true;
}

static void list_tokens(FILE *out, const char *verb, struct json_object *report,
			int which, bool *something)
{
	bool first = true;

	for (size_t i = 0; i < report_n(report); i++) {
		struct json_object *f = report_get(report, i);
		struct bridge bridge;

		if (!bridge_of(f, &bridge) ||
		    (which == 'w' && !bridge.writes) ||
		    (which == 'x' && bridge.writes))
			continue;
		fputs(!first ? ", " : *something ? " and " : "", out);
		if (first)
			fprintf(out, "%s ", verb);
		if (which == 'x')
			fputs(get_text(f, "name"), out);
		else
			fprintf(out, "%s-v%u", get_text(f, "name"),
				which == 'r' ? bridge.reads : bridge.writes);
		first = false;
		*something = true;
	}
}

/* "reads a-v1, b-v2 and writes a-v3 and does without b", to free(), or NULL. */
static char *bridge_text(struct json_object *report)
{
	bool something = false;
	struct line line;

	line_begin(&line);
	list_tokens(line.out, "reads", report, 'r', &something);
	list_tokens(line.out, "writes", report, 'w', &something);
	list_tokens(line.out, "does without", report, 'x', &something);
	line_text(&line);
	if (something)
		return line.text;
	free(line.text);
	return NULL;
}

/* ---- For people ---- */

/* The versions of an update: the dropped first, as in its report. */
static void print_versions(struct json_object *report)
{
	struct line line;

	line_begin(&line);
	for (size_t i = 0; i < report_n(report); i++) {
		struct json_object *f = report_get(report, i);
		enum kho_verdict verdict = finding_verdict(f);

		fprintf(line.out, "%s%s", i ? ", " : "       ",
			get_text(f, "name"));
		if (verdict == KHO_DROPPED)
			fputs(" (dropped)", line.out);
		else
			fprintf(line.out, "-v%u%s",
				finding_version(f, "version"),
				verdict == KHO_OLDER ? " (older)" : "");
	}
	line_print(&line);
}

static void print_update(const struct plan *plan, size_t number,
			 struct json_object *report)
{
	size_t from = plan->found.classes[number - 1];
	size_t to = plan->found.classes[number];
	const struct target_class *class = &plan->targets.classes[to];
	size_t others = 0;
	struct line line;

	for (size_t i = 1; i < class->n; i++)
		others += is_other(class, i);

	line_begin(&line);
	fprintf(line.out, "  %zu. %s -> %s", number, name_of(plan, from),
		name_of(plan, to));
	if (others == 1)
		fputs(" (or another that says the same)", line.out);
	else if (others)
		fprintf(line.out, " (or one of %zu more that say the same)",
			others);
	line_print(&line);
	print_versions(report);
}

static void print_head(const struct plan *plan)
{
	size_t n = plan->found.n, degraded = plan->found.degraded;
	struct line line;

	line_begin(&line);
	if (!n)
		fputs("no chain of updates", line.out);
	else if (n == 1)
		fputs("no update needed, they write and read the same",
		      line.out);
	else
		fprintf(line.out, "%zu update%s", n - 1, plural(n - 1));
	if (n > 1 && degraded)
		fprintf(line.out, " (%zu degraded)", degraded);
	fprintf(line.out, ": %s -> %s", name_of(plan, plan->from),
		name_of(plan, plan->to));
	line_print(&line);
}

static void print_gap(const struct plan *plan, struct json_object *report)
{
	const struct kho_fleet_plan *found = &plan->found;
	char *before = chain_text(plan, plan->from, found->gap_from);
	char *after = chain_text(plan, found->gap_to, plan->to);
	char *bridge = bridge_text(report);
	bool begun = found->gap_from != plan->from;

	print_line("  %zu of %zu class%s can be reached%s%s", found->reached,
		   plan->targets.n_classes,
		   plan->targets.n_classes > 1 ? "es" : "",
		   begun ? "; nearest comes " : "", begun ? before : "");
	print_line("  least is missing from %s to %s:",
		   name_of(plan, found->gap_from), after);
	for (size_t i = 0; i < report_n(report); i++) {
		struct json_object *f = report_get(report, i);

		if (stands_in_the_way(f))
			print_line("    %s: %s", get_text(f, "name"),
				   get_text(f, "reason"));
	}
	if (bridge)
		print_line("  a program that %s would bridge it", bridge);
	free(before);
	free(after);
	free(bridge);
}

static bool print_plan(const struct plan *plan)
{
	const struct kho_fleet_plan *found = &plan->found;
	struct json_object *report;

	print_head(plan);
	for (size_t i = 1; i < found->n; i++) {
		report = update_report(plan, found->classes[i - 1],
				       found->classes[i]);
		if (!report)
			return false;
		print_update(plan, i, report);
		json_object_put(report);
	}
	if (found->n)
		return true;
	report = update_report(plan, found->gap_from, found->gap_to);
	if (!report)
		return false;
	print_gap(plan, report);
	json_object_put(report);
	return true;
}

/* ---- For programs ---- */

static struct json_object *update_json(const struct plan *plan, size_t to,
				       struct json_object *report)
{
	const struct target_class *class = &plan->targets.classes[to];
	struct json_object *others = new_array();
	struct json_object *components = new_array();
	static const char *const keys[] = { "name", "verdict", "version",
					    NULL };

	for (size_t i = 1; i < class->n; i++)
		if (is_other(class, i))
			push_json(others, json_of_string(class->members[i]));
	for (size_t i = 0; i < report_n(report); i++)
		push_json(components, json_copy(report_get(report, i), keys));
	return json_make(J("to", class->members[0]), J("others", others),
			 J("outcome", kho_outcome_name(report_outcome(report))),
			 J("components", components));
}

static struct json_object *missing_json(struct json_object *f)
{
	static const char *const keys[] = { "name",   "verdict", "version",
					    "writer", "reader",	 "needed_by",
					    "reason", NULL };
	struct json_object *json = json_copy(f, keys);
	struct bridge b;
	bool bridged = bridge_of(f, &b);

	json_add(json,
		 J("bridge_reads", bridged ? json_of_number(b.reads) : NULL),
		 J("bridge_writes",
		   bridged && b.writes ? json_of_number(b.writes) : NULL));
	return json;
}

static struct json_object *gap_json(const struct plan *plan,
				    struct json_object *report)
{
	struct json_object *components = new_array();

	for (size_t i = 0; i < report_n(report); i++) {
		struct json_object *f = report_get(report, i);

		if (stands_in_the_way(f))
			push_json(components, missing_json(f));
	}
	return json_make(J("from", name_of(plan, plan->found.gap_from)),
			 J("to", name_of(plan, plan->found.gap_to)),
			 J("reached", plan->found.reached),
			 J("classes", plan->targets.n_classes),
			 J("components", components));
}

static const char *outcome_name(const struct plan *plan)
{
	return kho_outcome_name(!plan->found.n ? KHO_OUTCOME_INCOMPATIBLE :
				plan->found.degraded ? KHO_OUTCOME_DEGRADED :
						       KHO_OUTCOME_COMPATIBLE);
}

static bool add_updates(const struct plan *plan, struct json_object *updates)
{
	const struct kho_fleet_plan *found = &plan->found;

	for (size_t i = 1; i < found->n; i++) {
		struct json_object *report =
			update_report(plan, found->classes[i - 1],
				      found->classes[i]);

		if (!report)
			return false;
		push_json(updates,
			  update_json(plan, found->classes[i], report));
		json_object_put(report);
	}
	return true;
}

static bool print_plan_json(const struct plan *plan)
{
	const struct kho_check_opts *opts = &plan->options.opts;
	const struct kho_fleet_plan *found = &plan->found;
	struct json_object *json = new_document("kho-plan");
	struct json_object *updates = new_array();
	struct json_object *report = NULL;
	bool ok;

	json_add(json, J("from", name_of(plan, plan->from)),
		 J("to", name_of(plan, plan->to)),
		 J("allow_degraded", opts->allow_degraded),
		 J("profile", opts->profile ? opts->profile->name : NULL),
		 J("unreadable", json_of_texts(plan->targets.n_unreadable,
					       plan->targets.unreadable)),
		 J("outcome", outcome_name(plan)), J("updates", updates));
	ok = add_updates(plan, updates);
	if (ok && !found->n) {
		report = update_report(plan, found->gap_from, found->gap_to);
		ok = report;
	}
	json_add(json, J("gap", report ? gap_json(plan, report) : NULL));
	json_object_put(report);
	if (ok)
		print_json(json);
	else
		json_object_put(json);
	return ok;
}

/* ---- The verb ---- */

/* Adds what was asked about; false: FROM, TO or a list cannot be read. */
static bool add_targets(struct plan *plan, const char **words, size_t n)
{
	long from, to;

	from = targets_add(&plan->targets, words[0]);
	to = targets_add(&plan->targets, words[1]);
	if (from < 0 || to < 0)
		return false;
	plan->from = (size_t)from;
	plan->to = (size_t)to;
	for (size_t i = 2; i < n; i++)
		targets_add(&plan->targets, words[i]);
	return targets_add_lists(&plan->targets, &plan->options);
}

static int run(struct plan *plan, const char **words, size_t n)
{
	struct kho_error err;
	bool ok;

	if (!add_targets(plan, words, n))
		return EXIT_UNKNOWN;
	if (is_service(words[0]) && plan->from != plan->to) {
		if (service_read(words[0], &plan->service, &err))
			return fail("plan: %s", err.text);
		if (!search_service(plan))
			return EXIT_UNKNOWN;
	} else {
		search(plan);
	}
	ok = plan->options.json ? print_plan_json(plan) : print_plan(plan);
	if (!ok || plan->targets.n_unreadable)
		return EXIT_UNKNOWN;
	return !plan->found.n	    ? EXIT_NO :
	       plan->found.degraded ? EXIT_DEGRADED :
				      EXIT_YES;
}

/**
 * struct words - the arguments that are no options
 * @n: how many
 * @before: of these, those before --via
 * @via: --via was there
 * @words: they
 */
struct words {
	size_t n;
	size_t before;
	bool via;
	const char **words;
};

static void add_word(void *arg, const char *word)
{
	struct words *words = arg;

	words->words[words->n++] = word;
	words->before += !words->via;
}

static void add_via(void *arg, const char *word)
{
	((struct words *)arg)->via = true;
	add_word(arg, word);
}

/* 0, or an exit code, and that was said. */
static int parse(int argc, char **argv, struct targets_options *options,
		 struct words *words)
{
	const struct verb_option known[] = {
		{ "", .take = add_word, .to = words },
		{ "via", .take = add_via, .to = words },
		TARGETS_OPTIONS(options),
		{},
	};

	for (argv = parse_options(argc, argv, help, "-", known); *argv; argv++)
		add_word(words, *argv);
	options->opts.profile = options->profile;
	if (words->before == 2)
		return 0;
	return fail_usage("plan",
			  words->before > 2 ?
				  "what comes between FROM and TO has to stand behind --via" :
			  words->via ?
				  "FROM and TO have to stand before --via" :
				  "it takes FROM and TO");
}

int cmd_plan(int argc, char **argv)
{
	struct words words = {
		.words = must(calloc((size_t)argc, sizeof(char *))),
	};
	struct plan plan = { .options.opts.size =
				     sizeof(struct kho_check_opts) };
	int code = parse(argc, argv, &plan.options, &words);

	if (!code) {
		targets_init(&plan.targets, "plan", &plan.options.opts);
		code = run(&plan, words.words, words.n);
		targets_free(&plan.targets);
		service_free(&plan.service);
		free(plan.found.classes);
		free(plan.first);
	}
	targets_options_free(&plan.options);
	free(words.words);
	return code;
}
