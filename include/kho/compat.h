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
 * @composite: in canonical order, as parse and compute leave it; one without
 *             tokens is an empty text
 * @buf: where to
 * @size: bytes at @buf; KHO_COMPOSITE_SIZE is always enough
 *
 * Return: length without the NUL; -ENOSPC when @size is too small.
 */
int kho_composite_format(const struct kho_composite *composite, char *buf,
			 size_t size);

struct kho;
struct kho_mem;

/**
 * struct kho_blob - a blob of an incoming state
 * @mem: the memory it is in; read it with kho_mem_read(), every byte is hostile
 * @phys: where it begins
 * @size: its bytes
 * @subtree: name of the entry of the state tree that it belongs to
 */
struct kho_blob {
	const struct kho_mem *mem;
	uint64_t phys;
	uint64_t size;
	const char *subtree;
};

/**
 * struct kho_component_def - what KHO_COMPONENT() is given
 * @flags: as in struct kho_component_desc, like the next four
 * @write: a component that writes several versions has @convert
 * @read: versions
 * @name: set by the macro
 * @deps: names of the direct dependencies
 * @check: the deeper test behind the version number: is called for each
 *         incoming blob that the component owns, before anything is restored.
 *         May read the memory, must not change anything. Returns 0, or a
 *         negative errno and why not in @why. Optional
 * @can_write: can what is there now be written in @version? Is called in the
 *             preflight, for the version that negotiation picked. Must not
 *             change anything. Returns 0, or a negative errno and why not in
 *             @why: say what stands in the way. Optional
 * @convert: rewrites what is there into @version: killed at any point, it
 *           leaves what the program itself can restore. Until it is done the
 *           state tree says of the component's own blobs what it said before;
 *           kho_replace_subtree() changes a blob and that in one step. Is called
 *           at freeze, for each component that is in use, also when nothing
 *           has to be done; and after an abort, to go back. Returns 0, or a
 *           negative errno and why not in @why, which aborts the handover.
 *           Optional: without it, a state goes on in the version that it has
 *
 * @arg of the callbacks is that of struct kho_attach_opts.
 */
struct kho_component_def {
	uint32_t flags;
	struct kho_range write;
	struct kho_range read;
	char name[KHO_TOKEN_NAME_SIZE];
	char deps[KHO_DEPS_MAX][KHO_TOKEN_NAME_SIZE];
	int (*check)(uint32_t version, const struct kho_blob *blob,
		     struct kho_error *why);
	int (*can_write)(struct kho *kho, uint32_t version, void *arg,
			 struct kho_error *why);
	int (*convert)(struct kho *kho, uint32_t version, void *arg,
		       struct kho_error *why);
};

/**
 * struct kho_component - a registered component
 * @desc: what it says of itself; lives in the manifest note
 * @def: its callbacks; NULL: none
 * @next: the registry's
 */
struct kho_component {
	const struct kho_component_desc *desc;
	const struct kho_component_def *def;
	struct kho_component *next;
};

/**
 * struct kho_component_note_init - KHO_COMPONENT()'s own: a manifest note as it
 * is initialized
 * @namesz: as in struct kho_component_note, like the next three
 * @descsz: and
 * @type: and
 * @owner: so on
 * @desc: what becomes of @init
 * @init: takes the initializers of struct kho_component_def. An address has no
 *        place in a file that is read without being run, so the callbacks
 *        share their bytes with the name, which is set after them and wipes
 *        them out. What remains of them is a byte each, in @has
 */
struct kho_component_note_init {
	uint32_t namesz;
	uint32_t descsz;
	uint32_t type;
	char owner[4];
	union {
		struct kho_component_desc desc;
		struct {
			uint32_t flags;
			struct kho_range write;
			struct kho_range read;
			union {
				struct {
					int (*check)(uint32_t version,
						     const struct kho_blob *,
						     struct kho_error *);
					int (*can_write)(struct kho *, uint32_t,
							 void *,
							 struct kho_error *);
					int (*convert)(struct kho *, uint32_t,
						       void *,
						       struct kho_error *);
				} __attribute__((packed));
				char name[KHO_TOKEN_NAME_SIZE];
			};
			char deps[KHO_DEPS_MAX][KHO_TOKEN_NAME_SIZE];
			_Bool has[3];
		} init;
	};
};

/*
 * Two questions that the compiler has to answer while it compiles, without
 * optimization too; each compiler has its own way to be asked.
 *
 * KHO_HAS_(): is there an initializer for that callback?
 *
 * KHO_NAME_OK_(): does a string literal look like a name? That it does not end
 * in -vN is left to kho_component_register().
 */
#ifdef __clang__
#define KHO_HAS_(callback, ...)                                                \
	(!__builtin_constant_p(                                                \
		((const struct kho_component_def){ __VA_ARGS__ }).callback))
#define KHO_NAME_CHAR_(s, i) ((s)[(i) < sizeof(s) ? (i) : 0])
#define KHO_NAME_CHAR_OK_(s, i)                                                \
	((i) >= sizeof(s) - 1 || KHO_NAME_CHAR_(s, i) == '-' ||                \
	 (KHO_NAME_CHAR_(s, i) >= 'a' && KHO_NAME_CHAR_(s, i) <= 'z') ||       \
	 (KHO_NAME_CHAR_(s, i) >= '0' && KHO_NAME_CHAR_(s, i) <= '9'))
#define KHO_NAME_CHARS_OK_(s, i)                                               \
	(KHO_NAME_CHAR_OK_(s, i) && KHO_NAME_CHAR_OK_(s, (i) + 1) &&           \
	 KHO_NAME_CHAR_OK_(s, (i) + 2) && KHO_NAME_CHAR_OK_(s, (i) + 3) &&     \
	 KHO_NAME_CHAR_OK_(s, (i) + 4) && KHO_NAME_CHAR_OK_(s, (i) + 5))
#define KHO_NAME_OK_(s)                                                        \
	((s)[0] >= 'a' && (s)[0] <= 'z' && KHO_NAME_CHARS_OK_(s, 0) &&         \
	 KHO_NAME_CHARS_OK_(s, 6) && KHO_NAME_CHARS_OK_(s, 12) &&              \
	 KHO_NAME_CHARS_OK_(s, 18))
/* AddressSanitizer would put red zones between the notes. */
#define KHO_NOTE_PACKED_ no_sanitize("address")
#else
/* By its text: it stands further ahead than where we put it ourselves. */
#define KHO_HAS_(callback, ...)                                                \
	(__builtin_strlen(__builtin_strstr(#__VA_ARGS__ "." #callback,         \
					   "." #callback)) >                   \
	 sizeof("." #callback))
#define KHO_NAME_OK_(s)                                                        \
	(__builtin_strspn(s, "abcdefghijklmnopqrstuvwxyz") &&                  \
	 __builtin_strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") ==       \
		 sizeof(s) - 1)
#define KHO_NOTE_PACKED_
#endif

/* For compilers that do not know the attribute, the linker complains. */
#if __has_attribute(error)
#define KHO_NAME_ERROR_                                                        \
	__attribute__((error("a component's name begins with a letter and "    \
			     "has only a-z, 0-9 and -")))
#else
#define KHO_NAME_ERROR_
#endif

/* That the name overrides the callbacks is meant, see above. */
#define KHO_OVERRIDE_BEGIN_                                                    \
	_Pragma("GCC diagnostic push")                                         \
		_Pragma("GCC diagnostic ignored \"-Woverride-init\"")
#define KHO_OVERRIDE_END_ _Pragma("GCC diagnostic pop")

/**
 * KHO_COMPONENT() - define a component
 * @id: its name; also the prefix of the variable ``id##_component``
 * @...: designated initializers of struct kho_component_def: ``.read`` and
 *       ``.write`` ranges, ``.deps = { "radix", ... }``, ``.flags``, and the
 *       callbacks ``.check``, ``.can_write``, ``.convert``; leave out what
 *       there is not, do not set it to NULL
 *
 * At file scope, once for each component. Registers it before main() and
 * emits its manifest note from the same initializers. A second component of
 * that name in a program or a library is an error of the linker.
 *
 * Example: ``KHO_COMPONENT(counter, .read = { 1, 2 }, .write = { 1, 1 });``
 */
#define KHO_COMPONENT(id, ...)                                                 \
	__attribute__((visibility("hidden"))) extern const char                \
		kho_only_one_component_is_called_##id;                         \
	const char kho_only_one_component_is_called_##id = 0;                  \
	KHO_COMPONENT_NAMED(id, #id, __VA_ARGS__)

/**
 * KHO_COMPONENT_NAMED() - define a component whose name is no C identifier
 * @id: prefix of the variable ``id##_component``
 * @string: its name, a string literal such as "kexec-metadata"
 * @...: as for KHO_COMPONENT()
 *
 * That the name is taken is only seen when the program starts.
 */
#define KHO_COMPONENT_NAMED(id, string, ...)                                   \
	_Static_assert(sizeof(string) <= KHO_TOKEN_NAME_SIZE,                  \
		       "a component's name has at most 23 characters");        \
	KHO_OVERRIDE_BEGIN_                                                    \
	static const struct kho_component_note_init id##_note                  \
		__attribute__((section(KHO_NOTE_SECTION), used, aligned(4),    \
			       KHO_NOTE_PACKED_)) = {                          \
			.namesz = sizeof(KHO_NOTE_OWNER),                      \
			.descsz = sizeof(struct kho_component_desc),           \
			.type = KHO_NOTE_COMPONENT,                            \
			.owner = KHO_NOTE_OWNER,                               \
			.init = { __VA_ARGS__, .name = string,                 \
				  .has = { KHO_HAS_(check, __VA_ARGS__),       \
					   KHO_HAS_(can_write, __VA_ARGS__),   \
					   KHO_HAS_(convert, __VA_ARGS__) } }, \
		};                                                             \
	KHO_OVERRIDE_END_                                                      \
	static const struct kho_component_def id##_def = { .name = string,     \
							   __VA_ARGS__ };      \
	static struct kho_component id##_component = {                         \
		.desc = &id##_note.desc,                                       \
		.def = &id##_def,                                              \
	};                                                                     \
	KHO_NAME_ERROR_ void id##_has_a_bad_name(void);                        \
	__attribute__((constructor)) static void id##_register(void)           \
	{                                                                      \
		if (!KHO_NAME_OK_(string))                                     \
			id##_has_a_bad_name();                                 \
		kho_component_register(&id##_component);                       \
	}                                                                      \
	_Static_assert(1, "")

/**
 * kho_component_register() - make a component known
 * @component: static; stays registered as long as the process lives
 *
 * KHO_COMPONENT() calls it. A bad name, an empty range, several versions to
 * write without a way to convert, or two components of one name are mistakes of
 * the program: a message on stderr and abort(). Thread-safe.
 */
void kho_component_register(struct kho_component *component);

/**
 * kho_components_check() - do the registered components go together
 * @err: what is wrong; may be NULL
 *
 * What a single registration cannot see, because the others may still come.
 * kho_attach() calls it. Thread-safe.
 *
 * Return: 0; -ENOENT when a dependency is not in this program; -ELOOP for a
 * cycle; -E2BIG for a composite of too many tokens; -ENAMETOOLONG for one that
 * does not fit where it must (KHO_COMPONENT_HANDLER), in its longest form.
 */
int kho_components_check(struct kho_error *err);

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
