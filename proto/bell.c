/*
 * bell.c - a doorbell that cannot hang its ringer.
 *
 * Runs in: lanes and backends; the launcher makes the pairs.
 * Trusts: nothing that comes through the pair. What a hostile peer can do:
 *   - clear O_NONBLOCK: no effect, MSG_DONTWAIT belongs to each call;
 *   - never take our rings: the queue fills, sending fails, which is as good
 *     as a ring, for a full queue is readable;
 *   - ring for ever: bell_clear takes a bounded number per wake-up, and the
 *     caller's work per wake-up is bounded by its own batch;
 *   - send empty or long messages, shut or close: a fault;
 *   - attach descriptors: the kernel drops them, we give it no room.
 * Specification: unix(7), recv(2).
 */
#include "proto/bell.h"

#include "proto/sys.h"

#include <errno.h>
#include <sys/socket.h>

/* Rings taken in one bell_clear; more are left for the next wake-up. */
#define RINGS_MAX 8

int
bell_pair(int fds[2])
{
	int rc, bytes = 1, i;

	rc = sys_pair(fds);
	if (rc < 0)
		return rc;
	for (i = 0; i < 2; i++) {
		/* A few rings are enough; the kernel rounds up to its least. */
		(void)setsockopt(
		    fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
		/* An older kernel cannot, and bell_clear has no room. */
		sys_refuse_rights(fds[i]);
	}
	return 0;
}

void
bell_ring(int fd)
{
	static const char ring = 1;

	/* Full: it rings already. Gone: bell_clear will say so. */
	(void)send(fd, &ring, sizeof ring, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int
bell_clear(int fd)
{
	char ring;
	ssize_t got;
	int i;

	for (i = 0; i < RINGS_MAX; i++) {
		/* MSG_TRUNC: the true length, however little we take of it. */
		got = sys_result(
		    recv(fd, &ring, sizeof ring, MSG_DONTWAIT | MSG_TRUNC));
		if (got == -EAGAIN)
			return 0;
		/* 0 is a closed pair or an empty message: no ring either way */
		if (got != 1 && got != -EINTR)
			return -EPROTO;
	}
	return 0;
}
