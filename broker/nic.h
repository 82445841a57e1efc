/*
 * nic.h - what the broker knows of a guest's network card beside its netdev:
 * address, link, receive filter, what its driver agreed to.
 *
 * A struct nic belongs to the struct life of a netdev of type nic. What its
 * process has told is forgotten when that process dies: the next one starts
 * with a card that takes everything. Runs in the broker.
 */
#ifndef BROKER_NIC_H
#define BROKER_NIC_H

#include "gen/control.h"
#include "proto/err.h"
#include "proto/rx_filter.h"

struct call;
struct life;
struct netdevs;
struct timer;

struct nic {
	struct life *life; /* borrowed: the owner */
	uint64_t mac;
	bool link_up;   /* that the guest should see */
	bool link_told; /* that its process was told last */
	bool armed;     /* the next change is an event */
	/* Of the process that is alive. */
	bool has_filter;
	struct rx_filter filter;
	uint64_t features; /* that the driver agreed to */
	uint32_t pairs;
	unsigned reports;    /* in the present second */
	struct timer *taken; /* owned; pending: nic-taken is due */
};

/*
 * nic_check - judge the options of a card and complete them: model, mac
 * address, numbers. 0, -EINVAL, -ENOSPC or -ENOMEM with *e.
 */
int nic_check(struct netdevs *all, struct netdev *options, struct err *e);

/* nic_mac_parse - a mac address as -net nic takes it. 0 or -EINVAL with *e. */
int nic_mac_parse(const char *text, uint64_t *mac, struct err *e);

/* nic_model - the driver of QEMU that a name stands for, or NULL.
 * nic_model_name - the names themselves, in order; NULL at the end. */
const char *nic_model(const char *name);
const char *nic_model_name(unsigned index);

/* nic_new - for a life whose options are checked. NULL: out of memory. */
struct nic *nic_new(struct life *nd);
void nic_free(struct nic *n);

/* nic_link - the guest is to see this. Told to its process if need be. */
void nic_link(struct nic *n, bool up);

/* nic_forget - its process is gone. */
void nic_forget(struct nic *n);

/* What its process says: 0, or a negative fault. */
int nic_filter_told(
    struct nic *n, const struct rx_filter_state *s, bool changed);
int nic_state_told(struct nic *n, uint64_t features, uint32_t pairs);
int nic_reported(struct nic *n);

/* nic_path - its place in QEMU's tree of objects. */
#define NIC_PATH_BYTES 128
const char *nic_path(
    const char *id, const char *below, char buf[NIC_PATH_BYTES]);

#endif
