/*
 * launcher_fakes.h - a child that does what its id says, and a broker that
 * does all sorts of things that are right.
 *
 * Both go through the real stages of confinement and the real channel.
 */
#ifndef TESTS_HOSTILE_LAUNCHER_FAKES_H
#define TESTS_HOSTILE_LAUNCHER_FAKES_H

#include "gen/backends.h"
#include "proto/log.h"
#include "proto/ring.h"
#include "sandbox/confine_child.h"
#include "tests/hostile/launcher_kit.h"

#include <linux/capability.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/un.h>

/* --- the fake child --------------------------------------------------- */

static void
fake_lie(const char *id)
{
	struct launch_msg msg = message(LAUNCH_READY, 0);
	int in = STDIN_FILENO;

	if (strcmp(id, "spawns") == 0)
		msg.type = LAUNCH_SPAWN;
	else if (strcmp(id, "crosses") == 0)
		msg.type = LAUNCH_CROSS;
	else if (strcmp(id, "magic") == 0)
		msg.magic++;
	else if (strcmp(id, "unended") == 0)
		memset(msg.result.text, 'x', sizeof msg.result.text);
	else if (strcmp(id, "answers") == 0)
		msg.type = LAUNCH_ATTESTED;
	else if (strcmp(id, "fails-twice") == 0) {
		msg.type = LAUNCH_FAILED;
		post(&msg);
	}
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

/* --- the fake broker: what is right ----------------------------------- */

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
	    {"bug", CLD_KILLED, SIGABRT, "bug launcher_fakes.h"},
	    {"syscall", CLD_KILLED, SIGSYS, ""},
	    {"fails", CLD_EXITED, 1, "no \"room\": No space left on device"},
	};
	size_t i;

	for (i = 0; i < sizeof ends / sizeof *ends; i++) {
		/* A sanitizer's runtime makes an exit of it. */
		if (confine_sanitizer_count > 0 && ends[i].status == SIGSEGV)
			continue;
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
	static const char *const ids[] = {"spawns", "crosses", "magic",
	    "unended", "answers", "short", "empty", "fds", "ready-twice",
	    "fails-twice"};
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

/* Datagrams between paths: joined again and again, but to one peer only. */
static void
unix_datagrams(void)
{
	struct launch_msg msg = open_message(2, 0, RES_UNIX_DGRAM);

	set_unix(&msg.open.local, in_run_dir("o"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EINVAL);
	set_ip(&msg.open.remote, INADDR_LOOPBACK, 4001);
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EINVAL);
	set_unix(&msg.open.remote, "/run/elsewhere.sock");
	expect_refusal(&msg, "allow unix /run");
	set_unix(&msg.open.remote, in_run_dir("t"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	msg.open.again = 1;
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -ENOENT); /* nobody is there */
	set_unix(&msg.open.remote, in_run_dir("other"));
	expect_refusal(&msg, "granted");
	set_unix(&msg.open.remote, in_run_dir("qmp.sock"));
	expect_refusal(&msg, "granted");
	release(2);
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
	expect_refusal(&msg, "without . and ..");
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
	unix_datagrams();
}

/* The role of a backend type. */
static uint32_t
role_of(const char *type)
{
	uint32_t i = 0;

	while (i < backend_entry_count &&
	       strcmp(backend_entries[i].type, type) != 0)
		i++;
	return ROLE_BACKEND + i;
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
	/* Raw IP is a kind of its own: what UDP may, it may not. */
	msg = open_message(1, 4, RES_RAW_IP);
	set_ip(&msg.open.local, INADDR_LOOPBACK, 0);
	set_ip(&msg.open.remote, INADDR_LOOPBACK + 1, 0);
	expect_refusal(&msg, "allow raw-ip 127.0.0.2\"");
	set_ip(&msg.open.remote, INADDR_LOOPBACK, 0);
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	msg = open_message(1, 5, RES_RAW_IP);
	set_ip(&msg.open.remote, INADDR_LOOPBACK, 0);
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EINVAL);
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
	/* No way into the host's network: neither asked for nor just taken. */
	msg = open_message(2, 0, RES_RESOLVER);
	expect_refusal(&msg, "allow network host");
	msg = spawn_message(2, role_of("user"), "user");
	ask(&msg, LAUNCH_SPAWNED);
	EXPECT(got.msg.result.error == -EPERM && got.fd_count == 0);
	/* A permission takes the place of nothing that is open. */
	msg = open_message(1, 0, RES_PERMIT_LISTEN);
	set_ip(&msg.open.local, INADDR_LOOPBACK, 5000);
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == -EEXIST);
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
		if (got.msg.type == LAUNCH_ATTESTED)
			continue; /* our own */
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

/* Many lives and refusals; then the launcher's descriptors are counted. */
static void
scenario_churn(void)
{
	struct launch_msg msg;
	int in = STDIN_FILENO, i;

	for (i = 0; i < 20; i++) {
		msg = open_message(1, 0, RES_STREAM_LISTEN);
		set_unix(&msg.open.local, in_run_dir("churn.sock"));
		ask(&msg, LAUNCH_OPENED);
		EXPECT(got.msg.result.error == 0);
		msg = open_message(1, 1, RES_FD);
		(void)post_raw(&msg, sizeof msg, &in, 1);
		take_type(LAUNCH_OPENED, 1);
		EXPECT(got.msg.result.error == -ENOTSOCK);
		msg = open_message(1, 2, RES_STREAM_CONNECT);
		set_unix(&msg.open.remote, in_run_dir("none.sock"));
		ask(&msg, LAUNCH_OPENED);
		EXPECT(got.msg.result.error == -ENOENT);
		start(1, ROLE_BACKEND, i % 2 ? "good" : "short");
		if (i % 2)
			take_type(LAUNCH_ATTESTED, 1);
		else
			take_type(LAUNCH_EXITED, 1);
		msg = message(LAUNCH_PORT_ASK, 1);
		ask(&msg, LAUNCH_PORT);
		EXPECT(got.fd_count == 3);
		release(1);
	}
	scenario_term();
}

static void
scenario_stubborn(void)
{
	struct launch_msg msg = message(LAUNCH_UP, 0);

	post(&msg);
	for (;;)
		take();
}

#endif
