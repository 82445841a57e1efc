/*
 * greeting.h - who we say we are: the version triple and the first line.
 *
 * Clients read `qemu.major` to know which commands to expect. The triple
 * names the QEMU whose net.json this program serves, and `package` names the
 * program itself. Runs in the broker.
 */
#ifndef BROKER_GREETING_H
#define BROKER_GREETING_H

#include "broker/text.h"

#define GREETING_MAJOR   2
#define GREETING_MINOR   12
#define GREETING_MICRO   0
#define GREETING_PACKAGE "bulkhead-" BULKHEAD_VERSION

/* greeting_add - the greeting with its line end; capabilities: none. */
void greeting_add(struct text *t);

#endif
