// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho matrix: everyone to everyone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kho.h"
#include "matrix.h"
#include "table.h"

/* Pairs that are explained: on a screen, in JSON. */
#define EXPLAINED 20
#define EXPLAINED_JSON 1000

/* Members of a class that are named. */
#define MEMBERS_NAMED 4

/* Characters of a class's name in the table. */
#define NAME_MAX_WIDTH 32

/* Columns where there is no terminal that could say it. */
#define WIDTH 100

static const char help[] =
	"Usage: kho matrix [--allow-degraded] [--profile FILE] [--json] [--svg FILE]\n"
	"                  [--targets FILE] [TARGET...]\n"
	"\n"
	"Says for each pair of TARGETs whether the one can hand over to the other, and\n"
	"how many updates lead from each to the last one. TARGETs that write and read\n"
	"the same are one class, with one row and one column. Nothing is run.\n"
	"\n"
	"TARGET is a program's file, a kernel image, a manifest (JSON), the NAME of a\n"
	"service in custody, whose running program is meant, or running, the kernel.\n"
	"\n"
	"  --targets FILE    more TARGETs, one in a line; - is standard input; lines\n"
	"                    that are empty or begin with # say nothing\n"
	"  --allow-degraded  consent to go on without optional components\n"
	"  --profile FILE    write the versions that the profile pins\n"
	"  --svg FILE        also draw a picture of at most 500 classes\n"
	"  --json            for programs; see docs/schemas.md, kho-matrix\n"
	"  --help            this text\n"
	"\n"
	"Exit: 0 every pair is compatible, 1 some pair is incompatible, 2 cannot tell:\n"
	"a TARGET cannot be read (the others are shown), 3 some pair is degraded.\n"
	"\n"
	"Example: kho matrix --svg matrix.svg ./cache-v1 ./cache-v2 ./cache-v3\n";

/* The same in text and in JSON: see docs/schemas.md. */
static const char symbols[CELLS] = { '.', 'o', 'd', 'X' };

static const char *const cell_text[CELLS] = {
	"compatible",
	"compatible, in older versions",
	"degraded",
	"incompatible",
};

static enum cell cell_of(struct kho_fleet_answer answer)
{
	if (answer.outcome == KHO_OUTCOME_COMPATIBLE)
		return answer.older ? CELL_OLDER : CELL_COMPATIBLE;
	return answer.outcome == KHO_OUTCOME_DEGRADED ? CELL_DEGRADED :
							CELL_INCOMPATIBLE;
}

static void judge_all(struct matrix *matrix)
{
	const struct kho_fleet *fleet = matrix->targets.fleet;
	size_t n = matrix->targets.n_classes, from, to;
	unsigned char *cell;

	matrix->n = n;
	matrix->cells = cell = must(reallocarray(NULL, n, n));
	for (from = 0; from < n; from++) {
		for (to = 0; to < n; to++) {
			*cell = (unsigned char)cell_of(
				kho_fleet_check(fleet, from, to));
			matrix->count[*cell++]++;
		}
	}
}

size_t *matrix_steps(const struct matrix *matrix)
{
	size_t n = matrix->n, begin = 0, end = 1, i;
	size_t *steps = must(calloc(n, sizeof(*steps)));
	size_t *queue = must(calloc(n, sizeof(*queue)));

	for (i = 0; i < n; i++)
		steps[i] = STEPS_NEVER;
	queue[0] = n - 1;
	steps[n - 1] = 0;
	for (; begin < end; begin++) {
		for (i = 0; i < n; i++) {
			if (steps[i] != STEPS_NEVER ||
			    matrix_cell(matrix, i, queue[begin]) ==
				    CELL_INCOMPATIBLE)
				continue;
			steps[i] = steps[queue[begin]] + 1;
			queue[end++] = i;
		}
	}
	free(queue);
	return steps;
}

/**
 * struct walk - along the pairs that need an explanation
 * @matrix: of these
 * @cell: CELL_INCOMPATIBLE first, then CELL_DEGRADED, then CELLS: the end
 * @next: index of the next cell
 * @from: of the pair that was found
 * @to: likewise
 * @report: of it; the walk's
 */
struct walk {
	const struct matrix *matrix;
	enum cell cell;
	size_t next;
	size_t from;
	size_t to;
	struct kho_report *report;
};

static struct walk start_walk(const struct matrix *matrix)
{
	return (struct walk){ .matrix = matrix, .cell = CELL_INCOMPATIBLE };
}

static bool next_pair(struct walk *walk)
{
	const struct matrix *matrix = walk->matrix;
	size_t n = matrix->n;

	kho_report_free(walk->report);
	walk->report = NULL;
	while (walk->cell != CELLS) {
		for (; walk->next < n * n; walk->next++) {
			if (matrix->cells[walk->next] != walk->cell)
				continue;
			walk->from = walk->next / n;
			walk->to = walk->next % n;
			walk->next++;
			walk->report = targets_report(&matrix->targets,
						      walk->from, walk->to,
						      &matrix->opts);
			return true;
		}
		walk->next = 0;
		walk->cell = walk->cell == CELL_INCOMPATIBLE ? CELL_DEGRADED :
							       CELLS;
	}
	return false;
}

static size_t need_explanation(const struct matrix *matrix)
{
	return matrix->count[CELL_INCOMPATIBLE] + matrix->count[CELL_DEGRADED];
}

/* ---- For people ---- */

static const char *cell_color(enum cell cell)
{
	return cell == CELL_INCOMPATIBLE ? RED :
	       cell == CELL_DEGRADED	 ? YELLOW :
					   GREEN;
}

static void print_summary(const struct matrix *matrix)
{
	const size_t *count = matrix->count;
	size_t compatible = count[CELL_COMPATIBLE] + count[CELL_OLDER];
	struct line line;

	line_begin(&line);
	fprintf(line.out,
		"%zu target%s in %zu class%s, %zu pair%s: ", matrix->targets.n,
		plural(matrix->targets.n), matrix->n, matrix->n > 1 ? "es" : "",
		matrix->n * matrix->n, plural(matrix->n));
	if (count[CELL_INCOMPATIBLE])
		fprintf(line.out, "%zu incompatible, ",
			count[CELL_INCOMPATIBLE]);
	if (count[CELL_DEGRADED])
		fprintf(line.out, "%zu degraded, ", count[CELL_DEGRADED]);
	fprintf(line.out, "%zu compatible", compatible);
	if (count[CELL_OLDER])
		fprintf(line.out, " (%zu in older versions)",
			count[CELL_OLDER]);
	line_print(&line);
}

static int digits_of(size_t number)
{
	return snprintf(NULL, 0, "%zu", number);
}

/* A class's name, of which at most the end is shown; to free(). */
static char *short_name(const struct matrix *matrix, size_t class)
{
	char *name = printable(targets_name(&matrix->targets, class));
	char *text = text_tail(name, NAME_MAX_WIDTH, "...");

	free(name);
	return text;
}

/**
 * struct grid - how the table is laid out
 * @color: with colours
 * @digits: of the highest number
 * @name: columns of the widest name
 * @cell: columns of a cell; 1: its number stands upright
 * @steps: see matrix_steps()
 */
struct grid {
	bool color;
	int digits;
	int name;
	int cell;
	size_t *steps;
};

static void print_heads(const struct matrix *matrix, const struct grid *grid)
{
	char number[24];

	for (int line = grid->cell > 1 ? grid->digits - 1 : 0;
	     line < grid->digits; line++) {
		bool last = line == grid->digits - 1;

		printf("  %-*s  ", grid->digits + 1 + grid->name,
		       last ? "FROM" : "");
		for (size_t i = 0; i < matrix->n; i++) {
			snprintf(number, sizeof(number), "%*zu", grid->digits,
				 i + 1);
			if (grid->cell > 1)
				printf("%*s", grid->cell, number);
			else
				putchar(number[line]);
		}
		if (last)
			printf("  UPDATES TO %zu", matrix->n);
		putchar('\n');
	}
}

static void print_row(const struct matrix *matrix, const struct grid *grid,
		      size_t from)
{
	char *name = short_name(matrix, from);

	printf("  %*zu %s%*s  ", grid->digits, from + 1, name,
	       grid->name - text_width(name), "");
	free(name);
	for (size_t to = 0; to < matrix->n; to++) {
		enum cell cell = matrix_cell(matrix, from, to);

		printf("%*s%s%c%s", grid->cell - 1, "",
		       grid->color ? cell_color(cell) : "", symbols[cell],
		       grid->color ? PLAIN : "");
	}
	if (grid->steps[from] == STEPS_NEVER)
		printf("  never\n");
	else
		printf("  %zu\n", grid->steps[from]);
}

static void print_table(const struct matrix *matrix)
{
	int screen = text_screen(stdout), left;
	struct line line;
	struct grid grid = {
		.color = want_color(),
		.digits = digits_of(matrix->n),
		.name = (int)strlen("FROM"),
	};

	if (matrix->n > MATRIX_SHOWN_MAX) {
		putchar('\n');
		print_line("  %zu classes are too many for a table: see --json",
			   matrix->n);
		return;
	}
	for (size_t i = 0; i < matrix->n; i++) {
		char *name = short_name(matrix, i);

		if (grid.name < text_width(name))
			grid.name = text_width(name);
		free(name);
	}
	left = (screen ? screen : WIDTH) - grid.digits - grid.name -
	       (int)strlen("        UPDATES TO ") - grid.digits;
	grid.cell = (grid.digits + 1) * (int)matrix->n <= left ?
			    grid.digits + 1 :
			    1;
	if (screen && (int)matrix->n > left) {
		putchar('\n');
		print_line("  %zu classes are too many for the width of this terminal: see --svg and --json",
			   matrix->n);
		return;
	}
	grid.steps = matrix_steps(matrix);
	putchar('\n');
	print_heads(matrix, &grid);
	for (size_t i = 0; i < matrix->n; i++)
		print_row(matrix, &grid, i);
	free(grid.steps);
	putchar('\n');
	line_begin(&line);
	for (enum cell cell = 0; cell < CELLS; cell++)
		if (matrix->count[cell])
			fprintf(line.out, "  %c %s", symbols[cell],
				cell_text[cell]);
	line_print(&line);
}

static void print_members(const struct matrix *matrix)
{
	bool first = true;
	struct line line;

	for (size_t i = 0; i < matrix->n && i < MATRIX_SHOWN_MAX; i++) {
		const struct target_class *class = &matrix->targets.classes[i];

		if (class->n == 1)
			continue;
		if (first)
			putchar('\n');
		first = false;
		line_begin(&line);
		fprintf(line.out, "  class %zu:", i + 1);
		for (size_t j = 0; j < class->n && j < MEMBERS_NAMED; j++)
			fprintf(line.out, "%s %s", j ? "," : "",
				class->members[j]);
		if (class->n > MEMBERS_NAMED)
			fprintf(line.out, " + %zu more",
				class->n - MEMBERS_NAMED);
		line_print(&line);
	}
}

static void print_reasons(const struct matrix *matrix)
{
	size_t n = need_explanation(matrix), i;
	struct walk walk = start_walk(matrix);

	if (n)
		putchar('\n');
	for (i = 0; i < EXPLAINED && next_pair(&walk); i++) {
		const struct kho_finding *f = &walk.report->findings[0];

		print_line("  %zu -> %zu  %s: %s", walk.from + 1, walk.to + 1,
			   f->name, f->reason);
	}
	kho_report_free(walk.report);
	if (n > i)
		print_line("  %zu more: see --json and 'kho check'", n - i);
}

static void print_matrix(const struct matrix *matrix)
{
	print_summary(matrix);
	print_table(matrix);
	print_members(matrix);
	print_reasons(matrix);
}

/* ---- For programs ---- */

static struct json_object *reason_json(const struct walk *walk)
{
	const struct kho_finding *f = &walk->report->findings[0];

	return json_make(J("from", walk->from), J("to", walk->to),
			 J("outcome", kho_outcome_name(walk->report->outcome)),
			 J("component", f->name),
			 J("verdict", kho_verdict_name(f->verdict)),
			 J("writer", &f->writer), J("reader", &f->reader),
			 J("reason", f->reason));
}

static struct json_object *pairs_json(const size_t *count)
{
	return json_make(J("compatible", count[CELL_COMPATIBLE]),
			 J("older", count[CELL_OLDER]),
			 J("degraded", count[CELL_DEGRADED]),
			 J("incompatible", count[CELL_INCOMPATIBLE]));
}

static void add_reasons(const struct matrix *matrix, struct json_object *json)
{
	struct json_object *reasons = new_array();
	struct walk walk = start_walk(matrix);
	size_t i;

	for (i = 0; i < EXPLAINED_JSON && next_pair(&walk); i++)
		push_json(reasons, reason_json(&walk));
	kho_report_free(walk.report);
	json_add(json, J("reasons", reasons),
		 J("more_reasons", need_explanation(matrix) - i));
}

static void print_classes(const struct matrix *matrix)
{
	for (size_t i = 0; i < matrix->n; i++) {
		char *line = json_line(
			targets_class_json(&matrix->targets.classes[i]));

		printf("%s%s", i ? "," : "", line);
		free(line);
	}
}

static void print_rows(const struct matrix *matrix)
{
	size_t n = matrix->n;
	char *row = must(malloc(n + 1));

	row[n] = '\0';
	for (size_t from = 0; from < n; from++) {
		for (size_t to = 0; to < n; to++)
			row[to] = symbols[matrix_cell(matrix, from, to)];
		printf("%s\"%s\"", from ? "," : "", row);
	}
	free(row);
}

static void print_matrix_json(const struct matrix *matrix)
{
	struct json_object *json = new_document("kho-matrix");
	const struct kho_check_opts *opts = &matrix->opts;
	char *line;

	json_add(json, J("allow_degraded", opts->allow_degraded),
		 J("profile", opts->profile ? opts->profile->name : NULL),
		 J("pairs", pairs_json(matrix->count)),
		 J("unreadable", json_of_texts(matrix->targets.n_unreadable,
					       matrix->targets.unreadable)));
	add_reasons(matrix, json);
	line = json_line(json);
	/* The rest can be a hundred megabytes: it goes out piece by piece. */
	line[strlen(line) - 1] = '\0';
	printf("%s,\"classes\":[", line);
	free(line);
	print_classes(matrix);
	printf("],\"rows\":[");
	print_rows(matrix);
	puts("]}");
}

static int run(struct matrix *matrix, const struct targets_options *options,
	       const char *svg, char **argv)
{
	struct targets *targets = &matrix->targets;

	for (; *argv; argv++)
		targets_add(targets, *argv);
	if (!targets_add_lists(targets, options))
		return EXIT_UNKNOWN;
	if (!targets->n)
		return targets->n_unreadable ?
			       EXIT_UNKNOWN :
			       fail_usage("matrix", "no TARGET given");
	judge_all(matrix);
	if (options->json)
		print_matrix_json(matrix);
	else
		print_matrix(matrix);
	if (svg && !svg_write(matrix, svg))
		return EXIT_UNKNOWN;
	return targets->n_unreadable		? EXIT_UNKNOWN :
	       matrix->count[CELL_INCOMPATIBLE] ? EXIT_NO :
	       matrix->count[CELL_DEGRADED]	? EXIT_DEGRADED :
						  EXIT_YES;
}

int cmd_matrix(int argc, char **argv)
{
	struct targets_options options = { .opts.size = sizeof(
						   struct kho_check_opts) };
	struct matrix matrix = { 0 };
	const char *svg = NULL;
	const struct verb_option known[] = {
		{ "svg", .text = &svg },
		TARGETS_OPTIONS(&options),
		{},
	};
	char **words = parse_options(argc, argv, help, "", known);
	int code;

	options.opts.profile = options.profile;
	matrix.opts = options.opts;
	targets_init(&matrix.targets, "matrix", &matrix.opts);
	code = run(&matrix, &options, svg, words);
	targets_free(&matrix.targets);
	free(matrix.cells);
	targets_options_free(&options);
	return code;
}
