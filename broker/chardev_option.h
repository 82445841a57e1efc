/*
 * chardev_option.h - the text of -chardev becomes arguments of chardev-add.
 *
 * Pure. Runs in the broker, during start.
 */
#ifndef BROKER_CHARDEV_OPTION_H
#define BROKER_CHARDEV_OPTION_H

#include "broker/text.h"
#include "gen/types.h"
#include "proto/err.h"

/*
 * chardev_option_parse - "socket,id=ID,path=PATH[,KEY=VALUE...]", with QEMU's
 * keys; `server`, `nowait` and the like without a value are warned about.
 *   args  zeroed; owned by the caller on success, empty otherwise
 *   warn  called with a short form and what to write instead
 * -EINVAL, -ENOTSUP or -ENOMEM with *err.
 */
int chardev_option_parse(const char *arg, struct chardev_add_args *args,
    void (*warn)(void *self, const char *word, const char *instead), void *self,
    struct err *err);

/* chardev_option_help - the types of this build, as "-chardev help" has them.
 */
void chardev_option_help(struct text *t);

#endif
