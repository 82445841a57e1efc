/*
 * chardev_option_test.c - the text of -chardev becomes what QMP would say.
 * Expected texts: what QEMU 7.2 says, as far as it has them.
 */
#include "broker/chardev_option.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char warnings[512];

static void
warn(void *self, const char *word, const char *instead)
{
	size_t used = strlen(warnings);

	(void)self;
	(void)snprintf(
	    warnings + used, sizeof warnings - used, "%s->%s ", word, instead);
}

static int
parse(const char *arg, struct chardev_add_args *args, struct err *e)
{
	memset(args, 0, sizeof *args);
	warnings[0] = '\0';
	return chardev_option_parse(arg, args, warn, NULL, e);
}

static void
test_the_option_says_the_same(void **state)
{
	struct chardev_add_args args;
	const struct chardev_socket *s = &args.backend.u.socket.data;
	struct err e;

	(void)state;
	assert_int_equal(
	    parse("socket,id=c,path=/a,,b,server=on,wait=off", &args, &e), 0);
	assert_string_equal(args.id, "c");
	assert_int_equal(s->addr.type, CHARDEV_ADDRESS_TYPE_UNIX);
	assert_string_equal(s->addr.u.unix_.data.path, "/a,b");
	assert_true(s->server && s->has_wait && !s->wait);
	assert_string_equal(warnings, "");
	desc_free(&desc_chardev_add_args, &args);

	assert_int_equal(
	    parse("backend=socket,path=/a,id=c,reconnect=2", &args, &e), 0);
	assert_true(s->has_server && !s->server && !s->has_wait);
	assert_true(s->has_reconnect && s->reconnect == 2);
	desc_free(&desc_chardev_add_args, &args);

	assert_int_equal(
	    parse("socket,id=c,path=/a,server,nowait", &args, &e), 0);
	assert_true(s->server && s->has_wait && !s->wait);
	assert_string_equal(warnings, "server->server=on nowait->wait=off ");
	desc_free(&desc_chardev_add_args, &args);

	assert_int_equal(parse("socket,id=c,path=n,abstract=on,tight=off,"
			       "reconnect-ms=70,nodelay",
			     &args, &e),
	    0);
	assert_true(s->addr.u.unix_.data.abstract);
	assert_true(s->addr.u.unix_.data.has_tight);
	assert_false(s->addr.u.unix_.data.tight);
	assert_int_equal(s->reconnect_ms, 70);
	assert_string_equal(warnings, "nodelay->nodelay=on ");
	desc_free(&desc_chardev_add_args, &args);

	assert_int_equal(
	    parse("socket,id=c,fd=9,server=on,wait=on", &args, &e), 0);
	assert_int_equal(s->addr.type, CHARDEV_ADDRESS_TYPE_FD);
	assert_string_equal(s->addr.u.fd.data.str, "9");
	assert_true(s->wait);
	desc_free(&desc_chardev_add_args, &args);
}

static void
test_options_that_are_refused(void **state)
{
	static const struct {
		const char *arg, *words;
	} rows[] = {
	    {"", "the type is missing: write socket,id=ID,path=PATH"},
	    {"id=c,path=/a",
		"the type is missing: write socket,id=ID,path=PATH"},
	    {"nope,id=c", "'nope' is not a valid char driver name"},
	    {"pty,id=c", "chardev type 'pty' is not available in this build"},
	    {"backend=tty,id=c,path=/dev/x",
		"chardev type 'tty' is not available in this build"},
	    {"socket,path=/a", "chardev: no id specified"},
	    {"socket,id=c", "exactly one of path= and fd= is required"},
	    {"socket,id=c,path=/a,fd=3",
		"exactly one of path= and fd= is required"},
	    {"socket,id=c,fd=3,abstract=on",
		"abstract= and tight= are only valid with path="},
	    {"socket,id=c,host=h,port=1",
		"host= is not available in this build: FD passing needs a "
		"unix socket, path= or fd="},
	    {"socket,id=c,path=/a,mux=on",
		"'mux' is not available in this build"},
	    {"socket,id=c,path=/a,bogus=1", "Invalid parameter 'bogus'"},
	    {"socket,id=c,path=/a,server=maybe",
		"Parameter 'server' expects 'on' or 'off'"},
	    {"socket,id=c,path=/a,reconnect=x",
		"Parameter 'reconnect' expects an int64 value"},
	};
	struct chardev_add_args args;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_true(parse(rows[i].arg, &args, &e) < 0);
		assert_string_equal(e.text, rows[i].words);
		assert_null(args.id);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_option_says_the_same),
	    cmocka_unit_test(test_options_that_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
