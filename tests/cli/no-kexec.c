// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * Preloaded into kho: no kernel is loaded. kexec_file_load(2) fails with the
 * errno $KEXEC_ERROR, or if that is 0 succeeds; what was on the command line goes
 * to the file $KEXEC_LOG.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

long syscall(long number, ...)
{
	const char *error = getenv("KEXEC_ERROR"), *log = getenv("KEXEC_LOG");
	long arg[5];
	va_list ap;
	FILE *file;

	va_start(ap, number);
	for (int i = 0; i < 5; i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	if (number != SYS_kexec_file_load || !error)
		abort();
	file = log ? fopen(log, "w") : NULL;
	if (file) {
		fwrite((const char *)arg[3], 1, (size_t)arg[2], file);
		fclose(file);
	}
	errno = atoi(error);
	return errno ? -1 : 0;
}

int reboot(int how)
{
	(void)how;
	abort();
}
