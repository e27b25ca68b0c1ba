// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The runtime directory, and in it a folder for each service. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "folder.h"
#include "kho.h"

#define LOCK_FILE "lock"
#define STATUS_FILE "status.json"
#define STATUS_NEW "status.json.new"
#define STATUS_MAX (4u << 20)

/* A look at a lock holds it for an instant: no reason to give up. */
#define LOCK_TRIES 10
#define LOCK_PAUSE_US 20000

static const char *const files[] = { "control", "notify", STATUS_FILE,
				     STATUS_NEW };

bool service_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len <= SERVICE_NAME_MAX && strcmp(name, ".") &&
	       strcmp(name, "..") &&
	       strspn(name,
		      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       len;
}

/* The runtime directory's path, absolute; to free(). */
static char *runtime_path(void)
{
	const char *own = getenv("KHO_RUNTIME_DIR");
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	if (own && *own)
		return absolute_path(own);
	if (!geteuid())
		return format("/run/kho");
	if (xdg && xdg[0] == '/')
		return format("%s/kho", xdg);
	return format("/tmp/kho-%u", geteuid());
}

/*
 * Opens the runtime directory. Whoever can write to it could pass for any
 * service, so it has to be ours alone.
 */
static int runtime_open(bool create, char **path, struct kho_error *err)
{
	struct stat st;
	int dir, ret;

	*path = runtime_path();
	if (create && mkdir(*path, 0700) && errno != EEXIST)
		return kho_fail(err, -errno,
				"cannot make the runtime directory %s: %m: set KHO_RUNTIME_DIR to another one",
				*path);
	dir = open(*path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0)
		return kho_fail(err, -errno,
				"cannot open the runtime directory %s: %m",
				*path);
	if (fstat(dir, &st))
		ret = kho_fail(err, -errno, "%s: %m", *path);
	else if (st.st_uid != geteuid() || st.st_mode & 022)
		ret = kho_fail(err, -EPERM,
			       "the runtime directory %s can be written to by others: set KHO_RUNTIME_DIR to one of your own",
			       *path);
	else
		return dir;
	close(dir);
	return ret;
}

int folders_open(struct kho_error *err)
{
	char *path;
	int dir = runtime_open(false, &path, err);

	free(path);
	return dir;
}

static pid_t read_pid(int fd)
{
	char text[16] = "";

	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? atoi(text) : 0;
}

/* Takes the lock: 0, -EAGAIN when the folder has just gone, -EEXIST. */
static int lock_folder(struct folder *folder, const char *name,
		       struct kho_error *err)
{
	struct stat st;
	pid_t holder;

	folder->lock = openat(folder->dir, LOCK_FILE,
			      O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (folder->lock < 0)
		return errno == ENOENT ?
			       -EAGAIN :
			       kho_fail(err, -errno, "%s/" LOCK_FILE ": %s",
					folder->path, strerror(errno));
	for (int i = 0; flock(folder->lock, LOCK_EX | LOCK_NB); i++) {
		if (i < LOCK_TRIES) {
			usleep(LOCK_PAUSE_US);
			continue;
		}
		holder = read_pid(folder->lock);
		return kho_fail(err, -EEXIST,
				"name \"%s\" is taken by process %d: choose another with --name, or end it",
				name, holder);
	}
	if (fstat(folder->lock, &st) || !st.st_nlink)
		return -EAGAIN;
	return 0;
}

int folder_create(struct folder *folder, const char *name,
		  struct kho_error *err)
{
	char pid[16];
	char *base;
	int root = runtime_open(true, &base, err);
	int ret = root < 0 ? root : -EAGAIN;

	*folder = (struct folder){ .dir = -1, .lock = -1 };
	folder->path = format("%s/%s", base, name);
	/* Another supervisor may be removing it right now. */
	for (int i = 0; ret == -EAGAIN && i < LOCK_TRIES; i++) {
		char *path = folder->path;

		folder->path = NULL;
		folder_close(folder);
		folder->path = path;
		if (mkdirat(root, name, 0700) && errno != EEXIST) {
			ret = kho_fail(err, -errno, "cannot make %s: %m",
				       folder->path);
			break;
		}
		folder->dir =
			openat(root, name,
			       O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (folder->dir >= 0)
			ret = lock_folder(folder, name, err);
		else if (errno != ENOENT)
			ret = kho_fail(err, -errno, "cannot open %s: %m",
				       folder->path);
	}
	if (ret == -EAGAIN)
		kho_fail(err, ret, "%s comes and goes: try again",
			 folder->path);
	free(base);
	if (root >= 0)
		close(root);
	if (ret) {
		folder_close(folder);
		return ret;
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(folder->dir, files[i], 0);
	snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(folder->lock, 0) ||
	    pwrite(folder->lock, pid, strlen(pid), 0) < 0) {
		ret = kho_fail(err, -errno, "%s/" LOCK_FILE ": %s",
			       folder->path, strerror(errno));
		folder_remove(folder);
	}
	return ret;
}

int folder_open(struct folder *folder, const char *name, struct kho_error *err)
{
	char *base;
	int root = runtime_open(false, &base, NULL);
	int lock = -1;

	*folder = (struct folder){ .dir = -1, .lock = -1 };
	if (root >= 0 && service_name_ok(name)) {
		folder->path = format("%s/%s", base, name);
		folder->dir =
			openat(root, name,
			       O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (folder->dir >= 0)
			lock = openat(folder->dir, LOCK_FILE,
				      O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	free(base);
	if (root >= 0)
		close(root);
	if (lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) &&
	    errno == EWOULDBLOCK) {
		close(lock);
		return 0;
	}
	if (lock >= 0)
		close(lock);
	folder_close(folder);
	return kho_fail(err, -ENOENT,
			"no service \"%s\" is in custody: see 'kho list'",
			name);
}

void folder_close(struct folder *folder)
{
	free(folder->path);
	if (folder->dir >= 0)
		close(folder->dir);
	if (folder->lock >= 0)
		close(folder->lock);
	*folder = (struct folder){ .dir = -1, .lock = -1 };
}

void folder_remove(struct folder *folder)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(folder->dir, files[i], 0);
	unlinkat(folder->dir, LOCK_FILE, 0);
	rmdir(folder->path);
	folder_close(folder);
}

/* Through /proc, so that a long path fits into a socket's address. */
static struct sockaddr_un socket_address(const struct folder *folder,
					 const char *file)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s",
		 folder->dir, file);
	return addr;
}

int folder_socket(const struct folder *folder, const char *file, int type,
		  struct kho_error *err)
{
	struct sockaddr_un addr = socket_address(folder, file);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return kho_fail(err, -errno, "socket: %m");
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    (type != SOCK_DGRAM && listen(fd, 16))) {
		kho_fail(err, -errno, "cannot listen on %s/%s: %m",
			 folder->path, file);
		close(fd);
		return err->code;
	}
	return fd;
}

int folder_connect(const struct folder *folder, const char *file, int type,
		   unsigned int timeout_ms, struct kho_error *err)
{
	struct timeval timeout = { timeout_ms / 1000,
				   timeout_ms % 1000 * 1000 };
	struct sockaddr_un addr = socket_address(folder, file);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return kho_fail(err, -errno, "socket: %m");
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout,
		       sizeof(timeout)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
		       sizeof(timeout)) ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		kho_fail(err, -errno, "cannot connect to %s/%s: %m",
			 folder->path, file);
		close(fd);
		return err->code;
	}
	return fd;
}

int folder_write_status(const struct folder *folder, struct json_object *status)
{
	char *text = json_line(status);
	int fd = openat(folder->dir, STATUS_NEW,
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			0600);
	int ret = fd < 0 ? -errno : 0;

	if (!ret && dprintf(fd, "%s\n", text) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	if (!ret && renameat(folder->dir, STATUS_NEW, folder->dir, STATUS_FILE))
		ret = -errno;
	free(text);
	return ret;
}

struct json_object *folder_read_status(const struct folder *folder)
{
	int fd = openat(folder->dir, STATUS_FILE,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct json_object *json = NULL;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= STATUS_MAX)
		json = json_object_from_fd(fd);
	close(fd);
	return json;
}
