/*
 * backend_user_plan.c - from `user` options to addresses and rules.
 *
 * Runs in: user, before the lock.
 * Trusts: nothing about the options but their types.
 * Specification: QEMU net/slirp.c (order of checks, texts, address plan). What
 * is different: ordinary class C networks get /24; all 16 leases must be
 * inside the network and free; bootfile has a limit; duplicate rules are
 * refused and named; masks with holes are refused.
 */
#include "backends/backend_user_plan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Offsets of the plan inside the network; the third octet is QEMU's. */
#define OFFSET_HOST     0x0202u
#define OFFSET_DNS      0x0203u
#define OFFSET_GUESTFWD 0x0204u
#define OFFSET_DHCP     0x020fu

#define NET_USUAL  "10.0.2.0/24"
#define NET6_USUAL "fec0::"
#define LEN6_USUAL 64
#define LEN6_MAX   126

/* DHCP's strings are one option: RFC 2132, a length of one byte. */
#define DHCP_TEXT_MAX 255u
/* libslirp cuts the host name to what it has room for. */
#define HOSTNAME_KEPT 32u
/* BOOTP's file field is 128 bytes with its NUL: RFC 951. */
#define BOOTFILE_MAX 127u

static uint32_t
host_order(struct in_addr a)
{
	return ntohl(a.s_addr);
}

static struct in_addr
in_net(const struct user_plan *p, uint32_t offset)
{
	return (struct in_addr){
	    p->net.s_addr | (htonl(offset) & ~p->mask.s_addr)};
}

static bool
belongs(const struct user_plan *p, struct in_addr a)
{
	return (a.s_addr & p->mask.s_addr) == p->net.s_addr;
}

/* --- which families --------------------------------------------------------
 */

static int
plan_families(
    const struct netdev_user_options *o, struct user_plan *p, struct err *err)
{
	bool v4_said = o->has_ipv4, v6_said = o->has_ipv6;

	/* Asking for one alone turns the other off. */
	p->ipv4 = v4_said ? o->ipv4 : !(v6_said && o->ipv6);
	p->ipv6 = v6_said ? o->ipv6 : !(v4_said && o->ipv4);
	if (!p->ipv4 && (o->net || o->ip || o->host || o->dns))
		return err_set(err, -EINVAL,
		    "IPv4 disabled but netmask/host/dns provided");
	if (!p->ipv6 && (o->ipv6_prefix || o->ipv6_host || o->ipv6_dns))
		return err_set(err, -EINVAL,
		    "IPv6 disabled but prefix/host6/dns6 provided");
	if (!p->ipv4 && !p->ipv6)
		return err_set(err, -EINVAL, "IPv4 and IPv6 disabled");
	if (!p->ipv4 && (o->dhcpstart || o->hostfwd.count || o->guestfwd.count))
		return err_set(err, -EINVAL,
		    "IPv4 disabled but dhcpstart/hostfwd/guestfwd provided");
	return 0;
}

/* --- IPv4 ------------------------------------------------------------------
 */

/* The prefix length that a network without one has by its class. */
static unsigned
class_bits(uint32_t net)
{
	if (!(net & 0x80000000u))
		return 8;
	if ((net & 0xfff00000u) == 0xac100000u)
		return 12; /* 172.16/12 */
	if ((net & 0xc0000000u) == 0x80000000u)
		return 16;
	if ((net & 0xffff0000u) == 0xc0a80000u)
		return 16; /* 192.168/16 */
	if ((net & 0xfffe0000u) == 0xc6120000u)
		return 15; /* 198.18/15 */
	return 24;
}

/* "24" or "255.255.255.0" to *bits. */
static int
parse_mask(const char *text, unsigned *bits, struct err *err)
{
	struct in_addr dotted;
	uint32_t mask;
	char *end;
	long n = strtol(text, &end, 10);

	if (*end != '\0') {
		if (!inet_aton(text, &dotted))
			return err_set(err, -EINVAL,
			    "Failed to parse netmask (trailing chars)");
		mask = ntohl(dotted.s_addr);
		n = __builtin_popcount(mask);
		if (n < 32 && mask != ~(UINT32_MAX >> n))
			n = 0;
	}
	if (n < 4 || n > 32)
		return err_set(err, -EINVAL,
		    "Invalid netmask provided (must be in range 4-32)");
	*bits = (unsigned)n;
	return 0;
}

static int
plan_net(
    const struct netdev_user_options *o, struct user_plan *p, struct err *err)
{
	const char *text = o->net ? o->net : o->ip ? o->ip : NET_USUAL, *slash;
	char addr[32];
	unsigned bits = 24;
	int rc = 0;

	slash = o->net || !o->ip ? strchr(text, '/') : NULL;
	if (!slash)
		slash = text + strlen(text);
	if ((size_t)(slash - text) >= sizeof addr)
		return err_set(err, -EINVAL, "Failed to parse netmask");
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	if (!inet_aton(addr, &p->net))
		return err_set(err, -EINVAL, "Failed to parse netmask");
	if (*slash)
		rc = parse_mask(slash + 1, &bits, err);
	else if (o->net)
		bits = class_bits(host_order(p->net));
	if (rc < 0)
		return rc;
	p->mask.s_addr = htonl(UINT32_MAX << (32 - bits));
	p->net.s_addr &= p->mask.s_addr;
	return 0;
}

/* An address option: its text, or else its place in the plan. */
static int
plan_addr(const struct user_plan *p, const char *text, uint32_t offset,
    struct in_addr *out)
{
	*out = in_net(p, offset);
	return text && !inet_aton(text, out) ? -EINVAL : 0;
}

static int
plan_host_dns(
    const struct netdev_user_options *o, struct user_plan *p, struct err *err)
{
	if (plan_addr(p, o->host, OFFSET_HOST, &p->host) < 0)
		return err_set(err, -EINVAL, "Failed to parse host");
	if (!belongs(p, p->host))
		return err_set(err, -EINVAL, "Host doesn't belong to network");
	if (plan_addr(p, o->dns, OFFSET_DNS, &p->dns) < 0)
		return err_set(err, -EINVAL, "Failed to parse DNS");
	if (p->restricted && !belongs(p, p->dns))
		return err_set(err, -EINVAL, "DNS doesn't belong to network");
	if (p->dns.s_addr == p->host.s_addr)
		return err_set(err, -EINVAL, "DNS must be different from host");
	return 0;
}

static int
plan_dhcp(
    const struct netdev_user_options *o, struct user_plan *p, struct err *err)
{
	uint32_t first, lease, net = host_order(p->net),
			       last = net | ~host_order(p->mask);

	if (plan_addr(p, o->dhcpstart, OFFSET_DHCP, &p->dhcp) < 0)
		return err_set(
		    err, -EINVAL, "Failed to parse DHCP start address");
	if (!belongs(p, p->dhcp))
		return err_set(err, -EINVAL, "DHCP doesn't belong to network");
	first = host_order(p->dhcp);
	for (lease = first; lease - first < USER_LEASES; lease++) {
		if (lease == host_order(p->host) || lease == host_order(p->dns))
			return err_set(err, -EINVAL,
			    "DHCP must be different from host and DNS: its %u "
			    "addresses hold one of them",
			    USER_LEASES);
		if (lease <= net || lease >= last)
			return err_set(err, -EINVAL,
			    "DHCP doesn't belong to network: %u addresses "
			    "from there leave it",
			    USER_LEASES);
	}
	return 0;
}

static int
plan_ipv4(
    const struct netdev_user_options *o, struct user_plan *p, struct err *err)
{
	int rc;

	if (!p->ipv4)
		return 0;
	rc = plan_net(o, p, err);
	if (rc == 0)
		rc = plan_host_dns(o, p, err);
	if (rc == 0)
		rc = plan_dhcp(o, p, err);
	return rc;
}

/* --- IPv6 ------------------------------------------------------------------
 */

static bool
belongs6(const struct user_plan *p, const struct in6_addr *a)
{
	unsigned bytes = p->prefix6_len / 8, bits = p->prefix6_len % 8;
	unsigned diff;

	if (memcmp(a, &p->prefix6, bytes) != 0)
		return false;
	diff = bits ? (unsigned)(a->s6_addr[bytes] ^ p->prefix6.s6_addr[bytes])
		    : 0;
	return diff >> (8 - bits) == 0;
}

static int
plan_prefix6(
    const struct netdev_user_options *o, struct user_plan *p, struct err *err)
{
	int64_t len = o->has_ipv6_prefixlen ? o->ipv6_prefixlen : LEN6_USUAL;

	if (inet_pton(AF_INET6, o->ipv6_prefix ? o->ipv6_prefix : NET6_USUAL,
		&p->prefix6) != 1)
		return err_set(err, -EINVAL, "Failed to parse IPv6 prefix");
	if (len == 0)
		len = LEN6_USUAL;
	if (len < 0 || len > LEN6_MAX)
		return err_set(err, -EINVAL,
		    "Invalid IPv6 prefix provided (IPv6 prefix length must be "
		    "between 0 and 126)");
	p->prefix6_len = (uint8_t)len;
	return 0;
}

static int
plan_ipv6(
    const struct netdev_user_options *o, struct user_plan *p, struct err *err)
{
	int rc;

	if (!p->ipv6)
		return 0;
	rc = plan_prefix6(o, p, err);
	if (rc < 0)
		return rc;
	p->host6 = p->dns6 = p->prefix6;
	p->host6.s6_addr[15] |= 2;
	p->dns6.s6_addr[15] |= 3;
	if (o->ipv6_host && inet_pton(AF_INET6, o->ipv6_host, &p->host6) != 1)
		return err_set(err, -EINVAL, "Failed to parse IPv6 host");
	if (!belongs6(p, &p->host6))
		return err_set(
		    err, -EINVAL, "IPv6 Host doesn't belong to network");
	if (o->ipv6_dns && inet_pton(AF_INET6, o->ipv6_dns, &p->dns6) != 1)
		return err_set(err, -EINVAL, "Failed to parse IPv6 DNS");
	if (p->restricted && !belongs6(p, &p->dns6))
		return err_set(
		    err, -EINVAL, "IPv6 DNS doesn't belong to network");
	return 0;
}

/* --- texts -----------------------------------------------------------------
 */

static int
check_texts(const struct netdev_user_options *o, struct err *err)
{
	if (o->hostname && strlen(o->hostname) > DHCP_TEXT_MAX)
		return err_set(err, -EINVAL,
		    "'vhostname' parameter cannot exceed 255 bytes");
	if (o->domainname && !*o->domainname)
		return err_set(
		    err, -EINVAL, "'domainname' parameter cannot be empty");
	if (o->domainname && strlen(o->domainname) > DHCP_TEXT_MAX)
		return err_set(err, -EINVAL,
		    "'domainname' parameter cannot exceed 255 bytes");
	if (o->tftp_server_name && strlen(o->tftp_server_name) > DHCP_TEXT_MAX)
		return err_set(err, -EINVAL,
		    "'tftp-server-name' parameter cannot exceed 255 bytes");
	if (o->bootfile && strlen(o->bootfile) > BOOTFILE_MAX)
		return err_set(err, -EINVAL,
		    "'bootfile' parameter cannot exceed 127 bytes");
	if (o->smb || o->smbserver)
		return err_set(err, -EINVAL,
		    "smb and smbserver are not available in this build");
	return 0;
}

/* What libslirp does with good options that may surprise. */
static void
note_surprises(const struct netdev_user_options *o, struct user_plan *p)
{
	size_t i;

	if (o->hostname && strlen(o->hostname) > HOSTNAME_KEPT)
		p->note = "guests are told the first 32 bytes of hostname";
	for (i = 0; i < p->hostfwd_count; i++) {
		if (p->restricted && p->hostfwd[i].udp)
			p->note = "restrict=on drops the guest's answers to "
				  "UDP of hostfwd";
	}
}

/* --- forwarding rules ------------------------------------------------------
 */

static bool
same_hostfwd(const struct hostfwd *a, const struct hostfwd *b)
{
	/* Port 0 is a different port each time. */
	return a->udp == b->udp && a->host.s_addr == b->host.s_addr &&
	       a->host_port == b->host_port && a->host_port != 0;
}

static int
add_hostfwd(struct user_plan *p, const char *rule, struct err *err)
{
	struct hostfwd *new = &p->hostfwd[p->hostfwd_count];
	size_t i;
	int rc = hostfwd_parse(rule, new, err);

	if (rc < 0)
		return rc;
	for (i = 0; i < p->hostfwd_count; i++) {
		if (same_hostfwd(&p->hostfwd[i], new))
			return err_set(err, -EINVAL,
			    "Could not set up host forwarding rule '%s': an "
			    "earlier rule has the same host address and port",
			    rule);
	}
	p->hostfwd_count++;
	return 0;
}

/*
 * Cut `text` at the first `separator` into buf. Returns what follows, or NULL
 * when there is none or buf is too short.
 */
static const char *
cut(const char *text, char separator, char *buf, size_t size)
{
	const char *end = strchr(text, separator);

	if (!end || (size_t)(end - text) >= size)
		return NULL;
	memcpy(buf, text, (size_t)(end - text));
	buf[end - text] = '\0';
	return end + 1;
}

static int
guestfwd_target(
    const char *rule, const char *text, struct guestfwd *g, struct err *err)
{
	struct err why = {.class = ERR_GENERIC};
	int rc;

	if (strncmp(text, "cmd:", 4) == 0)
		return err_set(err, -EINVAL,
		    "guest forwarding to a command is not available in this "
		    "build: '%s'",
		    rule);
	if (strncmp(text, "tcp:", 4) != 0)
		return err_set(err, -EINVAL,
		    "Could not open guest forwarding device "
		    "'guestfwd.tcp.%u': the target must be tcp:ADDRESS:PORT",
		    g->port);
	rc = addr_parse(text + 4, &g->target, &why);
	if (rc < 0)
		return err_set(err, rc,
		    "Could not open guest forwarding device "
		    "'guestfwd.tcp.%u': %s",
		    g->port, why.text);
	if (g->target.sa.sa_family == AF_UNIX || g->target.in.sin_port == 0)
		return err_set(err, -EINVAL,
		    "Could not open guest forwarding device "
		    "'guestfwd.tcp.%u': the target must be tcp:ADDRESS:PORT",
		    g->port);
	return 0;
}

/*
 * The part before the target: [tcp]:[server]:port. Returns the target's text,
 * or NULL when the rule is not of that form.
 */
static const char *
guestfwd_source(const struct user_plan *p, const char *rule, struct guestfwd *g)
{
	char part[64], *end;
	const char *rest = cut(rule, ':', part, sizeof part);
	long port;

	if (!rest || (part[0] && strcmp(part, "tcp") != 0))
		return NULL;
	rest = cut(rest, ':', part, sizeof part);
	if (!rest)
		return NULL;
	g->server = in_net(p, OFFSET_GUESTFWD);
	if (part[0] && !inet_aton(part, &g->server))
		return NULL;
	rest = cut(rest, '-', part, sizeof part);
	if (!rest || !part[0])
		return NULL;
	port = strtol(part, &end, 10);
	if (*end || port < 1 || port > UINT16_MAX)
		return NULL;
	g->port = (uint16_t)port;
	return rest;
}

static int
parse_guestfwd(const struct user_plan *p, const char *rule, struct guestfwd *g,
    struct err *err)
{
	const char *target = guestfwd_source(p, rule, g);

	if (!target)
		return err_set(
		    err, -EINVAL, "Invalid guest forwarding rule '%s'", rule);
	return guestfwd_target(rule, target, g, err);
}

static int
add_guestfwd(struct user_plan *p, const char *rule, struct err *err)
{
	struct guestfwd *new = &p->guestfwd[p->guestfwd_count];
	size_t i;
	int rc = parse_guestfwd(p, rule, new, err);

	if (rc < 0)
		return rc;
	for (i = 0; i < p->guestfwd_count; i++) {
		if (p->guestfwd[i].server.s_addr == new->server.s_addr &&
		    p->guestfwd[i].port == new->port)
			rc = -EINVAL;
	}
	if (!belongs(p, new->server) || new->server.s_addr == p->host.s_addr ||
	    new->server.s_addr == p->dns.s_addr)
		rc = -EINVAL;
	if (rc < 0)
		return err_set(err, rc,
		    "Conflicting/invalid host:port in guest forwarding rule "
		    "'%s'",
		    rule);
	p->guestfwd_count++;
	return 0;
}

static int
plan_rules(
    const struct netdev_user_options *o, struct user_plan *p, struct err *err)
{
	size_t i;
	int rc = 0;

	if (o->hostfwd.count > USER_RULES_MAX ||
	    o->guestfwd.count > USER_RULES_MAX)
		return err_set(err, -EINVAL, "more than %u forwarding rules",
		    USER_RULES_MAX);
	for (i = 0; i < o->hostfwd.count && rc == 0; i++)
		rc = add_hostfwd(p, o->hostfwd.items[i].str, err);
	for (i = 0; i < o->guestfwd.count && rc == 0; i++)
		rc = add_guestfwd(p, o->guestfwd.items[i].str, err);
	return rc;
}

int
user_plan(
    const struct netdev_user_options *o, struct user_plan *p, struct err *err)
{
	int rc;

	memset(p, 0, sizeof *p);
	p->restricted = o->has_restrict_ && o->restrict_;
	p->host_loopback = o->has_host_loopback && o->host_loopback;
	rc = plan_families(o, p, err);
	if (rc == 0)
		rc = plan_ipv4(o, p, err);
	if (rc == 0)
		rc = plan_ipv6(o, p, err);
	if (rc == 0)
		rc = check_texts(o, err);
	if (rc == 0)
		rc = plan_rules(o, p, err);
	if (rc == 0)
		note_surprises(o, p);
	return rc;
}

bool
user_table_has_sessions(const char *table)
{
	static const char head[] = "State]", listener[] = "HOST_FORWARD]";
	const char *at = table;

	/* Each line below the head is "  PROTOCOL[state] ...". */
	while ((at = strchr(at, '[')) != NULL) {
		at++;
		if (strncmp(at, head, sizeof head - 1) != 0 &&
		    strncmp(at, listener, sizeof listener - 1) != 0)
			return true;
	}
	return false;
}
