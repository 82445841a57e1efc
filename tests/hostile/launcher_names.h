/*
 * launcher_names.h - a broker that wants names looked up which policy does not
 * name, and that hopes for a way around policy in what a name means.
 */
#ifndef TESTS_HOSTILE_LAUNCHER_NAMES_H
#define TESTS_HOSTILE_LAUNCHER_NAMES_H

#include "tests/hostile/launcher_fakes.h"

#define NAMES_POLICY                                                           \
	"allow lookup .ok.test\nallow connect 127.0.0.1:4000\n"                \
	"allow connect 127.0.0.3:4000\n"

static struct launch_msg
lookup_message(uint32_t slot, const char *name)
{
	struct launch_msg msg = open_message(slot, 0, RES_LOOKUP);

	snprintf(msg.open.path, LAUNCH_PATH, "%s", name);
	return msg;
}

/* What is connected to may change, if policy has nothing against it. */
static void
other_addresses(void)
{
	struct launch_msg msg = open_message(3, 0, RES_STREAM_CONNECT);

	set_ip(&msg.open.remote, INADDR_LOOPBACK + 1, 4000);
	expect_refusal(&msg, "allow connect 127.0.0.2:4000");
	msg.open.again = 1; /* with nothing that was granted */
	expect_refusal(&msg, "allow connect 127.0.0.2:4000");
	set_ip(&msg.open.remote, INADDR_LOOPBACK, 4000);
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error != -EPERM);
	set_ip(&msg.open.remote, INADDR_LOOPBACK + 1, 4000);
	expect_refusal(&msg, "allow connect 127.0.0.2:4000");
	set_ip(&msg.open.remote, INADDR_LOOPBACK + 2, 4000);
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error != -EPERM);
	set_unix(&msg.open.remote, in_run_dir("x.sock"));
	expect_refusal(&msg, "granted");
	/* Nor does a socket of another sort become one. */
	msg = open_message(3, 1, RES_STREAM_LISTEN);
	set_unix(&msg.open.local, in_run_dir("l.sock"));
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	msg = open_message(3, 1, RES_STREAM_CONNECT);
	msg.open.again = 1;
	set_ip(&msg.open.remote, INADDR_LOOPBACK, 4000);
	expect_refusal(&msg, "granted");
	release(3);
}

static void
scenario_names(void)
{
	struct launch_msg msg;

	/* The command line may look up what it likes, and again. */
	msg = lookup_message(1, "a.bad.test");
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	latch(0);
	msg.open.again = 1;
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	snprintf(msg.open.path, LAUNCH_PATH, "b.bad.test");
	expect_refusal(&msg, "granted");

	msg = lookup_message(2, "a.bad.test");
	expect_refusal(&msg, "policy refuses to look up a.bad.test: add "
			     "\"allow lookup a.bad.test\" to the policy file");
	msg = spawn_message(2, ROLE_RESOLVE, "good");
	ask(&msg, LAUNCH_SPAWNED);
	EXPECT(got.msg.result.error == -EPERM && got.fd_count == 0);
	msg = lookup_message(2, "a.ok.test");
	ask(&msg, LAUNCH_OPENED);
	EXPECT(got.msg.result.error == 0);
	/* That is no leave for others to be in the host's network. */
	msg = spawn_message(2, role_of("user"), "good");
	ask(&msg, LAUNCH_SPAWNED);
	EXPECT(got.msg.result.error == -EPERM && got.fd_count == 0);
	start(2, ROLE_RESOLVE, "good");
	take_type(LAUNCH_ATTESTED, 2);
	EXPECT(got.msg.result.missing == 0 ||
	       got.msg.result.missing == UINT64_C(1) << LAYER_MDWE);
	EXPECT((got.msg.result.layers & UINT64_C(1) << LAYER_NET_NS) == 0);
	release(2);
	release(1);
	other_addresses();
}

#endif
