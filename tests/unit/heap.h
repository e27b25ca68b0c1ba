/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Allocations on the heap that fail, for tests that are linked with
 * --wrap=malloc,--wrap=calloc. A test may wrap more, with heap_fails().
 */
#ifndef TEST_HEAP_H
#define TEST_HEAP_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

static int fail_in = -1; /* allocations that still succeed; -1: all */

static inline bool heap_fails(void)
{
	if (fail_in < 0)
		return false;
	if (fail_in > 0) {
		fail_in--;
		return false;
	}
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_malloc(size_t size)
{
	return heap_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return heap_fails() ? NULL : __real_calloc(n, size);
}

#endif
