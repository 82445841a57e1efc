/*
 * resolve.h - names of hosts, and what bulkhead-resolve says of one.
 *
 * The process that looks a name up has read what name servers sent, so its
 * answer is hostile: one datagram of a fixed size, whose every word is checked
 * by resolve_take(). It carries no text.
 */
#ifndef PROTO_RESOLVE_H
#define PROTO_RESOLVE_H

#include "proto/addr.h"

#include <stddef.h>
#include <stdint.h>

#define RESOLVE_MAGIC     0x424b4e31u /* "BKN1" */
#define RESOLVE_ADDRESSES 16u         /* of one name; more are left out */
#define RESOLVE_GO        'g'         /* to it: it was looked at, begin */

struct resolve_address {
	uint32_t family;   /* AF_INET, AF_INET6 */
	uint32_t scope;    /* of a link-local address, else 0 */
	uint8_t bytes[16]; /* network order; those not used are 0 */
};

struct resolve_answer {
	uint32_t magic;
	int32_t error;  /* 0, or an EAI_* of getaddrinfo(3) */
	uint32_t count; /* 1..RESOLVE_ADDRESSES; 0 with an error */
	struct resolve_address items[RESOLVE_ADDRESSES];
};

/*
 * resolve_put - add an address as getaddrinfo(3) has it. One that is not of
 * IP, is IPv4 in the form of IPv6, or has no room is left out.
 */
void resolve_put(
    struct resolve_answer *a, const struct sockaddr *from, socklen_t len);

/*
 * resolve_take - check an answer of `len` bytes.
 *   family  what was asked for; AF_UNSPEC: both
 * Fills out[0..*count-1], without ports, and *error. 0, or -EPROTO with *out,
 * *count and *error untouched: its sender lied.
 */
int resolve_take(const void *data, size_t len, int family,
    struct addr out[RESOLVE_ADDRESSES], size_t *count, int *error);

#endif
