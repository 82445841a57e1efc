/*
 * backend_nic_ctrl.c - the control queue, and what follows from what a driver
 * agreed to or asked for.
 *
 * Runs in: nic.
 * Trusts: nothing in guest memory: a command is copied, then obeyed.
 * Specification: VIRTIO 1.2, 5.1.6.5; virtio-net-control.md 3 and 5.
 *
 * Drivers wait for the answer in a loop that does nothing else. So commands
 * are obeyed before anything else in a turn, and answered before anybody
 * hears of them; a flood of them leaves room for frames.
 */
#include "backends/backend_nic.h"

#include <endian.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <string.h>

#include "gen/types.h"

/* Commands obeyed in one turn. */
#define TURN_COMMANDS 32u

/* --- what was agreed ------------------------------------------------------ */

void
nic_info(struct nic *n)
{
	const char *model = n->opts->model ? n->opts->model : nic_model_usual;
	char mac[MAC_TEXT_BYTES];

	backend_info(n->be, "model=%s,macaddr=%s,queues=%u", model,
	    mac_text(n->ctrl.filter.mac, mac), n->ctrl.config.pairs);
}

bool
nic_hears_pairs(const struct nic *n)
{
	int ctrl = net_ctrl_queue(&n->ctrl);

	/* Not n->ctrl_vq, which a driver can break. */
	return ctrl < 0 || !net_ctrl_has(&n->ctrl, VIRTIO_NET_F_MQ) ||
	       n->dev.queue[ctrl].mode == VHOST_QUEUE_RUN;
}

unsigned
nic_pairs(const struct nic *n)
{
	return nic_hears_pairs(n) ? n->ctrl.pairs : n->ctrl.config.pairs;
}

/* Where commands do not say it, by the queues that were enabled. */
static unsigned
count_pairs(const struct nic *n)
{
	if (!n->dev.features_acked)
		return 0;
	if ((n->ctrl.told >> VIRTIO_NET_F_MQ & 1) == 0)
		return 1;
	return net_ctrl_has(&n->ctrl, VIRTIO_NET_F_MQ) && nic_hears_pairs(n)
		   ? n->ctrl.pairs
		   : n->tx_count;
}

void
nic_tell_state(struct nic *n)
{
	backend_nic_state(n->be, n->ctrl.told, count_pairs(n));
}

void
nic_agreed(struct nic *n, bool told)
{
	unsigned takes = net_ctrl_takes(&n->ctrl);

	n->head_bytes = net_ctrl_header_bytes(&n->ctrl);
	n->mergeable = net_ctrl_has(&n->ctrl, VIRTIO_NET_F_MRG_RXBUF);
	if (n->small_buffers)
		takes &= OFFLOAD_CSUM;
	if (takes != n->takes)
		backend_takes(n->be, takes);
	n->takes = takes;
	if (!told)
		return;
	nic_sort_queues(n);
	nic_info(n);
	nic_tell_state(n);
	backend_rx_filter(n->be, &n->ctrl.filter, false);
}

void
nic_as_new(struct nic *n)
{
	net_ctrl_reset(&n->ctrl);
	n->small_buffers = false;
	nic_agreed(n, true);
}

/* --- announcing ----------------------------------------------------------- */

void
nic_announce(struct nic *n)
{
	if (!net_ctrl_has(&n->ctrl, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return;
	n->ctrl.announce = true;
	(void)vhost_dev_config_changed(&n->dev);
}

void
nic_rarp(struct nic *n, const uint8_t mac[6])
{
	static const uint8_t all[ETH_ALEN] = {
	    0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct {
		struct ether_header eth;
		struct ether_arp arp;
		uint8_t pad[ETH_ZLEN - sizeof(struct ether_header) -
			    sizeof(struct ether_arp)];
	} __attribute__((packed)) frame = {0};
	uint8_t *room;

	if (!n->ctrl.link_up)
		return;
	memcpy(frame.eth.ether_dhost, all, ETH_ALEN);
	memcpy(frame.eth.ether_shost, mac, ETH_ALEN);
	frame.eth.ether_type = htobe16(ETHERTYPE_REVARP);
	frame.arp.arp_hrd = htobe16(ARPHRD_ETHER);
	frame.arp.arp_pro = htobe16(ETHERTYPE_IP);
	frame.arp.arp_hln = ETH_ALEN;
	frame.arp.arp_pln = 4;
	frame.arp.arp_op = htobe16(ARPOP_RREQUEST);
	memcpy(frame.arp.arp_sha, mac, ETH_ALEN);
	memcpy(frame.arp.arp_tha, mac, ETH_ALEN);
	if (backend_reserve(n->be, sizeof frame, &room) == 0) {
		backend_count(n->be, BC_IN_DROP_FULL, 1);
		return;
	}
	memcpy(room, &frame, sizeof frame);
	backend_commit(n->be, sizeof frame);
	backend_flush(n->be);
}

/* --- the queue ------------------------------------------------------------ */

/* The command's bytes out of the chain; `most` of them. */
static size_t
copy_command(const struct virtq_chain *c, uint8_t *to, size_t most)
{
	size_t done = 0, some;
	uint32_t i;

	for (i = 0; i < c->out_count && done < most; i++) {
		some = c->segment[i].len;
		if (some > most - done)
			some = most - done;
		memcpy(to + done, c->segment[i].base, some);
		done += some;
	}
	return done;
}

/* Effects inside, before the answer. */
static void
take_effect(struct nic *n, enum net_ctrl_event event)
{
	if (event == NET_CTRL_PAIRS)
		nic_sort_queues(n);
	if (event == NET_CTRL_OFFLOADS)
		nic_agreed(n, false);
}

/* One command. False: it has broken the queue. */
static bool
obey_one(struct nic *n, struct vhost_queue *vq, bool *pairs)
{
	static uint8_t command[NET_COMMAND_BYTES_MAX];
	const struct virtq_chain *c = &n->chain;
	enum net_ctrl_event event = NET_CTRL_NOTHING;
	uint8_t ack = VIRTIO_NET_ERR;
	size_t len;

	if (c->out_bytes < sizeof(struct virtio_net_ctrl_hdr) ||
	    c->in_bytes < sizeof ack) {
		virtq_unpop(&vq->q, 1, c->slots);
		vq->q.broken = true;
		vq->q.why = "a control chain without command or answer";
		return false;
	}
	if (c->out_bytes <= sizeof command) {
		len = copy_command(c, command, sizeof command);
		ack = net_ctrl_command(&n->ctrl, command, len, &event);
		take_effect(n, event);
	}
	*pairs |= event == NET_CTRL_PAIRS;
	*c->segment[c->out_count].base = ack;
	virtq_push(&vq->q, c->id, c->slots, sizeof ack);
	if (virtq_flush(&vq->q))
		vhost_queue_call(vq);
	return true;
}

void
nic_ctrl_serve(struct nic *n)
{
	struct vhost_queue *vq = n->ctrl_vq;
	unsigned left = TURN_COMMANDS;
	bool pairs = false;

	n->ctrl_more = false;
	while (vq && left-- > 0) {
		if (virtq_pop(&vq->q, &n->chain) > 0) {
			if (!obey_one(n, vq, &pairs))
				break;
		} else if (vq->q.broken || !virtq_arm(&vq->q)) {
			break;
		}
	}
	if (vq && vq->q.broken) {
		nic_queue_broken(n, vq);
	} else if (vq && left == UINT32_MAX) {
		n->ctrl_more = true;
		nic_again(n);
	}
	if (pairs)
		nic_tell_state(n);
	if (n->ctrl.filter_changed) {
		n->ctrl.filter_changed = false;
		nic_info(n);
		backend_rx_filter(n->be, &n->ctrl.filter, true);
	}
}
