/*
 * backend_netmap.h - frames in and out of a netmap port's rings.
 *
 * Pure but for the shared memory: no system call. The caller syncs. The memory
 * belongs to the kernel and, with some ports, also to another program: each
 * word is read once and judged, positions are kept here, and nothing is
 * touched outside of the mapping.
 */
#ifndef BACKENDS_BACKEND_NETMAP_H
#define BACKENDS_BACKEND_NETMAP_H

#include "proto/err.h"
#include "proto/netmap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rings of one direction that are looked at; netmap has up to 16 per port, and
 * the host's. */
#define NMP_RINGS_MAX 64u

struct nmp_ring {
	struct netmap_ring *shared; /* borrowed: in the mapping */
	uint8_t *bufs;              /* where buffer 0 is */
	uint32_t slots, buf_bytes;
	uint32_t buf_end; /* buffers from here on are not in the mapping */
	uint32_t head;    /* ours, the true one */
	uint32_t tail;    /* the kernel's when last read */
};

struct nmp_port {
	struct nmp_ring tx, rx[NMP_RINGS_MAX];
	unsigned rx_count;
	bool has_tx;
	bool multi; /* a frame may take several slots */
};

/*
 * nmp_attach - find the rings in `bytes` bytes of mapping at `map`.
 *   offset  of the port's description, as the kernel said it
 *   multi   frames may span slots (switches and pipes)
 * 0, or -EPROTO with *err: something does not lie within the mapping.
 */
int nmp_attach(struct nmp_port *p, void *map, uint64_t bytes, uint64_t offset,
    bool multi, struct err *err);

/* nmp_load - after a sync: read how far the kernel is. */
void nmp_load(struct nmp_ring *r);

/* What nmp_next found. */
enum nmp_found {
	NMP_NONE,  /* nothing, or not all of a frame yet */
	NMP_FRAME, /* nmp_copy, then nmp_drop */
	NMP_BAD,   /* no frame: nmp_drop */
};

/* A frame in a receive ring: `slots` of them, `len` bytes in all. */
struct nmp_span {
	uint32_t slots, len;
};

enum nmp_found nmp_next(const struct nmp_ring *r, struct nmp_span *s);

/*
 * nmp_copy - the frame's bytes, s->len of them. Slots are judged again as they
 * are read: false when they are no longer what they were.
 */
bool nmp_copy(const struct nmp_ring *r, const struct nmp_span *s, uint8_t *out);

/* nmp_drop - done with it. The kernel gets the slots at nmp_publish and sync.
 */
void nmp_drop(struct nmp_ring *r, const struct nmp_span *s);

enum nmp_put {
	NMP_PUT,
	NMP_FULL,     /* no room now */
	NMP_TOO_LONG, /* never room, or not on such a port */
	NMP_BROKEN,   /* the slot's buffer is nowhere: the slot was skipped */
};

/* nmp_put - a frame into the transmit ring, for the next nmp_publish. */
enum nmp_put nmp_put(struct nmp_port *p, const uint8_t *frame, uint32_t len);

/* nmp_publish - what we did is the kernel's at the next sync. */
void nmp_publish(struct nmp_ring *r);

/* nmp_pending - is there something that the kernel has not done with? */
bool nmp_pending(const struct nmp_ring *r);

/* nmp_want_room - have poll(2) wake us when the transmit ring has more. */
void nmp_want_room(struct nmp_ring *r);

#endif
