/*
 * backend_dgram.h - one datagram socket, one frame per datagram.
 *
 * Embedded by types that carry frames so. Reads and writes many datagrams per
 * system call, drops what is no frame, and can drop our own frames when a
 * multicast group sends them back.
 */
#ifndef BACKENDS_BACKEND_DGRAM_H
#define BACKENDS_BACKEND_DGRAM_H

#include "backends/backend.h"
#include "backends/backend_echo.h"
#include "proto/addr.h"

#include <sys/uio.h>

/* Datagrams per system call. */
#define DGRAM_IN_FRAMES  32u
#define DGRAM_OUT_FRAMES 64u
/* One more byte than a frame may have; cut off means too long. */
#define DGRAM_SLOT_BYTES (FRAME_BYTES_MAX + 8u)

struct watch;
struct timer;

struct dgram {
	struct backend *be;  /* borrowed */
	int fd;              /* owned */
	bool inet;           /* not a unix socket: may tell overflows */
	struct watch *watch; /* owned */
	struct timer *pause; /* owned; see dgram.c on empty datagrams */
	bool held, blocked;
	struct addr to;    /* where to send; len 0: connected */
	struct echo *echo; /* owned; NULL: own frames do not come back */
	uint8_t *buf;      /* owned mapping, one slot per datagram */
	size_t at, end;    /* received, not yet in the ring */
	uint32_t len[DGRAM_IN_FRAMES]; /* of each; 0: to be skipped */
	uint32_t overflow;             /* the kernel's count when last told */
};

/*
 * dgram_open - take over `fd`. `to` NULL: the socket is connected; `echo`:
 * drop what comes back. Stage 3: sets an option of the socket. 0 or -errno.
 */
int dgram_open(struct dgram *d, struct backend *be, int fd,
    const struct addr *to, bool echo);
void dgram_close(struct dgram *d);

/* dgram_start - read from now on. 0 or -ENOMEM. */
int dgram_start(struct dgram *d);

/* The two calls of struct backend_type of the same names. */
size_t dgram_frames(struct dgram *d, const struct frame *f, size_t count);
void dgram_room(struct dgram *d);

#endif
