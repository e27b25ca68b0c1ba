/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* An arena in a memfd, for tests: made, attached, counted, seen and copied. */
#ifndef TEST_ARENA_H
#define TEST_ARENA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <kho/attach.h>
#include <kho/mem.h>
#include <kho/pages.h>

#include "seed.h"

static inline int make_memfd(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	return fd;
}

static inline struct kho *arena_attach(int fd, unsigned int page_shift,
				       uint64_t max)
{
	struct kho_error err = { 0 };
	struct kho_attach_opts opts = { .size = sizeof(opts),
					.max_size = max,
					.page_shift = page_shift };
	struct kho *kho;

	if (kho_attach_fd(&kho, fd, &opts, &err))
		fail_msg("attach: %s", err.text);
	return kho;
}

static inline struct kho_pages_info pages_info(struct kho *kho)
{
	struct kho_pages_info info;

	kho_pages_info(kho, &info);
	return info;
}

static inline size_t arena_size(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (size_t)st.st_size;
}

/* The bytes of an attached arena, from its phys 0 on. */
static inline struct kho_mem_array arena_bytes(struct kho *kho, int fd)
{
	return kho_mem_array((char *)kho_ptr(kho, 1, 1) - 1, arena_size(fd), 0,
			     kho_page_shift(kho));
}

/* To be freed. */
static inline void *arena_copy(int fd, size_t *len)
{
	void *bytes;

	*len = arena_size(fd);
	bytes = malloc(*len);
	assert_non_null(bytes);
	assert_int_equal(pread(fd, bytes, *len, 0), *len);
	return bytes;
}

#endif
