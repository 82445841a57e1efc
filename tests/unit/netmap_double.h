/*
 * netmap_double.h - a netmap module in the test's own process, behind a device
 * name: ports of VALE switches, pipes, and cards without netmap in their
 * driver. It stands in for open, ioctl and sys_map in the code that is included
 * after it.
 *
 * As the module: frames and slots move in a sync only; one slot is kept back;
 * broken positions are reset and not told; a full receiver of a switch loses
 * frames, a pipe holds its sender; a card sends each slot as a frame; buffers
 * are never cleared. The descriptor is an eventfd: readable when a peer's sync
 * brought something, until our RXSYNC. What it cannot show: a sync that does
 * not return, and poll(2) as a sync.
 */
#ifndef TESTS_UNIT_NETMAP_DOUBLE_H
#define TESTS_UNIT_NETMAP_DOUBLE_H

#include "proto/netmap.h"
#include "proto/ring.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define DBL_DEVICE "/dev/netmap-double"
#define DBL_PORTS  8
#define DBL_SLOTS  64u
#define DBL_BUF    2048u
#define DBL_IF_AT  1088u /* of the description */
#define DBL_BYTES  (DBL_IF_AT + 40000u + (4u * DBL_SLOTS + 9u) * DBL_BUF + 24u)
#define DBL_WIRE   (256u * 1024)

struct dbl_ring {
	struct netmap_ring *shared;
	uint32_t done; /* of head: what the kernel has seen */
	uint32_t end;  /* rx: what has been delivered; tail is told at sync */
};

struct dbl_port {
	int fd; /* the visible one; 0: free */
	int memory;
	uint8_t *map;
	uint64_t at; /* of its description */
	char name[64];
	enum netmap_kind kind;
	struct dbl_ring tx, rx;
	struct dbl_port *peer; /* pipe */
	uint8_t macs[16][6];   /* switch: learned here */
	unsigned mac_count;
	uint8_t wire[DBL_WIRE]; /* card: what it sent, each with its length */
	size_t wired;
	bool gone;
};

static struct dbl_port dbl_ports[DBL_PORTS];
static bool dbl_old; /* knows the legacy request only */
static unsigned dbl_tx_syncs;

static inline struct dbl_port *
dbl_of(int fd)
{
	for (int i = 0; i < DBL_PORTS; i++)
		if (dbl_ports[i].fd == fd && fd > 0)
			return &dbl_ports[i];
	return NULL;
}

static inline struct dbl_port *
dbl_named(const char *name)
{
	for (int i = 0; i < DBL_PORTS; i++)
		if (dbl_ports[i].fd > 0 && strcmp(dbl_ports[i].name, name) == 0)
			return &dbl_ports[i];
	return NULL;
}

/* The last of a port: munmap and close, as the module wants both. */
static inline void
dbl_end(struct dbl_port *p)
{
	(void)munmap(p->map, DBL_BYTES);
	if (p->peer)
		p->peer->peer = NULL;
	(void)close(p->memory);
	p->fd = 0;
}

static int
dbl_open(const char *path, int flags, ...)
{
	if (strcmp(path, DBL_DEVICE) != 0)
		return open(path, flags, 0600);
	for (int i = 0; i < DBL_PORTS; i++)
		if (dbl_ports[i].fd == 0) {
			memset(&dbl_ports[i], 0, sizeof dbl_ports[i]);
			return dbl_ports[i].fd = eventfd(0, EFD_NONBLOCK);
		}
	errno = ENOMEM;
	return -1;
}

/* --- layout -------------------------------------------------------------- */

static inline void
dbl_make_ring(struct dbl_port *p, struct dbl_ring *r, unsigned index,
    uint64_t at, uint64_t bufs, uint32_t first, bool tx)
{
	int64_t ofs = (int64_t)at - (int64_t)p->at;

	memcpy(p->map + p->at + sizeof(struct netmap_if) + index * sizeof ofs,
	    &ofs, sizeof ofs);
	r->shared = (struct netmap_ring *)(void *)(p->map + at);
	r->shared->buf_ofs = (int64_t)bufs - (int64_t)at;
	r->shared->slots = DBL_SLOTS;
	r->shared->buf_bytes = DBL_BUF;
	r->shared->dir = tx;
	r->shared->tail = tx ? DBL_SLOTS - 1 : 0;
	for (uint32_t i = 0; i < DBL_SLOTS; i++) {
		/* Not in order. */
		r->shared->slot[i].buf = first + (i * 7) % DBL_SLOTS;
		r->shared->slot[i].len = DBL_BUF;
	}
}

/* Half 0 or 1 of the region: a pipe's ends share one. */
static inline void
dbl_layout(struct dbl_port *p, unsigned half)
{
	uint64_t base, bufs = DBL_IF_AT + 40000u;
	uint32_t first = 9 + half * 2 * DBL_SLOTS;
	struct netmap_if *nif;

	p->at = DBL_IF_AT + half * 20000u;
	base = p->at + 1000;
	nif = (struct netmap_if *)(void *)(p->map + p->at);
	nif->tx_rings = nif->rx_rings = 1;
	nif->host_tx_rings = nif->host_rx_rings = 1; /* and not ours: 0 */
	dbl_make_ring(p, &p->rx, 2, base, bufs, first, false);
	dbl_make_ring(p, &p->tx, 0, base + 5000, bufs, first + DBL_SLOTS, true);
}

static inline int
dbl_bind(struct dbl_port *p, const char *name, uint64_t flags)
{
	char other[64];
	char *end;

	if (p->map)
		return EBUSY;
	if (strcmp(name, "vale9:hdr") == 0)
		return EIO;
	if (dbl_named(name))
		return EBUSY;
	if (!(flags & NETMAP_REG_EXCLUSIVE))
		return EPERM; /* the module shares: we must never ask so */
	snprintf(p->name, sizeof p->name, "%s", name);
	snprintf(other, sizeof other, "%s", name);
	end = strpbrk(other, "{}");
	p->kind = end                             ? NETMAP_PIPE
		  : strncmp(name, "vale", 4) == 0 ? NETMAP_VALE
						  : NETMAP_NIC;
	if (strncmp(name, "val", 3) == 0 && !strchr(name, ':'))
		return ENOMEM;
	if (p->kind == NETMAP_NIC && strcmp(name, "eth0") != 0)
		return ENXIO;
	if (end)
		*end = *end == '{' ? '}' : '{';
	p->peer = end ? dbl_named(other) : NULL;
	if (p->peer) {
		p->peer->peer = p;
		p->memory = dup(p->peer->memory);
	} else {
		p->memory = memfd_create("double", 0);
		BUG_ON(ftruncate(p->memory, DBL_BYTES) < 0);
	}
	p->map = mmap(
	    NULL, DBL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, p->memory, 0);
	BUG_ON(p->map == MAP_FAILED);
	dbl_layout(p, p->peer != NULL);
	return 0;
}

/* --- frames -------------------------------------------------------------- */

static inline uint32_t
dbl_next(uint32_t i)
{
	return i + 1 == DBL_SLOTS ? 0 : i + 1;
}

static inline uint32_t
dbl_free(const struct dbl_ring *r)
{
	return (r->done + DBL_SLOTS - r->end - 1) % DBL_SLOTS;
}

static inline uint8_t *
dbl_buf(const struct dbl_ring *r, uint32_t slot)
{
	return (uint8_t *)r->shared + r->shared->buf_ofs +
	       (uint64_t)r->shared->slot[slot].buf * DBL_BUF;
}

/* Is that frame of a sender's ring one that moves at all? */
static inline bool
dbl_good(const struct dbl_ring *r, uint32_t at, uint32_t count)
{
	bool good = r->shared->slot[at].len >= 14;

	for (; count > 0; count--, at = dbl_next(at))
		good = good && r->shared->slot[at].len <= DBL_BUF &&
		       r->shared->slot[at].buf >= NETMAP_BUF_FIRST &&
		       r->shared->slot[at].buf < 4 * DBL_SLOTS + 9;
	return good;
}

static inline void
dbl_copy_to(struct dbl_port *to, const struct dbl_ring *from, uint32_t at,
    uint32_t count)
{
	if (dbl_free(&to->rx) < count)
		return; /* lost, and nobody is told */
	for (uint32_t i = 0; i < count; i++, at = dbl_next(at)) {
		struct netmap_slot *slot = &to->rx.shared->slot[to->rx.end];

		slot->len = from->shared->slot[at].len;
		slot->flags =
		    (uint16_t)(count << 8 |
			       (i + 1 < count ? NETMAP_SLOT_MORE : 0));
		memcpy(
		    dbl_buf(&to->rx, to->rx.end), dbl_buf(from, at), slot->len);
		to->rx.end = dbl_next(to->rx.end);
	}
	(void)eventfd_write(to->fd, 1);
}

static inline bool
dbl_knows(const struct dbl_port *p, const uint8_t *mac)
{
	for (unsigned i = 0; i < p->mac_count; i++)
		if (memcmp(p->macs[i], mac, 6) == 0)
			return true;
	return false;
}

static inline void
dbl_switch(struct dbl_port *p, uint32_t at, uint32_t count)
{
	const uint8_t *frame = dbl_buf(&p->tx, at);
	size_t len = strcspn(p->name, ":") + 1;
	struct dbl_port *known = NULL;

	if (!(frame[6] & 1) && !dbl_knows(p, frame + 6) && p->mac_count < 16)
		memcpy(p->macs[p->mac_count++], frame + 6, 6);
	for (int i = 0; i < DBL_PORTS; i++)
		if (!(frame[0] & 1) && dbl_ports[i].fd > 0 &&
		    strncmp(dbl_ports[i].name, p->name, len) == 0 &&
		    dbl_knows(&dbl_ports[i], frame))
			known = &dbl_ports[i];
	for (int i = 0; i < DBL_PORTS; i++) {
		struct dbl_port *to = &dbl_ports[i];

		if (to->fd > 0 && to->map && to != p &&
		    strncmp(to->name, p->name, len) == 0 &&
		    (!known || known == to))
			dbl_copy_to(to, &p->tx, at, count);
	}
}

static inline void
dbl_wire(struct dbl_port *p, uint32_t at)
{
	uint16_t len = p->tx.shared->slot[at].len;

	if (len < 14 || len > 1514 || p->wired + 2 + len > DBL_WIRE)
		return;
	memcpy(p->wire + p->wired, &len, 2);
	memcpy(p->wire + p->wired + 2, dbl_buf(&p->tx, at), len);
	p->wired += 2u + len;
}

/* Slots change places; no room: the rest waits. */
static inline bool
dbl_swap(struct dbl_port *p, uint32_t at)
{
	struct netmap_slot *mine = &p->tx.shared->slot[at], *slot;
	uint32_t buf;

	if (!p->peer)
		return true; /* into nowhere */
	if (dbl_free(&p->peer->rx) == 0)
		return false;
	slot = &p->peer->rx.shared->slot[p->peer->rx.end];
	buf = slot->buf;
	*slot = *mine;
	mine->buf = buf;
	p->peer->rx.end = dbl_next(p->peer->rx.end);
	(void)eventfd_write(p->peer->fd, 1);
	return true;
}

static inline uint32_t
dbl_frame_slots(const struct dbl_ring *r, uint32_t at, uint32_t head)
{
	uint32_t count = 1;

	while ((r->shared->slot[at].flags & NETMAP_SLOT_MORE) &&
	       dbl_next(at) != head) {
		at = dbl_next(at);
		count++;
	}
	return count;
}

/* Positions that cannot be are put back, and what waited is lost. */
static inline bool
dbl_head(struct dbl_ring *r, uint32_t end)
{
	uint32_t head = r->shared->head;

	if (head < DBL_SLOTS && (head + DBL_SLOTS - r->done) % DBL_SLOTS <=
				    (end + DBL_SLOTS - r->done) % DBL_SLOTS)
		return true;
	r->shared->head = r->shared->cur = r->done;
	return false;
}

static inline void
dbl_txsync(struct dbl_port *p)
{
	struct dbl_ring *r = &p->tx;
	uint32_t keep = r->done == 0 ? DBL_SLOTS - 1 : r->done - 1, count;

	dbl_tx_syncs++;
	if (p->kind == NETMAP_PIPE)
		keep = r->end != 0 ? r->end - 1 : r->shared->tail;
	if (!dbl_head(r, r->shared->tail))
		return;
	(void)keep;
	while (r->done != r->shared->head) {
		count = p->kind == NETMAP_VALE
			    ? dbl_frame_slots(r, r->done, r->shared->head)
			    : 1;
		if (p->kind == NETMAP_VALE && dbl_good(r, r->done, count))
			dbl_switch(p, r->done, count);
		else if (p->kind == NETMAP_NIC && dbl_good(r, r->done, 1))
			dbl_wire(p, r->done);
		else if (p->kind == NETMAP_PIPE && !dbl_swap(p, r->done))
			break;
		r->done = (r->done + count) % DBL_SLOTS;
	}
	r->shared->tail = r->done == 0 ? DBL_SLOTS - 1 : r->done - 1;
}

static inline void
dbl_rxsync(struct dbl_port *p)
{
	eventfd_t value;

	if (dbl_head(&p->rx, p->rx.shared->tail))
		p->rx.done = p->rx.shared->head;
	p->rx.shared->tail = p->rx.end;
	(void)eventfd_read(p->fd, &value);
	/* Level-triggered: as long as there is something to take. */
	if (p->rx.done != p->rx.end)
		(void)eventfd_write(p->fd, 1);
}

/* What came to a card from its wire. */
static inline void
dbl_arrive(struct dbl_port *p, const uint8_t *frame, uint16_t len)
{
	if (dbl_free(&p->rx) == 0)
		return;
	p->rx.shared->slot[p->rx.end].len = len;
	p->rx.shared->slot[p->rx.end].flags = 0;
	memcpy(dbl_buf(&p->rx, p->rx.end), frame, len);
	p->rx.end = dbl_next(p->rx.end);
	(void)eventfd_write(p->fd, 1);
}

/* --- the calls ----------------------------------------------------------- */

static inline int
dbl_register(struct dbl_port *p, void *arg)
{
	struct netmap_header *h = arg;
	struct netmap_register *r = (void *)(uintptr_t)h->body;
	int error;

	if (h->version != NETMAP_API || h->type != NETMAP_REQ_REGISTER ||
	    h->reserved != 0 || !r || r->mode == 0 || r->mode > 4)
		return EINVAL;
	error = dbl_bind(p, h->name, r->flags);
	r->offset = p->at;
	r->bytes = DBL_BYTES;
	return error;
}

static inline int
dbl_register_old(struct dbl_port *p, void *arg)
{
	struct netmap_register_old *r = arg;
	int error;

	if (r->version != NETMAP_API || r->cmd != 0)
		return EINVAL;
	error = dbl_bind(p, r->name, r->flags & ~15u);
	r->offset = (uint32_t)p->at;
	r->bytes = DBL_BYTES;
	return error;
}

static int
dbl_ioctl(int fd, unsigned long request, ...)
{
	struct dbl_port *p = dbl_of(fd);
	int error = 0;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!p)
		return ioctl(fd, request, arg);
	if (request == NETMAP_IOC_CONTROL && !dbl_old)
		error = dbl_register(p, arg);
	else if (request == NETMAP_IOC_REGISTER_OLD)
		error = dbl_register_old(p, arg);
	else if (p->gone)
		error = EIO;
	else if (request == NETMAP_IOC_TXSYNC && p->map)
		dbl_txsync(p);
	else if (request == NETMAP_IOC_RXSYNC && p->map)
		dbl_rxsync(p);
	else
		error = EOPNOTSUPP;
	errno = error;
	return error ? -1 : 0;
}

static int
dbl_sys_map(int fd, size_t len, bool writable, void **out)
{
	struct dbl_port *p = fd >= 0 ? dbl_of(fd) : NULL;

	if (p && (!p->map || len > DBL_BYTES))
		return -EINVAL;
	return sys_map(p ? p->memory : fd, len, writable, out);
}

#define open(...)    dbl_open(__VA_ARGS__)
#define ioctl(...)   dbl_ioctl(__VA_ARGS__)
#define sys_map(...) dbl_sys_map(__VA_ARGS__)

#endif
