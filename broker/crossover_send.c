/*
 * crossover_send.c - what the ends of a crossover are told.
 *
 * Runs in: the broker. Trusts: nobody to take it. A send that fails is noticed
 * by the loop, as the end of the channel, mostly of a process that has just
 * died, or as an answer that does not come.
 * Specification: schema/control.json.
 */
#include "broker/control.h"
#include "broker/crossover_state.h"
#include "broker/ports.h"

static struct control *
control_of(const struct cross_end *e)
{
	return e->port && !e->gone ? e->port->ops->control(e->port->self)
				   : NULL;
}

void
cross_send(struct crossover *x, int k, const int fds[3])
{
	struct cross_end *e = &x->end[k];
	const struct ctl_cross m = {.serial = x->serial,
	    .own_bytes = e->port->ring_bytes,
	    .peer_bytes = x->end[!k].port->ring_bytes};
	struct control *c = control_of(e);

	if (c)
		(void)ctl_send_cross(control_chan(c), control_seq(c), &m, fds);
}

void
cross_send_uncross(struct crossover *x, struct cross_end *e)
{
	const struct ctl_uncross m = {.serial = x->serial};
	struct control *c = control_of(e);

	if (!c || e->reported)
		return;
	e->owes = true;
	(void)ctl_send_uncross(control_chan(c), control_seq(c), &m);
}

void
cross_send_end(struct crossover *x, struct cross_end *e)
{
	const struct cross_end *o = cross_other(x, e);
	const struct ctl_cross_end m = {
	    .serial = x->serial, .dead = o->gone || o->reported || x->severed};
	struct control *c = control_of(e);

	if (!c || e->reported || e->told_dead)
		return;
	e->told_dead = m.dead;
	(void)ctl_send_cross_end(control_chan(c), 0, &m);
}
