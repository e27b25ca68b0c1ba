/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Profiles
 *
 * A profile is a named set of pinned versions: "write what the fleet of last
 * quarter can read". Where a component is pinned, a handover writes exactly
 * that version, or the check fails and names the pin. A pin of a component
 * that is not in use has no effect. It is a JSON file::
 *
 *   {"schema": "kho-profile", "version": 1, "name": "fleet-2026q3",
 *    "pins": {"vmalloc": 1, "kvtable": 1}}
 *
 * Schema: docs/schemas.md, "kho-profile", version 1.
 */
#ifndef KHO_PROFILE_H
#define KHO_PROFILE_H

#include <stddef.h>
#include <stdint.h>

#include <kho/abi/compat.h>
#include <kho/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/** KHO_PROFILE_NAME_SIZE - bytes of a profile's name, its NUL included. */
#define KHO_PROFILE_NAME_SIZE 64

/**
 * struct kho_pin - a component and the version to write
 * @name: the component
 * @version: at least 1
 */
struct kho_pin {
	char name[KHO_TOKEN_NAME_SIZE];
	uint32_t version;
};

/**
 * struct kho_profile - a named set of pins
 * @name: for messages
 * @n: pins
 * @pins: sorted by name, unique
 */
__extension__ struct kho_profile {
	char name[KHO_PROFILE_NAME_SIZE];
	size_t n;
	struct kho_pin pins[];
};

/**
 * kho_profile_parse() - read a profile
 * @text: JSON; need not be terminated
 * @len: its bytes
 * @where: what to call it in messages, such as the file's path
 * @profile: result; free with kho_profile_free()
 * @err: what is wrong and where; may be NULL
 *
 * Every byte is taken as hostile. Thread-safe.
 *
 * Return: 0; -EBADMSG; -ENOMEM.
 */
int kho_profile_parse(const char *text, size_t len, const char *where,
		      struct kho_profile **profile, struct kho_error *err);

/**
 * kho_profile_open() - read a profile from a file
 * @path: the file
 * @profile: result; free with kho_profile_free()
 * @err: what is wrong and where; may be NULL
 *
 * Return: as kho_profile_parse(); the errno of the system calls.
 */
int kho_profile_open(const char *path, struct kho_profile **profile,
		     struct kho_error *err);

/** kho_profile_free() - free a profile; NULL is allowed. */
void kho_profile_free(struct kho_profile *profile);

/**
 * kho_profile_json() - write a profile as JSON
 * @profile: what to write
 *
 * Return: a string to free(); NULL when out of memory.
 */
char *kho_profile_json(const struct kho_profile *profile);

/**
 * kho_profile_pin() - the pin of a component
 * @profile: in it; NULL: no pins
 * @name: the component
 *
 * Return: the version; 0 when it is not pinned.
 */
uint32_t kho_profile_pin(const struct kho_profile *profile, const char *name);

#ifdef __cplusplus
}
#endif

#endif
