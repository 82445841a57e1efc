/*
 * request.c - the launcher's ear: one datagram, one request, checked whole.
 *
 * Runs in: launcher. Trusts: nothing. A datagram that is not exactly a struct
 * launch_msg, of a type that this sender may send now, with the descriptors
 * of that type and every number in its range, ends its sender. A request that
 * is well-formed and denied is answered with -errno and a sentence.
 * Specification: proto/launch.h.
 */
#include "gen/backends.h"
#include "proto/arena.h"
#include "proto/ring.h"
#include "proto/sys.h"
#include "sandbox/confine.h"
#include "sandbox/launcher.h"
#include "sandbox/open_tap.h"
#include "sandbox/openers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Why a sender ends. */
static const char bad_length[] = "request of a wrong length";
static const char bad_magic[] = "request without our magic number";
static const char bad_type[] = "request of a type it may not send";
static const char bad_fds[] = "request with a wrong number of descriptors";
static const char bad_value[] = "request with a value out of range";

/* A request while it is handled. */
struct request {
	struct launcher *l;
	struct slot *from;
	struct slot *slot; /* the one it is about */
	struct launch_msg msg;
	int fd; /* -1, or came with it: owned */
};

/* --- answers ---------------------------------------------------------- */

static struct launch_msg
answer_to(const struct request *q, uint32_t type)
{
	struct launch_msg msg;

	memset(&msg, 0, sizeof msg);
	msg.magic = LAUNCH_MAGIC;
	msg.type = type;
	msg.seq = q->msg.seq;
	msg.slot = q->msg.slot;
	return msg;
}

static void
refuse(const struct request *q, uint32_t type, int rc, const char *text)
{
	struct launch_msg msg = answer_to(q, type);

	msg.result.error = rc;
	snprintf(msg.result.text, sizeof msg.result.text, "%s", text);
	launcher_answer(q->l, &msg, NULL, 0);
}

/* --- well-formed? ----------------------------------------------------- */

static bool
ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool
address_fits(const struct addr *a)
{
	size_t head = offsetof(struct sockaddr_un, sun_path);

	if (a->len == 0)
		return true;
	if (a->len < sizeof a->sa.sa_family || a->len > sizeof a->un)
		return false;
	switch (a->sa.sa_family) {
	case AF_INET:
		return a->len == sizeof a->in;
	case AF_INET6:
		return a->len == sizeof a->in6;
	case AF_UNIX:
		/* A path ends in NUL within len; an abstract name has no end */
		return a->len > head + 1 &&
		       (a->un.sun_path[0] == '\0' ||
			   ends(a->un.sun_path, a->len - head));
	}
	return false;
}

/* Kinds that may be a descriptor of a client. */
static bool
takes_descriptor(uint32_t kind)
{
	return kind == RES_FD || kind == RES_FILE_CREATE || kind == RES_TAP_FD;
}

/* What is to be looked up goes onto a command line. */
static bool
lookup_fits(const struct launch_open *o)
{
	return o->kind != RES_LOOKUP ||
	       (o->index == 0 && addr_is_name(o->path) &&
		   (o->number == AF_UNSPEC || o->number == AF_INET ||
		       o->number == AF_INET6));
}

static bool
open_fits(const struct request *q)
{
	const struct launch_open *o = &q->msg.open;

	if (o->index >= LAUNCH_RESOURCES || o->kind == RES_NONE ||
	    o->kind >= RES_COUNT)
		return false;
	if (o->give > 1 || o->again > 1 || o->udp > 1 || o->qmp > 1)
		return false;
	if (o->qmp != (q->msg.slot == 0) ||
	    (o->qmp && (o->kind != RES_STREAM_LISTEN || o->give || o->again)))
		return false;
	if (q->fd >= 0 && !takes_descriptor(o->kind))
		return false;
	return address_fits(&o->local) && address_fits(&o->remote) &&
	       ends(o->path, sizeof o->path) && ends(o->name, sizeof o->name) &&
	       lookup_fits(o);
}

static bool
spawn_fits(const struct request *q)
{
	const struct launch_spawn *w = &q->msg.spawn;
	uint64_t ring = w->ring_bytes;

	if (q->msg.slot == 0 || !ends(w->id, sizeof w->id) || w->id[0] == '\0')
		return false;
	if (w->role == ROLE_LANE || w->role == ROLE_RESOLVE)
		return true;
	return w->role >= ROLE_BACKEND &&
	       w->role - ROLE_BACKEND < backend_entry_count &&
	       ring >= RING_BYTES_MIN && ring <= RING_BYTES_MAX &&
	       (ring & (ring - 1)) == 0;
}

static bool
stop_fits(const struct request *q)
{
	uint32_t signo = q->msg.stop.signo;

	return q->msg.slot != 0 &&
	       (signo == SIGTERM || signo == SIGABRT || signo == SIGKILL);
}

static bool
other_slot(const struct request *q)
{
	return q->msg.slot != 0;
}

static bool
cross_fits(const struct request *q)
{
	uint32_t other = q->msg.cross.other;

	return q->msg.slot != 0 && other != 0 && other < LAUNCH_SLOTS &&
	       other != q->msg.slot;
}

static bool
arena_fits(const struct request *q)
{
	return q->msg.slot != 0 && arena_bytes_valid(q->msg.arena.bytes);
}

static bool
own_slot(const struct request *q)
{
	return q->msg.slot == 0;
}

static bool
anything(const struct request *q)
{
	(void)q;
	return true;
}

static bool
code_fits(const struct request *q)
{
	return q->msg.result.code >= 0 && q->msg.result.code < 256;
}

static bool
result_fits(const struct request *q)
{
	return ends(q->msg.result.text, sizeof q->msg.result.text) &&
	       q->msg.result.stage <= STAGE_RUN;
}

/* --- the broker's ----------------------------------------------------- */

static void
on_open(struct request *q)
{
	const struct launch_open *o = &q->msg.open;
	struct launch_msg msg = answer_to(q, LAUNCH_OPENED);
	struct err err;
	int fd, rc;

	if (q->slot->releasing) {
		refuse(q, LAUNCH_OPENED, -EBUSY, "the slot is being released");
		return;
	}
	rc = opener_open(q->l, q->slot, o, fd_take(&q->fd), &err);
	if (rc < 0) {
		refuse(q, LAUNCH_OPENED, rc, err.text);
		return;
	}
	if (rc == OPENER_LATER) {
		q->slot->run.seq = q->msg.seq;
		return;
	}
	fd = q->slot->resources[o->index].fd;
	launcher_answer(q->l, &msg, &fd, o->give && fd >= 0 ? 1 : 0);
	if (o->give)
		opener_vde_given(q->slot);
}

/* What the operator's shell has opened for us, for a set of descriptors. */
static void
on_take(struct request *q)
{
	struct launch_msg msg = answer_to(q, LAUNCH_TAKEN);
	struct err err;
	int fd = inherit_take(q->l, q->msg.open.number, &err);

	if (fd < 0) {
		refuse(q, LAUNCH_TAKEN, fd, err.text);
		return;
	}
	launcher_answer(q->l, &msg, &fd, 1);
	fd_close_foreign(&fd);
}

/* Is the slot's process in the host's network without leave to be there? */
static bool
strays(const struct request *q)
{
	uint32_t role = q->msg.spawn.role;
	uint32_t leave = role == ROLE_RESOLVE ? RES_LOOKUP : RES_RESOLVER;
	unsigned i;

	if (!spawn_host_network(role))
		return false;
	for (i = 0; i < LAUNCH_RESOURCES; i++)
		if (q->slot->resources[i].granted &&
		    q->slot->resources[i].args.kind == leave)
			return false;
	return true;
}

static void
on_spawn(struct request *q)
{
	struct launch_msg msg = answer_to(q, LAUNCH_SPAWNED);
	struct slot *s = q->slot;
	struct err err;
	int rc;

	if (strays(q)) {
		refuse(q, LAUNCH_SPAWNED, -EPERM,
		    "the slot was not allowed to use the host's network");
		return;
	}
	if (s->pid != 0 || s->releasing || s->tell != 0) {
		refuse(q, LAUNCH_SPAWNED, -EBUSY, "the slot has a process");
		return;
	}
	rc = spawn_child(q->l, q->msg.slot, &q->msg.spawn, &err);
	if (rc < 0) {
		refuse(q, LAUNCH_SPAWNED, rc, err.text);
		return;
	}
	msg.result.pid = s->pid;
	msg.result.uid = s->uid;
	msg.result.epoch = s->epoch;
	launcher_answer(q->l, &msg, &s->control, 1);
}

static void
on_stop(struct request *q)
{
	struct slot *s = q->slot;

	/* Late for a process that has ended: nothing to do. */
	if (s->pid == 0 || s->epoch != q->msg.stop.epoch)
		return;
	(void)syscall(
	    __NR_pidfd_send_signal, s->pidfd, (int)q->msg.stop.signo, NULL, 0);
	s->doomed = true;
}

static void
on_release(struct request *q)
{
	struct slot *s = q->slot;

	if (s->releasing)
		return;
	s->release_seq = q->msg.seq;
	if (s->pid != 0) {
		s->releasing = true;
		launcher_kill(s);
		return;
	}
	launcher_let_go(q->l, s);
}

static void
on_port_ask(struct request *q)
{
	struct launch_msg msg = answer_to(q, LAUNCH_PORT);
	struct slot *s = q->slot;
	int fds[3];

	if (s->own_mem < 0 || s->lane_bell < 0) {
		refuse(q, LAUNCH_PORT, -ENOENT, "the slot has no port");
		return;
	}
	fds[0] = memories_read_only(s->own_mem);
	if (fds[0] < 0) {
		refuse(q, LAUNCH_PORT, fds[0], strerrordesc_np(-fds[0]));
		return;
	}
	fds[1] = s->peer_mem;
	fds[2] = s->lane_bell;
	msg.result.epoch = s->epoch;
	launcher_answer(q->l, &msg, fds, 3);
	fd_close(&fds[0]);
}

static void
refuse_memories(const struct request *q, uint32_t type, int rc)
{
	refuse(q, type, rc == -ESRCH ? -ENOENT : rc,
	    rc == -ESRCH ? "a slot has no such process of that epoch"
			 : strerrordesc_np(-rc));
}

static void
on_cross(struct request *q)
{
	struct launch_msg msg = answer_to(q, LAUNCH_CROSSED);
	const struct launch_cross *c = &q->msg.cross;
	struct slot *other = launcher_slot(q->l, c->other);
	struct cross_end ends[2];
	int rc = memories_cross(q->slot, other, c, ends);

	if (rc < 0) {
		refuse_memories(q, LAUNCH_CROSSED, rc);
		return;
	}
	msg.result.epoch = c->epoch;
	launcher_answer(q->l, &msg,
	    (int[]){ends[0].own, ends[0].peer, ends[0].bell, ends[1].own,
		ends[1].peer, ends[1].bell},
	    ANSWER_FDS);
	memories_uncross(ends);
}

static void
on_arena(struct request *q)
{
	struct launch_msg msg = answer_to(q, LAUNCH_ARENA_MADE);
	int fds[2];
	int rc = memories_arena(q->slot, &q->msg.arena, fds);

	if (rc < 0) {
		refuse_memories(q, LAUNCH_ARENA_MADE, rc);
		return;
	}
	msg.result.epoch = q->msg.arena.epoch;
	launcher_answer(q->l, &msg, fds, 2);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
}

static void
add_listeners(struct launcher *l)
{
	unsigned i;

	for (i = 0; i < LAUNCH_RESOURCES; i++) {
		const struct resource *r = &l->slots[0].resources[i];
		struct listener *one = &l->listeners[l->listener_count];
		char text[ADDR_TEXT_BYTES];

		if (r->fd < 0 || l->listener_count == LISTENERS)
			continue;
		one->fd = r->fd;
		snprintf(one->name, sizeof one->name, "%s",
		    addr_text(&r->args.local, text));
		l->listener_count++;
	}
}

/* There is no way back: nothing sets `latched` to false. */
static void
on_latch(struct request *q)
{
	struct launch_msg msg = answer_to(q, LAUNCH_LATCHED);

	add_listeners(q->l);
	q->l->latched = true;
	msg.result.code = (int32_t)q->l->listener_count;
	launcher_answer(q->l, &msg, NULL, 0);
}

static void
on_up(struct request *q)
{
	q->l->up = true;
	notify_up(q->l);
}

static void
on_quit(struct request *q)
{
	notify_state("STOPPING=1");
	launcher_quit(q->l, q->msg.result.code);
}

/* --- the other children's --------------------------------------------- */

static void
on_ready(struct request *q)
{
	struct slot *s = q->from;
	int rc;

	s->ready = true;
	rc = attest(q->l, s, q->msg.result.layers, &s->attested);
	if (rc < 0) {
		snprintf(s->words, sizeof s->words, "%s", s->attested.text);
		launcher_fault(q->l, s, s->attested.text);
		return;
	}
	launcher_note(q->l, s, TELL_ATTESTED);
}

static void
on_failed(struct request *q)
{
	struct slot *s = q->from;
	const struct launch_result *r = &q->msg.result;

	s->failed = true;
	if (r->error != 0 && r->stage != STAGE_FORK)
		snprintf(s->words, sizeof s->words, "%.200s: %s", r->text,
		    strerrordesc_np(r->error < 0 ? -r->error : r->error)
			? strerrordesc_np(r->error < 0 ? -r->error : r->error)
			: "?");
	else
		snprintf(s->words, sizeof s->words, "%s", r->text);
	s->words_stage = r->stage;
}

/* --- dispatch --------------------------------------------------------- */

enum { BROKER = 1, CHILD = 2 };

static const struct rule {
	uint32_t type;
	unsigned senders;
	unsigned fds_max;
	bool (*fits)(const struct request *q);
	void (*act)(struct request *q);
} rules[] = {
    {LAUNCH_OPEN, BROKER, 1, open_fits, on_open},
    {LAUNCH_TAKE, BROKER, 0, own_slot, on_take},
    {LAUNCH_SPAWN, BROKER, 0, spawn_fits, on_spawn},
    {LAUNCH_STOP, BROKER, 0, stop_fits, on_stop},
    {LAUNCH_RELEASE, BROKER, 0, other_slot, on_release},
    {LAUNCH_PORT_ASK, BROKER, 0, other_slot, on_port_ask},
    {LAUNCH_CROSS, BROKER, 0, cross_fits, on_cross},
    {LAUNCH_ARENA, BROKER, 0, arena_fits, on_arena},
    {LAUNCH_LATCH, BROKER, 0, anything, on_latch},
    {LAUNCH_UP, BROKER, 0, anything, on_up},
    {LAUNCH_QUIT, BROKER, 0, code_fits, on_quit},
    {LAUNCH_READY, BROKER | CHILD, 0, result_fits, on_ready},
    {LAUNCH_FAILED, BROKER | CHILD, 0, result_fits, on_failed},
};

/* Types that are right once only. */
static bool
is_late(const struct request *q)
{
	switch (q->msg.type) {
	case LAUNCH_READY:
		return q->from->ready;
	case LAUNCH_FAILED:
		return q->from->failed;
	case LAUNCH_LATCH:
		return q->l->latched;
	case LAUNCH_UP:
		return q->l->up;
	default:
		return false;
	}
}

/* NULL, or why the sender ends. */
static const char *
judge(struct request *q, const struct rule **out)
{
	unsigned sender = q->from == q->l->slots ? BROKER : CHILD;
	const struct rule *rule = NULL;
	size_t i;

	if (q->msg.magic != LAUNCH_MAGIC)
		return bad_magic;
	for (i = 0; i < sizeof rules / sizeof *rules; i++)
		if (rules[i].type == q->msg.type)
			rule = &rules[i];
	if (rule == NULL || (rule->senders & sender) == 0 || is_late(q))
		return bad_type;
	if (q->fd >= 0 && rule->fds_max == 0)
		return bad_fds;
	if (q->msg.slot >= LAUNCH_SLOTS)
		return bad_value;
	q->slot = launcher_slot(q->l, q->msg.slot);
	if (!rule->fits(q))
		return bad_value;
	*out = rule;
	return NULL;
}

/* Take the descriptor of a message; the caller gave room for one. */
static const char *
take_fd(struct request *q, struct msghdr *head)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(head);

	if (c != NULL && c->cmsg_level == SOL_SOCKET &&
	    c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&q->fd, CMSG_DATA(c), sizeof(int));
	else if (c != NULL)
		return bad_fds;
	return head->msg_flags & MSG_CTRUNC ? bad_fds : NULL;
}

void
request_receive(struct launcher *l, struct slot *from)
{
	/* Room for one descriptor, and only from the broker. */
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct request q = {.l = l, .from = from, .fd = -1};
	struct iovec piece = {.iov_base = &q.msg, .iov_len = sizeof q.msg};
	struct msghdr head = {.msg_iov = &piece, .msg_iovlen = 1};
	const struct rule *rule = NULL;
	const char *fault;
	ssize_t got;

	if (from->chan < 0 || (from == l->slots && l->answer_waits))
		return;
	if (from == l->slots) {
		head.msg_control = &control;
		/* Not CMSG_SPACE: its padding has room for a second one. */
		head.msg_controllen = CMSG_LEN(sizeof(int));
	}
	got = sys_result(
	    recvmsg(from->chan, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
	if (got == -EAGAIN || got == -EINTR)
		return;
	if (got <= 0) {
		launcher_hang_up(l, from);
		return;
	}
	fault = take_fd(&q, &head);
	if (fault == NULL &&
	    (got != sizeof q.msg || head.msg_flags & MSG_TRUNC))
		fault = bad_length;
	if (fault == NULL)
		fault = judge(&q, &rule);
	if (fault != NULL)
		launcher_fault(l, from, fault);
	else
		rule->act(&q);
	fd_close_foreign(&q.fd);
}
