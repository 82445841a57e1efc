/*
 * socket_address.c - SocketAddress options of stream and dgram.
 *
 * Runs in: the broker. Trusts: the visitor for the shape of options; their
 * values come from QMP clients. The launcher checks addresses again.
 * Specification: QEMU net/stream.c, net/dgram.c, util/qemu-sockets.c (texts).
 */
#include "broker/socket_address.h"

#include "proto/addr.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define PATH_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

#define RECONNECT_MS_MAX INT32_MAX

/* --- one address -----------------------------------------------------------
 */

/* An abstract name has a zero byte in front, and behind it unless tight. */
static int
fill_unix(const struct unix_socket_address *u, struct addr *out, struct err *e)
{
	bool abstract = u->has_abstract && u->abstract;
	size_t len = strlen(u->path);

	if (len + 1 > PATH_BYTES)
		return err_set(
		    e, -EINVAL, "UNIX socket path '%s' is too long", u->path);
	if (len == 0)
		return err_set(e, -EINVAL, "UNIX socket path is empty");
	if (u->has_tight && !abstract)
		return err_set(
		    e, -EINVAL, "'tight' is only valid with 'abstract'");
	memset(out, 0, sizeof *out);
	out->un.sun_family = AF_UNIX;
	memcpy(out->un.sun_path + abstract, u->path, len);
	out->len =
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	if (abstract && u->has_tight && !u->tight)
		out->len = sizeof out->un;
	return 0;
}

/* As QEMU: when one is given, the other is what it is not. */
static bool
takes_v4(const struct inet_socket_address *i)
{
	return i->has_ipv4 ? i->ipv4 : !(i->has_ipv6 && i->ipv6);
}

static bool
takes_v6(const struct inet_socket_address *i)
{
	return i->has_ipv6 ? i->ipv6 : !(i->has_ipv4 && i->ipv4);
}

int
socket_address_family(const struct inet_socket_address *i)
{
	if (takes_v4(i) && takes_v6(i))
		return AF_UNSPEC;
	return takes_v4(i) ? AF_INET : AF_INET6;
}

bool
socket_address_is_name(const struct socket_address *a)
{
	struct err ignored;
	struct addr out;

	return a && a->type == SOCKET_ADDRESS_TYPE_INET &&
	       addr_host_port(a->u.inet.host, a->u.inet.port, &out, &ignored) ==
		   -ENOENT;
}

/* Of a name, only the port. */
static int
fill_inet(const struct inet_socket_address *i, struct addr *out, struct err *e)
{
	static const char any_v6[] = "::";
	const char *host = i->host;
	bool v4 = takes_v4(i), v6 = takes_v6(i);
	int rc;

	if (!v4 && !v6)
		return err_set(
		    e, -EINVAL, "Cannot disable IPv4 and IPv6 at same time");
	if (host[0] == '\0' && !v4)
		host = any_v6;
	rc = addr_host_port(host, i->port, out, e);
	if (rc == -ENOENT && !(i->has_numeric && i->numeric))
		return 0;
	if (rc == 0 && out->sa.sa_family == (v4 ? -1 : AF_INET))
		return err_set(e, -EINVAL,
		    "host address '%s' is IPv4, which ipv4= and ipv6= exclude",
		    i->host);
	if (rc == 0 && out->sa.sa_family == (v6 ? -1 : AF_INET6))
		return err_set(e, -EINVAL,
		    "host address '%s' is IPv6, which ipv4= and ipv6= exclude",
		    i->host);
	return rc;
}

static int
fill(const struct socket_address *a, struct addr *out, struct err *e)
{
	if (!a || a->type == SOCKET_ADDRESS_TYPE_FD)
		return 0;
	return a->type == SOCKET_ADDRESS_TYPE_UNIX
		   ? fill_unix(&a->u.unix_, out, e)
		   : fill_inet(&a->u.inet, out, e);
}

/* What no address has here. */
static int
check_extras(const struct socket_address *a, struct err *e)
{
	const struct inet_socket_address *i = &a->u.inet;

	if (a->type != SOCKET_ADDRESS_TYPE_INET)
		return 0;
	if (i->has_to)
		return err_set(
		    e, -ENOTSUP, "'to' is not available in this build");
	if (i->has_mptcp && i->mptcp)
		return err_set(
		    e, -ENOTSUP, "'mptcp' is not available in this build");
	if (i->has_keep_alive && !i->keep_alive)
		return err_set(e, -ENOTSUP,
		    "'keep-alive' cannot be switched off in this build");
	return 0;
}

/* --- stream ----------------------------------------------------------------
 */

static int
check_reconnect(const struct netdev_stream_options *o, struct err *e)
{
	int64_t most =
	    o->has_reconnect ? RECONNECT_MS_MAX / 1000 : RECONNECT_MS_MAX;
	int64_t value = o->has_reconnect ? o->reconnect : o->reconnect_ms;

	if (!o->has_reconnect && !o->has_reconnect_ms)
		return 0;
	if (o->has_server && o->server)
		return err_set(e, -EINVAL,
		    "'reconnect' and 'reconnect-ms' options are incompatible "
		    "with socket in server mode");
	if (o->has_reconnect && o->has_reconnect_ms)
		return err_set(e, -EINVAL,
		    "'reconnect' and 'reconnect-ms' are mutually exclusive");
	if (o->addr.type == SOCKET_ADDRESS_TYPE_FD)
		return err_set(e, -EINVAL,
		    "'reconnect' option is incompatible with 'fd' address "
		    "type");
	if (value < 0 || value > most)
		return err_set(e, -EINVAL, "Parameter '%s' expects %s",
		    o->has_reconnect ? "reconnect" : "reconnect-ms",
		    o->has_reconnect ? "0 to 2147483 seconds"
				     : "0 to 2147483647 milliseconds");
	return 0;
}

/* QEMU has the words of getaddrinfo(3) here. */
static int
name_it(const struct socket_address *a, struct err *e)
{
	const struct inet_socket_address *i = &a->u.inet;
	struct err why = *e;

	return err_set(e, -EINVAL,
	    "address resolution failed for %s:%s: %.200s", i->host, i->port,
	    why.text);
}

int
socket_address_check_stream(struct netdev *nd, struct err *e)
{
	const struct netdev_stream_options *o = &nd->u.stream;
	bool server = o->has_server && o->server;
	struct addr ignored;
	int rc;

	rc = check_extras(&o->addr, e);
	if (rc == 0)
		rc = check_reconnect(o, e);
	if (rc < 0)
		return rc;
	if (!server && o->addr.type == SOCKET_ADDRESS_TYPE_INET &&
	    o->addr.u.inet.host[0] == '\0')
		rc = err_set(
		    e, -EINVAL, "an address to connect to needs a host");
	else
		rc = fill(&o->addr, &ignored, e);
	return rc < 0 && o->addr.type == SOCKET_ADDRESS_TYPE_INET
		   ? name_it(&o->addr, e)
		   : rc;
}

/* --- dgram -----------------------------------------------------------------
 */

static bool
is_group(const struct socket_address *a)
{
	struct err ignored;
	struct addr to;

	return a->type == SOCKET_ADDRESS_TYPE_INET &&
	       addr_host_port(a->u.inet.host, a->u.inet.port, &to, &ignored) ==
		   0 &&
	       to.sa.sa_family == AF_INET &&
	       IN_MULTICAST(ntohl(to.in.sin_addr.s_addr));
}

static int
check_group(const struct socket_address *local, struct err *e)
{
	struct err ignored;
	struct addr a;

	if (!local)
		return 0;
	if (local->type == SOCKET_ADDRESS_TYPE_FD)
		return err_set(e, -ENOTSUP,
		    "a group is joined by Bulkhead itself: local.type=fd "
		    "needs a connected socket and no remote=");
	if (local->type != SOCKET_ADDRESS_TYPE_INET)
		return err_set(
		    e, -EINVAL, "only support inet or fd type for local");
	if (addr_parse_ip(local->u.inet.host, &a, &ignored) < 0 ||
	    a.sa.sa_family != AF_INET)
		return err_set(e, -EINVAL,
		    "localaddr '%s' is not a valid IPv4 address",
		    local->u.inet.host);
	return 0;
}

static int
check_ends(const struct netdev_dgram_options *o, struct err *e)
{
	if (!o->local)
		return err_set(e, -EINVAL, "dgram requires local= parameter");
	if (o->remote && o->local->type == SOCKET_ADDRESS_TYPE_FD)
		return err_set(e, -EINVAL, "don't set remote with local.fd");
	if (o->remote && o->remote->type != o->local->type)
		return err_set(
		    e, -EINVAL, "remote and local types must be the same");
	if (!o->remote && o->local->type != SOCKET_ADDRESS_TYPE_FD)
		return err_set(e, -EINVAL,
		    "type=inet or type=unix requires remote parameter");
	return 0;
}

/* UDP is connected: an end without a place is no end. */
static int
check_udp(const struct launch_open *o, struct err *e)
{
	const struct addr *to = &o->remote;

	if (to->len == 0 || o->local.len == 0)
		return 0; /* a name: names.c */
	if (to->sa.sa_family != o->local.sa.sa_family)
		return err_set(e, -EINVAL,
		    "local and remote must both be IPv4 or both be IPv6");
	if (to->sa.sa_family == AF_INET6 &&
	    IN6_IS_ADDR_MULTICAST(&to->in6.sin6_addr))
		return err_set(e, -EINVAL, "a group must be an IPv4 address");
	return 0;
}

int
socket_address_check_dgram(struct netdev *nd, struct err *e)
{
	const struct netdev_dgram_options *o = &nd->u.dgram;
	struct launch_open ends = {0};
	int rc;

	if (o->remote && is_group(o->remote)) {
		rc = check_extras(o->remote, e);
		return rc < 0 ? rc : check_group(o->local, e);
	}
	rc = check_ends(o, e);
	if (rc == 0)
		rc = check_extras(o->local, e);
	if (rc == 0 && o->remote)
		rc = check_extras(o->remote, e);
	if (rc == 0)
		rc = socket_address_plan(o->local, o->remote, &ends, e);
	if (rc == 0 && o->local->type == SOCKET_ADDRESS_TYPE_INET)
		rc = check_udp(&ends, e);
	return rc;
}

/* --- resources -------------------------------------------------------------
 */

bool
socket_address_wants(const struct socket_address *a, enum resource_kind kind)
{
	switch (kind) {
	case RES_FD:
		return a->type == SOCKET_ADDRESS_TYPE_FD;
	case RES_UNIX_DGRAM:
		return a->type == SOCKET_ADDRESS_TYPE_UNIX;
	case RES_MCAST:
		return is_group(a);
	case RES_UDP:
		return a->type == SOCKET_ADDRESS_TYPE_INET && !is_group(a);
	default:
		return a->type != SOCKET_ADDRESS_TYPE_FD;
	}
}

int
socket_address_plan(const struct socket_address *local,
    const struct socket_address *remote, struct launch_open *o, struct err *e)
{
	int rc = fill(local, &o->local, e);

	if (rc == 0)
		rc = fill(remote, &o->remote, e);
	/* The local address of a group is that of an interface. */
	if (rc == 0 && local && remote && is_group(remote))
		o->local.in.sin_port = 0;
	return rc;
}
