/* Alerts by webhook: kept until they are sent, tried again for hours, and never sent where a request
 * from this host would do harm. */
#include "tw/gate.h"

#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_RETRY_S 5.0
#define MAX_RETRY_S   3600.0
#define MAX_ATTEMPTS  10 /* about four hours */
#define SEND_S        10.0

const char *const tw_hook_form_names[TW_HOOK_COUNT] = {"plain", "slack", "alertmanager",
                                                       "pagerduty"};

/* ---- where to ---- */

/* Networks that are no public ones: what answers there answers this host, not the world. */
static const char *const inner_networks[] = {
    "0.0.0.0/8",      "10.0.0.0/8",    "100.64.0.0/10",   "127.0.0.0/8",
    "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",    "192.168.0.0/16",
    "198.18.0.0/15",  "192.0.2.0/24",  "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4",    "240.0.0.0/4",   "::/96",           "64:ff9b::/96",
    "64:ff9b:1::/48", "100::/64",      "2001:db8::/32",   "2002::/16",
    "fc00::/7",       "fe80::/10",     "fec0::/10",       "ff00::/8"};

static bool is_inner(const unsigned char address[16])
{
    for (size_t i = 0; i < TW_COUNT_OF(inner_networks); i++) {
        unsigned char net[16] = {0};
        int bits;

        if (tw_net_parse(inner_networks[i], net, &bits, NULL) == 0 &&
            tw_net_contains(net, bits, address))
            return true;
    }
    return false;
}

bool tw_alert_may_call(const struct tw_hooks *h, const unsigned char address[16])
{
    for (size_t i = 0; i < h->allow.count; i++)
        if (tw_net_contains(h->allow.items[i].address, h->allow.items[i].bits, address))
            return true;
    return !is_inner(address);
}

static bool may_connect(void *arg, const unsigned char address[16], int port)
{
    (void)port;
    return tw_alert_may_call(arg, address);
}

/* ---- raising ---- */

static bool wants(const struct tw_hook *hook, const char *kind)
{
    tw_auto_free char *list = hook->kinds ? tw_strf(",%s,", hook->kinds) : NULL;
    tw_auto_free char *word = tw_strf(",%s,", kind);

    return !list || strstr(list, word);
}

int tw_alert_raise(struct tw_store *s, const struct tw_hooks *h,
                   const struct tw_alert *al, struct tw_err *err)
{
    int64_t now = tw_wall_ns();
    tw_auto(tw_arena) *a = tw_arena_new();
    json_auto_t *json =
        json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:s}", "kind", al->kind,
                  "severity", al->severity, "summary", al->summary, "description",
                  al->description, "environment", al->environment, "target", al->target,
                  "simulation", al->simulation, "at", tw_iso_time(a, now));
    tw_auto_free char *body = tw_json_dump(json, JSON_COMPACT);
    int r = 0;

    for (size_t i = 0; i < h->list.count && r == 0; i++) {
        struct tw_store_alert row = {.created_wall_ns = now,
                                     .next_wall_ns = now,
                                     .hook = h->list.items[i].name,
                                     .kind = al->kind,
                                     .body = body};

        if (wants(&h->list.items[i], al->kind))
            r = tw_store_alert_add(s, &row, err);
    }
    return r;
}

/* ---- forms ---- */

static const char *text_of(const json_t *alert, const char *key)
{
    const char *text = json_string_value(json_object_get(alert, key));

    return text ? text : "";
}

static json_t *form_plain(const struct tw_hook *hook, json_t *alert)
{
    (void)hook;
    return json_incref(alert);
}

static json_t *form_slack(const struct tw_hook *hook, json_t *alert)
{
    tw_auto_free char *text =
        tw_strf("*%s* %s\n%s", text_of(alert, "severity"), text_of(alert, "summary"),
                text_of(alert, "description"));

    (void)hook;
    return json_pack("{s:s}", "text", text);
}

static json_t *form_alertmanager(const struct tw_hook *hook, json_t *alert)
{
    (void)hook;
    return json_pack("[{s:{s:s, s:s, s:s, s:s, s:s}, s:{s:s, s:s}, s:s}]", "labels",
                     "alertname", "DigitalTwin", "kind", text_of(alert, "kind"),
                     "severity", text_of(alert, "severity"), "environment",
                     text_of(alert, "environment"), "target", text_of(alert, "target"),
                     "annotations", "summary", text_of(alert, "summary"), "description",
                     text_of(alert, "description"), "startsAt", text_of(alert, "at"));
}

static json_t *form_pagerduty(const struct tw_hook *hook, json_t *alert)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:O}}", "routing_key",
                     hook->secret ? hook->secret : "", "event_action", "trigger",
                     "payload", "summary", text_of(alert, "summary"), "source",
                     "digital-twin", "severity", text_of(alert, "severity"),
                     "custom_details", alert);
}

static json_t *(*const forms[TW_HOOK_COUNT])(const struct tw_hook *, json_t *) = {
    form_plain, form_slack, form_alertmanager, form_pagerduty};

/* ---- sending ---- */

/* HMAC-SHA256 over "time.body": the time is signed too, so that an old message cannot be sent again. */
static char *sign(const char *secret, const char *time, const char *body)
{
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    char hex[2 * sizeof(mac) + 1];
    crypto_auth_hmacsha256_state state;

    (void)crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret,
                                      strlen(secret));
    (void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)time,
                                        strlen(time));
    (void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)".", 1);
    (void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)body,
                                        strlen(body));
    (void)crypto_auth_hmacsha256_final(&state, mac);
    (void)sodium_bin2hex(hex, sizeof(hex), mac, sizeof(mac));
    return tw_strf("sha256=%s", hex);
}

static int post(const struct tw_hooks *h, const struct tw_hook *hook, const char *body,
                struct tw_err *err)
{
    tw_auto_free char *time = tw_strf("%lld", (long long)(tw_wall_ns() / TW_SEC_NS));
    tw_auto_free char *signature = hook->form == TW_HOOK_PLAIN && hook->secret
                                       ? sign(hook->secret, time, body)
                                       : NULL;
    struct tw_http_pair headers[] = {{"Content-Type", "application/json"},
                                     {"User-Agent", "digital-twin"},
                                     {"X-Twin-Timestamp", time},
                                     {"X-Twin-Signature", signature}};
    struct tw_fetch f = {.method = "POST",
                         .url = hook->url,
                         .headers = headers,
                         .header_count = signature ? 4 : 2,
                         .body = body,
                         .body_len = strlen(body),
                         .timeout_s = SEND_S,
                         .max_answer = 65536,
                         .may_connect = may_connect,
                         .arg = (void *)(uintptr_t)h};
    struct tw_fetched got = {0};
    int r = tw_fetch(&f, &got, err);

    if (r < 0)
        return r;
    tw_buf_done(
        &got.body); /* what it says is nobody's business: it may be an inner service */
    if (got.status < 200 || got.status > 299)
        return tw_fail(err, -EPROTO, "the webhook '%s' answered %d", hook->name,
                       got.status);
    return 0;
}

static const struct tw_hook *find_hook(const struct tw_hooks *h, const char *name)
{
    for (size_t i = 0; i < h->list.count; i++)
        if (tw_streq(h->list.items[i].name, name))
            return &h->list.items[i];
    return NULL;
}

void tw_alert_send(const struct tw_hooks *h, struct tw_arena *a,
                   struct tw_store_alert *al)
{
    const struct tw_hook *hook = find_hook(h, al->hook);
    json_auto_t *alert = json_loads(al->body, 0, NULL);
    struct tw_err err = {0};
    int r = -ENOENT;

    if (hook && alert) {
        json_auto_t *form = forms[hook->form](hook, alert);
        tw_auto_free char *body = tw_json_dump(form, JSON_COMPACT);

        r = post(h, hook, body, &err);
    } else {
        (void)tw_fail(&err, r, "there is no webhook '%s' any more", al->hook);
    }
    al->attempts++;
    al->error = r < 0 ? tw_arena_strdup(a, err.text) : NULL;
    al->state = r == 0                                  ? "sent"
                : !hook || al->attempts >= MAX_ATTEMPTS ? "dead"
                                                        : "pending";
    al->next_wall_ns =
        tw_wall_ns() +
        (int64_t)(fmin(MAX_RETRY_S, FIRST_RETRY_S * pow(2, al->attempts - 1)) *
                  (double)TW_SEC_NS);
}
