/* A mix made ready to be sent: expressions compiled, weights summed up, statements named.
 * And the drawing of one request's values. */
#include "load_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int ready_expression(struct tw_arena *a, const struct tw_load_item *item, size_t v,
                            struct load_variable *ret, struct tw_err *err)
{
    const char **names = tw_arena_alloc(a, (v + 1) * sizeof *names);

    for (size_t i = 0; i < v; i++)
        names[i] = item->variables.items[i].name;
    return load_expression_compile(a, item->variables.items[v].expression, names, v,
                                   &ret->expression, err);
}

static const double *sums(struct tw_arena *a, const double *weights, size_t n)
{
    double *sum = tw_arena_alloc(a, n * sizeof *sum), total = 0;

    for (size_t i = 0; i < n; i++)
        sum[i] = total += weights[i] > 0 ? weights[i] : 0;
    for (size_t i = 0; i < n && total > 0; i++)
        sum[i] /= total;
    return sum;
}

/* The first variable of the same row source; itself when there is none before it. */
static size_t leader_of(const struct tw_load_item *item, size_t v)
{
    const struct tw_load_variable *mine = &item->variables.items[v];

    for (size_t i = 0; i < v && mine->expression; i++) {
        const struct tw_load_variable *other = &item->variables.items[i];

        if (other->kind == TW_VAR_PICK && tw_streq(other->expression, mine->expression) &&
            other->values.count == mine->values.count)
            return i;
    }
    return v;
}

static int ready_variable(struct tw_arena *a, const struct tw_load_item *item, size_t v,
                          struct load_variable *ret, struct tw_err *err)
{
    const struct tw_load_variable *from = &item->variables.items[v];

    ret->leader = v;
    if (from->kind == TW_VAR_EXPRESSION)
        return ready_expression(a, item, v, ret, err);
    if (from->kind != TW_VAR_PICK)
        return 0;
    if (from->values.count == 0)
        return tw_fail(err, -EINVAL, "variable '%s' of '%s' has no values to pick from",
                       from->name, item->name);
    ret->leader = leader_of(item, v);
    if (from->weights.count == from->values.count)
        ret->cumulative = sums(a, from->weights.items, from->weights.count);
    return 0;
}

/* Outside BEGIN … END every statement is a transaction of its own, as when it is sent
 * alone. */
static void ready_statements(struct tw_arena *a, struct load_program *p, size_t index)
{
    const struct tw_load_item *item = &p->mix->items.items[index];
    struct load_statement *to = p->items[index].statements;

    static const char *const opens[] = {"begin", "start"};
    static const char *const closes[] = {"end", "commit", "rollback", "abort"};
    bool inside = false;
    char word[16];

    for (size_t i = 0; i < item->statements.count; i++) {
        const struct tw_load_statement *s = &item->statements.items[i];

        load_first_word(s->sql ? s->sql : "", word, sizeof word);
        if (tw_name_index(word, opens, TW_COUNT_OF(opens)) >= 0)
            inside = true;
        if (tw_name_index(word, closes, TW_COUNT_OF(closes)) >= 0)
            inside = false;
        to[i].name = tw_arena_printf(a, "t%zu_%zu", index, i);
        to[i].number = p->statement_count++;
        to[i].empty = !s->sql || s->sql[0] == '\0';
        to[i].think_ns = (int64_t)(s->think_ms * 1e6);
        to[i].sync = !inside;
    }
    if (item->statements.count)
        to[item->statements.count - 1].sync = true;
}

static int ready_item(struct tw_arena *a, struct load_program *p, size_t index,
                      struct tw_err *err)
{
    const struct tw_load_item *item = &p->mix->items.items[index];
    struct load_item *to = &p->items[index];
    int r;

    if (item->statements.count == 0)
        return tw_fail(err, -EINVAL, "'%s' has no statement", item->name);
    to->variables =
        tw_arena_alloc(a, (item->variables.count + 1) * sizeof *to->variables);
    to->statements = tw_arena_alloc(a, item->statements.count * sizeof *to->statements);
    for (size_t v = 0; v < item->variables.count; v++) {
        r = ready_variable(a, item, v, &to->variables[v], err);
        if (r < 0)
            return r;
    }
    ready_statements(a, p, index);

    if (item->variables.count > p->max_variables)
        p->max_variables = item->variables.count;
    for (size_t s = 0; s < item->statements.count; s++) {
        const struct tw_load_statement *statement = &item->statements.items[s];

        if (statement->variables.count > p->max_parameters)
            p->max_parameters = statement->variables.count;
        for (size_t i = 0; i < statement->variables.count; i++)
            if (statement->variables.items[i] < 0 ||
                (size_t)statement->variables.items[i] >= item->variables.count)
                return tw_fail(err, -EINVAL, "'%s' uses a variable that it does not have",
                               item->name);
    }
    p->pipeline |= item->statements.count > 1;
    return 0;
}

int load_program_new(struct tw_arena *a, const struct tw_load_mix *mix,
                     struct load_program **ret, struct tw_err *err)
{
    struct load_program *p = tw_arena_alloc(a, sizeof *p);
    size_t n = mix->items.count;
    double *weights = tw_arena_alloc(a, (n + 1) * sizeof *weights), total = 0;
    int r;

    p->mix = mix;
    p->items = tw_arena_alloc(a, (n + 1) * sizeof *p->items);
    for (size_t i = 0; i < n; i++) {
        r = ready_item(a, p, i, err);
        if (r < 0)
            return r;
        total += weights[i] = mix->items.items[i].weight;
    }
    if (!(total > 0))
        return tw_fail(err, -EINVAL, "the load has no item with a weight over 0");
    p->cumulative = (double *)sums(a, weights, n);
    *ret = p;
    return 0;
}

/* The first index whose cumulative weight is over u. */
static size_t pick(const double *cumulative, size_t n, double u)
{
    size_t low = 0, high = n - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (cumulative[middle] > u)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

size_t load_program_pick(const struct load_program *p, struct tw_rng *rng)
{
    size_t n = p->mix->items.count;

    return n == 1 ? 0 : pick(p->cumulative, n, tw_rng_uniform(rng));
}

void load_draw_init(struct tw_arena *a, const struct load_program *p,
                    struct load_draw *ret)
{
    size_t n = p->max_variables + 1;

    ret->values = tw_arena_alloc(a, n * sizeof *ret->values);
    ret->texts = tw_arena_alloc(a, n * sizeof *ret->texts);
    ret->room = tw_arena_alloc(a, n * sizeof *ret->room);
}

/* Backwards from the end of room; printf costs more than the draw. */
static const char *write_whole(char room[LOAD_TEXT_MAX], int64_t value)
{
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char *at = room + LOAD_TEXT_MAX;

    *--at = '\0';
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0)
        *--at = '-';
    return at;
}

static const char *write_value(char room[LOAD_TEXT_MAX], const struct load_value *v)
{
    if (!v->real)
        return write_whole(room, v->i);
    (void)snprintf(room, LOAD_TEXT_MAX, "%.17g", v->d);
    return room;
}

static int64_t pick_index(const struct tw_load_variable *from,
                          const struct load_variable *v, struct tw_rng *rng)
{
    if (v->cumulative)
        return (int64_t)pick(v->cumulative, from->values.count, tw_rng_uniform(rng));
    return (int64_t)tw_rng_below(rng, from->values.count);
}

static const char *draw_variable(const struct tw_load_variable *from,
                                 const struct load_variable *v, size_t index,
                                 struct tw_rng *rng, struct load_draw *d)
{
    struct load_value *value = &d->values[index];
    const char *why = NULL;

    value->real = false;
    switch (from->kind) {
    case TW_VAR_UNIFORM:
        value->i = load_draw_uniform(rng, from->low, from->high);
        break;
    case TW_VAR_ZIPF:
        value->i = load_draw_zipf(rng, from->low, from->high, from->shape);
        break;
    case TW_VAR_GAUSS:
        value->i = load_draw_gauss(rng, from->low, from->high, from->shape);
        break;
    case TW_VAR_EXPONENTIAL:
        value->i = load_draw_exponential(rng, from->low, from->high, from->shape);
        break;
    case TW_VAR_PICK:
        value->i = v->leader == index ? pick_index(from, v, rng) : d->values[v->leader].i;
        d->texts[index] = from->values.items[value->i];
        return NULL;
    case TW_VAR_EXPRESSION:
        why = load_expression_eval(v->expression, d->values, rng, value);
        break;
    }
    d->texts[index] = write_value(d->room[index], value);
    return why;
}

const char *load_draw_item(const struct load_program *p, size_t item, struct tw_rng *rng,
                           struct load_draw *d)
{
    const struct tw_load_item *from = &p->mix->items.items[item];
    const char *why = NULL, *first = NULL;

    for (size_t v = 0; v < from->variables.count; v++) {
        why = draw_variable(&from->variables.items[v], &p->items[item].variables[v], v,
                            rng, d);
        first = first ? first : why;
    }
    return first;
}

int load_draw_parameters(const struct tw_load_statement *s, const struct load_draw *d,
                         const char **ret)
{
    for (size_t i = 0; i < s->variables.count; i++)
        ret[i] = d->texts[s->variables.items[i]];
    return (int)s->variables.count;
}
