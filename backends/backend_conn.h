/*
 * backend_conn.h - the connection of a stream netdev, which comes and goes.
 *
 * Embedded by types that carry frames over one stream socket: it accepts from
 * a listening socket, one peer at a time, or connects and connects again, or
 * has one connection that was passed in. It tells the broker; the words of
 * query-netdevs are the type's own.
 */
#ifndef BACKENDS_BACKEND_CONN_H
#define BACKENDS_BACKEND_CONN_H

#include "backends/backend_stream.h"
#include "proto/addr.h"

/* reconnect_ms: nobody said, so from 100 to 1000, doubling. */
#define CONN_RECONNECT_USUAL INT64_C(-1)

struct conn {
	struct backend *be; /* borrowed */
	/* There is a peer with this name, or (NULL) none; sets the info. */
	void (*told)(void *owner, const char *peer);
	void *owner;
	const char *name;     /* borrowed: the address, for people */
	unsigned index;       /* resource of connections */
	bool connects;        /* the launcher makes connections */
	int64_t reconnect_ms; /* 0: never again */
	struct stream stream;
	int given;      /* owned until start: passed in, or the first one */
	int listening;  /* owned; -1: not in that mode */
	int connecting; /* owned; a connection not yet made */
	struct watch *accept_watch, *connect_watch; /* owned */
	struct timer *retry; /* owned: the next try to connect or accept */
	uint32_t retry_ms;
	uint64_t since_ns;   /* of the connection */
	unsigned shortlived; /* connections in a row */
};

/*
 * conn_open - zeroed `c` with be, told, owner and name becomes usable; no
 * descriptor yet. Also conn_close() is fine from now on. 0, or -ENOMEM.
 */
int conn_open(struct conn *c, struct err *err);

/* One of these, in stage 3; each takes the descriptor. conn_connect's may be
 * -1: the first attempt has failed already. */
int conn_listen(struct conn *c, int fd, struct err *err);
void conn_connect(struct conn *c, int fd, unsigned index, int64_t reconnect_ms);
void conn_given(struct conn *c, int fd);

int conn_start(struct conn *c, struct err *err);
void conn_close(struct conn *c);

/* struct backend_type's call of that name. */
void conn_connection(struct conn *c, int fd, const char *text);

#endif
