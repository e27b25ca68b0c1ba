// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Manifests from any file. One that is accepted can be shown and checked
 * against itself.
 *
 * The seeds are a stripped shared library with two components, a library that
 * it needs and a DT_RUNPATH, with section headers and without.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kho/check.h>
#include <kho/manifest.h>

#define CHECK(condition) ((condition) ? (void)0 : abort())

static void use(const struct kho_manifest *manifest)
{
	struct kho_report *report;
	char *json;
	size_t i;

	CHECK(manifest->n && manifest->n_sources);
	for (i = 0; i < manifest->n; i++)
		CHECK(kho_manifest_find(manifest,
					manifest->entries[i].desc.name) ==
		      &manifest->entries[i]);
	json = kho_manifest_json(manifest);
	CHECK(json);
	free(json);
	CHECK(!kho_check_manifests(manifest, manifest, &report));
	json = kho_report_json(report);
	CHECK(json);
	free(json);
	kho_report_free(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct kho_manifest *manifest;
	struct kho_error err;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	CHECK(fd >= 0 && !ftruncate(fd, (off_t)size));
	CHECK(pwrite(fd, data, size, 0) == (ssize_t)size);
	if (!kho_manifest_read(fd, "fuzz", &manifest, &err)) {
		use(manifest);
		kho_manifest_free(manifest);
	} else {
		CHECK(err.code < 0 && err.text[0]);
	}
	return 0;
}
