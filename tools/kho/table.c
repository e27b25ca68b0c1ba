// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Tables for people. */
#include <stdio.h>
#include <stdlib.h>

#include "kho.h"
#include "table.h"

/* Columns that the last one needs at least, to be broken below itself. */
#define NARROW 20

void table_add(struct table *table, const char *color, char *text)
{
	text_clean(text);
	*append(table->cells, table->n) = (struct table_cell){ text, color };
}

void table_texts(struct table *table, const char *const *texts)
{
	for (; *texts; texts++)
		table_cell(table, NULL, "%s", *texts);
}

/* A column's head, without what it says of the column. */
static const char *head(const struct table *table, size_t column)
{
	return table->heads[column] + (table->heads[column][0] == '>');
}

static bool is_right(const struct table *table, size_t column)
{
	return table->heads && table->heads[column][0] == '>';
}

static int *widths(const struct table *table)
{
	int *width = must(calloc(table->columns, sizeof(*width)));

	for (size_t i = 0; table->heads && i < table->columns; i++)
		width[i] = text_width(head(table, i));
	for (size_t i = 0; i < table->n; i++) {
		int w = text_width(table->cells[i].text);

		if (width[i % table->columns] < w)
			width[i % table->columns] = w;
	}
	return width;
}

static void print_row(const struct table *table, const int *width,
		      const struct table_cell *row)
{
	size_t last = table->columns - 1;
	int column = 0, screen = text_screen(stdout);

	/* No blanks at the end of a line. */
	while (last && !row[last].text[0])
		last--;
	for (size_t i = 0; i <= last; i++) {
		int pad = width[i] - text_width(row[i].text);
		int before = is_right(table, i) ? pad : 0;
		bool color = row[i].color && want_color();

		printf("  %*s%s", before, "", color ? row[i].color : "");
		column += 2;
		if (i == last)
			text_print(stdout, row[i].text, column + before,
				   column + NARROW < screen ? column : 4);
		else
			printf("%s%s%*s", row[i].text, color ? PLAIN : "",
			       pad - before, "");
		if (i == last && color)
			fputs(PLAIN, stdout);
		column += width[i];
	}
}

void table_print(struct table *table)
{
	struct table_cell *heads = must(calloc(table->columns, sizeof(*heads)));
	int *width = widths(table);

	for (size_t i = 0; table->heads && i < table->columns; i++)
		heads[i].text = printable(head(table, i));
	if (table->heads && table->n)
		print_row(table, width, heads);
	for (size_t i = 0; i < table->n; i += table->columns)
		print_row(table, width, &table->cells[i]);
	for (size_t i = 0; i < table->n; i++)
		free(table->cells[i].text);
	for (size_t i = 0; i < table->columns; i++)
		free(heads[i].text);
	free(heads);
	free(width);
	free(table->cells);
	table->cells = NULL;
	table->n = 0;
}
