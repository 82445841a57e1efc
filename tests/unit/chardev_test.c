/*
 * chardev_test.c - chardevs against a fake launcher: what is judged, what is
 * opened, how it is answered.
 * Expected texts: what QEMU 7.2 says, as far as it has them.
 */
#include "tests/unit/chardev_kit.h"

#include "broker/chardev_check.h"
#include "broker/getfd.h"

static struct chardev_add_args
passed(const char *id, const char *name)
{
	struct chardev_add_args args = unix_socket(id, NULL);
	struct socket_address_legacy *a = &args.backend.u.socket.data.addr;

	a->type = CHARDEV_ADDRESS_TYPE_FD;
	a->u.fd.data.str = text(name);
	return args;
}

static void
refused(const struct chardev_add_args *args, const char *words)
{
	struct answer a;
	size_t slots = slot_count(kit_core->launch);

	add(args, &a);
	assert_true(a.failed);
	assert_string_equal(a.e.text, words);
	assert_int_equal(slot_count(kit_core->launch), slots);
}

static void
removed(const char *id, const char *words)
{
	struct answer a = {0};

	chardev_remove(kit_core, id, told, &a);
	kit_settle(0);
	assert_int_equal(a.told, 1);
	assert_int_equal(a.failed, words != NULL);
	if (words)
		assert_string_equal(a.e.text, words);
}

static const char *
filename_of(const char *id, bool connected)
{
	static char name[CHARDEV_FILENAME_BYTES];

	chardev_filename(
	    chardev_find(&kit_core->chardevs, id), connected, name);
	return name;
}

#define FAILED "Failed to add chardev 'c': "

/* --- tests --- */

static void
test_a_server_is_opened_in_a_slot_of_its_own(void **state)
{
	struct chardev_add_args args = unix_socket("c", "/x/c.sock");
	unsigned fds = open_fds();
	struct chardev *ch;

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	added(&args);
	ch = chardev_find(&kit_core->chardevs, "c");
	assert_non_null(ch);
	assert_int_equal(kit_opened.slot, ch->slot);
	assert_int_equal(kit_opened.open.kind, RES_STREAM_LISTEN);
	assert_int_equal(kit_opened.open.index, 0);
	assert_string_equal(kit_opened.open.local.un.sun_path, "/x/c.sock");
	assert_int_equal(kit_opened.open.remote.len, 0);
	assert_string_equal(
	    filename_of("c", false), "disconnected:unix:/x/c.sock,server=on");
	assert_string_equal(filename_of("c", true), "unix:/x/c.sock,server=on");
	refused(&args, "Chardev with id 'c' already exists");
	removed("zz", "Chardev 'zz' not found");
	removed("c", NULL);
	assert_null(chardev_find(&kit_core->chardevs, "c"));
	/* The spare lane is all that is left. */
	assert_int_equal(slot_count(kit_core->launch), 1);
	added(&args);
	kit_end();
	assert_int_equal(open_fds(), fds);
}

static void
test_what_the_world_refuses_leaves_nothing(void **state)
{
	struct chardev_add_args args = unix_socket("c", "/x");

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	kit_open_error = -EADDRINUSE;
	refused(&args,
	    FAILED "Failed to bind socket to /x: Address already in use");
	/* Policy has words of its own. */
	kit_open_error = -EPERM;
	refused(&args, FAILED "cannot open");
	args = client("c", "/x");
	kit_open_error = -ENOENT;
	refused(&args,
	    FAILED "Failed to connect to '/x': No such file or directory");
	kit_open_error = 0;
	added(&args);
	assert_int_equal(kit_opened.open.kind, RES_STREAM_CONNECT);
	assert_string_equal(filename_of("c", true), "unix:/x");
	kit_end();
}

static void
test_a_patient_client_may_wait_for_its_server(void **state)
{
	struct chardev_add_args args = client("c", "/x");
	struct chardev_socket *s = &args.backend.u.socket.data;
	struct chardev *ch;

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	kit_open_error = -ECONNREFUSED;
	s->has_reconnect = true;
	refused(&args, FAILED "Failed to connect to '/x': Connection refused");
	s->reconnect = 3;
	added(&args);
	ch = chardev_find(&kit_core->chardevs, "c");
	assert_true(ch->has_reconnect_ms);
	assert_int_equal(ch->reconnect_ms, 3000);
	assert_false(ch->connected);
	removed("c", NULL);
	/* Patience is for absence, not for refusals. */
	kit_open_error = -EACCES;
	refused(&args, FAILED "Failed to connect to '/x': Permission denied");
	kit_open_error = 0;
	s->has_reconnect = false;
	s->has_reconnect_ms = true;
	s->reconnect_ms = 250;
	added(&args);
	ch = chardev_find(&kit_core->chardevs, "c");
	assert_int_equal(ch->reconnect_ms, 250);
	assert_true(ch->connected);
	kit_end();
}

static void
test_options_that_do_not_go_together(void **state)
{
	struct chardev_add_args args = unix_socket("c", "/x");
	struct chardev_socket *s = &args.backend.u.socket.data;

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	s->has_reconnect = true;
	s->reconnect = 1;
	refused(&args,
	    FAILED "'reconnect' option is incompatible with socket in server "
		   "listen mode");
	s->has_reconnect_ms = true;
	refused(&args,
	    FAILED "'reconnect' and 'reconnect-ms' are mutually exclusive");
	args = client("c", "/x");
	s->has_wait = true;
	refused(&args, FAILED "'wait' option is incompatible with socket in "
			      "client connect mode");
	s->has_wait = false;
	s->has_reconnect = true;
	s->reconnect = -1;
	refused(
	    &args, FAILED "Parameter 'reconnect' expects 0 to 2147483 seconds");
	s->reconnect = INT64_MAX;
	refused(
	    &args, FAILED "Parameter 'reconnect' expects 0 to 2147483 seconds");
	s->has_reconnect = false;
	s->has_reconnect_ms = true;
	s->reconnect_ms = INT64_C(1) << 31;
	refused(&args, FAILED "Parameter 'reconnect-ms' expects 0 to "
			      "2147483647 milliseconds");
	args = passed("c", "f");
	s->has_server = true;
	s->has_reconnect = true;
	refused(&args, FAILED "'reconnect' option is incompatible with 'fd' "
			      "address type");
	kit_end();
}

static void
test_what_this_build_does_not_have(void **state)
{
	struct chardev_add_args args = unix_socket("c", "/x");
	struct chardev_socket *s = &args.backend.u.socket.data;

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	s->has_telnet = true;
	added(&args); /* off */
	removed("c", NULL);
	s->telnet = true;
	refused(&args, FAILED "'telnet' is not available in this build");
	s->telnet = false;
	s->tls_creds = text("t");
	refused(&args, FAILED "'tls-creds' is not available in this build");
	s->tls_creds = NULL;
	s->logfile = text("l");
	refused(&args, FAILED "'logfile' is not available in this build");
	s->logfile = NULL;
	s->addr.type = CHARDEV_ADDRESS_TYPE_INET;
	refused(&args, FAILED "address type 'inet' is not available in this "
			      "build: FD passing needs a unix socket");
	args.backend.type = CHARDEV_BACKEND_KIND_PTY;
	refused(&args, FAILED "chardev type 'pty' is not available in this "
			      "build");
	kit_end();
}

static void
test_names_and_paths(void **state)
{
	char path[109], words[256];
	struct chardev_add_args args = unix_socket("1x", "/x");
	struct chardev_unix_address *u =
	    &args.backend.u.socket.data.addr.u.unix_.data;

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	refused(&args, "Parameter 'id' expects an identifier");
	args.id = text("");
	refused(&args, "Parameter 'id' expects an identifier");
	args.id = text("c");
	memset(path, 'p', sizeof path);
	path[108] = '\0';
	u->path = path;
	(void)snprintf(words, sizeof words,
	    FAILED "UNIX socket path '%s' is too long", path);
	refused(&args, words);
	path[107] = '\0';
	added(&args);
	removed("c", NULL);
	u->path = text("");
	refused(&args, FAILED "UNIX socket path is empty");
	/* An abstract name: with and without the zero bytes behind it. */
	u->path = text("name");
	u->has_abstract = u->abstract = true;
	added(&args);
	assert_int_equal(kit_opened.open.local.len,
	    offsetof(struct sockaddr_un, sun_path) + 5);
	assert_memory_equal(kit_opened.open.local.un.sun_path, "\0name", 5);
	assert_string_equal(filename_of("c", false),
	    "disconnected:unix:name,abstract=on,tight=on,server=on");
	removed("c", NULL);
	u->has_tight = true;
	added(&args);
	assert_int_equal(kit_opened.open.local.len, sizeof(struct sockaddr_un));
	assert_string_equal(
	    filename_of("c", true), "unix:name,abstract=on,server=on");
	kit_end();
}

static void
test_a_descriptor_goes_with_the_request(void **state)
{
	struct chardev_add_args args = passed("c", "fd0");
	unsigned fds = open_fds();
	struct err e;

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	refused(&args, FAILED "File descriptor named 'fd0' has not been found");
	assert_int_equal(getfd_put("fd0", dup(0), &e), 0);
	added(&args);
	assert_int_equal(kit_opened.open.kind, RES_FD);
	assert_true(kit_opened_fd);
	assert_string_equal(filename_of("c", true), "fd:fd0,server=on");
	/* Its user is told that it will not get another. */
	assert_true(chardev_find(&kit_core->chardevs, "c")->has_reconnect_ms);
	assert_int_equal(
	    chardev_find(&kit_core->chardevs, "c")->reconnect_ms, 0);
	assert_false(getfd_known("fd0"));
	removed("c", NULL);
	/* Numbers are the operator's. */
	args = passed("c", "5");
	added(&args);
	assert_false(kit_opened_fd);
	assert_int_equal(kit_opened.open.number, 5);
	removed("c", NULL);
	kit_core->netdevs.start_phase = false;
	refused(&args, FAILED "descriptor number 5 means nothing now: pass the "
			      "descriptor with getfd and give its name");
	/* The launcher's judgement comes as it is. */
	assert_int_equal(getfd_put("fd0", dup(0), &e), 0);
	kit_open_error = -ENOTSOCK;
	args = passed("c", "fd0");
	refused(&args, FAILED "cannot open");
	kit_end();
	assert_int_equal(open_fds(), fds);
}

static void
test_one_user_at_a_time(void **state)
{
	struct chardev_add_args args = client("c", "/x");
	struct chardevs *all;
	struct chardev *ch;
	struct err e;

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	all = &kit_core->chardevs;
	assert_null(chardev_claim(all, "c", "n", &e));
	assert_string_equal(e.text, "chardev \"c\" not found");
	added(&args);
	ch = chardev_claim(all, "c", "n", &e);
	assert_non_null(ch);
	assert_true(chardev_reconnects(ch));
	assert_null(chardev_claim(all, "c", "m", &e));
	assert_string_equal(
	    e.text, "chardev \"c\" is busy: netdev 'n' uses it");
	removed("c", "Chardev 'c' is busy");
	chardev_give(ch);
	/* Its connection went with the user. */
	assert_false(ch->connected);
	assert_ptr_equal(chardev_claim(all, "c", "m", &e), ch);
	chardev_give(ch);
	removed("c", NULL);
	kit_end();
}

static void
test_what_is_on_its_way_is_neither_there_nor_free(void **state)
{
	struct chardev_add_args args = unix_socket("c", "/x");
	struct answer a = {0}, b = {0}, d = {0};
	struct err e;

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	chardev_add(kit_core, &args, told, &a);
	assert_int_equal(a.told, 0);
	chardev_add(kit_core, &args, told, &b);
	assert_true(b.failed);
	assert_null(chardev_claim(&kit_core->chardevs, "c", "n", &e));
	chardev_remove(kit_core, "c", told, &d);
	assert_string_equal(d.e.text, "Chardev 'c' is busy");
	kit_settle(0);
	assert_int_equal(a.told, 1);
	memset(&d, 0, sizeof d);
	chardev_remove(kit_core, "c", told, &d);
	assert_int_equal(d.told, 0);
	chardev_add(kit_core, &args, told, &b);
	assert_string_equal(b.e.text, "Chardev with id 'c' already exists");
	/* The process may end in the middle of it. */
	kit_end();
	assert_int_equal(d.told, 0);
}

static void
test_a_stuck_launcher_holds_nobody(void **state)
{
	struct chardev_add_args args = unix_socket("c", "/x");
	struct answer a = {0}, b = {0};

	(void)state;
	kit_start(NULL);
	kit_settle(0);
	kit_stuck = true;
	chardev_add(kit_core, &args, told, &a);
	kit_settle(9 * KIT_SECOND);
	assert_int_equal(a.told, 0);
	/* It is asked to let go, and given as long. */
	kit_settle(20 * KIT_SECOND);
	assert_int_equal(a.told, 1);
	assert_string_equal(a.e.text,
	    "Failed to add chardev 'c': the launcher does not answer");
	assert_true(TAILQ_EMPTY(&kit_core->chardevs.list));
	kit_stuck = false;
	added(&args);
	kit_stuck = true;
	chardev_remove(kit_core, "c", told, &b);
	kit_settle(10 * KIT_SECOND);
	assert_int_equal(b.told, 1);
	assert_string_equal(b.e.text,
	    "Failed to remove chardev 'c': the launcher does not answer");
	assert_true(TAILQ_EMPTY(&kit_core->chardevs.list));
	kit_stuck = false;
	kit_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_stuck_launcher_holds_nobody),
	    cmocka_unit_test(test_a_server_is_opened_in_a_slot_of_its_own),
	    cmocka_unit_test(test_what_the_world_refuses_leaves_nothing),
	    cmocka_unit_test(test_a_patient_client_may_wait_for_its_server),
	    cmocka_unit_test(test_options_that_do_not_go_together),
	    cmocka_unit_test(test_what_this_build_does_not_have),
	    cmocka_unit_test(test_names_and_paths),
	    cmocka_unit_test(test_a_descriptor_goes_with_the_request),
	    cmocka_unit_test(test_one_user_at_a_time),
	    cmocka_unit_test(test_what_is_on_its_way_is_neither_there_nor_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
