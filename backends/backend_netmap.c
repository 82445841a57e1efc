/*
 * backend_netmap.c - frames in and out of a netmap port's rings.
 *
 * Runs in: the netmap backend. Trusts: the kernel's layout once it was found to
 * lie within the mapping. A pipe's other end shares buffers and slots with us,
 * so what is in a slot is hostile, and may change while we look.
 * Specification: netmap's interface, API 14 and 15 (proto/netmap.h).
 */
#include "backends/backend_netmap.h"

#include "proto/ring.h"

#include <errno.h>
#include <string.h>

/* --- finding ------------------------------------------------------------- */

static int
misplaced(struct err *err, const char *what)
{
	return err_set(err, -EPROTO,
	    "netmap's memory is not laid out as expected: %s", what);
}

/* Is [at, at + len) within [0, bytes)? */
static bool
within(int64_t at, uint64_t len, uint64_t bytes)
{
	return at >= 0 && (uint64_t)at <= bytes && len <= bytes - (uint64_t)at;
}

static int
attach_ring(struct nmp_ring *r, uint8_t *map, uint64_t bytes, int64_t at,
    struct err *err)
{
	struct netmap_ring *shared;
	int64_t buf_ofs, first;

	if (at % (int64_t)sizeof(uint64_t) != 0 ||
	    !within(at, sizeof *shared, bytes))
		return misplaced(err, "a ring");
	shared = (struct netmap_ring *)(void *)(map + at);
	r->shared = shared;
	r->slots = shared->slots;
	r->buf_bytes = shared->buf_bytes;
	buf_ofs = shared->buf_ofs;
	if (r->slots < 2 || r->slots > UINT32_MAX / sizeof *shared->slot ||
	    !within(at + (int64_t)sizeof *shared,
		(uint64_t)r->slots * sizeof *shared->slot, bytes))
		return misplaced(err, "a ring's slots");
	if (buf_ofs > (int64_t)bytes || buf_ofs < -(int64_t)bytes)
		return misplaced(err, "a ring's buffers");
	first = at + buf_ofs;
	if (r->buf_bytes < 64 || r->buf_bytes > UINT16_MAX + 1u ||
	    !within(first, (uint64_t)r->buf_bytes * NETMAP_BUF_FIRST, bytes))
		return misplaced(err, "a ring's buffers");
	r->bufs = map + first;
	first = (int64_t)((bytes - (uint64_t)first) / r->buf_bytes);
	r->buf_end = first > UINT32_MAX ? UINT32_MAX : (uint32_t)first;
	r->head = shared->head;
	r->tail = shared->tail;
	if (r->head >= r->slots || r->tail >= r->slots)
		return misplaced(err, "a ring's positions");
	return 0;
}

/* Where ring `i` of the table is, from the mapping's begin; 0: not ours. */
static int64_t
ring_at(const uint8_t *map, uint64_t nif, uint32_t i)
{
	int64_t ofs;

	memcpy(&ofs, map + nif + sizeof(struct netmap_if) + i * sizeof ofs,
	    sizeof ofs);
	if (ofs == 0)
		return 0;
	/* Far out stays far out: no overflow. */
	if (ofs > INT64_MAX / 2 || ofs < INT64_MIN / 2)
		return -1;
	return (int64_t)nif + ofs;
}

static int
attach_tx(struct nmp_port *p, uint8_t *map, uint64_t bytes, uint64_t nif,
    uint32_t count, struct err *err)
{
	for (uint32_t i = 0; i < count && !p->has_tx; i++) {
		int64_t at = ring_at(map, nif, i);

		if (at == 0)
			continue;
		p->has_tx = true;
		return attach_ring(&p->tx, map, bytes, at, err);
	}
	return 0;
}

static int
attach_rx(struct nmp_port *p, uint8_t *map, uint64_t bytes, uint64_t nif,
    uint32_t first, uint32_t count, struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < count && rc == 0; i++) {
		int64_t at = ring_at(map, nif, first + i);

		if (at == 0)
			continue;
		if (p->rx_count == NMP_RINGS_MAX)
			return misplaced(err, "too many rings");
		rc = attach_ring(&p->rx[p->rx_count++], map, bytes, at, err);
	}
	return rc;
}

int
nmp_attach(struct nmp_port *p, void *map, uint64_t bytes, uint64_t offset,
    bool multi, struct err *err)
{
	uint64_t tx, rx;
	struct netmap_if nif;
	int rc;

	memset(p, 0, sizeof *p);
	p->multi = multi;
	if (bytes > INT64_MAX / 4 || offset % sizeof(uint64_t) != 0 ||
	    offset > INT64_MAX / 4 ||
	    !within((int64_t)offset, sizeof nif, bytes))
		return misplaced(err, "the port's description");
	memcpy(&nif, (uint8_t *)map + offset, sizeof nif);
	tx = (uint64_t)nif.tx_rings + nif.host_tx_rings;
	rx = (uint64_t)nif.rx_rings + nif.host_rx_rings;
	if (tx > UINT16_MAX || rx > UINT16_MAX ||
	    !within((int64_t)(offset + sizeof nif), (tx + rx) * sizeof(int64_t),
		bytes))
		return misplaced(err, "the port's table of rings");
	rc = attach_tx(p, map, bytes, offset, (uint32_t)tx, err);
	if (rc == 0)
		rc = attach_rx(
		    p, map, bytes, offset, (uint32_t)tx, (uint32_t)rx, err);
	if (rc == 0 && p->rx_count == 0)
		rc = misplaced(err, "no ring to receive from");
	return rc;
}

/* --- positions ----------------------------------------------------------- */

/* From `a` forwards to `b`. */
static uint32_t
distance(const struct nmp_ring *r, uint32_t a, uint32_t b)
{
	return b >= a ? b - a : b + r->slots - a;
}

static uint32_t
advance(const struct nmp_ring *r, uint32_t at, uint32_t by)
{
	at += by;
	return at >= r->slots ? at - r->slots : at;
}

void
nmp_load(struct nmp_ring *r)
{
	uint32_t tail = __atomic_load_n(&r->shared->tail, __ATOMIC_ACQUIRE);

	/* One that cannot be: as if nothing had happened. */
	if (tail < r->slots)
		r->tail = tail;
}

void
nmp_publish(struct nmp_ring *r)
{
	__atomic_store_n(&r->shared->cur, r->head, __ATOMIC_RELEASE);
	__atomic_store_n(&r->shared->head, r->head, __ATOMIC_RELEASE);
}

bool
nmp_pending(const struct nmp_ring *r)
{
	return distance(r, r->head, r->tail) != r->slots - 1;
}

void
nmp_want_room(struct nmp_ring *r)
{
	__atomic_store_n(&r->shared->cur, r->tail, __ATOMIC_RELEASE);
}

/* --- in ------------------------------------------------------------------ */

/* One slot, read once. False: its buffer or its length cannot be. */
static bool
read_slot(const struct nmp_ring *r, uint32_t at, const uint8_t **data,
    uint32_t *len, bool *more)
{
	const volatile struct netmap_slot *slot = &r->shared->slot[at];
	uint32_t buf = slot->buf, bytes = slot->len;
	unsigned flags = slot->flags;

	*data = NULL;
	*len = bytes;
	*more = flags & NETMAP_SLOT_MORE;
	if (buf < NETMAP_BUF_FIRST || buf >= r->buf_end || bytes > r->buf_bytes)
		return false;
	*data = r->bufs + (uint64_t)buf * r->buf_bytes;
	return true;
}

enum nmp_found
nmp_next(const struct nmp_ring *r, struct nmp_span *s)
{
	uint32_t count = distance(r, r->head, r->tail), len;
	const uint8_t *data;
	bool more = true, good = true;

	s->len = s->slots = 0;
	while (more && s->slots < count) {
		if (!read_slot(
			r, advance(r, r->head, s->slots), &data, &len, &more))
			good = false;
		s->slots++;
		s->len += len;
		/* No frame any more, but where it ends is still wanted. */
		if (s->len > FRAME_BYTES_MAX) {
			s->len = FRAME_BYTES_MAX + 1;
			good = false;
		}
	}
	if (s->slots == 0)
		return NMP_NONE;
	/* Its end is not there yet; one that fills the ring has none. */
	if (more)
		return count < r->slots - 1 ? NMP_NONE : NMP_BAD;
	return good && s->len >= FRAME_BYTES_MIN ? NMP_FRAME : NMP_BAD;
}

bool
nmp_copy(const struct nmp_ring *r, const struct nmp_span *s, uint8_t *out)
{
	uint32_t done = 0, len, i;
	const uint8_t *data;
	bool more;

	for (i = 0; i < s->slots; i++) {
		if (!read_slot(r, advance(r, r->head, i), &data, &len, &more) ||
		    len > s->len - done)
			return false;
		memcpy(out + done, data, len);
		done += len;
	}
	return done == s->len;
}

void
nmp_drop(struct nmp_ring *r, const struct nmp_span *s)
{
	r->head = advance(r, r->head, s->slots);
}

/* --- out ----------------------------------------------------------------- */

/* A buffer of the ring's own for slot `at`, or NULL. */
static uint8_t *
slot_buffer(const struct nmp_ring *r, uint32_t at)
{
	const volatile struct netmap_slot *slot = &r->shared->slot[at];
	uint32_t buf = slot->buf;

	if (buf < NETMAP_BUF_FIRST || buf >= r->buf_end)
		return NULL;
	return r->bufs + (uint64_t)buf * r->buf_bytes;
}

/* Slots without a frame: nothing of a cut one may leave. */
static void
skip_slots(struct nmp_ring *r, uint32_t count)
{
	for (; count > 0; count--) {
		r->shared->slot[r->head].len = 0;
		r->shared->slot[r->head].flags = 0;
		r->head = advance(r, r->head, 1);
	}
}

enum nmp_put
nmp_put(struct nmp_port *p, const uint8_t *frame, uint32_t len)
{
	struct nmp_ring *r = &p->tx;
	uint32_t need = (len + r->buf_bytes - 1) / r->buf_bytes, i, at, part;
	uint8_t *buf;

	if ((need > 1 && !p->multi) || need > r->slots - 1)
		return NMP_TOO_LONG;
	if (distance(r, r->head, r->tail) < need)
		return NMP_FULL;
	for (i = 0, at = r->head; i < need; i++, at = advance(r, at, 1)) {
		struct netmap_slot *slot = &r->shared->slot[at];

		buf = slot_buffer(r, at);
		if (!buf) {
			skip_slots(r, i + 1);
			return NMP_BROKEN;
		}
		part = len < r->buf_bytes ? len : r->buf_bytes;
		memcpy(buf, frame, part);
		slot->len = (uint16_t)part;
		slot->flags = i + 1 < need ? NETMAP_SLOT_MORE : 0;
		frame += part;
		len -= part;
	}
	r->head = at;
	return NMP_PUT;
}
