/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Files that get longer. Beyond RLIMIT_FSIZE, which counts for memfds too, the
 * system sends the thread a SIGXFSZ, which ends the program unless it looks
 * after that itself. Here it is an error like others.
 */
#ifndef KHO_BASE_FILE_H
#define KHO_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* All return 0 or a negative errno; -EFBIG: beyond what a file may have. */
int file_truncate(int fd, uint64_t size);
/* Memory for a part of a file; it gets longer when it has to. */
int file_allocate(int fd, uint64_t offset, uint64_t len);
int file_write(int fd, const void *buf, size_t len, uint64_t offset);

#pragma GCC visibility pop

#endif
