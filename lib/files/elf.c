// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * What one ELF file says of components and of the libraries it needs: in
 * notes, and in the section .liveupdate_versions.
 *
 * Notes are looked for in the allocated section .note.kho and in the PT_NOTE
 * segments: a program whose section headers were stripped has only these, one
 * whose linker took the section for data only that. Who is found both ways
 * counts once.
 *
 * The file is hostile and may change while it is read, so it is not mapped:
 * libelf reads the headers, and what they point to is copied piece by piece,
 * each bounded by a limit below and by the file's size.
 */
#include <errno.h>
#include <gelf.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compat/component.h"
#include "files/elf.h"
#include "files/versions_section.h"

/* Far more than any real program has. */
#define MAX_NOTE_BYTES (4u << 20) /* all notes of a file together */
#define MAX_HEADERS 200000 /* of sections, and of segments */
#define MAX_DYNAMIC_BYTES (1u << 20)
#define MAX_NEEDED 1024
#define MAX_STRING 4096 /* a library's name, a search path */

struct reader {
	int fd;
	const char *path;
	Elf *elf;
	uint64_t size;
	GElf_Ehdr ehdr;
	size_t n_phdrs;
	size_t note_bytes;
	struct collection *collection;
	size_t source;
	struct kho_error *err;
};

/* libelf has no error of its own for it. */
static int damaged(const struct reader *r, const char *what)
{
	if (errno == ENOMEM)
		return kho_fail(r->err, -ENOMEM, "out of memory");
	return kho_fail(r->err, -ENOEXEC,
			"%s: damaged or truncated ELF file: %s", r->path, what);
}

static bool inside_file(const struct reader *r, uint64_t offset, uint64_t len)
{
	return offset <= r->size && len <= r->size - offset;
}

/*
 * The sections that the file claims to have; libelf makes room for all of them
 * at once. A number that does not fit its field is in the first section's
 * header.
 */
static uint64_t count_sections(const struct reader *r)
{
	Elf64_Ehdr ehdr;
	Elf64_Shdr first;

	if (pread(r->fd, &ehdr, sizeof(ehdr), 0) != sizeof(ehdr))
		return 0;
	if (ehdr.e_shnum || !ehdr.e_shoff || ehdr.e_shoff > r->size ||
	    pread(r->fd, &first, sizeof(first), (off_t)ehdr.e_shoff) !=
		    sizeof(first))
		return ehdr.e_shnum;
	return first.sh_size;
}

static int open_elf(struct reader *r)
{
	unsigned char ident[EI_NIDENT];
	size_t n_shdrs;
	struct stat st;
	ssize_t n;

	if (fstat(r->fd, &st) < 0)
		return kho_fail(r->err, -EIO, "%s: cannot read: %m", r->path);
	if (!S_ISREG(st.st_mode))
		return kho_fail(r->err, -ENOEXEC, "%s: not a regular file",
				r->path);
	r->size = (uint64_t)st.st_size;
	n = pread(r->fd, ident, sizeof(ident), 0);
	if (n < 0)
		return kho_fail(r->err, -EIO, "%s: cannot read: %m", r->path);
	if (n >= 2 && !memcmp(ident, "#!", 2))
		return kho_fail(r->err, -ENOEXEC,
				"%s: a script, not an ELF file: name the "
				"program that it runs",
				r->path);
	if (n < EI_NIDENT || memcmp(ident, ELFMAG, SELFMAG) != 0)
		return kho_fail(r->err, -ENOEXEC,
				"%s: neither an ELF file, a kernel image nor a "
				"manifest in JSON",
				r->path);
	if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB)
		return kho_fail(r->err, -ENOEXEC,
				"%s: not a 64-bit, little-endian ELF file",
				r->path);
	if (count_sections(r) > MAX_HEADERS)
		return damaged(r, "more sections than any program has");

	elf_version(EV_CURRENT);
	r->elf = elf_begin(r->fd, ELF_C_READ, NULL);
	if (!r->elf || !gelf_getehdr(r->elf, &r->ehdr))
		return damaged(r, elf_errmsg(-1));
	if (r->ehdr.e_type != ET_EXEC && r->ehdr.e_type != ET_DYN)
		return kho_fail(r->err, -ENOEXEC,
				"%s: an ELF file, but neither a program nor a "
				"shared library",
				r->path);
	/* libelf goes on with fewer headers when the file is too short. */
	if (elf_getphdrnum(r->elf, &r->n_phdrs) < 0 ||
	    (r->ehdr.e_phnum != PN_XNUM && r->n_phdrs != r->ehdr.e_phnum))
		return damaged(r, "program headers outside of the file");
	if (r->n_phdrs > MAX_HEADERS)
		return damaged(r, "more segments than any program has");
	if (elf_getshdrnum(r->elf, &n_shdrs) < 0 ||
	    (r->ehdr.e_shoff && n_shdrs < r->ehdr.e_shnum))
		return damaged(r, "section headers outside of the file");
	return 0;
}

/* The first segment of @type that has bytes in the file: 0; -ENOENT. */
static int find_segment(struct reader *r, uint32_t type, GElf_Phdr *phdr)
{
	size_t i;

	for (i = 0; i < r->n_phdrs; i++) {
		if (!gelf_getphdr(r->elf, (int)i, phdr))
			return damaged(r, "program headers");
		if (phdr->p_type == type && phdr->p_filesz)
			return 0;
	}
	return -ENOENT;
}

static int check_segments(struct reader *r)
{
	GElf_Phdr phdr;
	size_t i;

	for (i = 0; i < r->n_phdrs; i++) {
		if (!gelf_getphdr(r->elf, (int)i, &phdr))
			return damaged(r, "program headers");
		if (phdr.p_type == PT_LOAD &&
		    !inside_file(r, phdr.p_offset, phdr.p_filesz))
			return damaged(r, "a segment outside of the file");
	}
	return 0;
}

/* Where in the file the byte at @addr is, and how many follow it there. */
static int file_offset(struct reader *r, uint64_t addr, uint64_t *offset,
		       uint64_t *len)
{
	GElf_Phdr phdr;
	size_t i;

	for (i = 0; i < r->n_phdrs; i++) {
		if (!gelf_getphdr(r->elf, (int)i, &phdr))
			return damaged(r, "program headers");
		if (phdr.p_type != PT_LOAD || addr < phdr.p_vaddr ||
		    addr - phdr.p_vaddr >= phdr.p_filesz)
			continue;
		*offset = phdr.p_offset + (addr - phdr.p_vaddr);
		*len = phdr.p_filesz - (addr - phdr.p_vaddr);
		return 0;
	}
	return damaged(r, "dynamic strings outside of every segment");
}

/* A terminated string of at most @max bytes at @offset, to free(). */
static int read_string(struct reader *r, uint64_t offset, uint64_t max,
		       char **string)
{
	char buf[MAX_STRING];
	ssize_t n;

	if (max > sizeof(buf))
		max = sizeof(buf);
	n = pread(r->fd, buf, max, (off_t)offset);
	if (n < 0)
		return kho_fail(r->err, -EIO, "%s: cannot read: %m", r->path);
	if (!memchr(buf, '\0', (size_t)n))
		return damaged(r, "dynamic string too long or unterminated");
	*string = strdup(buf);
	return *string ? 0 : kho_fail(r->err, -ENOMEM, "out of memory");
}

static int add_needed(struct reader *r, struct elf_deps *deps, char *name)
{
	char **needed;

	if (deps->n == MAX_NEEDED) {
		free(name);
		return damaged(r, "needs too many libraries");
	}
	needed = realloc(deps->needed, (deps->n + 1) * sizeof(*needed));
	if (!needed) {
		free(name);
		return kho_fail(r->err, -ENOMEM, "out of memory");
	}
	deps->needed = needed;
	needed[deps->n++] = name;
	return 0;
}

/* @table, @len: the dynamic strings. */
static int read_dyn(struct reader *r, const GElf_Dyn *dyn, uint64_t table,
		    uint64_t len, struct elf_deps *deps)
{
	char *string, **path;
	int ret;

	if (dyn->d_tag != DT_NEEDED && dyn->d_tag != DT_RPATH &&
	    dyn->d_tag != DT_RUNPATH)
		return 0;
	if (dyn->d_un.d_val >= len)
		return damaged(r, "dynamic string outside of its table");
	ret = read_string(r, table + dyn->d_un.d_val, len - dyn->d_un.d_val,
			  &string);
	if (ret)
		return ret;
	if (dyn->d_tag == DT_NEEDED)
		return add_needed(r, deps, string);
	path = dyn->d_tag == DT_RPATH ? &deps->rpath : &deps->runpath;
	free(*path);
	*path = string;
	return 0;
}

static int read_deps(struct reader *r, struct elf_deps *deps)
{
	uint64_t strtab = 0, strsz = UINT64_MAX, table = 0, len = 0;
	GElf_Phdr phdr;
	Elf_Data *data;
	GElf_Dyn dyn;
	int i, n, ret;

	ret = find_segment(r, PT_DYNAMIC, &phdr);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	if (!inside_file(r, phdr.p_offset, phdr.p_filesz) ||
	    phdr.p_filesz > MAX_DYNAMIC_BYTES)
		return damaged(r, "dynamic section outside of the file");
	data = elf_getdata_rawchunk(r->elf, (int64_t)phdr.p_offset,
				    phdr.p_filesz, ELF_T_DYN);
	if (!data)
		return damaged(r, elf_errmsg(-1));
	for (n = 0; gelf_getdyn(data, n, &dyn) && dyn.d_tag != DT_NULL; n++) {
		if (dyn.d_tag == DT_STRTAB)
			strtab = dyn.d_un.d_ptr;
		else if (dyn.d_tag == DT_STRSZ)
			strsz = dyn.d_un.d_val;
	}
	if (!strtab)
		return 0;
	ret = file_offset(r, strtab, &table, &len);
	if (ret)
		return ret;
	if (len > strsz)
		len = strsz;
	for (i = 0; i < n && gelf_getdyn(data, i, &dyn); i++) {
		ret = read_dyn(r, &dyn, table, len, deps);
		if (ret)
			return ret;
	}
	return 0;
}

static int bad_note(const struct reader *r, uint64_t offset, const char *why)
{
	return kho_fail(r->err, -EBADMSG, "%s: note at offset 0x%llx: %s",
			r->path, (unsigned long long)offset, why);
}

/* A note of our owner. A type that is not known is from a later libkho. */
static int read_component(struct reader *r, uint64_t offset,
			  const GElf_Nhdr *nhdr, const char *bytes)
{
	struct kho_component_desc desc;
	struct kho_error why;

	if (nhdr->n_type != KHO_NOTE_COMPONENT)
		return 0;
	if (nhdr->n_descsz != sizeof(desc))
		return bad_note(r, offset, "wrong size for a component");
	memcpy(&desc, bytes, sizeof(desc));
	if (desc_check(&desc, &why))
		return bad_note(r, offset, why.text);
	return collect(r->collection, &desc, true, r->source, offset);
}

static int read_notes(struct reader *r, uint64_t offset, uint64_t len,
		      uint64_t align)
{
	/* libelf gets slow when it has to remember many pieces. */
	uint64_t cost = len < 4096 ? 4096 : len;
	size_t at = 0, next, name, desc;
	GElf_Nhdr nhdr;
	Elf_Data *data;
	int ret;

	if (!inside_file(r, offset, len))
		return bad_note(r, offset, "outside of the file (truncated?)");
	if (cost > MAX_NOTE_BYTES - r->note_bytes)
		return bad_note(r, offset, "too many notes");
	r->note_bytes += cost;
	data = elf_getdata_rawchunk(r->elf, (int64_t)offset, len,
				    align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
	if (!data)
		return errno == ENOMEM ? damaged(r, NULL) :
					 bad_note(r, offset, elf_errmsg(-1));
	for (; at < data->d_size; at = next) {
		const char *bytes = data->d_buf;

		next = gelf_getnote(data, at, &nhdr, &name, &desc);
		if (!next)
			return bad_note(r, offset + at,
					"reaches over the end of its section");
		if (nhdr.n_namesz != sizeof(KHO_NOTE_OWNER) ||
		    memcmp(bytes + name, KHO_NOTE_OWNER,
			   sizeof(KHO_NOTE_OWNER)) != 0)
			continue;
		ret = read_component(r, offset + at, &nhdr, bytes + desc);
		if (ret)
			return ret;
	}
	return 0;
}

static int read_liveupdate(struct reader *r, const GElf_Shdr *shdr)
{
	char *bytes;
	ssize_t n;
	int ret;

	if (!inside_file(r, shdr->sh_offset, shdr->sh_size) ||
	    shdr->sh_size > MAX_NOTE_BYTES)
		return kho_fail(r->err, -EBADMSG,
				"%s: " KHO_LIVEUPDATE_SECTION
				" at offset 0x%llx: outside of the file, or "
				"too large",
				r->path, (unsigned long long)shdr->sh_offset);
	bytes = malloc(shdr->sh_size + 1);
	if (!bytes)
		return kho_fail(r->err, -ENOMEM, "out of memory");
	n = pread(r->fd, bytes, shdr->sh_size, (off_t)shdr->sh_offset);
	if (n < 0)
		ret = kho_fail(r->err, -EIO, "%s: cannot read: %m", r->path);
	else
		ret = versions_section_read(r->collection, r->source, bytes,
					    (size_t)n, shdr->sh_offset);
	free(bytes);
	return ret;
}

/*
 * Compares the name in the file, so that a table of names of any size costs
 * nothing.
 */
static bool has_name(const struct reader *r, const GElf_Shdr *names,
		     const GElf_Shdr *shdr, const char *name)
{
	char buf[sizeof(KHO_LIVEUPDATE_SECTION)];
	size_t size = strlen(name) + 1;

	return shdr->sh_name < names->sh_size &&
	       inside_file(r, names->sh_offset, names->sh_size) &&
	       pread(r->fd, buf, size,
		     (off_t)(names->sh_offset + shdr->sh_name)) ==
		       (ssize_t)size &&
	       !memcmp(buf, name, size);
}

/* A section of notes may have been taken for data by a linker. */
static int read_section(struct reader *r, const GElf_Shdr *names,
			const GElf_Shdr *shdr)
{
	if (shdr->sh_type != SHT_NOTE && shdr->sh_type != SHT_PROGBITS)
		return 0;
	if (shdr->sh_flags & SHF_ALLOC &&
	    has_name(r, names, shdr, KHO_NOTE_SECTION))
		return read_notes(r, shdr->sh_offset, shdr->sh_size, 4);
	if (shdr->sh_type == SHT_PROGBITS &&
	    has_name(r, names, shdr, KHO_LIVEUPDATE_SECTION))
		return read_liveupdate(r, shdr);
	return 0;
}

static int read_sections(struct reader *r)
{
	GElf_Shdr names, shdr;
	Elf_Scn *scn = NULL;
	size_t index;
	int ret = 0;

	if (elf_getshdrstrndx(r->elf, &index) < 0 || index == SHN_UNDEF ||
	    !gelf_getshdr(elf_getscn(r->elf, index), &names))
		return 0;
	while (!ret && (scn = elf_nextscn(r->elf, scn)))
		if (gelf_getshdr(scn, &shdr))
			ret = read_section(r, &names, &shdr);
	return ret;
}

static int read_segments(struct reader *r)
{
	GElf_Phdr phdr;
	size_t i;
	int ret;

	for (i = 0; i < r->n_phdrs; i++) {
		if (!gelf_getphdr(r->elf, (int)i, &phdr))
			return damaged(r, "program headers");
		if (phdr.p_type != PT_NOTE || !phdr.p_filesz)
			continue;
		ret = read_notes(r, phdr.p_offset, phdr.p_filesz, phdr.p_align);
		if (ret)
			return ret;
	}
	return 0;
}

int elf_read(int fd, struct collection *collection, size_t source,
	     struct elf_deps *deps)
{
	struct reader r = {
		.fd = fd,
		.path = collection->manifest->sources[source],
		.collection = collection,
		.source = source,
		.err = collection->err,
	};
	int ret;

	memset(deps, 0, sizeof(*deps));
	errno = 0;
	ret = open_elf(&r);
	if (!ret)
		ret = check_segments(&r);
	if (!ret)
		ret = read_deps(&r, deps);
	if (!ret)
		ret = read_sections(&r);
	if (!ret)
		ret = read_segments(&r);
	elf_end(r.elf);
	return ret;
}

void elf_deps_free(struct elf_deps *deps)
{
	size_t i;

	for (i = 0; i < deps->n; i++)
		free(deps->needed[i]);
	free(deps->needed);
	free(deps->rpath);
	free(deps->runpath);
}
