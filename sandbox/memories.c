/*
 * memories.c - memory and bells that two processes share, made anew each time.
 *
 * Runs in: launcher, which maps none of it. Trusts: nothing; the sizes are
 * those that a backend was started with.
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

int
memories_cross(
    const struct slot *one, const struct slot *other, struct cross_end ends[2])
{
	int bells[2], rc;

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
