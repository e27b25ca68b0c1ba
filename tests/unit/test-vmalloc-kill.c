// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Programs that are killed while they change an area. */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "vmalloc.h"

#define BLOCK 4096ul
#define BLOCKS 2000
#define ROUNDS 60

/* ---- At any time ---- */

/* Each block says which one it is. */
static void mark(struct kho_vmalloc *area, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		uint64_t *p = kho_vmalloc_ptr(area, i * BLOCK, BLOCK);

		if (p)
			*p = i + 1;
	}
}

static void kill_child(struct fixture *f, int *ready)
{
	struct kho_vmalloc *area;
	unsigned int seed = (unsigned int)rnd();

	if (kho_attach_fd(&f->kho, f->fd, NULL) ||
	    kho_vmalloc_restore(f->kho, kho_ptr(f->kho, f->phys, 16),
				BLOCKS * BLOCK, &area, NULL) ||
	    kho_ready(f->kho))
		abort();
	__atomic_store_n(ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		uint64_t from = (uint64_t)rand_r(&seed) % BLOCKS;
		uint64_t n = 1 + (uint64_t)rand_r(&seed) % 40, size;

		n = from + n < BLOCKS ? n : BLOCKS - from;
		size = kho_vmalloc_size(area) / BLOCK;
		switch (rand_r(&seed) % 8) {
		case 0:
			kho_vmalloc_convert(area, 1, NULL);
			break;
		case 1:
			kho_vmalloc_convert(area, 2, NULL);
			break;
		case 2:
			kho_vmalloc_resize(area, from * BLOCK, NULL);
			mark(area, size, from);
			break;
		case 3:
			kho_vmalloc_punch(area, from * BLOCK, n * BLOCK, NULL);
			break;
		default:
			kho_vmalloc_populate(area, from * BLOCK, n * BLOCK,
					     NULL);
			mark(area, from, from + n);
			break;
		}
	}
}

/* As the next program after a crash: blocks are there, or not, as a whole. */
static void recover(struct fixture *f)
{
	struct kho_vmalloc *area;
	struct kho_vmalloc_stats stats;

	attach(f);
	area = restore(f, BLOCKS * BLOCK);
	stats = verify(f);
	assert_int_equal(stats.populated, kho_vmalloc_populated(area));
	for (uint64_t i = 0; i < BLOCKS; i++) {
		uint64_t *p = kho_vmalloc_ptr(area, i * BLOCK, BLOCK);

		assert_true(!p || *p == 0 || *p == i + 1);
	}
	assert_int_equal(kho_ready(f->kho), 0);
	/* One change's memory and lists at most were on their way. */
	assert_in_range(kho_free_unclaimed(f->kho), 0, BLOCKS + 20);
	assert_int_equal(info(f).preserved,
			 f->pages + stats.populated / BLOCK + stats.lists);
	assert_int_equal(info(f).allocated, info(f).preserved);
	kho_vmalloc_close(area);
}

static void kills(void **state)
{
	int *ready = mmap(NULL, sizeof(*ready), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kho_vmalloc *area;
	struct fixture f;
	int status;
	pid_t pid;

	(void)state;
	assert_true(ready != MAP_FAILED);
	create(&f, 12, 32 * MIB);
	assert_int_equal(kho_vmalloc_create(f.kho, BLOCKS * BLOCK, BLOCK, &area,
					    NULL),
			 0);
	assert_int_equal(kho_vmalloc_preserve(area, 0, f.desc, NULL), 0);
	kho_vmalloc_close(area);
	for (int i = 0; i < ROUNDS; i++) {
		kho_close(f.kho);
		*ready = 0;
		rnd();
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			kill_child(&f, ready);
		while (!__atomic_load_n(ready, __ATOMIC_ACQUIRE) &&
		       waitpid(pid, &status, WNOHANG) == 0)
			usleep(100);
		usleep((useconds_t)below(20000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
		recover(&f);
	}
	munmap(ready, sizeof(*ready));
	discard(&f);
}

/* ---- After each single instruction ---- */

/*
 * Clearing memory that nothing refers to yet is many instructions of no
 * interest: between two SIGUSR1 the child may run. Linked with --wrap.
 */
static bool stepping;

void *__real_memset(void *p, int byte, size_t n);
void *__wrap_memset(void *p, int byte, size_t n);

void *__wrap_memset(void *p, int byte, size_t n)
{
	bool skipped = stepping && n >= BLOCK;

	if (skipped)
		raise(SIGUSR1);
	__real_memset(p, byte, n);
	if (skipped)
		raise(SIGUSR1);
	return p;
}

#define NO_PTRACE 77

/* How many blocks there are after each change, 0 when no area is preserved. */
static const uint64_t blocks_after[] = { 3, 3, 5, 6, 3, 3, 4, 7, 2, 0, 2 };
#define CHANGES (sizeof(blocks_after) / sizeof(*blocks_after))

static int step_changes(struct kho_vmalloc *area, struct kho_vmalloc_desc *desc)
{
	int ret = kho_vmalloc_resize(area, 3 * BLOCK, NULL);

	ret |= kho_vmalloc_convert(area, 2, NULL);
	ret |= kho_vmalloc_resize(area, 5 * BLOCK, NULL);
	ret |= kho_vmalloc_populate(area, 50 * BLOCK, 1, NULL);
	ret |= kho_vmalloc_punch(area, 3 * BLOCK, 200 * BLOCK, NULL);
	ret |= kho_vmalloc_convert(area, 1, NULL);
	ret |= kho_vmalloc_resize(area, 4 * BLOCK, NULL);
	ret |= kho_vmalloc_resize(area, 7 * BLOCK, NULL);
	ret |= kho_vmalloc_resize(area, 2 * BLOCK, NULL);
	ret |= kho_vmalloc_unpreserve(area);
	return ret | kho_vmalloc_preserve(area, 2, desc, NULL);
}

static void step_child(struct fixture *f)
{
	struct kho_vmalloc *area;

	if (kho_attach_fd(&f->kho, f->fd, NULL))
		_exit(1);
	f->desc = kho_ptr(f->kho, f->phys, 16);
	if (kho_vmalloc_restore(f->kho, f->desc, BLOCKS * BLOCK, &area, NULL) ||
	    kho_ready(f->kho))
		_exit(1);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(NO_PTRACE);
	raise(SIGSTOP);
	stepping = true;
	_exit(step_changes(area, f->desc) != 0);
}

/* One instruction further; false when the child has ended. */
static bool step(pid_t pid, int *status)
{
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, status, 0), pid);
	if (WIFSTOPPED(*status) && WSTOPSIG(*status) == SIGUSR1) {
		assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, status, 0), pid);
	}
	return WIFSTOPPED(*status);
}

/* Seen from outside, between two instructions the area is the old or the new. */
static void every_instruction(void **state)
{
	uint64_t steps = 0, change = 0, blocks = 0, now;
	struct kho_vmalloc_stats stats = { 0 };
	struct kho_vmalloc *area;
	struct kho_mem_array mem;
	uint32_t version = 1;
	struct fixture f;
	int status, ret;
	pid_t pid;

	(void)state;
	create(&f, 12, 2 * MIB);
	assert_int_equal(kho_vmalloc_create(f.kho, BLOCKS * BLOCK, BLOCK, &area,
					    NULL),
			 0);
	assert_int_equal(kho_vmalloc_preserve(area, 1, f.desc, NULL), 0);
	kho_vmalloc_close(area);
	kho_close(f.kho);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		step_child(&f);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PTRACE)
		skip();
	assert_true(WIFSTOPPED(status));
	mem = kho_mem_array(mmap(NULL, 2 * MIB, PROT_READ, MAP_SHARED, f.fd, 0),
			    2 * MIB, 0, 12);
	assert_true(mem.data != MAP_FAILED);
	while (step(pid, &status)) {
		steps++;
		ret = kho_vmalloc_verify(&mem.mem, f.phys, &stats, &f.err);
		if (ret && ret != -ENOENT)
			fail_msg("after %" PRIu64 " instructions: %s", steps,
				 f.err.text);
		now = ret ? 0 : stats.populated / BLOCK;
		if (ret)
			stats.version = 0;
		if (now == blocks && stats.version == version)
			continue;
		/* Nothing in between, and nothing left out. */
		assert_true(change < CHANGES);
		assert_int_equal(now, blocks_after[change++]);
		blocks = now;
		version = stats.version;
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(change, CHANGES);
	print_message("# sound after each of %" PRIu64 " instructions\n",
		      steps);
	munmap((void *)(uintptr_t)mem.data, 2 * MIB);
	attach(&f);
	area = restore(&f, 0);
	assert_int_equal(kho_vmalloc_size(area), 2 * BLOCK);
	kho_vmalloc_close(area);
	discard(&f);
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
