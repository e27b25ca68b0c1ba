/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Can a program take over what a service has in custody? */
#ifndef TOOLS_KHO_CHECK_H
#define TOOLS_KHO_CHECK_H

#include <kho/check.h>

#include "report.h"

/*
 * Checks what is in the arena of the service @name, whether its program runs
 * or not; one that runs is asked. @report: to json_object_put().
 * Return: 0, whatever the verdict, or a negative errno.
 */
int check_service(const char *name, const struct kho_manifest *to,
		  const struct kho_check_opts *opts,
		  struct json_object **report, struct kho_error *err);

/* The same, as seen from outside: no program is asked. */
struct service;
int check_outside(const struct service *from, const struct kho_manifest *to,
		  const struct kho_check_opts *opts,
		  struct json_object **report, struct kho_error *err);

#endif
