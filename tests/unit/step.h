/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Programs that are killed, for tests: at any time, and as good as after each
 * single instruction.
 */
#ifndef TEST_STEP_H
#define TEST_STEP_H

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <kho/error.h>
#include <kho/mem.h>

#include "seed.h"

/* ---- A kill at any time ---- */

/* Memory that a child leaves behind. */
static inline void *shared_memory(size_t size)
{
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(shared != MAP_FAILED);
	return shared;
}

/*
 * Run @child, which does not return, and kill it within @us microseconds after
 * it has set @ready, which is in shared memory.
 */
static inline void kill_soon(void (*child)(void *f, void *shared), void *f,
			     void *shared, uint64_t *ready, uint64_t us)
{
	int status;
	pid_t pid;

	*ready = 0;
	/* So that not every child has the same numbers. */
	rnd();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(f, shared);
	while (!__atomic_load_n(ready, __ATOMIC_ACQUIRE) &&
	       waitpid(pid, &status, WNOHANG) == 0)
		usleep(100);
	usleep((useconds_t)(rnd() % us));
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* ---- A look after each single instruction ---- */

#define NO_PTRACE 77

/* The child calls it: it is looked at from here on. */
static inline void step_begin(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(NO_PTRACE);
	raise(SIGSTOP);
}

/* One instruction further; false when the child has ended. */
static inline bool step(pid_t pid, int *status)
{
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, status, 0), pid);
	/* Until the next SIGUSR1 there is nothing to see. */
	if (WIFSTOPPED(*status) && WSTOPSIG(*status) == SIGUSR1) {
		assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, status, 0), pid);
	}
	return WIFSTOPPED(*status);
}

/* What a look at the arena has found: 0, or another value and why. */
typedef int step_look(const struct kho_mem *mem, void *arg,
		      struct kho_error *err);

/*
 * Run @child, which does not return, and have a @look at the arena @fd, of at
 * most @max bytes, before and after each of its instructions.
 */
static inline void step_through(void (*child)(void *f), void *f, int fd,
				size_t max, step_look *look, void *arg)
{
	struct kho_error err = { 0 };
	struct kho_mem_array mem;
	uint64_t steps = 0;
	int status;
	pid_t pid;
	void *map;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(f);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PTRACE)
		skip();
	assert_true(WIFSTOPPED(status));
	map = mmap(NULL, max, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	mem = kho_mem_array(map, max, 0, 12);
	do {
		if (look(&mem.mem, arg, &err))
			fail_msg("after %" PRIu64 " instructions: %s", steps,
				 err.text);
		steps++;
	} while (step(pid, &status));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	print_message("# sound after each of %" PRIu64 " instructions\n",
		      steps - 1);
	munmap(map, max);
}

#endif
