// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Handovers between real processes: one that succeeds, and each way to fail,
 * after which the old program must serve on as if nothing had been.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <kho/attach.h>
#include <kho/control.h>
#include <kho/fds.h>
#include <kho/pages.h>
#include <kho/tree.h>
#include <kho/update.h>

#define MANY 500

KHO_COMPONENT(state, .write = { 1, 1 }, .read = { 1, 1 });

/* The old program, in a process of its own. */
struct old {
	struct kho *kho;
	uint64_t *number;
	int frozen, unfrozen;
	int refuse;
};

static int freeze(struct kho *kho, const struct kho_report *report, void *arg)
{
	struct old *old = arg;

	(void)kho;
	(void)report;
	old->frozen++;
	return old->refuse;
}

static void unfreeze(struct kho *kho, void *arg)
{
	struct old *old = arg;

	(void)kho;
	old->unfrozen++;
}

static const char *successor_path, *successor_v2_path;

/* What the test reads of both programs. */
struct result {
	int code;
	int frozen, unfrozen;
	int serving; /* the old program could still write and allocate */
	struct kho_error err;
};

static int still_serving(struct old *old)
{
	void *page = kho_alloc_preserve(old->kho, 1);

	++*old->number;
	return page && kho_unpreserve_free(old->kho, page) == 0 &&
	       *old->number == 42;
}

static void old_program(const char *path, const char *mode, int refuse, int out,
			int results)
{
	char name[] = "successor";
	char *argv[] = { name, (char *)(uintptr_t)mode, NULL };
	struct old old = { .number = NULL, .refuse = refuse };
	struct kho_attach_opts attach = { .size = sizeof(attach),
					  .freeze = freeze,
					  .unfreeze = unfreeze,
					  .arg = &old };
	struct result result = { 0 };
	struct kho_update_opts opts = { .size = sizeof(opts),
					.argv = argv,
					.timeout_ms = 500 };

	if (kho_attach(&old.kho, &attach, NULL))
		_exit(1);
	old.number = kho_alloc_preserve(old.kho, 8);
	*old.number = 41;
	if (kho_add_subtree(old.kho, "state", &state_component, 0, old.number,
			    8, NULL) ||
	    kho_add_fd(old.kho, "out", out, 0, NULL))
		_exit(1);
	for (int i = 0; i < MANY; i++)
		if (kho_add_fd(old.kho, "many", dup(0), 0, NULL))
			_exit(1);
	if (kho_ready(old.kho, NULL))
		_exit(1);
	result.code = kho_update(old.kho, path, &opts, &result.err);
	result.frozen = old.frozen;
	result.unfrozen = old.unfrozen;
	if (result.code)
		result.serving = still_serving(&old);
	if (write(results, &result, sizeof(result)) != sizeof(result))
		_exit(1);
	_exit(0);
}

/* Run an update; @said is what the successor said, "" if it never served. */
static struct result run(const char *path, const char *mode, int refuse,
			 char said[64])
{
	struct result result;
	int out[2], results[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe2(results, O_CLOEXEC), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		close(out[0]);
		old_program(path, mode, refuse, out[1], results[1]);
	}
	close(out[1]);
	close(results[1]);
	n = read(results[0], &result, sizeof(result));
	assert_int_equal(n, sizeof(result));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* Ends when the successor is gone as well. */
	n = read(out[0], said, 63);
	said[n > 0 ? n : 0] = '\0';
	close(out[0]);
	close(results[0]);
	return result;
}

static void succeeds(void **state)
{
	struct result result;
	char said[64];

	(void)state;
	result = run(successor_path, "serve", 0, said);
	if (result.code)
		fail_msg("%d %s", result.code, result.err.text);
	assert_int_equal(result.frozen, 1);
	assert_int_equal(result.unfrozen, 0);
	assert_string_equal(said, "successor 42 500\n");
}

static void aborts(const char *path, const char *mode, int refuse, int code,
		   int frozen, const char *text)
{
	char said[64];
	struct result result = run(path, mode, refuse, said);

	if (result.code != code || !strstr(result.err.text, text))
		fail_msg("%s: got %d \"%s\", expected %d \"%s\"", mode,
			 result.code, result.err.text, code, text);
	assert_null(strchr(result.err.text, '\n'));
	assert_int_equal(result.frozen, frozen);
	/* A freeze that refused has nothing to take back. */
	assert_int_equal(result.unfrozen, refuse ? 0 : frozen);
	assert_true(result.serving);
	assert_string_equal(said, "");
}

static void successor_fails(void **state)
{
	(void)state;
	aborts(successor_path, "exit-early", 0, -ECHILD, 0, "exit code 3");
	aborts(successor_path, "never-attach", 0, -ETIMEDOUT, 0,
	       "did not attach within 500 ms");
	aborts(successor_path, "crash", 0, -ECHILD, 1, "signal 6");
	aborts(successor_path, "never-ready", 0, -ETIMEDOUT, 1,
	       "was not ready within 500 ms");
}

/* Before kho_ready() the successor cannot write: it dies, nothing changes. */
static void successor_writes_early(void **state)
{
	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	/* The sanitizer catches SIGSEGV and exits. */
	aborts(successor_path, "write-early", 0, -ECHILD, 1, "exit code");
#else
	aborts(successor_path, "write-early", 0, -ECHILD, 1, "signal 11");
#endif
}

static void freeze_refuses(void **state)
{
	(void)state;
	aborts(successor_path, "serve", -EAGAIN, -EAGAIN, 1, "cannot freeze");
}

static void preflight_refuses(void **state)
{
	(void)state;
	aborts(successor_v2_path, "serve", 0, -EPROTONOSUPPORT, 0, "state");
}

static void bad_successors(void **state)
{
	char path[] = "/tmp/kho-test-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	aborts("/nonexistent/program", "serve", 0, -ENOENT, 0, "No such file");
	aborts("/tmp", "serve", 0, -EACCES, 0, "not a regular file");
	aborts("/bin/true", "serve", 0, -ENODATA, 0, "/bin/true");
	assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
	aborts(path, "serve", 0, -EACCES, 0, "not executable");
	fchmod(fd, 0755);
	close(fd);
	aborts(path, "serve", 0, -ENOEXEC, 0, "ELF");
	unlink(path);
}

static void needs_to_be_ready(void **state)
{
	struct kho_error err;
	struct kho_update_opts opts = { .size = sizeof(opts) };
	struct kho *kho;

	(void)state;
	assert_int_equal(kho_attach(&kho, NULL, NULL), 0);
	assert_int_equal(kho_update(kho, successor_path, &opts, &err), -EROFS);
	assert_int_equal(kho_poll_fd(kho), -ENOENT);
	assert_int_equal(kho_poll(kho, 0), 0);
	kho_close(kho);
}

static void fds(void **state)
{
	struct kho *kho;

	(void)state;
	assert_int_equal(kho_attach(&kho, NULL, NULL), 0);
	assert_int_equal(kho_add_fd(kho, "a", 0, 0, NULL), 0);
	assert_int_equal(kho_add_fd(kho, "b", 0, 0, NULL), -EEXIST);
	assert_int_equal(kho_add_fd(kho, "a", 999, 0, NULL), -EBADF);
	assert_int_equal(kho_add_fd(kho, "", 1, 0, NULL), -EINVAL);
	assert_int_equal(kho_add_fd(kho, "a b", 1, 0, NULL), -EINVAL);
	assert_int_equal(kho_add_fd(kho, "kho-arena", 1, 0, NULL), -EINVAL);
	assert_int_equal(kho_add_fd(kho, "a", 1, 2, NULL), -EINVAL);
	assert_int_equal(kho_remove_fd(kho, 1), -ENOENT);
	assert_int_equal(kho_remove_fd(kho, 0), 0);
	assert_int_equal(kho_take_fd(kho, "a"), -ENOENT);
	kho_close(kho);
}

/* A bad or stale environment is an error, and no fd is taken from it. */
static void environment(void **state)
{
	struct kho_error err;
	struct kho_attach_opts opts = { .size = sizeof(opts) };
	struct kho *kho;
	char pid[16];

	(void)state;
	setenv("KHO_UPDATE_FD", "x", 1);
	assert_int_equal(kho_attach(&kho, &opts, &err), -EINVAL);
	setenv("KHO_UPDATE_FD", "987", 1);
	assert_int_equal(kho_attach(&kho, &opts, &err), -EINVAL);
	unsetenv("KHO_UPDATE_FD");
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "-1", 1);
	assert_int_equal(kho_attach(&kho, &opts, &err), -EINVAL);
	setenv("LISTEN_PID", "1", 1);
	assert_int_equal(kho_attach(&kho, &opts, &err), 0);
	kho_close(kho);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(succeeds),
		cmocka_unit_test(successor_fails),
		cmocka_unit_test(successor_writes_early),
		cmocka_unit_test(freeze_refuses),
		cmocka_unit_test(preflight_refuses),
		cmocka_unit_test(bad_successors),
		cmocka_unit_test(needs_to_be_ready),
		cmocka_unit_test(fds),
		cmocka_unit_test(environment),
	};

	if (argc != 3) {
		fprintf(stderr, "usage: %s SUCCESSOR SUCCESSOR-V2\n", argv[0]);
		return 2;
	}
	successor_path = argv[1];
	successor_v2_path = argv[2];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
