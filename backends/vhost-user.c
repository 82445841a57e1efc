/*
 * vhost-user.c - frames to and from a vhost-user back-end, such as a software
 * switch: the driving side of the connection.
 *
 * Runs in: its own process, in an empty network namespace; the socket comes
 * from the launcher, and new connections too. Trusts: nothing that the
 * back-end says, writes or leaves undone.
 * Specification: vhost-user.md, sections named in backend_vhost_fe.c and
 * backend_vhost_net.c; options as QEMU's.
 *
 * Theory of operation
 * The netdev is there as soon as this process is ready, whether a back-end is
 * there or not. A connection is made or accepted, agreed upon, run, and lost;
 * each has memory of its own. Without one, frames for outside are dropped and
 * counted. Who comes and goes quickly is taken up again more and more slowly,
 * up to a second, unless the chardev says how often.
 */
#include "backends/backend_retry.h"
#include "backends/backend_vhost_net.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "gen/types.h"

/* The only one in "opens" of schema/backends.json. */
enum { RESOURCE_CHARDEV };

#define LOW32 0xffffffffu

#define QUEUES_QEMU_MAX 1024 /* what QEMU's text speaks of */

/* A connection that ran so long makes the pauses short again. */
#define STEADY_NS UINT64_C(1000000000)
#define MS_NS     UINT64_C(1000000)

struct vhost_user {
	struct backend *be;                           /* borrowed */
	const struct netdev_vhost_user_options *opts; /* borrowed */
	unsigned pairs;
	int given;      /* owned until start */
	int listening;  /* owned; -1: we connect */
	int connecting; /* owned; a connection not yet made */
	struct watch *accept_watch, *connect_watch; /* owned */
	struct timer *retry; /* owned: the next try to connect or accept */
	uint32_t retry_ms;
	bool absence_told;     /* once per outage */
	uint64_t since_ns;     /* when the back-end came up; 0: it did not */
	struct vhost_net *net; /* owned, with fe: the connection */
	struct vhost_fe *fe;
	uint64_t reply_ns; /* see struct vhost_fe_config */
	bool up;
	char words[256]; /* why the last connection ended */
};

/* --- the connection comes and goes ---------------------------------------- */

static void
retry_later(struct vhost_user *v)
{
	int wish = backend_reconnect_ms(v->be);
	uint32_t ms = wish > 0 ? (uint32_t)wish : v->retry_ms;

	/* Of one who is accepted, the chardev says nothing. */
	if (v->listening >= 0)
		ms = v->retry_ms;
	else if (wish == 0)
		return;
	if (ms < RETRY_MS_LEAST)
		ms = RETRY_MS_LEAST;
	timer_set_ns(v->retry, ms * MS_NS);
	v->retry_ms *= 2;
	if (v->retry_ms > RETRY_MS_LAST)
		v->retry_ms = RETRY_MS_LAST;
}

static void
tell_absence(struct vhost_user *v, const char *why)
{
	if (!v->absence_told)
		log_event(LOG_INFO, "peer.absent", "peer=%s why=%s",
		    log_quote(v->opts->chardev), log_quote(why));
	v->absence_told = true;
}

static void
on_up(void *self, uint64_t features)
{
	struct vhost_user *v = self;

	v->up = true;
	v->absence_told = false;
	v->words[0] = '\0';
	v->since_ns = sys_mono_ns();
	log_event(LOG_INFO, "backend.agreed", "features=%llx pairs=%u",
	    (unsigned long long)features, v->pairs);
	vhost_net_run(v->net, features);
	backend_connected(v->be, true, v->opts->chardev);
}

/* What there was of a connection, freed. */
static void
drop_connection(struct vhost_user *v)
{
	v->up = false;
	vhost_fe_free(ptr_take(v->fe));
	vhost_net_free(ptr_take(v->net));
	/* What waited for its buffers is dropped, not held. */
	backend_more(v->be);
}

static void
on_down(void *self, const char *why, bool fault)
{
	struct vhost_user *v = self;
	bool was_up = v->up;
	/* What every attempt of an outage ends in is told once. */
	bool news = was_up || strcmp(v->words, why) != 0;

	/* `why` may go with the connection. */
	snprintf(v->words, sizeof v->words, "%s", why);
	drop_connection(v);
	if (was_up && sys_mono_ns() - v->since_ns >= STEADY_NS)
		v->retry_ms = RETRY_MS_FIRST;
	if (fault)
		backend_count(v->be, BC_IN_ERRORS, 1);
	if (fault && news)
		backend_notice(v->be, "back-end", v->words);
	if (was_up)
		backend_connected(v->be, false, v->words);
	else
		tell_absence(v, v->words);
	retry_later(v);
}

static void
on_broken(void *self, const char *why)
{
	char words[256];

	snprintf(words, sizeof words,
	    "the back-end broke a ring: %s: connection closed", why);
	on_down(self, words, true);
}

static const struct vhost_fe_ops fe_ops = {.up = on_up, .down = on_down};

/* Takes fd, connected: memory, then the conversation. */
static void
begin(struct vhost_user *v, int fd)
{
	struct vhost_fe_config c;
	int rc = vhost_net_new(v->be, v->pairs, on_broken, v, &v->net);

	if (rc == 0) {
		vhost_net_config(v->net, &c);
		c.reply_ns = v->reply_ns;
		v->fe = vhost_fe_new(
		    backend_loop(v->be), fd_take(&fd), &c, &fe_ops, v);
		if (!v->fe)
			rc = -ENOMEM;
	}
	fd_close(&fd);
	if (rc < 0) {
		backend_notice(v->be, "memory", strerror(-rc));
		drop_connection(v);
		retry_later(v);
	}
}

/* --- listen ----------------------------------------------------------------
 */

/* One back-end at a time: the next waits in the backlog until this one goes. */
static void
accept_ready(void *self, unsigned events)
{
	struct vhost_user *v = self;
	int fd;

	(void)events;
	fd = (int)sys_result(
	    accept4(v->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
	if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
		backend_notice(v->be, "accept", strerror(-fd));
		watch_set(v->accept_watch, 0);
		retry_later(v);
	}
	/* Others: it went away while it waited. */
	if (fd < 0)
		return;
	watch_set(v->accept_watch, 0);
	begin(v, fd);
}

/* --- connect ---------------------------------------------------------------
 */

static void
connect_failed(struct vhost_user *v, const char *why)
{
	watch_free(ptr_take(v->connect_watch));
	fd_close(&v->connecting);
	tell_absence(v, why);
	retry_later(v);
}

static void
connect_done(void *self, unsigned events)
{
	struct vhost_user *v = self;
	struct sockaddr_un peer;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (getsockopt(v->connecting, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = EBADF;
	len = sizeof peer;
	/* A unix connect that was refused at once leaves no error behind. */
	if (error == 0 &&
	    getpeername(v->connecting, (struct sockaddr *)&peer, &len) < 0)
		error = ECONNREFUSED;
	if (error) {
		connect_failed(v, strerror(error));
		return;
	}
	watch_free(ptr_take(v->connect_watch));
	begin(v, fd_take(&v->connecting));
}

static void
on_connection(void *self, int fd, const char *text)
{
	struct vhost_user *v = self;

	fd_close(&v->connecting);
	v->connecting = fd;
	if (fd < 0) {
		connect_failed(v, text);
		return;
	}
	v->connect_watch =
	    watch_new(backend_loop(v->be), fd, WATCH_WRITE, connect_done, v);
	if (!v->connect_watch)
		connect_failed(v, "out of memory");
}

static void
retry_expired(void *self)
{
	struct vhost_user *v = self;

	if (v->listening >= 0)
		watch_set(v->accept_watch, WATCH_READ);
	else
		backend_reconnect(v->be, RESOURCE_CHARDEV);
}

/* --- options ---------------------------------------------------------------
 */

static int
check_options(const struct netdev_vhost_user_options *o, struct err *err)
{
	if (!o->has_queues)
		return 0;
	if (o->queues < 1 || o->queues > QUEUES_QEMU_MAX)
		return err_set(err, -EINVAL,
		    "vhost-user number of queues must be in range [1, %d]",
		    QUEUES_QEMU_MAX);
	if (o->queues > (int64_t)VHOST_FE_PAIRS_MAX)
		return err_set(err, -EINVAL,
		    "queues=%lld: this build has at most %u pairs of queues "
		    "for a vhost-user netdev",
		    (long long)o->queues, VHOST_FE_PAIRS_MAX);
	return 0;
}

/* Is it one that back-ends connect to? */
static int
take_socket(struct vhost_user *v, int fd, struct err *err)
{
	int listening = 0, type = 0, rc;
	socklen_t len = sizeof listening, type_len = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0 ||
	    type != SOCK_STREAM) {
		fd_close(&fd);
		return err_set(err, -EINVAL,
		    "chardev \"%s\" is not a stream socket", v->opts->chardev);
	}
	if (listening)
		v->listening = fd;
	else
		v->given = fd;
	/* No call of ours may wait, and calls after the lock cannot say so. */
	rc = sys_nonblock(fd, true);
	return rc < 0 ? err_set(err, rc, "chardev \"%s\": %s", v->opts->chardev,
			    strerror(-rc))
		      : 0;
}

static int
vhost_user_open(
    void *self, struct backend *be, const void *options, struct err *err)
{
	struct vhost_user *v = self;
	int rc, fd;

	v->be = be;
	v->opts = options;
	v->given = v->listening = v->connecting = -1;
	v->retry_ms = RETRY_MS_FIRST;
	rc = check_options(v->opts, err);
	if (rc < 0)
		return rc;
	v->pairs = v->opts->has_queues ? (unsigned)v->opts->queues : 1;
	v->retry = timer_new(backend_loop(be), retry_expired, v);
	if (!v->retry)
		return err_set(err, -ENOMEM, "out of memory");
	backend_info(be, "vhost-user0 to %s", v->opts->chardev);
	/* A connection may have failed at once already; that is no error. */
	fd = backend_resource(be, RESOURCE_CHARDEV);
	if (fd < 0)
		return 0;
	return take_socket(v, fd, err);
}

static int
vhost_user_start(void *self, struct err *err)
{
	struct vhost_user *v = self;

	if (v->listening < 0) {
		on_connection(v, fd_take(&v->given), "not connected");
		return 0;
	}
	v->accept_watch = watch_new(
	    backend_loop(v->be), v->listening, WATCH_READ, accept_ready, v);
	return v->accept_watch ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* --- frames ----------------------------------------------------------------
 */

static size_t
vhost_user_frames(void *self, const struct frame *f, size_t count)
{
	struct vhost_user *v = self;

	if (v->up)
		return vhost_net_frames(v->net, f, count);
	backend_count(v->be, BC_OUT_DROP_DISCONNECTED, count);
	return count;
}

static void
vhost_user_room(void *self)
{
	struct vhost_user *v = self;

	if (v->up)
		vhost_net_room(v->net);
}

static void
vhost_user_close(void *self)
{
	struct vhost_user *v = self;

	watch_free(ptr_take(v->accept_watch));
	watch_free(ptr_take(v->connect_watch));
	timer_free(ptr_take(v->retry));
	vhost_fe_part(ptr_take(v->fe));
	vhost_net_free(ptr_take(v->net));
	v->up = false;
	fd_close(&v->given);
	fd_close(&v->listening);
	fd_close(&v->connecting);
}

static const struct sysrule vhost_user_rules[] = {
    SYS(accept4, "server chardev: the next back-end"),
    SYS_IF(getsockopt, "client chardev: did it connect?",
	{1, ARG_EQ, LOW32, SOL_SOCKET}, {2, ARG_EQ, LOW32, SO_ERROR}),
    SYS(getpeername, "client chardev: is there a back-end?"),
    SYS_IF(setsockopt, "its end must not make close wait: SO_LINGER",
	{1, ARG_EQ, LOW32, SOL_SOCKET}, {2, ARG_EQ, LOW32, SO_LINGER}),
    SYS(memfd_create, "memory for one connection"),
    SYS(ftruncate, "its size"),
    SYS_IF(fcntl, "its seals", {1, ARG_EQ, LOW32, F_ADD_SEALS}),
    SYS_IF(fcntl, "a message that waits keeps a copy of its descriptors",
	{1, ARG_EQ, LOW32, F_DUPFD_CLOEXEC}),
    SYS_IF(mmap, "malloc, buffers; anonymous, not executable",
	{2, ARG_CLEAR, PROT_EXEC, 0},
	{3, ARG_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS}),
    SYS_IF(mmap, "the memory that the back-end maps too; not executable",
	{2, ARG_CLEAR, PROT_EXEC, 0}, {3, ARG_EQ, LOW32, MAP_SHARED}),
    SYS(eventfd2, "kicks and calls of one connection"),
    SYS(poll, "may a kick be written without waiting?"),
    SYS(preadv2, "calls, without waiting whatever their O_NONBLOCK"),
};

const struct backend_type backend_type = {
    .name = "vhost-user",
    .self_bytes = sizeof(struct vhost_user),
    .open = vhost_user_open,
    .start = vhost_user_start,
    .frames = vhost_user_frames,
    .room = vhost_user_room,
    .connection = on_connection,
    .close = vhost_user_close,
    .syscalls = {"vhost-user", vhost_user_rules,
	sizeof vhost_user_rules / sizeof *vhost_user_rules},
};
