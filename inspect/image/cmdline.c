// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Kernel command lines. Documentation/admin-guide/kernel-parameters.rst says
 * what is meant; where it does not say it, this is what Linux 7.3 does.
 */
#include <string.h>

#include <kho/cmdline.h>

#include "base/text.h"

/* For Linux, a no-break space of Latin-1 is one too. */
static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == '\xa0';
}

bool kho_cmdline_next(const char **at, struct kho_cmdline_param *param)
{
	const char *c = *at, *equals = NULL, *end;
	bool quoted, inside;

	while (is_blank(*c))
		c++;
	if (!*c)
		return false;
	quoted = inside = *c == '"';
	c += quoted;
	param->name = c;
	for (; *c && (inside || !is_blank(*c)); c++) {
		/* A name is not empty: "=x" is one. */
		if (*c == '=' && !equals && c > param->name)
			equals = c;
		if (*c == '"')
			inside = !inside;
	}
	*at = c;
	end = c;
	if (quoted && end > param->name && end[-1] == '"')
		end--;
	param->name_len = (size_t)((equals ? equals : end) - param->name);
	param->value = equals ? equals + 1 : NULL;
	if (equals && equals[1] == '"') {
		param->value++;
		if (!quoted && end > param->value && end[-1] == '"')
			end--;
	}
	/* That of "a=" in quotes is empty. */
	param->value_len =
		equals && end > param->value ? (size_t)(end - param->value) : 0;
	return true;
}

bool kho_cmdline_is(const struct kho_cmdline_param *param, const char *name)
{
	for (size_t i = 0; i < param->name_len; i++) {
		char a = param->name[i] == '-' ? '_' : param->name[i];

		/* The end of @name is no character of a parameter. */
		if (a != (name[i] == '-' ? '_' : name[i]))
			return false;
	}
	return !name[param->name_len];
}

/* Only its first one or two characters count. */
static enum kho_setting parse_setting(const char *value, size_t len)
{
	if (!len)
		return KHO_SETTING_NONE;
	if (value[0] == 'o' || value[0] == 'O')
		return len < 2		      ? KHO_SETTING_NONE :
		       strchr("nN", value[1]) ? KHO_SETTING_ON :
		       strchr("fF", value[1]) ? KHO_SETTING_OFF :
						KHO_SETTING_NONE;
	return strchr("yYtT1", value[0]) ? KHO_SETTING_ON :
	       strchr("nNfF0", value[0]) ? KHO_SETTING_OFF :
					   KHO_SETTING_NONE;
}

static void parse_switch(const struct kho_cmdline_param *param,
			 struct kho_cmdline_switch *result)
{
	enum kho_setting setting =
		parse_setting(param->value, param->value_len);

	if (setting) {
		result->setting = setting;
		copy_text(result->value, sizeof(result->value), param->value,
			  param->value_len);
		result->ignored[0] = '\0';
	} else if (param->value_len) {
		copy_text(result->ignored, sizeof(result->ignored),
			  param->value, param->value_len);
	} else {
		strcpy(result->ignored, "nothing");
	}
}

void kho_cmdline_switch(const char *cmdline, const char *name,
			struct kho_cmdline_switch *result)
{
	struct kho_cmdline_param param;
	bool ended = false;

	memset(result, 0, sizeof(*result));
	while (kho_cmdline_next(&cmdline, &param)) {
		if (kho_cmdline_is(&param, name) && ended)
			result->behind = true;
		else if (kho_cmdline_is(&param, name))
			parse_switch(&param, result);
		else if (!param.value && param.name_len == 2 &&
			 !memcmp(param.name, "--", 2))
			ended = true;
	}
}
