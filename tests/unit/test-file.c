// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Files that get longer than RLIMIT_FSIZE: an error, and no signal. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "arena.h"
#include "arena/arena.h"
#include "base/file.h"

#define LIMIT 65536

static struct rlimit unlimited;
static int handled;

static void handler(int sig)
{
	(void)sig;
	handled++;
}

static void set_limit(rlim_t limit)
{
	struct rlimit new = { limit, unlimited.rlim_max };

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &new), 0);
}

static int limited(void **state)
{
	(void)state;
	handled = 0;
	getrlimit(RLIMIT_FSIZE, &unlimited);
	set_limit(LIMIT);
	return 0;
}

static int no_limit(void **state)
{
	(void)state;
	signal(SIGXFSZ, SIG_DFL);
	return setrlimit(RLIMIT_FSIZE, &unlimited);
}

static bool is_pending(void)
{
	sigset_t set;

	sigpending(&set);
	return sigismember(&set, SIGXFSZ);
}

static bool is_blocked(void)
{
	sigset_t set;

	pthread_sigmask(SIG_SETMASK, NULL, &set);
	return sigismember(&set, SIGXFSZ);
}

static void try_all(int fd)
{
	char byte = 1;

	assert_int_equal(file_truncate(fd, LIMIT), 0);
	assert_int_equal(file_truncate(fd, LIMIT + 1), -EFBIG);
	assert_int_equal(file_allocate(fd, 0, LIMIT), 0);
	assert_int_equal(file_allocate(fd, 0, LIMIT + 4096), -EFBIG);
	assert_int_equal(file_write(fd, "abc", 3, LIMIT - 3), 0);
	assert_int_equal(file_write(fd, "abc", 3, LIMIT - 2), -EFBIG);
	assert_int_equal(pread(fd, &byte, 1, LIMIT - 1), 1);
	assert_int_equal(byte, 'b');
	assert_int_equal(file_truncate(fd, 10), 0);
	assert_int_equal(file_write(-1, "abc", 3, 0), -EBADF);
}

/* Nothing of it is seen, whatever the program does about the signal. */
static void no_signal(void **state)
{
	int fd = make_memfd();

	(void)state;
	try_all(fd);
	signal(SIGXFSZ, SIG_IGN);
	try_all(fd);
	assert_ptr_equal(signal(SIGXFSZ, handler), SIG_IGN);
	try_all(fd);
	assert_int_equal(handled, 0);
	assert_ptr_equal(signal(SIGXFSZ, SIG_DFL), handler);
	assert_false(is_pending());
	assert_false(is_blocked());
	close(fd);
}

/* One that the program has blocked stays its own. */
static void the_programs_own(void **state)
{
	int fd = make_memfd();
	sigset_t set;

	(void)state;
	signal(SIGXFSZ, handler);
	sigemptyset(&set);
	sigaddset(&set, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	try_all(fd);
	assert_false(is_pending());
	raise(SIGXFSZ);
	try_all(fd);
	assert_true(is_pending());
	assert_true(is_blocked());
	assert_int_equal(handled, 0);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	assert_int_equal(handled, 1);
	close(fd);
}

/* Everything of an arena that makes a file longer. */
static void arenas(void **state)
{
	struct kho_error err = { 0 };
	struct kho_attach_opts opts = { .size = sizeof(opts),
					.max_size = 256ul << 20 };
	int fd = make_memfd(), copy;
	struct kho *kho;
	void *folio;

	(void)state;
	assert_int_equal(kho_attach_fd(&kho, fd, &opts, &err), -EFBIG);
	assert_non_null(strstr(err.text, "raise ulimit -f"));
	set_limit(4ul << 20);
	kho = arena_attach(fd, 0, 256ul << 20);
	while (kho_alloc_preserve(kho, 65536))
		;
	assert_int_equal(errno, ENOSPC);
	set_limit(RLIM_INFINITY);
	/* A large hole, so that a copy is worth it. */
	folio = kho_alloc_folio(kho, 14);
	assert_non_null(folio);
	assert_int_equal(kho_free_folio(kho, folio), 0);
	set_limit(LIMIT);
	assert_int_equal(arena_trimmed_copy(fd, &copy, &err), -EFBIG);
	assert_non_null(strstr(err.text, "File too large"));
	kho_close(kho);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_signal, limited, no_limit),
		cmocka_unit_test_setup_teardown(the_programs_own, limited,
						no_limit),
		cmocka_unit_test_setup_teardown(arenas, limited, no_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
