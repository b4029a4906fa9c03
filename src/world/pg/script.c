/* Scripts cut into statements by PostgreSQL's own grammar, and what of them matters before they
 * run: may they stand in a transaction, which tables do they name. */
#include "pg_internal.h"

#include <pg_query.h>
#include <string.h>

static const json_t *at(const json_t *j, const char *key)
{
    return j ? json_object_get(j, key) : NULL;
}

static const char *text_of(const json_t *j, const char *key)
{
    return json_string_value(at(j, key));
}

/* ---- what cannot stand in a transaction block ---- */

static bool always(const json_t *stmt)
{
    (void)stmt;
    return true;
}

static bool concurrent(const json_t *stmt)
{
    return json_is_true(at(stmt, "concurrent"));
}

static bool option(const json_t *list, const char *name)
{
    size_t i;
    json_t *item;

    json_array_foreach (list, i, item)
        if (tw_streq(text_of(at(item, "DefElem"), "defname"), name))
            return true;
    return false;
}

static bool reindex_alone(const json_t *stmt)
{
    const char *kind = text_of(stmt, "kind");

    return option(at(stmt, "params"), "concurrently") ||
           !(tw_streq(kind, "REINDEX_OBJECT_TABLE") ||
             tw_streq(kind, "REINDEX_OBJECT_INDEX"));
}

static bool is_vacuum(const json_t *stmt)
{
    return json_is_true(at(stmt, "is_vacuumcmd"));
}

static bool of_no_table(const json_t *stmt)
{
    return !at(stmt, "relation");
}

static bool new_value(const json_t *stmt)
{
    return at(stmt, "newVal") && !at(stmt, "oldVal");
}

static bool detaches(const json_t *stmt)
{
    size_t i;
    json_t *item;

    json_array_foreach (at(stmt, "cmds"), i, item) {
        const json_t *cmd = at(item, "AlterTableCmd");

        if (tw_streq(text_of(cmd, "subtype"), "AT_DetachPartition") &&
            concurrent(at(at(cmd, "def"), "PartitionCmd")))
            return true;
    }
    return false;
}

/* DO and CALL may commit themselves, which a block around them forbids. */
static const struct {
    const char *node;
    bool (*alone)(const json_t *stmt);
} loners[] = {
    {"IndexStmt", concurrent},
    {"DropStmt", concurrent},
    {"ReindexStmt", reindex_alone},
    {"VacuumStmt", is_vacuum},
    {"ClusterStmt", of_no_table},
    {"AlterEnumStmt", new_value},
    {"AlterTableStmt", detaches},
    {"AlterSystemStmt", always},
    {"CreatedbStmt", always},
    {"DropdbStmt", always},
    {"CreateTableSpaceStmt", always},
    {"DropTableSpaceStmt", always},
    {"CreateSubscriptionStmt", always},
    {"AlterSubscriptionStmt", always},
    {"DropSubscriptionStmt", always},
    {"DoStmt", always},
    {"CallStmt", always},
};

static bool is_alone(const char *node, const json_t *stmt)
{
    for (size_t i = 0; i < TW_COUNT_OF(loners); i++)
        if (tw_streq(loners[i].node, node))
            return loners[i].alone(stmt);
    return false;
}

/* ---- places ---- */

struct place {
    int line, column;
};

static struct place place_of(const char *text, size_t offset)
{
    struct place p = {1, 1};

    for (size_t i = 0; i < offset && text[i]; i++) {
        if (text[i] == '\n')
            p = (struct place){p.line + 1, 1};
        else
            p.column += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return p;
}

/* The parser counts characters from 1, this program bytes from 0. */
static size_t byte_offset(const char *text, int position)
{
    size_t at_byte = 0;

    for (int n = 1; n < position && text[at_byte]; n++)
        do
            at_byte++;
        while (((unsigned char)text[at_byte] & 0xc0) == 0x80);
    return at_byte;
}

static int fail_place(const char *text, size_t offset, const char *why,
                      struct tw_err *err)
{
    struct place p = place_of(text, offset);

    return tw_fail(err, -EINVAL, "line %d column %d: %s", p.line, p.column, why);
}

/* A backslash outside of literals and comments is a command of psql. */
static int refuse_meta(struct tw_arena *a, const char *text, struct tw_err *err)
{
    struct tw_pg_tokens t;

    tw_pg_tokens(a, text, &t);
    for (size_t i = 0; i < t.list.count; i++) {
        const char *word = text + t.list.items[i].from;

        if (t.list.items[i].kind == '\\')
            return fail_place(
                text, t.list.items[i].from,
                tw_arena_printf(a,
                                "'%.*s' is a command of psql, not SQL; leave it out or "
                                "write it as a statement",
                                (int)strcspn(word, " \t\r\n;"), word),
                err);
    }
    return 0;
}

/* ---- statements ---- */

static bool reads_stdin(const char *node, const json_t *stmt)
{
    return tw_streq(node, "CopyStmt") && json_is_true(at(stmt, "is_from")) &&
           !at(stmt, "filename");
}

static int add_statement(struct tw_arena *a, const char *text, const json_t *entry,
                         struct tw_pg_script *ret, struct tw_err *err)
{
    json_t *tree = json_object_get(entry, "stmt");
    const char *node = json_object_iter_key(json_object_iter(tree));
    const json_t *stmt = at(tree, node ? node : "");
    size_t from = (size_t)json_integer_value(at(entry, "stmt_location"));
    size_t len = (size_t)json_integer_value(at(entry, "stmt_len"));
    const char *whole = tw_arena_strndup(a, text + from, len ? len : strlen(text + from));
    struct tw_pg_tokens t;
    const struct tw_pg_token *last;
    struct tw_pg_statement s = {.node = tw_arena_strdup(a, node)};

    tw_pg_tokens(a, whole, &t);
    if (!node || t.list.count == 0)
        return 0;
    last = &t.list.items[t.list.count - 1];
    if (last->kind == ';')
        last--;
    s.text = tw_arena_strndup(a, whole + t.list.items[0].from,
                              last->from + last->len - t.list.items[0].from);
    s.line = place_of(text, from + t.list.items[0].from).line;
    s.alone = is_alone(node, stmt);
    if (reads_stdin(node, stmt))
        return fail_place(text, from + t.list.items[0].from,
                          "COPY … FROM STDIN takes rows that no statement carries; write "
                          "them as INSERT, or leave it out",
                          err);
    TW_PUSH(a, &ret->list, s);
    return 0;
}

int tw_pg_split(struct tw_arena *a, const char *text, struct tw_pg_script *ret,
                struct tw_err *err)
{
    PgQueryParseResult parsed;
    json_t *tree, *entry;
    size_t i;
    int r = refuse_meta(a, text, err);

    *ret = (struct tw_pg_script){0};
    if (r < 0)
        return r;
    parsed = pg_query_parse(text);
    if (parsed.error) {
        r = fail_place(text, byte_offset(text, parsed.error->cursorpos),
                       tw_arena_strdup(a, parsed.error->message), err);
        pg_query_free_parse_result(parsed);
        return r;
    }
    tree = json_loads(parsed.parse_tree, 0, NULL);
    pg_query_free_parse_result(parsed);
    json_array_foreach (at(tree, "stmts"), i, entry) {
        r = add_statement(a, text, entry, ret, err);
        if (r < 0)
            break;
    }
    json_decref(tree);
    return r;
}

json_t *tw_pg_tree(const char *sql)
{
    PgQueryParseResult parsed = pg_query_parse(sql);
    json_t *tree = parsed.error ? NULL : json_loads(parsed.parse_tree, 0, NULL);
    json_t *stmt =
        json_incref(json_object_get(json_array_get(at(tree, "stmts"), 0), "stmt"));

    pg_query_free_parse_result(parsed);
    json_decref(tree);
    return stmt;
}

/* ---- tables ---- */

struct walk {
    struct tw_arena *a;
    struct tw_pg_relations *ret;
};

static void add_relation(struct walk *w, const json_t *range, bool writes)
{
    struct tw_pg_relation r = {.schema = text_of(range, "schemaname"),
                               .name = text_of(range, "relname"),
                               .writes = writes};

    for (size_t i = 0; r.name && i < w->ret->list.count; i++) {
        struct tw_pg_relation *known = &w->ret->list.items[i];

        if (tw_streq(known->name, r.name) && tw_streq(known->schema, r.schema)) {
            known->writes |= writes;
            return;
        }
    }
    if (!r.name)
        return;
    r.name = tw_arena_strdup(w->a, r.name);
    r.schema = tw_arena_strdup(w->a, r.schema);
    TW_PUSH(w->a, &w->ret->list, r);
}

/* The table that a statement writes to stands as "relation" in it, without a RangeVar around. */
static void walk(struct walk *w, const json_t *j)
{
    static const char *const writers[] = {"InsertStmt", "UpdateStmt", "DeleteStmt",
                                          "MergeStmt"};
    const char *key;
    json_t *value;
    size_t i;

    json_array_foreach (j, i, value)
        walk(w, value);
    json_object_foreach ((json_t *)(uintptr_t)j, key, value) {
        if (tw_streq(key, "RangeVar"))
            add_relation(w, value, false);
        if (tw_name_index(key, writers, TW_COUNT_OF(writers)) >= 0)
            add_relation(w, at(value, "relation"), true);
        walk(w, value);
    }
}

void tw_pg_relations(struct tw_arena *a, const char *sql, struct tw_pg_relations *ret)
{
    json_auto_t *tree = tw_pg_tree(sql);
    struct walk w = {a, ret};

    *ret = (struct tw_pg_relations){0};
    if (tree)
        walk(&w, tree);
}
