/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Datagrams between a program, custody and the command: a text and at most one
 * fd. The requests among them are JSON: docs/schemas.md, "control".
 */
#ifndef KHO_HANDOVER_DATAGRAM_H
#define KHO_HANDOVER_DATAGRAM_H

#include <stddef.h>

#pragma GCC visibility push(hidden)

struct json_object;
struct sockaddr_un;

/*
 * Sends it, as a whole, or a negative errno.
 * @to: where to, NULL for the peer; @to_len: its bytes
 * @fd: goes with it, or -1
 * @flags: of sendmsg()
 */
int datagram_send(int sock, const struct sockaddr_un *to, size_t to_len,
		  const char *text, int fd, int flags);

/*
 * Takes a request from somebody who may ask: root and our own user. NULL when
 * there is none in time, or none that can be understood. @fd: that came with it,
 * also when there is nothing else, or -1.
 */
struct json_object *request_receive(int sock, int timeout_ms, int *fd);

/* A client that left does not get it; there is nobody to tell. */
void request_answer(int sock, struct json_object *answer);

#pragma GCC visibility pop

#endif
