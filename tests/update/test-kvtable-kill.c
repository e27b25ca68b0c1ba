// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * kill -9 of a program that changes kvstore's table, after each instruction.
 *
 * A child makes one change, a single step at a time. Whenever a step changed
 * the arena, a copy of it is what a kill at this point would leave behind: it
 * is attached, recovered and compared. It must be the table from before the
 * change, or the one after it, and nothing may be lost or leak.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <kho/compat.h>
#include <kho/pages.h>
#include <kho/tree.h>

#include "../../examples/kvstore/table.h"

KHO_COMPONENT(killed, .write = { 1, 1 }, .read = { 1, 1 },
	      .deps = { "kvtable" });

#define ARENA_MAX (64ul << 20)
#define PAGE 4096
#define KEYS 20
/* Gets pages of its own. */
#define BIG 5000
/* What the table has at most: KEYS, and what is put later. */
#define MOST (KEYS + 10)
#define EDGES 5
/* Keys that may hold lists, and how many elements. */
#define LIST (KEYS + 5)
#define LONG_LIST (KEYS + 6)
#define ELEMENTS 16

struct arena {
	int fd;
	struct kho *kho;
	struct table table;
};

/*
 * What the table holds: the value of key i, by its length, or the elements of
 * the list there, by their lengths; 0: it is not there.
 */
struct model {
	size_t len[MOST];
	size_t elements[MOST][ELEMENTS];
};

static struct str key_of(size_t i)
{
	static char text[16];

	snprintf(text, sizeof(text), "key:%zu", i);
	return (struct str){ text, strlen(text) };
}

static struct str value_of(size_t i, size_t len)
{
	static char text[BIG];

	memset(text, 'a' + (int)((i + len) % 26), len);
	return (struct str){ text, len };
}

static int new_memfd(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	return fd;
}

static void attach(struct arena *arena, int fd)
{
	struct kho_error err;
	struct kho_attach_opts opts = { .size = sizeof(opts),
					.max_size = ARENA_MAX };

	arena->fd = fd;
	if (kho_attach_fd(&arena->kho, fd, &opts, &err))
		fail_msg("%s", err.text);
}

static void detach(struct arena *arena)
{
	kho_vmalloc_close(arena->table.area);
	kho_kmem_close(arena->table.kmem);
	kho_close(arena->kho);
	close(arena->fd);
}

/* The root of the state: phys of the table. */
struct killed {
	uint64_t table;
};

static void put(struct arena *arena, size_t i, size_t len)
{
	struct entry *entry;

	entry = table_new(&arena->table, ENTRY_STRING, key_of(i),
			  value_of(i, len), 0);
	assert_non_null(entry);
	assert_int_equal(table_put(&arena->table, &entry, 1), 0);
}

static void push(struct arena *arena, size_t i, enum list_end end,
		 const size_t *lens, size_t nr)
{
	struct entry *old = table_find(&arena->table, ENTRY_STRING, key_of(i));
	struct entry *entry = old;
	struct str values[ELEMENTS];
	size_t k;

	if (!old)
		entry = list_new(&arena->table, key_of(i));
	assert_non_null(entry);
	for (k = 0; k < nr; k++) {
		values[k] = value_of(i, lens[k]);
		values[k].p = memcpy(malloc(lens[k]), values[k].p, lens[k]);
	}
	assert_int_equal(list_push(&arena->table, entry, end, values, nr), 0);
	if (!old)
		assert_int_equal(table_put(&arena->table, &entry, 1), 0);
	for (k = 0; k < nr; k++)
		free((void *)(uintptr_t)values[k].p);
}

/* Six elements, two of them with pages of their own. */
static const size_t long_list[] = { 30, 41, BIG, 33, 40, BIG };

static void create(struct arena *arena, struct model *model, uint64_t version)
{
	struct killed *state;
	size_t i;

	attach(arena, new_memfd());
	state = kho_alloc_preserve(arena->kho, sizeof(*state));
	assert_non_null(state);
	assert_int_equal(table_create(&arena->table, arena->kho), 0);
	arena->table.root->version = version;
	state->table = kho_phys(arena->kho, arena->table.root);
	assert_int_equal(kho_add_subtree(arena->kho, "killed",
					 &killed_component, 0, state,
					 sizeof(*state), NULL),
			 0);
	assert_int_equal(kho_ready(arena->kho, NULL), 0);
	memset(model, 0, sizeof(*model));
	for (i = 0; i < KEYS; i++) {
		model->len[i] = i % 8 ? 10 + i : BIG;
		put(arena, i, model->len[i]);
	}
	if (version < 2)
		return;
	push(arena, LONG_LIST, LIST_LAST, long_list, 6);
	memcpy(model->elements[LONG_LIST], long_list, sizeof(long_list));
}

static bool is_value(struct str value, size_t i, size_t len)
{
	return value.len == len && !memcmp(value.p, value_of(i, len).p, len);
}

static bool holds_list(struct arena *arena, struct entry *entry, size_t i,
		       const size_t *lens)
{
	const struct entry *element;
	size_t n;

	for (n = 0; (element = list_at(&arena->table, entry, n)); n++) {
		if (n == ELEMENTS ||
		    !is_value(entry_value(element), i, lens[n]))
			return false;
	}
	return n && entry_list(entry)->length == n &&
	       (n == ELEMENTS || !lens[n]);
}

static bool holds(struct arena *arena, const struct model *model,
		  bool recovered)
{
	struct entry *entry;
	uint64_t count = 0, elements = 0;
	size_t i;

	for (i = 0; i < MOST; i++) {
		entry = table_find(&arena->table, ENTRY_STRING, key_of(i));
		if (!entry != (!model->len[i] && !model->elements[i][0]))
			return false;
		if (!entry)
			continue;
		count++;
		if (entry_kind(entry) == ENTRY_LIST)
			elements += entry_list(entry)->length;
		if (model->len[i] ?
			    !is_value(entry_value(entry), i, model->len[i]) :
			    !holds_list(arena, entry, i, model->elements[i]))
			return false;
	}
	/* Of what a kill left, some belong to no list, until it recovers. */
	return arena->table.root->count == count &&
	       arena->table.root->elements >= elements &&
	       (!recovered || arena->table.root->elements == elements);
}

struct count {
	uint64_t entries;
	uint64_t objects;
};

/* What is larger has pages of its own. */
static void count_entry(struct table *t, struct entry *entry, void *arg)
{
	struct count *count = arg;

	count->entries++;
	count->objects += kho_ksize(t->kmem, entry) > 0;
}

static int count_object(void *object, size_t size, void *arg)
{
	(void)object;
	(void)size;
	++*(uint64_t *)arg;
	return 0;
}

/* Each object is one that can be found; when all go, all pages do. */
static void check_leaks(struct arena *arena)
{
	struct count count = { 0 };
	uint64_t objects = 0;
	struct kho_pages_info info;

	table_walk(&arena->table, 0, UINT32_MAX, count_entry, &count);
	assert_int_equal(count.entries, arena->table.root->count +
						arena->table.root->elements);
	assert_int_equal(kho_kmem_walk(arena->table.kmem, count_object,
				       &objects),
			 0);
	assert_int_equal(objects, count.objects);
	table_flush(&arena->table);
	assert_int_equal(kho_kmem_destroy(arena->table.kmem), 0);
	assert_int_equal(kho_vmalloc_destroy(arena->table.area), 0);
	kho_pages_info(arena->kho, &info);
	assert_int_equal(info.unclaimed, 0);
	/* The state, the table, and the state tree. */
	assert_true(info.allocated <= 4);
}

/* What does the arena hold if the program dies now? */
static void check_copy(const void *bytes, size_t size,
		       const struct model *before, const struct model *after,
		       bool done)
{
	struct arena copy = { .fd = -1 };
	int fd = new_memfd();
	struct killed *state;
	struct kho_error err;

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(pwrite(fd, bytes, size, 0), (ssize_t)size);
	attach(&copy, fd);
	state = kho_subtree(copy.kho, "killed", NULL, NULL);
	assert_non_null(state);
	if (table_restore(&copy.table, copy.kho, state->table, &err))
		fail_msg("%s", err.text);
	assert_int_equal(kho_ready(copy.kho, NULL), 0);
	table_resume(&copy.table);
	assert_true(holds(&copy, after, false) ||
		    (!done && holds(&copy, before, false)));
	while (table_recover_step(&copy.table, 3))
		;
	assert_true(holds(&copy, after, true) ||
		    (!done && holds(&copy, before, true)));
	check_leaks(&copy);
	kho_close(copy.kho);
	close(fd);
}

/* What is in use by now, and some room for more. */
static size_t used_part(const char *view, size_t size)
{
	while (size > PAGE && !view[size - 1])
		size--;
	return (size + (256 << 10)) & ~(PAGE - 1ul);
}

/* Takes over what changed; returns the first page of it, or -1. */
static ssize_t changed_page(char *seen, const char *view, size_t size)
{
	size_t at;

	if (!memcmp(seen, view, size))
		return -1;
	for (at = 0; !memcmp(seen + at, view + at, PAGE); at += PAGE)
		;
	memcpy(seen + at, view + at, size - at);
	return (ssize_t)(at / PAGE);
}

/*
 * A page that is being filled makes many steps, of which one is as good as the
 * other: look at the first ones, and then at some.
 */
static bool worth_a_look(ssize_t page)
{
	static ssize_t last = -1;
	static unsigned int times;

	if (page < 0)
		return false;
	times = page == last ? times + 1 : 0;
	last = page;
	return times < 64 || times % 32 == 0;
}

/* Runs @change in a child and looks at what each of its steps leaves behind. */
static void step_through(struct arena *arena, const struct model *before,
			 const struct model *after,
			 void (*change)(struct arena *arena))
{
	char *seen = calloc(1, ARENA_MAX);
	const char *view =
		mmap(NULL, ARENA_MAX, PROT_READ, MAP_SHARED, arena->fd, 0);
	size_t steps = 0, changes = 0, checks = 0, used = 0, size;
	struct stat st;
	ssize_t page;
	int status;
	pid_t child;

	assert_non_null(seen);
	assert_true(view != MAP_FAILED);
	child = fork();
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		change(arena);
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	for (;; steps++) {
		assert_int_equal(fstat(arena->fd, &st), 0);
		size = (size_t)st.st_size;
		/* To compare all of it takes its time. */
		if (steps % 256 == 0)
			used = used_part(view, size);
		page = changed_page(seen, view,
				    steps % 256 && used < size ? used : size);
		changes += page >= 0;
		if (worth_a_look(page)) {
			check_copy(seen, size, before, after, false);
			checks++;
		}
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL),
				 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGSTOP)
			break;
		assert_int_equal(WSTOPSIG(status), SIGTRAP);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	check_copy(view, size, before, after, true);
	print_message("# %zu steps, %zu of them changed the arena, "
		      "%zu were checked\n",
		      steps, changes, checks);
	assert_true(checks > 1);
	munmap((void *)(uintptr_t)view, ARENA_MAX);
	free(seen);
	detach(arena);
}

static void set_new(struct arena *arena)
{
	put(arena, KEYS, 15);
}

static void test_set_new(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	after.len[KEYS] = 15;
	step_through(&arena, &before, &after, set_new);
}

static void set_again(struct arena *arena)
{
	put(arena, 7, 500);
}

static void test_set_again(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	after.len[7] = 500;
	step_through(&arena, &before, &after, set_again);
}

static void set_big(struct arena *arena)
{
	put(arena, 8, BIG - 1);
}

static void test_set_big(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	after.len[8] = BIG - 1;
	step_through(&arena, &before, &after, set_big);
}

/* New ones, others, and one twice: all of it, or nothing. */
static void set_many(struct arena *arena)
{
	static const size_t keys[] = { KEYS, 3, 16, KEYS + 1, 3 };
	static const size_t lens[] = { 15, 20, 16, BIG, 300 };
	struct entry *entries[5];
	size_t i;

	for (i = 0; i < 5; i++)
		entries[i] = table_new(&arena->table, ENTRY_STRING,
				       key_of(keys[i]),
				       value_of(keys[i], lens[i]), 0);
	table_put(&arena->table, entries, 5);
}

static void test_set_many(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	after.len[KEYS] = 15;
	after.len[3] = 300;
	after.len[16] = 16;
	after.len[KEYS + 1] = BIG;
	step_through(&arena, &before, &after, set_many);
}

static void delete_one(struct arena *arena)
{
	table_delete(&arena->table, ENTRY_STRING, key_of(9));
}

static void test_delete(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	after.len[9] = 0;
	step_through(&arena, &before, &after, delete_one);
}

static void delete_big(struct arena *arena)
{
	table_delete(&arena->table, ENTRY_STRING, key_of(8));
}

static void test_delete_big(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	after.len[8] = 0;
	step_through(&arena, &before, &after, delete_big);
}

static void flush(struct arena *arena)
{
	table_flush(&arena->table);
}

static void test_flush(void **state)
{
	struct arena arena;
	struct model before, after = { 0 };

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	step_through(&arena, &before, &after, flush);
}

/* More buckets, and their nodes' way into the list. */
static void grow(struct arena *arena)
{
	size_t i;

	arena->table.grow_at = KEYS;
	put(arena, KEYS, 15);
	for (i = 0; i < KEYS; i++)
		table_find(&arena->table, ENTRY_STRING, key_of(i));
}

static void test_grow(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	after.len[KEYS] = 15;
	step_through(&arena, &before, &after, grow);
}

/* The first buckets beside the head of the list. */
static void grow_first(struct arena *arena)
{
	arena->table.grow_at = 0;
	put(arena, KEYS, 15);
	table_find(&arena->table, ENTRY_STRING, key_of(KEYS));
}

static void test_grow_first(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	table_flush(&arena.table);
	memset(&before, 0, sizeof(before));
	after = before;
	after.len[KEYS] = 15;
	step_through(&arena, &before, &after, grow_first);
}

static void upgrade(struct arena *arena)
{
	assert_int_equal(table_convert(arena->kho, KVSTORE_VERSION,
				       &arena->table, NULL),
			 0);
}

static void test_upgrade(void **state)
{
	struct arena arena;
	struct model before;

	(void)state;
	create(&arena, &before, 1);
	step_through(&arena, &before, &before, upgrade);
}

/* What was lost: entries and elements, and pages of their own. */
static void lose(struct arena *arena)
{
	struct entry *entry = list_new(&arena->table, key_of(LIST));
	struct str value = value_of(LIST, BIG);

	assert_non_null(entry);
	assert_int_equal(list_push(&arena->table, entry, LIST_LAST, &value, 1),
			 0);
	assert_non_null(table_new(&arena->table, ENTRY_STRING, key_of(KEYS),
				  value_of(KEYS, 30), 0));
	assert_non_null(table_new(&arena->table, ENTRY_STRING, key_of(KEYS),
				  value_of(KEYS, BIG), 0));
}

static void recover(struct arena *arena)
{
	while (table_recover_step(&arena->table, 7))
		;
}

/* Killed while it recovers from a kill. */
static void test_recover(void **state)
{
	struct arena arena;
	struct model before;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	lose(&arena);
	step_through(&arena, &before, &before, recover);
}

/* What comes and goes while it recovers is not lost, nor forgotten. */
static void test_recover_in_use(void **state)
{
	struct arena arena;
	struct model model;
	size_t i;

	(void)state;
	create(&arena, &model, KVSTORE_VERSION);
	lose(&arena);
	for (i = 0; table_recover_step(&arena.table, 1); i++) {
		model.len[i % KEYS] = i % 5 ? 20 + i : BIG;
		put(&arena, i % KEYS, model.len[i % KEYS]);
		list_pop(&arena.table,
			 table_find(&arena.table, ENTRY_STRING,
				    key_of(LONG_LIST)),
			 LIST_LAST, 1);
		push(&arena, LONG_LIST, LIST_FIRST, &(size_t){ 40 }, 1);
	}
	assert_true(i > KEYS);
	assert_true(entry_list(table_find(&arena.table, ENTRY_STRING,
					  key_of(LONG_LIST)))
			    ->length == 6);
	for (i = 0; i < 6; i++)
		model.elements[LONG_LIST][i] = 40;
	assert_true(holds(&arena, &model, true));
	table_delete(&arena.table, ENTRY_STRING, key_of(8));
	/* The pages that were lost here have not come from anybody. */
	table_flush(&arena.table);
	i = 0;
	assert_int_equal(kho_kmem_walk(arena.table.kmem, count_object, &i), 0);
	assert_int_equal(i, 0);
	detach(&arena);
}

/* ---- lists ---- */

static const size_t three[] = { 37, 2100, 39 };

/* What a list has when @nr elements come to an end of it. */
static void model_push(size_t *elements, enum list_end end, const size_t *lens,
		       size_t nr)
{
	size_t n = 0, k;

	while (elements[n])
		n++;
	for (k = 0; k < nr; k++, n++) {
		if (end == LIST_FIRST)
			memmove(elements + 1, elements, n * sizeof(*elements));
		elements[end == LIST_FIRST ? 0 : n] = lens[k];
	}
}

static void push_new(struct arena *arena)
{
	push(arena, LIST, LIST_FIRST, three, 3);
}

static void test_push_new(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	model_push(after.elements[LIST], LIST_FIRST, three, 3);
	step_through(&arena, &before, &after, push_new);
}

static void push_first(struct arena *arena)
{
	push(arena, LONG_LIST, LIST_FIRST, three, 3);
}

static void test_push_first(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	model_push(after.elements[LONG_LIST], LIST_FIRST, three, 3);
	step_through(&arena, &before, &after, push_first);
}

static void push_last(struct arena *arena)
{
	push(arena, LONG_LIST, LIST_LAST, three, 3);
}

static void test_push_last(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	model_push(after.elements[LONG_LIST], LIST_LAST, three, 3);
	step_through(&arena, &before, &after, push_last);
}

static void pop_first(struct arena *arena)
{
	list_pop(&arena->table,
		 table_find(&arena->table, ENTRY_STRING, key_of(LONG_LIST)),
		 LIST_FIRST, 4);
}

static void test_pop_first(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	memset(after.elements[LONG_LIST], 0, sizeof(after.elements[0]));
	memcpy(after.elements[LONG_LIST], long_list + 4, 2 * sizeof(size_t));
	step_through(&arena, &before, &after, pop_first);
}

static void pop_last(struct arena *arena)
{
	list_pop(&arena->table,
		 table_find(&arena->table, ENTRY_STRING, key_of(LONG_LIST)),
		 LIST_LAST, 4);
}

static void test_pop_last(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	memset(after.elements[LONG_LIST], 0, sizeof(after.elements[0]));
	memcpy(after.elements[LONG_LIST], long_list, 2 * sizeof(size_t));
	step_through(&arena, &before, &after, pop_last);
}

static void delete_list(struct arena *arena)
{
	table_delete(&arena->table, ENTRY_STRING, key_of(LONG_LIST));
}

static void test_delete_list(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	push(&arena, LIST, LIST_LAST, three, 3);
	model_push(before.elements[LIST], LIST_LAST, three, 3);
	after = before;
	memset(after.elements[LONG_LIST], 0, sizeof(after.elements[0]));
	step_through(&arena, &before, &after, delete_list);
}

/* A value in the place of a list, along with others. */
static void set_over_list(struct arena *arena)
{
	struct entry *entries[2];

	entries[0] = table_new(&arena->table, ENTRY_STRING, key_of(LONG_LIST),
			       value_of(LONG_LIST, 11), 0);
	entries[1] = table_new(&arena->table, ENTRY_STRING, key_of(3),
			       value_of(3, 30), 0);
	table_put(&arena->table, entries, 2);
}

static void test_set_over_list(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create(&arena, &before, KVSTORE_VERSION);
	after = before;
	memset(after.elements[LONG_LIST], 0, sizeof(after.elements[0]));
	after.len[LONG_LIST] = 11;
	after.len[3] = 30;
	step_through(&arena, &before, &after, set_over_list);
}

/* ---- going back to version 1 ---- */

/*
 * Values whose entries have other memory in version 1 than in version 2; and
 * one more, so that there is a slab for the smaller of them.
 */
static const size_t edges[EDGES] = { 2005, 2011, 4055, 4059, 1990 };

static void put_edges(struct arena *arena, struct model *model)
{
	size_t i;

	for (i = 0; i < EDGES; i++) {
		model->len[KEYS + i] = edges[i];
		put(arena, KEYS + i, edges[i]);
	}
}

/* A table of some entries behind one bucket, which takes few steps to walk. */
static void create_few(struct arena *arena, struct model *model,
		       uint64_t version)
{
	size_t i;

	create(arena, model, version);
	table_flush(&arena->table);
	arena->table.grow_at = MOST;
	memset(model, 0, sizeof(*model));
	for (i = 0; i < 4; i++) {
		model->len[i] = i ? 10 + i : BIG;
		put(arena, i, model->len[i]);
	}
	put_edges(arena, model);
	assert_int_equal(arena->table.root->buckets, 1);
}

static void count_new_format(struct table *t, struct entry *entry, void *arg)
{
	*(uint64_t *)arg += entry_accessed(t, entry) > 0;
}

static uint64_t in_new_format(struct arena *arena)
{
	uint64_t n = 0;

	table_walk(&arena->table, 0, UINT32_MAX, count_new_format, &n);
	return n;
}

static void go_back(struct arena *arena)
{
	struct kho_error why;

	if (table_convert(arena->kho, 1, &arena->table, &why))
		fail_msg("%s", why.text);
}

static void test_go_back(void **state)
{
	struct arena arena;
	struct model before;

	(void)state;
	create_few(&arena, &before, KVSTORE_VERSION);
	step_through(&arena, &before, &before, go_back);
}

/* A list that has expired is no reason to stay. */
static void test_go_back_expired(void **state)
{
	struct arena arena;
	struct model before, after;

	(void)state;
	create_few(&arena, &before, KVSTORE_VERSION);
	push(&arena, LIST, LIST_LAST, three, 3);
	entry_expire(table_find(&arena.table, ENTRY_STRING, key_of(LIST)),
		     1000);
	after = before;
	model_push(before.elements[LIST], LIST_LAST, three, 3);
	arena.table.now = 1000;
	step_through(&arena, &before, &after, go_back);
}

static void test_upgrade_edges(void **state)
{
	struct arena arena;
	struct model before;

	(void)state;
	create_few(&arena, &before, 1);
	step_through(&arena, &before, &before, upgrade);
}

static void touch(struct table *t, struct entry *entry, void *arg)
{
	(void)arg;
	entry_touch(t, entry);
}

/* All entries count as of the other version, there and back, and again. */
static void there_and_back(struct arena *arena, const struct model *model)
{
	uint64_t objects[3] = { 0 }, keys = arena->table.root->count;
	struct kho_error why;
	size_t turn;

	for (turn = 0; turn < 3; turn++) {
		arena->table.now += 1000;
		assert_int_equal(in_new_format(arena), keys);
		go_back(arena);
		assert_int_equal(arena->table.root->version, 1);
		assert_int_equal(in_new_format(arena), 0);
		assert_true(holds(arena, model, true));
		kho_kmem_walk(arena->table.kmem, count_object, &objects[turn]);
		/* What came before that is not known any more. */
		assert_int_equal(table_convert(arena->kho, 2, &arena->table,
					       &why),
				 0);
		assert_int_equal(arena->table.root->version, 2);
		assert_int_equal(in_new_format(arena), 0);
		assert_true(holds(arena, model, true));
		table_walk(&arena->table, 0, UINT32_MAX, touch, NULL);
	}
	assert_int_equal(objects[0], objects[2]);
	check_leaks(arena);
	kho_close(arena->kho);
	close(arena->fd);
}

static void test_there_and_back(void **state)
{
	struct arena arena;
	struct model model;

	(void)state;
	create(&arena, &model, KVSTORE_VERSION);
	table_delete(&arena.table, ENTRY_STRING, key_of(LONG_LIST));
	memset(model.elements, 0, sizeof(model.elements));
	put_edges(&arena, &model);
	there_and_back(&arena, &model);
}

static void test_there_and_back_few(void **state)
{
	struct arena arena;
	struct model model;

	(void)state;
	create_few(&arena, &model, KVSTORE_VERSION);
	there_and_back(&arena, &model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_new),
		cmocka_unit_test(test_set_again),
		cmocka_unit_test(test_set_big),
		cmocka_unit_test(test_set_many),
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_delete_big),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_grow),
		cmocka_unit_test(test_grow_first),
		cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_recover),
		cmocka_unit_test(test_recover_in_use),
		cmocka_unit_test(test_push_new),
		cmocka_unit_test(test_push_first),
		cmocka_unit_test(test_push_last),
		cmocka_unit_test(test_pop_first),
		cmocka_unit_test(test_pop_last),
		cmocka_unit_test(test_delete_list),
		cmocka_unit_test(test_set_over_list),
		cmocka_unit_test(test_go_back),
		cmocka_unit_test(test_go_back_expired),
		cmocka_unit_test(test_upgrade_edges),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_there_and_back_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
