// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * What the kernel that runs would hand over: its root FDT from debugfs, the
 * rest from its memory. Of what it was given itself, only debugfs has a part:
 * the pages of the tracker and of LUO's header belong to others by now.
 */
#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"
#include "kho.h"

/* Where the views of debugfs' files begin; any phys but 0. */
#define BASE 4096
#define FILE_MAX (1u << 20)

/* Tests put their own files there. */
static const char *debugfs(void)
{
	const char *dir = getenv("KHO_DEBUGFS"), *root = getenv("KHO_ROOT");
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/sys/kernel/debug/kho",
		 root ? root : "");
	return dir && *dir ? dir : path;
}

static const char *kcore(void)
{
	const char *path = getenv("KHO_KCORE");

	return path && *path ? path : "/proc/kcore";
}

/* A file of debugfs, with a NUL behind it; 0 or -errno. */
static int read_file(const char *name, char **data, size_t *size)
{
	char *path = format("%s/%s", debugfs(), name);
	char *buf = must(malloc(FILE_MAX + 1));
	ssize_t n = 0;
	int fd, ret;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	ret = fd < 0 ? -errno : 0;
	free(path);
	*size = 0;
	while (!ret && *size < FILE_MAX) {
		n = read(fd, buf + *size, FILE_MAX - *size);
		if (n <= 0)
			break;
		*size += (size_t)n;
	}
	if (n < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	buf[*size] = 0;
	*data = buf;
	if (ret)
		free(buf);
	return ret;
}

static int debugfs_fail(const char *name, int code, struct kho_error *err)
{
	if (code == -ENOENT)
		return kho_fail(err, code,
				"the running kernel hands nothing over (no %s): boot it with kho=on, built with CONFIG_KEXEC_HANDOVER_DEBUGFS, and mount debugfs",
				debugfs());
	return kho_fail(err, code, "%s/%s: %s%s", debugfs(), name,
			strerror(-code),
			code == -EACCES ? ": only root may look" : "");
}

/* Numbers, a line each, at most @max; returns how many, 0 without the file. */
static size_t read_numbers(const char *name, uint64_t *numbers, size_t max)
{
	char *text, *at, *end;
	size_t size, n = 0;

	if (read_file(name, &text, &size))
		return 0;
	for (at = text; *at && n < max; at = end + (*end == '\n')) {
		numbers[n] = strtoull(at, &end, 0);
		if (end == at)
			break;
		n++;
	}
	free(text);
	return n;
}

int running_scratch(uint64_t *sizes, size_t max, size_t *n)
{
	char *text;
	size_t size;
	int ret = read_file("out/scratch_len", &text, &size);

	if (ret)
		return ret;
	free(text);
	*n = read_numbers("out/scratch_len", sizes, max);
	return *n ? 0 : -ENODATA;
}

static void read_scratch(struct kernel *kernel)
{
	uint64_t phys[256], len[256];
	size_t n = read_numbers("out/scratch_phys", phys, 256);

	if (!n || read_numbers("out/scratch_len", len, 256) != n)
		return;
	for (size_t i = 0; i < n; i++)
		if (!kernel_add_scratch(kernel, phys[i], len[i]))
			return;
	kernel->scratch_known = true;
}

/*
 * The tracker, from the start of a root FDT: it is in the first property of
 * eight bytes of the root node.
 */
static uint64_t tracker_of(const char *fdt, size_t size)
{
	fdt32_t word[3];
	uint64_t tracker;
	size_t at;

	if (size < sizeof(struct fdt_header))
		return 0;
	/* FDT_BEGIN_NODE and an empty name. */
	at = fdt_off_dt_struct(fdt) + 8;
	while (at <= size && size - at >= sizeof(word)) {
		size_t len;

		memcpy(word, fdt + at, sizeof(word));
		len = fdt32_to_cpu(word[1]);
		at += sizeof(word);
		if (fdt32_to_cpu(word[0]) != FDT_PROP || len > size - at)
			return 0;
		if (len == sizeof(tracker)) {
			memcpy(&tracker, fdt + at, sizeof(tracker));
			return tracker;
		}
		at += (len + 3) & ~(size_t)3;
	}
	return 0;
}

/* A preserved page that begins with the same bytes. */
static uint64_t find_fdt(const struct kernel *kernel,
			 const struct memory *memory, const char *fdt,
			 size_t size)
{
	char *copy = must(malloc(size));
	uint64_t found = 0;

	for (size_t i = 0; i < memory->n_folios && !found; i++) {
		uint64_t phys = folio_phys(memory, i);
		char start[8];

		if (kho_mem_read(kernel->mem, phys, start, sizeof(start)) ||
		    memcmp(start, fdt, sizeof(start)) ||
		    kho_mem_read(kernel->mem, phys, copy, size) ||
		    memcmp(copy, fdt, size))
			continue;
		found = phys;
	}
	free(copy);
	return found;
}

/*
 * debugfs neither says where the root FDT is, nor shows all of it: only as many
 * bytes as it had when its file was made, before it grew. But that is enough
 * for the tracker, and in there is the page.
 */
static int locate_root(struct kernel *kernel, const char *fdt, size_t size,
		       struct kho_error *err)
{
	uint64_t tracker = tracker_of(fdt, size), phys;
	struct memory memory;
	int ret;

	if (!tracker)
		return kho_fail(err, -EBADMSG,
				"%s/out/fdt is not a root FDT, or nothing is preserved",
				debugfs());
	ret = memory_read(&memory, kernel->mem, tracker, err);
	phys = ret ? 0 : find_fdt(kernel, &memory, fdt, size);
	memory_free(&memory);
	if (ret)
		return ret;
	if (!phys)
		return kho_fail(err, -ENOENT,
				"the root FDT is not in a preserved page: try /proc/kcore");
	return kho_dump_root(kernel->core, phys, &kernel->root, err);
}

/* Is it the root FDT that came in? */
static bool is_incoming(const struct kernel *kernel,
			const struct kho_dump_root *root)
{
	size_t size;
	char *in, *copy;
	bool same;

	if (read_file("in/fdt", &in, &size))
		return false;
	copy = must(malloc(size + 1));
	same = kho_mem_read(kernel->mem, root->phys, copy, size) == 0 &&
	       !memcmp(copy, in, size);
	free(copy);
	free(in);
	return same;
}

/*
 * Is it older than what came in: one of the kernels before, whose pages nobody
 * has used yet? The metadata count the kernels.
 */
static bool is_older(const struct kernel *kernel,
		     const struct kho_dump_root *root)
{
	struct kho_linux_metadata metadata;
	struct kho_state *state;
	bool older = false;

	if (!kernel->incoming.kexecs ||
	    kho_state_read(kernel->mem, root->phys, root->size, &state, NULL))
		return false;
	for (size_t i = 0; i < state->n; i++)
		if (!strcmp(state->subtrees[i].name,
			    KHO_KEXEC_METADATA_SUBTREE) &&
		    !kho_linux_metadata(kernel->mem, state->subtrees[i].phys,
					state->subtrees[i].size, &metadata,
					NULL))
			older = metadata.kexecs <= kernel->incoming.kexecs;
	kho_state_free(state);
	return older;
}

/*
 * A kernel that was given a state has no out/fdt (Linux 7.3): look through all
 * of its memory.
 */
static int search_root(struct kernel *kernel, struct kho_error *err)
{
	struct kho_dump_root roots[KHO_DUMP_ROOTS];
	size_t n;
	int ret = kho_dump_find(kernel->core, roots, &n, err);

	for (size_t i = 0; !ret && i < n; i++) {
		if (!roots[i].readable || is_incoming(kernel, &roots[i]) ||
		    is_older(kernel, &roots[i]))
			continue;
		kernel->root = roots[i];
		return 0;
	}
	return ret ? ret :
		     kho_fail(err, -ENOENT,
			      "of the running kernel, only what came in was found");
}

static int find_root(struct kernel *kernel, struct kho_error *err)
{
	size_t size;
	char *fdt;
	int ret = read_file("out/fdt", &fdt, &size);

	if (ret == -ENOENT)
		return search_root(kernel, err);
	if (ret)
		return debugfs_fail("out/fdt", ret, err);
	ret = locate_root(kernel, fdt, size, err);
	free(fdt);
	return ret;
}

static void read_incoming(struct kernel *kernel)
{
	struct kernel_incoming *in = &kernel->incoming;
	struct kho_linux_metadata metadata;
	struct kho_mem_array mem;
	char *data;
	size_t size;

	if (read_file("in/fdt", &data, &size))
		return;
	mem = kho_mem_array(data, size, BASE, 12);
	if (kho_state_read(&mem.mem, BASE, size, &in->state, NULL))
		in->state = NULL;
	free(data);
	if (!in->state)
		return;
	if (read_file("in/sub_fdts/" KHO_KEXEC_METADATA_SUBTREE, &data, &size))
		return;
	mem = kho_mem_array(data, size, BASE, 12);
	if (kho_linux_metadata(&mem.mem, BASE, size, &metadata, NULL) == 0) {
		memcpy(in->release, metadata.release, sizeof(in->release));
		in->kexecs = metadata.kexecs;
	}
	free(data);
}

static int open_kcore(struct kernel *kernel, struct kho_error *err)
{
	const struct kho_dump_opts opts = {
		.size = sizeof(opts),
		.kind = KHO_DUMP_KCORE,
		.page_shift = (unsigned int)__builtin_ctzl(
			(unsigned long)sysconf(_SC_PAGESIZE)),
	};
	int fd = open(kcore(), O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return kho_fail(err, -errno,
				"%s: %m: what the state leads to is read from there, which takes root and CONFIG_PROC_KCORE",
				kcore());
	ret = kho_dump_open(fd, &opts, &kernel->core, err);
	close(fd);
	if (ret)
		return ret;
	kernel->mem = kho_dump_mem(kernel->core);
	kho_dump_info(kernel->core, &kernel->info);
	return 0;
}

int kernel_read_running(const struct kernel_options *options,
			struct kernel *kernel, struct kho_error *err)
{
	char *text;
	size_t size;
	int ret;

	*kernel = (struct kernel){ .options = options, .kind = "running" };
	/* The better reason, when there is nothing. */
	ret = read_file("out/scratch_phys", &text, &size);
	if (ret)
		return debugfs_fail("out/scratch_phys", ret, err);
	free(text);
	ret = open_kcore(kernel, err);
	if (!ret)
		read_incoming(kernel);
	if (!ret && options->fdt)
		ret = kho_dump_root(kernel->core, options->fdt, &kernel->root,
				    err);
	else if (!ret)
		ret = find_root(kernel, err);
	if (!ret)
		ret = kho_state_read(kernel->mem, kernel->root.phys,
				     kernel->root.size, &kernel->state, err);
	if (ret) {
		kernel_free(kernel);
		return ret;
	}
	read_scratch(kernel);
	kernel_follow(kernel);
	return 0;
}
