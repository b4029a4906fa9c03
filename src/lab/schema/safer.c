/* Safer ways to the same end: rows that say what of a statement they fit and how they write it. They
 * are made from the statement's own words, cut by its tokens, and from what the twin's catalog says
 * of keys and columns; whether they really are safer, running them shows. */
#include "schema_internal.h"

#include <stdlib.h>
#include <string.h>

#define LOCK_TIMEOUT "200ms"
#define BATCH_ROWS   5000
#define LIST_MAX     ((size_t)1 << 20)

/* One statement, or one command of an ALTER TABLE, that a form is looked for. */
struct safer {
    struct tw_arena *a;
    struct tw_pg *pg;
    const struct tw_ddl *ran;
    const char *sql;
    struct tw_pg_tokens t;
    const json_t *stmt;
    const char *table; /* as the statement writes it, quoted; NULL: none */
    const char *bare;  /* without its schema */
    /* ALTER TABLE: */
    const char *head; /* "ALTER TABLE ONLY orders" */
    const json_t *cmd;
    const char *part; /* the command's own words */
    struct tw_buf *out;
    const char *note; /* (computed) NULL: none */
};
struct safer_row {
    const char *node,
        *subtype; /* subtype: of a command of ALTER TABLE; NULL: the statement */
    bool (*make)(struct safer *s); /* writes statements; false: it does not fit */
    const char *what;
};

/* ---- looking into trees and words ---- */

static const json_t *at(const json_t *j, const char *key)
{
    return j ? json_object_get(j, key) : NULL;
}

static const char *text_of(const json_t *j, const char *key)
{
    return json_string_value(at(j, key));
}

static const char *quoted(struct safer *s, const char *name)
{
    return tw_pg_quote_ident(s->a, name);
}

static const char *range_name(struct safer *s, const json_t *range)
{
    const char *schema = text_of(range, "schemaname"), *name = text_of(range, "relname");

    if (!name)
        return NULL;
    return schema ? tw_arena_printf(s->a, "%s.%s", quoted(s, schema), quoted(s, name))
                  : quoted(s, name);
}

static const json_t *constraint(const struct safer *s)
{
    return at(at(s->cmd, "def"), "Constraint");
}

static const json_t *column(const struct safer *s)
{
    return at(at(s->cmd, "def"), "ColumnDef");
}

static bool is_constraint(const struct safer *s, const char *type)
{
    return tw_streq(text_of(constraint(s), "contype"), type);
}

/* The text with a word put behind the first token that is one of these. */
static const char *with_word(struct safer *s, const char *const *after, size_t n,
                             const char *word)
{
    for (size_t i = 0; i < s->t.list.count; i++)
        for (size_t k = 0; k < n; k++) {
            const struct tw_pg_token *t = &s->t.list.items[i];
            size_t end = t->from + t->len;

            if (t->kind == 'w' && tw_pg_token_is(s->sql, t, after[k]))
                return tw_arena_printf(s->a, "%.*s %s%s", (int)end, s->sql, word,
                                       s->sql + end);
        }
    return NULL;
}

/* Where a word stands outside of parentheses in text, from a byte on; its length when nowhere. */
static size_t word_at(struct safer *s, const char *text, const char *word, size_t from)
{
    struct tw_pg_tokens t;

    tw_pg_tokens(s->a, text, &t);
    for (size_t i = 0; i < t.list.count; i++)
        if (t.list.items[i].depth == 0 && t.list.items[i].from >= from &&
            tw_pg_token_is(text, &t.list.items[i], word))
            return t.list.items[i].from;
    return strlen(text);
}

static const char *one_cell(struct safer *s, const char *sql)
{
    struct tw_pg_rows rows;

    if (tw_pg_query(s->pg, s->a, sql, 0, NULL, &rows, NULL) < 0 || rows.rows == 0)
        return NULL;
    return tw_pg_cell(&rows, 0, 0);
}

/* A name that no constraint or relation of the table's schema has yet. */
static const char *free_name(struct safer *s, const char *base)
{
    for (int n = 0; n < 100; n++) {
        const char *name =
            n ? tw_arena_printf(s->a, "%s%d", base, n) : tw_arena_strdup(s->a, base);
        const char *known = one_cell(
            s, tw_arena_printf(
                   s->a,
                   "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE "
                   "conname = %s) OR EXISTS (SELECT FROM pg_catalog.pg_class "
                   "WHERE relname = %s)",
                   tw_pg_quote_literal(s->a, name), tw_pg_quote_literal(s->a, name)));

        if (!tw_streq(known, "t"))
            return name;
    }
    return base;
}

static const char *constraint_name(struct safer *s, const char *column_name,
                                   const char *suffix)
{
    const char *given = text_of(constraint(s), "conname");

    if (given)
        return given;
    return free_name(s,
                     tw_arena_printf(s->a, "%s%s%s_%s", s->bare, column_name ? "_" : "",
                                     column_name ? column_name : "", suffix));
}

static const char *first_of(const json_t *list)
{
    return text_of(at(json_array_get(list, 0), "String"), "sval");
}

/* ---- batches ---- */

struct key {
    const char *column, *type;
};

/* The primary key, where it is one column: batches go along it. */
static bool key_of(struct safer *s, struct key *ret)
{
    struct tw_pg_rows rows;
    const char *sql = tw_arena_printf(
        s->a,
        "SELECT pg_catalog.quote_ident(a.attname), pg_catalog.format_type(a.atttypid, "
        "a.atttypmod) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON "
        "a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indisprimary AND "
        "i.indnkeyatts = 1 AND i.indrelid = %s::pg_catalog.regclass",
        tw_pg_quote_literal(s->a, s->table));

    if (tw_pg_query(s->pg, s->a, sql, 0, NULL, &rows, NULL) < 0 || rows.rows == 0) {
        s->note = "there is no primary key of one column along which batches could go";
        return false;
    }
    *ret = (struct key){tw_pg_cell(&rows, 0, 0), tw_pg_cell(&rows, 0, 1)};
    return true;
}

/* before: the statement up to its condition; condition: what else has to hold, or NULL. Ranges are
 * taken from the key's own order, so that no row is met twice and none is left out. */
static void put_batches(struct safer *s, const struct key *k, const char *before,
                        const char *condition)
{
    tw_buf_printf(
        s->out,
        TW_SCHEMA_BATCHES "\nDECLARE\n  low %s;\n  high %s;\nBEGIN\n"
                          "  SELECT min(%s) INTO low FROM %s;\n"
                          "  WHILE low IS NOT NULL LOOP\n"
                          "    SELECT max(k) INTO high FROM (SELECT %s AS k FROM %s "
                          "WHERE %s >= low ORDER BY "
                          "%s LIMIT %d) AS batch;\n"
                          "    %s WHERE %s >= low AND %s <= high%s%s%s;\n"
                          "    COMMIT;\n"
                          "    SELECT min(%s) INTO low FROM %s WHERE %s > high;\n"
                          "  END LOOP;\nEND $twin$;\n",
        k->type, k->type, k->column, s->table, k->column, s->table, k->column, k->column,
        BATCH_ROWS, before, k->column, k->column, condition ? " AND (" : "",
        condition ? condition : "", condition ? ")" : "", k->column, s->table, k->column);
}

/* ---- the forms ---- */

static bool index_concurrently(struct safer *s)
{
    static const char *const index[] = {"INDEX"};
    const char *sql;

    if (json_is_true(at(s->stmt, "concurrent")))
        return false;
    sql = with_word(s, index, 1, "CONCURRENTLY");
    s->note =
        "it takes longer, waits for open transactions, and leaves an INVALID index to be "
        "dropped when it fails";
    tw_buf_printf(s->out, "%s;\n", sql);
    return sql != NULL;
}

static bool drop_concurrently(struct safer *s)
{
    size_t i;
    json_t *object;

    if (!tw_streq(text_of(s->stmt, "removeType"), "OBJECT_INDEX") ||
        json_is_true(at(s->stmt, "concurrent")) ||
        tw_streq(text_of(s->stmt, "behavior"), "DROP_CASCADE"))
        return false;
    json_array_foreach (at(s->stmt, "objects"), i, object) {
        const json_t *names = at(at(object, "List"), "items");
        size_t k;
        json_t *name;

        tw_buf_printf(s->out, "DROP INDEX CONCURRENTLY %s",
                      json_is_true(at(s->stmt, "missing_ok")) ? "IF EXISTS " : "");
        json_array_foreach (names, k, name)
            tw_buf_printf(s->out, "%s%s", k ? "." : "",
                          quoted(s, text_of(at(name, "String"), "sval")));
        tw_buf_puts(s->out, ";\n");
    }
    return true;
}

static bool reindex_concurrently(struct safer *s)
{
    static const char *const words[] = {"TABLE", "INDEX", "SCHEMA", "DATABASE"};
    const char *sql = with_word(s, words, TW_COUNT_OF(words), "CONCURRENTLY");

    if (sql)
        tw_buf_printf(s->out, "%s;\n", sql);
    s->note = "it needs room for a second copy of each index";
    return sql != NULL;
}

static bool plain_vacuum(struct safer *s)
{
    const json_t *range =
        at(at(json_array_get(at(s->stmt, "rels"), 0), "VacuumRelation"), "relation");
    const char *table = range_name(s, range ? range : at(s->stmt, "relation"));

    if (!table)
        return false;
    tw_buf_printf(s->out, "VACUUM %s;\n", table);
    s->note = "it makes the space of dead rows usable again and gives back only what is "
              "free at "
              "the end of the file; to shrink the table while it is in use there are the "
              "extensions pg_repack and pg_squeeze";
    return true;
}

static bool not_valid(struct safer *s)
{
    bool foreign = is_constraint(s, "CONSTR_FOREIGN");
    const char *name, *rest = s->part;
    size_t from;

    if ((!foreign && !is_constraint(s, "CONSTR_CHECK")) ||
        json_is_true(at(constraint(s), "skip_validation")))
        return false;
    name = constraint_name(s, foreign ? first_of(at(constraint(s), "fk_attrs")) : NULL,
                           foreign ? "fkey" : "check");
    from = word_at(s, s->part, foreign ? "FOREIGN" : "CHECK", 0);
    tw_buf_printf(s->out, "%s ADD CONSTRAINT %s %s NOT VALID;\n", s->head,
                  quoted(s, name), rest + from);
    tw_buf_printf(s->out, "%s VALIDATE CONSTRAINT %s;\n", s->head, quoted(s, name));
    s->note = "in two transactions: the second looks at the rows while they are read and "
              "written";
    return true;
}

static void put_not_null(struct safer *s, const char *column_name)
{
    const char *name = quoted(
        s, free_name(s, tw_arena_printf(s->a, "%s_%s_not_null", s->bare, column_name)));
    const char *col = quoted(s, column_name);

    tw_buf_printf(s->out,
                  "%s ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID;\n"
                  "%s VALIDATE CONSTRAINT %s;\n"
                  "%s ALTER COLUMN %s SET NOT NULL;\n"
                  "%s DROP CONSTRAINT %s;\n",
                  s->head, name, col, s->head, name, s->head, col, s->head, name);
}

static bool checked_not_null(struct safer *s)
{
    put_not_null(s, text_of(s->cmd, "name"));
    s->note = "the server takes the validated constraint as proof and does not look at "
              "the rows "
              "again (from version 12 on)";
    return true;
}

static bool is_nullable(struct safer *s, const char *column_name)
{
    return tw_streq(
        one_cell(s,
                 tw_arena_printf(s->a,
                                 "SELECT NOT attnotnull FROM pg_catalog.pg_attribute "
                                 "WHERE attrelid = %s::pg_catalog.regclass AND attname "
                                 "= %s",
                                 tw_pg_quote_literal(s->a, s->table),
                                 tw_pg_quote_literal(s->a, column_name))),
        "t");
}

/* The keys of a UNIQUE or PRIMARY KEY as a list of columns. */
static const char *key_list(struct safer *s)
{
    tw_auto_buf b = {0};
    size_t i;
    json_t *key;

    tw_buf_init(&b, LIST_MAX);
    json_array_foreach (at(constraint(s), "keys"), i, key)
        tw_buf_printf(&b, "%s%s", i ? ", " : "",
                      quoted(s, text_of(at(key, "String"), "sval")));
    return tw_arena_strdup(s->a, tw_buf_text(&b));
}

static bool using_index(struct safer *s)
{
    bool primary = is_constraint(s, "CONSTR_PRIMARY");
    const json_t *keys = at(constraint(s), "keys");
    const char *name;
    size_t i;
    json_t *key;

    if ((!primary && !is_constraint(s, "CONSTR_UNIQUE")) || json_array_size(keys) == 0 ||
        at(constraint(s), "including"))
        return false;
    name = quoted(
        s, constraint_name(s, primary ? NULL : first_of(keys), primary ? "pkey" : "key"));
    json_array_foreach (keys, i, key) {
        const char *col = text_of(at(key, "String"), "sval");

        if (primary && is_nullable(s, col))
            put_not_null(s, col);
    }
    tw_buf_printf(s->out, "CREATE UNIQUE INDEX CONCURRENTLY %s ON %s (%s);\n", name,
                  s->table, key_list(s));
    tw_buf_printf(s->out, "%s ADD CONSTRAINT %s %s USING INDEX %s;\n", s->head, name,
                  primary ? "PRIMARY KEY" : "UNIQUE", name);
    return true;
}

/* Only where the table is written anew: a longer varchar is not. */
static bool new_column(struct safer *s)
{
    const char *old = text_of(s->cmd, "name"), *fresh, *type, *value;
    size_t begin = word_at(s, s->part, "TYPE", 0) + strlen("TYPE");
    size_t using = word_at(s, s->part, "USING", begin);
    size_t collate = word_at(s, s->part, "COLLATE", begin);
    struct key k;

    if (!(s->ran->rewritten_bytes > 0) || begin > strlen(s->part) || !key_of(s, &k))
        return false;
    fresh = quoted(s, tw_arena_printf(s->a, "%s_new", old));
    type = tw_arena_strndup(s->a, s->part + begin,
                            (using < collate ? using : collate) - begin);
    value = s->part[using] ? s->part + using + strlen("USING")
                           : tw_arena_printf(s->a, "%s::%s", quoted(s, old),
                                             type + strspn(type, " \t\n"));
    tw_buf_printf(s->out, "%s ADD COLUMN %s %s;\n", s->head, fresh,
                  type + strspn(type, " \t\n"));
    put_batches(s, &k,
                tw_arena_printf(s->a, "UPDATE %s SET %s = %s", s->table, fresh, value),
                NULL);
    tw_buf_printf(s->out,
                  "BEGIN;\n%s DROP COLUMN %s CASCADE;\n%s RENAME COLUMN %s TO %s;\n"
                  "COMMIT;\n",
                  s->head, quoted(s, old), s->head, fresh, quoted(s, old));
    s->note =
        "a trigger has to carry over what is written while the batches run; indexes, "
        "constraints and the default of the old column are made for the new one "
        "(CONCURRENTLY, NOT VALID) before they change places";
    return true;
}

static const json_t *column_constraint(const struct safer *s, const char *type)
{
    size_t i;
    json_t *item;

    json_array_foreach (at(column(s), "constraints"), i, item)
        if (tw_streq(text_of(at(item, "Constraint"), "contype"), type))
            return at(item, "Constraint");
    return NULL;
}

/* The part of the words that is the default's expression: up to the next clause of the column. */
static const char *default_text(struct safer *s, size_t *ret_from, size_t *ret_end)
{
    static const char *const clauses[] = {"NOT",        "NULL",      "CONSTRAINT",
                                          "CHECK",      "UNIQUE",    "PRIMARY",
                                          "REFERENCES", "GENERATED", "COLLATE"};
    size_t begin;

    *ret_from = word_at(s, s->part, "DEFAULT", 0);
    *ret_end = strlen(s->part);
    begin = *ret_from + strlen("DEFAULT");
    if (begin >= *ret_end)
        return NULL;
    for (size_t i = 0; i < TW_COUNT_OF(clauses); i++) {
        size_t next = word_at(s, s->part, clauses[i], begin);

        *ret_end = next < *ret_end ? next : *ret_end;
    }
    return tw_arena_strndup(s->a, s->part + begin, *ret_end - begin);
}

static bool default_in_batches(struct safer *s)
{
    const char *name = text_of(column(s), "colname"), *value;
    const json_t *not_null = column_constraint(s, "CONSTR_NOTNULL");
    size_t from, end, null_at;
    struct key k;

    if (!(s->ran->rewritten_bytes > 0) || !column_constraint(s, "CONSTR_DEFAULT") ||
        !name || !key_of(s, &k))
        return false;
    value = default_text(s, &from, &end);
    if (!value)
        return false;
    null_at = not_null ? word_at(s, s->part, "NOT", 0) : strlen(s->part);
    tw_buf_printf(s->out, "%s %.*s;\n", s->head, (int)(from < null_at ? from : null_at),
                  s->part);
    tw_buf_printf(s->out, "%s ALTER COLUMN %s SET DEFAULT %s;\n", s->head,
                  quoted(s, name), value);
    put_batches(
        s, &k,
        tw_arena_printf(s->a, "UPDATE %s SET %s = DEFAULT", s->table, quoted(s, name)),
        tw_arena_printf(s->a, "%s IS NULL", quoted(s, name)));
    if (not_null)
        put_not_null(s, name);
    return true;
}

/* UPDATE and DELETE of much of a table. */
static bool in_batches(struct safer *s)
{
    size_t where = word_at(s, s->sql, "WHERE", 0);
    const char *condition = s->sql[where] ? s->sql + where + strlen("WHERE") : NULL;
    struct key k;

    if (at(s->stmt, "returningList") || at(s->stmt, "fromClause") ||
        at(s->stmt, "usingClause") || at(s->stmt, "withClause") ||
        at(at(s->stmt, "relation"), "alias") || !key_of(s, &k))
        return false;
    put_batches(s, &k, tw_arena_strndup(s->a, s->sql, where), condition);
    s->note = "each batch commits by itself: what went before an error stays";
    return true;
}

static const struct safer_row rows[] = {
    {"IndexStmt", NULL, index_concurrently, "build the index CONCURRENTLY"},
    {"DropStmt", NULL, drop_concurrently, "drop the index CONCURRENTLY"},
    {"ReindexStmt", NULL, reindex_concurrently, "rebuild CONCURRENTLY"},
    {"VacuumStmt", NULL, plain_vacuum, "plain VACUUM, which locks nobody out"},
    {"ClusterStmt", NULL, plain_vacuum, "plain VACUUM, which locks nobody out"},
    {"UpdateStmt", NULL, in_batches, "in batches along the primary key"},
    {"DeleteStmt", NULL, in_batches, "in batches along the primary key"},
    {"AlterTableStmt", "AT_AddConstraint", not_valid, "add it NOT VALID, then VALIDATE"},
    {"AlterTableStmt", "AT_AddConstraint", using_index,
     "build its index CONCURRENTLY, then add it USING INDEX"},
    {"AlterTableStmt", "AT_SetNotNull", checked_not_null,
     "a CHECK added NOT VALID and validated first"},
    {"AlterTableStmt", "AT_AlterColumnType", new_column,
     "a new column, filled in batches, takes the place of the old one"},
    {"AlterTableStmt", "AT_AddColumn", default_in_batches,
     "add the column empty, then its default, and fill it in batches"},
};

static const struct safer_row *make_row(struct safer *s, const char *node,
                                        const char *subtype)
{
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++)
        if (tw_streq(rows[i].node, node) && tw_streq(rows[i].subtype, subtype) &&
            rows[i].make(s))
            return &rows[i];
    return NULL;
}

/* ---- ALTER TABLE: command by command ---- */

/* "ALTER TABLE IF EXISTS ONLY s.t *" ends before the first word that is none of these. */
static size_t head_end(const struct safer *s)
{
    static const char *const words[] = {"ALTER", "TABLE", "IF", "EXISTS", "ONLY"};
    size_t i = 0;
    bool named = false;

    for (; i < s->t.list.count; i++) {
        const struct tw_pg_token *t = &s->t.list.items[i];
        bool known = false;

        for (size_t k = 0; k < TW_COUNT_OF(words) && !named; k++)
            known |= t->kind == 'w' && tw_pg_token_is(s->sql, t, words[k]);
        if (known || t->kind == '.' || t->kind == '*')
            continue;
        if (named && s->t.list.items[i - 1].kind != '.')
            break;
        named = true;
    }
    return i;
}

static const char *next_part(struct safer *s, size_t *token)
{
    size_t from = *token, end;

    while (*token < s->t.list.count &&
           !(s->t.list.items[*token].kind == ',' && s->t.list.items[*token].depth == 0))
        (*token)++;
    if (from >= s->t.list.count || from == *token)
        return NULL;
    end = s->t.list.items[*token - 1].from + s->t.list.items[*token - 1].len;
    (*token)++;
    return tw_arena_strndup(s->a, s->sql + s->t.list.items[from].from,
                            end - s->t.list.items[from].from);
}

static const char *alter_table(struct safer *s)
{
    size_t token = head_end(s), i;
    const char *what = NULL;
    json_t *item;

    if (token == 0 || token >= s->t.list.count)
        return NULL;
    s->head = tw_arena_strndup(
        s->a, s->sql, s->t.list.items[token - 1].from + s->t.list.items[token - 1].len);
    json_array_foreach (at(s->stmt, "cmds"), i, item) {
        const struct safer_row *row;

        s->cmd = at(item, "AlterTableCmd");
        s->part = next_part(s, &token);
        if (!s->part)
            return NULL;
        row = make_row(s, "AlterTableStmt", text_of(s->cmd, "subtype"));
        if (row)
            what = what ? "command by command, each in its safer form" : row->what;
        else
            tw_buf_printf(s->out, "%s %s;\n", s->head, s->part);
    }
    return what;
}

/* ---- one statement ---- */

static bool shuts_out(const struct tw_ddl *d)
{
    enum tw_lock_mode mode = tw_lock_mode_find(d->mode);

    return !d->error && d->relation &&
           (mode >= TW_LOCK_SHARE ||
            tw_streq(d->blocks, "writes of the rows it touches"));
}

static const char *make(struct safer *s, const char *node)
{
    const struct safer_row *row;

    if (tw_streq(node, "AlterTableStmt"))
        return alter_table(s);
    row = make_row(s, node, NULL);
    return row ? row->what : NULL;
}

/* Whatever else shuts everybody out for a moment: not to wait long at the head of the queue. */
static const char *with_timeout(struct safer *s, const struct tw_pg_statement *st)
{
    tw_buf_clear(s->out);
    if (st->alone)
        return NULL;
    tw_buf_printf(s->out, "SET lock_timeout = '" LOCK_TIMEOUT "';\n%s;\n", st->text);
    s->note = "repeat it until it succeeds: while an open transaction is in its way "
              "nobody waits "
              "behind it longer than that";
    return "with lock_timeout = " LOCK_TIMEOUT ", tried again until it gets the lock";
}

static int add_form(struct tw_arena *a, size_t i, const struct tw_pg_statement *st,
                    const struct tw_ddl *ran, struct tw_pg *pg,
                    struct tw_schema_forms *ret, struct tw_err *err)
{
    json_auto_t *tree = tw_pg_tree(st->text);
    tw_auto_buf out = {0};
    struct safer s = {.a = a,
                      .pg = pg,
                      .ran = ran,
                      .sql = st->text,
                      .stmt = at(tree, st->node),
                      .out = &out};
    struct tw_schema_form form = {.of = (int)i};
    int r;

    tw_buf_init(&out, LIST_MAX);
    tw_pg_tokens(a, st->text, &s.t);
    s.table = range_name(&s, at(s.stmt, "relation"));
    s.bare = text_of(at(s.stmt, "relation"), "relname");
    form.what = make(&s, st->node);
    if (!form.what) {
        form.retry = true;
        form.what = with_timeout(&s, st);
    }
    if (!form.what)
        return 0;
    form.note = s.note;
    r = tw_pg_split(a, tw_arena_strdup(a, tw_buf_text(&out)), &form.script, err);
    if (r < 0)
        return tw_wrap(err, r, "the safer form of '%.60s'", st->text);
    TW_PUSH(a, &ret->list, form);
    return 0;
}

int tw_schema_safer(struct tw_arena *a, const struct tw_pg_script *script,
                    const struct tw_ddl *statements, struct tw_pg *pg,
                    struct tw_schema_forms *ret, struct tw_err *err)
{
    int r = 0;

    *ret = (struct tw_schema_forms){0};
    for (size_t i = 0; i < script->list.count && r == 0; i++)
        if (shuts_out(&statements[i]))
            r = add_form(a, i, &script->list.items[i], &statements[i], pg, ret, err);
    return r;
}
