// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * What a kernel's data say: the version strings, the release, where the
 * configuration is.
 *
 * A version string is compiled in as a C string: it ends with a NUL, and what is
 * before it is the end of another one, or of a pointer, so no text. It is one
 * when it has the name of a component of Linux, then "-v", and no blank. What it
 * says is learn.c's business: also of one that nobody understands it must be
 * known that it is there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <kho/abi/kexec_handover.h>

#include "inspect/image/private.h"

#define WINDOW (256u << 10)
/* Is kept of the last window: longer than anything that is looked for. */
#define CARRY VERSION_SIZE

#define BANNER "Linux version "
#define CONFIG_BEGIN "IKCFG_ST"

static const char *const names[] = {
	"kho",	 "luo",	     "luo-session", "luo-flb",
	"memfd", "memblock", "reserve-mem",
};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

/* The subtree that has a number for a version. */
static const char metadata[] = "kexec-metadata";
/* A property of every root FDT. */
static const char memory_map[] = KHO_FDT_MEMORY_MAP;
/* LUO's device. */
static const char device[] = "liveupdate";

/*
 * Of a file in an initramfs, before its name: magic, then numbers of 8 digits,
 * of which the second is the mode and the seventh the size.
 */
#define CPIO_HEADER 110
#define CPIO_MODE 14
#define CPIO_SIZE 54

struct window {
	struct image *image;
	const struct piece *piece;
	char *bytes;
	size_t len;
	uint64_t offset; /* of @bytes in the file */
};

static bool is_text(char c)
{
	return c >= ' ' && c <= '~';
}

/*
 * Does a string begin there? What begins where a later window does was looked
 * at in the one before, where it can be seen what is before it.
 */
static bool begins_at(const struct window *w, size_t at)
{
	return at ? !is_text(w->bytes[at - 1]) : w->offset == w->piece->offset;
}

static int add_version(struct image *image, const char *string, size_t len)
{
	struct finds *found = &image->found;
	size_t i;

	for (i = 0; i < found->n; i++)
		if (!strncmp(found->versions[i], string, len) &&
		    !found->versions[i][len])
			return 0;
	if (found->n == MAX_VERSIONS)
		return image_fail(image, -EBADMSG,
				  "more than %d version strings: not a kernel",
				  MAX_VERSIONS);
	memcpy(found->versions[found->n++], string, len);
	return 0;
}

/* A "-v" at @dash: is it part of a version string? */
static int look_at_version(const struct window *w, size_t dash)
{
	size_t i;

	for (i = 0; i < N_NAMES; i++) {
		size_t len = strlen(names[i]);
		size_t at = dash - len, end = dash;

		if (dash < len || memcmp(w->bytes + at, names[i], len) != 0 ||
		    !begins_at(w, at))
			continue;
		while (end < w->len && end - at < VERSION_SIZE - 1 &&
		       is_text(w->bytes[end]) && w->bytes[end] != ' ')
			end++;
		/* A longer one is there as well, cut. */
		if (end < w->len &&
		    (!w->bytes[end] || end - at == VERSION_SIZE - 1))
			return add_version(w->image, w->bytes + at, end - at);
	}
	return 0;
}

/* Is a text, with its NUL, there of which the first dash is at @dash? */
static bool is_at(const struct window *w, size_t dash, const char *text)
{
	size_t before = strcspn(text, "-"), size = strlen(text) + 1;

	return dash >= before && inside(w->len, dash - before, size) &&
	       begins_at(w, dash - before) &&
	       !memcmp(w->bytes + dash - before, text, size);
}

/* All of these have a dash. */
static int find_versions(const struct window *w)
{
	const char *end = w->bytes + w->len, *c = w->bytes;
	int ret = 0;

	for (; !ret && (c = memchr(c, '-', (size_t)(end - c))); c++) {
		size_t dash = (size_t)(c - w->bytes);

		if (end - c > 1 && c[1] == 'v')
			ret = look_at_version(w, dash);
		else if (is_at(w, dash, metadata))
			w->image->found.metadata = true;
		else if (is_at(w, dash, memory_map))
			w->image->found.kho = true;
	}
	return ret;
}

static bool find_luo(const struct window *w)
{
	return memmem(w->bytes, w->len, device, sizeof(device));
}

/* Is there a regular file that is not empty? */
static bool find_initramfs(const struct window *w)
{
	const char *at = w->bytes, *end = w->bytes + w->len;

	for (; (at = memmem(at, (size_t)(end - at), "07070", 5)); at++) {
		char header[CPIO_HEADER + 1] = "";

		if (end - at < CPIO_HEADER)
			return false;
		memcpy(header, at, CPIO_HEADER);
		if (strspn(header, "0123456789abcdefABCDEF") < CPIO_HEADER)
			continue;
		header[CPIO_SIZE + 8] = header[CPIO_MODE + 8] = '\0';
		if (S_ISREG(strtoul(header + CPIO_MODE, NULL, 16)) &&
		    strtoul(header + CPIO_SIZE, NULL, 16))
			return true;
	}
	return false;
}

static void find_release(const struct window *w)
{
	char *release = w->image->found.release;
	const size_t skip = sizeof(BANNER) - 1;
	const char *at = w->bytes, *end = w->bytes + w->len;

	while ((at = memmem(at, (size_t)(end - at), BANNER, skip))) {
		size_t begin = (size_t)(at - w->bytes);
		size_t max = w->len - begin - skip, n = 0;

		at += skip;
		while (n < max && n < sizeof(w->image->found.release) &&
		       is_text(at[n]) && at[n] != ' ')
			n++;
		/* The one of a format has a '%' here. */
		if (n == max || n == sizeof(w->image->found.release) ||
		    at[n] != ' ' || at[0] < '0' || at[0] > '9' ||
		    !begins_at(w, begin))
			continue;
		memcpy(release, at, n);
		release[n] = '\0';
		return;
	}
}

static void find_config(const struct window *w)
{
	const struct piece *piece = w->piece;
	static const uint8_t gzip[] = { 0x1f, 0x8b, 0x08 };
	const size_t skip = sizeof(CONFIG_BEGIN) - 1;
	const char *at = w->bytes, *end = w->bytes + w->len;

	while ((at = memmem(at, (size_t)(end - at), CONFIG_BEGIN, skip))) {
		uint64_t offset = w->offset + (uint64_t)(at - w->bytes) + skip;

		at += skip;
		if (!inside((size_t)(end - at), 0, sizeof(gzip)) ||
		    memcmp(at, gzip, sizeof(gzip)) != 0)
			continue;
		w->image->found.config =
			(struct piece){ piece->fd, offset,
					piece->offset + piece->size - offset };
		return;
	}
}

static int search_window(const struct window *w)
{
	if (!w->image->found.release[0])
		find_release(w);
	if (!w->image->found.config.size)
		find_config(w);
	w->image->found.luo |= find_luo(w);
	w->image->found.initramfs |= find_initramfs(w);
	return find_versions(w);
}

static int search_windows(struct window *w)
{
	const struct piece *piece = w->piece;
	uint64_t at = 0;
	size_t keep = 0, len;
	int ret = 0;

	while (!ret && at < piece->size) {
		len = WINDOW - keep;
		if (len > piece->size - at)
			len = piece->size - at;
		ret = piece_read(w->image, piece, at, w->bytes + keep, len);
		if (ret)
			return ret;
		w->len = keep + len;
		w->offset = piece->offset + at - keep;
		ret = search_window(w);
		at += len;
		keep = w->len < CARRY ? w->len : CARRY;
		memmove(w->bytes, w->bytes + w->len - keep, keep);
	}
	return ret;
}

int search(struct image *image, const struct piece *piece)
{
	struct window w = {
		.image = image,
		.piece = piece,
		.bytes = malloc(WINDOW),
	};
	int ret;

	if (!w.bytes)
		return kho_fail(image->err, -ENOMEM, "out of memory");
	ret = search_windows(&w);
	free(w.bytes);
	return ret;
}
