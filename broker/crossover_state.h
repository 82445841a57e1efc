/*
 * crossover_state.h - what the files crossover*.c share. Nobody else includes
 * this. Runs in the broker.
 */
#ifndef BROKER_CROSSOVER_STATE_H
#define BROKER_CROSSOVER_STATE_H

#include "broker/crossover.h"
#include "proto/launch.h"

#include <sys/queue.h>

struct island;
struct timer;

/* Where a crossover is in its life. */
enum cross_state {
	CX_WAITING, /* nothing may change for a while; no process knows of it */
	CX_ASKING,  /* the launcher, for its memories */
	CX_MAKING,  /* both were given their end */
	CX_ON,      /* both have taken it */
	CX_PARTING, /* both must put nothing more into it */
	CX_ENDING,  /* everything goes to the lane; the rest of it is read */
};

struct cross_end {
	struct port *port; /* borrowed; NULL: deleted */
	uint32_t epoch;
	bool crossed;   /* it has answered `cross` */
	bool gone;      /* dead, or could not take its end: it reads nothing */
	bool owes;      /* it has not answered `uncross` */
	bool told_dead; /* that the other reads nothing more */
	bool reported;  /* `counts` are final, and counted */
	const char *fault; /* why it must be killed, soon; or NULL */
	struct cross_counts counts;
};

struct crossover {
	TAILQ_ENTRY(crossover) entry;
	struct crossovers *all;
	enum cross_state state;
	struct cross_end end[2];
	uint32_t serial;   /* 0 before CX_MAKING */
	uint32_t ask;      /* CX_ASKING: to the launcher */
	struct timer *due; /* owned: the state has lasted long enough */
	bool severed;      /* one has said that the other lied */
};

/* What was between the process of a port and that of another. */
struct cross_past {
	uint32_t epoch, other, other_epoch;
	bool never;        /* no crossover between these two again */
	unsigned tries;    /* that ended in trouble */
	uint64_t again_ns; /* not before */
};

struct crossovers {
	struct islands *islands; /* borrowed */
	bool on;
	bool looking;    /* crossovers_look() is under way, and */
	bool again;      /* ... has more to do */
	uint32_t serial; /* last one used */
	TAILQ_HEAD(, crossover) list;
	struct cross_past past[LAUNCH_SLOTS]; /* by number of the port */
};

/* crossover_at - the port's present one, if it has that serial, and which end
 * of it the process is that lives there now. NULL: late, or invented. */
struct crossover *crossover_at(
    const struct port *p, uint32_t serial, struct cross_end **end);

/* cross_other - the other end. */
struct cross_end *cross_other(struct crossover *x, const struct cross_end *e);

/* --- crossover_pair.c ---------------------------------------------------- */

/* cross_new - a record of the two ports, in CX_WAITING; late(x) is called when
 * x->due expires. NULL: out of memory. cross_free - their ports have none. */
struct crossover *cross_new(
    struct crossovers *all, const struct island *i, void (*late)(void *self));
void cross_free(struct crossover *x);

/* May these two be connected? May it go on as it is? */
bool cross_may_begin(const struct island *i);
bool cross_may_go_on(const struct crossover *x);

/* cross_past - what was between the two processes; NULL: nothing. */
const struct cross_past *cross_past(const struct crossover *x);

/* cross_remember - they had trouble: wait longer each time, or for ever. */
void cross_remember(struct crossover *x, bool never);
/* cross_forgive - all has been well between them for long. */
void cross_forgive(struct crossover *x);

/* --- crossover_send.c: to an end that lives and has not reported ---------- */

void cross_send(struct crossover *x, int k, const int fds[3]);
void cross_send_uncross(struct crossover *x, struct cross_end *e);
/* cross_send_end - `cross-end`; again when the other reads no more after it. */
void cross_send_end(struct crossover *x, struct cross_end *e);

/* --- crossover_count.c ---------------------------------------------------- */

/* Its report is final. -EPROTO: it makes no sense. */
int cross_report(struct cross_end *e, const struct cross_counts *c);

/* Nobody will say more: count those who did not, by what is known. */
void cross_count_silent(struct crossover *x);

#endif
