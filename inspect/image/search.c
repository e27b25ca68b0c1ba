// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * What a kernel's data say: the version strings, the release, where the
 * configuration is.
 *
 * A version string is compiled in as a C string: it ends with a NUL, and what is
 * before it is the end of another one, or of a pointer, so no text. It is one
 * only if it is a token or a composite, to the last character, whose name is one
 * of those that Linux has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/image/private.h"

#define WINDOW (256u << 10)
/* Is kept of the last window: longer than anything that is looked for. */
#define CARRY 256

#define BANNER "Linux version "
#define CONFIG_BEGIN "IKCFG_ST"

static const char *const names[] = {
	"kho",	 "luo",	     "luo-session", "luo-flb",
	"memfd", "memblock", "reserve-mem",
};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

/* The subtree that has a number for a version. */
static const char metadata[] = "kexec-metadata";

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

static int add_version(struct image *image, const char *string)
{
	struct finds *found = &image->found;
	struct kho_composite composite;
	size_t i;

	if (kho_composite_parse(string, &composite, NULL) ||
	    composite.n > KHO_DEPS_MAX + 1)
		return 0;
	for (i = 0; i < found->n; i++)
		if (!strcmp(found->versions[i], string))
			return 0;
	if (found->n == MAX_VERSIONS)
		return image_fail(image, -EBADMSG,
				  "more than %d version strings: not a kernel",
				  MAX_VERSIONS);
	strcpy(found->versions[found->n++], string);
	return 0;
}

/* A "-v" at @dash: is it part of a version string? */
static int look_at_version(const struct window *w, size_t dash)
{
	size_t i;

	for (i = 0; i < N_NAMES; i++) {
		size_t len = strlen(names[i]);
		size_t at = dash - len, max;

		if (dash < len || memcmp(w->bytes + at, names[i], len) != 0 ||
		    !begins_at(w, at))
			continue;
		max = w->len - at;
		if (max > KHO_LIVEUPDATE_STRING_SIZE)
			max = KHO_LIVEUPDATE_STRING_SIZE;
		if (memchr(w->bytes + at, '\0', max))
			return add_version(w->image, w->bytes + at);
	}
	return 0;
}

static void look_at_metadata(const struct window *w, size_t dash)
{
	size_t before = strcspn(metadata, "-");

	if (dash >= before && inside(w->len, dash - before, sizeof(metadata)) &&
	    begins_at(w, dash - before) &&
	    !memcmp(w->bytes + dash - before, metadata, sizeof(metadata)))
		w->image->found.metadata = true;
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
		else
			look_at_metadata(w, dash);
	}
	return ret;
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
