/*
 * netmap.c - names of netmap ports.
 *
 * Runs in: broker, launcher and the netmap backend. Trusts: nothing.
 * What the kernel would answer with "out of memory" is refused here with the
 * reason: it does so for names that it cannot take.
 */
#include "proto/netmap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARS                                                             \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
#define WORD_CHARS                                                             \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define PART_MAX 15u /* of an interface, a switch, a switch's port */

static int
bad(struct err *err, const char *text, const char *why)
{
	return err_set(err, -EINVAL, "ifname='%.100s': %s", text, why);
}

/* A number of one to five digits, at most 65535. */
static int
number(const char **at, uint16_t *out)
{
	size_t n = strspn(*at, "0123456789");
	unsigned long value;

	if (n == 0 || n > 5)
		return -EINVAL;
	value = strtoul(*at, NULL, 10);
	*at += n;
	*out = (uint16_t)value;
	return value > UINT16_MAX ? -EINVAL : 0;
}

/* "/x", "@N" and nothing else, in any order. */
static int
parse_rest(const char *at, struct netmap_port *out)
{
	while (*at != '\0') {
		/* Exclusive is what we always are. */
		if (strncmp(at, "/x", 2) == 0) {
			at += 2;
		} else if (*at == '@') {
			at++;
			if (number(&at, &out->mem_id) < 0)
				return -EINVAL;
		} else {
			return -EINVAL;
		}
	}
	return 0;
}

/* The length of an interface's name: a dash may begin a ring number. */
static size_t
interface_length(const char *name)
{
	size_t len = strspn(name, NAME_CHARS), i;

	if (len > 0 && name[len - 1] == '-')
		return len - 1;
	for (i = len; i > 0 && strchr("0123456789", name[i - 1]); i--)
		;
	return i > 0 && i < len && name[i - 1] == '-' ? i - 1 : len;
}

static int
parse_card(const char *text, const char *name, struct netmap_port *out,
    struct err *err)
{
	size_t len = interface_length(name), id;
	const char *at = name + len;

	if (len == 0 || len > PART_MAX)
		return bad(err, text, "an interface has 1 to 15 characters");
	if (strncmp(name, "val", 3) == 0)
		return bad(err, text,
		    "netmap takes names that begin with \"val\" for switches");
	if (*at == '{' || *at == '}') {
		id = strspn(at + 1, WORD_CHARS);
		if (id == 0 || len + 1 + id >= sizeof out->name)
			return bad(err, text, "the pipe's end has no name");
		out->kind = NETMAP_PIPE;
		len += 1 + id;
		at += 1 + id;
	} else if (*at == '-') {
		at++;
		out->mode = NETMAP_MODE_ONE;
		if (number(&at, &out->ring) < 0)
			return bad(err, text, "the ring is no number");
	} else if (*at == '^' || *at == '*') {
		out->mode =
		    *at == '^' ? NETMAP_MODE_HOST : NETMAP_MODE_NIC_HOST;
		at++;
	}
	snprintf(out->name, sizeof out->name, "%.*s", (int)len, name);
	return parse_rest(at, out) < 0
		   ? bad(err, text, "behind the port only /x and @N are served")
		   : 0;
}

static int
parse_switch(const char *text, struct netmap_port *out, struct err *err)
{
	size_t len = strspn(text, WORD_CHARS), port;

	if (text[len] != ':' || len > PART_MAX)
		return bad(err, text,
		    "a switch has up to 15 letters and digits, then a colon");
	port = strspn(text + len + 1, NAME_CHARS);
	if (port == 0 || port > PART_MAX)
		return bad(err, text, "a switch's port has 1 to 15 characters");
	out->kind = NETMAP_VALE;
	snprintf(
	    out->name, sizeof out->name, "%.*s", (int)(len + 1 + port), text);
	return parse_rest(text + len + 1 + port, out) < 0
		   ? bad(err, text, "behind the port only /x and @N are served")
		   : 0;
}

int
netmap_port_parse(const char *text, struct netmap_port *out, struct err *err)
{
	*out =
	    (struct netmap_port){.kind = NETMAP_NIC, .mode = NETMAP_MODE_NIC};
	if (strncmp(text, "netmap:", 7) == 0)
		return parse_card(text, text + 7, out, err);
	if (strncmp(text, "vale", 4) == 0)
		return parse_switch(text, out, err);
	return bad(err, text, "a port begins with \"netmap:\" or \"vale\"");
}
