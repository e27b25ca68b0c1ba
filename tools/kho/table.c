// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Tables for people. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "kho.h"
#include "table.h"

void table_cell(struct table *table, const char *color, const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		must(text = NULL);
	va_end(ap);
	table->cells = make_room(table->cells, table->n, sizeof(*table->cells));
	table->cells[table->n++] = (struct table_cell){
		.text = printable(text),
		.color = color,
	};
	free(text);
}

void table_print(struct table *table)
{
	int *width = must(calloc(table->columns, sizeof(*width)));

	for (size_t i = 0; i < table->n; i++) {
		int w = text_width(table->cells[i].text);

		if (width[i % table->columns] < w)
			width[i % table->columns] = w;
	}
	for (size_t i = 0; i < table->n; i++) {
		const struct table_cell *cell = &table->cells[i];
		size_t column = i % table->columns;

		printf("  %s%s%s", cell->color ? cell->color : "", cell->text,
		       cell->color ? PLAIN : "");
		if (column + 1 < table->columns)
			printf("%*s", width[column] - text_width(cell->text),
			       "");
		else
			putchar('\n');
		free(cell->text);
	}
	free(width);
	free(table->cells);
	*table = (struct table){ .columns = table->columns };
}
