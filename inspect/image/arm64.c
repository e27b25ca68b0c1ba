// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The arm64 Image: a kernel as it is in memory, without what it would only
 * zero, behind a header of 64 bytes. Linux's Documentation/arch/arm64/booting.rst
 * says it all.
 *
 * That is less than a vmlinux: there are no sections, so all of it is searched,
 * and the size in the header counts what is zeroed, so it does not say whether
 * the end was cut off. The sections of the PE header say that, which a kernel
 * has that EFI can start.
 */
#include <errno.h>
#include <string.h>

#include "inspect/image/private.h"

#define IMAGE_SIZE 0x10 /* u64 */
#define FLAGS 0x18 /* u64 */
#define MAGIC 0x38

#define FLAG_BIG_ENDIAN 1

bool arm64_begins(const struct piece *piece, const uint8_t *begin)
{
	(void)piece;
	return !memcmp(begin + MAGIC, "ARM\x64", 4);
}

/* The end of the kernel, and who complains of it. */
struct end {
	const struct image *image;
	uint64_t size;
};

static int check_section(void *arg, const struct pe_section *section)
{
	const struct end *end = arg;

	return inside(end->size, section->offset, section->size) ?
		       0 :
		       image_fail(end->image, -EBADMSG,
				  "its header is damaged: it has %llu bytes, "
				  "section '%s' ends beyond",
				  (unsigned long long)end->size, section->name);
}

/* That nothing was cut off. */
static int check_whole(const struct image *image, const struct piece *piece,
		       const uint8_t *begin, uint64_t size)
{
	struct end end = { image, size };

	if (memcmp(begin, "MZ", 2) != 0 && image->whole)
		return size >= piece->size ?
			       0 :
			       image_fail(image, -EBADMSG,
					  "its header is damaged: it has more "
					  "than the %llu bytes that it says",
					  (unsigned long long)size);
	if (memcmp(begin, "MZ", 2) != 0)
		return image_fail(image, -EBADMSG,
				  "an arm64 Image that was built without "
				  "CONFIG_EFI does not say whether it is all "
				  "there: name its vmlinux, or its Image.gz");
	return pe_sections(image, piece, check_section, &end);
}

int arm64_open(struct image *image, struct piece *piece)
{
	uint8_t begin[64];
	uint64_t size;
	int ret = piece_read(image, piece, 0, begin, sizeof(begin));

	if (ret)
		return ret;
	if (get_u64(begin + FLAGS) & FLAG_BIG_ENDIAN)
		return image_fail(image, -ENOEXEC, "a big-endian kernel");
	size = get_u64(begin + IMAGE_SIZE);
	ret = check_whole(image, piece, begin, size);
	if (ret)
		return ret;
	image->info->memory = size > UINT32_MAX ? 0 : (uint32_t)size;
	/* Behind it is its signature. */
	if (piece->size > size)
		piece->size = size;
	if (piece->size > KHO_IMAGE_MAX)
		return image_fail(image, -EBADMSG,
				  "larger than any kernel: more than %u MiB",
				  KHO_IMAGE_MAX >> 20);
	return search(image, piece);
}
