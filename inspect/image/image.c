// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A kernel image is a nest: a UKI has a bzImage in it, that has a vmlinux,
 * packed. It is opened from the outside in, and in the end there is a kernel
 * whose data can be searched.
 *
 * The file is hostile and may change while it is read, so it is not mapped:
 * what is looked at is read through small windows. What was packed goes through
 * such a window into a memfd, once, and is then read in the same way.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files/manifest.h"
#include "inspect/image/private.h"

/* A UKI that has a bzImage that has a vmlinux has three. */
#define MAX_NEST 4

/* The first bytes of a piece. */
static void peek(const struct piece *piece, uint8_t begin[BEGIN_SIZE])
{
	size_t len = piece->size < BEGIN_SIZE ? piece->size : BEGIN_SIZE;

	memset(begin, 0, BEGIN_SIZE);
	if (pread(piece->fd, begin, len, (off_t)piece->offset) < 0)
		memset(begin, 0, BEGIN_SIZE);
}

/* What is known well enough to say that it cannot be read. */
static const struct other {
	const char *magic;
	size_t len;
	size_t offset;
	const char *what;
} others[] = {
	{ "ANDROID!", 8, 0,
	  "an Android boot image: unpack_bootimg(1) takes its kernel out" },
	{ "\x27\x05\x19\x56", 4, 0,
	  "a U-Boot image: take its kernel out of it" },
	{ "\xd0\x0d\xfe\xed", 4, 0,
	  "a device tree, or a FIT image: take its kernel out of it" },
	{ "\x04\x22\x4d\x18", 4, 0,
	  "packed in lz4's frame format, which no kernel is: unpack it with lz4(1)" },
	{ "\x89LZO", 4, 0, "packed with lzop: unpack it with lzop(1)" },
	{ "RSC\x05", 4, 0x38, "a RISC-V Image: name its vmlinux" },
	{ "\xcd\x23\x82\x81", 4, 0x38,
	  "a kernel for EFI of an architecture that is not known: name its vmlinux" },
};

#define N_OTHERS (sizeof(others) / sizeof(others[0]))

static const struct other *other_of(const uint8_t *begin)
{
	size_t i;

	for (i = 0; i < N_OTHERS; i++)
		if (!memcmp(begin + others[i].offset, others[i].magic,
			    others[i].len))
			return &others[i];
	return NULL;
}

static bool other_begins(const struct piece *piece, const uint8_t *begin)
{
	(void)piece;
	return other_of(begin);
}

static int other_open(struct image *image, struct piece *piece)
{
	uint8_t begin[BEGIN_SIZE];
	const struct other *other;

	peek(piece, begin);
	other = other_of(begin);
	return image_fail(image, -ENOEXEC, "%s%s%s", image->info->format,
			  image->info->format[0] ? ", and in it " : "",
			  other ? other->what : "it changed while it was read");
}

static const struct format {
	const char *name; /* NULL: says its own */
	bool (*begins)(const struct piece *piece, const uint8_t *begin);
	int (*open)(struct image *image, struct piece *piece);
	bool kernel; /* the innermost */
} formats[] = {
	{ "EFI zboot", zboot_begins, zboot_open, false },
	{ "arm64 Image", arm64_begins, arm64_open, true },
	{ "bzImage", bzimage_begins, bzimage_open, false },
	{ NULL, other_begins, other_open, false },
	/* All of the above may also be PE files. */
	{ "UKI", uki_begins, uki_open, false },
	{ "vmlinux", vmlinux_begins, vmlinux_open, true },
	{ NULL, packed_begins, packed_open, false },
};

#define N_FORMATS (sizeof(formats) / sizeof(formats[0]))

int image_fail(const struct image *image, int code, const char *fmt, ...)
{
	char why[KHO_ERROR_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return kho_fail(image->err, code, "%s: %s", image->path, why);
}

int image_add_source(struct image *image, const char *what)
{
	char *source;
	int ret;

	if (asprintf(&source, "%s: %s", image->path, what) < 0)
		return kho_fail(image->err, -ENOMEM, "out of memory");
	ret = manifest_add_source(image->collection.manifest, source);
	free(source);
	return ret ? kho_fail(image->err, ret, "out of memory") : 0;
}

int piece_read(const struct image *image, const struct piece *piece,
	       uint64_t at, void *buf, size_t len)
{
	ssize_t n;

	if (!inside(piece->size, at, len))
		return image_fail(image, -EBADMSG,
				  "damaged or truncated: there is no offset "
				  "0x%llx in it",
				  (unsigned long long)(piece->offset + at));
	n = pread(piece->fd, buf, len, (off_t)(piece->offset + at));
	if (n < 0)
		return image_fail(image, -EIO, "cannot read: %m");
	if ((size_t)n < len)
		return image_fail(image, -EBADMSG,
				  "it became shorter while it was read");
	return 0;
}

static const struct format *format_of(const struct piece *piece)
{
	uint8_t begin[BEGIN_SIZE];
	size_t i;

	peek(piece, begin);
	for (i = 0; i < N_FORMATS; i++)
		if (formats[i].begins(piece, begin))
			return &formats[i];
	return NULL;
}

static bool whole_file(int fd, struct piece *piece)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return false;
	*piece = (struct piece){ fd, 0, (uint64_t)st.st_size };
	return true;
}

static bool image_begins(int fd)
{
	struct piece piece;

	return whole_file(fd, &piece) && format_of(&piece);
}

void image_add_format(struct image *image, const char *name)
{
	char *text = image->info->format;
	size_t len = strlen(text);

	snprintf(text + len, sizeof(image->info->format) - len, "%s%s",
		 len ? ", " : "", name);
}

/* Does a multiboot header begin somewhere in it? */
static bool is_multiboot(const struct piece *piece)
{
	uint8_t bytes[8192];
	size_t len = piece->size < sizeof(bytes) ? piece->size : sizeof(bytes);
	ssize_t n = pread(piece->fd, bytes, len, (off_t)piece->offset);

	for (ssize_t i = 0; i + 12 <= n; i += 4)
		if (get_u32(bytes + i) == 0x1badb002 &&
		    !(get_u32(bytes + i) + get_u32(bytes + i + 4) +
		      get_u32(bytes + i + 8)))
			return true;
	return false;
}

static int unknown_inside(const struct image *image, const struct piece *piece)
{
	uint8_t begin[BEGIN_SIZE];

	if (!image->info->format[0])
		return image_fail(image, -ENOEXEC, "not a kernel image");
	peek(piece, begin);
	if (!memcmp(begin, "\177ELF", 4) && is_multiboot(piece))
		return image_fail(image, -ENOEXEC,
				  "what is in it (%s) is a multiboot kernel, not "
				  "Linux: the hypervisor Xen, perhaps",
				  image->info->format);
	if (!memcmp(begin, "\177ELF", 4))
		return image_fail(image, -ENOEXEC,
				  "what is in it (%s) is an ELF file, but not "
				  "a 64-bit little-endian kernel",
				  image->info->format);
	return image_fail(image, -ENOEXEC,
			  "what is in it (%s) is not a kernel, or none that is "
			  "known",
			  image->info->format);
}

static int open_nest(struct image *image, struct piece *piece)
{
	const struct format *format;
	int i, ret;

	for (i = 0; i < MAX_NEST; i++) {
		format = format_of(piece);
		if (!format)
			return unknown_inside(image, piece);
		if (format->name)
			image_add_format(image, format->name);
		ret = format->open(image, piece);
		if (ret || format->kernel)
			return ret;
	}
	return image_fail(image, -ENOEXEC, "nested too deeply (%s)",
			  image->info->format);
}

static int open_image(struct image *image, int fd)
{
	struct kho_manifest *manifest = image->collection.manifest;
	struct piece piece;
	int ret;

	manifest->image = image->info = calloc(1, sizeof(*image->info));
	if (!image->info || manifest_add_source(manifest, image->path))
		return kho_fail(image->err, -ENOMEM, "out of memory");
	if (!whole_file(fd, &piece))
		return image_fail(image, -ENOEXEC, "not a regular file");
	ret = open_nest(image, &piece);
	return ret ? ret : learn(image);
}

int image_read(int fd, const char *path, struct kho_manifest **manifest,
	       struct kho_error *err)
{
	struct kho_manifest *m = manifest_new(path);
	struct image image = {
		.path = path,
		.collection = { .manifest = m, .err = err },
		.spool = -1,
		.err = err,
	};
	int ret;

	if (!m)
		return kho_fail(err, -ENOMEM, "out of memory");
	ret = open_image(&image, fd);
	if (image.spool >= 0)
		close(image.spool);
	if (ret)
		kho_manifest_free(m);
	else
		*manifest = m;
	return ret;
}

/* What tools ask about: programs and what they need, and kernels. */
static const struct manifest_reader image_reader = { image_begins, image_read };
static const struct manifest_reader *const readers[] = {
	&manifest_json_reader,
	&image_reader,
	&manifest_program_reader,
	NULL,
};

int kho_target_read(int fd, const char *path, struct kho_manifest **manifest,
		    struct kho_error *err)
{
	return manifest_read(readers, fd, path, manifest, err);
}

int kho_target_open(const char *path, struct kho_manifest **manifest,
		    struct kho_error *err)
{
	return manifest_open(readers, path, manifest, err);
}
