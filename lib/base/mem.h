/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Reading files, for the backends of views. */
#ifndef KHO_BASE_MEM_H
#define KHO_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* pread(), all of it: 0 or -EFAULT. */
int mem_read_file(int fd, uint64_t offset, void *buf, size_t len);

#pragma GCC visibility pop

#endif
