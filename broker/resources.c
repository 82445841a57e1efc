/*
 * resources.c - from options to requests to the launcher.
 *
 * Runs in: the broker. Trusts: the generated tables. Options come from QMP
 * clients; the launcher checks all of this again.
 * Specification: schema/backends.json; reference netdevs.md 8.1 (fd=), 10
 * (socket), 11.2 (dump), 7.5 (hostfwd).
 *
 * The type of a netdev is looked at only in the table of checks; which
 * options hold addresses, paths or descriptors is in the schema.
 */
#include "broker/resources.h"

#include "broker/chardev.h"
#include "broker/getfd.h"
#include "proto/addr.h"
#include "proto/desc.h"
#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- rules between options --- */

static int
check_socket(struct netdev *nd, struct err *e)
{
	const struct netdev_socket_options *o = &nd->u.socket;
	int ways = !!o->fd + !!o->listen + !!o->connect + !!o->mcast + !!o->udp;

	if (ways != 1)
		return err_set(e, -EINVAL,
		    "exactly one of listen=, connect=, mcast= or udp= is "
		    "required");
	if (o->localaddr && !o->mcast && !o->udp)
		return err_set(
		    e, -EINVAL, "localaddr= is only valid with mcast= or udp=");
	if (o->udp && !o->localaddr)
		return err_set(e, -EINVAL, "localaddr= is mandatory with udp=");
	if (o->has_reconnect_ms && !o->connect)
		return err_set(
		    e, -EINVAL, "reconnect-ms= is only valid with connect=");
	return 0;
}

/* QEMU's default is named after the VLAN; ours after the netdev. */
static int
name_dump(struct netdev *nd, struct err *e)
{
	struct netdev_dump_options *o = &nd->u.dump;

	if (o->file)
		return 0;
	if (asprintf(&o->file, "%s.pcap", nd->id) < 0) {
		o->file = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

static const struct {
	enum net_client_driver type;
	int (*check)(struct netdev *nd, struct err *e);
} checks[] = {
    {NET_CLIENT_DRIVER_SOCKET, check_socket},
    {NET_CLIENT_DRIVER_DUMP, name_dump},
};

int
resources_check(struct netdev *nd, struct err *e)
{
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
		if (checks[i].type == nd->type)
			return checks[i].check(nd, e);
	return 0;
}

/* --- options by their place in the table --- */

/* One netdev's options, seen through their descriptor. */
struct view {
	const struct backend_entry *b;
	const char *base;
	const struct backend_open *want;
	uint32_t index;
	bool start_phase;
	struct chardevs *chardevs;
	const char *user; /* the netdev's id */
};

static const struct desc_member *
member(const struct view *v, int index)
{
	BUG_ON((size_t)index >= v->b->options->member_count);
	return &v->b->options->members[index];
}

/* The text of a string option, NULL when absent. */
static const char *
text_of(const struct view *v, int index)
{
	const struct desc_member *m;
	char *text;

	if (index < 0)
		return NULL;
	m = member(v, index);
	BUG_ON(m->type->kind != DESC_STR);
	memcpy(&text, v->base + m->offset, sizeof text);
	return text;
}

static bool
present(const struct view *v, int index)
{
	const struct desc_member *m;
	bool has;

	if (index < 0)
		return true;
	m = member(v, index);
	if (m->type->kind == DESC_STR)
		return text_of(v, index) != NULL;
	if (m->has_offset == DESC_NO_HAS)
		return true;
	memcpy(&has, v->base + m->has_offset, sizeof has);
	return has;
}

/* --- one kind each --- */

static struct resource *
append(struct resources *r, const struct view *v, struct err *e)
{
	struct resource *items, *item;

	if (r->count >= RESOURCES_MAX) {
		(void)err_set(e, -ENOSPC,
		    "Parameter '%s' has too many entries (at most %u)",
		    v->want->when < 0 ? "?" : member(v, v->want->when)->name,
		    RESOURCES_MAX);
		return NULL;
	}
	items = realloc(r->items, (r->count + 1) * sizeof *items);
	if (!items) {
		(void)err_set(e, -ENOMEM, "out of memory");
		return NULL;
	}
	r->items = items;
	item = &items[r->count++];
	memset(item, 0, sizeof *item);
	item->fd = -1;
	item->open.index = v->index;
	item->open.kind = (uint32_t)v->want->kind;
	return item;
}

int
resource_fd(const char *text, bool start_phase, struct launch_open *o, int *fd,
    struct err *e)
{
	unsigned long number;
	char *end;

	if (text[0] < '0' || text[0] > '9') {
		*fd = getfd_take(text);
		if (*fd < 0)
			return err_set(e, -ENOENT,
			    "File descriptor named '%s' has not been found",
			    text);
		return 0;
	}
	number = strtoul(text, &end, 10);
	if (*end != '\0' || number > INT32_MAX)
		return err_set(
		    e, -EINVAL, "Invalid file descriptor number '%s'", text);
	if (!start_phase)
		return err_set(e, -EINVAL,
		    "descriptor number %lu means nothing now: pass the "
		    "descriptor with getfd and give its name",
		    number);
	o->number = (uint32_t)number;
	return 0;
}

/* The launcher knows a chardev by its slot; its name is for people. */
static int
plan_chardev(const struct view *v, struct resource *item, struct err *e)
{
	const char *id = text_of(v, v->want->when);

	item->chardev = chardev_claim(v->chardevs, id, v->user, e);
	if (!item->chardev)
		return -EINVAL;
	item->open.number = item->chardev->slot;
	(void)snprintf(item->open.path, sizeof item->open.path, "%s", id);
	return 0;
}

static int
parse(const char *text, bool stream, struct addr *out, struct err *e)
{
	int rc;

	if (!text)
		return 0;
	rc = addr_parse(text, out, e);
	if (rc == 0 && !stream && out->sa.sa_family == AF_UNIX)
		return err_set(e, -EINVAL,
		    "'%s' is a path, and datagrams need an IP address", text);
	return rc;
}

static int
plan_addresses(const struct view *v, struct resource *item, struct err *e)
{
	bool stream = v->want->kind == RES_STREAM_LISTEN ||
		      v->want->kind == RES_STREAM_CONNECT;
	int rc =
	    parse(text_of(v, v->want->local), stream, &item->open.local, e);

	if (rc == 0)
		rc = parse(
		    text_of(v, v->want->remote), stream, &item->open.remote, e);
	return rc;
}

static bool
is_multicast(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return IN_MULTICAST(ntohl(a->in.sin_addr.s_addr));
	return a->sa.sa_family == AF_INET6 &&
	       IN6_IS_ADDR_MULTICAST(&a->in6.sin6_addr);
}

/* The local address of a group is that of an interface: it has no port. */
static int
plan_group(const struct view *v, struct resource *item, struct err *e)
{
	const char *local = text_of(v, v->want->local);
	const char *remote = text_of(v, v->want->remote);
	struct launch_open *o = &item->open;
	struct err ignored;
	uint32_t number = 0;
	int rc;

	rc = parse(remote, false, &o->remote, e);
	if (rc < 0)
		return rc;
	if (!is_multicast(&o->remote)) {
		if (o->remote.sa.sa_family == AF_INET)
			number = ntohl(o->remote.in.sin_addr.s_addr);
		return err_set(e, -EINVAL,
		    "specified mcastaddr %.*s (0x%08x) does not contain a "
		    "multicast address",
		    (int)strcspn(remote, ":"), remote, number);
	}
	if (local && addr_parse_ip(local, &o->local, &ignored) < 0)
		return err_set(e, -EINVAL,
		    "localaddr '%s' is not a valid IPv4 address", local);
	return 0;
}

static int
plan_path(const struct view *v, struct resource *item, struct err *e)
{
	const char *path = text_of(v, v->want->path);
	size_t len = strlen(path);

	if (len == 0 || len >= LAUNCH_PATH)
		return err_set(e, -EINVAL,
		    "Parameter '%s' expects a path of 1 to %u bytes",
		    member(v, v->want->path)->name, LAUNCH_PATH - 1);
	memcpy(item->open.path, path, len + 1);
	return 0;
}

static int
permit(const char *rule, struct launch_open *o, struct err *e)
{
	struct hostfwd f;
	int rc = hostfwd_parse(rule, &f, e);

	if (rc < 0)
		return rc;
	o->udp = f.udp;
	o->local.len = sizeof o->local.in;
	o->local.in.sin_family = AF_INET;
	o->local.in.sin_addr = f.host;
	o->local.in.sin_port = htons(f.host_port);
	return 0;
}

/* A list of rules: each is a permission of its own. */
static int
plan_permits(struct resources *r, const struct view *v, struct err *e)
{
	const struct desc_member *m = member(v, v->want->local);
	const struct string_list *list;
	int rc = 0;

	BUG_ON(m->type->kind != DESC_LIST || m->type->item != &desc_string);
	list = (const void *)(v->base + m->offset);
	for (size_t i = 0; i < list->count && rc == 0; i++) {
		struct resource *item = append(r, v, e);

		rc =
		    item ? permit(list->items[i].str, &item->open, e) : -ENOSPC;
	}
	return rc;
}

static int
plan_one(struct resources *r, const struct view *v, struct err *e)
{
	struct resource *item;

	if (v->want->kind == RES_PERMIT_LISTEN)
		return plan_permits(r, v, e);
	item = append(r, v, e);
	if (!item)
		return -ENOMEM;
	switch (v->want->kind) {
	case RES_FD:
		return resource_fd(text_of(v, v->want->when), v->start_phase,
		    &item->open, &item->fd, e);
	case RES_CHARDEV:
		return plan_chardev(v, item, e);
	case RES_MCAST:
		return plan_group(v, item, e);
	case RES_FILE_CREATE:
	case RES_DIRECTORY:
		return plan_path(v, item, e);
	default:
		return plan_addresses(v, item, e);
	}
}

int
resources_plan(const struct backend_entry *b, const struct netdev *nd,
    bool start_phase, struct chardevs *chardevs, struct resources *r,
    struct err *e)
{
	struct view v = {.b = b,
	    .base = (const char *)nd + offsetof(struct netdev, u),
	    .start_phase = start_phase,
	    .chardevs = chardevs,
	    .user = nd->id};
	int rc = 0;

	for (size_t i = 0; i < b->open_count && rc == 0; i++) {
		v.want = &b->opens[i];
		v.index = (uint32_t)i;
		if (present(&v, v.want->when))
			rc = plan_one(r, &v, e);
	}
	if (rc < 0)
		resources_free(r);
	return rc;
}

void
resources_free(struct resources *r)
{
	for (size_t i = 0; i < r->count; i++) {
		fd_close_foreign(&r->items[i].fd);
		if (r->items[i].chardev)
			chardev_give(r->items[i].chardev);
	}
	free(r->items);
	r->items = NULL;
	r->count = 0;
}

bool
resource_reconnects(const struct resource *r)
{
	return r->open.kind == RES_STREAM_CONNECT ||
	       (r->chardev && chardev_reconnects(r->chardev));
}

const struct chardev *
resources_chardev(const struct resources *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->items[i].chardev)
			return r->items[i].chardev;
	return NULL;
}

const char *
resource_text(const struct launch_open *o, char buf[RESOURCE_TEXT_BYTES])
{
	char local[ADDR_TEXT_BYTES] = "", remote[ADDR_TEXT_BYTES] = "";

	if (o->path[0] != '\0') {
		(void)snprintf(buf, RESOURCE_TEXT_BYTES, "%s", o->path);
		return buf;
	}
	if (o->local.len > 0)
		(void)addr_text(&o->local, local);
	if (o->remote.len > 0)
		(void)addr_text(&o->remote, remote);
	if (local[0] == '\0' && remote[0] == '\0')
		return NULL;
	(void)snprintf(buf, RESOURCE_TEXT_BYTES, "%s%s%s%s",
	    o->kind == RES_PERMIT_LISTEN ? (o->udp ? "udp " : "tcp ") : "",
	    local, remote[0] != '\0' ? (local[0] != '\0' ? " -> " : "-> ") : "",
	    remote);
	return buf;
}
