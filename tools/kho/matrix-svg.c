// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The picture of a matrix: a grid of cells, who hands over in the rows, who
 * takes over in the columns, and how many updates lead to the last class.
 *
 * From 1 to MATRIX_SHOWN_MAX classes, cells shrink so that the whole stays on
 * a screen. Large cells have a sign besides their colour, and a text for the
 * mouse that says why. Small ones have only their colour and the names of the
 * components that fail; neighbours of which the same is to be said are one, and
 * some of the classes' names go. Colours are told apart by everybody, and in
 * grey.
 *
 * The file is for itself: no scripts, no fonts, nothing from elsewhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kho.h"
#include "matrix.h"

#define put(svg, ...) fprintf((svg)->out, __VA_ARGS__)

/* Pixels. */
#define GRID 900 /* where it fits */
#define CELL_MAX 34
#define CELL_MIN 2
#define CELL_LARGE 16 /* from here on, a cell is large */
#define FONT 12
#define LABEL 14 /* between names, at least */
#define MARGIN 16
#define HEAD 56
#define LEGEND_LINE 22
#define BARS 120
#define WIDTH_MIN 520

/* Characters of a name. */
#define NAME_WIDTH 36

/* Members of a class that its name's text for the mouse has. */
#define MEMBERS_NAMED 30

/* What a cell looks like. */
enum kind {
	BOTH_WAYS,
	ONE_WAY,
	OLDER,
	DEGRADED,
	INCOMPATIBLE,
	KINDS,
};

static const char *const kind_text[KINDS] = {
	"compatible",
	"compatible, with no way back",
	"compatible, in older versions",
	"degraded",
	"incompatible",
};

/**
 * struct svg - a picture that is being drawn
 * @out: to there
 * @matrix: of this
 * @cell: size of a cell
 * @every: each such class has its name written
 * @left: where the grid begins
 * @top: likewise
 * @size: of the grid
 * @steps: see matrix_steps()
 * @count: cells of each kind
 */
struct svg {
	FILE *out;
	const struct matrix *matrix;
	int cell;
	size_t every;
	int left;
	int top;
	int size;
	size_t *steps;
	size_t count[KINDS];
};

/* Text of several lines; drops it. */
static void put_lines(struct svg *svg, char *text)
{
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		put_xml(svg->out, line);
		put(svg, rest ? "\n" : "");
	}
	free(text);
}

static const char *name_of(const struct svg *svg, size_t class)
{
	return targets_name(&svg->matrix->targets, class);
}

/* The end of a name, after three dots when there is more. */
static void put_name(struct svg *svg, size_t class)
{
	char *name = text_tail(name_of(svg, class), NAME_WIDTH, "\xe2\x80\xa6");

	put_xml(svg->out, name);
	free(name);
}

static bool is_large(const struct svg *svg)
{
	return svg->cell >= CELL_LARGE;
}

/* The last one is what it is all about: nothing comes near it. */
static bool is_named(const struct svg *svg, size_t class)
{
	size_t behind = svg->matrix->n - 1 - class;

	return !behind || (!(class % svg->every) && behind >= svg->every);
}

static enum kind kind_of(const struct matrix *matrix, size_t from, size_t to)
{
	switch (matrix_cell(matrix, from, to)) {
	case CELL_COMPATIBLE:
		return matrix_cell(matrix, to, from) == CELL_INCOMPATIBLE ?
			       ONE_WAY :
			       BOTH_WAYS;
	case CELL_OLDER:
		return OLDER;
	case CELL_DEGRADED:
		return DEGRADED;
	default:
		return INCOMPATIBLE;
	}
}

/* ---- Layout ---- */

static void lay_out(struct svg *svg)
{
	const struct matrix *matrix = svg->matrix;
	int n = (int)matrix->n, widest = 0, label;

	svg->cell = GRID / n;
	if (svg->cell > CELL_MAX)
		svg->cell = CELL_MAX;
	if (svg->cell < CELL_MIN)
		svg->cell = CELL_MIN;
	svg->every = (size_t)(LABEL + svg->cell - 1) / (size_t)svg->cell;
	svg->size = n * svg->cell;
	for (size_t i = 0; i < matrix->n; i++) {
		const struct target_class *class = &matrix->targets.classes[i];
		int width = text_width(name_of(svg, i));

		if (!is_named(svg, i))
			continue;
		if (width > NAME_WIDTH)
			width = NAME_WIDTH;
		/* Its number, and how many it has. */
		width += snprintf(NULL, 0, " %zu", i + 1);
		if (class->n > 1)
			width += snprintf(NULL, 0, " x%zu", class->n);
		if (widest < width)
			widest = width;
	}
	/* A character of a plain font. */
	label = widest * FONT * 6 / 10 + 8;
	svg->left = MARGIN + label;
	svg->top = HEAD + label;
	svg->steps = matrix_steps(matrix);
	for (size_t from = 0; from < matrix->n; from++)
		for (size_t to = 0; to < matrix->n; to++)
			svg->count[kind_of(matrix, from, to)]++;
}

static int width_of_picture(const struct svg *svg)
{
	int width = svg->left + svg->size + BARS + MARGIN;

	return width > WIDTH_MIN ? width : WIDTH_MIN;
}

static int lines_of_legend(const struct svg *svg)
{
	int lines = 2;

	for (int kind = 0; kind < KINDS; kind++)
		lines += svg->count[kind] > 0;
	return lines;
}

/* ---- Parts ---- */

/* Light and dark; what reads no such rules gets the light one. */
static const char style[] =
	"<style>\n"
	"text{font:12px sans-serif;fill:#222}\n"
	".h{font-size:17px;font-weight:bold}.m{fill:#666}.e{text-anchor:end}\n"
	".g{fill:#fafaf7}.l{stroke:#fafaf7}.n{stroke:#222}\n"
	".t0{fill:#a9d5ea}.t1{fill:#d9ecf4}.t2{fill:#4396c9}.t3{fill:#e8a400}\n"
	".t4{fill:#7b1f1f}\n"
	".s{fill:none;stroke:#fff;stroke-width:1.5}\n"
	".k{fill:none;stroke:#3d2b00}.w{fill:none;stroke:#7fb4cd}\n"
	".p{pointer-events:none;fill:none}\n"
	"use:hover,.f:hover{opacity:.6}\n"
	"@media (prefers-color-scheme:dark){text{fill:#ddd}.m{fill:#999}\n"
	".g{fill:#1c1d1f}.l{stroke:#1c1d1f}.n{stroke:#888}.t4{fill:#a03434}}\n"
	"</style>\n";

static void put_sign(struct svg *svg, enum kind kind)
{
	int c = svg->cell, third = c / 3, half = c / 2;

	if (kind == ONE_WAY)
		put(svg, "<path class=\"w\" d=\"M%d %dl%d %dl-%d %d\"/>",
		    half - third / 4, half - third / 2, third / 2, third / 2,
		    third / 2, third / 2);
	else if (kind == OLDER)
		put(svg, "<circle class=\"s\" cx=\"%d\" cy=\"%d\" r=\"%d\"/>",
		    half, half, c / 6);
	else if (kind == DEGRADED)
		put(svg,
		    "<path class=\"k\" d=\"M0 %dL%d 0M0 %dL%d 0M%d %dL%d %d\"/>",
		    half, half, c, c, half, c, c, half);
	else if (kind == INCOMPATIBLE)
		put(svg, "<path class=\"s\" d=\"M%d %dL%d %dM%d %dL%d %d\"/>",
		    third, third, c - third, c - third, third, c - third,
		    c - third, third);
}

/* A cell of each kind, to be used at its place. */
static void put_kinds(struct svg *svg)
{
	put(svg, "<defs>\n");
	for (int kind = 0; kind < KINDS; kind++) {
		put(svg,
		    "<g id=\"c%d\"><rect class=\"t%d\" width=\"%d\" height=\"%d\"/>",
		    kind, kind, svg->cell, svg->cell);
		if (is_large(svg))
			put_sign(svg, (enum kind)kind);
		put(svg, "</g>\n");
	}
	put(svg, "</defs>\n");
}

static void put_head(struct svg *svg)
{
	const struct matrix *matrix = svg->matrix;

	put(svg,
	    "<text class=\"h\" x=\"%d\" y=\"28\">Who can hand over to whom</text>\n",
	    MARGIN);
	put(svg,
	    "<text class=\"m\" x=\"%d\" y=\"46\">%zu target%s in %zu class%s, %zu pair%s",
	    MARGIN, matrix->targets.n, matrix->targets.n > 1 ? "s" : "",
	    matrix->n, matrix->n > 1 ? "es" : "", matrix->n * matrix->n,
	    matrix->n > 1 ? "s" : "");
	if (matrix->opts.allow_degraded)
		put(svg, ", degraded allowed");
	if (matrix->opts.profile) {
		put(svg, ", profile ");
		put_xml(svg->out, matrix->opts.profile->name);
	}
	put(svg, "</text>\n");
}

/* Who is in a class, for the mouse. */
static void put_members(struct svg *svg, size_t class)
{
	const struct target_class *c = &svg->matrix->targets.classes[class];

	put(svg, "<title>");
	for (size_t i = 0; i < c->n && i < MEMBERS_NAMED; i++) {
		put(svg, i ? "\n" : "");
		put_xml(svg->out, c->members[i]);
	}
	if (c->n > MEMBERS_NAMED)
		put(svg, "\n+ %zu more", c->n - MEMBERS_NAMED);
	put(svg, "</title>");
}

static void put_label(struct svg *svg, size_t class)
{
	size_t members = svg->matrix->targets.classes[class].n;

	put_members(svg, class);
	put_name(svg, class);
	if (members > 1)
		put(svg, " <tspan class=\"m\">\xc3\x97%zu</tspan>", members);
}

static void put_labels(struct svg *svg)
{
	int c = svg->cell, n = (int)svg->matrix->n;

	put(svg,
	    "<text class=\"m e\" x=\"%d\" y=\"%d\">from \xe2\x86\x93 to \xe2\x86\x92</text>\n",
	    svg->left - 8, svg->top - 8);
	for (int i = 0; i < n; i++) {
		int middle = i * c + c / 2 + 4;

		if (!is_named(svg, (size_t)i))
			continue;
		put(svg, "<text class=\"e\" x=\"%d\" y=\"%d\">", svg->left - 8,
		    svg->top + middle);
		put_label(svg, (size_t)i);
		put(svg, " <tspan class=\"m\">%d</tspan></text>\n", i + 1);
		put(svg,
		    "<text transform=\"translate(%d %d)rotate(-90)\"><tspan class=\"m\">%d</tspan> ",
		    svg->left + middle, svg->top - 8, i + 1);
		put_label(svg, (size_t)i);
		put(svg, "</text>\n");
	}
}

/*
 * What is to be said of a cell, for the mouse, but for its names; to free().
 * NULL: nothing.
 */
static char *why(const struct svg *svg, size_t from, size_t to)
{
	const struct matrix *matrix = svg->matrix;
	enum kind kind = kind_of(matrix, from, to);
	struct kho_report *report;
	struct line line;

	if (!is_large(svg) && kind < OLDER)
		return NULL;
	line_begin(&line);
	report = targets_report(&matrix->targets, from, to, &matrix->opts);
	fprintf(line.out, "\n%s", kind_text[kind]);
	for (size_t i = 0; i < report->n; i++) {
		const struct kho_finding *f = &report->findings[i];

		if (f->verdict == KHO_OK ||
		    (kind == INCOMPATIBLE && f->verdict == KHO_OLDER))
			continue;
		fprintf(line.out, "\n%s", f->name);
		if (is_large(svg)) {
			char *reason = printable(f->reason);

			fprintf(line.out, ": %s", reason);
			free(reason);
		}
	}
	kho_report_free(report);
	return line_text(&line);
}

/*
 * Cells from @first to @last of a row look the same, and the same @text, which
 * is dropped, is said of them.
 */
static void put_cells(struct svg *svg, size_t from, size_t first, size_t last,
		      char *text)
{
	enum kind kind = kind_of(svg->matrix, from, first);
	int c = svg->cell, x = (int)first * c;

	if (is_large(svg))
		put(svg, "<use href=\"#c%d\" x=\"%d\">", kind, x);
	else
		put(svg,
		    "<rect class=\"f t%d\" x=\"%d\" width=\"%d\" height=\"%d\">",
		    kind, x, (int)(last - first + 1) * c, c);
	if (text) {
		put(svg, "<title>");
		put_xml(svg->out, name_of(svg, from));
		put(svg, " \xe2\x86\x92 ");
		put_xml(svg->out, name_of(svg, first));
		if (first != last) {
			put(svg, " \xe2\x80\xa6 ");
			put_xml(svg->out, name_of(svg, last));
		}
		put_lines(svg, text);
		put(svg, "</title>");
	}
	put(svg, is_large(svg) ? "</use>\n" : "</rect>\n");
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static void put_row(struct svg *svg, size_t from)
{
	const struct matrix *matrix = svg->matrix;
	char *text = why(svg, from, 0), *next;
	size_t first = 0, to;

	for (to = 1; to < matrix->n; to++) {
		next = why(svg, from, to);
		if (!is_large(svg) && same(text, next) &&
		    kind_of(matrix, from, to) == kind_of(matrix, from, first)) {
			free(next);
			continue;
		}
		put_cells(svg, from, first, to - 1, text);
		text = next;
		first = to;
	}
	put_cells(svg, from, first, to - 1, text);
}

static void put_grid(struct svg *svg)
{
	size_t n = svg->matrix->n;
	int c = svg->cell, size = svg->size;

	put(svg, "<g transform=\"translate(%d %d)\">\n", svg->left, svg->top);
	for (size_t from = 0; from < n; from++) {
		put(svg, "<g transform=\"translate(0 %d)\">\n", (int)from * c);
		put_row(svg, from);
		put(svg, "</g>\n");
	}
	if (is_large(svg)) {
		put(svg, "<path class=\"p l\" d=\"");
		for (int i = 1; i < (int)n; i++)
			put(svg, "M%d 0v%dM0 %dh%d", i * c, size, i * c, size);
		put(svg, "\"/>\n");
		put(svg, "<path class=\"p n\" stroke-width=\"1.5\" d=\"");
		for (int i = 0; i < (int)n; i++)
			put(svg, "M%d %dh%dv%dh-%dz", i * c, i * c, c, c, c);
		put(svg, "\"/>\n");
	} else {
		put(svg, "<path class=\"p n\" d=\"M0 0L%d %d\"/>\n", size,
		    size);
	}
	put(svg, "</g>\n");
}

/* How many updates lead to the last class: a bar for each row. */
static void put_bars(struct svg *svg)
{
	size_t n = svg->matrix->n, most = 1, i;
	int c = svg->cell, gap = is_large(svg) ? 4 : 0;

	for (i = 0; i < n; i++)
		if (svg->steps[i] != STEPS_NEVER && most < svg->steps[i])
			most = svg->steps[i];
	put(svg, "<text class=\"m\" x=\"%d\" y=\"%d\">updates to</text>\n",
	    svg->left + svg->size + 12, svg->top - 22);
	put(svg, "<text class=\"m\" x=\"%d\" y=\"%d\">reach %zu</text>\n",
	    svg->left + svg->size + 12, svg->top - 8, n);
	put(svg, "<g transform=\"translate(%d %d)\">\n",
	    svg->left + svg->size + 12, svg->top);
	for (i = 0; i < n; i++) {
		bool never = svg->steps[i] == STEPS_NEVER;
		int width = never ? 60 : (int)(60 * svg->steps[i] / most);

		put(svg,
		    "<rect class=\"t%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n",
		    never ? INCOMPATIBLE : OLDER,
		    (int)i * c + (never ? c / 2 - 1 : gap / 2), width,
		    never ? 2 : c - gap);
		if (!is_named(svg, i))
			continue;
		put(svg, "<text x=\"%d\" y=\"%d\">", width + 6,
		    (int)i * c + c / 2 + 4);
		if (never)
			put(svg, "never</text>\n");
		else
			put(svg, "%zu</text>\n", svg->steps[i]);
	}
	put(svg, "</g>\n");
}

static void put_legend(struct svg *svg)
{
	const struct matrix *matrix = svg->matrix;
	double pairs = (double)(matrix->n * matrix->n);
	int y = svg->top + svg->size + 28;

	for (int kind = 0; kind < KINDS; kind++) {
		if (!svg->count[kind])
			continue;
		put(svg,
		    "<g transform=\"translate(%d %d)scale(%.3f)\"><use href=\"#c%d\"/></g>\n",
		    MARGIN, y, 18.0 / svg->cell, kind);
		put(svg,
		    "<text x=\"%d\" y=\"%d\">%s <tspan class=\"m\">%zu (%.0f%%)</tspan></text>\n",
		    MARGIN + 28, y + 14, kind_text[kind], svg->count[kind],
		    100.0 * (double)svg->count[kind] / pairs);
		y += LEGEND_LINE;
	}
	put(svg,
	    "<text class=\"m\" x=\"%d\" y=\"%d\">A row hands over to a column. The diagonal is the program itself,</text>\n",
	    MARGIN, y + 14);
	put(svg,
	    "<text class=\"m\" x=\"%d\" y=\"%d\">started again. Point at a cell to see why.</text>\n",
	    MARGIN, y + 30);
}

static void draw(struct svg *svg)
{
	int width, height;

	lay_out(svg);
	width = width_of_picture(svg);
	height = svg->top + svg->size + 28 +
		 LEGEND_LINE * lines_of_legend(svg) + MARGIN;
	put(svg,
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n"
	    "<title>Who can hand over to whom</title>\n%s",
	    width, height, width, height, style);
	put_kinds(svg);
	put(svg, "<rect class=\"g\" width=\"%d\" height=\"%d\"/>\n", width,
	    height);
	put_head(svg);
	put_labels(svg);
	put_grid(svg);
	put_bars(svg);
	put_legend(svg);
	put(svg, "</svg>\n");
	free(svg->steps);
}

bool svg_write(const struct matrix *matrix, const char *path)
{
	struct svg svg = { .matrix = matrix };
	bool failed;

	if (matrix->n > MATRIX_SHOWN_MAX) {
		fail("matrix: %s: %zu classes are too many for a picture, at most %d: see --json",
		     path, matrix->n, MATRIX_SHOWN_MAX);
		return false;
	}
	svg.out = fopen(path, "we");
	if (!svg.out) {
		fail("matrix: %s: %m", path);
		return false;
	}
	draw(&svg);
	failed = ferror(svg.out);
	if (fclose(svg.out) || failed)
		fail("matrix: %s: cannot write: %m", path);
	else
		return true;
	return false;
}
