/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the files of lib/compat share among themselves. */
#ifndef KHO_COMPAT_PRIVATE_H
#define KHO_COMPAT_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json_object.h>

#include <kho/check.h>
#include <kho/compat.h>
#include <kho/image.h>
#include <kho/manifest.h>

#pragma GCC visibility push(hidden)

/* composite.c */

/* Put the tokens behind the base into canonical order. */
void composite_sort(struct kho_composite *composite);

/* component.c */

/* Is @desc well formed, wherever it comes from: 0 or -EINVAL. */
int desc_check(const struct kho_component_desc *desc, struct kho_error *err);

/* The newest registered component; the others follow in ->next. */
const struct kho_component *component_first(void);

/* manifest.c */

/* Components of a program, far more than any real one has. */
#define MANIFEST_MAX 256
/* Files that were looked into. */
#define MANIFEST_MAX_SOURCES 1024

/* An empty manifest; NULL when out of memory. */
struct kho_manifest *manifest_new(const char *target);
/* Add a source, which is copied: 0; -ENOMEM. */
int manifest_add_source(struct kho_manifest *manifest, const char *path);
/* Add an entry at the end: 0; -ENOMEM. MANIFEST_MAX is the caller's to keep. */
int manifest_append(struct kho_manifest *manifest,
		    const struct kho_component_desc *desc, size_t source);
/* Look up in a manifest that is not sorted yet. */
struct kho_manifest_entry *manifest_lookup(const struct kho_manifest *manifest,
					   const char *name);
/* Why a kernel has no component, a clause without a subject; NULL: it is none. */
static inline const char *manifest_missing(const struct kho_manifest *manifest)
{
	return manifest->image && manifest->image->missing[0] ?
		       manifest->image->missing :
		       NULL;
}
/*
 * What is left to do when all has been read: add what bundles stand for, sort.
 * 0; -EBADMSG when that is too much; -ENOMEM.
 */
int manifest_finish(struct kho_manifest *manifest, struct kho_error *err);

/* Notes of type 1, and all the flags that they have. */
#define KHO_NOTE_COMPONENT_V1 1
#define KHO_NOTE_FLAGS_V1 KHO_COMPONENT_STRUCTURE

/**
 * struct collection - a manifest that is put together from ELF files
 * @manifest: what was found so far
 * @types: of the note that each entry is from; 0: from no note
 * @err: why it fails
 */
struct collection {
	struct kho_manifest *manifest;
	uint32_t types[MANIFEST_MAX];
	struct kho_error *err;
};

/*
 * Add what a note of @type says, or another section, @type being 0. @source:
 * index into the manifest's sources; @offset: in that file, for messages. 0,
 * also when the same is there already, or a better source was; -EBADMSG when
 * it contradicts or there are too many; -ENOMEM.
 */
int collect(struct collection *collection,
	    const struct kho_component_desc *desc, uint32_t type, size_t source,
	    uint64_t offset);

/* bundle.c: Linux's monolithic versions */

/**
 * struct bundle - a version that stands for versions of several components
 * @token: the monolithic version
 * @composite: what it stands for, itself first
 */
struct bundle {
	const char *token;
	const char *composite;
};

/* NULL when that version of that component is no bundle. */
const struct bundle *bundle_find(const char *name, uint32_t version);
/* By its token; @token may be any text. */
const struct bundle *bundle_find_token(const char *token);
/* Add what the bundles in a manifest stand for: 0; -EBADMSG; -ENOMEM. */
int bundles_add(struct kho_manifest *manifest, struct kho_error *err);

/* elf.c: one ELF file */

/**
 * struct elf_deps - the libraries that an ELF file needs
 * @n: how many
 * @needed: their names, DT_NEEDED
 * @rpath: DT_RPATH or NULL
 * @runpath: DT_RUNPATH or NULL
 */
struct elf_deps {
	size_t n;
	char **needed;
	char *rpath;
	char *runpath;
};

/*
 * Read the file behind @fd, which is source @source of the manifest: what it
 * says of components goes there, the libraries that it needs to @deps, to be
 * freed with elf_deps_free() in any case. -ENOEXEC: not an ELF program or
 * library of this machine's class and byte order, or damaged, and nothing was
 * added; -EBADMSG: malformed or contradicting; -ENOMEM; -EIO.
 */
int elf_read(int fd, struct collection *collection, size_t source,
	     struct elf_deps *deps);
void elf_deps_free(struct elf_deps *deps);

/* liveupdate.c: the section .liveupdate_versions */

/*
 * Read a section. @offset: of it in the file. As collect(); what a note says
 * of a component stays.
 */
int liveupdate_read(struct collection *collection, size_t source,
		    const void *bytes, size_t size, uint64_t offset);

/* libpath.c: where the loader looks for libraries */

/**
 * struct string_list - paths or names, in the order to try them
 * @n: how many
 * @strings: them
 */
struct string_list {
	size_t n;
	char **strings;
};

/* Add a string that was allocated, and own it: 0; -ENOMEM, also for NULL. */
int string_list_add(struct string_list *list, char *string);
void string_list_free(struct string_list *list);
/*
 * A path with $ORIGIN replaced. NULL with errno ENOMEM, or EINVAL when there
 * is another variable in it, whose value only the loader knows.
 */
char *libpath_expand(const char *path, size_t len, const char *origin);
/* Add the directories of a DT_RPATH or DT_RUNPATH: 0; -ENOMEM. */
int libpath_add_search(struct string_list *list, const char *search,
		       const char *origin);
/* Add the directories that an ld.so.conf names: 0; -ENOMEM. */
int libpath_add_conf(struct string_list *list, const char *conf);
/* Add the system's directories: 0; -ENOMEM. */
int libpath_add_system(struct string_list *list);

/*
 * closure.c: who uses what, and what comes of it, without a word about why.
 * check.c makes reports of it, fleet.c does without.
 *
 * 1. closure_of_manifest() or closure_of_state(): the parts and their owners;
 * 2. judge() each part against what the reader reads of it;
 * 3. settle(): who can go on without whom.
 */

/**
 * struct offer - what the writing side can make of a component
 * @write: versions that it can write; {0, 0}: none at all
 * @has: the version that is there and can stay; 0: none
 * @best: the highest of these, as if there were no pin
 *
 * A pin has left only its own version in @write, or nothing, and no @has.
 */
struct offer {
	struct kho_range write;
	uint32_t has;
	uint32_t best;
};

static inline bool in_range(const struct kho_range *range, uint32_t version)
{
	return version >= range->min && version <= range->max;
}

/* The highest version that can be written and is read; 0: there is none. */
static inline uint32_t negotiate(const struct offer *offer,
				 const struct kho_range *read)
{
	const struct kho_range *write = &offer->write;
	uint32_t v = write->max < read->max ? write->max : read->max;

	if (v < write->min || v < read->min)
		v = 0;
	return offer->has > v && in_range(read, offer->has) ? offer->has : v;
}

/**
 * struct part - a component in use
 * @name: lives in the manifest or the state
 * @offer: what can be written of it
 * @desc: what the writer says of it; NULL: nothing
 * @write: versions that the writer writes or converts it to, pinned or not
 * @has: version that is in the state; 0: there is no state
 * @pin: version that a profile wants; 0: none
 * @carried: all its owners are carried: nobody writes it
 * @nameless: it stands for a subtree that does not say what it is
 * @implied: only by the bundle that it is a part of
 */
struct part {
	const char *name;
	struct offer offer;
	const struct kho_component_desc *desc;
	struct kho_range write;
	uint32_t has;
	uint32_t pin;
	bool carried;
	bool nameless;
	bool implied;
};

/**
 * struct owner - who is readable or not as a whole
 * @base: its own part
 * @first: index into the closure's links: its parts, the base first
 * @n: how many they are
 * @optional: it may be gone without, with consent
 * @carried: it may be gone without, as before
 * @used: the subtree; NULL: it is a component of a manifest
 */
struct owner {
	size_t base;
	size_t first;
	size_t n;
	bool optional;
	bool carried;
	const struct kho_used *used;
};

/**
 * struct closure - all that is in use
 * @n_parts: how many
 * @parts: sorted by name
 * @n_owners: how many
 * @owners: a manifest's in its order, a state's in the order of its entries
 * @links: indexes of parts, see struct owner
 *
 * Points into the manifest or state that it was made from.
 */
struct closure {
	size_t n_parts;
	struct part *parts;
	size_t n_owners;
	struct owner *owners;
	size_t *links;
};

/* Does a program write it for its own sake? @desc may be NULL: it does not. */
bool is_owner(const struct kho_component_desc *desc);
/* @write: what is written or converted to, {0, 0} for none; @has, @pin: or 0. */
struct offer make_offer(const struct kho_range *write, uint32_t has,
			uint32_t pin);
/*
 * What a program can have in use: 0; -ENOMEM. To be freed with closure_free().
 * @profile may be NULL.
 */
int closure_of_manifest(const struct kho_manifest *from,
			const struct kho_profile *profile,
			struct closure *closure);
/* The same of a state; @writer: who could convert it, NULL: nobody. */
int closure_of_state(const struct kho_used *used, size_t n,
		     const struct kho_manifest *writer,
		     const struct kho_profile *profile,
		     struct closure *closure);
void closure_free(struct closure *closure);

/**
 * struct judgement - of one part
 * @verdict: what came out
 * @version: that was negotiated; 0: none
 * @kept: settle(): an owner that is not gone needs it
 * @base: settle(): it is the base of an owner that is gone
 */
struct judgement {
	enum kho_verdict verdict;
	uint32_t version;
	bool kept;
	bool base;
};

/* A part by itself. @read: what the reader reads; NULL: does not know it. */
static inline void judge(const struct offer *offer,
			 const struct kho_range *read,
			 struct judgement *judgement)
{
	static const struct kho_range none;

	judgement->version = negotiate(offer, read ? read : &none);
	if (judgement->version)
		judgement->verdict =
			judgement->version == offer->best ? KHO_OK : KHO_OLDER;
	else if (read || !offer->write.max)
		judgement->verdict = KHO_INCOMPATIBLE;
	else
		judgement->verdict = KHO_UNKNOWN;
}

/*
 * All parts together, once each has its version and its verdict: an owner of
 * which a part has no version is gone, when it can be; what only such owners
 * need becomes KHO_DROPPED if it failed or is one's base. @judgements: one for
 * each part.
 */
enum kho_outcome settle(const struct closure *closure, bool allow_degraded,
			struct judgement *judgements);

/* report.c */

/* "v1-v3", "v2", or "-" for no version. */
struct range_text {
	char text[28];
};
struct range_text range_text(const struct kho_range *range);

/* json.c, writing: an object that lacks a part for lack of memory is NULL */

void json_set(struct json_object **object, const char *key,
	      struct json_object *value);
void json_set_null(struct json_object **object, const char *key);
/* {"min": n, "max": m}, or null for no version. */
void json_set_range(struct json_object **object, const char *key,
		    const struct kho_range *range);
void json_push(struct json_object **array, struct json_object *value);
/*
 * The object as a string to free(), and put it; NULL when out of memory. What
 * is not UTF-8 in it becomes U+FFFD.
 */
char *json_finish(struct json_object *object);

/* json.c, reading: every byte is hostile */

#define JSON_MAX_SIZE (16u << 20)

/* Is the first byte that is no blank a '{'? */
bool json_begins(const char *text, size_t len);

/*
 * Read all of a file, from its begin: 0, @text to free(), not terminated;
 * -EBADMSG when it has more than JSON_MAX_SIZE bytes; -EIO; -ENOMEM.
 */
int json_read_file(int fd, const char *path, char **text, size_t *len,
		   struct kho_error *err);

/*
 * Parse a whole text, an object. @where: what to call it in messages. Strict
 * JSON in UTF-8; no member twice; a bounded depth and number of values; no
 * escapes in the names of members. 0, @object to json_object_put(); -EBADMSG,
 * with line and column; -ENOMEM.
 */
int json_parse_strict(const char *text, size_t len, const char *where,
		      struct json_object **object, struct kho_error *err);

/**
 * struct json_value - a value, and where in the document it is
 * @object: the value; NULL is `null`
 * @in: the object or array that it is in; NULL: it is the document
 * @name: of the member; of the document, what to call it in messages; NULL: it
 *        is an element of an array
 * @index: of the element
 */
struct json_value {
	struct json_object *object;
	const struct json_value *in;
	const char *name;
	size_t index;
};

/* "WHERE: components[3].write.min: WHY"; -EBADMSG. */
int json_bad(const struct json_value *v, struct kho_error *err, const char *fmt,
	     ...) __attribute__((format(printf, 3, 4)));

/* The member of an object. False, and @v to complain of, when it is missing. */
bool json_has(const struct json_value *in, const char *name,
	      struct json_value *v);
/* The same, 0 or -EBADMSG when it is missing. */
int json_need(const struct json_value *in, const char *name,
	      struct json_value *v, struct kho_error *err);
/* The element of an array that has it. */
struct json_value json_element(const struct json_value *array, size_t i);

/* What a value has to be: 0 or -EBADMSG. */
int json_is_object(const struct json_value *v, struct kho_error *err);
int json_is_array(const struct json_value *v, size_t max, size_t *n,
		  struct kho_error *err);
/* @string lives as long as the document. */
int json_is_string(const struct json_value *v, const char **string,
		   struct kho_error *err);
int json_is_bool(const struct json_value *v, bool *value,
		 struct kho_error *err);
/* An integer from 1 to 2^32 - 1. */
int json_is_version(const struct json_value *v, uint32_t *version,
		    struct kho_error *err);
/* As json_set_range() writes it. */
int json_is_range(const struct json_value *v, struct kho_range *range,
		  struct kho_error *err);
/* An object of that schema, in that version. */
int json_is_document(const struct json_value *v, const char *schema,
		     uint32_t version, struct kho_error *err);

#pragma GCC visibility pop

#endif
