// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho abi: the formats, with their versions and layouts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kho/manifest.h>

#include "abi.h"
#include "kho.h"
#include "options.h"
#include "table.h"

static const char help[] =
	"Usage: kho abi [--json]\n"
	"       kho abi --diff [--json] OLD [NEW]\n"
	"\n"
	"Says of each format of this build its versions and the fingerprint of its\n"
	"layout: where that is the same in two builds, each constant and each field\n"
	"of a struct is, to the byte.\n"
	"\n"
	"  --diff  what differs from OLD to NEW, files that 'kho abi --json' wrote;\n"
	"          '-' is standard input, and without NEW it is this build\n"
	"  --json  for programs; see docs/schemas.md, kho-abi and kho-abi-diff\n"
	"  --help  this text\n"
	"\n"
	"Exit: 0; with --diff, 1 when a layout changed and its version did not, or\n"
	"when a version that could be read no longer can; 2 cannot tell.\n"
	"\n"
	"Example: kho abi --json > old.json; kho abi --diff old.json\n";

/* A fingerprint's digits that are enough for people. */
#define DIGITS 12

#define MAX_SIZE (16u << 20)

static uint32_t highest(const struct kho_component_desc *desc)
{
	return desc->write.max > desc->read.max ? desc->write.max :
						  desc->read.max;
}

/* Adds what libkho writes and reads, if it does; false: of another version. */
static bool add_versions(struct json_object *format,
			 const struct kho_manifest_entry *entry)
{
	int64_t version = json_object_get_int64(get_json(format, "version"));

	if (!entry)
		return true;
	json_add(format, J("write", &entry->desc.write),
		 J("read", &entry->desc.read));
	return version == highest(&entry->desc);
}

/*
 * The layouts are those that this command was compiled with, the versions those
 * of the libkho that the loader found. They must be of one build.
 */
static int add_library(struct json_object *formats, struct kho_error *err)
{
	struct kho_manifest *manifest;
	size_t found = 0;
	int ret = kho_manifest_self(&manifest);
	bool same = true;

	if (ret)
		return kho_fail(err, ret, "out of memory");
	for (size_t i = 0; i < json_object_array_length(formats); i++) {
		struct json_object *format =
			json_object_array_get_idx(formats, i);
		const char *name =
			json_object_get_string(get_json(format, "name"));
		const struct kho_manifest_entry *entry =
			kho_manifest_find(manifest, name);

		same = add_versions(format, entry) && same;
		found += entry != NULL;
	}
	if (!same || found != manifest->n)
		ret = kho_fail(err, -EPROTO,
			       "libkho is not of the same build as this command: see what 'ldd' says of it");
	kho_manifest_free(manifest);
	return ret;
}

/* The document of this build, as it is written, to free(). */
static int this_build(char **text, struct kho_error *err)
{
	struct json_object *json = new_document("kho-abi"), *layouts, *formats;
	int ret;

	layouts = must(json_tokener_parse(abi_of_this_build));
	formats = get_json(layouts, "formats");
	ret = add_library(formats, err);
	json_add(json, J("libkho", PROJECT_VERSION),
		 J("formats", json_object_get(formats)));
	json_object_put(layouts);
	if (ret)
		json_object_put(json);
	else
		*text = json_line(json);
	return ret;
}

static int load_this_build(struct abi *abi, struct kho_error *err)
{
	char *text;
	int ret = this_build(&text, err);

	if (!ret) {
		ret = abi_parse(text, strlen(text), "this build", abi, err);
		free(text);
	}
	return ret;
}

static void print_table(const struct abi *abi)
{
	struct table table = TABLE("FORMAT", "VERSION", "WRITES", "READS",
				   "FINGERPRINT", "HEADER");

	for (size_t i = 0; i < abi->n; i++) {
		const struct abi_format *f = &abi->formats[i];
		struct kho_range version = { f->version, f->version };

		table_row(&table, f->name, range_text(&version).text,
			  range_text(&f->write).text, range_text(&f->read).text,
			  text_of("%.*s", DIGITS, f->fingerprint).text,
			  f->header);
	}
	table_print(&table);
	for (size_t i = 0; i < abi->n; i++)
		if (!abi->formats[i].component)
			printf("%s is no component: %s\n", abi->formats[i].name,
			       abi->formats[i].title);
}

static int show(bool json)
{
	struct kho_error err;
	struct abi abi;
	char *text;

	if (json) {
		if (this_build(&text, &err))
			return fail("abi: %s", err.text);
		puts(text);
		free(text);
		return EXIT_YES;
	}
	if (load_this_build(&abi, &err))
		return fail("abi: %s", err.text);
	print_table(&abi);
	abi_free(&abi);
	return EXIT_YES;
}

static int load(const char *path, struct abi *abi, struct kho_error *err)
{
	bool standard_input = !strcmp(path, "-");
	FILE *file = standard_input ? stdin : fopen(path, "re");
	char *text;
	size_t n;
	int ret;

	if (!file)
		return kho_fail(err, -errno, "%s: %m", path);
	text = must(malloc(MAX_SIZE + 1));
	n = fread(text, 1, MAX_SIZE + 1, file);
	if (ferror(file))
		ret = kho_fail(err, -errno, "%s: %m", path);
	else if (n > MAX_SIZE)
		ret = kho_fail(err, -EFBIG,
			       "%s: larger than %u MiB: it is not from 'kho abi --json'",
			       path, MAX_SIZE >> 20);
	else
		ret = abi_parse(text, n, path, abi, err);
	free(text);
	if (!standard_input)
		fclose(file);
	return ret;
}

static int diff(const char *old_name, const char *new_name, bool json)
{
	struct abi old, new;
	struct kho_error err;
	int code;

	if (load(old_name, &old, &err))
		return fail("abi: %s", err.text);
	if (new_name ? load(new_name, &new, &err) :
		       load_this_build(&new, &err)) {
		abi_free(&old);
		return fail("abi: %s", err.text);
	}
	code = abi_diff(&old, old_name, &new, new_name, json);
	abi_free(&old);
	abi_free(&new);
	return code;
}

int cmd_abi(int argc, char **argv)
{
	bool json = false, compare = false;
	const struct verb_option options[] = {
		{ "diff", .flag = &compare },
		{ "json", .flag = &json },
		{},
	};
	char **files = parse_options(argc, argv, help, "", options);

	if (!compare && files[0])
		return fail_usage("abi", "%s: only --diff takes files",
				  files[0]);
	if (!compare)
		return show(json);
	if (!files[0] || (files[1] && files[2]))
		return fail_usage("abi", "--diff takes OLD and maybe NEW");
	return diff(files[0], files[1], json);
}
