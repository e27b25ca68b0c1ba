// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* A kho-abi document, from anywhere. */
#include <stdlib.h>
#include <string.h>

#include <files/json.h>

#include "abi.h"
#include "kho.h"

/* Far more than there will be; the reader of JSON has a limit for all. */
#define MANY 100000

static int read_text(const struct json_value *in, const char *name,
		     const char **text, struct kho_error *err)
{
	struct json_value v;
	int ret = json_need(in, name, &v, err);

	if (!ret)
		ret = json_is_string(&v, text, err);
	if (!ret && !**text)
		ret = json_bad(&v, err, "is empty");
	return ret;
}

static int read_number(const struct json_value *in, const char *name,
		       uint32_t *number, struct kho_error *err)
{
	struct json_value v;
	int64_t value;
	int ret = json_need(in, name, &v, err);

	if (ret)
		return ret;
	value = json_object_get_int64(v.object);
	if (!json_object_is_type(v.object, json_type_int) || value < 0 ||
	    value > UINT32_MAX)
		return json_bad(&v, err, "not an integer from 0 to %u",
				UINT32_MAX);
	*number = (uint32_t)value;
	return 0;
}

static int read_range(const struct json_value *in, const char *name,
		      struct kho_range *range, struct kho_error *err)
{
	struct json_value v;
	int ret = json_need(in, name, &v, err);

	return ret ? ret : json_is_range(&v, range, err);
}

static int read_array(const struct json_value *in, const char *name,
		      struct json_value *array, size_t *n,
		      struct kho_error *err)
{
	int ret = json_need(in, name, array, err);

	return ret ? ret : json_is_array(array, MANY, n, err);
}

static struct abi_item *add_item(struct abi_format *format, const char *of)
{
	struct abi_item *item = append(format->items, format->n);

	*item = (struct abi_item){ .of = of, .name = "", .text = "" };
	return item;
}

static int read_constant(const struct json_value *v, struct abi_format *format,
			 struct kho_error *err)
{
	struct abi_item *item = add_item(format, "");

	return json_is_object(v, err)			      ?:
		       read_text(v, "name", &item->name, err) ?:
		       read_text(v, "value", &item->text, err);
}

static int read_field(const struct json_value *v, const char *of,
		      struct abi_format *format, struct kho_error *err)
{
	struct abi_item *item = add_item(format, of);

	return json_is_object(v, err)				    ?:
		       read_text(v, "name", &item->name, err)	    ?:
		       read_number(v, "offset", &item->offset, err) ?:
		       read_number(v, "size", &item->size, err)	    ?:
		       read_text(v, "type", &item->text, err);
}

static int read_struct(const struct json_value *v, struct abi_format *format,
		       struct kho_error *err)
{
	struct abi_item *item = add_item(format, "");
	const char *of;
	struct json_value fields, field;
	size_t n = 0;
	int ret = json_is_object(v, err)			   ?:
			  read_text(v, "name", &item->of, err)	   ?:
			  read_number(v, "size", &item->size, err) ?:
			  read_array(v, "fields", &fields, &n, err);

	/* Another item may move it. */
	of = item->of;
	for (size_t i = 0; !ret && i < n; i++) {
		field = json_element(&fields, i);
		ret = read_field(&field, of, format, err);
	}
	return ret;
}

int abi_compare_items(const void *a, const void *b)
{
	const struct abi_item *x = a, *y = b;
	int order = strcmp(x->of, y->of);

	return order ? order : strcmp(x->name, y->name);
}

static int read_items(const struct json_value *v, struct abi_format *format,
		      struct kho_error *err)
{
	struct json_value array, element;
	size_t n = 0;
	int ret = read_array(v, "constants", &array, &n, err);

	for (size_t i = 0; !ret && i < n; i++) {
		element = json_element(&array, i);
		ret = read_constant(&element, format, err);
	}
	if (!ret)
		ret = read_array(v, "structs", &array, &n, err);
	for (size_t i = 0; !ret && i < n; i++) {
		element = json_element(&array, i);
		ret = read_struct(&element, format, err);
	}
	if (ret || !format->n)
		return ret;
	qsort(format->items, format->n, sizeof(*format->items),
	      abi_compare_items);
	for (size_t i = 1; i < format->n; i++) {
		const struct abi_item *item = &format->items[i];

		if (!abi_compare_items(item - 1, item))
			return json_bad(v, err, "%s%s%s is there twice",
					item->of,
					*item->of && *item->name ? "." : "",
					item->name);
	}
	return 0;
}

static int read_format(const struct json_value *v, struct abi_format *format,
		       struct kho_error *err)
{
	struct json_value m;
	int ret = json_is_object(v, err)			       ?:
			  read_text(v, "name", &format->name, err)     ?:
			  json_need(v, "component", &m, err)	       ?:
			  json_is_bool(&m, &format->component, err)    ?:
			  read_text(v, "title", &format->title, err)   ?:
			  read_text(v, "header", &format->header, err) ?:
			  json_need(v, "version", &m, err);

	if (!ret && m.object)
		ret = json_is_version(&m, &format->version, err);
	ret = ret						  ?:
		      read_range(v, "write", &format->write, err) ?:
		      read_range(v, "read", &format->read, err)	  ?:
		      read_text(v, "fingerprint", &format->fingerprint, err);
	if (!ret && (strlen(format->fingerprint) != 64 ||
		     format->fingerprint[strspn(format->fingerprint,
						"0123456789abcdef")]))
		ret = json_bad(v, err,
			       "its fingerprint is not 64 hexadecimal digits");
	return ret ? ret : read_items(v, format, err);
}

static int compare_formats(const void *a, const void *b)
{
	const struct abi_format *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int read_formats(const struct json_value *document, struct abi *abi,
			struct kho_error *err)
{
	struct json_value array, element;
	size_t n = 0;
	int ret = read_array(document, "formats", &array, &n, err);

	if (!ret && !n)
		ret = json_bad(&array, err, "is empty");
	if (ret)
		return ret;
	abi->formats = must(calloc(n, sizeof(*abi->formats)));
	for (abi->n = 0; !ret && abi->n < n; abi->n++) {
		element = json_element(&array, abi->n);
		ret = read_format(&element, &abi->formats[abi->n], err);
	}
	if (ret)
		return ret;
	qsort(abi->formats, n, sizeof(*abi->formats), compare_formats);
	for (size_t i = 1; i < n; i++)
		if (!strcmp(abi->formats[i - 1].name, abi->formats[i].name))
			return json_bad(&array, err, "'%s' is there twice",
					abi->formats[i].name);
	return 0;
}

int abi_parse(const char *text, size_t len, const char *where, struct abi *abi,
	      struct kho_error *err)
{
	struct json_value document = { .name = where };
	int ret;

	*abi = (struct abi){ 0 };
	ret = json_parse_strict(text, len, where, &document.object, err);
	if (ret)
		return ret;
	abi->document = document.object;
	ret = json_is_document(&document, "kho-abi", 1, err);
	if (!ret)
		ret = read_formats(&document, abi, err);
	if (ret)
		abi_free(abi);
	return ret;
}

void abi_free(struct abi *abi)
{
	for (size_t i = 0; i < abi->n; i++)
		free(abi->formats[i].items);
	free(abi->formats);
	json_object_put(abi->document);
	*abi = (struct abi){ 0 };
}
