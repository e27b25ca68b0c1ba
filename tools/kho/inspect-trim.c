// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A small core from a large one: an ELF core with the pages that a kernel's
 * state leads to, and those that are preserved, and no others.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kho.h"
#include "state.h"

/* Bytes that are copied at a time. */
#define PIECE (1u << 20)

/* What is kept. */
struct pieces {
	const struct memory *memory;
	size_t n;
	struct kho_dump_segment *list;
};

static void keep(struct pieces *pieces, uint64_t phys, uint64_t size)
{
	uint64_t page = 1ull << pieces->memory->page_shift;
	uint64_t skip = phys & (page - 1);

	if (!size || phys + size < phys)
		return;
	*append(pieces->list, pieces->n) = (struct kho_dump_segment){
		.phys = phys - skip,
		.size = (size + skip + page - 1) & ~(page - 1),
	};
}

static void keep_pages(const struct accounted *a, void *arg)
{
	struct pieces *pieces = arg;
	unsigned int shift = pieces->memory->page_shift;

	keep(pieces, a->first << shift, (a->end - a->first) << shift);
}

static int by_phys(const void *a, const void *b)
{
	const struct kho_dump_segment *x = a, *y = b;

	return (x->phys > y->phys) - (x->phys < y->phys);
}

/* Sorts and joins. */
static void join(struct pieces *pieces)
{
	size_t n = 0;

	if (pieces->n)
		qsort(pieces->list, pieces->n, sizeof(*pieces->list), by_phys);
	for (size_t i = 0; i < pieces->n; i++) {
		struct kho_dump_segment *last = n ? &pieces->list[n - 1] : NULL;
		const struct kho_dump_segment *s = &pieces->list[i];

		if (last && s->phys <= last->phys + last->size) {
			if (s->phys + s->size > last->phys + last->size)
				last->size = s->phys + s->size - last->phys;
		} else {
			pieces->list[n++] = *s;
		}
	}
	pieces->n = n;
}

/* What of the pieces is in some segments. */
static struct pieces within(const struct pieces *pieces,
			    const struct kho_dump_segment *segments, size_t n)
{
	struct pieces result = { .memory = pieces->memory };
	size_t i = 0, j = 0;

	while (i < pieces->n && j < n) {
		const struct kho_dump_segment *a = &pieces->list[i];
		const struct kho_dump_segment *b = &segments[j];
		uint64_t a_end = a->phys + a->size, b_end = b->phys + b->size;
		uint64_t from = a->phys > b->phys ? a->phys : b->phys;
		uint64_t to = a_end < b_end ? a_end : b_end;

		if (from < to) {
			*append(result.list, result.n) =
				(struct kho_dump_segment){ .phys = from,
							   .size = to - from };
		}
		if (a_end < b_end)
			i++;
		else
			j++;
	}
	return result;
}

/* The page size of an arm64 core is nowhere else. */
struct note {
	Elf64_Nhdr nhdr;
	char owner[12];
	char text[24];
};

static struct note make_note(const struct memory *memory)
{
	struct note note = {
		.nhdr = { .n_namesz = sizeof("VMCOREINFO"),
			  .n_descsz = sizeof(note.text) },
		.owner = "VMCOREINFO",
	};

	snprintf(note.text, sizeof(note.text), "PAGESIZE=%u\n",
		 1u << memory->page_shift);
	return note;
}

/* @absent: memory that the core does not have, which is not forgotten. */
static void write_headers(const struct kernel *kernel,
			  const struct pieces *pieces,
			  const struct pieces *absent, FILE *file)
{
	uint64_t n = pieces->n + absent->n + 1, at;
	bool many = n >= PN_XNUM;
	const char *machine = kernel->info.machine;
	Elf64_Ehdr ehdr = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = machine && !strcmp(machine, "arm64") ? EM_AARCH64 :
								    EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(ehdr) + (many ? sizeof(Elf64_Shdr) : 0),
		.e_ehsize = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = many ? PN_XNUM : (Elf64_Half)n,
		.e_shoff = many ? sizeof(ehdr) : 0,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = many,
	};
	const Elf64_Shdr shdr = { .sh_info = (Elf64_Word)n };
	const struct note note = make_note(&kernel->memory);
	Elf64_Phdr phdr = {
		.p_type = PT_NOTE,
		.p_offset = ehdr.e_phoff + n * sizeof(phdr),
		.p_filesz = sizeof(note),
	};

	fwrite(&ehdr, sizeof(ehdr), 1, file);
	if (many)
		fwrite(&shdr, sizeof(shdr), 1, file);
	fwrite(&phdr, sizeof(phdr), 1, file);
	at = phdr.p_offset + sizeof(note);
	for (size_t i = 0; i < pieces->n; i++) {
		phdr = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_offset = at,
			.p_paddr = pieces->list[i].phys,
			.p_filesz = pieces->list[i].size,
			.p_memsz = pieces->list[i].size,
		};
		fwrite(&phdr, sizeof(phdr), 1, file);
		at += phdr.p_filesz;
	}
	for (size_t i = 0; i < absent->n; i++) {
		phdr = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_offset = at,
			.p_paddr = absent->list[i].phys,
			.p_memsz = absent->list[i].size,
		};
		fwrite(&phdr, sizeof(phdr), 1, file);
	}
	fwrite(&note, sizeof(note), 1, file);
}

static bool write_memory(const struct kernel *kernel,
			 const struct pieces *pieces, FILE *file)
{
	char *buf = must(malloc(PIECE));
	bool ok = true;

	for (size_t i = 0; ok && i < pieces->n; i++) {
		const struct kho_dump_segment *s = &pieces->list[i];

		for (uint64_t at = 0; ok && at < s->size; at += PIECE) {
			uint64_t left = s->size - at;
			size_t n = left < PIECE ? left : PIECE;
			int ret =
				kho_mem_read(kernel->mem, s->phys + at, buf, n);

			if (ret)
				errno = -ret;
			ok = !ret && fwrite(buf, 1, n, file) == n;
		}
	}
	free(buf);
	return ok;
}

bool trim_write(const struct state *state, const char *path)
{
	const struct kernel *kernel = &state->kernel;
	const struct kho_dump_info *info = &kernel->info;
	struct pieces all = { .memory = &kernel->memory }, kept, absent;
	FILE *file;
	bool ok;

	if (!state->is_kernel) {
		fail_usage(state->verb,
			   "--trim is for the memory of a machine, not for an arena");
		return false;
	}
	file = fopen(path, "wxe");
	if (!file) {
		fail("%s: %s: %m", state->verb, path);
		return false;
	}
	memory_account(&kernel->memory, keep_pages, &all);
	if (kernel->root.passed) {
		keep(&all, kernel->root.passed_at, kernel->root.passed_size);
		keep(&all, kernel->root.scratch, kernel->root.scratch_size);
	}
	join(&all);
	kept = within(&all, info->segments, info->n);
	absent = within(&all, info->absent, info->n_absent);
	write_headers(kernel, &kept, &absent, file);
	ok = write_memory(kernel, &kept, file);
	if (fclose(file))
		ok = false;
	if (!ok)
		fail("%s: %s: cannot be written: %m", state->verb, path);
	free(all.list);
	free(kept.list);
	free(absent.list);
	return ok;
}
