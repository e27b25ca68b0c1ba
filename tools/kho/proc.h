/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What /proc says of a process. */
#ifndef TOOLS_KHO_PROCESS_H
#define TOOLS_KHO_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* Is @pid a child of @ancestor, or a child's child, or @ancestor itself? */
bool process_descends(pid_t pid, pid_t ancestor);

/* Sends SIGKILL to the children of this process. */
void process_kill_children(void);

/*
 * Opens the file that a process executes, also when it has been deleted.
 * @flags: of open(), O_CLOEXEC is added
 * @path: where it is, or was; to free()
 * Return: the fd or a negative errno.
 */
int process_exe(pid_t pid, int flags, char **path);

/* A process's arguments, NULL-terminated, in one block to free(), or NULL. */
char **process_argv(pid_t pid);

/*
 * A process other than this one that has a file or device open; 0: none that
 * this one may look into.
 * @name: of the process
 */
pid_t process_holding(const char *path, char name[16]);

#endif
