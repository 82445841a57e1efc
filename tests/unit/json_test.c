/*
 * json_test.c - JSON to C and back: round trips, and QEMU's words for errors.
 */
#include "broker/json.h"
#include "gen/control.h"
#include "gen/schema.h"
#include "proto/wire.h"
#include "tests/unit/value_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ROUNDS 100

static void
round_trip(struct dice *r, const struct desc *d)
{
	void *a = calloc(1, d->bytes), *b = calloc(1, d->bytes);
	json_t *tree, *again;
	struct err e;
	char *text;

	value_fill(r, d, a);
	tree = json_encode(d, a);
	assert_non_null(tree);
	text = json_dumps(tree, JSON_ENSURE_ASCII);
	assert_non_null(text);
	again = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(again);
	if (json_decode(d, b, again, &e) < 0)
		fail_msg("%s: %s: %s", d->name, e.text, text);
	assert_true(desc_equal(d, a, b));
	json_decref(tree);
	json_decref(again);
	free(text);
	desc_free(d, a);
	desc_free(d, b);
	free(a);
	free(b);
}

static void
test_every_type_comes_back_from_its_json(void **state)
{
	struct dice r = {4711};
	size_t i, k;

	(void)state;
	for (k = 0; k < ROUNDS; k++) {
		for (i = 0; i < type_desc_count; i++) {
			if (type_descs[i]->kind == DESC_STRUCT)
				round_trip(&r, type_descs[i]);
		}
		for (i = 0; i < ctl_wire.count; i++)
			round_trip(&r, ctl_wire.messages[i].desc);
	}
}

/* The error of one text, or "" when it is taken. */
static const char *
complaint(const struct desc *d, const char *text)
{
	static struct err e;
	void *v = calloc(1, d->bytes);
	json_t *tree = json_loads(text, JSON_ALLOW_NUL, NULL);
	size_t i;

	assert_non_null(tree);
	e.text[0] = 0;
	if (json_decode(d, v, tree, &e) < 0) {
		for (i = 0; i < d->bytes; i++)
			assert_int_equal(((char *)v)[i], 0);
	}
	json_decref(tree);
	desc_free(d, v);
	free(v);
	return e.text;
}

struct row {
	const char *text, *error;
};

static void
check_rows(const struct desc *d, const struct row *rows, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (strcmp(complaint(d, rows[i].text), rows[i].error) != 0)
			fail_msg("%s: got '%s', want '%s'", rows[i].text,
			    complaint(d, rows[i].text), rows[i].error);
	}
}

#define CHECK(d, rows) check_rows(d, rows, sizeof(rows) / sizeof *(rows))

static void
test_netdev_errors_have_the_words_that_clients_know(void **state)
{
	static const struct row rows[] = {
	    {"{}", "Parameter 'id' is missing"},
	    {"{\"id\":\"a\"}", "Parameter 'type' is missing"},
	    {"{\"id\":\"a\",\"type\":\"nosuch\"}",
		"Parameter 'type' does not accept value 'nosuch'"},
	    {"{\"id\":\"a\",\"type\":7}",
		"Invalid parameter type for 'type', expected: string"},
	    {"{\"id\":7,\"type\":\"user\"}",
		"Invalid parameter type for 'id', expected: string"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"foo\":1}",
		"Parameter 'foo' is unexpected"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"hubid\":1}",
		"Parameter 'hubid' is unexpected"},
	    {"{\"id\":\"a\",\"type\":\"hubport\"}",
		"Parameter 'hubid' is missing"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"restrict\":1}",
		"Invalid parameter type for 'restrict', expected: boolean"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"restrict\":\"maybe\"}",
		"Invalid parameter type for 'restrict', expected: boolean"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"hostname\":5}",
		"Invalid parameter type for 'hostname', expected: string"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"hostname\":null}",
		"Invalid parameter type for 'hostname', expected: string"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"hostname\":\"a\\u0000b\"}",
		"Parameter 'hostname' expects text without NUL"},
	    {"{\"id\":\"a\",\"type\":\"hubport\",\"hubid\":1.0}",
		"Invalid parameter type for 'hubid', expected: integer"},
	    {"{\"id\":\"a\",\"type\":\"hubport\",\"hubid\":\"x\"}",
		"Invalid parameter type for 'hubid', expected: integer"},
	    {"{\"id\":\"a\",\"type\":\"hubport\",\"hubid\":2147483648}",
		"Parameter 'hubid' expects int32_t"},
	    {"{\"id\":\"a\",\"type\":\"hubport\",\"hubid\":\"2147483648\"}",
		"Parameter 'hubid' expects int32_t"},
	    {"{\"id\":\"a\",\"type\":\"vde\",\"port\":65536}",
		"Parameter 'port' expects uint16_t"},
	    {"{\"id\":\"a\",\"type\":\"tap\",\"sndbuf\":"
	     "9223372036854775808E0}",
		"Parameter 'sndbuf' expects uint64"},
	    {"{\"id\":\"a\",\"type\":\"tap\",\"queues\":-1}",
		"Parameter 'queues' expects uint32_t"},
	    {"{\"id\":\"a\",\"type\":\"tap\",\"queues\":true}",
		"Parameter 'queues' expects uint64"},
	    {"{\"id\":\"a\",\"type\":\"tap\",\"sndbuf\":1.5}",
		"Parameter 'sndbuf' expects uint64"},
	    {"[]", "Invalid parameter type for 'null', expected: object"},
	};

	(void)state;
	CHECK(&desc_netdev, rows);
}

static void
test_errors_in_lists_name_the_item(void **state)
{
	static const struct row rows[] = {
	    {"{\"id\":\"a\",\"type\":\"user\",\"hostfwd\":5}",
		"Invalid parameter type for 'hostfwd', expected: array"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"dnssearch\":[5]}",
		"Invalid parameter type for 'dnssearch[0]', expected: object"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"hostfwd\":[{\"str\":\"x\"},"
	     "{\"str\":5}]}",
		"Invalid parameter type for 'hostfwd[1].str', expected: "
		"string"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"hostfwd\":[{}]}",
		"Parameter 'hostfwd[0].str' is missing"},
	    {"{\"id\":\"a\",\"type\":\"user\",\"hostfwd\":[{\"str\":\"x\","
	     "\"y\":1}]}",
		"Parameter 'hostfwd[0].y' is unexpected"},
	};

	(void)state;
	CHECK(&desc_netdev, rows);
}

static void
test_netdev_takes_texts_for_scalars_as_in_2_12(void **state)
{
	static const struct row rows[] = {
	    {"{\"id\":\"a\",\"type\":\"hubport\",\"hubid\":\"0\"}", ""},
	    {"{\"id\":\"a\",\"type\":\"hubport\",\"hubid\":\"-0x10\"}", ""},
	    {"{\"id\":\"a\",\"type\":\"user\",\"restrict\":\"on\"}", ""},
	    {"{\"id\":\"a\",\"type\":\"user\",\"restrict\":\"n\"}", ""},
	    {"{\"id\":\"a\",\"type\":\"tap\",\"sndbuf\":\"1.5M\"}", ""},
	    {"{\"id\":\"a\",\"type\":\"user\",\"hostfwd\":\"tcp::1-:2\"}", ""},
	    {"{\"id\":\"a\",\"type\":\"user\",\"hostfwd\":[\"tcp::1-:2\"]}",
		""},
	    {"{\"id\":\"a\",\"type\":\"l2tpv3\",\"src\":\"a\",\"dst\":\"b\","
	     "\"txsession\":\"1\",\"txcookie\":\"18446744073709551615\"}",
		""},
	};

	(void)state;
	CHECK(&desc_netdev, rows);
}

static void
test_other_commands_take_no_texts_for_scalars(void **state)
{
	static const struct row rows[] = {
	    {"{\"name\":\"a\"}", "Parameter 'up' is missing"},
	    {"{\"up\":true}", "Parameter 'name' is missing"},
	    {"{\"name\":\"a\",\"up\":\"on\"}",
		"Invalid parameter type for 'up', expected: boolean"},
	    {"{\"name\":\"a\",\"up\":1}",
		"Invalid parameter type for 'up', expected: boolean"},
	    {"{\"name\":\"a\",\"up\":true,\"foo\":0}",
		"Parameter 'foo' is unexpected"},
	    {"{\"name\":\"a\",\"up\":true}", ""},
	};
	static const struct row enable[] = {
	    {"{\"enable\":[\"foo\"]}",
		"Parameter 'enable[0]' does not accept value 'foo'"},
	    {"{\"enable\":\"oob\"}",
		"Invalid parameter type for 'enable', expected: array"},
	    {"{\"enable\":[]}", ""},
	    {"{\"enable\":[\"oob\",\"oob\"]}", ""},
	};

	(void)state;
	CHECK(&desc_set_link_args, rows);
	CHECK(&desc_qmp_capabilities_args, enable);
}

static void
test_nested_errors_name_the_whole_path(void **state)
{
	static const struct row rows[] = {
	    {"{\"netdev-id\":\"a\",\"addr\":{\"type\":\"inet\",\"host\":\"h\"}"
	     "}",
		"Parameter 'addr.port' is missing"},
	    {"{\"netdev-id\":\"a\",\"addr\":{\"type\":\"inet\",\"host\":1}}",
		"Invalid parameter type for 'addr.host', expected: string"},
	    {"{\"netdev-id\":\"a\",\"addr\":{\"type\":\"zz\"}}",
		"Parameter 'addr.type' does not accept value 'zz'"},
	    {"{\"netdev-id\":\"a\",\"addr\":{\"type\":\"unix\",\"path\":\"p\","
	     "\"host\":\"h\"}}",
		"Parameter 'addr.host' is unexpected"},
	    {"{\"netdev-id\":\"a\",\"addr\":\"x\"}",
		"Invalid parameter type for 'addr', expected: object"},
	};

	(void)state;
	CHECK(&desc_netdev_stream_connected_data, rows);
}

static void
test_json_has_schema_order_and_no_absent_members(void **state)
{
	struct netdev_hub_port_options o = {.hubid = -1};
	char id[] = "p";
	struct netdev n = {.id = id, .type = NET_CLIENT_DRIVER_HUBPORT};
	json_t *tree;
	char *text;

	(void)state;
	n.u.hubport = o;
	tree = json_encode(&desc_netdev, &n);
	text = json_dumps(tree, 0);
	assert_string_equal(
	    text, "{\"id\": \"p\", \"type\": \"hubport\", \"hubid\": -1}");
	free(text);
	json_decref(tree);
}

static void
test_broken_text_is_repaired_not_lost(void **state)
{
	char words[] = "last \xff words\n";
	struct name_info info = {.name = words};
	json_t *tree = json_encode(&desc_name_info, &info);

	(void)state;
	assert_non_null(tree);
	assert_string_equal(
	    json_string_value(json_object_get(tree, "name")), "last ? words?");
	json_decref(tree);
}

static void
test_the_schema_is_one_short_line_that_resolves(void **state)
{
	json_error_t error;
	json_t *tree, *entry, *names;
	size_t i;

	(void)state;
	assert_null(strchr(schema_introspection, '\n'));
	assert_true(strlen(schema_introspection) < 65536 - 100);
	/* What is refused by its name is not offered. */
	assert_non_null(strstr(schema_introspection, "\"chardev-add\""));
	assert_null(strstr(schema_introspection, "ringbuf"));
	tree = json_loads(schema_introspection, JSON_REJECT_DUPLICATES, &error);
	assert_non_null(tree);
	names = json_object();
	json_array_foreach(tree, i, entry) json_object_set_new(names,
	    json_string_value(json_object_get(entry, "name")), json_true());
	assert_int_equal(json_object_size(names), json_array_size(tree));
	json_array_foreach(tree, i, entry)
	{
		static const char *const refs[] = {
		    "arg-type", "ret-type", "element-type"};
		size_t k;

		for (k = 0; k < 3; k++) {
			json_t *ref = json_object_get(entry, refs[k]);

			if (ref)
				assert_non_null(json_object_get(
				    names, json_string_value(ref)));
		}
	}
	json_decref(tree);
	json_decref(names);
}

static void
test_the_schema_describes_itself(void **state)
{
	json_t *tree = json_loads(schema_introspection, 0, NULL), *entry, *m;
	struct schema_info info;
	struct err e;
	size_t i, k;

	(void)state;
	json_array_foreach(tree, i, entry)
	{
		/* "default": null has no type of its own */
		json_array_foreach(json_object_get(entry, "members"), k, m)
		    json_object_del(m, "default");
		memset(&info, 0, sizeof info);
		if (json_decode(&desc_schema_info, &info, entry, &e) < 0)
			fail_msg("entry %zu: %s", i, e.text);
		desc_free(&desc_schema_info, &info);
	}
	json_decref(tree);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_type_comes_back_from_its_json),
	    cmocka_unit_test(
		test_netdev_errors_have_the_words_that_clients_know),
	    cmocka_unit_test(test_errors_in_lists_name_the_item),
	    cmocka_unit_test(test_netdev_takes_texts_for_scalars_as_in_2_12),
	    cmocka_unit_test(test_other_commands_take_no_texts_for_scalars),
	    cmocka_unit_test(test_nested_errors_name_the_whole_path),
	    cmocka_unit_test(test_json_has_schema_order_and_no_absent_members),
	    cmocka_unit_test(test_broken_text_is_repaired_not_lost),
	    cmocka_unit_test(test_the_schema_is_one_short_line_that_resolves),
	    cmocka_unit_test(test_the_schema_describes_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
