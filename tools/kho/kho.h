/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * What the files of the kho command share: the verbs, the exit codes, and how
 * it talks to people and programs.
 */
#ifndef TOOLS_KHO_H
#define TOOLS_KHO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <json-c/json.h>

#include <kho/abi/compat.h>

#include "base/text.h"

/* Exit codes, the same for every verb. */
enum exit_code {
	EXIT_YES = 0, /* yes, done */
	EXIT_NO = 1, /* no: incompatible, refused */
	EXIT_UNKNOWN = 2, /* cannot tell: usage, unreadable, not found */
	EXIT_DEGRADED = 3, /* yes, but without optional components */
};

/* The verbs: argv[0] is the verb. They return an exit code. */
int cmd_abi(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_kexec(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_manifest(int argc, char **argv);
int cmd_matrix(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_update(int argc, char **argv);
int cmd_verify(int argc, char **argv);

/* Exits with @code, or fails when what was printed has not been written. */
_Noreturn void finish(int code);

/* Prints "kho: ..." as one line to stderr; as for printf(). */
#define say(...) ((void)fail(__VA_ARGS__))

/* The same, for good: returns EXIT_UNKNOWN. */
#define fail(...) fail_text(format(__VA_ARGS__))
int fail_text(char *text);

/* A mistake in the arguments of @verb: adds where to look it up. */
#define fail_usage(verb, ...) fail_usage_text(verb, format(__VA_ARGS__))
int fail_usage_text(const char *verb, char *text);

/* True when stdout is a terminal that wants colours. */
bool want_color(void);

/* Of uint64_t, for qsort(). */
int compare_numbers(const void *a, const void *b);

/* printf() into a string to free(). */
char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Prints a line to stdout, cleaned of what a terminal could obey. There it is
 * broken between words, and goes on two columns further in than it began.
 */
#define print_line(...) print_text(format(__VA_ARGS__))
void print_text(char *text);

/* The same of a line that is written piece by piece, to @out. */
struct line {
	FILE *out;
	char *text;
	size_t size;
};
void line_begin(struct line *line);
#define line_print(line) print_text(line_text(line))

/* Or it is no line to print, but a text to free(). */
char *line_text(struct line *line);

/* A copy of @text without what a terminal could obey, in UTF-8; to free(). */
char *printable(const char *text);

/* "s" behind what there is not one of. */
static inline const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* @text, or @dots and its end, if it has more than @width characters; to free(). */
char *text_tail(const char *text, int width, const char *dots);

/* Writes text between the tags of XML, whatever its bytes are. */
void put_xml(FILE *out, const char *bytes);

/*
 * A short text, such as a number, of at most 31 bytes; it is there until the
 * end of the statement that it is in.
 */
struct text {
	char text[32];
};
struct text text_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* 12.3 MiB */
struct text human_size(uint64_t bytes);

/* v1, v1-v3, or - for none */
struct text range_text(const struct kho_range *range);

/* A path from the root of the file system on, to free(). */
char *absolute_path(const char *path);

/* Memory for small things; a command without it cannot even say so. */
void *must(void *memory);

/*
 * An array of @n elements of @size bytes, with room for one more. There is room
 * for a power of two, so it has to grow one by one.
 */
void *make_room(void *array, size_t n, size_t size);

/* A new element at the end of an array of @n. */
#define append(array, n)                                                       \
	((array) = make_room(array, n, sizeof(*(array))), &(array)[(n)++])

/* Writes a JSON document in one line, to free(), and drops it. */
char *json_line(struct json_object *json);

/* What the library wrote, as a part of a document; it takes the text. */
struct json_object *json_of_text(char *text);

/* Prints a JSON document in one line and drops it. */
void print_json(struct json_object *json);

/* The same of one that the library wrote, in many; NULL: there was no memory. */
void print_json_text(char *text);

/*
 * A member of a JSON object: J("key", value), where the value is a text, a
 * number, a bool, a range (null for no version), or JSON, which it takes; NULL
 * is null.
 */
struct json_member {
	const char *key;
	struct json_object *value;
};
/* clang-format off */
#define J(key, value)                                                          \
	{                                                                      \
		key, _Generic((value),                                         \
			char *: json_of_string,                                \
			const char *: json_of_string,                          \
			bool: json_of_bool,                                    \
			const struct kho_range *: json_of_range,               \
			struct kho_range *: json_of_range,                     \
			struct json_object *: json_of_value,                   \
			void *: json_of_value,                                 \
			default: json_of_number)(value)                        \
	}
/* clang-format on */
struct json_object *json_of_string(const char *text);
struct json_object *json_of_number(uint64_t number);
struct json_object *json_of_bool(bool value);
struct json_object *json_of_range(const struct kho_range *range);
struct json_object *json_of_value(struct json_object *value);

/* An object with these members. */
#define json_make(...) json_make_of((struct json_member[]){ __VA_ARGS__, {} })
struct json_object *json_make_of(const struct json_member *members);

/* Adds them to an object. */
#define json_add(json, ...)                                                    \
	json_add_members(json, (struct json_member[]){ __VA_ARGS__, {} })
void json_add_members(struct json_object *json,
		      const struct json_member *members);

/* A member; NULL or 0 when there is none. */
struct json_object *get_json(struct json_object *json, const char *key);
int get_int(struct json_object *json, const char *key);

/* A member that is a string, "" when there is none. */
const char *get_text(struct json_object *json, const char *key);

/* Some members of one, as they are there; @keys ends with NULL. */
struct json_object *json_copy(struct json_object *from,
			      const char *const *keys);

struct json_object *new_array(void);
struct json_object *json_of_texts(size_t n, char *const *texts);

/* Adds to a JSON array. */
void push_json(struct json_object *array, struct json_object *value);

/* Starts a document of a schema, see docs/schemas.md. */
struct json_object *new_document(const char *schema);

#endif
