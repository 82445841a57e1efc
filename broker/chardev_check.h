/*
 * chardev_check.h - from the arguments of chardev-add to a request to the
 * launcher. Runs in the broker.
 */
#ifndef BROKER_CHARDEV_CHECK_H
#define BROKER_CHARDEV_CHECK_H

#include "broker/chardev.h"

/*
 * chardev_check - judge the backend and fill in the record: open, path,
 * server, wait, reconnect_ms, and fd with a descriptor named by getfd, whose
 * name is used up.
 *   start_phase  a number is one of the descriptors given to bulkheadd
 * 0, or -errno with *e in QEMU's words.
 */
int chardev_check(struct chardev *ch, const struct chardev_backend *b,
    bool start_phase, struct err *e);

/*
 * chardev_filename - as query-chardev tells it: "unix:PATH,server=on", with
 * "disconnected:" in front.
 */
#define CHARDEV_FILENAME_BYTES (LAUNCH_PATH + 64)
void chardev_filename(
    const struct chardev *ch, bool connected, char buf[CHARDEV_FILENAME_BYTES]);

#endif
