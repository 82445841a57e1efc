/*
 * lane_flood.c - one batch from one source to all receivers of its group.
 *
 * Runs in: bulkhead-lane.
 * Trusts: the batch's lengths, which are private copies. Payload is copied
 * straight from the source's memory to each receiver's; only a receiver's
 * filter looks at its head.
 * Specification: DESIGN 4; loop order of performance.md 5 (batch, then ports).
 *
 * A frame for k receivers is given to all of them in the same turn or to none:
 * first every patient receiver is asked how many frames from the front of the
 * batch fit; the smallest answer is what all get, and the rest is held. So a
 * held frame has been given to nobody, and nobody gets it twice. Receivers
 * without patience are not asked; they lose what does not fit. A frame that a
 * receiver does not want (lane_filter.h) always fits there.
 */
#include "broker/lane_filter.h"

#include "proto/ring_copy.h"

#include <errno.h>
#include <string.h>

/* Exactly: write headers behind what is published, then forget. */
static int
fit_exactly(struct port *p, const struct lane_batch *b, size_t n)
{
	struct ring_tx try = p->out;
	size_t i;

	for (i = 0; i < n; i++) {
		uint8_t *room;
		int rc = ring_reserve_frame(&try, &b->frame[i], &room);

		if (rc < 0)
			return rc;
		if (rc == 0)
			break;
		ring_commit_frame(&try, &b->frame[i]);
	}
	p->out.cons = try.cons;
	p->out.wanted = try.wanted;
	return (int)i;
}

/* How many of the first n frames fit into the port's ring? Or -EPROTO. */
static int
fit(struct port *p, const struct lane_batch *b, size_t n)
{
	/* The pad before the end of the data is shorter than one record. */
	size_t need = b->record_bytes + RING_META_BYTES +
		      ring_record_bytes(FRAME_BYTES_MAX);
	const struct lane_pick *pick;
	int rc;

	if (p->out.size - (p->out.pos - p->out.cons) >= need)
		return (int)n;
	if (p->filter == NULL)
		return fit_exactly(p, b, n);
	pick = lane_filter_pick(p, b, n);
	rc = fit_exactly(p, &pick->batch, pick->batch.count);
	return rc < 0 ? rc : pick->before[rc];
}

/* Frames of the first n that the source may send as far as p is concerned;
 * p->limit says whether p is the reason for fewer. */
static size_t
ask(struct port *p, const struct lane_batch *b, size_t n)
{
	int fits;

	p->limit = SIZE_MAX;
	if (!p->attached || p->drop)
		return n;
	fits = fit(p, b, n);
	if (fits < 0) {
		lane_port_fault(p, "rx-ring");
		return n;
	}
	if ((size_t)fits == n || !lane_patience_look(p))
		return n;
	p->limit = (size_t)fits;
	return p->limit;
}

/* The ring's process lied while frames of this batch were put in: none of
 * them was published. */
static void
put_failed(struct port *p, size_t n)
{
	p->count[LC_RX_DROP_DEAD] += n;
	lane_port_fault(p, "rx-ring");
}

/*
 * Start again at the ring's beginning, where that saves cache. What is skipped
 * buys no patience: a full ring of which an eighth is left has been drained by
 * more than the half that patience asks for.
 */
static int
rewind_ring(struct port *p, const struct lane_batch *b)
{
	uint64_t rings = p->out.size * (p->member_count - 1);

	if (rings <= p->lane->footprint_bytes)
		return 0;
	return ring_rewind(&p->out, b->record_bytes);
}

/* Copy what fits of the first n frames, publish once, ring at most once. */
static void
put(struct port *p, const struct lane_batch *b, size_t n)
{
	uint64_t frames = 0, bytes = 0;
	size_t i = 0;

	if (rewind_ring(p, b) < 0) {
		put_failed(p, n);
		return;
	}
	while (i < n) {
		int done = ring_copy(&p->out, &b->frame[i], (unsigned)(n - i));
		uint32_t refused_len;

		if (done < 0) {
			put_failed(p, n);
			return;
		}
		frames += (unsigned)done;
		for (; done > 0; done--)
			bytes += b->frame[i++].len;
		if (i == n)
			break;
		/* The ring is full for this one, and for any that is longer. */
		refused_len = b->frame[i].len;
		while (i < n && b->frame[i].len >= refused_len)
			i++;
	}
	p->count[LC_RX_FRAMES] += frames;
	p->count[LC_RX_BYTES] += bytes;
	p->count[LC_RX_DROP_FULL] += n - frames;
	if (frames > 0 && ring_publish(&p->out))
		lane_port_ring_soon(p);
}

/* The same for a viewer of the arena that the batch is in. */
static void
put_shared(struct port *p, const struct lane_batch *b, size_t n)
{
	uint64_t shared, bytes;
	int done = lane_arena_refer(p, b, n, &shared, &bytes);

	if (done < 0) {
		put_failed(p, n);
		return;
	}
	p->count[LC_RX_FRAMES] += (unsigned)done;
	p->count[LC_RX_BYTES] += bytes;
	p->count[LC_RX_SHARED] += shared;
	p->count[LC_RX_DROP_FULL] += n - (unsigned)done;
	if (done > 0 && ring_publish(&p->out))
		lane_port_ring_soon(p);
}

/* The same for a port that does not want everything. */
static void
put_wanted(struct port *p, const struct lane_batch *b, size_t n)
{
	const struct lane_pick *pick = lane_filter_pick(p, b, n);

	p->count[LC_RX_FILTERED] += n - pick->batch.count;
	if (pick->batch.count > 0)
		put(p, &pick->batch, pick->batch.count);
}

size_t
lane_flood(struct lane *l, struct port *source, bool *held)
{
	const struct lane_batch *b = &l->batch;
	size_t n = b->count;
	bool shared;

	for (size_t i = 0; i < source->member_count; i++)
		if (source->member[i] != source)
			n = ask(source->member[i], b, n);
	shared = n > 0 && lane_arena_write(l, source, b, n);
	for (size_t i = 0; i < source->member_count; i++) {
		struct port *p = source->member[i];

		if (p == source)
			continue;
		if (!p->attached)
			p->count[LC_RX_DROP_DEAD] += n;
		else if (n > 0 && p->filter != NULL)
			put_wanted(p, b, n);
		else if (n > 0 && shared && lane_arena_serves(p))
			put_shared(p, b, n);
		else if (n > 0)
			put(p, b, n);
	}
	for (size_t i = 0; i < source->member_count && n < b->count; i++) {
		struct port *p = source->member[i];

		if (p != source && p->attached && p->limit == n)
			*held |= lane_hold_begin(p);
	}
	return n;
}
