/*
 * memories.c - memory and bells that two processes share, made anew each time.
 *
 * Runs in: launcher, which maps none of it. Trusts: nothing; the sizes are
 * those that a backend was started with, and of arenas those that the request
 * allows.
 *
 * Who reads a memory gets it as another open file, opened for reading only:
 * no mapping of that can be made writable (mprotect(2)), and the size of every
 * memory is sealed.
 * Specification: DESIGN section 5; proto/ring.h.
 */
#include "proto/bell.h"
#include "proto/ring.h"
#include "proto/sys.h"
#include "sandbox/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

int
memories_read_only(int fd)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return (int)sys_result(open(path, O_RDONLY | O_CLOEXEC));
}

int
memories_port(struct slot *s, uint64_t ring_bytes, int *peer, int *bell)
{
	size_t bytes = port_bytes((size_t)ring_bytes);
	int bells[2], rc;

	fd_close(&s->own_mem);
	fd_close(&s->peer_mem);
	fd_close(&s->lane_bell);
	rc = sys_memfd("bulkhead-port", bytes, &s->own_mem);
	if (rc >= 0)
		rc = sys_memfd("bulkhead-lane", bytes, &s->peer_mem);
	if (rc >= 0)
		*peer = rc = memories_read_only(s->peer_mem);
	if (rc >= 0)
		rc = bell_pair(bells);
	if (rc < 0)
		return rc;
	s->lane_bell = bells[0];
	*bell = bells[1];
	s->ring_bytes = ring_bytes;
	return 0;
}

/* What one end fills, and the other's view of it. */
static int
make_way(const struct slot *from, int *own, int *view)
{
	int rc = sys_memfd(
	    "bulkhead-cross", port_bytes((size_t)from->ring_bytes), own);

	if (rc >= 0)
		*view = rc = memories_read_only(*own);
	return rc;
}

/* Is that process there, and not on its way out? One that has just died is no
 * fault of the broker, who was not told yet. */
static bool
lives(const struct slot *s, uint32_t epoch)
{
	return s->pid != 0 && !s->doomed && s->epoch == epoch;
}

int
memories_cross(const struct slot *one, const struct slot *other,
    const struct launch_cross *c, struct cross_end ends[2])
{
	int bells[2], rc;

	if (!lives(one, c->epoch) || !lives(other, c->other_epoch) ||
	    one->role < ROLE_BACKEND || other->role < ROLE_BACKEND)
		return -ESRCH;
	ends[0] = ends[1] = (struct cross_end){-1, -1, -1};
	rc = make_way(one, &ends[0].own, &ends[1].peer);
	if (rc >= 0)
		rc = make_way(other, &ends[1].own, &ends[0].peer);
	if (rc >= 0)
		rc = bell_pair(bells);
	if (rc < 0) {
		memories_uncross(ends);
		return rc;
	}
	ends[0].bell = bells[0];
	ends[1].bell = bells[1];
	return 0;
}

void
memories_uncross(struct cross_end ends[2])
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		fd_close(&ends[i].own);
		fd_close(&ends[i].peer);
		fd_close(&ends[i].bell);
	}
}

int
memories_arena(
    const struct slot *lane, const struct launch_arena *a, int fds[2])
{
	int rc;

	if (!lives(lane, a->epoch) || lane->role != ROLE_LANE)
		return -ESRCH;
	rc = sys_memfd("bulkhead-arena", (size_t)a->bytes, &fds[0]);
	if (rc < 0)
		return rc;
	fds[1] = rc = memories_read_only(fds[0]);
	if (rc < 0)
		fd_close(&fds[0]);
	return rc < 0 ? rc : 0;
}
