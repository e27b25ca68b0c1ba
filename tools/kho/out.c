// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* How the command is talked to and talks: options, errors, sizes, JSON. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files/json.h"
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

char *format(const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		must(text = NULL);
	va_end(ap);
	return text;
}

int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

char *printable(const char *text)
{
	char *copy = must(strdup(text));

	text_clean(copy);
	return copy;
}

void line_begin(struct line *line)
{
	line->out = must(open_memstream(&line->text, &line->size));
}

char *line_text(struct line *line)
{
	if (fclose(line->out))
		must(NULL);
	return line->text;
}

void print_text(char *text)
{
	text_print(stdout, text, 0, (int)strspn(text, " ") + 2);
	free(text);
}

int fail_text(char *text)
{
	char *line = format("kho: %s", text);

	/* Where both go to one place, in the order they were written. */
	fflush(stdout);
	text_print(stderr, line, 0, 5);
	free(line);
	free(text);
	return EXIT_UNKNOWN;
}

_Noreturn void finish(int code)
{
	/* An answer that nobody got is no answer. */
	if (fflush(stdout) || ferror(stdout))
		code = fail("cannot write to standard output: %m");
	exit(code);
}

int fail_usage_text(const char *verb, char *text)
{
	fail("%s: %s: see 'kho %s --help'", verb, text, verb);
	free(text);
	return EXIT_UNKNOWN;
}

bool want_color(void)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_color && *no_color) && term &&
	       strcmp(term, "dumb");
}

char *absolute_path(const char *path)
{
	char *cwd = path[0] == '/' ? NULL : must(getcwd(NULL, 0));
	char *absolute = format("%s%s%s", cwd ? cwd : "", cwd ? "/" : "", path);

	free(cwd);
	path_tidy(absolute);
	return absolute;
}

struct text text_of(const char *fmt, ...)
{
	struct text text;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text.text, sizeof(text.text), fmt, ap);
	va_end(ap);
	return text;
}

struct text range_text(const struct kho_range *range)
{
	if (range->min != range->max)
		return text_of("v%u-v%u", range->min, range->max);
	return range->max ? text_of("v%u", range->max) : text_of("-");
}

struct text human_size(uint64_t bytes)
{
	static const char *const units[] = { "B",   "KiB", "MiB", "GiB",
					     "TiB", "PiB", "EiB" };
	double size = (double)bytes;
	size_t unit = 0;

	while (size >= 1023.95) {
		size /= 1024;
		unit++;
	}
	return text_of(unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
}

void put_xml(FILE *out, const char *bytes)
{
	char *safe = printable(bytes);
	const char *text = safe;

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
	free(safe);
}

static bool is_first_byte(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

char *text_tail(const char *text, int width, const char *dots)
{
	int left = text_width(text);

	if (left <= width)
		return must(strdup(text));
	left += text_width(dots);
	while (left > width || !is_first_byte(*text))
		left -= is_first_byte(*text++);
	return format("%s%s", dots, text);
}

char *json_line(struct json_object *json)
{
	return must(json_text(json, JSON_C_TO_STRING_PLAIN));
}

struct json_object *json_of_text(char *text)
{
	struct json_object *json = must(json_object_new_object());

	json_object_set_serializer(json, json_object_userdata_to_json_string,
				   must(text), json_object_free_userdata);
	return json;
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

void json_add_members(struct json_object *json,
		      const struct json_member *members)
{
	for (; members->key; members++)
		if (json_object_object_add(json, members->key, members->value))
			must(NULL);
}

struct json_object *json_make_of(const struct json_member *members)
{
	struct json_object *json = must(json_object_new_object());

	json_add_members(json, members);
	return json;
}

struct json_object *json_of_string(const char *text)
{
	return text ? must(json_object_new_string(text)) : NULL;
}

struct json_object *json_of_number(uint64_t number)
{
	return must(json_object_new_uint64(number));
}

struct json_object *json_of_bool(bool value)
{
	return must(json_object_new_boolean(value));
}

struct json_object *json_of_range(const struct kho_range *range)
{
	return range->max ?
		       json_make(J("min", range->min), J("max", range->max)) :
		       NULL;
}

struct json_object *json_of_value(struct json_object *value)
{
	return value;
}

struct json_object *get_json(struct json_object *json, const char *key)
{
	return json_object_object_get(json, key);
}

int get_int(struct json_object *json, const char *key)
{
	return json_object_get_int(get_json(json, key));
}

const char *get_text(struct json_object *json, const char *key)
{
	struct json_object *value = get_json(json, key);

	return json_object_is_type(value, json_type_string) ?
		       json_object_get_string(value) :
		       "";
}

void push_json(struct json_object *array, struct json_object *value)
{
	if (json_object_array_add(array, must(value)))
		must(NULL);
}

struct json_object *new_array(void)
{
	return must(json_object_new_array());
}

struct json_object *json_of_texts(size_t n, char *const *texts)
{
	struct json_object *json = new_array();

	for (size_t i = 0; i < n; i++)
		push_json(json, json_of_string(texts[i]));
	return json;
}

struct json_object *json_copy(struct json_object *from, const char *const *keys)
{
	struct json_object *json = json_make({});

	for (; *keys; keys++)
		json_add(json,
			 J(*keys, json_object_get(get_json(from, *keys))));
	return json;
}

struct json_object *new_document(const char *schema)
{
	return json_make(J("schema", schema), J("version", 1));
}
