/*
 * core_children.h - what the fake lanes and backends of core_kit.h do with the
 * messages of the broker. Part of core_kit.h, included by it.
 */
#ifndef TESTS_CORE_CHILDREN_H
#define TESTS_CORE_CHILDREN_H

/* --- what lanes do --- */

int
lane_on_ping(void *self, uint32_t seq, const struct ctl_ping *m)
{
	const struct ctl_pong pong = {0};
	struct child *c = self;

	(void)m;
	(void)ctl_send_pong(c->chan, seq, &pong);
	return 0;
}

int
lane_on_stop(void *self, uint32_t seq, const struct ctl_stop *m)
{
	struct child *c = self;

	(void)seq;
	(void)m;
	for (uint32_t p = 0; p < KIT_PORTS; p++)
		assert_int_equal(c->attached[p], 0);
	if (c->fate != FATE_IGNORES_STOP)
		child_doom(c);
	return 0;
}

int
lane_on_attach(void *self, uint32_t seq, const struct ctl_attach *m, int *fds)
{
	const struct port *port = kit_core->islands->ports[m->port];
	struct child *c = self;

	(void)seq;
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	assert_int_equal(places[m->port].lane, 0);
	assert_int_equal(places[m->port].epoch, m->epoch);
	assert_int_equal(c->attached[m->port], 0);
	/* A live port that moves is in the new plan only when it is here. */
	if (places[m->port].was_in == m->epoch && port && port->live != 0)
		assert_false(c->planned[m->port]);
	places[m->port].was_in = m->epoch;
	c->attached[m->port] = m->epoch;
	places[m->port].lane = c->slot;
	if (c->fate == FATE_DIES_AT_ATTACH)
		child_doom(c);
	if (c->fate == FATE_GARBAGE)
		(void)chan_send(c->chan, "\xc1", 1, NULL, 0);
	return 0;
}

int
lane_on_detach(void *self, uint32_t seq, const struct ctl_detach *m)
{
	struct child *c = self;
	uint64_t counters[LC_COUNT] = {[LC_RX_DROP_DEAD] = 1};
	struct ctl_detached d = {.port = m->port,
	    .epoch = m->epoch,
	    .counters = {LC_COUNT, counters}};

	assert_int_equal(c->attached[m->port], m->epoch);
	c->filter_mac[m->port] = 0;
	if (c->viewing[m->port])
		child_abandons(c);
	/* A port that moves is out of the plan first. */
	if (!m->dead)
		assert_false(c->planned[m->port]);
	if (c->fate == FATE_DIES_AT_DETACH)
		child_doom(c);
	if (c->fate == FATE_HANGS_AT_DETACH || c->deaf)
		return 0;
	c->attached[m->port] = 0;
	places[m->port].lane = 0;
	(void)ctl_send_detached(c->chan, seq, &d);
	return 0;
}

int
lane_on_port_filter(void *self, uint32_t seq, const struct ctl_port_filter *m)
{
	struct child *c = self;
	struct rx_filter f = {0};

	(void)seq;
	/* It comes between attach and detach of that epoch. */
	assert_int_equal(c->attached[m->port], m->epoch);
	c->filter_mac[m->port] = 0;
	if (!m->filter)
		return 0;
	assert_int_equal(filter_state_to(&f, m->filter), 0);
	assert_true(f.known && !f.promisc);
	c->filter_mac[m->port] = f.mac;
	if (c->viewing[m->port])
		child_abandons(c);
	return 0;
}

int
lane_on_plan(void *self, uint32_t seq, const struct ctl_plan *m)
{
	struct child *c = self;

	(void)seq;
	child_abandons(c);
	memset(c->planned, 0, sizeof c->planned);
	for (size_t k = 0; k < m->ports.count; k++)
		c->planned[m->ports.items[k].port] = true;
	return 0;
}

int
lane_on_lane_stats_ask(
    void *self, uint32_t seq, const struct ctl_lane_stats_ask *m)
{
	struct child *c = self;
	uint64_t counters[LC_COUNT] = {[LC_RX_DROP_DEAD] = 1};
	struct lane_port p = {
	    .port = m->port, .counters = {LC_COUNT, counters}};
	struct ctl_lane_stats s = {.ports = {1, &p}};

	(void)ctl_send_lane_stats(c->chan, seq, &s);
	return 0;
}

/* --- what backends do --- */

int
backend_on_configure(void *self, uint32_t seq, const struct ctl_configure *m)
{
	struct child *c = self;
	struct ctl_ready r = {.connected = !kit_alone};

	assert_int_equal(m->epoch, c->epoch);
	kit_reconnect_ms = m->has_reconnect_ms ? (int64_t)m->reconnect_ms : -1;
	assert_int_equal(
	    m->has_link_up, m->netdev.type == NET_CLIENT_DRIVER_NIC);
	c->link_up = m->link_up;
	if (c->fate == FATE_DIES_CONFIGURED) {
		child_doom(c);
		return 0;
	}
	if (c->fate == FATE_NEVER_READY)
		return 0;
	if (c->fate == FATE_REFUSES)
		r.error = text("these options are wrong");
	(void)ctl_send_ready(c->chan, seq, &r);
	if (c->fate == FATE_GARBAGE)
		(void)chan_send(c->chan, "\xc1", 1, NULL, 0);
	return 0;
}

int
backend_on_connection(
    void *self, uint32_t seq, const struct ctl_connection *m, int *fds)
{
	(void)self;
	(void)seq;
	assert_int_equal(fds[0] < 0, m->error != NULL);
	if (fds[0] >= 0)
		close(fds[0]);
	return 0;
}

int
backend_on_ping(void *self, uint32_t seq, const struct ctl_ping *m)
{
	const struct ctl_pong pong = {0};
	struct child *c = self;

	(void)m;
	(void)ctl_send_pong(c->chan, seq, &pong);
	return 0;
}

int
backend_on_stop(void *self, uint32_t seq, const struct ctl_stop *m)
{
	struct child *c = self;

	(void)seq;
	(void)m;
	/* Its port has left the lane before. */
	assert_int_equal(places[c->slot].lane, 0);
	/* And nothing comes to it past the lane. */
	assert_true(c->cross == 0 || c->parted || c->ended);
	if (c->fate != FATE_IGNORES_STOP)
		child_doom(c);
	return 0;
}

int
backend_on_backend_stats_ask(
    void *self, uint32_t seq, const struct ctl_backend_stats_ask *m)
{
	uint64_t counters[BC_COUNT] = {0};
	struct ctl_backend_stats s = {.counters = {BC_COUNT, counters}};
	struct child *c = self;

	(void)m;
	if (c->cross != 0)
		s.cross = &c->cross_counts;
	(void)ctl_send_backend_stats(c->chan, seq, &s);
	return 0;
}

int
backend_on_cross(void *self, uint32_t seq, const struct ctl_cross *m, int *fds)
{
	struct child *c = self;
	struct ctl_crossed answer = {.serial = m->serial};
	struct ctl_cross_trouble t = {.serial = m->serial,
	    .stalled = c->fate == FATE_CROSS_STALLS,
	    .reason = text("just so")};

	for (int i = 0; i < 3; i++)
		close(fds[i]);
	/* One at a time, and its port is in the lane. */
	assert_int_equal(c->cross, 0);
	assert_int_not_equal(m->serial, 0);
	c->crosses++;
	c->own_bytes = m->own_bytes;
	c->peer_bytes = m->peer_bytes;
	if (c->fate == FATE_CROSS_FAILS)
		answer.error = text("no memory");
	else
		c->cross = m->serial;
	c->parted = c->ended = c->ended_dead = false;
	c->cross_counts.serial = m->serial;
	if (c->fate != FATE_CROSS_SILENT)
		(void)ctl_send_crossed(c->chan, seq, &answer);
	if (c->fate == FATE_CROSS_STALLS || c->fate == FATE_CROSS_ACCUSES)
		(void)ctl_send_cross_trouble(c->chan, 0, &t);
	return 0;
}

int
backend_on_uncross(void *self, uint32_t seq, const struct ctl_uncross *m)
{
	const struct ctl_uncrossed answer = {.serial = m->serial};
	struct child *c = self;

	if (c->cross == m->serial) {
		assert_false(c->parted);
		assert_false(c->ended);
		c->parted = true;
	}
	if (c->fate != FATE_UNCROSS_SILENT && c->fate != FATE_CROSS_SILENT)
		(void)ctl_send_uncrossed(c->chan, seq, &answer);
	return 0;
}

/* What it was given is read in no time. */
static void
child_ended(struct child *c)
{
	const struct ctl_cross_ended m = {.counts = c->cross_counts};

	c->cross = 0;
	(void)ctl_send_cross_ended(c->chan, 0, &m);
}

int
backend_on_cross_end(void *self, uint32_t seq, const struct ctl_cross_end *m)
{
	struct child *c = self;

	(void)seq;
	if (c->cross != m->serial)
		return 0;
	/* Once, and once more when the other is gone. */
	assert_false(c->ended_dead);
	assert_true(!c->ended || m->dead);
	c->ended = true;
	c->ended_dead = m->dead;
	if (c->fate != FATE_UNCROSS_SILENT && c->fate != FATE_CROSS_SILENT &&
	    (m->dead || c->fate != FATE_NEVER_ENDS))
		child_ended(c);
	return 0;
}

int
backend_on_link(void *self, uint32_t seq, const struct ctl_link *m)
{
	struct child *c = self;

	(void)seq;
	/* Only changes are told. */
	assert_int_not_equal(c->link_up, m->up);
	c->link_up = m->up;
	c->links++;
	return 0;
}

int
backend_on_nic_taken(void *self, uint32_t seq, const struct ctl_nic_taken *m)
{
	struct child *c = self;

	(void)seq;
	(void)m;
	c->taken++;
	return 0;
}

int
backend_on_rx_filter_ask(
    void *self, uint32_t seq, const struct ctl_rx_filter_ask *m)
{
	struct child *c = self;
	struct ctl_rx_filter_state answer = {.changed = c->changed};

	(void)m;
	c->asked++;
	if (c->mute)
		return 0;
	c->changed = false;
	filter_state_from(&answer.filter, &c->state);
	(void)ctl_send_rx_filter_state(c->chan, seq, &answer);
	return 0;
}

#endif
