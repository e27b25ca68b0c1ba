/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Services in custody, as their supervisors describe them. */
#ifndef TOOLS_KHO_SERVICE_H
#define TOOLS_KHO_SERVICE_H

#include <stddef.h>
#include <sys/types.h>

#include <kho/error.h>

/*
 * struct service - what a supervisor says of its service
 * @name: NAME
 * @supervisor: pid of kho run
 * @pid: of the program; 0 when none runs at the moment
 * @arena: fd of the arena in the supervisor, -1 when there is none
 * @program: its path
 * @state: "starting", "serving" or "restarting"
 * @json: the whole of status.json; owns the strings
 */
struct service {
	const char *name;
	pid_t supervisor;
	pid_t pid;
	int arena;
	const char *program;
	const char *state;
	struct json_object *json;
};

/* -ENOENT when NAME is not in custody. */
int service_read(const char *name, struct service *service,
		 struct kho_error *err);

/* All in custody, by name; both results to free, each with service_free(). */
int services_read(struct service **services, size_t *n, struct kho_error *err);

void service_free(struct service *service);

/* Opens the arena of a service for reading: the fd, or -ENOENT. */
int service_arena(const struct service *service, struct kho_error *err);

#endif
