// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho inspect, of what a kernel hands over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect.h"
#include "kho.h"
#include "table.h"

/* Remarks that are printed. */
#define SAID_MAX 20

/* By F_SEAL_*, see fcntl(2). */
static const char *const seal_names[] = { "seal",  "shrink",	   "grow",
					  "write", "future-write", "exec" };

static void print_memory(const struct kernel *kernel)
{
	static const struct {
		const char *kind;
		const char *text;
	} kinds[] = {
		{ "elf-core", "ELF core" },
		{ "kcore", "kcore" },
		{ "raw", "raw image" },
		{ "kdump", "compressed dump" },
		{ "running", "that of the running kernel" },
	};
	const char *text = kernel->kind;
	char size[16];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kernel->kind, kinds[i].kind))
			text = kinds[i].text;
	printf("memory      %s, %s in %zu segment%s", text,
	       human_size(kernel->info.size, size), kernel->info.n,
	       plural(kernel->info.n));
	if (kernel->info.machine)
		printf(", %s", kernel->info.machine);
	printf("\npage size   %u\n", 1u << kernel->memory.page_shift);
	printf("root        phys %#lx, %lu bytes\n", kernel->root.phys,
	       kernel->root.size);
	if (!kernel->scratch_known)
		printf("scratch     not known\n");
	for (size_t i = 0; i < kernel->n_scratch; i++)
		printf("%-12sphys %#lx, %s\n", i ? "" : "scratch",
		       kernel->scratch[i].phys,
		       human_size(kernel->scratch[i].size, size));
	if (kernel->has_metadata)
		print_line("kernel      %s, kexec %u", kernel->metadata.release,
			   kernel->metadata.kexecs);
}

static void print_incoming(const struct kernel_incoming *in)
{
	struct line line;

	if (!in->state)
		return;
	line_begin(&line);
	fprintf(line.out, "incoming    %s, %zu subtree%s",
		in->state->compatible, in->state->n, plural(in->state->n));
	if (in->release[0])
		fprintf(line.out, ", from %s, kexec %u", in->release,
			in->kexecs);
	fputs("; its tracker and LUO's header are gone", line.out);
	line_print(&line);
}

static void file_row(struct table *table, const struct kernel_session *session,
		     const struct kernel_file *file)
{
	const struct luo_memfd *memfd = file->memfd;
	const char *sum = file->sha256[0] ? file->sha256 : "-";
	char size[16], text[SEALS_TEXT] = "-";

	table_cell(table, NULL, "%s", session->session.name);
	table_cell(table, NULL, "%#lx", file->file.token);
	table_cell(table, NULL, "%s", file->file.handler);
	if (!memfd) {
		for (int i = 0; i < 4; i++)
			table_cell(table, NULL, "-");
		return;
	}
	if (memfd->seals)
		seals_text(memfd->seals, ",", text);
	table_cell(table, NULL, "%s", human_size(memfd->size, size));
	table_cell(table, NULL, "%lu", memfd->position);
	table_cell(table, NULL, "%s", text);
	table_cell(table, NULL, "%s", sum);
}

static void print_sessions(const struct kernel *kernel)
{
	static const char *const heads[] = { "SESSION", "TOKEN",    "HANDLER",
					     "SIZE",	"POSITION", "SEALS",
					     "SHA-256" };
	struct table table = { .columns = 7, .heads = heads };
	size_t files = 0;

	for (size_t i = 0; i < kernel->n_sessions; i++)
		files += kernel->sessions[i].n;
	putchar('\n');
	print_line("Sessions: %zu, files: %zu; %s, live updates: %lu",
		   kernel->n_sessions, files, kernel->luo.compatible,
		   kernel->luo.live_updates);
	if (!kernel->n_sessions)
		printf("  A kernel that runs writes them when the kexec starts.\n");
	for (size_t i = 0; i < kernel->n_sessions; i++) {
		const struct kernel_session *session = &kernel->sessions[i];

		for (size_t j = 0; j < session->n; j++)
			file_row(&table, session, &session->files[j]);
		if (session->n)
			continue;
		table_cell(&table, NULL, "%s", session->session.name);
		for (size_t j = 1; j < table.columns; j++)
			table_cell(&table, NULL, "-");
	}
	table_print(&table);
}

static void print_flbs(const struct kernel *kernel)
{
	static const char *const heads[] = { "NAME", "DATA", "FILES" };
	struct table table = { .columns = 3, .heads = heads };

	printf("\nFLBs: %zu\n", kernel->n_flbs);
	for (size_t i = 0; i < kernel->n_flbs; i++) {
		table_cell(&table, NULL, "%s", kernel->flbs[i].name);
		table_cell(&table, NULL, "%#lx", kernel->flbs[i].data);
		table_cell(&table, NULL, "%lu", kernel->flbs[i].count);
	}
	table_print(&table);
}

static void print_regions(const struct kernel *kernel)
{
	static const char *const heads[] = { "NAME", "PHYS", "SIZE" };
	struct table table = { .columns = 3, .heads = heads };
	char size[16];

	printf("\nReserved memory: %zu\n", kernel->n_regions);
	for (size_t i = 0; i < kernel->n_regions; i++) {
		table_cell(&table, NULL, "%s", kernel->regions[i].name);
		table_cell(&table, NULL, "%#lx", kernel->regions[i].phys);
		table_cell(&table, NULL, "%s",
			   human_size(kernel->regions[i].size, size));
	}
	table_print(&table);
}

static void print_problems(const struct problems *problems)
{
	if (!problems->n)
		return;
	printf("\nRemarks: %zu\n", problems->n);
	for (size_t i = 0; i < problems->n && i < SAID_MAX; i++)
		print_line("  %s", problems->list[i].text);
	if (problems->n > SAID_MAX)
		printf("  and %zu more: see --json\n", problems->n - SAID_MAX);
}

static void print_kernel(const struct kernel *kernel)
{
	print_memory(kernel);
	print_incoming(&kernel->incoming);
	print_tree(kernel->state);
	if (kernel->has_luo)
		print_sessions(kernel);
	if (kernel->n_flbs)
		print_flbs(kernel);
	if (kernel->n_regions)
		print_regions(kernel);
	if (kernel->has_tracker)
		print_preserved(&kernel->memory);
	print_problems(&kernel->problems);
}

const char *seals_text(uint32_t seals, const char *separator,
		       char buf[SEALS_TEXT])
{
	buf[0] = 0;
	for (size_t i = 0; i < sizeof(seal_names) / sizeof(seal_names[0]); i++)
		if (seals & 1u << i)
			sprintf(buf + strlen(buf), "%s%s",
				buf[0] ? separator : "", seal_names[i]);
	return buf;
}

static struct json_object *memfd_json(const struct kernel_file *file)
{
	const struct luo_memfd *memfd = file->memfd;
	struct json_object *json, *seals;

	if (!memfd)
		return NULL;
	json = must(json_object_new_object());
	seals = must(json_object_new_array());
	for (size_t i = 0; i < sizeof(seal_names) / sizeof(seal_names[0]); i++)
		if (memfd->seals & 1u << i)
			push_json(seals, json_object_new_string(seal_names[i]));
	add_number(json, "size", memfd->size);
	add_number(json, "position", memfd->position);
	add_json(json, "seals", seals);
	add_number(json, "folios", memfd->n);
	add_number(json, "pages", memfd->pages);
	add_text(json, "sha256", file->sha256[0] ? file->sha256 : NULL);
	return json;
}

static void add_or_null(struct json_object *json, const char *key,
			struct json_object *value)
{
	if (value)
		add_json(json, key, value);
	else
		add_text(json, key, NULL);
}

static struct json_object *sessions_json(const struct kernel *kernel)
{
	struct json_object *sessions = must(json_object_new_array());

	for (size_t i = 0; i < kernel->n_sessions; i++) {
		const struct kernel_session *session = &kernel->sessions[i];
		struct json_object *json = must(json_object_new_object());
		struct json_object *files = must(json_object_new_array());

		for (size_t j = 0; j < session->n; j++) {
			const struct kernel_file *file = &session->files[j];
			struct json_object *f = must(json_object_new_object());

			add_number(f, "token", file->file.token);
			add_text(f, "handler", file->file.handler);
			add_number(f, "data", file->file.data);
			add_or_null(f, "memfd", memfd_json(file));
			push_json(files, f);
		}
		add_text(json, "name", session->session.name);
		add_json(json, "files", files);
		push_json(sessions, json);
	}
	return sessions;
}

static struct json_object *luo_json(const struct kernel *kernel)
{
	struct json_object *json, *flbs;

	if (!kernel->has_luo)
		return NULL;
	json = must(json_object_new_object());
	flbs = must(json_object_new_array());
	for (size_t i = 0; i < kernel->n_flbs; i++) {
		struct json_object *flb = must(json_object_new_object());

		add_text(flb, "name", kernel->flbs[i].name);
		add_number(flb, "data", kernel->flbs[i].data);
		add_number(flb, "files", kernel->flbs[i].count);
		push_json(flbs, flb);
	}
	add_text(json, "compatible", kernel->luo.compatible);
	add_number(json, "live_updates", kernel->luo.live_updates);
	add_json(json, "written", json_object_new_boolean(kernel->luo.written));
	add_json(json, "sessions", sessions_json(kernel));
	add_json(json, "flbs", flbs);
	return json;
}

static struct json_object *metadata_json(const char *release, uint32_t kexecs)
{
	struct json_object *json = must(json_object_new_object());

	add_text(json, "release", release);
	add_number(json, "kexecs", kexecs);
	return json;
}

static struct json_object *incoming_json(const struct kernel_incoming *in)
{
	struct json_object *json, *subtrees;

	if (!in->state)
		return NULL;
	json = must(json_object_new_object());
	subtrees = must(json_object_new_array());
	for (size_t i = 0; i < in->state->n; i++)
		push_json(subtrees,
			  json_object_new_string(in->state->subtrees[i].name));
	add_text(json, "compatible", in->state->compatible);
	add_json(json, "subtrees", subtrees);
	add_or_null(json, "metadata",
		    in->release[0] ? metadata_json(in->release, in->kexecs) :
				     NULL);
	return json;
}

static struct json_object *places_json(const struct kernel *kernel)
{
	struct json_object *scratch;

	if (!kernel->scratch_known)
		return NULL;
	scratch = must(json_object_new_array());
	for (size_t i = 0; i < kernel->n_scratch; i++) {
		struct json_object *area = must(json_object_new_object());

		add_number(area, "phys", kernel->scratch[i].phys);
		add_number(area, "size", kernel->scratch[i].size);
		push_json(scratch, area);
	}
	return scratch;
}

static struct json_object *kernel_json(const struct kernel *kernel)
{
	struct json_object *json = must(json_object_new_object());
	struct json_object *regions = must(json_object_new_array());

	for (size_t i = 0; i < kernel->n_regions; i++) {
		struct json_object *region = must(json_object_new_object());

		add_text(region, "name", kernel->regions[i].name);
		add_number(region, "phys", kernel->regions[i].phys);
		add_number(region, "size", kernel->regions[i].size);
		push_json(regions, region);
	}
	add_text(json, "machine", kernel->info.machine);
	add_number(json, "page_size", 1u << kernel->memory.page_shift);
	add_number(json, "memory", kernel->info.size);
	add_number(json, "missing", kernel->info.missing);
	add_number(json, "left_out", kernel->info.left_out);
	add_or_null(json, "scratch", places_json(kernel));
	add_or_null(json, "metadata",
		    kernel->has_metadata ?
			    metadata_json(kernel->metadata.release,
					  kernel->metadata.kexecs) :
			    NULL);
	add_or_null(json, "luo", luo_json(kernel));
	add_json(json, "regions", regions);
	add_or_null(json, "incoming", incoming_json(&kernel->incoming));
	add_json(json, "problems", problems_json(&kernel->problems));
	return json;
}

static void print_kernel_json(const struct state *state)
{
	const struct kernel *kernel = &state->kernel;
	struct json_object *json = new_document("kho-inspect");
	struct json_object *root =
		root_json(kernel->state, kernel->root.phys, kernel->root.size);

	add_text(root, "sequence", NULL);
	add_text(json, "state", state->word);
	add_text(json, "kind", kernel->kind);
	add_text(json, "arena", NULL);
	add_json(json, "root", root);
	add_or_null(json, "preserved",
		    kernel->has_tracker ? preserved_json(&kernel->memory) :
					  NULL);
	add_json(json, "kernel", kernel_json(kernel));
	print_json(json);
}

int inspect_kernel(const struct state *state)
{
	const struct problems *problems = &state->kernel.problems;
	size_t damage = problems_count(problems, DAMAGE);

	if (state->json)
		print_kernel_json(state);
	else
		print_kernel(&state->kernel);
	for (size_t i = 0; damage && i < problems->n; i++) {
		if (problems->list[i].severity != DAMAGE)
			continue;
		fail("inspect: %s: damaged (%zu problem%s): %s", state->word,
		     damage, plural(damage), problems->list[i].text);
		break;
	}
	return damage ? EXIT_UNKNOWN : EXIT_YES;
}
