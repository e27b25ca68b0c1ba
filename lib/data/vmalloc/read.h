/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* An area that is being read, for whoever decodes what is in its pages. */
#ifndef KHO_VMALLOC_READ_H
#define KHO_VMALLOC_READ_H

#include <stddef.h>
#include <stdint.h>

#include <kho/vmalloc.h>

#include "base/reader.h"

#pragma GCC visibility push(hidden)

/* A descriptor of either version, and as what it is written with one store. */
typedef uint64_t desc_bits
	__attribute__((vector_size(16), aligned(8), may_alias));
union desc {
	struct kho_vmalloc_desc v1;
	struct kho_vmalloc_desc_v2 v2;
	desc_bits bits;
};

/* Contiguous pages; @index is where in the area, in pages. */
struct run {
	uint64_t phys;
	uint64_t index;
	uint64_t pages;
};

struct runs {
	struct run *run;
	size_t n;
	size_t cap;
};

/* An area that is being read; every byte of it is hostile. */
struct area_reader {
	struct reader in;
	const struct kho *kho; /* the arena that it is in, or NULL */
	uint64_t desc;
	union desc raw;
	uint32_t version;
	unsigned int order;
	struct runs runs; /* sorted by index, and joined */
	struct runs lists; /* one page each */
};

int area_read(struct area_reader *r);
void area_read_free(struct area_reader *r);

#pragma GCC visibility pop

#endif
