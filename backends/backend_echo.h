/*
 * backend_echo.h - telling our own frames when a multicast group sends them
 * back.
 *
 * With IP_MULTICAST_LOOP the kernel gives every sender its own datagrams, and
 * all members on one host have the same source address and port (all are bound
 * to the group), so an address cannot tell whose a datagram is. What we sent
 * is remembered for a second by digest, and one copy of each is dropped when
 * it comes back. Pure, no allocation.
 */
#ifndef BACKENDS_BACKEND_ECHO_H
#define BACKENDS_BACKEND_ECHO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ECHO_SETS 1024u
#define ECHO_WAYS 4u
/* The loop gives a frame back within microseconds, or not at all. */
#define ECHO_NS UINT64_C(1000000000)

struct echo {
	struct {
		uint64_t digest;
		uint64_t sent_ns; /* 0 = free */
	} entry[ECHO_SETS][ECHO_WAYS];
};

/* A frame is being sent at `now_ns` (> 0). The oldest of a set gives way. */
void echo_sent(
    struct echo *e, const uint8_t *data, size_t len, uint64_t now_ns);

/* One came in: is it one of ours? Each sent frame is recognised once. */
bool echo_is_own(
    struct echo *e, const uint8_t *data, size_t len, uint64_t now_ns);

#endif
