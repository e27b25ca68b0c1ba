/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * A counter that survives restart, kill -9 and update. Once a second it counts
 * and says so:
 *
 *     kho run --name counter -- ./minimal
 *     kho update counter ./minimal
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <kho/attach.h>
#include <kho/compat.h>
#include <kho/control.h>
#include <kho/pages.h>
#include <kho/tree.h>

struct counter {
	uint64_t n;
};

KHO_COMPONENT(counter, .write = { 1, 1 }, .read = { 1, 1 });

static int fail(const char *why)
{
	fprintf(stderr, "minimal: %s\n", why);
	return 1;
}

int main(void)
{
	struct counter *counter;
	struct kho_error err;
	struct kho *kho;
	int ret;

	if (kho_attach(&kho, NULL, NULL))
		return 1; /* it has said why */
	counter = kho_subtree(kho, "counter", NULL, NULL);
	if (!counter) {
		counter = kho_alloc_preserve(kho, sizeof(*counter));
		if (!counter)
			return fail(strerror(errno));
		if (kho_add_subtree(kho, "counter", &counter_component, 1,
				    counter, sizeof(*counter), &err))
			return fail(err.text);
	}
	if (kho_ready(kho, &err))
		return fail(err.text);
	setlinebuf(stdout);
	while ((ret = kho_poll(kho, 1000)) == 0)
		printf("%d: %" PRIu64 "\n", (int)getpid(), ++counter->n);
	return ret == 1 ? 0 : fail(strerror(-ret));
}
