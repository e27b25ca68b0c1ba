// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Building JSON without a check in every line: an object that misses a part
 * for lack of memory becomes NULL, and so does all that it is put into.
 */
#include <json-c/json.h>
#include <string.h>

#include "private.h"

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

char *json_finish(json_object *object)
{
	const char *text = NULL;
	char *copy;

	if (object)
		text = json_object_to_json_string_ext(
			object, JSON_C_TO_STRING_PRETTY |
					JSON_C_TO_STRING_NOSLASHESCAPE);
	copy = text ? strdup(text) : NULL;
	json_object_put(object);
	return copy;
}
