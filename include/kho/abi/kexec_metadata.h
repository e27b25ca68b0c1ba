/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/**
 * DOC: Which kernel it was (component ``kexec-metadata``)
 *
 * The blob of the subtree ``kexec-metadata``. Its version is in it, a number.
 * Linux goes on without a blob whose version it does not know.
 *
 * As in Linux 7.2 and 7.3 (include/linux/kho/abi/kexec_handover.h).
 *
 * This header is a contract: a change needs a new KHO_KEXEC_METADATA_VERSION.
 */
#ifndef KHO_ABI_KEXEC_METADATA_H
#define KHO_ABI_KEXEC_METADATA_H

#include <stdint.h>

#define KHO_KEXEC_METADATA_VERSION 1

/** KHO_KEXEC_METADATA_SUBTREE - name of the entry of the state tree. */
#define KHO_KEXEC_METADATA_SUBTREE "kexec-metadata"

/** KHO_KEXEC_METADATA_RELEASE_SIZE - as that of uname(2), NUL included. */
#define KHO_KEXEC_METADATA_RELEASE_SIZE 65

/**
 * struct kho_kexec_metadata - the blob
 * @version: KHO_KEXEC_METADATA_VERSION
 * @previous_release: of the kernel that hands over, NUL padded
 * @kexec_count: kexecs that handed a state over, this one included
 */
struct kho_kexec_metadata {
	uint32_t version;
	char previous_release[KHO_KEXEC_METADATA_RELEASE_SIZE];
	uint32_t kexec_count;
} __attribute__((packed));

#endif
