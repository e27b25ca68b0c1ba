// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* What all decoders do: read, follow a chain, say what is wrong and where. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/reader.h"

int reader_fail(const struct reader *r, int code, uint64_t at, const char *fmt,
		...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return kho_fail(r->err, code, "%s: at 0x%llx: %s", r->what,
			(unsigned long long)at, text);
}

int reader_get(const struct reader *r, uint64_t phys, void *buf, size_t len,
	       const char *thing)
{
	if (kho_mem_read(r->mem, phys, buf, len) == 0)
		return 0;
	return reader_fail(r, -EFAULT, phys, "the %s is outside the memory",
			   thing);
}

/*
 * What is reached twice is reached for ever, so remembering one link is enough
 * when it is a later one each time: Brent's algorithm.
 */
int reader_follow(const struct reader *r, struct reader_chain *chain,
		  uint64_t phys, const char *things)
{
	if (chain->n && phys == chain->mark)
		return reader_fail(r, -ELOOP, phys,
				   "the chain of %s does not end", things);
	chain->n++;
	if (!(chain->n & (chain->n - 1)))
		chain->mark = phys;
	return 0;
}
