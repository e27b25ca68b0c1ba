// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* What kho inspect and kho verify look at: any STATE, of arena or kernel. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kho.h"
#include "look.h"
#include "target.h"

static bool parse_phys(const char *text, uint64_t *phys)
{
	char *end;

	errno = 0;
	*phys = strtoull(text, &end, 0);
	return text[0] >= '0' && text[0] <= '9' && !*end && !errno;
}

static bool take_option(struct look *look, int c)
{
	switch (c) {
	case 'j':
		look->json = true;
		return true;
	case 's':
		look->svg = optarg;
		return true;
	case 't':
		look->trim = optarg;
		return true;
	case 'n':
		look->options.no_checksums = true;
		return true;
	case 'f':
		if (parse_phys(optarg, &look->options.fdt) && look->options.fdt)
			return true;
		break;
	case 'b':
		look->options.kind = KHO_DUMP_RAW;
		if (parse_phys(optarg, &look->options.base))
			return true;
		break;
	}
	look->code = fail_usage(look->verb,
				"%s is no address such as 0x22a0000", optarg);
	return false;
}

bool look_options(struct look *look, const char *help, int argc, char **argv)
{
	static const struct option known[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "fdt", required_argument, NULL, 'f' },
		{ "base", required_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		/* Of kho inspect alone. */
		{ "svg", required_argument, NULL, 's' },
		{ "trim", required_argument, NULL, 't' },
		{ "no-checksums", no_argument, NULL, 'n' },
		{ 0 },
	};
	struct option mine[8];
	int c;

	memcpy(mine, known, sizeof(mine));
	if (!strcmp(look->verb, "verify"))
		memset(&mine[4], 0, sizeof(mine[4]));
	while ((c = getopt_long(argc, argv, ":h", mine, NULL)) != -1) {
		if (c == 'h') {
			fputs(help, stdout);
			look->code = EXIT_YES;
			return false;
		}
		if (c == '?' || c == ':') {
			look->code = fail_option(look->verb, c, argv);
			return false;
		}
		if (!take_option(look, c))
			return false;
	}
	if (argc - optind != 1) {
		look->code = fail_usage(look->verb, "it takes one STATE");
		return false;
	}
	look->state = argv[optind];
	return true;
}

static void say_of(const struct look *look, const struct kho_error *err)
{
	fail("%s: %s: %s", look->verb, look->state, err->text);
}

static bool read_arena(struct look *look, int fd)
{
	unsigned int what = SNAPSHOT_MEMORY;
	struct kho_error err;
	int ret;

	if (!strcmp(look->verb, "verify"))
		what |= SNAPSHOT_USED;
	ret = snapshot_read(fd, what, &look->arena, &err);
	if (!ret)
		return true;
	say_of(look, &err);
	look->code = ret == -EBADMSG || ret == -EFAULT || ret == -ELOOP ?
			     EXIT_NO :
			     EXIT_UNKNOWN;
	return false;
}

/*
 * A file that is neither an arena nor an ELF file can be an image of memory.
 * When no root is in it, it is hard to say what it was meant to be.
 */
static bool read_kernel(struct look *look, int fd)
{
	struct kho_error err, arena;
	struct snapshot none;
	int ret;

	look->is_kernel = true;
	ret = kernel_read(fd, &look->options, &look->kernel, &err);
	if (!ret)
		return true;
	if (ret != -EPROTONOSUPPORT && !state_is_dump(fd) &&
	    look->options.kind == KHO_DUMP_AUTO &&
	    snapshot_read(fd, 0, &none, &arena))
		fail("%s: %s: %s; nor is it an ELF core or an image of memory: %s",
		     look->verb, look->state, arena.text, err.text);
	else
		say_of(look, &err);
	look->code = EXIT_UNKNOWN;
	return false;
}

bool look_read(struct look *look)
{
	struct kho_error err;
	bool ok;
	int fd;

	if (!strcmp(look->state, "running") && !is_service(look->state)) {
		look->is_kernel = true;
		look->code = EXIT_UNKNOWN;
		if (kernel_read_running(&look->options, &look->kernel, &err) ==
		    0)
			return true;
		fail("%s: %s", look->verb, err.text);
		return false;
	}
	fd = state_open(look->state, &err);
	if (fd < 0) {
		look->code = fail("%s: %s", look->verb, err.text);
		return false;
	}
	if (look->options.kind == KHO_DUMP_AUTO && state_is_arena(fd))
		ok = read_arena(look, fd);
	else
		ok = read_kernel(look, fd);
	close(fd);
	return ok;
}

void look_free(struct look *look)
{
	if (look->is_kernel)
		kernel_free(&look->kernel);
	else
		snapshot_free(&look->arena);
}
