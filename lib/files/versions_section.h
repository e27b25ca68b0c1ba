/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The section .liveupdate_versions of a kernel. */
#ifndef KHO_FILES_VERSIONS_SECTION_H
#define KHO_FILES_VERSIONS_SECTION_H

#include <stddef.h>
#include <stdint.h>

#include "compat/manifest.h"

#pragma GCC visibility push(hidden)

/*
 * Read a section. @offset: of it in the file. As collect(); what a note says
 * of a component stays.
 */
int versions_section_read(struct collection *collection, size_t source,
			  const void *bytes, size_t size, uint64_t offset);

#pragma GCC visibility pop

#endif
