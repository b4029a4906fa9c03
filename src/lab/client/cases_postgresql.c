/* Who connects to a PostgreSQL cluster, as its statistics and its access rules tell. */
#include "client_internal.h"

#include "tw/pg.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define USUAL_REST_S  2.0
#define MOST_SEEN     8
#define MOST_ROLES    5
#define MOST_RULES    8
#define MOST_NETWORKS 4
#define MOST_SENT     6
#define MOST_TABLES   3
#define LONG_MS       200.0 /* a statement that takes longer is the load's business */
#define FOREIGN_V4    "203.0.113.7"
#define FOREIGN_V6    "2001:db8::7"
#define LOOPBACK      "127.0.0.1"
#define UNKNOWN_ROLE  "twin_nobody"

struct making {
    struct tw_arena *a;
    const struct tw_snapshot *s;
    const struct tw_plan *plan;
    struct tw_clients *to;
    const char *role, *super, *database; /* of most that happens; the first superuser */
};

/* ---- networks ---- */

static bool is_loopback(const char *address)
{
    return tw_starts_with(address, "127.") || tw_streq(address, "::1");
}

/* The first host behind the network's own address; the loopback itself. */
static const char *host_in_v4(struct tw_arena *a, const char *base, bool single)
{
    struct in_addr v4;
    uint32_t host;
    char text[INET_ADDRSTRLEN];

    if (inet_pton(AF_INET, base, &v4) != 1)
        return NULL;
    host = ntohl(v4.s_addr);
    if (host == 0)
        return FOREIGN_V4;
    if (!single && (host & 0xff) == 0)
        host += 7;
    v4.s_addr = htonl(host);
    return tw_arena_strdup(a, inet_ntop(AF_INET, &v4, text, sizeof text));
}

static const char *host_in_v6(struct tw_arena *a, const char *base, bool single)
{
    static const struct in6_addr any;
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];

    if (inet_pton(AF_INET6, base, &v6) != 1)
        return NULL;
    if (memcmp(&v6, &any, sizeof v6) == 0)
        return FOREIGN_V6;
    if (!single && v6.s6_addr[15] == 0)
        v6.s6_addr[15] = 7;
    return tw_arena_strdup(a, inet_ntop(AF_INET6, &v6, text, sizeof text));
}

const char *client_address_in(struct tw_arena *a, const char *network)
{
    size_t n = network ? strcspn(network, "/") : 0;
    const char *base = n ? tw_arena_strndup(a, network, n) : NULL;
    const char *mask = n && network[n] ? network + n + 1 : "";
    bool single = tw_streq(mask, "32") || tw_streq(mask, "128") || !*mask ||
                  tw_streq(mask, "255.255.255.255") ||
                  tw_starts_with(mask, "ffff:ffff:ffff:"
                                       "ffff:ffff:ffff:"
                                       "ffff:ffff");

    if (!base)
        return NULL;
    if (tw_streq(base, "all"))
        return FOREIGN_V4;
    if (is_loopback(base))
        return strchr(base, ':') ? base : LOOPBACK;
    return strchr(base, ':') ? host_in_v6(a, base, single) : host_in_v4(a, base, single);
}

/* ---- what a role sends ---- */

static bool is_sent_by_clients(const char *sql)
{
    static const char *const words[] = {
        "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "PREPARE TRANSACTION"};

    sql += strspn(sql, " \t\r\n(");
    for (size_t i = 0; i < TW_COUNT_OF(words); i++)
        if (strncasecmp(sql, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

/* The most frequent one that is not among those taken. */
static const struct tw_statement *next_statement(const struct making *m,
                                                 const struct tw_client *c, int64_t below)
{
    const struct tw_statement *best = NULL;

    for (size_t i = 0; i < m->s->statements.count; i++) {
        const struct tw_statement *st = &m->s->statements.items[i];

        if (!tw_streq(st->user, c->user) || !tw_streq(st->database, c->database) ||
            !st->text || !is_sent_by_clients(st->text) || st->mean_ms > LONG_MS ||
            st->calls >= below)
            continue;
        if (!best || st->calls > best->calls)
            best = st;
    }
    return best;
}

static void send_statements(const struct making *m, struct tw_client *c)
{
    const struct tw_statement *st;
    int64_t below = INT64_MAX;

    while (c->send.count < MOST_SENT && (st = next_statement(m, c, below))) {
        TW_PUSH(m->a, &c->send, st->text);
        below = st->calls;
    }
}

/* Reads and writes nothing, and is refused like what reads and writes: names as its search_path
 * resolves them, its grants, whether it may write at all. */
static void send_for_table(const struct making *m, const struct tw_table *t,
                           struct tw_client *c)
{
    const char *name = tw_pg_quote_ident(m->a, t->name);
    const char *full =
        tw_arena_printf(m->a, "%s.%s", tw_pg_quote_ident(m->a, t->schema), name);
    const char *const names[] = {name, full};
    size_t n = tw_streq(t->schema, "public") ? 1 : TW_COUNT_OF(names);

    for (size_t i = 0; i < n; i++) {
        TW_PUSH(m->a, &c->send,
                tw_arena_printf(m->a, "SELECT FROM %s LIMIT 0", names[i]));
        TW_PUSH(m->a, &c->send,
                tw_arena_printf(m->a, "INSERT INTO %s SELECT * FROM %s LIMIT 0", names[i],
                                names[i]));
        TW_PUSH(m->a, &c->send,
                tw_arena_printf(m->a, "DELETE FROM %s WHERE false", names[i]));
    }
}

static bool has_two_phase(const struct tw_snapshot *s)
{
    const struct tw_setting *most = tw_snapshot_setting(s, "max_prepared_transactions");

    return most && most->value && atoi(most->value) > 0;
}

static void send_what_it_sends(const struct making *m, struct tw_client *c)
{
    int tables = 0;

    if (tw_streq(c->database, "replication"))
        return;
    send_statements(m, c);
    for (size_t i = 0; i < m->s->tables.count && tables < MOST_TABLES; i++) {
        if (!tw_streq(m->s->tables.items[i].database, c->database))
            continue;
        send_for_table(m, &m->s->tables.items[i], c);
        tables++;
    }
    if (has_two_phase(m->s))
        TW_PUSH(m->a, &c->send, "PREPARE TRANSACTION $1");
}

/* ---- cases ---- */

static void add_client(const struct making *m, struct tw_client c)
{
    c.protocol = "postgresql";
    if (!c.database)
        c.database = m->database;
    if (!tw_streq(c.origin, CLIENT_STRANGER))
        c.password = tw_service_clone_password(m->a, m->s, c.user);
    if (!(c.think_s > 0))
        c.think_s = USUAL_REST_S;
    if (!tw_streq(c.origin, CLIENT_STRANGER) && !tw_streq(c.origin, CLIENT_OUTSIDER) &&
        !c.send.count)
        send_what_it_sends(m, &c);
    client_add(m->a, m->to, &c);
}

static void add_seen(const struct making *m)
{
    for (size_t i = 0; i < m->s->clients.count && i < MOST_SEEN; i++)
        if (m->s->clients.items[i].user)
            add_client(m, m->s->clients.items[i]);
}

static void add_strangers(const struct making *m)
{
    static const char *const sources[] = {FOREIGN_V4, FOREIGN_V6, LOOPBACK};

    for (size_t i = 0; i < TW_COUNT_OF(sources); i++)
        add_client(m, (struct tw_client){.user = m->super,
                                         .database = "postgres",
                                         .source = sources[i],
                                         .origin = CLIENT_STRANGER});
    add_client(m, (struct tw_client){.user = UNKNOWN_ROLE,
                                     .database = "postgres",
                                     .source = FOREIGN_V4,
                                     .origin = CLIENT_STRANGER});
}

/* The line stands in the file today: what it names is no news. */
static bool is_old(const struct making *m, const struct tw_plan_step *step, const char *line)
{
    for (size_t i = 0; i < m->s->files.count; i++)
        if (tw_streq(m->s->files.items[i].path, step->path))
            return strstr(m->s->files.items[i].text, line) != NULL;
    return false;
}

/* Networks that the change itself names: somebody without a password comes from there too, and a
 * role that is known with its own. */
static void add_named_networks(const struct making *m)
{
    int added = 0;

    for (size_t i = 0; i < m->plan->steps.count; i++) {
        char *rest = tw_arena_strdup(m->a, m->plan->steps.items[i].value);

        for (char *line; rest && (line = strsep(&rest, "\n"));) {
            line[strcspn(line, "#")] = '\0';
            if (is_old(m, &m->plan->steps.items[i], line))
                continue;
            for (char *word; line && (word = strsep(&line, " \t"));) {
                const char *source =
                    strchr(word, '/') ? client_address_in(m->a, word) : NULL;

                if (!source || added == MOST_NETWORKS)
                    continue;
                added++;
                add_client(m, (struct tw_client){.user = m->super,
                                                 .database = "postgres",
                                                 .source = source,
                                                 .origin = CLIENT_STRANGER});
                if (!tw_streq(m->role, m->super))
                    add_client(m, (struct tw_client){.user = m->role,
                                                     .source = source,
                                                     .origin = CLIENT_OUTSIDER});
            }
        }
    }
}

static const char *first_of(struct tw_arena *a, const char *list)
{
    return list ? tw_arena_strndup(a, list, strcspn(list, ",")) : "all";
}

static const char *user_of(const struct making *m, const struct tw_hba_rule *r)
{
    const char *user = first_of(m->a, r->users);

    if (tw_streq(user, "all"))
        return tw_streq(r->type, "local") && tw_streq(r->method, "peer")
                   ? m->s->owner_name
                   : m->role;
    return *user == '+' || *user == '/' ? NULL : user;
}

static const char *database_of(const struct making *m, const struct tw_hba_rule *r,
                               const char *user)
{
    const char *database = first_of(m->a, r->databases);

    if (tw_streq(database, "sameuser"))
        return user;
    return tw_streq(database, "all") || tw_streq(database, "samerole") ||
                   *database == '+' || *database == '/' || *database == '@'
               ? m->database
               : database;
}

static bool can_be_tried(const struct making *m, const struct tw_hba_rule *r,
                         const char *user)
{
    static const char *const methods[] = {"trust", "md5", "scram-sha-256", "password"};

    if (r->error || !r->type || !r->method || !user)
        return false;
    if (tw_streq(r->method, "peer"))
        return tw_streq(user, m->s->owner_name);
    return tw_name_index(r->method, methods, TW_COUNT_OF(methods)) >= 0;
}

static bool rule_case(const struct making *m, const struct tw_hba_rule *r,
                      const char *user, struct tw_client *ret)
{
    struct tw_client c = {.user = user, .origin = "configuration"};
    bool local = tw_streq(r->type, "local");
    bool near =
        tw_starts_with(r->address ? r->address : "", "same"); /* samehost, samenet */

    if (!can_be_tried(m, r, user))
        return false;
    c.database = database_of(m, r, user);
    c.address = local ? "/" : NULL;
    c.source = local || near ? NULL : client_address_in(m->a, r->address);
    if (!local && !c.source && !near)
        return false; /* a name: where it leads is not known here */
    c.sslmode = tw_streq(r->type, "hostssl")     ? "require"
                : tw_streq(r->type, "hostnossl") ? "disable"
                                                 : NULL;
    *ret = c;
    return true;
}

static void add_rules(const struct making *m)
{
    int added = 0;

    for (size_t i = 0; i < m->s->hba.count && added < MOST_RULES; i++) {
        struct tw_client c;

        if (!rule_case(m, &m->s->hba.items[i], user_of(m, &m->s->hba.items[i]), &c))
            continue;
        add_client(m, c);
        added++;
    }
}

/* By the first rule that any role may come by. */
static bool add_role(const struct making *m, const struct tw_role *role)
{
    for (size_t k = 0; k < m->s->hba.count; k++) {
        const struct tw_hba_rule *r = &m->s->hba.items[k];
        const char *users = first_of(m->a, r->users);
        struct tw_client c;

        if (tw_streq(r->databases, "replication") || tw_streq(r->method, "peer") ||
            (!tw_streq(users, "all") && !tw_streq(users, role->name)) ||
            !rule_case(m, r, role->name, &c))
            continue;
        add_client(m, c);
        return true;
    }
    return false;
}

/* Those first that are connected, and ordinary ones before superusers. */
static void add_roles(const struct making *m)
{
    int added = 0;

    for (int pass = 0; pass < 4; pass++)
        for (size_t i = 0; i < m->s->roles.count && added < MOST_ROLES; i++) {
            const struct tw_role *role = &m->s->roles.items[i];
            int group = (role->superuser ? 2 : 0) + (role->connections_used > 0 ? 0 : 1);

            added += role->login && group == pass && add_role(m, role);
        }
}

static void add_outsiders(const struct making *m)
{
    const char *const users[] = {m->super, m->role};

    for (size_t i = 0; i < TW_COUNT_OF(users); i++)
        add_client(m, (struct tw_client){.user = users[i],
                                         .source = FOREIGN_V4,
                                         .origin = CLIENT_OUTSIDER});
}

/* ---- who and where most happens ---- */

static const char *main_role(const struct tw_snapshot *s, const char *otherwise)
{
    const struct tw_role *best = NULL;

    for (size_t i = 0; i < s->roles.count; i++) {
        const struct tw_role *r = &s->roles.items[i];

        if (!r->login || r->superuser)
            continue;
        if (!best || r->connections_used > best->connections_used)
            best = r;
    }
    return best ? best->name : otherwise;
}

static const char *first_superuser(const struct tw_snapshot *s)
{
    for (size_t i = 0; i < s->roles.count; i++)
        if (s->roles.items[i].superuser && s->roles.items[i].login)
            return s->roles.items[i].name;
    return s->owner_name ? s->owner_name : "postgres";
}

void client_cases_postgresql(struct tw_arena *a, const struct tw_snapshot *s,
                             const struct tw_plan *plan, struct tw_clients *to)
{
    struct making m = {.a = a, .s = s, .plan = plan, .to = to};

    m.super = first_superuser(s);
    m.role = main_role(s, m.super);
    m.database = s->tables.count      ? s->tables.items[0].database
                 : s->databases.count ? s->databases.items[0]
                                      : "postgres";
    add_seen(&m);
    add_strangers(&m);
    add_named_networks(&m);
    add_roles(&m);
    add_rules(&m);
    add_outsiders(&m);
}
