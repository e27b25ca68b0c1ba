// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A program of the guest that uses /dev/liveupdate:
 *
 *   sessions make NAME [TOKEN:SIZE:SEALS:POSITION]...   and keep them until killed
 *   sessions take NAME [TOKEN:SIZE:SEALS:POSITION]...   compare them, and finish
 *
 * A file's content follows from its token. Numbers are as strtoull() reads
 * them. Says what is wrong on standard error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Linux' uapi/linux/liveupdate.h */
#define CREATE_SESSION _IO(0xba, 0x00)
#define RETRIEVE_SESSION _IO(0xba, 0x01)
#define PRESERVE_FD _IO(0xba, 0x40)
#define RETRIEVE_FD _IO(0xba, 0x41)
#define FINISH _IO(0xba, 0x42)

struct session_arg {
	uint32_t size;
	int32_t fd;
	char name[64];
};

struct fd_arg {
	uint32_t size;
	int32_t fd;
	uint64_t token;
};

struct finish_arg {
	uint32_t size;
	uint32_t reserved;
};

struct file {
	uint64_t token, size, seals, position;
};

#define CHUNK 65536

static void die(const char *what)
{
	fprintf(stderr, "sessions: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct file parse(const char *text)
{
	struct file file;
	char *end;

	file.token = strtoull(text, &end, 0);
	file.size = strtoull(end + 1, &end, 0);
	file.seals = strtoull(end + 1, &end, 0);
	file.position = strtoull(end + 1, &end, 0);
	return file;
}

/* Byte number @at of a file: the test knows the rule too. */
static uint8_t byte_at(uint64_t token, uint64_t at)
{
	return (uint8_t)((at * 31 + (at >> 12) * 7 + token) & 0xff);
}

static void fill(uint8_t *buf, uint64_t token, uint64_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = byte_at(token, at + i);
}

static size_t chunk(const struct file *file, uint64_t at)
{
	return file->size - at < CHUNK ? file->size - at : CHUNK;
}

static int make_file(const struct file *file)
{
	static uint8_t buf[CHUNK];
	int fd = memfd_create("file", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		die("memfd_create");
	for (uint64_t at = 0; at < file->size; at += CHUNK) {
		size_t len = chunk(file, at);

		fill(buf, file->token, at, len);
		if (pwrite(fd, buf, len, (off_t)at) != (ssize_t)len)
			die("write");
	}
	if (fcntl(fd, F_ADD_SEALS, (int)file->seals))
		die("seals");
	lseek(fd, (off_t)file->position, SEEK_SET);
	return fd;
}

static void compare(int fd, const struct file *file)
{
	static uint8_t want[CHUNK], got[CHUNK];

	errno = EBADMSG;
	if (lseek(fd, 0, SEEK_CUR) != (off_t)file->position)
		die("position");
	if (lseek(fd, 0, SEEK_END) != (off_t)file->size)
		die("size");
	if (fcntl(fd, F_GET_SEALS) != (int)file->seals)
		die("seals");
	for (uint64_t at = 0; at < file->size; at += CHUNK) {
		size_t len = chunk(file, at);

		fill(want, file->token, at, len);
		if (pread(fd, got, len, (off_t)at) != (ssize_t)len ||
		    memcmp(want, got, len) != 0)
			die("content");
	}
}

static int session(const char *name, unsigned long request)
{
	struct session_arg arg = { .size = sizeof(arg) };
	int device = open("/dev/liveupdate", O_RDWR | O_CLOEXEC);

	if (device < 0)
		die("/dev/liveupdate");
	strncpy(arg.name, name, sizeof(arg.name) - 1);
	if (ioctl(device, request, &arg))
		die(name);
	close(device);
	return arg.fd;
}

static void make(int argc, char **argv)
{
	int fd = session(argv[0], CREATE_SESSION);

	for (int i = 1; i < argc; i++) {
		struct file file = parse(argv[i]);
		struct fd_arg arg = { sizeof(arg), make_file(&file),
				      file.token };

		if (ioctl(fd, PRESERVE_FD, &arg))
			die("PRESERVE_FD");
	}
	puts("made");
	fflush(stdout);
	pause();
}

static void take(int argc, char **argv)
{
	struct finish_arg finish = { .size = sizeof(finish) };
	int fd = session(argv[0], RETRIEVE_SESSION);

	for (int i = 1; i < argc; i++) {
		struct file file = parse(argv[i]);
		struct fd_arg arg = { sizeof(arg), -1, file.token };

		if (ioctl(fd, RETRIEVE_FD, &arg))
			die("RETRIEVE_FD");
		compare(arg.fd, &file);
	}
	if (ioctl(fd, FINISH, &finish))
		die("FINISH");
	puts("taken");
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	if (!strcmp(argv[1], "make"))
		make(argc - 2, argv + 2);
	else
		take(argc - 2, argv + 2);
	return 0;
}
