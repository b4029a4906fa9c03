/* Changes of packet filters, as a user makes them, on the real kernel. The test stands in a network
 * namespace of its own, whose rules are those "of this host": they are the same afterwards. */
#include "live.h"

#include <arpa/inet.h>
#include <sched.h>
#include <sys/socket.h>

#define NFT(more)                                                                                    \
    "flush ruleset\ntable inet filter {\n chain input {\n  type filter hook input priority 0; policy drop;\n" \
    "  iif lo accept\n" more " }\n chain output { type filter hook output priority 0; policy accept; }\n}\n"
#define SAVED(more)                                                                                  \
    "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n" more                           \
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"

#define ESTABLISHED "  ct state established,related accept\n"
#define SSH         "  tcp dport 22 accept\n"
#define WEB         "  iifname \"eth0\" tcp dport { 80, 443 } accept\n"
#define UNUSED      "  tcp dport 9999 accept\n"
#define LO          "-A INPUT -i lo -j ACCEPT\n"
#define WEB4        "-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT\n"

static const struct {
    const char *name, *text;
} files[] = {
    {"today.nft", NFT(ESTABLISHED SSH WEB UNUSED)},
    {"no-established.nft", NFT(SSH WEB UNUSED)},
    {"counted.nft", NFT(ESTABLISHED SSH "  tcp dport 80 ct count over 10 drop\n" WEB UNUSED)},
    {"as-set.nft", NFT(ESTABLISHED "  tcp dport { 22, 9999 } accept\n" WEB)},
    {"broken.nft", NFT(ESTABLISHED "  tcp dprt 22 accept\n" WEB)},
    {"forward.nft", NFT(ESTABLISHED SSH WEB UNUSED)
                    "table ip route {\n chain forward {\n  type filter hook forward priority 0; policy drop;\n"
                    "  iifname \"eth1\" oifname \"eth0\" tcp dport 80 accept\n }\n}\n"},
    {"rules.v4", SAVED(LO WEB4) "COMMIT\n"},
    {"rules.v6", SAVED(LO WEB4) "COMMIT\n"},
    {"no-lo.v4", SAVED(WEB4) "COMMIT\n"},
    {"no-web.v4", SAVED(LO) "COMMIT\n"},
};

static const struct row {
    const char *target, *args[8];
    int exit_code;
    const char *code; /* of an issue that has to be there */
} rows[] = {
    {"nft", {"--set", "action=add_rule", "--set", "port=8443", "--scan"}, 0, "scan.listeners"},
    {"nft", {"--set", "action=add_rule", "--set", "port=5432"}, 3, "firewall.exposed"},
    {"nft", {"--set", "action=remove_rule", "--set", "port=9999"}, 0, "firewall.closed"},
    {"nft", {"--set", "action=remove_rule", "--set", "port=22"}, 3, "firewall.lockout"},
    {"nft", {"--set", "action=remove_rule", "--set", "port=22"}, 3, "firewall.closed_in_use"},
    {"nft", {"--file", "no-established.nft"}, 3, "firewall.lockout"},
    {"nft", {"--file", "counted.nft"}, 4, "firewall.limited"},
    {"nft", {"--file", "as-set.nft"}, 0, "firewall.same"},
    {"nft", {"--file", "broken.nft"}, 3, "firewall.load"},
    {"nft", {"--file", "forward.nft"}, 0, "firewall.closed"},
    {"xt", {"--file", "rules.v4=no-lo.v4"}, 3, "firewall.lockout"},
    {"xt", {"--file", "rules.v4=no-web.v4"}, 4, "firewall.v6_open"},
    {"xt",
     {"--set", "action=add_rule", "--set", "port=8443", "--set", "source=10.0.0.0/8"},
     0,
     "firewall.opened"},
    {"live", {"--set", "action=add_rule", "--set", "port=8443"}, 0, "firewall.opened"},
};

/* Somebody is there today: a socket that says nothing. */
static int listen_at(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(fd, 64), 0);
    return fd;
}

static char *host_state(void)
{
    static const char *const show[] = {"/bin/sh", "-c", "nft -a list ruleset; ip -o addr", NULL};
    struct live_answer got = {0};

    cr_assert_eq(live_child(show, NULL, (unsigned)-1, (unsigned)-1, &got), 0, "%s", got.err);
    free(got.err);
    json_decref(got.json);
    return got.out;
}

/* Names of files in arguments are those below the directory of the test. */
static void run_row(struct live *l, const struct row *row, struct live_answer *got)
{
    const char *args[16] = {"run", "-o", "json", "--target", row->target};
    tw_auto_free char *path = NULL;

    for (size_t i = 0; row->args[i]; i++) {
        const char *equal = i && tw_streq(row->args[i - 1], "--file") ? strchr(row->args[i], '=') : NULL;

        args[5 + i] = row->args[i];
        if (i && tw_streq(row->args[i - 1], "--file"))
            args[5 + i] = path =
                equal ? tw_strf("%s/%.*s=%s/%s", l->top, (int)(equal - row->args[i]), row->args[i], l->top,
                                equal + 1)
                      : tw_strf("%s/%s", l->top, row->args[i]);
    }
    live_twin_env(l, NULL, args, got);
}

static void set_up(struct live *l)
{
    static const char *const targets[][2] = {{"nft", "today.nft"}, {"xt", "rules.v4"}, {"live", NULL}};
    struct live_answer got;

    cr_assert(geteuid() == 0 && unshare(CLONE_NEWNET) == 0, "needs root");
    strcpy(l->top, "/tmp/twin-live-XXXXXX");
    cr_assert(mkdtemp(l->top));
    tw_buf_init(&l->ids, 1 << 20);
    l->state = tw_strf("%s/state", l->top);
    l->data = strdup("none");
    l->bin = strdup("/nonexistent");
    live_keep(l);
    for (size_t i = 0; i < TW_COUNT_OF(files); i++) {
        tw_auto_free char *path = tw_strf("%s/%s", l->top, files[i].name);

        cr_assert_eq(tw_write_file(path, files[i].text, strlen(files[i].text), 0644, NULL), 0);
    }
    for (size_t i = 0; i < TW_COUNT_OF(targets); i++) {
        tw_auto_free char *path = targets[i][1] ? tw_strf("%s/%s", l->top, targets[i][1]) : NULL;

        live_twin(l, &got, "env", "add", targets[i][0], "--type", "firewall", path ? "--file" : NULL, path);
        cr_assert_eq(got.exit_code, 0, "%s", got.err);
        live_answer_done(&got);
    }
}

static void tear_down(struct live *l)
{
    tw_buf_done(&l->ids);
    (void)tw_remove_tree(l->top, NULL);
    (void)close(l->alive);
    (void)waitpid(l->keeper, NULL, 0);
    free(l->state);
    free(l->data);
    free(l->bin);
}

Test(run_rules, changes_are_judged_and_the_kernel_agrees, .timeout = 110)
{
    struct live l = {0};
    struct live_answer got;
    tw_auto_free char *load = NULL, *before = NULL, *after = NULL;

    set_up(&l);
    load = tw_strf("ip link set lo up && nft -f %s/today.nft", l.top);
    cr_assert_eq(live_child((const char *const[]){"/bin/sh", "-c", load, NULL}, NULL, (unsigned)-1,
                            (unsigned)-1, NULL),
                 0);
    tw_auto_close int ssh = listen_at(22);

    before = host_state();
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        run_row(&l, &rows[i], &got);
        cr_expect_eq(got.exit_code, rows[i].exit_code, "row %zu: exit %d: %s %s", i, got.exit_code, got.err,
                     got.out);
        cr_expect(live_issue(&got, rows[i].code), "row %zu: no %s: %s", i, rows[i].code, got.out);
        cr_expect(!live_issue(&got, "flow.mismatch"), "row %zu: %s", i, got.out);
        cr_expect_eq(live_issue(&got, "flow.packets"), !tw_streq(rows[i].code, "firewall.load"), "row %zu: %s",
                     i, got.out);
        live_answer_done(&got);
    }
    after = host_state();
    cr_expect_str_eq(after, before);
    cr_expect_eq(live_leftovers(&l), 0);
    tear_down(&l);
}
