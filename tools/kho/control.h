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

#include <kho/error.h>

/*
 * struct replacement - a request to run another program
 * @sock: who asked; answered and closed with control_answer()
 * @program: absolute path; to free()
 * @argv: its arguments, in one piece to free(); NULL: as before
 * @allow_degraded: it may start without optional components it cannot read
 */
struct replacement {
	int sock;
	char *program;
	char **argv;
	bool allow_degraded;
};

/*
 * Takes one request from the listening socket. 0; -EAGAIN when there is none,
 * or none that can be understood, which was answered then.
 */
int control_receive(int listener, struct replacement *replacement);

/* Answers: @pid runs now, or @err says why not. */
void control_answer(struct replacement *replacement, pid_t pid,
		    const struct kho_error *err);

#endif
