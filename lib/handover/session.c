// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* The kernel's /dev/liveupdate: its ioctls, and what their errors mean. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <kho/session.h>

#define DEVICE "/dev/liveupdate"

/* Others have it open only for a moment. */
#define BUSY_TRIES 100
#define BUSY_PAUSE_MS 50

/* uapi/linux/liveupdate.h, which Debian 12 does not have. */
#define IOCTL_CREATE_SESSION _IO(0xba, 0x00)
#define IOCTL_RETRIEVE_SESSION _IO(0xba, 0x01)
#define IOCTL_PRESERVE_FD _IO(0xba, 0x40)
#define IOCTL_RETRIEVE_FD _IO(0xba, 0x41)
#define IOCTL_FINISH _IO(0xba, 0x42)

struct session_arg {
	uint32_t size;
	int32_t fd;
	uint8_t name[KHO_SESSION_NAME_SIZE];
};

struct fd_arg {
	uint32_t size;
	int32_t fd;
	uint64_t token;
};

struct finish_arg {
	uint32_t size;
	uint32_t reserved;
};

static const char *explain_open(int error)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return "this kernel has no live update: it needs CONFIG_LIVEUPDATE, and liveupdate=on on its command line";
	case EACCES:
	case EPERM:
		return "not permitted: be root";
	case EBUSY:
		return "another process keeps it open";
	case EIO:
		return "the kernel could not read what the one before it handed over: see its log";
	default:
		return strerror(error);
	}
}

static int open_device(struct kho_error *err)
{
	int fd, error;

	for (int i = 0;; i++) {
		fd = open(DEVICE, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		error = errno;
		if (error != EBUSY || i == BUSY_TRIES)
			break;
		poll(NULL, 0, BUSY_PAUSE_MS);
	}
	return kho_fail(err, -error, DEVICE ": %s", explain_open(error));
}

static int open_session(const char *name, unsigned long request,
			const char *verb, struct kho_error *err)
{
	struct session_arg arg = { .size = sizeof(arg), .fd = -1 };
	size_t len = strlen(name);
	int device, ret = 0;

	if (!len || len >= sizeof(arg.name))
		return kho_fail(err, -EINVAL,
				"session: a name has 1 to %zu bytes, not %zu",
				sizeof(arg.name) - 1, len);
	memcpy(arg.name, name, len);
	device = open_device(err);
	if (device < 0)
		return device;
	if (ioctl(device, request, &arg))
		ret = kho_fail(err, -errno, "session %s: cannot %s it: %s",
			       name, verb, strerror(errno));
	close(device);
	return ret ? ret : arg.fd;
}

int kho_session_create(const char *name, struct kho_error *err)
{
	return open_session(name, IOCTL_CREATE_SESSION, "create", err);
}

int kho_session_retrieve(const char *name, struct kho_error *err)
{
	return open_session(name, IOCTL_RETRIEVE_SESSION, "retrieve", err);
}

int kho_session_preserve_fd(int session, int fd, uint64_t token,
			    struct kho_error *err)
{
	struct fd_arg arg = { sizeof(arg), fd, token };

	if (ioctl(session, IOCTL_PRESERVE_FD, &arg) == 0)
		return 0;
	return kho_fail(err, -errno,
			"session: cannot preserve fd %d under token %llu: %s",
			fd, (unsigned long long)token,
			errno == ENOENT ? "the kernel has no handler for it" :
			errno == EBUSY	? "it is preserved already" :
			errno == ENOTTY ? "not a session" :
					  strerror(errno));
}

int kho_session_retrieve_fd(int session, uint64_t token, struct kho_error *err)
{
	struct fd_arg arg = { sizeof(arg), -1, token };

	if (ioctl(session, IOCTL_RETRIEVE_FD, &arg) == 0)
		return arg.fd;
	return kho_fail(err, -errno, "session: cannot retrieve token %llu: %s",
			(unsigned long long)token,
			errno == ENOENT ? "there is none" :
			errno == ENOTTY ? "not a session" :
					  strerror(errno));
}

int kho_session_finish(int session, struct kho_error *err)
{
	struct finish_arg arg = { .size = sizeof(arg) };

	if (ioctl(session, IOCTL_FINISH, &arg) == 0)
		return 0;
	return kho_fail(err, -errno, "session: cannot finish it: %s",
			errno == ENOTTY ? "not a session" : strerror(errno));
}
