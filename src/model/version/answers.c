/* Answers of both versions taken apart into features, each counted: a feature is a place ("/price"), a level
 * (is it there, its type, its form, its value) and what stood there. A level is believed only where old
 * and old agree; then each feature's share among old and new answers is compared exactly. */
#include "tw/num.h"
#include "version_internal.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VALUES_MOST   64          /* distinct ones of a facet; more are volatile */
#define TAKEN_MOST    2000        /* answers taken apart, of each request and side … */
#define BYTES_MOST    (256 << 10) /* … and their bytes */
#define LEAVES_MOST   400
#define DEPTH_MOST    16
#define OFFSETS_MOST  256
#define TEXT_MOST     160  /* of a value as it is kept */
#define NEED          5    /* answers of either version before anything is said */
#define CHANCE        1e-5 /* of one feature */
#define CHANCE_STATUS 1e-3
#define CHANCE_NOISE  1e-2 /* old against old: rather too much taken off */
#define NOVEL         0.05 /* share of answers with a value seen once: the part is volatile */
#define SHIFT_S       90.0
#define ALL           (-1) /* whatever the status */

enum level { STATUS, EMPTY, KEYS, TYPE, FORM, TIME, EXACT, ORDER };

struct value {
    char *text;
    int64_t n[TW_SIDE_COUNT];
    int64_t last; /* answer that counted it */
};
struct facet {
    int request, status;
    enum level level;
    char *where; /* "" the whole, a JSON Pointer with a star for any index, "header x" */
    bool number;
    struct value *values;
    size_t value_count;
    bool many;
    int64_t n[TW_SIDE_COUNT], last;
    double offset[TW_SIDE_COUNT][OFFSETS_MOST];
    size_t offset_count[TW_SIDE_COUNT];
};
struct taken {
    int64_t answers, bytes;
};
struct tw_answers {
    struct facet **facets; /* by hash, open addressing */
    size_t room, count;
    struct taken (*taken)[TW_SIDE_COUNT]; /* by request */
    int requests;
    int64_t answers, asked;
    int64_t all[TW_SIDE_COUNT], failed[TW_SIDE_COUNT];
    char *failed_as[TW_SIDE_COUNT];
    char *names[TW_SIDE_COUNT][8];
    size_t name_count[TW_SIDE_COUNT];
};

/* ---- store ---- */

struct tw_answers *tw_answers_new(void)
{
    struct tw_answers *w = tw_alloc(sizeof(*w));

    w->room = 1024;
    w->facets = tw_alloc(w->room * sizeof(struct facet *));
    return w;
}

static void free_facet(struct facet *f)
{
    for (size_t i = 0; i < f->value_count; i++)
        free(f->values[i].text);
    free(f->values);
    free(f->where);
    free(f);
}

void tw_answers_free(struct tw_answers *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->room; i++)
        if (w->facets[i])
            free_facet(w->facets[i]);
    for (int side = 0; side < TW_SIDE_COUNT; side++) {
        free(w->failed_as[side]);
        for (size_t i = 0; i < w->name_count[side]; i++)
            free(w->names[side][i]);
    }
    free(w->facets);
    free(w->taken);
    free(w);
}

void tw_answers_names(struct tw_answers *w, enum tw_side side, const char *name)
{
    if (name && *name && w->name_count[side] < TW_COUNT_OF(w->names[side]))
        w->names[side][w->name_count[side]++] = tw_strf("%s", name);
}

static size_t hash(int request, int status, enum level level, const char *where)
{
    uint64_t h = UINT64_C(1469598103934665603);

    h = (h ^ (uint64_t)(unsigned)request) * UINT64_C(1099511628211);
    h = (h ^ (uint64_t)(unsigned)(status * 16 + (int)level)) * UINT64_C(1099511628211);
    for (; *where; where++)
        h = (h ^ (unsigned char)*where) * UINT64_C(1099511628211);
    return (size_t)(h ^ (h >> 29));
}

static struct facet **slot_of(struct facet **facets, size_t room, int request, int status,
                              enum level level, const char *where)
{
    size_t i = hash(request, status, level, where) & (room - 1);

    for (;; i = (i + 1) & (room - 1)) {
        const struct facet *f = facets[i];

        if (!f || (f->request == request && f->status == status && f->level == level &&
                   strcmp(f->where, where) == 0))
            return &facets[i];
    }
}

static void widen(struct tw_answers *w)
{
    size_t room = 2 * w->room;
    struct facet **facets = tw_alloc(room * sizeof(struct facet *));

    for (size_t i = 0; i < w->room; i++) {
        struct facet *f = w->facets[i];

        if (f)
            *slot_of(facets, room, f->request, f->status, f->level, f->where) = f;
    }
    free(w->facets);
    w->facets = facets;
    w->room = room;
}

/* Of the answer that is taken apart. */
struct taking {
    struct tw_answers *w;
    enum tw_side side;
    int request, status;
    double asked_s;
    int leaves;
    struct tw_buf form;
};

static struct facet *facet_at(struct taking *t, int status, enum level level,
                              const char *where)
{
    struct tw_answers *w = t->w;
    struct facet **slot = slot_of(w->facets, w->room, t->request, status, level, where);
    struct facet *f = *slot;

    if (!f) {
        f = *slot = tw_alloc(sizeof(*f));
        f->request = t->request;
        f->status = status;
        f->level = level;
        f->where = tw_strf("%s", where);
        if (++w->count > w->room / 2)
            widen(w);
    }
    if (f->last != w->answers) {
        f->last = w->answers;
        f->n[t->side]++;
    }
    return f;
}

static void count_value(struct taking *t, struct facet *f, const char *text)
{
    tw_auto_free char *kept = tw_strf("%.*s", TEXT_MOST, text);
    struct value *v = NULL;

    for (size_t i = 0; i < f->value_count && !v; i++)
        if (strcmp(f->values[i].text, kept) == 0)
            v = &f->values[i];
    if (!v && f->value_count == VALUES_MOST) {
        f->many = true;
        return;
    }
    if (!v) {
        f->values = tw_realloc_array(f->values, f->value_count + 1, sizeof(struct value));
        v = &f->values[f->value_count++];
        *v = (struct value){.text = tw_take_ptr(&kept)};
    }
    if (v->last == t->w->answers)
        return;
    v->last = t->w->answers;
    v->n[t->side]++;
}

static void count(struct taking *t, enum level level, const char *where, const char *text)
{
    count_value(t, facet_at(t, t->status, level, where), text);
}

/* ---- taking an answer apart ---- */

static void count_text(struct taking *t, const char *where, const char *text, bool number)
{
    double at_s;
    struct facet *f;

    if (version_time(text, &at_s, &t->form)) {
        count(t, FORM, where, tw_buf_text(&t->form));
        f = facet_at(t, t->status, TIME, where);
        count_value(t, f, "time");
        if (f->offset_count[t->side] < OFFSETS_MOST)
            f->offset[t->side][f->offset_count[t->side]++] = at_s - t->asked_s;
        return;
    }
    if (!number) {
        version_shape(text, &t->form);
        count(t, FORM, where, tw_buf_text(&t->form));
    }
    f = facet_at(t, t->status, EXACT, where);
    f->number = number;
    count_value(t, f, text);
}

static void take_json(struct taking *t, const char *where, const json_t *json, int depth);

static void take_object(struct taking *t, const char *where, const json_t *json,
                        int depth)
{
    struct facet *keys = facet_at(t, t->status, KEYS, where);
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        tw_auto_free char *inner = tw_strf("%s/%s", where, key);

        count_value(t, keys, key);
        take_json(t, inner, value, depth + 1);
        /* Facets may have moved to a wider table, but not in memory. */
    }
}

static void take_array(struct taking *t, const char *where, const json_t *json, int depth)
{
    tw_auto_free char *inner = tw_strf("%s/*", where), *order = NULL, *whole = NULL;
    char digest[65];
    json_t *item;
    size_t i;

    count(t, EMPTY, where, json_array_size(json) ? "elements" : "no elements");
    whole = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    tw_sha256_hex(whole ? whole : "", whole ? strlen(whole) : 0, digest);
    order = tw_strf("%.16s", digest);
    count(t, ORDER, where, order);
    json_array_foreach (json, i, item)
        take_json(t, inner, item, depth + 1);
}

static void take_json(struct taking *t, const char *where, const json_t *json, int depth)
{
    static const char *const types[] = {
        [JSON_OBJECT] = "object",       [JSON_ARRAY] = "array",
        [JSON_STRING] = "text",         [JSON_INTEGER] = "number",
        [JSON_REAL] = "number",         [JSON_TRUE] = "true or false",
        [JSON_FALSE] = "true or false", [JSON_NULL] = "null"};
    tw_auto_free char *text = NULL;

    if (depth > DEPTH_MOST || t->leaves++ > LEAVES_MOST)
        return;
    count(t, TYPE, where, types[json_typeof(json)]);
    if (json_is_object(json)) {
        take_object(t, where, json, depth);
    } else if (json_is_array(json)) {
        take_array(t, where, json, depth);
    } else if (json_is_string(json)) {
        count_text(t, where, json_string_value(json), false);
    } else {
        text = json_dumps(json, JSON_ENCODE_ANY);
        count_text(t, where, text ? text : "", true);
    }
}

/* Any other text is the set of its lines. */
static void take_lines(struct taking *t, const char *body, size_t len)
{
    size_t at = 0, lines = 0;

    while (at < len && lines++ < LEAVES_MOST) {
        const char *end = memchr(body + at, '\n', len - at);
        size_t n = end ? (size_t)(end - body) - at : len - at;
        tw_auto_free char *line = tw_strf("%.*s", (int)(n > 4096 ? 4096 : n), body + at);

        if (*line)
            count_text(t, "text", line, false);
        at += n + 1;
    }
}

static const struct header_row {
    const char *name;
    enum { AS_IS, DERIVED, NAMES_VERSION } how;
} header_rows[] = {
    {"etag", DERIVED},          {"content-length", DERIVED},
    {"last-modified", DERIVED}, {"transfer-encoding", DERIVED},
    {"set-cookie", DERIVED},    {"connection", DERIVED},
    {"keep-alive", DERIVED},    {"age", DERIVED},
    {"server", NAMES_VERSION},  {"x-powered-by", NAMES_VERSION},
};

static int header_how(const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(header_rows); i++)
        if (strcasecmp(header_rows[i].name, name) == 0)
            return (int)header_rows[i].how;
    return AS_IS;
}

static void take_headers(struct taking *t, const struct tw_reply *r)
{
    struct facet *names = facet_at(t, t->status, KEYS, "header");

    for (size_t i = 0; i < r->headers.count; i++) {
        tw_auto_free char *name = tw_strf("%s", r->headers.items[i].name);
        tw_auto_free char *where = NULL;

        for (char *c = name; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        where = tw_strf("header %s", name);
        if (header_how(name) == AS_IS || strcmp(name, "set-cookie") == 0)
            count_value(t, names, name);
        if (header_how(name) != DERIVED)
            count_text(t, where, r->headers.items[i].value, false);
    }
}

static void take_body(struct taking *t, const struct tw_reply *r)
{
    json_t *json =
        r->body && r->len ? json_loadb(r->body, r->len, JSON_DECODE_ANY, NULL) : NULL;

    count(t, EMPTY, "", r->len ? "a body" : "no body");
    if (r->len)
        count(t, TYPE, "", json_is_object(json) || json_is_array(json) ? "JSON" : "text");
    if (json_is_object(json) || json_is_array(json))
        take_json(t, "", json, 0);
    else if (r->len)
        take_lines(t, r->body, r->len);
    json_decref(json);
}

static bool is_failed(int status)
{
    return status == 0 || status >= 500;
}

void tw_answers_add(struct tw_answers *w, enum tw_side side, int request,
                    const struct tw_reply *r)
{
    struct taking t = {.w = w,
                       .side = side,
                       .request = request,
                       .status = r->status,
                       .asked_s = 1e-9 * (double)r->asked_wall_ns};
    tw_auto_free char *status = r->status ? tw_strf("%d", r->status)
                                          : tw_strf("%s", r->why ? r->why : "no answer");
    struct taken *taken;

    for (; request >= w->requests; w->requests++) {
        w->taken = tw_realloc_array(w->taken, (size_t)w->requests + 1, sizeof(*w->taken));
        memset(&w->taken[w->requests], 0, sizeof(*w->taken));
    }
    w->answers++;
    w->asked += side == TW_SIDE_NEW;
    w->all[side]++;
    count_value(&t, facet_at(&t, ALL, STATUS, ""), status);
    if (is_failed(r->status)) {
        w->failed[side]++;
        if (!w->failed_as[side])
            w->failed_as[side] = tw_strf("%s", status);
    }
    taken = &w->taken[request][side];
    if (!r->status || taken->answers >= TAKEN_MOST || taken->bytes >= BYTES_MOST)
        return;
    taken->answers++;
    taken->bytes += (int64_t)r->len + 512;
    tw_buf_init(&t.form, 4096);
    take_headers(&t, r);
    take_body(&t, r);
    tw_buf_done(&t.form);
}

/* ---- comparing ---- */

struct comparing {
    struct tw_arena *a;
    const struct tw_answers *w;
    struct tw_differences *ret;
};

static int64_t old_of(const int64_t n[TW_SIDE_COUNT])
{
    return n[TW_SIDE_OLD] + n[TW_SIDE_AGAIN];
}

/* Chance of a feature's counts under equal shares, either way. */
static double chance(int64_t k, int64_t n, int64_t l, int64_t m)
{
    bool more = (double)l * (double)n > (double)k * (double)m;

    return more ? tw_share_chance(k, n, l, m) : tw_share_chance(l, m, k, n);
}

static bool old_agrees(const struct facet *f)
{
    int64_t once = 0;

    for (size_t i = 0; i < f->value_count; i++) {
        const struct value *v = &f->values[i];

        once += old_of(v->n) == 1;
        if (chance(v->n[TW_SIDE_OLD], f->n[TW_SIDE_OLD], v->n[TW_SIDE_AGAIN],
                   f->n[TW_SIDE_AGAIN]) < CHANCE_NOISE)
            return false;
    }
    return !f->many && (double)once <= NOVEL * (double)old_of(f->n);
}

/* What tells most: a value that went and one that came. */
struct found {
    const struct value *gone, *came;
    double gone_chance, came_chance;
};

static struct found strongest(const struct facet *f)
{
    struct found best = {.gone_chance = 1, .came_chance = 1};
    int64_t old = old_of(f->n), now = f->n[TW_SIDE_NEW];

    for (size_t i = 0; i < f->value_count; i++) {
        const struct value *v = &f->values[i];
        int64_t k = old_of(v->n), l = v->n[TW_SIDE_NEW];
        double p = chance(k, old, l, now);

        if ((double)l * (double)old > (double)k * (double)now) {
            if (p < best.came_chance) {
                best.came_chance = p;
                best.came = v;
            }
        } else if (p < best.gone_chance) {
            best.gone_chance = p;
            best.gone = v;
        }
    }
    return best;
}

static const char *shown(struct tw_arena *a, const char *where)
{
    if (tw_starts_with(where, "header "))
        return tw_arena_strdup(a, where + strlen("header "));
    return *where ? tw_arena_strdup(a, where) : NULL;
}

static void add(struct comparing *c, enum tw_difference_kind kind, const struct facet *f,
                const char *where, const struct value *gone, const struct value *came,
                double p)
{
    const struct value *tell = came ? came : gone;
    struct tw_difference d = {
        .kind = kind,
        .request = f->request,
        .where = shown(c->a, where),
        .before = gone ? tw_arena_strdup(c->a, gone->text) : NULL,
        .after = came ? tw_arena_strdup(c->a, came->text) : NULL,
        .had_before = old_of(tell->n),
        .of_before = old_of(f->n),
        .had_after = tell->n[TW_SIDE_NEW],
        .of_after = f->n[TW_SIDE_NEW],
        .chance = p,
        .shift_s = NAN,
    };

    TW_PUSH(c->a, &c->ret->list, d);
}

/* name taken out where it stands as a word of its own. owned */
static char *without(const char *text, char *const *names, size_t n)
{
    tw_auto_buf out = {0};

    tw_buf_init(&out, 4096);
    for (const char *s = text; *s;) {
        size_t skip = 0;

        for (size_t i = 0; i < n && !skip; i++) {
            size_t len = strlen(names[i]);
            bool begins = s == text || !isalnum((unsigned char)s[-1]);

            if (begins && strncmp(s, names[i], len) == 0 &&
                !isalnum((unsigned char)s[len]))
                skip = len;
        }
        if (!skip)
            tw_buf_add(&out, s, 1);
        else
            tw_buf_puts(&out, "\001");
        s += skip ? skip : 1;
    }
    return tw_buf_take(&out);
}

static bool only_names(const struct tw_answers *w, const struct value *gone,
                       const struct value *came)
{
    tw_auto_free char *before = NULL, *after = NULL;

    if (!gone || !came)
        return false;
    before = without(gone->text, (char *const *)w->names[TW_SIDE_OLD],
                     w->name_count[TW_SIDE_OLD]);
    after = without(came->text, (char *const *)w->names[TW_SIDE_NEW],
                    w->name_count[TW_SIDE_NEW]);
    return strcmp(before, after) == 0;
}

static enum tw_difference_kind kind_of(const struct facet *f)
{
    bool header = tw_starts_with(f->where, "header ");

    if (tw_streq(f->where, "header content-type"))
        return TW_DIFFERS_TYPE_OF_BODY;
    if (header && header_how(f->where + strlen("header ")) == NAMES_VERSION)
        return TW_DIFFERS_TEXT;
    if (header)
        return TW_DIFFERS_HEADER;
    switch (f->level) {
    case TYPE:
        return TW_DIFFERS_TYPE;
    case ORDER:
        return TW_DIFFERS_ORDER;
    case EMPTY:
        return TW_DIFFERS_EMPTY;
    case FORM:
        return tw_streq(f->where, "text") ? TW_DIFFERS_TEXT : TW_DIFFERS_FORMAT;
    default:
        return f->number ? TW_DIFFERS_VALUE : TW_DIFFERS_TEXT;
    }
}

/* Each key on its own: several may be gone. */
static void compare_keys(struct comparing *c, const struct facet *f)
{
    bool header = tw_streq(f->where, "header");

    for (size_t i = 0; i < f->value_count; i++) {
        const struct value *v = &f->values[i];
        int64_t old = old_of(f->n), now = f->n[TW_SIDE_NEW], k = old_of(v->n),
                l = v->n[TW_SIDE_NEW];
        bool came = (double)l * (double)old > (double)k * (double)now;
        tw_auto_free char *where =
            header ? tw_strf("header %s", v->text) : tw_strf("%s/%s", f->where, v->text);

        if (chance(k, old, l, now) < CHANCE)
            add(c,
                header ? TW_DIFFERS_HEADER
                : came ? TW_DIFFERS_NEW
                       : TW_DIFFERS_MISSING,
                f, where, came ? NULL : v, came ? v : NULL, chance(k, old, l, now));
    }
}

static double span(const double *x, size_t n, double *ret_middle)
{
    tw_auto_free double *copy = tw_alloc((n + 1) * sizeof(double));

    memcpy(copy, x, n * sizeof(double));
    *ret_middle = tw_median(copy, n);
    return n ? tw_quantile(copy, n, 0.95) - tw_quantile(copy, n, 0.05) : 0;
}

static void compare_time(struct comparing *c, const struct facet *f)
{
    double middle[TW_SIDE_COUNT], widest = SHIFT_S;

    for (int side = 0; side < TW_SIDE_COUNT; side++) {
        double width;

        if (f->offset_count[side] < NEED)
            return;
        width = span(f->offset[side], f->offset_count[side], &middle[side]);
        if (side != TW_SIDE_NEW)
            widest = fmax(widest, 2 * width);
    }
    widest = fmax(widest, 2 * fabs(middle[TW_SIDE_AGAIN] - middle[TW_SIDE_OLD]));
    if (fabs(middle[TW_SIDE_NEW] - middle[TW_SIDE_OLD]) <= widest)
        return;
    add(c, TW_DIFFERS_TIME, f, f->where, &f->values[0], &f->values[0], 0);
    c->ret->list.items[c->ret->list.count - 1].shift_s =
        middle[TW_SIDE_NEW] - middle[TW_SIDE_OLD];
}

/* A coarser level tells it already. */
static bool is_told(const struct comparing *c, const struct facet *f)
{
    const char *where = tw_starts_with(f->where, "header ") ? f->where + 7 : f->where;

    for (size_t i = 0; i < c->ret->list.count; i++) {
        const struct tw_difference *d = &c->ret->list.items[i];
        size_t len = d->where ? strlen(d->where) : 0;

        if (d->request != f->request || d->kind == TW_DIFFERS_STATUS)
            continue;
        if ((!d->where && !tw_starts_with(f->where, "header")) ||
            (d->where && strncmp(d->where, where, len) == 0 &&
             (where[len] == '/' || where[len] == '\0')) ||
            (f->level == ORDER && d->where && tw_starts_with(d->where, where)))
            return true;
    }
    return false;
}

static void compare_facet(struct comparing *c, const struct facet *f)
{
    double limit = f->level == STATUS ? CHANCE_STATUS : CHANCE;
    struct found best;

    if (old_of(f->n) < NEED || f->n[TW_SIDE_NEW] < NEED || is_told(c, f))
        return;
    if (!old_agrees(f)) {
        c->ret->volatile_parts += f->level == EXACT || f->level == FORM;
        return;
    }
    if (f->level == KEYS || f->level == TIME) {
        f->level == KEYS ? compare_keys(c, f) : compare_time(c, f);
        return;
    }
    best = strongest(f);
    if (fmin(best.gone_chance, best.came_chance) >= limit)
        return;
    if ((f->level == EXACT || f->level == FORM) && only_names(c->w, best.gone, best.came))
        return;
    add(c, f->level == STATUS ? TW_DIFFERS_STATUS : kind_of(f), f, f->where, best.gone,
        best.came, fmin(best.gone_chance, best.came_chance));
}

/* By request, level, place: whatever the order in which answers came. */
static int by_place(const void *left, const void *right)
{
    const struct facet *a = *(struct facet *const *)left,
                       *b = *(struct facet *const *)right;

    if (a->request != b->request)
        return a->request < b->request ? -1 : 1;
    if (a->level != b->level)
        return a->level < b->level ? -1 : 1;
    if (a->status != b->status)
        return a->status < b->status ? -1 : 1;
    return strcmp(a->where, b->where);
}

/* An error in fifty shows in all requests together before it does in one. */
static void compare_failed(struct comparing *c)
{
    const struct tw_answers *w = c->w;
    int64_t n = old_of(w->all), k = old_of(w->failed), m = w->all[TW_SIDE_NEW],
            l = w->failed[TW_SIDE_NEW];
    double p = tw_share_chance(k, n, l, m);

    if (n < NEED || m < NEED || p >= CHANCE_STATUS)
        return;
    TW_PUSH(
        c->a, &c->ret->list,
        (struct tw_difference){.kind = TW_DIFFERS_STATUS,
                               .request = -1,
                               .after = tw_arena_strdup(c->a, w->failed_as[TW_SIDE_NEW]),
                               .had_before = k,
                               .of_before = n,
                               .had_after = l,
                               .of_after = m,
                               .chance = p,
                               .shift_s = NAN});
}

void tw_answers_compare(struct tw_arena *a, const struct tw_answers *w,
                        struct tw_differences *ret)
{
    tw_auto_free struct facet **all = tw_alloc((w->count + 1) * sizeof(struct facet *));
    struct comparing c = {a, w, ret};
    size_t n = 0;

    *ret = (struct tw_differences){.asked = w->asked};
    for (size_t i = 0; i < w->room; i++)
        if (w->facets[i])
            all[n++] = w->facets[i];
    qsort(all, n, sizeof(*all), by_place);
    compare_failed(&c);
    for (size_t i = 0; i < n; i++)
        compare_facet(&c, all[i]);
}
