/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* An arena with a page for descriptors, for the tests of vmalloc and varray. */
#ifndef TEST_VMALLOC_H
#define TEST_VMALLOC_H

#include <errno.h>

#include <kho/tree.h>
#include <kho/vmalloc.h>

#include "arena.h"

#define MIB (1ul << 20)

/* Who owns what the descriptors describe. */
KHO_COMPONENT(areas, .write = { 1, 1 }, .read = { 1, 1 },
	      .deps = { "vmalloc" });

static inline uint64_t below(uint64_t n)
{
	return rnd() % n;
}

struct fixture {
	int fd;
	unsigned int page_shift;
	uint64_t max;
	struct kho_error err;
	struct kho *kho;
	void *page; /* for descriptors; preserved */
	struct kho_vmalloc_desc *desc; /* its beginning */
	uint64_t phys;
	uint64_t pages; /* that were preserved at the start */
};

static inline const struct kho_component *vmalloc(void)
{
	return kho_component_find("vmalloc");
}

static inline void set_version(struct fixture *f, uint32_t version)
{
	assert_int_equal(kho_set_version(f->kho, vmalloc(), version, NULL), 0);
}

static inline int can_write(struct fixture *f, uint32_t version)
{
	return vmalloc()->ops->can_write(f->kho, version, NULL, &f->err);
}

/* All areas, as a handover does it, at freeze. */
static inline int convert(struct fixture *f, uint32_t version)
{
	return vmalloc()->ops->convert(f->kho, version, NULL, &f->err);
}

static inline void attach(struct fixture *f)
{
	f->kho = arena_attach(f->fd, f->page_shift, f->max);
	if (f->phys) {
		f->page = kho_subtree(f->kho, "areas", NULL, NULL);
		assert_non_null(f->page);
		f->desc = f->page;
	}
}

static inline void create(struct fixture *f, unsigned int page_shift,
			  uint64_t max)
{
	memset(f, 0, sizeof(*f));
	f->fd = make_memfd();
	f->page_shift = page_shift;
	f->max = max;
	attach(f);
	assert_int_equal(kho_ready(f->kho, NULL), 0);
	f->page = kho_alloc_preserve(f->kho, 1);
	assert_non_null(f->page);
	f->desc = f->page;
	f->phys = kho_phys(f->kho, f->page);
	assert_int_equal(kho_add_subtree(f->kho, "areas", &areas_component, 0,
					 f->page, 1, NULL),
			 0);
	f->pages = pages_info(f->kho).preserved;
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

static inline struct kho_vmalloc_stats verify(struct fixture *f)
{
	struct kho_mem_array mem = arena_bytes(f->kho, f->fd);
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
