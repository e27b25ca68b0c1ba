// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Runs a fuzz target without a fuzzer: over every seed, every truncation of
 * it and every seed with one byte changed. Each seed has a process of its own,
 * so that a crash, a leak or an endless loop says which input did it.
 *
 * Usage: fuzz-NAME SEED-FOLDER [SMALL]
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Seeds up to this size: a byte takes all its 255 other values, in larger ones
 * a few of them. Too much where each input takes long: SMALL says less then.
 */
static size_t small_seed = 512;
/* Work grows with the square of the size. */
#define MAX_SEED (64 * 1024)
/* Seconds that one input may take, sanitizers included. */
#define INPUT_TIMEOUT 20

/* What runs right now; shared with the parent. */
struct progress {
	unsigned long inputs;
	size_t size;
	ssize_t changed; /* offset of the changed byte, or -1 */
	uint8_t value;
};

static void run(struct progress *progress, const uint8_t *data, size_t size)
{
	/* A copy of exactly that size: a sanitizer sees the first byte over. */
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	progress->size = size;
	alarm(INPUT_TIMEOUT);
	LLVMFuzzerTestOneInput(copy, size);
	alarm(0);
	progress->inputs++;
	free(copy);
}

static void run_changed(struct progress *progress, uint8_t *data, size_t size,
			size_t at, uint8_t value)
{
	uint8_t old = data[at];

	if (value == old)
		return;
	progress->changed = (ssize_t)at;
	progress->value = value;
	data[at] = value;
	run(progress, data, size);
	data[at] = old;
}

static void run_all(struct progress *progress, uint8_t *data, size_t size)
{
	progress->changed = -1;
	for (size_t n = 0; n <= size; n++)
		run(progress, data, n);

	for (size_t at = 0; at < size; at++) {
		const uint8_t few[] = {
			0x00,
			0xff,
			data[at] ^ 0x01,
			data[at] ^ 0x80,
			(uint8_t)(data[at] + 1),
			(uint8_t)(data[at] - 1),
		};

		if (size <= small_seed)
			for (unsigned int v = 0; v <= 0xff; v++)
				run_changed(progress, data, size, at,
					    (uint8_t)v);
		else
			for (size_t i = 0; i < sizeof(few); i++)
				run_changed(progress, data, size, at, few[i]);
	}
}

static uint8_t *read_seed(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(MAX_SEED + 1);

	if (!file || !data) {
		printf("Bail out! %s: %s\n", path, strerror(errno));
		exit(1);
	}
	*size = fread(data, 1, MAX_SEED + 1, file);
	fclose(file);
	if (*size > MAX_SEED) {
		printf("Bail out! %s: a seed has at most %d bytes\n", path,
		       MAX_SEED);
		exit(1);
	}
	return data;
}

static int run_seed(int number, const char *path)
{
	struct progress *progress;
	uint8_t *data;
	size_t size;
	int status;
	pid_t child;

	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED)
		abort();
	data = read_seed(path, &size);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		run_all(progress, data, size);
		free(data);
		exit(0);
	}
	free(data);
	if (child < 0 || waitpid(child, &status, 0) != child)
		abort();

	if (status == 0) {
		printf("ok %d - %s: %lu inputs\n", number, path,
		       progress->inputs);
	} else {
		printf("not ok %d - %s: wait status 0x%x\n", number, path,
		       status);
		if (progress->changed < 0)
			printf("# last input: cut to %zu bytes\n",
			       progress->size);
		else
			printf("# last input: byte %zd changed to 0x%02x\n",
			       progress->changed, progress->value);
	}
	munmap(progress, sizeof(*progress));
	return status != 0;
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	struct dirent **seeds;
	int failed = 0;
	int n;

	if (argc == 3)
		small_seed = strtoul(argv[2], NULL, 10);
	n = argc == 2 || argc == 3 ?
		    scandir(argv[1], &seeds, visible, alphasort) :
		    0;
	if (n <= 0) {
		printf("Bail out! usage: %s FOLDER [SMALL], with seeds in the folder\n",
		       argv[0]);
		return 1;
	}
	printf("1..%d\n", n);
	for (int i = 0; i < n; i++) {
		char *path;

		if (asprintf(&path, "%s/%s", argv[1], seeds[i]->d_name) < 0)
			abort();
		failed |= run_seed(i + 1, path);
		free(path);
		free(seeds[i]);
	}
	free(seeds);
	return failed;
}
