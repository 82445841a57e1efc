/*
 * backend_user_frames.c - which frames of the guest may go to libslirp.
 *
 * Runs in: the user backend. Trusts: the plan; no byte of a frame.
 * Specification: IEEE 802.3, RFC 791, RFC 8200; libslirp 4.7, whose idea of
 * where a frame's addresses and ports are is the one that counts.
 */
#include "backends/backend_user_plan.h"

#include <string.h>

/* Offsets in an Ethernet frame: IEEE 802.3, RFC 791, RFC 8200. */
#define AT_TYPE  12u
#define AT_IP    14u
#define AT_DST4  30u
#define AT_DST6  38u
#define TYPE_IP4 0x0800u
#define TYPE_IP6 0x86ddu
#define PORT_DNS 53u

/* 0/8 is "this host", and Linux takes it to its loopback, as 127/8. */
static bool
is_loopback4(const uint8_t *a)
{
	return a[0] == 127 || a[0] == 0;
}

/* ::, ::1, and v4-mapped or v4-compatible forms of the above. */
static bool
is_loopback6(const uint8_t *a)
{
	static const uint8_t zero[10];

	if (memcmp(a, zero, sizeof zero) != 0)
		return false;
	if (a[10] == 0xff && a[11] == 0xff)
		return is_loopback4(a + 12);
	return a[10] == 0 && a[11] == 0 && is_loopback4(a + 12);
}

bool
user_frame_is_ours(const uint8_t *frame, size_t len)
{
	/* A group, or what libslirp makes of its IPv4 and IPv6 addresses. */
	return len == 0 || (frame[0] & 1) != 0 ||
	       (len > 1 && frame[0] == 0x52 &&
		   (frame[1] == 0x55 || frame[1] == 0x56));
}

/*
 * Is it for the name server's address, and not DNS? libslirp sends whatever
 * comes for that address to the host's name server, any port of it; and that
 * is often on the host's loopback. A question is never in fragments: their
 * ports could be anything.
 */
static bool
is_dns_stray(uint8_t protocol, const uint8_t *ports, size_t len)
{
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return false;
	return len < 4 || ports[2] != 0 || ports[3] != PORT_DNS;
}

static bool
is_dns_stray4(const struct user_plan *p, const uint8_t *ip, size_t len)
{
	size_t head = (ip[0] & (size_t)0xf) * 4;

	if (memcmp(ip + 16, &p->dns, 4) != 0)
		return false;
	if ((ip[6] & 0x3f) != 0 || ip[7] != 0)
		return true;
	return head > len || is_dns_stray(ip[9], ip + head, len - head);
}

/* libslirp knows no extension headers. */
static bool
is_dns_stray6(const struct user_plan *p, const uint8_t *ip, size_t len)
{
	return memcmp(ip + 24, &p->dns6, 16) == 0 &&
	       is_dns_stray(ip[6], ip + 40, len - 40);
}

bool
user_frame_allowed(const struct user_plan *p, const uint8_t *frame, size_t len)
{
	unsigned type;

	if (p->host_loopback || len < AT_TYPE + 2)
		return true;
	type = (unsigned)frame[AT_TYPE] << 8 | frame[AT_TYPE + 1];
	/* What is too short to have a destination libslirp throws away. */
	if (type == TYPE_IP4 && len >= AT_DST4 + 4)
		return !is_loopback4(frame + AT_DST4) &&
		       !is_dns_stray4(p, frame + AT_IP, len - AT_IP);
	if (type == TYPE_IP6 && len >= AT_DST6 + 16)
		return !is_loopback6(frame + AT_DST6) &&
		       !is_dns_stray6(p, frame + AT_IP, len - AT_IP);
	return true;
}
