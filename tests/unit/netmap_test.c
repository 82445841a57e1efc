/*
 * netmap_test.c - names of netmap ports, their opening, and the whole type on a
 * module that the test plays (netmap_double.h).
 */
#include "tests/unit/netmap_double.h"

static void double_map(uint64_t *offset, uint64_t *bytes);
#define confine_map double_map
#include "backends/netmap.c"
#include "sandbox/open_netmap.c"
#undef open

#include "tests/unit/backend_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* --- names --------------------------------------------------------------- */

static void
names_are_taken_apart(void **state)
{
	static const struct {
		const char *text, *name;
		enum netmap_kind kind;
		unsigned mode, ring, mem_id;
	} good[] = {
	    {"netmap:eth0", "eth0", NETMAP_NIC, 1, 0, 0},
	    {"netmap:eth0-3", "eth0", NETMAP_NIC, 4, 3, 0},
	    {"netmap:eth0^", "eth0", NETMAP_NIC, 2, 0, 0},
	    {"netmap:eth0*/x@1", "eth0", NETMAP_NIC, 3, 0, 1},
	    {"netmap:br-lan.7", "br-lan.7", NETMAP_NIC, 1, 0, 0},
	    {"netmap:p{1", "p{1", NETMAP_PIPE, 1, 0, 0},
	    {"netmap:eth0}a_b/x", "eth0}a_b", NETMAP_PIPE, 1, 0, 0},
	    {"vale:1", "vale:1", NETMAP_VALE, 1, 0, 0},
	    {"vale0123456789a:a-b", "vale0123456789a:a-b", NETMAP_VALE, 1, 0,
		0},
	};
	static const char *const bad[] = {"", "eth0", "netmap:", "netmap:/x",
	    "netmap:eth0-", "netmap:eth0-65536", "netmap:eth0/z",
	    "netmap:eth0@", "netmap:eth0^1", "netmap:a/b", "netmap:val0",
	    "netmap:0123456789abcdef", "netmap:p{", "netmap:p{/x", "vale",
	    "vale0", "vale0:", "vale-x:1", "vale0:1{2", "vale0:1^",
	    "vale0123456789ab:1", "vale0:0123456789abcdef", "netmap:eth 0"};
	struct netmap_port p;
	struct err err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(netmap_port_parse(good[i].text, &p, &err), 0);
		assert_string_equal(p.name, good[i].name);
		assert_int_equal(p.kind, good[i].kind);
		assert_int_equal(p.mode, good[i].mode);
		assert_int_equal(p.ring, good[i].ring);
		assert_int_equal(p.mem_id, good[i].mem_id);
	}
	for (i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(netmap_port_parse(bad[i], &p, &err), -EINVAL);
}

/* --- opening ------------------------------------------------------------- */

static struct launcher launcher;

static int
bind_port(const char *device, const char *name, bool is_operator,
    struct resource **r, struct err *err)
{
	static struct launch_open args;
	struct opening o = {.l = &launcher,
	    .slot = &launcher.slots[1],
	    .args = &args,
	    .err = err,
	    .free = is_operator,
	    .given = -1,
	    .fd = -1};
	int rc;

	args.kind = RES_NETMAP;
	snprintf(args.path, sizeof args.path, "%s", device);
	snprintf(args.name, sizeof args.name, "%s", name);
	*r = &launcher.slots[1].resources[0];
	rc = opener_netmap(&o);
	if (rc < 0 && o.fd >= 0) {
		struct dbl_port *p = dbl_of(o.fd);

		(void)close(o.fd);
		if (p)
			p->fd = 0;
		o.fd = -1;
	}
	return rc < 0 ? rc : o.fd;
}

static void
drop_port(int fd)
{
	dbl_end(dbl_of(fd));
	(void)close(fd);
}

static void
says(const char *device, const char *name, const char *text)
{
	struct resource *r;
	struct err err;

	assert_true(bind_port(device, name, true, &r, &err) < 0);
	if (!strstr(err.text, text))
		fail_msg("%s", err.text);
}

static void
opener_binds_and_says_why_not(void **state)
{
	struct resource *r;
	struct err err;
	int fd, turn;

	(void)state;
	for (turn = 0; turn < 2; turn++) {
		dbl_old = turn == 1;
		fd = bind_port(DBL_DEVICE, "vale0:1", true, &r, &err);
		assert_true(fd >= 0);
		assert_int_equal(r->map_offset, DBL_IF_AT);
		assert_int_equal(r->map_bytes, DBL_BYTES);
		says(DBL_DEVICE, "vale0:1", "another has it");
		drop_port(fd);
	}
	dbl_old = false;
	says(DBL_DEVICE, "netmap:eth7", "no such interface");
	says(DBL_DEVICE, "vale9:hdr", "virtio-net headers");
	says("/dev/null", "netmap:eth0", "the device is not netmap's");
	says("/dev/null/x", "netmap:eth0", "could not open /dev/null/x");
	if (access(NETMAP_DEVICE, F_OK) < 0)
		says(NETMAP_DEVICE, "netmap:eth0", "no netmap module");
	/* A client needs a rule, and has no say about the device. */
	policy_usual(&launcher.policy, true, "/run");
	assert_int_equal(
	    bind_port(NETMAP_DEVICE, "netmap:eth0", false, &r, &err), -EPERM);
	assert_non_null(strstr(err.text, "allow netmap netmap:eth0"));
	assert_int_equal(
	    bind_port(DBL_DEVICE, "netmap:eth0", false, &r, &err), -EPERM);
	assert_non_null(strstr(err.text, "command line"));
}

/* --- the type ------------------------------------------------------------ */

struct lab {
	struct kit kit;
	int far_fd; /* another program's port, which the test drives */
	struct nmp_port far;
	uint64_t offset, bytes;
};

static struct lab *current;

static void
double_map(uint64_t *offset, uint64_t *bytes)
{
	*offset = current->offset;
	*bytes = current->bytes;
}

static void
lab_init(struct lab *l, const char *near, const char *far)
{
	struct netdev_netmap_options options = {0};
	char ifname[64];
	struct resource *r;
	struct err err;
	int fd;

	memset(l, 0, sizeof *l);
	current = l;
	kit_init(&l->kit, KIT_RING_BYTES);
	fd = bind_port(DBL_DEVICE, near, true, &r, &err);
	assert_true(fd >= 0);
	l->offset = r->map_offset;
	l->bytes = r->map_bytes;
	l->kit.be.resource[0] = fd;
	snprintf(ifname, sizeof ifname, "%s", near);
	options.ifname = ifname;
	assert_int_equal(kit_open(&l->kit, &options, &err), 0);
	if (!far)
		return;
	l->far_fd = bind_port(DBL_DEVICE, far, true, &r, &err);
	assert_true(l->far_fd >= 0);
	assert_int_equal(nmp_attach(&l->far, dbl_of(l->far_fd)->map, DBL_BYTES,
			     r->map_offset, true, &err),
	    0);
}

static void
lab_fini(struct lab *l)
{
	struct netmap *n = l->kit.be.self;

	dbl_end(dbl_of(n->fd));
	if (l->far_fd > 0)
		drop_port(l->far_fd);
	kit_fini(&l->kit);
}

static void
fill(uint8_t *f, uint32_t len, uint8_t from, uint8_t to, uint8_t seed)
{
	uint32_t i;

	memset(f, 0, 12);
	f[0] = f[6] = 2;
	f[5] = to;
	f[11] = from;
	if (to == 0xff)
		memset(f, 0xff, 6);
	for (i = 12; i < len; i++)
		f[i] = (uint8_t)(seed + i);
}

static size_t
send_one(struct lab *l, uint32_t len, uint8_t to, uint8_t seed)
{
	static uint8_t data[FRAME_BYTES_MAX];
	struct frame f = {.data = data, .len = len};

	fill(data, len, 1, to, seed);
	return netmap_frames(l->kit.be.self, &f, 1);
}

static void
far_sends(struct lab *l, uint32_t len, uint8_t seed)
{
	static uint8_t data[FRAME_BYTES_MAX];

	fill(data, len, 2, 1, seed);
	assert_int_equal(nmp_put(&l->far, data, len), NMP_PUT);
	nmp_publish(&l->far.tx);
	assert_int_equal(dbl_ioctl(l->far_fd, NETMAP_IOC_TXSYNC, 0), 0);
	nmp_load(&l->far.tx);
}

/* What the far port has got: its length, 0 for nothing. */
static uint32_t
far_hears(struct lab *l, uint32_t to, uint8_t seed)
{
	static uint8_t want[FRAME_BYTES_MAX], got[FRAME_BYTES_MAX];
	struct nmp_span span;

	assert_int_equal(dbl_ioctl(l->far_fd, NETMAP_IOC_RXSYNC, 0), 0);
	nmp_load(&l->far.rx[0]);
	if (nmp_next(&l->far.rx[0], &span) != NMP_FRAME)
		return 0;
	assert_true(nmp_copy(&l->far.rx[0], &span, got));
	fill(want, span.len, 1, (uint8_t)to, seed);
	assert_memory_equal(got, want, span.len);
	nmp_drop(&l->far.rx[0], &span);
	nmp_publish(&l->far.rx[0]);
	return span.len;
}

static bool
lane_has(struct kit *k, void *arg)
{
	uint64_t counters[BC_COUNT];

	backend_rings_counters(&k->be, counters);
	return counters[BC_IN_FRAMES] >= *(unsigned *)arg;
}

static void
lane_gets(struct lab *l, unsigned count)
{
	assert_true(kit_until(&l->kit, lane_has, &count));
}

static uint64_t
counted(struct lab *l, enum backend_counter c)
{
	uint64_t counters[BC_COUNT];

	backend_rings_counters(&l->kit.be, counters);
	return counters[c];
}

static void
on_a_switch(void **state)
{
	static const uint32_t lengths[] = {
	    14, 60, 1514, 2048, 2049, 9014, 40000};
	struct lab l;
	unsigned i;

	(void)state;
	lab_init(&l, "vale0:1", "vale0:2");
	for (i = 0; i < 7; i++) {
		assert_int_equal(send_one(&l, lengths[i], 0xff, (uint8_t)i), 1);
		assert_int_equal(far_hears(&l, 0xff, (uint8_t)i), lengths[i]);
	}
	for (i = 0; i < 7; i++) {
		far_sends(&l, lengths[i], (uint8_t)i);
		lane_gets(&l, i + 1);
	}
	/* Learned by now: what is for us does not come back. */
	assert_int_equal(send_one(&l, 60, 2, 9), 1);
	assert_int_equal(far_hears(&l, 2, 9), 60);
	assert_int_equal(counted(&l, BC_IN_BYTES),
	    14 + 60 + 1514 + 2048 + 2049 + 9014 + 40000);
	lab_fini(&l);
}

/* Far more than a ring holds: slots come back, nothing stands still. */
static void
rings_turn(void **state)
{
	struct lab l;
	unsigned i;

	(void)state;
	lab_init(&l, "vale0:1", "vale0:2");
	for (i = 0; i < 400; i++) {
		assert_int_equal(send_one(&l, 3000, 0xff, (uint8_t)i), 1);
		assert_int_equal(far_hears(&l, 0xff, (uint8_t)i), 3000);
		far_sends(&l, 3000, (uint8_t)i);
		lane_gets(&l, i + 1);
	}
	lab_fini(&l);
}

static void
one_sync_for_a_batch(void **state)
{
	static uint8_t data[32][60];
	struct frame f[32];
	struct lab l;
	unsigned i, before;

	(void)state;
	lab_init(&l, "vale0:1", "vale0:2");
	for (i = 0; i < 32; i++) {
		fill(data[i], 60, 1, 0xff, (uint8_t)i);
		f[i] = (struct frame){.data = data[i], .len = 60};
	}
	before = dbl_tx_syncs;
	assert_int_equal(netmap_frames(l.kit.be.self, f, 32), 32);
	assert_int_equal(dbl_tx_syncs, before + 1);
	for (i = 0; i < 32; i++)
		assert_int_equal(far_hears(&l, 0xff, (uint8_t)i), 60);
	lab_fini(&l);
}

static void
on_a_pipe(void **state)
{
	struct lab l;
	unsigned sent = 0, i;

	(void)state;
	lab_init(&l, "netmap:p{1", "netmap:p}1");
	assert_int_equal(send_one(&l, 5000, 2, 3), 1);
	assert_int_equal(far_hears(&l, 2, 3), 5000);
	far_sends(&l, 60, 1);
	lane_gets(&l, 1);
	/* Nobody listens: it holds us, and loses nothing. */
	while (send_one(&l, 60, 2, (uint8_t)sent) == 1)
		assert_true(++sent < 1000);
	assert_true(sent >= DBL_SLOTS - 1);
	for (i = 0; i < sent; i++) {
		if (i == DBL_SLOTS / 2) {
			assert_int_equal(send_one(&l, 60, 2, (uint8_t)sent), 1);
			sent++;
		}
		assert_int_equal(far_hears(&l, 2, (uint8_t)i), 60);
		(void)dbl_ioctl(l.far_fd, NETMAP_IOC_RXSYNC, 0);
		/* What the pipe had no room for is offered again. */
		kit_turn(&l.kit, 1);
	}
	lab_fini(&l);
}

static void
on_a_card(void **state)
{
	static uint8_t data[1514];
	struct dbl_port *p;
	struct netmap *n;
	struct lab l;
	uint16_t len;

	(void)state;
	lab_init(&l, "netmap:eth0", NULL);
	n = l.kit.be.self;
	p = dbl_of(n->fd);
	assert_int_equal(send_one(&l, 1514, 0xff, 1), 1);
	/* A card would send it in pieces. */
	assert_int_equal(send_one(&l, 2049, 0xff, 1), 1);
	memcpy(&len, p->wire, 2);
	assert_int_equal(len, 1514);
	assert_int_equal(p->wired, 1516);
	assert_int_equal(counted(&l, BC_OUT_DROP_SIZE), 1);
	fill(data, 60, 2, 1, 5);
	dbl_arrive(p, data, 60);
	dbl_arrive(p, data, 13);
	dbl_arrive(p, data, 1514);
	lane_gets(&l, 2);
	assert_int_equal(counted(&l, BC_IN_DROP_SIZE), 1);
	lab_fini(&l);
}

static void
port_goes(void **state)
{
	struct netmap *n;
	struct lab l;

	(void)state;
	lab_init(&l, "netmap:eth0", NULL);
	n = l.kit.be.self;
	dbl_of(n->fd)->gone = true;
	assert_int_equal(send_one(&l, 60, 0xff, 1), 1);
	assert_int_equal(loop_run(l.kit.loop), 1);
	lab_fini(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_taken_apart),
	    cmocka_unit_test(opener_binds_and_says_why_not),
	    cmocka_unit_test(on_a_switch),
	    cmocka_unit_test(rings_turn),
	    cmocka_unit_test(one_sync_for_a_batch),
	    cmocka_unit_test(on_a_pipe),
	    cmocka_unit_test(on_a_card),
	    cmocka_unit_test(port_goes),
	};

	return cmocka_run_group_tests_name("netmap", tests, NULL, NULL);
}
