// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Programs that are killed while they append and drop entries, and while they
 * take a chain to another version.
 */
#include <errno.h>
#include <stdlib.h>

#include <kho/tree.h>

#include "block.h"
#include "clear.h"
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
	if (kho_attach_fd(&f->kho, f->fd, NULL, NULL) || try_restore(f) ||
	    kho_ready(f->kho, NULL))
		_exit(1);
}

/* ---- A kill at any time ---- */

#define KILL_ROUNDS 90

/* To another version, as a handover does it. */
static void child_convert(struct fixture *f)
{
	uint32_t version = 1 + (uint32_t)below(2);

	if (version == 2 && kho_set_version(f->kho, block(), 2, NULL))
		_exit(1);
	if (convert(f, version) ||
	    kho_set_version(f->kho, block(), version, NULL))
		_exit(1);
}

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

		if (!f->version && below(20) == 0)
			child_convert(f);
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
	if (f->version != 2 && shared->wanted < shared->done)
		assert_in_range(n, shared->wanted, shared->done);
	else
		assert_true(n == shared->wanted || n == shared->done);
	for (uint64_t i = 0; i < n; i++)
		assert_true(
			is_filled(kho_block_get(f->blocks, i), ENTRY_SIZE, i));
	assert_int_equal(kho_ready(f->kho, NULL), 0);
	assert_true(verify(f).version <= kho_version(f->kho, block()));
	/* What was dropped, or half a copy. */
	assert_true(kho_free_unclaimed(f->kho, NULL) <= 52);
	assert_int_equal(pages_preserved(f), f->pages + (n + 3) / 4);
}

static void kills(void **state)
{
	struct shared *shared = shared_memory(sizeof(*shared));
	struct fixture f;

	(void)state;
	for (int i = 0; i < KILL_ROUNDS; i++) {
		if (i % (KILL_ROUNDS / 3) == 0) {
			if (i)
				discard(&f);
			create(&f, 12, i ? 2 : 1, ENTRY_SIZE, 1 << 26);
			/* The last ones convert it. */
			if (i == KILL_ROUNDS / 3 * 2)
				f.version = 0;
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
	ret = kho_block_walk(mem, 0, ENTRY_SIZE, root.first.phys, look_at,
			     &seen, err);
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

/* ---- A conversion, killed after each single instruction ---- */

/* In three blocks. */
#define KEPT 11

static void convert_child(void *fixture)
{
	struct fixture *f = fixture;

	child_attach(f);
	step_begin();
	stepping = true;
	_exit(convert(f, 2) || convert(f, 1));
}

struct conversion {
	const struct fixture *f;
	uint32_t version;
	uint64_t switches, looks, restored;
};

static int look_at_number(const void *entry, size_t size, uint64_t index,
			  void *arg)
{
	uint64_t *n = arg;

	assert_true(is_filled(entry, size, index));
	assert_int_equal(index, (*n)++);
	return 0;
}

/* What the next program would find, had this one been killed here. */
static void restore_copy(const struct fixture *f, const struct kho_mem *mem)
{
	size_t len = arena_size(f->fd);
	struct fixture next = *f;
	char *bytes = malloc(len);

	assert_non_null(bytes);
	assert_int_equal(kho_mem_read(mem, 0, bytes, len), 0);
	next.fd = make_memfd();
	assert_int_equal(pwrite(next.fd, bytes, len, 0), len);
	free(bytes);
	attach(&next);
	restore(&next);
	assert_int_equal(kho_block_count(next.blocks), KEPT);
	for (uint64_t i = 0; i < KEPT; i++)
		assert_true(is_filled(kho_block_get(next.blocks, i), ENTRY_SIZE,
				      i));
	assert_int_equal(kho_ready(next.kho, NULL), 0);
	assert_int_equal(append(&next, KEPT), KEPT);
	assert_in_range(kho_free_unclaimed(next.kho, NULL), 0, 3);
	assert_int_equal(pages_preserved(&next), f->pages + 3);
	discard(&next);
}

static int look_at_conversion(const struct kho_mem *mem, void *arg,
			      struct kho_error *err)
{
	struct conversion *c = arg;
	struct kho_block_root root;
	struct kho_block_stats stats;
	uint64_t n = 0;
	int ret;

	ret = kho_mem_read(mem, c->f->root_phys, &root, sizeof(root));
	assert_int_equal(ret, 0);
	ret = kho_block_verify(mem, 0, ENTRY_SIZE, root.first.phys, &stats,
			       err);
	if (!ret)
		ret = kho_block_walk(mem, 0, ENTRY_SIZE, root.first.phys,
				     look_at_number, &n, err);
	if (ret)
		return ret;
	assert_int_equal(n, KEPT);
	c->switches += stats.version != c->version;
	/* The moment itself, and now and then. */
	if (stats.version != c->version || c->looks++ % 64 == 0) {
		restore_copy(c->f, mem);
		c->restored++;
	}
	c->version = stats.version;
	return 0;
}

static void every_instruction_of_a_conversion(void **state)
{
	struct fixture f;
	struct conversion c = { .f = &f, .version = 1 };

	(void)state;
	create(&f, 12, 1, ENTRY_SIZE, 1 << 21);
	for (uint64_t i = 0; i < KEPT; i++)
		append(&f, i);
	set_version(&f, 2);
	detach(&f);
	step_through(convert_child, &f, f.fd, 1 << 21, look_at_conversion, &c);
	assert_int_equal(c.switches, 2);
	print_message("# restored after %" PRIu64 " of them\n", c.restored);
	attach(&f);
	restore(&f);
	assert_int_equal(verify(&f).version, 1);
	discard(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kills),
		cmocka_unit_test(every_instruction),
		cmocka_unit_test(every_instruction_of_a_conversion),
	};

	seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
