/*
 * addr.h - socket addresses as text, in the words that QEMU has for them.
 *
 * Pure functions: no look-up, no file, no socket. A host's name is told from
 * an address, and nothing more.
 */
#ifndef PROTO_ADDR_H
#define PROTO_ADDR_H

#include "proto/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

/* One address of any family that we open; `len` 0 = unset. */
struct addr {
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
};

#define ADDR_TEXT_BYTES 128
#define ADDR_NAME_BYTES 254 /* of a host, with its NUL: RFC 1035 */

/*
 * addr_parse - "host:port" (IPv4; empty host = 0.0.0.0), "[v6]:port", or a
 * unix path (a text that holds a '/' or starts with '@' for abstract, or
 * "unix:PATH"). Errors are worded as QEMU's socket netdev words them, ports
 * are checked 0..65535. 0; -ENOENT for a host's name: then *out is unset but
 * for in.sin_port, and *err says that names are not looked up; -EINVAL for all
 * else, with *out untouched.
 */
int addr_parse(const char *text, struct addr *out, struct err *err);

/*
 * addr_host_port - the two apart: an IPv4 host (empty = 0.0.0.0) or an IPv6
 * one, bare. Errors as above.
 */
int addr_host_port(
    const char *host, const char *port, struct addr *out, struct err *err);

/*
 * addr_is_name - can this be the name of a host: labels of letters, digits, '-'
 * and '_', and no address?
 */
bool addr_is_name(const char *text);

/* addr_parse_ip - a bare IPv4 or IPv6 address, port 0. */
int addr_parse_ip(const char *text, struct addr *out, struct err *err);

/* addr_text - "1.2.3.4:80", "[::1]:80", a path, or "@name". */
const char *addr_text(const struct addr *a, char buf[ADDR_TEXT_BYTES]);

bool addr_equal(const struct addr *a, const struct addr *b);

/*
 * One hostfwd rule: [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport
 * (netdevs.md 7.5; QEMU's texts for each error).
 */
struct hostfwd {
	bool udp;
	struct in_addr host;  /* INADDR_ANY when empty */
	uint16_t host_port;   /* host order, 0 (or empty) = any */
	struct in_addr guest; /* 0.0.0.0 = first DHCP lease */
	uint16_t guest_port;  /* host order */
};
int hostfwd_parse(const char *rule, struct hostfwd *out, struct err *err);

#endif
