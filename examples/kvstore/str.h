/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Bytes that are somebody else's, and may well be binary. */
#ifndef KVTABLE_STR_H
#define KVTABLE_STR_H

#include <stddef.h>

struct str {
	const char *p;
	size_t len;
};

#endif
