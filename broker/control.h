/*
 * control.h - the broker's end of the control channel of one process: a lane
 * or a backend. Owns the channel, the ping that waits for its pong, and the
 * list of questions that wait for counters. Runs in the broker.
 *
 * Every message comes from a process that may be hostile. The generated
 * dispatcher has checked its form; each function of struct control_ops judges
 * whether it may come now, and returns a negative fault when it may not. The
 * channel is then dead and closed() is called, once, with the reason.
 */
#ifndef BROKER_CONTROL_H
#define BROKER_CONTROL_H

#include "gen/control.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct chan;
struct control;
struct loop;

/* What arrives. NULL where the role cannot send it. */
struct control_ops {
	int (*hello)(void *self, const struct ctl_hello *m);
	/* from backends */
	int (*ready)(void *self, const struct ctl_ready *m);
	int (*connected)(void *self, const struct ctl_connected *m);
	int (*reconnect)(
	    void *self, uint32_t seq, const struct ctl_reconnect *m);
	int (*notice)(void *self, const struct ctl_notice *m);
	int (*lane_stalled)(void *self);
	int (*rx_filter)(void *self, const struct ctl_rx_filter *m);
	int (*nic_state)(void *self, const struct ctl_nic_state *m);
	/* The answer to control_ask_filter(); its asker is told after it. */
	int (*rx_filter_state)(void *self, const struct ctl_rx_filter_state *m);
	/* Of the crossover that its port is at. */
	int (*crossed)(void *self, const struct ctl_crossed *m);
	int (*uncrossed)(void *self, const struct ctl_uncrossed *m);
	int (*cross_ended)(void *self, const struct ctl_cross_ended *m);
	int (*cross_trouble)(void *self, const struct ctl_cross_trouble *m);
	/* It has the arena of its group, or cannot have it. */
	int (*arena_viewed)(void *self, const struct ctl_arena_viewed *m);
	/* What went over that until now, with its counters. */
	void (*cross_counts)(void *self, const struct cross_counts *c);
	/* What it says of itself now, with its counters. */
	void (*info)(void *self, const char *text);
	/* from lanes */
	int (*detached)(void *self, const struct ctl_detached *m);
	int (*port_fault)(void *self, const struct ctl_port_fault *m);
	int (*port_stalled)(void *self, const struct ctl_port_stalled *m);
	int (*arena_ended)(void *self, const struct ctl_arena_ended *m);
	/* The channel is dead: 0 = end of file, else a negative fault. */
	void (*closed)(void *self, int reason);
	/* No pong within the deadline. */
	void (*hung)(void *self);
};

/*
 * One question, mostly for counters, embedded in its asker. `told` is called
 * exactly once: with count 0 when the process is gone or answered nonsense.
 */
struct control_ask {
	TAILQ_ENTRY(control_ask) entry;
	struct control *control; /* NULL: not waiting */
	uint32_t seq;
	void (*told)(
	    struct control_ask *a, const uint64_t *counters, size_t count);
};

/* control_new - takes fd. NULL when out of memory. */
struct control *control_new(struct loop *l, int fd, enum ctl_role from,
    const struct control_ops *ops, void *self);

/* control_free - closes; questions still waiting are told "gone". */
void control_free(struct control *k);

/* control_own - another `self` from now on. */
void control_own(struct control *k, void *self);

/* For ctl_send_NAME(). */
struct chan *control_chan(struct control *k);

/* A number for the next message that wants an answer. */
uint32_t control_seq(struct control *k);

/* control_ping - is it turning its loop? One ping at a time. */
void control_ping(struct control *k);

/* Ask a lane for one port's counters, or a backend for its own. */
void control_ask_port(struct control *k, struct control_ask *a, uint32_t port);
void control_ask_backend(struct control *k, struct control_ask *a);

/* Ask a nic for its filter; `told` gets no counters. */
void control_ask_filter(struct control *k, struct control_ask *a);

/* control_ask_end - it is told "gone" now, if it is waiting. */
void control_ask_end(struct control_ask *a);

/* control_ask_cancel - it will not be told. Harmless when not waiting. */
void control_ask_cancel(struct control_ask *a);

#endif
