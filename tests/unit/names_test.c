/*
 * names_test.c - names become addresses: a look-up's life beside a launcher
 * and a process that this test plays, and which addresses are tried.
 */
#include "broker/launch_client.h"
#include "broker/names.h"
#include "broker/resources.h"
#include "proto/sys.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/still_loop.h"

#define SECOND UINT64_C(1000000000)

/* --- the launcher --- */

#define SLOTS 3

static struct {
	struct launch_msg asked; /* the last one */
	struct {
		struct launch_msg m;
		launch_answer answer; /* who waits for an answer */
		void *self;
	} asks[SLOTS]; /* one per slot */
	const struct slot_ops *ops;
	void *owners[SLOTS];
	unsigned slots, killed, lost;
	int end[SLOTS]; /* the process's end of its channel */
} fake;

/* The slot whose turn it is: the only one, mostly. */
static uint32_t slot = 1;

uint32_t
launch_ask(struct launch_client *c, struct launch_msg *m, int fd,
    launch_answer answer, void *self)
{
	(void)c;
	assert_int_equal(fd, -1);
	assert_true(m->slot < SLOTS);
	assert_null(fake.asks[m->slot].answer);
	fake.asked = fake.asks[m->slot].m = *m;
	fake.asks[m->slot].answer = answer;
	fake.asks[m->slot].self = self;
	return m->slot;
}

void
launch_forget(struct launch_client *c, uint32_t ask)
{
	(void)c;
	fake.asks[ask].answer = NULL;
}

uint32_t
slot_take(struct launch_client *c, const struct slot_ops *ops, void *self)
{
	(void)c;
	fake.ops = ops;
	fake.owners[++fake.slots] = self;
	return fake.slots;
}

void
slot_give(struct launch_client *c, uint32_t number)
{
	(void)c;
	assert_true(number > 0);
	fake.slots--;
}

void
slot_lose(struct launch_client *c, uint32_t number)
{
	slot_give(c, number);
	fake.lost++;
}

uint32_t
slot_epoch_next(struct launch_client *c, uint32_t number)
{
	(void)c;
	(void)number;
	return 5;
}

void
slot_kill(struct launch_client *c, uint32_t number, uint32_t epoch, int signo)
{
	(void)c;
	(void)number;
	assert_int_equal(epoch, 5);
	assert_int_equal(signo, SIGKILL);
	fake.killed++;
}

const char *
launch_why(const struct launch_result *r)
{
	return r->text;
}

static void
answer(uint32_t type, int error, int fd)
{
	launch_answer to = fake.asks[slot].answer;
	struct launch_msg m = {.type = type};
	int fds[LAUNCH_FDS_MAX] = {fd, -1, -1};

	assert_non_null(to);
	m.result.error = error;
	(void)snprintf(m.result.text, sizeof m.result.text, "it says no");
	fake.asks[slot].answer = NULL;
	to(fake.asks[slot].self, &m, fds);
	fd_close(&fds[0]);
}

/* --- what is tested: one resource of a netdev --- */

static struct lookups lookups;
static struct netdev nd = {.id = (char[]){"n"}};
static struct resource r;
static int told; /* what was told, 99: nothing */
static struct err e;

static void
tell(void *self, int rc)
{
	assert_ptr_equal(self, &r);
	assert_int_equal(told, 99);
	told = rc;
}

static void
begin(enum resource_kind kind)
{
	memset(&fake, 0, sizeof fake);
	memset(&kit_loop, 0, sizeof kit_loop);
	TAILQ_INIT(&kit_loop.watches);
	TAILQ_INIT(&kit_loop.timers);
	lookups_init(&lookups, &kit_loop, NULL);
	memset(&r, 0, sizeof r);
	r.open.kind = kind;
	nd.type = NET_CLIENT_DRIVER_SOCKET;
	told = 99;
	slot = 1;
	for (int i = 0; i < SLOTS; i++)
		fake.end[i] = -1;
}

static void
name(enum names_end end, const char *host, int family)
{
	const struct names_want want = {.nd = &nd,
	    .option = "connect",
	    .host = host,
	    .family = family,
	    .port_be = htons(80)};

	assert_int_equal(names_add(&lookups, &r, end, &want, &e), 0);
}

static void
finish(void)
{
	names_free(&r);
	for (slot = 1; slot < SLOTS; slot++) {
		if (fake.asks[slot].answer)
			answer(LAUNCH_RELEASED, 0, -1);
		fd_close(&fake.end[slot]);
	}
	assert_int_equal(fake.slots, 0);
	lookups_fini(&lookups);
	assert_true(TAILQ_EMPTY(&kit_loop.timers));
}

/* Up to a process that has been looked at. */
static void
start_process(void)
{
	static const struct launch_result attested;
	int fds[2];
	char go = 0;

	assert_int_equal(fake.asks[slot].m.type, LAUNCH_OPEN);
	assert_int_equal(fake.asks[slot].m.open.kind, RES_LOOKUP);
	answer(LAUNCH_OPENED, 0, -1);
	assert_int_equal(fake.asks[slot].m.type, LAUNCH_SPAWN);
	assert_int_equal(fake.asks[slot].m.spawn.role, ROLE_RESOLVE);
	fd_close(&fake.end[slot]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	fake.end[slot] = fds[1];
	answer(LAUNCH_SPAWNED, 0, fds[0]);
	assert_true(recv(fake.end[slot], &go, 1, MSG_DONTWAIT) < 0);
	fake.ops->attested(fake.owners[slot], &attested);
	assert_int_equal(recv(fake.end[slot], &go, 1, MSG_DONTWAIT), 1);
	assert_int_equal(go, RESOLVE_GO);
}

static void
start(void)
{
	told = 99;
	assert_int_equal(names_find(&r, tell, &r), 0);
	start_process();
}

static void
end_process(void)
{
	static const struct launch_result exited;

	assert_int_equal(told, 99);
	fake.ops->exited(fake.owners[slot], &exited);
}

static void
say(const char *const *texts, int error)
{
	struct resolve_answer a = {.magic = RESOLVE_MAGIC, .error = error};
	struct addr one;

	for (; texts && *texts; texts++) {
		assert_int_equal(addr_parse_ip(*texts, &one, &e), 0);
		resolve_put(&a, &one.sa, one.len);
	}
	assert_int_equal(send(fake.end[slot], &a, sizeof a, 0), sizeof a);
}

static void
expect_next(const char *want)
{
	char text[ADDR_TEXT_BYTES];

	assert_true(names_next(&r));
	assert_string_equal(addr_text(&r.open.remote, text), want);
}

static void
expect_error(const char *want)
{
	assert_int_equal(told, -EINVAL);
	assert_false(names_next(&r));
	names_error(&r, &e);
	if (!strstr(e.text, want))
		fail_msg("%s", e.text);
}

static void
test_addresses_are_tried_in_turn(void **state)
{
	static const char *const two[] = {"192.0.2.1", "192.0.2.2", NULL};

	(void)state;
	begin(RES_STREAM_CONNECT);
	name(NAMES_REMOTE, "a.test", AF_INET);
	assert_false(names_first(&r));
	start();
	assert_string_equal(fake.asked.spawn.id, "a.test");
	say(two, 0);
	end_process();
	assert_int_equal(told, 0);
	expect_next("192.0.2.1:80");
	expect_next("192.0.2.2:80");
	assert_false(names_next(&r));
	/* That is known well enough, for a while. */
	assert_int_equal(names_find(&r, tell, &r), 1);
	assert_true(names_first(&r));
	finish();
}

static void
test_a_name_that_means_nothing(void **state)
{
	(void)state;
	begin(RES_STREAM_CONNECT);
	name(NAMES_REMOTE, "a.test", AF_INET);
	start();
	say(NULL, EAI_NONAME);
	end_process();
	expect_error("can't resolve host address 'a.test': Name or service not "
		     "known (netdev 'n', option 'connect', host 'a.test')");
	/* Once more: the slot is the same, and what it was granted. */
	start();
	assert_int_equal(fake.slots, 1);
	finish();
}

static void
test_the_launcher_says_no(void **state)
{
	(void)state;
	begin(RES_STREAM_CONNECT);
	name(NAMES_REMOTE, "a.test", AF_INET);
	assert_int_equal(names_find(&r, tell, &r), 0);
	assert_string_equal(fake.asked.open.path, "a.test");
	assert_int_equal(fake.asked.open.number, AF_INET);
	assert_int_equal(fake.asked.open.again, 0);
	answer(LAUNCH_OPENED, -EPERM, -1);
	expect_error(": it says no (");
	told = 99;
	assert_int_equal(names_find(&r, tell, &r), 0);
	assert_int_equal(fake.asked.open.again, 0);
	answer(LAUNCH_OPENED, 0, -1);
	answer(LAUNCH_SPAWNED, -EAGAIN, -1);
	expect_error(": it says no (");
	told = 99;
	assert_int_equal(names_find(&r, tell, &r), 0);
	assert_int_equal(fake.asked.open.again, 1);
	finish();
}

static void
test_the_dead_and_the_liars(void **state)
{
	static const char *const six[] = {"2001:db8::1", NULL};
	char nonsense[sizeof(struct resolve_answer) + 1] = {0};

	(void)state;
	begin(RES_STREAM_CONNECT);
	name(NAMES_REMOTE, "a.test", AF_INET);
	start();
	end_process();
	expect_error("the process that looked it up has died");
	start();
	assert_true(send(fake.end[slot], nonsense, 1, 0) == 1);
	end_process();
	expect_error("has lied");
	start();
	assert_true(send(fake.end[slot], nonsense, sizeof nonsense, 0) > 0);
	end_process();
	expect_error("has lied");
	start();
	say(six, 0);
	end_process();
	expect_error("has lied");
	finish();
}

static void
test_silence_has_an_end(void **state)
{
	(void)state;
	begin(RES_STREAM_CONNECT);
	name(NAMES_REMOTE, "a.test", AF_INET);
	start();
	kit_run(9 * SECOND);
	assert_int_equal(fake.killed, 0);
	kit_run(11 * SECOND);
	assert_int_equal(fake.killed, 1);
	/* What it says after that, it says too late. */
	say((const char *const[]){"192.0.2.1", NULL}, 0);
	end_process();
	expect_error("no name server has answered in time");
	/* Stuck in the kernel: nobody waits for it. */
	start();
	kit_run(16 * SECOND);
	assert_int_equal(fake.killed, 2);
	assert_int_equal(fake.lost, 1);
	expect_error("cannot be ended");
	finish();
}

/* Deaf for a while: the process comes when its time is over. */
static void
test_a_late_process_is_ended(void **state)
{
	int fds[2];

	(void)state;
	begin(RES_STREAM_CONNECT);
	name(NAMES_REMOTE, "a.test", AF_INET);
	assert_int_equal(names_find(&r, tell, &r), 0);
	answer(LAUNCH_OPENED, 0, -1);
	kit_run(11 * SECOND);
	assert_int_equal(fake.killed, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	fake.end[slot] = fds[1];
	answer(LAUNCH_SPAWNED, 0, fds[0]);
	assert_int_equal(fake.killed, 1);
	end_process();
	expect_error("no name server has answered in time");
	finish();
}

static void
test_both_ends_are_of_one_family(void **state)
{
	static const char *const texts[SLOTS][4] = {
	    [1] = {"2001:db8::1", "192.0.2.1"},
	    [2] = {"192.0.2.9", "239.0.0.1", "2001:db8::9"}};

	(void)state;
	begin(RES_UDP);
	name(NAMES_LOCAL, "l.test", AF_UNSPEC);
	name(NAMES_REMOTE, "r.test", AF_UNSPEC);
	assert_int_equal(names_find(&r, tell, &r), 0);
	for (slot = 1; slot < SLOTS; slot++) {
		start_process();
		say(texts[slot], 0);
		end_process();
	}
	assert_int_equal(told, 0);
	expect_next("192.0.2.9:80"); /* a group is no end of UDP */
	assert_int_equal(r.open.local.sa.sa_family, AF_INET);
	expect_next("[2001:db8::9]:80");
	assert_int_equal(r.open.local.sa.sa_family, AF_INET6);
	assert_false(names_next(&r));
	finish();
	/* One is given: the other has to be like it. */
	begin(RES_UDP);
	name(NAMES_REMOTE, "r.test", AF_UNSPEC);
	assert_int_equal(addr_parse_ip("2001:db8::1", &r.open.local, &e), 0);
	start();
	say(texts[2], 0);
	end_process();
	expect_next("[2001:db8::9]:80");
	assert_false(names_next(&r));
	names_error(&r, &e);
	assert_non_null(strstr(e.text, "no address of the kind"));
	finish();
}

static void
test_a_group_is_wanted_or_is_not(void **state)
{
	static const char *const both[] = {"192.0.2.9", "239.0.0.1", NULL};

	(void)state;
	begin(RES_MCAST);
	name(NAMES_REMOTE, "g.test", AF_INET);
	start();
	say(both, 0);
	end_process();
	expect_next("239.0.0.1:80");
	assert_false(names_next(&r));
	r.open.kind = RES_STREAM_CONNECT;
	assert_true(names_first(&r));
	assert_false(names_next(&r));
	finish();
}

static void
test_whoever_does_not_wait_is_not_told(void **state)
{
	(void)state;
	begin(RES_STREAM_CONNECT);
	name(NAMES_REMOTE, "a.test", AF_INET);
	start();
	names_forget(&r);
	say((const char *const[]){"192.0.2.1", NULL}, 0);
	end_process();
	assert_int_equal(told, 99);
	expect_next("192.0.2.1:80");
	finish();
	/* Who asks in the middle is told at the end, once. */
	begin(RES_STREAM_CONNECT);
	name(NAMES_REMOTE, "a.test", AF_INET);
	start();
	names_forget(&r);
	assert_int_equal(names_find(&r, tell, &r), 0);
	assert_int_equal(names_find(&r, tell, &r), 0);
	say((const char *const[]){"192.0.2.1", NULL}, 0);
	end_process();
	assert_int_equal(told, 0);
	finish();
	/* Its end in the middle: the slot is given back when it is empty. */
	begin(RES_STREAM_CONNECT);
	name(NAMES_REMOTE, "a.test", AF_INET);
	start();
	names_free(&r);
	assert_int_equal(fake.asked.type, LAUNCH_RELEASE);
	assert_int_equal(fake.slots, 1);
	end_process();
	finish();
}

static void
test_words_are_those_of_the_type(void **state)
{
	static const struct {
		enum net_client_driver type;
		enum names_end end;
		const char *words;
	} rows[] = {
	    {NET_CLIENT_DRIVER_STREAM, NAMES_REMOTE,
		"address resolution failed for a.test:80: Temp"},
	    {NET_CLIENT_DRIVER_DGRAM, NAMES_LOCAL,
		"can't resolve host address 'a.test': Temp"},
	    {NET_CLIENT_DRIVER_L2TPV3, NAMES_LOCAL,
		"could not resolve src, errno = Temp"},
	    {NET_CLIENT_DRIVER_L2TPV3, NAMES_REMOTE,
		"could not resolve dst, error = Temp"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		begin(RES_STREAM_CONNECT);
		nd.type = rows[i].type;
		name(rows[i].end, "a.test", AF_UNSPEC);
		start();
		say(NULL, EAI_AGAIN);
		end_process();
		expect_error(rows[i].words);
		finish();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_addresses_are_tried_in_turn),
	    cmocka_unit_test(test_a_name_that_means_nothing),
	    cmocka_unit_test(test_the_launcher_says_no),
	    cmocka_unit_test(test_the_dead_and_the_liars),
	    cmocka_unit_test(test_silence_has_an_end),
	    cmocka_unit_test(test_a_late_process_is_ended),
	    cmocka_unit_test(test_both_ends_are_of_one_family),
	    cmocka_unit_test(test_a_group_is_wanted_or_is_not),
	    cmocka_unit_test(test_whoever_does_not_wait_is_not_told),
	    cmocka_unit_test(test_words_are_those_of_the_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
