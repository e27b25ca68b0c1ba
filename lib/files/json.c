// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * JSON, written and read.
 *
 * Writing goes without a check in every line: an object that misses a part for
 * lack of memory becomes NULL, and so does all that it is put into.
 *
 * Reading is strict: two readers that understand a document differently are
 * worse than one that refuses it. A scan over the text bounds what the parser
 * can make of it, and sees what the parser would not say: text that is not
 * UTF-8, a member that is there twice, a number that begins with a zero. The
 * parser could be strict itself, but is not the same in each version: json-c
 * 0.18 then refuses all that is not ASCII, and numbers that are too large.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "files/json.h"

/* Far more than any real document has. */
#define MAX_DEPTH 32
#define MAX_VALUES 100000

/*
 * Writing
 */

static void fail(json_object **object, json_object *value)
{
	json_object_put(value);
	json_object_put(*object);
	*object = NULL;
}

void json_set(json_object **object, const char *key, json_object *value)
{
	if (!*object || !value || json_object_object_add(*object, key, value))
		fail(object, value);
}

void json_push(json_object **array, json_object *value)
{
	if (!*array || !value || json_object_array_add(*array, value))
		fail(array, value);
}

void json_set_null(json_object **object, const char *key)
{
	if (*object && json_object_object_add(*object, key, NULL))
		fail(object, NULL);
}

void json_set_range(json_object **object, const char *key,
		    const struct kho_range *range)
{
	json_object *value;

	if (!range->max) {
		json_set_null(object, key);
		return;
	}
	value = json_object_new_object();
	json_set(&value, "min", json_object_new_int64(range->min));
	json_set(&value, "max", json_object_new_int64(range->max));
	json_set(object, key, value);
}

/* JSON escapes only the first rank of control characters by itself. */
static void escape_controls(FILE *out, const char *text)
{
	for (; *text; text++) {
		const unsigned char *c = (const unsigned char *)text;

		if (*c == 0x7f)
			fputs("\\u007f", out);
		else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
			fprintf(out, "\\u00%02x", *(unsigned char *)++text);
		else
			putc(*c, out);
	}
}

char *json_text(json_object *object, int flags)
{
	const char *text = NULL;
	char *clean, *escaped = NULL;
	size_t size;
	FILE *out;

	if (object)
		text = json_object_to_json_string_ext(
			object, flags | JSON_C_TO_STRING_NOSLASHESCAPE);
	clean = text ? text_to_utf8(text) : NULL;
	json_object_put(object);
	out = clean ? open_memstream(&escaped, &size) : NULL;
	if (out) {
		escape_controls(out, clean);
		if (fclose(out)) {
			free(escaped);
			escaped = NULL;
		}
	}
	free(clean);
	return escaped;
}

char *json_finish(json_object *object)
{
	return json_text(object, JSON_C_TO_STRING_PRETTY);
}

/*
 * Reading
 */

static int no_memory(struct kho_error *err)
{
	return kho_fail(err, -ENOMEM, "out of memory");
}

static bool begins(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len && strchr(" \t\r\n", text[i]) && text[i])
		i++;
	return i < len && text[i] == '{';
}

/* What text editors put before a text, and JSON does not have; or NULL. */
static const char *mark_of(const char *text, size_t len)
{
	if (len > 3 && !memcmp(text, "\xef\xbb\xbf", 3) &&
	    begins(text + 3, len - 3))
		return "a byte order mark";
	if (len > 3 &&
	    (!memcmp(text, "\xff\xfe{", 4) || !memcmp(text, "\xfe\xff\0{", 4)))
		return "the byte order mark of UTF-16";
	return NULL;
}

bool json_begins(const char *text, size_t len)
{
	return begins(text, len) || mark_of(text, len);
}

int json_read_file(int fd, const char *path, char **text, size_t *len,
		   struct kho_error *err)
{
	size_t size = 0, n = 0;
	char *buf = NULL, *larger;
	ssize_t got;
	int ret = 0;

	/* The size that a file says it has may change, or be 0 as in /proc. */
	do {
		if (n == size) {
			size = size ? 2 * size : 65536;
			larger = realloc(buf, size);
			if (!larger) {
				ret = no_memory(err);
				break;
			}
			buf = larger;
		}
		got = pread(fd, buf + n, size - n, (off_t)n);
		if (got < 0)
			ret = kho_fail(err, -EIO, "%s: cannot read: %m", path);
		else if ((n += (size_t)got) > JSON_MAX_SIZE)
			ret = kho_fail(err, -EBADMSG,
				       "%s: has more than %u MiB: JSON that "
				       "large is not read",
				       path, JSON_MAX_SIZE >> 20);
	} while (!ret && got);
	if (ret) {
		free(buf);
		return ret;
	}
	*text = buf;
	*len = n;
	return 0;
}

/* A member's name in the text. */
struct name {
	size_t object; /* a number of its own for each object */
	const char *text;
	size_t len;
};

struct scan {
	const char *where, *text;
	size_t len, at;
	size_t values, objects;
	size_t depth, open[MAX_DEPTH];
	char last; /* what the text before @at ends with, but for blanks */
	size_t n, room;
	struct name *names;
	struct kho_error *err;
};

/* @at: offset of what is wrong. */
static int bad_text(const struct scan *s, size_t at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int bad_text(const struct scan *s, size_t at, const char *fmt, ...)
{
	size_t line = 1, begin = 0, i;
	char why[128];
	va_list ap;

	for (i = 0; i < at; i++) {
		if (s->text[i] != '\n')
			continue;
		line++;
		begin = i + 1;
	}
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return kho_fail(s->err, -EBADMSG, "%s: line %zu, column %zu: %s",
			s->where, line, at - begin + 1, why);
}

static int add_name(struct scan *s, const char *text, size_t len)
{
	struct name *names;
	size_t room;

	if (s->n == s->room) {
		room = s->room ? 2 * s->room : 64;
		names = realloc(s->names, room * sizeof(*names));
		if (!names)
			return no_memory(s->err);
		s->names = names;
		s->room = room;
	}
	s->names[s->n++] = (struct name){
		.object = s->depth ? s->open[s->depth - 1] : 0,
		.text = text,
		.len = len,
	};
	return 0;
}

/* From an opening quote to behind the closing one, or to the end. */
static int scan_string(struct scan *s)
{
	const char *first = s->text + s->at + 1;
	bool escapes = false;
	size_t len, i;

	for (s->at++; s->at < s->len && s->text[s->at] != '"';) {
		size_t n = utf8_length(s->text + s->at, s->len - s->at);

		if (!n)
			return bad_text(s, s->at, "this is not UTF-8");
		if ((unsigned char)s->text[s->at] < ' ')
			return bad_text(s, s->at,
					"a control character in a string");
		if (s->text[s->at] == '\\') {
			escapes = true;
			if (++s->at == s->len)
				break;
			n = utf8_length(s->text + s->at, s->len - s->at);
		}
		s->at += n ? n : 1;
	}
	len = (size_t)(s->text + s->at - first);
	if (s->at < s->len)
		s->at++;
	for (i = s->at; i < s->len && strchr(" \t\r\n", s->text[i]); i++)
		if (!s->text[i])
			return 0;
	if (i == s->len || s->text[i] != ':')
		return 0;
	if (escapes)
		return bad_text(s, (size_t)(first - s->text),
				"an escape in the name of a member");
	return add_name(s, first, len);
}

static const char *skip_digits(const char *t, const char *end)
{
	while (t < end && *t >= '0' && *t <= '9')
		t++;
	return t;
}

static bool is_number(const char *t, const char *end)
{
	const char *from;

	t += t < end && *t == '-';
	from = t;
	t = t < end && *t == '0' ? t + 1 : skip_digits(t, end);
	if (t > from && t < end && *t == '.') {
		from = ++t;
		t = skip_digits(t, end);
	}
	if (t > from && t < end && (*t == 'e' || *t == 'E')) {
		t++;
		t += t < end && (*t == '+' || *t == '-');
		from = t;
		t = skip_digits(t, end);
	}
	return t > from && t == end;
}

static bool is_word(const char *t, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(t, word, len);
}

/* A number, true, false or null, whose characters are in @set. */
static int scan_word(struct scan *s, const char *set)
{
	const char *t = s->text + s->at;
	size_t from = s->at, len;

	while (s->at < s->len && s->text[s->at] && strchr(set, s->text[s->at]))
		s->at++;
	len = s->at - from;
	/* A document does not end so: the parser will say it. */
	if (s->at == s->len || is_number(t, t + len) ||
	    is_word(t, len, "true") || is_word(t, len, "false") ||
	    is_word(t, len, "null"))
		return 0;
	return bad_text(s, from,
			"'%.*s' is neither a number nor true, false or null",
			len < 64 ? (int)len : 64, t);
}

static int scan_one(struct scan *s)
{
	static const char words[] = "0123456789+-.eEtrufalsn";
	char c = s->text[s->at], last = s->last;

	if (c && strchr(" \t\r\n", c)) {
		s->at++;
		return 0;
	}
	s->last = c;
	if (c == '"')
		return scan_string(s);
	if (c && strchr(words, c))
		return scan_word(s, words);
	if (c == '{' || c == '[') {
		if (s->depth == MAX_DEPTH)
			return bad_text(s, s->at,
					"more than %d objects and arrays in "
					"each other",
					MAX_DEPTH);
		s->open[s->depth++] = s->objects++;
	} else if (c == '}' || c == ']') {
		if (last == ',')
			return bad_text(s, s->at, "a comma before '%c'", c);
		s->depth -= !!s->depth;
	} else if (c != ',' && c != ':') {
		return c > ' ' && c <= '~' ?
			       bad_text(s, s->at, "unexpected '%c'", c) :
			       bad_text(s, s->at, "unexpected byte 0x%02x",
					(unsigned char)c);
	}
	/* Each value but the first follows one of these. */
	if (strchr("{[,", c) && s->values++ == MAX_VALUES)
		return bad_text(s, s->at, "more than %d values", MAX_VALUES);
	s->at++;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	size_t len = x->len < y->len ? x->len : y->len;
	int order = (x->object > y->object) - (x->object < y->object);

	if (!order)
		order = memcmp(x->text, y->text, len);
	if (!order)
		order = (x->len > y->len) - (x->len < y->len);
	if (!order)
		order = (x->text > y->text) - (x->text < y->text);
	return order;
}

static int check_names(struct scan *s)
{
	const struct name *again = NULL;
	size_t i;

	if (s->n)
		qsort(s->names, s->n, sizeof(s->names[0]), compare_names);
	for (i = 1; i < s->n; i++) {
		const struct name *x = &s->names[i - 1], *y = &s->names[i];

		if (x->object == y->object && x->len == y->len &&
		    !memcmp(x->text, y->text, x->len) &&
		    (!again || y->text < again->text))
			again = y;
	}
	return again ? bad_text(s, (size_t)(again->text - s->text),
				"member '%.*s' is there twice",
				again->len < 64 ? (int)again->len : 64,
				again->text) :
		       0;
}

static int parse(const struct scan *s, struct json_object **object)
{
	struct json_tokener *tokener = json_tokener_new_ex(MAX_DEPTH + 1);
	enum json_tokener_error why;
	size_t end;

	if (!tokener)
		return no_memory(s->err);
	*object = json_tokener_parse_ex(tokener, s->text, (int)s->len);
	why = json_tokener_get_error(tokener);
	end = json_tokener_get_parse_end(tokener);
	json_tokener_free(tokener);
	if (why == json_tokener_continue)
		return bad_text(s, s->len, "the end is missing");
	if (why != json_tokener_success)
		return bad_text(s, end, "%s", json_tokener_error_desc(why));
	while (end < s->len && strchr(" \t\r\n", s->text[end]))
		end++;
	if (end == s->len)
		return 0;
	json_object_put(*object);
	return bad_text(s, end, "something behind the end");
}

int json_parse_strict(const char *text, size_t len, const char *where,
		      struct json_object **object, struct kho_error *err)
{
	struct scan s = { .where = where, .text = text, .len = len, .err = err };
	int ret = 0;

	if (len > JSON_MAX_SIZE)
		return kho_fail(err, -EBADMSG,
				"%s: has more than %u MiB: JSON that large is "
				"not read",
				where, JSON_MAX_SIZE >> 20);
	if (mark_of(text, len))
		return kho_fail(err, -EBADMSG,
				"%s: begins with %s, which is no JSON: save it "
				"as UTF-8 without one",
				where, mark_of(text, len));
	if (!begins(text, len))
		return kho_fail(err, -EBADMSG,
				"%s: not a JSON object, which begins with '{'",
				where);
	while (!ret && s.at < len)
		ret = scan_one(&s);
	if (!ret)
		ret = parse(&s, object);
	if (!ret) {
		ret = check_names(&s);
		if (ret)
			json_object_put(*object);
	}
	free(s.names);
	return ret;
}

/* "components[3].write", or "" for the document itself. */
static size_t format_place(const struct json_value *v, char *buf, size_t size)
{
	size_t len = 0;
	int n;

	if (!v->in) {
		*buf = '\0';
		return 0;
	}
	len = format_place(v->in, buf, size);
	n = v->name ? snprintf(buf + len, size - len, "%s%s", len ? "." : "",
			       v->name) :
		      snprintf(buf + len, size - len, "[%zu]", v->index);
	return (size_t)n < size - len ? len + (size_t)n : size - 1;
}

int json_bad(const struct json_value *v, struct kho_error *err, const char *fmt,
	     ...)
{
	const struct json_value *document = v;
	char place[192], why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	while (document->in)
		document = document->in;
	return format_place(v, place, sizeof(place)) ?
		       kho_fail(err, -EBADMSG, "%s: %s: %s", document->name,
				place, why) :
		       kho_fail(err, -EBADMSG, "%s: %s", document->name, why);
}

bool json_has(const struct json_value *in, const char *name,
	      struct json_value *v)
{
	*v = (struct json_value){ .in = in, .name = name };
	return json_object_object_get_ex(in->object, name, &v->object);
}

int json_need(const struct json_value *in, const char *name,
	      struct json_value *v, struct kho_error *err)
{
	return json_has(in, name, v) ? 0 : json_bad(v, err, "is missing");
}

struct json_value json_element(const struct json_value *array, size_t i)
{
	return (struct json_value){
		.object = json_object_array_get_idx(array->object, i),
		.in = array,
		.index = i,
	};
}

int json_is_object(const struct json_value *v, struct kho_error *err)
{
	return json_object_is_type(v->object, json_type_object) ?
		       0 :
		       json_bad(v, err, "not an object");
}

int json_is_array(const struct json_value *v, size_t max, size_t *n,
		  struct kho_error *err)
{
	if (!json_object_is_type(v->object, json_type_array))
		return json_bad(v, err, "not an array");
	*n = json_object_array_length(v->object);
	return *n <= max ? 0 :
			   json_bad(v, err, "has %zu elements, more than %zu",
				    *n, max);
}

int json_is_string(const struct json_value *v, const char **string,
		   struct kho_error *err)
{
	if (!json_object_is_type(v->object, json_type_string))
		return json_bad(v, err, "not a string");
	*string = json_object_get_string(v->object);
	return strlen(*string) ==
			       (size_t)json_object_get_string_len(v->object) ?
		       0 :
		       json_bad(v, err, "has a NUL in it");
}

int json_is_bool(const struct json_value *v, bool *value, struct kho_error *err)
{
	if (!json_object_is_type(v->object, json_type_boolean))
		return json_bad(v, err, "neither true nor false");
	*value = json_object_get_boolean(v->object);
	return 0;
}

int json_is_version(const struct json_value *v, uint32_t *version,
		    struct kho_error *err)
{
	int64_t number = json_object_get_int64(v->object);

	if (!json_object_is_type(v->object, json_type_int) || number < 1 ||
	    number > UINT32_MAX)
		return json_bad(v, err, "not an integer from 1 to %u",
				UINT32_MAX);
	*version = (uint32_t)number;
	return 0;
}

int json_is_range(const struct json_value *v, struct kho_range *range,
		  struct kho_error *err)
{
	struct json_value min, max;
	int ret;

	if (!v->object) {
		*range = (struct kho_range){ 0, 0 };
		return 0;
	}
	if (!json_object_is_type(v->object, json_type_object))
		return json_bad(v, err, "neither a range of versions nor null");
	ret = json_need(v, "min", &min, err);
	if (!ret)
		ret = json_is_version(&min, &range->min, err);
	if (!ret)
		ret = json_need(v, "max", &max, err);
	if (!ret)
		ret = json_is_version(&max, &range->max, err);
	if (!ret && range->min > range->max)
		ret = json_bad(v, err, "%u to %u is no range", range->min,
			       range->max);
	return ret;
}

int json_is_document(const struct json_value *v, const char *schema,
		     uint32_t version, struct kho_error *err)
{
	const char *is = NULL;
	struct json_value m;
	uint32_t number = 0;
	int ret = json_is_object(v, err);

	if (!ret)
		ret = json_need(v, "schema", &m, err);
	if (!ret)
		ret = json_is_string(&m, &is, err);
	if (!ret && strcmp(is, schema) != 0)
		ret = json_bad(&m, err, "not '%s'", schema);
	if (!ret)
		ret = json_need(v, "version", &m, err);
	if (!ret)
		ret = json_is_version(&m, &number, err);
	if (!ret && number != version)
		ret = json_bad(&m, err, "is %u, only version %u is known",
			       number, version);
	return ret;
}
