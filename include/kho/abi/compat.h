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
 * This header is a contract. A change of any layout here needs a new
 * KHO_NOTE_COMPONENT type; readers keep understanding the old one.
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
 * @flags: KHO_COMPONENT_* bits; unknown bits are refused
 * @write: versions it can write
 * @read: versions it can read
 * @name: its name, NUL padded
 * @deps: names of its direct dependencies, NUL padded; the first empty one
 *        ends the list
 *
 * The descriptor of a manifest note; little endian.
 */
struct kho_component_desc {
	uint32_t flags;
	struct kho_range write;
	struct kho_range read;
	char name[KHO_TOKEN_NAME_SIZE];
	char deps[KHO_DEPS_MAX][KHO_TOKEN_NAME_SIZE];
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

#endif
