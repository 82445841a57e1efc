/*
 * backend_dgram.h - one datagram socket, one frame per datagram.
 *
 * Embedded by types that carry frames so. Reads and writes many datagrams per
 * system call, drops what is no frame, and can drop our own frames when a
 * multicast group sends them back. With L2TPv3 around the frames it drops what
 * is not of that wire.
 */
#ifndef BACKENDS_BACKEND_DGRAM_H
#define BACKENDS_BACKEND_DGRAM_H

#include "backends/backend.h"
#include "backends/backend_echo.h"
#include "backends/backend_l2tp.h"
#include "proto/addr.h"

#include <sys/uio.h>

/* Datagrams per system call. */
#define DGRAM_IN_FRAMES  32u
#define DGRAM_OUT_FRAMES 64u
/* One more byte than a frame may have; cut off means too long. */
#define DGRAM_SLOT_BYTES (FRAME_BYTES_MAX + 8u)

struct watch;
struct timer;

/* One in a slot, or a part of it: a frame with what may stand before it. */
struct datagram {
	const uint8_t *data;
	uint32_t len;
	bool strange;
};

struct dgram {
	struct backend *be;  /* borrowed */
	int fd;              /* owned */
	bool inet;           /* not a unix socket: may tell overflows */
	struct watch *watch; /* owned */
	struct timer *pause; /* owned; see dgram.c on empty datagrams */
	bool raw_ipv4;       /* datagrams begin with an IPv4 header */
	bool held, blocked;
	bool fickle; /* a peer that is not there means `alone`, not a drop */
	bool alone;  /* ... and it was not; the owner sets it to false */
	bool used;   /* a datagram went or came; the owner sets it to false */
	struct addr to;    /* where to send; len 0: connected */
	struct echo *echo; /* owned; NULL: own frames do not come back */
	uint8_t *buf;      /* owned mapping, one slot per datagram */
	struct l2tp *l2tp; /* borrowed; NULL: frames are bare */
	struct addr peer;  /* with l2tp: who may send */
	size_t at, end;    /* received, not yet in the ring */
	uint32_t pos;      /* ... where in slot `at` */
	uint32_t len[DGRAM_IN_FRAMES]; /* bytes in each slot */
	uint32_t seg[DGRAM_IN_FRAMES]; /* ... of each datagram; 0: it is one */
	bool strange[DGRAM_IN_FRAMES]; /* ... it is not from `peer` */
	struct datagram frame;         /* held: what found no room */
	size_t ask;                    /* datagrams to ask for at a time */
	uint32_t group_most; /* bytes of those that go as one; 0: none do */
	uint32_t overflow;   /* the kernel's count when last told */
};

/*
 * dgram_open - take over `fd`. `to` NULL: the socket is connected; `echo`:
 * drop what comes back. Stage 3: sets an option of the socket. 0 or -errno.
 */
int dgram_open(struct dgram *d, struct backend *be, int fd,
    const struct addr *to, bool echo);
void dgram_close(struct dgram *d);

/*
 * dgram_wrap - each frame has an L2TPv3 header, and comes from the peer that
 * the socket is connected to. Stage 3, before dgram_start. 0 or -errno.
 */
int dgram_wrap(struct dgram *d, struct l2tp *l2tp);

/*
 * dgram_merge - let equal datagrams go to the kernel as one, and come so. For
 * a connected UDP socket that nobody else has. Stage 3.
 */
void dgram_merge(struct dgram *d);

/* dgram_start - read from now on. 0 or -ENOMEM. */
int dgram_start(struct dgram *d);

/* The two calls of struct backend_type of the same names. */
size_t dgram_frames(struct dgram *d, const struct frame *f, size_t count);
void dgram_room(struct dgram *d);

#endif
