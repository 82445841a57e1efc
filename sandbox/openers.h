/*
 * openers.h - what the openers share: one attempt, and how it is judged.
 *
 * Runs in the launcher.
 */
#ifndef SANDBOX_OPENERS_H
#define SANDBOX_OPENERS_H

#include "sandbox/launcher.h"

/* One attempt to open something. */
struct opening {
	struct launcher *l;
	struct slot *slot;              /* borrowed: for whom */
	const struct launch_open *args; /* borrowed */
	struct err *err;                /* borrowed */
	bool free;    /* no policy: the command line, or granted before */
	bool granted; /* policy had nothing against it */
	int given;    /* owned: came with the request, or -1 */
	int fd;       /* owned: what was opened, or -1 */
	bool made;    /* ... and a socket's file with it */
	dev_t made_dev;
	ino_t made_ino;
	bool run; /* a program is to be run at the end */
};

/* openers.c: one per kind. 0, or -errno with *err filled. */
int opener_stream_listen(struct opening *o);
int opener_stream_connect(struct opening *o);
int opener_permit_listen(struct opening *o);
int opener_udp(struct opening *o);
int opener_mcast(struct opening *o);
int opener_raw_ip(struct opening *o); /* open_raw_ip.c */

/* opener_roomy - let a datagram socket keep more than the kernel's usual; as
 * an ordinary user no more than net.core.rmem_max. */
void opener_roomy(int fd);
int opener_fd(struct opening *o);
int opener_directory(struct opening *o);
int opener_resolver(struct opening *o);
int opener_lookup(struct opening *o);
int opener_memory(struct opening *o);

int opener_netmap(struct opening *o); /* open_netmap.c */

/* --- open_vde.c ------------------------------------------------------- */

int opener_vde_control(struct opening *o);
int opener_vde_data(struct opening *o);

/* opener_vde_connect - the slot's data socket, to the switch's. As above. */
int opener_vde_connect(struct opening *o, const struct resource *r);

/*
 * opener_vde_later - vde_switch 2.3.2 mixes up its ports when one closes in the
 * moment in which another opens. So a new process is given no connection: it
 * asks for one, a while after the end of the one before.
 */
bool opener_vde_later(const struct launch_open *args);

/* opener_vde_given - the process has it: its end is the connection's. */
void opener_vde_given(struct slot *s);

/* opener_vde_remove - remove the name of a data socket, if it has one. */
void opener_vde_remove(struct launcher *l, const struct resource *r);

/* open_file.c: by its path, or the descriptor that came with the request. */
int opener_file_create(struct opening *o);

/*
 * opener_take - the descriptor that came with the request, or the inherited one
 * of the number in it, becomes o->fd. `what` is filled in for messages. Its
 * kind is still to be checked, with nothing that can wait (no fstat(2)).
 * 0, or -errno with *err.
 */
#define OPENER_WHAT_BYTES 32
int opener_take(struct opening *o, char what[OPENER_WHAT_BYTES]);

/* --- handover.c: what another slot keeps ------------------------------ */

/* opener_chardev - one per kind, as those above. */
int opener_chardev(struct opening *o);

/* opener_is_connection - is each process of the slot to get a fresh one? */
bool opener_is_connection(struct launcher *l, const struct launch_open *args);

/* --- allowed.c: is it allowed, and where is it? ----------------------- */

/*
 * opener_allowed_address - ask policy. `what` is a verb for the refusal.
 * 0, or -EPERM with *err naming the object and the rule that would allow it.
 */
int opener_allowed_address(struct opening *o, enum policy_kind kind,
    const char *what, const struct addr *a);

/* opener_allowed_unix - the same for an abstract name; paths pass. */
int opener_allowed_unix(
    struct opening *o, const char *what, const struct addr *a);

/* opener_allowed_network - may the slot's process be in the host's network? */
int opener_allowed_network(struct opening *o);
int opener_allowed_lookup(struct opening *o);

/*
 * opener_parent - ask policy about a path, and open its directory.
 * Returns an O_PATH descriptor and *name, the last component (in `path`).
 * -EPERM as above or for a path that is not plain, or -errno.
 */
int opener_parent(struct opening *o, enum policy_kind kind, const char *what,
    const char *path, const char **name);

/* --- unix.c ----------------------------------------------------------- */

/* opener_unix_listen - bind, listen; `text` is the address for messages. */
int opener_unix_listen(struct opening *o, const char *text);

/* opener_unix_connect - 0, or -errno with *err perhaps not filled. */
int opener_unix_connect(struct opening *o);

/* opener_unix_dgram - one per kind: bound, not connected. */
int opener_unix_dgram(struct opening *o);

/* opener_unix_join - connect what opener_unix_dgram made, once more. */
int opener_unix_join(struct opening *o, int fd);

/* opener_unix_remove - remove the file of a socket that we made. */
void opener_unix_remove(struct launcher *l, const struct resource *r);

#endif
