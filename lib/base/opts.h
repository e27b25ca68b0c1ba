/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Option structs of callers that were compiled with another version. */
#ifndef KHO_BASE_OPTS_H
#define KHO_BASE_OPTS_H

#include <stddef.h>

#include <kho/error.h>

#pragma GCC visibility push(hidden)

/*
 * Copy an option struct, which begins with its size, a size_t; NULL is all
 * zeros. What an older caller does not know is 0; what a newer one says beyond
 * @size has to be. @name: of the struct. 0; -EINVAL for a size that is none;
 * -E2BIG.
 */
int opts_copy(void *to, size_t size, const void *opts, const char *name,
	      struct kho_error *err);

/* The same, into a variable of the struct's type. */
#define OPTS_COPY(to, opts, type, err)                                         \
	opts_copy(to, sizeof(struct type), opts, "struct " #type, err)

#pragma GCC visibility pop

#endif
