/*
 * lane_port.c - a port's memories and bell: attach, detach, faults.
 *
 * Runs in: bulkhead-lane.
 * Trusts: L, which only lanes ever wrote; nothing in P, and no descriptor
 * before its size and seals are checked (a memory that can shrink would end
 * the lane with SIGBUS).
 * Specification: DESIGN 5 and 7, sandbox.md 8.
 */
#include "broker/lane.h"

#include "proto/bell.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct port *
lane_port_find(struct lane *l, uint32_t id)
{
	for (size_t i = 0; i < l->port_count; i++)
		if (l->port[i].used && l->port[i].id == id)
			return &l->port[i];
	return NULL;
}

struct port *
lane_port_take(struct lane *l, uint32_t id)
{
	struct port *p = lane_port_find(l, id);
	size_t i = 0;

	if (p != NULL)
		return p;
	while (i < LANE_PORTS_MAX && l->port[i].used)
		i++;
	if (i == LANE_PORTS_MAX)
		return NULL;
	p = &l->port[i];
	*p = (struct port){.lane = l, .id = id, .used = true, .bell = -1};
	p->count = p->away;
	if (i >= l->port_count)
		l->port_count = i + 1;
	return p;
}

void
lane_port_ring(struct port *p)
{
	bell_ring(p->bell);
	p->count[LC_BELLS]++;
}

void
lane_port_ring_soon(struct port *p)
{
	struct lane *l = p->lane;

	if (p->member_count <= LANE_RING_NOW) {
		lane_port_ring(p);
		return;
	}
	if (!p->bell_due) {
		p->bell_due = true;
		l->due[l->due_count++] = p;
	}
}

void
lane_ring_due(struct lane *l)
{
	for (size_t i = 0; i < l->due_count; i++) {
		struct port *p = l->due[i];

		p->bell_due = false;
		/* It may have been let go of since. */
		if (p->attached)
			lane_port_ring(p);
	}
	l->due_count = 0;
}

static bool
memory_is_fit(int fd, size_t bytes)
{
	const int want = F_SEAL_SHRINK | F_SEAL_GROW;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	return seals >= 0 && (seals & want) == want && fstat(fd, &st) == 0 &&
	       st.st_size >= 0 && (uint64_t)st.st_size == bytes;
}

/* Map both memories into *p; -EINVAL when they are not what was said. */
static int
map_memories(struct port *p, const struct lane_grant *g)
{
	void *own = NULL, *peer = NULL;
	size_t bytes;
	int rc = -EINVAL;

	if (!ring_bytes_valid(g->ring_bytes))
		return -EINVAL;
	bytes = port_bytes((size_t)g->ring_bytes);
	if (!memory_is_fit(g->own, bytes) || !memory_is_fit(g->peer, bytes))
		goto out;
	rc = sys_map(g->own, bytes, true, &own);
	if (rc < 0)
		goto out;
	rc = sys_map(g->peer, bytes, false, &peer);
	if (rc < 0)
		goto out;
	p->mem_bytes = bytes;
	p->own_mem = ptr_take(own);
	p->peer_mem = ptr_take(peer);
out:
	sys_unmap(peer, bytes);
	sys_unmap(own, bytes);
	return rc;
}

/* Positions are multiples of 8 by construction; a lane that ran wild before
 * us could have left others, which would lead us out of the data area. */
static bool
positions_are_fit(const struct port *p)
{
	return p->in.pos % 8 == 0 && p->out.pos % 8 == 0;
}

static int
take_up(struct port *p, const struct lane_grant *g)
{
	struct ring_page *page;
	int rc = map_memories(p, g);

	if (rc < 0)
		return rc;
	page = p->own_mem;
	ring_rx_attach(&p->in, p->own_mem, p->peer_mem, (size_t)g->ring_bytes);
	ring_tx_attach(&p->out, p->own_mem, p->peer_mem, (size_t)g->ring_bytes);
	if (!positions_are_fit(p) || lane_patience_reset(p) < 0) {
		sys_unmap(ptr_take(p->own_mem), p->mem_bytes);
		sys_unmap(ptr_take(p->peer_mem), p->mem_bytes);
		return -EINVAL;
	}
	p->count = page->counter;
	for (size_t i = 0; i < LC_COUNT; i++)
		p->count[i] += p->away[i];
	memset(p->away, 0, sizeof p->away);
	return 0;
}

static void
subtract(uint64_t *counter, uint64_t n)
{
	*counter -= n < *counter ? n : *counter;
}

/* Frames that were put into the ring and never read were not delivered. */
static void
count_dead(struct port *p)
{
	uint64_t bytes = 0;
	uint64_t frames = ring_tx_unread(&p->out, &bytes);

	p->count[LC_RX_DROP_DEAD] += frames;
	subtract(&p->count[LC_RX_FRAMES], frames);
	subtract(&p->count[LC_RX_BYTES], bytes);
}

/* Let go of memories and bell; the counters stay in p->away. */
static void
let_go(struct port *p, bool dead)
{
	struct lane *l = p->lane;

	/* It may not have read what is there: that may not change. */
	if (p->viewer.on)
		lane_arena_leave(l);
	lane_hold_end(p);
	lane_port_state(p, LP_OFF);
	if (dead)
		count_dead(p);
	memcpy(p->away, p->count, sizeof p->away);
	p->count = p->away;
	p->attached = false;
	p->filter = NULL;
	lane_port_unmute(p);
	if (l->ops->closing != NULL)
		l->ops->closing(l->self, p);
	fd_close(&p->bell);
	sys_unmap(ptr_take(p->own_mem), p->mem_bytes);
	sys_unmap(ptr_take(p->peer_mem), p->mem_bytes);
}

void
lane_port_fault(struct port *p, const char *reason)
{
	struct lane *l = p->lane;

	let_go(p, true);
	p->faulted = true;
	if (l->ops->fault != NULL)
		l->ops->fault(l->self, p, reason);
}

int
lane_attach(struct lane *l, const struct lane_grant *g)
{
	struct port *p = lane_port_take(l, g->port);
	int peer = g->peer, own = g->own, bell = g->bell;
	int rc = -ENOSPC;

	if (p == NULL)
		goto out;
	if (p->attached)
		let_go(p, true);
	p->epoch = g->epoch;
	p->faulted = false;
	rc = take_up(p, g);
	if (rc < 0) {
		p->faulted = true;
		goto out;
	}
	p->bell = fd_take(&bell);
	p->attached = true;
	p->bells_idle = 0;
	/* A lane before us may have died between a publish and its bell. */
	lane_port_ring(p);
	if (p->planned)
		lane_port_state(p, LP_READY);
	if (l->ops->listen != NULL)
		l->ops->listen(l->self, p, true);
out:
	fd_close(&bell);
	fd_close(&own);
	fd_close(&peer);
	return rc;
}

void
lane_detach(struct lane *l, uint32_t port, uint32_t epoch, bool dead,
    uint64_t counters[LC_COUNT])
{
	struct port *p = lane_port_find(l, port);

	memset(counters, 0, LC_COUNT * sizeof *counters);
	if (p == NULL || p->epoch != epoch)
		return;
	if (p->attached)
		let_go(p, dead);
	memcpy(counters, p->away, sizeof p->away);
	memset(p->away, 0, sizeof p->away);
	p->faulted = false;
	if (!p->planned)
		p->used = false;
}
