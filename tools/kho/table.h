/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Tables for people: aligned, two blanks before each column. */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include <stddef.h>

#define RED "\033[1;31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

struct table_cell {
	char *text;
	const char *color; /* NULL: none */
};

/*
 * struct table - cells are added row by row
 * @columns: how many
 * @heads: what stands above them, '>' before that of one with numbers; NULL:
 *         nothing
 */
struct table {
	size_t columns;
	const char *const *heads;
	size_t n;
	struct table_cell *cells;
};

/* @color: on a terminal that wants colours; then as for printf(). */
#define table_cell(table, color, ...)                                          \
	table_add(table, color, format(__VA_ARGS__))
void table_add(struct table *table, const char *color, char *text);

/*
 * Prints it, unless it has no row, and empties it. On a terminal the last column
 * is broken between words.
 */
void table_print(struct table *table);

/* A table with these heads. */
#define TABLE(...)                                                             \
	{                                                                      \
		.columns = sizeof((const char *[]){ __VA_ARGS__ }) /           \
			   sizeof(char *),                                     \
		.heads = (const char *[])                                      \
		{                                                              \
			__VA_ARGS__                                            \
		}                                                              \
	}

/* Cells without a colour; each is a text. */
#define table_row(table, ...)                                                  \
	table_texts(table, (const char *[]){ __VA_ARGS__, NULL })
void table_texts(struct table *table, const char *const *texts);

#endif
