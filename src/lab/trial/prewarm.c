#include "trial_internal.h"
#include "tw/pg.h"

#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

/* Blocks read between two looks at the clock. */
#define CHUNK_BLOCKS 8192
/* Never more of the buffers than this (the rest is for what the load itself brings), nor
 * of the memory limit (page cache that is charged to the twin). */
#define BUFFER_SHARE 0.75
#define MEMORY_SHARE 0.60
#define MAX_WORDS    ((size_t)64 * 1024)

/* pg_prewarm ships with every server, but the extension need not be there: a temporary
 * function is gone with its session. */
static const char make_function[] =
    "CREATE FUNCTION pg_temp.twin_prewarm(regclass, text, text, int8, int8) RETURNS int8 "
    "AS '$libdir/pg_prewarm', 'pg_prewarm' LANGUAGE C";
/* Relations that words of the mix name, and their indexes; indexes first, then small
 * ones. */
static const char find_relations[] =
    "WITH named AS (SELECT DISTINCT to_regclass(w)::oid AS oid FROM unnest($1::text[]) "
    "w), "
    "rel AS (SELECT c.oid FROM pg_class c JOIN named USING (oid) WHERE c.relkind IN "
    "('r','m') "
    "UNION SELECT i.indexrelid FROM pg_index i JOIN named n ON n.oid = i.indrelid) "
    "SELECT c.oid::text, pg_relation_size(c.oid) / current_setting('block_size')::int8 "
    "FROM rel JOIN pg_class c USING (oid) WHERE pg_relation_size(c.oid) > 0 "
    "ORDER BY c.relkind <> 'i', 2";
static const char buffer_bytes[] =
    "SELECT setting::float8 * current_setting('block_size')::float8 FROM pg_settings "
    "WHERE name = 'shared_buffers'";

struct worker {
    struct tw_pg *pg;  /* NULL: nothing to do */
    const char *words; /* a PostgreSQL array literal */
    double memory_limit;
    int64_t deadline_ns;
    double seconds, bytes; /* results */
    double block, buffers; /* bytes */
};

/* ---- words of the mix that could name a relation ---- */

static bool word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '$' || (c & 0x80);
}

/* What to_regclass() would not choke on: a name, or schema.name. */
static bool plausible(const char *word, size_t len)
{
    size_t dots = 0;

    if (len == 0 || len > 127 || isdigit((unsigned char)word[0]) || word[0] == '$' ||
        word[0] == '.' || word[len - 1] == '.')
        return false;
    for (size_t i = 0; i < len; i++)
        dots += word[i] == '.';
    return dots <= 1;
}

static void add_words(struct tw_buf *b, const char *sql)
{
    while (*sql) {
        size_t len = 0;

        while (word_char(sql[len]))
            len++;
        if (plausible(sql, len)) {
            tw_buf_puts(b, b->len > 1 ? ",\"" : "\"");
            tw_buf_add(b, sql, len);
            tw_buf_puts(b, "\"");
        }
        sql += len ? len : 1;
    }
}

static void mix_words(struct tw_buf *b, const struct tw_load_mix *mix)
{
    tw_buf_puts(b, "{");
    for (size_t i = 0; i < mix->items.count; i++)
        for (size_t k = 0; k < mix->items.items[i].statements.count; k++)
            add_words(b, mix->items.items[i].statements.items[k].sql);
    tw_buf_puts(b, "}");
}

/* ---- one twin ---- */

static int warm_chunk(struct worker *w, struct tw_arena *a, const char *oid,
                      const char *mode, int64_t from, int64_t to)
{
    const char *params[] = {oid, mode, tw_arena_printf(a, "%lld", (long long)from),
                            tw_arena_printf(a, "%lld", (long long)to)};
    struct tw_pg_rows rows;

    return tw_pg_query(
        w->pg, a, "SELECT pg_temp.twin_prewarm($1::oid::regclass, $2, 'main', $3, $4)", 4,
        params, &rows, NULL);
}

/* Into the server's buffers while there is room; the kernel is asked to read the rest
 * into the page cache, which costs little where it is there already. */
static void warm_relation(struct worker *w, struct tw_arena *a, const char *oid,
                          int64_t blocks)
{
    for (int64_t at = 0; at < blocks && tw_now_ns() < w->deadline_ns;
         at += CHUNK_BLOCKS) {
        int64_t end = at + CHUNK_BLOCKS < blocks ? at + CHUNK_BLOCKS : blocks;
        double bytes = (double)(end - at) * w->block;
        bool buffers = w->bytes + bytes <= w->buffers * BUFFER_SHARE;

        if (w->memory_limit > 0 && w->bytes + bytes > w->memory_limit * MEMORY_SHARE)
            return;
        if (warm_chunk(w, a, oid, buffers ? "buffer" : "prefetch", at, end - 1) < 0)
            return;
        w->bytes += bytes;
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_pg_rows rows;
    int64_t begun = tw_now_ns();
    const char *params[] = {w->words};

    /* Our function waits for no standby, wherever the target's commits do. */
    if (tw_pg_exec(w->pg, "SET synchronous_commit = local", NULL) < 0 ||
        tw_pg_exec(w->pg, make_function, NULL) < 0 ||
        tw_pg_double(w->pg, buffer_bytes, &w->buffers, NULL) < 0 ||
        tw_pg_double(w->pg, "SELECT current_setting('block_size')::float8", &w->block,
                     NULL) < 0 ||
        tw_pg_query(w->pg, a, find_relations, 1, params, &rows, NULL) < 0)
        return NULL;
    for (int i = 0; i < rows.rows; i++) {
        int64_t blocks = 0;

        if (tw_parse_int64(tw_pg_cell(&rows, i, 1), &blocks, NULL) == 0)
            warm_relation(w, a, tw_pg_cell(&rows, i, 0), blocks);
    }
    w->seconds = tw_seconds(tw_now_ns() - begun);
    return NULL;
}

void trial_prewarm(const struct tw_trial_spec *spec, int64_t deadline_ns,
                   struct trial_prewarm *ret)
{
    struct worker workers[TW_ARM_COUNT];
    pthread_t threads[TW_ARM_COUNT];
    tw_auto_buf words = {0};

    tw_buf_init(&words, MAX_WORDS);
    mix_words(&words, spec->mix);
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        struct worker *w = &workers[arm];

        *w = (struct worker){.words = tw_buf_text(&words),
                             .memory_limit = (double)spec->plan->twin_memory_bytes,
                             .deadline_ns = deadline_ns,
                             .seconds = NAN};
        /* Connections are made one after the other; only the reading is side by side. */
        if (words.overflow ||
            tw_twin_connect(spec->twins[arm], spec->mix->database, &w->pg, NULL) < 0)
            w->pg = NULL;
    }
    for (int arm = 0; arm < TW_ARM_COUNT; arm++)
        if (workers[arm].pg &&
            pthread_create(&threads[arm], NULL, worker_main, &workers[arm]) != 0) {
            tw_pg_close(workers[arm].pg);
            workers[arm].pg = NULL;
        }
    for (int arm = 0; arm < TW_ARM_COUNT; arm++) {
        if (workers[arm].pg) {
            pthread_join(threads[arm], NULL);
            tw_pg_close(workers[arm].pg);
        }
        ret->seconds[arm] = workers[arm].seconds;
        ret->bytes[arm] = workers[arm].bytes;
    }
}
