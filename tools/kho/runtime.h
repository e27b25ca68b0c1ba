/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * The runtime directory: a folder for each service in custody.
 *
 * $KHO_RUNTIME_DIR, else /run/kho as root, else $XDG_RUNTIME_DIR/kho, else
 * /tmp/kho-UID. In it, NAME/:
 *
 *   lock         held (flock) by the supervisor, as long as it lives; its text
 *                is the supervisor's pid
 *   control      the socket on which the program takes requests
 *   notify       the socket on which the supervisor hears from the program
 *   status.json  what the supervisor knows, see docs/schemas.md; replaced
 *                atomically
 *
 * A folder whose lock is free is a dead supervisor's, and means nothing.
 */
#ifndef TOOLS_KHO_RUNTIME_H
#define TOOLS_KHO_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <json-c/json.h>

#include <kho/error.h>

#define SERVICE_NAME_MAX 48

/* Is it a service's NAME: 1 to 48 characters of [a-zA-Z0-9._-]? */
bool service_name_ok(const char *name);

/*
 * struct folder - a service's folder
 * @path: of the folder, absolute
 * @dir: the folder
 * @lock: its lock; -1 when it is somebody else's
 */
struct folder {
	char *path;
	int dir;
	int lock;
};

/* For the supervisor: makes and locks NAME's folder, -EEXIST when taken. */
int folder_create(struct folder *folder, const char *name,
		  struct kho_error *err);

/* For all others: -ENOENT when no supervisor has NAME in custody. */
int folder_open(struct folder *folder, const char *name, struct kho_error *err);

/* Listens on, or connects to, the socket @file in the folder. */
int folder_socket(const struct folder *folder, const char *file, int type,
		  struct kho_error *err);
int folder_connect(const struct folder *folder, const char *file, int type,
		   unsigned int timeout_ms, struct kho_error *err);

/* Replaces status.json; drops @status. */
int folder_write_status(const struct folder *folder,
			struct json_object *status);

/* Removes what is in the supervisor's folder, the folder, and the lock. */
void folder_remove(struct folder *folder);

void folder_close(struct folder *folder);

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
