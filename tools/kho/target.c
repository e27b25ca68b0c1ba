// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* What the words PROGRAM and TARGET on the command line stand for. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kho/image.h>

#include "kho.h"
#include "proc.h"
#include "folder.h"
#include "service.h"
#include "target.h"

static int check_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS))
		return -EACCES;
	return 0;
}

static int search_path(const char *name, char **path)
{
	const char *dirs = getenv("PATH");
	int ret = -ENOENT;

	while (dirs && *dirs) {
		int len = (int)strcspn(dirs, ":");

		char *file =
			format("%.*s%s%s", len, dirs, len ? "/" : "", name);
		bool found = !check_executable(file);

		if (found)
			*path = absolute_path(file);
		free(file);
		if (found)
			return 0;
		dirs += len + !!dirs[len];
	}
	return ret;
}

int program_find(const char *name, char **path, struct kho_error *err)
{
	int ret;

	*path = NULL;
	if (!strchr(name, '/')) {
		if (!*name || search_path(name, path))
			return kho_fail(err, -ENOENT,
					"%s: no such program in PATH: a file in this directory is written ./%s",
					name, name);
		return 0;
	}
	ret = check_executable(name);
	if (ret == -EACCES)
		return kho_fail(err, ret,
				"%s: it cannot be executed: see chmod(1)",
				name);
	if (ret)
		return kho_fail(err, ret, "%s: %s", name, strerror(-ret));
	*path = absolute_path(name);
	return 0;
}

bool is_service(const char *word)
{
	struct service service;

	if (strchr(word, '/') || service_read(word, &service, NULL))
		return false;
	service_free(&service);
	return true;
}

static int service_manifest(const char *name, struct kho_manifest **manifest,
			    struct kho_error *err)
{
	struct service service;
	char *path;
	int fd, ret;

	ret = service_read(name, &service, err);
	if (ret)
		return ret;
	fd = service.pid ? process_exe(service.pid, O_RDONLY, &path) : -1;
	if (!service.pid) {
		/* Between two starts: what will be started. */
		ret = kho_target_open(service.program, manifest, err);
	} else if (fd >= 0) {
		ret = kho_target_read(fd, path, manifest, err);
		close(fd);
		free(path);
	} else {
		ret = kho_fail(err, fd, "the program of %s, process %d: %s",
			       name, service.pid, strerror(-fd));
	}
	service_free(&service);
	return ret;
}

char *kernel_path(const char *path)
{
	const char *root = getenv("KHO_ROOT");

	return format("%s%s", root ? root : "", path);
}

/*
 * A file is one in this directory or, as for kho run and kho update, a program
 * in PATH. @path: the latter's, to free(); otherwise NULL.
 */
static int find_file(const char *word, char **path, struct kho_error *err)
{
	bool here = !access(word, F_OK), same;
	struct stat a, b;

	*path = NULL;
	if (strchr(word, '/') || search_path(word, path)) {
		if (here || strchr(word, '/') || !service_name_ok(word))
			return 0;
		return kho_fail(err, -ENOENT,
				"%s: neither a file, nor a program in PATH, nor a service in custody: see 'kho list'",
				word);
	}
	if (!here)
		return 0;
	/* PATH may lead here. */
	same = !stat(word, &a) && !stat(*path, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
	if (!same)
		kho_fail(err, -ENOTUNIQ, "%s: say which is meant: ./%s or %s",
			 word, word, *path);
	free(*path);
	*path = NULL;
	return same ? 0 : -ENOTUNIQ;
}

int target_manifest(const char *target, struct kho_manifest **manifest,
		    struct kho_error *err)
{
	char *path;
	int ret;

	if (is_service(target))
		return service_manifest(target, manifest, err);
	if (!strcmp(target, "running"))
		return kho_manifest_running(getenv("KHO_ROOT"), manifest, err);
	ret = find_file(target, &path, err);
	if (!ret)
		ret = kho_target_open(path ? path : target, manifest, err);
	free(path);
	return ret;
}
