/*
 * l2tpv3.c - one Ethernet pseudo-wire of L2TPv3, over UDP or IP.
 *
 * Runs in: its own process, in an empty network namespace; the socket, bound
 * and connected, comes from the launcher.
 * Trusts: nothing that comes from the socket. It is no protection against who
 * can send with the peer's address and knows the cookie.
 * Specification: RFC 3931, 4719; QEMU net/l2tpv3.c (options, texts), but: a
 * datagram that is not from the peer, of another version or too long for a
 * frame is dropped, cookie64=off means 32 bits, pincounter has its word, and
 * the offset area is zero. See docs/decisions.md.
 */
#include "backends/backend_dgram.h"
#include "backends/backend_l2tp.h"
#include "proto/sys.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>

#include "gen/types.h"

/* Positions in "opens" of schema/backends.json. */
enum { RESOURCE_UDP, RESOURCE_RAW_IP };

struct wire {
	struct backend *be; /* borrowed */
	struct dgram dgram;
	struct l2tp l2tp;
};

/* The launcher opens what src and dst say; `ipv6` has to agree. */
static int
check_family(const struct netdev_l2tpv3_options *o, int fd, struct err *err)
{
	bool wanted = o->has_ipv6 && o->ipv6;
	struct addr own = {.len = sizeof own.un};
	bool found;

	if (getsockname(fd, &own.sa, &own.len) < 0)
		return err_set(err, -EBADF, "the socket has no address");
	found = own.sa.sa_family == AF_INET6;
	if (found == wanted)
		return 0;
	return err_set(err, -EINVAL,
	    found ? "src and dst are IPv6 addresses: set ipv6=on"
		  : "ipv6=on wants IPv6 addresses in src and dst");
}

static int
wire_open(void *self, struct backend *be, const void *options, struct err *err)
{
	const struct netdev_l2tpv3_options *o = options;
	struct wire *w = self;
	int fd, rc;

	w->be = be;
	w->dgram.fd = -1;
	rc = l2tp_setup(&w->l2tp, o, err);
	if (rc < 0)
		return rc;
	fd = backend_resource(be, w->l2tp.udp ? RESOURCE_UDP : RESOURCE_RAW_IP);
	if (fd < 0)
		return err_set(err, -EBADF, "the socket is missing");
	rc = check_family(o, fd, err);
	if (rc < 0) {
		fd_close(&fd);
		return rc;
	}
	rc = dgram_open(&w->dgram, be, fd, NULL, false);
	if (rc == 0)
		rc = dgram_wrap(&w->dgram, &w->l2tp);
	if (rc < 0)
		return err_set(
		    err, rc, "cannot use the socket: %s", strerror(-rc));
	if (w->l2tp.udp)
		dgram_merge(&w->dgram);
	backend_info(be, "l2tpv3: connected");
	return 0;
}

static int
wire_start(void *self, struct err *err)
{
	struct wire *w = self;

	if (dgram_start(&w->dgram) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	/* There is no connection that could go. */
	backend_connected(w->be, true, "");
	return 0;
}

static size_t
wire_frames(void *self, const struct frame *f, size_t count)
{
	struct wire *w = self;

	return dgram_frames(&w->dgram, f, count);
}

static void
wire_room(void *self)
{
	struct wire *w = self;

	dgram_room(&w->dgram);
}

static void
wire_close(void *self)
{
	struct wire *w = self;

	dgram_close(&w->dgram);
}

static const struct sysrule wire_rules[] = {
    SYS(recvmmsg, "datagrams in"),
    SYS(sendmmsg, "datagrams out"),
};

const struct backend_type backend_type = {
    .name = "l2tpv3",
    .self_bytes = sizeof(struct wire),
    .open = wire_open,
    .start = wire_start,
    .frames = wire_frames,
    .room = wire_room,
    .close = wire_close,
    .syscalls = {"l2tpv3", wire_rules, sizeof wire_rules / sizeof *wire_rules},
};
