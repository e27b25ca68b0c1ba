// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Programs that are killed while they append and drop entries. */
#include <errno.h>
#include <stdlib.h>

#include "block.h"
#include "step.h"

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

static void kill_child(void *fixture, void *arg)
{
	struct fixture *f = fixture;
	struct shared *shared = arg;
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
	struct shared *shared = shared_memory(sizeof(*shared));
	struct fixture f;

	(void)state;
	for (int i = 0; i < KILL_ROUNDS; i++) {
		if (i % (KILL_ROUNDS / 2) == 0) {
			if (i)
				discard(&f);
			create(&f, 12, i ? 2 : 1, ENTRY_SIZE, 1 << 26);
		}
		detach(&f);
		kill_soon(kill_child, &f, shared, &shared->ready, 5000);
		kill_recover(&f, shared);
	}
	munmap(shared, sizeof(*shared));
	discard(&f);
}

/* ---- A kill after each single instruction ---- */

/* How many entries there are, one call after the other. */
static const uint64_t counts[] = { 0,  1, 2, 3, 4, 5, 6, 7, 8, 9,
				   10, 9, 5, 6, 4, 5, 4, 2, 0, 1 };
#define CALLS (sizeof(counts) / sizeof(counts[0]) - 1)

static void step_child(void *fixture)
{
	struct fixture *f = fixture;
	uint8_t entry[ENTRY_SIZE];

	child_attach(f);
	/* Getting pages is not what is looked at, giving them back is. */
	if (kho_block_grow(f->blocks, 12))
		_exit(1);
	step_begin();
	for (size_t i = 0; i < CALLS; i++) {
		memset(entry, (int)i, sizeof(entry));
		if (counts[i + 1] < counts[i])
			kho_block_shrink(f->blocks, counts[i + 1]);
		else if (kho_block_append(f->blocks, entry) < 0)
			_exit(1);
	}
	_exit(0);
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

/* What was seen so far of the child's calls. */
struct progress {
	const struct fixture *f;
	struct look old, new;
	size_t calls;
	uint64_t between;
};

/* Seen from outside after every instruction: the old entries or the new ones. */
static int look_on(const struct kho_mem *mem, void *arg, struct kho_error *err)
{
	struct progress *p = arg;
	struct kho_block_root root;
	struct look seen = { 0 };
	int ret;

	ret = kho_mem_read(mem, p->f->root_phys, &root, sizeof(root));
	assert_int_equal(ret, 0);
	ret = kho_block_walk(mem, p->f->version, ENTRY_SIZE, root.first.phys,
			     look_at, &seen, err);
	if (ret)
		return ret;
	if (same(&seen, &p->old))
		return 0;
	if (!same(&seen, &p->new)) {
		/* A prefix, while version 1 drops entries. */
		assert_int_equal(p->f->version, 1);
		assert_in_range(seen.n, p->new.n + 1, p->old.n - 1);
		assert_memory_equal(seen.call, p->old.call, seen.n);
		p->between++;
		return 0;
	}
	p->calls++;
	p->old = p->new;
	p->new = after_calls(p->calls < CALLS ? p->calls + 1 : CALLS);
	return 0;
}

static void every_instruction(void **state)
{
	struct fixture f;

	(void)state;
	for (uint32_t version = 1; version <= 2; version++) {
		struct progress p = { .f = &f,
				      .old = after_calls(0),
				      .new = after_calls(1) };

		create(&f, 12, version, ENTRY_SIZE, 1 << 21);
		detach(&f);
		step_through(step_child, &f, f.fd, 1 << 21, look_on, &p);
		assert_int_equal(p.calls, CALLS);
		print_message("# v%u: between old and new after %" PRIu64 "\n",
			      version, p.between);
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
