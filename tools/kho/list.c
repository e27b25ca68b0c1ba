// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* kho list: what is in custody. */
#include <stdlib.h>
#include <unistd.h>

#include <kho/arena.h>

#include "kho.h"
#include "options.h"
#include "service.h"
#include "table.h"

static const char help[] =
	"Usage: kho list [--json]\n"
	"\n"
	"Lists the services in custody: name, process, state, generation (how many\n"
	"handovers the arena has survived), size of the arena, and program.\n"
	"\n"
	"  --json  for programs; see docs/schemas.md, kho-list\n"
	"  --help  this text\n"
	"\n"
	"Exit: 0, also when there is none; 2 when it cannot tell.\n"
	"\n"
	"Example: kho list\n";

/* False when there is no arena, or none that can be read. */
static bool read_arena(const struct service *service,
		       struct kho_arena_info *info)
{
	struct kho_arena_view *view = NULL;
	int fd = service_arena(service, NULL);
	bool ok;

	if (fd < 0)
		return false;
	ok = !kho_arena_view(fd, &view, NULL) &&
	     !kho_arena_view_info(view, info, NULL);
	kho_arena_view_close(view);
	close(fd);
	return ok;
}

static void print_list(const struct service *services, size_t n)
{
	struct table table = TABLE("NAME", ">PID", "STATE", ">GENERATION",
				   ">ARENA", "PROGRAM");

	if (!n)
		print_line(
			"Nothing is in custody: start a program with 'kho run'.");
	for (size_t i = 0; i < n; i++) {
		const struct service *s = &services[i];
		struct kho_arena_info info;
		bool arena = read_arena(s, &info);

		table_row(&table, s->name,
			  s->pid ? text_of("%d", s->pid).text : "-", s->state,
			  arena ? text_of("%lu", info.generation).text : "-",
			  arena ? human_size(info.file_size).text : "-",
			  s->program);
	}
	table_print(&table);
}

static struct json_object *service_json(const struct service *service)
{
	static const char *const same[] = { "name",   "supervisor", "pid",
					    "state",  "program",    "argv",
					    "starts", NULL };
	struct json_object *json = json_copy(service->json, same);
	struct kho_arena_info info;
	bool has = read_arena(service, &info);

	json_add(json,
		 J("arena", has ? json_make(J("generation", info.generation),
					    J("file_size", info.file_size)) :
				  NULL));
	return json;
}

static void print_list_json(const struct service *services, size_t n)
{
	struct json_object *json = new_document("kho-list");
	struct json_object *array = new_array();

	for (size_t i = 0; i < n; i++)
		push_json(array, service_json(services + i));
	json_add(json, J("services", array));
	print_json(json);
}

int cmd_list(int argc, char **argv)
{
	bool json = false;
	const struct verb_option options[] = { { "json", .flag = &json }, {} };
	char **words = parse_options(argc, argv, help, "", options);
	struct service *services;
	struct kho_error err;
	size_t n;

	if (words[0])
		return fail_usage("list", "%s: it takes no arguments",
				  words[0]);
	if (services_read(&services, &n, &err))
		return fail("list: %s", err.text);
	if (json)
		print_list_json(services, n);
	else
		print_list(services, n);
	for (size_t i = 0; i < n; i++)
		service_free(services + i);
	free(services);
	return EXIT_YES;
}
