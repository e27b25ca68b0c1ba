// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The supervisor's store, into a session of the kernel and out of it again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/suspend.h>

#include "fd-store-session.h"

void session_name(const char *service, char name[KHO_SESSION_NAME_SIZE])
{
	snprintf(name, KHO_SESSION_NAME_SIZE, "kho:%s", service);
}

/* It is this process's socket, which the next one makes anew. */
static bool is_control(const char *name)
{
	return !strcmp(name, "kho-control");
}

static void count_left(struct json_object *left, const char *name)
{
	struct json_object *count = get_json(left, name);

	if (count)
		json_object_int_inc(count, 1);
	else
		json_add(left, J(name, 1));
}

int session_give(int session, const struct store *store,
		 struct json_object *left, struct kho_error *err)
{
	struct kho_named_file *files =
		must(calloc(store->n + 1, sizeof(*files)));
	size_t n = 0;
	int ret;

	for (size_t i = 0; i < store->n; i++) {
		const char *name = store->fds[i].name;

		if (is_control(name))
			continue;
		/* Programs that use libkho have no such names. */
		if (strlen(name) >= sizeof(files[n].name)) {
			count_left(left, name);
			continue;
		}
		strcpy(files[n].name, name);
		files[n++].fd = store->fds[i].fd;
	}
	ret = kho_fdnames_save(session, 0, files, n, err);
	for (size_t i = 0; !ret && i < n; i++)
		if (files[i].error)
			count_left(left, files[i].name);
	kho_fdnames_free(files);
	return ret;
}

/* Takes all of it, or nothing. */
static int fill(int session, struct store *store, struct kho_error *err)
{
	struct kho_named_file *files;
	size_t n;
	int ret = kho_fdnames_load(session, 0, &files, &n, err);

	if (ret)
		return ret;
	for (size_t i = 0; i < n; i++) {
		if (ret)
			close(files[i].fd);
		else
			ret = store_add(store, files[i].name, files[i].fd, err);
	}
	kho_fdnames_free(files);
	return ret;
}

int session_take(const char *service, struct store *store,
		 struct kho_error *err)
{
	char name[KHO_SESSION_NAME_SIZE];
	struct kho_error why;
	int session, ret;

	session_name(service, name);
	session = kho_session_retrieve(name, err);
	/* No device, none for us, or no such session: nothing came. */
	if (session == -ENOENT || session == -ENODEV || session == -ENXIO ||
	    session == -EACCES || session == -EPERM)
		return 0;
	if (session < 0)
		return session;
	ret = fill(session, store, &why);
	/* It was given up, and the kexec came before the last who had it noticed. */
	if (ret == -ENOENT)
		say("run: %s: nothing was saved for it before the kexec",
		    service);
	if ((!ret || ret == -ENOENT) && kho_session_finish(session, &why))
		say("run: %s: %s", service, why.text);
	/* That finishes it, whatever is in there. */
	close(session);
	if (ret && ret != -ENOENT)
		return kho_fail(err, ret, "it cannot be read, and is lost: %s",
				why.text);
	return !ret;
}
