// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A chain of blocks and an area through handovers between real processes, which
 * want them in another version. This program is its own successor.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#include <kho/block.h>
#include <kho/profile.h>
#include <kho/tree.h>
#include <kho/update.h>
#include <kho/vmalloc.h>

#include "arena/arena.h"
#include "arena.h"

#define ENTRIES 3000ul
#define BLOCK 4096ul
#define BLOCKS 100ul

struct state {
	struct kho_block_root root;
	struct kho_vmalloc_desc desc;
};

KHO_COMPONENT(state, .write = { 1, 1 }, .read = { 1, 1 },
	      .deps = { "block", "vmalloc" });

struct program {
	struct kho *kho;
	struct state *state;
	struct kho_blocks *blocks;
	struct kho_vmalloc *area;
	bool refuse;
	struct kho_error err;
};

/* What a program reports of what it has, and of the last update. */
struct report {
	uint32_t block, block_in_effect;
	uint32_t area, area_in_effect;
	int code;
	char text[256];
};

/* In all these processes nobody else would say what is wrong. */
#define must(condition)                                                        \
	do {                                                                   \
		if (!(condition)) {                                            \
			fprintf(stderr, "%d: %s\n", __LINE__, #condition);     \
			_exit(9);                                              \
		}                                                              \
	} while (0)

static void fill(struct program *p)
{
	p->state = kho_alloc_preserve(p->kho, sizeof(*p->state));
	must(p->state);
	must(!kho_add_subtree(p->kho, "state", &state_component, 0, p->state,
			      sizeof(*p->state), NULL));
	must(!kho_block_create(p->kho, 8, &p->state->root, &p->blocks, NULL));
	for (uint64_t i = 0; i < ENTRIES; i++)
		must(kho_block_append(p->blocks, &i) == (int64_t)i);
	must(!kho_vmalloc_create(p->kho, 1 << 24, BLOCK, &p->area, &p->err));
	must(!kho_vmalloc_preserve(p->area, &p->state->desc, &p->err));
	must(!kho_vmalloc_resize(p->area, BLOCKS * BLOCK, &p->err));
	for (uint64_t i = 0; i < BLOCKS; i++)
		*(uint64_t *)kho_vmalloc_ptr(p->area, i * BLOCK, 8) = i;
}

static void check(struct program *p)
{
	struct kho_block_iter iter = kho_block_begin(p->blocks);
	const uint64_t *entry;

	must(kho_block_count(p->blocks) == ENTRIES);
	for (uint64_t i = 0; i < ENTRIES; i++) {
		entry = kho_block_next(&iter);
		must(entry && *entry == i);
		must(entry == kho_block_get(p->blocks, i));
	}
	for (uint64_t i = 0; i < BLOCKS; i++)
		must(*(uint64_t *)kho_vmalloc_ptr(p->area, i * BLOCK, 8) == i);
}

static void report(struct program *p, const char *path, int code)
{
	struct kho_mem_live live = mem_live(p->kho);
	struct kho_block_stats stats;
	struct report r = {
		.block_in_effect =
			kho_version(p->kho, kho_component_find("block")),
		.area = kho_vmalloc_version(p->area),
		.area_in_effect =
			kho_version(p->kho, kho_component_find("vmalloc")),
		.code = code,
	};
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	must(!kho_block_verify(&live.mem, 0, 8, p->state->root.first.phys,
			       &stats, &p->err));
	r.block = stats.version;
	check(p);
	memcpy(r.text, p->err.text, sizeof(r.text) - 1);
	must(write(fd, &r, sizeof(r)) == sizeof(r));
	close(fd);
}

/* Changes what there is, in the versions that were agreed on, and refuses. */
static int freeze(struct kho *kho, const struct kho_report *negotiated,
		  void *arg)
{
	struct program *p = arg;

	(void)kho;
	(void)negotiated;
	if (!p->refuse)
		return 0;
	must(!kho_block_shrink(p->blocks, 0));
	for (uint64_t i = 0; i < ENTRIES; i++)
		must(kho_block_append(p->blocks, &i) == (int64_t)i);
	must(!kho_vmalloc_resize(p->area, (BLOCKS + 1) * BLOCK, NULL));
	must(!kho_vmalloc_resize(p->area, BLOCKS * BLOCK, NULL));
	return -EBUSY;
}

/*
 * Hand over to the next one of @way. Each has two words there: "ready", "fail"
 * or "refuse", which is what this program does, and "old" when a profile wants
 * the old versions, or "best".
 */
static void go_on(struct program *p, const char *path, const char *const *way)
{
	const char *argv[16] = { "successor", path };
	struct kho_update_opts opts = { .size = sizeof(opts),
					.argv = (char **)(uintptr_t)argv };
	static struct kho_profile *old;
	uint64_t more = ENTRIES;
	int code;

	old = calloc(1, sizeof(*old) + 2 * sizeof(old->pins[0]));
	must(old);
	strcpy(old->name, "old");
	old->n = 2;
	old->pins[0] = (struct kho_pin){ "block", 1 };
	old->pins[1] = (struct kho_pin){ "vmalloc", 1 };
	for (; way[0]; way += 2) {
		for (int i = 0; i == 0 || way[i - 1]; i++)
			argv[i + 2] = way[i];
		opts.profile = strcmp(way[1], "old") ? NULL : old;
		p->refuse = !strcmp(way[0], "refuse");
		code = kho_update(p->kho, "/proc/self/exe", &opts, &p->err);
		if (!code)
			_exit(0);
		report(p, path, code);
		/* The old program serves on. */
		must(kho_block_append(p->blocks, &more) == (int64_t)ENTRIES);
		must(!kho_block_shrink(p->blocks, ENTRIES));
		must(!kho_vmalloc_resize(p->area, (BLOCKS + 1) * BLOCK, NULL));
		must(!kho_vmalloc_resize(p->area, BLOCKS * BLOCK, NULL));
	}
}

/* Arguments: where to report, its two words, and those of all behind it. */
static void successor(const char *const *argv)
{
	struct program p = { 0 };
	struct kho_attach_opts opts = { .size = sizeof(opts),
					.freeze = freeze,
					.arg = &p };
	struct kho_error none = { 0 };

	must(!kho_attach(&p.kho, &opts, &p.err));
	p.state = kho_subtree(p.kho, "state", NULL, NULL);
	must(p.state);
	must(!kho_block_restore(p.kho, 8, &p.state->root, &p.blocks, &p.err));
	must(!kho_vmalloc_restore(p.kho, &p.state->desc, 1 << 24, &p.area,
				  &p.err));
	p.err = none;
	report(&p, argv[1], 0);
	if (!strcmp(argv[2], "fail"))
		_exit(3);
	must(!kho_ready(p.kho, NULL));
	go_on(&p, argv[1], argv + 4);
	report(&p, argv[1], 1);
	_exit(0);
}

/* ---- The tests ---- */

#define REPORTS 16

struct run {
	struct report report[REPORTS];
	int n;
};

/* Wait for all reports: the last one of a program that ends says 1. */
static void run_end(struct run *run, int fd, pid_t pid)
{
	ssize_t size = sizeof(run->report[0]);
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	for (int ms = 0; ms < 30000 && run->n < REPORTS; ms++) {
		if (pread(fd, &run->report[run->n], (size_t)size,
			  run->n * size) != size)
			usleep(1000);
		else if (run->report[run->n++].code == 1)
			break;
	}
	close(fd);
}

static void run_through(struct run *run, const char *const *way)
{
	int fd = make_memfd();
	char path[64];
	pid_t pid;

	memset(run, 0, sizeof(*run));
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct program p = {
			.kho = arena_attach(make_memfd(), 0, 1 << 26),
		};

		must(!kho_ready(p.kho, NULL));
		fill(&p);
		go_on(&p, path, way);
		report(&p, path, 1);
		_exit(0);
	}
	run_end(run, fd, pid);
}

static uint32_t best(const char *name)
{
	return kho_component_find(name)->desc->write.max;
}

/* Version 1 of both, or the best. */
static void was(const struct report *r, bool old, int code)
{
	assert_int_equal(r->block, old ? 1 : best("block"));
	assert_int_equal(r->block_in_effect, r->block);
	assert_int_equal(r->area, old ? 1 : best("vmalloc"));
	assert_int_equal(r->area_in_effect, r->area);
	assert_int_equal(r->code, code);
}

static void there_and_back(void **state)
{
	static const char *const way[] = { "ready", "old", "ready", "best",
					   "ready", "old", NULL };
	struct run run;

	(void)state;
	run_through(&run, way);
	assert_int_equal(run.n, 4);
	was(&run.report[0], true, 0);
	was(&run.report[1], false, 0);
	was(&run.report[2], true, 0);
	was(&run.report[3], true, 1);
}

/* An aborted one goes back, whichever way it went. */
static void aborted(void **state)
{
	static const char *const way[] = { "fail",  "old", "fail",  "best",
					   "ready", "old", "fail",  "best",
					   "fail",  "old", "ready", "best",
					   NULL };
	struct run run;

	(void)state;
	run_through(&run, way);
	assert_int_equal(run.n, 11);
	was(&run.report[0], true, 0);
	was(&run.report[1], false, -ECHILD);
	assert_non_null(strstr(run.report[1].text, "exit code 3"));
	was(&run.report[2], false, 0);
	was(&run.report[3], false, -ECHILD);
	was(&run.report[4], true, 0);
	was(&run.report[5], false, 0);
	was(&run.report[6], true, -ECHILD);
	was(&run.report[7], true, 0);
	was(&run.report[8], true, -ECHILD);
	was(&run.report[9], false, 0);
	was(&run.report[10], false, 1);
}

/*
 * Then nothing was converted, but it may have been written anew: never in a
 * version above the one in effect.
 */
static void refused_at_freeze(void **state)
{
	static const char *const way[] = { "ready",  "old",   "refuse",
					   "best",   "ready", "best",
					   "refuse", "old",   NULL };
	struct run run;

	(void)state;
	run_through(&run, way);
	assert_int_equal(run.n, 5);
	was(&run.report[0], true, 0);
	/* What was agreed on was the best. */
	was(&run.report[1], false, -EBUSY);
	was(&run.report[2], false, 0);
	/* Below what is in effect, which is allowed, is what was agreed on. */
	for (int i = 3; i < 5; i++) {
		assert_int_equal(run.report[i].block, 1);
		assert_int_equal(run.report[i].block_in_effect, best("block"));
		assert_int_equal(run.report[i].area_in_effect, best("vmalloc"));
	}
	assert_int_equal(run.report[3].area, 1);
	/* It has been resized since. */
	assert_int_equal(run.report[4].area, best("vmalloc"));
	assert_int_equal(run.report[3].code, -EBUSY);
	assert_int_equal(run.report[4].code, 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(aborted),
		cmocka_unit_test(refused_at_freeze),
	};

	if (argc > 1)
		successor((const char *const *)argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
