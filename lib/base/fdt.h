/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Reading FDTs that are hostile. */
#ifndef KHO_BASE_FDT_H
#define KHO_BASE_FDT_H

#include <stddef.h>
#include <stdint.h>

#include "base/reader.h"

#pragma GCC visibility push(hidden)

/* No FDT that is handed over is larger. */
#define FDT_SIZE_MAX (1u << 20)

/* Is it sound from end to end: 0 or an error of libfdt. */
int fdt_check(const void *fdt, size_t size);
/*
 * A checked copy of the FDT at @phys, to free(). 0; -EBADMSG; -EFAULT; -ENOMEM,
 * said of @thing, such as "the root FDT".
 */
int fdt_read(const struct reader *r, uint64_t phys, uint64_t size,
	     const char *thing, void **fdt);
/* A property that is eight raw bytes, only 4-byte aligned: 0 or -EBADMSG. */
int fdt_read_u64(const void *fdt, int node, const char *name, uint64_t *value);

#pragma GCC visibility pop

#endif
