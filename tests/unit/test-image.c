// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Kernel images through the library: whatever fails, nothing is lost. What can
 * be learnt from them is tests/image's.
 *
 * Usage: test-image SEED-FOLDER. Linked with --wrap, so that allocations fail.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <kho/image.h>

#include "heap.h"

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

void *__wrap_realloc(void *old, size_t size)
{
	return heap_fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
	return heap_fails() ? NULL : __real_strdup(text);
}

static const char *seeds;

static size_t open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Calls @read with ever more memory, until it succeeds. */
static void starve(int (*read)(const char *path, struct kho_manifest **manifest,
			       struct kho_error *err),
		   const char *path)
{
	struct kho_manifest *manifest;
	struct kho_error err;
	size_t before = open_fds();
	int n, ret = -ENOMEM;

	for (n = 0; ret; n++) {
		assert_in_range(n, 0, 1000);
		fail_in = n;
		ret = read(path, &manifest, &err);
		fail_in = -1;
		assert_int_equal(open_fds(), before);
		if (!ret)
			continue;
		if (ret != -ENOMEM)
			print_message("%s: %d: %s\n", path, ret, err.text);
		assert_int_equal(ret, -ENOMEM);
		assert_int_equal(err.code, -ENOMEM);
		assert_string_equal(err.text, "out of memory");
	}
	assert_in_range(n, 4, 1000);
	assert_non_null(manifest->image);
	kho_manifest_free(manifest);
}

static void out_of_memory(void **state)
{
	struct dirent *entry;
	DIR *dir = opendir(seeds);
	char path[PATH_MAX];
	int n = 0;

	(void)state;
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", seeds, entry->d_name);
		starve(kho_target_open, path);
		n++;
	}
	closedir(dir);
	assert_in_range(n, 10, 100);
}

static void put(const char *root, const char *name, const void *bytes,
		size_t len)
{
	char path[PATH_MAX], *slash;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	for (slash = path + strlen(root); (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		assert_true(!mkdir(path, 0700) || errno == EEXIST);
		*slash = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	close(fd);
}

/* The release is that of the seed. */
static void put_kernel(const char *root)
{
	char seed[PATH_MAX], image[4096], fdt[512];
	int fd, len;

	snprintf(seed, sizeof(seed), "%s/vmlinux", seeds);
	fd = open(seed, O_RDONLY);
	len = (int)read(fd, image, sizeof(image));
	assert_in_range(len, 1, sizeof(image) - 1);
	close(fd);
	assert_false(fdt_create_empty_tree(fdt, sizeof(fdt)));
	assert_false(fdt_setprop_string(fdt, 0, "compatible", "kho-v4"));
	assert_true(fdt_add_subnode(fdt, 0, "LUO") > 0);
	put(root, "proc/sys/kernel/osrelease", "7\n", 2);
	put(root, "proc/cmdline", "kho=on\n", 7);
	put(root, "boot/config-7", "CONFIG_KEXEC_HANDOVER=y\n", 24);
	put(root, "boot/vmlinuz-7", image, (size_t)len);
	put(root, "sys/kernel/debug/kho/out/fdt", fdt, sizeof(fdt));
	put(root, "sys/kernel/debug/kho/out/sub_fdts/LUO", "luo-v5\0", 8);
}

static int make_root(void **state)
{
	static char root[] = "/tmp/kho-test-image-XXXXXX";

	*state = root;
	return !mkdtemp(root);
}

static int remove_root(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", (char *)*state);
	return system(command);
}

static void running_out_of_memory(void **state)
{
	const char *root = *state;
	char path[PATH_MAX];

	put_kernel(root);
	starve(kho_manifest_running, root);
	snprintf(path, sizeof(path), "%s/sys/kernel/debug/kho/out/fdt", root);
	unlink(path);
	put(root, "boot/config-7", "CONFIG_SMP=y\n", 13);
	snprintf(path, sizeof(path), "%s/boot/vmlinuz-7", root);
	unlink(path);
	starve(kho_manifest_running, root);
}

/* The fd stays open, and where it was. */
static void descriptor(void **state)
{
	struct kho_manifest *manifest;
	struct kho_error err;
	char path[PATH_MAX];
	int fd, ends[2];

	(void)state;
	snprintf(path, sizeof(path), "%s/bzimage", seeds);
	fd = open(path, O_RDONLY);
	assert_int_equal(lseek(fd, 100, SEEK_SET), 100);
	assert_false(kho_target_read(fd, "name", &manifest, &err));
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 100);
	close(fd);
	assert_string_equal(manifest->target, "name");
	assert_string_equal(manifest->sources[0], "name");
	assert_string_equal(manifest->sources[1], "name: version strings");
	assert_string_equal(manifest->image->release, "7");
	assert_string_equal(manifest->image->format, "bzImage, gzip, vmlinux");
	assert_string_equal(manifest->image->missing, "");
	kho_manifest_free(manifest);

	assert_false(pipe(ends));
	assert_int_equal(kho_target_read(ends[0], "pipe", &manifest, &err),
			 -ENOEXEC);
	close(ends[0]);
	close(ends[1]);
}

/* The kernel of this machine: whatever comes out is said. */
static void running(void **state)
{
	struct kho_manifest *manifest;
	struct kho_error err;

	(void)state;
	if (kho_manifest_running(NULL, &manifest, &err)) {
		assert_true(err.code < 0 && err.text[0]);
		return;
	}
	assert_string_equal(manifest->target, "running");
	assert_true(!manifest->n == !!manifest->image->missing[0]);
	kho_manifest_free(manifest);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test_setup_teardown(running_out_of_memory,
						make_root, remove_root),
		cmocka_unit_test(descriptor),
		cmocka_unit_test(running),
	};

	if (argc != 2)
		return 1;
	seeds = argv[1];
	return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
