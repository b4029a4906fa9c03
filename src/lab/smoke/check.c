/* Smoke checks: a row for each kind, a row for each expectation. */
#include "tw/pg.h"
#include "tw/smoke.h"

#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUTPUT_MAX ((size_t)1 << 20)
#define SHOWN      120

/* ---- expectations; each tells what is otherwise, or NULL ---- */

struct judged {
    struct tw_arena *a;
    const struct tw_smoke_expectation *e;
    const struct tw_reply *r; /* of SQL: headers "rows", "value"; of a command: status */
};

static const char *header_of(const struct tw_reply *r, const char *name)
{
    for (size_t i = 0; i < r->headers.count; i++)
        if (strcasecmp(r->headers.items[i].name, name) == 0)
            return r->headers.items[i].value;
    return NULL;
}

static const char *judge_status(const struct judged *j)
{
    tw_auto_free char *words = tw_strf(" %s ", j->e->value);
    tw_auto_free char *status = tw_strf(" %d ", j->r->status);

    return strstr(words, status) ? NULL
                                 : tw_arena_printf(j->a, "status %d instead of %s",
                                                   j->r->status, j->e->value);
}

/* A type without parameters holds for one with them. */
static const char *judge_header(const struct judged *j)
{
    const char *value = header_of(j->r, j->e->name);
    size_t len = strlen(j->e->value);

    if (value && strncasecmp(value, j->e->value, len) == 0 &&
        (!value[len] || value[len] == ';'))
        return NULL;
    return tw_arena_printf(j->a, "header %s is %s%.*s%s instead of '%s'", j->e->name,
                           value ? "'" : "missing", value ? SHOWN : 0, value ? value : "",
                           value ? "'" : "", j->e->value);
}

static const char *judge_contains(const struct judged *j)
{
    return j->r->body && strstr(j->r->body, j->e->value)
               ? NULL
               : tw_arena_printf(j->a, "'%.*s' is not in the answer '%.*s'", SHOWN,
                                 j->e->value, SHOWN, j->r->body ? j->r->body : "");
}

static const char *judge_lacks(const struct judged *j)
{
    return j->r->body && strstr(j->r->body, j->e->value)
               ? tw_arena_printf(j->a, "'%.*s' is in the answer", SHOWN, j->e->value)
               : NULL;
}

/* RFC 6901. Borrowed of json; NULL: not there. */
static json_t *at_pointer(json_t *json, const char *pointer)
{
    while (json && *pointer == '/') {
        tw_auto_buf key = {0};
        const char *s = pointer + 1;

        tw_buf_init(&key, 1024);
        for (; *s && *s != '/'; s++) {
            const char *c = *s == '~' && s[1] == '0'   ? "~"
                            : *s == '~' && s[1] == '1' ? "/"
                                                       : NULL;

            tw_buf_add(&key, c ? c : s, 1);
            s += c != NULL;
        }
        pointer = s;
        json = json_is_array(json)
                   ? json_array_get(json, (size_t)strtoul(tw_buf_text(&key), NULL, 10))
                   : json_object_get(json, tw_buf_text(&key));
    }
    return json;
}

static const char *judge_json(const struct judged *j)
{
    json_auto_t *body = json_loads(j->r->body ? j->r->body : "", JSON_DECODE_ANY, NULL);
    json_auto_t *want = json_loads(j->e->value, JSON_DECODE_ANY, NULL);
    json_t *got = at_pointer(body, j->e->name);
    tw_auto_free char *text =
        got ? tw_json_dump(got, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

    if (!body)
        return "the answer is no JSON";
    if (got &&
        (json_equal(got, want) || (json_is_number(got) && json_is_number(want) &&
                                   json_number_value(got) == json_number_value(want))))
        return NULL;
    return tw_arena_printf(j->a, "%s is %.*s instead of %.*s",
                           *j->e->name ? j->e->name : "it", SHOWN,
                           text ? text : "missing", SHOWN, j->e->value);
}

static const char *judge_field(const struct judged *j)
{
    const char *value = header_of(j->r, j->e->of);

    return tw_streq(value, j->e->value)
               ? NULL
               : tw_arena_printf(j->a, "%s is %.*s instead of %.*s", j->e->of, SHOWN,
                                 value ? value : "not there", SHOWN, j->e->value);
}

static const struct {
    const char *of;
    const char *(*judge)(const struct judged *j);
} judges[] = {
    {"status", judge_status}, {"header", judge_header},   {"contains", judge_contains},
    {"lacks", judge_lacks},   {"json", judge_json},       {"rows", judge_field},
    {"value", judge_field},   {"exit_code", judge_field},
};

bool tw_smoke_holds(struct tw_arena *a, const struct tw_smoke *check,
                    const struct tw_reply *r, const char **ret_words)
{
    *ret_words = r->why;
    for (size_t i = 0; i < check->expect.count && !*ret_words; i++)
        for (size_t k = 0; k < TW_COUNT_OF(judges) && !*ret_words; k++)
            if (tw_streq(judges[k].of, check->expect.items[i].of))
                *ret_words =
                    judges[k].judge(&(struct judged){a, &check->expect.items[i], r});
    return !*ret_words;
}

/* ---- kinds ---- */

struct trial {
    const struct tw_smoke *check;
    const struct tw_site *site;
    struct tw_arena *a;
    int64_t deadline_ns;
    struct tw_reply reply;
    TW_ARRAY(struct tw_http_field) fields;
};

static void field(struct trial *t, const char *name, const char *value)
{
    TW_PUSH(t->a, &t->fields, (struct tw_http_field){name, value});
}

static void try_http(struct trial *t)
{
    const struct tw_smoke *c = t->check;
    struct tw_ask ask = {
        .method = c->method, .path = c->what, .body = c->body, .within_s = c->within_s};
    struct tw_wire line;

    ask.headers.items = c->headers.items;
    ask.headers.count = c->headers.count;
    tw_wire_init(&line, t->site, c->port);
    if (line.port)
        tw_wire_ask(&line, t->a, &ask, &t->reply);
    else
        t->reply.why = "no port is known of it; give the check a \"port\"";
    tw_wire_done(&line);
}

static const char *address_of(const struct tw_site *site, const char *name)
{
    for (size_t i = 0; i < site->hosts.count; i++)
        if (tw_streq(site->hosts.items[i].name, name))
            return site->hosts.items[i].value;
    return name;
}

/* Sends, then reads until what is expected is there or the time is up. */
static void talk(struct trial *t, int fd)
{
    struct tw_buf got;
    struct pollfd p = {fd, POLLIN, 0};

    tw_buf_init(&got, OUTPUT_MAX);
    if (t->check->send)
        (void)!send(fd, t->check->send, strlen(t->check->send), MSG_NOSIGNAL);
    while (t->check->expect.count && tw_now_ns() < t->deadline_ns) {
        char part[4096];
        const char *words;
        ssize_t n;

        if (poll(&p, 1, (int)((t->deadline_ns - tw_now_ns()) / TW_MSEC_NS) + 1) <= 0)
            break;
        n = recv(fd, part, sizeof(part), 0);
        if (n <= 0)
            break;
        tw_buf_add(&got, part, (size_t)n);
        t->reply.body = tw_buf_text(&got);
        if (tw_smoke_holds(t->a, t->check, &t->reply, &words))
            break;
    }
    t->reply.body = tw_arena_strdup(t->a, tw_buf_text(&got));
    tw_buf_done(&got);
}

/* "8080", "db:5432". */
static void try_tcp(struct trial *t)
{
    const char *what = t->check->what, *colon = strrchr(what, ':');
    struct tw_site site = *t->site;
    struct tw_wire line;
    int64_t port = 0;

    if (tw_parse_int64(colon ? colon + 1 : what, &port, NULL) < 0 || port < 1 ||
        port > 65535) {
        t->reply.why = "no port in what is to be reached";
        return;
    }
    if (colon)
        site.address =
            address_of(t->site, tw_arena_strndup(t->a, what, (size_t)(colon - what)));
    tw_wire_init(&line, &site, (int)port);
    t->reply.why = tw_wire_connect(&line, t->deadline_ns);
    if (!t->reply.why)
        talk(t, line.fd);
    tw_wire_done(&line);
}

static int query(void *arg)
{
    struct trial *t = arg;
    const char *host = tw_pg_conninfo_value(t->a, t->check->dsn, "host");
    const char *address = host ? address_of(t->site, host) : t->site->address;
    const char *conninfo =
        tw_streq(address, host)
            ? t->check->dsn
            : tw_arena_printf(t->a, "%s hostaddr=%s", t->check->dsn, address);
    struct tw_pg_rows rows = {0};
    struct tw_pg *pg = NULL;
    struct tw_err err = {0};
    int r = tw_pg_open(conninfo, (unsigned)-1, t->deadline_ns, &pg, &err);

    if (r == 0)
        r = tw_pg_query(pg, t->a, t->check->what, 0, NULL, &rows, &err);
    if (r < 0) {
        t->reply.why = tw_arena_strdup(t->a, err.text);
    } else {
        const char *value = rows.rows && rows.columns ? tw_pg_cell(&rows, 0, 0) : NULL;

        field(t, "rows", tw_arena_printf(t->a, "%d", rows.rows));
        if (value)
            field(t, "value", value);
        t->reply.body = value;
    }
    tw_pg_close(pg);
    return 0;
}

static void try_sql(struct trial *t)
{
    struct tw_err err = {0};

    if (t->site->netns < 0)
        (void)query(t);
    else if (tw_priv_netns_run(t->site->priv, t->site->netns, query, t, &err) < 0)
        t->reply.why = tw_arena_strdup(t->a, err.text);
}

static void try_command(struct trial *t)
{
    const char **argv = tw_arena_alloc(t->a, (t->check->argv.count + 1) * sizeof(char *));
    struct tw_err err = {0};
    tw_auto_buf out = {0};
    int status = -1;

    for (size_t i = 0; i < t->check->argv.count; i++)
        argv[i] = t->check->argv.items[i];
    tw_buf_init(&out, OUTPUT_MAX);
    if (!t->site->run)
        t->reply.why = "commands cannot be run there";
    else if (t->site->run(t->site->arg, argv, t->deadline_ns, &out, &status, &err) < 0)
        t->reply.why = tw_arena_strdup(t->a, err.text);
    field(t, "exit_code", tw_arena_printf(t->a, "%d", status));
    t->reply.body = tw_arena_strdup(t->a, tw_buf_text(&out));
}

static const struct {
    const char *kind;
    void (*try)(struct trial *t);
} kinds[] = {
    {"http", try_http}, {"tcp", try_tcp}, {"sql", try_sql}, {"command", try_command}};

void tw_smoke_try(const struct tw_smoke *check, const struct tw_site *site,
                  struct tw_arena *a, struct tw_smoke_result *ret)
{
    int64_t begun = tw_now_ns();
    struct trial t = {.check = check,
                      .site = site,
                      .a = a,
                      .deadline_ns = begun + (int64_t)(check->within_s * 1e9)};

    for (size_t i = 0; i < TW_COUNT_OF(kinds); i++)
        if (tw_streq(kinds[i].kind, check->kind))
            kinds[i].try(&t);
    if (t.fields.count) {
        t.reply.headers.items = t.fields.items;
        t.reply.headers.count = t.fields.count;
    }
    *ret = (struct tw_smoke_result){.seconds = tw_seconds(tw_now_ns() - begun)};
    ret->passed = tw_smoke_holds(a, check, &t.reply, &ret->words);
}
