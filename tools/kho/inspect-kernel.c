// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho inspect, of what a kernel hands over. */
#include <stdio.h>
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

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kernel->kind, kinds[i].kind))
			text = kinds[i].text;
	printf("memory      %s, %s in %zu segment%s", text,
	       human_size(kernel->info.size).text, kernel->info.n,
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
		       human_size(kernel->scratch[i].size).text);
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
	char seals[48] = "";

	table_row(table, session->session.name,
		  text_of("%#lx", file->file.token).text, file->file.handler);
	if (!memfd) {
		table_row(table, "-", "-", "-", "-");
		return;
	}
	for (size_t i = 0; i < sizeof(seal_names) / sizeof(seal_names[0]); i++)
		if (memfd->seals & 1u << i)
			sprintf(seals + strlen(seals), "%s%s",
				seals[0] ? "," : "", seal_names[i]);
	table_row(table, human_size(memfd->size).text,
		  text_of("%lu", memfd->position).text, seals[0] ? seals : "-",
		  sum);
}

static void print_sessions(const struct kernel *kernel)
{
	struct table table = TABLE("SESSION", "TOKEN", "HANDLER", "SIZE",
				   "POSITION", "SEALS", "SHA-256");
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
	struct table table = TABLE("NAME", "DATA", "FILES");

	printf("\nFLBs: %zu\n", kernel->n_flbs);
	for (size_t i = 0; i < kernel->n_flbs; i++)
		table_row(&table, kernel->flbs[i].name,
			  text_of("%#lx", kernel->flbs[i].data).text,
			  text_of("%lu", kernel->flbs[i].count).text);
	table_print(&table);
}

static void print_regions(const struct kernel *kernel)
{
	struct table table = TABLE("NAME", "PHYS", "SIZE");

	printf("\nReserved memory: %zu\n", kernel->n_regions);
	for (size_t i = 0; i < kernel->n_regions; i++)
		table_row(&table, kernel->regions[i].name,
			  text_of("%#lx", kernel->regions[i].phys).text,
			  human_size(kernel->regions[i].size).text);
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

static struct json_object *memfd_json(const struct kernel_file *file)
{
	const struct luo_memfd *memfd = file->memfd;
	struct json_object *seals;

	if (!memfd)
		return NULL;
	seals = new_array();
	for (size_t i = 0; i < sizeof(seal_names) / sizeof(seal_names[0]); i++)
		if (memfd->seals & 1u << i)
			push_json(seals, json_of_string(seal_names[i]));
	return json_make(J("size", memfd->size), J("position", memfd->position),
			 J("seals", seals), J("folios", memfd->n),
			 J("pages", memfd->pages),
			 J("sha256", file->sha256[0] ? file->sha256 : NULL));
}

static struct json_object *sessions_json(const struct kernel *kernel)
{
	struct json_object *sessions = new_array();

	for (size_t i = 0; i < kernel->n_sessions; i++) {
		const struct kernel_session *session = &kernel->sessions[i];
		struct json_object *files = new_array();

		for (size_t j = 0; j < session->n; j++) {
			const struct kernel_file *file = &session->files[j];

			push_json(files,
				  json_make(J("token", file->file.token),
					    J("handler", file->file.handler),
					    J("data", file->file.data),
					    J("memfd", memfd_json(file))));
		}
		push_json(sessions, json_make(J("name", session->session.name),
					      J("files", files)));
	}
	return sessions;
}

static struct json_object *luo_json(const struct kernel *kernel)
{
	struct json_object *flbs;

	if (!kernel->has_luo)
		return NULL;
	flbs = new_array();
	for (size_t i = 0; i < kernel->n_flbs; i++)
		push_json(flbs, json_make(J("name", kernel->flbs[i].name),
					  J("data", kernel->flbs[i].data),
					  J("files", kernel->flbs[i].count)));
	return json_make(J("compatible", kernel->luo.compatible),
			 J("live_updates", kernel->luo.live_updates),
			 J("written", kernel->luo.written),
			 J("sessions", sessions_json(kernel)), J("flbs", flbs));
}

static struct json_object *metadata_json(const char *release, uint32_t kexecs)
{
	return json_make(J("release", release), J("kexecs", kexecs));
}

static struct json_object *incoming_json(const struct kernel_incoming *in)
{
	struct json_object *subtrees;

	if (!in->state)
		return NULL;
	subtrees = new_array();
	for (size_t i = 0; i < in->state->n; i++)
		push_json(subtrees,
			  json_of_string(in->state->subtrees[i].name));
	return json_make(J("compatible", in->state->compatible),
			 J("subtrees", subtrees),
			 J("metadata",
			   in->release[0] ?
				   metadata_json(in->release, in->kexecs) :
				   NULL));
}

static struct json_object *places_json(const struct kernel *kernel)
{
	struct json_object *scratch;

	if (!kernel->scratch_known)
		return NULL;
	scratch = new_array();
	for (size_t i = 0; i < kernel->n_scratch; i++)
		push_json(scratch,
			  json_make(J("phys", kernel->scratch[i].phys),
				    J("size", kernel->scratch[i].size)));
	return scratch;
}

static struct json_object *kernel_json(const struct kernel *kernel)
{
	struct json_object *regions = new_array();

	for (size_t i = 0; i < kernel->n_regions; i++)
		push_json(regions,
			  json_make(J("name", kernel->regions[i].name),
				    J("phys", kernel->regions[i].phys),
				    J("size", kernel->regions[i].size)));
	return json_make(J("machine", kernel->info.machine),
			 J("page_size", 1u << kernel->memory.page_shift),
			 J("memory", kernel->info.size),
			 J("missing", kernel->info.missing),
			 J("left_out", kernel->info.left_out),
			 J("scratch", places_json(kernel)),
			 J("metadata",
			   kernel->has_metadata ?
				   metadata_json(kernel->metadata.release,
						 kernel->metadata.kexecs) :
				   NULL),
			 J("luo", luo_json(kernel)), J("regions", regions),
			 J("incoming", incoming_json(&kernel->incoming)),
			 J("problems", problems_json(&kernel->problems)));
}

static void print_kernel_json(const struct state *state)
{
	const struct kernel *kernel = &state->kernel;
	struct json_object *json = new_document("kho-inspect");
	struct json_object *root =
		root_json(kernel->state, kernel->root.phys, kernel->root.size);

	json_add(root, J("sequence", NULL));
	json_add(json, J("state", state->word), J("kind", kernel->kind),
		 J("arena", NULL), J("root", root),
		 J("preserved", kernel->has_tracker ?
					preserved_json(&kernel->memory) :
					NULL),
		 J("kernel", kernel_json(kernel)));
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
