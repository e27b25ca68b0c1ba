// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Services in custody, as their supervisors describe them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "kho.h"
#include "service.h"

int service_read(const char *name, struct service *service,
		 struct kho_error *err)
{
	struct folder folder;
	int ret = folder_open(&folder, name, err);
	struct json_object *json;

	*service = (struct service){ 0 };
	if (ret)
		return ret;
	json = folder_read_status(&folder);
	folder_close(&folder);
	*service = (struct service){
		.json = json,
		.name = get_text(json, "name"),
		.program = get_text(json, "program"),
		.state = get_text(json, "state"),
		.supervisor = get_int(json, "supervisor"),
		.pid = get_int(json, "pid"),
		.arena = get_int(json, "arena"),
	};
	if (*service->name && *service->program && *service->state &&
	    service->supervisor > 0)
		return 0;
	service_free(service);
	return kho_fail(err, -ENOENT,
			"service \"%s\" is only just starting or ending: try again",
			name);
}

void service_free(struct service *service)
{
	json_object_put(service->json);
	*service = (struct service){ 0 };
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct service *)a)->name,
		      ((const struct service *)b)->name);
}

int services_read(struct service **services, size_t *n, struct kho_error *err)
{
	int root = folders_open(err);
	struct dirent *entry;
	DIR *dir;

	*services = NULL;
	*n = 0;
	if (root < 0)
		return root == -ENOENT ? 0 : root;
	dir = must(fdopendir(root));
	while ((entry = readdir(dir))) {
		*services =
			must(realloc(*services, (*n + 1) * sizeof(**services)));
		if (!service_read(entry->d_name, *services + *n, NULL))
			(*n)++;
	}
	closedir(dir);
	qsort(*services, *n, sizeof(**services), by_name);
	return 0;
}

int service_arena(const struct service *service, struct kho_error *err)
{
	char path[64];
	int fd;

	if (service->arena < 0)
		return kho_fail(err, -ENOENT,
				"%s has put no arena into custody: its program does not call kho_attach(), or not yet",
				service->name);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", service->supervisor,
		 service->arena);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return kho_fail(err, -errno,
				"cannot open the arena of %s, %s: %m",
				service->name, path);
	return fd;
}
