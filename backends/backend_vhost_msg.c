/*
 * backend_vhost_msg.c - which vhost-user messages can be.
 *
 * Runs in: nic (back-end), vhost-user (front-end).
 * Trusts: nothing of a message but that its size fits into the payload.
 * Specification: vhost-user (QEMU, docs/interop/vhost-user.rst).
 */
#include "backends/backend_vhost.h"

#include "proto/sys.h"

_Static_assert(sizeof(struct vhost_region) == 32, "a region of the wire");
_Static_assert(
    offsetof(union vhost_payload, table.region) == 8, "a table of the wire");
_Static_assert(
    offsetof(union vhost_payload, slot.region) == 8, "a slot of the wire");
_Static_assert(
    offsetof(union vhost_payload, config.data) == 12, "config of the wire");
_Static_assert(
    offsetof(union vhost_payload, addr.log) == 32, "addresses of the wire");

/* A front-end's request: payload bytes and descriptors, both at least and at
 * most; own: it has a reply of its own. */
struct rule {
	const char *name;
	uint16_t least, most;
	uint8_t fds_least, fds_most;
	bool own;
};

#define TABLE_BYTES  (8u + 32u * VHOST_REGIONS_MAX)
#define CONFIG_BYTES (12u + VHOST_CONFIG_BYTES)

static const struct rule rules[] = {
    [VHOST_GET_FEATURES] = {"GET_FEATURES", 0, 0, 0, 0, true},
    [VHOST_SET_FEATURES] = {"SET_FEATURES", 8, 8, 0, 0, false},
    [VHOST_SET_OWNER] = {"SET_OWNER", 0, 0, 0, 0, false},
    [VHOST_RESET_OWNER] = {"RESET_OWNER", 0, 0, 0, 0, false},
    /* User-mode Linux sends 72 bytes with one region. */
    [VHOST_SET_MEM_TABLE] = {"SET_MEM_TABLE", 8, TABLE_BYTES, 0,
	VHOST_REGIONS_MAX, false},
    [VHOST_SET_LOG_BASE] = {"SET_LOG_BASE", 16, 16, 0, 1, false},
    [VHOST_SET_LOG_FD] = {"SET_LOG_FD", 0, 8, 0, 1, false},
    [VHOST_SET_VRING_NUM] = {"SET_VRING_NUM", 8, 8, 0, 0, false},
    [VHOST_SET_VRING_ADDR] = {"SET_VRING_ADDR", 40, 40, 0, 0, false},
    [VHOST_SET_VRING_BASE] = {"SET_VRING_BASE", 8, 8, 0, 0, false},
    [VHOST_GET_VRING_BASE] = {"GET_VRING_BASE", 8, 8, 0, 0, true},
    [VHOST_SET_VRING_KICK] = {"SET_VRING_KICK", 8, 8, 0, 1, false},
    [VHOST_SET_VRING_CALL] = {"SET_VRING_CALL", 8, 8, 0, 1, false},
    [VHOST_SET_VRING_ERR] = {"SET_VRING_ERR", 8, 8, 0, 1, false},
    [VHOST_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", 0, 0, 0, 0, true},
    [VHOST_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", 8, 8, 0, 0,
	false},
    [VHOST_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", 0, 0, 0, 0, true},
    [VHOST_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", 8, 8, 0, 0, false},
    [VHOST_SEND_RARP] = {"SEND_RARP", 8, 8, 0, 0, false},
    [VHOST_NET_SET_MTU] = {"NET_SET_MTU", 8, 8, 0, 0, false},
    [VHOST_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", 0, 8, 1, 1, false},
    [VHOST_GET_CONFIG] = {"GET_CONFIG", 12, CONFIG_BYTES, 0, 0, true},
    [VHOST_SET_CONFIG] = {"SET_CONFIG", 12, CONFIG_BYTES, 0, 0, false},
    [VHOST_RESET_DEVICE] = {"RESET_DEVICE", 0, 0, 0, 0, false},
    [VHOST_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", 0, 0, 0, 0, true},
    [VHOST_ADD_MEM_REG] = {"ADD_MEM_REG", 40, 40, 1, 1, false},
    /* Some send the descriptor once more. */
    [VHOST_REM_MEM_REG] = {"REM_MEM_REG", 40, 40, 0, 1, false},
    [VHOST_SET_STATUS] = {"SET_STATUS", 8, 8, 0, 0, false},
    [VHOST_GET_STATUS] = {"GET_STATUS", 0, 0, 0, 0, true},
};

static const struct rule *
rule_of(uint32_t request)
{
	static const struct rule none;

	if (request >= sizeof rules / sizeof *rules || !rules[request].name)
		return &none;
	return &rules[request];
}

const char *
vhost_request_name(uint32_t request)
{
	return rule_of(request)->name;
}

bool
vhost_request_replies(uint32_t request)
{
	return rule_of(request)->own;
}

/* What is wrong with a whole request, in a few words; NULL: nothing. */
static const char *
request_wrong(const struct vhost_msg *m)
{
	const struct rule *rule = rule_of(m->request);

	if (!rule->name)
		return "is not known here";
	if (m->size < rule->least || m->size > rule->most)
		return "has an impossible size";
	if (m->fd_count < rule->fds_least)
		return "lacks a descriptor";
	if (m->fd_count > rule->fds_most)
		return "has too many descriptors";
	return NULL;
}

/* The same of a reply. */
static const char *
reply_wrong(const struct vhost_msg *m)
{
	if (!rule_of(m->request)->name)
		return "answers nothing that exists";
	if (m->fd_count > 0)
		return "has descriptors";
	/* Nothing at all: the back-end could not. */
	if (m->request == VHOST_GET_CONFIG && m->size != 8)
		return m->size == 0 || m->size >= 12 ? NULL
						     : "has an impossible size";
	return m->size == 8 ? NULL : "has an impossible size";
}

const char *
vhost_msg_wrong(const struct vhost_msg *m, enum vhost_role role)
{
	return role == VHOST_BACKEND ? request_wrong(m) : reply_wrong(m);
}

void
vhost_msg_close(struct vhost_msg *m)
{
	unsigned i;

	for (i = 0; i < m->fd_count; i++)
		fd_close_foreign(&m->fds[i]);
	m->fd_count = 0;
}

int
vhost_msg_take(struct vhost_msg *m, unsigned i)
{
	return i < m->fd_count ? fd_take(&m->fds[i]) : -1;
}
