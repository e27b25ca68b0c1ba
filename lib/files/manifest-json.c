// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Manifests as JSON: docs/schemas.md, "kho-manifest". */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "compat/bundle.h"
#include "compat/component.h"
#include "compat/manifest.h"
#include "files/json.h"
#include "files/manifest.h"

#define SCHEMA "kho-manifest"
#define VERSION 1

static const struct {
	const char *name;
	uint32_t flag;
} flags[] = {
	{ "structure", KHO_COMPONENT_STRUCTURE },
	{ "optional", KHO_COMPONENT_OPTIONAL },
	{ "handler", KHO_COMPONENT_HANDLER },
	{ "check", KHO_COMPONENT_CHECK },
	{ "can_write", KHO_COMPONENT_CAN_WRITE },
	{ "convert", KHO_COMPONENT_CONVERT },
};

#define N_FLAGS (sizeof(flags) / sizeof(flags[0]))

/*
 * Writing
 */

static json_object *entry_json(const struct kho_manifest *manifest,
			       const struct kho_manifest_entry *entry)
{
	const struct kho_component_desc *desc = &entry->desc;
	const char *source = manifest->sources[entry->source];
	json_object *object = json_object_new_object();
	json_object *deps = json_object_new_array();
	size_t i;

	for (i = 0; i < KHO_DEPS_MAX && desc->deps[i][0]; i++)
		json_push(&deps, json_object_new_string(desc->deps[i]));
	json_set(&object, "name", json_object_new_string(desc->name));
	json_set_range(&object, "write", &desc->write);
	json_set_range(&object, "read", &desc->read);
	for (i = 0; i < N_FLAGS; i++)
		json_set(&object, flags[i].name,
			 json_object_new_boolean(
				 !!(desc->flags & flags[i].flag)));
	json_set(&object, "deps", deps);
	json_set(&object, "source", json_object_new_string(source));
	if (entry->bundle)
		json_set(&object, "bundle",
			 json_object_new_string(entry->bundle));
	else
		json_set_null(&object, "bundle");
	return object;
}

static const char *const builtin_uses[] = { "before", "instead", "otherwise" };

/* null when it is not known */
static void set_size(json_object **object, const char *key, uint32_t size)
{
	if (size)
		json_set(object, key, json_object_new_int64(size));
	else
		json_set_null(object, key);
}

/* null for a program */
static void set_image(json_object **object, const struct kho_image *image)
{
	json_object *value;

	if (!image) {
		json_set_null(object, "image");
		return;
	}
	value = json_object_new_object();
	json_set(&value, "format", json_object_new_string(image->format));
	json_set(&value, "release", json_object_new_string(image->release));
	json_set(&value, "missing", json_object_new_string(image->missing));
	json_set(&value, "cmdline", json_object_new_string(image->cmdline));
	json_set(&value, "config", json_object_new_boolean(image->config));
	json_set(&value, "kho_on", json_object_new_boolean(image->kho_on));
	json_set(&value, "builtin", json_object_new_string(image->builtin));
	json_set(&value, "builtin_use",
		 json_object_new_string(builtin_uses[image->builtin_use]));
	set_size(&value, "cmdline_size", image->cmdline_size);
	set_size(&value, "memory", image->memory);
	json_set(object, "image", value);
}

char *kho_manifest_json(const struct kho_manifest *manifest)
{
	json_object *object = json_object_new_object();
	json_object *sources = json_object_new_array();
	json_object *components = json_object_new_array();
	size_t i;

	for (i = 0; i < manifest->n_sources; i++)
		json_push(&sources,
			  json_object_new_string(manifest->sources[i]));
	for (i = 0; i < manifest->n; i++)
		json_push(&components,
			  entry_json(manifest, &manifest->entries[i]));
	json_set(&object, "schema", json_object_new_string(SCHEMA));
	json_set(&object, "version", json_object_new_int(VERSION));
	json_set(&object, "target", json_object_new_string(manifest->target));
	json_set(&object, "sources", sources);
	json_set(&object, "components", components);
	set_image(&object, manifest->image);
	return json_finish(object);
}

/*
 * Reading. What is missing has a default, so that a person can write a
 * manifest, and what an older version of the library wrote can be read.
 */

static int no_memory(struct kho_error *err)
{
	return kho_fail(err, -ENOMEM, "out of memory");
}

static int read_name(const struct json_value *v, char name[KHO_TOKEN_NAME_SIZE],
		     struct kho_error *err)
{
	const char *string;
	struct kho_error why;
	int ret = json_is_string(v, &string, err);

	if (!ret && kho_name_check(string, &why))
		ret = json_bad(v, err, "%s", why.text);
	if (!ret)
		strcpy(name, string);
	return ret;
}

static int read_deps(const struct json_value *v,
		     struct kho_component_desc *desc, struct kho_error *err)
{
	size_t i, n = 0;
	int ret = json_is_array(v, KHO_DEPS_MAX, &n, err);

	for (i = 0; !ret && i < n; i++) {
		struct json_value dep = json_element(v, i);

		ret = read_name(&dep, desc->deps[i], err);
	}
	return ret;
}

static int read_bool(const struct json_value *in, const char *name, bool *value,
		     struct kho_error *err)
{
	struct json_value v;

	return json_has(in, name, &v) ? json_is_bool(&v, value, err) : 0;
}

static int read_flags(const struct json_value *v,
		      struct kho_component_desc *desc, struct kho_error *err)
{
	size_t i;
	int ret = 0;

	for (i = 0; !ret && i < N_FLAGS; i++) {
		bool set = flags[i].flag == KHO_COMPONENT_CONVERT &&
			   desc->write.min < desc->write.max;

		ret = read_bool(v, flags[i].name, &set, err);
		if (set)
			desc->flags |= flags[i].flag;
	}
	return ret;
}

static int read_range(const struct json_value *in, const char *name,
		      struct kho_range *range, struct kho_error *err)
{
	struct json_value v;

	return json_has(in, name, &v) ? json_is_range(&v, range, err) : 0;
}

static int read_desc(const struct json_value *v,
		     struct kho_component_desc *desc, struct kho_error *err)
{
	struct kho_error why;
	struct json_value m;
	int ret = json_is_object(v, err);

	if (!ret)
		ret = json_need(v, "name", &m, err);
	if (!ret)
		ret = read_name(&m, desc->name, err);
	if (!ret)
		ret = read_range(v, "write", &desc->write, err);
	if (!ret)
		ret = read_range(v, "read", &desc->read, err);
	if (!ret && json_has(v, "deps", &m))
		ret = read_deps(&m, desc, err);
	if (!ret)
		ret = read_flags(v, desc, err);
	if (!ret && desc_check(desc, &why))
		ret = json_bad(v, err, "%s", why.text);
	return ret;
}

static int read_source(const struct json_value *v,
		       const struct kho_manifest *manifest, size_t *source,
		       struct kho_error *err)
{
	const char *path;
	size_t i;
	int ret = json_is_string(v, &path, err);

	if (ret)
		return ret;
	for (i = 0; i < manifest->n_sources; i++) {
		if (strcmp(manifest->sources[i], path) != 0)
			continue;
		*source = i;
		return 0;
	}
	return json_bad(v, err, "not one of the document's sources");
}

static int read_bundle(const struct json_value *v, const char **token,
		       struct kho_error *err)
{
	const struct bundle *bundle;
	const char *string;
	int ret;

	if (!v->object)
		return 0;
	ret = json_is_string(v, &string, err);
	if (ret)
		return ret;
	/* That of a later version of the library says nothing to us. */
	bundle = bundle_find_token(string);
	*token = bundle ? bundle->token : NULL;
	return 0;
}

static bool is_guess(const char *source)
{
	static const char end[] = ": " MANIFEST_STRINGS;
	size_t len = strlen(source);

	return len >= sizeof(end) - 1 &&
	       !strcmp(source + len - (sizeof(end) - 1), end);
}

static int read_entry(const struct json_value *v, struct kho_manifest *manifest,
		      struct kho_error *err)
{
	struct kho_component_desc desc = { 0 };
	const char *bundle = NULL;
	struct json_value m;
	size_t source = 0;
	int ret = read_desc(v, &desc, err);

	if (!ret && manifest_lookup(manifest, desc.name))
		ret = json_bad(v, err, "component '%s' is there twice",
			       desc.name);
	if (!ret && json_has(v, "source", &m))
		ret = read_source(&m, manifest, &source, err);
	if (!ret && json_has(v, "bundle", &m))
		ret = read_bundle(&m, &bundle, err);
	if (ret)
		return ret;
	if (is_guess(manifest->sources[source]) &&
	    (desc.read.min != desc.read.max ||
	     desc.write.min != desc.write.max))
		return json_bad(v, err,
				"version strings promise no range: make the "
				"manifest again from the kernel's image");
	if (manifest_append(manifest, &desc, source))
		return no_memory(err);
	manifest->entries[manifest->n - 1].bundle = bundle;
	return 0;
}

static int read_sources(const struct json_value *v,
			struct kho_manifest *manifest, struct kho_error *err)
{
	size_t i, n = 0;
	int ret = json_is_array(v, MANIFEST_MAX_SOURCES, &n, err);

	for (i = 0; !ret && i < n; i++) {
		struct json_value source = json_element(v, i);
		const char *path;

		ret = json_is_string(&source, &path, err);
		if (!ret && manifest_add_source(manifest, path))
			ret = no_memory(err);
	}
	return ret;
}

/* A member of at most @size - 1 printable bytes; it may be missing. */
static int read_text(const struct json_value *in, const char *name, char *text,
		     size_t size, struct kho_error *err)
{
	struct json_value v;
	const char *string;
	int ret;

	if (!json_has(in, name, &v))
		return 0;
	ret = json_is_string(&v, &string, err);
	if (ret)
		return ret;
	if (strlen(string) >= size)
		return json_bad(&v, err, "longer than %zu bytes", size - 1);
	copy_text(text, size, string, size - 1);
	return 0;
}

static int read_size(const struct json_value *in, const char *name,
		     uint32_t *size, struct kho_error *err)
{
	struct json_value v;

	return json_has(in, name, &v) && v.object ?
		       json_is_version(&v, size, err) :
		       0;
}

static int read_builtin_use(const struct json_value *in, enum kho_builtin *use,
			    struct kho_error *err)
{
	struct json_value v;
	const char *name;
	int i, ret;

	if (!json_has(in, "builtin_use", &v))
		return 0;
	ret = json_is_string(&v, &name, err);
	for (i = 0; !ret && i <= KHO_BUILTIN_OTHERWISE; i++) {
		*use = (enum kho_builtin)i;
		if (!strcmp(name, builtin_uses[i]))
			return 0;
	}
	return ret ? ret : json_bad(&v, err, "not known");
}

/* What decides together with a command line; it may all be missing. */
static int read_settings(const struct json_value *v, struct kho_image *image,
			 struct kho_error *err)
{
	int ret = read_bool(v, "config", &image->config, err);

	if (!ret)
		ret = read_bool(v, "kho_on", &image->kho_on, err);
	if (!ret)
		ret = read_text(v, "builtin", image->builtin,
				sizeof(image->builtin), err);
	if (!ret)
		ret = read_builtin_use(v, &image->builtin_use, err);
	if (!ret)
		ret = read_size(v, "cmdline_size", &image->cmdline_size, err);
	return ret ? ret : read_size(v, "memory", &image->memory, err);
}

static int read_image(const struct json_value *v, struct kho_manifest *manifest,
		      struct kho_error *err)
{
	struct kho_image *image;
	int ret = 0;

	if (!v->object)
		return 0;
	ret = json_is_object(v, err);
	if (ret)
		return ret;
	image = manifest->image = calloc(1, sizeof(*image));
	if (!image)
		return no_memory(err);
	ret = read_text(v, "format", image->format, sizeof(image->format), err);
	if (!ret)
		ret = read_text(v, "release", image->release,
				sizeof(image->release), err);
	if (!ret)
		ret = read_text(v, "missing", image->missing,
				sizeof(image->missing), err);
	if (!ret)
		ret = read_text(v, "cmdline", image->cmdline,
				sizeof(image->cmdline), err);
	return ret ? ret : read_settings(v, image, err);
}

static int read_document(const struct json_value *v,
			 struct kho_manifest *manifest, struct kho_error *err)
{
	struct json_value m, component;
	const char *target;
	size_t i, n = 0;
	bool missing;
	int ret = json_is_document(v, SCHEMA, VERSION, err);

	if (!ret && json_has(v, "target", &m))
		ret = json_is_string(&m, &target, err);
	if (!ret && json_has(v, "sources", &m))
		ret = read_sources(&m, manifest, err);
	/* Components without a source are from the document itself. */
	if (!ret && !manifest->n_sources &&
	    manifest_add_source(manifest, manifest->target))
		ret = no_memory(err);
	if (!ret)
		ret = json_need(v, "components", &m, err);
	if (!ret)
		ret = json_is_array(&m, MANIFEST_MAX, &n, err);
	for (i = 0; !ret && i < n; i++) {
		component = json_element(&m, i);
		ret = read_entry(&component, manifest, err);
	}
	if (!ret && json_has(v, "image", &m))
		ret = read_image(&m, manifest, err);
	missing = manifest->image && manifest->image->missing[0];
	if (!ret && !n && !missing)
		ret = kho_fail(err, -ENODATA, "%s: has no component", v->name);
	if (!ret && n && missing)
		ret = json_bad(&m, err, "components in spite of `missing`");
	return ret ? ret : manifest_finish(manifest, err);
}

int manifest_of_json(json_object *json, const char *where,
		     struct kho_manifest **manifest, struct kho_error *err)
{
	const struct json_value document = { .object = json, .name = where };
	struct kho_manifest *m = manifest_new(where);
	int ret = m ? read_document(&document, m, err) : no_memory(err);

	if (ret)
		kho_manifest_free(m);
	else
		*manifest = m;
	return ret;
}

int kho_manifest_parse(const char *text, size_t len, const char *where,
		       struct kho_manifest **manifest, struct kho_error *err)
{
	json_object *json;
	int ret = json_parse_strict(text, len, where, &json, err);

	if (ret)
		return ret;
	ret = manifest_of_json(json, where, manifest, err);
	json_object_put(json);
	return ret;
}
