// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Files with names in a session of the kernel, see abi/fdnames.h. The index is
 * read with suspicion: another program wrote it, under another kernel.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kho/compat.h>
#include <kho/fdnames.h>
#include <kho/session.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "base/mem.h"
#include "handover/private.h"

/* A program that goes through no kexec does not need it of its successor. */
KHO_COMPONENT(fdnames, .write = { 1, KHO_FDNAMES_VERSION },
	      .read = { 1, KHO_FDNAMES_VERSION }, .deps = { "arena" },
	      .flags = KHO_COMPONENT_STRUCTURE);

static size_t index_size(size_t n)
{
	return sizeof(struct kho_fdnames) +
	       n * sizeof(struct kho_fdnames_entry);
}

static uint32_t index_crc(const struct kho_fdnames *index)
{
	uint32_t crc = crc32c(index, offsetof(struct kho_fdnames, crc));

	return crc32c_more(crc, index->entries,
			   index->count * sizeof(index->entries[0]));
}

/* ---- into the session ---- */

static bool is_arena(const struct kho_named_file *file)
{
	return !strcmp(file->name, KHO_FDNAME_ARENA);
}

/* What a kernel may be unable to preserve; anything else is in the way of all. */
static bool stays_behind(int error)
{
	return error == -ENOENT || error == -EBUSY || error == -EOPNOTSUPP;
}

/* All but the arena, which comes last; all get an entry. */
static int save_files(int session, uint64_t token, struct kho_named_file *files,
		      size_t n, struct kho_fdnames *index,
		      struct kho_error *err)
{
	for (size_t i = 0; i < n; i++) {
		struct kho_fdnames_entry *entry = &index->entries[index->count];
		struct kho_error why;

		entry->token = token + index->count;
		files[i].error =
			is_arena(&files[i]) ?
				0 :
				kho_session_preserve_fd(session, files[i].fd,
							entry->token, &why);
		if (files[i].error && !stays_behind(files[i].error))
			return kho_fail(err, files[i].error, "fdnames: %s: %s",
					files[i].name, why.text);
		if (files[i].error)
			continue;
		strcpy(entry->name, files[i].name);
		index->count++;
	}
	return 0;
}

static int save_index(int session, uint64_t token,
		      const struct kho_fdnames *index, struct kho_error *err)
{
	size_t size = index_size(index->count);
	int fd = memfd_create("kho-custody", MFD_CLOEXEC);
	int ret = fd < 0 ? -errno : file_write(fd, index, size, 0);

	if (ret)
		kho_fail(err, ret,
			 "fdnames: cannot write its index of %zu bytes: %s",
			 size, strerror(-ret));
	else
		ret = kho_session_preserve_fd(session, fd, token, err);
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Of a copy if that takes less memory, which is the kernel's from then on. */
static int save_arena(int session, int fd, uint64_t token,
		      struct kho_error *err)
{
	int copy, ret;

	ret = arena_trimmed_copy(fd, &copy, err);
	if (ret)
		return ret;
	ret = kho_session_preserve_fd(session, copy >= 0 ? copy : fd, token,
				      err);
	if (copy >= 0)
		close(copy);
	return ret;
}

/* When it fails, the arena is not in the session and can be written to. */
static int save(int session, uint64_t token, struct kho_named_file *files,
		size_t n, struct kho_fdnames *index, struct kho_error *err)
{
	size_t arena = 0, place = 0;
	int ret;

	index->magic = KHO_FDNAMES_MAGIC;
	index->version = KHO_FDNAMES_VERSION;
	ret = save_files(session, token + 1, files, n, index, err);
	if (ret)
		return ret;
	index->crc = index_crc(index);
	ret = save_index(session, token, index, err);
	while (arena < n && !is_arena(&files[arena]))
		arena++;
	if (ret || arena == n)
		return ret;
	while (strcmp(index->entries[place].name, KHO_FDNAME_ARENA))
		place++;
	return save_arena(session, files[arena].fd, index->entries[place].token,
			  err);
}

static int check_files(const struct kho_named_file *files, size_t n,
		       struct kho_error *err)
{
	size_t arenas = 0;

	if (n > KHO_FDNAMES_MAX)
		return kho_fail(err, -EINVAL,
				"fdnames: %zu files, at most %d can be kept", n,
				KHO_FDNAMES_MAX);
	for (size_t i = 0; i < n; i++) {
		if (!fd_name_ok(files[i].name))
			return kho_fail(err, -EINVAL,
					"fdnames: '%.63s' cannot be a file's name: it takes 1 to 63 of [0-9a-zA-Z._-]",
					files[i].name);
		arenas += is_arena(&files[i]);
	}
	return arenas > 1 ?
		       kho_fail(err, -EINVAL, "fdnames: %zu files are named %s",
				arenas, KHO_FDNAME_ARENA) :
		       0;
}

int kho_fdnames_save(int session, uint64_t token, struct kho_named_file *files,
		     size_t n, struct kho_error *err)
{
	struct kho_fdnames *index;
	int ret = check_files(files, n, err);

	if (ret)
		return ret;
	if (n > UINT64_MAX - token)
		return kho_fail(err, -EINVAL,
				"fdnames: there are no %zu tokens from %llu on",
				n + 1, (unsigned long long)token);
	index = calloc(1, index_size(n));
	ret = index ? save(session, token, files, n, index, err) :
		      kho_fail(err, -ENOMEM, "fdnames: out of memory");
	free(index);
	return ret;
}

/* ---- out of the session ---- */

static int check_entries(const struct kho_fdnames *index, struct kho_error *err)
{
	static const char zeros[KHO_FDNAME_SIZE];
	size_t arenas = 0;

	for (uint32_t i = 0; i < index->count; i++) {
		const char *name = index->entries[i].name;
		size_t len = strnlen(name, KHO_FDNAME_SIZE);

		if (!fd_name_ok(name) ||
		    memcmp(name + len, zeros, KHO_FDNAME_SIZE - len))
			return kho_fail(err, -EBADMSG,
					"fdnames: the index is damaged: file %u has no name",
					i);
		arenas += !strcmp(name, KHO_FDNAME_ARENA);
	}
	return arenas > 1 ?
		       kho_fail(err, -EBADMSG,
				"fdnames: the index is damaged: %zu files are named %s",
				arenas, KHO_FDNAME_ARENA) :
		       0;
}

int fdnames_read(int fd, struct kho_fdnames **result, struct kho_error *err)
{
	struct kho_fdnames header, *index;
	struct stat st;
	size_t size;
	int ret;

	if (fstat(fd, &st))
		return kho_fail(err, -errno, "fdnames: the index: %s",
				strerror(errno));
	if (mem_read_file(fd, 0, &header, sizeof(header)))
		return kho_fail(err, -EBADMSG,
				"fdnames: the index is cut off: %lld bytes",
				(long long)st.st_size);
	if (header.magic != KHO_FDNAMES_MAGIC)
		return kho_fail(err, -EBADMSG,
				"fdnames: no index: magic is %#llx, expected %#llx",
				(unsigned long long)header.magic,
				KHO_FDNAMES_MAGIC);
	if (header.version != KHO_FDNAMES_VERSION)
		return kho_fail(err, -EPROTONOSUPPORT,
				"fdnames: its format is custody-v%u, this program reads custody-v%u only",
				header.version, KHO_FDNAMES_VERSION);
	size = index_size(header.count);
	if (header.count > KHO_FDNAMES_MAX || (uint64_t)st.st_size != size)
		return kho_fail(err, -EBADMSG,
				"fdnames: the index is damaged: %u files in %lld bytes",
				header.count, (long long)st.st_size);
	index = malloc(size);
	if (!index)
		return kho_fail(err, -ENOMEM, "fdnames: out of memory");
	/* A second time, header and all: what counts is what was checked. */
	if (mem_read_file(fd, 0, index, size) ||
	    memcmp(index, &header, sizeof(header)) ||
	    index->crc != index_crc(index) || index->reserved)
		ret = kho_fail(err, -EBADMSG,
			       "fdnames: the index is damaged: its checksum is wrong");
	else
		ret = check_entries(index, err);
	if (ret)
		free(index);
	else
		*result = index;
	return ret;
}

static int load_files(int session, const struct kho_fdnames *index,
		      struct kho_named_file **result, size_t *n,
		      struct kho_error *err)
{
	struct kho_named_file *files = calloc(index->count + 1, sizeof(*files));

	if (!files)
		return kho_fail(err, -ENOMEM, "fdnames: out of memory");
	for (*n = 0; *n < index->count; (*n)++) {
		const struct kho_fdnames_entry *entry = &index->entries[*n];
		int fd = kho_session_retrieve_fd(session, entry->token, err);

		if (fd < 0) {
			while (*n)
				close(files[--*n].fd);
			free(files);
			return fd != -ENOENT ?
				       fd :
				       kho_fail(err, -EBADMSG,
						"fdnames: %s is not in the session, although the index says so",
						entry->name);
		}
		strcpy(files[*n].name, entry->name);
		files[*n].fd = fd;
	}
	*result = files;
	return 0;
}

int kho_fdnames_load(int session, uint64_t token, struct kho_named_file **files,
		     size_t *n, struct kho_error *err)
{
	struct kho_fdnames *index;
	int fd = kho_session_retrieve_fd(session, token, err), ret;

	if (fd < 0)
		return fd;
	ret = fdnames_read(fd, &index, err);
	close(fd);
	if (ret)
		return ret;
	ret = load_files(session, index, files, n, err);
	free(index);
	return ret;
}

void kho_fdnames_free(struct kho_named_file *files)
{
	free(files);
}
