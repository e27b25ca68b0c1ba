/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Asking a service's program through its socket, see docs/schemas.md, "control". */
#ifndef TOOLS_KHO_ASK_H
#define TOOLS_KHO_ASK_H

#include <kho/check.h>

#include "kho.h"
#include "service.h"

/*
 * Sends a request and waits for the answer.
 * @answer: to json_object_put()
 *
 * Return: 0; -EAGAIN when there was no answer in time; -ECONNRESET when the
 * program hung up or died, as @err says; another negative errno.
 */
int ask_program(const struct service *service, struct json_object *request,
		unsigned int timeout_ms, struct json_object **answer,
		struct kho_error *err);

/*
 * The same, with a fd, on a connection that stays: as long as it does, the program
 * waits. @sock: the connection; -1 after a failure.
 */
int ask_and_hold(const struct service *service, struct json_object *request,
		 int fd, unsigned int timeout_ms, int *sock,
		 struct json_object **answer, struct kho_error *err);

/* Adds consent and pins to a request. */
void add_consent(struct json_object *request,
		 const struct kho_check_opts *opts);

#endif
