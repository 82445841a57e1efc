/*
 * socket_address.h - SocketAddress options: what they may be, and what the
 * launcher is to open for them.
 *
 * Pure. Runs in the broker.
 */
#ifndef BROKER_SOCKET_ADDRESS_H
#define BROKER_SOCKET_ADDRESS_H

#include "proto/err.h"
#include "proto/launch.h"

#include "gen/types.h"

/* Rules of a type's options; texts are QEMU's. 0 or -EINVAL with *e. */
int socket_address_check_stream(struct netdev *nd, struct err *e);
int socket_address_check_dgram(struct netdev *nd, struct err *e);

/* socket_address_wants - is a resource of that kind what it needs? */
bool socket_address_wants(
    const struct socket_address *a, enum resource_kind kind);

/* socket_address_is_name - is its host a name? NULL is allowed. */
bool socket_address_is_name(const struct socket_address *a);

/* socket_address_family - which addresses of a name it takes, AF_UNSPEC: any */
int socket_address_family(const struct inet_socket_address *i);

/*
 * socket_address_plan - fill in o->local and o->remote; either may be NULL. Of
 * a name, only the port (proto/addr.h).
 * For addresses that passed their check. 0 or -EINVAL with *e.
 */
int socket_address_plan(const struct socket_address *local,
    const struct socket_address *remote, struct launch_open *o, struct err *e);

#endif
