// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A kernel's configuration: built in between two marks (CONFIG_IKCONFIG), or as
 * a file. Only the few options that say what of KHO there is are kept.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inspect/image/private.h"

/* Ten times what a kernel with everything has. */
#define MAX_PACKED (4u << 20)
#define MAX_CONFIG (16u << 20)

static const struct {
	const char *name;
	size_t option;
} options[] = {
	{ "CONFIG_KEXEC_HANDOVER", offsetof(struct config, kexec_handover) },
	{ "CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT",
	  offsetof(struct config, kexec_handover_enable_default) },
	{ "CONFIG_LIVEUPDATE", offsetof(struct config, liveupdate) },
	{ "CONFIG_LIVEUPDATE_MEMFD",
	  offsetof(struct config, liveupdate_memfd) },
	{ "CONFIG_CMDLINE_FORCE", offsetof(struct config, cmdline_force) },
	{ "CONFIG_CMDLINE_FROM_BOOTCONFIG",
	  offsetof(struct config, cmdline_from_bootconfig) },
	{ "CONFIG_CMDLINE_FROM_BOOTLOADER",
	  offsetof(struct config, cmdline_from_bootloader) },
	{ "CONFIG_CMDLINE_OVERRIDE",
	  offsetof(struct config, cmdline_override) },
};

#define N_OPTIONS (sizeof(options) / sizeof(options[0]))

/**
 * struct parser - of a configuration that comes in pieces
 * @config: result
 * @len: bytes at @line; a line that is longer than it is of no interest
 * @line: the one that is not complete
 */
struct parser {
	struct config *config;
	size_t len;
	char line[2 * KHO_CMDLINE_SIZE];
};

#define BUILTIN "CONFIG_CMDLINE=\""

static void set(struct config *config, const char *name, size_t len,
		enum option value)
{
	size_t i;

	config->known = true;
	for (i = 0; i < N_OPTIONS; i++)
		if (strlen(options[i].name) == len &&
		    !memcmp(options[i].name, name, len))
			*(enum option *)((char *)config + options[i].option) =
				value;
}

/* The text between quotes, in which some have a backslash before them. */
static void set_cmdline(struct config *config, const char *text)
{
	char plain[sizeof(config->cmdline)];
	size_t n = 0;

	for (; *text && *text != '"' && n < sizeof(plain); text++) {
		if (*text == '\\' && text[1])
			text++;
		plain[n++] = *text;
	}
	copy_text(config->cmdline, sizeof(config->cmdline), plain, n);
}

/* CONFIG_X=y, CONFIG_X=n, or # CONFIG_X is not set */
static void end_line(struct parser *p)
{
	const char *line = p->line, *name = line;
	size_t len;

	p->line[p->len < sizeof(p->line) ? p->len : p->len - 1] = '\0';
	if (!strncmp(line, BUILTIN, strlen(BUILTIN))) {
		set_cmdline(p->config, line + strlen(BUILTIN));
	} else if (p->len < sizeof(p->line)) {
		if (!strncmp(line, "# ", 2))
			name += 2;
		len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "abcdefghijklmnopqrstuvwxyz0123456789_");
		if (strncmp(name, "CONFIG_", 7) != 0)
			;
		else if (name == line && name[len] == '=')
			set(p->config, name, len,
			    !strcmp(name + len, "=y") ? OPTION_ON :
			    !strcmp(name + len, "=n") ? OPTION_OFF :
							OPTION_ABSENT);
		else if (name != line && !strcmp(name + len, " is not set"))
			set(p->config, name, len, OPTION_OFF);
	}
	p->len = 0;
}

static int parse(void *arg, const uint8_t *bytes, size_t len)
{
	struct parser *p = arg;
	size_t i;

	for (i = 0; i < len; i++) {
		if (bytes[i] == '\n')
			end_line(p);
		else if (p->len < sizeof(p->line))
			p->line[p->len++] = (char)bytes[i];
	}
	return 0;
}

int config_read_embedded(const struct image *image, struct config *config)
{
	struct piece piece = image->found.config;
	struct parser parser = { .config = config };

	memset(config, 0, sizeof(*config));
	if (!piece.size)
		return 0;
	if (piece.size > MAX_PACKED)
		piece.size = MAX_PACKED;
	return unpack(image, &piece, codec_find("gzip"), MAX_CONFIG, false,
		      parse, &parser, NULL);
}

static int read_text(const struct image *image, int fd, struct parser *parser)
{
	uint8_t bytes[4096];
	size_t total = 0;
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
		parse(parser, bytes, (size_t)n);
		total += (size_t)n;
		if (total > MAX_CONFIG)
			return image_fail(image, -EBADMSG,
					  "not a configuration: too large");
	}
	return n < 0 ? image_fail(image, -EIO, "cannot read: %m") : 0;
}

int config_read_file(const struct image *image, int fd, struct config *config)
{
	struct parser parser = { .config = config };
	uint8_t begin[8] = { 0 };
	struct piece piece = { .fd = fd };
	const struct codec *codec;
	struct stat st;
	int ret;

	memset(config, 0, sizeof(*config));
	if (pread(fd, begin, sizeof(begin), 0) < 0 || fstat(fd, &st))
		return image_fail(image, -EIO, "cannot read: %m");
	codec = codec_of(begin);
	piece.size = (uint64_t)st.st_size;
	if (piece.size > MAX_PACKED)
		piece.size = MAX_PACKED;
	if (codec)
		ret = unpack(image, &piece, codec, MAX_CONFIG, false, parse,
			     &parser, NULL);
	else
		ret = read_text(image, fd, &parser);
	if (!ret && !config->known)
		ret = image_fail(image, -EBADMSG,
				 "not a kernel's configuration");
	return ret;
}
