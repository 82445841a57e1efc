/*
 * chardev_option.c - the text of -chardev.
 *
 * Runs in: the broker, during start.
 * Trusts: the operator, but not that the text is well-formed.
 * Specification: qemu(1), -chardev; ChardevOption in schema/chardev.json.
 *
 * The type stands first, with or without "backend="; what it can have is in
 * the schema. Of QEMU's types only `socket` can be made, so only its keys are
 * known; what they mean together is judged where QMP's are.
 */
#include "broker/chardev_option.h"

#include "broker/net_option.h"
#include "proto/keyval.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BYTES 64u

static void
get_word(char to[WORD_BYTES], const char *text, size_t len)
{
	(void)snprintf(to, WORD_BYTES, "%.*s", (int)len, text);
}

/* Old names that the command line still has. */
static const char *
plain_name(const char *type)
{
	if (strcmp(type, "tty") == 0)
		return "serial";
	return strcmp(type, "parport") == 0 ? "parallel" : type;
}

/* Step over the type: *rest is what follows it. */
static int
take_type(const char *arg, const char **rest, struct err *err)
{
	const char *at = arg, *item;
	char type[WORD_BYTES];
	size_t len = 0;

	item = net_option_item(&at, &len);
	if (item && len > 8 && strncmp(item, "backend=", 8) == 0) {
		item += 8;
		len -= 8;
	}
	get_word(type, item ? item : "", len);
	*rest = at;
	if (strcmp(type, "socket") == 0)
		return 0;
	if (type[0] == '\0' || strchr(type, '='))
		return err_set(err, -EINVAL,
		    "the type is missing: write socket,id=ID,path=PATH");
	if (desc_enum_value(&desc_chardev_backend_kind, plain_name(type)) < 0)
		return err_set(
		    err, -EINVAL, "'%s' is not a valid char driver name", type);
	return err_set(err, -ENOTSUP,
	    "chardev type '%s' is not available in this build", type);
}

/* "server" is "server=on", "nowait" is "wait=off". */
static void
warn_of_short_forms(const char *at,
    void (*warn)(void *self, const char *word, const char *instead), void *self)
{
	char word[WORD_BYTES], instead[WORD_BYTES + 8];
	const char *item;
	size_t len;

	while ((item = net_option_item(&at, &len)) != NULL) {
		if (memchr(item, '=', len) != NULL)
			continue;
		get_word(word, item, len);
		if (strncmp(word, "no", 2) == 0 && strcmp(word, "nodelay") != 0)
			(void)snprintf(
			    instead, sizeof instead, "%s=off", word + 2);
		else
			(void)snprintf(instead, sizeof instead, "%s=on", word);
		warn(self, word, instead);
	}
}

static char *
move(char **from)
{
	char *text = *from;

	*from = NULL;
	return text;
}

static int
fill_address(
    struct chardev_option *o, struct socket_address_legacy *a, struct err *err)
{
	struct chardev_unix_address *u = &a->u.unix_.data;

	if (o->host || o->port || o->localaddr || o->localport)
		return err_set(err, -ENOTSUP,
		    "host= is not available in this build: FD passing needs a "
		    "unix socket, path= or fd=");
	if (!o->path == !o->fd)
		return err_set(
		    err, -EINVAL, "exactly one of path= and fd= is required");
	if (o->fd && (o->has_abstract || o->has_tight))
		return err_set(err, -EINVAL,
		    "abstract= and tight= are only valid with path=");
	if (o->fd) {
		a->type = CHARDEV_ADDRESS_TYPE_FD;
		a->u.fd.data.str = move(&o->fd);
		return 0;
	}
	a->type = CHARDEV_ADDRESS_TYPE_UNIX;
	u->path = move(&o->path);
	u->has_abstract = o->has_abstract;
	u->abstract = o->abstract;
	u->has_tight = o->has_tight;
	u->tight = o->tight;
	return 0;
}

/* What both forms have, under the same names. */
static int
fill(struct chardev_option *o, struct chardev_add_args *args, struct err *err)
{
	struct chardev_socket *s = &args->backend.u.socket.data;

	args->backend.type = CHARDEV_BACKEND_KIND_SOCKET;
	if (!o->id)
		return err_set(err, -EINVAL, "chardev: no id specified");
	if (o->has_mux && o->mux)
		return err_set(
		    err, -ENOTSUP, "'mux' is not available in this build");
	args->id = move(&o->id);
	s->has_server = true;
	s->server = o->has_server && o->server;
	s->has_wait = o->has_wait;
	s->wait = o->wait;
	s->has_reconnect = o->has_reconnect;
	s->reconnect = o->reconnect;
	s->has_reconnect_ms = o->has_reconnect_ms;
	s->reconnect_ms = o->reconnect_ms;
	s->has_telnet = o->has_telnet;
	s->telnet = o->telnet;
	s->has_tn3270 = o->has_tn3270;
	s->tn3270 = o->tn3270;
	s->has_websocket = o->has_websocket;
	s->websocket = o->websocket;
	s->tls_creds = move(&o->tls_creds);
	s->tls_authz = move(&o->tls_authz);
	s->logfile = move(&o->logfile);
	return fill_address(o, &s->addr, err);
}

int
chardev_option_parse(const char *arg, struct chardev_add_args *args,
    void (*warn)(void *self, const char *word, const char *instead), void *self,
    struct err *err)
{
	struct chardev_option o = {0};
	const char *rest = arg;
	int rc;

	rc = take_type(arg, &rest, err);
	if (rc == 0)
		rc = keyval_decode(&desc_chardev_option, &o, rest, NULL, err);
	if (rc == 0) {
		warn_of_short_forms(rest, warn, self);
		rc = fill(&o, args, err);
	}
	desc_free(&desc_chardev_option, &o);
	if (rc < 0)
		desc_free(&desc_chardev_add_args, args);
	return rc;
}

void
chardev_option_help(struct text *t)
{
	text_add_str(t, "Available chardev backend types:\n  socket\n");
}
