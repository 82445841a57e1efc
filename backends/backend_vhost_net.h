/*
 * backend_vhost_net.h - frames over pairs of virtqueues that we drive, in
 * memory of our own that one back-end maps.
 *
 * One struct is one connection's: its memory, sealed in size, and the
 * descriptors for kicks and calls are made for it and go with it. What an
 * earlier back-end may have kept of its own is of no use on the next.
 * Everything in the memory is scratch: rings whose contents are never
 * believed (backend_vring.h) and buffers that hold frames on their way.
 */
#ifndef BACKENDS_BACKEND_VHOST_NET_H
#define BACKENDS_BACKEND_VHOST_NET_H

#include "backends/backend.h"
#include "backends/backend_vhost_fe.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vhost_net;

/*
 * vhost_net_new - memory and descriptors for `pairs` pairs of queues.
 *   broken  the back-end broke a ring; from the loop; may free it
 * Returns 0 and *out, or -errno.
 */
int vhost_net_new(struct backend *be, unsigned pairs,
    void (*broken)(void *self, const char *why), void *self,
    struct vhost_net **out);
void vhost_net_free(struct vhost_net *n);

/* What the conversation lends to the back-end; borrows from n. */
void vhost_net_config(struct vhost_net *n, struct vhost_fe_config *c);

/* vhost_net_run - the back-end runs with these features: frames flow. */
void vhost_net_run(struct vhost_net *n, uint64_t features);

/* As the type's frames() and room(). */
size_t vhost_net_frames(
    struct vhost_net *n, const struct frame *f, size_t count);
void vhost_net_room(struct vhost_net *n);

#endif
