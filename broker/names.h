/*
 * names.h - a resource whose addresses are names: what they mean, and which
 * of their addresses is to be tried next.
 *
 * A name can have several addresses. They are tried in the order in which the
 * look-up gave them, each judged by policy; where both ends are names, pairs
 * of one family. Runs in the broker.
 */
#ifndef BROKER_NAMES_H
#define BROKER_NAMES_H

#include "broker/lookup.h"

#include "gen/types.h"

#include <stdbool.h>

struct resource;

enum names_end { NAMES_LOCAL, NAMES_REMOTE, NAMES_ENDS };

/* What an option says of one end. Everything is borrowed. */
struct names_want {
	const struct netdev *nd;
	const char *option; /* its name */
	const char *host;
	int family;       /* AF_UNSPEC: any; l2tpv3 has an option for that */
	uint16_t port_be; /* network order */
};

struct names;

/*
 * names_add - note that an end of *r has a name. 0, or -ENOMEM with *e.
 */
int names_add(struct lookups *all, struct resource *r, enum names_end end,
    const struct names_want *want, struct err *e);

/*
 * names_find - look up what *r names, unless that was done just now.
 * Returns 1 when it was; 0 when `found` will be called, once, with 0, or with
 * -errno when nothing is known; else -errno. What is found, names_next() has;
 * where a look-up fails, what was known before. A second caller takes the
 * first one's place.
 */
int names_find(
    struct resource *r, void (*found)(void *self, int rc), void *self);

/*
 * names_next - put the next addresses into r->open; false: that was all.
 * names_first - the same from the beginning.
 */
bool names_next(struct resource *r);
bool names_first(struct resource *r);

/* names_error - why there is no address, in full. */
void names_error(const struct resource *r, struct err *e);

/* names_forget - do not tell; names_free - all of it. NULL in r is allowed. */
void names_forget(struct resource *r);
void names_free(struct resource *r);

#endif
