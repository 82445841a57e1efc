/*
 * chardev_kit.h - chardevs as tests ask for them, on core_kit.h. Included once
 * per test program.
 */
#ifndef TESTS_CHARDEV_KIT_H
#define TESTS_CHARDEV_KIT_H

#include "tests/unit/core_kit.h"

/* --- one answer, counted --- */

struct answer {
	unsigned told;
	bool failed;
	struct err e;
};

static void
told(void *self, const struct err *e)
{
	struct answer *a = self;

	a->told++;
	a->failed = e != NULL;
	if (e)
		a->e = *e;
}

/* A socket on this path, as QMP would ask for it. */
static struct chardev_add_args
unix_socket(const char *id, const char *path)
{
	struct chardev_add_args args = {.id = text(id)};
	struct socket_address_legacy *a = &args.backend.u.socket.data.addr;

	args.backend.type = CHARDEV_BACKEND_KIND_SOCKET;
	a->type = CHARDEV_ADDRESS_TYPE_UNIX;
	a->u.unix_.data.path = text(path);
	return args;
}

static struct chardev_add_args
client(const char *id, const char *path)
{
	struct chardev_add_args args = unix_socket(id, path);

	args.backend.u.socket.data.has_server = true;
	return args;
}

static void
add(const struct chardev_add_args *args, struct answer *a)
{
	memset(a, 0, sizeof *a);
	chardev_add(kit_core, args, told, a);
	kit_settle(0);
	assert_int_equal(a->told, 1);
}

static void
added(const struct chardev_add_args *args)
{
	struct answer a;

	add(args, &a);
	if (a.failed)
		fail_msg("%s", a.e.text);
}

#endif
