/* A host of its own for one rule set: two network namespaces, the host and the prober behind all of its
 * interfaces. Everything is done by threads that stand inside. */
#include "filter_internal.h"

#include "tw/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_NS (60 * TW_SEC_NS)
#define OUTPUT_MAX  ((size_t)256 << 20)
#define MISSING_MAX 8 /* interfaces that only the tool itself tells of */

/* ---- programs inside ---- */

struct errand {
    const char *const *argv;
    const char *input, *dir;
    char **out;
    struct tw_err *err;
};

static int run_errand(void *arg)
{
    struct errand *e = arg;
    struct tw_child child = {.argv = e->argv,
                             .uid = (unsigned)-1,
                             .gid = (unsigned)-1,
                             .cwd = e->dir,
                             .input = e->input,
                             .deadline_ns = tw_now_ns() + DEADLINE_NS,
                             .max_output = OUTPUT_MAX};
    struct tw_child_result res = {0};
    int r = tw_child_run(&child, &res, e->err);

    if (r < 0)
        return r;
    if (res.status != 0)
        r = tw_fail(e->err, -EINVAL, "%.900s", tw_buf_text(res.err.len ? &res.err : &res.out));
    if (r == 0 && e->out)
        *e->out = tw_buf_take(&res.out);
    tw_child_result_done(&res);
    return r;
}

int filter_run(struct tw_filter_box *b, const char *const *argv, const char *input, const char *dir,
               char **out, struct tw_err *err)
{
    struct errand e = {argv, input, dir, out, err};

    return tw_priv_netns_run(b->priv, b->host, run_errand, &e, err);
}

/* ---- links ---- */

static void write_sysctl(const char *name, const char *value)
{
    tw_auto_free char *path = tw_strf("/proc/sys/net/%s", name);
    tw_auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd >= 0)
        (void)!write(fd, value, strlen(value));
}

/* Any source may stand behind any interface, and nothing is waited for. */
static int relax(void *arg)
{
    static const char *const rows[][2] = {
        {"ipv4/conf/all/rp_filter", "0"},        {"ipv4/conf/default/rp_filter", "0"},
        {"ipv4/conf/all/route_localnet", "1"},   {"ipv4/conf/default/route_localnet", "1"},
        {"ipv4/conf/all/accept_local", "1"},
        {"ipv4/ip_forward", "1"},                {"ipv6/conf/all/forwarding", "1"},
        {"ipv6/conf/default/accept_dad", "0"},   {"ipv6/conf/default/autoconf", "0"},
        {"ipv6/conf/default/router_solicitations", "0"}};

    (void)arg;
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        write_sysctl(rows[i][0], rows[i][1]);
    return 0;
}


static int link_up(struct tw_filter_box *b, int netns, const char *batch, struct tw_err *err)
{
    static const char *const ip[] = {"ip", "-force", "-batch", "-", NULL};
    struct errand e = {ip, batch, NULL, NULL, err};
    int r = tw_priv_netns_run(b->priv, netns, run_errand, &e, err);

    return r < 0 ? tw_wrap(err, r, "making the interfaces of a rule set") : 0;
}

int filter_links(struct tw_filter_box *b, const struct filter_names *names, struct tw_err *err)
{
    tw_auto_buf host = {0}, prober = {0};
    int r;

    tw_buf_init(&host, 1 << 20);
    tw_buf_init(&prober, 1 << 20);
    for (size_t i = 0; i < names->list.count; i++) {
        const char *name = names->list.items[i];

        if (tw_name_index(name, b->links.items, b->links.count) >= 0)
            continue;
        /* an address on each: what is masqueraded gets one */
        tw_buf_printf(&host,
                      "link add %s address 02:00:00:00:00:0b type veth peer name twp%zu address "
                      "02:00:00:00:00:0a netns /proc/%d/fd/%d\nlink set %s up\n"
                      "addr add 10.213.10.%zu/32 dev %s\n"
                      "addr add fd00:213:10::%zx/128 dev %s nodad\n",
                      name, b->links.count, (int)getpid(), b->prober, name, b->links.count + 1,
                      name, b->links.count + 1, name);
        tw_buf_printf(&prober, "link set twp%zu up\n", b->links.count);
        TW_PUSH(b->arena, &b->links, tw_arena_strdup(b->arena, name));
    }
    if (!host.len)
        return 0;
    r = link_up(b, b->host, tw_buf_text(&host), err);
    return r < 0 ? r : link_up(b, b->prober, tw_buf_text(&prober), err);
}

int tw_filter_open(struct tw_priv *priv, struct tw_filter_box **ret, struct tw_err *err)
{
    struct tw_filter_box *b = tw_alloc(sizeof *b);
    int r;

    b->priv = priv;
    b->host = b->prober = -1;
    b->next = 0x10000;
    b->arena = tw_arena_new();
    r = tw_priv_netns_new(priv, &b->host, err);
    if (r == 0)
        r = tw_priv_netns_new(priv, &b->prober, err);
    if (r == 0)
        r = tw_priv_netns_run(priv, b->host, relax, NULL, err);
    if (r < 0) {
        tw_filter_close(b);
        return r;
    }
    *ret = b;
    return 0;
}

void tw_filter_close(struct tw_filter_box *b)
{
    if (!b)
        return;
    tw_close_p(&b->host);
    tw_close_p(&b->prober);
    tw_arena_free(b->arena);
    free(b);
}

/* ---- loading ---- */

/* "/dev/stdin:3:15-19: Error: Interface does not exist": the word that stands there. */
static bool missing_interface(struct tw_arena *a, const char *text, const char *words,
                              struct filter_names *ret)
{
    unsigned line = 0, from = 0, to = 0;
    const char *at = strchr(words, ':');

    *ret = (struct filter_names){0};
    if (!strstr(words, "Interface does not exist") || !at ||
        sscanf(at, ":%u:%u-%u", &line, &from, &to) != 3 || from == 0 || to < from)
        return false;
    for (; line > 1 && text; line--)
        text = strchr(text, '\n') ? strchr(text, '\n') + 1 : NULL;
    if (!text || strcspn(text, "\n") < to)
        return false;
    text += from - 1;
    to = to - from + 1;
    if (*text == '"' && to > 2) {
        text++;
        to -= 2;
    }
    TW_PUSH(a, &ret->list, tw_arena_strndup(a, text, to));
    return filter_name_is_fine(ret->list.items[0]);
}

/* The tool's words, with the name of the file in the place of what it read. */
static void tell_place(const char *words, const char *name, struct tw_err *err)
{
    static const char read[] = "/dev/stdin";
    tw_auto_buf out = {0};

    tw_buf_init(&out, 1000);
    for (const char *at = words, *hit; *at; at = hit + strlen(read)) {
        hit = strstr(at, read);
        tw_buf_add(&out, at, hit ? (size_t)(hit - at) : strlen(at));
        if (!hit)
            break;
        tw_buf_puts(&out, name ? name : "the rule set");
    }
    (void)tw_fail(err, -EINVAL, "%s", tw_buf_text(&out));
}

static int load_nft(struct tw_filter_box *b, const struct tw_filter_text *text, struct tw_err *err)
{
    static const char *const nft[] = {"nft", "-f", "/dev/stdin", NULL};
    struct filter_names missing;
    struct tw_err why = {0};
    int r = filter_run(b, nft, text->nft, text->dir, NULL, &why);

    for (int i = 0; r < 0 && i < MISSING_MAX && missing_interface(b->arena, text->nft, why.text, &missing);
         i++) {
        r = filter_links(b, &missing, err);
        r = r < 0 ? r : filter_run(b, nft, text->nft, text->dir, NULL, &why);
    }
    if (r < 0)
        tell_place(why.text, text->name, err);
    return r;
}

static const char *const restore[2][2] = {{"iptables-nft-restore", NULL}, {"ip6tables-nft-restore", NULL}},
                         *const save[2][2] = {{"iptables-nft-save", NULL}, {"ip6tables-nft-save", NULL}};

int tw_filter_load(struct tw_filter_box *b, const struct tw_filter_text *text, struct tw_err *err)
{
    struct filter_names names = {0};
    int r;

    TW_PUSH(b->arena, &names.list, FILTER_OTHER);
    if (text->nft)
        filter_names_of(b->arena, text->nft, &names);
    for (int v6 = 0; v6 < 2; v6++)
        if (text->xt[v6])
            filter_names_of(b->arena, text->xt[v6], &names);
    r = filter_links(b, &names, err);
    if (r == 0)
        r = link_up(b, b->host, "link set lo up\n", err);
    b->loaded = *text;
    if (r == 0 && text->nft)
        r = load_nft(b, text, err);
    for (int v6 = 0; v6 < 2 && r == 0; v6++)
        if (text->xt[v6])
            r = filter_run(b, restore[v6], text->xt[v6], NULL, NULL, err);
    if (r == 0)
        tw_step("filter.rules.loaded");
    return r;
}

/* ---- reading ---- */

/* Of nft's list without the tables that iptables keeps. */
static void drop_xt_tables(json_t *list, const bool has[2])
{
    static const char *const names[] = {"filter", "nat", "mangle", "raw", "security"};
    json_t *rows = json_object_get(list, "nftables");

    for (size_t i = json_array_size(rows); i-- > 0;) {
        json_t *row = json_array_get(rows, i);
        void *first = json_object_iter(row);
        const json_t *body = first ? json_object_iter_value(first) : NULL;
        const char *family = json_string_value(json_object_get(body, "family"));
        const char *table = json_string_value(
            json_object_get(body, first && strcmp(json_object_iter_key(first), "table") == 0 ? "name"
                                                                                             : "table"));

        if (table && tw_name_index(table, names, TW_COUNT_OF(names)) >= 0 &&
            ((has[0] && tw_streq(family, "ip")) || (has[1] && tw_streq(family, "ip6"))))
            (void)json_array_remove(rows, i);
    }
}

static int read_nft(struct tw_filter_box *b, struct tw_arena *a, const struct tw_flow_rules **ret,
                    struct tw_err *err)
{
    static const char *const list[] = {"nft", "-j", "list", "ruleset", NULL};
    const bool has[2] = {b->loaded.xt[0] != NULL, b->loaded.xt[1] != NULL};
    tw_auto_free char *text = NULL;
    int r = filter_run(b, list, NULL, NULL, &text, err);

    if (r == 0 && (has[0] || has[1])) {
        json_auto_t *json = json_loads(text, 0, NULL);

        drop_xt_tables(json, has);
        free(text);
        text = json_dumps(json, JSON_COMPACT);
    }
    return r < 0 ? r : tw_flow_read_nft(a, text, strlen(text), ret, err);
}

int tw_filter_read(struct tw_filter_box *b, struct tw_arena *a, const struct tw_flow_rules **ret,
                   struct tw_err *err)
{
    const struct tw_flow_rules *all = NULL;
    int r = 0;

    if (b->loaded.nft || (!b->loaded.xt[0] && !b->loaded.xt[1]))
        r = read_nft(b, a, &all, err);
    for (int v6 = 0; v6 < 2 && r == 0; v6++) {
        const struct tw_flow_rules *one;
        tw_auto_free char *text = NULL;

        if (!b->loaded.xt[v6])
            continue;
        r = filter_run(b, save[v6], NULL, NULL, &text, err);
        if (r == 0)
            r = tw_flow_read_iptables(a, text, strlen(text), v6, &one, err);
        if (r == 0)
            all = all ? tw_flow_join(a, all, one) : one;
    }
    if (r == 0)
        *ret = all;
    return r;
}

/* ---- commands ---- */

#define WORDS_MAX 96

int tw_filter_command(struct tw_filter_box *b, const char *command, struct tw_err *err)
{
    tw_auto_free char *copy = strdup(command);
    const char *argv[WORDS_MAX + 1] = {NULL};
    static const char *const nft[] = {"nft", "-f", "/dev/stdin", NULL};
    char *save_at = NULL;
    size_t n = 0;
    int r;

    if (tw_starts_with(command, "nft ")) {
        r = filter_run(b, nft, command + 4, NULL, NULL, err);
    } else {
        for (char *w = strtok_r(copy, " ", &save_at); w && n < WORDS_MAX; w = strtok_r(NULL, " ", &save_at))
            argv[n++] = w;
        argv[0] = tw_streq(argv[0], "ip6tables") ? "ip6tables-nft" : "iptables-nft";
        r = filter_run(b, argv, NULL, NULL, NULL, err);
    }
    return r < 0 ? tw_wrap(err, r, "'%.300s'", command) : 0;
}
