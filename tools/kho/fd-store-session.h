/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What is in custody, through a kexec: in a session that is called after NAME. */
#ifndef TOOLS_KHO_SESSION_H
#define TOOLS_KHO_SESSION_H

#include <kho/session.h>

#include "kho.h"
#include "fd-store.h"

/* Of the service's session. */
void session_name(const char *service, char name[KHO_SESSION_NAME_SIZE]);

/*
 * Puts what is in the store into a session, when no program runs that would do
 * it. @left: {name: how many} stay behind.
 */
int session_give(int session, const struct store *store,
		 struct json_object *left, struct kho_error *err);

/*
 * Takes what came through a kexec for a service, and finishes the session.
 * Return: 1 when there was something, 0 when not, or a negative errno.
 */
int session_take(const char *service, struct store *store,
		 struct kho_error *err);

#endif
