/*
 * open_raw_ip.c - the socket of a pseudo-wire directly over IP.
 *
 * Runs in: launcher. Trusts: the policy, and before the latch the operator's
 * own command line; of the broker's words that they are well-formed.
 *
 * One protocol only, so the kind gives no way to make packets of another: the
 * backend can set no option of the socket, IP_HDRINCL neither.
 * Specification: raw(7), ipv6(7); RFC 3931 section 4.1.1.
 */
#include "proto/sys.h"
#include "sandbox/openers.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define PROTOCOL_L2TP 115

/* Without the port, which is always 0. */
static const char *
host_text(const struct addr *a, char buf[ADDR_TEXT_BYTES])
{
	(void)addr_text(a, buf);
	*strrchr(buf, ':') = '\0';
	return buf;
}

static int
make(struct opening *o)
{
	const struct addr *local = &o->args->local;
	struct addr to = o->args->remote;
	char name[ADDR_TEXT_BYTES];
	int rc;

	/* It means nothing, but getpeername(2) hides who has port 0. */
	if (to.sa.sa_family == AF_INET)
		to.in.sin_port = htons(PROTOCOL_L2TP);
	else
		to.in6.sin6_port = htons(PROTOCOL_L2TP);
	o->fd = rc = (int)sys_result(socket(local->sa.sa_family,
	    SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, PROTOCOL_L2TP));
	if (rc == -EPERM || rc == -EACCES)
		return err_set(o->err, -EACCES,
		    "cannot make a raw IP socket: that needs CAP_NET_RAW, "
		    "which only root has; udp=on needs no privilege");
	if (rc < 0)
		return err_set(o->err, rc, "cannot make a raw IP socket: %s",
		    strerrordesc_np(-rc));
	opener_roomy(o->fd);
	rc = (int)sys_result(bind(o->fd, &local->sa, local->len));
	if (rc < 0)
		return err_set(o->err, rc, "cannot bind %s: %s",
		    host_text(local, name), strerrordesc_np(-rc));
	rc = (int)sys_result(connect(o->fd, &to.sa, to.len));
	if (rc < 0)
		return err_set(o->err, rc, "cannot send to %s: %s",
		    host_text(&o->args->remote, name), strerrordesc_np(-rc));
	return 0;
}

int
opener_raw_ip(struct opening *o)
{
	const struct addr *local = &o->args->local, *to = &o->args->remote;
	const struct addr end = policy_destination(to);
	int rc;

	if (local->len == 0 || to->len == 0 || local->sa.sa_family == AF_UNIX ||
	    local->sa.sa_family != to->sa.sa_family)
		return err_set(o->err, -EINVAL,
		    "raw IP needs two IP addresses of one family");
	rc = opener_allowed_address(o, POLICY_RAW_IP, "receive on", local);
	if (rc >= 0)
		rc = opener_allowed_address(o, POLICY_RAW_IP, "send to", &end);
	return rc < 0 ? rc : make(o);
}
