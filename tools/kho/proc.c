// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* What /proc says of a process. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kho.h"
#include "proc.h"

/* More generations than anybody has; ends a walk through reused pids. */
#define ANCESTORS_MAX 64

/* What execve() accepts at most. */
#define ARGS_MAX (6u << 20)

static int open_proc(pid_t pid, const char *file, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return open(path, flags | O_CLOEXEC);
}

static pid_t parent(pid_t pid)
{
	int fd = open_proc(pid, "stat", O_RDONLY);
	char text[512];
	const char *name_end;
	ssize_t len;
	int ppid;

	if (fd < 0)
		return 0;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return 0;
	text[len] = 0;
	/* "PID (NAME) STATE PPID ...": a name may contain anything. */
	name_end = strrchr(text, ')');
	if (!name_end || sscanf(name_end + 1, " %*c %d", &ppid) != 1)
		return 0;
	return ppid;
}

bool process_descends(pid_t pid, pid_t ancestor)
{
	for (int i = 0; i < ANCESTORS_MAX && pid > 0; i++) {
		if (pid == ancestor)
			return true;
		pid = parent(pid);
	}
	return false;
}

void process_kill_children(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		pid_t pid = atoi(entry->d_name);

		/* Nobody but us reaps them: the pid is still theirs. */
		if (pid > 0 && parent(pid) == getpid())
			kill(pid, SIGKILL);
	}
	if (dir)
		closedir(dir);
}

int process_exe(pid_t pid, int flags, char **path)
{
	static const char deleted[] = " (deleted)";
	int fd = open_proc(pid, "exe", flags);
	char link[64], target[PATH_MAX];
	ssize_t len;

	if (fd < 0)
		return -errno;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, target, sizeof(target) - 1);
	if (len < 0) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	target[len] = 0;
	len -= (ssize_t)strlen(deleted);
	if (len > 0 && !strcmp(target + len, deleted))
		target[len] = 0;
	*path = must(strdup(target));
	return fd;
}

char **process_argv(pid_t pid)
{
	int fd = open_proc(pid, "cmdline", O_RDONLY);
	char *text = NULL;
	size_t len = 0, n = 0, i = 0;
	char **argv;
	ssize_t got;

	if (fd < 0)
		return NULL;
	do {
		text = must(realloc(text, len + 4096));
		got = read(fd, text + len, 4095);
		len += got > 0 ? (size_t)got : 0;
	} while (got > 0 && len < ARGS_MAX);
	close(fd);
	text[len] = 0;
	for (size_t at = 0; at < len; at += strlen(text + at) + 1)
		n++;
	argv = n ? must(malloc((n + 1) * sizeof(*argv) + len + 1)) : NULL;
	if (argv) {
		char *copy = memcpy(argv + n + 1, text, len + 1);

		for (size_t at = 0; at < len; at += strlen(copy + at) + 1)
			argv[i++] = copy + at;
		argv[n] = NULL;
	}
	free(text);
	return argv;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	/* A device can have several nodes. */
	if (S_ISCHR(a->st_mode) && S_ISCHR(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool holds(pid_t pid, const struct stat *file)
{
	int fd = open_proc(pid, "fd", O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct stat st;
	bool found = false;

	while (dir && !found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' &&
			!fstatat(fd, entry->d_name, &st, 0) &&
			same_file(file, &st);
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	return found;
}

pid_t process_holding(const char *path, char name[16])
{
	struct dirent *entry;
	struct stat file;
	pid_t pid, holder = 0;
	ssize_t len = 0;
	DIR *dir;
	int fd;

	if (stat(path, &file))
		return 0;
	dir = opendir("/proc");
	while (dir && !holder && (entry = readdir(dir))) {
		pid = atoi(entry->d_name);
		if (pid > 0 && pid != getpid() && holds(pid, &file))
			holder = pid;
	}
	if (dir)
		closedir(dir);
	fd = holder ? open_proc(holder, "comm", O_RDONLY) : -1;
	if (fd >= 0) {
		len = read(fd, name, 15);
		close(fd);
	}
	name[len > 0 ? len : 0] = 0;
	name[strcspn(name, "\n")] = 0;
	return holder;
}
