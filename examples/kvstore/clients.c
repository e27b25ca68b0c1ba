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

/* A connection as it is handed over: what is in struct client, and its bytes. */
struct kvclient {
	uint64_t id;
	uint64_t in; /* bytes received and not executed */
	uint64_t out; /* bytes of replies that were not sent */
	uint32_t closing;
	uint32_t protocol;
	char name[CLIENT_NAME_SIZE];
};

/* All of them, a chain, and for each its bytes: first @in, then @out. */
struct kvclients {
	struct kho_block_root entries;
	char bytes[];
};

KHO_COMPONENT(kvclients, .write = { 1, 1 }, .read = { 1, 1 },
	      .deps = { "block" });

/* ---- one connection ---- */

static struct client *client_new(struct server *server, int fd, uint64_t id)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->fd = fd;
	client->id = id;
	client->protocol = 2;
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
	free(client->parser.argv);
	buf_free(&client->in);
	buf_free(&client->out);
	free(client);
	if (server->paused)
		watch_listeners(server, EPOLLIN);
}

/*
 * Executes what is there, as long as the client reads its replies. Without
 * memory for a reply the connection is broken: the next one would be taken for
 * it.
 */
static void execute(struct server *server, struct client *client)
{
	int ret;

	while (!client->closing && !client->broken &&
	       buf_left(&client->out) < UNREAD_MAX) {
		ret = resp_parse(&client->parser, &client->in);
		if (!ret)
			break;
		if (ret < 0) {
			resp_line(&client->out, '-', "ERR Protocol error: %s",
				  client->parser.error);
			client->closing = true;
		} else if (client->parser.argc) {
			command_run(server, client);
		}
		if (ret > 0)
			resp_next(&client->parser, &client->in);
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
	bool waited;

	do {
		execute(server, client);
		waited = buf_left(&client->out) >= UNREAD_MAX;
		flush(client);
	} while (!client->broken && waited &&
		 buf_left(&client->out) < UNREAD_MAX);
	if (client->broken || (client->closing && !buf_left(&client->out)) ||
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
	else if (n < 0)
		client->broken = true;
	else
		client->closing = true;
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
		/* They wait in the queue until somebody else goes. */
		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			watch_listeners(server, 0);
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

static int listen_at(const struct sockaddr *addr, socklen_t len)
{
	int fd = socket(addr->sa_family,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, saved;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* A socket file that nobody listens on is left from a crash. */
	if (addr->sa_family == AF_UNIX && connect(fd, addr, len) &&
	    errno == ECONNREFUSED)
		unlink(((const struct sockaddr_un *)addr)->sun_path);
	if (!bind(fd, addr, len) && !listen(fd, SOMAXCONN))
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static int listen_tcp(struct server *server, struct kho_error *err)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(server->port) };
	int fd;

	if (inet_pton(AF_INET, server->bind, &in.sin_addr) != 1)
		return kho_fail(err, -EINVAL, "--bind %s: not an IPv4 address",
				server->bind);
	fd = listen_at((struct sockaddr *)&in, sizeof(in));
	return fd >= 0 ?
		       fd :
		       kho_fail(err, -errno, "cannot listen on %s port %u: %s",
				server->bind, server->port, strerror(errno));
}

static int listen_unix(struct server *server, struct kho_error *err)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = -1;

	errno = ENAMETOOLONG;
	if (strlen(server->unix_path) < sizeof(un.sun_path)) {
		strcpy(un.sun_path, server->unix_path);
		fd = listen_at((struct sockaddr *)&un, sizeof(un));
	}
	return fd >= 0 ? fd :
			 kho_fail(err, -errno, "cannot listen on %s: %s",
				  server->unix_path, strerror(errno));
}

/* Sockets that came with the arena are used as they are. */
int clients_listen(struct server *server, struct kho_error *err)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	int *fds = server->listeners, i;

	for (i = 0; i < 2; i++)
		fds[i] = kho_take_fd(server->kho, listener_fds[i]);
	if (fds[0] < 0)
		fds[0] = listen_tcp(server, err);
	if (fds[0] < 0)
		return fds[0];
	if (!getsockname(fds[0], (struct sockaddr *)&addr, &len))
		server->port = ntohs(addr.sin_port);
	if (fds[1] >= 0 || !server->unix_path)
		return 0;
	fds[1] = listen_unix(server, err);
	return fds[1] < 0 ? fds[1] : 0;
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
		.protocol = (uint32_t)client->protocol,
	};

	memcpy(saved.name, client->name, sizeof(saved.name));
	kho_block_append(entries, &saved);
	return save_bytes(save_bytes(to, &client->in), &client->out);
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
			      blob, size, NULL);
	if (ret) {
		kho_unpreserve_free(server->kho, blob);
		return ret;
	}
	ret = kho_block_create(server->kho, sizeof(struct kvclient),
			       &blob->entries, &server->saved, NULL);
	if (!ret)
		ret = kho_block_grow(server->saved, server->nr_clients);
	to = blob->bytes;
	for (client = server->clients; client && !ret; client = client->next)
		to = save(server->saved, client, to);
	return ret;
}

/* On failure, what was done is left to clients_unfreeze(). */
int clients_freeze(struct server *server)
{
	struct client *client;
	int ret = save_all(server);

	for (client = server->clients; client && !ret; client = client->next)
		ret = kho_add_fd(server->kho, CLIENT_FD, client->fd, 0, NULL);
	return ret;
}

void clients_unfreeze(struct server *server)
{
	struct client *client;

	for (client = server->clients; client; client = client->next)
		kho_remove_fd(server->kho, client->fd);
	drop_saved(server);
}

static bool restore(struct server *server, int fd, const struct kvclient *saved,
		    const char *bytes)
{
	struct client *client = client_new(server, fd, saved->id);

	if (!client)
		return false;
	client->closing = saved->closing;
	client->protocol = saved->protocol == 3 ? 3 : 2;
	memcpy(client->name, saved->name, sizeof(client->name) - 1);
	buf_add(&client->in, bytes, saved->in);
	buf_add(&client->out, bytes + saved->in, saved->out);
	if (client->id > server->last_id)
		server->last_id = client->id;
	return !client->in.failed && !client->out.failed;
}

/* The connections that came along; writes nothing to the arena. */
int clients_restore(struct server *server, struct kho_error *err)
{
	size_t size = 0, left;
	struct kvclients *blob = kho_subtree(server->kho, SUBTREE, &size, NULL);
	const struct kvclient *saved;
	struct kho_block_iter iter;
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
	left = size - sizeof(*blob);
	iter = kho_block_begin(server->saved);
	while ((saved = kho_block_next(&iter))) {
		if (saved->in > left || saved->out > left - saved->in)
			return kho_fail(err, -EBADMSG,
					"subtree '%s' is cut off", SUBTREE);
		fd = kho_take_fd(server->kho, CLIENT_FD);
		if (fd < 0)
			break; /* there was a crash since */
		if (!restore(server, fd, saved, (char *)blob + size - left))
			return kho_fail(err, -ENOMEM, "out of memory");
		left -= saved->in + saved->out;
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
				 server->listeners[i], KHO_FD_STORE, NULL);
		event.data.ptr = &server->listeners[i];
		if (ret && ret != -EEXIST)
			errno = -ret;
		else if (!epoll_ctl(server->epoll, EPOLL_CTL_ADD,
				    server->listeners[i], &event))
			continue;
		return kho_fail(err, -errno, "cannot keep the %s socket: %s",
				listener_fds[i], strerror(errno));
	}
	for (client = server->clients; client; client = next) {
		next = client->next;
		serve(server, client);
	}
	return 0;
}
