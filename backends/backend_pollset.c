/*
 * backend_pollset.c - from a poll loop's list to an epoll instance.
 *
 * Runs in: user (libslirp).
 * Trusts: the library to call pollset_forget for what it closes: closing takes
 * a descriptor out of epoll, and its number can come back at once.
 * Specification: epoll(7).
 */
#include "backends/backend_pollset.h"

#include "proto/log.h"
#include "proto/sys.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#define FILES_MAX       65536u
#define EVENTS_PER_LOOK 128

/* One descriptor in the present turn. */
struct pollset_wanted {
	int fd;
	uint32_t events; /* EPOLLIN... */
	uint32_t found;  /* the same bits, what epoll told */
};

/* What epoll watches on one descriptor number. */
struct pollset_watched {
	uint32_t events; /* 0: nothing */
	uint32_t round;  /* when it was last wanted */
	uint32_t index;  /* in wanted[], valid in that round */
	uint32_t place;  /* in list[] */
};

int
pollset_open(struct pollset *p)
{
	struct rlimit limit = {.rlim_cur = FILES_MAX};

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	*p = (struct pollset){.files = FILES_MAX};
	if (limit.rlim_cur < FILES_MAX)
		p->files = (uint32_t)limit.rlim_cur;
	p->wanted = calloc(p->files, sizeof *p->wanted);
	p->watched = calloc(p->files, sizeof *p->watched);
	p->list = calloc(p->files, sizeof *p->list);
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (p->wanted && p->watched && p->list && p->epoll >= 0)
		return 0;
	pollset_close(p);
	return -ENOMEM;
}

void
pollset_close(struct pollset *p)
{
	fd_close(&p->epoll);
	free(ptr_take(p->wanted));
	free(ptr_take(p->watched));
	free(ptr_take(p->list));
}

void
pollset_begin(struct pollset *p)
{
	p->round++;
	p->wanted_count = 0;
}

int
pollset_add(struct pollset *p, int fd, uint32_t events)
{
	struct pollset_watched *w;

	/* The limit of open files keeps numbers and counts below. */
	BUG_ON(fd < 0 || (uint32_t)fd >= p->files);
	BUG_ON(p->wanted_count >= p->files || events == 0);
	p->wanted[p->wanted_count] =
	    (struct pollset_wanted){.fd = fd, .events = events};
	w = &p->watched[fd];
	w->round = p->round;
	w->index = p->wanted_count;
	return (int)p->wanted_count++;
}

static void
change(struct pollset *p, int op, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};

	BUG_ON(epoll_ctl(p->epoll, op, fd, &ev) < 0);
}

void
pollset_forget(struct pollset *p, int fd)
{
	struct pollset_watched *w;

	if (fd < 0 || (uint32_t)fd >= p->files)
		return;
	w = &p->watched[fd];
	if (w->events == 0)
		return;
	w->events = 0;
	/* The last one takes its place. */
	p->list[w->place] = p->list[--p->list_count];
	p->watched[p->list[w->place]].place = w->place;
}

void
pollset_end(struct pollset *p)
{
	struct pollset_watched *w;
	uint32_t i;
	int fd;

	/* Backwards, for one that goes is replaced by the last. */
	for (i = p->list_count; i-- > 0;) {
		fd = p->list[i];
		if (p->watched[fd].round == p->round)
			continue;
		change(p, EPOLL_CTL_DEL, fd, 0);
		pollset_forget(p, fd);
	}
	for (i = 0; i < p->wanted_count; i++) {
		fd = p->wanted[i].fd;
		w = &p->watched[fd];
		if (w->events == p->wanted[i].events)
			continue;
		change(p, w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd,
		    p->wanted[i].events);
		if (w->events == 0) {
			w->place = p->list_count;
			p->list[p->list_count++] = fd;
		}
		w->events = p->wanted[i].events;
	}
}

void
pollset_look(struct pollset *p)
{
	struct epoll_event found[EVENTS_PER_LOOK];
	struct pollset_watched *w;
	int n, i;

	n = epoll_wait(p->epoll, found, EVENTS_PER_LOOK, 0);
	for (i = 0; i < n; i++) {
		w = &p->watched[found[i].data.fd];
		if (w->events && w->round == p->round)
			p->wanted[w->index].found = found[i].events;
	}
}

uint32_t
pollset_found(const struct pollset *p, int index)
{
	BUG_ON(index < 0 || (uint32_t)index >= p->wanted_count);
	return p->wanted[index].found;
}
