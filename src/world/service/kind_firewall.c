/* The packet filter of a host: a rule-set file, or what the kernel has now, which is only read. Nothing of it
 * is started or loaded here: the stages of run judge rule sets (docs/internals/flow.md). */
#include "tw/io.h"
#include "tw/service.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define RULES_MAX     ((size_t)64 << 20)
#define LISTENERS_MAX 256

static const struct tw_service_program programs[] = {
    {"nft", "/usr/sbin/nft:/sbin/nft", "nftables"},
    {"iptables-restore", "/usr/sbin/iptables-nft-restore", "iptables"},
    {"ip", "/usr/sbin/ip:/sbin/ip:/bin/ip", "iproute2"},
    {0}};

static int check_declaration(const struct tw_target *t, struct tw_err *err)
{
    if (t->data_dir || t->dsn || t->config || t->project || t->container)
        return tw_fail(err, -EINVAL,
                       "target '%s' of type firewall takes --file FILE, or nothing for "
                       "the rule set that this host has now",
                       t->name);
    return 0;
}

/* ---- the rule set ---- */

static void add_file(struct tw_arena *a, struct tw_snapshot *s, const char *path,
                     const char *text, unsigned mode)
{
    TW_PUSH(a, &s->files, (struct tw_file){path, tw_arena_strdup(a, text), mode});
    s->cost.bytes += (int64_t)strlen(text);
}

static int read_one(struct tw_arena *a, const char *path, struct tw_snapshot *s,
                    struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    struct stat st;
    size_t len;
    int r = tw_read_file(AT_FDCWD, path, RULES_MAX, &text, &len, err);

    if (r < 0)
        return r;
    if (strlen(text) != len)
        return tw_fail(err, -EINVAL, "'%s' is not a text file", path);
    if (stat(path, &st) < 0)
        st.st_mode = 0644;
    add_file(a, s, path, text, st.st_mode & 07777);
    return 0;
}

/* iptables-persistent keeps the two families in files side by side. */
static int read_files(struct tw_arena *a, const struct tw_target *t,
                      struct tw_snapshot *s, struct tw_err *err)
{
    static const char *const sides[][2] = {{".v4", ".v6"}, {".v6", ".v4"}};
    int r = read_one(a, t->file, s, err);

    s->config_file = t->file;
    s->how = "file";
    for (size_t i = 0; i < TW_COUNT_OF(sides) && r == 0; i++)
        if (tw_ends_with(t->file, sides[i][0])) {
            size_t stem = strlen(t->file) - strlen(sides[i][0]);
            const char *other =
                tw_arena_printf(a, "%.*s%s", (int)stem, t->file, sides[i][1]);

            (void)read_one(a, other, s, NULL);
        }
    return r;
}

/* What a program that only reads says; NULL when it is missing or fails. */
static char *ask(struct tw_arena *a, const char *const *argv, struct tw_snapshot *s,
                 struct tw_err *err)
{
    struct tw_child child = {.argv = argv,
                             .uid = (unsigned)-1,
                             .gid = (unsigned)-1,
                             .deadline_ns = tw_now_ns() + 20 * TW_SEC_NS,
                             .max_output = RULES_MAX};
    struct tw_child_result res = {0};
    char *text = NULL;

    s->cost.statements++;
    if (tw_child_run(&child, &res, err) < 0)
        return NULL;
    if (res.status == 0)
        text = tw_arena_strdup(a, tw_buf_text(&res.out));
    else
        (void)tw_fail(err, -EACCES, "'%s' says: %.300s", argv[0], tw_buf_text(&res.err));
    tw_child_result_done(&res);
    return text;
}

static bool has_rules(const char *saved)
{
    return saved && (strstr(saved, "\n-A ") || strstr(saved, " DROP ["));
}

/* What iptables keeps in the kernel's own tables is told by iptables-save alone. */
static int read_live(struct tw_arena *a, struct tw_snapshot *s, struct tw_err *err)
{
    static const char *const list[] = {"nft", "list", "ruleset", NULL};
    static const struct {
        const char *argv[2], *path;
    } saves[] = {{{"iptables-save", NULL}, "iptables-save"},
                 {{"ip6tables-save", NULL}, "ip6tables-save"}};
    struct tw_err why = {0};
    const char *text = ask(a, list, s, &why);

    s->how = "live";
    s->config_file = "the rule set of this host";
    if (text)
        add_file(a, s, "nft list ruleset", text, 0600);
    for (size_t i = 0; i < TW_COUNT_OF(saves); i++) {
        const char *saved = ask(a, saves[i].argv, s, NULL);

        if (has_rules(saved))
            add_file(a, s, saves[i].path, saved, 0600);
    }
    if (!s->files.count)
        return tw_fail(err, -EACCES, "the rule set of this host cannot be read: %s",
                       why.text);
    return 0;
}

/* ---- the host it stands on ---- */

static void add_address(struct tw_arena *a, struct tw_snapshot *s, const char *name,
                        const char *address)
{
    name = tw_arena_printf(a, "interface %s", name);
    for (size_t i = 0; i < s->settings.count; i++)
        if (tw_streq(s->settings.items[i].name, name)) {
            struct tw_setting *had = &s->settings.items[i];

            had->value =
                *had->value ? tw_arena_printf(a, "%s, %s", had->value, address) : address;
            return;
        }
    TW_PUSH(a, &s->settings,
            (struct tw_setting){
                .name = name, .value = address, .type = "string", .source = "host"});
}

static void read_interfaces(struct tw_arena *a, struct tw_snapshot *s)
{
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) < 0)
        return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN] = "";
        int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;

        if (family == AF_INET)
            (void)inet_ntop(
                family,
                &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr, text,
                sizeof text);
        else if (family == AF_INET6)
            (void)inet_ntop(
                family,
                &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr,
                text, sizeof text);
        add_address(a, s, i->ifa_name, tw_arena_strdup(a, text));
    }
    freeifaddrs(all);
}

static char *hex_address(struct tw_arena *a, const char *hex, bool v6)
{
    unsigned char bytes[16] = {0};
    char text[INET6_ADDRSTRLEN] = "";

    /* words of four bytes in the order of this host */
    for (size_t i = 0; i < (v6 ? 4 : 1); i++) {
        unsigned word = 0;

        (void)sscanf(hex + 8 * i, "%8x", &word);
        memcpy(bytes + 4 * i, &word, 4);
    }
    (void)inet_ntop(v6 ? AF_INET6 : AF_INET, bytes, text, sizeof text);
    return tw_arena_strdup(a, text);
}

static void add_listener(struct tw_arena *a, struct tw_snapshot *s, const char *protocol,
                         const char *address, int port)
{
    for (size_t i = 0; i < s->endpoints.count; i++)
        if (s->endpoints.items[i].port == port &&
            tw_streq(s->endpoints.items[i].address, address) &&
            tw_streq(s->endpoints.items[i].protocol, protocol))
            return;
    if (s->endpoints.count < LISTENERS_MAX)
        TW_PUSH(a, &s->endpoints, (struct tw_endpoint){protocol, address, port, NULL});
}

/* Sockets that wait for somebody: listening ones of TCP, unconnected ones of UDP. */
static void read_listeners(struct tw_arena *a, struct tw_snapshot *s)
{
    static const struct {
        const char *path, *protocol, *state;
        bool v6;
    } tables[] = {{"/proc/net/tcp", "tcp", "0A", false},
                  {"/proc/net/tcp6", "tcp", "0A", true},
                  {"/proc/net/udp", "udp", "07", false},
                  {"/proc/net/udp6", "udp", "07", true}};

    for (size_t t = 0; t < TW_COUNT_OF(tables); t++) {
        tw_auto_free char *text = NULL;
        char *save = NULL;

        if (tw_read_file(AT_FDCWD, tables[t].path, 8 << 20, &text, NULL, NULL) < 0)
            continue;
        for (char *line = strtok_r(text, "\n", &save); line;
             line = strtok_r(NULL, "\n", &save)) {
            char local[40], state[4];
            unsigned port;

            if (sscanf(line, " %*d: %39[0-9A-F]:%4x %*[0-9A-F]:%*4x %3s", local, &port,
                       state) == 3 &&
                strcmp(state, tables[t].state) == 0 && port)
                add_listener(a, s, tables[t].protocol,
                             hex_address(a, local, tables[t].v6), (int)port);
        }
    }
}

static int snapshot(struct tw_arena *a, const struct tw_target *t,
                    struct tw_snapshot *ret, struct tw_err *err)
{
    int r = t->file ? read_files(a, t, ret, err) : read_live(a, ret, err);

    if (r < 0)
        return tw_wrap(err, r, "the rules of target '%s'", t->name);
    ret->version = "packet filter";
    read_interfaces(a, ret);
    read_listeners(a, ret);
    return 0;
}

/* ---- changes: of type security ---- */

static int validate(struct tw_arena *a, const struct tw_snapshot *s,
                    const struct tw_request *r, struct tw_issues *issues,
                    struct tw_err *err)
{
    (void)a, (void)r, (void)issues;
    return tw_fail_at(err, -EINVAL, "/type",
                      "target '%s' is a rule set: what changes it is of type security",
                      s->target);
}

static int plan(struct tw_arena *a, const struct tw_snapshot *s,
                const struct tw_request *r, struct tw_plan *ret, struct tw_err *err)
{
    (void)ret;
    return validate(a, s, r, NULL, err);
}

extern const struct tw_service_kind kind_firewall;
const struct tw_service_kind kind_firewall = {
    .name = "firewall",
    .summary =
        "the packet filter of a host: nftables or iptables, from a file or as it is now",
    .programs = programs,
    .check_declaration = check_declaration,
    .snapshot = snapshot,
    .validate = validate,
    .plan = plan,
};
