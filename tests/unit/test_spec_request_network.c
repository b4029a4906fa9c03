/* Properties of a path as people write them. */
#include "tw/spec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

Test(spec_request_network, each_property_has_its_units)
{
    static const struct {
        const char *key, *value, *text;
    } rows[] = {
        {"latency", "20ms", "round trips 20 ms longer"},
        {"latency", "0.5 s", "round trips 500 ms longer"},
        {"loss", "1%", "1 % of the packets lost each way"},
        {"loss", "0.01", "1 % of the packets lost each way"},
        {"bandwidth", "50mbit", "50 Mbit/s each way"},
        {"bandwidth", "1Gbps", "1e+03 Mbit/s each way"},
        {"mtu", "1400", "packets of 1400 bytes at most"},
        {"idle_timeout", "5min", "connections at rest forgotten after 5 min"},
        {"partition", "on", "nothing passes"},
        {"mtu_blackhole", "1280", "packets above 1280 bytes vanish"},
        {"route", "none", "no route"},
        {"route", "dead-gateway", "a gateway that does not answer"},
        {"dns", "none", "names resolve no more"},
        {"dns", "5s", "names resolve 5 s later"},
        {"dns", "10.0.0.9", "names resolve to 10.0.0.9"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_network_request n = {0};
        struct tw_err err = {0};
        const char *text;

        cr_assert_eq(tw_network_request_take(a, rows[i].key, rows[i].value, "/change", &n, &err), 0, "%s: %s",
                     rows[i].key, err.text);
        cr_expect_eq(tw_network_request_check(&n, &err), 0, "%s", err.text);
        text = tw_network_request_text(a, &n);
        cr_expect(strstr(text, rows[i].text), "%s: '%s', expected '%s'", rows[i].value, text, rows[i].text);
    }
}

Test(spec_request_network, each_mistake_says_what_was_expected)
{
    static const struct {
        const char *key, *value, *words;
    } rows[] = {
        {"latency", "20", "say 20ms"},     {"latency", "2h", "up to 60 s"}, {"loss", "1", "say 1%"},
        {"loss", "101%", "say 1%"},        {"bandwidth", "50", "50mbit"},   {"bandwidth", "1bit", "8kbit"},
        {"mtu", "20", "68 to 65535"},      {"partition", "maybe", "true"},  {"latancy", "1ms", "did you mean 'latency'"},
        {"to", "", "a target"},
        {"route", "away", "dead-gateway"},
        {"dns", "perhaps", "none, a time"},
    };

    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        tw_auto(tw_arena) *a = tw_arena_new();
        struct tw_network_request n = {0};
        struct tw_err err = {0};

        cr_expect_eq(tw_network_request_take(a, rows[i].key, rows[i].value, "/change/x", &n, &err), -EINVAL, "%s %s",
                     rows[i].key, rows[i].value);
        cr_expect_str_eq(err.pointer, "/change/x");
        cr_expect(strstr(err.text, rows[i].words), "%s %s: %s", rows[i].key, rows[i].value, err.text);
    }
}

Test(spec_request_network, a_path_on_which_nothing_changes_is_no_change)
{
    struct tw_network_request n = {.to = "db"}, late = {.latency_s = 0.001, .jitter_s = 0.002};
    struct tw_err err = {0};

    cr_expect_eq(tw_network_request_check(&n, &err), -EINVAL);
    cr_expect_str_eq(err.pointer, "/change");
    cr_expect_eq(tw_network_request_check(&late, &err), -EINVAL);
    cr_expect_str_eq(err.pointer, "/change/jitter");
}
