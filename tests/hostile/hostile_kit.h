/*
 * hostile_kit.h - what the lies of hostile_backend.c have in common.
 */
#ifndef TESTS_HOSTILE_KIT_H
#define TESTS_HOSTILE_KIT_H

#include "gen/control.h"
#include "gen/schema.h"
#include "proto/bell.h"
#include "proto/chan.h"
#include "proto/launch.h"
#include "proto/log.h"
#include "proto/loop.h"
#include "proto/ring.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FLOOD_PER_TURN 1000

enum when {
	AT_START, /* instead of hello */
	AT_HELLO, /* instead of an honest hello */
	AT_READY, /* instead of ready, after configure */
	AT_ASK,   /* asked for the filter of its card */
	AT_CROSS, /* once at a crossover; again as with RUNNING */
	AT_VIEW,  /* asked to view an arena */
	RUNNING,  /* some time after ready; again every time it returns true */
};

struct hostile {
	struct loop *loop;
	struct chan *control;
	struct timer *timer;
	struct ring_page *own;        /* P */
	const struct ring_page *peer; /* L */
	struct ring_tx tx;
	struct ring_rx rx;
	size_t mem_bytes;
	const struct lie *lie; /* NULL: honest */
	uint64_t frames;       /* thrown away */
	uint64_t told, taken;  /* reports of a network card */
	uint32_t asked;        /* number of the last question */
	/* its end of a crossover; mapped for good */
	struct ring_page *cross_own; /* NULL: none */
	struct ring_tx cross_tx;
	struct ring_rx cross_rx;
	int cross_bell;
	uint32_t cross_serial;
	uint32_t arena; /* serial of the last one */
};

struct lie {
	const char *name;
	enum when when;
	bool (*tell)(struct hostile *h); /* true: do it again soon */
};

static inline void
tried(struct hostile *h, ssize_t rc)
{
	char kind[] = "tried", text[64];
	struct ctl_notice m = {.kind = kind, .text = text};

	(void)snprintf(text, sizeof text, "%s: %s", h->lie->name,
	    rc < 0 ? strerrorname_np((int)-rc) : "done");
	(void)ctl_send_notice(h->control, 0, &m);
}

_Noreturn static inline void
hang(void)
{
	for (;;)
		(void)clock_nanosleep(
		    CLOCK_MONOTONIC, 0, &(struct timespec){.tv_sec = 1}, NULL);
}

/* Send this descriptor along with `len` bytes. */
static inline void
send_with_fd(int to, const void *buf, size_t len, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof fd)];
	} rights = {.room = {0}};
	char copy[64] = {0};
	struct iovec part = {.iov_base = copy, .iov_len = len};
	struct msghdr msg = {
	    .msg_iov = &part,
	    .msg_iovlen = 1,
	    .msg_control = rights.room,
	    .msg_controllen = sizeof rights.room,
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	BUG_ON(len > sizeof copy);
	memcpy(copy, buf, len);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	(void)sendmsg(to, &msg, MSG_DONTWAIT);
}

#endif
