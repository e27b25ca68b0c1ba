/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* How a report is written. */
#ifndef KHO_COMPAT_REPORT_H
#define KHO_COMPAT_REPORT_H

#include <kho/check.h>
#include <kho/compat.h>

#pragma GCC visibility push(hidden)

/* "v1-v3", "v2", or "-" for no version. */
struct range_text {
	char text[28];
};
struct range_text range_text(const struct kho_range *range);

#pragma GCC visibility pop

#endif
