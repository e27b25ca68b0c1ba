/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/*
 * Connections: accepted, served, and handed over.
 *
 * At freeze, each connection's socket goes to the successor. What we know of
 * it becomes an entry of a chain of blocks, in the same order, and what is in
 * its buffers (half a command, unsent replies) goes behind the chain's root,
 * into a blob of the state tree. The successor goes on with the next byte; a
 * client sees no more than a pause. When the handover is aborted all that is
 * dropped and we go on ourselves. After a crash the connections are gone, and
 * what was left behind is dropped too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <kho/compat.h>
#include <kho/pages.h>
#include <kho/tree.h>
#include <kho/update.h>

#include "kvstore.h"

#define SUBTREE "kvclients"
#define CLIENT_FD "client"

/* Names of the listening sockets; in the order of server->listeners. */
static const char *const listener_fds[] = { "tcp", "unix" };

/* Bytes taken from a socket at once. */
#define READ_SIZE (64ul << 10)
/* Replies that a client may leave unread before its commands have to wait. */
#define UNREAD_MAX (1ul << 20)

/**
 * struct kvclient - a connection as it is handed over
 * @id: as in struct client
 * @in: bytes received and not executed
 * @out: bytes of replies that were not sent
 * @closing: as in struct client
 * @name: as in struct client
 */
struct kvclient {
	uint64_t id;
	uint64_t in;
	uint64_t out;
	uint64_t closing;
	char name[CLIENT_NAME_SIZE];
};

/**
 * struct kvclients - all connections as they are handed over
 * @entries: chain of struct kvclient
 * @bytes: for each connection first those of @in, then those of @out
 */
struct kvclients {
	struct kho_block_root entries;
	char bytes[];
};

/* Takes what belongs to a connection from the bytes that are left. */
static bool take_bytes(uint64_t *left, const struct kvclient *saved)
{
	if (saved->in > *left || saved->out > *left - saved->in)
		return false;
	*left -= saved->in + saved->out;
	return true;
}

static int check_entry(const void *entry, size_t size, uint64_t index,
		       void *left)
{
	(void)size;
	(void)index;
	return take_bytes(left, entry) ? 0 : 1;
}

/* Bytes may be left: a freeze that was killed did not come to all entries. */
static int check_clients(uint32_t version, const struct kho_blob *blob,
			 struct kho_error *why)
{
	struct kvclients head;
	uint64_t left;
	int ret = 1;

	(void)version;
	if (blob->size >= sizeof(head) &&
	    !kho_mem_read(blob->mem, blob->phys, &head, sizeof(head))) {
		left = blob->size - sizeof(head);
		ret = kho_block_walk(blob->mem, 0, sizeof(struct kvclient),
				     head.entries.first.phys, check_entry,
				     &left, why);
	}
	if (ret == 1)
		return kho_fail(why, -EBADMSG, "subtree '%s' is cut off",
				blob->subtree);
	return ret;
}

static const struct kho_component_ops kvclients_ops = {
	.check = check_clients,
};
KHO_COMPONENT_OPS(kvclients, &kvclients_ops, .write = { 1, 1 },
		  .read = { 1, 1 }, .deps = { "block" },
		  .flags = KHO_COMPONENT_CHECK);

/* ---- one connection ---- */

static struct client *client_new(struct server *server, int fd, uint64_t id)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->fd = fd;
	client->id = id;
	resp_parser_init(&client->parser);
	client->next = server->clients;
	client->prev = &server->clients;
	if (client->next)
		client->next->prev = &client->next;
	server->clients = client;
	server->nr_clients++;
	return client;
}

static void watch_listeners(struct server *server, uint32_t events)
{
	struct epoll_event event = { .events = events };
	size_t i;

	for (i = 0; i < 2; i++) {
		event.data.ptr = &server->listeners[i];
		if (server->listeners[i] >= 0)
			epoll_ctl(server->epoll, EPOLL_CTL_MOD,
				  server->listeners[i], &event);
	}
	server->paused = !events;
}

static void client_free(struct server *server, struct client *client)
{
	*client->prev = client->next;
	if (client->next)
		client->next->prev = client->prev;
	server->nr_clients--;
	/* Closing is not enough: around a handover others have the socket too. */
	epoll_ctl(server->epoll, EPOLL_CTL_DEL, client->fd, NULL);
	close(client->fd);
	resp_parser_free(&client->parser);
	buf_free(&client->in);
	buf_free(&client->out);
	free(client);
	if (server->paused)
		watch_listeners(server, EPOLLIN);
}

/* Executes what is there, as long as the client reads its replies. */
static void execute(struct server *server, struct client *client)
{
	int ret;

	while (!client->closing && buf_left(&client->out) < UNREAD_MAX) {
		ret = resp_parse(&client->parser, &client->in);
		if (!ret)
			break;
		if (ret < 0) {
			resp_error(&client->out, "ERR Protocol error: %s",
				   client->parser.error);
			client->closing = true;
			break;
		}
		if (client->parser.argc)
			command_run(server, client);
		resp_next(&client->parser, &client->in);
	}
}

/* False when the connection is broken. */
static bool flush(struct client *client)
{
	struct buf *out = &client->out;
	ssize_t n;

	while (buf_left(out)) {
		n = send(client->fd, out->data + out->pos, buf_left(out),
			 MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		buf_consume(out, (size_t)n);
	}
	return true;
}

static bool watch(struct server *server, struct client *client)
{
	size_t unread = buf_left(&client->out);
	struct epoll_event event = { .data.ptr = client };

	if (!client->closing && unread < UNREAD_MAX)
		event.events |= EPOLLIN;
	if (unread)
		event.events |= EPOLLOUT;
	if (event.events == client->events)
		return true;
	if (epoll_ctl(server->epoll,
		      client->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
		      client->fd, &event))
		return false;
	client->events = event.events;
	return true;
}

/* Does all that can be done without waiting; the client may be gone then. */
static void serve(struct server *server, struct client *client)
{
	bool waited, ok;

	do {
		execute(server, client);
		waited = buf_left(&client->out) >= UNREAD_MAX;
		ok = flush(client);
	} while (ok && waited && buf_left(&client->out) < UNREAD_MAX);
	ok = ok && !client->in.failed && !client->out.failed;
	if (!ok || (client->closing && !buf_left(&client->out)) ||
	    !watch(server, client))
		client_free(server, client);
}

static void receive(struct server *server, struct client *client)
{
	char *p = buf_reserve(&client->in, READ_SIZE);
	ssize_t n = p ? recv(client->fd, p, READ_SIZE, 0) : -1;

	if (p && n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		client->in.len += (size_t)n;
	else if (n < 0 || !buf_left(&client->out))
		client->out.failed = true;
	else
		client->closing = true;
	serve(server, client);
}

/* ---- listening ---- */

static void accept_clients(struct server *server, int listener)
{
	struct client *client;
	int one = 1, fd;

	for (;;) {
		fd = accept4(listener, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
			/* They wait in the queue until somebody else goes. */
			watch_listeners(server, 0);
			return;
		}
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		client = client_new(server, fd, ++server->last_id);
		if (!client)
			close(fd);
		else if (!watch(server, client))
			client_free(server, client);
	}
}

static int listen_tcp(struct server *server, struct kho_error *err)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(server->port) };
	int fd, one = 1, ret;

	if (inet_pton(AF_INET, server->bind, &addr.sin_addr) != 1)
		return kho_fail(err, -EINVAL, "--bind %s: not an IPv4 address",
				server->bind);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 &&
	    !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) &&
	    !bind(fd, (struct sockaddr *)&addr, sizeof(addr)) &&
	    !listen(fd, SOMAXCONN))
		return fd;
	ret = kho_fail(err, -errno, "cannot listen on %s port %u: %s",
		       server->bind, server->port, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

/* A socket file that nobody listens on is left from a crash. */
static int listen_unix(struct server *server, struct kho_error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, ret;

	if (strlen(server->unix_path) >= sizeof(addr.sun_path))
		return kho_fail(err, -ENAMETOOLONG,
				"--unix %s: a path may have at most %zu bytes",
				server->unix_path, sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, server->unix_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) &&
	    errno == ECONNREFUSED)
		unlink(server->unix_path);
	if (fd >= 0 && !bind(fd, (struct sockaddr *)&addr, sizeof(addr)) &&
	    !listen(fd, SOMAXCONN))
		return fd;
	ret = kho_fail(err, -errno, "cannot listen on %s: %s",
		       server->unix_path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

static void learn_port(struct server *server)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);

	if (!getsockname(server->listeners[0], (struct sockaddr *)&addr, &len))
		server->port = ntohs(addr.sin_port);
}

/* Sockets that came with the arena are used as they are. */
int clients_listen(struct server *server, struct kho_error *err)
{
	size_t i;
	int fd;

	for (i = 0; i < 2; i++)
		server->listeners[i] =
			kho_take_fd(server->kho, listener_fds[i]);
	if (server->listeners[0] < 0) {
		fd = listen_tcp(server, err);
		if (fd < 0)
			return fd;
		server->listeners[0] = fd;
	}
	learn_port(server);
	if (server->listeners[1] < 0 && server->unix_path) {
		fd = listen_unix(server, err);
		if (fd < 0)
			return fd;
		server->listeners[1] = fd;
	}
	return 0;
}

/* ---- handing over ---- */

static char *save_bytes(char *to, const struct buf *buf)
{
	size_t len = buf_left(buf);

	if (len)
		memcpy(to, buf->data + buf->pos, len);
	return to + len;
}

/* There is room for the entry; returns where the next one's bytes go. */
static char *save(struct kho_blocks *entries, const struct client *client,
		  char *to)
{
	struct kvclient saved = {
		.id = client->id,
		.in = buf_left(&client->in),
		.out = buf_left(&client->out),
		.closing = client->closing,
	};

	memcpy(saved.name, client->name, sizeof(saved.name));
	kho_block_append(entries, &saved);
	return save_bytes(save_bytes(to, &client->in), &client->out);
}

static void drop_saved(struct server *server)
{
	void *blob = kho_subtree(server->kho, SUBTREE, NULL, NULL);

	if (!blob || kho_remove_subtree(server->kho, SUBTREE))
		return;
	kho_block_destroy(server->saved);
	server->saved = NULL;
	kho_unpreserve_free(server->kho, blob);
}

/* On failure, what was done is left to drop_saved(). */
static int save_all(struct server *server)
{
	size_t size = sizeof(struct kvclients);
	struct kvclients *blob;
	struct client *client;
	char *to;
	int ret;

	for (client = server->clients; client; client = client->next)
		size += buf_left(&client->in) + buf_left(&client->out);
	blob = kho_alloc_preserve(server->kho, size);
	if (!blob)
		return -errno;
	ret = kho_add_subtree(server->kho, SUBTREE, &kvclients_component, 0,
			      blob, size);
	if (ret) {
		kho_unpreserve_free(server->kho, blob);
		return ret;
	}
	ret = kho_block_create(server->kho, sizeof(struct kvclient),
			       &blob->entries, &server->saved);
	if (!ret)
		ret = kho_block_grow(server->saved, server->nr_clients);
	to = blob->bytes;
	for (client = server->clients; client && !ret; client = client->next)
		to = save(server->saved, client, to);
	return ret;
}

int clients_freeze(struct server *server)
{
	struct client *client;
	int ret = save_all(server);

	for (client = server->clients; client && !ret; client = client->next)
		ret = kho_add_fd(server->kho, CLIENT_FD, client->fd, 0);
	if (ret)
		clients_unfreeze(server);
	return ret;
}

void clients_unfreeze(struct server *server)
{
	struct client *client;

	for (client = server->clients; client; client = client->next)
		kho_remove_fd(server->kho, client->fd);
	drop_saved(server);
}

/* The connections that came along; writes nothing to the arena. */
int clients_restore(struct server *server, struct kho_error *err)
{
	size_t size = 0;
	struct kvclients *blob = kho_subtree(server->kho, SUBTREE, &size, NULL);
	const struct kvclient *saved;
	struct kho_block_iter iter;
	struct client *client;
	const char *bytes;
	int fd, ret;

	if (!blob)
		return 0;
	if (size < sizeof(*blob))
		return kho_fail(err, -EBADMSG, "subtree '%s' is cut off",
				SUBTREE);
	ret = kho_block_restore(server->kho, sizeof(*saved), &blob->entries,
				&server->saved, err);
	if (ret)
		return ret;
	bytes = blob->bytes;
	size -= sizeof(*blob);
	iter = kho_block_begin(server->saved);
	while ((saved = kho_block_next(&iter))) {
		if (!take_bytes(&size, saved))
			return kho_fail(err, -EBADMSG,
					"subtree '%s' is cut off", SUBTREE);
		fd = kho_take_fd(server->kho, CLIENT_FD);
		if (fd < 0)
			break; /* there was a crash since */
		client = client_new(server, fd, saved->id);
		if (!client)
			return kho_fail(err, -ENOMEM, "out of memory");
		client->closing = saved->closing;
		memcpy(client->name, saved->name, sizeof(client->name) - 1);
		buf_add(&client->in, bytes, saved->in);
		bytes += saved->in;
		buf_add(&client->out, bytes, saved->out);
		bytes += saved->out;
		if (client->id > server->last_id)
			server->last_id = client->id;
	}
	return 0;
}

/* After kho_ready(). */
int clients_start(struct server *server, struct kho_error *err)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct client *client, *next;
	size_t i;
	int ret;

	drop_saved(server);
	for (i = 0; i < 2; i++) {
		if (server->listeners[i] < 0)
			continue;
		ret = kho_add_fd(server->kho, listener_fds[i],
				 server->listeners[i], KHO_FD_STORE);
		if (ret && ret != -EEXIST)
			return kho_fail(err, ret,
					"cannot keep the %s socket "
					"in custody: %s",
					listener_fds[i], strerror(-ret));
		event.data.ptr = &server->listeners[i];
		if (epoll_ctl(server->epoll, EPOLL_CTL_ADD,
			      server->listeners[i], &event))
			return kho_fail(err, -errno, "epoll_ctl: %s",
					strerror(errno));
	}
	for (client = server->clients; client; client = next) {
		next = client->next;
		serve(server, client);
	}
	return 0;
}

void clients_event(struct server *server, void *source, uint32_t events)
{
	if (source == &server->listeners[0] || source == &server->listeners[1])
		accept_clients(server, *(int *)source);
	else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(server, source);
	else
		serve(server, source);
}
