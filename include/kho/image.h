/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Kernel images
 *
 * A kernel is a program whose manifest can be read from its file, like any
 * other: kho_target_read() takes an x86 bzImage, a vmlinux, an arm64 Image,
 * an EFI zboot image and a UKI, packed with gzip, xz, lzma, zstd, lz4 or bzip2,
 * and arm64 Images and vmlinux files that were compressed as a whole. Nothing
 * is run, and everything is found through the headers.
 *
 * What a kernel understands is learnt, best first, from ``.note.kho``, from
 * ``.liveupdate_versions`` and from the version strings in its data, such as
 * ``kho-v4``, together with the configuration that was built into it
 * (CONFIG_IKCONFIG), if it was. Strings promise no range: where two of them have
 * different versions of a component, it cannot be told which counts. The sources of the manifest say which it was:
 * ``vmlinuz-7.3: version strings``.
 *
 * A file is hostile. What is packed may have at most KHO_IMAGE_MAX bytes, packed
 * and unpacked; it is unpacked once, through small windows, into a memfd, in
 * which what is zero takes no memory. Unpackers use at most
 * KHO_IMAGE_UNPACK_MEMORY bytes besides.
 */
#ifndef KHO_IMAGE_H
#define KHO_IMAGE_H

#include <kho/error.h>
#include <kho/manifest.h>

#ifdef __cplusplus
extern "C" {
#endif

/** KHO_IMAGE_MAX - bytes that a packed kernel has at most when unpacked. */
#define KHO_IMAGE_MAX (512u << 20)

/** KHO_IMAGE_UNPACK_MEMORY - bytes that an unpacker uses at most. */
#define KHO_IMAGE_UNPACK_MEMORY (192u << 20)

/**
 * kho_target_read() - read the manifest of a program, a kernel image or JSON
 * @fd: open for reading; not closed; its offset is not used
 * @path: the file's path, for $ORIGIN and messages
 * @manifest: result; free with kho_manifest_free()
 * @err: why not; may be NULL
 *
 * As kho_manifest_read(), and kernel images too. Thread-safe.
 */
int kho_target_read(int fd, const char *path, struct kho_manifest **manifest,
		    struct kho_error *err);

/**
 * kho_target_open() - open a file and read its manifest
 * @path: a program, a kernel image or JSON
 * @manifest: result; free with kho_manifest_free()
 * @err: why not; may be NULL
 *
 * As kho_manifest_open(), and kernel images too. Thread-safe.
 */
int kho_target_open(const char *path, struct kho_manifest **manifest,
		    struct kho_error *err);

/**
 * kho_manifest_running() - the manifest of the kernel that runs
 * @root: where its files are, such as "/host" in a container; NULL: "/"
 * @manifest: result; free with kho_manifest_free()
 * @err: why not; may be NULL
 *
 * Put together from what can be read of: the state tree that it would hand
 * over (debugfs, as root), its configuration (/proc/config.gz, or the file
 * beside its image), its command line, and its image in /boot or
 * /usr/lib/modules. What KHO or LUO does is not in it when they are switched
 * off. The target is "running"; the sources are the files that were used.
 * Thread-safe.
 *
 * Return: 0; -ENODATA when too little of it could be read to tell; -EBADMSG
 * when the image is not that of the running kernel; as kho_manifest_read().
 */
int kho_manifest_running(const char *root, struct kho_manifest **manifest,
			 struct kho_error *err);

#ifdef __cplusplus
}
#endif

#endif
