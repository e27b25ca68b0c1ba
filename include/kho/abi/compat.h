/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: How versions are written down
 *
 * A *token* is ``name-vN``; a *composite* is a token followed by the tokens it
 * depends on, separated by ``;``. A program says which versions it can write
 * and read in ELF notes of owner ``KHO``, in the allocated section
 * ``.note.kho``, one note per component. A state says which versions it
 * contains in the ``compatible`` properties of its state tree.
 *
 * This header is a contract. A change of any layout here needs a new type of
 * note; readers keep understanding the old one.
 */
#ifndef KHO_ABI_COMPAT_H
#define KHO_ABI_COMPAT_H

#include <stdint.h>

/** KHO_TOKEN_NAME_SIZE - bytes of a component's name, its NUL included. */
#define KHO_TOKEN_NAME_SIZE 24

/** KHO_TOKEN_SIZE - bytes of the longest ``name-vN``, its NUL included. */
#define KHO_TOKEN_SIZE 36

/** KHO_COMPOSITE_SEPARATOR - stands between the tokens of a composite. */
#define KHO_COMPOSITE_SEPARATOR ';'

/** KHO_DEPS_MAX - direct dependencies that a component can declare. */
#define KHO_DEPS_MAX 8

/* Properties of the nodes of the state tree. */
#define KHO_PROP_COMPATIBLE "compatible"
#define KHO_PROP_OPTIONAL "optional"
#define KHO_PROP_CARRIED "carried"

/* The manifest note. */
#define KHO_NOTE_SECTION ".note.kho"
#define KHO_NOTE_OWNER "KHO"
#define KHO_NOTE_COMPONENT 1

/**
 * KHO_COMPONENT_STRUCTURE - flag of a component that is a building block: it
 * is in a state only where another component depends on it.
 */
#define KHO_COMPONENT_STRUCTURE (1u << 0)

/**
 * KHO_COMPONENT_OPTIONAL - flag of a component that a reader which cannot read
 * it may go on without, with consent. Its subtrees have KHO_PROP_OPTIONAL.
 */
#define KHO_COMPONENT_OPTIONAL (1u << 1)

/**
 * KHO_COMPONENT_HANDLER - flag of a component whose composite is the
 * ``compatible`` of a LUO file handler, and has to fit there.
 */
#define KHO_COMPONENT_HANDLER (1u << 2)

/**
 * KHO_COMPONENT_CHECK - flag of a component that looks into what comes in before
 * it is restored.
 */
#define KHO_COMPONENT_CHECK (1u << 3)

/**
 * KHO_COMPONENT_CAN_WRITE - flag of a component that may not be able to write what
 * there is in every version of its write range.
 */
#define KHO_COMPONENT_CAN_WRITE (1u << 4)

/**
 * KHO_COMPONENT_CONVERT - flag of a component that rewrites what is there into
 * another version that it writes; without, a handover leaves it in the version
 * that it has. Who writes several versions has it.
 */
#define KHO_COMPONENT_CONVERT (1u << 5)

/** KHO_HANDLER_COMPATIBLE_SIZE - bytes of that, its NUL included. */
#define KHO_HANDLER_COMPATIBLE_SIZE 48

/**
 * struct kho_range - versions from @min to @max, both included
 * @min: lowest version, at least 1
 * @max: highest version; 0 in both means "none"
 */
struct kho_range {
	uint32_t min;
	uint32_t max;
};

/**
 * struct kho_component_desc - what a component says of itself
 * @name: its name, NUL padded
 * @write: versions it can write
 * @read: versions it can read
 * @deps: names of its direct dependencies, NUL padded; the first empty one
 *        ends the list
 * @flags: KHO_COMPONENT_* bits; unknown bits are refused
 *
 * The descriptor of a manifest note; little endian.
 */
struct kho_component_desc {
	char name[KHO_TOKEN_NAME_SIZE];
	struct kho_range write;
	struct kho_range read;
	char deps[KHO_DEPS_MAX][KHO_TOKEN_NAME_SIZE];
	uint32_t flags;
};

/**
 * struct kho_component_note - an ELF note that holds a component
 * @namesz: sizeof(KHO_NOTE_OWNER), 4
 * @descsz: sizeof(struct kho_component_desc)
 * @type: KHO_NOTE_COMPONENT
 * @owner: KHO_NOTE_OWNER
 * @desc: the component
 */
struct kho_component_note {
	uint32_t namesz;
	uint32_t descsz;
	uint32_t type;
	char owner[4];
	struct kho_component_desc desc;
};

/**
 * DOC: .liveupdate_versions
 *
 * What a kernel may list instead (proposed for Linux, not merged as of 7.3):
 * struct kho_liveupdate_versions, then as many strings of
 * KHO_LIVEUPDATE_STRING_SIZE bytes, each with at least one NUL at its end, as
 * the section has room for; each is a composite that it understands.
 */
#define KHO_LIVEUPDATE_SECTION ".liveupdate_versions"
#define KHO_LIVEUPDATE_MAGIC 0x4c565550u
#define KHO_LIVEUPDATE_VERSION 1
#define KHO_LIVEUPDATE_STRING_SIZE 48

/**
 * struct kho_liveupdate_versions - starts the section
 * @magic: KHO_LIVEUPDATE_MAGIC
 * @version: KHO_LIVEUPDATE_VERSION
 */
struct kho_liveupdate_versions {
	uint32_t magic;
	uint32_t version;
};

#endif
