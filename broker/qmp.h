/*
 * qmp.h - the token of one pending QMP command.
 *
 * The generated dispatcher hands a `struct call` to cmd_NAME(); exactly one of
 * the three functions below must be called with it, at once or later. The
 * session may be gone by then: the answer is thrown away. Runs in the broker.
 */
#ifndef BROKER_QMP_H
#define BROKER_QMP_H

#include "proto/desc.h"
#include "proto/err.h"

struct call;

/* Success with a value of type `d` (borrowed); NULL, NULL answers {}. */
void call_return(struct call *c, const struct desc *d, const void *v);

/* Success with ready-made JSON text of one line (borrowed). */
void call_return_text(struct call *c, const char *json);

/* Failure (borrowed). */
void call_fail(struct call *c, const struct err *e);

/*
 * call_take_fd - the descriptor that came with the command by SCM_RIGHTS, now
 * owned by the caller; -1 when none came.
 */
int call_take_fd(struct call *c);

#endif
