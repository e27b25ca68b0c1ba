// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * The memory of a machine: reading cores. What is in them is find.c's business.
 *
 * A core is a list of segments. Whatever the file says, the list that is read
 * through is sorted, has no overlaps, and lies within the file.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <kho/dump.h>

#include "base/mem.h"
#include "base/opts.h"
#include "inspect/dump/private.h"

/* More than any machine has. */
#define SEGMENTS_MAX (1u << 20)
/* Of notes: those of a thousand processors. */
#define NOTES_MAX (4u << 20)
/* Program headers are read in pieces. */
#define PHDRS 256

/* The last segment that does not begin after @phys; @n when there is none. */
static size_t find_segment(const struct kho_dump_segment *segments, size_t n,
			   uint64_t phys)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (segments[middle].phys <= phys)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? low - 1 : n;
}

/* A read fails at @phys: is it memory that is only not in the dump? */
static int not_here(const struct kho_dump *core, uint64_t phys, bool in_segment)
{
	size_t n = core->info.n_absent, i = find_segment(core->absent, n, phys);

	if (in_segment ||
	    (i < n && phys - core->absent[i].phys < core->absent[i].size))
		__atomic_fetch_add((uint64_t *)&core->info.misses, 1,
				   __ATOMIC_RELAXED);
	return -EFAULT;
}

static int core_read(const struct kho_mem *mem, uint64_t phys, void *buf,
		     size_t len)
{
	const struct kho_dump *core = (const struct kho_dump *)mem;
	size_t i = find_segment(core->segments, core->info.n, phys);
	char *to = buf;

	for (; i < core->info.n; i++) {
		const struct kho_dump_segment *s = &core->segments[i];
		uint64_t skip = phys - s->phys, piece;

		if (phys < s->phys || skip > s->size)
			break;
		piece = s->size - skip < len ? s->size - skip : len;
		if (core->read(core, s->offset + skip, to, piece))
			return not_here(core, phys, true);
		to += piece;
		phys += piece;
		len -= piece;
		if (!len)
			return 0;
	}
	return not_here(core, phys, false);
}

static int read_plain(const struct kho_dump *core, uint64_t offset, void *buf,
		      size_t len)
{
	return mem_read_file(core->fd, offset, buf, len);
}

static int add(struct kho_dump_segment **segments, size_t *n,
	       const struct kho_dump_segment *segment, struct kho_error *err)
{
	if (!segment->size)
		return 0;
	/* Room for a power of two. */
	if (!(*n & (*n - 1))) {
		struct kho_dump_segment *more =
			reallocarray(*segments, *n ? 2 * *n : 1, sizeof(*more));

		if (!more)
			return kho_fail(err, -ENOMEM, "core: out of memory");
		*segments = more;
	}
	(*segments)[(*n)++] = *segment;
	return 0;
}

int dump_add_segment(struct kho_dump *core, uint64_t phys, uint64_t size,
		     uint64_t offset, struct kho_error *err)
{
	const struct kho_dump_segment segment = { phys, size, offset };

	return add(&core->segments, &core->info.n, &segment, err);
}

int dump_add_absent(struct kho_dump *core, uint64_t phys, uint64_t size,
		    struct kho_error *err)
{
	const struct kho_dump_segment segment = { .phys = phys, .size = size };

	return add(&core->absent, &core->info.n_absent, &segment, err);
}

static int by_phys(const void *a, const void *b)
{
	const struct kho_dump_segment *x = a, *y = b;

	if (x->phys != y->phys)
		return x->phys < y->phys ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Sort what is absent, and keep what is between the segments. */
static int order_absent(struct kho_dump *core, struct kho_error *err)
{
	struct kho_dump_segment *all = core->absent;
	size_t n = core->info.n_absent, j = 0;
	uint64_t end = 0;
	int ret = 0;

	core->absent = NULL;
	core->info.n_absent = 0;
	if (n)
		qsort(all, n, sizeof(*all), by_phys);
	for (size_t i = 0; !ret && i < n; i++) {
		uint64_t at = all[i].phys > end ? all[i].phys : end;
		uint64_t last = all[i].phys + all[i].size;

		for (; !ret && at < last; at = end) {
			const struct kho_dump_segment *s;

			while (j < core->info.n &&
			       core->segments[j].phys +
					       core->segments[j].size <=
				       at)
				j++;
			s = j < core->info.n ? &core->segments[j] : NULL;
			end = s && s->phys < last ? s->phys : last;
			if (end > at)
				ret = dump_add_absent(core, at, end - at, err);
			else
				end = s->phys + s->size;
		}
	}
	core->info.absent = core->absent;
	free(all);
	return ret;
}

/* Sort, and cut off what another segment has already. */
static int order_segments(struct kho_dump *core, uint64_t file_size,
			  struct kho_error *err)
{
	uint64_t end = 0;
	size_t n = 0;

	if (core->info.n)
		qsort(core->segments, core->info.n, sizeof(*core->segments),
		      by_phys);
	for (size_t i = 0; i < core->info.n; i++) {
		struct kho_dump_segment s = core->segments[i];
		uint64_t skip = s.phys < end ? end - s.phys : 0;

		if (skip >= s.size)
			continue;
		s.phys += skip;
		s.offset += skip;
		s.size -= skip;
		end = s.phys + s.size;
		core->info.size += s.size;
		core->segments[n++] = s;
	}
	core->info.n = n;
	core->info.segments = core->segments;
	/* Or reading it all would take longer than the file is large. */
	if (core->info.size > file_size)
		return kho_fail(err, -EBADMSG,
				"core: damaged: segments of %llu bytes in a file of %llu",
				(unsigned long long)core->info.size,
				(unsigned long long)file_size);
	return order_absent(core, err);
}

/*
 * Take a PT_LOAD as far as the file has it. What it has in memory beyond that was
 * left out: it may have been zeros, or what a filter took for useless.
 */
static int add_load(struct kho_dump *core, const Elf64_Phdr *phdr,
		    uint64_t file_size, struct kho_error *err)
{
	uint64_t size = phdr->p_filesz, all = phdr->p_memsz;
	int ret;

	if (all < size || core->info.kind == KHO_DUMP_KCORE)
		all = size;
	/* The kernel says so of what has no physical address. */
	if (core->info.kind == KHO_DUMP_KCORE && phdr->p_paddr == UINT64_MAX)
		return 0;
	if (phdr->p_paddr + all < all || phdr->p_offset + size < size)
		return kho_fail(err, -EBADMSG,
				"core: damaged: a segment of %#llx bytes at %#llx",
				(unsigned long long)all,
				(unsigned long long)phdr->p_paddr);
	if (phdr->p_offset > file_size || size > file_size - phdr->p_offset) {
		uint64_t has = phdr->p_offset > file_size ?
				       0 :
				       file_size - phdr->p_offset;

		core->info.missing += size - has;
		size = has;
	}
	core->info.left_out += all - phdr->p_filesz;
	ret = dump_add_segment(core, phdr->p_paddr, size, phdr->p_offset, err);
	return ret ? ret :
		     dump_add_absent(core, phdr->p_paddr + size, all - size,
				     err);
}

/* The page size, from the text of a VMCOREINFO note; 0 when it has none. */
static unsigned int vmcoreinfo_page_shift(const char *text, size_t len)
{
	static const char key[] = "PAGESIZE=";
	const char *at = memmem(text, len, key, sizeof(key) - 1);
	unsigned long size = 0;

	if (!at || (at != text && at[-1] != '\n'))
		return 0;
	for (at += sizeof(key) - 1;
	     at < text + len && *at >= '0' && *at <= '9' && size <= 65536; at++)
		size = 10 * size + (unsigned long)(*at - '0');
	return size == 4096 ? 12 : size == 16384 ? 14 : size == 65536 ? 16 : 0;
}

static int read_notes(struct kho_dump *core, const Elf64_Phdr *phdr,
		      struct kho_error *err)
{
	static const char owner[] = "VMCOREINFO";
	size_t size = phdr->p_filesz, at = 0;
	char *notes;

	if (core->page_shift_known || size > NOTES_MAX)
		return 0;
	notes = malloc(size + 1);
	if (!notes)
		return kho_fail(err, -ENOMEM, "core: out of memory");
	if (mem_read_file(core->fd, phdr->p_offset, notes, size))
		size = 0;
	while (size - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr nhdr;
		uint64_t name, desc, end;

		memcpy(&nhdr, notes + at, sizeof(nhdr));
		name = at + sizeof(nhdr);
		desc = name + (((uint64_t)nhdr.n_namesz + 3) & ~3ull);
		end = desc + (((uint64_t)nhdr.n_descsz + 3) & ~3ull);
		if (end > size)
			break;
		if (nhdr.n_namesz == sizeof(owner) &&
		    !memcmp(notes + name, owner, sizeof(owner))) {
			unsigned int shift =
				vmcoreinfo_page_shift(notes + desc,
						      nhdr.n_descsz);

			if (shift) {
				core->mem.page_shift = shift;
				core->page_shift_known = true;
			}
		}
		at = end;
	}
	free(notes);
	return 0;
}

/* Where there are too many for e_phnum, section 0 says how many. */
static int count_phdrs(int fd, const Elf64_Ehdr *ehdr, uint32_t *n,
		       struct kho_error *err)
{
	Elf64_Shdr shdr;

	*n = ehdr->e_phnum;
	if (*n == PN_XNUM) {
		if (!ehdr->e_shoff || ehdr->e_shentsize != sizeof(shdr) ||
		    mem_read_file(fd, ehdr->e_shoff, &shdr, sizeof(shdr)))
			return kho_fail(err, -EBADMSG,
					"core: damaged: it does not say how many segments it has");
		*n = shdr.sh_info;
	}
	if (*n > SEGMENTS_MAX)
		return kho_fail(err, -EBADMSG,
				"core: damaged: %u segments, no machine has more than %u",
				*n, SEGMENTS_MAX);
	return 0;
}

static int read_phdrs(struct kho_dump *core, const Elf64_Ehdr *ehdr,
		      uint64_t file_size, struct kho_error *err)
{
	Elf64_Phdr phdrs[PHDRS];
	uint32_t n, piece;
	int ret = count_phdrs(core->fd, ehdr, &n, err);

	for (uint32_t i = 0; !ret && i < n; i += piece) {
		piece = n - i < PHDRS ? n - i : PHDRS;
		if (ehdr->e_phoff > INT64_MAX ||
		    mem_read_file(core->fd,
				  ehdr->e_phoff +
					  (uint64_t)i * sizeof(phdrs[0]),
				  phdrs, piece * sizeof(phdrs[0])))
			return kho_fail(err, -EBADMSG,
					"core: truncated: it ends within its program headers");
		for (uint32_t j = 0; !ret && j < piece; j++) {
			if (phdrs[j].p_type == PT_LOAD)
				ret = add_load(core, &phdrs[j], file_size, err);
			else if (phdrs[j].p_type == PT_NOTE)
				ret = read_notes(core, &phdrs[j], err);
		}
	}
	return ret;
}

static int check_ehdr(const Elf64_Ehdr *ehdr, struct kho_error *err)
{
	if (ehdr->e_ident[EI_CLASS] != ELFCLASS64 ||
	    ehdr->e_ident[EI_DATA] != ELFDATA2LSB)
		return kho_fail(err, -EPROTONOSUPPORT,
				"core: an ELF file, but not of a 64-bit little-endian machine");
	if (ehdr->e_type != ET_CORE)
		return kho_fail(err, -EBADMSG,
				"core: an ELF file, but no core: a program, perhaps");
	/* QEMU takes a PC that is not in long mode, as when it starts, for this. */
	if (ehdr->e_machine != EM_X86_64 && ehdr->e_machine != EM_386 &&
	    ehdr->e_machine != EM_AARCH64)
		return kho_fail(err, -EPROTONOSUPPORT,
				"core: of machine type %u; x86-64 and arm64 can be read",
				ehdr->e_machine);
	if (ehdr->e_phentsize != sizeof(Elf64_Phdr))
		return kho_fail(err, -EBADMSG,
				"core: damaged: program headers of %u bytes",
				ehdr->e_phentsize);
	return 0;
}

static int read_elf(struct kho_dump *core, uint64_t file_size,
		    struct kho_error *err)
{
	Elf64_Ehdr ehdr;
	int ret;

	if (mem_read_file(core->fd, 0, &ehdr, sizeof(ehdr)))
		return kho_fail(err, -EBADMSG,
				"core: truncated: shorter than an ELF header");
	if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG))
		return kho_fail(err, -EBADMSG, "core: not an ELF file");
	ret = check_ehdr(&ehdr, err);
	if (ret)
		return ret;
	core->info.machine = "arm64";
	if (ehdr.e_machine != EM_AARCH64) {
		core->info.machine = "x86-64";
		core->page_shift_known = true;
	}
	ret = read_phdrs(core, &ehdr, file_size, err);
	if (ret)
		return ret;
	if (!core->info.n && !core->info.n_absent)
		return kho_fail(err, -EBADMSG,
				"core: it has no segment with a physical address");
	return order_segments(core, file_size, err);
}

/* What is no image of memory, although it is no ELF file. */
static const struct other {
	const char *magic;
	size_t len;
	const char *what;
} others[] = {
	{ "EMiL", 4,
	  "a dump of LiME: write it with format=raw or padded, without compression" },
	{ "LibvirtQemudSave", 16,
	  "a saved guest of libvirt: restore it, then virsh dump --memory-only" },
	{ "LibvirtQemudPart", 16,
	  "a guest that libvirt did not save to the end" },
	{ "QEVM", 4,
	  "a migration file of QEMU: restore it with -incoming, then dump-guest-memory" },
	{ "QFI\xfb", 4,
	  "a qcow2 image: start its snapshot with -loadvm, then dump-guest-memory" },
	{ "\xd2\xbe\xd2\xbe", 4,
	  "a suspended guest of VMware: convert it with vmss2core" },
	{ "PAGEDU64", 8, "a dump of Windows" },
	{ "\x1f\x8b", 2, "packed with gzip: unpack it first, with gzip -dk" },
	{ "\xfd"
	  "7zXZ",
	  5, "packed with xz: unpack it first, with xz -dk" },
	{ "\x28\xb5\x2f\xfd", 4,
	  "packed with zstd: unpack it first, with zstd -d" },
	{ "BZh", 3, "packed with bzip2: unpack it first, with bzip2 -dk" },
	{ "\x04\x22\x4d\x18", 4,
	  "packed with lz4: unpack it first, with lz4 -d" },
	{ "PK\3\4", 4, "a zip archive: unpack it first" },
	{ "\x89LZO", 4, "packed with lzop: unpack it first, with lzop -d" },
};

static int check_others(const struct kho_dump *core, struct kho_error *err)
{
	char magic[16];

	if (mem_read_file(core->fd, 0, magic, sizeof(magic)))
		return 0;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!memcmp(magic, others[i].magic, others[i].len))
			return kho_fail(err, -EPROTONOSUPPORT, "core: %s",
					others[i].what);
	return 0;
}

static int read_raw(struct kho_dump *core, uint64_t base, uint64_t file_size,
		    struct kho_error *err)
{
	int ret;

	if (!file_size)
		return kho_fail(err, -EBADMSG, "core: an empty file");
	ret = check_others(core, err);
	if (ret)
		return ret;
	if (base + file_size < base)
		return kho_fail(err, -EINVAL,
				"core: an image of %llu bytes cannot begin at %#llx",
				(unsigned long long)file_size,
				(unsigned long long)base);
	ret = dump_add_segment(core, base, file_size, 0, err);
	return ret ? ret : order_segments(core, file_size, err);
}

static int read_kdump(struct kho_dump *core, uint64_t file_size,
		      struct kho_error *err)
{
	int ret = kdump_open(core, file_size, err);

	/* A page that is in it has at least a descriptor. */
	return ret ? ret : order_segments(core, UINT64_MAX, err);
}

/* What it is, when nobody says: a magic, or the file system of /proc. */
static enum kho_dump_kind guess_kind(int fd)
{
	unsigned char magic[SELFMAG];
	struct statfs fs;

	if (kdump_begins(fd))
		return KHO_DUMP_KDUMP;
	if (mem_read_file(fd, 0, magic, sizeof(magic)) ||
	    memcmp(magic, ELFMAG, SELFMAG))
		return KHO_DUMP_RAW;
	return !fstatfs(fd, &fs) && fs.f_type == PROC_SUPER_MAGIC ?
		       KHO_DUMP_KCORE :
		       KHO_DUMP_ELF;
}

static int file_size_of(int fd, uint64_t *size, struct kho_error *err)
{
	struct stat st;
	off_t end;

	if (fstat(fd, &st))
		return kho_fail(err, -errno, "core: fd %d: %s", fd,
				strerror(errno));
	if (S_ISREG(st.st_mode)) {
		*size = (uint64_t)st.st_size;
		return 0;
	}
	end = S_ISBLK(st.st_mode) ? lseek(fd, 0, SEEK_END) : -1;
	if (end < 0)
		return kho_fail(err, -EBADMSG,
				"core: fd %d is neither a file nor a block device",
				fd);
	*size = (uint64_t)end;
	return 0;
}

static int core_init(struct kho_dump *core, const struct kho_dump_opts *opts,
		     struct kho_error *err)
{
	uint64_t file_size = 0;
	int ret = file_size_of(core->fd, &file_size, err);

	if (ret)
		return ret;
	core->mem.read = core_read;
	core->read = read_plain;
	core->mem.page_shift = 12;
	core->info.kind = opts->kind ? opts->kind : guess_kind(core->fd);
	if (core->info.kind == KHO_DUMP_RAW)
		ret = read_raw(core, opts->base, file_size, err);
	else if (core->info.kind == KHO_DUMP_KDUMP)
		ret = read_kdump(core, file_size, err);
	else
		ret = read_elf(core, file_size, err);
	if (!ret && opts->page_shift) {
		core->mem.page_shift = opts->page_shift;
		core->page_shift_known = true;
	}
	return ret;
}

int kho_dump_open(int fd, const struct kho_dump_opts *opts,
		  struct kho_dump **core, struct kho_error *err)
{
	struct kho_dump_opts how;
	struct kho_dump *c;
	int ret = OPTS_COPY(&how, opts, kho_dump_opts, err);

	if (ret)
		return ret;
	if (how.page_shift && how.page_shift != 12 && how.page_shift != 14 &&
	    how.page_shift != 16)
		return kho_fail(err, -EINVAL,
				"core: page size 2^%u is not supported: only 4, 16 and 64 KiB are",
				how.page_shift);
	c = calloc(1, sizeof(*c));
	if (!c)
		return kho_fail(err, -ENOMEM, "core: out of memory");
	c->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (c->fd < 0)
		ret = kho_fail(err, -errno, "core: fd %d: %s", fd,
			       strerror(errno));
	else
		ret = core_init(c, &how, err);
	if (ret)
		kho_dump_close(c);
	else
		*core = c;
	return ret;
}

void kho_dump_close(struct kho_dump *core)
{
	if (!core)
		return;
	if (core->fd >= 0)
		close(core->fd);
	free(core->segments);
	free(core->absent);
	kdump_close(core->kdump);
	free(core);
}

const struct kho_mem *kho_dump_mem(const struct kho_dump *core)
{
	return &core->mem;
}

void kho_dump_info(const struct kho_dump *core, struct kho_dump_info *info)
{
	*info = core->info;
	info->misses = __atomic_load_n(&core->info.misses, __ATOMIC_RELAXED);
}
