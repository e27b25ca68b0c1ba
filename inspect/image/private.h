/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the files of inspect/image share among themselves. */
#ifndef KHO_IMAGE_PRIVATE_H
#define KHO_IMAGE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kho/cmdline.h>
#include <kho/image.h>

#include "base/text.h"
#include "compat/manifest.h"

#pragma GCC visibility push(hidden)

/**
 * struct piece - bytes of a file, in which something begins
 * @fd: the file
 * @offset: in it
 * @size: how many there are
 */
struct piece {
	int fd;
	uint64_t offset;
	uint64_t size;
};

/* Version strings that are different; far more than any kernel has. */
#define MAX_VERSIONS 64
/* The longest that is kept, and its NUL: more than a known one has. */
#define VERSION_SIZE 256

/**
 * struct finds - what was found in a kernel's data
 * @release: empty: not found
 * @n: version strings
 * @versions: begin as one of a known component; nobody has parsed them yet
 * @kho: it knows what a root FDT has, whatever the version
 * @luo: it knows the name of LUO's device
 * @metadata: it knows the name of the kexec-metadata subtree
 * @initramfs: there are files in it
 * @config: the compressed configuration begins there; size 0: there is none
 */
struct finds {
	char release[sizeof(((struct kho_image *)0)->release)];
	size_t n;
	char versions[MAX_VERSIONS][VERSION_SIZE];
	bool kho;
	bool luo;
	bool metadata;
	bool initramfs;
	struct piece config;
};

/* One that is not mentioned was unknown, or what it depends on is off. */
enum option { OPTION_ABSENT, OPTION_OFF, OPTION_ON };

/**
 * struct config - what a kernel's configuration says
 * @known: there is one
 * @cmdline: built in; empty: none
 */
struct config {
	bool known;
	enum option kexec_handover;
	enum option kexec_handover_enable_default;
	enum option liveupdate;
	enum option liveupdate_memfd;
	enum option cmdline_force; /* arm64's name of it */
	enum option cmdline_override;
	enum option cmdline_from_bootconfig;
	enum option cmdline_from_bootloader;
	char cmdline[KHO_CMDLINE_SIZE];
};

/**
 * struct image - a kernel image that is being looked into
 * @path: of the file
 * @info: goes into the manifest
 * @collection: has the manifest
 * @spool: what was packed in it, unpacked; -1: nothing yet
 * @whole: what is looked at was complete, or it could not have been unpacked,
 *         and all of what is behind it was looked at as well
 * @found: in its data
 * @err: why it fails
 */
struct image {
	const char *path;
	struct kho_image *info;
	struct collection collection;
	int spool;
	bool whole;
	struct finds found;
	struct kho_error *err;
};

/* The longest of the headers that formats are known by. */
#define BEGIN_SIZE 0x270

/* image.c */

/*
 * Read the manifest of an image. -ENOEXEC: something else; -EBADMSG: damaged,
 * or it cannot be told what it understands; -ENOMEM; -EIO.
 */
int image_read(int fd, const char *path, struct kho_manifest **manifest,
	       struct kho_error *err);
/* "PATH: WHY"; returns @code. */
int image_fail(const struct image *image, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Add a layer to the description of the format. */
void image_add_format(struct image *image, const char *name);
/* Add "PATH: WHAT" to the manifest's sources: 0; -ENOMEM. */
int image_add_source(struct image *image, const char *what);
/* Read bytes that have to be there: 0; -EBADMSG; -EIO. */
int piece_read(const struct image *image, const struct piece *piece,
	       uint64_t at, void *buf, size_t len);

static inline uint16_t get_u16(const void *bytes)
{
	uint16_t value;

	__builtin_memcpy(&value, bytes, sizeof(value));
	return value;
}

static inline uint32_t get_u32(const void *bytes)
{
	uint32_t value;

	__builtin_memcpy(&value, bytes, sizeof(value));
	return value;
}

static inline uint64_t get_u64(const void *bytes)
{
	uint64_t value;

	__builtin_memcpy(&value, bytes, sizeof(value));
	return value;
}

static inline bool inside(uint64_t size, uint64_t offset, uint64_t len)
{
	return offset <= size && len <= size - offset;
}

/*
 * The formats. Each says whether a piece begins as one, of which the first
 * BEGIN_SIZE bytes are at @begin, zeros where it is shorter, and either puts
 * what is inside of it into @piece or, when that is the kernel itself, looks
 * into it. 0; -EBADMSG; -ENOEXEC; -ENOMEM; -EIO.
 */

/* bzimage.c */
bool bzimage_begins(const struct piece *piece, const uint8_t *begin);
int bzimage_open(struct image *image, struct piece *piece);

/* pe.c */
bool zboot_begins(const struct piece *piece, const uint8_t *begin);
int zboot_open(struct image *image, struct piece *piece);
bool uki_begins(const struct piece *piece, const uint8_t *begin);
int uki_open(struct image *image, struct piece *piece);

/* A section of a PE file. */
struct pe_section {
	char name[9];
	uint32_t size;
	uint32_t offset; /* in the file */
};

/* Takes a section: 0 or a negative errno, which ends it. */
typedef int (*section_fn)(void *arg, const struct pe_section *section);

/* Read the section table: all sections are inside of the piece. */
int pe_sections(const struct image *image, const struct piece *piece,
		section_fn each, void *arg);

/* arm64.c */
bool arm64_begins(const struct piece *piece, const uint8_t *begin);
int arm64_open(struct image *image, struct piece *piece);

/* vmlinux.c */
bool vmlinux_begins(const struct piece *piece, const uint8_t *begin);
int vmlinux_open(struct image *image, struct piece *piece);

/* unpack.c, with the help of codec.c */

/**
 * struct flow - a step of an unpacker
 * @in: what is packed, and will be moved over what was used of it
 * @n_in: bytes at @in
 * @last: no more than these are to come
 * @out: room for what comes out, and will be moved over it
 * @n_out: bytes of room
 * @why: of an error, for people
 */
struct flow {
	const uint8_t *in;
	size_t n_in;
	bool last;
	uint8_t *out;
	size_t n_out;
	const char *why;
};

/**
 * struct codec - a way of packing
 * @name: of it
 * @magic: that packed data begin with
 * @magic_len: its bytes
 * @begin: makes an unpacker; NULL: out of memory
 * @step: goes on: 0; 1: that was the end of it; -EBADMSG; -ENOTSUP: it may be
 *        good, but cannot be unpacked here; -ENOMEM
 * @end: frees it
 */
struct codec {
	const char *name;
	uint8_t magic[6];
	size_t magic_len;
	void *(*begin)(void);
	int (*step)(void *unpacker, struct flow *flow);
	void (*end)(void *unpacker);
};

/* By what packed data begin with; NULL: not packed in a known way. */
const struct codec *codec_of(const uint8_t *begin);
/* By its name; NULL: not known. */
const struct codec *codec_find(const char *name);

/* Takes what was unpacked: 0 or a negative errno. */
typedef int (*sink_fn)(void *arg, const uint8_t *bytes, size_t len);

/*
 * Unpack a piece into a sink: all that is packed in the same way behind each
 * other, as gzip -dc does. @size: how many bytes come out, at most, and if @exact
 * no less, and that uses up the piece. @rest: how much of it is left, which is
 * something else; may be NULL.
 */
int unpack(const struct image *image, const struct piece *piece,
	   const struct codec *codec, uint64_t size, bool exact, sink_fn sink,
	   void *arg, uint64_t *rest);
/*
 * Put what is packed in a piece into its place, as a piece that begins a file.
 * @declared: its size, as a header says; -1: none says it.
 */
int unpack_payload(struct image *image, struct piece *piece,
		   const struct codec *codec, int64_t declared);
/* Something that was packed as a whole. */
bool packed_begins(const struct piece *piece, const uint8_t *begin);
int packed_open(struct image *image, struct piece *piece);

/* search.c */

/* Search a kernel's data, or a part of it. */
int search(struct image *image, const struct piece *piece);

/* config.c */

/* The configuration that @image->found has; it stays unknown if none. */
int config_read_embedded(const struct image *image, struct config *config);
/* A file's, compressed or not. */
int config_read_file(const struct image *image, int fd, struct config *config);

/* learn.c */

/* Add what was found to the manifest, or to @image->info why there is nothing. */
int learn(struct image *image);

#pragma GCC visibility pop

#endif
