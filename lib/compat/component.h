/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Components and composites, for the floors above. */
#ifndef KHO_COMPAT_COMPONENT_H
#define KHO_COMPAT_COMPONENT_H

#include <kho/compat.h>

#pragma GCC visibility push(hidden)

/* Put the tokens behind the base into canonical order. */
void composite_sort(struct kho_composite *composite);

/* Is @desc well formed, wherever it comes from: 0 or -EINVAL. */
int desc_check(const struct kho_component_desc *desc, struct kho_error *err);

/* The newest registered component; the others follow in ->next. */
const struct kho_component *component_first(void);

#pragma GCC visibility pop

#endif
