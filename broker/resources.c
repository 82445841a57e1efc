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
#include "broker/fdset.h"
#include "broker/getfd.h"
#include "broker/names.h"
#include "broker/resources_tap.h"
#include "broker/socket_address.h"
#include "proto/addr.h"
#include "proto/desc.h"
#include "proto/log.h"
#include "proto/netmap.h"
#include "proto/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- options by their place in the table --- */

/* One netdev's options, seen through their descriptor. */
struct view {
	const struct backend_entry *b;
	const char *base;
	const struct backend_open *want;
	uint32_t index;
	bool start_phase;
	struct chardevs *chardevs;
	struct lookups *lookups;
	const struct netdev *nd;
};

static const struct desc_member *
member(const struct view *v, int index)
{
	BUG_ON((size_t)index >= v->b->options->member_count);
	return &v->b->options->members[index];
}

/* A SocketAddress option; NULL when absent, or another type. */
static const struct socket_address *
address_of(const struct view *v, int index)
{
	const struct desc_member *m;
	const void *at;

	if (index < 0)
		return NULL;
	m = member(v, index);
	if (m->type != &desc_socket_address)
		return NULL;
	at = v->base + m->offset;
	return m->indirect ? *(struct socket_address *const *)at : at;
}

/* The text of a string option, or of a descriptor; NULL when absent. */
static const char *
text_of(const struct view *v, int index)
{
	const struct desc_member *m;
	char *text;

	if (index < 0)
		return NULL;
	if (address_of(v, index))
		return address_of(v, index)->u.fd.str;
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
	if (m->type == &desc_socket_address)
		return address_of(v, index) != NULL &&
		       socket_address_wants(
			   address_of(v, index), v->want->kind);
	if (m->has_offset == DESC_NO_HAS)
		return true;
	memcpy(&has, v->base + m->has_offset, sizeof has);
	return has;
}

/* A boolean option that is there and true. */
static bool
is_on(const struct view *v, int index)
{
	const struct desc_member *m = member(v, index);
	bool on;

	BUG_ON(m->type->kind != DESC_BOOL);
	if (!present(v, index))
		return false;
	memcpy(&on, v->base + m->offset, sizeof on);
	return on;
}

/* Do the options want this resource? */
static bool
is_wanted(const struct view *v)
{
	const struct backend_open *w = v->want;

	return present(v, w->when) &&
	       (w->only_if < 0 || is_on(v, w->only_if)) &&
	       (w->unless < 0 || !is_on(v, w->unless));
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

	item->chardev = chardev_claim(v->chardevs, id, v->nd->id, e);
	if (!item->chardev)
		return -EINVAL;
	item->open.number = item->chardev->slot;
	(void)snprintf(item->open.path, sizeof item->open.path, "%s", id);
	return 0;
}

/* An end of the resource is a name, with its port where the address will be. */
static int
plan_name(const struct view *v, struct resource *item, enum names_end end,
    const char *host, int family, struct err *e)
{
	bool local = end == NAMES_LOCAL;
	const struct addr *a = local ? &item->open.local : &item->open.remote;
	const struct names_want want = {.nd = v->nd,
	    .option = member(v, local ? v->want->local : v->want->remote)->name,
	    .host = host,
	    .family = family,
	    .port_be = a->in.sin_port};

	return names_add(v->lookups, item, end, &want, e);
}

static int
parse(const struct view *v, struct resource *item, enum names_end end,
    const char *text, struct err *e)
{
	bool stream = v->want->kind == RES_STREAM_LISTEN ||
		      v->want->kind == RES_STREAM_CONNECT;
	struct addr *out =
	    end == NAMES_LOCAL ? &item->open.local : &item->open.remote;
	char host[ADDR_NAME_BYTES];
	int rc;

	if (!text)
		return 0;
	rc = addr_parse(text, out, e);
	if (rc == 0 && !stream && out->sa.sa_family == AF_UNIX)
		return err_set(e, -EINVAL,
		    "'%s' is a path, and datagrams need an IP address", text);
	if (rc != -ENOENT)
		return rc;
	(void)snprintf(
	    host, sizeof host, "%.*s", (int)strcspn(text, ":"), text);
	return plan_name(v, item, end, host, AF_INET, e);
}

/*
 * An option that names a host and one that names its port, if it has one, as
 * addr_parse wants them: in one text.
 */
static int
parse_host(const struct view *v, struct resource *item, enum names_end end,
    struct err *e)
{
	const struct backend_open *w = v->want;
	bool local = end == NAMES_LOCAL;
	int host = local ? w->local : w->remote;
	int port = local ? w->local_port : w->remote_port;
	const char *name = text_of(v, host), *number = text_of(v, port);
	bool colons = strchr(name, ':') != NULL; /* IPv6 */
	char text[512];
	int len = snprintf(text, sizeof text, "%s%s%s:%s", colons ? "[" : "",
	    name, colons ? "]" : "", port < 0 ? "0" : number);

	if (name[0] == '\0' || (size_t)len >= sizeof text)
		return err_set(e, -EINVAL,
		    "Parameter '%s' expects an IP address",
		    member(v, host)->name);
	return parse(v, item, end, text, e);
}

/* Host and port in two options, or a host alone. */
static int
plan_hosts(const struct view *v, struct resource *item, struct err *e)
{
	int rc = parse_host(v, item, NAMES_LOCAL, e);

	return rc < 0 ? rc : parse_host(v, item, NAMES_REMOTE, e);
}

static int
plan_addresses(const struct view *v, struct resource *item, struct err *e)
{
	int rc;

	if (v->want->local_port >= 0 || v->want->kind == RES_RAW_IP)
		return plan_hosts(v, item, e);
	rc = parse(v, item, NAMES_LOCAL, text_of(v, v->want->local), e);
	return rc < 0 ? rc
		      : parse(v, item, NAMES_REMOTE,
			    text_of(v, v->want->remote), e);
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

	rc = parse(v, item, NAMES_REMOTE, remote, e);
	if (rc < 0)
		return rc;
	if (!item->names && !is_multicast(&o->remote)) {
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

/* Kinds whose path may mean a set of descriptors, and what they must be open
 * for; the launcher looks at what they are. */
static const struct {
	enum resource_kind kind;
	int mode;
} opened_files[] = {
    {RES_FILE_CREATE, O_WRONLY},
};

static int
plan_fdset(const struct view *v, struct resource *item, struct err *e)
{
	const char *path = item->open.path;
	int rc;

	for (size_t i = 0; i < sizeof opened_files / sizeof *opened_files;
	     i++) {
		if (opened_files[i].kind != v->want->kind)
			continue;
		rc = fdset_open(path, opened_files[i].mode, e);
		if (rc >= 0)
			item->fd = rc;
		return rc < 0 ? rc : 0;
	}
	return err_set(e, -ENOTSUP,
	    "Parameter '%s' cannot be a set of descriptors: its object is "
	    "found by its path only",
	    member(v, v->want->path)->name);
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
	return fdset_is_path(path) ? plan_fdset(v, item, e) : 0;
}

/* The name of our own socket in the switch's directory. */
static int
plan_vde(const struct view *v, struct resource *item, struct err *e)
{
	const struct netdev_vde_options *o = (const void *)v->base;

	if (v->want->kind == RES_VDE_DATA) {
		item->open.mode = o->has_mode ? o->mode : 0;
		if (o->group)
			item->open.group =
			    (uint32_t)strtoul(o->group, NULL, 10) + 1;
	}
	return plan_path(v, item, e);
}

static int
plan_netmap(const struct view *v, struct resource *item, struct err *e)
{
	const struct netdev_netmap_options *o = (const void *)v->base;
	const char *device = o->devname ? o->devname : NETMAP_DEVICE;

	if (strlen(device) >= LAUNCH_PATH)
		return err_set(
		    e, -EINVAL, "Parameter 'devname' expects a shorter path");
	memcpy(item->open.path, device, strlen(device) + 1);
	memcpy(item->open.name, o->ifname, strlen(o->ifname) + 1);
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

/* Options that are a SocketAddress. */
static int
plan_socket_addresses(
    const struct view *v, struct resource *item, struct err *e)
{
	const struct socket_address *const ends[NAMES_ENDS] = {
	    [NAMES_LOCAL] = address_of(v, v->want->local),
	    [NAMES_REMOTE] = address_of(v, v->want->remote)};
	int rc = socket_address_plan(ends[0], ends[1], &item->open, e);

	for (int i = 0; i < NAMES_ENDS && rc == 0; i++)
		if (socket_address_is_name(ends[i]))
			rc = plan_name(v, item, (enum names_end)i,
			    ends[i]->u.inet.host,
			    socket_address_family(&ends[i]->u.inet), e);
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
	if (v->want->kind != RES_FD && address_of(v, v->want->when))
		return plan_socket_addresses(v, item, e);
	switch (v->want->kind) {
	case RES_FD:
		return resource_fd(text_of(v, v->want->when), v->start_phase,
		    &item->open, &item->fd, e);
	case RES_CHARDEV:
		return plan_chardev(v, item, e);
	case RES_MCAST:
		return plan_group(v, item, e);
	case RES_VDE_CONTROL:
	case RES_VDE_DATA:
		return plan_vde(v, item, e);
	case RES_NETMAP:
		return plan_netmap(v, item, e);
	case RES_FILE_CREATE:
	case RES_DIRECTORY:
		return plan_path(v, item, e);
	default:
		return plan_addresses(v, item, e);
	}
}

int
resources_plan(const struct backend_entry *b, const struct netdev *nd,
    bool start_phase, struct chardevs *chardevs, struct lookups *lookups,
    struct resources *r, struct err *e)
{
	struct view v = {.b = b,
	    .base = (const char *)nd + offsetof(struct netdev, u),
	    .start_phase = start_phase,
	    .chardevs = chardevs,
	    .lookups = lookups,
	    .nd = nd};
	bool tap = nd->type == NET_CLIENT_DRIVER_TAP ||
		   nd->type == NET_CLIENT_DRIVER_BRIDGE;
	int rc = tap ? tap_plan(nd, start_phase, r, e) : 0;

	for (size_t i = 0; i < b->open_count && rc == 0 && !tap; i++) {
		v.want = &b->opens[i];
		v.index = (uint32_t)i;
		if (is_wanted(&v))
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
		names_free(&r->items[i]);
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
	       r->open.kind == RES_VDE_CONTROL ||
	       r->open.kind == RES_VDE_DATA || r->open.kind == RES_NETMAP ||
	       (r->chardev && chardev_reconnects(r->chardev));
}

bool
resource_renews(const struct resource *r)
{
	return r->open.kind == RES_TAP || r->open.kind == RES_BRIDGE ||
	       r->open.kind == RES_SCRIPT || resource_reconnects(r);
}

bool
resource_asks_again(const struct resource *r)
{
	return r->open.kind == RES_UNIX_DGRAM || resource_reconnects(r);
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
