/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Services through a kexec: each puts its arena and files into a session of the
 * kernel, and stands still. `kho run` takes them out again, see fd-store-session.h.
 */
#ifndef TOOLS_KHO_SUSPEND_H
#define TOOLS_KHO_SUSPEND_H

#include <kho/check.h>

#include "kho.h"

/*
 * struct next - a program that goes on for a service in the next kernel
 * @name: of the service; to free()
 * @manifest: its own
 */
struct next {
	char *name;
	struct kho_manifest *manifest;
};

/*
 * struct suspend - all services of this host
 * @how: consent
 * @timeout_ms: for a service's program to answer
 * @n_next, @next: where it is not the program that runs
 * @n, @services: what became of them
 */
struct suspend {
	struct kho_check_opts how;
	unsigned int timeout_ms;
	size_t n_next;
	struct next *next;
	size_t n;
	struct suspended *services;
};

/* From "NAME=PROGRAM". */
int suspend_add_next(struct suspend *suspend, const char *text,
		     struct kho_error *err);

/*
 * Checks the services that another program goes on for. Nothing happens to them
 * yet. -EPROTONOSUPPORT: that one cannot.
 */
int suspend_check(struct suspend *suspend, struct kho_error *err);

/*
 * Puts each that is there now into a session: they stand still until
 * suspend_undo(), or until this process ends. What stays behind is said.
 * @force: go on without one that cannot be, and say that
 */
int suspend_services(struct suspend *suspend, bool force,
		     struct kho_error *err);

/* Are they all still there? */
int suspend_intact(const struct suspend *suspend, struct kho_error *err);

/* They serve on. */
void suspend_undo(struct suspend *suspend);

/* What became of them, for --json. */
struct json_object *suspend_json(const struct suspend *suspend);

void suspend_free(struct suspend *suspend);

#endif
