// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho verify: is every reference of a state sound, every page accounted for? */
#include <stdio.h>
#include <unistd.h>

#include "kho.h"
#include "state.h"
#include "table.h"

static const char help[] =
	"Usage: kho verify [OPTIONS] STATE\n"
	"\n"
	"Follows every reference of a state, and compares the pages that it leads to with\n"
	"those that are preserved: one that is preserved and led to by nothing, led to\n"
	"and not preserved, or in use twice is damage.\n"
	"\n"
	"What Linux hands over is followed to the last page. Of an arena, what is in the\n"
	"blobs of its subtrees is the programs' own: there, the superblock, the tracker,\n"
	"the state tree and the blobs are checked.\n"
	"\n"
	"STATE is what kho inspect takes: NAME, an arena's file, pid:PID[:FD], running,\n"
	"a dump (ELF or kdump), /proc/kcore, or a raw image of memory.\n"
	"\n"
	"  --fdt PHYS   of a machine's memory: where the root FDT is\n"
	"  --base PHYS  it is a raw image, and begins at that address\n"
	"  --json       for programs; see docs/schemas.md, kho-verify\n"
	"  --help       this text\n"
	"\n"
	"Exit: 0 sound, 1 damaged, 2 cannot tell.\n"
	"\n"
	"Example: kho verify guest.core\n";

/* An arena that is in use may be damaged only for a moment. */
#define TRIES 5
#define PAUSE_US 5000

/* Problems that are printed one by one. */
#define PRINTED_MAX 100

/*
 * struct verdict - what came out
 * @problems: all
 * @accounted: preserved pages of which it is known what they are for
 * @own: preserved pages that programs account for themselves
 */
struct verdict {
	const struct state *state;
	struct problems problems;
	uint64_t accounted;
	uint64_t own;
};

static void on_arena(const struct accounted *a, void *arg)
{
	struct verdict *verdict = arg;
	const struct snapshot *arena = &verdict->state->arena;
	const struct memory *memory = &arena->memory;
	uint64_t end = a->end << memory->page_shift;

	if (a->account == UNREACHED)
		verdict->own += a->end - a->first;
	else
		problems_add_pages(&verdict->problems, memory, a);
	if (a->account == ACCOUNTED &&
	    memory->uses[a->use].class != USE_TRACKER &&
	    memory->uses[a->use].class != USE_SUPER)
		verdict->accounted += a->end - a->first;
	if (end > arena->info.size)
		problems_add(&verdict->problems, DAMAGE,
			     "%#lx: pages up to there, but the arena ends at %#lx",
			     end, arena->info.size);
}

static void judge(struct state *state, struct verdict *verdict)
{
	*verdict = (struct verdict){ .state = state };
	if (!state->is_kernel) {
		memory_account(&state->arena.memory, on_arena, verdict);
		return;
	}
	kernel_account(&state->kernel);
	verdict->accounted = state->kernel.accounted;
	verdict->problems = state->kernel.problems;
	state->kernel.problems = (struct problems){ 0 };
}

/* The programs that use an arena do not wait for us. */
static bool read_and_judge(struct state *state, struct verdict *verdict)
{
	for (int i = 0; i < TRIES; i++) {
		if (!state_read(state))
			return false;
		judge(state, verdict);
		if (state->is_kernel || i == TRIES - 1 ||
		    !problems_count(&verdict->problems, DAMAGE))
			break;
		problems_free(&verdict->problems);
		state_free(state);
		usleep(PAUSE_US);
	}
	return true;
}

static const char *verdict_text(const struct verdict *verdict)
{
	return problems_count(&verdict->problems, DAMAGE)  ? "damaged" :
	       problems_count(&verdict->problems, UNKNOWN) ? "cannot tell" :
							     "sound";
}

static void print_uses(const struct memory *memory)
{
	static const char *const classes[] = {
		[USE_SUPER] = "superblock, not in the tracker",
		[USE_TREE] = "root FDT",
		[USE_BLOB] = "blobs of subtrees",
		[USE_LUO] = "sessions, lists of files, FLBs",
		[USE_FILE] = "descriptions of files",
		[USE_CONTENTS] = "contents of files",
		[USE_REGION] = "reserved memory",
		[USE_TRACKER] = "tracker, not in itself",
	};
	struct table table = TABLE("PAGES", "FOR");
	uint64_t pages[USE_TRACKER + 1] = { 0 };

	for (size_t i = 0; i < memory->n_uses; i++)
		pages[memory->uses[i].class] += memory->uses[i].pages;
	for (size_t i = 0; i <= USE_TRACKER; i++) {
		if (!pages[i])
			continue;
		table_row(&table, text_of("%lu", pages[i]).text, classes[i]);
	}
	putchar('\n');
	table_print(&table);
}

static void print_problems(const struct problems *problems)
{
	static const struct {
		const char *text;
		const char *color;
	} severities[] = {
		[NOTE] = { "note", NULL },
		[UNKNOWN] = { "unknown", NULL },
		[DAMAGE] = { "damage", RED },
	};
	struct table table = { .columns = 2 };
	size_t n = 0;

	if (problems->n)
		putchar('\n');
	/* The worst first. */
	for (int severity = DAMAGE; severity >= NOTE; severity--) {
		for (size_t i = 0; i < problems->n; i++) {
			if (problems->list[i].severity !=
				    (enum severity)severity ||
			    n++ >= PRINTED_MAX)
				continue;
			table_cell(&table, severities[severity].color, "%s",
				   severities[severity].text);
			table_cell(&table, NULL, "%s", problems->list[i].text);
		}
	}
	table_print(&table);
	if (n > PRINTED_MAX)
		printf("  and %zu more: see --json\n", n - PRINTED_MAX);
}

static void print_verdict(const struct verdict *verdict)
{
	const struct state *state = verdict->state;
	const struct memory *memory = state_memory(state);

	struct line line;

	line_begin(&line);
	fprintf(line.out, "%s: %s: %lu of %lu preserved page%s accounted for",
		verdict_text(verdict), state->word, verdict->accounted,
		memory->pages, plural(memory->pages));
	if (!state->is_kernel)
		fprintf(line.out, ", %lu of the programs' own", verdict->own);
	line_print(&line);
	print_problems(&verdict->problems);
	print_uses(memory);
}

static struct json_object *uses_json(const struct memory *memory)
{
	struct json_object *json = new_array();

	for (size_t i = 0; i < memory->n_uses; i++) {
		const struct use *use = &memory->uses[i];

		push_json(json, json_make(J("owner", use->owner),
					  J("what", use->what),
					  J("pages", use->pages)));
	}
	return json;
}

static void print_verdict_json(const struct verdict *verdict)
{
	const struct state *state = verdict->state;
	struct json_object *json = new_document("kho-verify");
	const struct memory *memory = state_memory(state);

	json_add(json, J("state", state->word),
		 J("kind", state->is_kernel ? state->kernel.kind : "arena"),
		 J("verdict", verdict_text(verdict)),
		 J("preserved", memory->pages),
		 J("accounted", verdict->accounted), J("own", verdict->own),
		 J("page_size", 1u << memory->page_shift),
		 J("uses", uses_json(memory)),
		 J("problems", problems_json(&verdict->problems)));
	print_json(json);
}

int cmd_verify(int argc, char **argv)
{
	struct state state = {
		.verb = "verify",
		/* That they can be read is known from where they are. */
		.options.no_checksums = true,
	};
	struct verdict verdict;
	int code = state_options(&state, help, argc, argv);

	if (code)
		return code;
	if (!read_and_judge(&state, &verdict))
		return state.code;
	if (problems_count(&verdict.problems, DAMAGE))
		code = EXIT_NO;
	else if (problems_count(&verdict.problems, UNKNOWN))
		code = EXIT_UNKNOWN;
	if (state.json)
		print_verdict_json(&verdict);
	else
		print_verdict(&verdict);
	for (size_t i = 0; code == EXIT_UNKNOWN && i < verdict.problems.n; i++)
		if (verdict.problems.list[i].severity == UNKNOWN)
			say("verify: %s: cannot tell: %s", state.word,
			    verdict.problems.list[i].text);
	problems_free(&verdict.problems);
	state_free(&state);
	return code;
}
