// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Texts of any bytes, made printable; how they are laid out on a screen. */
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

void copy_text(char *to, size_t size, const char *from, size_t len)
{
	size_t i;

	for (i = 0; i < len && i < size - 1 && from[i]; i++)
		to[i] = from[i] < ' ' || from[i] > '~' ? ' ' : from[i];
	/* UKIs end their texts with newlines. */
	while (i && to[i - 1] == ' ')
		i--;
	to[i] = '\0';
}

void text_cut(char *buf, size_t size, size_t len)
{
	static const char dots[] = " ...";

	if (len < size || size < sizeof(dots))
		return;
	for (len = size - sizeof(dots); len && buf[len] != ' '; len--)
		;
	/* One word. */
	if (!len)
		len = size - sizeof(dots);
	strcpy(buf + len, dots);
}

size_t utf8_length(const char *text, size_t len)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *t = (const unsigned char *)text;
	uint32_t c = t[0];
	size_t i, n = c < 0x80		     ? 1 :
		      c >= 0xc0 && c <= 0xdf ? 2 :
		      c >= 0xe0 && c <= 0xef ? 3 :
		      c >= 0xf0 && c <= 0xf7 ? 4 :
					       0;

	if (n < 2 || n > len)
		return n > len ? 0 : n;
	c &= 0x7fu >> n;
	for (i = 1; i < n; i++) {
		if ((t[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (t[i] & 0x3f);
	}
	if (c < lowest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

char *text_to_utf8(const char *text)
{
	size_t len = strlen(text), n, out = 0;
	char *copy = malloc(3 * len + 1);

	for (; copy && len; text += n, len -= n) {
		n = utf8_length(text, len);
		if (n) {
			memcpy(copy + out, text, n);
			out += n;
		} else {
			memcpy(copy + out, "\xef\xbf\xbd", 3);
			out += 3;
			n = 1;
		}
	}
	if (copy)
		copy[out] = '\0';
	return copy;
}

void text_clean(char *text)
{
	size_t len = strlen(text), n;
	char *to = text;

	for (; len; text += n, len -= n) {
		const unsigned char *c = (unsigned char *)text;

		n = utf8_length(text, len);
		/* The second rank of control characters has two bytes. */
		if (!n || *c < ' ' || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0))
			*to++ = '?';
		else
			to = (char *)memmove(to, text, n) + n;
		n += !n;
	}
	*to = '\0';
}

void path_tidy(char *path)
{
	char *to = path;

	for (const char *from = path; *from;) {
		bool begins = from == path || from[-1] == '/';

		if (begins && from[0] == '.' && from[1] == '/' && from[2])
			from += 2;
		else if (begins && from[0] == '/' && to != path)
			from++;
		else
			*to++ = *from++;
	}
	*to = '\0';
}

/* How many characters begin in these bytes. */
static int width(const char *text, size_t len)
{
	int n = 0;

	for (; len; len--)
		n += ((unsigned char)*text++ & 0xc0) != 0x80;
	return n;
}

int text_width(const char *text)
{
	return width(text, strlen(text));
}

int text_screen(FILE *out)
{
	struct winsize size;

	return ioctl(fileno(out), TIOCGWINSZ, &size) ? 0 : size.ws_col;
}

static void print_words(FILE *out, const char *text, int column, int indent,
			int screen)
{
	while (*text) {
		size_t blanks = strspn(text, " ");
		size_t word = strcspn(text + blanks, " ");
		int wide = width(text + blanks, word);

		/* A word that is too long for any line stays whole as well. */
		if (column > indent && column + (int)blanks + wide > screen) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		} else {
			fprintf(out, "%.*s", (int)blanks, text);
			column += (int)blanks;
		}
		fprintf(out, "%.*s", (int)word, text + blanks);
		column += wide;
		text += blanks + word;
	}
}

void text_print(FILE *out, const char *text, int column, int indent)
{
	int screen = text_screen(out);
	char *clean = strdup(text);

	if (clean) {
		text_clean(clean);
		if (screen)
			print_words(out, clean, column, indent, screen);
		else
			fputs(clean, out);
		free(clean);
	}
	putc('\n', out);
}
