/*
 * addr.c - addresses from text, and back.
 *
 * Runs in: launcher, broker, backends. Trusts: nothing; text comes from QMP
 * clients and operators, structs may come from a peer process.
 * Specification: the socket and user netdevs of QEMU, whose texts for errors
 * and whose grammar are kept, apart from two things: a port must be in range
 * and nothing may follow it; and no name is looked up here. For `stream` and
 * `dgram`, "3com.com" is a name; for `socket` too, where QEMU takes only those
 * that begin with a letter.
 */
#include "proto/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIX_BYTES_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path))

/*
 * port_parse - a whole decimal, octal or hexadecimal number as in C.
 *   min  least port allowed; the greatest is 65535
 * 0 or -EINVAL.
 */
static int
port_parse(const char *text, unsigned long min, uint16_t *port)
{
	unsigned long number;
	char *end;

	/* strtoul(3) would take blanks and signs. */
	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	number = strtoul(text, &end, 0);
	if (*end != '\0' || number < min || number > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)number;
	return 0;
}

/*
 * ipv4_parse - the forms of inet_aton(3), of which "1.2" is one, but whole:
 * inet_aton itself takes anything after a blank. 0 or -EINVAL.
 */
static int
ipv4_parse(const char *text, struct in_addr *out)
{
	if (text[strspn(text, "0123456789abcdefABCDEFxX.")] != '\0')
		return -EINVAL;
	return inet_aton(text, out) != 0 ? 0 : -EINVAL;
}

/*
 * ipv6_parse - an address, with a numeric scope after '%' if it has one.
 * 0 or -EINVAL.
 */
static int
ipv6_parse(const char *text, struct sockaddr_in6 *out)
{
	char bare[INET6_ADDRSTRLEN];
	const char *scope = strchr(text, '%');
	size_t len = scope != NULL ? (size_t)(scope - text) : strlen(text);
	unsigned long number = 0;
	char *end;

	if (len >= sizeof bare)
		return -EINVAL;
	memcpy(bare, text, len);
	bare[len] = '\0';
	if (scope != NULL) {
		if (!isdigit((unsigned char)scope[1]))
			return -EINVAL;
		number = strtoul(scope + 1, &end, 10);
		if (*end != '\0' || number > INT32_MAX)
			return -EINVAL;
	}
	if (inet_pton(AF_INET6, bare, &out->sin6_addr) != 1)
		return -EINVAL;
	out->sin6_scope_id = (uint32_t)number;
	return 0;
}

static void
set_ipv4(struct addr *a, struct in_addr ip, uint16_t port)
{
	memset(a, 0, sizeof *a);
	a->len = sizeof a->in;
	a->in.sin_family = AF_INET;
	a->in.sin_addr = ip;
	a->in.sin_port = htons(port);
}

static int
parse_unix(const char *path, struct addr *out, struct err *err)
{
	size_t len = strlen(path);
	bool abstract = path[0] == '@';

	if (len == 0 || (abstract && len == 1))
		return err_set(err, -EINVAL, "UNIX socket path is empty");
	/* A path needs its NUL; an abstract name has its own in front. */
	if (len + (abstract ? 0 : 1) > UNIX_BYTES_MAX)
		return err_set(err, -EINVAL,
		    "UNIX socket path '%s' is too long: "
		    "Path must be less than %zu bytes",
		    path, UNIX_BYTES_MAX);
	memset(out, 0, sizeof *out);
	out->un.sun_family = AF_UNIX;
	memcpy(out->un.sun_path, path, len);
	if (abstract)
		out->un.sun_path[0] = '\0';
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len +
			       (abstract ? 0 : 1));
	return 0;
}

/* "[v6]:port" */
static int
parse_bracketed(const char *text, struct addr *out, struct err *err)
{
	const char *close = strchr(text, ']');
	char host[INET6_ADDRSTRLEN + 16];
	size_t len;
	uint16_t port;

	if (close == NULL || close[1] != ':')
		return err_set(err, -EINVAL,
		    "host address '%s' doesn't contain ':' "
		    "separating host from port",
		    text);
	memset(out, 0, sizeof *out);
	len = (size_t)(close - text) - 1;
	if (len >= sizeof host)
		len = sizeof host - 1;
	memcpy(host, text + 1, len);
	host[len] = '\0';
	if (ipv6_parse(host, &out->in6) < 0)
		return err_set(err, -EINVAL,
		    "host address '%s' is not a valid IPv6 address", host);
	if (port_parse(close + 2, 0, &port) < 0)
		return err_set(
		    err, -EINVAL, "port number '%s' is invalid", close + 2);
	out->len = sizeof out->in6;
	out->in6.sin6_family = AF_INET6;
	out->in6.sin6_port = htons(port);
	return 0;
}

/* A last label of digits would be the end of an address. */
bool
addr_is_name(const char *text)
{
	size_t len = strlen(text), label = 0, i;
	bool letters = false;

	if (len == 0 || len >= ADDR_NAME_BYTES || text[0] == '-')
		return false;
	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '.'
			? label == 0
			: !isascii(c) || (!isalnum(c) && c != '-' && c != '_'))
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
		if (c != '.')
			letters = (label > 1 && letters) || !isdigit(c);
	}
	return letters;
}

/*
 * host_parse - the IPv4 host of "host:port", empty for any.
 * 0; -ENOENT for a name; -EINVAL; *err is filled then.
 */
static int
host_parse(const char *host, struct in_addr *ip, struct err *err)
{
	ip->s_addr = htonl(INADDR_ANY);
	if (host[0] == '\0' || ipv4_parse(host, ip) == 0)
		return 0;
	if (addr_is_name(host))
		return err_set(err, -ENOENT,
		    "can't resolve host address '%s': names are not looked up "
		    "here, give a numeric address",
		    host);
	if (isdigit((unsigned char)host[0]))
		return err_set(err, -EINVAL,
		    "host address '%s' is not a valid IPv4 address", host);
	return err_set(err, -EINVAL,
	    "can't resolve host address '%s': it is not the name of a host",
	    host);
}

/* The host of "host:port" is a name: only the port is known. */
static void
set_port(struct addr *a, uint16_t port)
{
	memset(a, 0, sizeof *a);
	a->in.sin_port = htons(port);
}

/* "host:port"; cut at the first colon, as QEMU does. */
static int
parse_ipv4_port(const char *text, struct addr *out, struct err *err)
{
	const char *colon = strchr(text, ':');
	char host[256]; /* RFC 1035: a name has at most 255 bytes */
	struct in_addr ip;
	size_t len;
	uint16_t port;
	int found;

	if (colon == NULL)
		return err_set(err, -EINVAL,
		    "host address '%s' doesn't contain ':' "
		    "separating host from port",
		    text);
	len = (size_t)(colon - text);
	if (len >= sizeof host)
		len = sizeof host - 1;
	memcpy(host, text, len);
	host[len] = '\0';
	found = host_parse(host, &ip, err);
	if (found == -EINVAL)
		return found;
	if (port_parse(colon + 1, 0, &port) < 0)
		return err_set(
		    err, -EINVAL, "port number '%s' is invalid", colon + 1);
	if (found == 0)
		set_ipv4(out, ip, port);
	else
		set_port(out, port);
	return found;
}

int
addr_parse(const char *text, struct addr *out, struct err *err)
{
	struct addr a;
	int rc;

	if (strncmp(text, "unix:", 5) == 0)
		rc = parse_unix(text + 5, &a, err);
	else if (text[0] == '@' || strchr(text, '/') != NULL)
		rc = parse_unix(text, &a, err);
	else if (text[0] == '[')
		rc = parse_bracketed(text, &a, err);
	else
		rc = parse_ipv4_port(text, &a, err);
	if (rc == 0 || rc == -ENOENT)
		*out = a;
	return rc;
}

int
addr_host_port(
    const char *host, const char *port, struct addr *out, struct err *err)
{
	bool v6 = strchr(host, ':') != NULL;
	struct addr a = {0};
	struct in_addr ip = {0};
	uint16_t number;
	int rc;

	if (v6 && ipv6_parse(host, &a.in6) < 0)
		return err_set(err, -EINVAL,
		    "host address '%s' is not a valid IPv6 address", host);
	rc = v6 ? 0 : host_parse(host, &ip, err);
	if (rc == -EINVAL)
		return rc;
	if (port_parse(port, 0, &number) < 0)
		return err_set(
		    err, -EINVAL, "port number '%s' is invalid", port);
	if (v6) {
		a.len = sizeof a.in6;
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_port = htons(number);
	} else if (rc == 0) {
		set_ipv4(&a, ip, number);
	} else {
		set_port(&a, number);
	}
	*out = a;
	return rc;
}

int
addr_parse_ip(const char *text, struct addr *out, struct err *err)
{
	struct addr a = {0};
	struct in_addr ip;

	if (isdigit((unsigned char)text[0]) && ipv4_parse(text, &ip) == 0) {
		set_ipv4(out, ip, 0);
		return 0;
	}
	if (ipv6_parse(text, &a.in6) < 0)
		return err_set(err, -EINVAL,
		    "address '%s' is not a valid IPv4 or IPv6 address", text);
	a.len = sizeof a.in6;
	a.in6.sin6_family = AF_INET6;
	*out = a;
	return 0;
}

/*
 * unix_name_bytes - bytes of sun_path that mean something: a path without its
 * NUL, an abstract name with the NUL in front, 0 for an unnamed socket.
 */
static size_t
unix_name_bytes(const struct addr *a)
{
	size_t len = a->len, head = offsetof(struct sockaddr_un, sun_path);

	if (len > sizeof a->un)
		len = sizeof a->un;
	if (len <= head)
		return 0;
	len -= head;
	return a->un.sun_path[0] == '\0' ? len : strnlen(a->un.sun_path, len);
}

static void
unix_text(const struct addr *a, char buf[ADDR_TEXT_BYTES])
{
	size_t len = unix_name_bytes(a), i;
	char c;

	for (i = 0; i < len; i++) {
		c = a->un.sun_path[i];
		if (i == 0 && c == '\0')
			c = '@';
		else if (c < 0x20 || c == 0x7f) /* also what is not ASCII */
			c = '?';
		buf[i] = c;
	}
	buf[len] = '\0';
}

const char *
addr_text(const struct addr *a, char buf[ADDR_TEXT_BYTES])
{
	char ip[INET6_ADDRSTRLEN], scope[16] = "";

	_Static_assert(UNIX_BYTES_MAX < ADDR_TEXT_BYTES, "a path fits");
	buf[0] = '\0';
	if (a->len < sizeof a->sa.sa_family)
		return buf;
	switch (a->sa.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof ip);
		snprintf(
		    buf, ADDR_TEXT_BYTES, "%s:%u", ip, ntohs(a->in.sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof ip);
		if (a->in6.sin6_scope_id != 0)
			snprintf(
			    scope, sizeof scope, "%%%u", a->in6.sin6_scope_id);
		snprintf(buf, ADDR_TEXT_BYTES, "[%s%s]:%u", ip, scope,
		    ntohs(a->in6.sin6_port));
		break;
	case AF_UNIX:
		unix_text(a, buf);
		break;
	default:
		break;
	}
	return buf;
}

bool
addr_equal(const struct addr *a, const struct addr *b)
{
	size_t len;

	if (a->len == 0 || b->len == 0)
		return a->len == b->len;
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	switch (a->sa.sa_family) {
	case AF_INET:
		return a->in.sin_port == b->in.sin_port &&
		       a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	case AF_INET6:
		return a->in6.sin6_port == b->in6.sin6_port &&
		       a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
		       memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr,
			   sizeof a->in6.sin6_addr) == 0;
	case AF_UNIX:
		len = unix_name_bytes(a);
		return len == unix_name_bytes(b) &&
		       memcmp(a->un.sun_path, b->un.sun_path, len) == 0;
	default:
		return false;
	}
}

/*
 * cut - move the text before the next `separator` to part, step over it.
 * A part too long for its room is cut short, and then fits no grammar.
 * 0, or -EINVAL when there is no separator.
 */
static int
cut(const char **rest, char separator, char part[32])
{
	const char *end = strchr(*rest, separator);
	size_t len;

	if (end == NULL)
		return -EINVAL;
	len = (size_t)(end - *rest);
	if (len > 31)
		len = 31;
	memcpy(part, *rest, len);
	part[len] = '\0';
	*rest = end + 1;
	return 0;
}

/* NULL, or what is wrong with the rule, in QEMU's words and order. */
static const char *
hostfwd_fault(const char *rule, struct hostfwd *f)
{
	char part[32];

	if (cut(&rule, ':', part) < 0)
		return "No : separators";
	f->udp = strcmp(part, "udp") == 0;
	if (!f->udp && part[0] != '\0' && strcmp(part, "tcp") != 0)
		return "Bad protocol name";
	if (cut(&rule, ':', part) < 0)
		return "Missing : separator";
	if (part[0] != '\0' && ipv4_parse(part, &f->host) < 0)
		return "Bad host address";
	if (cut(&rule, '-', part) < 0)
		return "Bad host port separator";
	/* Empty is 0, any port: QEMU's number parser has it so. */
	if (part[0] != '\0' && port_parse(part, 0, &f->host_port) < 0)
		return "Bad host port";
	if (cut(&rule, ':', part) < 0)
		return "Missing guest address";
	if (part[0] != '\0' && ipv4_parse(part, &f->guest) < 0)
		return "Bad guest address";
	if (port_parse(rule, 1, &f->guest_port) < 0)
		return "Bad guest port";
	return NULL;
}

int
hostfwd_parse(const char *rule, struct hostfwd *out, struct err *err)
{
	struct hostfwd f = {0}; /* INADDR_ANY is 0 */
	const char *fault = hostfwd_fault(rule, &f);

	if (fault != NULL)
		return err_set(err, -EINVAL,
		    "Invalid host forwarding rule '%s' (%s)", rule, fault);
	*out = f;
	return 0;
}
