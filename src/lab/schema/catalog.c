/* What a statement leaves in the catalog: files replaced and made, broken indexes, columns that lost
 * their statistics. */
#include "schema_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CELL(i) tw_pg_cell(&rows, n, (i))

static double real(const char *text)
{
    return text ? strtod(text, NULL) : NAN;
}

static unsigned whole(const char *text)
{
    return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static int read_relations(struct tw_arena *a, struct tw_pg *pg,
                          struct schema_catalog *ret, struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(
        pg, a,
        "SELECT c.oid, coalesce(i.indrelid, c.oid), "
        "pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), "
        "c.relkind, pg_catalog.pg_relation_filenode(c.oid), "
        "pg_catalog.pg_relation_size(c.oid), c.reltuples, "
        "coalesce(NOT i.indisvalid, false), "
        "(SELECT count(*) FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT "
        "t.tgisinternal), n.nspname, c.relname, c.relnatts FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON "
        "n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid "
        "WHERE c.oid >= 16384 AND n.nspname !~ '^pg_(temp|toast_temp)' AND c.relkind IN "
        "('r', 'p', 'm', 'i', 'I', 't', 'v')",
        0, NULL, &rows, err);

    for (int n = 0; r == 0 && n < rows.rows; n++) {
        struct schema_relation one = {.oid = whole(CELL(0)),
                                      .table = whole(CELL(1)),
                                      .name = CELL(2),
                                      .kind = CELL(3)[0],
                                      .file = whole(CELL(4)),
                                      .bytes = CELL(5) ? real(CELL(5)) : 0,
                                      .rows = real(CELL(6)),
                                      .invalid = tw_streq(CELL(7), "t"),
                                      .triggers = (int)whole(CELL(8)),
                                      .schema = CELL(9),
                                      .bare = CELL(10),
                                      .columns = (int)whole(CELL(11))};

        TW_PUSH(a, &ret->relations, one);
    }
    return r;
}

static int read_unanalysed(struct tw_arena *a, struct tw_pg *pg,
                           struct schema_catalog *ret, struct tw_err *err)
{
    struct tw_pg_rows rows;
    int r = tw_pg_query(
        pg, a,
        "SELECT n.nspname || '.' || c.relname || '.' || a.attname, c.oid, a.attnum FROM "
        "pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN "
        "pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN "
        "pg_catalog.pg_index i ON i.indexrelid = c.oid WHERE c.oid >= 16384 AND a.attnum "
        "> 0 AND NOT a.attisdropped AND (c.relkind IN ('r', 'm') OR (c.relkind = 'i' AND "
        "i.indexprs IS NOT NULL AND i.indkey[a.attnum - 1] = 0)) AND "
        "pg_catalog.pg_relation_size(c.oid) > 0 AND n.nspname !~ '^pg_' AND NOT EXISTS "
        "(SELECT FROM pg_catalog.pg_statistic s WHERE s.starelid = c.oid AND s.staattnum "
        "= a.attnum) ORDER BY 1",
        0, NULL, &rows, err);

    for (int n = 0; r == 0 && n < rows.rows; n++)
        TW_PUSH(a, &ret->unanalysed,
                (struct schema_column){whole(CELL(1)), (int)whole(CELL(2)), CELL(0)});
    return r;
}

int schema_catalog_read(struct tw_arena *a, struct tw_pg *pg, struct schema_catalog *ret,
                        struct tw_err *err)
{
    int r;

    *ret = (struct schema_catalog){0};
    r = read_relations(a, pg, ret, err);
    if (r == 0)
        r = read_unanalysed(a, pg, ret, err);
    return r < 0 ? tw_wrap(err, r, "reading the catalog") : 0;
}

const struct schema_relation *schema_catalog_find(const struct schema_catalog *c,
                                                  unsigned oid)
{
    for (size_t i = 0; i < c->relations.count; i++)
        if (c->relations.items[i].oid == oid)
            return &c->relations.items[i];
    return NULL;
}

bool schema_is_index(const struct schema_relation *r)
{
    return r->kind == 'i' || r->kind == 'I';
}
