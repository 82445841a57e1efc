/*
 * dispatch.h - one QMP request to one handler, and its answer back.
 *
 * An *asker* is whoever sends requests one after the other: a session, the
 * start configuration. It embeds a struct asker and gets each answer as one
 * line of JSON. At most one request of an asker is in work. Runs in the
 * broker.
 */
#ifndef BROKER_DISPATCH_H
#define BROKER_DISPATCH_H

#include "broker/framer.h"
#include "broker/qmp.h"
#include "broker/text.h"

#include <stdbool.h>

struct asker;

struct asker_ops {
	/*
	 * The answer: one message without line end, borrowed. `e` is NULL on
	 * success. May be called before asker_request() returns. Must not free
	 * the asker; may not send the next request from within.
	 */
	void (*answered)(
	    struct asker *a, const struct text *line, const struct err *e);
};

struct asker {
	const struct asker_ops *ops; /* borrowed, constant */
	struct call *pending; /* the request in work; freed by its answer */
	int fd;               /* owned: last descriptor received, or -1 */
	bool negotiated;      /* past qmp_capabilities */
};

void asker_init(struct asker *a, const struct asker_ops *ops, bool negotiated);

/*
 * asker_fini - the asker goes away. A request in work is completed and its
 * answer thrown away.
 */
void asker_fini(struct asker *a);

/*
 * asker_request - run what the framer gave: a value is checked and
 * dispatched, an error is answered as such. No request may be in work.
 */
void asker_request(struct asker *a, const struct framer_item *item);

/* call_asker - who asked, or NULL when it is gone. */
struct asker *call_asker(const struct call *c);

#endif
