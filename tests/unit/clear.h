/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Clearing new memory, which nothing refers to yet, is many instructions of no
 * interest: between two SIGUSR1 step() lets the child run. For tests that are
 * linked with --wrap=memset.
 */
#ifndef TEST_CLEAR_H
#define TEST_CLEAR_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

static bool stepping;

void *__real_memset(void *p, int byte, size_t n);
void *__wrap_memset(void *p, int byte, size_t n);

void *__wrap_memset(void *p, int byte, size_t n)
{
	bool skipped = stepping && n >= 4096;

	if (skipped)
		raise(SIGUSR1);
	__real_memset(p, byte, n);
	if (skipped)
		raise(SIGUSR1);
	return p;
}

#endif
