/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * A successor for kvstore that passes the preflight and then fails:
 * successor early-exit|early-crash|early-hang|exit|crash|hang|write|close
 *
 * early-: before it attaches. write: to the arena, before it is its own; the
 * others fail between attach and ready. A process that goes on regardless
 * exits with 99. It reads what versions of kvstore up to READS write.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kho/attach.h>
#include <kho/compat.h>
#include <kho/pages.h>
#include <kho/tree.h>

KHO_COMPONENT(kvstore, .write = { 2, 2 }, .read = { 1, READS },
	      .deps = { "kvtable" });
KHO_COMPONENT(kvtable, .write = { 2, 2 }, .read = { 1, READS },
	      .deps = { "kmalloc" });
KHO_COMPONENT(kvclients, .write = { 1, 1 }, .read = { 1, 1 });

static void fail(const char *how)
{
	if (!strcmp(how, "exit"))
		exit(7);
	if (!strcmp(how, "crash"))
		abort();
	while (!strcmp(how, "hang"))
		pause();
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	volatile uint64_t *state;
	struct kho *kho;

	if (!strncmp(how, "early-", 6))
		fail(how + 6);
	if (kho_attach(&kho, NULL, NULL))
		return 98;
	state = kho_subtree(kho, "kvstore", NULL, NULL);
	if (!state)
		return 97;
	fail(how);
	if (!strcmp(how, "write"))
		state[0] = 0;
	if (!strcmp(how, "close"))
		kho_close(kho);
	return 99;
}
