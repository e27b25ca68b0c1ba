/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Errors with a reason
 *
 * Functions return 0 or a negative errno. Where the number alone would not
 * tell a person what to do, they also take a struct kho_error and write one
 * line into it: what, where, and what would help.
 */
#ifndef KHO_ERROR_H
#define KHO_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/** KHO_ERROR_SIZE - bytes of an error's text, its NUL included. */
#define KHO_ERROR_SIZE 1024

/**
 * struct kho_error - why something failed
 * @code: the negative errno that the function returned
 * @text: one line, without a newline; valid after a failure
 */
struct kho_error {
	int code;
	char text[KHO_ERROR_SIZE];
};

/**
 * kho_fail() - write down why something fails
 * @err: where to; may be NULL
 * @code: negative errno
 * @fmt: printf format of one line, without "kho:" and newline
 *
 * A text that does not fit is cut behind a word, and ends with "...". Thread-safe for distinct @err.
 *
 * Return: @code, so that ``return kho_fail(err, -EINVAL, ...)`` works.
 */
int kho_fail(struct kho_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif

#endif
