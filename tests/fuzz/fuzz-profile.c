// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Profiles from any text. One that is accepted is in order, and what is written
 * of it is the same profile.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <kho/compat.h>
#include <kho/profile.h>

#define CHECK(condition) ((condition) ? (void)0 : abort())

static void check_profile(const struct kho_profile *profile)
{
	size_t i;

	CHECK(profile->name[0] &&
	      memchr(profile->name, '\0', sizeof(profile->name)));
	for (i = 0; i < profile->n; i++) {
		const struct kho_pin *pin = &profile->pins[i];

		CHECK(!kho_name_check(pin->name, NULL) && pin->version);
		CHECK(!i || strcmp(pin[-1].name, pin->name) < 0);
		CHECK(kho_profile_pin(profile, pin->name) == pin->version);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kho_profile *profile, *again;
	struct kho_error err;
	char *text;

	if (kho_profile_parse((const char *)data, size, "fuzz", &profile,
			      &err)) {
		CHECK(err.code < 0 && err.text[0]);
		return 0;
	}
	check_profile(profile);
	text = kho_profile_json(profile);
	CHECK(text);
	CHECK(!kho_profile_parse(text, strlen(text), "again", &again, &err));
	CHECK(!strcmp(profile->name, again->name) && profile->n == again->n);
	CHECK(!memcmp(profile->pins, again->pins,
		      profile->n * sizeof(profile->pins[0])));
	free(text);
	free(again);
	kho_profile_free(profile);
	return 0;
}
