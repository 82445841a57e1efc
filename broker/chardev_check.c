/*
 * chardev_check.c - what of a chardev can be judged without opening it.
 *
 * Runs in: the broker. Trusts: the visitor for the types of arguments; their
 * values come from QMP clients. The launcher checks addresses again.
 * Specification: schema/chardev.json; reference qmp.md 2.7 for QEMU's texts.
 */
#include "broker/chardev_check.h"

#include "broker/resources.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define PATH_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

static int
not_here(const char *what, struct err *e)
{
	return err_set(
	    e, -ENOTSUP, "'%s' is not available in this build", what);
}

/* What a unix socket cannot have, or we do not speak. */
static int
check_extras(const struct chardev_socket *s, struct err *e)
{
	const struct {
		bool wanted;
		const char *name;
	} extras[] = {
	    {s->has_telnet && s->telnet, "telnet"},
	    {s->has_tn3270 && s->tn3270, "tn3270"},
	    {s->has_websocket && s->websocket, "websocket"},
	    {s->tls_creds != NULL, "tls-creds"},
	    {s->tls_authz != NULL, "tls-authz"},
	    {s->logfile != NULL, "logfile"},
	};

	for (size_t i = 0; i < sizeof extras / sizeof *extras; i++)
		if (extras[i].wanted)
			return not_here(extras[i].name, e);
	return 0;
}

static int
check_reconnect(
    struct chardev *ch, const struct chardev_socket *s, struct err *e)
{
	int64_t ms = s->has_reconnect_ms ? s->reconnect_ms : 0;

	if (!s->has_reconnect && !s->has_reconnect_ms)
		return 0;
	if (s->has_reconnect && s->has_reconnect_ms)
		return err_set(e, -EINVAL,
		    "'reconnect' and 'reconnect-ms' are mutually exclusive");
	if (s->addr.type == CHARDEV_ADDRESS_TYPE_FD)
		return err_set(e, -EINVAL,
		    "'reconnect' option is incompatible with 'fd' address "
		    "type");
	if (ch->server)
		return err_set(e, -EINVAL,
		    "'reconnect' option is incompatible with socket in server "
		    "listen mode");
	if (s->has_reconnect && s->reconnect >= 0 &&
	    s->reconnect <= INT32_MAX / 1000)
		ms = s->reconnect * 1000;
	else if (s->has_reconnect)
		ms = -1;
	if (ms < 0 || ms > INT32_MAX)
		return err_set(e, -EINVAL, "Parameter '%s' expects %s",
		    s->has_reconnect ? "reconnect" : "reconnect-ms",
		    s->has_reconnect ? "0 to 2147483 seconds"
				     : "0 to 2147483647 milliseconds");
	ch->has_reconnect_ms = true;
	ch->reconnect_ms = (uint32_t)ms;
	return 0;
}

/* An abstract name has a zero byte in front, and behind it unless tight. */
static int
fill_unix(
    struct chardev *ch, const struct chardev_unix_address *u, struct err *e)
{
	struct addr *a = ch->server ? &ch->open.local : &ch->open.remote;
	bool abstract = u->has_abstract && u->abstract;
	size_t len = strlen(u->path);

	if (len + 1 > PATH_BYTES)
		return err_set(
		    e, -EINVAL, "UNIX socket path '%s' is too long", u->path);
	if (len == 0)
		return err_set(e, -EINVAL, "UNIX socket path is empty");
	memset(a, 0, sizeof *a);
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path + abstract, u->path, len);
	a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	if (abstract && u->has_tight && !u->tight)
		a->len = sizeof a->un;
	ch->open.kind = ch->server ? RES_STREAM_LISTEN : RES_STREAM_CONNECT;
	return 0;
}

static int
fill_address(struct chardev *ch, const struct socket_address_legacy *a,
    bool start_phase, struct err *e)
{
	const char *text;
	int rc;

	switch (a->type) {
	case CHARDEV_ADDRESS_TYPE_UNIX:
		text = a->u.unix_.data.path;
		rc = fill_unix(ch, &a->u.unix_.data, e);
		break;
	case CHARDEV_ADDRESS_TYPE_FD:
		text = a->u.fd.data.str;
		ch->open.kind = RES_FD;
		/* A connection that ends was the only one there is. */
		ch->has_reconnect_ms = true;
		if (strlen(text) >= sizeof ch->path)
			return err_set(e, -ENOENT,
			    "File descriptor named '%.64s...' has not been "
			    "found",
			    text);
		rc = resource_fd(text, start_phase, &ch->open, &ch->fd, e);
		break;
	default:
		return err_set(e, -ENOTSUP,
		    "address type '%s' is not available in this build: FD "
		    "passing needs a unix socket",
		    desc_chardev_address_type.names[a->type]);
	}
	if (rc == 0)
		(void)snprintf(ch->path, sizeof ch->path, "%s", text);
	return rc;
}

int
chardev_check(struct chardev *ch, const struct chardev_backend *b,
    bool start_phase, struct err *e)
{
	const struct chardev_socket *s = &b->u.socket.data;
	int rc;

	if (b->type != CHARDEV_BACKEND_KIND_SOCKET)
		return err_set(e, -ENOTSUP,
		    "chardev type '%s' is not available in this build",
		    desc_chardev_backend_kind.names[b->type]);
	ch->server = !s->has_server || s->server;
	rc = check_extras(s, e);
	if (rc == 0)
		rc = check_reconnect(ch, s, e);
	if (rc == 0 && !ch->server && s->has_wait)
		rc = err_set(e, -EINVAL,
		    "'wait' option is incompatible with socket in client "
		    "connect mode");
	if (rc < 0)
		return rc;
	ch->wait = s->has_wait && s->wait;
	return fill_address(ch, &s->addr, start_phase, e);
}

void
chardev_filename(
    const struct chardev *ch, bool connected, char buf[CHARDEV_FILENAME_BYTES])
{
	const struct addr *a = ch->server ? &ch->open.local : &ch->open.remote;
	const char *abstract = "";

	/* Tight is what the bytes behind the name tell. */
	if (ch->open.kind != RES_FD && a->un.sun_path[0] == '\0')
		abstract = a->len < sizeof a->un ? ",abstract=on,tight=on"
						 : ",abstract=on";
	(void)snprintf(buf, CHARDEV_FILENAME_BYTES, "%s%s:%s%s%s",
	    connected ? "" : "disconnected:",
	    ch->open.kind == RES_FD ? "fd" : "unix", ch->path, abstract,
	    ch->server ? ",server=on" : "");
}
