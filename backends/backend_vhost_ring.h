/*
 * backend_vhost_ring.h - the queues of the device role: what is set of each,
 * and whether that makes it run. Only for backend_vhost_dev.c.
 */
#ifndef BACKENDS_BACKEND_VHOST_RING_H
#define BACKENDS_BACKEND_VHOST_RING_H

#include "backends/backend_vhost_dev.h"

void vhost_rings_init(struct vhost_dev *d);
/* Stop, and forget everything. */
void vhost_rings_release(struct vhost_dev *d);

/* None runs: their memory or meaning is about to change. */
void vhost_rings_leave(struct vhost_dev *d);
/* Run those again that can. */
void vhost_rings_settle(struct vhost_dev *d);
/* Stop, and wait for new kick descriptors. Bases are kept: a front-end asks
 * for them after SET_STATUS 0. */
void vhost_rings_stop(struct vhost_dev *d, bool disable);

/* Handlers: 0, or negative with *e. */
int vhost_ring_num(struct vhost_dev *d, struct vhost_msg *m, struct err *e);
int vhost_ring_addr(struct vhost_dev *d, struct vhost_msg *m, struct err *e);
int vhost_ring_base(struct vhost_dev *d, struct vhost_msg *m, struct err *e);
int vhost_ring_get_base(
    struct vhost_dev *d, struct vhost_msg *m, struct err *e);
int vhost_ring_kick(struct vhost_dev *d, struct vhost_msg *m, struct err *e);
int vhost_ring_call(struct vhost_dev *d, struct vhost_msg *m, struct err *e);
int vhost_ring_err(struct vhost_dev *d, struct vhost_msg *m, struct err *e);
int vhost_ring_enable(struct vhost_dev *d, struct vhost_msg *m, struct err *e);

#endif
