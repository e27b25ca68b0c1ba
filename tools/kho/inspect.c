// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho inspect: the state tree and its memory. */
#include <stdio.h>

#include "inspect.h"
#include "kho.h"
#include "table.h"

static const char help[] =
	"Usage: kho inspect [OPTIONS] STATE\n"
	"\n"
	"Shows what is preserved. Of an arena: the superblock, the state tree with its\n"
	"subtrees and their versions, and the preserved memory. Of a kernel: the root\n"
	"FDT, sessions, files with a checksum of their contents, shared state, reserved\n"
	"memory, and the preserved memory. It only looks: the program that uses the\n"
	"arena, or the kernel, does not notice.\n"
	"\n"
	"STATE is the NAME of a service in custody; the file of an arena (one with the\n"
	"name of a service is ./NAME); pid:PID[:FD], an arena that a process has open;\n"
	"running, what the running kernel would hand over; or a file with the memory of\n"
	"a machine: a dump (ELF or kdump), as QEMU's dump-guest-memory writes it,\n"
	"/proc/kcore, or a raw image.\n"
	"\n"
	"  --svg FILE      draw the memory into FILE: what is preserved, and for what\n"
	"  --trim FILE     of a machine's memory: write a new, small ELF core, with only\n"
	"                  the pages that the state has\n"
	"  --fdt PHYS      of a machine's memory: where the root FDT is; it is found by\n"
	"                  itself otherwise\n"
	"  --base PHYS     it is a raw image, and begins at that address\n"
	"  --no-checksums  do not read the contents of files\n"
	"  --json          for programs; see docs/schemas.md, kho-inspect\n"
	"  --help          this text\n"
	"\n"
	"Exit: 0; 2 when there is no such state, or a part of it cannot be read.\n"
	"\n"
	"Example: kho inspect cache\n";

static void format_id(const struct kho_arena_info *info, char *buf)
{
	for (size_t i = 0; i < KHO_ARENA_ID_SIZE; i++)
		sprintf(buf + 2 * i, "%02x", info->id[i]);
}

static void print_arena(const struct snapshot *snapshot)
{
	const struct kho_arena_info *info = &snapshot->info;
	char id[2 * KHO_ARENA_ID_SIZE + 1];

	format_id(info, id);
	printf("arena       version %u, id %s\n", info->version, id);
	printf("generation  %lu\n", info->generation);
	printf("page size   %u\n", 1u << info->page_shift);
	printf("file size   %s, of which %s in memory\n",
	       human_size(info->file_size).text,
	       human_size(snapshot->allocated).text);
	printf("root        phys %#lx, %lu bytes, sequence %lu\n", info->fdt,
	       info->fdt_size, info->seq);
}

void print_tree(const struct kho_state *state)
{
	struct table table = TABLE("NAME", "PHYS", "SIZE", "COMPATIBLE");

	print_line("state tree  %s", state->compatible);
	printf("\nSubtrees: %zu\n", state->n);
	for (size_t i = 0; i < state->n; i++) {
		const struct kho_state_subtree *subtree = state->subtrees + i;

		table_row(&table, subtree->name,
			  text_of("%#lx", subtree->phys).text,
			  human_size(subtree->size).text,
			  subtree->compatible[0] ? subtree->compatible : "-");
	}
	table_print(&table);
}

void print_preserved(const struct memory *memory)
{
	unsigned int shift = memory->page_shift;
	struct table table = TABLE("ORDER", "FOLIOS", "PAGES", "SIZE");

	printf("\nPreserved: %zu folio%s, %s; tracker: %lu page%s\n",
	       memory->n_folios, plural(memory->n_folios),
	       human_size(memory->pages << shift).text, memory->nodes,
	       plural(memory->nodes));
	for (unsigned int order = 0; order < ORDERS; order++) {
		uint64_t folios = memory->by_order[order];

		if (!folios)
			continue;
		table_row(&table, text_of("%u", order).text,
			  text_of("%lu", folios).text,
			  text_of("%lu", folios << order).text,
			  human_size(folios << order << shift).text);
	}
	table_print(&table);
}

static struct json_object *arena_json(const struct snapshot *snapshot)
{
	const struct kho_arena_info *info = &snapshot->info;
	char id[2 * KHO_ARENA_ID_SIZE + 1];

	format_id(info, id);
	return json_make(J("version", info->version), J("id", id),
			 J("page_size", 1u << info->page_shift),
			 J("size", info->size), J("file_size", info->file_size),
			 J("allocated", snapshot->allocated),
			 J("generation", info->generation));
}

struct json_object *root_json(const struct kho_state *state, uint64_t phys,
			      uint64_t size)
{
	struct json_object *subtrees = new_array();

	for (size_t i = 0; i < state->n; i++)
		push_json(subtrees,
			  json_make(J("name", state->subtrees[i].name),
				    J("compatible",
				      state->subtrees[i].compatible),
				    J("phys", state->subtrees[i].phys),
				    J("size", state->subtrees[i].size)));
	return json_make(J("compatible", state->compatible), J("phys", phys),
			 J("size", size), J("tracker", state->tracker),
			 J("subtrees", subtrees));
}

struct json_object *preserved_json(const struct memory *memory)
{
	unsigned int shift = memory->page_shift;
	struct json_object *orders = new_array();

	for (unsigned int i = 0; i < ORDERS; i++) {
		uint64_t folios = memory->by_order[i];

		if (folios)
			push_json(orders,
				  json_make(J("order", i), J("folios", folios),
					    J("pages", folios << i),
					    J("bytes", folios << i << shift)));
	}
	return json_make(J("folios", memory->n_folios),
			 J("pages", memory->pages),
			 J("bytes", memory->pages << shift),
			 J("tracker_pages", memory->nodes),
			 J("orders", orders));
}

static void inspect_arena(const struct state *state)
{
	const struct snapshot *snapshot = &state->arena;
	struct json_object *json, *root;

	if (!state->json) {
		print_arena(snapshot);
		print_tree(snapshot->state);
		print_preserved(&snapshot->memory);
		return;
	}
	json = new_document("kho-inspect");
	root = root_json(snapshot->state, snapshot->info.fdt,
			 snapshot->info.fdt_size);
	json_add(root, J("sequence", snapshot->info.seq));
	json_add(json, J("state", state->word), J("kind", "arena"),
		 J("arena", arena_json(snapshot)), J("root", root),
		 J("preserved", preserved_json(&snapshot->memory)));
	print_json(json);
}

int cmd_inspect(int argc, char **argv)
{
	struct state state = { .verb = "inspect" };
	int code = state_options(&state, help, argc, argv);

	if (code)
		return code;
	if (!state_read(&state))
		return EXIT_UNKNOWN;
	if (state.is_kernel)
		code = inspect_kernel(&state);
	else
		inspect_arena(&state);
	if (state.svg && !picture_write(&state, state.svg))
		code = EXIT_UNKNOWN;
	if (state.trim && !trim_write(&state, state.trim))
		code = EXIT_UNKNOWN;
	state_free(&state);
	return code;
}
