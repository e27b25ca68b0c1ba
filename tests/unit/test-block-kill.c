// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Programs that are killed while they append and drop entries. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "block.h"

/* Of 1000 bytes: four to a page. */
#define ENTRY_SIZE 1000

/* What the killed program knew. */
struct shared {
	uint64_t ready;
	uint64_t done; /* entries when the last call returned */
	uint64_t wanted; /* entries when the call that runs returns */
};

static void child_attach(struct fixture *f)
{
	if (kho_attach_fd(&f->kho, f->fd, NULL) ||
	    !kho_restore_folio(f->kho, f->root_phys) || try_restore(f) ||
	    kho_ready(f->kho))
		_exit(1);
}

/* ---- A kill at any time ---- */

#define KILL_ROUNDS 60

static void kill_child(struct fixture *f, struct shared *shared)
{
	uint64_t n;

	child_attach(f);
	n = kho_block_count(f->blocks);
	shared->done = shared->wanted = n;
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		bool drop = n > 200 || below(40) == 0;

		n = drop ? below(n + 1) : n + 1;
		__atomic_store_n(&shared->wanted, n, __ATOMIC_RELEASE);
		if (drop ? kho_block_shrink(f->blocks, n) :
			   append(f, n - 1) != (int64_t)(n - 1))
			_exit(1);
		__atomic_store_n(&shared->done, n, __ATOMIC_RELEASE);
	}
}

/* As the next program after a crash. */
static void kill_recover(struct fixture *f, const struct shared *shared)
{
	uint64_t n;

	attach(f);
	restore(f);
	n = kho_block_count(f->blocks);
	if (f->version == 1 && shared->wanted < shared->done)
		assert_in_range(n, shared->wanted, shared->done);
	else
		assert_true(n == shared->wanted || n == shared->done);
	for (uint64_t i = 0; i < n; i++)
		assert_true(
			is_filled(kho_block_get(f->blocks, i), ENTRY_SIZE, i));
	assert_int_equal(kho_ready(f->kho), 0);
	assert_true(kho_free_unclaimed(f->kho) <= 51);
	assert_int_equal(pages_preserved(f), f->pages + (n + 3) / 4);
}

static void kills(void **state)
{
	struct shared *shared = mmap(NULL, sizeof(*shared),
				     PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct fixture f;
	int status;
	pid_t pid;

	(void)state;
	assert_true(shared != MAP_FAILED);
	for (int i = 0; i < KILL_ROUNDS; i++) {
		if (i % (KILL_ROUNDS / 2) == 0) {
			if (i)
				discard(&f);
			create(&f, 12, i ? 2 : 1, ENTRY_SIZE, 1 << 26);
		}
		detach(&f);
		shared->ready = 0;
		rnd();
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			kill_child(&f, shared);
		while (!__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) &&
		       waitpid(pid, &status, WNOHANG) == 0)
			usleep(100);
		usleep((useconds_t)below(5000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
		kill_recover(&f, shared);
	}
	munmap(shared, sizeof(*shared));
	discard(&f);
}

/* ---- A kill after each single instruction ---- */

#define NO_PTRACE 77

/* How many entries there are, one call after the other. */
static const uint64_t counts[] = { 0,  1, 2, 3, 4, 5, 6, 7, 8, 9,
				   10, 9, 5, 6, 4, 5, 4, 2, 0, 1 };
#define CALLS (sizeof(counts) / sizeof(counts[0]) - 1)

static void step_child(struct fixture *f)
{
	uint8_t entry[ENTRY_SIZE];

	child_attach(f);
	/* Getting pages is not what is looked at, giving them back is. */
	if (kho_block_grow(f->blocks, 12))
		_exit(1);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(NO_PTRACE);
	raise(SIGSTOP);
	for (size_t i = 0; i < CALLS; i++) {
		memset(entry, (int)i, sizeof(entry));
		if (counts[i + 1] < counts[i])
			kho_block_shrink(f->blocks, counts[i + 1]);
		else if (kho_block_append(f->blocks, entry) < 0)
			_exit(1);
	}
	_exit(0);
}

/* One instruction further; false when the child has ended. */
static bool step(pid_t pid, int *status)
{
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, status, 0), pid);
	return WIFSTOPPED(*status);
}

struct look {
	uint8_t call[12]; /* that appended each entry */
	uint64_t n;
};

static int look_at(const void *entry, size_t size, uint64_t index, void *arg)
{
	const uint8_t *byte = entry;
	struct look *look = arg;

	assert_true(index < 12);
	assert_memory_equal(byte, byte + 1, size - 1);
	look->call[index] = *byte;
	look->n = index + 1;
	return 0;
}

/* The entries that there are after so many calls. */
static struct look after_calls(size_t calls)
{
	struct look look = { 0 };

	for (size_t i = 0; i < calls; i++) {
		if (counts[i + 1] > counts[i])
			look.call[counts[i]] = (uint8_t)i;
		look.n = counts[i + 1];
	}
	return look;
}

static bool same(const struct look *a, const struct look *b)
{
	return a->n == b->n && !memcmp(a->call, b->call, a->n);
}

/* Seen from outside after every instruction: the old entries or the new ones. */
static void step_through(struct fixture *f, pid_t pid, const uint8_t *arena)
{
	struct kho_mem_array mem = kho_mem_array(arena, 1 << 21, 0, 12);
	const struct kho_block_root *root =
		(const void *)(arena + f->root_phys);
	uint64_t steps = 0, between = 0;
	struct look old, new = after_calls(1), seen;
	size_t calls = 0;
	int status;

	old = after_calls(0);
	while (step(pid, &status)) {
		steps++;
		memset(&seen, 0, sizeof(seen));
		if (kho_block_walk(&mem.mem, f->version, ENTRY_SIZE,
				   root->first.phys, look_at, &seen, &f->err))
			fail_msg("after %" PRIu64 " instructions: %s", steps,
				 f->err.text);
		if (same(&seen, &old))
			continue;
		if (!same(&seen, &new)) {
			/* A prefix, while version 1 drops entries. */
			assert_int_equal(f->version, 1);
			assert_in_range(seen.n, new.n + 1, old.n - 1);
			assert_memory_equal(seen.call, old.call, seen.n);
			between++;
			continue;
		}
		calls++;
		old = new;
		new = after_calls(calls + 1 <= CALLS ? calls + 1 : CALLS);
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(calls, CALLS);
	print_message("# v%u: sound after each of %" PRIu64
		      " instructions, between old and new after %" PRIu64 "\n",
		      f->version, steps, between);
}

static void every_instruction(void **state)
{
	struct fixture f;
	uint8_t *arena;
	int status;
	pid_t pid;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		create(&f, 12, version, ENTRY_SIZE, 1 << 21);
		detach(&f);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			step_child(&f);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PTRACE)
			exit(NO_PTRACE);
		assert_true(WIFSTOPPED(status));
		arena = mmap(NULL, 1 << 21, PROT_READ, MAP_SHARED, f.fd, 0);
		assert_true(arena != MAP_FAILED);
		step_through(&f, pid, arena);
		munmap(arena, 1 << 21);
		attach(&f);
		restore(&f);
		assert_int_equal(kho_block_count(f.blocks), counts[CALLS]);
		discard(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kills),
		cmocka_unit_test(every_instruction),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
