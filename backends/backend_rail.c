/*
 * backend_rail.c - take up two memories and a bell, and let go of them.
 *
 * Runs in: every backend.
 * Trusts: the launcher, who made them, and the broker, who handed them over:
 * after the lock nobody can look how long a memory is.
 */
#include "backends/backend_state.h"

#include "proto/sys.h"

#include <errno.h>

int
rail_open(struct backend *be, struct rail *r, int own_fd, int peer_fd, int bell,
    void (*rung)(void *self, unsigned events))
{
	int rc = -EINVAL;

	r->bell = bell;
	if (!ring_bytes_valid(r->own_bytes) || !ring_bytes_valid(r->peer_bytes))
		goto out;
	rc = sys_map(own_fd, port_bytes(r->own_bytes), true, &r->own_mem);
	if (rc == 0)
		rc = sys_map(
		    peer_fd, port_bytes(r->peer_bytes), false, &r->peer_mem);
	if (rc < 0)
		goto out;
	ring_tx_attach(&r->tx, r->own_mem, r->peer_mem, r->own_bytes);
	ring_rx_attach(&r->rx, r->own_mem, r->peer_mem, r->peer_bytes);
	r->watch = watch_new(be->loop, bell, 0, rung, be);
	if (!r->watch)
		rc = -ENOMEM;
out:
	fd_close(&own_fd);
	fd_close(&peer_fd);
	if (rc < 0)
		rail_close(r);
	return rc;
}

void
rail_close(struct rail *r)
{
	watch_free(ptr_take(r->watch));
	fd_close(&r->bell);
	if (r->own_mem)
		sys_unmap(ptr_take(r->own_mem), port_bytes(r->own_bytes));
	if (r->peer_mem)
		sys_unmap(ptr_take(r->peer_mem), port_bytes(r->peer_bytes));
}
