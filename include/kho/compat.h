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

#ifdef __cplusplus
extern "C" {
#endif

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
 * struct kho_component_ops - callbacks of a component; any may be NULL
 * @check: the deeper test behind the version number: is called for each
 *         incoming blob that the component owns, before anything is restored.
 *         May read the memory, must not change anything. Returns 0, or a
 *         negative errno and why not in @why. KHO_COMPONENT_CHECK
 * @can_write: can what is there now be written in @version? Is called in the
 *             preflight, for the version that negotiation picked. Must not
 *             change anything. Returns 0, or a negative errno and why not in
 *             @why: say what stands in the way. KHO_COMPONENT_CAN_WRITE
 * @convert: rewrites what is there into @version: killed at any point, it
 *           leaves what the program itself can restore. Until it is done the
 *           state tree says of the component's own blobs what it said before;
 *           kho_replace_subtree() changes a blob and that in one step. Is called
 *           at freeze, for each component that is in use, also when nothing
 *           has to be done; and after an abort, to go back. Returns 0, or a
 *           negative errno and why not in @why, which aborts the handover.
 *           Without it, a state goes on in the version that it has.
 *           KHO_COMPONENT_CONVERT
 *
 * Others have to know which of them there are without running the program:
 * each has a flag, which the component sets when it has the callback.
 *
 * @arg is that of struct kho_attach_opts.
 */
struct kho_component_ops {
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
 * @ops: its callbacks; NULL: none
 * @next: the registry's
 */
struct kho_component {
	const struct kho_component_desc *desc;
	const struct kho_component_ops *ops;
	struct kho_component *next;
};

/**
 * KHO_COMPONENT() - define a component
 * @id: its name; also the prefix of the variable ``id##_component``
 * @...: designated initializers of struct kho_component_desc, in the order in
 *       which C++ wants them: ``.write``, ``.read``, ``.deps``, ``.flags``
 *
 * At file scope, once for each component. Puts the manifest note into the
 * program and registers the component before main(). Works in C11 and C++11 and
 * what came after. A second component of that name in a program or a library is
 * an error of the linker; what the compiler cannot see, such as a bad name, is
 * said when the program starts.
 *
 * Example: ``KHO_COMPONENT(counter, .write = { 1, 1 }, .read = { 1, 2 });``
 */
#define KHO_COMPONENT(id, ...) KHO_COMPONENT_NAMED(id, #id, NULL, __VA_ARGS__)

/**
 * KHO_COMPONENT_OPS() - define a component that has callbacks
 * @id: as for KHO_COMPONENT()
 * @ops: const struct kho_component_ops *, static
 * @...: as for KHO_COMPONENT(); ``.flags`` says which callbacks there are
 *
 * ::
 *
 *   static const struct kho_component_ops table_ops = { .convert = convert };
 *   KHO_COMPONENT_OPS(table, &table_ops, .write = { 1, 2 }, .read = { 1, 2 },
 *                     .deps = { "kmalloc" }, .flags = KHO_COMPONENT_CONVERT);
 */
#define KHO_COMPONENT_OPS(id, ops, ...)                                        \
	KHO_COMPONENT_NAMED(id, #id, ops, __VA_ARGS__)

/**
 * KHO_COMPONENT_NAMED() - define a component whose name is no C identifier
 * @id: prefix of the variable ``id##_component``
 * @string: its name, a string literal such as "kexec-metadata"
 * @ops: as for KHO_COMPONENT_OPS(); NULL: none
 * @...: as for KHO_COMPONENT()
 */
#define KHO_COMPONENT_NAMED(id, string, ops, ...)                              \
	KHO_UNSET_IS_ZERO_BEGIN_                                               \
	/* C++ before 20 has designated initializers as an extension. */       \
	__extension__ static const struct kho_component_note id##_note         \
		__attribute__((section(KHO_NOTE_SECTION), used, aligned(4),    \
			       KHO_NOTE_PACKED_)) = {                          \
			sizeof(KHO_NOTE_OWNER),                                \
			sizeof(struct kho_component_desc),                     \
			KHO_NOTE_COMPONENT,                                    \
			KHO_NOTE_OWNER,                                        \
			{ .name = string, __VA_ARGS__ },                       \
		};                                                             \
	KHO_UNSET_IS_ZERO_END_                                                 \
	extern __attribute__((                                                 \
		visibility("hidden"))) struct kho_component id##_component;    \
	__attribute__((constructor)) static void id##_register(void)           \
	{                                                                      \
		kho_component_register(&id##_component);                       \
	}                                                                      \
	struct kho_component id##_component = { &id##_note.desc, ops, NULL }

#define KHO_UNSET_IS_ZERO_BEGIN_                                               \
	_Pragma("GCC diagnostic push") _Pragma(                                \
		"GCC diagnostic ignored \"-Wmissing-field-initializers\"")
#define KHO_UNSET_IS_ZERO_END_ _Pragma("GCC diagnostic pop")

/* clang's AddressSanitizer would put red zones between the notes. */
#ifdef __clang__
#define KHO_NOTE_PACKED_ no_sanitize("address")
#else
#define KHO_NOTE_PACKED_
#endif

/**
 * kho_component_register() - make a component known
 * @component: static; stays registered as long as the process lives
 *
 * KHO_COMPONENT() calls it. A bad name, an empty range, several versions to
 * write without a way to convert, a callback without its flag or the other way
 * round, or two components of one name are mistakes of the program: a message on
 * stderr and abort(). Thread-safe.
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

#ifdef __cplusplus
}
#endif

#endif
