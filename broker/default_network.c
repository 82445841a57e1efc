/*
 * default_network.c - the network of a daemon that was asked for none.
 *
 * Runs in: the broker, during start.
 * Trusts: the run directory's name comes from the launcher.
 *
 * The VM ports connect and QEMU listens, not the other way round: stock QEMU
 * 7.2 never connects again by itself, so only this way does a VM's network
 * outlive a restart of ours.
 */
#include "broker/default_network.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* In the order of their making; a netdev before its port. %s: run directory. */
static const char *const parts[] = {
    "user,id=user0",
    "hubport,id=p-user0,hubid=0,netdev=user0",
    "socket,id=vm0,connect=%s/vm0.sock",
    "hubport,id=p-vm0,hubid=0,netdev=vm0",
    "socket,id=vm1,connect=%s/vm1.sock",
    "hubport,id=p-vm1,hubid=0,netdev=vm1",
    "dump,id=dump0,file=%s/capture.pcap",
    "hubport,id=p-dump0,hubid=0,netdev=dump0",
};

/* One part with the directory in its place, commas doubled. */
static void
fill_in(struct text *t, const char *part, const char *run_dir)
{
	const char *hole = strstr(part, "%s");

	if (hole == NULL) {
		text_add_str(t, part);
	} else {
		text_add(t, part, (size_t)(hole - part));
		for (const char *p = run_dir; *p != '\0'; p++)
			text_add_str(t, *p == ',' ? ",," : (char[]){*p, 0});
		text_add_str(t, hole + 2);
	}
	text_add_char(t, '\0');
}

int
default_network(struct net_list *l, const char *run_dir, struct err *err)
{
	struct text t = {0};
	int rc = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == 0;
	     i++) {
		text_clear(&t, SIZE_MAX);
		fill_in(&t, parts[i], run_dir);
		rc = t.failed ? err_set(err, -ENOMEM, "out of memory")
			      : net_option_netdev(l, t.data, err);
	}
	text_free(&t);
	return rc;
}

/* Lines with %D for the run directory. */
static const char guide[] =
    "Bulkhead " BULKHEAD_VERSION
    " is up: hub 0 with user-mode networking (10.0.2.0/24),\n"
    "ports vm0 and vm1 for two VMs, and a capture of every frame.\n"
    "\n"
    "Attach a VM with stock QEMU 7.2 or newer (second VM: vm1.sock, ...:02):\n"
    "  qemu-system-x86_64 ... \\\n"
    "    -netdev stream,id=n0,server=on,addr.type=unix,"
    "addr.path=%D/vm0.sock \\\n"
    "    -device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01\n"
    "\n"
    "Capture  %D/capture.pcap   (tcpdump -nr)\n";

void
default_network_tell(struct text *t, const char *run_dir, const char *qmp)
{
	const char *at = guide;
	const char *hole;

	while ((hole = strstr(at, "%D")) != NULL) {
		text_add(t, at, (size_t)(hole - at));
		text_add_str(t, run_dir);
		at = hole + 2;
	}
	text_add_str(t, at);
	if (qmp != NULL) {
		text_add_str(t, "QMP      ");
		text_add_str(t, qmp);
		text_add_str(t, "   (qmp-shell)\n");
	}
	text_add_str(t, "Stop     Ctrl-C, or QMP {\"execute\": \"quit\"}\n");
}
