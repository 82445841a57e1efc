/*
 * launcher_test.c - the real launcher among brokers and children that lie.
 *
 * The program plays three parts. Started as itself it is the test: it makes a
 * directory of programs that are copies of itself, and runs bulkheadd with it.
 * As bulkhead-broker it is a broker that does what --name=SCENARIO says; as
 * any other bulkhead-TYPE a child that does what its --id says. A broker
 * writes a line with FAIL for everything that is not as it should be.
 */
#include "tests/hostile/launcher_kit.h"

#include "proto/log.h"
#include "proto/ring.h"

#include <linux/capability.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cmocka.h>

#define NOBODY 65534

/* --- the fake child
 * ------------------------------------------------------------------ */

static void
fake_lie(const char *id)
{
	struct launch_msg msg = message(LAUNCH_READY, 0);
	int in = STDIN_FILENO;

	if (strcmp(id, "spawns") == 0)
		msg.type = LAUNCH_SPAWN;
	else if (strcmp(id, "magic") == 0)
		msg.magic++;
	else if (strcmp(id, "unended") == 0)
		memset(msg.result.text, 'x', sizeof msg.result.text);
	else if (strcmp(id, "answers") == 0)
		msg.type = LAUNCH_ATTESTED;
	if (strcmp(id, "short") == 0)
		(void)post_raw(&msg, sizeof msg - 1, NULL, 0);
	else if (strcmp(id, "empty") == 0)
		(void)post_raw(&msg, 0, NULL, 0);
	else if (strcmp(id, "fds") == 0)
		(void)post_raw(&msg, sizeof msg, &in, 1);
	else
		(void)post_raw(&msg, sizeof msg, NULL, 0);
}

static void
fake_end(const char *id)
{
	static volatile uintptr_t nowhere = 8;

	if (strcmp(id, "exit3") == 0)
		_exit(3);
	if (strcmp(id, "segv") == 0)
		*(volatile char *)nowhere = 1;
	if (strcmp(id, "abort") == 0)
		abort();
	if (strcmp(id, "bug") == 0)
		BUG_ON(id != NULL);
	if (strcmp(id, "syscall") == 0)
		(void)syscall(__NR_getppid);
	if (strcmp(id, "fails") == 0)
		confine_fail(STAGE_SETUP, -ENOSPC, "no \"room\"");
	if (strcmp(id, "ready-twice") == 0)
		confine_ready();
}

/* What a confined process may not find: each line that comes is a failure. */
static void
look_around(void)
{
	char buf[4096];
	int fd = open("/", O_RDONLY | O_DIRECTORY);
	long len = fd < 0 ? -1 : syscall(__NR_getdents64, fd, buf, sizeof buf);
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons(9),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct caps[2];
	struct clone_args thread = {.exit_signal = SIGCHLD};

	/* "." and ".." are 24 bytes each */
	if (fd >= 0 && len > 48)
		say("FAIL the root directory holds something\n");
	if (open("/etc/passwd", O_RDONLY) >= 0 ||
	    open("/proc/self/status", O_RDONLY) >= 0)
		say("FAIL there is a file\n");
	if (mkdir("/x", 0700) == 0)
		say("FAIL the root directory can be written to\n");
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) >= 0)
		say("FAIL there is a network\n");
	if (syscall(__NR_clone3, &thread, sizeof thread) >= 0)
		say("FAIL it can fork\n");
	if (mmap(NULL, 4096, PROT_WRITE | PROT_EXEC,
		MAP_ANONYMOUS | MAP_PRIVATE, -1, 0) != MAP_FAILED)
		say("FAIL memory is writable and executable\n");
	(void)syscall(__NR_capget, &head, caps);
	if (caps[0].permitted || caps[1].permitted || caps[0].effective ||
	    caps[0].inheritable || caps[1].inheritable)
		say("FAIL it has a capability\n");
	for (fd = 24; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0 && fd > 26)
			say("FAIL descriptor %d leaked\n", fd);
}

static int
fake_child(void)
{
	static const struct sysrule rules[] = {
	    SYS(epoll_pwait, "nothing: wait without a loop"),
	};
	static const struct syslist list = {"fake", rules, 1};
	char byte;

	confine_begin("fake");
	if (strcmp(confine_id(), "explorer") == 0)
		look_around();
	confine_lock(&list);
	if (strcmp(confine_id(), "good") == 0 ||
	    strcmp(confine_id(), "explorer") == 0 ||
	    strcmp(confine_id(), "ready-twice") == 0)
		confine_ready();
	fake_end(confine_id());
	if (strcmp(confine_id(), "good") != 0 &&
	    strcmp(confine_id(), "explorer") != 0)
		fake_lie(confine_id());
	(void)recv(FD_LAUNCHER, &byte, 1, 0); /* until the end */
	return 0;
}

/* --- the fake broker: what is right
 * ----------------------------------------------------- */

static struct launch_msg
spawn_message(uint32_t slot, uint32_t role, const char *id)
{
	struct launch_msg msg = message(LAUNCH_SPAWN, slot);

	msg.spawn.role = role;
	msg.spawn.epoch = 1;
	if (role >= ROLE_BACKEND)
		msg.spawn.ring_bytes = RING_BYTES_MIN;
	snprintf(msg.spawn.id, sizeof msg.spawn.id, "%s", id);
	return msg;
}

static void
set_unix(struct addr *a, const char *path)
{
	a->len = sizeof a->un;
	a->un.sun_family = AF_UNIX;
	snprintf(a->un.sun_path, sizeof a->un.sun_path, "%s", path);
}

static void
set_ip(struct addr *a, uint32_t host, uint16_t port)
{
	a->len = sizeof a->in;
	a->in.sin_family = AF_INET;
	a->in.sin_port = htons(port);
	a->in.sin_addr.s_addr = htonl(host);
}

static struct launch_msg
open_message(uint32_t slot, uint32_t index, uint32_t kind)
{
	struct launch_msg msg = message(LAUNCH_OPEN, slot);

	msg.open.index = index;
	msg.open.kind = kind;
	return msg;
}

static const char *run_dir;

/* DIR/NAME in one of four buffers. */
static const char *
in_run_dir(const char *name)
{
	static char paths[4][LAUNCH_PATH];
	static unsigned next;

	next = (next + 1) % 4;
	snprintf(paths[next], LAUNCH_PATH, "%s/%s", run_dir, name);
	return paths[next];
}

static void
start(uint32_t slot, uint32_t role, const char *id)
{
	struct launch_msg msg = spawn_message(slot, role, id);

	ask(&msg, LAUNCH_SPAWNED);
	EXPECT(got.msg.result.error == 0);
	EXPECT(got.fd_count == 1);
}

static void
release(uint32_t slot)
{
	struct launch_msg msg = message(LAUNCH_RELEASE, slot);

	ask(&msg, LAUNCH_RELEASED);
}

static void
scenario_life(void)
{
	struct launch_msg msg = message(LAUNCH_PORT_ASK, 1);

	start(1, ROLE_LANE, "good");
	take_type(LAUNCH_ATTESTED, 1);
	EXPECT(got.msg.result.epoch == 1);
	say("layers %llx missing %llx\n",
	    (unsigned long long)got.msg.result.layers,
	    (unsigned long long)got.msg.result.missing);
	ask(&msg, LAUNCH_PORT);
	EXPECT(got.msg.result.error == -ENOENT && got.fd_count == 0);

	start(2, ROLE_BACKEND, "explorer");
	take_type(LAUNCH_ATTESTED, 2);
	msg = message(LAUNCH_PORT_ASK, 2);
	ask(&msg, LAUNCH_PORT);
	EXPECT(got.msg.result.error == 0 && got.fd_count == 3);
	EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, got.fds[0],
		   0) == MAP_FAILED);
	EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, got.fds[1],
		   0) != MAP_FAILED);

	msg = spawn_message(2, ROLE_BACKEND, "good");
	ask(&msg, LAUNCH_SPAWNED);
	EXPECT(got.msg.result.error == -EBUSY);
	msg = message(LAUNCH_STOP, 2);
	msg.stop.epoch = 7; /* another life: not meant */
	msg.stop.signo = SIGKILL;
	post(&msg);
	msg.stop.epoch = 1;
	msg.stop.signo = SIGABRT;
	post(&msg);
	take_type(LAUNCH_EXITED, 2);
	EXPECT(got.msg.result.wait_code == CLD_KILLED);
	EXPECT(got.msg.result.wait_status == SIGABRT);
	EXPECT(strcmp(got.msg.result.text, "SIGABRT") == 0);
	start(2, ROLE_BACKEND, "good");
	take_type(LAUNCH_ATTESTED, 2);
	release(2);
	release(1);
}

static void
scenario_deaths(void)
{
	static const struct {
		const char *id;
		int code, status;
		const char *words;
	} ends[] = {
	    {"exit3", CLD_EXITED, 3, ""},
	    {"segv", CLD_KILLED, SIGSEGV, ""},
	    {"abort", CLD_KILLED, SIGABRT, "SIGABRT"},
	    {"bug", CLD_KILLED, SIGABRT, "bug launcher_test.c"},
	    {"syscall", CLD_KILLED, SIGSYS, ""},
	    {"fails", CLD_EXITED, 1, "no \"room\": No space left on device"},
	};
	size_t i;

	for (i = 0; i < sizeof ends / sizeof *ends; i++) {
		start(1, ROLE_LANE, ends[i].id);
		take_type(LAUNCH_EXITED, 1);
		say("%s\n", ends[i].id);
		EXPECT(got.msg.result.wait_code == ends[i].code);
		EXPECT(got.msg.result.wait_status == ends[i].status);
		EXPECT(strncmp(got.msg.result.text, ends[i].words,
			   strlen(ends[i].words)) == 0);
		EXPECT(got.msg.result.ran_ns > 0);
	}
}

/* Children that lie end; another one and the launcher do not notice. */
static void
scenario_liars(void)
{
	static const char *const ids[] = {"spawns", "magic", "unended",
	    "answers", "short", "empty", "fds", "ready-twice"};
	struct launch_msg msg = message(LAUNCH_STOP, 1);
	size_t i;

	start(1, ROLE_LANE, "good");
	take_type(LAUNCH_ATTESTED, 1);
	for (i = 0; i < sizeof ids / sizeof *ids; i++) {
		start(2, ROLE_LANE, ids[i]);
		take_type(LAUNCH_EXITED, 2);
		say("%s %s\n", ids[i], got.msg.result.text);
		EXPECT(got.msg.result.wait_code == CLD_KILLED);
		EXPECT(got.msg.result.wait_status == SIGKILL);
	}
	msg.stop.epoch = 1;
	msg.stop.signo = SIGKILL;
	post(&msg);
	take_type(LAUNCH_EXITED, 1);
}

static void
expect_refusal(const struct launch_msg *msg, const char *words)
{
	ask(msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EPERM);
	EXPECT(strstr(got.msg.result.text, words) != NULL);
}

static void
latch(int listeners)
{
	struct launch_msg msg = message(LAUNCH_LATCH, 0);
	int i;

	ask(&msg, LAUNCH_LATCHED);
	EXPECT(got.msg.result.code == listeners);
	for (i = 0; i < listeners; i++) {
		take_type(LAUNCH_LISTENER, 0);
		EXPECT(got.fd_count == 1 && got.msg.result.text[0] == '/');
	}
}

/* As root and without a policy file. */
static void
scenario_policy(void)
{
	struct launch_msg msg = open_message(0, 0, RES_STREAM_LISTEN);

	msg.open.qmp = 1;
	set_unix(&msg.open.local, in_run_dir("qmp.sock"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	msg = open_message(1, 0, RES_FILE_CREATE);
	snprintf(msg.open.path, LAUNCH_PATH, "%s", in_run_dir("../first"));
	ask(&msg, LAUNCH_OPENED); /* the command line may */
	EXPECT(got.msg.result.error == 0);
	latch(1);
	msg.open.again = 1; /* was granted */
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	msg.open.path[1]++;
	expect_refusal(&msg, "granted");

	msg = open_message(2, 0, RES_FILE_CREATE);
	snprintf(msg.open.path, LAUNCH_PATH, "/tmp/y.pcap");
	expect_refusal(&msg, "policy refuses to create /tmp/y.pcap: add "
			     "\"allow file /tmp\" to the policy file");
	snprintf(msg.open.path, LAUNCH_PATH, "%s", in_run_dir("../y"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EINVAL);
	snprintf(
	    msg.open.path, LAUNCH_PATH, "%s", in_run_dir("etc/resolv.conf"));
	expect_refusal(&msg, "allow file");
	snprintf(msg.open.path, LAUNCH_PATH, "%s", in_run_dir("link/y"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -ELOOP);
	snprintf(msg.open.path, LAUNCH_PATH, "%s", in_run_dir("y.pcap"));
	msg.open.give = 1;
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0 && got.fd_count == 1);
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EEXIST);

	msg = open_message(2, 1, RES_DIRECTORY);
	snprintf(msg.open.path, LAUNCH_PATH, "/etc");
	expect_refusal(&msg, "allow directory /etc");
	msg = open_message(2, 1, RES_STREAM_CONNECT);
	set_unix(&msg.open.remote, "/run/other.sock");
	expect_refusal(&msg, "allow unix /run");
	msg = open_message(2, 1, RES_STREAM_LISTEN);
	set_ip(&msg.open.local, INADDR_LOOPBACK, 0);
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	msg = open_message(2, 2, RES_FD);
	msg.open.number = 0;
	expect_refusal(&msg, "descriptor 0");
	msg = open_message(0, 1, RES_STREAM_LISTEN);
	msg.open.qmp = 1;
	set_unix(&msg.open.local, in_run_dir("late.sock"));
	expect_refusal(&msg, "command line");
	release(2);
}

/* A policy file that allows some things. */
static void
scenario_policy_file(void)
{
	struct launch_msg msg = message(LAUNCH_LATCH, 0);

	latch(0);
	msg = open_message(1, 0, RES_UDP);
	set_ip(&msg.open.local, INADDR_LOOPBACK, 4001);
	set_ip(&msg.open.remote, INADDR_LOOPBACK, 4009);
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	msg = open_message(1, 1, RES_UDP);
	set_ip(&msg.open.local, INADDR_LOOPBACK, 4001);
	set_ip(&msg.open.remote, INADDR_LOOPBACK, 4010);
	expect_refusal(&msg, "allow udp 127.0.0.1:4010");
	msg = open_message(1, 1, RES_PERMIT_LISTEN);
	set_ip(&msg.open.local, INADDR_ANY, 2222);
	expect_refusal(&msg, "allow listen 0.0.0.0:2222");
	msg = open_message(1, 1, RES_DIRECTORY);
	snprintf(msg.open.path, LAUNCH_PATH, "/usr/share");
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	msg = open_message(1, 2, RES_MCAST);
	set_ip(&msg.open.remote, 0xe6000001, 4001);
	expect_refusal(&msg, "allow mcast 230.0.0.1:4001");
}

/* Twelve hundred questions before the first answer is read. */
static void
scenario_flood(void)
{
	struct launch_msg msg;
	uint32_t asked = 0, told = 0, first = 0;
	int rc = 0;

	while (told < 1200) {
		msg = open_message(1, 7, RES_FILE_CREATE);
		while (asked < 1200) {
			msg.seq = asked + 1;
			rc = (int)sys_result(send(FD_LAUNCHER, &msg, sizeof msg,
			    MSG_DONTWAIT | MSG_NOSIGNAL));
			if (rc < 0)
				break;
			asked++;
		}
		take();
		EXPECT(got.msg.type == LAUNCH_OPENED);
		EXPECT(got.msg.seq == ++first);
		told++;
	}
}

/* Stale and living sockets, files that are none. */
static void
scenario_sockets(void)
{
	struct launch_msg msg = open_message(1, 0, RES_STREAM_LISTEN);

	set_unix(&msg.open.local, in_run_dir("stale.sock"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	msg = open_message(2, 0, RES_STREAM_LISTEN);
	set_unix(&msg.open.local, in_run_dir("stale.sock"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EADDRINUSE);
	set_unix(&msg.open.local, in_run_dir("plain"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EADDRINUSE);
	msg = open_message(2, 0, RES_STREAM_CONNECT);
	set_unix(&msg.open.remote, in_run_dir("absent.sock"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -ENOENT);
	msg.open.again = 1; /* granted, only not there yet */
	msg.open.give = 1;
	set_unix(&msg.open.remote, in_run_dir("stale.sock"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EPERM);
	release(1);
	release(2);
}

/* Wait for the launcher's signal, wind down with a code. */
static void
scenario_term(void)
{
	struct launch_msg msg = message(LAUNCH_UP, 0);

	post(&msg);
	take_type(LAUNCH_SIGNALLED, 0);
	EXPECT(got.msg.result.code == SIGTERM);
}

static void
scenario_stubborn(void)
{
	struct launch_msg msg = message(LAUNCH_UP, 0);

	post(&msg);
	for (;;)
		take();
}

/* --- the fake broker: what is wrong
 * ---------------------------------------------------------- */

static void
break_open(struct launch_msg *msg, const char *how)
{
	*msg = open_message(1, 0, RES_FILE_CREATE);
	if (strcmp(how, "index") == 0)
		msg->open.index = LAUNCH_RESOURCES;
	else if (strcmp(how, "kind") == 0)
		msg->open.kind = RES_COUNT;
	else if (strcmp(how, "kind0") == 0)
		msg->open.kind = RES_NONE;
	else if (strcmp(how, "flag") == 0)
		msg->open.give = 2;
	else if (strcmp(how, "path") == 0)
		memset(msg->open.path, 'x', sizeof msg->open.path);
	else if (strcmp(how, "addr-len") == 0)
		msg->open.local.len = sizeof msg->open.local.un + 1;
	else if (strcmp(how, "addr-short") == 0)
		msg->open.local.len = 1;
	else if (strcmp(how, "addr-family") == 0)
		msg->open.local.len = 16;
	else if (strcmp(how, "addr-path") == 0) {
		msg->open.local.len = sizeof msg->open.local.un;
		memset(&msg->open.local.un, 'x', sizeof msg->open.local.un);
		msg->open.local.un.sun_family = AF_UNIX;
	} else if (strcmp(how, "qmp") == 0)
		msg->open.qmp = 1;
	else if (strcmp(how, "slot0") == 0)
		msg->slot = 0;
	else if (strcmp(how, "slot") == 0)
		msg->slot = LAUNCH_SLOTS;
	else if (strcmp(how, "magic") == 0)
		msg->magic = 0;
	else if (strcmp(how, "type") == 0)
		msg->type = LAUNCH_TYPES;
	else if (strcmp(how, "answer") == 0)
		msg->type = LAUNCH_OPENED;
}

static void
break_other(struct launch_msg *msg, const char *how)
{
	*msg = spawn_message(1, ROLE_LANE, "good");
	if (strcmp(how, "role") == 0)
		msg->spawn.role = ROLE_BROKER;
	else if (strcmp(how, "role-high") == 0)
		msg->spawn.role = 4000000000u;
	else if (strcmp(how, "id") == 0)
		memset(msg->spawn.id, 'x', sizeof msg->spawn.id);
	else if (strcmp(how, "no-id") == 0)
		msg->spawn.id[0] = '\0';
	else if (strcmp(how, "ring") == 0) {
		*msg = spawn_message(1, ROLE_BACKEND, "good");
		msg->spawn.ring_bytes = RING_BYTES_MIN + 1;
	} else if (strcmp(how, "signal") == 0) {
		*msg = message(LAUNCH_STOP, 1);
		msg->stop.signo = SIGSTOP;
	} else if (strcmp(how, "stop-self") == 0) {
		*msg = message(LAUNCH_STOP, 0);
		msg->stop.signo = SIGKILL;
	} else if (strcmp(how, "release-self") == 0)
		*msg = message(LAUNCH_RELEASE, 0);
	else if (strcmp(how, "quit-code") == 0) {
		*msg = message(LAUNCH_QUIT, 0);
		msg->result.code = 256;
	} else if (strcmp(how, "latch-twice") == 0) {
		*msg = message(LAUNCH_LATCH, 0);
		post(msg);
	} else if (strcmp(how, "up-twice") == 0) {
		*msg = message(LAUNCH_UP, 0);
		post(msg);
	}
}

/* Break one rule; the launcher's answer must be our death. */
static void
break_rule(const char *how)
{
	struct launch_msg msg = open_message(1, 0, RES_FD);
	int fds[] = {0, 1, 2, 0};

	if (strcmp(how, "length") == 0)
		(void)post_raw(&msg, sizeof msg - 1, NULL, 0);
	else if (strcmp(how, "long") == 0) {
		static char big[sizeof msg + 1];

		memcpy(big, &msg, sizeof msg);
		(void)post_raw(big, sizeof big, NULL, 0);
	} else if (strcmp(how, "two-fds") == 0)
		(void)post_raw(&msg, sizeof msg, fds, 2);
	else if (strcmp(how, "four-fds") == 0)
		(void)post_raw(&msg, sizeof msg, fds, 4);
	else if (strcmp(how, "fd") == 0) {
		msg.open.kind = RES_UDP;
		(void)post_raw(&msg, sizeof msg, fds, 1);
	} else if (strcmp(how, "latch-fd") == 0) {
		msg = message(LAUNCH_LATCH, 0);
		(void)post_raw(&msg, sizeof msg, fds, 1);
	} else if (strncmp(how, "open-", 5) == 0) {
		break_open(&msg, how + 5);
		post(&msg);
	} else {
		break_other(&msg, how);
		post(&msg);
	}
	/* Another, so that a rule not enforced shows as a message. */
	for (;;)
		take();
}

static const struct {
	const char *name;
	void (*run)(void);
} scenarios[] = {
    {"life", scenario_life},
    {"deaths", scenario_deaths},
    {"liars", scenario_liars},
    {"policy", scenario_policy},
    {"policy-file", scenario_policy_file},
    {"flood", scenario_flood},
    {"sockets", scenario_sockets},
    {"term", scenario_term},
    {"stubborn", scenario_stubborn},
};

static const char *
argument(int argc, char **argv, const char *name)
{
	size_t len = strlen(name);
	int i;

	for (i = argc - 1; i > 0; i--)
		if (strncmp(argv[i], name, len) == 0)
			return argv[i] + len;
	return "";
}

_Noreturn static void
fake_broker(int argc, char **argv)
{
	static const struct sysrule rules[] = {
	    SYS(mmap, "looking at a port's memories"),
	};
	static const struct syslist list = {"broker", rules, 1};
	const char *name = argument(argc, argv, "--name=");
	struct launch_msg msg = message(LAUNCH_QUIT, 0);
	size_t i;

	run_dir = argument(argc, argv, "--run-dir=");
	confine_begin("broker");
	confine_lock(&list);
	confine_ready();
	if (strncmp(name, "break:", 6) == 0)
		break_rule(name + 6);
	for (i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
		if (strcmp(scenarios[i].name, name) == 0)
			scenarios[i].run();
	post(&msg);
	for (;;)
		take();
}

/* --- the test
 * -----------------------------------------------------------------------------------
 */

static char dir[] = "/tmp/bulkhead-launcher-XXXXXX";

/* Run the scenario to its end, as this user. */
static pid_t
begin(const char *name, uid_t uid, const char *extra, int *err)
{
	static char program[64], libexec[64], run[64], scenario[64];
	char *argv[] = {
	    program, libexec, run, scenario, (char *)(uintptr_t)extra, NULL};

	snprintf(program, sizeof program, "%s/bulkheadd", dir);
	snprintf(libexec, sizeof libexec, "--libexec=%s/libexec", dir);
	snprintf(run, sizeof run, "--run-dir=%s/run%u", dir, uid);
	snprintf(scenario, sizeof scenario, "--name=%s", name);
	return launch(argv, uid, err);
}

static struct outcome out;

static void
run_as(const char *name, uid_t uid, const char *extra)
{
	int err;
	pid_t pid = begin(name, uid, extra, &err);

	finish(pid, err, &out);
}

static void
succeeds(const char *name, uid_t uid, const char *extra)
{
	run_as(name, uid, extra);
	if (out.status != 0 || strstr(out.text, "FAIL") != NULL)
		fail_msg(
		    "%s as %u: status %d\n%s", name, uid, out.status, out.text);
}

static bool
as_root(void)
{
	if (geteuid() != 0)
		print_message("needs root\n");
	return geteuid() == 0;
}

static void
test_root_process_has_every_layer(void **state)
{
	(void)state;
	if (!as_root())
		skip();
	succeeds("life", 0, "--sandbox=strict");
	assert_non_null(strstr(out.text, " missing 0\n"));
}

static void
test_rootless_process_lacks_own_uid_only(void **state)
{
	char lacks[32];

	(void)state;
	succeeds("life", NOBODY, NULL);
	snprintf(lacks, sizeof lacks, " missing %x\n", 1u << LAYER_UID);
	assert_non_null(strstr(out.text, lacks));
	succeeds("life", NOBODY, "--sandbox=strict");
}

static void
test_deaths_are_told_with_cause_and_words(void **state)
{
	(void)state;
	succeeds("deaths", NOBODY, NULL);
	if (as_root())
		succeeds("deaths", 0, NULL);
	assert_non_null(strstr(out.text, "process.exit id=bug role=lane"));
}

static void
test_lying_child_ends_and_others_do_not(void **state)
{
	(void)state;
	succeeds("liars", NOBODY, NULL);
	if (as_root())
		succeeds("liars", 0, NULL);
}

static void
test_policy_refuses_and_names_the_rule(void **state)
{
	char path[64];
	FILE *f;

	(void)state;
	if (!as_root())
		skip();
	succeeds("policy", 0, NULL);
	snprintf(path, sizeof path, "%s/policy", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "# test\nallow udp 127.0.0.0/8:4000-4009\n"
		   "allow listen 127.0.0.1\nallow directory /usr\n");
	fclose(f);
	snprintf(path, sizeof path, "--policy=%s/policy", dir);
	succeeds("policy-file", 0, path);
}

static void
test_unread_answers_stop_the_asker_only(void **state)
{
	(void)state;
	succeeds("flood", NOBODY, NULL);
}

static void
make_stale(uid_t uid)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char path[64];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(
	    un.sun_path, sizeof un.sun_path, "%s/run%u/stale.sock", dir, uid);
	(void)unlink(un.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	assert_int_equal(lchown(un.sun_path, uid, uid), 0);
	fd_close(&fd);
	snprintf(path, sizeof path, "%s/run%u/plain", dir, uid);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	fd_close(&fd);
}

static void
test_stale_socket_goes_and_a_living_one_stays(void **state)
{
	struct stat st;
	char path[64];

	(void)state;
	if (!as_root())
		skip();
	make_stale(0);
	succeeds("sockets", 0, NULL);
	snprintf(path, sizeof path, "%s/run0/stale.sock", dir);
	assert_int_equal(stat(path, &st), -1);
	snprintf(path, sizeof path, "%s/run0/plain", dir);
	assert_int_equal(stat(path, &st), 0);
}

static void
test_term_winds_down_in_order(void **state)
{
	int err;
	pid_t pid;
	char byte = 0;

	(void)state;
	pid = begin("term", NOBODY, NULL, &err);
	assert_int_equal(read(err, &byte, 1), 1); /* launcher.up */
	(void)usleep(50000);
	(void)kill(pid, SIGHUP); /* changes nothing */
	(void)kill(pid, SIGTERM);
	finish(pid, err, &out);
	assert_int_equal(out.status, 0);
	assert_null(strstr(out.text, "FAIL"));
}

static void
test_second_signal_ends_a_stubborn_broker(void **state)
{
	int err;
	pid_t pid;
	char byte;

	(void)state;
	pid = begin("stubborn", NOBODY, NULL, &err);
	assert_int_equal(read(err, &byte, 1), 1);
	(void)usleep(50000);
	(void)kill(pid, SIGTERM);
	(void)usleep(50000);
	(void)kill(pid, SIGINT);
	finish(pid, err, &out);
	assert_int_equal(out.status, 1);
}

static void
test_stubborn_broker_has_three_seconds(void **state)
{
	uint64_t start_ns = sys_mono_ns();
	int err;
	pid_t pid;
	char byte;

	(void)state;
	pid = begin("stubborn", NOBODY, NULL, &err);
	assert_int_equal(read(err, &byte, 1), 1);
	(void)usleep(50000);
	(void)kill(pid, SIGTERM);
	finish(pid, err, &out);
	assert_int_equal(out.status, 1);
	assert_true(sys_mono_ns() - start_ns < UINT64_C(5000000000));
}

static void
test_broker_that_breaks_a_rule_ends(void **state)
{
	static const char *const rules[] = {"length", "long", "two-fds",
	    "four-fds", "fd", "latch-fd", "open-index", "open-kind",
	    "open-kind0", "open-flag", "open-path", "open-addr-len",
	    "open-addr-short", "open-addr-family", "open-addr-path", "open-qmp",
	    "open-slot0", "open-slot", "open-magic", "open-type", "open-answer",
	    "role", "role-high", "id", "no-id", "ring", "signal", "stop-self",
	    "release-self", "quit-code", "latch-twice", "up-twice"};
	char name[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof rules / sizeof *rules; i++) {
		snprintf(name, sizeof name, "break:%s", rules[i]);
		run_as(name, NOBODY, NULL);
		if (out.status != 1 ||
		    strstr(out.text, "process.fault") == NULL)
			fail_msg(
			    "%s: status %d\n%s", name, out.status, out.text);
	}
}

static int
make_programs(void **state)
{
	static const char *const names[] = {
	    "broker", "lane", "dump", "socket", "user"};
	char path[128], built[4096];
	size_t i;

	(void)state;
	if (mkdtemp(dir) == NULL || chmod(dir, 0777) < 0)
		return -1;
	own_dir(built, sizeof built - 32);
	snprintf(built + strlen(built), 32, "/../../bin/bulkheadd");
	snprintf(path, sizeof path, "%s/bulkheadd", dir);
	copy_file(built, path);
	snprintf(path, sizeof path, "%s/libexec", dir);
	if (mkdir(path, 0755) < 0)
		return -1;
	for (i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(
		    path, sizeof path, "%s/libexec/bulkhead-%s", dir, names[i]);
		copy_file("/proc/self/exe", path);
	}
	snprintf(path, sizeof path, "%s/run0", dir);
	(void)mkdir(path, 0750);
	snprintf(path, sizeof path, "%s/run0/link", dir);
	return symlink("/tmp", path);
}

static int
remove_programs(void **state)
{
	char command[64] = "rm";
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		execlp(command, command, "-rf", dir, (char *)NULL);
		_exit(127);
	}
	(void)waitpid(pid, NULL, 0);
	return 0;
}

int
main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash != NULL ? slash + 1 : argv[0];
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_root_process_has_every_layer),
	    cmocka_unit_test(test_rootless_process_lacks_own_uid_only),
	    cmocka_unit_test(test_deaths_are_told_with_cause_and_words),
	    cmocka_unit_test(test_lying_child_ends_and_others_do_not),
	    cmocka_unit_test(test_policy_refuses_and_names_the_rule),
	    cmocka_unit_test(test_unread_answers_stop_the_asker_only),
	    cmocka_unit_test(test_stale_socket_goes_and_a_living_one_stays),
	    cmocka_unit_test(test_term_winds_down_in_order),
	    cmocka_unit_test(test_second_signal_ends_a_stubborn_broker),
	    cmocka_unit_test(test_stubborn_broker_has_three_seconds),
	    cmocka_unit_test(test_broker_that_breaks_a_rule_ends),
	};

	if (strcmp(name, "bulkhead-broker") == 0)
		fake_broker(argc, argv);
	if (strncmp(name, "bulkhead-", 9) == 0)
		return fake_child();
	return cmocka_run_group_tests(tests, make_programs, remove_programs);
}
