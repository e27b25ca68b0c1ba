// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The picture of a memory: which pages are preserved, and for what.
 *
 * From the top down: all memory as one strip, with scratch; then the parts that
 * have anything in them, page by page, or in cells of several pages when there
 * are too many; then in what pieces it is preserved. A cell or a column
 * of the strip has the colour of what has the most pages there, but what is
 * wrong is always seen.
 *
 * The file is for itself: no scripts, no fonts, nothing from elsewhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kho.h"
#include "state.h"

#define put(p, ...) fprintf((p)->out, __VA_ARGS__)

/* Pixels. */
#define WIDTH 1040
#define MARGIN 20
#define LABEL 130
#define STRIP (WIDTH - 2 * MARGIN)
#define STRIP_HEIGHT 36
#define CELL 3.4
#define ROW 13
#define ROW_GAP 3
#define LINE 20
#define FONT 12
#define BAR 230

/* Cells of a row, and rows at most. */
#define CELLS 256
#define ROWS_MAX 64

/* Sessions, or subtrees of an arena, that have a colour of their own. */
#define OWNERS 8

/* What a page can be, in colours. */
enum paint {
	PAINT_NONE,
	PAINT_SUPER,
	PAINT_TREE,
	PAINT_BLOB,
	PAINT_LUO,
	PAINT_FILE,
	PAINT_REGION,
	PAINT_TRACKER,
	PAINT_OWN, /* of an arena: what the blobs lead to */
	PAINT_OTHER, /* of owners without a colour */
	PAINT_OWNER, /* the first of OWNERS */
	PAINT_UNREACHED = PAINT_OWNER + OWNERS,
	PAINT_WRONG,
	PAINTS,
};

static const struct {
	const char *color;
	const char *text;
} paints[PAINTS] = {
	[PAINT_SUPER] = { "#b8860b", "superblock (not in the tracker)" },
	[PAINT_TREE] = { "#102a43", "root FDT" },
	[PAINT_BLOB] = { "#486581", "blobs of subtrees" },
	[PAINT_LUO] = { "#7b5ea7", "LUO: sessions, lists of files, FLBs" },
	[PAINT_FILE] = { "#b794d6", "LUO: descriptions of files" },
	[PAINT_REGION] = { "#8a6d3b", "reserved memory" },
	[PAINT_TRACKER] = { "#9fb3c8", "tracker (not in itself)" },
	[PAINT_OWN] = { "#8fc7ac", "what the subtrees lead to" },
	[PAINT_OTHER] = { "#627d98", "others" },
	[PAINT_OWNER] = { "#1b7f5c", NULL },
	{ "#2a78c2", NULL },
	{ "#e08a00", NULL },
	{ "#00959c", NULL },
	{ "#a0522d", NULL },
	{ "#6a8f1f", NULL },
	{ "#c2588a", NULL },
	{ "#4b4bb0", NULL },
	[PAINT_UNREACHED] = { "#d64545", "preserved, nothing leads there" },
	[PAINT_WRONG] = { "#ff00aa",
			  "damage: in use, not preserved; or twice" },
};

/* Pages from @first to before @end; what for. */
struct span {
	uint64_t first;
	uint64_t end;
	uint32_t use;
	enum account account;
	enum paint paint;
};

/* Who has pages: a session, or a subtree of an arena. */
struct owner {
	const char *name;
	size_t len;
	uint64_t pages;
	enum paint paint;
};

struct picture {
	FILE *out;
	const struct state *state;
	const struct memory *memory;
	const struct kho_dump_segment *segments;
	size_t n_segments;
	struct owner *owners;
	size_t n_owners;
	enum paint *paint_of; /* by use */
	struct span *spans;
	size_t n_spans;
	uint64_t pages[PAINTS];
	struct kho_dump_segment whole; /* of an arena */
	double *before; /* pages of all segments before each */
	double total; /* of all */
	double y; /* drawn so far */
	double bottom; /* of the lower one of two columns */
};

/*
 * What is where
 */

/* A session is the part of "SESSION/TOKEN" before the last slash. */
static size_t owner_len(const struct state *state, const struct use *use)
{
	const char *slash = strrchr(use->owner, '/');

	return state->is_kernel && slash ? (size_t)(slash - use->owner) :
					   strlen(use->owner);
}

static bool has_owner(const struct state *state, const struct use *use)
{
	return use->class == (state->is_kernel ? USE_CONTENTS : USE_BLOB);
}

static int by_pages(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;

	return (x->pages < y->pages) - (x->pages > y->pages);
}

/* The uses of an owner follow one another. */
static void find_owners(struct picture *p)
{
	for (size_t i = 0; i < p->memory->n_uses; i++) {
		const struct use *use = &p->memory->uses[i];
		struct owner *last = p->n_owners ? &p->owners[p->n_owners - 1] :
						   NULL;
		size_t len = owner_len(p->state, use);

		if (!has_owner(p->state, use))
			continue;
		if (!last || last->len != len ||
		    memcmp(last->name, use->owner, len)) {
			last = append(p->owners, p->n_owners);
			*last = (struct owner){ use->owner, len, 0,
						PAINT_OTHER };
		}
		last->pages += use->pages;
	}
	if (p->n_owners)
		qsort(p->owners, p->n_owners, sizeof(*p->owners), by_pages);
	for (size_t i = 0; i < p->n_owners && i < OWNERS; i++)
		p->owners[i].paint = PAINT_OWNER + (enum paint)i;
}

static enum paint owner_paint(const struct picture *p, const struct use *use)
{
	size_t len = owner_len(p->state, use);

	for (size_t i = 0; i < p->n_owners && i < OWNERS; i++)
		if (p->owners[i].len == len &&
		    !memcmp(p->owners[i].name, use->owner, len))
			return p->owners[i].paint;
	return PAINT_OTHER;
}

static void choose_paints(struct picture *p)
{
	static const enum paint of_class[] = {
		[USE_SUPER] = PAINT_SUPER,   [USE_TREE] = PAINT_TREE,
		[USE_BLOB] = PAINT_BLOB,     [USE_LUO] = PAINT_LUO,
		[USE_FILE] = PAINT_FILE,     [USE_CONTENTS] = PAINT_OTHER,
		[USE_REGION] = PAINT_REGION, [USE_TRACKER] = PAINT_TRACKER,
	};
	size_t n = p->memory->n_uses;

	find_owners(p);
	p->paint_of = must(calloc(n + 1, sizeof(*p->paint_of)));
	for (size_t i = 0; i < n; i++) {
		const struct use *use = &p->memory->uses[i];

		p->paint_of[i] = has_owner(p->state, use) ?
					 owner_paint(p, use) :
					 of_class[use->class];
	}
}

static enum paint paint_of_pages(const struct picture *p,
				 const struct accounted *a)
{
	if (a->account == ACCOUNTED)
		return p->paint_of[a->use];
	if (a->account != UNREACHED)
		return PAINT_WRONG;
	/* Sessions that are not written yet are no damage either. */
	return p->state->is_kernel ? PAINT_UNREACHED : PAINT_OWN;
}

static void on_span(const struct accounted *a, void *arg)
{
	struct picture *p = arg;
	struct span span = { a->first, a->end, a->use, a->account,
			     paint_of_pages(p, a) };

	p->pages[span.paint] += span.end - span.first;
	*append(p->spans, p->n_spans) = span;
}

/*
 * Drawing
 */

/* Pages of each paint in a cell or column, and the one that is shown. */
struct mix {
	double pages[PAINTS];
};

static enum paint shown(const struct mix *mix)
{
	enum paint best = PAINT_NONE;

	for (int i = PAINT_WRONG; i >= PAINT_UNREACHED; i--)
		if (mix->pages[i] > 0)
			return (enum paint)i;
	for (int i = PAINT_NONE + 1; i < PAINTS; i++)
		if (mix->pages[i] > mix->pages[best])
			best = (enum paint)i;
	return best;
}

static double filled(const struct mix *mix)
{
	double all = 0;

	for (int i = 0; i < PAINTS; i++)
		all += mix->pages[i];
	return all;
}

static void put_heading(struct picture *p, const char *text)
{
	p->y += LINE + 8;
	put(p,
	    "<text x='%d' y='%.1f' font-weight='bold' font-size='14'>%s</text>\n",
	    MARGIN, p->y, text);
	p->y += 10;
}

static void put_head(struct picture *p)
{
	const struct state *state = p->state;
	uint64_t total = 0;

	for (size_t i = 0; i < p->n_segments; i++)
		total += p->segments[i].size;
	p->y = MARGIN + 18;
	put(p, "<text x='%d' y='%.1f' font-size='18' font-weight='bold'>",
	    MARGIN, p->y);
	put_xml(p->out, state->word);
	put(p, "</text>\n");
	p->y += LINE;
	put(p, "<text x='%d' y='%.1f' fill='#486581'>%s: %s of %s preserved, ",
	    MARGIN, p->y, state->is_kernel ? state->kernel.kind : "arena",
	    human_size(p->memory->pages << p->memory->page_shift).text,
	    human_size(total).text);
	put(p, "%zu folios; pages of %u bytes</text>\n", p->memory->n_folios,
	    1u << p->memory->page_shift);
}

/*
 * The strip: all segments, one after the other without what is between them.
 */

/* The first segment that ends behind a page. */
static size_t segment_at(const struct picture *p, double page)
{
	double unit = (double)(1ull << p->memory->page_shift);
	size_t low = 0, high = p->n_segments;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct kho_dump_segment *s = &p->segments[middle];

		if (((double)s->phys + (double)s->size) / unit <= page)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Where on the strip the next part of [*@first, @end) is, in pages from its
 * start; *@first moves on. Zero @pages: no more.
 */
static double next_part(const struct picture *p, double *first, double end,
			double *pages)
{
	double unit = (double)(1ull << p->memory->page_shift);
	size_t i = segment_at(p, *first);
	double from, to, at;

	*pages = 0;
	if (i == p->n_segments)
		return 0;
	from = (double)p->segments[i].phys / unit;
	to = from + (double)p->segments[i].size / unit;
	at = *first > from ? *first : from;
	if (at >= end)
		return 0;
	*pages = (end < to ? end : to) - at;
	*first = at + *pages;
	return p->before[i] + (at - from);
}

static void paint_columns(const struct picture *p, const struct span *span,
			  struct mix *columns)
{
	double first = (double)span->first, end = (double)span->end;
	double per_column = p->total / STRIP, pages, at;

	for (at = next_part(p, &first, end, &pages); pages > 0;
	     at = next_part(p, &first, end, &pages)) {
		int c = (int)(at / per_column);

		for (double stop = at + pages; at < stop && c < STRIP; c++) {
			double until = (c + 1) * per_column;
			double part = (until < stop ? until : stop) - at;

			if (part > 0)
				columns[c].pages[span->paint] += part;
			at = until;
		}
	}
}

static void put_scratch(struct picture *p, double y)
{
	double unit = (double)(1ull << p->memory->page_shift);
	const struct kernel *kernel = &p->state->kernel;
	double scale = STRIP / p->total;

	for (size_t i = 0; p->state->is_kernel && i < kernel->n_scratch; i++) {
		double first = (double)kernel->scratch[i].phys / unit;
		double end = first + (double)kernel->scratch[i].size / unit;
		double pages, at;

		for (at = next_part(p, &first, end, &pages); pages > 0;
		     at = next_part(p, &first, end, &pages))
			put(p,
			    "<rect x='%.2f' y='%.1f' width='%.2f' height='%d' fill='url(#scratch)' stroke='#829ab1' stroke-width='0.5'><title>scratch: %#lx, %lu bytes</title></rect>\n",
			    MARGIN + at * scale, y,
			    pages * scale > 1 ? pages * scale : 1, STRIP_HEIGHT,
			    kernel->scratch[i].phys, kernel->scratch[i].size);
	}
}

/* Where segments end, and addresses go on somewhere else. */
static void put_ticks(struct picture *p, double y)
{
	double scale = STRIP / p->total, last = -1000;

	for (size_t i = 0; i < p->n_segments; i++) {
		double x = MARGIN + p->before[i] * scale;

		/* Neither over one another, nor over the edge. */
		if (x < last + 90 || x > WIDTH - 90)
			continue;
		put(p,
		    "<path d='M%.1f %.1fv6' stroke='#486581'/><text x='%.1f' y='%.1f' class='phys'>%#lx</text>\n",
		    x, y, x + (i ? 3 : 0), y + 17, p->segments[i].phys);
		last = x;
	}
}

static void put_strip(struct picture *p)
{
	struct mix *columns;
	int from = 0;

	put_heading(p, "All memory");
	if (p->total <= 0)
		return;
	columns = must(calloc(STRIP, sizeof(*columns)));
	put(p,
	    "<rect x='%d' y='%.1f' width='%d' height='%d' fill='#f0f4f8' stroke='#bcccdc'/>\n",
	    MARGIN, p->y, STRIP, STRIP_HEIGHT);
	put_scratch(p, p->y);
	for (size_t i = 0; i < p->n_spans; i++)
		paint_columns(p, &p->spans[i], columns);
	for (int c = 1; c <= STRIP; c++) {
		enum paint paint = shown(&columns[from]);

		if (c < STRIP && shown(&columns[c]) == paint)
			continue;
		if (paint)
			put(p,
			    "<rect x='%d' y='%.1f' width='%d' height='%d' fill='%s'/>\n",
			    MARGIN + from, p->y, c - from, STRIP_HEIGHT,
			    paints[paint].color);
		from = c;
	}
	free(columns);
	put_ticks(p, p->y + STRIP_HEIGHT);
	p->y += STRIP_HEIGHT + 24;
}

/*
 * The rows: zones that have anything in them, in cells.
 */

/* Pages of a cell, so that there are not too many rows. */
static uint64_t choose_cell(const struct picture *p)
{
	for (uint64_t cell = 1;; cell *= 2) {
		uint64_t zone = CELLS * cell, rows = 0, next = 0;

		for (size_t i = 0; i < p->n_spans && rows <= ROWS_MAX; i++) {
			uint64_t first = p->spans[i].first / zone;
			uint64_t end = (p->spans[i].end - 1) / zone + 1;

			if (first < next)
				first = next;
			rows += end > first ? end - first : 0;
			next = end > next ? end : next;
		}
		if (rows <= ROWS_MAX)
			return cell;
	}
}

static void put_row_frame(struct picture *p, uint64_t zone, uint64_t pages,
			  bool gap)
{
	if (gap) {
		put(p,
		    "<path d='M%d %.1fh%.1f' stroke='#bcccdc' stroke-dasharray='2 4'/>\n",
		    MARGIN + LABEL, p->y + 2, CELLS * CELL);
		p->y += 2 * ROW_GAP + 1;
	}
	put(p,
	    "<text x='%d' y='%.1f' class='phys' text-anchor='end'>%#lx</text><rect x='%d' y='%.1f' width='%.1f' height='%d' fill='#f0f4f8'/>\n",
	    MARGIN + LABEL - 8, p->y + ROW - 3,
	    (zone * pages) << p->memory->page_shift, MARGIN + LABEL, p->y,
	    CELLS * CELL, ROW);
}

static void put_cells(struct picture *p, double from, double to, double opacity,
		      enum paint paint)
{
	put(p, "<rect x='%.2f' y='%.1f' width='%.2f' height='%d' fill='%s'",
	    MARGIN + LABEL + from * CELL, p->y, (to - from) * CELL, ROW,
	    paints[paint].color);
	if (opacity < 1)
		put(p, " fill-opacity='%.2f'", opacity);
	put(p, ">");
}

/* A span, as far as it is in the row: a page is a cell. */
static void put_pages(struct picture *p, const struct span *span,
		      uint64_t first, uint64_t end)
{
	const struct use *use =
		span->use == NO_USE ? NULL : &p->memory->uses[span->use];

	put_cells(p, (double)(first % CELLS),
		  (double)(first % CELLS + (end - first)), 1, span->paint);
	put(p, "<title>%#lx: ", first << p->memory->page_shift);
	if (use) {
		put_xml(p->out, use->what);
		put(p, " of ");
		put_xml(p->out, use->owner);
	}
	if (!use || span->account != ACCOUNTED)
		put(p, "%s%s", use ? ": " : "", paints[span->paint].text);
	put(p, ", pages: %lu</title></rect>\n", end - first);
}

static int level(const struct mix *mix, double cell)
{
	return (int)(4 * filled(mix) / cell + 0.5);
}

/* Cells of several pages: the fuller, the darker. */
static void put_mixed(struct picture *p, const struct mix *cells, uint64_t cell)
{
	int from = 0;

	for (int c = 1; c <= CELLS; c++) {
		enum paint paint = shown(&cells[from]);
		int l = level(&cells[from], (double)cell);

		if (c < CELLS && shown(&cells[c]) == paint &&
		    level(&cells[c], (double)cell) == l)
			continue;
		if (paint) {
			put_cells(p, from, c, 0.3 + 0.175 * l, paint);
			put(p, "</rect>\n");
		}
		from = c;
	}
}

static void add_to_cells(struct mix *cells, uint64_t cell,
			 const struct span *span, uint64_t first, uint64_t end)
{
	while (first < end) {
		uint64_t next = (first / cell + 1) * cell;

		if (next > end)
			next = end;
		cells[first / cell % CELLS].pages[span->paint] +=
			(double)(next - first);
		first = next;
	}
}

/* One zone, from the spans that reach into it; returns the next to look at. */
static size_t put_row(struct picture *p, size_t i, uint64_t zone, uint64_t cell)
{
	struct mix *cells = must(calloc(CELLS, sizeof(*cells)));
	uint64_t start = zone * CELLS * cell, stop = start + CELLS * cell;

	for (; i < p->n_spans && p->spans[i].first < stop; i++) {
		const struct span *s = &p->spans[i];
		uint64_t first = s->first > start ? s->first : start;
		uint64_t end = s->end < stop ? s->end : stop;

		if (cell == 1)
			put_pages(p, s, first, end);
		else
			add_to_cells(cells, cell, s, first, end);
		if (s->end > stop)
			break;
	}
	if (cell > 1)
		put_mixed(p, cells, cell);
	free(cells);
	return i;
}

static void put_rows(struct picture *p)
{
	uint64_t cell = choose_cell(p), last = 0;
	char text[160];
	bool any = false;

	snprintf(text, sizeof(text), "What is there, a cell for %lu %s (%s)",
		 cell, cell == 1 ? "page" : "pages",
		 human_size(cell << p->memory->page_shift).text);
	put_heading(p, text);
	for (size_t i = 0; i < p->n_spans;) {
		uint64_t zone = p->spans[i].first / (CELLS * cell);
		/* The rest of a span that began in a row before. */
		if (any && zone <= last)
			zone = last + 1;
		put_row_frame(p, zone, CELLS * cell, any && zone != last + 1);
		i = put_row(p, i, zone, cell);
		last = zone;
		any = true;
		p->y += ROW + ROW_GAP;
	}
	p->y += 6;
}

/*
 * What the colours mean
 */

static void put_key(struct picture *p, size_t n, enum paint paint)
{
	double x = MARGIN + (double)(n % 2) * (STRIP / 2.0);
	double y = p->y + (double)(n / 2) * LINE;
	uint64_t pages = p->pages[paint];

	put(p,
	    "<rect x='%.1f' y='%.1f' width='14' height='14' fill='%s'/><text x='%.1f' y='%.1f'>",
	    x, y, paints[paint].color, x + 22, y + 12);
	if (paint >= PAINT_OWNER && paint < PAINT_OWNER + OWNERS) {
		const struct owner *owner = &p->owners[paint - PAINT_OWNER];
		char *name = must(strndup(owner->name, owner->len));

		put(p, "%s ",
		    p->state->is_kernel ? "contents, session" : "subtree");
		put_xml(p->out, name);
		free(name);
	} else if (paint == PAINT_OTHER) {
		put(p, p->state->is_kernel ? "contents, other sessions" :
					     "other subtrees");
	} else {
		put(p, "%s", paints[paint].text);
	}
	put(p, ": %s, pages: %lu</text>\n",
	    human_size(pages << p->memory->page_shift).text, pages);
}

static void put_keys(struct picture *p)
{
	size_t n = 0;

	put_heading(p, "Colours");
	for (int i = PAINT_NONE + 1; i < PAINTS; i++)
		if (p->pages[i])
			put_key(p, n++, (enum paint)i);
	if (p->state->is_kernel) {
		put(p,
		    "<rect x='%.1f' y='%.1f' width='14' height='14' fill='url(#scratch)' stroke='#829ab1'/><text x='%.1f' y='%.1f'>scratch: %s</text>\n",
		    MARGIN + (double)(n % 2) * (STRIP / 2.0),
		    p->y + (double)(n / 2) * LINE,
		    MARGIN + (double)(n % 2) * (STRIP / 2.0) + 22,
		    p->y + (double)(n / 2) * LINE + 12,
		    p->state->kernel.scratch_known ?
			    "the next kernel starts in it" :
			    "not known where");
		n++;
	}
	p->y += (double)((n + 1) / 2) * LINE;
}

/*
 * Fragmentation
 */

/* A column of bars: how many of each power of two pages. */
static void put_bars(struct picture *p, double x, const char *title,
		     const uint64_t *count, const uint64_t *pages)
{
	double y = p->y + LINE;
	uint64_t most = 1;

	put(p, "<text x='%.1f' y='%.1f'>%s</text>\n", x, y, title);
	for (int i = 0; i < ORDERS; i++)
		if (pages[i] > most)
			most = pages[i];
	for (unsigned int i = 0; i < ORDERS; i++) {
		if (!count[i])
			continue;
		y += LINE;
		put(p,
		    "<text x='%.1f' y='%.1f' text-anchor='end'>%s</text><rect x='%.1f' y='%.1f' width='%.1f' height='13' fill='#486581'/><text x='%.1f' y='%.1f'>%lu, %s</text>\n",
		    x + 70, y,
		    human_size(1ull << i << p->memory->page_shift).text, x + 80,
		    y - 11, 1 + BAR * (double)pages[i] / (double)most,
		    x + 80 + BAR * (double)pages[i] / (double)most + 8, y,
		    count[i],
		    human_size(pages[i] << p->memory->page_shift).text);
	}
	if (y > p->bottom)
		p->bottom = y;
}

static void put_fragmentation(struct picture *p)
{
	uint64_t pages[ORDERS] = { 0 }, runs[ORDERS] = { 0 };
	uint64_t run_pages[ORDERS] = { 0 }, first = 0, end = 0;
	const struct memory *m = p->memory;

	put_heading(p, "Fragmentation");
	p->bottom = p->y;
	for (unsigned int i = 0; i < ORDERS; i++)
		pages[i] = m->by_order[i] << i;
	for (size_t i = 0; i <= m->n_folios; i++) {
		uint64_t at = i < m->n_folios ?
				      folio_phys(m, i) >> m->page_shift :
				      UINT64_MAX;

		if (at != end && end > first) {
			unsigned int log =
				63 - (unsigned int)__builtin_clzll(end - first);

			runs[log]++;
			run_pages[log] += end - first;
		}
		if (i == m->n_folios)
			break;
		if (at != end)
			first = at;
		end = at + (1ull << folio_order(m, i));
	}
	put_bars(p, MARGIN, "Preserved folios, by size", m->by_order, pages);
	put_bars(p, MARGIN + STRIP / 2.0,
		 "Contiguous pieces, of this size up to the double", runs,
		 run_pages);
	p->y = p->bottom;
}

static void draw(struct picture *p)
{
	put_head(p);
	put_strip(p);
	put_keys(p);
	put_rows(p);
	put_fragmentation(p);
	p->y += MARGIN;
}

/*
 * The height is known when all is drawn; so draw into a buffer, and write what
 * belongs before it first.
 */
static bool write_picture(struct picture *p, FILE *file)
{
	char *body = NULL;
	size_t size;

	p->out = must(open_memstream(&body, &size));
	draw(p);
	if (fclose(p->out))
		must(NULL);
	fprintf(file,
		"<?xml version='1.0' encoding='UTF-8'?>\n"
		"<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%.0f' viewBox='0 0 %d %.0f' font-family='sans-serif' font-size='%d' fill='#102a43' shape-rendering='crispEdges'>\n"
		"<style>.phys{font-family:monospace;font-size:11px;fill:#486581}</style>\n"
		"<defs><pattern id='scratch' width='6' height='6' patternUnits='userSpaceOnUse' patternTransform='rotate(45)'><rect width='6' height='6' fill='#ffffff'/><rect width='2' height='6' fill='#9fb3c8'/></pattern></defs>\n"
		"<rect width='100%%' height='100%%' fill='#ffffff'/>\n",
		WIDTH, p->y, WIDTH, p->y, FONT);
	fwrite(body, 1, size, file);
	fputs("</svg>\n", file);
	free(body);
	return !ferror(file);
}

static void set_segments(struct picture *p)
{
	double unit = (double)(1ull << p->memory->page_shift);
	const struct state *state = p->state;

	p->whole = (struct kho_dump_segment){ .size = state->arena.info.size };
	p->segments = state->is_kernel ? state->kernel.info.segments :
					 &p->whole;
	p->n_segments = state->is_kernel ? state->kernel.info.n : 1;
	p->before = must(calloc(p->n_segments + 1, sizeof(*p->before)));
	for (size_t i = 0; i < p->n_segments; i++) {
		p->before[i] = p->total;
		p->total += (double)p->segments[i].size / unit;
	}
}

bool picture_write(const struct state *state, const char *path)
{
	struct picture p = { .state = state, .memory = state_memory(state) };
	FILE *file = fopen(path, "we");
	bool ok = file;

	if (!ok) {
		fail("%s: %s: %m", state->verb, path);
		return false;
	}
	set_segments(&p);
	choose_paints(&p);
	memory_account(p.memory, on_span, &p);
	ok = write_picture(&p, file);
	if (fclose(file))
		ok = false;
	if (!ok)
		fail("%s: %s: %m", state->verb, path);
	free(p.before);
	free(p.owners);
	free(p.paint_of);
	free(p.spans);
	return ok;
}
