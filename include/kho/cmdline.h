/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Kernel command lines
 *
 * What is on a kernel's command line, as Linux reads it: parameters are
 * separated by blanks, double quotes keep them together, ``--`` ends them, in a
 * name ``-`` is the same as ``_``, and of several with one name the last counts
 * that can be understood.
 */
#ifndef KHO_CMDLINE_H
#define KHO_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** KHO_CMDLINE_SIZE - bytes that Linux has for its command line, with a NUL. */
#define KHO_CMDLINE_SIZE 2048

/**
 * struct kho_cmdline_param - a parameter; the texts have no NUL at their end
 * @name: before the first '='
 * @name_len: its bytes
 * @value: behind it, without quotes; NULL: there is no '='
 * @value_len: its bytes
 */
struct kho_cmdline_param {
	const char *name;
	size_t name_len;
	const char *value;
	size_t value_len;
};

/**
 * kho_cmdline_next() - go through a command line
 * @at: where it goes on; begin with the command line's begin
 * @param: result
 *
 * What is behind a parameter that is ``--``, which is given too, is for init.
 *
 * Return: true, or false at the end.
 */
bool kho_cmdline_next(const char **at, struct kho_cmdline_param *param);

/**
 * kho_cmdline_is() - is it the parameter @name?
 * @param: what kho_cmdline_next() gave
 * @name: NUL-terminated
 */
bool kho_cmdline_is(const struct kho_cmdline_param *param, const char *name);

/** enum kho_setting - what a command line says of something. */
enum kho_setting {
	KHO_SETTING_NONE, /* nothing */
	KHO_SETTING_ON,
	KHO_SETTING_OFF,
};

/**
 * struct kho_cmdline_switch - what a command line says of ``NAME=on``
 * @setting: on, off, or nothing
 * @value: that said it, cut if it is longer
 * @ignored: a value that Linux does not understand and ignores; empty: none
 * @behind: NAME is there too late, behind ``--``
 */
struct kho_cmdline_switch {
	enum kho_setting setting;
	char value[32];
	char ignored[32];
	bool behind;
};

/**
 * kho_cmdline_switch() - is something switched on?
 * @cmdline: NUL-terminated
 * @name: the parameter
 * @result: what @cmdline says
 */
void kho_cmdline_switch(const char *cmdline, const char *name,
			struct kho_cmdline_switch *result);

#ifdef __cplusplus
}
#endif

#endif
