/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the files of inspect/dump share. */
#ifndef KHO_DUMP_PRIVATE_H
#define KHO_DUMP_PRIVATE_H

#include <stdbool.h>

#include <kho/dump.h>

#pragma GCC visibility push(hidden)

struct kdump;

/*
 * struct kho_dump - a core
 * @mem: the view
 * @fd: our own
 * @read: what is at an offset of a segment: 0 or a negative errno. Thread-safe
 * @page_shift_known: mem.page_shift is more than a guess
 * @info: as the caller gets it
 * @segments: sorted, without overlaps
 * @absent: the same
 * @kdump: NULL: it is none
 */
struct kho_dump {
	struct kho_mem mem;
	int fd;
	int (*read)(const struct kho_dump *core, uint64_t offset, void *buf,
		    size_t len);
	bool page_shift_known;
	struct kho_dump_info info;
	struct kho_dump_segment *segments;
	struct kho_dump_segment *absent;
	struct kdump *kdump;
};

/* view.c */

/* Memory that is in the dump, or only there: in any order. 0; -ENOMEM. */
int dump_add_segment(struct kho_dump *core, uint64_t phys, uint64_t size,
		     uint64_t offset, struct kho_error *err);
int dump_add_absent(struct kho_dump *core, uint64_t phys, uint64_t size,
		    struct kho_error *err);

/* kdump.c */

/* Does a compressed dump begin there, flattened or not? */
bool kdump_begins(int fd);
/* Adds its segments. -EBADMSG; -EPROTONOSUPPORT; -ENOMEM; the core is closed then. */
int kdump_open(struct kho_dump *core, uint64_t file_size,
	       struct kho_error *err);
void kdump_close(struct kdump *kdump);

#pragma GCC visibility pop

#endif
