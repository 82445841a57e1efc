/*
 * chan_fuzz.c - a peer of a channel that sends and shuts what it likes.
 *
 * The input is a script of the peer's deeds and of our answers. Whatever it
 * says, no descriptor is left open and the channel ends at most once.
 */
#include "proto/chan.h"

#include "proto/loop.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct loop *loop;
	struct timer *turn;
	struct chan *chan;
	int peer;
	int ends;
	unsigned sum;
	uint8_t bytes[CHAN_BYTES_MAX + 64];
} fz;

struct script {
	const uint8_t *at, *end;
};

static unsigned
take(struct script *s)
{
	return s->at < s->end ? *s->at++ : 0;
}

static void
demand(int truth)
{
	if (!truth)
		abort();
}

static int
lowest_free_fd(void)
{
	int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);

	demand(fd >= 0);
	close(fd);
	return fd;
}

/* Answers as the first byte of the message says. */
static int
message(void *self, const uint8_t *buf, size_t len, int *fds, size_t fd_count)
{
	size_t i;

	(void)self;
	demand(fz.ends == 0);
	demand(len > 0 && len <= CHAN_BYTES_MAX && fd_count <= CHAN_FDS_MAX);
	for (i = 0; i < len; i++)
		fz.sum += buf[i];
	for (i = 0; i < fd_count; i++)
		demand(close(fds[i]) == 0);
	switch (buf[0] & 7) {
	case 0:
		return -EPROTO;
	case 1:
		chan_free(ptr_take(fz.chan));
		return 0;
	case 2:
		(void)chan_send(fz.chan, buf, len, &fz.peer, buf[0] >> 6);
		return 0;
	default:
		return 0;
	}
}

static void
closed(void *self, int reason)
{
	(void)self;
	demand(++fz.ends == 1);
	demand(reason <= 0);
	chan_free(ptr_take(fz.chan));
}

static void
turn_over(void *self)
{
	(void)self;
	loop_stop(fz.loop, 0);
}

/* The peer sends `len` bytes with `fd_count` descriptors. */
static void
say(size_t len, size_t fd_count)
{
	static union {
		struct cmsghdr align;
		char room[CMSG_SPACE(253 * sizeof(int))];
	} u;
	struct iovec iov = {.iov_base = fz.bytes, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[253];
	size_t i;

	if (fd_count > 0) {
		for (i = 0; i < fd_count; i++)
			fds[i] = fz.peer;
		u.align.cmsg_level = SOL_SOCKET;
		u.align.cmsg_type = SCM_RIGHTS;
		u.align.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&u.align), fds, fd_count * sizeof(int));
		msg.msg_control = &u;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	(void)sendmsg(fz.peer, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
step(struct script *s)
{
	unsigned what = take(s);
	size_t len;

	switch (what & 7) {
	case 0:
		(void)shutdown(fz.peer, (int)(what >> 3) % 3);
		break;
	case 1:
		timer_set_ns(fz.turn, 0);
		(void)loop_run(fz.loop);
		break;
	case 2:
		if (fz.chan != NULL)
			(void)chan_send(fz.chan, fz.bytes, 1 + take(s) * 256u,
			    &fz.peer, what >> 3 & 7);
		break;
	case 3:
		(void)recv(fz.peer, fz.bytes + 1, 1000, MSG_DONTWAIT);
		break;
	case 4: /* around the greatest length */
		say(CHAN_BYTES_MAX - 8 + (what >> 4), what >> 3 & 1);
		break;
	default:
		fz.bytes[0] = (uint8_t)take(s);
		len = take(s);
		say(len, (what >> 3) % 3 == 0 ? take(s) % 254 : what >> 5);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct chan_ops ops = {message, closed};
	struct script s = {.at = data, .end = data + size};
	int fds[2], before;

	if (fz.loop == NULL) {
		fz.loop = loop_new();
		fz.turn = timer_new(fz.loop, turn_over, NULL);
	}
	if (size > 512)
		return 0;
	before = lowest_free_fd();
	demand(sys_pair(fds) == 0);
	fz.peer = fds[1];
	fz.ends = 0;
	fz.chan = chan_new(fz.loop, fds[0], take(&s) & 1, &ops, NULL);
	demand(fz.chan != NULL);
	while (s.at < s.end)
		step(&s);
	timer_set_ns(fz.turn, 0);
	(void)loop_run(fz.loop);
	chan_free(ptr_take(fz.chan));
	fd_close(&fz.peer);
	demand(lowest_free_fd() == before);
	return 0;
}
