/* What PgBouncer says, and what its file means for the clients and servers of today. */
#include "kind_pgb_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FORCES TW_CRITICAL, TW_BLOCK
#define ASKS   TW_HIGH, TW_REVIEW

static const struct host_words start_words[] = {
    {"invalid value", "start.value", FORCES, "a value is not taken",
     "use a value that it takes"},
    {"unknown parameter", "start.unknown_setting", FORCES, "it does not know a setting",
     "check the spelling"},
    {"syntax error", "start.syntax", FORCES, "a line cannot be read", "correct the line"},
    {"cannot load config file", "start.syntax", FORCES, "its file cannot be loaded",
     "correct the line that it names"},
    {"could not open auth_file", "start.auth_file", FORCES,
     "the list of users cannot be read", "put it there, readable for the pooler's user"},
    {"could not open auth_hba_file", "start.hba", FORCES,
     "the access rules cannot be read", "put them there, readable for the pooler's user"},
    {"TLS setup failed", "start.tls", FORCES, "certificate or key cannot be used",
     "put both where the pooler's user may read them"},
    {"tls: ", "start.tls", ASKS, "certificate or key cannot be used",
     "put both where the pooler's user may read them"},
    {"Cannot assign requested address", "start.listen", ASKS, "an address cannot be used",
     "use addresses that this host has"},
    {"Address already in use", "start.listen", FORCES, "its port is taken",
     "use a free port"},
    {"nothing to listen on", "start.listen", FORCES, "it listens nowhere",
     "set listen_addr or unix_socket_dir"},
    {"open logfile", "start.log", FORCES, "its log cannot be written",
     "make the directory, writable for the pooler's user"},
    {"unix socket", "start.listen", ASKS, "its socket cannot be made",
     "make the directory, writable for the pooler's user"},
};
static const struct host_words reload_words[] = {
    {"config file loading failed", "reload.rejected", ASKS,
     "a reload does not take this change and keeps the old values",
     "correct the line that it names"},
    {"cannot change", "reload.waits", TW_LOW, TW_PROCEED,
     "part of the change waits for a restart", "restart it"},
};
static const struct host_words log_words[] = {
    {"query_wait_timeout", "pool.wait_timeout", FORCES,
     "clients wait for a server longer than query_wait_timeout and are thrown out",
     "a larger pool_size, or a longer query_wait_timeout"},
    {"no more connections allowed", "clients.limit", FORCES,
     "clients are refused: max_client_conn is reached", "a larger max_client_conn"},
    {"accept() failed", "clients.refused", FORCES,
     "clients hang: no descriptor is left to accept them",
     "LimitNOFILE above max_client_conn plus all pools"},
    {"Too many open files", "clients.refused", FORCES, "no file descriptor is left",
     "LimitNOFILE above max_client_conn plus all pools"},
    {"unsupported startup parameter", "startup.parameter", FORCES,
     "clients are refused for a parameter that they send when they connect",
     "name it in ignore_startup_parameters"},
    {"prepared statement*does not exist", "pool.prepared", FORCES,
     "prepared statements are gone when the next server is used",
     "pool_mode=session, or max_prepared_statements of PgBouncer 1.21"},
    {"prepared statement*already exists", "pool.prepared", FORCES,
     "prepared statements of another client are in the way",
     "pool_mode=session, or max_prepared_statements of PgBouncer 1.21"},
    {"transaction blocks not allowed", "pool.no_transactions", FORCES,
     "transactions are refused: pool_mode is statement", "pool_mode=transaction"},
    {"password authentication failed", "access.login", FORCES,
     "users can no longer log in", "correct auth_file or auth_query"},
    {"SASL authentication failed", "access.login", FORCES, "users can no longer log in",
     "auth_file needs the secret in the form of auth_type"},
    {"no such user", "access.login", FORCES, "users are not known any more",
     "add them to auth_file"},
    {"no such database", "database.gone", FORCES, "a database is not known any more",
     "keep its line in [databases]"},
    {"server login failed", "upstream.login", FORCES,
     "the server does not let the pooler in",
     "user and password of its line in [databases]"},
    {"server login has been failing", "upstream.unreachable", FORCES,
     "the server does not take the pooler's connections",
     "look at its address and password"},
    {"connect failed", "upstream.unreachable", ASKS, "a server is not reached",
     "look at its address"},
    {"server refused SSL", "upstream.tls", FORCES, "a server does not speak TLS",
     "switch TLS on at the server first, or server_tls_sslmode=prefer"},
    {"DNS lookup failed", "upstream.name", FORCES, "the name of a server is not found",
     "use a name that is known, or an address"},
    {"client_idle_timeout", "clients.dropped", ASKS, "idle clients are thrown out",
     "a longer client_idle_timeout"},
    {"client_login_timeout", "clients.dropped", ASKS,
     "clients are thrown out while they log in", "a longer client_login_timeout"},
    {"idle transaction timeout", "clients.dropped", ASKS,
     "clients are thrown out inside a transaction", "a longer idle_transaction_timeout"},
    {"query timeout", "query.timeout", FORCES, "queries are cut off",
     "a longer query_timeout"},
};

/* "2026-11-23 18:33:35.309 UTC [30550] LOG C-0x55: shop/app@10.0.0.7:4711 words": time, pid and the
 * name of the connection differ from run to run. */
static const char *clean(struct tw_arena *a, const char *line)
{
    static const char *const levels[] = {" LOG ", " WARNING ", " ERROR ", " FATAL "};
    const char *at = NULL, *from, *end;

    for (size_t i = 0; i < TW_COUNT_OF(levels) && !at; i++)
        at = strstr(line, levels[i]);
    if (!isdigit((unsigned char)*line) || !at)
        return isspace((unsigned char)*line) ? NULL : line;
    at++;
    from = strstr(at, " C-0x");
    from = from ? from : strstr(at, " S-0x");
    end = from ? strchr(from + 1, ' ') : NULL;
    end = end ? strchr(end + 1, ' ') : NULL;
    return end ? tw_arena_printf(a, "%.*s%s", (int)(from - at), at, end) : at;
}

/* ---- of its own words: descriptors ---- */

static bool number_after(const char *line, const char *words, double *ret)
{
    const char *at = strstr(line, words);

    if (!at)
        return false;
    *ret = strtod(at + strlen(words), NULL);
    return true;
}

bool pgb_read_files(const char *log, struct pgb_files *ret)
{
    const char *line = log ? strstr(log, "kernel file descriptor limit: ") : NULL;

    return line && number_after(line, "descriptor limit: ", &ret->limit) &&
           number_after(line, "max_client_conn: ", &ret->clients) &&
           number_after(line, "max expected fd use: ", &ret->expected) &&
           (number_after(line, "(hard: ", &ret->hard) || true);
}

static int peak_of(const struct tw_snapshot *s, const struct tw_plan *plan)
{
    int peak = s->peak_connections > s->connections_used ? s->peak_connections
                                                         : s->connections_used;

    return plan && plan->connections > peak ? plan->connections : peak;
}

/* Descriptors it has for itself: sockets, log, event loop, resolver. */
#define OWN_FILES 12

static void judge_descriptors(struct tw_arena *a, const struct tw_access *x,
                              size_t log_from, const struct tw_plan *plan,
                              struct tw_issues *issues)
{
    struct pgb_files f = {0};
    int peak = peak_of(x->snapshot, plan);
    bool short_now;

    if (!pgb_read_files(host_log_from(x, log_from), &f) || f.expected <= f.limit)
        return;
    short_now = peak + OWN_FILES > f.limit;
    tw_issue_add(
        a, issues, short_now ? TW_CRITICAL : TW_HIGH, short_now ? TW_BLOCK : TW_REVIEW,
        "clients.files",
        "more clients and servers are allowed than it has file descriptors for: then "
        "accept() fails and clients hang",
        tw_arena_printf(a,
                        "file descriptor limit %.0f, max_client_conn %.0f, expected "
                        "use %.0f by its own words",
                        f.limit, f.clients, f.expected),
        "LimitNOFILE of the unit above the expected use, or a smaller max_client_conn");
}

void kind_pgb_judge_start(struct tw_arena *a, const struct tw_access *access,
                          size_t log_from, const struct tw_plan *plan, bool started,
                          int wait_status, struct tw_issues *issues)
{
    if (!started) {
        host_judge_dead(a, access, log_from, clean, start_words, TW_COUNT_OF(start_words),
                        wait_status, issues);
        return;
    }
    host_words_judge(a, access->log, log_from, clean, start_words,
                     TW_COUNT_OF(start_words), issues);
    judge_descriptors(a, access, log_from, plan, issues);
}

void kind_pgb_judge_reload(struct tw_arena *a, const struct tw_access *access,
                           size_t log_from, const struct tw_plan *plan,
                           struct tw_issues *issues)
{
    /* the lines before "loading failed" say what it is */
    const char *said =
        host_complaints(a, host_log_from(access, log_from), clean, "ERROR ");

    (void)plan;
    if (*said)
        tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "reload.rejected",
                     "a reload does not take this change and keeps the old values", said,
                     "correct the line that it names");
    else
        host_words_judge(a, access->log, log_from, clean, reload_words,
                         TW_COUNT_OF(reload_words), issues);
}

void kind_pgb_judge_log(struct tw_arena *a, const struct tw_access *access,
                        size_t log_from, struct tw_issues *issues)
{
    host_words_judge(a, access->log, log_from, clean, log_words, TW_COUNT_OF(log_words),
                     issues);
}

/* ---- files and arithmetic ---- */

double pgb_busy_servers(double transactions_per_s, double mean_s)
{
    return transactions_per_s * mean_s;
}

struct reading {
    struct tw_arena *a;
    const struct tw_access *x;
    const struct tw_snapshot *s;
    const struct tw_plan *plan;
    struct pgb_ini ini;
    struct tw_issues *issues;
};

static const struct tw_setting *known(const struct reading *r, const char *name)
{
    for (size_t i = 0; i < r->s->settings.count; i++)
        if (strcasecmp(r->s->settings.items[i].name, name) == 0)
            return &r->s->settings.items[i];
    return NULL;
}

static const char *before(const struct reading *r, const char *name)
{
    const struct tw_setting *one = known(r, name);

    return one && one->value ? one->value : "";
}

static const char *after(const struct reading *r, const char *name)
{
    const struct tw_setting *one = known(r, name);

    return pgb_ini_value(&r->ini, name, one && one->boot_value ? one->boot_value : "");
}

static double counter(const struct reading *r, const char *kind, const char *name,
                      bool limit)
{
    for (size_t i = 0; i < r->s->counters.count; i++)
        if (tw_streq(r->s->counters.items[i].kind, kind) &&
            tw_streq(r->s->counters.items[i].name, name))
            return limit ? r->s->counters.items[i].limit : r->s->counters.items[i].used;
    return NAN;
}

/* ---- clients ---- */

static void judge_clients(const struct reading *r)
{
    int allowed = atoi(after(r, "max_client_conn")), peak = peak_of(r->s, r->plan);

    if (allowed <= 0 || peak <= allowed || allowed >= atoi(before(r, "max_client_conn")))
        return;
    tw_issue_add(r->a, r->issues, FORCES, "clients.limit",
                 "not all clients of today can connect: no more connections allowed "
                 "(max_client_conn)",
                 tw_arena_printf(r->a, "max_client_conn %d, %d clients at the peak",
                                 allowed, peak),
                 "max_client_conn above the peak");
}

static int pool_size_of(const struct reading *r, const char *database)
{
    tw_auto_free char *name = tw_strf("databases.%s", database);
    const char *own = pgb_word(r->a, pgb_ini_value(&r->ini, name, ""), "pool_size");

    return atoi(own ? own : after(r, "default_pool_size"));
}

static int clients_of(const struct reading *r, const char *database)
{
    int sum = 0;

    for (size_t i = 0; i < r->s->clients.count; i++)
        if (tw_streq(r->s->clients.items[i].database, database))
            sum += r->s->clients.items[i].count;
    if (r->s->databases.count == 1 && r->plan->connections > sum)
        sum = r->plan->connections;
    return sum;
}

/* In session mode a client keeps its server: the rest waits. Otherwise as many are busy as
 * transactions take time. */
static void judge_pool(const struct reading *r, const char *database)
{
    int size = pool_size_of(r, database), clients = clients_of(r, database);
    double busy = counter(r, "busy servers", database, false);
    bool session = strcasecmp(after(r, "pool_mode"), "session") == 0;
    double need = session ? clients : busy;

    if (size <= 0 || isnan(need) || need <= size ||
        (size >= atoi(before(r, "default_pool_size")) &&
         tw_streq(after(r, "pool_mode"), before(r, "pool_mode"))))
        return;
    tw_issue_add(
        r->a, r->issues, FORCES, "pool.too_small",
        tw_arena_printf(r->a, "the pool of '%s' is smaller than what is busy at once",
                        database),
        session ? tw_arena_printf(
                      r->a,
                      "pool_size %d and %d clients in session mode: %d of them wait, and "
                      "are thrown out after query_wait_timeout %s s",
                      size, clients, clients - size, after(r, "query_wait_timeout"))
                : tw_arena_printf(
                      r->a,
                      "pool_size %d, and %.1f servers are busy at once (transactions per "
                      "second times their length, SHOW STATS)",
                      size, busy),
        "a pool_size above what is busy at the peak");
}

static void judge_pools(const struct reading *r)
{
    for (size_t i = 0; i < r->s->databases.count; i++)
        judge_pool(r, r->s->databases.items[i]);
}

/* pool_size for each pair of database and user, and what the server behind them takes. */
static int users_of(const struct reading *r, const char *database)
{
    tw_auto_free char *name = tw_strf("databases.%s", database);
    int users = 0;

    if (pgb_word(r->a, pgb_ini_value(&r->ini, name, ""), "user"))
        return 1;
    for (size_t i = 0; i < r->s->clients.count; i++) {
        bool seen = !tw_streq(r->s->clients.items[i].database, database);

        for (size_t k = 0; k < i && !seen; k++)
            seen = tw_streq(r->s->clients.items[k].database, database) &&
                   tw_streq(r->s->clients.items[k].user, r->s->clients.items[i].user);
        users += !seen;
    }
    return users ? users : 1;
}

static bool same_server(const struct tw_neighbour *a, const struct tw_neighbour *b)
{
    return tw_streq(a->address, b->address) && a->port == b->port;
}

static void judge_server(const struct reading *r, const struct tw_neighbour *n)
{
    double limit = counter(r, "server connections", n->name, true);
    int most = 0, was = 0, old = atoi(before(r, "default_pool_size"));
    int capped = atoi(after(r, "max_db_connections"));
    int clients = atoi(after(r, "max_client_conn"));

    for (size_t i = 0; i < r->s->neighbours.count; i++) {
        const struct tw_neighbour *other = &r->s->neighbours.items[i];
        int size, users;

        if (!same_server(other, n))
            continue;
        size = pool_size_of(r, other->name) + atoi(after(r, "reserve_pool_size"));
        users = users_of(r, other->name);
        most += capped > 0 && size * users > capped ? capped : size * users;
        was += old * users;
    }
    if (clients > 0 && most > clients)
        most = clients; /* nobody else asks for one */
    if (isnan(limit) || most <= limit || most <= was)
        return;
    tw_issue_add(r->a, r->issues, FORCES, "pool.exceeds_server",
                 "all pools together open more connections than the server takes",
                 tw_arena_printf(r->a,
                                 "%d connections of the pools of %s port %d, its "
                                 "max_connections is %.0f",
                                 most, n->address, n->port, limit),
                 "a smaller pool_size, max_db_connections, or a larger max_connections");
}

static void judge_servers(const struct reading *r)
{
    for (size_t i = 0; i < r->s->neighbours.count; i++) {
        bool first = true;

        for (size_t k = 0; k < i; k++)
            first &= !same_server(&r->s->neighbours.items[k], &r->s->neighbours.items[i]);
        if (first)
            judge_server(r, &r->s->neighbours.items[i]);
    }
}

/* ---- what a pool mode takes away ---- */

static const struct {
    const char *begins, *but; /* not when this stands in it too */
    const char *what;
} session_features[] = {
    {"set ", "set local", "SET"},  {"prepare ", "prepare transaction", "PREPARE"},
    {"listen ", NULL, "LISTEN"},   {"declare ", NULL, "cursors WITH HOLD"},
    {"load ", NULL, "LOAD"},       {"create temp", NULL, "temporary tables"},
    {"discard ", NULL, "DISCARD"},
};

const char *pgb_needs_session(const char *sql)
{
    sql += strspn(sql, " \t\r\n;(");
    if (strcasestr(sql, "pg_advisory_lock") && !strcasestr(sql, "pg_advisory_xact_lock"))
        return "advisory locks of a session";
    if (strcasestr(sql, "set_config(") && strcasestr(sql, "false"))
        return "SET";
    for (size_t i = 0; i < TW_COUNT_OF(session_features); i++) {
        if (strncasecmp(sql, session_features[i].begins,
                        strlen(session_features[i].begins)) ||
            (session_features[i].but &&
             strncasecmp(sql, session_features[i].but, strlen(session_features[i].but)) ==
                 0))
            continue;
        if (strncasecmp(sql, "set transaction", 15) == 0 ||
            strncasecmp(sql, "set constraints", 15) == 0)
            continue;
        if (*session_features[i].begins == 'd' && !strcasestr(sql, "with hold") &&
            strncasecmp(sql, "declare ", 8) == 0)
            continue;
        return session_features[i].what;
    }
    return NULL;
}

/* Since 1.21 it keeps track of statements prepared by the protocol. */
#define KEEPS_PREPARED 12100

static const char *feature_of(const struct reading *r, const struct tw_client *c)
{
    if (c->prepared && (r->s->version_num < KEEPS_PREPARED ||
                        atoi(after(r, "max_prepared_statements")) == 0))
        return "prepared statements";
    for (size_t i = 0; i < c->send.count; i++)
        if (pgb_needs_session(c->send.items[i]))
            return pgb_needs_session(c->send.items[i]);
    return NULL;
}

static bool judge_client_mode(const struct reading *r, const struct tw_client *c,
                              const char *mode)
{
    const char *what = feature_of(r, c);
    const char *begin = NULL;

    for (size_t i = 0; i < c->send.count; i++)
        if (strncasecmp(c->send.items[i], "begin", 5) == 0 ||
            strncasecmp(c->send.items[i], "start transaction", 17) == 0)
            begin = c->send.items[i];
    if (strcasecmp(mode, "statement") == 0 && begin)
        tw_issue_add(
            r->a, r->issues, FORCES, "pool.no_transactions",
            "transactions of clients are refused: transaction blocks not allowed",
            tw_arena_printf(r->a, "pool_mode=statement, and %s sends %s",
                            c->name ? c->name : "a client", begin),
            "pool_mode=transaction");
    if (what)
        tw_issue_add(
            r->a, r->issues, FORCES, "pool.session_state",
            tw_arena_printf(r->a,
                            "clients use %s, which needs a session of its own: it "
                            "leaks to the next client or is lost",
                            what),
            tw_arena_printf(r->a, "pool_mode=%s, %s", mode,
                            c->name ? c->name : "a client of the request"),
            "pool_mode=session for the database or user of these clients");
    return what || c->send.count;
}

static void judge_mode(const struct reading *r)
{
    const char *was = before(r, "pool_mode"), *is = after(r, "pool_mode");
    bool told = false;

    if (strcasecmp(was, is) == 0 || strcasecmp(is, "session") == 0)
        return;
    for (size_t i = 0; i < r->plan->clients.count; i++)
        told |= judge_client_mode(r, &r->plan->clients.items[i], is);
    for (size_t i = 0; i < r->s->clients.count; i++)
        told |= judge_client_mode(r, &r->s->clients.items[i], is);
    if (strcasecmp(is, "statement") == 0)
        tw_issue_add(
            r->a, r->issues, TW_CRITICAL, TW_REVIEW, "pool.no_transactions",
            "no client may use a transaction any more: transaction blocks not allowed",
            tw_arena_printf(r->a, "pool_mode %s now, statement after the change", was),
            "pool_mode=transaction");
    else if (!told)
        tw_issue_add(
            r->a, r->issues, ASKS, "pool.session_state",
            "what clients keep in their session is lost: SET, prepared statements, "
            "LISTEN, advisory locks, temporary tables",
            tw_arena_printf(r->a,
                            "pool_mode %s now, %s after the change; which of these "
                            "the clients use is not known",
                            was, is),
            "give the clients (what they send) with the change, or look at the "
            "application");
}

/* ---- who may enter ---- */

static bool listens_outside(struct tw_arena *a, const char *addresses)
{
    char *rest = tw_arena_strdup(a, addresses);
    bool outside = false;

    for (char *word; (word = strsep(&rest, ", "));)
        outside |= *word && !host_is_loopback(word);
    return outside;
}

static bool lets_all_in(const char *auth_type)
{
    return strcasecmp(auth_type, "any") == 0 || strcasecmp(auth_type, "trust") == 0;
}

static void judge_doors(const struct reading *r)
{
    bool was = listens_outside(r->a, before(r, "listen_addr")), remote = false;
    bool is = listens_outside(r->a, after(r, "listen_addr"));

    for (size_t i = 0; i < r->s->clients.count; i++)
        remote |= r->s->clients.items[i].source &&
                  !host_is_loopback(r->s->clients.items[i].source);
    if (is && lets_all_in(after(r, "auth_type")) &&
        !(was && lets_all_in(before(r, "auth_type"))))
        tw_issue_add(r->a, r->issues, FORCES, "exposure.trust",
                     "anyone who reaches the port is let in without a password",
                     tw_arena_printf(r->a, "auth_type=%s, listen_addr=%s",
                                     after(r, "auth_type"), after(r, "listen_addr")),
                     "auth_type=scram-sha-256 or hba");
    if (was && !is && remote)
        tw_issue_add(
            r->a, r->issues, FORCES, "access.unreachable",
            "clients of other hosts cannot connect any more",
            tw_arena_printf(r->a,
                            "listen_addr=%s; clients of other hosts are connected "
                            "today",
                            after(r, "listen_addr")),
            "keep the address that they use");
}

/* Words that were in a list and are not any more. */
static bool has_word(struct tw_arena *a, const char *list, const char *word)
{
    char *rest = tw_arena_strdup(a, list);

    for (char *one; (one = strsep(&rest, ", "));)
        if (strcasecmp(one, word) == 0)
            return true;
    return false;
}

static void judge_parameters(const struct reading *r)
{
    char *rest = tw_arena_strdup(r->a, before(r, "ignore_startup_parameters"));

    for (char *one; (one = strsep(&rest, ", "));)
        if (*one && !has_word(r->a, after(r, "ignore_startup_parameters"), one))
            tw_issue_add(
                r->a, r->issues, ASKS, "startup.parameter",
                tw_arena_printf(
                    r->a, "clients that send %s when they connect are refused", one),
                "unsupported startup parameter: it was in ignore_startup_parameters and "
                "is not any more",
                "keep it there");
}

/* ---- databases ---- */

static bool is_used(const struct reading *r, const char *database)
{
    for (size_t i = 0; i < r->s->clients.count; i++)
        if (tw_streq(r->s->clients.items[i].database, database))
            return true;
    return false;
}

static void judge_databases(const struct reading *r)
{
    for (size_t i = 0; i < r->s->databases.count; i++) {
        const char *name = r->s->databases.items[i];
        tw_auto_free char *entry = tw_strf("databases.%s", name);
        bool used = is_used(r, name);

        if (pgb_ini_last(&r->ini, entry) || pgb_ini_last(&r->ini, "databases.*"))
            continue;
        tw_issue_add(r->a, r->issues, TW_CRITICAL, used ? TW_BLOCK : TW_REVIEW,
                     "database.gone",
                     tw_arena_printf(r->a, "database '%s' is not known any more", name),
                     used ? "clients are connected to it today: no such database"
                          : "no such database: for every client that asks for it",
                     "keep its line in [databases]");
    }
}

/* ---- clients at rest ---- */

#define USUAL_REST_S 2.0  /* of a transaction, where nothing is known of the clients */
#define POOLED_REST_S 60.0 /* of a connection that an application keeps */

static const struct {
    const char *setting;
    bool open; /* it cuts off those at rest in a transaction */
    double usual_s;
} rests[] = {{"client_idle_timeout", false, POOLED_REST_S},
             {"idle_transaction_timeout", true, USUAL_REST_S}};

/* The first client known to rest longer than this; NULL: none is known. */
static const struct tw_client *resting(const struct reading *r, double limit_s, bool open)
{
    for (size_t i = 0; i < r->plan->clients.count + r->s->clients.count; i++) {
        const struct tw_client *c = i < r->plan->clients.count
                                        ? &r->plan->clients.items[i]
                                        : &r->s->clients.items[i - r->plan->clients.count];
        bool begins = c->send.count && strncasecmp(c->send.items[0], "begin", 5) == 0;

        if (c->think_s > limit_s && (begins || !open))
            return c;
    }
    return NULL;
}

static void judge_rests(const struct reading *r)
{
    for (size_t i = 0; i < TW_COUNT_OF(rests); i++) {
        double was = atof(before(r, rests[i].setting)), is = atof(after(r, rests[i].setting));
        const struct tw_client *c = is > 0 ? resting(r, is, rests[i].open) : NULL;

        if (!(is > 0) || (was > 0 && was <= is) || (!c && is > rests[i].usual_s))
            continue;
        tw_issue_add(r->a, r->issues, c ? TW_CRITICAL : TW_HIGH, c ? TW_BLOCK : TW_REVIEW,
                     "client.error",
                     rests[i].open ? "clients are cut off while they rest in a transaction"
                                   : "clients are cut off while they rest",
                     c ? tw_arena_printf(r->a, "%s=%g s, and %s rests %g s", rests[i].setting, is,
                                         c->name ? c->name : "a client of the request", c->think_s)
                       : tw_arena_printf(r->a,
                                         "%s=%g s now, %g before (0: never); how long clients rest is "
                                         "not known, %g s is usual",
                                         rests[i].setting, is, was, rests[i].usual_s),
                     "let them rest as long as they do, or have them connect anew first");
    }
}

/* ---- what one client leaves to the next ---- */

/* The words that take everything back; a list of others takes back what it names. */
static bool resets_all(const char *query)
{
    return strcasestr(query, "discard all") != NULL;
}

static void judge_reset(const struct reading *r)
{
    const char *was = before(r, "server_reset_query"), *is = after(r, "server_reset_query");
    bool used = strcasecmp(after(r, "pool_mode"), "session") == 0 ||
                atoi(after(r, "server_reset_query_always")) > 0;

    if (!used || !resets_all(was) || resets_all(is))
        return;
    tw_issue_add(r->a, r->issues, ASKS, "pool.session_state",
                 "what a client sets in its session stays for the next one: SET, prepared "
                 "statements, LISTEN, advisory locks, temporary tables",
                 tw_arena_printf(r->a, "server_reset_query '%s' now, '%s' after the change; pool_mode=%s",
                                 was, is, after(r, "pool_mode")),
                 "server_reset_query=DISCARD ALL");
}

/* ---- the list of users ---- */

/* As it stands at the target; "" where that is not at hand. */
static const char *list_before(const struct reading *r)
{
    const char *path = before(r, "auth_file");

    return *path == '/' ? host_text(r->a, "", path) : "";
}

/* As the change writes it; NULL: it does not. */
static const char *list_after(const struct reading *r)
{
    const char *path = after(r, "auth_file");

    for (size_t i = r->plan->steps.count; i-- > 0;)
        if (tw_streq(r->plan->steps.items[i].path, path) &&
            r->plan->steps.items[i].kind == TW_STEP_FILE)
            return r->plan->steps.items[i].value;
    return *path == '/' && !tw_streq(path, before(r, "auth_file")) ? host_text(r->a, "", path)
                                                                   : NULL;
}

static const char *secret_in(struct tw_arena *a, const char *list, const char *user)
{
    char *rest = tw_arena_strdup(a, list);

    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *name, *secret = pgb_list_entry(a, line, &name);

        if (secret && tw_streq(name, user))
            return secret;
    }
    return NULL;
}

static bool is_client(const struct reading *r, const char *user)
{
    for (size_t i = 0; i < r->plan->clients.count; i++)
        if (tw_streq(r->plan->clients.items[i].user, user))
            return true;
    for (size_t i = 0; i < r->s->clients.count; i++)
        if (tw_streq(r->s->clients.items[i].user, user))
            return true;
    return false;
}

/* Clones have passwords of ours, so no login of theirs shows that one was changed. */
static void judge_users(const struct reading *r)
{
    const char *is = list_after(r);
    char *rest = is ? tw_arena_strdup(r->a, list_before(r)) : NULL;

    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *user, *was = pgb_list_entry(r->a, line, &user);
        const char *now = was ? secret_in(r->a, is, user) : NULL;

        if (!was || tw_streq(was, now))
            continue;
        tw_issue_add(r->a, r->issues, TW_CRITICAL, is_client(r, user) ? TW_BLOCK : TW_REVIEW,
                     "access.login",
                     tw_arena_printf(r->a, now ? "user '%s' has another password in auth_file"
                                               : "user '%s' is not in auth_file any more",
                                     user),
                     "whoever logs in with the present one is refused, by the pooler or by the "
                     "server behind it",
                     "change it at the server and at the clients together with it");
    }
}

static void (*const checks[])(const struct reading *) = {
    judge_clients, judge_pools,      judge_servers,   judge_mode,  judge_doors,
    judge_users,   judge_parameters, judge_databases, judge_rests, judge_reset,
};

void kind_pgb_judge_files(struct tw_arena *a, const struct tw_access *access,
                          const struct tw_plan *plan, struct tw_issues *issues)
{
    struct reading r = {
        .a = a, .x = access, .s = access->snapshot, .plan = plan, .issues = issues};

    pgb_ini_read(a, access->root, access->snapshot->config_file, &r.ini);
    if (r.ini.problem)
        tw_issue_add(a, issues, FORCES, "start.syntax", "an included file cannot be read",
                     r.ini.problem, "put it there, or take the line out");
    for (size_t i = 0; i < TW_COUNT_OF(checks); i++)
        checks[i](&r);
}
