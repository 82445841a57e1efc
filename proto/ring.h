/*
 * ring.h - a byte ring between two processes that do not trust each other.
 *
 * One port has two memories (memfds of port_bytes()), each written by one side
 * only and mapped read-only by the other:
 *   P  written by the backend: frames from outside, and its cursors
 *   L  written by the lane:    frames for outside, its cursors and counters
 * Page 0 of each holds words (struct ring_page), the data follows.
 *
 * A record is an 8-byte header, then the frame, padded to 8; positions are
 * free-running byte counts. Publishing is per batch; a doorbell is due only
 * when the other side armed its event word. The rules a consumer follows are
 * at the head of ring.c.
 */
#ifndef PROTO_RING_H
#define PROTO_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_PAGE_BYTES	  4096u
#define RING_BYTES_MIN	  (64u << 10)
#define RING_BYTES_MAX	  (64u << 20)
#define RING_BYTES_USUAL  (2u << 20)

/* Longest frame in a record: QEMU's NET_BUFSIZE, 65536 + 4096. */
#define FRAME_BYTES_MAX 69632u
/* Shortest: an Ethernet header (IEEE 802.3). */
#define FRAME_BYTES_MIN 14u
/* Frames handled in one turn, and bytes after which a batch is published. */
#define BATCH_FRAMES 64u
#define BATCH_BYTES  (64u << 10)

#define PORT_COUNTERS 32u

/* Page 0 of P and of L; each word is stored by the memory's owner only. */
struct ring_page {
	uint32_t magic; /* RING_MAGIC, written once by the maker */
	uint32_t version;
	uint64_t data_bytes; /* information only: both sides were told */
	char pad0[48];
	uint64_t prod; /* owner's output: end of what is published */
	uint64_t space_event; /* owner wants a bell when cons passes this */
	char pad1[112];
	uint64_t cons; /* owner's input: end of what is consumed */
	uint64_t data_event; /* owner wants a bell when prod passes this */
	char pad2[48];
	uint64_t counter[PORT_COUNTERS]; /* owner's statistics, see counter.h */
};

/* Size of P or L for a ring of `data_bytes` (a power of two in range). */
size_t port_bytes(size_t data_bytes);

/* A frame handed over by a ring: borrowed until ring_release. */
struct frame {
	const uint8_t *data; /* in memory that the PEER can change: copy once */
	uint32_t len;	     /* bytes, FRAME_BYTES_MIN..FRAME_BYTES_MAX */
};

/* Producer's private half. */
struct ring_tx {
	struct ring_page *own;	      /* borrowed mapping, writable */
	const struct ring_page *peer; /* borrowed mapping, read-only */
	uint8_t *data;
	uint64_t size;	     /* data bytes, power of two */
	uint64_t pos;	     /* next byte to write */
	uint64_t published;  /* last value stored to own->prod */
	uint64_t cons;	     /* last checked value of peer->cons */
	uint32_t reserved;   /* bytes promised to the open reservation */
	uint32_t batch;	     /* records since the last publish */
};

/* Consumer's private half. */
struct ring_rx {
	struct ring_page *own;
	const struct ring_page *peer;
	const uint8_t *data;
	uint64_t size;
	uint64_t pos;	   /* next byte to read */
	uint64_t released; /* last value stored to own->cons */
	uint64_t prod;	   /* last checked value of peer->prod */
};

/*
 * ring_tx_attach, ring_rx_attach - take up a ring where own->prod/own->cons
 * stand (0 in fresh memory; a restarted lane continues). `own` must be memory
 * that the peer could never write. data_bytes as told by the broker.
 */
void ring_tx_attach(struct ring_tx *r, void *own_mem, const void *peer_mem,
    size_t data_bytes);
void ring_rx_attach(struct ring_rx *r, void *own_mem, const void *peer_mem,
    size_t data_bytes);

/*
 * ring_reserve - room for one frame of at most `len` bytes.
 * Returns 1 and *room; 0 when the ring is full (see ring_want_space);
 * -EPROTO when the peer's cons is impossible.
 */
int ring_reserve(struct ring_tx *r, uint32_t len, uint8_t **room);

/* ring_commit - the reserved room holds a frame of `len` <= reserved bytes. */
void ring_commit(struct ring_tx *r, uint32_t len);

/* ring_publish - show committed frames; true: ring the peer's bell. */
bool ring_publish(struct ring_tx *r);

/*
 * ring_want_space - ask for a bell once half the ring is free, look again.
 * Returns 1 when there is room already (do not sleep), 0, or -EPROTO.
 */
int ring_want_space(struct ring_tx *r);

/* Bytes between the peer's checked cons and our pos: what is not drained. */
uint64_t ring_tx_backlog(const struct ring_tx *r);
/* Re-read and check the peer's cons. 0 or -EPROTO. */
int ring_tx_refresh(struct ring_tx *r);

/* ring_next - the next frame. 1 and *out; 0 empty; -EPROTO. */
int ring_next(struct ring_rx *r, struct frame *out);

/* ring_peek - like ring_next without moving on; ring_skip moves on. */
int ring_peek(struct ring_rx *r, struct frame *out);
void ring_skip(struct ring_rx *r);

/*
 * ring_release - give back what ring_next handed out; true: ring the bell.
 */
bool ring_release(struct ring_rx *r);

/*
 * ring_arm - ask for a bell at the next frame, look again.
 * Returns 1 when a frame slipped in (do not sleep), 0, or -EPROTO.
 */
int ring_arm(struct ring_rx *r);

#endif
