/*
 * policy.c - what QMP clients may cause to be opened: asking.
 *
 * Runs in: launcher. Trusts: the rules, which the operator wrote
 * (policy_file.c); not what it is asked about, which comes from the broker.
 * Specification: bulkhead-policy(5); DESIGN section 2.
 */
#include "sandbox/policy.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static const char *const kind_names[POLICY_KINDS] = {
    [POLICY_LISTEN] = "listen",
    [POLICY_CONNECT] = "connect",
    [POLICY_UDP] = "udp",
    [POLICY_MCAST] = "mcast",
    [POLICY_RAW_IP] = "raw-ip",
    [POLICY_FILE] = "file",
    [POLICY_UNIX] = "unix",
    [POLICY_DIRECTORY] = "directory",
    [POLICY_VDE] = "vde",
    [POLICY_SCRIPT] = "script",
    [POLICY_NETWORK] = "network",
    [POLICY_LOOKUP] = "lookup",
    [POLICY_INTERFACE] = "interface",
    [POLICY_NETMAP] = "netmap",
    [POLICY_BRIDGE] = "bridge",
};

const char *
policy_kind_name(enum policy_kind kind)
{
	return kind_names[kind];
}

/* --- asking ----------------------------------------------------------- */

static const uint8_t *
host_bytes(const struct addr *a, unsigned *bits)
{
	if (a->sa.sa_family == AF_INET) {
		*bits = 32;
		return (const uint8_t *)&a->in.sin_addr;
	}
	*bits = 128;
	return (const uint8_t *)&a->in6.sin6_addr;
}

static uint16_t
port_of(const struct addr *a)
{
	return ntohs(
	    a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

static bool
same_network(const struct addr *net, const struct addr *a, unsigned prefix)
{
	unsigned bits, i;
	const uint8_t *x = host_bytes(net, &bits);
	const uint8_t *y = host_bytes(a, &bits);

	if (net->sa.sa_family != a->sa.sa_family)
		return false;
	for (i = 0; i < bits && i < prefix; i++)
		if (((x[i / 8] ^ y[i / 8]) >> (7 - i % 8)) & 1)
			return false;
	return true;
}

/* ::ffff:1.2.3.4 is 1.2.3.4: the kernel uses IPv4 for it. */
static struct addr
plain_address(const struct addr *a)
{
	struct addr plain = {.len = sizeof plain.in};

	if (a->sa.sa_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return *a;
	plain.in.sin_family = AF_INET;
	plain.in.sin_port = a->in6.sin6_port;
	memcpy(&plain.in.sin_addr, a->in6.sin6_addr.s6_addr + 12, 4);
	return plain;
}

struct addr
policy_destination(const struct addr *a)
{
	struct addr to = plain_address(a);

	if (to.sa.sa_family == AF_INET && to.in.sin_addr.s_addr == INADDR_ANY)
		to.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (to.sa.sa_family == AF_INET6 &&
	    IN6_IS_ADDR_UNSPECIFIED(&to.in6.sin6_addr))
		to.in6.sin6_addr = in6addr_loopback;
	return to;
}

bool
policy_address(
    const struct policy *p, enum policy_kind kind, const struct addr *a)
{
	const struct addr plain = plain_address(a);
	uint16_t port = port_of(&plain);
	unsigned i;

	for (i = 0; i < p->count; i++) {
		const struct policy_rule *r = &p->rules[i];

		if (r->kind != kind || port < r->port_min || port > r->port_max)
			continue;
		if (r->any_host ||
		    same_network(&r->net, &plain, r->prefix_bits))
			return r->allow;
	}
	return p->otherwise;
}

bool
policy_plain(const char *path)
{
	size_t len;

	if (path[0] != '/' || path[1] == '\0')
		return false;
	while (*path == '/') {
		path++;
		len = strcspn(path, "/");
		if (len == 0 || (len == 1 && path[0] == '.') ||
		    (len == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += len;
	}
	return true;
}

/* Is `path` the rule's path, or beneath it? */
static bool
beneath_rule(const char *rule, const char *path)
{
	size_t len = strlen(rule);

	if (rule[0] == '@')
		return strcmp(rule, path) == 0;
	if (strcmp(rule, "/") == 0)
		return path[0] == '/';
	return strncmp(rule, path, len) == 0 &&
	       (path[len] == '/' || path[len] == '\0');
}

/* The part of `path` that the rule trusts: never the last component. */
static size_t
trusted(const char *rule, const char *path)
{
	size_t len = strlen(rule);

	if (path[len] == '\0')
		len = (size_t)(strrchr(path, '/') - path);
	return len > 1 ? len : 1;
}

bool
policy_path(const struct policy *p, enum policy_kind kind, const char *path,
    size_t *beneath)
{
	unsigned i;

	/* Trust "/" alone: a link could lead to what a rule denies. */
	*beneath = p->denies[kind] && path[0] == '/';
	for (i = 0; i < p->count; i++) {
		const struct policy_rule *r = &p->rules[i];

		if (r->kind != kind ||
		    (!r->any && !beneath_rule(r->path, path)))
			continue;
		if (r->allow && !r->any && path[0] == '/')
			*beneath = trusted(r->path, path);
		return r->allow;
	}
	return p->otherwise;
}

/* Does a name fit "name" or "beginning*"? */
static bool
name_fits(const char *pattern, const char *name)
{
	size_t len = strlen(pattern);

	if (len > 0 && pattern[len - 1] == '*')
		return strncmp(pattern, name, len - 1) == 0;
	return strcmp(pattern, name) == 0;
}

bool
policy_name(const struct policy *p, enum policy_kind kind, const char *name)
{
	unsigned i;

	for (i = 0; i < p->count; i++) {
		const struct policy_rule *r = &p->rules[i];

		if (r->kind == kind && (r->any || name_fits(r->path, name)))
			return r->allow;
	}
	return p->otherwise;
}

/* Does a host's name fit "host.domain" or ".domain"? */
static bool
host_fits(const char *pattern, const char *name)
{
	size_t all = strlen(pattern), len = strlen(name);

	/* The dot at the end of a whole name is no part of it. */
	if (len > 0 && name[len - 1] == '.')
		len--;
	if (pattern[0] != '.')
		return all == len && strncasecmp(pattern, name, len) == 0;
	return len > all && strncasecmp(pattern, name + len - all, all) == 0;
}

bool
policy_host(const struct policy *p, const char *name)
{
	unsigned i;

	for (i = 0; i < p->count; i++) {
		const struct policy_rule *r = &p->rules[i];

		if (r->kind == POLICY_LOOKUP &&
		    (r->any || host_fits(r->path, name)))
			return r->allow;
	}
	return p->otherwise;
}
