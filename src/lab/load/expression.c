/* The arithmetic of \set: whole numbers and reals, operators, functions, random draws.
 * Compiled to a stack program; what does not draw and has constant arguments is computed
 * at once. */
#include "load_internal.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64
#define CODE_MAX  512

typedef const char *value_fn(const struct load_value *args, int count, struct tw_rng *rng,
                             struct load_value *ret);

struct function {
    const char *name;
    int least, most; /* arguments */
    bool random;
    value_fn *run;
};

enum op { OP_CONSTANT, OP_VARIABLE, OP_CALL };
struct step {
    enum op op;
    int count; /* OP_CALL: arguments */
    size_t variable;
    const struct function *function;
    struct load_value value;
};
struct load_expression {
    struct step *steps;
    size_t count;
};

static const char too_large[] = "number out of range";
static const char by_zero[] = "division by zero";

static struct load_value whole(int64_t i)
{
    return (struct load_value){.i = i};
}

static struct load_value real(double d)
{
    return (struct load_value){.real = true, .d = d};
}

static const char *to_whole(const struct load_value *v, int64_t *ret)
{
    if (!v->real) {
        *ret = v->i;
        return NULL;
    }
    if (!(fabs(v->d) < 9.2e18))
        return too_large;
    *ret = (int64_t)llround(v->d);
    return NULL;
}

/* ---- distributions (formulas of the pgbench manual) ---- */

int64_t load_draw_uniform(struct tw_rng *rng, int64_t low, int64_t high)
{
    uint64_t span = (uint64_t)high - (uint64_t)low + 1;

    if (high <= low)
        return low;
    return (int64_t)((uint64_t)low + (span ? tw_rng_below(rng, span) : tw_rng_u64(rng)));
}

/* Rejection from a power envelope: L. Devroye, Non-Uniform Random Variate Generation,
 * 1986, ch. X.6.1, for exponents over 1. */
int64_t load_draw_zipf(struct tw_rng *rng, int64_t low, int64_t high, double exponent)
{
    double n = (double)high - (double)low + 1, b = pow(2, exponent - 1), x, t, u, v;

    if (high <= low)
        return low;
    do {
        u = tw_rng_uniform(rng);
        v = tw_rng_uniform(rng);
        x = floor(pow(u, -1 / (exponent - 1)));
        t = pow(1 + 1 / x, exponent - 1);
    } while (!(x <= n) || v * x * (t - 1) / (b - 1) > t / b);
    return low + (int64_t)x - 1;
}

int64_t load_draw_gauss(struct tw_rng *rng, int64_t low, int64_t high, double width)
{
    double z, span = (double)high - (double)low + 1;

    if (high <= low)
        return low;
    do
        z = tw_rng_normal(rng);
    while (z < -width || z >= width);
    return low + (int64_t)(span * ((z + width) / (2 * width)));
}

int64_t load_draw_exponential(struct tw_rng *rng, int64_t low, int64_t high, double cut)
{
    double floor_ = exp(-cut), span = (double)high - (double)low + 1;
    double x = -log(floor_ + (1 - floor_) * tw_rng_uniform(rng)) / cut;
    int64_t at = low + (int64_t)(span * x);

    return high <= low || at < low ? low : at > high ? high : at;
}

static const char *range(const struct load_value *args, int64_t *low, int64_t *high)
{
    const char *why = to_whole(&args[0], low);

    why = why ? why : to_whole(&args[1], high);
    if (!why && *high < *low)
        why = "empty range given to random";
    return why;
}

static const char *fn_random(const struct load_value *args, int count, struct tw_rng *rng,
                             struct load_value *ret)
{
    int64_t low, high;
    const char *why = range(args, &low, &high);

    (void)count;
    if (!why)
        *ret = whole(load_draw_uniform(rng, low, high));
    return why;
}

static const char *fn_zipf(const struct load_value *args, int count, struct tw_rng *rng,
                           struct load_value *ret)
{
    double s = load_value_real(&args[2]);
    int64_t low, high;
    const char *why = range(args, &low, &high);

    (void)count;
    if (!why && !(s >= LOAD_ZIPF_MIN && s <= LOAD_ZIPF_MAX))
        why = "random_zipfian wants an exponent from 1.001 to 1000";
    if (!why)
        *ret = whole(load_draw_zipf(rng, low, high, s));
    return why;
}

static const char *fn_gauss(const struct load_value *args, int count, struct tw_rng *rng,
                            struct load_value *ret)
{
    double width = load_value_real(&args[2]);
    int64_t low, high;
    const char *why = range(args, &low, &high);

    (void)count;
    if (!why && !(width >= LOAD_GAUSS_MIN))
        why = "random_gaussian wants a parameter of at least 2";
    if (!why)
        *ret = whole(load_draw_gauss(rng, low, high, width));
    return why;
}

static const char *fn_exponential(const struct load_value *args, int count,
                                  struct tw_rng *rng, struct load_value *ret)
{
    double cut = load_value_real(&args[2]);
    int64_t low, high;
    const char *why = range(args, &low, &high);

    (void)count;
    if (!why && !(cut > 0))
        why = "random_exponential wants a parameter over 0";
    if (!why)
        *ret = whole(load_draw_exponential(rng, low, high, cut));
    return why;
}

/* ---- operators ---- */

#define ARITHMETIC(name, builtin, sign)                                                  \
    static const char *name(const struct load_value *args, int count,                    \
                            struct tw_rng *rng, struct load_value *ret)                  \
    {                                                                                    \
        int64_t out;                                                                     \
                                                                                         \
        (void)count, (void)rng;                                                          \
        if (args[0].real || args[1].real)                                                \
            *ret = real(load_value_real(&args[0]) sign load_value_real(&args[1]));       \
        else if (builtin(args[0].i, args[1].i, &out))                                    \
            return too_large;                                                            \
        else                                                                             \
            *ret = whole(out);                                                           \
        return NULL;                                                                     \
    }
ARITHMETIC(op_add, __builtin_add_overflow, +)
ARITHMETIC(op_subtract, __builtin_sub_overflow, -)
ARITHMETIC(op_multiply, __builtin_mul_overflow, *)

static const char *op_divide(const struct load_value *args, int count, struct tw_rng *rng,
                             struct load_value *ret)
{
    (void)count, (void)rng;
    if (load_value_real(&args[1]) == 0)
        return by_zero;
    if (args[0].real || args[1].real)
        *ret = real(load_value_real(&args[0]) / load_value_real(&args[1]));
    else if (args[0].i == INT64_MIN && args[1].i == -1)
        return too_large;
    else
        *ret = whole(args[0].i / args[1].i);
    return NULL;
}

static const char *op_modulo(const struct load_value *args, int count, struct tw_rng *rng,
                             struct load_value *ret)
{
    int64_t x, y;
    const char *why = to_whole(&args[0], &x);

    (void)count, (void)rng;
    why = why ? why : to_whole(&args[1], &y);
    if (!why && y == 0)
        why = by_zero;
    if (!why)
        *ret = whole(y == -1 ? 0 : x % y);
    return why;
}

static const char *op_negate(const struct load_value *args, int count, struct tw_rng *rng,
                             struct load_value *ret)
{
    (void)count, (void)rng;
    if (!args[0].real && args[0].i == INT64_MIN)
        return too_large;
    *ret = args[0].real ? real(-args[0].d) : whole(-args[0].i);
    return NULL;
}

/* ---- functions ---- */

static const char *fn_abs(const struct load_value *args, int count, struct tw_rng *rng,
                          struct load_value *ret)
{
    if (load_value_real(&args[0]) < 0)
        return op_negate(args, count, rng, ret);
    *ret = args[0];
    return NULL;
}

static const char *fn_int(const struct load_value *args, int count, struct tw_rng *rng,
                          struct load_value *ret)
{
    (void)count, (void)rng;
    if (args[0].real && !(fabs(args[0].d) < 9.2e18))
        return too_large;
    *ret = args[0].real ? whole((int64_t)args[0].d) : args[0];
    return NULL;
}

static const char *fn_double(const struct load_value *args, int count, struct tw_rng *rng,
                             struct load_value *ret)
{
    (void)count, (void)rng;
    *ret = real(load_value_real(&args[0]));
    return NULL;
}

#define REAL_FUNCTION(name, call)                                                        \
    static const char *name(const struct load_value *args, int count,                    \
                            struct tw_rng *rng, struct load_value *ret)                  \
    {                                                                                    \
        (void)count, (void)rng;                                                          \
        *ret = real(call(load_value_real(&args[0])));                                    \
        return NULL;                                                                     \
    }
REAL_FUNCTION(fn_exp, exp)
REAL_FUNCTION(fn_ln, log)
REAL_FUNCTION(fn_sqrt, sqrt)

static const char *fn_pi(const struct load_value *args, int count, struct tw_rng *rng,
                         struct load_value *ret)
{
    (void)args, (void)count, (void)rng;
    *ret = real(M_PI);
    return NULL;
}

static const char *fn_power(const struct load_value *args, int count, struct tw_rng *rng,
                            struct load_value *ret)
{
    (void)count, (void)rng;
    *ret = real(pow(load_value_real(&args[0]), load_value_real(&args[1])));
    return NULL;
}

static void extreme(const struct load_value *args, int count, double sign,
                    struct load_value *ret)
{
    int best = 0;

    for (int i = 1; i < count; i++)
        if (sign * load_value_real(&args[i]) > sign * load_value_real(&args[best]))
            best = i;
    *ret = args[best];
}

static const char *fn_greatest(const struct load_value *args, int count,
                               struct tw_rng *rng, struct load_value *ret)
{
    (void)rng;
    extreme(args, count, 1, ret);
    return NULL;
}

static const char *fn_least(const struct load_value *args, int count, struct tw_rng *rng,
                            struct load_value *ret)
{
    (void)rng;
    extreme(args, count, -1, ret);
    return NULL;
}

static const struct function functions[] = {
    {"abs", 1, 1, false, fn_abs},
    {"double", 1, 1, false, fn_double},
    {"exp", 1, 1, false, fn_exp},
    {"greatest", 1, DEPTH_MAX, false, fn_greatest},
    {"int", 1, 1, false, fn_int},
    {"least", 1, DEPTH_MAX, false, fn_least},
    {"ln", 1, 1, false, fn_ln},
    {"mod", 2, 2, false, op_modulo},
    {"pi", 0, 0, false, fn_pi},
    {"pow", 2, 2, false, fn_power},
    {"power", 2, 2, false, fn_power},
    {"random", 2, 2, true, fn_random},
    {"random_exponential", 3, 3, true, fn_exponential},
    {"random_gaussian", 3, 3, true, fn_gauss},
    {"random_zipfian", 3, 3, true, fn_zipf},
    {"sqrt", 1, 1, false, fn_sqrt},
};

struct operator
{
    char sign;
    int binds;
    struct function function;
};
static const struct operator operators[] = {
    {'+', 1, {"+", 2, 2, false, op_add}},      {'-', 1, {"-", 2, 2, false, op_subtract}},
    {'*', 2, {"*", 2, 2, false, op_multiply}}, {'/', 2, {"/", 2, 2, false, op_divide}},
    {'%', 2, {"%", 2, 2, false, op_modulo}},
};
static const struct function negation = {"-", 1, 1, false, op_negate};

/* ---- reading ---- */

struct parser {
    const char *text, *at;
    const char *const *names;
    size_t name_count;
    struct step steps[CODE_MAX];
    size_t count;
    int depth; /* of the value stack while running, and of the recursion while reading */
    struct tw_err *err;
};

static int parse_sum(struct parser *p, int least);

static void blanks(struct parser *p)
{
    while (isspace((unsigned char)*p->at))
        p->at++;
}

static int complain(struct parser *p, const char *what)
{
    return tw_fail(p->err, -EINVAL, "%s at '%.20s' in expression '%s'", what, p->at,
                   p->text);
}

static int add_step(struct parser *p, struct step s)
{
    if (p->count == CODE_MAX)
        return complain(p, "expression too long");
    p->steps[p->count++] = s;
    return 0;
}

/* Appends a call; where all arguments are constants, its result instead. */
static int add_call(struct parser *p, const struct function *f, int count)
{
    struct load_value args[DEPTH_MAX], out;
    const char *why;
    bool fold = !f->random;

    for (int i = 0; i < count && fold; i++) {
        const struct step *s = &p->steps[p->count - (size_t)(count - i)];

        fold = p->count >= (size_t)count && s->op == OP_CONSTANT;
        if (fold)
            args[i] = s->value;
    }
    if (!fold)
        return add_step(p, (struct step){.op = OP_CALL, .count = count, .function = f});
    why = f->run(args, count, NULL, &out);
    if (why)
        return complain(p, why);
    p->count -= (size_t)count;
    return add_step(p, (struct step){.op = OP_CONSTANT, .value = out});
}

static int parse_number(struct parser *p)
{
    size_t len = strspn(p->at, "0123456789");
    struct step s = {.op = OP_CONSTANT};
    char *end;

    errno = 0;
    s.value = whole(strtoll(p->at, &end, 10));
    if (p->at[len] == '.' || (p->at[len] | 32) == 'e' || len == 0)
        s.value = real(strtod(p->at, &end));
    if (end == p->at || errno)
        return complain(p, "not a number");
    p->at = end;
    return add_step(p, s);
}

static size_t word_length(const char *s)
{
    size_t n = 0;

    while (isalnum((unsigned char)s[n]) || s[n] == '_')
        n++;
    return n;
}

static int parse_variable(struct parser *p)
{
    size_t len = word_length(++p->at);

    for (size_t i = p->name_count; i-- > 0;)
        if (len && strlen(p->names[i]) == len && !strncmp(p->names[i], p->at, len)) {
            p->at += len;
            return add_step(p, (struct step){.op = OP_VARIABLE, .variable = i});
        }
    return tw_fail(
        p->err, -EINVAL,
        "unknown variable ':%.*s' in expression '%s': set it before, with \\set",
        (int)len, p->at, p->text);
}

static int parse_arguments(struct parser *p, int *ret_count)
{
    int count = 0, r;

    blanks(p);
    if (*p->at != '(')
        return complain(p, "expected '('");
    p->at++;
    blanks(p);
    while (*p->at != ')') {
        if (count == DEPTH_MAX - 1)
            return complain(p, "too many arguments");
        r = parse_sum(p, 0);
        if (r < 0)
            return r;
        count++;
        blanks(p);
        if (*p->at == ',')
            p->at++;
        else if (*p->at != ')')
            return complain(p, "expected ',' or ')'");
    }
    p->at++;
    *ret_count = count;
    return 0;
}

static int parse_call(struct parser *p)
{
    size_t len = word_length(p->at);
    const struct function *f = NULL;
    int count = 0, r;

    for (size_t i = 0; i < TW_COUNT_OF(functions); i++)
        if (strlen(functions[i].name) == len && !strncmp(functions[i].name, p->at, len))
            f = &functions[i];
    if (!f)
        return tw_fail(p->err, -EINVAL,
                       "function '%.*s' in expression '%s' is not known here", (int)len,
                       p->at, p->text);
    p->at += len;
    r = parse_arguments(p, &count);
    if (r < 0)
        return r;
    if (count < f->least || count > f->most)
        return tw_fail(p->err, -EINVAL,
                       "'%s' in expression '%s' has %d arguments, not %d", f->name,
                       p->text, f->least, count);
    return add_call(p, f, count);
}

static int parse_operand(struct parser *p)
{
    int r;

    blanks(p);
    if (*p->at == '-' || *p->at == '+') {
        bool minus = *p->at++ == '-';

        r = parse_operand(p);
        return r < 0 || !minus ? r : add_call(p, &negation, 1);
    }
    if (*p->at == '(') {
        p->at++;
        r = parse_sum(p, 0);
        if (r < 0)
            return r;
        blanks(p);
        if (*p->at != ')')
            return complain(p, "expected ')'");
        p->at++;
        return 0;
    }
    if (*p->at == ':')
        return parse_variable(p);
    if (isdigit((unsigned char)*p->at) || *p->at == '.')
        return parse_number(p);
    if (isalpha((unsigned char)*p->at))
        return parse_call(p);
    return complain(p, *p->at ? "unexpected character" : "unexpected end");
}

static const struct operator* operator_at(const char *at)
{
    for (size_t i = 0; i < TW_COUNT_OF(operators); i++)
        if (operators[i].sign == *at)
            return &operators[i];
    return NULL;
}

/* Precedence climbing: an operand and all operators that bind tighter than least. */
static int parse_sum(struct parser *p, int least)
{
    const struct operator* o;
    int r;

    if (++p->depth >= DEPTH_MAX)
        return complain(p, "nested too deep");
    r = parse_operand(p);
    while (r >= 0) {
        blanks(p);
        o = operator_at(p->at);
        if (!*p->at || !o || o->binds <= least)
            break;
        p->at++;
        r = parse_sum(p, o->binds);
        if (r >= 0)
            r = add_call(p, &o->function, 2);
    }
    p->depth--;
    return r;
}

/* How many values lie on the stack at most while it runs. */
static int stack_depth(const struct parser *p)
{
    int now = 0, most = 0;

    for (size_t i = 0; i < p->count; i++) {
        now += p->steps[i].op == OP_CALL ? 1 - p->steps[i].count : 1;
        most = now > most ? now : most;
    }
    return most;
}

int load_expression_compile(struct tw_arena *a, const char *text,
                            const char *const *names, size_t count,
                            struct load_expression **ret, struct tw_err *err)
{
    tw_auto_free struct parser *p = tw_alloc(sizeof *p);
    struct load_expression *e;
    int r;

    p->text = p->at = text;
    p->names = names;
    p->name_count = count;
    p->err = err;
    r = parse_sum(p, 0);
    if (r < 0)
        return r;
    if (*p->at)
        return complain(p, "unexpected text");
    if (stack_depth(p) > DEPTH_MAX)
        return complain(p, "nested too deep");

    e = tw_arena_alloc(a, sizeof *e);
    e->count = p->count;
    e->steps = tw_arena_alloc(a, p->count * sizeof *e->steps);
    memcpy(e->steps, p->steps, p->count * sizeof *e->steps);
    *ret = e;
    return 0;
}

const char *load_expression_eval(const struct load_expression *e,
                                 const struct load_value *variables, struct tw_rng *rng,
                                 struct load_value *ret)
{
    struct load_value stack[DEPTH_MAX + 1], out;
    const char *why;
    int top = 0;

    for (size_t i = 0; i < e->count; i++) {
        const struct step *s = &e->steps[i];

        if (s->op == OP_CALL) {
            top -= s->count;
            why = s->function->run(&stack[top], s->count, rng, &out);
            if (why)
                return why;
            stack[top++] = out;
        } else {
            stack[top++] = s->op == OP_CONSTANT ? s->value : variables[s->variable];
        }
    }
    *ret = stack[0];
    if (ret->real && !isfinite(ret->d))
        return too_large;
    return NULL;
}

bool load_expression_simple(const struct load_expression *e, struct tw_load_variable *ret)
{
    const struct step *call = &e->steps[e->count - 1];
    struct load_value args[3], probe;
    struct tw_rng rng = {0};

    if (call->op != OP_CALL || !call->function->random ||
        e->count != (size_t)call->count + 1)
        return false;
    for (int i = 0; i < call->count; i++) {
        if (e->steps[i].op != OP_CONSTANT)
            return false;
        args[i] = e->steps[i].value;
    }
    if (call->function->run(args, call->count, &rng, &probe))
        return false;
    (void)to_whole(&args[0], &ret->low);
    (void)to_whole(&args[1], &ret->high);
    ret->kind = call->function->run == fn_random  ? TW_VAR_UNIFORM
                : call->function->run == fn_zipf  ? TW_VAR_ZIPF
                : call->function->run == fn_gauss ? TW_VAR_GAUSS
                                                  : TW_VAR_EXPONENTIAL;
    ret->shape = call->count == 3 ? load_value_real(&args[2]) : 0;
    return true;
}
