/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The program's side of custody: sd_notify(3)'s protocol. */
#ifndef KHO_HANDOVER_NOTIFY_H
#define KHO_HANDOVER_NOTIFY_H

#include <stdbool.h>

#pragma GCC visibility push(hidden)

/* Is somebody there who keeps fds for us? */
bool notify_custody(void);
/* Tell custody something; nothing to do without one. */
int notify_send(const char *text);
void notify_barrier(void);
int notify_store(const char *name, int fd);
int notify_unstore(const char *name);

#pragma GCC visibility pop

#endif
