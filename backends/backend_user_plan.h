/*
 * backend_user_plan.h - the `user` netdev's options, checked and worked out:
 * addresses, forwarding rules, and which frames of the guest may pass.
 *
 * Pure: no socket, no file, no library. The texts are QEMU's where QEMU has
 * one, so that its users recognise them.
 */
#ifndef BACKENDS_BACKEND_USER_PLAN_H
#define BACKENDS_BACKEND_USER_PLAN_H

#include "proto/addr.h"
#include "proto/err.h"

#include "gen/types.h"

#define USER_RULES_MAX 256u
/* libslirp gives out this many leases from the first on. */
#define USER_LEASES 16u

/* One guestfwd rule: the guest's connections to server:port go to target. */
struct guestfwd {
	struct in_addr server;
	uint16_t port; /* host order */
	struct addr target;
};

struct user_plan {
	bool ipv4, ipv6, restricted, host_loopback;
	struct in_addr net, mask, host, dns, dhcp;
	struct in6_addr prefix6, host6, dns6;
	uint8_t prefix6_len;
	size_t hostfwd_count, guestfwd_count;
	struct hostfwd hostfwd[USER_RULES_MAX]; /* in the order given */
	struct guestfwd guestfwd[USER_RULES_MAX];
	const char *note; /* what the operator may not expect, or NULL */
};

/* user_plan - 0 and *p, or -EINVAL with *err; `o` is only read. */
int user_plan(
    const struct netdev_user_options *o, struct user_plan *p, struct err *err);

/*
 * user_frame_is_ours - is it sent to us, or to all? libslirp does not look:
 * on a hub it would answer for other stations, with a reset for example.
 */
bool user_frame_is_ours(const uint8_t *frame, size_t len);

/*
 * user_frame_allowed - may this frame of the guest go to libslirp? Not when
 * its destination is an address of the host's own loopback, which libslirp
 * would connect to as to any other, or the name server's with another port than
 * that of DNS, unless host-loopback=on. `frame` is private memory.
 */
bool user_frame_allowed(
    const struct user_plan *p, const uint8_t *frame, size_t len);

/*
 * user_table_has_sessions - does slirp_connection_info's text show anything
 * but its head and listeners of hostfwd?
 */
bool user_table_has_sessions(const char *table);

#endif
