// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Kernels that are EFI programs, which are PE files: the EFI zboot image, a
 * packed kernel with its own loader, and the UKI, where a kernel of another
 * format is a section beside its initrd and command line.
 */
#include <errno.h>
#include <string.h>

#include "inspect/image/private.h"

/* Of the PE header, which begins with "PE\0\0". */
#define PE_HEADER 24
#define PE_OFFSET 0x3c /* u32: where it is */
#define PE_N_SECTIONS 6 /* u16 */
#define PE_OPTIONAL 20 /* u16: bytes of what is before the sections */

/* Of an entry of the section table. */
#define SECTION_ENTRY 40
#define SECTION_SIZE 8 /* u32: in memory */
#define SECTION_FILE_SIZE 16 /* u32: padded, or cut */
#define SECTION_FILE_OFFSET 20 /* u32 */

/* Of the zboot header. */
#define ZBOOT_MAGIC 4
#define ZBOOT_OFFSET 8 /* u32: of the payload */
#define ZBOOT_SIZE 12 /* u32: its bytes */
#define ZBOOT_TYPE 24 /* how it is packed, up to 0x38 */
#define ZBOOT_TYPE_SIZE (0x38 - ZBOOT_TYPE)

static int read_section(const struct image *image, const struct piece *piece,
			const uint8_t entry[SECTION_ENTRY],
			struct pe_section *section)
{
	uint32_t size = get_u32(entry + SECTION_SIZE);
	uint32_t file_size = get_u32(entry + SECTION_FILE_SIZE);

	copy_text(section->name, sizeof(section->name), (const char *)entry, 8);
	section->offset = get_u32(entry + SECTION_FILE_OFFSET);
	section->size = size < file_size ? size : file_size;
	if (!inside(piece->size, section->offset, file_size))
		return image_fail(image, -EBADMSG,
				  "truncated, or its header is damaged: "
				  "section '%s' is outside of the file",
				  section->name);
	return 0;
}

int pe_sections(const struct image *image, const struct piece *piece,
		section_fn each, void *arg)
{
	uint8_t header[PE_HEADER], entry[SECTION_ENTRY], at[4];
	struct pe_section section;
	uint64_t offset;
	size_t i, n;
	int ret = piece_read(image, piece, PE_OFFSET, at, sizeof(at));

	offset = ret ? 0 : get_u32(at);
	if (!ret)
		ret = piece_read(image, piece, offset, header, sizeof(header));
	if (ret)
		return ret;
	n = get_u16(header + PE_N_SECTIONS);
	if (memcmp(header, "PE\0", 4) != 0 || !n)
		return image_fail(image, -EBADMSG,
				  "its header is damaged: there is no PE header "
				  "with sections at offset 0x%llx",
				  (unsigned long long)offset);
	offset += PE_HEADER + get_u16(header + PE_OPTIONAL);
	for (i = 0; !ret && i < n; i++) {
		ret = piece_read(image, piece, offset + i * SECTION_ENTRY,
				 entry, sizeof(entry));
		if (!ret)
			ret = read_section(image, piece, entry, &section);
		if (!ret && each)
			ret = each(arg, &section);
	}
	return ret;
}

bool zboot_begins(const struct piece *piece, const uint8_t *begin)
{
	(void)piece;
	return !memcmp(begin, "MZ", 2) &&
	       !memcmp(begin + ZBOOT_MAGIC, "zimg", 4);
}

/* The names that Linux has given to its ways of packing. */
static const struct codec *zboot_codec(const char *type)
{
	if (!strcmp(type, "xzkern"))
		type = "xz";
	else if (!strcmp(type, "zstd22"))
		type = "zstd";
	return codec_find(type);
}

int zboot_open(struct image *image, struct piece *piece)
{
	char type[ZBOOT_TYPE_SIZE + 1];
	uint8_t begin[0x40], size[4];
	const struct codec *codec;
	uint64_t offset, len;
	int ret = piece_read(image, piece, 0, begin, sizeof(begin));

	/* For a file that was cut. */
	if (!ret)
		ret = pe_sections(image, piece, NULL, NULL);
	if (ret)
		return ret;
	copy_text(type, sizeof(type), (char *)begin + ZBOOT_TYPE,
		  ZBOOT_TYPE_SIZE);
	codec = zboot_codec(type);
	if (!codec)
		return image_fail(image, -EBADMSG,
				  "packed with '%s', which kho cannot unpack: "
				  "name its vmlinux",
				  type);
	offset = get_u32(begin + ZBOOT_OFFSET);
	len = get_u32(begin + ZBOOT_SIZE);
	if (!inside(piece->size, offset, len) || len < sizeof(size))
		return image_fail(image, -EBADMSG,
				  "its header is damaged: the payload is "
				  "outside of the file");
	/* gzip ends with the size, for the others it was appended. */
	ret = piece_read(image, piece,
			 offset + len -
				 (strcmp(type, "gzip") ? 0 : sizeof(size)),
			 size, sizeof(size));
	if (ret)
		return ret;
	piece->offset += offset;
	piece->size = len;
	return unpack_payload(image, piece, codec, get_u32(size));
}

bool uki_begins(const struct piece *piece, const uint8_t *begin)
{
	(void)piece;
	return !memcmp(begin, "MZ", 2);
}

/**
 * struct uki - the sections of one, as it is started by default
 * @profiles: section .profile so far: what is behind the first is of the profile
 *            that is the default, what is before it is for all that lack it
 * @kernel: .linux; no name: not found
 * @cmdline: .cmdline
 */
struct uki {
	size_t profiles;
	struct uki_section {
		struct pe_section section;
		size_t profile;
	} kernel, cmdline;
};

static int look_at_section(void *arg, const struct pe_section *section)
{
	struct uki *uki = arg;
	struct uki_section *to = NULL;

	if (!strcmp(section->name, ".profile"))
		uki->profiles++;
	else if (!strcmp(section->name, ".linux"))
		to = &uki->kernel;
	else if (!strcmp(section->name, ".cmdline"))
		to = &uki->cmdline;
	if (to && uki->profiles <= 1 &&
	    (!to->section.name[0] || to->profile < uki->profiles))
		*to = (struct uki_section){ *section, uki->profiles };
	return 0;
}

static int read_cmdline(const struct image *image, const struct piece *piece,
			const struct pe_section *section)
{
	char bytes[sizeof(image->info->cmdline)];
	size_t len;
	int ret;

	len = section->size < sizeof(bytes) ? section->size : sizeof(bytes);
	ret = piece_read(image, piece, section->offset, bytes, len);
	if (!ret)
		copy_text(image->info->cmdline, sizeof(image->info->cmdline),
			  bytes, len);
	return ret;
}

int uki_open(struct image *image, struct piece *piece)
{
	struct uki uki = { 0 };
	int ret = pe_sections(image, piece, look_at_section, &uki);

	if (ret)
		return ret;
	if (!uki.kernel.section.name[0])
		return image_fail(image, -ENOEXEC,
				  "an EFI program, but neither a Linux kernel "
				  "nor a UKI (it has no section .linux): a boot "
				  "loader or a hypervisor, perhaps");
	ret = read_cmdline(image, piece, &uki.cmdline.section);
	if (ret)
		return ret;
	piece->offset += uki.kernel.section.offset;
	piece->size = uki.kernel.section.size;
	return 0;
}
