// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/* Cores: their segments, whatever the file says, and the root in them. */
#include <elf.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kho/dump.h>

#include "guest.h"

/* A core that is put together. */
struct file {
	Elf64_Ehdr ehdr;
	size_t n;
	Elf64_Phdr phdrs[64];
	size_t len;
	uint8_t bytes[256 * 1024]; /* of the segments */
};

/* Where the segments begin. */
#define DATA 8192

static struct file *file_new(uint16_t machine)
{
	struct file *file = calloc(1, sizeof(*file));

	assert_non_null(file);
	memcpy(file->ehdr.e_ident, ELFMAG, SELFMAG);
	file->ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	file->ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	file->ehdr.e_type = ET_CORE;
	file->ehdr.e_machine = machine;
	file->ehdr.e_phoff = sizeof(file->ehdr);
	file->ehdr.e_phentsize = sizeof(Elf64_Phdr);
	return file;
}

/* A segment; its bytes, to be filled in. */
static void *add(struct file *file, uint32_t type, uint64_t phys, size_t size)
{
	void *bytes = file->bytes + file->len;

	assert_true(file->n < 64 && file->len + size <= sizeof(file->bytes));
	file->phdrs[file->n++] = (Elf64_Phdr){
		.p_type = type,
		.p_offset = DATA + file->len,
		.p_paddr = phys,
		.p_filesz = size,
		.p_memsz = size,
	};
	file->len += size;
	return bytes;
}

static int write_out(struct file *file, size_t cut)
{
	int fd = memfd_create("core", MFD_CLOEXEC);

	assert_true(fd >= 0);
	if (!file->ehdr.e_phnum)
		file->ehdr.e_phnum = (uint16_t)file->n;
	assert_int_equal(pwrite(fd, &file->ehdr, sizeof(file->ehdr), 0),
			 sizeof(file->ehdr));
	assert_true(pwrite(fd, file->phdrs, file->n * sizeof(Elf64_Phdr),
			   (off_t)file->ehdr.e_phoff) >= 0);
	assert_true(pwrite(fd, file->bytes, file->len, DATA) >= 0);
	if (cut)
		assert_int_equal(ftruncate(fd, (off_t)(DATA + cut)), 0);
	free(file);
	return fd;
}

/* Opens what was put together, and forgets it. */
static int open_file(struct file *file, const struct kho_dump_opts *opts,
		     struct kho_dump **core, struct kho_error *err)
{
	int fd = write_out(file, 0);
	int ret = kho_dump_open(fd, opts, core, err);

	close(fd);
	return ret;
}

static struct kho_dump *must_open(struct file *file,
				  const struct kho_dump_opts *opts)
{
	struct kho_error err = { 0 };
	struct kho_dump *core;

	if (open_file(file, opts, &core, &err))
		fail_msg("%s", err.text);
	return core;
}

static char at(const struct kho_dump *core, uint64_t phys)
{
	char c = 0;

	assert_int_equal(kho_mem_read(kho_dump_mem(core), phys, &c, 1), 0);
	return c;
}

static bool has(const struct kho_dump *core, uint64_t phys, size_t len)
{
	char *buf = malloc(len);
	bool ok = kho_mem_read(kho_dump_mem(core), phys, buf, len) == 0;

	free(buf);
	return ok;
}

static void segments(void **state)
{
	struct file *file = file_new(EM_X86_64);
	struct kho_dump_info info;
	struct kho_dump *core;

	(void)state;
	/* Neither sorted nor contiguous; two are next to each other. */
	memset(add(file, PT_LOAD, 0x9000, 4096), 'c', 4096);
	memset(add(file, PT_LOAD, 0x1000, 4096), 'a', 4096);
	memset(add(file, PT_NULL, 0x5000, 4096), 'x', 4096);
	memset(add(file, PT_LOAD, 0x2000, 4096), 'b', 4096);
	core = must_open(file, NULL);
	kho_dump_info(core, &info);
	assert_int_equal(info.kind, KHO_DUMP_ELF);
	assert_string_equal(info.machine, "x86-64");
	assert_int_equal(info.n, 3);
	assert_int_equal(info.size, 3 * 4096);
	assert_int_equal(info.segments[0].phys, 0x1000);
	assert_int_equal(at(core, 0x1000), 'a');
	assert_int_equal(at(core, 0x1fff), 'a');
	assert_int_equal(at(core, 0x2000), 'b');
	assert_int_equal(at(core, 0x9fff), 'c');
	assert_true(has(core, 0x1800, 4096));
	assert_false(has(core, 0x2800, 4096));
	assert_false(has(core, 0xfff, 2));
	assert_false(has(core, 0x3000, 1));
	assert_false(has(core, 0x5000, 1));
	assert_false(has(core, 0xa000, 1));
	assert_false(has(core, 0, 1));
	assert_false(has(core, UINT64_MAX, 1));
	kho_dump_close(core);
}

static void overlaps(void **state)
{
	struct file *file = file_new(EM_X86_64);
	struct kho_dump_info info;
	struct kho_dump *core;

	(void)state;
	memset(add(file, PT_LOAD, 0x3000, 0x2000), 'c', 0x2000);
	memset(add(file, PT_LOAD, 0x1000, 0x3000), 'a', 0x3000);
	/* All of it is within others. */
	memset(add(file, PT_LOAD, 0x2000, 0x2000), 'b', 0x2000);
	/* The same place: the one that is first in the file. */
	memset(add(file, PT_LOAD, 0x1000, 0x1000), 'd', 0x1000);
	core = must_open(file, NULL);
	kho_dump_info(core, &info);
	assert_int_equal(info.n, 2);
	assert_int_equal(info.size, 0x4000);
	assert_int_equal(at(core, 0x1000), 'a');
	assert_int_equal(at(core, 0x3fff), 'a');
	assert_int_equal(at(core, 0x4000), 'c');
	assert_int_equal(at(core, 0x4fff), 'c');
	assert_true(has(core, 0x1000, 0x4000));
	kho_dump_close(core);
}

static void truncated(void **state)
{
	struct file *file = file_new(EM_X86_64);
	struct kho_dump_info info;
	struct kho_dump *core;
	int fd;

	(void)state;
	memset(add(file, PT_LOAD, 0x1000, 0x2000), 'a', 0x2000);
	memset(add(file, PT_LOAD, 0x8000, 0x1000), 'b', 0x1000);
	fd = write_out(file, 0x1800);
	assert_int_equal(kho_dump_open(fd, NULL, &core, NULL), 0);
	close(fd);
	kho_dump_info(core, &info);
	assert_int_equal(info.missing, 0x1800);
	assert_int_equal(info.n, 1);
	assert_true(has(core, 0x1000, 0x1800));
	assert_false(has(core, 0x1000, 0x1801));
	assert_false(has(core, 0x8000, 1));
	kho_dump_close(core);
}

/* Memory of which the dump says only that it is there. */
static void left_out(void **state)
{
	struct file *file = file_new(EM_X86_64);
	struct kho_dump_info info;
	struct kho_dump *core;

	(void)state;
	memset(add(file, PT_LOAD, 0x1000, 0x1000), 'a', 0x1000);
	file->phdrs[0].p_memsz = 0x8000;
	memset(add(file, PT_LOAD, 0x3000, 0x1000), 'b', 0x1000);
	memset(add(file, PT_LOAD, 0x6000, 0x1000), 'c', 0x1000);
	file->phdrs[2].p_memsz = 0x4000;
	add(file, PT_LOAD, 0x20000, 0);
	file->phdrs[3].p_memsz = 0x1000;
	core = must_open(file, NULL);
	kho_dump_info(core, &info);
	assert_int_equal(info.n, 3);
	assert_int_equal(info.missing, 0);
	assert_int_equal(info.left_out, 0x7000 + 0x3000 + 0x1000);
	assert_int_equal(info.n_absent, 5);
	for (size_t i = 0; i < info.n_absent; i++) {
		static const uint64_t want[][2] = { { 0x2000, 0x1000 },
						    { 0x4000, 0x2000 },
						    { 0x7000, 0x2000 },
						    { 0x9000, 0x1000 },
						    { 0x20000, 0x1000 } };

		assert_int_equal(info.absent[i].phys, want[i][0]);
		assert_int_equal(info.absent[i].size, want[i][1]);
	}
	assert_int_equal(at(core, 0x1fff), 'a');
	assert_int_equal(at(core, 0x3000), 'b');
	assert_int_equal(at(core, 0x6fff), 'c');
	assert_false(has(core, 0x30000, 1));
	kho_dump_info(core, &info);
	assert_int_equal(info.misses, 0);
	assert_false(has(core, 0x1000, 0x1001));
	assert_false(has(core, 0x9fff, 1));
	assert_false(has(core, 0x20000, 1));
	kho_dump_info(core, &info);
	assert_int_equal(info.misses, 3);
	kho_dump_close(core);

	file = file_new(EM_X86_64);
	add(file, PT_LOAD, UINT64_MAX - 0xfff, 0x800);
	file->phdrs[0].p_memsz = 0x1000;
	assert_int_equal(open_file(file, NULL, &core, NULL), -EBADMSG);
}

/* More segments than e_phnum can say: section 0 does. */
static void many(void **state)
{
	const uint32_t n = 70000;
	Elf64_Phdr *phdrs = calloc(n, sizeof(*phdrs));
	struct file *file = file_new(EM_X86_64);
	Elf64_Shdr shdr = { .sh_info = n };
	struct kho_dump_info info;
	struct kho_dump *core;
	int fd;

	(void)state;
	assert_non_null(phdrs);
	file->ehdr.e_phnum = PN_XNUM;
	file->ehdr.e_shoff = 1024;
	file->ehdr.e_shentsize = sizeof(shdr);
	file->ehdr.e_phoff = 1 << 20;
	for (uint32_t i = 0; i < n; i++)
		phdrs[i] = (Elf64_Phdr){ .p_type = PT_LOAD,
					 .p_offset = DATA + i % 256,
					 .p_paddr = 0x1000ull * i,
					 .p_filesz = 1 };
	for (int i = 0; i < 256; i++)
		file->bytes[i] = (uint8_t)i;
	file->len = 256;
	fd = write_out(file, 0);
	assert_int_equal(pwrite(fd, phdrs, n * sizeof(*phdrs), 1 << 20),
			 n * sizeof(*phdrs));
	/* Without section 0, nobody knows. */
	assert_int_equal(kho_dump_open(fd, NULL, &core, NULL), -EBADMSG);
	assert_int_equal(pwrite(fd, &shdr, sizeof(shdr), 1024), sizeof(shdr));
	assert_int_equal(kho_dump_open(fd, NULL, &core, NULL), 0);
	kho_dump_info(core, &info);
	assert_int_equal(info.n, n);
	assert_int_equal(at(core, 0x1000ull * 69999), (char)(69999 % 256));
	assert_int_equal(at(core, 0x1000ull * 300), (char)(300 % 256));
	kho_dump_close(core);
	shdr.sh_info = UINT32_MAX;
	assert_int_equal(pwrite(fd, &shdr, sizeof(shdr), 1024), sizeof(shdr));
	assert_int_equal(kho_dump_open(fd, NULL, &core, NULL), -EBADMSG);
	close(fd);
	free(phdrs);
}

/* What is refused, and in which words. */
static void refused(void **state)
{
	static const struct {
		int code;
		const char *text;
	} want[] = {
		{ -EPROTONOSUPPORT, "64-bit little-endian" },
		{ -EPROTONOSUPPORT, "64-bit little-endian" },
		{ -EBADMSG, "no core" },
		{ -EPROTONOSUPPORT, "machine type 8" },
		{ -EBADMSG, "program headers of" },
		{ -EBADMSG, "truncated" },
		{ -EBADMSG, "truncated" },
		{ -EBADMSG, "a segment of" },
		{ -EBADMSG, "a segment of" },
		{ -EBADMSG, "no segment" },
		{ -EBADMSG, "in a file of" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		struct file *file = file_new(EM_X86_64);
		struct kho_error err = { 0 };
		struct kho_dump *core;

		add(file, PT_LOAD, 0x1000, 4096);
		switch (i) {
		case 0:
			file->ehdr.e_ident[EI_CLASS] = ELFCLASS32;
			break;
		case 1:
			file->ehdr.e_ident[EI_DATA] = ELFDATA2MSB;
			break;
		case 2:
			file->ehdr.e_type = ET_DYN;
			break;
		case 3:
			file->ehdr.e_machine = 8;
			break;
		case 4:
			file->ehdr.e_phentsize = 32;
			break;
		case 5:
			file->ehdr.e_phnum = 60000;
			break;
		case 6:
			file->phdrs[0].p_type = PT_NULL;
			file->ehdr.e_phnum = 2000;
			break;
		case 7:
			file->phdrs[0].p_paddr = UINT64_MAX - 100;
			break;
		case 8:
			file->phdrs[0].p_offset = UINT64_MAX - 100;
			break;
		case 9:
			file->phdrs[0].p_filesz = 0;
			file->phdrs[0].p_memsz = 0;
			break;
		case 10:
			/* Ten machines in the space of one. */
			for (uint64_t n = 0; n < 10; n++) {
				add(file, PT_LOAD, 0x10000 * n, 4096);
				file->phdrs[n].p_offset = DATA;
			}
			file->len = 4096;
			break;
		}
		assert_int_equal(open_file(file, NULL, &core, &err),
				 want[i].code);
		if (!strstr(err.text, want[i].text))
			fail_msg("%zu: %s", i, err.text);
	}
}

static void raw(void **state)
{
	const struct kho_dump_opts based = { .size = sizeof(based),
					     .base = 0x80000000 };
	const struct kho_dump_opts bad = { .size = sizeof(bad),
					   .base = UINT64_MAX - 10 };
	const struct kho_dump_opts odd = { .size = sizeof(odd),
					   .page_shift = 13 };
	const struct kho_dump_opts elf = { .size = sizeof(elf),
					   .kind = KHO_DUMP_ELF };
	int fd = memfd_create("raw", MFD_CLOEXEC);
	struct kho_dump_info info;
	struct kho_dump *core;

	(void)state;
	assert_int_equal(kho_dump_open(fd, NULL, &core, NULL), -EBADMSG);
	assert_int_equal(pwrite(fd, "hello", 5, 4096), 5);
	assert_int_equal(kho_dump_open(fd, NULL, &core, NULL), 0);
	kho_dump_info(core, &info);
	assert_int_equal(info.kind, KHO_DUMP_RAW);
	assert_null(info.machine);
	assert_int_equal(at(core, 4096), 'h');
	assert_false(has(core, 4096, 6));
	kho_dump_close(core);
	assert_int_equal(kho_dump_open(fd, &based, &core, NULL), 0);
	assert_int_equal(at(core, 0x80001004), 'o');
	assert_false(has(core, 4096, 1));
	kho_dump_close(core);
	assert_int_equal(kho_dump_open(fd, &bad, &core, NULL), -EINVAL);
	assert_int_equal(kho_dump_open(fd, &odd, &core, NULL), -EINVAL);
	assert_int_equal(kho_dump_open(fd, &elf, &core, NULL), -EBADMSG);
	/* What QEMU writes with -z. */
	assert_int_equal(pwrite(fd, "KDUMP   ", 8, 0), 8);
	assert_int_equal(kho_dump_open(fd, NULL, &core, NULL),
			 -EPROTONOSUPPORT);
	close(fd);
}

/* What has no physical address is not there: vmalloc, modules. */
static void kcore(void **state)
{
	const struct kho_dump_opts opts = { .size = sizeof(opts),
					    .kind = KHO_DUMP_KCORE };
	struct file *file = file_new(EM_X86_64);
	struct kho_dump_info info;
	struct kho_dump *core;

	(void)state;
	memset(add(file, PT_LOAD, UINT64_MAX, 4096), 'v', 4096);
	memset(add(file, PT_LOAD, 0x1000, 4096), 'a', 4096);
	core = must_open(file, &opts);
	kho_dump_info(core, &info);
	assert_int_equal(info.kind, KHO_DUMP_KCORE);
	assert_int_equal(info.n, 1);
	assert_int_equal(at(core, 0x1000), 'a');
	kho_dump_close(core);
}

static void add_note(struct file *file, const char *text)
{
	Elf64_Nhdr nhdr = { sizeof("VMCOREINFO"), (uint32_t)strlen(text), 0 };
	Elf64_Nhdr other = { 5, 4, 1 };
	char *note = add(file, PT_NOTE, 0, 256);

	memcpy(note, &other, sizeof(other));
	memcpy(note + 12, "CORE", 5);
	memcpy(note + 24, &nhdr, sizeof(nhdr));
	memcpy(note + 36, "VMCOREINFO", 11);
	memcpy(note + 48, text, strlen(text));
}

static void page_size(void **state)
{
	static const struct {
		const char *text;
		unsigned int shift;
	} notes[] = {
		{ "OSRELEASE=7.3\nPAGESIZE=65536\nX=1\n", 16 },
		{ "PAGESIZE=16384\n", 14 },
		{ "PAGESIZE=4096", 12 },
		/* None of these says it. */
		{ "XPAGESIZE=65536\n", 12 },
		{ "PAGESIZE=8192\n", 12 },
		{ "PAGESIZE=", 12 },
		{ "", 12 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
		struct file *file = file_new(EM_AARCH64);
		struct kho_dump *core;

		add(file, PT_LOAD, 0x10000, 0x10000);
		add_note(file, notes[i].text);
		core = must_open(file, NULL);
		assert_int_equal(kho_dump_mem(core)->page_shift,
				 notes[i].shift);
		kho_dump_close(core);
	}
}

/* A guest as a core of one segment. */
static struct kho_dump *guest_core(const struct guest *g, uint16_t machine)
{
	struct file *file = file_new(machine);

	memcpy(add(file, PT_LOAD, GUEST_BASE, g->size), g->bytes, g->size);
	return must_open(file, NULL);
}

/* Not with memcmp(): there is padding. */
static void assert_same_root(const struct kho_dump_root *a,
			     const struct kho_dump_root *b)
{
	assert_int_equal(a->phys, b->phys);
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->page_shift, b->page_shift);
	assert_int_equal(a->readable, b->readable);
	assert_int_equal(a->preserved, b->preserved);
	assert_int_equal(a->passed, b->passed);
	assert_int_equal(a->passed_at, b->passed_at);
	assert_int_equal(a->passed_size, b->passed_size);
	assert_int_equal(a->scratch, b->scratch);
	assert_int_equal(a->scratch_size, b->scratch_size);
}

static void finds(void **state)
{
	struct guest g = guest_new(12, 40);
	struct kho_dump_root roots[KHO_DUMP_ROOTS], one;
	struct kho_error err;
	struct kho_dump *core;
	size_t n;

	(void)state;
	core = guest_core(&g, EM_X86_64);
	assert_int_equal(kho_dump_find(core, roots, &n, &err), -ENOENT);
	kho_dump_close(core);

	guest_root(&g);
	/* In the middle of a page, nobody looks. */
	memcpy(guest_ptr(&g, guest_alloc(&g, 0) + 2048), guest_ptr(&g, g.root),
	       512);
	core = guest_core(&g, EM_X86_64);
	assert_int_equal(kho_dump_find(core, roots, &n, &err), 0);
	assert_int_equal(n, 1);
	assert_int_equal(roots[0].phys, g.root);
	assert_int_equal(roots[0].size, fdt_totalsize(guest_ptr(&g, g.root)));
	assert_int_equal(roots[0].page_shift, 12);
	assert_true(roots[0].readable && roots[0].preserved);
	assert_false(roots[0].passed);
	assert_int_equal(kho_dump_root(core, g.root, &one, &err), 0);
	assert_same_root(&one, &roots[0]);
	assert_int_equal(kho_dump_root(core, g.root + 4096, &one, &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, "no FDT at"));
	assert_int_equal(kho_dump_root(core, 0x1000, &one, &err), -EFAULT);
	kho_dump_close(core);
	guest_free(&g);
}

/* Pages are where their phys says, not where a segment begins. */
static void finds_between(void **state)
{
	struct guest g = guest_new(12, 40);
	struct file *file = file_new(EM_X86_64);
	struct kho_dump_root roots[KHO_DUMP_ROOTS];
	struct kho_dump *core;
	uint8_t *bytes;
	size_t n;

	(void)state;
	guest_root(&g);
	bytes = add(file, PT_LOAD, GUEST_BASE - 0x108, g.size + 0x108);
	memcpy(bytes + 0x108, g.bytes, g.size);
	core = must_open(file, NULL);
	assert_int_equal(kho_dump_find(core, roots, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_int_equal(roots[0].phys, g.root);
	kho_dump_close(core);
	guest_free(&g);
}

/* A state that was taken over, an FDT of something else, a copy of the root. */
static void prefers(void **state)
{
	struct guest g = guest_new(12, 40);
	struct kho_dump_root roots[KHO_DUMP_ROOTS];
	struct kho_dump *core;
	uint64_t stale, other, copy, bad = GUEST_BASE + 3 * 4096 + 8;
	void *fdt;
	size_t n;

	(void)state;
	stale = guest_alloc(&g, 0);
	other = guest_alloc(&g, 0);
	copy = guest_alloc(&g, 0);
	guest_root(&g);
	memcpy(guest_ptr(&g, copy), guest_ptr(&g, g.root), 4096);
	fdt = memcpy(guest_ptr(&g, stale), guest_ptr(&g, g.root), 4096);
	assert_int_equal(fdt_setprop_inplace(fdt, 0, "preserved-memory-map",
					     &bad, 8),
			 0);
	fdt = memcpy(guest_ptr(&g, other), guest_ptr(&g, g.root), 4096);
	assert_int_equal(fdt_setprop_inplace(fdt, 0, "compatible", "abc-v4", 7),
			 0);
	core = guest_core(&g, EM_X86_64);
	assert_int_equal(kho_dump_find(core, roots, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_int_equal(roots[0].phys, g.root);
	assert_int_equal(roots[1].phys, copy);
	assert_true(roots[1].readable && !roots[1].preserved);
	assert_int_equal(roots[2].phys, stale);
	assert_false(roots[2].readable);
	kho_dump_close(core);
	guest_free(&g);
}

/* x86-64's setup_data names a root, and where scratch is. */
static void setup_data(void **state)
{
	struct guest g = guest_new(12, 40);
	struct kho_dump_root roots[KHO_DUMP_ROOTS];
	uint64_t scratch, page, copy;
	struct kho_dump *core;
	size_t n;

	(void)state;
	page = guest_alloc(&g, 0);
	copy = guest_alloc(&g, 0);
	scratch = guest_alloc(&g, 0);
	guest_root(&g);
	memcpy(guest_ptr(&g, copy), guest_ptr(&g, g.root), 4096);
	for (int i = 0; i < 2; i++) {
		const uint64_t entry[] = {
			0,    10 | 32ull << 32, i ? copy : copy + 4096 * 30,
			4096, scratch,		32
		};

		/* The first one names what is no root. */
		memcpy(guest_ptr(&g, page + 1000 + 1000 * i), entry,
		       sizeof(entry));
	}
	core = guest_core(&g, EM_X86_64);
	assert_int_equal(kho_dump_find(core, roots, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(roots[0].phys, copy);
	assert_true(roots[0].passed);
	assert_int_equal(roots[0].passed_at, page + 2000);
	assert_int_equal(roots[0].passed_size, 48);
	assert_int_equal(roots[0].scratch, scratch);
	assert_int_equal(roots[0].scratch_size, 32);
	assert_false(roots[1].passed);
	kho_dump_close(core);

	/* On arm64 that means nothing. */
	core = guest_core(&g, EM_AARCH64);
	assert_int_equal(kho_dump_find(core, roots, &n, NULL), 0);
	assert_false(roots[0].passed);
	kho_dump_close(core);
	guest_free(&g);
}

/* arm64 says it in /chosen of its device tree. */
static void device_tree(void **state)
{
	struct guest g = guest_new(12, 40);
	struct kho_dump_root roots[KHO_DUMP_ROOTS];
	fdt64_t fdt_reg[2], scratch_reg[2];
	uint64_t tree, scratch;
	struct kho_dump *core;
	size_t n;
	void *fdt;

	(void)state;
	tree = guest_alloc(&g, 0);
	scratch = guest_alloc(&g, 0);
	guest_root(&g);
	fdt_reg[0] = cpu_to_fdt64(g.root);
	fdt_reg[1] = cpu_to_fdt64(4096);
	scratch_reg[0] = cpu_to_fdt64(scratch);
	scratch_reg[1] = cpu_to_fdt64(16);
	fdt = guest_ptr(&g, tree);
	assert_int_equal(fdt_create(fdt, 4096), 0);
	assert_int_equal(fdt_finish_reservemap(fdt), 0);
	assert_int_equal(fdt_begin_node(fdt, ""), 0);
	assert_int_equal(fdt_begin_node(fdt, "chosen"), 0);
	assert_int_equal(fdt_property(fdt, "linux,kho-fdt", fdt_reg, 16), 0);
	assert_int_equal(fdt_property(fdt, "linux,kho-scratch", scratch_reg,
				      16),
			 0);
	assert_int_equal(fdt_end_node(fdt), 0);
	assert_int_equal(fdt_end_node(fdt), 0);
	assert_int_equal(fdt_finish(fdt), 0);
	core = guest_core(&g, EM_AARCH64);
	assert_int_equal(kho_dump_find(core, roots, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_true(roots[0].passed);
	assert_int_equal(roots[0].passed_at, tree);
	assert_int_equal(roots[0].passed_size, fdt_totalsize(fdt));
	assert_int_equal(roots[0].scratch, scratch);
	assert_int_equal(roots[0].scratch_size, 16);
	kho_dump_close(core);
	guest_free(&g);
}

/* The page size, when only the tracker can tell. */
static void tries_page_sizes(void **state)
{
	static const unsigned int shifts[] = { 12, 14, 16 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct guest g = guest_new(shifts[i], 20);
		struct kho_dump_root roots[KHO_DUMP_ROOTS];
		int fd = memfd_create("raw", MFD_CLOEXEC);
		const struct kho_dump_opts opts = { .size = sizeof(opts),
						    .base = GUEST_BASE };
		struct kho_dump *core;
		size_t n;

		guest_root(&g);
		assert_int_equal(pwrite(fd, g.bytes, g.size, 0), g.size);
		assert_int_equal(kho_dump_open(fd, &opts, &core, NULL), 0);
		assert_int_equal(kho_dump_find(core, roots, &n, NULL), 0);
		assert_int_equal(roots[0].page_shift, shifts[i]);
		assert_true(roots[0].preserved);
		assert_int_equal(kho_dump_mem(core)->page_shift, shifts[i]);
		kho_dump_close(core);
		close(fd);
		guest_free(&g);
	}
}

/* A sparse image of a petabyte takes no longer than what is in it. */
static void sparse(void **state)
{
	const struct kho_dump_opts opts = { .size = sizeof(opts),
					    .base = GUEST_BASE };
	int fd = memfd_create("raw", MFD_CLOEXEC);
	struct guest g = guest_new(12, 20);
	struct kho_dump_root roots[KHO_DUMP_ROOTS];
	struct kho_dump *core;
	size_t n;

	(void)state;
	guest_root(&g);
	assert_int_equal(pwrite(fd, g.bytes, g.size, 0), g.size);
	assert_int_equal(pwrite(fd, guest_ptr(&g, g.root), 4096, 40ll << 30),
			 4096);
	assert_int_equal(ftruncate(fd, 1ll << 50), 0);
	assert_int_equal(kho_dump_open(fd, &opts, &core, NULL), 0);
	assert_int_equal(kho_dump_find(core, roots, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(roots[0].phys, g.root);
	assert_int_equal(roots[1].phys, GUEST_BASE + (40ull << 30));
	kho_dump_close(core);
	close(fd);
	guest_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments),
		cmocka_unit_test(overlaps),
		cmocka_unit_test(truncated),
		cmocka_unit_test(left_out),
		cmocka_unit_test(many),
		cmocka_unit_test(refused),
		cmocka_unit_test(raw),
		cmocka_unit_test(kcore),
		cmocka_unit_test(page_size),
		cmocka_unit_test(finds),
		cmocka_unit_test(finds_between),
		cmocka_unit_test(prefers),
		cmocka_unit_test(setup_data),
		cmocka_unit_test(device_tree),
		cmocka_unit_test(tries_page_sizes),
		cmocka_unit_test(sparse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
