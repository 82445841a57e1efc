/*
 * open_tap.h - taps, the programs that are run for them, and who runs them.
 *
 * Runs in the launcher.
 */
#ifndef SANDBOX_OPEN_TAP_H
#define SANDBOX_OPEN_TAP_H

#include "sandbox/openers.h"

struct ifreq;

/* What an opener returns when its answer comes later (scripts.c). */
#define OPENER_LATER 0x10000

/* --- open_tap.c ---------------------------------------------------------- */

int opener_tap(struct opening *o);
int opener_tap_fd(struct opening *o);

/* tap_query - name and flags of a tap. 0; -ENOTTY: not of the tun device. */
int tap_query(int fd, struct ifreq *req);

/* tap_check - is it a tap that we can use? 0, or -errno with *err. */
int tap_check(int fd, const char *what, struct ifreq *req, struct err *err);

/* tap_configure - header, offloads, send buffer. 0, or -errno with *err. */
int tap_configure(int fd, uint64_t sndbuf, struct err *err);

/* tap_first - the resource with the tap that we made for the slot, or NULL. */
const struct resource *tap_first(const struct slot *s);

/* --- scripts.c ------------------------------------------------------------ */

int opener_bridge(struct opening *o);
int opener_script(struct opening *o);
int opener_downscript(struct opening *o);

#endif
