/*
 * tell.c - what the broker is told, and when there is room for it.
 *
 * Runs in: launcher. Trusts: nothing; the broker may stop reading.
 *
 * The broker's channel takes some ninety messages; there is no queue behind
 * it. An answer that does not fit waits, alone, and no further request is
 * read until it is gone. News of a slot (attested, exited, released) wait in
 * the slot, at most one of each kind, because a slot cannot have a new
 * process before the broker was told of the end of the old one.
 * Specification: proto/launch.h.
 */
#include "proto/sys.h"
#include "sandbox/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>

/* 1: sent; 0: no room; the broker's end is noticed elsewhere. */
static int
send_message(struct launcher *l, const struct launch_msg *msg, const int *fds,
    unsigned fd_count)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(ANSWER_FDS * sizeof(int))];
	} control;
	struct iovec piece = {
	    .iov_base = (void *)(uintptr_t)msg, .iov_len = sizeof *msg};
	struct msghdr head = {.msg_iov = &piece, .msg_iovlen = 1};
	int rc;

	if (fd_count > 0) {
		memset(&control, 0, sizeof control);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds, fd_count * sizeof(int));
		head.msg_control = &control;
		head.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	rc = (int)sys_result(
	    sendmsg(l->slots[0].chan, &head, MSG_DONTWAIT | MSG_NOSIGNAL));
	return rc != -EAGAIN;
}

/* Hear the broker's requests, or only when it has room again. */
static void
listen_to_broker(struct launcher *l, bool room)
{
	struct epoll_event event = {
	    .events = room ? EPOLLIN : EPOLLOUT, .data.u64 = 0};

	if (l->slots[0].chan >= 0)
		(void)epoll_ctl(
		    l->epoll, EPOLL_CTL_MOD, l->slots[0].chan, &event);
}

void
launcher_answer(struct launcher *l, const struct launch_msg *msg,
    const int *fds, unsigned fd_count)
{
	unsigned i;

	BUG_ON(l->answer_waits || fd_count > ANSWER_FDS);
	if (send_message(l, msg, fds, fd_count))
		return;
	l->answer = *msg;
	l->answer_fd_count = fd_count;
	for (i = 0; i < fd_count; i++)
		l->answer_fds[i] =
		    (int)sys_result(fcntl(fds[i], F_DUPFD_CLOEXEC, 0));
	l->answer_waits = true;
	listen_to_broker(l, false);
}

void
launcher_note(struct launcher *l, struct slot *s, enum slot_tell what)
{
	if (s->tell == 0)
		l->tells++;
	s->tell |= what;
}

static bool
flush_answer(struct launcher *l)
{
	unsigned i;

	if (!l->answer_waits)
		return true;
	if (!send_message(l, &l->answer, l->answer_fds, l->answer_fd_count))
		return false;
	for (i = 0; i < l->answer_fd_count; i++)
		fd_close(&l->answer_fds[i]);
	l->answer_waits = false;
	return true;
}

static bool
flush_listeners(struct launcher *l)
{
	struct launch_msg msg;

	while (l->latched && l->listeners_told < l->listener_count) {
		const struct listener *one = &l->listeners[l->listeners_told];

		memset(&msg, 0, sizeof msg);
		msg.magic = LAUNCH_MAGIC;
		msg.type = LAUNCH_LISTENER;
		memcpy(msg.result.text, one->name, sizeof one->name);
		if (!send_message(l, &msg, &one->fd, 1))
			return false;
		l->listeners_told++;
	}
	return true;
}

static void
opened(const struct slot *s, struct launch_msg *msg)
{
	msg->result = s->opened;
	msg->seq = s->run.seq;
}

static bool
flush_slot(struct launcher *l, struct slot *s)
{
	static const struct {
		unsigned what;
		uint32_t type;
	} order[] = {{TELL_OPENED, LAUNCH_OPENED},
	    {TELL_ATTESTED, LAUNCH_ATTESTED}, {TELL_EXITED, LAUNCH_EXITED},
	    {TELL_RELEASED, LAUNCH_RELEASED}};
	struct launch_msg msg;
	size_t i;

	for (i = 0; i < sizeof order / sizeof *order; i++) {
		if ((s->tell & order[i].what) == 0)
			continue;
		memset(&msg, 0, sizeof msg);
		msg.magic = LAUNCH_MAGIC;
		msg.type = order[i].type;
		msg.slot = (uint32_t)(s - l->slots);
		if (order[i].what == TELL_ATTESTED)
			msg.result = s->attested;
		else if (order[i].what == TELL_EXITED)
			msg.result = s->exited;
		else if (order[i].what == TELL_OPENED)
			opened(s, &msg);
		else
			msg.seq = s->release_seq;
		if (!send_message(l, &msg, NULL, 0))
			return false;
		s->tell &= ~order[i].what;
	}
	return true;
}

void
launcher_flush(struct launcher *l)
{
	bool room = flush_answer(l) && flush_listeners(l);
	unsigned i;

	for (i = 0; i < l->slots_known && room && l->tells > 0; i++) {
		struct slot *s = &l->slots[i];

		if (s->tell == 0)
			continue;
		room = flush_slot(l, s);
		if (s->tell == 0)
			l->tells--;
	}
	listen_to_broker(l, room);
}
