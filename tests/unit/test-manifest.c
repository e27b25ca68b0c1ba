// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Manifests of files: small ELF files made here, whole and damaged, alone and
 * with the libraries that they need.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <kho/manifest.h>

#include "files/libpath.h"
#include "files/manifest.h"

/* Versions of clang-format differ. */
/* clang-format off */
#define V(a, b) { a, b }
/* clang-format on */

static int check(uint32_t version, const struct kho_blob *blob,
		 struct kho_error *why)
{
	return blob && why ? (int)version : 0;
}

static int convert(struct kho *kho, uint32_t version, void *arg,
		   struct kho_error *why)
{
	return kho && arg && why ? (int)version : 0;
}

static const struct kho_component_ops mine_ops = { .check = check,
						   .convert = convert };
KHO_COMPONENT_OPS(mine, &mine_ops, .write = V(1, 2), .read = V(1, 2),
		  .deps = { "yours" },
		  .flags = KHO_COMPONENT_CHECK | KHO_COMPONENT_CONVERT);
KHO_COMPONENT(yours, .write = V(1, 1), .read = V(1, 1),
	      .flags = KHO_COMPONENT_STRUCTURE);

#define MAX_NOTES 3

/* An ELF file, each part at a fixed place. */
struct image {
	Elf64_Ehdr ehdr;
	Elf64_Phdr load, note, dynamic;
	struct kho_component_note notes[MAX_NOTES];
	Elf64_Dyn dyn[8];
	char strings[256];
	char names[32];
	Elf64_Shdr shdr[3]; /* null, .note.kho, .shstrtab */
};

#define ADDRESS 0x10000 /* that the file is loaded to */
#define AT(field) offsetof(struct image, field)

static struct kho_component_note note(const char *name, uint32_t version)
{
	struct kho_component_note n = {
		.namesz = 4,
		.descsz = sizeof(n.desc),
		.type = KHO_NOTE_COMPONENT,
		.owner = "KHO",
		.desc = { .write = { version, version },
			  .read = { 1, version } },
	};

	strcpy(n.desc.name, name);
	return n;
}

/* Tags and strings, ended by a tag 0. */
struct dyn {
	Elf64_Sxword tag;
	const char *string;
};

static struct image make_image(size_t n_notes, const struct dyn *dyn)
{
	static const char names[] = "\0.note.kho\0.shstrtab";
	struct image image = {
		.ehdr = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64,
				     ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_DYN,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_phoff = AT(load),
			.e_shoff = AT(shdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 3,
			.e_shentsize = sizeof(Elf64_Shdr),
			.e_shnum = 3,
			.e_shstrndx = 2,
		},
		.load = {
			.p_type = PT_LOAD,
			.p_vaddr = ADDRESS,
			.p_filesz = sizeof(image),
			.p_memsz = sizeof(image),
		},
		.note = {
			.p_type = PT_NOTE,
			.p_offset = AT(notes),
			.p_filesz = n_notes * sizeof(image.notes[0]),
			.p_align = 4,
		},
		.dynamic = {
			.p_type = PT_DYNAMIC,
			.p_offset = AT(dyn),
			.p_filesz = sizeof(image.dyn),
		},
		.notes = { note("one", 1), note("two", 2), note("three", 3) },
		.dyn = { { .d_tag = DT_STRTAB,
			   .d_un.d_ptr = ADDRESS + AT(strings) },
			 { .d_tag = DT_STRSZ,
			   .d_un.d_val = sizeof(image.strings) } },
		.shdr = { { 0 },
			  { .sh_name = 1,
			    .sh_type = SHT_NOTE,
			    .sh_flags = SHF_ALLOC,
			    .sh_offset = AT(notes),
			    .sh_size = n_notes * sizeof(image.notes[0]),
			    .sh_addralign = 4 },
			  { .sh_name = 11,
			    .sh_type = SHT_STRTAB,
			    .sh_offset = AT(names),
			    .sh_size = sizeof(names) } },
	};
	size_t i, len = 1;

	memcpy(image.names, names, sizeof(names));
	for (i = 0; dyn && dyn[i].tag; i++) {
		image.dyn[2 + i].d_tag = dyn[i].tag;
		image.dyn[2 + i].d_un.d_val = len;
		strcpy(image.strings + len, dyn[i].string);
		len += strlen(dyn[i].string) + 1;
	}
	return image;
}

static int memfd_of(const void *bytes, size_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	return fd;
}

static int read_bytes(const void *bytes, size_t size,
		      struct kho_manifest **manifest, struct kho_error *err)
{
	int fd = memfd_of(bytes, size);
	int ret = kho_manifest_read(fd, "prog", manifest, err);

	/* Not closed, and its offset not used. */
	assert_int_equal(lseek(fd, 0, SEEK_CUR), size);
	close(fd);
	return ret;
}

static void assert_names(const struct kho_manifest *manifest, ...)
{
	const char *name;
	va_list ap;
	size_t i;

	va_start(ap, manifest);
	for (i = 0; (name = va_arg(ap, const char *)); i++) {
		assert_true(i < manifest->n);
		assert_string_equal(manifest->entries[i].desc.name, name);
	}
	va_end(ap);
	assert_int_equal(manifest->n, i);
}

/* By section, by segment, by both: the same. */
static void ways(void **state)
{
	struct image image = make_image(3, NULL);
	struct kho_manifest *manifest;
	int way;

	(void)state;
	for (way = 0; way < 5; way++) {
		struct image i = image;

		if (way == 1)
			i.note.p_type = PT_NULL;
		if (way == 2)
			i.ehdr.e_shoff = i.ehdr.e_shnum = i.ehdr.e_shstrndx = 0;
		if (way == 3) {
			/* A linker that makes it a section of data. */
			i.note.p_type = PT_NULL;
			i.shdr[1].sh_type = SHT_PROGBITS;
			i.ehdr.e_type = ET_EXEC;
		}
		if (way == 4) {
			/* What --only-keep-debug leaves, with segments. */
			i.shdr[1].sh_type = SHT_NOBITS;
			i.shdr[1].sh_offset = 0xffffffff;
		}
		assert_int_equal(read_bytes(&i, sizeof(i), &manifest, NULL), 0);
		assert_names(manifest, "one", "three", "two", NULL);
		assert_memory_equal(&manifest->entries[1].desc,
				    &image.notes[2].desc,
				    sizeof(image.notes[2].desc));
		assert_int_equal(manifest->entries[1].source, 0);
		assert_string_equal(manifest->target, "prog");
		assert_int_equal(manifest->n_sources, 1);
		assert_string_equal(manifest->sources[0], "prog");
		kho_manifest_free(manifest);
	}
}

/* What others put next to it, and later types of our own, are skipped. */
static void foreign_notes(void **state)
{
	struct image image = make_image(3, NULL);
	struct kho_manifest *manifest;

	(void)state;
	memcpy(image.notes[0].owner, "GNU", 4);
	image.notes[1].type = 3;
	memset((void *)&image.notes[1].desc, 0xff, sizeof(image.notes[1].desc));
	assert_int_equal(read_bytes(&image, sizeof(image), &manifest, NULL), 0);
	assert_names(manifest, "three", NULL);
	kho_manifest_free(manifest);

	/* Of another size, with an owner of another length, and an empty one */
	image = make_image(3, NULL);
	image.notes[0].namesz = 5;
	image.notes[0].descsz = sizeof(struct kho_component_desc) - 4;
	image.notes[1].namesz = 0;
	image.notes[1].descsz = sizeof(struct kho_component_desc) + 4;
	assert_int_equal(read_bytes(&image, sizeof(image), &manifest, NULL), 0);
	assert_names(manifest, "three", NULL);
	kho_manifest_free(manifest);
}

/* A type of note that is not known is from a later library. */
static void note_types(void **state)
{
	struct image image = make_image(3, NULL);
	struct kho_manifest *manifest;
	struct kho_error err;

	(void)state;
	image.notes[1].type = 2;
	image.notes[2].type = 0;
	assert_int_equal(read_bytes(&image, sizeof(image), &manifest, NULL), 0);
	assert_names(manifest, "one", NULL);
	kho_manifest_free(manifest);

	/* Two of one name have to agree in everything. */
	image.notes[1] = image.notes[0];
	image.notes[1].desc.flags |= KHO_COMPONENT_CHECK;
	assert_int_equal(read_bytes(&image, sizeof(image), &manifest, &err),
			 -EBADMSG);
	assert_string_equal(err.text,
			    "prog: note at offset 0x1e4: component 'one' "
			    "contradicts the one in prog: build both from the "
			    "same version");
}

struct patch {
	size_t offset, size;
	uint64_t value;
};

/* Versions of clang-format differ. */
/* clang-format off */
#define P(field, v) { AT(field), sizeof(((struct image *)0)->field), v }
/* clang-format on */
#define NOTE0 "prog: note at offset 0xe8: "
#define DAMAGED "prog: damaged or truncated ELF file: "

/* @patches: at most four; one of size 0 ends them. */
static void patch(struct image *image, const struct patch *patches)
{
	size_t i;

	for (i = 0; i < 4 && patches[i].size; i++) {
		char *to = (char *)image + patches[i].offset;
		size_t size = patches[i].size;

		/* Zeros behind a value that is shorter than a field. */
		memset(to, 0, size);
		memcpy(to, &patches[i].value, size < 8 ? size : 8);
	}
}

static void refused(void **state)
{
	static const struct {
		struct patch patches[4];
		int code;
		const char *error;
	} cases[] = {
		/* not what we look for */
		{ { P(ehdr.e_ident[1], 'e') },
		  -ENOEXEC,
		  "prog: neither an ELF file, a kernel image nor a manifest in JSON" },
		{ { P(ehdr.e_ident[EI_CLASS], ELFCLASS32) },
		  -ENOEXEC,
		  "prog: not a 64-bit, little-endian ELF file" },
		{ { P(ehdr.e_ident[EI_DATA], ELFDATA2MSB) },
		  -ENOEXEC,
		  "prog: not a 64-bit, little-endian ELF file" },
		{ { P(ehdr.e_type, ET_REL) },
		  -ENOEXEC,
		  "prog: an ELF file, but neither a program nor a shared "
		  "library" },
		{ { P(ehdr.e_type, ET_CORE) },
		  -ENOEXEC,
		  "prog: an ELF file, but neither a program nor a shared "
		  "library" },
		/* headers */
		{ { P(ehdr.e_phoff, 0x100000) },
		  -ENOEXEC,
		  DAMAGED "program headers outside of the file" },
		{ { P(ehdr.e_phoff, UINT64_MAX) },
		  -ENOEXEC,
		  DAMAGED "program headers outside of the file" },
		{ { P(ehdr.e_phnum, 0xfffe) },
		  -ENOEXEC,
		  DAMAGED "program headers outside of the file" },
		{ { P(ehdr.e_shnum, 0xfeff) },
		  -ENOEXEC,
		  DAMAGED "section headers outside of the file" },
		{ { P(ehdr.e_shoff, 0x100000) },
		  -ENOEXEC,
		  DAMAGED "section headers outside of the file" },
		{ { P(ehdr.e_shoff, UINT64_MAX - 63) },
		  -ENOEXEC,
		  DAMAGED "section headers outside of the file" },
		{ { P(load.p_filesz, 0x100000) },
		  -ENOEXEC,
		  DAMAGED "a segment outside of the file" },
		{ { P(load.p_offset, UINT64_MAX) },
		  -ENOEXEC,
		  DAMAGED "a segment outside of the file" },
		/* the dynamic section */
		{ { P(dynamic.p_offset, 0x100000) },
		  -ENOEXEC,
		  DAMAGED "dynamic section outside of the file" },
		{ { P(dynamic.p_filesz, UINT64_MAX) },
		  -ENOEXEC,
		  DAMAGED "dynamic section outside of the file" },
		{ { P(dyn[0].d_un.d_ptr, 1) },
		  -ENOEXEC,
		  DAMAGED "dynamic strings outside of every segment" },
		{ { P(dyn[2].d_tag, DT_NEEDED), P(dyn[2].d_un.d_val, 256) },
		  -ENOEXEC,
		  DAMAGED "dynamic string outside of its table" },
		{ { P(dyn[2].d_tag, DT_RUNPATH),
		    P(dyn[2].d_un.d_val, UINT64_MAX) },
		  -ENOEXEC,
		  DAMAGED "dynamic string outside of its table" },
		{ { P(dyn[2].d_tag, DT_NEEDED), P(dyn[2].d_un.d_val, 255),
		    P(strings[255], 'x') },
		  -ENOEXEC,
		  DAMAGED "dynamic string too long or unterminated" },
		/* the notes as such */
		{ { P(note.p_filesz, UINT64_MAX), P(shdr[1].sh_type, 0) },
		  -EBADMSG,
		  NOTE0 "outside of the file (truncated?)" },
		{ { P(shdr[1].sh_offset, 0x100000) },
		  -EBADMSG,
		  "prog: note at offset 0x100000: outside of the file "
		  "(truncated?)" },
		{ { P(shdr[1].sh_size, UINT64_MAX) },
		  -EBADMSG,
		  NOTE0 "outside of the file (truncated?)" },
		{ { P(shdr[1].sh_size, 252 * 3 - 1) },
		  -EBADMSG,
		  "prog: note at offset 0x2e0: reaches over the end of its "
		  "section" },
		{ { P(notes[0].descsz, 0xffffffff) },
		  -EBADMSG,
		  NOTE0 "reaches over the end of its section" },
		{ { P(notes[0].namesz, 0xffffffff) },
		  -EBADMSG,
		  NOTE0 "reaches over the end of its section" },
		{ { P(notes[0].descsz, 232) },
		  -EBADMSG,
		  NOTE0 "wrong size for a component" },
		/* what they say */
		{ { P(notes[0].desc.name[0], 'O') },
		  -EBADMSG,
		  NOTE0 "component name: 'O' at byte 0: a name begins with "
			"one of a-z" },
		{ { P(notes[0].desc.name[0], 0x1b) },
		  -EBADMSG,
		  NOTE0 "component name: 0x1b at byte 0: a name begins with "
			"one of a-z" },
		{ { P(notes[0].desc.name[3], 'e'),
		    P(notes[0].desc.name[5], 1) },
		  -EBADMSG,
		  NOTE0 "component name has bytes behind its end" },
		{ { P(notes[0].desc.name[0], 0) },
		  -EBADMSG,
		  NOTE0 "component name has bytes behind its end" },
		{ { P(notes[0].desc.flags, 0x80000001) },
		  -EBADMSG,
		  NOTE0 "component 'one' has unknown flags 0x80000001" },
		{ { P(notes[0].desc.flags, 0x40) },
		  -EBADMSG,
		  NOTE0 "component 'one' has unknown flags 0x40" },
		{ { P(notes[0].desc.name[2], 0xff) },
		  -EBADMSG,
		  NOTE0 "component name: 0xff at byte 2: a name has only a-z, "
			"0-9 and -" },
		{ { P(notes[0].desc.write.max, 2) },
		  -EBADMSG,
		  NOTE0 "component 'one' writes versions 1 to 2, and has no "
			"convert to get from one to the other" },
		{ { P(notes[0].desc.write.min, 0) },
		  -EBADMSG,
		  NOTE0 "component 'one': write range 0 to 1 is no range" },
		{ { P(notes[0].desc.read.min, 2) },
		  -EBADMSG,
		  NOTE0 "component 'one': read range 2 to 1 is no range" },
		{ { P(notes[0].desc.write, 0), P(notes[0].desc.read, 0) },
		  -EBADMSG,
		  NOTE0 "component 'one' has no version at all" },
		{ { P(notes[0].desc.deps[1][0], 'a') },
		  -EBADMSG,
		  NOTE0 "component 'one': dependency 2 stands behind the end "
			"of the list" },
		{ { P(notes[1].desc.name, 0x656e6f) },
		  -EBADMSG,
		  "prog: note at offset 0x1e4: component 'one' contradicts "
		  "the one in prog: build both from the same version" },
		/* nothing there */
		{ { P(notes[0].owner, 0), P(notes[1].owner, 0),
		    P(notes[2].owner, 0) },
		  -ENODATA,
		  "prog: no manifest: neither it nor a library that it needs "
		  "defines a component (KHO_COMPONENT)" },
		{ { P(note.p_type, PT_NULL), P(shdr[1].sh_flags, 0) },
		  -ENODATA,
		  "prog: no manifest: neither it nor a library that it needs "
		  "defines a component (KHO_COMPONENT)" },
		{ { P(note.p_type, PT_NULL), P(shdr[1].sh_name, 2) },
		  -ENODATA,
		  "prog: no manifest: neither it nor a library that it needs "
		  "defines a component (KHO_COMPONENT)" },
		{ { P(note.p_type, PT_NULL), P(shdr[1].sh_name, 0xffffffff) },
		  -ENODATA,
		  "prog: no manifest: neither it nor a library that it needs "
		  "defines a component (KHO_COMPONENT)" },
	};
	struct kho_manifest *manifest;
	struct kho_error err;
	size_t i;

	(void)state;
	assert_int_equal(AT(notes), 0xe8);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct image image = make_image(3, NULL);

		patch(&image, cases[i].patches);
		assert_int_equal(read_bytes(&image, sizeof(image), &manifest,
					    &err),
				 cases[i].code);
		assert_string_equal(err.text, cases[i].error);
		assert_int_equal(err.code, cases[i].code);
	}
}

/* Cut anywhere, with section headers or without: an error. */
static void truncated(void **state)
{
	struct image image = make_image(3, NULL);
	struct kho_manifest *manifest;
	struct kho_error err;
	size_t size;
	int ret, way;

	(void)state;
	for (way = 0; way < 2; way++) {
		for (size = 0; size < sizeof(image); size++) {
			ret = read_bytes(&image, size, &manifest, &err);
			assert_int_equal(ret, -ENOEXEC);
			assert_int_equal(err.code, ret);
		}
		image.ehdr.e_shoff = 0;
		image.ehdr.e_shnum = 0;
		image.ehdr.e_shstrndx = 0;
	}
}

/* Very many headers that all point to very many notes: bounded. */
static void overlapping(void **state)
{
	enum { COUNT = 60000, EMPTY_NOTES = 87381 };
	struct {
		struct image image;
		uint32_t notes[EMPTY_NOTES][3];
		Elf64_Phdr phdrs[COUNT];
	} *file = calloc(1, sizeof(*file));
	struct kho_manifest *manifest;
	struct kho_error err;
	size_t i;

	(void)state;
	assert_non_null(file);
	file->image = make_image(3, NULL);
	file->image.ehdr.e_shoff = 0;
	file->image.ehdr.e_shnum = 0;
	file->image.ehdr.e_phoff = (size_t)((char *)file->phdrs - (char *)file);
	file->image.ehdr.e_phnum = COUNT;
	for (i = 0; i < COUNT; i++) {
		file->phdrs[i] = file->image.note;
		file->phdrs[i].p_offset = sizeof(file->image);
		file->phdrs[i].p_filesz = sizeof(file->notes);
	}
	assert_int_equal(read_bytes(file, sizeof(*file), &manifest, &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, ": too many notes"));

	/* Many pieces of a note each. */
	for (i = 0; i < COUNT; i++) {
		file->phdrs[i].p_offset += 12 * i;
		file->phdrs[i].p_filesz = 12;
	}
	assert_int_equal(read_bytes(file, sizeof(*file), &manifest, &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, ": too many notes"));
	free(file);
}

/*
 * A file of more than 4 GiB that is nothing but a hole behind its headers, so
 * that sizes which would be outside of another file are inside of this one.
 * Neither memory nor time may follow from what it claims.
 */
static void huge(void **state)
{
	static const struct {
		struct patch patches[4];
		int code;
		const char *error;
	} cases[] = {
		{ { P(shdr[1].sh_size, 1ull << 32) },
		  -EBADMSG,
		  NOTE0 "too many notes" },
		{ { P(shdr[1].sh_size, UINT64_MAX) },
		  -EBADMSG,
		  NOTE0 "outside of the file (truncated?)" },
		{ { P(shdr[1].sh_size, UINT64_MAX - 0xe8 + 1) },
		  -EBADMSG,
		  NOTE0 "outside of the file (truncated?)" },
		{ { P(note.p_filesz, 1ull << 32), P(shdr[1].sh_type, 0) },
		  -EBADMSG,
		  NOTE0 "too many notes" },
		{ { P(dynamic.p_filesz, 1ull << 32) },
		  -ENOEXEC,
		  DAMAGED "dynamic section outside of the file" },
		/* The number of sections is in the first one's header. */
		{ { P(ehdr.e_shnum, 0), P(shdr[0].sh_size, 1ull << 26) },
		  -ENOEXEC,
		  DAMAGED "more sections than any program has" },
		{ { P(ehdr.e_shnum, 0), P(shdr[0].sh_size, UINT64_MAX) },
		  -ENOEXEC,
		  DAMAGED "more sections than any program has" },
		{ { P(ehdr.e_shnum, 0), P(shdr[0].sh_size, 1ull << 32) },
		  -ENOEXEC,
		  DAMAGED "more sections than any program has" },
		{ { P(ehdr.e_phnum, PN_XNUM), P(shdr[0].sh_info, 1u << 26) },
		  -ENOEXEC,
		  DAMAGED "more segments than any program has" },
		{ { P(ehdr.e_phnum, PN_XNUM), P(shdr[0].sh_info, UINT32_MAX) },
		  -ENOEXEC,
		  DAMAGED "more segments than any program has" },
		/* Numbers that are right, said in that way. */
		{ { P(ehdr.e_shnum, 0), P(shdr[0].sh_size, 3) }, 0, "" },
		{ { P(ehdr.e_phnum, PN_XNUM), P(shdr[0].sh_info, 3) }, 0, "" },
		{ { P(ehdr.e_shstrndx, SHN_XINDEX), P(shdr[0].sh_link, 2) },
		  0,
		  "" },
		/* Names of sections from a table of 4 GiB. */
		{ { P(shdr[2].sh_size, 1ull << 32) }, 0, "" },
	};
	struct kho_manifest *manifest;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct image image = make_image(3, NULL);
		struct kho_error err = { 0 };
		int fd;

		patch(&image, cases[i].patches);
		fd = memfd_of(&image, sizeof(image));
		assert_int_equal(ftruncate(fd, (1ll << 32) + (1 << 20)), 0);
		assert_int_equal(kho_manifest_read(fd, "prog", &manifest, &err),
				 cases[i].code);
		assert_string_equal(err.text, cases[i].error);
		close(fd);
		if (cases[i].code)
			continue;
		assert_names(manifest, "one", "three", "two", NULL);
		kho_manifest_free(manifest);
	}
}

static void many_components(void **state)
{
	enum { COUNT = 257 };
	struct {
		struct image image;
		struct kho_component_note notes[COUNT];
	} *file = calloc(1, sizeof(*file));
	struct kho_manifest *manifest;
	struct kho_error err;
	char name[KHO_TOKEN_NAME_SIZE];
	size_t i;

	(void)state;
	assert_non_null(file);
	file->image = make_image(3, NULL);
	file->image.shdr[1].sh_offset = sizeof(file->image);
	file->image.note.p_type = PT_NULL;
	for (i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "c%zu", i);
		file->notes[i] = note(name, 1);
	}
	file->image.shdr[1].sh_size =
		sizeof(file->notes) - sizeof(file->notes[0]);
	assert_int_equal(read_bytes(file, sizeof(*file), &manifest, NULL), 0);
	assert_int_equal(manifest->n, COUNT - 1);
	assert_non_null(kho_manifest_find(manifest, "c0"));
	assert_non_null(kho_manifest_find(manifest, "c255"));
	kho_manifest_free(manifest);

	file->image.shdr[1].sh_size = sizeof(file->notes);
	assert_int_equal(read_bytes(file, sizeof(*file), &manifest, &err),
			 -EBADMSG);
	assert_non_null(strstr(err.text, ": more than 256 components"));
	free(file);
}

/* A folder for each test. */
static char dir[] = "/tmp/kho-test-manifest-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	return !mkdtemp(dir);
}

static int remove_dir(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

/* A path in the folder; good until the next but three. */
static const char *in_dir(const char *name)
{
	static char paths[4][256];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
	int fd = open(in_dir(name), O_CREAT | O_TRUNC | O_WRONLY, 0755);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	close(fd);
}

/* An ELF file with one component, or none. */
static void write_elf(const char *name, const char *component, uint32_t version,
		      const struct dyn *dyn)
{
	struct image image = make_image(!!component, dyn);

	if (component)
		image.notes[0] = note(component, version);
	write_file(name, &image, sizeof(image));
}

/* Versions of clang-format differ. */
/* clang-format off */
#define NEEDED(name) { DT_NEEDED, name }
#define RPATH(path) { DT_RPATH, path }
#define RUNPATH(path) { DT_RUNPATH, path }
/* clang-format on */
#define DYN(...)                                                               \
	(const struct dyn[])                                                   \
	{                                                                      \
		__VA_ARGS__,                                                   \
		{                                                              \
			0, NULL                                                \
		}                                                              \
	}

static void libraries(void **state)
{
	struct kho_manifest *manifest;

	(void)state;
	mkdir(in_dir("lib"), 0755);
	mkdir(in_dir("lib/deep"), 0755);
	/* found through the program; needs back */
	write_elf("lib/a.so", "a", 1,
		  DYN(NEEDED("b.so"), NEEDED("c.so"),
		      RUNPATH("$ORIGIN/./deep/")));
	write_elf("lib/deep/b.so", "b", 1,
		  DYN(NEEDED("a.so"), RUNPATH("${ORIGIN}/..")));
	/* known by two names */
	assert_int_equal(symlink("b.so", in_dir("lib/deep/c.so")), 0);
	write_elf("prog", "p", 1,
		  DYN(NEEDED("a.so"), NEEDED("e"),
		      RUNPATH("/nonexistent:$LIB/x:$ORIGIN/lib:$ORIGIN")));
	write_elf("e", NULL, 0, NULL);

	assert_int_equal(kho_manifest_open(in_dir("prog"), &manifest, NULL), 0);
	assert_names(manifest, "a", "b", "p", NULL);
	assert_int_equal(manifest->n_sources, 4);
	assert_string_equal(manifest->sources[0], in_dir("prog"));
	assert_string_equal(manifest->sources[1], in_dir("lib/a.so"));
	assert_string_equal(manifest->sources[2], in_dir("e"));
	assert_string_equal(manifest->sources[3], in_dir("lib/deep/b.so"));
	assert_int_equal(manifest->entries[0].source, 1);
	assert_int_equal(manifest->entries[1].source, 3);
	assert_int_equal(manifest->entries[2].source, 0);
	kho_manifest_free(manifest);

	/* The program by another path: $ORIGIN is where the file really is. */
	assert_int_equal(symlink("../prog", in_dir("lib/link")), 0);
	assert_int_equal(kho_manifest_open(in_dir("lib/link"), &manifest, NULL),
			 0);
	assert_names(manifest, "a", "b", "p", NULL);
	kho_manifest_free(manifest);
}

/* Nobody knows what is in a library that is not found. */
static void assert_missing(const char *program, const char *library)
{
	char text[64];
	struct kho_manifest *manifest;
	struct kho_error err;

	assert_int_equal(kho_manifest_open(in_dir(program), &manifest, &err),
			 -ELIBACC);
	snprintf(text, sizeof(text), "not found: %s: ", library);
	assert_non_null(strstr(err.text, text));
}

/* DT_RPATH is inherited unless there is a DT_RUNPATH, which never is. */
static void inheritance(void **state)
{
	struct kho_manifest *manifest;

	(void)state;
	mkdir(in_dir("lib"), 0755);
	write_elf("lib/a.so", "a", 1, DYN(NEEDED("b.so")));
	write_elf("lib/b.so", "b", 1, NULL);
	write_elf("prog", NULL, 0, DYN(NEEDED("a.so"), RPATH("$ORIGIN/lib")));
	assert_int_equal(kho_manifest_open(in_dir("prog"), &manifest, NULL), 0);
	assert_names(manifest, "a", "b", NULL);
	kho_manifest_free(manifest);

	write_elf("prog", NULL, 0, DYN(NEEDED("a.so"), RUNPATH("$ORIGIN/lib")));
	assert_missing("prog", "b.so");

	/* A DT_RUNPATH switches the program's DT_RPATH off */
	write_elf("prog", "p", 1,
		  DYN(NEEDED("a.so"), RPATH("$ORIGIN/lib"), RUNPATH("/none")));
	assert_missing("prog", "a.so");

	/* ... and what a library would inherit. */
	write_elf("lib/a.so", "a", 1, DYN(NEEDED("b.so"), RUNPATH("/none")));
	write_elf("prog", NULL, 0, DYN(NEEDED("a.so"), RPATH("$ORIGIN/lib")));
	assert_missing("prog", "b.so");
}

/* The first place with something usable counts; the environment does not. */
static void places(void **state)
{
	struct image image = make_image(1, NULL);
	struct kho_manifest *manifest;
	struct kho_error err;
	char expected[512], path[256];

	(void)state;
	mkdir(in_dir("1"), 0755);
	mkdir(in_dir("1/a.so"), 0755); /* no file */
	mkdir(in_dir("2"), 0755);
	write_file("2/a.so", "#!/bin/sh\n", 10);
	mkdir(in_dir("3"), 0755);
	image.ehdr.e_ident[EI_CLASS] = ELFCLASS32;
	write_file("3/a.so", &image, sizeof(image));
	mkdir(in_dir("4"), 0755);
	write_elf("4/a.so", "four", 1, NULL);
	mkdir(in_dir("5"), 0755);
	write_elf("5/a.so", "five", 1, NULL);
	write_elf("prog", NULL, 0,
		  DYN(NEEDED("a.so"), RUNPATH("$ORIGIN/1:$ORIGIN/2:$ORIGIN/3:"
					      "$ORIGIN/4:$ORIGIN/5")));
	assert_int_equal(kho_manifest_open(in_dir("prog"), &manifest, NULL), 0);
	assert_names(manifest, "four", NULL);
	kho_manifest_free(manifest);

	setenv("LD_LIBRARY_PATH", in_dir("4"), 1);
	write_elf("prog", NULL, 0,
		  DYN(NEEDED("a.so"), NEEDED("b\x1b[1m.so"),
		      NEEDED("$PLATFORM/c.so")));
	assert_int_equal(kho_manifest_open(in_dir("prog"), &manifest, &err),
			 -ELIBACC);
	unsetenv("LD_LIBRARY_PATH");
	snprintf(expected, sizeof(expected),
		 "%s: cannot tell without what it needs, which is not found: "
		 "a.so, b?[1m.so, $PLATFORM/c.so: install it, or link with a "
		 "RUNPATH that leads there; LD_LIBRARY_PATH does not count",
		 in_dir("prog"));
	assert_string_equal(err.text, expected);

	/* With a slash it is a path. */
	snprintf(path, sizeof(path), "%s", in_dir("5/a.so"));
	write_elf("prog", NULL, 0, DYN(NEEDED(path), NEEDED("$ORIGIN/4/a.so")));
	assert_int_equal(kho_manifest_open(in_dir("prog"), &manifest, NULL), 0);
	assert_names(manifest, "five", "four", NULL);
	kho_manifest_free(manifest);
}

static void contradiction(void **state)
{
	struct image image = make_image(1, NULL);
	struct kho_manifest *manifest;
	struct kho_error err;
	char expected[512];

	(void)state;
	write_elf("a.so", "x", 1, NULL);
	write_elf("b.so", "x", 1, NULL);
	write_elf("prog", NULL, 0,
		  DYN(NEEDED("a.so"), NEEDED("b.so"), RUNPATH("$ORIGIN")));
	assert_int_equal(kho_manifest_open(in_dir("prog"), &manifest, NULL), 0);
	assert_names(manifest, "x", NULL);
	assert_int_equal(manifest->entries[0].source, 1);
	assert_int_equal(manifest->n_sources, 3);
	kho_manifest_free(manifest);

	write_elf("b.so", "x", 2, NULL);
	assert_int_equal(kho_manifest_open(in_dir("prog"), &manifest, &err),
			 -EBADMSG);
	snprintf(expected, sizeof(expected),
		 "%s: note at offset 0xe8: component 'x' contradicts the one "
		 "in %s: build both from the same version",
		 in_dir("b.so"), in_dir("a.so"));
	assert_string_equal(err.text, expected);

	/* A malformed note in a library names the library. */
	image.notes[0].desc.flags = 0x100;
	write_file("b.so", &image, sizeof(image));
	assert_int_equal(kho_manifest_open(in_dir("prog"), &manifest, &err),
			 -EBADMSG);
	snprintf(expected, sizeof(expected),
		 "%s: note at offset 0xe8: component 'one' has unknown flags "
		 "0x100",
		 in_dir("b.so"));
	assert_string_equal(err.text, expected);
}

static void no_program(void **state)
{
	static const struct {
		const char *name;
		int code;
		const char *why;
	} cases[] = {
		{ "missing", -ENOENT, "No such file or directory" },
		{ "prog/x", -ENOTDIR, "Not a directory" },
		{ "dir", -EISDIR, "Is a directory" },
		{ "fifo", -ENOEXEC, "not a regular file" },
		{ "empty", -ENOEXEC,
		  "neither an ELF file, a kernel image nor a manifest in JSON" },
		{ "short", -ENOEXEC,
		  "neither an ELF file, a kernel image nor a manifest in JSON" },
		{ "json", -EBADMSG, "line 1, column 3: the end is missing" },
		{ "script", -ENOEXEC,
		  "a script, not an ELF file: name the program that it runs" },
	};
	struct image image = make_image(3, NULL);
	struct kho_manifest *manifest;
	struct kho_error err;
	char expected[512];
	size_t i;
	int fd;

	(void)state;
	write_file("prog", &image, sizeof(image));
	write_file("empty", "", 0);
	write_file("short", "\177ELF", 4);
	write_file("json", " {", 2);
	write_file("script", "#!/bin/sh\nexec true\n", 20);
	mkdir(in_dir("dir"), 0755);
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(kho_manifest_open(in_dir(cases[i].name),
						   &manifest, &err),
				 cases[i].code);
		snprintf(expected, sizeof(expected), "%s: %s",
			 in_dir(cases[i].name), cases[i].why);
		assert_string_equal(err.text, expected);
	}

	fd = open(in_dir("prog"), O_WRONLY);
	assert_int_equal(kho_manifest_read(fd, "prog", &manifest, &err), -EIO);
	assert_string_equal(err.text, "prog: cannot read: Bad file descriptor");
	close(fd);
	assert_int_equal(kho_manifest_read(fd, "prog", &manifest, &err), -EIO);
	fd = open(in_dir("dir"), O_RDONLY);
	assert_int_equal(kho_manifest_read(fd, "dir", &manifest, &err),
			 -ENOEXEC);
	assert_string_equal(err.text, "dir: not a regular file");
	close(fd);
}

static void conf(void **state)
{
	static const char *const dirs[] = { "/one", "/two", "/three", "/four" };
	struct string_list list = { 0 };
	char text[512];
	size_t i;

	(void)state;
	snprintf(text, sizeof(text),
		 "# comment\n\n/one # first\n  /two\t\nhwcap 1 nosegneg\n"
		 "include sub/*.conf\tmissing\n"
		 "include %s\nrelative/dir\n/four",
		 in_dir("ld.so.conf"));
	write_file("ld.so.conf", text, strlen(text));
	mkdir(in_dir("sub"), 0755);
	write_file("sub/a.conf", "/three\n", 7);
	write_file("sub/b.other", "/never\n", 7);
	assert_int_equal(libpath_add_conf(&list, in_dir("ld.so.conf")), 0);
	/* It includes itself, but only eight times; the last includes nothing. */
	assert_int_equal(list.n, 9 * 4 - 1);
	for (i = 0; i < 3; i++)
		assert_string_equal(list.strings[i], dirs[i]);
	for (i = 0; i < 9; i++)
		assert_string_equal(list.strings[list.n - 1 - i], dirs[3]);
	string_list_free(&list);

	memset(&list, 0, sizeof(list));
	assert_int_equal(libpath_add_conf(&list, in_dir("missing")), 0);
	assert_int_equal(list.n, 0);
	assert_int_equal(libpath_add_system(&list), 0);
	assert_true(list.n >= 4);
	string_list_free(&list);
}

static void expansion(void **state)
{
	static const struct {
		const char *path, *expanded;
	} cases[] = {
		{ "", "" },	      { "/lib", "/lib" },
		{ "$ORIGIN", "/o" },  { "${ORIGIN}/x$ORIGIN", "/o/x/o" },
		{ "$", NULL },	      { "/x/$LIB", NULL },
		{ "${ORIGIN", NULL }, { "$ORIGI", NULL },
	};
	char *path;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		errno = 0;
		path = libpath_expand(cases[i].path, strlen(cases[i].path),
				      "/o");
		if (cases[i].expanded) {
			assert_non_null(path);
			assert_string_equal(path, cases[i].expanded);
		} else {
			assert_null(path);
			assert_int_equal(errno, EINVAL);
		}
		free(path);
	}
}

/* What this program's file says is what is registered in it. */
static void self(void **state)
{
	struct kho_manifest *file, *registered;
	size_t i;

	(void)state;
	assert_int_equal(kho_manifest_open("/proc/self/exe", &file, NULL), 0);
	assert_int_equal(kho_manifest_self(&registered), 0);
	assert_int_equal(file->n, registered->n);
	assert_non_null(kho_manifest_find(file, "mine"));
	for (i = 0; i < file->n; i++)
		assert_memory_equal(&file->entries[i].desc,
				    &registered->entries[i].desc,
				    sizeof(file->entries[i].desc));
	kho_manifest_free(file);
	kho_manifest_free(registered);
}

int main(void)
{
#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ways),
		cmocka_unit_test(foreign_notes),
		cmocka_unit_test(note_types),
		cmocka_unit_test(refused),
		cmocka_unit_test(truncated),
		cmocka_unit_test(overlapping),
		cmocka_unit_test(huge),
		cmocka_unit_test(many_components),
		IN_DIR(libraries),
		IN_DIR(inheritance),
		IN_DIR(places),
		IN_DIR(contradiction),
		IN_DIR(no_program),
		IN_DIR(conf),
		cmocka_unit_test(expansion),
		cmocka_unit_test(self),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
