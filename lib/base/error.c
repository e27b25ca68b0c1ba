// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Errors with a reason. */
#include <stdarg.h>
#include <stdio.h>

#include <kho/error.h>

#include "base/text.h"

int kho_fail(struct kho_error *err, int code, const char *fmt, ...)
{
	va_list ap;
	int len;

	if (!err)
		return code;
	err->code = code;
	va_start(ap, fmt);
	len = vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	text_cut(err->text, sizeof(err->text), len < 0 ? 0 : (size_t)len);
	return code;
}
