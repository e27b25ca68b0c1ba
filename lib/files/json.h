/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* JSON, as all documents of this project are written and read. */
#ifndef KHO_FILES_JSON_H
#define KHO_FILES_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json_object.h>

#include <kho/compat.h>
#include <kho/error.h>

#pragma GCC visibility push(hidden)

/* Writing: an object that lacks a part for lack of memory is NULL */

void json_set(struct json_object **object, const char *key,
	      struct json_object *value);
void json_set_null(struct json_object **object, const char *key);
/* {"min": n, "max": m}, or null for no version. */
void json_set_range(struct json_object **object, const char *key,
		    const struct kho_range *range);
void json_push(struct json_object **array, struct json_object *value);
/*
 * The object as a string to free(), and put it; NULL when out of memory. What
 * is not UTF-8 in it becomes U+FFFD. @flags: JSON_C_TO_STRING_*
 */
char *json_text(struct json_object *object, int flags);
/* The same, for people to read. */
char *json_finish(struct json_object *object);

/* A kho-profile that was read already, as kho_profile_parse(). */
struct kho_profile;
int profile_of_json(struct json_object *json, const char *where,
		    struct kho_profile **profile, struct kho_error *err);

/* A kho-report, see kho_report_json(). */
struct kho_report;
struct json_object *report_to_json(const struct kho_report *report);

/* Reading: every byte is hostile */

#define JSON_MAX_SIZE (16u << 20)

/* Is the first byte that is no blank a '{'? */
bool json_begins(const char *text, size_t len);

/*
 * Read all of a file, from its begin: 0, @text to free(), not terminated;
 * -EBADMSG when it has more than JSON_MAX_SIZE bytes; -EIO; -ENOMEM.
 */
int json_read_file(int fd, const char *path, char **text, size_t *len,
		   struct kho_error *err);

/*
 * Parse a whole text, an object. @where: what to call it in messages. Strict
 * JSON in UTF-8; no member twice; a bounded depth and number of values; no
 * escapes in the names of members. 0, @object to json_object_put(); -EBADMSG,
 * with line and column; -ENOMEM.
 */
int json_parse_strict(const char *text, size_t len, const char *where,
		      struct json_object **object, struct kho_error *err);

/**
 * struct json_value - a value, and where in the document it is
 * @object: the value; NULL is `null`
 * @in: the object or array that it is in; NULL: it is the document
 * @name: of the member; of the document, what to call it in messages; NULL: it
 *        is an element of an array
 * @index: of the element
 */
struct json_value {
	struct json_object *object;
	const struct json_value *in;
	const char *name;
	size_t index;
};

/* "WHERE: components[3].write.min: WHY"; -EBADMSG. */
int json_bad(const struct json_value *v, struct kho_error *err, const char *fmt,
	     ...) __attribute__((format(printf, 3, 4)));

/* The member of an object. False, and @v to complain of, when it is missing. */
bool json_has(const struct json_value *in, const char *name,
	      struct json_value *v);
/* The same, 0 or -EBADMSG when it is missing. */
int json_need(const struct json_value *in, const char *name,
	      struct json_value *v, struct kho_error *err);
/* The element of an array that has it. */
struct json_value json_element(const struct json_value *array, size_t i);

/* What a value has to be: 0 or -EBADMSG. */
int json_is_object(const struct json_value *v, struct kho_error *err);
int json_is_array(const struct json_value *v, size_t max, size_t *n,
		  struct kho_error *err);
/* @string lives as long as the document. */
int json_is_string(const struct json_value *v, const char **string,
		   struct kho_error *err);
int json_is_bool(const struct json_value *v, bool *value,
		 struct kho_error *err);
/* An integer from 1 to 2^32 - 1. */
int json_is_version(const struct json_value *v, uint32_t *version,
		    struct kho_error *err);
/* As json_set_range() writes it. */
int json_is_range(const struct json_value *v, struct kho_range *range,
		  struct kho_error *err);
/* An object of that schema, in that version. */
int json_is_document(const struct json_value *v, const char *schema,
		     uint32_t version, struct kho_error *err);

#pragma GCC visibility pop

#endif
