/*
 * backend_tap.h - frames over the queues of one tap: types tap and bridge.
 *
 * Owned by the type; the descriptors are the launcher's, all set up, and
 * stay open there when we end.
 */
#ifndef BACKENDS_BACKEND_TAP_H
#define BACKENDS_BACKEND_TAP_H

#include "backends/backend.h"
#include "proto/launch.h"

#include <linux/virtio_net.h>

struct tap;

struct tap_queue {
	struct tap *tap;     /* borrowed */
	int fd;              /* owned */
	struct watch *watch; /* owned */
};

struct tap {
	struct backend *be; /* borrowed */
	struct tap_queue queues[TAP_QUEUES_MAX];
	unsigned count;
	char name[16];
	bool header;  /* each frame has a struct virtio_net_hdr */
	bool held;    /* there is no room for frames from the kernel */
	bool blocked; /* a queue takes no more for now */
	bool gone;    /* the interface was deleted */
	bool remade;  /* ... the launcher can make another */
	bool down;    /* the interface refuses frames, as far as we know */
	/* poll-us: look for frames without being woken */
	struct again *poll; /* owned, or NULL: off */
	uint64_t poll_ns, last_ns;
};

/*
 * tap_open - take up all queues that the launcher gave us. `poll_us` as in
 * the options. 0, or -errno with *err.
 */
int tap_open(
    struct tap *t, struct backend *be, uint32_t poll_us, struct err *err);

/* As in struct backend_type. */
int tap_start(void *self, struct err *err);
size_t tap_frames(void *self, const struct frame *f, size_t count);
void tap_room(void *self);
void tap_close(void *self);

/* What both types may call. */
#define TAP_SYSCALLS                                                           \
	SYS(readv, "a frame from the kernel"),                                 \
	    SYS(writev, "a frame to the kernel, behind its header")

/* --- backend_tap_header.c: pure ------------------------------------------- */

/*
 * tap_meta - what the kernel's header says of a frame of `len` bytes. 0, or
 * -EINVAL: nothing that a frame can need.
 */
int tap_meta(
    const struct virtio_net_hdr *h, uint32_t len, struct frame_meta *out);

/*
 * tap_judge - what one read of a tap has given: `got` bytes, the header `h`
 * (NULL: the tap has none) and then the frame in `buf`, which has room for
 * FRAME_BYTES_MAX. A frame shorter than on a wire is filled up with zeros.
 * 0 with *len and *meta; -EMSGSIZE: no frame is so short or so long; -EINVAL:
 * the header is of no frame.
 */
int tap_judge(const struct virtio_net_hdr *h, uint8_t *buf, size_t got,
    uint32_t *len, struct frame_meta *meta);

/* tap_header - the other way; `m` is valid for the frame. */
void tap_header(const struct frame_meta *m, const struct frame *f,
    struct virtio_net_hdr *out);

/*
 * tap_flow - a number that frames of one flow have in common: addresses,
 * protocol and ports of IPv4 and IPv6, else the Ethernet addresses. The frame
 * may change while it is looked at.
 */
uint32_t tap_flow(const uint8_t *frame, size_t len);

#endif
