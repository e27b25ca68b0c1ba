// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Manifests from any file, ELF or JSON. One that is accepted can be shown,
 * checked against itself, and read back from its own JSON.
 *
 * The seeds: a stripped shared library with two components in notes of type 1,
 * a library that it needs and a DT_RUNPATH, with section headers and without;
 * notes of both types; .liveupdate_versions; and JSON.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kho/check.h>
#include <kho/manifest.h>

#define CHECK(condition) ((condition) ? (void)0 : abort())

static void read_back(const struct kho_manifest *manifest, const char *json)
{
	struct kho_manifest *again;
	size_t i;

	CHECK(!kho_manifest_parse(json, strlen(json), "fuzz", &again, NULL));
	CHECK(again->n == manifest->n);
	for (i = 0; i < manifest->n; i++) {
		const struct kho_manifest_entry *x = &manifest->entries[i];
		const struct kho_manifest_entry *y = &again->entries[i];

		CHECK(!memcmp(&x->desc, &y->desc, sizeof(x->desc)));
		CHECK(x->bundle == y->bundle);
	}
	kho_manifest_free(again);
}

static void use(const struct kho_manifest *manifest)
{
	struct kho_report *report;
	char *json;
	size_t i;

	CHECK((manifest->n || manifest->image) && manifest->n_sources);
	for (i = 0; i < manifest->n; i++)
		CHECK(kho_manifest_find(manifest,
					manifest->entries[i].desc.name) ==
		      &manifest->entries[i]);
	json = kho_manifest_json(manifest);
	CHECK(json);
	read_back(manifest, json);
	free(json);
	CHECK(!kho_check_manifests(manifest, manifest, NULL, &report, NULL));
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
