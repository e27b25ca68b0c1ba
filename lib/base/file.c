// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Files that get longer; file.h says what is special about it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

/*
 * SIGXFSZ is for the thread that makes the system call. While this one holds it
 * back, no other thread is concerned, and what the program wants to be done
 * with the signal stays as it is.
 */
struct held {
	sigset_t signal;
	sigset_t mask; /* of the thread, before */
	bool pending; /* it was, before: not ours to take */
};

static struct held hold(void)
{
	struct held held;
	sigset_t pending;

	sigemptyset(&held.signal);
	sigaddset(&held.signal, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &held.signal, &held.mask);
	sigpending(&pending);
	held.pending = sigismember(&pending, SIGXFSZ);
	return held;
}

static void release(const struct held *held, int ret)
{
	const struct timespec now = { 0 };

	if (ret == -EFBIG && !held->pending)
		sigtimedwait(&held->signal, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &held->mask, NULL);
}

int file_truncate(int fd, uint64_t size)
{
	struct held held = hold();
	int ret = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;

	release(&held, ret);
	return ret;
}

int file_allocate(int fd, uint64_t offset, uint64_t len)
{
	struct held held = hold();
	int ret;

	do {
		ret = fallocate(fd, 0, (off_t)offset, (off_t)len) < 0 ? -errno :
									0;
	} while (ret == -EINTR);
	release(&held, ret);
	return ret;
}

int file_write(int fd, const void *buf, size_t len, uint64_t offset)
{
	struct held held = hold();
	const char *from = buf;
	int ret = 0;

	while (len && !ret) {
		ssize_t n = pwrite(fd, from, len, (off_t)offset);

		if (n > 0) {
			from += n;
			offset += (uint64_t)n;
			len -= (size_t)n;
		} else if (n == 0) {
			ret = -EIO;
		} else if (errno != EINTR) {
			ret = -errno;
		}
	}
	release(&held, ret);
	return ret;
}
