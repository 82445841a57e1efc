/*
 * core_nic_test.c - network cards in the broker's core: options, peers, the
 * link that the guest sees, device_add, query-nics. With the fakes of
 * core_kit.h.
 */
#include "tests/unit/core_nic_kit.h"

/* --- options --- */

static void
refuse(struct netdev nd, const char *words)
{
	size_t slots = slot_count(kit_core->launch);
	struct answer a;

	add(&nd, &a);
	assert_refused(&a, words);
	assert_int_equal(slot_count(kit_core->launch), slots);
	assert_int_equal(graph_find(&kit_core->graph, nd.id), GRAPH_NONE);
}

static void
test_options_that_make_no_sense_are_refused(void **state)
{
	struct netdev nd = nic("n", NULL);

	(void)state;
	kit_start(NULL);
	add_socket("u");
	add_hubport("p", 0, "u");
	refuse(nic("n", "zz"), "netdev 'zz' not found");
	refuse(nic("n", "n"), "netdev 'n' not found");
	refuse(nic("n", "u"), "netdev 'u' is already connected to 'p'");
	nd.u.nic.model = text("e1000");
	refuse(nd, "Unsupported NIC model: e1000 (there are: virtio, "
		   "virtio-net, virtio-net-pci, virtio-net-pci-transitional, "
		   "virtio-net-pci-non-transitional, virtio-net-device)");
	nd = nic("n", NULL);
	nd.u.nic.has_queues = true;
	nd.u.nic.queues = 17;
	refuse(nd, "Parameter 'queues' expects a number from 1 to 16");
	nd = nic("n", NULL);
	nd.u.nic.has_mtu = true;
	nd.u.nic.mtu = 67;
	refuse(nd, "Parameter 'mtu' expects a number from 68 to 65535");
	nd = nic("n", NULL);
	nd.u.nic.has_vectors = true;
	nd.u.nic.vectors = 0x8000000;
	refuse(nd, "invalid # of vectors: 134217728");
	nd = nic("n", NULL);
	nd.u.nic.addr = text("20.1");
	refuse(nd, "Invalid PCI device address 20.1 for device virtio-net-pci");
	nd = nic("n", NULL);
	nd.u.nic.chardev = text("c");
	refuse(nd, "chardev= and path= exclude each other: a card has one "
		   "socket");
	kit_end();
}

static void
test_addresses_are_read_as_qemu_reads_them(void **state)
{
	static const struct {
		const char *text;
		uint64_t mac;
	} good[] = {
	    {"52:54:00:ab:cd:ef", 0x525400abcdef},
	    {"52-54-00-AB-CD-EF", 0x525400abcdef},
	    {"2:4:6:8:a:c", 0x020406080a0c},
	    {"123456", 0x01e240},
	    {"0x10", 0x10},
	    {"0:0:0:0:0:fff", 0xff},
	    {" 02:00:00:00:00:01", 0x020000000001},
	    {"0", 0},
	};
	static const char *const bad[] = {"", "x", "52:54:00:12:34",
	    "52:54:00:12:34:56:78", "52.54.00.12.34.56", "16777216", "-1",
	    "52:54:00:12:34:", "52:54:00:12:34:56 "};
	struct err e;
	uint64_t mac;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(nic_mac_parse(good[i].text, &mac, &e), 0);
		assert_int_equal(mac, good[i].mac);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(nic_mac_parse(bad[i], &mac, &e), -EINVAL);
		assert_string_equal(
		    e.text, "invalid syntax for ethernet address");
	}
	assert_int_equal(nic_mac_parse("1:0:0:0:0:0", &mac, &e), -EINVAL);
	assert_string_equal(
	    e.text, "NIC cannot have multicast MAC address (odd 1st byte)");
}

static void
test_default_addresses_come_from_a_pool(void **state)
{
	struct netdev nd = nic("c", NULL);
	struct answer a;

	(void)state;
	kit_start(NULL);
	add_nic("a", NULL);
	add_nic("b", NULL);
	assert_string_equal(mac_of("a"), "52:54:00:12:34:56");
	assert_string_equal(mac_of("b"), "52:54:00:12:34:57");
	nd.u.nic.macaddr = text("52-54-0-12-34-58");
	add(&nd, &a);
	assert_ok(&a);
	assert_string_equal(mac_of("c"), "52:54:00:12:34:58");
	/* The same again is the operator's affair. */
	nd.id = text("d");
	add(&nd, &a);
	assert_ok(&a);
	add_nic("e", NULL);
	assert_string_equal(mac_of("e"), "52:54:00:12:34:59");
	del("a");
	add_nic("f", NULL);
	assert_string_equal(mac_of("f"), "52:54:00:12:34:56");
	kit_end();
}

static void
test_the_pool_of_addresses_ends(void **state)
{
	struct netdev nd;
	struct answer a;
	char id[16];

	(void)state;
	kit_start(NULL);
	for (int i = 0; i < 0xff - 0x56; i++) {
		(void)snprintf(id, sizeof id, "n%d", i);
		nd = nic(id, NULL);
		core_netdev_add(kit_core, &nd, told, &a);
	}
	assert_string_equal(mac_of(id), "52:54:00:12:34:fe");
	memset(&a, 0, sizeof a);
	nd = nic("last", NULL);
	core_netdev_add(kit_core, &nd, told, &a);
	assert_refused(
	    &a, "no default address is left for 'last': give macaddr=");
	kit_end();
}

/* --- peers and links --- */

static bool
sees_link(const char *id)
{
	const struct child *c = kit_child(id);

	assert_non_null(c);
	assert_int_equal(c->link_up, life_of(id)->nic->link_up);
	return c->link_up;
}

static void
test_a_card_joined_to_a_netdev_is_in_its_lane(void **state)
{
	(void)state;
	kit_start(NULL);
	add_socket("u");
	add_nic("n", "u");
	assert_ptr_equal(kit_lane_of("u"), kit_lane_of("n"));
	assert_true(kit_lane_of("n")->planned[life_of("n")->slot]);
	assert_true(sees_link("n"));
	assert_int_equal(kit_child("n")->links, 0);
	del("u");
	assert_false(sees_link("n"));
	assert_non_null(kit_lane_of("n"));
	kit_end();
}

static void
test_the_guest_sees_both_ends_of_its_link(void **state)
{
	(void)state;
	kit_start(NULL);
	add_nic("n", NULL);
	assert_false(sees_link("n"));
	add_hubport("p", 0, "n");
	assert_true(sees_link("n"));
	set_link("n", false);
	assert_false(sees_link("n"));
	set_link("p", false);
	set_link("n", true);
	assert_false(sees_link("n"));
	set_link("p", true);
	assert_true(sees_link("n"));
	/* The next process starts with what is so then. */
	set_link("p", false);
	child_die(kit_child("n"));
	kit_settle(5 * KIT_SECOND);
	assert_false(sees_link("n"));
	assert_int_equal(kit_child("n")->links, 0);
	del("p");
	assert_false(sees_link("n"));
	add_hubport("p", 0, "n");
	assert_true(sees_link("n"));
	assert_int_equal(kit_child("n")->links, 1);
	kit_end();
}

static void
test_a_card_that_does_not_start_leaves_its_peer_free(void **state)
{
	struct netdev nd = nic("n", "u");
	struct answer a;

	(void)state;
	kit_start(NULL);
	add_socket("u");
	kit_open_error = -EPERM;
	add(&nd, &a);
	assert_refused(&a, "cannot open");
	kit_open_error = 0;
	add_nic("m", "u");
	assert_true(sees_link("m"));
	assert_int_equal(kit_events[EVENT_DEVICE_DELETED], 0);
	kit_end();
}

/* --- device_add and device_del --- */

static void
device(struct nic_device *dev, struct answer *a)
{
	memset(a, 0, sizeof *a);
	core_device_add(kit_core, dev, told, a);
	kit_settle(0);
}

static void
refuse_device(struct nic_device dev, const char *words)
{
	struct answer a;

	device(&dev, &a);
	assert_refused(&a, words);
}

static void
test_device_add_speaks_as_qemu(void **state)
{
	struct nic_device dev = {.driver = text("virtio-net-pci"),
	    .id = text("n0"),
	    .netdev = text("u"),
	    .mac = text("52:54:00:00:00:01"),
	    .path = text("/n0.sock"),
	    .has_host_mtu = true,
	    .host_mtu = 9000,
	    .has_ctrl_vq = true};
	struct answer a;

	(void)state;
	kit_start(NULL);
	add_socket("u");
	add_socket("v");
	device(&dev, &a);
	assert_ok(&a);
	assert_string_equal(mac_of("n0"), "52:54:00:00:00:01");
	assert_int_equal(life_of("n0")->options.u.nic.mtu, 9000);
	assert_true(life_of("n0")->options.u.nic.has_ctrl_vq);
	assert_false(life_of("n0")->options.u.nic.ctrl_vq);
	assert_false(life_of("n0")->options.u.nic.has_csum);
	refuse_device(dev, "Duplicate device ID 'n0'");
	dev.id = NULL;
	refuse_device(dev,
	    "Property 'virtio-net-pci.netdev' can't take value 'u', it's in "
	    "use");
	dev.netdev = text("zz");
	refuse_device(
	    dev, "Property 'virtio-net-pci.netdev' can't find value 'zz'");
	dev.netdev = text("v");
	dev.mac = text("1:2:3:4:5:6");
	refuse_device(dev,
	    "Property 'virtio-net-pci.mac' doesn't take value '1:2:3:4:5:6'");
	dev.mac = NULL;
	dev.driver = text("zz");
	refuse_device(dev,
	    "'zz' is not a valid device model name (there are: virtio-net, "
	    "virtio-net-pci, virtio-net-pci-transitional, "
	    "virtio-net-pci-non-transitional, virtio-net-device)");
	dev.driver = text("virtio-net-device");
	device(&dev, &a);
	assert_ok(&a);
	assert_non_null(
	    netdev_by_id(&kit_core->netdevs, "virtio-net-device.0"));
	kit_end();
}

static void
test_device_del_answers_before_the_end(void **state)
{
	struct err e;

	(void)state;
	kit_start(NULL);
	add_socket("u");
	add_nic("n", "u");
	assert_int_equal(core_device_del(kit_core, "zz", &e), -ENODEV);
	assert_string_equal(e.text, "Device 'zz' not found");
	assert_int_equal(core_device_del(kit_core, "u", &e), -ENODEV);
	assert_int_equal(core_device_del(kit_core, "n", &e), 0);
	assert_int_equal(kit_events[EVENT_DEVICE_DELETED], 0);
	assert_int_equal(core_device_del(kit_core, "n", &e), -ENODEV);
	kit_settle(0);
	assert_int_equal(kit_events[EVENT_DEVICE_DELETED], 1);
	assert_int_equal(graph_find(&kit_core->graph, "n"), GRAPH_NONE);
	add_nic("n", "u");
	kit_end();
}

/* --- query-nics --- */

static json_t *
nics(uint64_t memory, struct call *c)
{
	const struct query_nics_args args = {
	    .has_memory = memory != 0, .memory = memory};

	memset(c, 0, sizeof *c);
	cmd_query_nics(c, &args);
	assert_int_equal(c->told, 1);
	return c->failed ? NULL : json_loads(c->json, 0, NULL);
}

static void
assert_words(json_t *one, const char *program, const char *want)
{
	json_t *list =
	    json_object_get(json_object_get(one, "arguments"), program);
	char joined[1024] = "";
	size_t len = 0;
	json_t *w;
	size_t i;

	json_array_foreach(list, i, w)
	{
		len += (size_t)snprintf(joined + len, sizeof joined - len,
		    "%s%s", i > 0 ? " " : "", json_string_value(w));
		assert_true(len < sizeof joined);
	}
	assert_string_equal(joined, want);
}

static void
test_query_nics_says_what_to_write(void **state)
{
	struct netdev nd = nic("n1", NULL);
	struct answer a;
	struct call c;
	json_t *all, *one;

	(void)state;
	kit_start(NULL);
	add_socket("u");
	add_nic("n", "u");
	nd.u.nic.has_queues = true;
	nd.u.nic.queues = 2;
	nd.u.nic.has_vectors = true;
	nd.u.nic.vectors = 6;
	nd.u.nic.addr = text("4");
	nd.u.nic.has_mtu = true;
	nd.u.nic.mtu = 9000;
	nd.u.nic.path = text("/a,b");
	nd.u.nic.macaddr = text("2:0:0:0:0:1");
	add(&nd, &a);
	assert_ok(&a);
	all = nics(512 << 20, &c);
	one = json_array_get(all, 0);
	assert_words(one, "qemu",
	    "-m 512M -object "
	    "memory-backend-memfd,id=shared,size=512M,share=on -machine "
	    "memory-backend=shared -chardev "
	    "socket,id=chr-n,path=/x.sock,reconnect=1 -netdev "
	    "vhost-user,id=net-n,chardev=chr-n -device "
	    "virtio-net-pci,netdev=net-n,mac=52:54:00:12:34:56,vectors=0");
	assert_words(one, "cloud-hypervisor",
	    "--memory size=512M,shared=on --net "
	    "vhost_user=true,socket=/x.sock,mac=52:54:00:12:34:56,"
	    "num_queues=2");
	assert_words(one, "uml", "virtio_uml.device=/x.sock:1");
	assert_string_equal(
	    json_string_value(json_object_get(one, "peer")), "u");
	assert_true(json_is_true(json_object_get(one, "link-up")));
	one = json_array_get(all, 1);
	assert_words(one, "qemu",
	    "-m 512M -object "
	    "memory-backend-memfd,id=shared,size=512M,share=on -machine "
	    "memory-backend=shared -chardev "
	    "socket,id=chr-n1,path=/a,,b,reconnect=1 -netdev "
	    "vhost-user,id=net-n1,chardev=chr-n1,queues=2 -device "
	    "virtio-net-pci,netdev=net-n1,mac=02:00:00:00:00:01,addr=4,"
	    "vectors=6,mq=on,host_mtu=9000");
	assert_words(one, "cloud-hypervisor", "");
	assert_words(one, "uml", "virtio_uml.device=/a,b:1");
	query_end(all, &c);
	assert_null(nics((512 << 20) + 1, &c));
	assert_string_equal(
	    c.e.text, "Parameter 'memory' expects a multiple of 1 MiB");
	kit_end();
}

static void
test_relative_paths_are_told_whole(void **state)
{
	static const struct {
		const char *dir, *path, *told;
	} cases[] = {
	    {"/vm", "a/n.sock", "/vm/a/n.sock"},
	    {"/vm", "n.sock", "/vm/n.sock"},
	    {"/vm", "./n.sock", "/vm/n.sock"},
	    /* A path is a path, whatever it looks like. */
	    {"/vm", "@n", "/vm/@n"},
	    {"/vm", ".n", "/vm/.n"},
	    {"/vm", "../n", "/vm/../n"},
	    {"/vm", "unix=1.2.3.4", "/vm/unix=1.2.3.4"},
	    {NULL, "a/n.sock", "./a/n.sock"},
	    {"/vm", "/n.sock", "/n.sock"},
	};
	struct netdev nd = nic("n", NULL);
	struct answer a;
	struct call c;
	json_t *all, *one;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char uml[64];

		kit_start(NULL);
		core_dirs(kit_core, "/run", cases[i].dir);
		nd.u.nic.path = text(cases[i].path);
		add(&nd, &a);
		assert_ok(&a);
		all = nics(512 << 20, &c);
		one = json_array_get(all, 0);
		assert_string_equal(
		    json_string_value(json_object_get(one, "path")),
		    cases[i].told);
		snprintf(
		    uml, sizeof uml, "virtio_uml.device=%s:1", cases[i].told);
		assert_words(one, "uml", uml);
		query_end(all, &c);
		kit_end();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_options_that_make_no_sense_are_refused),
	    cmocka_unit_test(test_addresses_are_read_as_qemu_reads_them),
	    cmocka_unit_test(test_default_addresses_come_from_a_pool),
	    cmocka_unit_test(test_the_pool_of_addresses_ends),
	    cmocka_unit_test(test_a_card_joined_to_a_netdev_is_in_its_lane),
	    cmocka_unit_test(test_the_guest_sees_both_ends_of_its_link),
	    cmocka_unit_test(
		test_a_card_that_does_not_start_leaves_its_peer_free),
	    cmocka_unit_test(test_device_add_speaks_as_qemu),
	    cmocka_unit_test(test_device_del_answers_before_the_end),
	    cmocka_unit_test(test_query_nics_says_what_to_write),
	    cmocka_unit_test(test_relative_paths_are_told_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
