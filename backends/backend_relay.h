/*
 * backend_relay.h - bytes both ways between two stream sockets, until both
 * have said all.
 *
 * A set owns its relays and their sockets; each holds two buffers of
 * RELAY_BYTES. Half-closed connections stay half-closed on the other side.
 */
#ifndef BACKENDS_BACKEND_RELAY_H
#define BACKENDS_BACKEND_RELAY_H

#include "proto/addr.h"

#define RELAY_BYTES (32u << 10)
#define RELAYS_MAX  256u

struct loop;
struct relay;

/* Zeroed is empty. */
struct relay_set {
	struct relay *first; /* owned */
	unsigned count;
};

/*
 * relay_add - takes both sockets; either may still be connecting. Returns 0,
 * -EMFILE above RELAYS_MAX or -ENOMEM (both sockets closed).
 */
int relay_add(struct relay_set *set, struct loop *l, int a, int b);

/*
 * relay_connect - take socket `a` and connect the other end to `to`, without
 * waiting. As relay_add, or -errno when the connection fails at once.
 */
int relay_connect(
    struct relay_set *set, struct loop *l, int a, const struct addr *to);

/* relay_close_all - end every connection. */
void relay_close_all(struct relay_set *set);

#endif
