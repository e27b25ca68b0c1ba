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
#ifndef TOOLS_KHO_FOLDER_H
#define TOOLS_KHO_FOLDER_H

#include <stdbool.h>
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

/* Opens the runtime directory, to read it. */
int folders_open(struct kho_error *err);

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

/* Replaces status.json; drops @status. NULL when it cannot be read. */
int folder_write_status(const struct folder *folder,
			struct json_object *status);
struct json_object *folder_read_status(const struct folder *folder);

/* Removes what is in the supervisor's folder, the folder, and the lock. */
void folder_remove(struct folder *folder);

void folder_close(struct folder *folder);

#endif
