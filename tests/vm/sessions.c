// SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause
/*
 * A program of the guest that uses /dev/liveupdate:
 *
 *   sessions make <LIST   make these sessions, and keep them until killed
 *   sessions take <LIST   retrieve them, compare them, and finish
 *
 * A line of LIST is a session, NAME [FILE]..., and a FILE is a memfd:
 * TOKEN:SIZE[:SEALS[:POSITION[:HOLES]]], in numbers as strtoull() reads them.
 * Each HOLESth page, from the first on, is not written; 0: all are. In a NAME,
 * %41 is the byte 0x41. Says what is wrong on standard error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
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
	uint64_t token, size, seals, position, holes;
};

#define PAGE 4096

static void die(const char *what)
{
	fprintf(stderr, "sessions: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct file parse(const char *text)
{
	struct file file = { 0 };
	uint64_t *const numbers[] = { &file.token, &file.size, &file.seals,
				      &file.position, &file.holes };
	char *end;

	for (size_t i = 0; i < 5; i++) {
		*numbers[i] = strtoull(text, &end, 0);
		if (*end != ':')
			break;
		text = end + 1;
	}
	return file;
}

/*
 * What is in a page of a file: the token, the page's number, and a tail that is
 * the same in all, or this would take long under emulation. NULL: a hole. The
 * test knows the rule too.
 */
static const void *content(const struct file *file, uint64_t number)
{
	static union {
		uint64_t head[2];
		uint8_t bytes[PAGE];
	} page;

	if (file->holes && number % file->holes == 0)
		return NULL;
	for (size_t i = sizeof(page.head); i < PAGE && !page.bytes[PAGE - 1];
	     i++)
		page.bytes[i] = (uint8_t)(i * 31);
	page.head[0] = file->token;
	page.head[1] = number;
	return &page;
}

/* Of the page at @at. */
static size_t length(const struct file *file, uint64_t at)
{
	return file->size - at < PAGE ? file->size - at : PAGE;
}

static int make_file(const struct file *file)
{
	int fd = memfd_create("file", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)file->size))
		die("memfd");
	for (uint64_t at = 0; at < file->size; at += PAGE) {
		const void *page = content(file, at / PAGE);
		size_t len = length(file, at);

		if (page && pwrite(fd, page, len, (off_t)at) != (ssize_t)len)
			die("write");
	}
	if (fcntl(fd, F_ADD_SEALS, (int)file->seals))
		die("seals");
	lseek(fd, (off_t)file->position, SEEK_SET);
	return fd;
}

static void compare(int fd, const struct file *file)
{
	static const uint8_t hole[PAGE];
	static uint8_t got[PAGE];

	errno = EBADMSG;
	if (lseek(fd, 0, SEEK_CUR) != (off_t)file->position)
		die("position");
	if (lseek(fd, 0, SEEK_END) != (off_t)file->size)
		die("size");
	if (fcntl(fd, F_GET_SEALS) != (int)file->seals)
		die("seals");
	for (uint64_t at = 0; at < file->size; at += PAGE) {
		const void *page = content(file, at / PAGE);
		size_t len = length(file, at);

		if (pread(fd, got, len, (off_t)at) != (ssize_t)len ||
		    memcmp(got, page ?: hole, len) != 0)
			die("content");
	}
}

static void parse_name(const char *text, char *name)
{
	unsigned int byte;

	for (size_t i = 0; *text && i < 63; i++) {
		if (sscanf(text, "%%%2x", &byte) == 1) {
			name[i] = (char)byte;
			text += 3;
		} else {
			name[i] = *text++;
		}
	}
}

/* @text: the session and its files, as in a line. */
static void do_session(int device, bool make, char *text)
{
	struct session_arg session = { .size = sizeof(session) };
	struct finish_arg finish = { .size = sizeof(finish) };
	const char *word = strtok(text, " ");

	if (!word)
		return;
	parse_name(word, session.name);
	if (ioctl(device, make ? CREATE_SESSION : RETRIEVE_SESSION, &session))
		die(word);
	while ((word = strtok(NULL, " "))) {
		struct file file = parse(word);
		struct fd_arg arg = { .size = sizeof(arg),
				      .token = file.token };

		if (make)
			arg.fd = make_file(&file);
		if (ioctl(session.fd, make ? PRESERVE_FD : RETRIEVE_FD, &arg))
			die(word);
		if (!make)
			compare(arg.fd, &file);
		close(arg.fd);
	}
	if (make)
		return;
	if (ioctl(session.fd, FINISH, &finish))
		die("FINISH");
	close(session.fd);
}

int main(int argc, char **argv)
{
	bool make = argc == 2 && !strcmp(argv[1], "make");
	int device = open("/dev/liveupdate", O_RDWR | O_CLOEXEC);
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	if (argc != 2 || (!make && strcmp(argv[1], "take") != 0))
		return 2;
	if (device < 0)
		die("/dev/liveupdate");
	while ((len = getline(&line, &size, stdin)) > 0) {
		line[len - (line[len - 1] == '\n')] = 0;
		do_session(device, make, line);
	}
	free(line);
	close(device);
	puts(make ? "made" : "taken");
	fflush(stdout);
	if (make)
		pause();
	return 0;
}
