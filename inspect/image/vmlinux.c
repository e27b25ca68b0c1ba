// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The vmlinux: a kernel as an ELF file. Notes and .liveupdate_versions are read
 * as of any program; what remains is to search its data for version strings.
 *
 * All that is loaded is searched, but not .init.data, where an initramfs can be
 * built in that has programs in it with version strings of their own. Segments
 * and sections describe the same bytes, so one must not contradict the other:
 * a damaged header would hide a part.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files/elf.h"
#include "inspect/image/private.h"

/* Far more than any kernel has. */
#define MAX_SEGMENTS 64
#define MAX_SECTIONS 4096

#define INIT_DATA ".init.data"

struct vmlinux {
	struct image *image;
	const struct piece *piece;
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdrs[MAX_SEGMENTS];
	Elf64_Shdr *shdrs;
	struct piece init_data; /* size 0: none */
};

static bool read_phdrs(const struct piece *piece, const Elf64_Ehdr *ehdr,
		       Elf64_Phdr phdrs[MAX_SEGMENTS])
{
	size_t len = ehdr->e_phnum * sizeof(*phdrs);

	return ehdr->e_phentsize == sizeof(*phdrs) &&
	       ehdr->e_phnum <= MAX_SEGMENTS &&
	       inside(piece->size, ehdr->e_phoff, len) &&
	       pread(piece->fd, phdrs, len,
		     (off_t)(piece->offset + ehdr->e_phoff)) == (ssize_t)len;
}

/* Only a kernel is linked to run in the upper half of the addresses. */
bool vmlinux_begins(const struct piece *piece, const uint8_t *begin)
{
	Elf64_Phdr phdrs[MAX_SEGMENTS];
	Elf64_Ehdr ehdr;
	size_t i;

	memcpy(&ehdr, begin, sizeof(ehdr));
	if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 ||
	    ehdr.e_ident[EI_CLASS] != ELFCLASS64 ||
	    ehdr.e_ident[EI_DATA] != ELFDATA2LSB ||
	    !read_phdrs(piece, &ehdr, phdrs))
		return false;
	for (i = 0; i < ehdr.e_phnum; i++)
		if (phdrs[i].p_type == PT_LOAD && phdrs[i].p_vaddr >> 63)
			return true;
	return false;
}

static int damaged(const struct vmlinux *v, const char *what)
{
	return image_fail(v->image, -EBADMSG,
			  "damaged or truncated ELF file: %s", what);
}

/* Notes and .liveupdate_versions, which get sources of their own. */
static int read_notes(struct vmlinux *v)
{
	struct collection *collection = &v->image->collection;
	struct kho_manifest *manifest = collection->manifest;
	size_t i, note = 0, section = 0;
	struct elf_deps deps;
	int ret = elf_read(v->piece->fd, collection, 0, &deps);

	elf_deps_free(&deps);
	for (i = 0; !ret && i < manifest->n; i++) {
		bool is_note = collection->noted[i];
		size_t *source = is_note ? &note : &section;

		if (!*source) {
			*source = manifest->n_sources;
			ret = image_add_source(v->image,
					       is_note ?
						       KHO_NOTE_SECTION :
						       KHO_LIVEUPDATE_SECTION);
		}
		manifest->entries[i].source = *source;
	}
	return ret;
}

static int read_headers(struct vmlinux *v)
{
	const Elf64_Ehdr *ehdr = &v->ehdr;
	size_t len = ehdr->e_shnum * sizeof(*v->shdrs);
	uint64_t total = 0;
	size_t i;

	if (!read_phdrs(v->piece, ehdr, v->phdrs))
		return damaged(v, "program headers");
	for (i = 0; i < ehdr->e_phnum; i++) {
		const Elf64_Phdr *phdr = &v->phdrs[i];

		if (phdr->p_type != PT_LOAD)
			continue;
		if (!inside(v->piece->size, phdr->p_offset, phdr->p_filesz))
			return damaged(v, "a segment outside of the file");
		total += phdr->p_filesz;
		if (total > KHO_IMAGE_MAX || total > v->piece->size)
			return image_fail(v->image, -EBADMSG,
					  "larger than any kernel, or than the "
					  "file: its segments have %llu bytes",
					  (unsigned long long)total);
	}
	if (!ehdr->e_shoff || !ehdr->e_shnum)
		return image_fail(v->image, -EBADMSG,
				  "cannot tell: its section headers were "
				  "stripped, which say what of its data is an "
				  "initramfs: name the vmlinux as it was built");
	if (ehdr->e_shentsize != sizeof(*v->shdrs) ||
	    ehdr->e_shnum > MAX_SECTIONS || ehdr->e_shstrndx >= ehdr->e_shnum)
		return image_fail(v->image, -EBADMSG,
				  "cannot tell: %u section headers of %u bytes, "
				  "and no names of them, are not what a kernel "
				  "has",
				  ehdr->e_shnum, ehdr->e_shentsize);
	v->shdrs = malloc(len);
	if (!v->shdrs)
		return kho_fail(v->image->err, -ENOMEM, "out of memory");
	return piece_read(v->image, v->piece, ehdr->e_shoff, v->shdrs, len);
}

/* Is it where a segment says that something is loaded from? */
static bool is_loaded(const struct vmlinux *v, const Elf64_Shdr *shdr)
{
	size_t i;

	for (i = 0; i < v->ehdr.e_phnum; i++) {
		const Elf64_Phdr *phdr = &v->phdrs[i];

		if (phdr->p_type == PT_LOAD &&
		    shdr->sh_offset >= phdr->p_offset &&
		    inside(phdr->p_filesz, shdr->sh_offset - phdr->p_offset,
			   shdr->sh_size))
			return true;
	}
	return false;
}

static int check_sections(struct vmlinux *v)
{
	const Elf64_Shdr *names = &v->shdrs[v->ehdr.e_shstrndx];
	size_t i;

	for (i = 0; i < v->ehdr.e_shnum; i++) {
		const Elf64_Shdr *shdr = &v->shdrs[i];
		char name[sizeof(INIT_DATA)];
		int ret;

		if (!(shdr->sh_flags & SHF_ALLOC) || !shdr->sh_size ||
		    shdr->sh_type == SHT_NOBITS)
			continue;
		if (!is_loaded(v, shdr))
			return damaged(v, "a section outside of its segment");
		/* A name that ends before the table does may be shorter. */
		if (!inside(names->sh_size, shdr->sh_name, sizeof(name)))
			continue;
		ret = piece_read(v->image, v->piece,
				 names->sh_offset + shdr->sh_name, name,
				 sizeof(name));
		if (ret)
			return ret;
		if (!memcmp(name, INIT_DATA, sizeof(name)))
			v->init_data = (struct piece){ v->piece->fd,
						       shdr->sh_offset,
						       shdr->sh_size };
	}
	return 0;
}

static int search_range(struct vmlinux *v, uint64_t begin, uint64_t end)
{
	struct piece piece = { v->piece->fd, begin, end - begin };

	return begin < end ? search(v->image, &piece) : 0;
}

static int search_segment(struct vmlinux *v, const Elf64_Phdr *phdr)
{
	uint64_t begin = phdr->p_offset, end = begin + phdr->p_filesz;
	uint64_t skip = v->init_data.offset, skip_end;
	int ret;

	skip_end = skip + v->init_data.size;
	if (!v->init_data.size || skip < begin || skip >= end)
		return search_range(v, begin, end);
	ret = search_range(v, begin, skip);
	return ret ? ret : search_range(v, skip_end, end);
}

static int search_segments(struct vmlinux *v)
{
	size_t i;
	int ret = 0;

	for (i = 0; !ret && i < v->ehdr.e_phnum; i++)
		if (v->phdrs[i].p_type == PT_LOAD)
			ret = search_segment(v, &v->phdrs[i]);
	return ret;
}

int vmlinux_open(struct image *image, struct piece *piece)
{
	struct vmlinux v = { .image = image, .piece = piece };
	int ret;

	/* libelf reads files from their begin. */
	if (piece->offset)
		return image_fail(image, -ENOEXEC,
				  "what is in it (%s) is not packed, and EFI "
				  "cannot start it",
				  image->info->format);
	ret = piece_read(image, piece, 0, &v.ehdr, sizeof(v.ehdr));
	if (!ret)
		ret = read_notes(&v);
	if (!ret)
		ret = read_headers(&v);
	if (!ret)
		ret = check_sections(&v);
	if (!ret)
		ret = search_segments(&v);
	free(v.shdrs);
	return ret;
}
