/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Texts of any bytes, made printable; how they are laid out on a screen. */
#ifndef KHO_BASE_TEXT_H
#define KHO_BASE_TEXT_H

#include <stddef.h>
#include <stdio.h>

#pragma GCC visibility push(hidden)

/* Copy @from, of any bytes, as one printable line into @to. */
void copy_text(char *to, size_t size, const char *from, size_t len);

/*
 * What snprintf() has cut, by its return value @len, ends with "..." behind a
 * whole word.
 */
void text_cut(char *buf, size_t size, size_t len);

/* Bytes of the UTF-8 character that @text begins with; 0 when it is none. */
size_t utf8_length(const char *text, size_t len);

/* A copy with U+FFFD for each byte that is not UTF-8, to free(), or NULL. */
char *text_to_utf8(const char *text);

/* What a terminal could obey, or is not UTF-8, becomes '?'. */
void text_clean(char *text);

/* Takes what leads nowhere out of a path: "./", and "/" behind another. */
void path_tidy(char *path);

/* Columns of a clean text, as long as no character is a wide one. */
int text_width(const char *text);

/* Columns of the terminal that @out is; 0: it is none. */
int text_screen(FILE *out);

/*
 * Print a text, cleaned, and a newline. On a terminal it is broken between
 * words.
 * @column: at which it begins
 * @indent: of the lines that follow
 */
void text_print(FILE *out, const char *text, int column, int indent);

#pragma GCC visibility pop

#endif
