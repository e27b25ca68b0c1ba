// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* A STATE, which kho inspect and kho verify look at: what the word means, and reading it. */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <sys/stat.h>
#include <stdio.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/abi/arena.h>

#include "kho.h"
#include "options.h"
#include "service.h"
#include "state.h"
#include "target.h"

static bool state_is_arena(int fd)
{
	uint64_t magic;

	return pread(fd, &magic, sizeof(magic), 0) == sizeof(magic) &&
	       magic == KHO_ARENA_MAGIC;
}

static bool state_is_dump(int fd)
{
	char magic[12];

	return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	       (!memcmp(magic, ELFMAG, SELFMAG) ||
		!memcmp(magic, "KDUMP   ", 8) ||
		!memcmp(magic, "makedumpfile", 12));
}

/* Opens fd NAME of /proc/PID/fd if it is an arena, -1 if not. */
static int open_if_arena(int dir, const char *name)
{
	struct stat st;
	int fd;

	/* To open another kind of file may have effects. */
	if (fstatat(dir, name, &st, 0) || !S_ISREG(st.st_mode))
		return -1;
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || state_is_arena(fd))
		return fd;
	close(fd);
	return -1;
}

static bool same_inode(int a, int b)
{
	struct stat sa, sb;

	return !fstat(a, &sa) && !fstat(b, &sb) && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

static int find_arena(int pid, DIR *dir, struct kho_error *err)
{
	struct dirent *entry;
	int found = -1;

	while ((entry = readdir(dir))) {
		int fd = open_if_arena(dirfd(dir), entry->d_name);

		if (fd < 0)
			continue;
		if (found < 0) {
			found = fd;
			continue;
		}
		if (!same_inode(found, fd)) {
			close(found);
			close(fd);
			return kho_fail(err, -ENOTUNIQ,
					"process %d has several arenas: say which with pid:%d:FD",
					pid, pid);
		}
		close(fd);
	}
	if (found < 0)
		return kho_fail(err, -ENOENT, "process %d has no arena open",
				pid);
	return found;
}

/* pid:PID[:FD] */
static int open_process(const char *state, struct kho_error *err)
{
	int pid, number, end = 0, fd;
	char path[64];
	DIR *dir;

	if (sscanf(state, "pid:%d%n:%d%n", &pid, &end, &number, &end) < 1 ||
	    state[end] || pid < 1)
		return kho_fail(err, -EINVAL, "%s is not pid:PID or pid:PID:FD",
				state);
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	if (strchr(state + strlen("pid:"), ':')) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, number);
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		return fd < 0 ? kho_fail(err, -errno, "%s: %m", path) : fd;
	}
	dir = opendir(path);
	if (!dir)
		return kho_fail(err, -errno, "cannot look into process %d: %m",
				pid);
	fd = find_arena(pid, dir, err);
	closedir(dir);
	return fd;
}

static int open_service_arena(const char *name, struct kho_error *err)
{
	struct service service;
	int ret = service_read(name, &service, err);

	if (!ret) {
		ret = service_arena(&service, err);
		service_free(&service);
	}
	return ret;
}

/* NAME, pid:PID[:FD], or a file: an arena, or the memory of a machine. */
static int open_word(const char *word, struct kho_error *err)
{
	int fd;

	if (!strncmp(word, "pid:", 4))
		return open_process(word, err);
	if (is_service(word))
		return open_service_arena(word, err);
	fd = open(word, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT && !strchr(word, '/'))
		return kho_fail(err, -ENOENT,
				"%s: neither a service in custody nor a file: see 'kho list'",
				word);
	return kho_fail(err, -errno, "%s: %m", word);
}

static uint64_t take_phys(const struct state *state, const char *text,
			  uint64_t least)
{
	uint64_t phys;
	char *end;

	errno = 0;
	phys = strtoull(text, &end, 0);
	if (text[0] < '0' || text[0] > '9' || *end || errno || phys < least)
		finish(fail_usage(state->verb,
				  "%s is no address such as 0x22a0000", text));
	return phys;
}

static void take_fdt(void *arg, const char *text)
{
	struct state *state = arg;

	state->options.fdt = take_phys(state, text, 1);
}

static void take_base(void *arg, const char *text)
{
	struct state *state = arg;

	state->options.kind = KHO_DUMP_RAW;
	state->options.base = take_phys(state, text, 0);
}

int state_options(struct state *state, const char *help, int argc, char **argv)
{
	bool looks = strcmp(state->verb, "verify") != 0;
	const struct verb_option options[] = {
		{ "json", .flag = &state->json },
		{ "fdt", .take = take_fdt, .to = state },
		{ "base", .take = take_base, .to = state },
		/* Of kho inspect alone. */
		{ looks ? "svg" : NULL, .text = &state->svg },
		{ "trim", .text = &state->trim },
		{ "no-checksums", .flag = &state->options.no_checksums },
		{},
	};
	char **words = parse_options(argc, argv, help, "", options);

	if (!words[0] || words[1])
		return fail_usage(state->verb, "it takes one STATE");
	state->word = words[0];
	return 0;
}

static void say_of(const struct state *state, const struct kho_error *err)
{
	fail("%s: %s: %s", state->verb, state->word, err->text);
}

static bool read_arena(struct state *state, int fd)
{
	unsigned int what = SNAPSHOT_MEMORY;
	struct kho_error err;
	int ret;

	if (!strcmp(state->verb, "verify"))
		what |= SNAPSHOT_USED;
	ret = snapshot_read(fd, what, &state->arena, &err);
	if (!ret)
		return true;
	say_of(state, &err);
	state->code = ret == -EBADMSG || ret == -EFAULT || ret == -ELOOP ?
			      EXIT_NO :
			      EXIT_UNKNOWN;
	return false;
}

/*
 * A file that is neither an arena nor an ELF file can be an image of memory.
 * When no root is in it, it is hard to say what it was meant to be.
 */
static bool read_kernel(struct state *state, int fd)
{
	struct kho_error err, arena;
	struct snapshot none;
	int ret;

	state->is_kernel = true;
	ret = kernel_read(fd, &state->options, &state->kernel, &err);
	if (!ret)
		return true;
	if (ret != -EPROTONOSUPPORT && !state_is_dump(fd) &&
	    state->options.kind == KHO_DUMP_AUTO &&
	    snapshot_read(fd, 0, &none, &arena))
		fail("%s: %s: %s; nor is it an ELF core or an image of memory: %s",
		     state->verb, state->word, arena.text, err.text);
	else
		say_of(state, &err);
	state->code = EXIT_UNKNOWN;
	return false;
}

bool state_read(struct state *state)
{
	struct kho_error err;
	bool ok;
	int fd;

	if (!strcmp(state->word, "running") && !is_service(state->word)) {
		state->is_kernel = true;
		state->code = EXIT_UNKNOWN;
		if (kernel_read_running(&state->options, &state->kernel,
					&err) == 0)
			return true;
		fail("%s: %s", state->verb, err.text);
		return false;
	}
	fd = open_word(state->word, &err);
	if (fd < 0) {
		state->code = fail("%s: %s", state->verb, err.text);
		return false;
	}
	if (state->options.kind == KHO_DUMP_AUTO && state_is_arena(fd))
		ok = read_arena(state, fd);
	else
		ok = read_kernel(state, fd);
	close(fd);
	return ok;
}

void state_free(struct state *state)
{
	if (state->is_kernel)
		kernel_free(&state->kernel);
	else
		snapshot_free(&state->arena);
}
