// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho inspect: the state tree and its memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kho.h"
#include "state.h"
#include "target.h"

static const char help[] =
	"Usage: kho inspect [--json] STATE\n"
	"\n"
	"Shows what is preserved in an arena: the superblock, the state tree with its\n"
	"subtrees and their versions, and the preserved memory. It only looks: the\n"
	"program that uses the arena does not notice.\n"
	"\n"
	"STATE is the NAME of a service in custody, the file of an arena (one with the\n"
	"name of a service is ./NAME), or pid:PID[:FD], an arena that a process has\n"
	"open.\n"
	"\n"
	"  --json  for programs; see docs/schemas.md, kho-inspect\n"
	"  --help  this text\n"
	"\n"
	"Exit: 0; 2 when there is no such state, or it cannot be read.\n"
	"\n"
	"Example: kho inspect cache\n";

struct total {
	uint64_t folios;
	uint64_t pages;
};

static struct total add_up(const struct snapshot *snapshot)
{
	struct total total = { 0 };

	for (unsigned int order = 0; order < ORDERS; order++) {
		total.folios += snapshot->folios[order];
		total.pages += snapshot->folios[order] << order;
	}
	return total;
}

static void format_id(const struct kho_arena_info *info, char *buf)
{
	for (size_t i = 0; i < KHO_ARENA_ID_SIZE; i++)
		sprintf(buf + 2 * i, "%02x", info->id[i]);
}

static void print_arena(const struct snapshot *snapshot)
{
	const struct kho_arena_info *info = &snapshot->info;
	char id[2 * KHO_ARENA_ID_SIZE + 1], size[16], allocated[16];

	format_id(info, id);
	printf("arena       version %u, id %s\n", info->version, id);
	printf("generation  %lu\n", info->generation);
	printf("page size   %u\n", 1u << info->page_shift);
	printf("file size   %s, of which %s have memory\n",
	       human_size(info->file_size, size),
	       human_size(snapshot->allocated, allocated));
	printf("root        phys %#lx, %lu bytes, sequence %lu\n", info->fdt,
	       info->fdt_size, info->seq);
}

static void print_tree(const struct kho_state *state)
{
	char *compatible = printable(state->compatible);

	printf("state tree  %s\n", compatible);
	free(compatible);
	printf("\nSubtrees: %zu\n", state->n);
	if (state->n)
		printf("  %-31s  %14s  %10s  %s\n", "NAME", "PHYS", "SIZE",
		       "COMPATIBLE");
	for (size_t i = 0; i < state->n; i++) {
		const struct kho_state_subtree *subtree = state->subtrees + i;
		char *name = printable(subtree->name);
		char size[16];

		compatible = printable(subtree->compatible);
		printf("  %-31s  %#14lx  %10s  %s\n", name, subtree->phys,
		       human_size(subtree->size, size), compatible);
		free(compatible);
		free(name);
	}
}

static void print_preserved(const struct snapshot *snapshot)
{
	unsigned int shift = snapshot->info.page_shift;
	struct total total = add_up(snapshot);
	char size[16];

	printf("\nPreserved: %lu folios, %s; tracker: %lu pages\n",
	       total.folios, human_size(total.pages << shift, size),
	       snapshot->nodes);
	if (total.folios)
		printf("  %-5s  %10s  %12s  %10s\n", "ORDER", "FOLIOS", "PAGES",
		       "SIZE");
	for (unsigned int order = 0; order < ORDERS; order++) {
		uint64_t folios = snapshot->folios[order];

		if (folios)
			printf("  %-5u  %10lu  %12lu  %10s\n", order, folios,
			       folios << order,
			       human_size(folios << order << shift, size));
	}
}

static struct json_object *arena_json(const struct snapshot *snapshot)
{
	const struct kho_arena_info *info = &snapshot->info;
	struct json_object *json = must(json_object_new_object());
	char id[2 * KHO_ARENA_ID_SIZE + 1];

	format_id(info, id);
	add_number(json, "version", info->version);
	add_text(json, "id", id);
	add_number(json, "page_size", 1u << info->page_shift);
	add_number(json, "size", info->size);
	add_number(json, "file_size", info->file_size);
	add_number(json, "allocated", snapshot->allocated);
	add_number(json, "generation", info->generation);
	return json;
}

static struct json_object *root_json(const struct snapshot *snapshot)
{
	const struct kho_state *state = snapshot->state;
	struct json_object *json = must(json_object_new_object());
	struct json_object *subtrees = must(json_object_new_array());

	for (size_t i = 0; i < state->n; i++) {
		struct json_object *subtree = must(json_object_new_object());

		add_text(subtree, "name", state->subtrees[i].name);
		add_text(subtree, "compatible", state->subtrees[i].compatible);
		add_number(subtree, "phys", state->subtrees[i].phys);
		add_number(subtree, "size", state->subtrees[i].size);
		json_object_array_add(subtrees, subtree);
	}
	add_text(json, "compatible", state->compatible);
	add_number(json, "sequence", snapshot->info.seq);
	add_number(json, "phys", snapshot->info.fdt);
	add_number(json, "size", snapshot->info.fdt_size);
	add_number(json, "tracker", state->tracker);
	add_json(json, "subtrees", subtrees);
	return json;
}

static struct json_object *preserved_json(const struct snapshot *snapshot)
{
	unsigned int shift = snapshot->info.page_shift;
	struct json_object *json = must(json_object_new_object());
	struct json_object *orders = must(json_object_new_array());
	struct total total = add_up(snapshot);

	for (unsigned int i = 0; i < ORDERS; i++) {
		struct json_object *order;

		if (!snapshot->folios[i])
			continue;
		order = must(json_object_new_object());
		add_number(order, "order", i);
		add_number(order, "folios", snapshot->folios[i]);
		add_number(order, "pages", snapshot->folios[i] << i);
		add_number(order, "bytes", snapshot->folios[i] << i << shift);
		json_object_array_add(orders, order);
	}
	add_number(json, "folios", total.folios);
	add_number(json, "pages", total.pages);
	add_number(json, "bytes", total.pages << shift);
	add_number(json, "tracker_pages", snapshot->nodes);
	add_json(json, "orders", orders);
	return json;
}

static void print_snapshot_json(const char *state,
				const struct snapshot *snapshot)
{
	struct json_object *json = new_document("kho-inspect");

	add_text(json, "state", state);
	add_json(json, "arena", arena_json(snapshot));
	add_json(json, "root", root_json(snapshot));
	add_json(json, "preserved", preserved_json(snapshot));
	print_json(json);
}

int cmd_inspect(int argc, char **argv)
{
	struct verb_options options = { 0 };
	struct snapshot snapshot;
	struct kho_error err;
	const char *state;
	int fd, ret;

	if (!parse_options("inspect", help, argc, argv, &options))
		return options.code;
	state = argv[optind];
	if (argc - optind != 1)
		return fail_usage("inspect", "it takes one STATE");
	fd = state_open(state, &err);
	if (fd < 0)
		return fail("inspect: %s", err.text);
	ret = snapshot_read(fd, true, &snapshot, &err);
	close(fd);
	if (ret)
		return fail("inspect: %s: %s", state, err.text);
	if (options.json) {
		print_snapshot_json(state, &snapshot);
	} else {
		print_arena(&snapshot);
		print_tree(snapshot.state);
		print_preserved(&snapshot);
	}
	snapshot_free(&snapshot);
	return EXIT_YES;
}
