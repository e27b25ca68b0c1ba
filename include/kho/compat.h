/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Components, tokens and composites
 *
 * A component is anything with a format version of its own. It is defined
 * once, with KHO_COMPONENT(); that line registers it when the program is
 * loaded and puts a note into the executable, so that others can read what
 * the program understands without running it.
 *
 * Nobody writes a composite by hand: a component names its *direct*
 * dependencies and kho_component_composite() computes the rest.
 */
#ifndef KHO_COMPAT_H
#define KHO_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/abi/compat.h>
#include <kho/error.h>

/** KHO_COMPOSITE_MAX - tokens a composite can hold. */
#define KHO_COMPOSITE_MAX 32

/** KHO_COMPOSITE_SIZE - bytes of the longest composite, its NUL included. */
#define KHO_COMPOSITE_SIZE (KHO_COMPOSITE_MAX * KHO_TOKEN_SIZE)

/**
 * struct kho_token - one ``name-vN``
 * @name: ``[a-z][a-z0-9-]*``, at most 23 characters, not ending in ``-vN``
 * @version: 1 to 2^32 - 1
 */
struct kho_token {
	char name[KHO_TOKEN_NAME_SIZE];
	uint32_t version;
};

/**
 * struct kho_composite - a token and what it depends on
 * @n: tokens in use, at least 1 after a successful parse
 * @tokens: the base first, then the others, sorted by name and unique
 */
struct kho_composite {
	size_t n;
	struct kho_token tokens[KHO_COMPOSITE_MAX];
};

/**
 * kho_name_check() - is this a component's name
 * @name: NUL-terminated
 * @err: why not; may be NULL
 *
 * Return: 0; -EINVAL.
 */
int kho_name_check(const char *name, struct kho_error *err);

/**
 * kho_token_parse() - read one token
 * @text: the characters, need not be terminated
 * @len: how many
 * @token: result
 * @err: what is wrong and where; may be NULL
 *
 * Return: 0; -EINVAL when malformed (empty, a bad character, no version, a
 * version with a leading zero); -ERANGE when the version is 0 or above
 * 2^32 - 1; -ENAMETOOLONG.
 */
int kho_token_parse(const char *text, size_t len, struct kho_token *token,
		    struct kho_error *err);

/**
 * kho_composite_parse() - read a composite in any order
 * @text: NUL-terminated; the first token is the base, the others may stand in
 *        any order and be repeated
 * @composite: result, in canonical order
 * @err: what is wrong and where; may be NULL
 *
 * Return: 0; as kho_token_parse(); -EINVAL for an empty token or a name with
 * two versions; -E2BIG for more than KHO_COMPOSITE_MAX tokens.
 */
int kho_composite_parse(const char *text, struct kho_composite *composite,
			struct kho_error *err);

/**
 * kho_composite_format() - write a composite in its canonical form
 * @composite: in canonical order, as parse and compute leave it
 * @buf: where to
 * @size: bytes at @buf; KHO_COMPOSITE_SIZE is always enough
 *
 * Return: length without the NUL; -ENOSPC when @size is too small.
 */
int kho_composite_format(const struct kho_composite *composite, char *buf,
			 size_t size);

/**
 * struct kho_component - a registered component
 * @desc: what it says of itself; lives in the manifest note
 * @next: the registry's
 */
struct kho_component {
	const struct kho_component_desc *desc;
	struct kho_component *next;
};

/* Clang's AddressSanitizer would put red zones between the notes. */
#ifdef __clang__
#define KHO_NOTE_PACKED no_sanitize("address")
#else
#define KHO_NOTE_PACKED
#endif

/**
 * KHO_COMPONENT() - define a component
 * @id: its name; also the prefix of the variable ``id##_component``
 * @...: designated initializers of struct kho_component_desc: ``.read`` and
 *       ``.write`` ranges, ``.deps = { "radix", ... }``, ``.flags``
 *
 * At file scope, once for each component. Registers it before main() and
 * emits its manifest note from the same initializers.
 *
 * Example: ``KHO_COMPONENT(counter, .read = { 1, 2 }, .write = { 1, 2 });``
 */
#define KHO_COMPONENT(id, ...) KHO_COMPONENT_NAMED(id, #id, __VA_ARGS__)

/**
 * KHO_COMPONENT_NAMED() - define a component whose name is no C identifier
 * @id: prefix of the variable ``id##_component``
 * @string: its name, a string literal such as "kexec-metadata"
 * @...: as for KHO_COMPONENT()
 */
#define KHO_COMPONENT_NAMED(id, string, ...)                                   \
	_Static_assert(sizeof(string) <= KHO_TOKEN_NAME_SIZE,                  \
		       "a component's name has at most 23 characters");        \
	static const struct kho_component_note id##_note                       \
		__attribute__((section(KHO_NOTE_SECTION), used, aligned(4),    \
			       KHO_NOTE_PACKED)) = {                           \
			.namesz = sizeof(KHO_NOTE_OWNER),                      \
			.descsz = sizeof(struct kho_component_desc),           \
			.type = KHO_NOTE_COMPONENT,                            \
			.owner = KHO_NOTE_OWNER,                               \
			.desc = { .name = string, __VA_ARGS__ },               \
		};                                                             \
	static struct kho_component id##_component = {                         \
		.desc = &id##_note.desc                                        \
	};                                                                     \
	__attribute__((constructor)) static void id##_register(void)           \
	{                                                                      \
		kho_component_register(&id##_component);                       \
	}                                                                      \
	_Static_assert(1, "")

/**
 * kho_component_register() - make a component known
 * @component: static; stays registered as long as the process lives
 *
 * KHO_COMPONENT() calls it. A bad name, an empty range or two components of
 * one name are mistakes of the program: a message on stderr and abort().
 * Thread-safe.
 */
void kho_component_register(struct kho_component *component);

/**
 * kho_component_find() - look a component up
 * @name: NUL-terminated
 *
 * Thread-safe.
 *
 * Return: the component, NULL when unknown.
 */
const struct kho_component *kho_component_find(const char *name);

/**
 * kho_component_composite() - the composite of a component
 * @component: the base
 * @version: of the base, in its write range
 * @composite: result: the base, then all it depends on, directly or not, in
 *             the highest version that this program writes
 * @err: why not; may be NULL
 *
 * Thread-safe.
 *
 * Return: 0; -ERANGE when @version is not in the write range; -ENOENT when a
 * dependency is not registered; -ELOOP for a cycle; -E2BIG.
 */
int kho_component_composite(const struct kho_component *component,
			    uint32_t version, struct kho_composite *composite,
			    struct kho_error *err);

#endif
