/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* An arena with a page for descriptors, for the tests of vmalloc and varray. */
#ifndef TEST_VMALLOC_H
#define TEST_VMALLOC_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <kho/attach.h>
#include <kho/pages.h>
#include <kho/tree.h>
#include <kho/vmalloc.h>

#include "seed.h"

#define MIB (1ul << 20)

static inline uint64_t below(uint64_t n)
{
	return rnd() % n;
}

struct fixture {
	int fd;
	struct kho_attach_opts opts;
	struct kho_error err;
	struct kho *kho;
	void *page; /* for descriptors; preserved */
	struct kho_vmalloc_desc *desc; /* its beginning */
	uint64_t phys;
	uint64_t pages; /* that were preserved at the start */
};

static inline void attach(struct fixture *f)
{
	f->opts.err = &f->err;
	if (kho_attach_fd(&f->kho, f->fd, &f->opts))
		fail_msg("attach: %s", f->err.text);
	if (f->phys) {
		f->page = kho_restore_folio(f->kho, f->phys);
		assert_non_null(f->page);
		f->desc = f->page;
	}
}

static inline struct kho_pages_info info(struct fixture *f)
{
	struct kho_pages_info i;

	kho_pages_info(f->kho, &i);
	return i;
}

static inline void create(struct fixture *f, unsigned int page_shift,
			  uint64_t max)
{
	memset(f, 0, sizeof(*f));
	f->fd = memfd_create("test", MFD_ALLOW_SEALING);
	assert_true(f->fd >= 0);
	f->opts.page_shift = page_shift;
	f->opts.max_size = max;
	attach(f);
	assert_int_equal(kho_ready(f->kho), 0);
	f->page = kho_alloc_preserve(f->kho, 1);
	assert_non_null(f->page);
	f->desc = f->page;
	f->phys = kho_phys(f->kho, f->page);
	f->pages = info(f).preserved;
}

static inline void reattach(struct fixture *f)
{
	kho_close(f->kho);
	attach(f);
}

static inline void discard(struct fixture *f)
{
	kho_close(f->kho);
	close(f->fd);
}

/* The whole file as a view of memory. */
static inline struct kho_mem_array view(struct fixture *f)
{
	struct stat st;

	assert_int_equal(fstat(f->fd, &st), 0);
	return kho_mem_array((char *)kho_ptr(f->kho, 1, 1) - 1,
			     (size_t)st.st_size, 0, kho_page_shift(f->kho));
}

static inline struct kho_vmalloc_stats verify(struct fixture *f)
{
	struct kho_mem_array mem = view(f);
	struct kho_vmalloc_stats stats;

	if (kho_vmalloc_verify(&mem.mem, f->phys, &stats, &f->err))
		fail_msg("verify: %s", f->err.text);
	return stats;
}

static inline struct kho_vmalloc *restore(struct fixture *f, uint64_t max)
{
	struct kho_vmalloc *area;

	if (kho_vmalloc_restore(f->kho, f->desc, max, &area, &f->err))
		fail_msg("restore: %s", f->err.text);
	return area;
}

/* What returned @ret has said why, in one line. */
static inline void fails(struct fixture *f, int code, int ret)
{
	assert_int_equal(ret, code);
	assert_int_equal(f->err.code, code);
	assert_true(f->err.text[0] != '\0');
	assert_null(strchr(f->err.text, '\n'));
	memset(&f->err, 0, sizeof(f->err));
}

#endif
