/* Mixes of services without SQL: from files, from what logs and statistics tell, or from what
 * the baseline shows. Each request is tried on the baseline before it is used. */
#include "load_internal.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>

#define FILE_MAX ((size_t)4 << 20)

static const struct load_mix_kind *find_kind(const char *driver)
{
#define ROW(name) &load_mix_##name,
    static const struct load_mix_kind *const kinds[] = {LOAD_MIX_KINDS(ROW)};
#undef ROW

    for (size_t i = 0; i < TW_COUNT_OF(kinds); i++)
        if (tw_streq(driver, kinds[i]->driver))
            return kinds[i];
    return tw_streq(driver, "http2") ? &load_mix_http : NULL;
}

struct tw_load_item *load_mix_add(struct tw_arena *a, struct tw_load_mix *mix,
                                  const char *name, const char *sent, double weight)
{
    struct tw_load_item item = load_item_new();

    item.name = item.text = name;
    item.weight = weight;
    (void)load_statement_add(a, &item, sent);
    TW_PUSH(a, &mix->items, item);
    return &mix->items.items[mix->items.count - 1];
}

static int from_files(struct tw_arena *a, const struct load_mix_kind *kind,
                      const char *const *mixes, size_t count, struct tw_load_mix *mix,
                      struct tw_err *err)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, 65536);
    for (size_t i = 0; i < count; i++) {
        tw_auto_free char *text = NULL;
        int r = tw_read_file(AT_FDCWD, mixes[i], FILE_MAX, &text, NULL, err);

        if (r == -ENOENT)
            return tw_fail(err, -EINVAL, "load '%s' is no file; a load for %s is %s",
                           mixes[i], kind->driver, kind->words);
        if (r >= 0)
            r = load_mix_file(a, mixes[i], text, kind->escapes, mix, err);
        if (r < 0)
            return r;
        tw_buf_printf(&b, "%s%s", i ? ", " : "", mixes[i]);
    }
    mix->source = "script";
    mix->description = tw_arena_strdup(a, tw_buf_text(&b));
    return 0;
}

/* Requests that the baseline does not serve measure nothing and go, unless all are such. */
static void settle(struct tw_arena *a, const struct load_mix_kind *kind,
                   const struct load_answer *answers, const int *recorded,
                   struct tw_load_mix *mix)
{
    size_t kept = 0, n = mix->items.count;
    struct tw_load_item *items = tw_arena_alloc(a, (n + 1) * sizeof *items);
    double lost = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        struct tw_load_item *item = &mix->items.items[i];
        const char *told = NULL;
        const char *why = kind->judge(a, item, &answers[i], recorded[i], &told);

        all += item->weight;
        lost += why || told ? item->weight : 0;
        if (why || told)
            TW_PUSH(a, &mix->missing,
                    tw_arena_printf(a, "%s: %s", item->name, why ? why : told));
        if (!why)
            items[kept++] = *item;
    }
    if (all > 0 && !isnan(mix->coverage))
        mix->coverage *= 1 - lost / all;
    if (kept == 0)
        return;
    mix->items.items = items;
    mix->items.count = kept;
}

/* What the source tells stands in expect until the baseline was asked. */
static int try_all(struct tw_arena *a, const struct load_mix_kind *kind,
                   const struct tw_load_spec *at, struct tw_load_mix *mix,
                   struct tw_err *err)
{
    struct load_answer *answers = NULL;
    int *recorded = tw_arena_alloc(a, (mix->items.count + 1) * sizeof *recorded);
    int r;

    for (size_t i = 0; i < mix->items.count; i++) {
        struct tw_load_statement *s = mix->items.items[i].statements.items;

        recorded[i] = s->expect;
        s->expect = 0;
    }
    r = load_probe(a, at, mix, &answers, err);
    if (r < 0)
        return tw_wrap(err, r, "trying the load on the baseline");
    settle(a, kind, answers, recorded, mix);
    return 0;
}

int tw_load_mix_make_at(struct tw_arena *a, const struct tw_snapshot *s,
                        const char *driver, const char *const *mixes, size_t mix_count,
                        const struct tw_load_spec *at, struct tw_load_mix *ret,
                        struct tw_err *err)
{
    const struct load_mix_kind *kind = find_kind(driver);
    struct tw_load_mix mix = {.coverage = NAN, .driver = driver};
    struct load_program *program;
    int r;

    if (!kind)
        return tw_fail(err, -EINVAL, "no load can be made for '%s'",
                       driver ? driver : "");
    if (mix_count > 0) {
        r = from_files(a, kind, mixes, mix_count, &mix, err);
    } else {
        r = kind->known(a, s, at, &mix, err);
        if (r >= 0 && mix.items.count == 0)
            r = kind->guess(a, s, at, &mix, err);
    }
    if (r < 0)
        return r;
    load_mix_level(&mix);
    r = load_program_new(a, &mix, &program, err); /* what cannot be sent is said now */
    if (r >= 0)
        r = try_all(a, kind, at, &mix, err);
    if (r < 0)
        return r;
    load_mix_level(&mix);
    *ret = mix;
    return 0;
}
