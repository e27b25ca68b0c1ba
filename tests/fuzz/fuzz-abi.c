// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * kho-abi documents. One that is accepted has everything in its place: what
 * 'kho abi --diff' relies on.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"

#define CHECK(condition) ((condition) ? (void)0 : abort())

static void check_range(const struct kho_range *range)
{
	CHECK(range->max ? range->min && range->min <= range->max :
			   !range->min);
}

static void check_format(const struct abi_format *format)
{
	check_range(&format->write);
	check_range(&format->read);
	CHECK(*format->title && *format->header);
	CHECK(strlen(format->fingerprint) == 64);
	for (size_t i = 0; i < format->n; i++) {
		const struct abi_item *item = &format->items[i];

		CHECK(*item->of || *item->name);
		/* A struct has no text, everything else does. */
		CHECK(!*item->text == !*item->name);
		CHECK(!i || abi_compare_items(item - 1, item) < 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kho_error err = { 0 };
	struct abi abi;

	if (abi_parse((const char *)data, size, "fuzz", &abi, &err)) {
		CHECK(err.code < 0 && err.text[0] && !strchr(err.text, '\n'));
		return 0;
	}
	CHECK(abi.n);
	for (size_t i = 0; i < abi.n; i++) {
		check_format(&abi.formats[i]);
		CHECK(!i ||
		      strcmp(abi.formats[i - 1].name, abi.formats[i].name) < 0);
	}
	abi_free(&abi);
	return 0;
}
