/*
 * fake_core.h - the graph's side of the broker, for tests of the QMP endpoint
 * and of the command line: what was asked is written down, answers come when
 * the test says so. Included once per test program.
 */
#ifndef TESTS_FAKE_CORE_H
#define TESTS_FAKE_CORE_H

#include "broker/chardev.h"
#include "broker/core.h"
#include "broker/events.h"
#include "broker/qmp.h"
#include "gen/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct core {
	struct call *held; /* netdev_add waits here while `hold` */
	bool hold;
	int quit_code;  /* -1: core_quit was not called */
	core_done done; /* of a request that is held */
	void *done_self;
	char log[8192];      /* one line per request */
	const char *refuse;  /* netdev id or path that is refused */
	const char *netdevs; /* answer of query-netdevs */
};

static struct core fake = {.quit_code = -1, .netdevs = "[]"};

static void
fake_log(const char *verb, const char *what)
{
	size_t used = strlen(fake.log);

	snprintf(
	    fake.log + used, sizeof(fake.log) - used, "%s %s\n", verb, what);
}

struct core *
core_get(void)
{
	return &fake;
}

void
core_quit(struct core *c, int code, const char *reason)
{
	(void)reason;
	c->quit_code = code;
}

static inline void
fake_answer(const char *what, core_done done, void *self)
{
	struct err e;

	if (fake.refuse != NULL && strcmp(fake.refuse, what) == 0) {
		err_set(&e, -1, "%s is refused", what);
		done(self, &e);
	} else if (fake.hold) {
		fake.done = done;
		fake.done_self = self;
	} else {
		done(self, NULL);
	}
}

void
core_netdev_add(
    struct core *c, const struct netdev *nd, core_done done, void *self)
{
	(void)c;
	fake_log(
	    nd->type == NET_CLIENT_DRIVER_HUBPORT ? "port" : "netdev", nd->id);
	fake_answer(nd->id, done, self);
}

void
core_dirs(struct core *c, const char *run_dir, const char *start_dir)
{
	(void)c;
	(void)run_dir;
	(void)start_dir;
}

void
core_listen(struct core *c, const char *path, core_done done, void *self)
{
	(void)c;
	fake_log("listen", path);
	fake_answer(path, done, self);
}

void
core_take_fd(struct core *c, uint32_t number, core_taken taken, void *self)
{
	char text[32];
	struct err e = {0};
	int fd = -1;

	(void)c;
	snprintf(text, sizeof text, "%u", (unsigned)number);
	fake_log("take", text);
	if (fake.refuse != NULL && strcmp(fake.refuse, text) == 0)
		err_set(&e, -EBADF, "%s is refused", text);
	else
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	taken(self, fd, &e);
}

void
core_latch(struct core *c, core_done done, void *self)
{
	(void)c;
	fake_log("latch", "");
	fake_answer("latch", done, self);
}

void
core_crossover(struct core *c, bool on)
{
	(void)c;
	fake_log("crossover", on ? "on" : "off");
}

void
core_arena(struct core *c, bool on)
{
	(void)c;
	fake_log("arena", on ? "on" : "off");
}

void
core_up(struct core *c)
{
	(void)c;
	fake_log("up", "");
}

void
chardev_add(struct core *c, const struct chardev_add_args *args, core_done done,
    void *self)
{
	const struct chardev_socket *s = &args->backend.u.socket.data;
	char line[512];

	(void)c;
	snprintf(line, sizeof line, "%s type=%d server=%d%d wait=%d%d %s",
	    args->id, (int)s->addr.type, s->has_server, s->server, s->has_wait,
	    s->wait,
	    s->addr.type == CHARDEV_ADDRESS_TYPE_UNIX
		? s->addr.u.unix_.data.path
		: s->addr.u.fd.data.str);
	fake_log("chardev", line);
	fake_answer(args->id, done, self);
}

void
cmd_chardev_add(struct call *call, const struct chardev_add_args *args)
{
	(void)args;
	call_return(call, NULL, NULL);
}

void
cmd_chardev_remove(struct call *call, const struct chardev_remove_args *args)
{
	(void)args;
	call_return(call, NULL, NULL);
}

void
cmd_query_chardev(struct call *call, const struct query_chardev_args *args)
{
	(void)args;
	call_return_text(call, "[]");
}

void
cmd_netdev_add(struct call *call, const struct netdev *args)
{
	struct err e;

	fake_log("netdev_add", args->id);
	if (fake.refuse != NULL && strcmp(fake.refuse, args->id) == 0) {
		err_set(&e, -1, "%s is refused", args->id);
		call_fail(call, &e);
	} else if (fake.hold) {
		fake.held = call;
	} else {
		call_return(call, NULL, NULL);
	}
}

void
cmd_netdev_del(struct call *call, const struct netdev_del_args *args)
{
	static const struct backend_quarantined_data data = {.deaths = 1};

	if (strcmp(args->id, "event") == 0)
		event_emit(EVENT_BACKEND_QUARANTINED, &data);
	call_return(call, NULL, NULL);
}

void
cmd_set_link(struct call *call, const struct set_link_args *args)
{
	struct err e;

	err_class_set(
	    &e, -1, ERR_DEVICE_NOT_FOUND, "Device '%s' not found", args->name);
	call_fail(call, &e);
}

void
cmd_query_rx_filter(struct call *call, const struct query_rx_filter_args *args)
{
	(void)args;
	call_return_text(call, "[]");
}

void
core_device_add(
    struct core *c, const struct nic_device *dev, core_done done, void *self)
{
	char line[512];

	(void)c;
	snprintf(line, sizeof line, "%s id=%s netdev=%s mac=%s", dev->driver,
	    dev->id, dev->netdev, dev->mac);
	fake_log("device", line);
	fake_answer(dev->driver, done, self);
}

void
cmd_device_add(struct call *call, const struct nic_device *args)
{
	(void)args;
	call_return(call, NULL, NULL);
}

void
cmd_device_del(struct call *call, const struct device_del_args *args)
{
	(void)args;
	call_return(call, NULL, NULL);
}

void
cmd_query_nics(struct call *call, const struct query_nics_args *args)
{
	(void)args;
	call_return_text(call, "[]");
}

void
cmd_query_netdevs(struct call *call, const struct query_netdevs_args *args)
{
	(void)args;
	call_return_text(call, fake.netdevs);
}

void
cmd_query_hubs(struct call *call, const struct query_hubs_args *args)
{
	(void)args;
	call_return_text(call, "[]");
}

void
cmd_query_backends(struct call *call, const struct query_backends_args *args)
{
	(void)args;
	call_return_text(call, "[]");
}

void
cmd_backend_resume(struct call *call, const struct backend_resume_args *args)
{
	(void)args;
	call_return(call, NULL, NULL);
}

#endif
