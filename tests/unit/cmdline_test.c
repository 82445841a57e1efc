/*
 * cmdline_test.c - option words to requests, in order; errors in one line.
 * Expected texts: what QEMU 7.2 and qemu-storage-daemon print.
 */
#include "broker/cmdline.h"

#include "broker/fdset.h"
#include "broker/nic_option.h"
#include "proto/log.h"
#include "tests/unit/fake_core.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define WORDS_MAX 16

static char out[8192]; /* what the last run printed on 1 and 2 */
static char err[8192];

static void
forget(void)
{
	fake = (struct core){.quit_code = -1, .netdevs = "[]"};
}

static void
slurp(int fd, char *to)
{
	ssize_t n = pread(fd, to, sizeof(out) - 1, 0);

	assert_true(n >= 0);
	to[n] = '\0';
	close(fd);
}

/* The words after the program's name, up to a NULL. */
static void
run(char *words[])
{
	int fds[2], saved[2];
	static char program[] = "bulkhead-broker";
	static char *argv[WORDS_MAX + 2] = {program};
	int argc = 1;

	while (words[argc - 1] != NULL) {
		argv[argc] = words[argc - 1];
		argc++;
	}
	argv[argc] = NULL;
	for (int i = 0; i < 2; i++) {
		fds[i] = memfd_create("print", MFD_CLOEXEC);
		saved[i] = dup(i + 1);
		dup2(fds[i], i + 1);
	}
	cmdline_run(&fake, NULL, argc, argv);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
		slurp(fds[i], i == 0 ? out : err);
	}
}

/* String literals are char[] that nobody writes to. */
#define W(text) ((char *)(uintptr_t)(text))
#define RUN(...)                                                               \
	do {                                                                   \
		char *words_[] = {__VA_ARGS__, NULL};                          \
		forget();                                                      \
		run(words_);                                                   \
	} while (0)

static void
refused(char *words[], const char *line)
{
	forget();
	run(words);
	assert_string_equal(err, line);
	assert_int_equal(fake.quit_code, 1);
	assert_null(strstr(fake.log, "up"));
}

#define REFUSED(line, ...)                                                     \
	do {                                                                   \
		char *words_[] = {__VA_ARGS__, NULL};                          \
		refused(words_, "bulkheadd: " line "\n");                      \
	} while (0)

static void
test_options_are_taken_in_order(void **state)
{
	(void)state;
	RUN(W("-netdev"), W("user,id=u"), W("-qmp"), W("unix:/q,server=on"),
	    W("--netdev=hubport,id=p,hubid=1,netdev=u"), W("--name"), W("n"),
	    W("-netdev"), W("{'type':'user','id':'j'}"));
	assert_string_equal(fake.log, "netdev u\nlisten /q\nport p\nnetdev j\n"
				      "latch \nup \n");
	assert_string_equal(err, "");
	assert_string_equal(out, "");
}

static void
test_descriptors_go_into_sets(void **state)
{
	struct err e;
	int fd;

	(void)state;
	RUN(W("-add-fd"), W("fd=3,set=1"), W("--add-fd=set=1,fd=0x10,opaque=x"),
	    W("-netdev"), W("user,id=u"));
	assert_string_equal(
	    fake.log, "take 3\ntake 16\nnetdev u\nlatch \nup \n");
	fd = fdset_open("/dev/fdset/1", O_WRONLY, &e);
	assert_true(fd >= 0);
	close(fd);
	fdset_clear();
	REFUSED("-add-fd set=1: fd option is required and must be "
		"non-negative",
	    W("-add-fd"), W("set=1"));
	REFUSED("-add-fd fd=2,set=1: fd cannot be a standard I/O stream",
	    W("-add-fd"), W("fd=2,set=1"));
	REFUSED("-add-fd fd=3: set option is required and must be "
		"non-negative",
	    W("-add-fd"), W("fd=3"));
	REFUSED("-add-fd fd=4294967299,set=1: fd is not valid or already in "
		"use",
	    W("-add-fd"), W("fd=4294967299,set=1"));
	fake = (struct core){.quit_code = -1, .netdevs = "[]", .refuse = "3"};
	run((char *[]){W("-add-fd"), W("fd=3,set=1"), NULL});
	assert_string_equal(err,
	    "bulkheadd: -add-fd fd=3,set=1: fd is not valid or already in "
	    "use: 3 is refused\n");
	assert_int_equal(fdset_open("/dev/fdset/1", O_RDONLY, &e), -ENOENT);
}

static void
test_each_option_waits_for_the_one_before(void **state)
{
	char *words[] = {
	    W("-netdev"), W("user,id=a"), W("-netdev"), W("user,id=b"), NULL};

	(void)state;
	forget();
	fake.hold = true;
	run(words);
	assert_string_equal(fake.log, "netdev a\n");
	fake.done(fake.done_self, NULL);
	assert_string_equal(fake.log, "netdev a\nnetdev b\n");
	fake.hold = false;
	fake.done(fake.done_self, NULL);
	assert_string_equal(fake.log, "netdev a\nnetdev b\nlatch \nup \n");
}

static void
test_old_net_makes_a_netdev_and_its_port(void **state)
{
	(void)state;
	RUN(W("-net"), W("none"));
	assert_string_equal(fake.log, "latch \nup \n");
	RUN(W("-net"), W("user"), W("-net"), W("user,id=x,vlan=0"), W("-net"),
	    W("user,vlan=7,restrict=on,name=y"), W("-netdev"),
	    W("hubport,id=p,hubid=0"), W("-net"), W("type=user,name=z"));
	assert_string_equal(fake.log,
	    "netdev hub0port0-user\nport hub0port0\n"
	    "netdev x\nport hub0port1\n"
	    "netdev y\nport hub7port0\n"
	    "port p\n"
	    "netdev z\nport hub0port3\nlatch \nup \n");
}

static void
test_cards_are_on_a_hub_or_on_a_netdev(void **state)
{
	(void)state;
	RUN(W("-net"), W("nic"), W("-net"), W("nic,vlan=3,id=n,macaddr=1"));
	assert_string_equal(fake.log,
	    "netdev hub0port0-nic\nport hub0port0\nnetdev n\n"
	    "port hub3port0\nlatch \nup \n");
	/* Joined to a netdev it is in no hub, and uses up no port. */
	RUN(W("-netdev"), W("user,id=u"), W("-net"), W("nic,netdev=u"),
	    W("-net"), W("nic,id=n,netdev=v"), W("-net"), W("user"));
	assert_string_equal(fake.log,
	    "netdev u\nnetdev u-nic\nnetdev n\nnetdev hub0port0-user\n"
	    "port hub0port0\nlatch \nup \n");
	RUN(W("-device"), W("virtio-net-pci,id=n,netdev=u,mac=52:54:00:0:0:1"));
	assert_string_equal(fake.log,
	    "device virtio-net-pci id=n netdev=u mac=52:54:00:0:0:1\n"
	    "latch \nup \n");
}

static void
test_nic_makes_a_netdev_and_the_card_on_it(void **state)
{
	(void)state;
	RUN(W("-nic"), W("user"), W("-nic"),
	    W("tap,id=t,model=virtio,mac=52:54:00:0:0:1,script=no"), W("-nic"),
	    W("model=virtio,restrict=on"), W("-nic"), W("hubport,hubid=2"),
	    W("-nic"), W("mac=1,type=user"));
	assert_string_equal(fake.log,
	    "netdev nic0-user\nnetdev nic0\nnetdev t\nnetdev t-nic\n"
	    "netdev nic2-user\nnetdev nic2\nport nic3-hubport\n"
	    "netdev nic3\nnetdev nic4-user\nnetdev nic4\nlatch \nup \n");
	RUN(W("-nic"), W("none"), W("--run-dir=/r"));
	assert_string_equal(fake.log, "latch \nup \n");
	assert_string_equal(out, "");
}

static void
test_nic_gives_card_and_netdev_what_is_theirs(void **state)
{
	struct net_list l = {0};
	const struct net_legacy_nic_options *card = &l.items[1].u.nic;
	struct err e;

	(void)state;
	assert_int_equal(nic_option_parse(&l,
			     "user,mac=1,id=a,hostname=x,,y,mac=2,"
			     "model=virtio-net-pci",
			     &e),
	    0);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.items[0].u.user.hostname, "x,y");
	assert_string_equal(l.items[1].id, "a-nic");
	assert_string_equal(card->netdev, "a");
	assert_string_equal(card->macaddr, "2");
	assert_string_equal(card->model, "virtio-net-pci");
	net_list_clear(&l);
}

static void
test_nic_is_refused_in_words_of_qemu(void **state)
{
	(void)state;
	REFUSED("-nic user,foo=1: Invalid parameter 'foo'", W("-nic"),
	    W("user,foo=1"));
	REFUSED("-nic user,vectors=1: Invalid parameter 'vectors'", W("-nic"),
	    W("user,vectors=1"));
	REFUSED("-nic foo: Parameter 'type' does not accept value 'foo'",
	    W("-nic"), W("foo"));
	REFUSED("-nic none,id=x: 'none' takes no options", W("-nic"),
	    W("none,id=x"));
	REFUSED("-nic nic: 'nic' is a card, and no netdev that one can be "
		"joined to: use -netdev nic,id=ID or -net nic",
	    W("-nic"), W("nic"));
	REFUSED("-nic user: no more on-board/default NIC slots available: "
		"-device or -netdev nic add more than 8",
	    W("-nic=user"), W("-nic=user"), W("-nic=user"), W("-nic=user"),
	    W("-nic=user"), W("-nic=user"), W("-nic=user"), W("-nic=user"),
	    W("-nic"), W("user"));
}

static void
test_models_of_cards_are_listed(void **state)
{
	static const char models[] =
	    "Available NIC models:\nvirtio\nvirtio-net\nvirtio-net-pci\n"
	    "virtio-net-pci-transitional\nvirtio-net-pci-non-transitional\n"
	    "virtio-net-device\n";

	(void)state;
	RUN(W("-net"), W("nic,vlan=1,model=help"));
	assert_string_equal(out, models);
	assert_string_equal(fake.log, "");
	RUN(W("-netdev"), W("nic,id=n,model=?"));
	assert_string_equal(out, models);
	RUN(W("-nic"), W("tap,model=help"));
	assert_string_equal(out, models);
	RUN(W("-nic"), W("?"));
	assert_string_equal(out, models);
	assert_string_equal(fake.log, "");
	RUN(W("-device"), W("help"));
	assert_string_equal(out, models);
	assert_int_equal(fake.quit_code, 0);
}

static void
test_default_network_comes_when_none_was_asked_for(void **state)
{
	(void)state;
	RUN(W("--policy"), W("/x"), W("--run-dir=/r,d"));
	assert_string_equal(fake.log,
	    "netdev user0\nport p-user0\nnetdev vm0\nport p-vm0\n"
	    "netdev vm1\nport p-vm1\nnetdev dump0\nport p-dump0\n"
	    "listen /r,d/qmp.sock\nlatch \nup \n");
	assert_non_null(strstr(out, "-netdev stream,id=n0,server=on,"
				    "addr.type=unix,addr.path=/r,d/vm0.sock"));
	assert_non_null(strstr(out, "/r,d/capture.pcap"));
	assert_non_null(strstr(out, "/r,d/qmp.sock"));
	RUN(W("-nodefaults"), W("--run-dir=/r"));
	assert_string_equal(fake.log, "latch \nup \n");
	RUN(W("-nodefaults"), W("--crossover=off"), W("-crossover"), W("on"));
	assert_string_equal(
	    fake.log, "crossover off\ncrossover on\nlatch \nup \n");
	RUN(W("-nodefaults"), W("-arena"), W("off"), W("--arena=on"));
	assert_string_equal(fake.log, "arena off\narena on\nlatch \nup \n");
	assert_string_equal(out, "");
	RUN(W("-qmp"), W("unix:/mine"), W("--run-dir=/r"));
	assert_null(strstr(fake.log, "/r/qmp.sock"));
	assert_non_null(strstr(fake.log, "listen /mine\n"));
	assert_non_null(strstr(fake.log, "netdev user0\n"));
}

static void
test_errors_are_one_line_that_names_the_option(void **state)
{
	(void)state;
	REFUSED(
	    "-netdev user: Parameter 'id' is missing", W("-netdev"), W("user"));
	REFUSED("--netdev foo,id=a: Parameter 'type' does not accept value "
		"'foo'",
	    W("--netdev=foo,id=a"));
	REFUSED("-netdev {\"type\": \"user\": JSON parse error, premature EOI",
	    W("-netdev"), W("{\"type\": \"user\""));
	REFUSED("-netdev {}{}: Expecting at most one JSON value", W("-netdev"),
	    W("{}{}"));
	REFUSED("-netdev {'type':'hubport','id':'a','hubid':1,'x':2}: "
		"Parameter 'x' is unexpected",
	    W("-netdev"), W("{'type':'hubport','id':'a','hubid':1,'x':2}"));
	REFUSED("unrecognized option '--bogus'", W("--bogus"));
	REFUSED("extra: Unexpected argument", W("extra"));
	REFUSED("option '-netdev' requires an argument", W("-netdev"));
	REFUSED("option '-netdev' requires an argument", W("-netdev"),
	    W("--run-dir=/r"));
	REFUSED("option '--nodefaults' doesn't allow an argument",
	    W("--nodefaults=1"));
	REFUSED(
	    "--crossover 1: \"on\" or \"off\" is expected", W("--crossover=1"));
	REFUSED("--arena yes: \"on\" or \"off\" is expected", W("--arena=yes"));
	REFUSED("-name n,process=p: only a name is available in this build",
	    W("-name"), W("n,process=p"));
	REFUSED("-mon c: not available in this build", W("-mon"), W("c"));
	REFUSED("-device virtio-net-pci,x=1: Invalid parameter 'x'",
	    W("-device"), W("virtio-net-pci,x=1"));
	REFUSED("-net hubport: network backend 'hubport' is only supported "
		"with -netdev",
	    W("-net"), W("hubport"));
	REFUSED("-net user,vlan=x: Parameter 'vlan' expects an int64 value",
	    W("-net"), W("user,vlan=x"));
	REFUSED("-net user,vlan=4294967296: Parameter 'vlan' expects int32_t",
	    W("-net"), W("user,vlan=4294967296"));
	REFUSED("default network: no run directory is known", W("--policy=/x"));
}

static void
test_qmp_takes_unix_sockets_only(void **state)
{
	(void)state;
	RUN(W("-nodefaults"), W("-qmp"), W("unix:/a,,b,server=on,wait=off"));
	assert_string_equal(fake.log, "listen /a,b\nlatch \nup \n");
	assert_string_equal(err, "");
	RUN(W("-nodefaults"), W("-qmp"), W("unix:/a,server,nowait"));
	assert_string_equal(fake.log, "listen /a\nlatch \nup \n");
	assert_string_equal(err,
	    "bulkheadd: -qmp unix:/a,server,nowait: warning: short-form "
	    "boolean option 'server' deprecated; please use server=on "
	    "instead\n"
	    "bulkheadd: -qmp unix:/a,server,nowait: warning: short-form "
	    "boolean option 'nowait' deprecated; please use wait=off "
	    "instead\n");
	REFUSED("-qmp tcp:a:1: not available in this build: only unix:PATH is",
	    W("-qmp"), W("tcp:a:1"));
	REFUSED(
	    "-qmp unix:: Parameter 'path' is missing", W("-qmp"), W("unix:"));
	REFUSED("-qmp unix:/a,foo=1: Invalid parameter 'foo'", W("-qmp"),
	    W("unix:/a,foo=1"));
	REFUSED("-qmp unix:/a,wait=on: wait=on is not available: nothing "
		"waits for a client",
	    W("-qmp"), W("unix:/a,wait=on"));
	REFUSED("-qmp unix:/a,server=maybe: Parameter 'server' expects 'on' "
		"or 'off'",
	    W("-qmp"), W("unix:/a,server=maybe"));
}

static void
test_chardevs_come_before_what_uses_them(void **state)
{
	(void)state;
	RUN(W("-chardev"), W("socket,id=c,path=/c,server=on,wait=off"),
	    W("-netdev"), W("user,id=u"),
	    W("--chardev=socket,id=d,path=/d,reconnect=1"));
	assert_string_equal(fake.log,
	    "chardev c type=1 server=11 wait=10 /c\nnetdev u\n"
	    "chardev d type=1 server=10 wait=00 /d\nlatch \nup \n");
	assert_string_equal(err, "");
	RUN(W("-nodefaults"), W("-chardev"),
	    W("socket,id=c,fd=5,server,nowait"));
	assert_string_equal(
	    fake.log, "chardev c type=3 server=11 wait=10 5\nlatch \nup \n");
	assert_string_equal(err,
	    "bulkheadd: -chardev socket,id=c,fd=5,server,nowait: warning: "
	    "short-form boolean option 'server' deprecated; please use "
	    "server=on instead\n"
	    "bulkheadd: -chardev socket,id=c,fd=5,server,nowait: warning: "
	    "short-form boolean option 'nowait' deprecated; please use "
	    "wait=off instead\n");
	REFUSED("-chardev pty,id=c: chardev type 'pty' is not available in "
		"this build",
	    W("-chardev"), W("pty,id=c"));
	REFUSED("-chardev socket,id=c,path=/c,x=1: Invalid parameter 'x'",
	    W("-chardev"), W("socket,id=c,path=/c,x=1"));
	RUN(W("-chardev"), W("help"));
	assert_string_equal(
	    out, "Available chardev backend types:\n  socket\n");
	assert_int_equal(fake.quit_code, 0);
}

static void
test_each_chardev_is_waited_for(void **state)
{
	char *words[] = {W("-chardev"), W("socket,id=c,path=/c"), W("-netdev"),
	    W("user,id=u"), NULL};

	(void)state;
	forget();
	fake.hold = true;
	run(words);
	assert_string_equal(
	    fake.log, "chardev c type=1 server=10 wait=00 /c\n");
	fake.hold = false;
	fake.done(fake.done_self, NULL);
	assert_non_null(strstr(fake.log, "netdev u\nlatch \nup \n"));
	forget();
	fake.refuse = "c";
	run(words);
	assert_string_equal(
	    err, "bulkheadd: -chardev socket,id=c,path=/c: c is refused\n");
	assert_int_equal(fake.quit_code, 1);
}

static void
test_refusal_by_the_core_ends_the_start(void **state)
{
	char *words[] = {
	    W("-netdev"), W("user,id=a"), W("-netdev"), W("user,id=b"), NULL};

	(void)state;
	forget();
	fake.refuse = "a";
	run(words);
	assert_string_equal(
	    err, "bulkheadd: -netdev user,id=a: a is refused\n");
	assert_string_equal(fake.log, "netdev a\n");
	assert_int_equal(fake.quit_code, 1);
}

static void
test_help_lists_the_types_of_this_build(void **state)
{
	(void)state;
	RUN(W("-netdev"), W("help"));
	assert_int_equal(fake.quit_code, 0);
	assert_memory_equal(
	    out, "Available netdev backend types:\nhubport\n", 40);
	assert_non_null(strstr(out, "\nuser\n"));
	assert_string_equal(fake.log, "");
}

/* Run with a file of commands; the descriptor is what the launcher gives. */
static void
run_file(const char *text)
{
	char option[32];
	int fd = memfd_create("config", MFD_CLOEXEC);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	snprintf(option, sizeof(option), "--config-fd=%d", fd);
	RUN(W("-netdev"), W("user,id=before"), W("--config"), W("FILE"),
	    W("-netdev"), W("user,id=after"), option);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

#define ADD(id)                                                                \
	"{\"execute\":\"netdev_add\",\"arguments\":{\"type\":\"user\","        \
	"\"id\":\"" id "\"}}"

static void
test_config_runs_in_its_place(void **state)
{
	(void)state;
	run_file("# comment {\n" ADD("c1") "\n  # more\n" ADD("c2"));
	assert_string_equal(fake.log,
	    "netdev before\nnetdev_add c1\nnetdev_add c2\nnetdev after\n"
	    "latch \nup \n");
	run_file("");
	assert_string_equal(
	    fake.log, "netdev before\nnetdev after\nlatch \nup \n");
}

static void
test_config_errors_tell_file_and_line(void **state)
{
	(void)state;
	run_file(ADD("c1") "\n\n{\"execute\":\n\"nope\"}\n" ADD("c2"));
	assert_string_equal(err, "bulkheadd: --config FILE:3: The command "
				 "nope has not been found\n");
	assert_string_equal(fake.log, "netdev before\nnetdev_add c1\n");
	assert_int_equal(fake.quit_code, 1);
	run_file("\n{\"execute\":");
	assert_string_equal(err, "bulkheadd: --config FILE:2: JSON parse "
				 "error, premature EOI\n");
	run_file("{]");
	assert_string_equal(err, "bulkheadd: --config FILE:1: JSON parse "
				 "error, expecting value\n");
}

static void
test_config_waits_for_each_command(void **state)
{
	int fd = memfd_create("config", MFD_CLOEXEC);
	char option[32];
	char *words[] = {W("--config=FILE"), option, NULL};

	(void)state;
	assert_true(
	    write(fd, ADD("c1") ADD("c2"), sizeof(ADD("c1")) * 2 - 2) > 0);
	lseek(fd, 0, SEEK_SET);
	snprintf(option, sizeof(option), "--config-fd=%d", fd);
	forget();
	fake.hold = true;
	run(words);
	assert_string_equal(fake.log, "netdev_add c1\n");
	call_return(fake.held, NULL, NULL);
	assert_string_equal(fake.log, "netdev_add c1\nnetdev_add c2\n");
	fake.hold = false;
	call_return(fake.held, NULL, NULL);
	assert_string_equal(
	    fake.log, "netdev_add c1\nnetdev_add c2\nlatch \nup \n");
}

static void
test_what_has_no_peer_is_warned_about(void **state)
{
	char *words[] = {W("-netdev"), W("user,id=a"), NULL};

	(void)state;
	forget();
	fake.netdevs = "[{\"id\": \"a\", \"config\": {\"type\": \"user\"}}, "
		       "{\"id\": \"b\", \"config\": {\"type\": \"user\"}, "
		       "\"peer\": \"p\"}, "
		       "{\"id\": \"p\", \"config\": {\"type\": \"hubport\"}}]";
	run(words);
	assert_string_equal(err,
	    "bulkheadd: warning: netdev a has no peer\n"
	    "bulkheadd: warning: hub port p has no peer\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_options_are_taken_in_order),
	    cmocka_unit_test(test_descriptors_go_into_sets),
	    cmocka_unit_test(test_each_option_waits_for_the_one_before),
	    cmocka_unit_test(test_old_net_makes_a_netdev_and_its_port),
	    cmocka_unit_test(test_cards_are_on_a_hub_or_on_a_netdev),
	    cmocka_unit_test(test_nic_makes_a_netdev_and_the_card_on_it),
	    cmocka_unit_test(test_nic_gives_card_and_netdev_what_is_theirs),
	    cmocka_unit_test(test_nic_is_refused_in_words_of_qemu),
	    cmocka_unit_test(test_models_of_cards_are_listed),
	    cmocka_unit_test(
		test_default_network_comes_when_none_was_asked_for),
	    cmocka_unit_test(test_errors_are_one_line_that_names_the_option),
	    cmocka_unit_test(test_qmp_takes_unix_sockets_only),
	    cmocka_unit_test(test_chardevs_come_before_what_uses_them),
	    cmocka_unit_test(test_each_chardev_is_waited_for),
	    cmocka_unit_test(test_refusal_by_the_core_ends_the_start),
	    cmocka_unit_test(test_help_lists_the_types_of_this_build),
	    cmocka_unit_test(test_config_runs_in_its_place),
	    cmocka_unit_test(test_config_errors_tell_file_and_line),
	    cmocka_unit_test(test_config_waits_for_each_command),
	    cmocka_unit_test(test_what_has_no_peer_is_warned_about),
	};

	log_open("broker", "-", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
