/*
 * resolve.c - the answer of bulkhead-resolve: made there, checked here.
 *
 * Runs in: bulkhead-resolve (put), broker (take). Trusts: nothing.
 * Specification: getaddrinfo(3); RFC 4291 for forms of addresses.
 */
#include "proto/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

void
resolve_put(
    struct resolve_answer *a, const struct sockaddr *from, socklen_t len)
{
	struct resolve_address one = {.family = from->sa_family};
	struct addr in = {0};

	if (len > sizeof in.in6 || a->count >= RESOLVE_ADDRESSES)
		return;
	memcpy(&in.sa, from, len);
	if (one.family == AF_INET && len == sizeof in.in) {
		memcpy(one.bytes, &in.in.sin_addr, sizeof in.in.sin_addr);
	} else if (one.family == AF_INET6 && len == sizeof in.in6 &&
		   !IN6_IS_ADDR_V4MAPPED(&in.in6.sin6_addr)) {
		memcpy(one.bytes, &in.in6.sin6_addr, sizeof one.bytes);
		if (IN6_IS_ADDR_LINKLOCAL(&in.in6.sin6_addr))
			one.scope = in.in6.sin6_scope_id;
	} else {
		return;
	}
	a->items[a->count++] = one;
}

static int
take_one(const struct resolve_address *from, int family, struct addr *out)
{
	static const uint8_t none[12];

	if (family != AF_UNSPEC && from->family != (uint32_t)family)
		return -EPROTO;
	memset(out, 0, sizeof *out);
	if (from->family == AF_INET) {
		if (from->scope != 0 || memcmp(from->bytes + 4, none, 12) != 0)
			return -EPROTO;
		out->len = sizeof out->in;
		out->in.sin_family = AF_INET;
		memcpy(&out->in.sin_addr, from->bytes, 4);
		return 0;
	}
	if (from->family != AF_INET6)
		return -EPROTO;
	out->len = sizeof out->in6;
	out->in6.sin6_family = AF_INET6;
	out->in6.sin6_scope_id = from->scope;
	memcpy(&out->in6.sin6_addr, from->bytes, sizeof from->bytes);
	if (IN6_IS_ADDR_V4MAPPED(&out->in6.sin6_addr) ||
	    (from->scope != 0 && !IN6_IS_ADDR_LINKLOCAL(&out->in6.sin6_addr)))
		return -EPROTO;
	return 0;
}

int
resolve_take(const void *data, size_t len, int family,
    struct addr out[RESOLVE_ADDRESSES], size_t *count, int *error)
{
	struct addr found[RESOLVE_ADDRESSES];
	struct resolve_answer a;
	int rc = 0;

	if (len != sizeof a)
		return -EPROTO;
	memcpy(&a, data, sizeof a);
	if (a.magic != RESOLVE_MAGIC || a.count > RESOLVE_ADDRESSES ||
	    (a.error == 0) != (a.count > 0) || a.error > 0 ||
	    a.error < EAI_OVERFLOW)
		return -EPROTO;
	for (size_t i = 0; i < a.count && rc == 0; i++)
		rc = take_one(&a.items[i], family, &found[i]);
	if (rc < 0)
		return rc;
	memcpy(out, found, a.count * sizeof *found);
	*count = a.count;
	*error = a.error;
	return 0;
}
