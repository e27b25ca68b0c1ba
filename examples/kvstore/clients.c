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
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <kho/compat.h>
#include <kho/fds.h>
#include <kho/pages.h>
#include <kho/tree.h>

#include "kvstore.h"

#define SUBTREE "kvclients"
#define CLIENT_FD "client"

/* Names of the listening sockets; in the order of server->listeners. */
static const char *const listener_fds[] = { "tcp", "unix" };

/* Bytes taken from a socket at once. */
#define READ_SIZE (64ul << 10)
/* Replies that a client may leave unread before its commands have to wait. */
#define UNREAD_MAX (1ul << 20)

/* All struct kvclient, a chain, and for each its bytes: first @in, then @out. */
struct kvclients {
	struct kho_block_root entries;
	char bytes[];
};

KHO_COMPONENT(kvclients, .write = { 1, 1 }, .read = { 1, 1 },
	      .deps = { "block" });

/* ---- one connection ---- */

static struct client *client_new(struct server *server, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(fd);
		return NULL;
	}
	client->fd = fd;
	client->kept.protocol = 2;
	client->next = server->clients;
	client->prev = &server->clients;
	if (client->next)
		client->next->prev = &client->next;
	server->clients = client;
	server->nr_clients++;
	return client;
}

static bool watch(struct server *server, int fd, void *source, uint32_t before,
		  uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return before == events ||
	       !epoll_ctl(server->epoll, before ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
			  fd, &event);
}

/* Without events, connections wait in the queue until somebody else goes. */
static void watch_listeners(struct server *server, uint32_t events)
{
	int *fd;

	for (fd = server->listeners; fd < server->listeners + 2; fd++) {
		if (*fd >= 0)
			watch(server, *fd, fd, ~events, events);
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
	free(client->parser.argv);
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

	while (!client->kept.closing && !client->broken &&
	       buf_left(&client->out) < UNREAD_MAX) {
		ret = resp_parse(&client->parser, &client->in);
		if (!ret)
			break;
		if (ret < 0) {
			resp_line(&client->out, '-', "ERR Protocol error: %s",
				  client->parser.error);
			client->kept.closing = true;
		} else if (client->parser.argc) {
			command_run(server, client);
		}
		if (ret > 0)
			resp_next(&client->parser, &client->in);
		/* A reply is missing: the next would be taken for it. */
		client->broken |= client->out.failed;
	}
}

static void flush(struct client *client)
{
	struct buf *out = &client->out;
	ssize_t n;

	while (buf_left(out) && !client->broken) {
		n = send(client->fd, out->data + out->pos, buf_left(out),
			 MSG_NOSIGNAL);
		if (n >= 0)
			buf_consume(out, (size_t)n);
		else if (errno == EAGAIN)
			break;
		else
			client->broken = errno != EINTR;
	}
}

/* Does all that can be done without waiting; the client may be gone then. */
static void serve(struct server *server, struct client *client)
{
	uint32_t events;
	size_t unread;
	bool waited;

	do {
		execute(server, client);
		waited = buf_left(&client->out) >= UNREAD_MAX;
		flush(client);
		unread = buf_left(&client->out);
	} while (!client->broken && waited && unread < UNREAD_MAX);
	events = (unread ? EPOLLOUT : 0) |
		 (client->kept.closing || unread >= UNREAD_MAX ? 0 : EPOLLIN);
	if (client->broken || !events ||
	    !watch(server, client->fd, client, client->events, events))
		client_free(server, client);
	else
		client->events = events;
}

static void receive(struct server *server, struct client *client)
{
	char *p = buf_reserve(&client->in, READ_SIZE);
	ssize_t n = p ? recv(client->fd, p, READ_SIZE, 0) : -1;

	if (p && n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		client->in.len += (size_t)n;
	client->broken |= n < 0;
	client->kept.closing |= n == 0;
	serve(server, client);
}

static void accept_clients(struct server *server, int listener)
{
	struct client *client;
	int one = 1, fd;

	for (;;) {
		fd = accept4(listener, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			watch_listeners(server, 0);
		if (fd < 0)
			return;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		client = client_new(server, fd);
		if (!client)
			continue;
		client->kept.id = ++server->last_id;
		serve(server, client);
	}
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

/* ---- listening ---- */

/* The TCP socket, or the Unix one. */
static int listen_at(struct server *server, bool is_unix)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(server->port) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr *addr = is_unix ? (void *)&un : (void *)&in;
	socklen_t len = is_unix ? sizeof(un) : sizeof(in);
	const char *where = is_unix ? server->unix_path : server->bind;
	int fd = socket(addr->sa_family,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	if (is_unix && strlen(where) >= sizeof(un.sun_path))
		die("--unix %s: too long", where);
	if (!is_unix && inet_pton(AF_INET, where, &in.sin_addr) != 1)
		die("--bind %s: not an IPv4 address", where);
	if (is_unix)
		strcpy(un.sun_path, where);
	/* A socket file that nobody listens on is left from a crash. */
	if (is_unix && connect(fd, addr, len) && errno == ECONNREFUSED)
		unlink(where);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, addr, len) || listen(fd, SOMAXCONN))
		die("cannot listen on %s%s%.0u: %s", where,
		    is_unix ? "" : " port ", is_unix ? 0 : server->port,
		    strerror(errno));
	return fd;
}

/* Sockets that came with the arena are used as they are. */
void clients_listen(struct server *server)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	int *fd = server->listeners, i;

	for (i = 0; i < 2; i++) {
		fd[i] = kho_take_fd(server->kho, listener_fds[i]);
		if (fd[i] < 0 && (!i || server->unix_path))
			fd[i] = listen_at(server, i);
	}
	if (!getsockname(fd[0], (struct sockaddr *)&addr, &len))
		server->port = ntohs(addr.sin_port);
}

/* ---- handing over ---- */

static char *save_bytes(char *to, const struct buf *buf)
{
	if (buf_left(buf))
		memcpy(to, buf->data + buf->pos, buf_left(buf));
	return to + buf_left(buf);
}

/* On failure, what was done is left to clients_unfreeze(). */
int clients_freeze(struct server *server)
{
	size_t size = sizeof(struct kvclients);
	struct kvclients *blob;
	struct client *c;
	char *to;
	int ret;

	for (c = server->clients; c; c = c->next) {
		c->kept.in = buf_left(&c->in);
		c->kept.out = buf_left(&c->out);
		size += c->kept.in + c->kept.out;
	}
	blob = kho_alloc_preserve(server->kho, size);
	if (!blob)
		return -errno;
	ret = kho_add_subtree(server->kho, SUBTREE, &kvclients_component, 0,
			      blob, size, NULL);
	if (ret) {
		kho_unpreserve_free(server->kho, blob);
		return ret;
	}
	ret = kho_block_create(server->kho, sizeof(c->kept), &blob->entries,
			       &server->saved, NULL);
	if (!ret)
		ret = kho_block_grow(server->saved, server->nr_clients);
	to = blob->bytes;
	for (c = server->clients; c && !ret; c = c->next) {
		kho_block_append(server->saved, &c->kept);
		to = save_bytes(save_bytes(to, &c->in), &c->out);
		ret = kho_add_fd(server->kho, CLIENT_FD, c->fd, 0, NULL);
	}
	return ret;
}

static void drop_saved(struct server *server)
{
	void *blob = kho_subtree(server->kho, SUBTREE, NULL, NULL);

	if (!blob || kho_remove_subtree(server->kho, SUBTREE, NULL))
		return;
	kho_block_destroy(server->saved);
	server->saved = NULL;
	kho_unpreserve_free(server->kho, blob);
}

void clients_unfreeze(struct server *server)
{
	struct client *client;

	for (client = server->clients; client; client = client->next)
		kho_remove_fd(server->kho, client->fd);
	drop_saved(server);
}

/* The connections that came along; writes nothing to the arena. */
void clients_restore(struct server *server)
{
	size_t size = 0, left;
	struct kvclients *blob = kho_subtree(server->kho, SUBTREE, &size, NULL);
	const struct kvclient *kept;
	struct kho_block_iter iter;
	struct client *client;
	struct kho_error err;
	const char *bytes;
	int fd;

	if (!blob)
		return;
	if (size < sizeof(*blob))
		die("subtree '%s' is cut off", SUBTREE);
	if (kho_block_restore(server->kho, sizeof(*kept), &blob->entries,
			      &server->saved, &err))
		die("%s", err.text);
	left = size - sizeof(*blob);
	iter = kho_block_begin(server->saved);
	while ((kept = kho_block_next(&iter))) {
		if (kept->in > left || kept->out > left - kept->in)
			die("subtree '%s' is cut off", SUBTREE);
		fd = kho_take_fd(server->kho, CLIENT_FD);
		if (fd < 0)
			break; /* there was a crash since */
		client = client_new(server, fd);
		if (!client)
			die("out of memory");
		client->kept = *kept;
		client->kept.name[CLIENT_NAME_SIZE - 1] = 0;
		bytes = (char *)blob + size - left;
		buf_add(&client->in, bytes, kept->in);
		buf_add(&client->out, bytes + kept->in, kept->out);
		if (client->in.failed || client->out.failed)
			die("out of memory");
		if (kept->id > server->last_id)
			server->last_id = kept->id;
		left -= kept->in + kept->out;
	}
}

/* After kho_ready(). */
void clients_start(struct server *server)
{
	struct client *client, *next;
	int i, fd, ret;

	drop_saved(server);
	for (i = 0; i < 2; i++) {
		fd = server->listeners[i];
		if (fd < 0)
			continue;
		ret = kho_add_fd(server->kho, listener_fds[i], fd, KHO_FD_STORE,
				 NULL);
		if ((ret && ret != -EEXIST) ||
		    !watch(server, fd, &server->listeners[i], 0, EPOLLIN))
			die("cannot keep the %s socket", listener_fds[i]);
	}
	for (client = server->clients; client; client = next) {
		next = client->next;
		serve(server, client);
	}
}
