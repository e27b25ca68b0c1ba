// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho manifest: what a program or a kernel can write and read. */
#include <stdio.h>

#include <kho/image.h>

#include "kho.h"
#include "options.h"
#include "table.h"
#include "target.h"

static const char help[] =
	"Usage: kho manifest [--json] TARGET...\n"
	"\n"
	"Says which versions of which components a program or a kernel can write and\n"
	"read. Its file and the libraries that it needs are read; nothing is run.\n"
	"\n"
	"TARGET is a program (a file, or in PATH), a kernel image, a manifest in JSON,\n"
	"the NAME of a service in custody, whose running program is meant, or 'running',\n"
	"the kernel that runs. A file with such a name is ./NAME.\n"
	"\n"
	"  --json  a document for each TARGET, one per line; see docs/schemas.md,\n"
	"          kho-manifest\n"
	"  --help  this text\n"
	"\n"
	"Exit: 0; 1 when a TARGET is a kernel without KHO; 2 when one is missing or has\n"
	"no manifest.\n"
	"\n"
	"Example: kho manifest ./cache-v1 ./cache-v2\n"
	"         kho manifest /boot/vmlinuz-*\n";

static struct text numbers_text(const struct kho_range *range)
{
	if (range->max && range->min != range->max)
		return text_of("%u-%u", range->min, range->max);
	return range->max ? text_of("%u", range->max) : text_of("-");
}

/* Words of a comma-separated list; each is a name or a literal. */
struct words {
	char text[256];
	size_t len;
};

static void add_word(struct words *words, bool when, const char *word)
{
	if (when)
		words->len += (size_t)snprintf(words->text + words->len,
					       sizeof(words->text) - words->len,
					       "%s%s", words->len ? "," : "",
					       word);
}

static void add_entry(struct table *table, const struct kho_manifest *manifest,
		      const struct kho_manifest_entry *entry)
{
	const struct kho_component_desc *desc = &entry->desc;
	struct words deps = { "-", 0 }, has = { "-", 0 };

	for (size_t i = 0; i < KHO_DEPS_MAX && desc->deps[i][0]; i++)
		add_word(&deps, true, desc->deps[i]);
	add_word(&has, desc->flags & KHO_COMPONENT_STRUCTURE, "structure");
	add_word(&has, desc->flags & KHO_COMPONENT_OPTIONAL, "optional");
	add_word(&has, desc->flags & KHO_COMPONENT_HANDLER, "handler");
	add_word(&has, desc->flags & KHO_COMPONENT_CHECK, "check");
	add_word(&has, desc->flags & KHO_COMPONENT_CAN_WRITE, "can_write");
	add_word(&has, desc->flags & KHO_COMPONENT_CONVERT, "convert");
	table_row(table, desc->name, numbers_text(&desc->write).text,
		  numbers_text(&desc->read).text, deps.text, has.text);
	table_cell(table, NULL, "%s%s%s", manifest->sources[entry->source],
		   entry->bundle ? ", as part of " : "",
		   entry->bundle ? entry->bundle : "");
}

static bool is_missing(const struct kho_manifest *manifest)
{
	return manifest->image && manifest->image->missing[0];
}

static void print_manifest(const struct kho_manifest *manifest)
{
	struct table table =
		TABLE("COMPONENT", "WRITES", "READS", "NEEDS", "HAS", "FROM");
	const struct kho_image *image = manifest->image;

	if (image)
		print_line("%s: Linux %s%s%s%s", manifest->target,
			   image->release, image->format[0] ? " (" : "",
			   image->format, image->format[0] ? ")" : "");
	else
		print_line("%s", manifest->target);
	if (image && image->cmdline[0])
		print_line("  command line: %s", image->cmdline);
	if (image && image->builtin[0])
		print_line("  built-in command line: %s", image->builtin);
	if (is_missing(manifest))
		print_line("  It %s. It neither hands over nor takes over anything.",
			   image->missing);
	for (size_t i = 0; i < manifest->n; i++)
		add_entry(&table, manifest, manifest->entries + i);
	table_print(&table);
}

int cmd_manifest(int argc, char **argv)
{
	bool json = false;
	const struct verb_option options[] = { { "json", .flag = &json }, {} };
	char **target = parse_options(argc, argv, help, "", options);
	struct kho_manifest *manifest;
	struct kho_error err;
	int code = EXIT_YES;

	if (!*target)
		return fail_usage("manifest", "no TARGET given");
	for (; *target; target++) {
		if (target_manifest(*target, &manifest, &err)) {
			code = fail("manifest: %s", err.text);
			continue;
		}
		if (json)
			print_json_text(kho_manifest_json(manifest));
		else
			print_manifest(manifest);
		if (is_missing(manifest) && code == EXIT_YES)
			code = EXIT_NO;
		kho_manifest_free(manifest);
	}
	return code;
}
