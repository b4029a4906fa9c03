/* The target's own mix: the statements of pg_stat_statements, by their share of its time.
 *
 * Not counted at all are transaction control (every statement of ours is a transaction),
 * what looks at the server itself, its maintenance, and what was done once or twice beside thousands
 * of calls and cannot be sent. Everything else counts, and what
 * of it is not reproduced stands in the mix's missing with its reason. */
#include "load_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS_MOST     50
#define COVERED        0.995 /* of the time: the rest is not worth an item */
#define TOLD_LEAST     0.005 /* of the time: a statement missed is named */
#define TEXT_MOST      160
#define ONE_OFF_CALLS  2
#define ONE_OFF_BESIDE 1000.0 /* calls of all others for each of its own */

struct candidate {
    struct tw_statement s;
    struct load_query q;
    const char *sql;    /* as it can be prepared */
    const char *reason; /* why not; NULL */
    bool counted;
};
struct plan {
    struct tw_arena *a;
    const char *database;
    TW_ARRAY(struct candidate) list;
    double total_ms;
    double commits, writes; /* calls */
};

/* ---- reading ---- */

static bool same_statement(const struct tw_statement *x, const struct tw_statement *y)
{
    return tw_streq(x->database, y->database) && tw_streq(x->text, y->text);
}

/* The same text of several users is one statement. */
static void merge(struct tw_statement *into, const struct tw_statement *from)
{
    double calls = (double)(into->calls + from->calls);
    double share = calls > 0 ? (double)from->calls / calls : 0;

    into->rows_per_call += share * (from->rows_per_call - into->rows_per_call);
    into->blocks_per_call += share * (from->blocks_per_call - into->blocks_per_call);
    into->calls += from->calls;
    into->total_ms += from->total_ms;
    into->mean_ms = into->calls > 0 ? into->total_ms / (double)into->calls : NAN;
}

static int longer(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;

    return (a->s.total_ms < b->s.total_ms) - (a->s.total_ms > b->s.total_ms);
}

static void collect(struct plan *p, const struct tw_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->statements.count; i++) {
        const struct tw_statement *s = &snapshot->statements.items[i];
        size_t k = 0;

        if (!s->text || s->calls <= 0)
            continue;
        while (k < p->list.count && !same_statement(&p->list.items[k].s, s))
            k++;
        if (k < p->list.count)
            merge(&p->list.items[k].s, s);
        else
            TW_PUSH(p->a, &p->list, (struct candidate){.s = *s, .counted = true});
    }
    if (p->list.count)
        qsort(p->list.items, p->list.count, sizeof *p->list.items, longer);
}

/* pg_stat_statements writes "interval $1" where it was "interval '1 day'"; the server
 * takes that only as a cast. */
static const char *casts_for_literals(struct tw_arena *a, const char *sql)
{
    static const char *const types[] = {"interval", "date", "timestamp", "timestamptz",
                                        "time"};
    tw_auto_buf b = {0};
    const char *at = sql;

    tw_buf_init(&b, (size_t)4 << 20);
    while (*at) {
        bool begins = at == sql || !(isalnum((unsigned char)at[-1]) || at[-1] == '_');
        size_t found = TW_COUNT_OF(types), len = 0, blanks = 0, digits = 0;

        for (size_t i = 0; begins && i < TW_COUNT_OF(types) && !digits; i++) {
            len = strlen(types[i]);
            if (strncasecmp(at, types[i], len) != 0)
                continue;
            blanks = strspn(at + len, " \t\n");
            if (blanks && at[len + blanks] == '$')
                digits = strspn(at + len + blanks + 1, "0123456789");
            found = i;
        }
        if (digits) {
            tw_buf_add(&b, at + len + blanks, digits + 1);
            tw_buf_printf(&b, "::%s", types[found]);
            at += len + blanks + digits + 1;
        } else {
            tw_buf_add(&b, at++, 1);
        }
    }
    return tw_arena_strdup(a, tw_buf_text(&b));
}

/* ---- judging ---- */

enum fate { SEND, IGNORE, MISS };
static const struct {
    const char *kind;
    enum fate fate;
    const char *reason;
} kinds[] = {
    {"SelectStmt", SEND, NULL},
    {"InsertStmt", SEND, NULL},
    {"UpdateStmt", SEND, NULL},
    {"DeleteStmt", SEND, NULL},
    {"MergeStmt", SEND, NULL},
    {"TransactionStmt", IGNORE, NULL},
    {"VariableSetStmt", IGNORE, NULL},
    {"VariableShowStmt", IGNORE, NULL},
    {"DiscardStmt", IGNORE, NULL},
    {"DeallocateStmt", IGNORE, NULL},
    {"ExplainStmt", IGNORE, NULL},
    {"VacuumStmt", IGNORE, NULL},
    {"CheckPointStmt", IGNORE, NULL},
    {"ReindexStmt", IGNORE, NULL},
    {"ClusterStmt", IGNORE, NULL},
    {"IndexStmt", IGNORE, NULL},
    {"CreateStmt", IGNORE, NULL},
    {"AlterTableStmt", IGNORE, NULL},
    {"DropStmt", IGNORE, NULL},
    {"CreateExtensionStmt", IGNORE, NULL},
    {"CopyStmt", MISS, "COPY: its data is not known"},
    {"CallStmt", MISS, "a procedure: what it does is not known"},
    {"DoStmt", MISS, "an anonymous block: what it does is not known"},
    {"DeclareCursorStmt", MISS, "a cursor"},
    {"FetchStmt", MISS, "a cursor"},
    {"ClosePortalStmt", MISS, "a cursor"},
    {"LockStmt", MISS, "a table lock over several statements"},
    {"NotifyStmt", MISS, "notifies other sessions"},
    {"ListenStmt", MISS, "waits for other sessions"},
    {"PrepareStmt", MISS, "prepared in SQL"},
    {"ExecuteStmt", MISS, "prepared in SQL"},
};
/* Functions whose effects are not rows: on other sessions, the server, files, the clock.
 */
static const char *const refused_functions[] = {
    "pg_sleep",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_advisory_",
    "pg_try_advisory",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_switch_wal",
    "pg_create_",
    "pg_drop_",
    "pg_logical_",
    "pg_replication_",
    "pg_promote",
    "pg_read_",
    "pg_ls_",
    "pg_stat_reset",
    "pg_stat_statements_reset",
    "pg_backup_",
    "pg_start_backup",
    "pg_stop_backup",
    "pg_export_snapshot",
    "pg_notify",
    "lo_",
    "dblink",
    "set_config",
    "pg_file_",
    "pg_copy_",
    "pg_wal_replay_",
};

static const char *refused_function(struct tw_arena *a, const struct load_query *q)
{
    for (size_t i = 0; i < q->functions.count; i++)
        for (size_t k = 0; k < TW_COUNT_OF(refused_functions); k++)
            if (tw_starts_with(q->functions.items[i], refused_functions[k]))
                return tw_arena_printf(a, "calls %s, whose effects are not on rows",
                                       q->functions.items[i]);
    return NULL;
}

/* Someone who watches the server: only its own tables and functions. */
static bool looks_at_server(const struct load_query *q)
{
    size_t own = 0;

    for (size_t i = 0; i < q->relations.count; i++) {
        const struct load_relation *r = &q->relations.items[i];

        own += tw_streq(r->schema, "pg_catalog") ||
               tw_streq(r->schema, "information_schema") ||
               (!r->schema && tw_starts_with(r->name, "pg_"));
    }
    for (size_t i = 0; q->relations.count == 0 && i < q->functions.count; i++)
        if (tw_starts_with(q->functions.items[i], "pg_"))
            return true;
    return q->relations.count > 0 && own == q->relations.count;
}

static enum fate fate_of(struct plan *p, struct candidate *c)
{
    struct tw_err why = {0};

    if (p->database && c->s.database && strcmp(c->s.database, p->database) != 0) {
        c->reason = tw_arena_printf(p->a, "runs in database '%s'; the load runs in '%s'",
                                    c->s.database, p->database);
        return MISS;
    }
    c->sql = casts_for_literals(p->a, c->s.text);
    if (load_query_read(p->a, c->s.text, &c->q, &why) < 0) {
        c->reason = tw_arena_printf(p->a, "cannot be parsed: %s", why.text);
        return MISS;
    }
    for (size_t i = 0; i < TW_COUNT_OF(kinds); i++)
        if (!strcmp(kinds[i].kind, c->q.kind)) {
            c->reason = kinds[i].reason;
            if (kinds[i].fate != SEND)
                return kinds[i].fate;
            if (looks_at_server(&c->q))
                return IGNORE;
            c->reason =
                c->q.into ? "SELECT INTO: makes a table" : refused_function(p->a, &c->q);
            return c->reason ? MISS : SEND;
        }
    c->reason = "not a query";
    return MISS;
}

static bool ends_transaction(const struct candidate *c)
{
    static const char *const words[] = {"commit", "end"};
    char word[16];

    load_first_word(c->s.text, word, sizeof word);
    return tw_name_index(word, words, TW_COUNT_OF(words)) >= 0;
}

/* Setting up and maintenance, done once or twice beside thousands of calls, are time but no load: what
 * of it cannot be sent does not stand for requests that are missing. */
static bool is_one_off(const struct candidate *c, double calls)
{
    return c->s.calls <= ONE_OFF_CALLS && calls >= ONE_OFF_BESIDE * (double)c->s.calls;
}

static void judge(struct plan *p)
{
    double calls = 0;

    for (size_t i = 0; i < p->list.count; i++)
        calls += (double)p->list.items[i].s.calls;
    for (size_t i = 0; i < p->list.count; i++) {
        struct candidate *c = &p->list.items[i];
        enum fate fate = fate_of(p, c);

        if (fate == MISS && is_one_off(c, calls))
            fate = IGNORE;
        c->counted = fate != IGNORE;
        if (c->counted)
            p->total_ms += c->s.total_ms;
        if (fate == SEND && c->q.writes)
            p->writes += (double)c->s.calls;
        if (fate == IGNORE && ends_transaction(c))
            p->commits += (double)c->s.calls;
    }
}

/* ---- making items ---- */

static int read_columns(struct plan *p, struct load_values *v, struct tw_err *err)
{
    TW_ARRAY(struct load_relation) all = {0};

    for (size_t i = 0; i < p->list.count; i++) {
        const struct load_query *q = &p->list.items[i].q;

        for (size_t k = 0; p->list.items[i].counted && k < q->relations.count; k++) {
            bool known = false;

            for (size_t n = 0; n < all.count && !known; n++)
                known = tw_streq(all.items[n].schema, q->relations.items[k].schema) &&
                        tw_streq(all.items[n].name, q->relations.items[k].name);
            if (!known)
                TW_PUSH(p->a, &all, q->relations.items[k]);
        }
    }
    return load_columns_read(p->a, v->pg, all.items, all.count, &v->columns, err);
}

/* "select of orders, customers" */
static const char *name_item(struct tw_arena *a, const struct candidate *c)
{
    char word[16];
    tw_auto_buf b = {0};

    load_first_word(c->s.text, word, sizeof word);
    tw_buf_init(&b, 65536);
    tw_buf_puts(&b, word);
    for (size_t i = 0; i < c->q.relations.count && i < 4; i++)
        tw_buf_printf(&b, "%s%s", i ? ", " : " ", c->q.relations.items[i].name);
    return tw_arena_strdup(a, tw_buf_text(&b));
}

static int make_item(struct plan *p, struct load_values *v, struct candidate *c,
                     struct tw_load_mix *mix)
{
    struct tw_load_item item = load_item_new();
    struct tw_err why = {0};
    int r = load_values_fill(v, &c->q, c->sql, &c->s, &item, &why);

    if (r == -ECONNRESET)
        return r;
    if (r < 0) {
        c->reason = tw_arena_printf(p->a, "cannot be prepared here: %s", why.text);
        return 0;
    }
    item.name = name_item(p->a, c);
    item.text = tw_arena_strdup(p->a, c->s.text);
    item.weight = (double)c->s.calls;
    item.source_share = p->total_ms > 0 ? c->s.total_ms / p->total_ms : NAN;
    item.source_mean_ms = c->s.mean_ms;
    item.source_rows = c->s.rows_per_call;
    item.source_blocks = c->s.blocks_per_call;
    item.writes = c->q.writes;
    TW_PUSH(p->a, &mix->items, item);
    return 0;
}

static const char *shorten(struct tw_arena *a, const char *text)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, 1024);
    for (; *text && b.len < TEXT_MOST; text++) {
        bool blank = isspace((unsigned char)*text);

        if (!blank)
            tw_buf_add(&b, text, 1);
        else if (b.len && b.data[b.len - 1] != ' ')
            tw_buf_puts(&b, " ");
    }
    while (*text && b.len && ((unsigned char)b.data[b.len - 1] & 0x80))
        b.data[--b.len] = '\0';
    return tw_arena_printf(a, "%s%s", tw_buf_text(&b), *text ? "…" : "");
}

static void tell_missing(struct plan *p, struct tw_load_mix *mix)
{
    double small = 0;
    size_t count = 0;

    for (size_t i = 0; i < p->list.count; i++) {
        const struct candidate *c = &p->list.items[i];
        double share = p->total_ms > 0 ? c->s.total_ms / p->total_ms : 0;

        if (!c->counted || !c->reason)
            continue;
        if (share >= TOLD_LEAST) {
            TW_PUSH(p->a, &mix->missing,
                    tw_arena_printf(p->a, "%.1f %% of total time: %s (%s)", 100 * share,
                                    shorten(p->a, c->s.text), c->reason));
        } else {
            small += share;
            count++;
        }
    }
    if (p->commits > 0 && p->writes > 1.5 * p->commits)
        TW_PUSH(
            p->a, &mix->missing,
            tw_arena_printf(p->a,
                            "transactions of several statements: the source commits once "
                            "for %.1f writing statements, the load after each",
                            p->writes / p->commits));
    if (count > 0)
        TW_PUSH(
            p->a, &mix->missing,
            tw_arena_printf(
                p->a,
                "%.1f %% of total time: %zu more statements of less than %.1f %% each",
                100 * small, count, 100 * TOLD_LEAST));
}

int load_mix_from_statements(struct tw_arena *a, const struct tw_snapshot *s,
                             struct tw_pg *pg, struct tw_load_mix *ret,
                             struct tw_err *err)
{
    struct plan p = {.a = a, .database = ret->database};
    struct load_values v = {.a = a, .pg = pg};
    double covered = 0;
    int r;

    collect(&p, s);
    judge(&p);
    r = p.total_ms > 0 ? read_columns(&p, &v, err) : 0;
    for (size_t i = 0; r >= 0 && p.total_ms > 0 && i < p.list.count; i++) {
        struct candidate *c = &p.list.items[i];

        if (!c->counted || c->reason)
            continue;
        if (ret->items.count >= ITEMS_MOST || covered >= COVERED) {
            c->reason = "left out: too little of the time";
            continue;
        }
        r = make_item(&p, &v, c, ret);
        if (!c->reason)
            covered += c->s.total_ms / p.total_ms;
    }
    if (r < 0)
        return r;
    tell_missing(&p, ret);
    if (ret->items.count == 0)
        return 0;
    ret->coverage = covered;
    ret->source = "pg_stat_statements";
    ret->description =
        tw_arena_printf(a, "%zu statements of pg_stat_statements, %.0f %% of total time",
                        ret->items.count, floor(100 * covered));
    return 0;
}
