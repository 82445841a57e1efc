/*
 * nic_option.c - the text of -nic becomes a netdev and its card.
 *
 * Runs in: the broker, during start.
 * Trusts: the operator, but not that the text is well-formed.
 * Specification: QEMU's qemu-options.hx for -nic: without a type it is `user`,
 *   "model" and "mac" are the card's, all else is the netdev's.
 *
 * Generated names: the card of netdev X is "X-nic". Without id= the N-th -nic
 * makes card "nicN" and netdev "nicN-user", N from 0.
 */
#include "broker/nic_option.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Cards by -nic: as many as QEMU has slots for. */
#define SLOTS_MAX 8u
/* Of the parts from which a name is made. */
#define NAME_BYTES 64u

/* A value as it stands in the text, commas doubled; `at` is borrowed. */
struct value {
	const char *at; /* NULL: not given */
	size_t len;
};

struct words {
	struct value type, id, model, mac;
	struct text rest; /* ",KEY=VALUE..." of the netdev */
};

static bool
value_is(const struct value *v, const char *text)
{
	return v->at != NULL && v->len == strlen(text) &&
	       memcmp(v->at, text, v->len) == 0;
}

/* Is it "KEY=..."? Then the value, which replaces an earlier one. */
static bool
take_key(struct value *v, const char *item, size_t item_len, const char *key)
{
	size_t len = strlen(key);

	if (item_len <= len || memcmp(item, key, len) != 0 || item[len] != '=')
		return false;
	*v = (struct value){item + len + 1, item_len - len - 1};
	return true;
}

/* The text's items; `rest` is to be freed. */
static void
split(struct words *w, const char *arg)
{
	const char *at = arg;
	const char *item;
	size_t len = 0;

	while ((item = net_option_item(&at, &len)) != NULL) {
		if (item == arg && memchr(item, '=', len) == NULL) {
			w->type = (struct value){item, len};
		} else if (!take_key(&w->type, item, len, "type") &&
			   !take_key(&w->id, item, len, "id") &&
			   !take_key(&w->model, item, len, "model") &&
			   !take_key(&w->mac, item, len, "mac")) {
			text_add_char(&w->rest, ',');
			text_add(&w->rest, item, len);
		}
	}
	if (w->type.at == NULL)
		w->type = (struct value){"user", 4};
}

bool
nic_option_asks_models(const char *arg)
{
	struct words w = {0};
	bool asks;

	split(&w, arg);
	asks = value_is(&w.type, "help") || value_is(&w.type, "?") ||
	       value_is(&w.model, "help") || value_is(&w.model, "?");
	text_free(&w.rest);
	return asks;
}

static void
add_key(struct text *t, const char *key, const struct value *v)
{
	if (v->at == NULL)
		return;
	text_add_str(t, key);
	text_add(t, v->at, v->len);
}

/* Add what `t` says, and free it. */
static int
add_netdev(struct net_list *l, struct text *t, struct err *err)
{
	int rc;

	text_add_char(t, '\0');
	rc = t->failed ? err_set(err, -ENOMEM, "out of memory")
		       : net_option_netdev(l, t->data, err);
	text_free(t);
	return rc;
}

/* What the card is called, and the netdev if it has no id. */
static void
name_both(const struct net_list *l, const struct words *w,
    char card[NAME_BYTES], char netdev[NAME_BYTES])
{
	/* Where they do not fit, the netdev's own id is refused. */
	if (w->id.at != NULL) {
		(void)snprintf(card, NAME_BYTES, "%.*s-nic",
		    (int)(w->id.len < 50 ? w->id.len : 50), w->id.at);
		return;
	}
	(void)snprintf(card, NAME_BYTES, "nic%u", l->cards);
	(void)snprintf(netdev, NAME_BYTES, "nic%u-%.*s", l->cards,
	    (int)(w->type.len < 30 ? w->type.len : 30), w->type.at);
}

static int
add_both(struct net_list *l, const struct words *w, struct err *err)
{
	char card[NAME_BYTES], generated[NAME_BYTES];
	struct value id = w->id;
	struct text t = {0};
	int rc;

	name_both(l, w, card, generated);
	if (id.at == NULL)
		id = (struct value){generated, strlen(generated)};
	add_key(&t, "type=", &w->type);
	add_key(&t, ",id=", &id);
	text_add(&t, w->rest.data, w->rest.len);
	t.failed |= w->rest.failed;
	rc = add_netdev(l, &t, err);
	if (rc < 0)
		return rc;
	text_add_str(&t, "type=nic,id=");
	text_add_str(&t, card);
	add_key(&t, ",netdev=", &id);
	add_key(&t, ",model=", &w->model);
	add_key(&t, ",macaddr=", &w->mac);
	return add_netdev(l, &t, err);
}

int
nic_option_parse(struct net_list *l, const char *arg, struct err *err)
{
	struct words w = {0};
	int rc = 0;

	split(&w, arg);
	if (value_is(&w.type, "nic"))
		rc = err_set(err, -EINVAL,
		    "'nic' is a card, and no netdev that one can be joined "
		    "to: use -netdev nic,id=ID or -net nic");
	else if (value_is(&w.type, "none"))
		rc = w.rest.len + w.id.len + w.model.len + w.mac.len == 0
			 ? 0
			 : err_set(err, -EINVAL, "'none' takes no options");
	else if (l->cards == SLOTS_MAX)
		rc = err_set(err, -ENOSPC,
		    "no more on-board/default NIC slots available: -device "
		    "or -netdev nic add more than %u",
		    SLOTS_MAX);
	else if ((rc = add_both(l, &w, err)) == 0)
		l->cards++;
	text_free(&w.rest);
	return rc;
}
