// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Programs that are killed while they change an array: at any moment, and
 * after each single instruction.
 */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "xarray.h"

#define ROUNDS 150
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

/* ---- What is in memory, without the library ---- */

struct peek {
	const char *memory;
	bool tidy; /* check that nothing is left over */
	struct model *m;
};

static void peek_node(struct peek *p, uint64_t entry)
{
	const struct kho_xarray_node *node =
		(const void *)(p->memory + (entry & ~15ull));
	bool empty = true;
	struct mentry *e;
	unsigned int n;

	if (p->tidy)
		assert_int_equal(node->check[0], node->check[1]);
	for (unsigned int slot = 0; slot < 64; slot++) {
		uint64_t at = node->slots[slot];

		empty &= !at;
		if (p->tidy && (at & 15) == 10)
			assert_int_not_equal(node->slots[at >> 4], 0);
		for (int m = 0; p->tidy && m < KHO_XARRAY_MARKS && !at; m++)
			assert_int_equal(node->marks[m] >> slot & 1, 0);
		if (!at || (at & 15) == 10)
			continue;
		if ((at & 15) == 2) {
			peek_node(p, at);
			continue;
		}
		n = 1;
		while (slot + n < 64 &&
		       node->slots[slot + n] == (slot << 4 | 10))
			n++;
		e = &p->m->e[p->m->n++];
		*e = (struct mentry){
			.first = node->index + ((uint64_t)slot << node->shift),
			.value = at,
			.phys = !(at & 3),
		};
		e->last = e->first + ((uint64_t)n << node->shift) - 1;
		if (at & 1)
			e->value = at >> 1;
		else if ((at & 15) == 6)
			e->value = *(const uint64_t *)(p->memory +
						       (at & ~15ull) + 24);
		for (int m = 0; m < KHO_XARRAY_MARKS; m++)
			if (node->marks[m] >> slot & 1)
				e->marks |= 1u << m;
	}
	assert_true(!p->tidy || !empty);
}

static void peek(const char *memory, uint64_t phys, bool tidy, struct model *m)
{
	const struct kho_xarray_head *head = (const void *)(memory + phys);
	struct peek p = { memory, tidy, m };

	m->n = 0;
	if (tidy)
		assert_int_equal(head->check[0], head->check[1]);
	if (head->root)
		peek_node(&p, head->root);
}

static bool same_models(const struct model *a, const struct model *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->e[i].first != b->e[i].first ||
		    a->e[i].last != b->e[i].last ||
		    a->e[i].value != b->e[i].value ||
		    a->e[i].phys != b->e[i].phys ||
		    a->e[i].marks != b->e[i].marks)
			return false;
	return true;
}

/* ---- A kill at any moment ---- */

static void kill_child(struct xfixture *x, struct shared *shared)
{
	struct op op;
	int ret;

	if (kho_attach_fd(&x->f.kho, x->f.fd, NULL) ||
	    kho_kmem_restore(x->f.kho, x->f.phys, &x->f.kmem, NULL) ||
	    kho_xa_restore(x->f.kho, x->f.kmem, x->phys, &x->xa, NULL) ||
	    kho_ready(x->f.kho))
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
	assert_int_equal(kho_ready(x->f.kho), 0);
	swept = kho_kmem_sweep(x->f.kmem, xowns, x->xa);
	assert_in_range(swept, 0, 2 * 11 + 1 + 128 + 1);
	assert_true(kho_free_unclaimed(x->f.kho) >= 0);
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
	int status;
	pid_t pid;

	(void)state;
	xcreate(&x, 12, 1 << 26);
	for (int i = 0; i < ROUNDS; i++) {
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
		      ROUNDS, ops, swept);
	assert_true(swept > 0);
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
	if (kho_attach_fd(&x->f.kho, x->f.fd, NULL) ||
	    kho_kmem_restore(x->f.kho, x->f.phys, &x->f.kmem, NULL) ||
	    kho_xa_restore(x->f.kho, x->f.kmem, x->phys, &x->xa, NULL) ||
	    kho_ready(x->f.kho))
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kills),
		cmocka_unit_test(every_instruction),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
