/*
 * tap_test.c - options of tap and bridge that do not go together, what is
 * asked of the launcher for them, the kernel's header, flows, and the bridge
 * helper's ACL file.
 */
#include "backends/backend_tap.h"
#include "broker/resources_tap.h"
#include "contrib/bridge-helper/acl.h"
#include "sandbox/policy.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "contrib/bridge-helper/acl.c" /* linked to nothing of ours */

static char a[] = "a", two[] = "a:b", no[] = "no", empty[] = "";
static char path[] = "/bin/up", bridge[] = "br7";

static struct netdev
tap(void)
{
	return (struct netdev){.type = NET_CLIENT_DRIVER_TAP};
}

static void
refused(struct netdev *nd, const char *text)
{
	struct err e;

	assert_true(tap_options_check(nd, &e) < 0);
	assert_non_null(strstr(e.text, text));
}

static void
test_exclusions(void **state)
{
	struct netdev nd = tap();

	(void)state;
	nd.u.tap.fd = a;
	nd.u.tap.has_queues = true;
	nd.u.tap.queues = 1;
	refused(&nd, "are invalid with fd=");
	nd = tap();
	nd.u.tap.fds = two;
	nd.u.tap.vhostfd = a;
	refused(&nd, "and vhostfd= are invalid with fds=");
	nd = tap();
	nd.u.tap.helper = path;
	nd.u.tap.has_vnet_hdr = true;
	refused(&nd, "are invalid with helper=");
	nd = tap();
	nd.u.tap.has_queues = true;
	refused(&nd, "'queues' expects a number from 1 to 8");
	nd = tap();
	nd.u.tap.fds = empty;
	refused(&nd, "'fds' expects 1 to 8 descriptors");
	nd = tap();
	nd.u.tap.has_vhostforce = nd.u.tap.vhostforce = true;
	refused(&nd, "vhost is not available");
}

static struct resources
plan(const struct netdev *nd, size_t count)
{
	struct resources r = {0};
	struct err e;

	assert_int_equal(tap_plan(nd, true, &r, &e), 0);
	assert_int_equal(r.count, count);
	return r;
}

static void
test_queues_come_first_and_scripts_behind(void **state)
{
	struct netdev nd = tap();
	struct resources r;

	(void)state;
	nd.u.tap.ifname = a;
	nd.u.tap.script = path;
	nd.u.tap.has_queues = true;
	nd.u.tap.queues = 3;
	r = plan(&nd, 5);
	assert_int_equal(r.items[2].open.kind, RES_TAP);
	assert_int_equal(r.items[2].open.index, 2);
	assert_int_equal(r.items[2].open.number, LAUNCH_TAP_QUEUES);
	assert_string_equal(r.items[0].open.name, "a");
	assert_int_equal(r.items[3].open.kind, RES_SCRIPT);
	assert_int_equal(r.items[3].open.index, TAP_SCRIPT);
	assert_string_equal(r.items[3].open.path, "/bin/up");
	assert_int_equal(r.items[4].open.kind, RES_DOWNSCRIPT);
	assert_string_equal(r.items[4].open.path, "");
	resources_free(&r);
	nd = tap();
	nd.u.tap.script = no;
	nd.u.tap.downscript = empty;
	r = plan(&nd, 1);
	resources_free(&r);
}

static void
test_helpers(void **state)
{
	struct netdev nd = tap();
	struct resources r;

	(void)state;
	nd.u.tap.helper = path;
	r = plan(&nd, 1);
	assert_int_equal(r.items[0].open.kind, RES_BRIDGE);
	assert_string_equal(r.items[0].open.name, "br0");
	assert_string_equal(r.items[0].open.path, "/bin/up");
	resources_free(&r);
	nd = (struct netdev){.type = NET_CLIENT_DRIVER_BRIDGE};
	nd.u.bridge.br = bridge;
	r = plan(&nd, 1);
	assert_string_equal(r.items[0].open.name, "br7");
	assert_string_equal(r.items[0].open.path, "");
	resources_free(&r);
}

/* --- the kernel's header ---------------------------------------------------
 */

static void
test_header_both_ways(void **state)
{
	struct virtio_net_hdr in = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM | 0x80,
	    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	    .hdr_len = 9999,
	    .gso_size = 1448,
	    .csum_start = 34,
	    .csum_offset = 16};
	uint8_t bytes[3000] = {0};
	struct frame f = {.data = bytes, .len = sizeof bytes};
	struct virtio_net_hdr out;
	struct frame_meta m;

	(void)state;
	assert_int_equal(tap_meta(&in, sizeof bytes, &m), 0);
	assert_int_equal(m.flags, META_NEEDS_CSUM);
	tap_header(&m, &f, &out);
	assert_int_equal(out.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(out.gso_size, 1448);
	assert_int_equal(out.csum_start, 34);
	assert_int_equal(out.csum_offset, 16);
	assert_int_equal(out.hdr_len, 52);
	m = (struct frame_meta){0};
	tap_header(&m, &f, &out);
	assert_memory_equal(&out, &(struct virtio_net_hdr){0}, sizeof out);
}

static void
test_impossible_headers(void **state)
{
	struct virtio_net_hdr h = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	    .csum_start = 60,
	    .csum_offset = 16};
	struct frame_meta m;

	(void)state;
	assert_true(tap_meta(&h, 64, &m) < 0);
	h = (struct virtio_net_hdr){
	    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448};
	assert_true(tap_meta(&h, 3000, &m) < 0);
	h = (struct virtio_net_hdr){.gso_type = 77, .gso_size = 1448};
	assert_true(tap_meta(&h, 3000, &m) < 0);
	/* Numbers that mean nothing without their bits. */
	h = (struct virtio_net_hdr){.csum_start = 9000, .gso_size = 7};
	assert_int_equal(tap_meta(&h, 64, &m), 0);
	assert_true(frame_meta_is_zero(&m));
}

/* --- flows
 * --------------------------------------------------------------------- */

static void
test_a_flow_stays_on_its_queue(void **state)
{
	uint8_t f[64] = {0};
	unsigned seen = 0;
	uint32_t one;

	(void)state;
	f[12] = 8; /* IPv4 */
	f[14] = 0x45;
	f[23] = 6; /* TCP */
	one = tap_flow(f, sizeof f);
	f[18] = 99; /* identification */
	f[60] = 1;  /* data */
	assert_int_equal(tap_flow(f, sizeof f), one);
	for (unsigned port = 0; port < 64; port++) {
		f[35] = (uint8_t)port;
		seen |= 1u << tap_flow(f, sizeof f) % 4;
	}
	assert_int_equal(seen, 15);
	/* A piece of a datagram has no ports. */
	f[21] = 1;
	one = tap_flow(f, sizeof f);
	f[35] = 200;
	assert_int_equal(tap_flow(f, sizeof f), one);
}

static void
test_short_frames_have_a_flow(void **state)
{
	(void)state;
	for (size_t len = 0; len < 80; len++) {
		uint8_t whole[80] = {0}, *f = malloc(len + 1);

		assert_non_null(f);
		whole[12] = len % 2 ? 0x86 : 8;
		whole[13] = len % 2 ? 0xdd : 0;
		whole[14] = 0x4f;
		whole[20] = whole[23] = 17;
		/* Not a byte more than the frame has: a sanitizer watches. */
		memcpy(f, whole, len);
		(void)tap_flow(f, len);
		free(f);
	}
}

/* --- ACL
 * ------------------------------------------------------------------------- */

/* A file with that text; its name is filled in. */
static void
acl_file(char file[static 20], const char *text, size_t len)
{
	int fd;

	(void)snprintf(file, 20, "/tmp/bh-acl-XXXXXX");
	fd = mkstemp(file);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static bool
may_bytes(const char *text, size_t len, const char *name)
{
	struct acl acl = {.bridge = name, .owner = geteuid()};
	char file[20];
	int rc;

	acl_file(file, text, len);
	rc = acl_read(&acl, file);
	unlink(file);
	return rc == 0 && acl.allowed && !acl.denied;
}

static bool
may(const char *text, const char *name)
{
	return may_bytes(text, strlen(text), name);
}

static void
test_acl(void **state)
{
	(void)state;
	assert_true(may("# x\n\nallow br0\n", "br0"));
	assert_false(may("allow br0\n", "br1"));
	assert_true(may("  allow\tall\n", "br1"));
	assert_false(may("deny br1\nallow all\n", "br1"));
	assert_false(may("allow all\ndeny br1\n", "br1"));
	assert_false(may("", "br0"));
	assert_false(may("allow br0\nfoo bar\n", "br0"));
	assert_false(may("allow br0\nallow\n", "br0"));
	assert_true(may("include /nowhere\nallow br0\n", "br0"));
}

/* What a line hides behind its end is not found, so the file says nothing. */
static void
test_acl_of_odd_lines(void **state)
{
	static const char hidden[] = "allow br0\n\0deny br0\nallow br1\n";
	char line[5000];

	(void)state;
	assert_false(may_bytes(hidden, sizeof hidden - 1, "br0"));
	memset(line, '#', sizeof line);
	memcpy(line + 4095, "allow br0\n", 11);
	assert_false(may(line, "br0"));
	assert_true(may("allow br0", "br0")); /* no newline at its end */
}

static void
test_acl_that_includes_itself(void **state)
{
	struct acl acl = {.bridge = "br0", .owner = geteuid()};
	char text[4096] = "", file[20], line[40];
	unsigned n;

	(void)state;
	acl_file(file, "", 0);
	(void)snprintf(line, sizeof line, "include %s\n", file);
	/* Often enough for a long time: 100 lines, 8 deep. */
	for (n = 0; n < 100; n++)
		memcpy(text + n * strlen(line), line, strlen(line) + 1);
	unlink(file);
	n = (unsigned)open(file, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(
	    write((int)n, text, strlen(text)), (ssize_t)strlen(text));
	close((int)n);
	assert_int_equal(acl_read(&acl, file), -1);
	assert_non_null(strstr(acl.error, "too many lines"));
	unlink(file);
}

static void
test_acl_that_others_may_write(void **state)
{
	struct acl acl = {.bridge = "br0", .owner = geteuid()};
	char file[20];

	(void)state;
	acl_file(file, "allow br0\n", 10);
	assert_int_equal(chmod(file, 0666), 0);
	assert_int_equal(acl_read(&acl, file), -1);
	assert_non_null(strstr(acl.error, "others may write"));
	assert_int_equal(chmod(file, 0644), 0);
	assert_int_equal(acl_read(&acl, file), 0);
	/* Another's than root's and ours; root alone can show it. */
	if (chown(file, 12345, 12345) == 0) {
		assert_int_equal(acl_read(&acl, file), -1);
		assert_non_null(strstr(acl.error, "others may write"));
	}
	unlink(file);
}

static void
test_policy_of_names(void **state)
{
	static struct policy p;
	char text[] = "deny interface vm1\nallow interface vm*\n"
		      "allow bridge br0\nallow script /etc/up\n";
	char bad_text[] = "allow interface a*b\n";
	size_t beneath;
	struct err e;

	(void)state;
	assert_int_equal(policy_parse(&p, text, "/run/x", &e), 0);
	assert_true(policy_name(&p, POLICY_INTERFACE, "vm2"));
	assert_false(policy_name(&p, POLICY_INTERFACE, "vm1"));
	assert_false(policy_name(&p, POLICY_INTERFACE, "eth0"));
	assert_true(policy_name(&p, POLICY_BRIDGE, "br0"));
	assert_false(policy_name(&p, POLICY_BRIDGE, "br00"));
	assert_true(policy_path(&p, POLICY_SCRIPT, "/etc/up", &beneath));
	assert_false(policy_path(&p, POLICY_SCRIPT, "/etc/down", &beneath));
	assert_true(policy_parse(&p, bad_text, "/run/x", &e) < 0);
	policy_usual(&p, true, "/run/x");
	assert_true(policy_name(&p, POLICY_INTERFACE, "tap%d"));
	assert_false(policy_name(&p, POLICY_BRIDGE, "br0"));
	assert_false(policy_path(&p, POLICY_SCRIPT, "/etc/up", &beneath));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_exclusions),
	    cmocka_unit_test(test_queues_come_first_and_scripts_behind),
	    cmocka_unit_test(test_helpers),
	    cmocka_unit_test(test_header_both_ways),
	    cmocka_unit_test(test_impossible_headers),
	    cmocka_unit_test(test_a_flow_stays_on_its_queue),
	    cmocka_unit_test(test_short_frames_have_a_flow),
	    cmocka_unit_test(test_policy_of_names),
	    cmocka_unit_test(test_acl),
	    cmocka_unit_test(test_acl_of_odd_lines),
	    cmocka_unit_test(test_acl_that_includes_itself),
	    cmocka_unit_test(test_acl_that_others_may_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
