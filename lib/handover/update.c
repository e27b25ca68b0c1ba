// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * From one program to the next: the old program's side of a handover.
 *
 * 1. preflight of the successor's file against the state: a refusal ends it
 * 2. spawn() the file that was checked, and wait for its HELLO
 * 3. the application's freeze callback, and what is not in the negotiated
 *    version is converted (freeze.c); then nothing is allocated any more
 * 4. send_state(), and wait for READY
 * 5. commit(): the arena becomes read-only here, COMMIT, and wait for DONE
 *
 * Whatever fails before DONE unwinds in reverse order: the arena is writable
 * again, what was converted is converted back, the application unfrozen, the
 * successor killed and reaped.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kho/check.h>
#include <kho/manifest.h>
#include <kho/update.h>

#include "base/opts.h"
#include "handover/private.h"

/* The successor's process. */
struct successor {
	pid_t pid;
	bool reaped;
	int pidfd;
	int sock;
	int file; /* the executable, as checked */
	const char *path;
	int timeout_ms;
	uint64_t frozen_us;
};

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static int open_file(const char *path, struct kho_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int ret = -EACCES;

	if (fd < 0)
		return kho_fail(err, -errno, "update: %s: %s", path,
				strerror(errno));
	if (fstat(fd, &st) < 0)
		ret = kho_fail(err, -errno, "update: %s: %s", path,
			       strerror(errno));
	else if (!S_ISREG(st.st_mode))
		kho_fail(err, ret, "update: %s: not a regular file", path);
	else if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		kho_fail(err, ret, "update: %s: not executable; try chmod +x",
			 path);
	else
		return fd;
	close(fd);
	return ret;
}

/* The environment for the successor: ours, with the socket's number. */
static char **make_env(int sock)
{
	size_t n = 0, used = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 2, sizeof(*env));
	if (!env || asprintf(&env[0], KHO_UPDATE_ENV "=%d", sock) < 0) {
		free(env);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], KHO_UPDATE_ENV "=",
			    sizeof(KHO_UPDATE_ENV)))
			env[++used] = environ[i];
	return env;
}

/* The arguments of this program, for a successor that got none. */
static char **own_argv(const char *path, char **buffer)
{
	size_t size = 0, cap = 4096, n = 0;
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	char *buf = malloc(cap + 1), **argv = NULL;
	ssize_t got = -1;

	while (buf && fd >= 0 && (got = read(fd, buf + size, cap - size)) > 0) {
		char *more;

		size += (size_t)got;
		if (size < cap)
			continue;
		more = realloc(buf, 2 * cap + 1);
		if (!more) {
			got = -1;
			break;
		}
		buf = more;
		cap *= 2;
	}
	if (fd >= 0)
		close(fd);
	if (got == 0) {
		buf[size] = '\0';
		for (size_t i = 0; i < size; i++)
			n += buf[i] == '\0';
		argv = calloc(n + 2, sizeof(*argv));
	}
	if (!argv) {
		free(buf);
		return NULL;
	}
	argv[0] = (char *)(uintptr_t)path;
	n = 1;
	for (char *p = buf + strlen(buf) + 1; p < buf + size;
	     p += strlen(p) + 1)
		argv[n++] = p;
	*buffer = buf;
	return argv;
}

/*
 * In the child: nothing but system calls, for other threads may have held
 * locks. Only the socket stays open.
 */
static void exec_child(int file, int sock, char *const *argv, char *const *env)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	fcntl(sock, F_SETFD, 0);
	execveat(file, "", argv, env, AT_EMPTY_PATH);
	_exit(127);
}

static int spawn(struct successor *next, char *const *argv,
		 struct kho_error *err)
{
	char *buffer = NULL, **own = NULL, **env = NULL;
	int pair[2], ret = -ENOMEM;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return kho_fail(err, -errno, "update: socketpair: %s",
				strerror(errno));
	env = make_env(pair[1]);
	if (!argv)
		argv = own = own_argv(next->path, &buffer);
	if (env && argv) {
		next->pid = fork();
		if (next->pid == 0)
			exec_child(next->file, pair[1], argv, env);
		ret = next->pid < 0 ? -errno : 0;
	}
	if (!ret) {
		next->pidfd = pidfd_open(next->pid, 0);
		next->sock = pair[0];
		if (next->pidfd < 0) {
			ret = -errno;
			kill(next->pid, SIGKILL);
			waitpid(next->pid, NULL, 0);
		}
	}
	if (ret) {
		close(pair[0]);
		kho_fail(err, ret, "update: cannot start %s: %s", next->path,
			 strerror(-ret));
	}
	close(pair[1]);
	if (env)
		free(env[0]);
	free(env);
	free(own);
	free(buffer);
	return ret;
}

/* Kill what is left of the successor; @status as of waitpid(), or -1. */
static void reap(struct successor *next, bool force, int *status)
{
	if (force)
		pidfd_send_signal(next->pidfd, SIGKILL, NULL, 0);
	while (waitpid(next->pid, status, 0) < 0) {
		if (errno == EINTR)
			continue;
		*status = -1; /* somebody else reaped it */
		break;
	}
	next->reaped = true;
}

/* The successor's end of the socket is gone: what happened to it? */
static int explain_death(struct successor *next, struct kho_error *err)
{
	int status;

	/* It may have closed the socket and live on. */
	poll(&(struct pollfd){ .fd = next->pidfd, .events = POLLIN }, 1, 1000);
	reap(next, true, &status);
	if (status == -1)
		return kho_fail(err, -ECHILD,
				"update: %s ended before it was ready",
				next->path);
	if (WIFSIGNALED(status))
		return kho_fail(err, -ECHILD,
				"update: %s was killed by signal %d (%s) before it was ready",
				next->path, WTERMSIG(status),
				strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status) == 127)
		return kho_fail(err, -ECHILD,
				"update: %s ended with exit code 127: it could not be executed",
				next->path);
	return kho_fail(err, -ECHILD,
			"update: %s ended with exit code %d before it was ready",
			next->path, WEXITSTATUS(status));
}

/* Wait for a message of one type; anything else ends the update. */
static int expect(struct successor *next, uint32_t type, const char *what,
		  struct kho_error *err)
{
	struct handover_msg msg;
	int ret = handover_recv(next->sock, next->timeout_ms, &msg);

	if (ret == -EPIPE)
		return explain_death(next, err);
	if (ret == -ETIMEDOUT)
		return kho_fail(err, ret, "update: %s %s within %d ms",
				next->path, what, next->timeout_ms);
	if (ret)
		return kho_fail(err, ret, "update: %s: %s", next->path,
				strerror(-ret));
	if (msg.type == KHO_UPDATE_REFUSED) {
		ret = msg.value && msg.value < 4096 ? -(int)msg.value :
						      -EPROTONOSUPPORT;
		kho_fail(err, ret, "update: %s refused: %.*s", next->path,
			 (int)strcspn(msg.text, "\n"), msg.text);
	} else if (msg.type != type) {
		ret = kho_fail(err, -EBADMSG,
			       "update: %s sent an unexpected message %u",
			       next->path, msg.type);
	}
	for (size_t i = 0; i < msg.n_fds; i++)
		close(msg.fds[i]);
	free(msg.text);
	return ret;
}

/* The arena, the control socket and the application's fds, in this order. */
static int send_state(struct kho *kho, struct successor *next,
		      struct kho_error *err)
{
	struct named_fd first[2] = { { .name = FD_ARENA, .fd = kho->fd },
				     { .name = FD_CONTROL,
				       .fd = kho->service->fds.control } };
	size_t n_first = kho->service->fds.control >= 0 ? 2 : 1, n, sent = 0,
	       total;
	struct named_fd *list;
	int ret = fds_snapshot(kho, &list, &n);

	if (ret)
		return kho_fail(err, ret, "update: out of memory");
	for (total = n + n_first; !ret && sent < total;) {
		char text[KHO_UPDATE_FDS_MAX * (sizeof(first[0].name) + 8)];
		int fds[KHO_UPDATE_FDS_MAX];
		size_t count = 0, len = 0;

		for (; count < KHO_UPDATE_FDS_MAX && sent < total; sent++) {
			const struct named_fd *nfd =
				sent < n_first ? &first[sent] :
						 &list[sent - n_first];

			fds[count++] = nfd->fd;
			len += (size_t)sprintf(text + len, "%s%s\n", nfd->name,
					       nfd->stored ? " stored" : "");
		}
		ret = handover_send(next->sock, KHO_UPDATE_FDS, 0, text, fds,
				    count);
	}
	free(list);
	if (!ret)
		ret = handover_send(next->sock, KHO_UPDATE_STATE,
				    (uint32_t)total, "", NULL, 0);
	if (ret == -EPIPE || ret == -ECONNRESET)
		return explain_death(next, err);
	return ret ? kho_fail(err, ret,
			      "update: cannot pass the open files to %s: %s",
			      next->path, strerror(-ret)) :
		     0;
}

/*
 * The point of no return. Until the successor says DONE it has changed
 * nothing; once it did, the arena is its own, even if it dies right after.
 */
static int commit(struct kho *kho, struct successor *next,
		  struct kho_error *err)
{
	struct handover_msg msg;
	int ret, status;

	ret = arena_set_writable(kho, false);
	if (ret)
		return kho_fail(err, ret, "update: mprotect: %s",
				strerror(-ret));
	__atomic_store_n(&kho->stage, KHO_GONE, __ATOMIC_RELEASE);
	ret = handover_send(next->sock, KHO_UPDATE_COMMIT, 0, "", NULL, 0);
	if (!ret)
		ret = handover_recv(next->sock, next->timeout_ms, &msg);
	if (ret == -ETIMEDOUT) {
		/* Dead, it either said DONE before or never will. */
		reap(next, true, &status);
		ret = handover_recv(next->sock, 0, &msg);
	}
	if (!ret) {
		free(msg.text);
		if (msg.type == KHO_UPDATE_DONE)
			return 0;
	}
	__atomic_store_n(&kho->stage, KHO_FROZEN, __ATOMIC_RELEASE);
	arena_set_writable(kho, true);
	return !next->reaped ?
		       explain_death(next, err) :
		       kho_fail(err, -ETIMEDOUT,
				"update: %s did not take over within %d ms",
				next->path, next->timeout_ms);
}

/* From freeze on: the application stands still. */
static int hand_over(struct kho *kho, struct successor *next,
		     struct negotiation *negotiation, struct kho_error *err)
{
	uint64_t start = now_us();
	int ret = negotiation_freeze(kho, negotiation, err);

	if (!ret) {
		ret = send_state(kho, next, err);
		if (!ret)
			ret = expect(next, KHO_UPDATE_READY, "was not ready",
				     err);
		if (!ret)
			ret = commit(kho, next, err);
		if (ret)
			negotiation_thaw(kho, negotiation);
	}
	if (negotiation->froze)
		next->frozen_us = now_us() - start;
	return ret;
}

static int start_and_hand_over(struct kho *kho, struct successor *next,
			       struct negotiation *negotiation,
			       struct kho_error *err)
{
	const struct kho_update_opts *opts = negotiation->opts;
	int ret = spawn(next, opts ? opts->argv : NULL, err), status;
	char text[32];

	if (ret)
		return ret;
	ret = expect(next, KHO_UPDATE_HELLO, "did not attach", err);
	if (!ret)
		ret = hand_over(kho, next, negotiation, err);
	if (!ret) {
		/*
		 * Our end is no longer the service's. The successor says so
		 * too, but it may be killed before it gets to that.
		 */
		snprintf(text, sizeof(text), "MAINPID=%d\n", (int)next->pid);
		notify_send(text);
	}
	if (ret && !next->reaped)
		reap(next, true, &status);
	close(next->pidfd);
	close(next->sock);
	return ret;
}

static int update(struct kho *kho, struct successor *next,
		  const struct kho_update_opts *opts,
		  struct kho_report **report, struct kho_error *err)
{
	struct negotiation negotiation = { .through = "update", .opts = opts };
	struct kho_manifest *to = NULL;
	int ret;

	next->file = open_file(next->path, err);
	if (next->file < 0)
		return next->file;
	ret = kho_manifest_read(next->file, next->path, &to, err);
	if (!ret) {
		negotiation.to = to;
		ret = negotiation_preflight(kho, &negotiation, report, err);
	}
	if (!ret)
		ret = start_and_hand_over(kho, next, &negotiation, err);
	negotiation_exit(&negotiation);
	kho_manifest_free(to);
	close(next->file);
	return ret;
}

int kho_preflight(struct kho *kho, const struct kho_manifest *to,
		  const struct kho_update_opts *opts,
		  struct kho_report **report, struct kho_error *err)
{
	struct kho_update_opts how;
	int ret = OPTS_COPY(&how, opts, kho_update_opts, err);

	return ret ? ret :
		     negotiation_check(kho, to, "update", &how, report, err);
}

int kho_update(struct kho *kho, const char *path,
	       const struct kho_update_opts *opts, struct kho_error *err)
{
	struct successor next = { .path = path };
	struct kho_report *report = NULL;
	struct kho_update_opts how;
	int ret = OPTS_COPY(&how, opts, kho_update_opts, err);

	if (ret)
		return ret;
	next.timeout_ms = how.timeout_ms ? (int)how.timeout_ms :
					   KHO_UPDATE_TIMEOUT;
	if (how.report)
		*how.report = NULL;
	if (!kho->service->ready || !kho_writable(kho))
		ret = kho_fail(err, -EROFS,
			       "update: this program is not ready itself");
	else if (__atomic_exchange_n(&kho->service->updating, true,
				     __ATOMIC_ACQ_REL))
		ret = kho_fail(err, -EALREADY,
			       "update: another update is going on");
	else {
		ret = update(kho, &next, &how, &report, err);
		__atomic_store_n(&kho->service->updating, false,
				 __ATOMIC_RELEASE);
	}
	if (how.frozen_us)
		*how.frozen_us = next.frozen_us;
	if (!ret && how.pid)
		*how.pid = next.pid;
	if (how.report)
		*how.report = report;
	else
		kho_report_free(report);
	return ret;
}
