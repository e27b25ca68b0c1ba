// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Tokens and composites from any text. One that is accepted has a canonical
 * form that is accepted too, and is its own.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <kho/compat.h>

#define CHECK(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char canonical[KHO_COMPOSITE_SIZE], again[KHO_COMPOSITE_SIZE];
	struct kho_composite composite;
	struct kho_token token;
	struct kho_error err;
	char *text;
	int len;

	kho_token_parse((const char *)data, size, &token, &err);

	text = strndup((const char *)data, size);
	CHECK(text);
	kho_name_check(text, &err);
	if (!kho_composite_parse(text, &composite, &err)) {
		len = kho_composite_format(&composite, canonical,
					   sizeof(canonical));
		CHECK(len > 0 && (size_t)len <= strlen(text));
		CHECK(!kho_composite_parse(canonical, &composite, &err));
		CHECK(kho_composite_format(&composite, again, sizeof(again)) ==
		      len);
		CHECK(!strcmp(canonical, again));
	} else {
		CHECK(err.code < 0 && err.text[0]);
	}
	free(text);
	return 0;
}
