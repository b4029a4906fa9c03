/* Requests for HTTP: those of the access log, else the front page of every name. */
#include "load_internal.h"

#include <math.h>
#include <string.h>

#define ITEMS_MOST 200
#define BODY_MOST  ((size_t)1 << 20)

/* Bodies of the size seen: what stood in them is not known. */
static void add_body(struct tw_buf *b, const struct tw_sample_request *r)
{
    double head = 80 + (double)strlen(r->path) + (r->host ? (double)strlen(r->host) : 0);
    double size = r->request_bytes - head;
    char fill[256];

    if (!(size >= 1))
        return;
    memset(fill, 'x', sizeof fill);
    tw_buf_puts(b, "Content-Type: application/octet-stream\n\n");
    for (size_t left = size < (double)BODY_MOST ? (size_t)size : BODY_MOST; left > 0;) {
        size_t n = left < sizeof fill ? left : sizeof fill;

        tw_buf_add(b, fill, n);
        left -= n;
    }
}

static char *request_of(struct tw_arena *a, const struct tw_sample_request *r)
{
    static const char *const with_body[] = {"POST", "PUT", "PATCH"};
    tw_auto_buf b = {0};

    tw_buf_init(&b, 4 * BODY_MOST);
    tw_buf_printf(&b, "%s %s\n", r->method, load_template_quote(a, r->path));
    if (r->host && *r->host)
        tw_buf_printf(&b, "Host: %s\n", r->host);
    if (tw_name_index(r->method, with_body, TW_COUNT_OF(with_body)) >= 0)
        add_body(&b, r);
    return tw_arena_strdup(a, tw_buf_text(&b));
}

static bool same_request(const struct tw_sample_request *x,
                         const struct tw_sample_request *y)
{
    return tw_streq(x->method, y->method) && tw_streq(x->path, y->path) &&
           tw_streq(x->host, y->host);
}

static bool sendable(const struct tw_sample_request *r)
{
    return r->method && r->path && r->path[0] == '/' && !strpbrk(r->path, " \r\n") &&
           strcmp(r->method, "CONNECT") != 0 && r->count > 0;
}

/* Rows are by count: the first of equal requests has the status seen most. */
static int known(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_load_spec *at, struct tw_load_mix *mix,
                 struct tw_err *err)
{
    const struct tw_sample_request **rows =
        tw_arena_alloc(a, (ITEMS_MOST + 1) * sizeof *rows);
    double all = 0, taken = 0;

    (void)at, (void)err;
    for (size_t i = 0; i < s->requests.count; i++) {
        const struct tw_sample_request *r = &s->requests.items[i];
        struct tw_load_item *item = NULL;

        all += (double)r->count;
        if (!sendable(r)) {
            TW_PUSH(a, &mix->missing,
                    tw_arena_printf(a, "%s %s: not a request that can be made again",
                                    r->method ? r->method : "?",
                                    r->path ? r->path : "?"));
            continue;
        }
        for (size_t k = 0; k < mix->items.count && !item; k++)
            if (same_request(rows[k], r))
                item = &mix->items.items[k];
        if (!item && mix->items.count == ITEMS_MOST)
            continue;
        if (!item) {
            rows[mix->items.count] = r;
            item = load_mix_add(
                a, mix,
                tw_arena_printf(a, "%s %s%s", r->method, r->host ? r->host : "", r->path),
                request_of(a, r), 0);
            item->source_mean_ms = r->mean_s * 1000;
            item->writes =
                tw_name_index(r->method, (const char *const[]){"GET", "HEAD", "OPTIONS"},
                              3) < 0;
            item->statements.items[0].expect = r->status;
        }
        item->weight += (double)r->count;
        taken += (double)r->count;
    }
    for (size_t i = 0; i < mix->items.count && all > 0; i++)
        mix->items.items[i].source_share = mix->items.items[i].weight / all;
    mix->coverage = all > 0 ? taken / all : NAN;
    mix->source = "requests";
    mix->description =
        tw_arena_printf(a, "%zu kinds of request of the access log, %.0f %% of them",
                        mix->items.count, 100 * (all > 0 ? taken / all : 0));
    return 0;
}

/* Names that a client would ask for: no patterns, no frontends. */
static bool is_host(const char *name)
{
    return name && strchr(name, '.') && !strpbrk(name, "*~^$ /\\") && name[0] != '.';
}

static int guess(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_load_spec *at, struct tw_load_mix *mix,
                 struct tw_err *err)
{
    struct load_endpoint here;
    int r = load_endpoint_parse(a, at->conninfo[TW_BASELINE], &here, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < s->endpoints.count; i++) {
        const struct tw_endpoint *e = &s->endpoints.items[i];
        char *sent;
        bool there = false;

        if (!is_host(e->name) || (e->port != 0 && e->port != here.port))
            continue;
        sent = tw_arena_printf(a, "GET /\nHost: %s\n", e->name);
        for (size_t k = 0; k < mix->items.count; k++)
            there |= tw_streq(mix->items.items[k].statements.items[0].sql, sent);
        if (!there)
            (void)load_mix_add(a, mix, tw_arena_printf(a, "GET %s/", e->name), sent, 1);
    }
    if (mix->items.count == 0)
        (void)load_mix_add(a, mix, "GET /", "GET /\n", 1);
    mix->source = "nothing known";
    mix->description =
        tw_arena_printf(a, "GET / of %zu name%s: no access log tells what is asked",
                        mix->items.count, mix->items.count == 1 ? "" : "s");
    return 0;
}

/* 304 and 206 are what 200 is to those who asked with conditions; we ask without. */
static int kind_of(int status)
{
    return status < 400 ? 2 : status / 100;
}

static const char *judge(struct tw_arena *a, struct tw_load_item *item,
                         const struct load_answer *answer, int recorded,
                         const char **ret_told)
{
    if (answer->status == 0)
        return tw_arena_printf(a, "the baseline does not answer it: %s",
                               answer->text && *answer->text ? answer->text
                                                             : "no answer in time");
    if (answer->status >= 500)
        return tw_arena_printf(a, "the baseline answers %d %s", answer->status,
                               answer->text ? answer->text : "");
    /* Where the path varies one answer tells little of the others. */
    if (answer->status >= 400 || item->statements.items[0].variables.count == 0)
        item->statements.items[0].expect = answer->status;
    if (recorded > 0 && kind_of(recorded) != kind_of(answer->status))
        *ret_told = tw_arena_printf(a, "the log says %d, the baseline answers %d",
                                    recorded, answer->status);
    return NULL;
}

const struct load_mix_kind load_mix_http = {
    .driver = "http",
    .words = "a file with one request per line (\"GET /path@3\")",
    .known = known,
    .guess = guess,
    .judge = judge,
    .escapes = true,
};
