/*
 * backend_kit.h - a backend type under test, in the test's own process: rings
 * in memfds, the test as the lane, and no broker.
 *
 * Included by one test program each, after the type's .c file.
 */
#ifndef TESTS_UNIT_BACKEND_KIT_H
#define TESTS_UNIT_BACKEND_KIT_H

#include "backends/backend_state.h"
#include "proto/bell.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIT_RING_BYTES RING_BYTES_USUAL
#define KIT_WAIT_MS    5000u

struct kit {
	struct backend be;
	struct loop *loop;
	struct ring_tx to_backend; /* the lane's side */
	struct ring_rx from_backend;
	void *own, *peer; /* the lane's mappings: L, P */
	int bell;         /* the lane's end */
	struct timer *look;
	bool (*met)(struct kit *k, void *arg);
	void *arg;
	unsigned looks_left;
	uint64_t look_ns; /* between two looks; 0: a millisecond */
	int made;         /* for tests that count frames */
};

static void
kit_look(void *self)
{
	struct kit *k = self;

	if (k->met(k, k->arg) || k->looks_left-- == 0)
		loop_stop(k->loop, 0);
	else
		timer_set_ns(k->look, k->look_ns ? k->look_ns : 1000000);
}

/* Turn the loop until met() says so. False: it took too long. */
static inline bool
kit_until(struct kit *k, bool (*met)(struct kit *k, void *arg), void *arg)
{
	k->met = met;
	k->arg = arg;
	k->looks_left = KIT_WAIT_MS;
	timer_set_ns(k->look, 0);
	loop_run(k->loop);
	timer_stop(k->look);
	return met(k, arg);
}

static bool
kit_never(struct kit *k, void *arg)
{
	unsigned *turns = arg;

	(void)k;
	return (*turns)-- == 0;
}

/* Turn the loop for about `ms`. */
static inline void
kit_turn(struct kit *k, unsigned ms)
{
	(void)kit_until(k, kit_never, &ms);
}

/* Rings and loop, the type not yet open. */
static void
kit_init(struct kit *k, size_t ring_bytes)
{
	int p, l, bells[2], i;
	struct err err;

	memset(k, 0, sizeof *k);
	k->loop = loop_new();
	BUG_ON(!k->loop || bell_pair(bells) < 0);
	BUG_ON(sys_memfd("P", port_bytes(ring_bytes), &p) < 0);
	BUG_ON(sys_memfd("L", port_bytes(ring_bytes), &l) < 0);
	BUG_ON(sys_map(l, port_bytes(ring_bytes), true, &k->own) < 0);
	BUG_ON(sys_map(p, port_bytes(ring_bytes), false, &k->peer) < 0);
	ring_tx_attach(&k->to_backend, k->own, k->peer, ring_bytes);
	ring_rx_attach(&k->from_backend, k->own, k->peer, ring_bytes);
	k->bell = bells[1];
	k->look = timer_new(k->loop, kit_look, k);
	k->be.loop = k->loop;
	k->be.type = &backend_type;
	k->be.lane.bell = -1;
	k->be.ring_bytes = ring_bytes;
	for (i = 0; i < (int)LAUNCH_RESOURCES; i++)
		k->be.resource[i] = -1;
	k->be.reconnect = timer_new(k->loop, NULL, NULL);
	BUG_ON(backend_rings_open(&k->be, p, l, bells[0], &err) < 0);
	k->be.self = calloc(1, backend_type.self_bytes);
	BUG_ON(!k->be.self);
}

static int
kit_open(struct kit *k, const void *options, struct err *err)
{
	int rc = backend_type.open(k->be.self, &k->be, options, err);

	if (rc == 0)
		rc = backend_type.start(k->be.self, err);
	if (rc == 0)
		rc = backend_rings_start(&k->be);
	return rc;
}

static void
kit_fini(struct kit *k)
{
	backend_type.close(k->be.self);
	free(k->be.self);
	timer_free(k->be.reconnect);
	timer_free(k->look);
	backend_rings_close(&k->be);
	sys_unmap(k->own, port_bytes(k->to_backend.size));
	sys_unmap(k->peer, port_bytes(k->to_backend.size));
	fd_close(&k->bell);
	loop_free(k->loop);
}

/* One frame to the backend; 0 when the ring is full. Not yet published. */
static inline int
kit_send(struct kit *k, const void *data, uint32_t len)
{
	uint8_t *room;

	if (ring_reserve(&k->to_backend, len, &room) <= 0)
		return 0;
	memcpy(room, data, len);
	ring_commit(&k->to_backend, len);
	return 1;
}

/* The same with metadata. */
static inline int
kit_send_meta(
    struct kit *k, const void *data, uint32_t len, const struct frame_meta *m)
{
	uint8_t *room;

	if (ring_reserve_meta(&k->to_backend, len, &room) <= 0)
		return 0;
	memcpy(room, data, len);
	ring_commit_meta(&k->to_backend, len, m);
	return 1;
}

static inline void
kit_publish(struct kit *k)
{
	if (ring_publish(&k->to_backend))
		bell_ring(k->bell);
}

/* The next frame from the backend, copied; its length or 0. */
static inline uint32_t
kit_receive(struct kit *k, uint8_t out[FRAME_BYTES_MAX])
{
	struct frame f;

	if (ring_next(&k->from_backend, &f) <= 0)
		return 0;
	memcpy(out, f.data, f.len);
	if (ring_release(&k->from_backend))
		bell_ring(k->bell);
	return f.len;
}

static inline uint64_t
kit_counter(const struct kit *k, enum backend_counter c)
{
	return k->be.lane.tx.own->counter[c];
}

#endif
