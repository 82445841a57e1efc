/*
 * backend_nic_peer.c - how a nic and its front-end find each other: a listening
 * socket, or a connection that is given and made again.
 *
 * Runs in: nic. Trusts: the launcher's sockets, not who is behind them.
 *
 * One front-end at a time: the next waits in the backlog.
 */
#include "backends/backend_nic.h"
#include "backends/backend_retry.h"

#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "gen/types.h"

#define MS_NS UINT64_C(1000000)

/* --- the connection comes and goes ---------------------------------------- */

static const char *
peer_name(const struct nic *n)
{
	if (n->opts->chardev)
		return n->opts->chardev;
	return n->opts->path ? n->opts->path : "";
}

static void
retry_later(struct nic *n)
{
	int ms = backend_reconnect_ms(n->be);

	if (ms == 0)
		return;
	if (ms > 0) {
		if ((unsigned)ms < RETRY_MS_LEAST)
			ms = RETRY_MS_LEAST;
		timer_set_ns(n->retry, (uint64_t)ms * MS_NS);
		return;
	}
	timer_set_ns(n->retry, n->retry_ms * MS_NS);
	n->retry_ms *= 2;
	if (n->retry_ms > RETRY_MS_LAST)
		n->retry_ms = RETRY_MS_LAST;
}

static bool
front_end_found(struct nic *n, int fd)
{
	if (vhost_dev_connect(&n->dev, fd) < 0) {
		backend_notice(n->be, "front-end", "no memory for it");
		return false;
	}
	n->retry_ms = RETRY_MS_FIRST;
	n->since_ns = sys_mono_ns();
	/* Whoever was here before left neighbours with old addresses. */
	n->announce_due = n->connections++ > 0;
	backend_connected(n->be, true, peer_name(n));
	return true;
}

/* Has there been one short connection after the other? */
static bool
is_flood(struct nic *n)
{
	if (sys_mono_ns() - n->since_ns >= SHORT_NS)
		n->shortlived = 0;
	else if (n->shortlived < SHORT_MAX)
		n->shortlived++;
	return n->shortlived == SHORT_MAX;
}

void
nic_peer_gone(void *self, const char *why)
{
	struct nic *n = self;

	n->runs = 0;
	nic_as_new(n);
	backend_connected(n->be, false, why);
	if (!n->listens)
		retry_later(n);
	else if (is_flood(n))
		timer_set_ns(n->retry, SHORT_PAUSE_MS * MS_NS);
	else
		watch_set(n->socket_watch, WATCH_READ);
}

static void
accept_ready(void *self, unsigned events)
{
	struct nic *n = self;
	int fd = (int)sys_result(
	    accept4(n->socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));

	(void)events;
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
		backend_notice(n->be, "accept", strerror(-fd));
		watch_set(n->socket_watch, 0);
		timer_set_ns(n->retry, RETRY_MS_LAST * MS_NS);
	}
	/* Others: it went away while it waited. */
	if (fd < 0)
		return;
	watch_set(n->socket_watch, 0);
	if (!front_end_found(n, fd))
		timer_set_ns(n->retry, RETRY_MS_LAST * MS_NS);
}

static void
connect_failed(struct nic *n, const char *why)
{
	watch_free(ptr_take(n->socket_watch));
	fd_close(&n->socket);
	/* Once per outage: the broker knows the state, the log the reason. */
	if (n->retry_ms == RETRY_MS_FIRST)
		log_event(LOG_INFO, "peer.absent", "peer=%s why=%s",
		    log_quote(peer_name(n)), log_quote(why));
	retry_later(n);
}

/*
 * A connection that was passed in has one life, and so has what was said on it:
 * its front-end does not know that the process that heard it has died, and
 * would never say it again. Is it one that a process before us had?
 */
static bool
is_heirloom(struct nic *n)
{
	uint64_t before = n->kept->connection;
	struct stat st;

	n->kept->connection = 0;
	if (fstat(n->socket, &st) == 0)
		n->kept->connection = st.st_ino;
	return before != 0 && n->kept->connection == before;
}

/* The front-end hears of it, and so do people. */
static void
end_heirloom(struct nic *n)
{
	(void)shutdown(n->socket, SHUT_RDWR);
	fd_close(&n->socket);
	backend_notice(n->be, "front-end",
	    "the passed connection ended with the process that had it: make "
	    "the chardev and the card again");
	backend_connected(n->be, false, "ended with the process before");
}

static void
connect_done(void *self, unsigned events)
{
	struct nic *n = self;
	struct sockaddr_un peer;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (getsockopt(n->socket, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = EBADF;
	len = sizeof peer;
	/* A unix connect that was refused at once leaves no error behind. */
	if (error == 0 &&
	    getpeername(n->socket, (struct sockaddr *)&peer, &len) < 0)
		error = ECONNREFUSED;
	if (error) {
		connect_failed(n, strerror(error));
		return;
	}
	watch_free(ptr_take(n->socket_watch));
	if (is_heirloom(n)) {
		end_heirloom(n);
		return;
	}
	if (!front_end_found(n, fd_take(&n->socket)))
		retry_later(n);
}

void
nic_peer_connection(void *self, int fd, const char *text)
{
	struct nic *n = self;

	fd_close(&n->socket);
	n->socket = fd;
	if (fd >= 0)
		n->socket_watch = watch_new(
		    backend_loop(n->be), fd, WATCH_WRITE, connect_done, n);
	if (!n->socket_watch)
		connect_failed(n, fd < 0 ? text : "out of memory");
}

static void
retry_expired(void *self)
{
	struct nic *n = self;

	if (n->listens)
		watch_set(n->socket_watch, WATCH_READ);
	else
		backend_reconnect(n->be, RESOURCE_CHARDEV);
}

/* --- life ------------------------------------------------------------------
 */

int
nic_peer_open(struct nic *n, struct err *err)
{
	int domain = 0, type = 0, listens = 0;
	socklen_t len = sizeof domain;

	n->retry_ms = RETRY_MS_FIRST;
	n->retry = timer_new(backend_loop(n->be), retry_expired, n);
	if (!n->retry)
		return err_set(err, -ENOMEM, "out of memory");
	n->socket = backend_resource(n->be, RESOURCE_CHARDEV);
	if (n->socket < 0)
		n->socket = backend_resource(n->be, RESOURCE_PATH);
	/* A connection may have failed at once; that is no error. */
	if (n->socket < 0 && n->opts->chardev)
		return 0;
	if (n->socket < 0)
		return err_set(err, -EBADF, "the listening socket is missing");
	if (getsockopt(n->socket, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
	    getsockopt(n->socket, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    getsockopt(n->socket, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) <
		0 ||
	    domain != AF_UNIX || type != SOCK_STREAM)
		return err_set(err, -EINVAL,
		    "%s is not a unix stream socket, which vhost-user needs",
		    peer_name(n));
	n->listens = listens != 0;
	/* A front-end that leaves the backlog must not make accept4 wait. */
	return sys_nonblock(n->socket, true);
}

int
nic_peer_start(struct nic *n, struct err *err)
{
	if (!n->listens) {
		nic_peer_connection(n, fd_take(&n->socket), "not connected");
		return 0;
	}
	n->socket_watch = watch_new(
	    backend_loop(n->be), n->socket, WATCH_READ, accept_ready, n);
	return n->socket_watch ? 0 : err_set(err, -ENOMEM, "out of memory");
}

void
nic_peer_close(struct nic *n)
{
	watch_free(ptr_take(n->socket_watch));
	timer_free(ptr_take(n->retry));
	fd_close(&n->socket);
}
