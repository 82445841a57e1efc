/*
 * names.c - from the names of a resource to addresses to try.
 *
 * Runs in: the broker. Trusts: lookup.c for the form of addresses; which ones
 * they are is for the launcher to judge, as with all others.
 * Specification: docs/decisions.md, "Names".
 */
#include "broker/names.h"

#include "broker/resources.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A lost connection is looked for at what is known, if that is so young. */
#define FRESH_NS UINT64_C(10000000000)

#define WORDS_BYTES (ADDR_NAME_BYTES + 64)

struct end {
	struct lookup *lookup; /* owned; NULL: an address was given, or none */
	uint16_t port_be;
	char words[WORDS_BYTES];           /* of an error, up to the cause */
	char whose[ADDR_NAME_BYTES + 192]; /* behind it */
};

struct names {
	struct end ends[NAMES_ENDS];
	size_t next;      /* pair to be tried */
	unsigned waiting; /* look-ups under way */
	void (*found)(void *self, int rc);
	void *self;
};

static struct addr *
address(struct resource *r, enum names_end end)
{
	return end == NAMES_LOCAL ? &r->open.local : &r->open.remote;
}

/* QEMU's words, each type's own, up to the cause. */
static void
put_words(struct end *to, enum names_end end, const struct names_want *w)
{
	size_t size = sizeof to->words;

	if (w->nd->type == NET_CLIENT_DRIVER_STREAM)
		(void)snprintf(to->words, size,
		    "address resolution failed for %s:%u: ", w->host,
		    ntohs(w->port_be));
	else if (w->nd->type == NET_CLIENT_DRIVER_L2TPV3)
		(void)snprintf(to->words, size, "could not resolve %s = ",
		    end == NAMES_LOCAL ? "src, errno" : "dst, error");
	else
		(void)snprintf(to->words, size,
		    "can't resolve host address '%s': ", w->host);
	(void)snprintf(to->whose, sizeof to->whose,
	    " (netdev '%.100s', option '%s', host '%s')", w->nd->id, w->option,
	    w->host);
}

static int
family_of(const struct names_want *w)
{
	const struct netdev_l2tpv3_options *o = &w->nd->u.l2tpv3;

	if (w->nd->type != NET_CLIENT_DRIVER_L2TPV3)
		return w->family;
	return o->has_ipv6 && o->ipv6 ? AF_INET6 : AF_INET;
}

int
names_add(struct lookups *all, struct resource *r, enum names_end end,
    const struct names_want *want, struct err *e)
{
	struct end *to;

	if (!r->names)
		r->names = calloc(1, sizeof *r->names);
	to = r->names ? &r->names->ends[end] : NULL;
	if (to)
		to->lookup = lookup_new(all, want->host, family_of(want));
	if (!to || !to->lookup)
		return err_set(e, -ENOMEM, "out of memory");
	to->port_be = want->port_be;
	put_words(to, end, want);
	return 0;
}

/* --- which addresses --- */

static size_t
choices(const struct end *e)
{
	return e->lookup ? e->lookup->count : 1;
}

static void
choose(struct resource *r, enum names_end end, size_t which)
{
	const struct end *from = &r->names->ends[end];
	struct addr *a = address(r, end);

	if (!from->lookup)
		return;
	*a = from->lookup->found[which];
	if (a->sa.sa_family == AF_INET)
		a->in.sin_port = from->port_be;
	else
		a->in6.sin6_port = from->port_be;
}

static bool
is_group(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6
		   ? IN6_IS_ADDR_MULTICAST(&a->in6.sin6_addr)
		   : IN_MULTICAST(ntohl(a->in.sin_addr.s_addr));
}

/* Can it be opened at all? Two ends of one family; groups by their kind. */
static bool
fits(const struct launch_open *o)
{
	if (o->local.len > 0 && o->remote.len > 0 &&
	    o->local.sa.sa_family != o->remote.sa.sa_family)
		return false;
	return o->remote.len == 0 ||
	       is_group(&o->remote) == (o->kind == RES_MCAST);
}

bool
names_next(struct resource *r)
{
	struct names *n = r->names;
	size_t locals, all;

	if (!n)
		return false;
	locals = choices(&n->ends[NAMES_LOCAL]);
	all = locals * choices(&n->ends[NAMES_REMOTE]);
	while (n->next < all) {
		choose(r, NAMES_LOCAL, n->next % locals);
		choose(r, NAMES_REMOTE, n->next / locals);
		n->next++;
		if (fits(&r->open))
			return true;
	}
	return false;
}

bool
names_first(struct resource *r)
{
	if (r->names)
		r->names->next = 0;
	return names_next(r);
}

/* --- looking up --- */

/* The first of the ends that has failed, or is of no use; or NULL. */
static const struct end *
failed(const struct names *n)
{
	for (int i = 0; i < NAMES_ENDS; i++)
		if (n->ends[i].lookup && n->ends[i].lookup->count == 0)
			return &n->ends[i];
	return NULL;
}

static const struct end *
any(const struct names *n)
{
	return n->ends[NAMES_REMOTE].lookup ? &n->ends[NAMES_REMOTE]
					    : &n->ends[NAMES_LOCAL];
}

void
names_error(const struct resource *r, struct err *e)
{
	const struct end *end = failed(r->names);
	const char *why = end ? end->lookup->error.text : NULL;

	if (!end)
		end = any(r->names);
	(void)err_set(e, -EINVAL, "%s%.400s%s", end->words,
	    why ? why : "it has no address of the kind that is wanted",
	    end->whose);
}

static void
one_ended(void *self)
{
	struct resource *r = self;
	struct names *n = r->names;
	void (*found)(void *self, int rc) = n->found;

	if (--n->waiting > 0)
		return;
	n->found = NULL;
	n->next = 0;
	if (found)
		found(n->self, failed(n) ? -EINVAL : 0);
}

static bool
is_fresh(const struct names *n)
{
	uint64_t now_ns = sys_mono_ns();

	for (int i = 0; i < NAMES_ENDS; i++) {
		const struct lookup *lk = n->ends[i].lookup;

		if (lk && (lk->count == 0 || now_ns - lk->ended_ns > FRESH_NS))
			return false;
	}
	return true;
}

int
names_find(struct resource *r, void (*found)(void *self, int rc), void *self)
{
	struct names *n = r->names;

	if (n->waiting == 0 && is_fresh(n))
		return 1;
	n->found = found;
	n->self = self;
	if (n->waiting > 0)
		return 0;
	for (int i = 0; i < NAMES_ENDS; i++)
		if (n->ends[i].lookup &&
		    lookup_start(n->ends[i].lookup, one_ended, r) == 0)
			n->waiting++;
	if (n->waiting > 0)
		return 0;
	n->found = NULL;
	return -ENOBUFS;
}

void
names_forget(struct resource *r)
{
	if (r->names)
		r->names->found = NULL;
}

void
names_free(struct resource *r)
{
	if (!r->names)
		return;
	for (int i = 0; i < NAMES_ENDS; i++)
		lookup_free(r->names->ends[i].lookup);
	free(r->names);
	r->names = NULL;
}
