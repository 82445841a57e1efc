/*
 * vde.c - a port of a VDE switch.
 *
 * Runs in: its own process, without a file system and without a network. Both
 * sockets come from the launcher, also the fresh ones after a loss.
 * Trusts: nothing that comes from the switch: not its answer, not the length
 * of a datagram, not that it keeps quiet on the control socket.
 * Specification: the switch protocol (backend_vde.h); QEMU net/vde.c for the
 * options, but: a switch that has gone is noticed, frames that it would cut
 * are dropped and counted.
 *
 * Theory of operation
 * A connection is made in steps, each an answer that we wait for:
 *   CONTROL  the launcher connects a stream to the switch's "ctl"
 *   DATA     it makes a datagram socket with a name in the switch's directory
 *   ANSWER   we say that name on the stream; the switch says its socket's
 *   JOIN     the launcher connects our datagram socket to that one
 *   UP       one datagram is one frame; the stream is silent until its end
 * A step that fails, or takes too long, ends the attempt: everything is closed
 * and the next one begins after a pause. libvdeplug does all this at once, and
 * blocks, and needs the switch's directory to do it: a directory that
 * vde_switch removes when it ends, so that no process that was shown it could
 * ever find its successor.
 */
#include "backends/backend_dgram.h"
#include "backends/backend_vde.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "gen/types.h"

/* Positions in "opens" of schema/backends.json. */
enum { RESOURCE_CONTROL, RESOURCE_DATA };

/* From the first to the second, doubling; back to the first after a
 * connection that lasted. */
#define RETRY_MS_FIRST 20u
#define RETRY_MS_LAST  1000u
#define LASTED_NS      UINT64_C(1000000000)
#define MS_NS          UINT64_C(1000000)
/* From our request to the switch's answer. */
#define ANSWER_NS UINT64_C(5000000000)

/* vde_switch cuts what is longer, and says nothing. */
#define SWITCH_FRAME_MAX 1518u

enum step {
	STEP_IDLE,
	STEP_CONTROL,
	STEP_DATA,
	STEP_ANSWER,
	STEP_JOIN,
	STEP_UP
};

struct vde {
	struct backend *be;                    /* borrowed */
	const struct netdev_vde_options *opts; /* borrowed */
	enum step step;
	int control;                 /* owned, or -1 */
	int data;                    /* owned until STEP_UP, or -1 */
	struct watch *control_watch; /* owned */
	struct dgram dgram;          /* from STEP_UP on */
	struct timer *timer; /* owned: the next attempt, or the end of this */
	uint32_t retry_ms;
	uint64_t since_ns; /* of STEP_UP */
	bool told;         /* the log knows why there is no connection */
	unsigned port;
	size_t got; /* of the answer */
	uint8_t answer[VDE_ANSWER_BYTES];
};

/* --- the end of a connection, or of an attempt --------------------------- */

static void
close_all(struct vde *v)
{
	watch_free(ptr_take(v->control_watch));
	if (v->step == STEP_UP) {
		if (v->dgram.held)
			backend_count(
			    v->be, BC_IN_DROP_FULL, v->dgram.end - v->dgram.at);
		dgram_close(&v->dgram);
	}
	fd_close(&v->data);
	fd_close(&v->control);
	v->step = STEP_IDLE;
}

static void
retry_later(struct vde *v)
{
	timer_set_ns(v->timer, v->retry_ms * MS_NS);
	v->retry_ms *= 2;
	if (v->retry_ms > RETRY_MS_LAST)
		v->retry_ms = RETRY_MS_LAST;
}

static void
failed(struct vde *v, const char *why)
{
	bool was_up = v->step == STEP_UP;

	close_all(v);
	if (was_up) {
		if (sys_mono_ns() - v->since_ns >= LASTED_NS)
			v->retry_ms = RETRY_MS_FIRST;
		backend_info(v->be, "%s", "");
		backend_connected(v->be, false, why);
		backend_more(v->be); /* nobody waits for the switch now */
	} else if (!v->told) {
		/* Once per outage: the broker knows the state. */
		log_event(LOG_INFO, "switch.absent", "sock=%s why=%s",
		    log_quote(v->opts->sock), log_quote(why));
		v->told = true;
	}
	retry_later(v);
}

/* --- step by step -------------------------------------------------------- */

static void
joined(struct vde *v)
{
	int rc;

	v->dgram = (struct dgram){.fd = -1};
	rc = dgram_open(&v->dgram, v->be, fd_take(&v->data), NULL, false);
	v->step = STEP_UP; /* from here close_all() closes the dgram */
	if (rc == 0)
		rc = dgram_start(&v->dgram);
	v->since_ns = sys_mono_ns();
	if (rc < 0) {
		failed(v, "out of memory");
		return;
	}
	v->told = false;
	if (v->port != 0)
		backend_info(
		    v->be, "vde: sock=%s,port=%u", v->opts->sock, v->port);
	else
		backend_info(v->be, "vde: sock=%s", v->opts->sock);
	backend_connected(v->be, true, v->opts->sock);
}

static void
answered(struct vde *v)
{
	uint32_t number;

	timer_stop(v->timer);
	if (!vde_answer(v->answer, &number, &v->port)) {
		backend_notice(
		    v->be, "peer", "the switch answers what no switch says");
		failed(v, "the switch answers what no switch says");
		return;
	}
	v->step = STEP_JOIN;
	backend_reconnect_to(v->be, RESOURCE_DATA, number);
}

static void
control_ready(void *self, unsigned events)
{
	uint8_t rest[64];
	struct vde *v = self;
	bool waits = v->step == STEP_ANSWER;
	ssize_t got;

	(void)events;
	got = sys_result(recv(v->control, waits ? v->answer + v->got : rest,
	    waits ? sizeof v->answer - v->got : sizeof rest, MSG_DONTWAIT));
	if (got == -EAGAIN || got == -EINTR)
		return;
	if (got == 0) {
		failed(v, waits ? "the switch refuses the port"
				: "the switch has gone");
	} else if (got < 0) {
		failed(v, strerror((int)-got));
	} else if (!waits) {
		backend_notice(
		    v->be, "peer", "the switch talks without being asked");
		failed(v, "the switch talks without being asked");
	} else {
		v->got += (size_t)got;
		if (v->got == sizeof v->answer)
			answered(v);
	}
}

/* The path of our datagram socket, as the switch knows its directory. */
static int
own_path(const struct vde *v, char path[sizeof(struct sockaddr_un)])
{
	struct sockaddr_un un = {0};
	socklen_t len = sizeof un - 1;
	const char *name;
	int rc =
	    (int)sys_result(getsockname(v->data, (struct sockaddr *)&un, &len));

	if (rc < 0)
		return rc;
	name = strrchr(un.sun_path, '/');
	if (un.sun_family != AF_UNIX || !name)
		return -EINVAL;
	if ((size_t)snprintf(path, sizeof un, "%.80s%s", v->opts->sock, name) >=
	    sizeof un.sun_path)
		return -ENAMETOOLONG;
	return 0;
}

/* Both sockets are there: ask for a port. */
static void
request(struct vde *v)
{
	char path[sizeof(struct sockaddr_un)];
	uint8_t out[VDE_REQUEST_MAX];
	size_t len;
	int rc = own_path(v, path);

	if (rc < 0) {
		failed(v, strerror(-rc));
		return;
	}
	v->step = STEP_ANSWER;
	v->got = 0;
	len = vde_request(
	    out, v->opts->has_port ? v->opts->port : 0, path, "bulkhead");
	rc = (int)sys_result(
	    send(v->control, out, len, MSG_DONTWAIT | MSG_NOSIGNAL));
	if (rc < 0 || (size_t)rc < len) {
		failed(v, rc < 0 ? strerror(-rc) : "the request does not fit");
		return;
	}
	v->control_watch = watch_new(
	    backend_loop(v->be), v->control, WATCH_READ, control_ready, v);
	if (!v->control_watch)
		failed(v, "out of memory");
	else
		timer_set_ns(v->timer, ANSWER_NS);
}

static void
vde_connection(void *self, int fd, const char *text)
{
	struct vde *v = self;

	/* Late: the attempt that wanted it is over. */
	if (v->step != STEP_CONTROL && v->step != STEP_DATA &&
	    v->step != STEP_JOIN) {
		fd_close(&fd);
		return;
	}
	if (fd < 0) {
		failed(v, text);
		return;
	}
	if (v->step == STEP_CONTROL) {
		v->control = fd;
		v->step = STEP_DATA;
		backend_reconnect(v->be, RESOURCE_DATA);
	} else if (v->step == STEP_DATA) {
		v->data = fd;
		request(v);
	} else {
		/* Our own socket once more, now connected. */
		fd_close(&fd);
		joined(v);
	}
}

static void
timer_expired(void *self)
{
	struct vde *v = self;

	if (v->step == STEP_ANSWER) {
		failed(v, "the switch does not answer");
	} else if (v->step == STEP_IDLE) {
		v->step = STEP_CONTROL;
		backend_reconnect(v->be, RESOURCE_CONTROL);
	}
}

/* --- life ---------------------------------------------------------------- */

static int
vde_open(void *self, struct backend *be, const void *options, struct err *err)
{
	struct vde *v = self;

	v->be = be;
	v->opts = options;
	v->step = STEP_IDLE;
	v->dgram.fd = -1;
	v->retry_ms = RETRY_MS_FIRST;
	/* Missing when there is no switch yet, and after a restart. */
	v->control = backend_resource(be, RESOURCE_CONTROL);
	v->data = backend_resource(be, RESOURCE_DATA);
	if (!v->opts->sock)
		return err_set(err, -EINVAL, "Parameter 'sock' is missing");
	v->timer = timer_new(backend_loop(be), timer_expired, v);
	return v->timer ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int
vde_start(void *self, struct err *err)
{
	struct vde *v = self;

	(void)err;
	if (v->control >= 0 && v->data >= 0) {
		request(v);
	} else {
		close_all(v);
		retry_later(v);
	}
	return 0;
}

/* How many of `f` may go to the switch, from the first on. */
static size_t
good_run(const struct frame *f, size_t count)
{
	size_t n = 0;

	while (n < count && f[n].len <= SWITCH_FRAME_MAX)
		n++;
	return n;
}

static size_t
vde_frames(void *self, const struct frame *f, size_t count)
{
	struct vde *v = self;
	size_t done = 0, run, sent;

	if (v->step != STEP_UP) {
		backend_count(v->be, BC_OUT_DROP_DISCONNECTED, count);
		return count;
	}
	while (done < count) {
		run = good_run(f + done, count - done);
		if (run == 0) {
			backend_count(v->be, BC_OUT_DROP_SIZE, 1);
			done++;
			continue;
		}
		sent = dgram_frames(&v->dgram, f + done, run);
		done += sent;
		if (sent < run)
			break;
	}
	return done;
}

static void
vde_room(void *self)
{
	struct vde *v = self;

	if (v->step == STEP_UP)
		dgram_room(&v->dgram);
}

static void
vde_close(void *self)
{
	struct vde *v = self;

	close_all(v);
	timer_free(ptr_take(v->timer));
}

static const struct sysrule vde_rules[] = {
    SYS(recvmmsg, "frames in"),
    SYS(sendmmsg, "frames out"),
    SYS(getsockname, "the name of our socket, which the switch is told"),
};

const struct backend_type backend_type = {
    .name = "vde",
    .self_bytes = sizeof(struct vde),
    .open = vde_open,
    .start = vde_start,
    .frames = vde_frames,
    .room = vde_room,
    .connection = vde_connection,
    .close = vde_close,
    .syscalls = {"vde", vde_rules, sizeof vde_rules / sizeof *vde_rules},
};
