// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Reading sessions, files, shared state, memfds, and the small subtrees. */
#include <errno.h>
#include <stdio.h>

#include <kho/linux.h>
#include <kho/luo.h>

#include "guest.h"

#define PAGE 4096ull

/* Pages that were told of, by part. */
struct seen {
	uint64_t pages[LUO_PART_CONTENTS + 1];
	size_t n;
	char names[2000][64];
	uint64_t numbers[2000][2];
	int stop_at; /* call that ends it, from 1 */
};

static int on_pages(enum luo_part part, uint64_t phys, uint64_t size, void *arg)
{
	struct seen *seen = arg;

	assert_int_equal(phys % PAGE, 0);
	assert_int_equal(size % PAGE, 0);
	assert_in_range(phys, GUEST_BASE, GUEST_BASE + (1ull << 40));
	seen->pages[part] += size / PAGE;
	return 0;
}

static int note(struct seen *seen, const char *name, uint64_t a, uint64_t b)
{
	assert_true(seen->n < 2000);
	strcpy(seen->names[seen->n], name);
	seen->numbers[seen->n][0] = a;
	seen->numbers[seen->n++][1] = b;
	return seen->stop_at && seen->n == (size_t)seen->stop_at ? 77 : 0;
}

static int on_session(const struct luo_state_session *s, void *arg)
{
	return note(arg, s->name, s->files, s->count);
}

static int on_file(const struct luo_state_file *f, void *arg)
{
	return note(arg, f->handler, f->data, f->token);
}

static int on_flb(const struct luo_state_flb *f, void *arg)
{
	return note(arg, f->name, f->data, f->count);
}

/* A guest with a header of LUO. */
static struct guest luo_guest(unsigned int pages)
{
	struct guest g = guest_new(12, pages);
	struct kho_luo_header *header;

	g.luo = guest_preserved(&g, 0);
	header = guest_ptr(&g, g.luo);
	strcpy(header->compatible, "luo-v5");
	header->live_updates = 3;
	return g;
}

static struct kho_luo_header *header_of(const struct guest *g)
{
	return guest_ptr(g, g->luo);
}

static int read_state(const struct guest *g, struct luo_state *luo,
		      struct kho_error *err)
{
	struct kho_mem_array mem = guest_mem(g);

	return luo_state_read(&mem.mem, g->luo, 32, luo, err);
}

static struct luo_state must_read(const struct guest *g)
{
	struct luo_state luo;
	struct kho_error err;

	if (read_state(g, &luo, &err))
		fail_msg("%s", err.text);
	return luo;
}

static void header(void **state)
{
	struct guest g = luo_guest(10);
	struct kho_mem_array mem = guest_mem(&g);
	struct luo_state luo = must_read(&g);
	struct kho_error err;
	struct seen seen = { 0 };

	(void)state;
	assert_string_equal(luo.compatible, "luo-v5");
	assert_int_equal(luo.live_updates, 3);
	assert_false(luo.written);
	assert_int_equal(luo_state_sessions(&mem.mem, &luo, NULL, on_session,
					    &seen, &err),
			 0);
	assert_int_equal(luo_state_flbs(&mem.mem, &luo, NULL, on_flb, &seen,
					&err),
			 0);
	assert_int_equal(seen.n, 0);
	assert_int_equal(luo_state_read(&mem.mem, g.luo, 31, &luo, &err),
			 -EBADMSG);
	assert_int_equal(luo_state_read(&mem.mem, 0, 32, &luo, &err), -EFAULT);
	strcpy(header_of(&g)->compatible, "luo-v6");
	assert_int_equal(read_state(&g, &luo, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "the state is luo-v6, only luo-v5"));
	memcpy(header_of(&g)->compatible, "luo-v5xx", 8);
	assert_int_equal(read_state(&g, &luo, &err), -EBADMSG);
	memset(header_of(&g)->compatible, 0, 8);
	assert_int_equal(read_state(&g, &luo, &err), -EBADMSG);
	guest_free(&g);
}

/* A thousand sessions, in blocks that need not be full. */
static void sessions(void **state)
{
	static struct kho_luo_session raw[1000];
	const uint64_t per[] = { 51, 50, 1 };

	(void)state;
	for (int i = 0; i < 1000; i++) {
		sprintf(raw[i].name, "session-%d", i);
		raw[i].files.phys = (uint64_t)i * PAGE;
		raw[i].count = (uint64_t)i;
	}
	memset(raw[999].name, 'x', 63);
	for (size_t i = 0; i < 3; i++) {
		struct guest g = luo_guest(2200);
		struct kho_mem_array mem = guest_mem(&g);
		struct seen *seen = calloc(1, sizeof(*seen));
		const struct luo_reach reach = { on_pages, NULL, seen };
		struct luo_state luo;
		struct kho_error err;
		char name[64];

		header_of(&g)->sessions.phys =
			guest_blocks(&g, raw, sizeof(raw[0]), 1000, per[i]);
		luo = must_read(&g);
		assert_true(luo.written);
		if (luo_state_sessions(&mem.mem, &luo, &reach, on_session, seen,
				       &err))
			fail_msg("%s", err.text);
		assert_int_equal(seen->n, 1000);
		for (int n = 0; n < 999; n++) {
			sprintf(name, "session-%d", n);
			assert_string_equal(seen->names[n], name);
			assert_int_equal(seen->numbers[n][0],
					 (uint64_t)n * PAGE);
			assert_int_equal(seen->numbers[n][1], n);
		}
		assert_int_equal(strlen(seen->names[999]), 63);
		assert_int_equal(seen->pages[LUO_PART_SESSIONS],
				 (1000 + per[i] - 1) / per[i]);
		seen->n = 0;
		seen->stop_at = 500;
		assert_int_equal(luo_state_sessions(&mem.mem, &luo, NULL,
						    on_session, seen, &err),
				 77);
		assert_int_equal(seen->n, 500);
		free(seen);
		guest_free(&g);
	}
}

static void bad_sessions(void **state)
{
	struct kho_luo_session raw[3] = { { "a", { 0 }, 0 },
					  { "b", { 0 }, 0 },
					  { "c", { 0 }, 0 } };
	struct guest g = luo_guest(20);
	struct kho_mem_array mem = guest_mem(&g);
	struct seen seen = { 0 };
	struct luo_state luo;
	struct kho_error err;
	uint64_t *block, first;

	(void)state;
	first = guest_blocks(&g, raw, sizeof(raw[0]), 3, 2);
	header_of(&g)->sessions.phys = first;
	luo = must_read(&g);
	block = guest_ptr(&g, first);
	/* A chain that does not end, and one that leaves the memory. */
	block[0] = first;
	assert_int_equal(luo_state_sessions(&mem.mem, &luo, NULL, on_session,
					    &seen, &err),
			 -ELOOP);
	block[0] = 1ull << 50;
	assert_int_equal(luo_state_sessions(&mem.mem, &luo, NULL, on_session,
					    &seen, &err),
			 -EFAULT);
	block[0] = 0;
	block[1] = 52;
	assert_int_equal(luo_state_sessions(&mem.mem, &luo, NULL, on_session,
					    &seen, &err),
			 -EBADMSG);
	block[1] = 2;
	memset((char *)(block + 2) + 80, 'x', 64);
	assert_int_equal(luo_state_sessions(&mem.mem, &luo, NULL, on_session,
					    &seen, &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, "session 1 has no name"));
	memset((char *)(block + 2) + 80, 0, 64);
	assert_int_equal(luo_state_sessions(&mem.mem, &luo, NULL, on_session,
					    &seen, &err),
			 -EBADMSG);
	guest_free(&g);
}

/* While the kernel runs there are blocks, and nothing in them. */
static void unwritten(void **state)
{
	const char zeros[80] = { 0 };
	struct guest g = luo_guest(20);
	struct kho_mem_array mem = guest_mem(&g);
	struct seen seen = { 0 };
	const struct luo_reach reach = { on_pages, NULL, &seen };
	struct luo_state luo;
	uint64_t first, *block;

	(void)state;
	first = guest_blocks(&g, zeros, 0, 3, 1);
	header_of(&g)->sessions.phys = first;
	for (uint64_t phys = first; phys; phys = block[0]) {
		block = guest_ptr(&g, phys);
		block[1] = 0;
	}
	luo = must_read(&g);
	assert_false(luo.written);
	assert_int_equal(luo_state_sessions(&mem.mem, &luo, &reach, on_session,
					    &seen, NULL),
			 0);
	assert_int_equal(seen.n, 0);
	assert_int_equal(seen.pages[LUO_PART_SESSIONS], 3);
	/* Somebody else's page by now: it ends all the same. */
	block = guest_ptr(&g, first);
	block[0] = first;
	assert_int_equal(luo_state_sessions(&mem.mem, &luo, &reach, on_session,
					    &seen, NULL),
			 0);
	guest_free(&g);
}

static void files(void **state)
{
	struct luo_state_session session = { "s", 0, 100 };
	static struct kho_luo_file raw[100];
	struct guest g = luo_guest(20);
	struct kho_mem_array mem = guest_mem(&g);
	struct seen seen = { 0 };
	const struct luo_reach reach = { on_pages, NULL, &seen };
	struct kho_error err;

	(void)state;
	for (uint64_t i = 0; i < 100; i++) {
		strcpy(raw[i].compatible, i % 2 ? "memfd-v2" : "vfio-v1");
		raw[i].data = i * PAGE;
		raw[i].token = UINT64_MAX - i;
	}
	session.files = guest_blocks(&g, raw, sizeof(raw[0]), 100, 63);
	assert_int_equal(luo_state_files(&mem.mem, &session, &reach, on_file,
					 &seen, &err),
			 0);
	assert_int_equal(seen.n, 100);
	assert_string_equal(seen.names[0], "vfio-v1");
	assert_string_equal(seen.names[99], "memfd-v2");
	assert_int_equal(seen.numbers[99][0], 99 * PAGE);
	assert_int_equal(seen.numbers[99][1], UINT64_MAX - 99);
	assert_int_equal(seen.pages[LUO_PART_FILES], 2);
	session.count = 101;
	assert_int_equal(luo_state_files(&mem.mem, &session, NULL, on_file,
					 &seen, &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, "has 101 files, its blocks have 100"));
	session.count = 99;
	assert_int_equal(luo_state_files(&mem.mem, &session, NULL, on_file,
					 &seen, &err),
			 -EBADMSG);
	session = (struct luo_state_session){ "empty", 0, 0 };
	assert_int_equal(luo_state_files(&mem.mem, &session, NULL, on_file,
					 &seen, &err),
			 0);
	session.count = 1;
	assert_int_equal(luo_state_files(&mem.mem, &session, NULL, on_file,
					 &seen, &err),
			 -EBADMSG);
	guest_free(&g);
}

static void flbs(void **state)
{
	struct guest g = luo_guest(20);
	struct kho_mem_array mem = guest_mem(&g);
	struct seen seen = { 0 };
	const struct luo_reach reach = { on_pages, NULL, &seen };
	struct kho_luo_flbs *array;
	struct kho_luo_flb *flb;
	struct luo_state luo;
	struct kho_error err;
	uint64_t phys;

	(void)state;
	phys = guest_preserved(&g, 1);
	header_of(&g)->flbs.phys = phys;
	luo = must_read(&g);
	array = guest_ptr(&g, phys);
	/* Before it is written. */
	assert_int_equal(luo_state_flbs(&mem.mem, &luo, &reach, on_flb, &seen,
					&err),
			 0);
	assert_int_equal(seen.pages[LUO_PART_FLBS], 1);
	array->pages = 2;
	array->count = 127;
	flb = (void *)(array + 1);
	for (uint64_t i = 0; i < 127; i++) {
		sprintf(flb[i].name, "flb-%d", (int)i);
		flb[i].data = i;
		flb[i].count = 2 * i;
	}
	assert_int_equal(luo_state_flbs(&mem.mem, &luo, &reach, on_flb, &seen,
					&err),
			 0);
	assert_int_equal(seen.n, 127);
	assert_string_equal(seen.names[126], "flb-126");
	assert_int_equal(seen.numbers[126][1], 252);
	assert_int_equal(seen.pages[LUO_PART_FLBS], 3);
	array->count = 128;
	assert_int_equal(luo_state_flbs(&mem.mem, &luo, NULL, on_flb, &seen,
					&err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, "128 FLBs in 2 pages"));
	array->count = 0;
	array->pages = UINT64_MAX;
	assert_int_equal(luo_state_flbs(&mem.mem, &luo, NULL, on_flb, &seen,
					&err),
			 -EBADMSG);
	luo.flbs += 8;
	assert_int_equal(luo_state_flbs(&mem.mem, &luo, NULL, on_flb, &seen,
					&err),
			 -EBADMSG);
	luo.flbs = PAGE;
	assert_int_equal(luo_state_flbs(&mem.mem, &luo, NULL, on_flb, &seen,
					&err),
			 -EFAULT);
	guest_free(&g);
}

static void handlers(void **state)
{
	(void)state;
	assert_true(luo_handler_is_memfd("memfd-v2"));
	assert_true(luo_handler_is_memfd("memfd-v2;vmalloc-v1"));
	assert_false(luo_handler_is_memfd("memfd-v1"));
	assert_false(luo_handler_is_memfd("memfd-v20"));
	assert_false(luo_handler_is_memfd("vmalloc-v1;memfd-v2"));
	assert_false(luo_handler_is_memfd("memfd"));
	assert_false(luo_handler_is_memfd(""));
}

/* The bytes of a file: each page begins with its number plus 1, or is zeros. */
struct check {
	uint64_t at;
	uint64_t pages; /* that were not zeros */
};

/* What it gets at a time begins with a page. */
static int on_bytes(const void *bytes, size_t len, void *arg)
{
	static const char zeros[PAGE];
	struct check *check = arg;
	const char *from = bytes;

	for (size_t i = 0; i < len; i += PAGE) {
		size_t n = len - i < PAGE ? len - i : PAGE;
		uint64_t number = 0;

		assert_int_equal(check->at % PAGE, 0);
		memcpy(&number, from + i, n < 8 ? n : 8);
		/* What is cut off was small. */
		if (number)
			assert_int_equal(number, check->at / PAGE + 1);
		check->pages += !!number;
		if (n > 8)
			assert_memory_equal(from + i + 8, zeros, n - 8);
		check->at += n;
	}
	return 0;
}

static int order_of(uint64_t phys, void *arg)
{
	(void)phys;
	return *(int *)arg;
}

static int no_pages(enum luo_part part, uint64_t phys, uint64_t size, void *arg)
{
	(void)part;
	(void)phys;
	(void)size;
	(void)arg;
	return 0;
}

static void memfds(void **state)
{
	static const struct {
		uint64_t size;
		unsigned int order;
		uint64_t holes;
		uint64_t pages; /* in folios */
		uint64_t full; /* that are not zeros, of the file */
	} cases[] = {
		{ 0, 0, 0, 0, 0 },
		{ 1, 0, 0, 1, 1 },
		{ 8, 0, 0, 1, 1 },
		{ 4096, 0, 0, 1, 1 },
		{ 4097, 0, 0, 2, 2 },
		{ 10 * 4096, 0, 0, 10, 10 },
		{ 10 * 4096, 0, 3, 7, 7 },
		{ 64 * 4096 + 9, 4, 0, 80, 65 },
		{ 64 * 4096 + 9, 4, 2, 48, 33 },
		/* Two chunks of an array with more than 511 pages. */
		{ 131000 * 4096ull, 0, 0, 131000, 131000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct guest g =
			guest_new(12, 200 + (unsigned int)(cases[i].size * 2 /
							   PAGE));
		struct kho_mem_array mem = guest_mem(&g);
		uint64_t data = guest_memfd(&g, cases[i].size, cases[i].order,
					    cases[i].holes);
		int order = (int)cases[i].order;
		const struct luo_reach reach = { no_pages, order_of, &order };
		struct check check = { 0 };
		struct luo_memfd *memfd;
		struct kho_error err;

		if (luo_memfd_read(&mem.mem, data, &reach, &memfd, &err))
			fail_msg("%zu: %s", i, err.text);
		assert_int_equal(memfd->size, cases[i].size);
		assert_int_equal(memfd->seals, 1);
		assert_int_equal(memfd->pages, cases[i].pages);
		if (luo_memfd_contents(&mem.mem, memfd, on_bytes, &check, &err))
			fail_msg("%zu: %s", i, err.text);
		assert_int_equal(check.at, cases[i].size);
		assert_int_equal(check.pages, cases[i].full);
		luo_memfd_free(memfd);
		guest_free(&g);
	}
}

static void memfd_pages(void **state)
{
	struct guest g = guest_new(12, 4000);
	struct kho_mem_array mem = guest_mem(&g);
	uint64_t data = guest_memfd(&g, 600 * PAGE, 0, 0);
	struct seen seen = { 0 };
	const struct luo_reach reach = { on_pages, NULL, &seen };
	struct luo_memfd *memfd;

	(void)state;
	assert_int_equal(luo_memfd_read(&mem.mem, data, &reach, &memfd, NULL),
			 0);
	assert_int_equal(seen.pages[LUO_PART_FILE], 1);
	assert_int_equal(seen.pages[LUO_PART_LISTS], 1);
	assert_int_equal(seen.pages[LUO_PART_ARRAY], 3);
	assert_int_equal(seen.pages[LUO_PART_CONTENTS], 600);
	luo_memfd_free(memfd);
	guest_free(&g);
}

/* What is fallocated and was never written reads as zeros. */
static void not_uptodate(void **state)
{
	struct guest g = guest_new(12, 100);
	struct kho_mem_array mem = guest_mem(&g);
	uint64_t data = guest_memfd(&g, 3 * PAGE, 0, 0);
	struct kho_memfd *raw = guest_ptr(&g, data);
	uint64_t *chunk = guest_ptr(&g, raw->array.first.phys);
	struct kho_memfd_folio *folios = guest_ptr(&g, chunk[1]);
	struct check check = { 0 };
	struct luo_memfd *memfd;

	(void)state;
	folios[1].bits &= ~KHO_MEMFD_UPTODATE;
	assert_int_equal(luo_memfd_read(&mem.mem, data, NULL, &memfd, NULL), 0);
	assert_int_equal(luo_memfd_contents(&mem.mem, memfd, on_bytes, &check,
					    NULL),
			 0);
	assert_int_equal(check.at, 3 * PAGE);
	assert_int_equal(check.pages, 2);
	luo_memfd_free(memfd);
	guest_free(&g);
}

static void bad_memfds(void **state)
{
	static const struct {
		int code;
		const char *text;
	} want[] = {
		{ -EOPNOTSUPP, "seals 0x41" },
		{ -EOPNOTSUPP, "flags 0x1" },
		{ -EBADMSG, "no file has such" },
		{ -EBADMSG, "folios in a file of 0 bytes" },
		{ -EBADMSG, "but no folios" },
		{ -EBADMSG, "4 folios in a file of" },
		{ -EBADMSG, "the order of the blocks" },
		{ -EBADMSG, "is there twice" },
		{ -EBADMSG, "at page 3 of a file of 3 pages" },
		{ -EBADMSG, "is no folio" },
		{ -EFAULT, "not all in the memory" },
		{ -EBADMSG, "room for 256" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		struct guest g = guest_new(12, 100);
		struct kho_mem_array mem = guest_mem(&g);
		uint64_t data = guest_memfd(&g, 3 * PAGE, 0, 0);
		struct kho_memfd *raw = guest_ptr(&g, data);
		uint64_t *chunk = guest_ptr(&g, raw->array.first.phys);
		struct kho_memfd_folio *folios = guest_ptr(&g, chunk[1]);
		struct luo_memfd *memfd;
		struct kho_error err;

		switch (i) {
		case 0:
			raw->seals |= 0x40;
			break;
		case 1:
			raw->flags = 1;
			break;
		case 2:
			raw->size = 1ull << 63;
			break;
		case 3:
			raw->size = 0;
			break;
		case 4:
			raw->folios = 0;
			break;
		case 5:
			raw->folios = 4;
			break;
		case 6:
			raw->array.order = 40;
			break;
		case 7:
			folios[1].index = 0;
			break;
		case 8:
			folios[2].index = 3;
			break;
		case 9:
			folios[2].bits |= 1ull << 60;
			break;
		case 10:
			chunk[1] = PAGE;
			break;
		case 11:
			raw->size = 300 * PAGE;
			raw->folios = 300;
			break;
		}
		assert_int_equal(luo_memfd_read(&mem.mem, data, NULL, &memfd,
						&err),
				 want[i].code);
		if (!strstr(err.text, want[i].text))
			fail_msg("%zu: %s", i, err.text);
		guest_free(&g);
	}
}

static void bad_contents(void **state)
{
	struct guest g = guest_new(12, 100);
	struct kho_mem_array mem = guest_mem(&g);
	uint64_t data = guest_memfd(&g, 3 * PAGE, 0, 0);
	struct kho_memfd *raw = guest_ptr(&g, data);
	uint64_t *chunk = guest_ptr(&g, raw->array.first.phys);
	struct kho_memfd_folio *folios = guest_ptr(&g, chunk[1]);
	struct check check = { 0 };
	struct luo_memfd *memfd;
	struct kho_error err;

	(void)state;
	folios[2].bits = 7 | KHO_MEMFD_UPTODATE;
	assert_int_equal(luo_memfd_read(&mem.mem, data, NULL, &memfd, &err), 0);
	assert_int_equal(luo_memfd_contents(&mem.mem, memfd, on_bytes, &check,
					    &err),
			 -EFAULT);
	luo_memfd_free(memfd);
	/* Zeros without end. */
	folios[2].bits = folios[1].bits;
	raw->size = 1ull << 50;
	assert_int_equal(luo_memfd_read(&mem.mem, data, NULL, &memfd, &err), 0);
	assert_int_equal(luo_memfd_contents(&mem.mem, memfd, on_bytes, &check,
					    &err),
			 -EFBIG);
	luo_memfd_free(memfd);
	guest_free(&g);
}

static void metadata(void **state)
{
	struct kho_kexec_metadata raw = { 1, "7.3.4-kho", 4 };
	struct kho_mem_array mem = kho_mem_array(&raw, sizeof(raw), PAGE, 12);
	struct kho_linux_metadata metadata;

	(void)state;
	assert_int_equal(sizeof(raw), 73);
	assert_int_equal(kho_linux_metadata(&mem.mem, PAGE, 73, &metadata,
					    NULL),
			 0);
	assert_string_equal(metadata.release, "7.3.4-kho");
	assert_int_equal(metadata.kexecs, 4);
	assert_int_equal(kho_linux_metadata(&mem.mem, PAGE, 72, &metadata,
					    NULL),
			 -EBADMSG);
	assert_int_equal(kho_linux_metadata(&mem.mem, PAGE + 8, 73, &metadata,
					    NULL),
			 -EFAULT);
	memset(raw.previous_release, 'x', sizeof(raw.previous_release));
	assert_int_equal(kho_linux_metadata(&mem.mem, PAGE, 73, &metadata,
					    NULL),
			 -EBADMSG);
	raw.version = 2;
	assert_int_equal(kho_linux_metadata(&mem.mem, PAGE, 73, &metadata,
					    NULL),
			 -EPROTONOSUPPORT);
}

static int put_string(void *fdt, const char *name, const char *text)
{
	return fdt_property(fdt, name, text, (int)strlen(text) + 1);
}

static void put_region(void *fdt, const char *name, const char *compatible,
		       uint64_t start, uint64_t size)
{
	assert_int_equal(fdt_begin_node(fdt, name), 0);
	assert_int_equal(put_string(fdt, "compatible", compatible), 0);
	assert_int_equal(fdt_property(fdt, "start", &start, 8), 0);
	assert_int_equal(fdt_property(fdt, "size", &size, 8), 0);
	assert_int_equal(fdt_end_node(fdt), 0);
}

static int on_region(const struct kho_linux_region *region, void *arg)
{
	return note(arg, region->name, region->phys, region->size);
}

static int read_regions(const char *root, const char *compatible,
			uint64_t start, uint64_t size, struct seen *seen)
{
	char fdt[4096] = { 0 };
	struct kho_mem_array mem = kho_mem_array(fdt, sizeof(fdt), PAGE, 12);

	assert_int_equal(fdt_create(fdt, sizeof(fdt)), 0);
	assert_int_equal(fdt_finish_reservemap(fdt), 0);
	assert_int_equal(fdt_begin_node(fdt, ""), 0);
	assert_int_equal(put_string(fdt, "compatible", root), 0);
	put_region(fdt, "first", "reserve-mem-v1", 1ull << 40, 1 << 20);
	put_region(fdt, "second", compatible, start, size);
	assert_int_equal(fdt_end_node(fdt), 0);
	assert_int_equal(fdt_finish(fdt), 0);
	return kho_linux_regions(&mem.mem, PAGE, sizeof(fdt), on_region, seen,
				 NULL);
}

static void regions(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(read_regions("memblock-v1", "reserve-mem-v1", PAGE,
				      PAGE, &seen),
			 0);
	assert_int_equal(seen.n, 2);
	assert_string_equal(seen.names[0], "first");
	assert_int_equal(seen.numbers[0][0], 1ull << 40);
	assert_int_equal(seen.numbers[1][1], PAGE);
	assert_int_equal(read_regions("memblock-v2", "reserve-mem-v1", PAGE,
				      PAGE, &seen),
			 -EPROTONOSUPPORT);
	assert_int_equal(read_regions("memblock-v1", "reserve-mem-v2", PAGE,
				      PAGE, &seen),
			 -EPROTONOSUPPORT);
	assert_int_equal(read_regions("memblock-v1", "reserve-mem-v1", PAGE, 0,
				      &seen),
			 -EBADMSG);
	assert_int_equal(read_regions("memblock-v1", "reserve-mem-v1",
				      UINT64_MAX, PAGE, &seen),
			 -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header),	cmocka_unit_test(sessions),
		cmocka_unit_test(bad_sessions), cmocka_unit_test(unwritten),
		cmocka_unit_test(files),	cmocka_unit_test(flbs),
		cmocka_unit_test(handlers),	cmocka_unit_test(memfds),
		cmocka_unit_test(memfd_pages),	cmocka_unit_test(not_uptodate),
		cmocka_unit_test(bad_memfds),	cmocka_unit_test(bad_contents),
		cmocka_unit_test(metadata),	cmocka_unit_test(regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
