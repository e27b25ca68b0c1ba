// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Programs that are killed while they change an array: at any moment, and
 * after each single instruction. Readers that see a change after each.
 */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <kho/tree.h>

#include "xarray.h"

#define ROUNDS 100
#define SPREAD 20

struct shared {
	uint64_t ready; /* atomic */
	uint64_t op; /* atomic; the operation that is under way */
};

static struct shared *share(void)
{
	struct shared *shared = mmap(NULL, sizeof(*shared),
				     PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(shared != MAP_FAILED);
	return shared;
}

/* ---- A kill at any moment ---- */

static void kill_child(struct xfixture *x, struct shared *shared)
{
	struct op op;
	int ret;

	if (kho_attach_fd(&x->f.kho, x->f.fd, NULL, NULL) ||
	    kho_kmem_restore(x->f.kho, x->f.phys, &x->f.kmem, NULL) ||
	    kho_xa_restore(x->f.kho, x->f.kmem, x->phys, &x->xa, NULL) ||
	    kho_ready(x->f.kho, NULL))
		abort();
	__atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
	for (uint64_t i = 0;; i++) {
		__atomic_store_n(&shared->op, i, __ATOMIC_RELEASE);
		op = random_op(SPREAD);
		ret = op_xa(x, &op);
		if (ret && ret != -ENOENT)
			abort();
	}
}

/* The array must be what it was after some step of the last operation. */
static void kill_compare(struct xfixture *x, struct shared *shared,
			 struct model *m)
{
	struct model *before = malloc(sizeof(*before));
	unsigned int steps = 0;
	bool more = true;
	struct op op;

	for (uint64_t i = 0; i < shared->op; i++) {
		op = random_op(SPREAD);
		op_model(m, &op, ALL_STEPS);
	}
	op = random_op(SPREAD);
	*before = *m;
	while (more && !same_content(x, m)) {
		*m = *before;
		more = op_model(m, &op, ++steps);
	}
	if (!more)
		assert_true(same_content(x, m));
	free(before);
}

/* As the next program after a crash. */
static int64_t kill_recover(struct xfixture *x, struct shared *shared,
			    struct model *m, struct model *peeked)
{
	struct kho_mem_array mem;
	int64_t swept;

	xrestore(x);
	kill_compare(x, shared, m);
	assert_int_equal(kho_ready(x->f.kho, NULL), 0);
	swept = kho_kmem_sweep(x->f.kmem, xowns, x->xa);
	assert_in_range(swept, 0, 2 * 11 + 1 + 128 + 1);
	assert_true(kho_free_unclaimed(x->f.kho, NULL) >= 0);
	xverify(x, 0);
	/* The first change clears up. */
	kho_xa_erase(x->xa, 1ull << 50);
	model_erase(m, 1ull << 50, 1ull << 50);
	assert_true(same_content(x, m));
	mem = xmem(x);
	peek(mem.data, x->phys, true, peeked);
	assert_true(same_models(peeked, m));
	xverify(x, 0);
	return swept;
}

static void kills(void **state)
{
	struct model *m = calloc(1, sizeof(*m)), *peeked = malloc(sizeof(*m));
	struct shared *shared = share();
	int64_t swept = 0, ops = 0;
	struct xfixture x;
	int status, rounds;
	pid_t pid;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	for (rounds = 0; rounds < ROUNDS || !swept; rounds++) {
		xdetach(&x);
		shared->ready = 0;
		shared->op = 0;
		rnd();
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			kill_child(&x, shared);
		while (!__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) &&
		       waitpid(pid, &status, WNOHANG) == 0)
			usleep(100);
		usleep((useconds_t)(seed_state % 3000));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
		ops += (int64_t)shared->op;
		swept += kill_recover(&x, shared, m, peeked);
	}
	print_message("# %d kills in %" PRId64 " operations, %" PRId64
		      " objects swept\n",
		      rounds, ops, swept);
	munmap(shared, sizeof(*shared));
	free(m);
	free(peeked);
	xdiscard(&x);
}

/* ---- A kill after each single instruction ---- */

#define NO_PTRACE 77

static struct op steps[] = {
	{ .what = STORE, .index = 1, .value = 1 },
	{ .what = MARK, .index = 1, .mark = 1 },
	{ .what = STORE, .index = 1, .value = 1ull << 63 },
	{ .what = STORE, .index = 1, .value = UINT64_MAX },
	/* Grows the tree. */
	{ .what = STORE, .index = 5000, .value = 5 },
	{ .what = MARK, .index = 5000, .mark = 2 },
	/* Empty slots, then slots with something, then with nodes. */
	{ .what = STORE, .index = 8, .order = 3, .value = 8 },
	{ .what = MARK, .index = 12, .mark = 0 },
	{ .what = STORE, .index = 10, .order = 1, .value = 1ull << 63 },
	{ .what = STORE, .index = 0, .order = 4, .value = 9 },
	{ .what = STORE, .index = 70, .value = 70 },
	{ .what = STORE, .index = 4160, .value = 1ull << 63 },
	{ .what = STORE, .index = 4096, .order = 11, .value = 10 },
	{ .what = UNMARK, .index = 70, .mark = 2 },
	{ .what = ERASE, .index = 4097 },
	/* Shrinks the tree. */
	{ .what = ERASE, .index = 70 },
	{ .what = STORE_RANGE, .index = 3, .last = 200, .value = UINT64_MAX },
	{ .what = MARK, .index = 100, .mark = 0 },
	{ .what = UNMARK, .index = 100, .mark = 0 },
	{ .what = STORE_RANGE, .index = 0, .last = 1000, .value = 3 },
	{ .what = ERASE_RANGE, .index = 17, .last = 600 },
	{ .what = ERASE_RANGE, .index = 0, .last = UINT64_MAX },
};

#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

static void step_child(struct xfixture *x, struct shared *shared)
{
	if (kho_attach_fd(&x->f.kho, x->f.fd, NULL, NULL) ||
	    kho_kmem_restore(x->f.kho, x->f.phys, &x->f.kmem, NULL) ||
	    kho_xa_restore(x->f.kho, x->f.kmem, x->phys, &x->xa, NULL) ||
	    kho_ready(x->f.kho, NULL))
		_exit(1);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(NO_PTRACE);
	raise(SIGSTOP);
	for (uint64_t i = 0; i < N_STEPS; i++) {
		__atomic_store_n(&shared->op, i, __ATOMIC_RELEASE);
		if (op_xa(x, &steps[i]))
			_exit(1);
	}
	__atomic_store_n(&shared->op, N_STEPS, __ATOMIC_RELEASE);
	_exit(0);
}

/* What may be seen: @base and so many steps of an operation, or one more. */
struct watch {
	struct kho_mem_array mem;
	uint64_t phys;
	uint64_t op;
	unsigned int step;
	struct model base, now, next, seen;
	uint64_t instructions, changes;
};

/* The next step that can be seen: not every one changes something. */
static void watch_next(struct watch *w)
{
	bool more;

	do {
		w->next = w->base;
		more = w->op < N_STEPS &&
		       op_model(&w->next, &steps[w->op], ++w->step);
	} while (more && same_models(&w->next, &w->now));
}

static void watch(struct watch *w, uint64_t op)
{
	struct kho_error err;

	w->instructions++;
	if (kho_xa_verify(&w->mem.mem, w->phys, NULL, &err))
		fail_msg("after %" PRIu64 " instructions: %s", w->instructions,
			 err.text);
	peek(w->mem.data, w->phys, false, &w->seen);
	if (op != w->op) {
		/* It has returned, so it has done all. */
		op_model(&w->base, &steps[w->op], ALL_STEPS);
		assert_true(same_models(&w->now, &w->base));
		w->op = op;
		w->step = 0;
		watch_next(w);
	}
	if (same_models(&w->seen, &w->now))
		return;
	if (!same_models(&w->seen, &w->next))
		fail_msg("after %" PRIu64 " instructions, in operation %" PRIu64
			 ": neither the old nor the new entries",
			 w->instructions, op);
	w->now = w->next;
	w->changes++;
	watch_next(w);
}

static void every_instruction(void **state)
{
	struct watch *w = calloc(1, sizeof(*w));
	struct shared *shared = share();
	struct xfixture x;
	void *hold[2];
	int status;
	pid_t pid;

	(void)state;
	xcreate(&x, 12, 1 << 21);
	/* So that no slab is made: clearing it would be long and boring. */
	hold[0] = kho_kmalloc(x.f.kmem, sizeof(struct kho_xarray_node));
	hold[1] = kho_kmalloc(x.f.kmem, sizeof(struct kho_xarray_wide));
	assert_true(hold[0] && hold[1]);
	xdetach(&x);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		step_child(&x, shared);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PTRACE)
		skip();
	assert_true(WIFSTOPPED(status));
	w->mem = kho_mem_array(mmap(NULL, 1 << 21, PROT_READ, MAP_SHARED,
				    x.f.fd, 0),
			       1 << 21, 0, 12);
	assert_true(w->mem.data != MAP_FAILED);
	w->phys = x.phys;
	watch_next(w);
	do {
		watch(w, shared->op);
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	} while (WIFSTOPPED(status));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(w->op, N_STEPS);
	assert_int_equal(w->base.n, 0);
	print_message("# good after each of %" PRIu64 " instructions, %" PRIu64
		      " changes\n",
		      w->instructions, w->changes);
	munmap((void *)(uintptr_t)w->mem.data, 1 << 21);
	munmap(shared, sizeof(*shared));
	free(w);
	xrestore(&x);
	xverify(&x, 2);
	xdiscard(&x);
}

/* ---- A change between any two instructions of a reader ---- */

#ifdef __SANITIZE_ADDRESS__
#define STRIDE 5 /* there are as many more instructions */
#else
#define STRIDE 1
#endif

#define OLD 77
#define NEW 88

static struct kho_xa *xa;
static volatile int how;
static volatile bool changed, bad; /* also by the signal handler */

static void prepare(void)
{
	bad |= kho_xa_erase_range(xa, 0, 255) || kho_xa_store(xa, 63, 1);
	bad |= kho_xa_store_order(xa, 8, 3, OLD);
	bad |= kho_xa_store_order(xa, 128, 7, OLD);
}

/* An entry over many indices goes, others come for some of these. */
static void change(int signal)
{
	(void)signal;
	changed = true;
	if (how < 2) {
		bad |= kho_xa_erase(xa, 12) || kho_xa_store(xa, 8, NEW);
	} else {
		bad |= kho_xa_erase(xa, 128) || kho_xa_store(xa, 128, NEW) ||
		       kho_xa_store(xa, 195, NEW);
	}
}

static void read_it(void)
{
	struct kho_xa_entry entry;
	uint64_t value;

	switch (how) {
	case 0:
		bad |= !kho_xa_load(xa, 10, &value) && value != OLD;
		break;
	case 1:
		/* Between the two there is nothing. */
		bad |= kho_xa_find(xa, &entry, 7, 12, KHO_XA_PRESENT) &&
		       (entry.index != 8 ||
			entry.last != (entry.value == OLD ? 15 : 8));
		break;
	case 2:
		bad |= kho_xa_find(xa, &entry, 200, 255, KHO_XA_PRESENT) &&
		       (entry.value != OLD || entry.index != 128 ||
			entry.last != 255);
		break;
	}
}

static void reader_child(struct xfixture *x)
{
	xa = x->xa;
	signal(SIGUSR1, change);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(NO_PTRACE);
	for (how = 0; how < 3; how++) {
		do {
			prepare();
			changed = false;
			raise(SIGSTOP);
			read_it();
			raise(SIGUSR2);
		} while (changed && !bad);
	}
	_exit(bad);
}

static int child_stops(pid_t pid, int request, int signal)
{
	int status;

	assert_int_equal(ptrace(request, pid, NULL, signal), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* The change comes after each instruction in turn. */
static void readers_see_no_mixture(void **state)
{
	uint64_t after = 0, changes = 0;
	struct xfixture x;
	int status;
	pid_t pid;

	(void)state;
	xcreate(&x, 12, 1 << 21);
	/* So that the nodes stay, and nobody waits for the reader. */
	assert_int_equal(kho_xa_store(x.xa, 63, 1), 0);
	assert_int_equal(kho_xa_store(x.xa, 256, 1), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		reader_child(&x);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PTRACE)
		skip();
	while (WIFSTOPPED(status)) {
		assert_int_equal(WSTOPSIG(status), SIGSTOP);
		for (uint64_t i = 0; i < after; i++) {
			status = child_stops(pid, PTRACE_SINGLESTEP, 0);
			if (!WIFSTOPPED(status) || WSTOPSIG(status) == SIGUSR2)
				break;
		}
		if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGUSR2) {
			/* It has read all: the next way begins. */
			after = 0;
		} else {
			after += STRIDE;
			changes++;
			status = child_stops(pid, PTRACE_CONT, SIGUSR1);
			assert_true(WIFSTOPPED(status));
			assert_int_equal(WSTOPSIG(status), SIGUSR2);
		}
		status = child_stops(pid, PTRACE_CONT, 0);
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	print_message("# %" PRIu64 " changes under readers\n", changes);
	assert_true(changes > 100);
	xdiscard(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kills),
		cmocka_unit_test(every_instruction),
		cmocka_unit_test(readers_see_no_mixture),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
