/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Can a program take over what a service has in custody? */
#ifndef TOOLS_KHO_CHECK_H
#define TOOLS_KHO_CHECK_H

#include <kho/check.h>

/*
 * Checks what is in the arena of the service @from, whether its program runs
 * or not. Return: 0, whatever the verdict, or a negative errno.
 */
int check_service(const char *from, const struct kho_manifest *to,
		  struct kho_report **report, struct kho_error *err);

#endif
