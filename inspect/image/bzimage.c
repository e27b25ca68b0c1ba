// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * x86's bzImage: sectors of real-mode code with a header in them, then the
 * protected-mode code, in which the packed vmlinux is. Linux's
 * Documentation/arch/x86/boot.rst says it all.
 */
#include <errno.h>
#include <string.h>

#include "inspect/image/private.h"

#define SECTOR 512

/* Offsets in the file. */
#define SETUP_SECTS 0x1f1 /* u8; 0 stands for 4 */
#define SYSSIZE 0x1f4 /* u32, 16 bytes each: of the protected-mode code */
#define BOOT_FLAG 0x1fe /* u16 */
#define MAGIC 0x202
#define VERSION 0x206 /* u16 */
#define CMDLINE_SIZE 0x238 /* u32: without a NUL */
#define PAYLOAD_OFFSET 0x248 /* u32, in the protected-mode code */
#define PAYLOAD_LENGTH 0x24c /* u32 */
#define INIT_SIZE 0x260 /* u32 */

/* The first version with a payload: Linux 2.6.26; with INIT_SIZE: 2.6.35. */
#define VERSION_PAYLOAD 0x208
#define VERSION_INIT_SIZE 0x20a

bool bzimage_begins(const struct piece *piece, const uint8_t *begin)
{
	(void)piece;
	return get_u16(begin + BOOT_FLAG) == 0xaa55 &&
	       !memcmp(begin + MAGIC, "HdrS", 4);
}

/* Where the payload is. */
static int find_payload(const struct image *image, const uint8_t *begin,
			const struct piece *piece, struct piece *payload)
{
	uint32_t version = get_u16(begin + VERSION);
	uint32_t sects = begin[SETUP_SECTS] ? begin[SETUP_SECTS] : 4;
	uint64_t code = (sects + 1) * (uint64_t)SECTOR;
	uint64_t code_size = get_u32(begin + SYSSIZE) * 16ull;
	uint64_t offset = get_u32(begin + PAYLOAD_OFFSET);
	uint64_t len = get_u32(begin + PAYLOAD_LENGTH);

	if (version < VERSION_PAYLOAD)
		return image_fail(image, -ENOEXEC,
				  "boot protocol %u.%02u is too old: a kernel "
				  "says where its payload is since 2.08",
				  version >> 8, version & 0xff);
	if (!offset && !len)
		return image_fail(image, -ENOEXEC,
				  "a program that is started as a kernel is "
				  "(bzImage), but there is no packed kernel in "
				  "it: memtest86+, perhaps");
	if (!inside(piece->size, code, code_size))
		return image_fail(image, -EBADMSG,
				  "truncated, or its header is damaged: it "
				  "should have %llu bytes and has %llu",
				  (unsigned long long)(code + code_size),
				  (unsigned long long)piece->size);
	if (!offset || len < 2 * sizeof(uint32_t) ||
	    !inside(code_size, offset, len))
		return image_fail(image, -EBADMSG,
				  "its header is damaged: the payload is "
				  "outside of the kernel");
	*payload =
		(struct piece){ piece->fd, piece->offset + code + offset, len };
	return 0;
}

int bzimage_open(struct image *image, struct piece *piece)
{
	uint8_t begin[BEGIN_SIZE], magic[8], size[4];
	const struct codec *codec;
	struct piece payload;
	int ret = piece_read(image, piece, 0, begin, sizeof(begin));

	if (!ret)
		ret = find_payload(image, begin, piece, &payload);
	if (!ret && get_u16(begin + VERSION) >= VERSION_INIT_SIZE) {
		image->info->cmdline_size = get_u32(begin + CMDLINE_SIZE);
		image->info->memory = get_u32(begin + INIT_SIZE);
	}
	if (!ret)
		ret = piece_read(image, &payload, 0, magic, sizeof(magic));
	if (!ret)
		ret = piece_read(image, &payload, payload.size - sizeof(size),
				 size, sizeof(size));
	if (ret)
		return ret;
	codec = codec_of(magic);
	if (!codec)
		return image_fail(image, -EBADMSG,
				  "its payload, at offset 0x%llx, is not "
				  "packed in a known way",
				  (unsigned long long)payload.offset);
	/* gzip ends with the size, for the others it was appended. */
	if (strcmp(codec->name, "gzip") != 0)
		payload.size -= sizeof(size);
	*piece = payload;
	return unpack_payload(image, piece, codec, get_u32(size));
}
