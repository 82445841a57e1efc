/*
 * session.h - QMP over unix sockets: listeners, clients, their bytes.
 *
 * One endpoint per process. It owns every listening and accepted descriptor
 * and all buffers; requests go through broker/dispatch.h. Runs in the broker.
 */
#ifndef BROKER_SESSION_H
#define BROKER_SESSION_H

#include <stddef.h>

struct loop;
struct text;

/* Clients of one listener beyond this are told so and closed. */
#define SESSION_CLIENTS_MAX 64u
/* Listeners beyond this are closed. */
#define SESSION_LISTENERS_MAX 16u
/* A session with this much unsent output does not read on. */
#define SESSION_UNSENT_PAUSE ((size_t)64 * 1024)
/* A session with more unsent output than this is closed at the next message:
 * events pile up. So a session holds this and one message at most. */
#define SESSION_UNSENT_MAX ((size_t)1024 * 1024)

/* session_init - once, before the first listener. `l` is borrowed. */
void session_init(struct loop *l);

/*
 * qmp_listener - serve clients of a listening unix stream socket.
 *   fd    owned; should be O_NONBLOCK
 *   name  its path, for log lines; copied
 */
void qmp_listener(int fd, const char *name);

/*
 * session_broadcast - one message, without line end, to every client past
 * negotiation. Sent when control returns to the loop or with an answer.
 */
void session_broadcast(const struct text *line);

/* session_count - clients connected now, over all listeners. */
size_t session_count(void);

/*
 * session_shutdown - write what the sockets take of the unsent output, then
 * close everything. No request is answered any more.
 */
void session_shutdown(void);

/* session_fini - free everything; session_init() may follow. */
void session_fini(void);

#endif
