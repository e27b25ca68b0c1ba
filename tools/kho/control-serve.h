/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Requests that the supervisor answers, because no program runs that could:
 * one that dies at each start can still be replaced. The same socket and the
 * same JSON as for the program, see docs/schemas.md, "control".
 */
#ifndef TOOLS_KHO_CONTROL_H
#define TOOLS_KHO_CONTROL_H

#include <stdbool.h>
#include <sys/types.h>

#include <json-c/json.h>

#include <kho/error.h>

/*
 * struct request - from outside
 * @sock: who asked; answered and closed with one of the functions below, or
 *        kept
 * @session: of the kernel, into which what is in custody is to go; -1: another
 *           program is to run
 * @program: absolute path; to free()
 * @argv: its arguments, in one piece to free(); NULL: as before
 * @allow_degraded: it may start without optional components it cannot read
 */
struct request {
	int sock;
	int session;
	char *program;
	char **argv;
	bool allow_degraded;
};

/*
 * Takes one request from the listening socket. 0; -EAGAIN when there is none,
 * or none that can be understood, which was answered then.
 */
int control_receive(int listener, struct request *request);

/* Answers: @pid runs now, or @err says why not. Closes the connection. */
void control_answer(struct request *request, pid_t pid,
		    const struct kho_error *err);

/*
 * Answers: it is in the session, but for @left, or @err says why not. The session
 * is closed; the connection stays, for when that ends, so does the suspension.
 */
void control_suspended(struct request *request, struct json_object *left,
		       const struct kho_error *err);

#endif
