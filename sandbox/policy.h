/*
 * policy.h - what QMP clients may cause to be opened.
 *
 * One rule a line: `allow KIND PATTERN`, `deny KIND PATTERN`, and once
 * `default allow|deny` (usual: deny). The first rule that fits decides. The
 * operator's own command line is not subject to it. Runs in the launcher.
 */
#ifndef SANDBOX_POLICY_H
#define SANDBOX_POLICY_H

#include "proto/addr.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define POLICY_RULES 256
#define POLICY_BYTES 65536 /* of the file */

enum policy_kind {
	POLICY_LISTEN,    /* TCP, or UDP on behalf of hostfwd */
	POLICY_CONNECT,   /* TCP */
	POLICY_UDP,       /* both addresses of a UDP socket */
	POLICY_MCAST,     /* multicast group */
	POLICY_RAW_IP,    /* both addresses of a raw IP socket */
	POLICY_FILE,      /* create or truncate beneath a directory */
	POLICY_UNIX,      /* listen or connect beneath a directory */
	POLICY_DIRECTORY, /* show a directory beneath a directory */
	POLICY_SCRIPT,    /* run a program beneath a directory */
	POLICY_VDE,       /* join a switch: its directory, beneath one */
	POLICY_NETWORK,   /* a process in the host's network: "host" */
	POLICY_LOOKUP,    /* ask for the addresses of that name of a host */
	POLICY_INTERFACE, /* make or take a tap of that name */
	POLICY_NETMAP,    /* bind the netmap port of that name */
	POLICY_BRIDGE,    /* have a tap put into that bridge by a helper */
	POLICY_KINDS
};

struct policy_rule {
	enum policy_kind kind;
	bool allow;
	bool any; /* pattern `*` (any address, any path) */
	/* addresses */
	bool any_host;
	uint8_t prefix_bits;
	struct addr net;
	uint16_t port_min, port_max; /* host order */
	/* paths: absolute, no `.`, `..`, `//` in it; or "@name"; names */
	char path[PATH_MAX];
};

struct policy {
	struct policy_rule rules[POLICY_RULES];
	unsigned count;
	bool denies[POLICY_KINDS]; /* the file has a deny rule of that kind */
	bool otherwise;            /* what no rule fits is allowed */
};

/*
 * policy_usual - the policy without a policy file: as root TCP and UDP and
 * what is beneath run_dir, else everything that the user can do.
 */
void policy_usual(struct policy *p, bool root, const char *run_dir);

/*
 * policy_parse - read the text of a policy file; the run directory is allowed
 * at its end. `text` is NUL-terminated and is written into. 0, or -EINVAL with
 * *err naming the line and the cause.
 */
int policy_parse(
    struct policy *p, char *text, const char *run_dir, struct err *err);

/* policy_load - open, read and parse. 0 or -errno with *err. */
int policy_load(
    struct policy *p, const char *file, const char *run_dir, struct err *err);

/*
 * policy_address - may this address be used so? An IPv4 address in its IPv6
 * form is judged as the IPv4 address that it is.
 */
bool policy_address(
    const struct policy *p, enum policy_kind kind, const struct addr *a);

/*
 * policy_destination - where a connection to this address ends: the unspecified
 * address is one more name of the loopback.
 */
struct addr policy_destination(const struct addr *a);

/*
 * policy_path - may this path be used so? `path` is as policy_plain() wants it.
 * On true, *beneath is the number of leading bytes of `path` that the rule
 * trusts: below them no symbolic link may be followed. 0: follow any. Where
 * the file denies some path of that kind, no link may lead around the denial.
 */
bool policy_path(const struct policy *p, enum policy_kind kind,
    const char *path, size_t *beneath);

/*
 * policy_name - may this interface or bridge be used so? A pattern is a name,
 * or the beginning of names and a `*`.
 */
bool policy_name(
    const struct policy *p, enum policy_kind kind, const char *name);

/*
 * policy_host - may the addresses of this host's name be asked for? A pattern
 * is a name, or with a dot in front of it all that is beneath a domain.
 */
bool policy_host(const struct policy *p, const char *name);

/* policy_plain - absolute, without `.`, `..` and empty components. */
bool policy_plain(const char *path);

/* The kind's word in the policy file. */
const char *policy_kind_name(enum policy_kind kind);

#endif
