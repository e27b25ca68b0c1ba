// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Kernel command lines: as Linux reads them, to the last quote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <kho/cmdline.h>

#define NONE KHO_SETTING_NONE
#define ON KHO_SETTING_ON
#define OFF KHO_SETTING_OFF

static void switches(void **state)
{
	static const struct {
		const char *cmdline;
		enum kho_setting setting;
		const char *value;
		const char *ignored;
		bool behind;
	} cases[] = {
		{ "", NONE, "", "", false },
		{ "console=ttyS0", NONE, "", "", false },
		{ "kho=on", ON, "on", "", false },
		{ " \t kho=on\n", ON, "on", "", false },
		{ "quiet\vkho=1\fro", ON, "1", "", false },
		{ "\xa0kho=y\xa0x", ON, "y", "", false },
		/* Its first one or two characters. */
		{ "kho=yes", ON, "yes", "", false },
		{ "kho=True", ON, "True", "", false },
		{ "kho=One", ON, "One", "", false },
		{ "kho=1x", ON, "1x", "", false },
		{ "kho=off", OFF, "off", "", false },
		{ "kho=Of", OFF, "Of", "", false },
		{ "kho=n", OFF, "n", "", false },
		{ "kho=False", OFF, "False", "", false },
		{ "kho=0", OFF, "0", "", false },
		{ "kho=o", NONE, "", "o", false },
		{ "kho=ok", NONE, "", "ok", false },
		{ "kho=2", NONE, "", "2", false },
		{ "kho=enable", NONE, "", "enable", false },
		{ "kho", NONE, "", "nothing", false },
		{ "kho=", NONE, "", "nothing", false },
		/* The last that is understood. */
		{ "kho=on kho=off", OFF, "off", "", false },
		{ "kho=off kho=on", ON, "on", "", false },
		{ "kho=off kho=maybe", OFF, "off", "maybe", false },
		{ "kho=maybe kho=off", OFF, "off", "", false },
		{ "kho=on kho", ON, "on", "nothing", false },
		/* The name, all of it. */
		{ "xkho=on", NONE, "", "", false },
		{ "khox=on", NONE, "", "", false },
		{ "kh=on", NONE, "", "", false },
		{ "KHO=on", NONE, "", "", false },
		{ "=kho=on", NONE, "", "", false },
		{ "x=kho=on", NONE, "", "", false },
		{ "kho =on", NONE, "", "nothing", false },
		{ "kho.kho=on", NONE, "", "", false },
		/* Quotes. */
		{ "\"kho=on\"", ON, "on", "", false },
		{ "kho=\"on\"", ON, "on", "", false },
		{ "\"kho=on", ON, "on", "", false },
		{ "kho=\"on", ON, "on", "", false },
		{ "\"kho\"=on", NONE, "", "", false },
		{ "kh\"o=on", NONE, "", "", false },
		{ "x=\"a kho=on\"", NONE, "", "", false },
		{ "x=\"a\" kho=on", ON, "on", "", false },
		{ "x=\" kho=on", NONE, "", "", false },
		{ "\"x kho=off\" kho=on", ON, "on", "", false },
		{ "kho=\" on\"", NONE, "", " on", false },
		{ "kho=o\"n\"", NONE, "", "o\"n\"", false },
		/* The end. */
		{ "kho=on -- kho=off", ON, "on", "", true },
		{ "-- kho=on", NONE, "", "", true },
		{ "a -- -- kho=on", NONE, "", "", true },
		{ "\"--\" kho=on", NONE, "", "", true },
		{ "--= kho=on", ON, "on", "", false },
		{ "--x kho=on", ON, "on", "", false },
		{ "x=-- kho=on", ON, "on", "", false },
		{ "- kho=on", ON, "on", "", false },
		/* It is for people: one line, and cut. */
		{ "kho=y\x1b[1m", ON, "y [1m", "", false },
		{ "kho=y234567890123456789012345678901234567", ON,
		  "y234567890123456789012345678901", "", false },
	};
	struct kho_cmdline_switch said;
	char *copy;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* A sanitizer sees what is read behind it. */
		copy = strdup(cases[i].cmdline);
		kho_cmdline_switch(copy, "kho", &said);
		free(copy);
		if (said.setting != cases[i].setting ||
		    strcmp(said.value, cases[i].value) != 0 ||
		    strcmp(said.ignored, cases[i].ignored) != 0 ||
		    said.behind != cases[i].behind)
			fail_msg("%s: %d '%s' '%s' %d", cases[i].cmdline,
				 said.setting, said.value, said.ignored,
				 said.behind);
	}
}

/* A dash and an underscore are the same, on both sides. */
static void names(void **state)
{
	static const char *const both[] = { "kho_scratch", "kho-scratch" };
	struct kho_cmdline_param param;
	const char *at;

	(void)state;
	for (int i = 0; i < 4; i++) {
		at = both[i / 2];
		assert_true(kho_cmdline_next(&at, &param));
		assert_true(kho_cmdline_is(&param, both[i % 2]));
		assert_false(kho_cmdline_is(&param, "kho_scratc"));
		assert_false(kho_cmdline_is(&param, "kho_scratchx"));
		assert_false(kho_cmdline_next(&at, &param));
	}
}

/*
 * The same once more, as the documentation tells it: cut into words first, then
 * each word at its first '=', then quotes are taken off.
 */
static size_t cut(char *text, char *words[])
{
	bool inside = false;
	size_t n = 0;

	for (char *c = text; *c;) {
		while (*c == ' ')
			*c++ = '\0';
		if (*c)
			words[n++] = c;
		for (; *c && (inside || *c != ' '); c++)
			inside ^= *c == '"';
	}
	return n;
}

static void check_word(char *word, const struct kho_cmdline_param *param)
{
	bool quoted = *word == '"';
	char *name = word + quoted, *value;
	size_t len = strlen(name);

	value = len ? strchr(name + 1, '=') : NULL;
	if (quoted && len && name[len - 1] == '"')
		name[len - 1] = '\0';
	if (value) {
		*value++ = '\0';
		if (*value == '"') {
			value++;
			len = strlen(value);
			if (!quoted && len && value[len - 1] == '"')
				value[len - 1] = '\0';
		}
	}
	assert_int_equal(param->name_len, strlen(name));
	assert_memory_equal(param->name, name, param->name_len);
	assert_int_equal(!param->value, !value);
	if (value) {
		assert_int_equal(param->value_len, strlen(value));
		assert_memory_equal(param->value, value, param->value_len);
	}
}

static void all_short(void **state)
{
	static const char letters[] = "a=\" -";
	const unsigned int base = sizeof(letters) - 1;
	struct kho_cmdline_param param;
	char text[9], copy[9], *words[9];
	const char *at;
	size_t n;

	(void)state;
	for (unsigned int number = 0; number < 390625; number++) {
		size_t len = 0;

		for (unsigned int rest = number; rest; rest /= base)
			text[len++] = letters[rest % base];
		text[len] = '\0';
		strcpy(copy, text);
		n = cut(copy, words);
		at = text;
		for (size_t i = 0; i < n; i++) {
			assert_true(kho_cmdline_next(&at, &param));
			check_word(words[i], &param);
		}
		assert_false(kho_cmdline_next(&at, &param));
		assert_int_equal(strspn(at, " "), strlen(at));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(switches),
		cmocka_unit_test(names),
		cmocka_unit_test(all_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
