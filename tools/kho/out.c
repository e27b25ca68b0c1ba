// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* How the command is talked to and talks: options, errors, sizes, JSON. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kho.h"

void *must(void *memory)
{
	static const char message[] = "kho: out of memory\n";

	if (!memory) {
		(void)!write(STDERR_FILENO, message, sizeof(message) - 1);
		_exit(EXIT_UNKNOWN);
	}
	return memory;
}

void *make_room(void *array, size_t n, size_t size)
{
	if (n & (n - 1))
		return array;
	return must(reallocarray(array, n ? 2 * n : 1, size));
}

char *printable(const char *text)
{
	char *copy = must(strdup(text));

	for (char *c = copy; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return copy;
}

__attribute__((format(printf, 1, 0))) static void vsay(const char *fmt,
						       va_list ap)
{
	char text[2048];
	char *line;

	vsnprintf(text, sizeof(text), fmt, ap);
	line = printable(text);
	/* Where both go to one place, in the order they were written. */
	fflush(stdout);
	fprintf(stderr, "kho: %s\n", line);
	free(line);
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
}

int fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsay(fmt, ap);
	va_end(ap);
	return EXIT_UNKNOWN;
}

int fail_usage(const char *verb, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fail("%s: %s: see 'kho %s --help'", verb, text, verb);
}

int fail_option(const char *verb, int c, char **argv)
{
	const char *last = argv[optind - 1];

	if (c == ':')
		return fail_usage(verb, "option %s needs a value", last);
	if (optopt && strncmp(last, "--", 2))
		return fail_usage(verb, "unknown option -%c", optopt);
	return fail_usage(verb, "unknown option %s", last);
}

bool parse_options(const char *verb, const char *help, int argc, char **argv,
		   struct verb_options *options)
{
	static const struct option known[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
		if (c == 'j') {
			options->json = true;
		} else if (c == 'h') {
			fputs(help, stdout);
			options->code = EXIT_YES;
			return false;
		} else {
			options->code = fail_option(verb, c, argv);
			return false;
		}
	}
	return true;
}

bool parse_seconds(const char *text, unsigned int *ms)
{
	char *end;
	double seconds;

	if (!strchr("0123456789.", text[0]))
		return false;
	seconds = strtod(text, &end);
	if (end == text || *end || !(seconds >= 0.001 && seconds <= 86400))
		return false;
	*ms = (unsigned int)(seconds * 1000);
	return true;
}

bool want_color(void)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_color && *no_color) && term &&
	       strcmp(term, "dumb");
}

const char *human_size(uint64_t bytes, char *buf)
{
	static const char *const units[] = { "B",   "KiB", "MiB", "GiB",
					     "TiB", "PiB", "EiB" };
	double size = (double)bytes;
	size_t unit = 0;

	while (size >= 1023.95) {
		size /= 1024;
		unit++;
	}
	snprintf(buf, 16, unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
	return buf;
}

/* Bytes of the UTF-8 character that @text begins with, 0 when it is none. */
static size_t utf8_len(const unsigned char *text)
{
	uint32_t c = text[0];
	size_t len = c < 0x80  ? 1 :
		     c >= 0xf8 ? 0 :
		     c >= 0xf0 ? 4 :
		     c >= 0xe0 ? 3 :
		     c >= 0xc0 ? 2 :
				 0;
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };

	if (len < 2)
		return len;
	c &= 0x7fu >> len;
	for (size_t i = 1; i < len; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (text[i] & 0x3f);
	}
	if (c < lowest[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return len;
}

char *clean_utf8(const char *text)
{
	char *clean = must(malloc(3 * strlen(text) + 1));
	size_t n = 0;

	while (*text) {
		size_t len = utf8_len((const unsigned char *)text);

		if (len) {
			memcpy(clean + n, text, len);
			text += len;
			n += len;
		} else {
			memcpy(clean + n, "\xef\xbf\xbd", 3);
			text++;
			n += 3;
		}
	}
	clean[n] = 0;
	return clean;
}

void put_xml(FILE *out, const char *bytes)
{
	char *safe = printable(bytes);
	char *text = clean_utf8(safe);

	for (const char *c = text; *c; c++) {
		/* U+FFFE and U+FFFF are UTF-8, but XML does not have them. */
		if (!strncmp(c, "\xef\xbf\xbe", 3) ||
		    !strncmp(c, "\xef\xbf\xbf", 3)) {
			putc('?', out);
			c += 2;
		} else if (*c == '&') {
			fputs("&amp;", out);
		} else if (*c == '<') {
			fputs("&lt;", out);
		} else if (*c == '>') {
			fputs("&gt;", out);
		} else {
			putc(*c, out);
		}
	}
	free(text);
	free(safe);
}

static bool is_first_byte(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

int text_width(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += is_first_byte(*text);
	return width;
}

char *text_tail(const char *text, int width, const char *dots)
{
	int left = text_width(text);
	char *tail;

	if (left <= width)
		return must(strdup(text));
	left += text_width(dots);
	while (left > width || !is_first_byte(*text))
		left -= is_first_byte(*text++);
	if (asprintf(&tail, "%s%s", dots, text) < 0)
		must(tail = NULL);
	return tail;
}

char *json_line(struct json_object *json)
{
	const char *text =
		json_object_to_json_string_ext(json,
					       JSON_C_TO_STRING_PLAIN |
						       JSON_C_TO_STRING_NOSLASHESCAPE);
	char *line;

	must((void *)(uintptr_t)text);
	line = clean_utf8(text);
	json_object_put(json);
	return line;
}

void print_json(struct json_object *json)
{
	char *line = json_line(json);

	puts(line);
	free(line);
}

void print_json_text(char *text)
{
	print_json(must(json_tokener_parse(must(text))));
	free(text);
}

void add_json(struct json_object *json, const char *key,
	      struct json_object *value)
{
	if (json_object_object_add(json, key, must(value)))
		must(NULL);
}

void add_text(struct json_object *json, const char *key, const char *text)
{
	if (text)
		add_json(json, key, json_object_new_string(text));
	else if (json_object_object_add(json, key, NULL))
		must(NULL);
}

void add_number(struct json_object *json, const char *key, uint64_t number)
{
	add_json(json, key, json_object_new_uint64(number));
}

void add_range(struct json_object *json, const char *key,
	       const struct kho_range *range)
{
	struct json_object *value;

	if (!range->max) {
		add_text(json, key, NULL);
		return;
	}
	value = must(json_object_new_object());
	add_number(value, "min", range->min);
	add_number(value, "max", range->max);
	add_json(json, key, value);
}

void push_json(struct json_object *array, struct json_object *value)
{
	if (json_object_array_add(array, must(value)))
		must(NULL);
}

struct json_object *new_document(const char *schema)
{
	struct json_object *json = must(json_object_new_object());

	add_text(json, "schema", schema);
	add_number(json, "version", 1);
	return json;
}
