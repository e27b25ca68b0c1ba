/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Texts of any bytes, made printable. */
#ifndef KHO_BASE_TEXT_H
#define KHO_BASE_TEXT_H

#include <stddef.h>

#pragma GCC visibility push(hidden)

/* Copy @from, of any bytes, as one printable line into @to. */
void copy_text(char *to, size_t size, const char *from, size_t len);

#pragma GCC visibility pop

#endif
