/*
 * policy_file.c - what QMP clients may cause to be opened: the rules.
 *
 * Runs in: launcher. Trusts: the policy file, which the operator wrote. It is
 * read to its end or refused: a rule that is not understood is never left out.
 * Specification: bulkhead-policy(5); DESIGN section 2.
 */
#include "proto/log.h"
#include "proto/sys.h"
#include "sandbox/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool
is_path_kind(enum policy_kind kind)
{
	return kind >= POLICY_FILE;
}

/* --- making ----------------------------------------------------------- */

static struct policy_rule *
add_rule(struct policy *p, enum policy_kind kind, bool allow)
{
	struct policy_rule *r;

	if (p->count == POLICY_RULES)
		return NULL;
	r = &p->rules[p->count++];
	memset(r, 0, sizeof *r);
	r->kind = kind;
	r->allow = allow;
	return r;
}

static void
allow_all(struct policy *p, enum policy_kind kind)
{
	struct policy_rule *r = add_rule(p, kind, true);

	r->any = r->any_host = true;
	r->port_max = UINT16_MAX;
}

/* The run directory, but not what we keep in it for others. */
static int
allow_run_dir(struct policy *p, const char *run_dir)
{
	static const enum policy_kind kinds[] = {POLICY_FILE, POLICY_UNIX};
	static const char *const parts[] = {"/etc", "/names", ""};
	struct policy_rule *r;
	size_t i, k;

	for (i = 0; i < 2; i++) {
		for (k = 0; k < 3; k++) {
			r = add_rule(p, kinds[i], parts[k][0] == '\0');
			if (r == NULL)
				return -ENOSPC;
			snprintf(r->path, sizeof r->path, "%.4000s%s", run_dir,
			    parts[k]);
		}
	}
	return 0;
}

void
policy_usual(struct policy *p, bool root, const char *run_dir)
{
	enum policy_kind kind;

	memset(p->denies, 0, sizeof p->denies);
	p->count = 0;
	p->otherwise = !root;
	if (!root)
		return;
	for (kind = POLICY_LISTEN; !is_path_kind(kind); kind++)
		allow_all(p, kind);
	allow_all(p, POLICY_NETWORK);
	allow_all(p, POLICY_LOOKUP);
	allow_all(p, POLICY_INTERFACE);
	BUG_ON(allow_run_dir(p, run_dir) != 0);
}

/* --- the file --------------------------------------------------------- */

/* A whole decimal number up to `most`. 0 or -EINVAL. */
static int
number(const char *text, unsigned most, unsigned *out)
{
	char *end;
	unsigned long n;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	n = strtoul(text, &end, 10);
	if (*end != '\0' || n > most)
		return -EINVAL;
	*out = (unsigned)n;
	return 0;
}

/* "*", "N" or "N-M". */
static int
parse_ports(char *text, struct policy_rule *r)
{
	char *dash = strchr(text, '-');
	unsigned low, high;

	r->port_max = UINT16_MAX;
	if (strcmp(text, "*") == 0)
		return 0;
	if (dash != NULL)
		*dash = '\0';
	if (number(text, UINT16_MAX, &low) < 0)
		return -EINVAL;
	high = low;
	if (dash != NULL && number(dash + 1, UINT16_MAX, &high) < 0)
		return -EINVAL;
	if (high < low)
		return -EINVAL;
	r->port_min = (uint16_t)low;
	r->port_max = (uint16_t)high;
	return 0;
}

/* "*", "ADDRESS" or "ADDRESS/BITS". */
static int
parse_host(char *text, struct policy_rule *r)
{
	char *slash = strchr(text, '/');
	unsigned bits, most;
	struct err ignored;

	r->any_host = strcmp(text, "*") == 0;
	if (r->any_host)
		return 0;
	if (slash != NULL)
		*slash = '\0';
	if (addr_parse_ip(text, &r->net, &ignored) < 0)
		return -EINVAL;
	most = r->net.sa.sa_family == AF_INET ? 32 : 128;
	bits = most;
	if (slash != NULL && number(slash + 1, most, &bits) < 0)
		return -EINVAL;
	r->prefix_bits = (uint8_t)bits;
	return 0;
}

/* "HOST", "HOST:PORTS", "[V6/BITS]:PORTS"; "*" alone is everything. */
static int
parse_address(char *text, struct policy_rule *r)
{
	static char any[] = "*";
	char *host = text, *ports = any, *end;

	if (text[0] == '[') {
		host = text + 1;
		end = strchr(host, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return -EINVAL;
		if (end[1] == ':')
			ports = end + 2;
		*end = '\0';
	} else if ((end = strrchr(text, ':')) != NULL) {
		*end = '\0';
		ports = end + 1;
	}
	return parse_host(host, r) < 0 ? -EINVAL : parse_ports(ports, r);
}

/* "*", "/DIR", or for unix sockets "@NAME". */
static int
parse_path(const char *text, struct policy_rule *r)
{
	size_t len = strlen(text);

	r->any = strcmp(text, "*") == 0;
	if (r->any)
		return 0;
	if (len >= sizeof r->path)
		return -EINVAL;
	memcpy(r->path, text, len + 1);
	if (text[0] == '@')
		return r->kind == POLICY_UNIX && len > 1 ? 0 : -EINVAL;
	if (len > 1 && r->path[len - 1] == '/')
		r->path[len - 1] = '\0';
	return strcmp(r->path, "/") == 0 || policy_plain(r->path) ? 0 : -EINVAL;
}

/* There is one network to name, the host's. */
static int
parse_network(const char *text, struct policy_rule *r)
{
	r->any = true;
	return strcmp(text, "host") == 0 || strcmp(text, "*") == 0 ? 0
								   : -EINVAL;
}

/* "*", "NAME" or "BEGINNING*"; names as the kernel has them. */
static int
parse_name(const char *text, struct policy_rule *r)
{
	size_t len = strlen(text), star = strcspn(text, "*");

	r->any = strcmp(text, "*") == 0;
	if (len == 0 || len >= IF_NAMESIZE || strchr(text, '/') != NULL ||
	    (star < len && star + 1 != len))
		return -EINVAL;
	memcpy(r->path, text, len + 1);
	return 0;
}

/* "*", "HOST" or ".DOMAIN" */
static int
parse_lookup(const char *text, struct policy_rule *r)
{
	size_t len = strlen(text);

	r->any = strcmp(text, "*") == 0;
	if (!r->any && !addr_is_name(text + (text[0] == '.')))
		return -EINVAL;
	memcpy(r->path, text, len + 1);
	if (len > 1 && r->path[len - 1] == '.')
		r->path[len - 1] = '\0';
	return 0;
}

static bool
is_name_kind(enum policy_kind kind)
{
	return kind == POLICY_INTERFACE || kind == POLICY_BRIDGE ||
	       kind == POLICY_NETMAP;
}

static int
parse_pattern(char *text, struct policy_rule *r)
{
	if (r->kind == POLICY_NETWORK)
		return parse_network(text, r);
	if (r->kind == POLICY_LOOKUP)
		return parse_lookup(text, r);
	if (is_name_kind(r->kind))
		return parse_name(text, r);
	if (is_path_kind(r->kind))
		return parse_path(text, r);
	if (parse_address(text, r) < 0)
		return -EINVAL;
	/* Raw IP has no ports. */
	return r->kind == POLICY_RAW_IP && r->port_min > 0 ? -EINVAL : 0;
}

/* What a pattern of this kind looks like. */
static const char *
pattern_form(enum policy_kind kind)
{
	if (kind == POLICY_NETWORK)
		return "host";
	if (kind == POLICY_LOOKUP)
		return "the name of a host, or .DOMAIN";
	if (is_name_kind(kind))
		return "NAME or NAME*, at most 15 bytes";
	if (kind == POLICY_RAW_IP)
		return "ADDRESS[/BITS]";
	return is_path_kind(kind) ? "an absolute path without . and .."
				  : "ADDRESS[/BITS][:PORT[-PORT]]";
}

/* Blank-separated words of a line; returns how many, at most `most` + 1. */
static unsigned
split(char *line, char *words[], unsigned most)
{
	unsigned count = 0;
	char *state = NULL;
	char *word = strtok_r(line, " \t\r", &state);

	for (; word != NULL && count <= most; count++) {
		if (count < most)
			words[count] = word;
		word = strtok_r(NULL, " \t\r", &state);
	}
	return count;
}

static int
find_kind(const char *word, enum policy_kind *kind, struct err *err)
{
	unsigned i;

	for (i = 0; i < POLICY_KINDS; i++) {
		if (strcmp(policy_kind_name((enum policy_kind)i), word) == 0) {
			*kind = (enum policy_kind)i;
			return 0;
		}
	}
	return err_set(err, -EINVAL,
	    "\"%s\" is not a kind; kinds are listen, connect, udp, mcast, "
	    "raw-ip, file, unix, directory, vde, script, network, lookup, "
	    "interface, netmap, bridge",
	    word);
}

static int
parse_rule(struct policy *p, bool allow, char *words[], struct err *err)
{
	enum policy_kind kind = POLICY_LISTEN;
	struct policy_rule *r;
	char pattern[256];
	int rc;

	rc = find_kind(words[1], &kind, err);
	if (rc < 0)
		return rc;
	r = add_rule(p, kind, allow);
	if (r == NULL)
		return err_set(
		    err, -EINVAL, "more than %d rules", POLICY_RULES);
	snprintf(pattern, sizeof pattern, "%s", words[2]);
	rc = parse_pattern(words[2], r);
	if (rc < 0)
		return err_set(
		    err, rc, "\"%s\" is not %s", pattern, pattern_form(kind));
	p->denies[kind] = p->denies[kind] || !allow;
	return 0;
}

static int
parse_line(struct policy *p, char *line, struct err *err)
{
	char *words[3], *comment = strchr(line, '#');
	unsigned count;

	if (comment != NULL)
		*comment = '\0';
	count = split(line, words, 3);
	if (count == 0)
		return 0;
	if (count == 3 && strcmp(words[0], "allow") == 0)
		return parse_rule(p, true, words, err);
	if (count == 3 && strcmp(words[0], "deny") == 0)
		return parse_rule(p, false, words, err);
	if (count == 2 && strcmp(words[0], "default") == 0 &&
	    (strcmp(words[1], "allow") == 0 || strcmp(words[1], "deny") == 0)) {
		p->otherwise = words[1][0] == 'a';
		return 0;
	}
	return err_set(err, -EINVAL,
	    "not `allow KIND PATTERN`, `deny KIND PATTERN` or "
	    "`default allow|deny`");
}

int
policy_parse(struct policy *p, char *text, const char *run_dir, struct err *err)
{
	struct err cause;
	unsigned line = 1;
	char *end;

	memset(p->denies, 0, sizeof p->denies);
	p->count = 0;
	p->otherwise = false;
	for (; text != NULL; text = end, line++) {
		end = strchr(text, '\n');
		if (end != NULL)
			*end++ = '\0';
		if (parse_line(p, text, &cause) < 0)
			return err_set(
			    err, -EINVAL, "line %u: %.900s", line, cause.text);
	}
	if (allow_run_dir(p, run_dir) < 0)
		return err_set(
		    err, -EINVAL, "more than %d rules", POLICY_RULES - 4);
	return 0;
}

int
policy_load(
    struct policy *p, const char *file, const char *run_dir, struct err *err)
{
	static char text[POLICY_BYTES + 1];
	ssize_t got;
	int fd;

	fd = (int)sys_result(open(file, O_RDONLY | O_CLOEXEC));
	if (fd < 0)
		return err_set(err, fd, "%s", strerrordesc_np(-fd));
	got = sys_result(read(fd, text, sizeof text));
	fd_close(&fd);
	if (got < 0)
		return err_set(err, (int)got, "%s", strerrordesc_np((int)-got));
	if (got > POLICY_BYTES)
		return err_set(
		    err, -EFBIG, "longer than %d bytes", POLICY_BYTES);
	text[got] = '\0';
	if (strlen(text) != (size_t)got)
		return err_set(err, -EINVAL, "holds a NUL byte");
	return policy_parse(p, text, run_dir, err);
}
