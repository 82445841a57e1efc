/*
 * loop.h - libevent behind few calls. One loop per process, one thread.
 *
 * All objects are owned by the caller and must be freed before the loop.
 * Callbacks may free the object that called them. No timer exists unless it
 * was set: an idle loop sleeps for ever.
 */
#ifndef PROTO_LOOP_H
#define PROTO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct watch; /* readiness of one descriptor */
struct timer; /* one-shot */
struct onsig; /* one signal */
struct again; /* another turn of the loop, at once */

enum { WATCH_READ = 1, WATCH_WRITE = 2 };

struct loop *loop_new(void); /* NULL: out of memory or descriptors */
void loop_free(struct loop *l);
int loop_run(struct loop *l); /* until loop_stop; returns its code */
void loop_stop(struct loop *l, int code);

/*
 * watch_new - level-triggered. `fd` is borrowed and must stay open until
 * watch_free. `events` may be 0 (armed later with watch_set).
 */
struct watch *watch_new(struct loop *l, int fd, unsigned events,
    void (*ready)(void *self, unsigned events), void *self);
void watch_set(struct watch *w, unsigned events);
void watch_free(struct watch *w);

struct timer *timer_new(
    struct loop *l, void (*expired)(void *self), void *self);
void timer_set_ns(struct timer *t, uint64_t after_ns); /* replaces */
void timer_stop(struct timer *t);
bool timer_pending(const struct timer *t);
void timer_free(struct timer *t);

/*
 * again_new - while it is on, `turn` is called once in each turn of the loop,
 * beside everything that is ready, and the loop does not sleep. It is off at
 * first. No system call is made for it.
 */
struct again *again_new(struct loop *l, void (*turn)(void *self), void *self);
void again_set(struct again *a, bool on);
void again_free(struct again *a);

struct onsig *onsig_new(
    struct loop *l, int signo, void (*caught)(void *self), void *self);
void onsig_free(struct onsig *s);

#endif
