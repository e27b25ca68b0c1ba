/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What view.c and find.c share. */
#ifndef KHO_DUMP_PRIVATE_H
#define KHO_DUMP_PRIVATE_H

#include <kho/dump.h>

/*
 * struct kho_dump - a core
 * @mem: the view
 * @fd: our own
 * @page_shift_known: mem.page_shift is more than a guess
 * @info: as the caller gets it
 * @segments: sorted, without overlaps
 */
struct kho_dump {
	struct kho_mem mem;
	int fd;
	bool page_shift_known;
	struct kho_dump_info info;
	struct kho_dump_segment *segments;
};

#endif
