// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Kernel images. What is accepted can be shown, and says either what the kernel
 * understands or why it has no KHO.
 *
 * The seeds are what tests/image/images.py makes, of each format and each way of
 * packing.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kho/check.h>
#include <kho/image.h>

#define CHECK(condition) ((condition) ? (void)0 : abort())

static void check_text(const char *text, size_t size)
{
	CHECK(strnlen(text, size) < size);
	for (; *text; text++)
		CHECK(isprint((unsigned char)*text));
}

static void check_image(const struct kho_manifest *manifest)
{
	const struct kho_image *image = manifest->image;

	check_text(image->format, sizeof(image->format));
	check_text(image->release, sizeof(image->release));
	check_text(image->missing, sizeof(image->missing));
	check_text(image->cmdline, sizeof(image->cmdline));
	check_text(image->builtin, sizeof(image->builtin));
	CHECK(image->builtin_use <= KHO_BUILTIN_OTHERWISE);
	CHECK(image->format[0] && image->release[0]);
	CHECK(!manifest->n == !!image->missing[0]);
	CHECK(!manifest->n || kho_manifest_find(manifest, "kho"));
}

static void use(const struct kho_manifest *manifest)
{
	struct kho_manifest *again;
	struct kho_report *report;
	char *json = kho_manifest_json(manifest);

	CHECK(json);
	CHECK(!kho_manifest_parse(json, strlen(json), "again", &again, NULL));
	CHECK(again->n == manifest->n && !again->image == !manifest->image);
	kho_manifest_free(again);
	free(json);
	CHECK(!kho_check_manifests(manifest, manifest, NULL, &report, NULL));
	CHECK(manifest->n || report->outcome == KHO_OUTCOME_INCOMPATIBLE);
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
	if (kho_target_read(fd, "fuzz", &manifest, &err)) {
		CHECK(err.code < 0 && err.text[0]);
		return 0;
	}
	if (manifest->image)
		check_image(manifest);
	use(manifest);
	kho_manifest_free(manifest);
	return 0;
}
