/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What a program tells its supervisor: the protocol of sd_notify(3). */
#ifndef TOOLS_KHO_NOTIFY_H
#define TOOLS_KHO_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Fds that one message can carry: the kernel's SCM_MAX_FD. */
#define MESSAGE_FDS 253

/*
 * struct message - one datagram
 * @sender: by the kernel's account
 * @ready: READY=1
 * @main_pid: MAINPID=, 0 when not given
 * @store: FDSTORE=1
 * @remove: FDSTOREREMOVE=1
 * @suspended: X_KHO_SUSPENDED=, 1 or 0: for a kexec it stands still, or not any
 *             more; -1 when not given
 * @name: FDNAME=; "stored" when not given, empty when it is too long
 * @cut: did not arrive whole; says nothing but for its fds
 * @n: fds
 * @fds: close-on-exec, the receiver's
 */
struct message {
	pid_t sender;
	bool ready;
	pid_t main_pid;
	bool store;
	bool remove;
	int suspended;
	char name[256];
	bool cut;
	size_t n;
	int fds[MESSAGE_FDS];
};

/* Lets the kernel say who sends; 0 or a negative errno. */
int notify_init(int sock);

/* The next message: true, or false when there is none. */
bool notify_receive(int sock, struct message *message);

#endif
