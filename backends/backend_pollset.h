/*
 * backend_pollset.h - what a library with a poll loop waits for, given to
 * epoll by differences.
 *
 * Each turn the library names its descriptors anew; only what has changed
 * since the last turn costs a system call. The epoll instance is one
 * descriptor, readable when any of them is ready: watch that one.
 */
#ifndef BACKENDS_BACKEND_POLLSET_H
#define BACKENDS_BACKEND_POLLSET_H

#include <stddef.h>
#include <stdint.h>

struct pollset {
	int epoll; /* owned: readable when something is ready */
	struct pollset_wanted *wanted;   /* owned, `files` long, in order */
	struct pollset_watched *watched; /* owned, by descriptor number */
	int *list;      /* owned: the numbers with events, in no order */
	uint32_t files; /* descriptor numbers are below */
	uint32_t wanted_count, list_count;
	uint32_t round;
};

/* pollset_open - room for what RLIMIT_NOFILE allows. 0 or -ENOMEM. */
int pollset_open(struct pollset *p);
void pollset_close(struct pollset *p);

/*
 * A turn: begin, add every descriptor with its EPOLLIN, EPOLLOUT... bits, end.
 * pollset_add returns the index to ask pollset_found for.
 */
void pollset_begin(struct pollset *p);
int pollset_add(struct pollset *p, int fd, uint32_t events);
void pollset_end(struct pollset *p);

/* pollset_look - ask the kernel, without waiting. */
void pollset_look(struct pollset *p);
uint32_t pollset_found(const struct pollset *p, int index);

/* pollset_forget - fd is about to be closed, or was. */
void pollset_forget(struct pollset *p, int fd);

#endif
