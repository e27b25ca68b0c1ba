// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho manifest: what a program can write and read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kho.h"
#include "target.h"

static const char help[] =
	"Usage: kho manifest [--json] TARGET...\n"
	"\n"
	"Says which versions of which components a program can write and read. Its\n"
	"file and the libraries that it needs are read; nothing is run.\n"
	"\n"
	"TARGET is a program's file, or the NAME of a service in custody, whose\n"
	"running program is meant. A file with the name of a service is ./NAME.\n"
	"\n"
	"  --json  a document for each TARGET, one per line; see docs/schemas.md,\n"
	"          kho-manifest\n"
	"  --help  this text\n"
	"\n"
	"Exit: 0; 2 when a TARGET is missing or has no manifest.\n"
	"\n"
	"Example: kho manifest ./cache-v1 ./cache-v2\n";

static const char *range_text(const struct kho_range *range, char *buf,
			      size_t size)
{
	if (!range->max)
		return "-";
	if (range->min == range->max)
		snprintf(buf, size, "%u", range->min);
	else
		snprintf(buf, size, "%u-%u", range->min, range->max);
	return buf;
}

static void print_entry(const struct kho_manifest *manifest,
			const struct kho_manifest_entry *entry)
{
	const struct kho_component_desc *desc = &entry->desc;
	char deps[KHO_DEPS_MAX * (KHO_TOKEN_NAME_SIZE + 2)] = "-";
	char writes[24], reads[24];
	char *source = printable(manifest->sources[entry->source]);
	size_t len = 0;

	for (size_t i = 0; i < KHO_DEPS_MAX && desc->deps[i][0]; i++)
		len += (size_t)snprintf(deps + len, sizeof(deps) - len, "%s%s",
					i ? "," : "", desc->deps[i]);
	printf("  %-23s  %-7s  %-7s  %-20s  %s\n", desc->name,
	       range_text(&desc->write, writes, sizeof(writes)),
	       range_text(&desc->read, reads, sizeof(reads)), deps, source);
	free(source);
}

static void print_manifest(const struct kho_manifest *manifest)
{
	char *target = printable(manifest->target);

	printf("%s\n  %-23s  %-7s  %-7s  %-20s  %s\n", target, "COMPONENT",
	       "WRITES", "READS", "NEEDS", "FROM");
	for (size_t i = 0; i < manifest->n; i++)
		print_entry(manifest, manifest->entries + i);
	free(target);
}

static void print_manifest_json(const struct kho_manifest *manifest)
{
	char *text = must(kho_manifest_json(manifest));

	print_json(must(json_tokener_parse(text)));
	free(text);
}

int cmd_manifest(int argc, char **argv)
{
	struct verb_options options = { 0 };
	struct kho_manifest *manifest;
	struct kho_error err;
	int code = EXIT_YES;

	if (!parse_options("manifest", help, argc, argv, &options))
		return options.code;
	if (!argv[optind])
		return fail_usage("manifest", "no TARGET given");
	for (char **target = argv + optind; *target; target++) {
		if (target_manifest(*target, &manifest, &err)) {
			code = fail("manifest: %s", err.text);
			continue;
		}
		if (options.json)
			print_manifest_json(manifest);
		else
			print_manifest(manifest);
		kho_manifest_free(manifest);
	}
	return code;
}
