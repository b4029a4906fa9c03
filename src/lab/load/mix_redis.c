/* Commands for Redis: those that its statistics count, on keys of the kinds that the baseline
 * holds; else reading and writing the keys found. */
#include "load_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SAMPLES    1000
#define KEYS_MOST  500
#define VALUE_MOST ((size_t)64 << 10)
#define SIZES_MOST 32

enum type { STRING, HASH, LIST, SET, ZSET, TYPE_COUNT, ANY = TYPE_COUNT, NONE };
static const char *const type_names[] = {"string", "hash", "list", "set", "zset"};

/* How a command is made again: K a key of its type, V a value of a size that is there, N a
 * number. What would grow or empty the data works on keys of its own. */
static const struct command {
    const char *name;
    enum type type;
    const char *sent;
    bool writes;
} commands[] = {
    {"get", STRING, "GET K", false},
    {"set", STRING, "SET K V", true},
    {"setex", STRING, "SETEX K 86400 V", true},
    {"psetex", STRING, "PSETEX K 86400000 V", true},
    {"setnx", STRING, "SETNX K V", true},
    {"getset", STRING, "GETSET K V", true},
    {"mget", STRING, "MGET K K K", false},
    {"mset", STRING, "MSET K V", true},
    {"strlen", STRING, "STRLEN K", false},
    {"getrange", STRING, "GETRANGE K 0 63", false},
    {"append", NONE, "APPEND twin:append x", true},
    {"incr", NONE, "INCR twin:counter:N", true},
    {"incrby", NONE, "INCRBY twin:counter:N 2", true},
    {"decr", NONE, "DECR twin:counter:N", true},
    {"decrby", NONE, "DECRBY twin:counter:N 2", true},
    {"incrbyfloat", NONE, "INCRBYFLOAT twin:float:N 0.5", true},
    {"del", NONE, "DEL twin:none:N", true},
    {"unlink", NONE, "UNLINK twin:none:N", true},
    {"exists", ANY, "EXISTS K", false},
    {"ttl", ANY, "TTL K", false},
    {"pttl", ANY, "PTTL K", false},
    {"type", ANY, "TYPE K", false},
    {"expire", NONE, "EXPIRE twin:counter:N 86400", true},
    {"pexpire", NONE, "PEXPIRE twin:counter:N 86400000", true},
    {"hget", HASH, "HGET K twin", false},
    {"hmget", HASH, "HMGET K twin field", false},
    {"hgetall", HASH, "HGETALL K", false},
    {"hkeys", HASH, "HKEYS K", false},
    {"hvals", HASH, "HVALS K", false},
    {"hlen", HASH, "HLEN K", false},
    {"hexists", HASH, "HEXISTS K twin", false},
    {"hset", NONE, "HSET twin:hash:N field V", true},
    {"hmset", NONE, "HMSET twin:hash:N field V", true},
    {"hdel", NONE, "HDEL twin:hash:N field", true},
    {"hincrby", NONE, "HINCRBY twin:numbers field 1", true},
    {"lrange", LIST, "LRANGE K 0 99", false},
    {"llen", LIST, "LLEN K", false},
    {"lindex", LIST, "LINDEX K 0", false},
    {"lpush", NONE, "LPUSH twin:list:N V", true},
    {"rpush", NONE, "RPUSH twin:list:N V", true},
    {"lpop", NONE, "LPOP twin:list:N", true},
    {"rpop", NONE, "RPOP twin:list:N", true},
    {"ltrim", NONE, "LTRIM twin:list:N 0 99", true},
    {"smembers", SET, "SMEMBERS K", false},
    {"sismember", SET, "SISMEMBER K twin", false},
    {"scard", SET, "SCARD K", false},
    {"srandmember", SET, "SRANDMEMBER K", false},
    {"sadd", NONE, "SADD twin:set N", true},
    {"srem", NONE, "SREM twin:set N", true},
    {"spop", NONE, "SPOP twin:set", true},
    {"zrange", ZSET, "ZRANGE K 0 99", false},
    {"zrevrange", ZSET, "ZREVRANGE K 0 99", false},
    {"zrangebyscore", ZSET, "ZRANGEBYSCORE K -inf +inf LIMIT 0 100", false},
    {"zscore", ZSET, "ZSCORE K twin", false},
    {"zrank", ZSET, "ZRANK K twin", false},
    {"zcard", ZSET, "ZCARD K", false},
    {"zcount", ZSET, "ZCOUNT K -inf +inf", false},
    {"zadd", NONE, "ZADD twin:zset N N", true},
    {"zincrby", NONE, "ZINCRBY twin:zset 1 N", true},
    {"zrem", NONE, "ZREM twin:zset N", true},
    {"publish", NONE, "PUBLISH twin:channel V", true},
    {"ping", NONE, "PING", false},
    {"echo", NONE, "ECHO twin", false},
    {"time", NONE, "TIME", false},
    {"dbsize", NONE, "DBSIZE", false},
};
/* What administrators, libraries and replicas say beside the work. */
static const char *const beside[] = {
    "info",     "config",   "client",  "command",     "slowlog",  "auth",      "hello",
    "select",   "scan",     "monitor", "psync",       "replconf", "sync",      "latency",
    "memory",   "debug",    "acl",     "module",      "cluster",  "randomkey", "object",
    "shutdown", "bgsave",   "save",    "lastsave",    "role",     "replicaof", "slaveof",
    "quit",     "readonly", "asking",  "bgrewriteaof"};

struct sample {
    TW_ARRAY(const char *) keys[TYPE_COUNT]; /* quoted words */
    TW_ARRAY(const char *) all;
    TW_ARRAY(const char *) values; /* of the sizes found */
};

/* ---- answers read ---- */

struct answers {
    const char *at, *end;
};

/* The next answer that is no array: its text, or NULL. False: there is none. */
static bool next_answer(struct answers *r, const char **ret, size_t *ret_len)
{
    const char *line_end =
        r->at < r->end ? memchr(r->at, '\n', (size_t)(r->end - r->at)) : NULL;
    long n;

    if (!line_end)
        return false;
    *ret = r->at + 1;
    *ret_len = (size_t)(line_end - r->at) - 2;
    if (*r->at == '$') {
        n = strtol(r->at + 1, NULL, 10);
        *ret = NULL;
        *ret_len = 0;
        r->at = line_end + 1;
        if (n >= 0 && r->end - r->at >= n + 2) {
            *ret = r->at;
            *ret_len = (size_t)n;
            r->at += n + 2;
        }
        return true;
    }
    if (*r->at == '-')
        *ret = NULL;
    r->at = line_end + 1;
    return true;
}

/* A word of a command: any bytes, in quotes. */
static char *quote_word(struct tw_arena *a, const char *text, size_t len)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, 6 * len + 3);
    tw_buf_puts(&b, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < ' ' || c > '~')
            tw_buf_printf(&b, "\\x%02x", c);
        else if (c == '"' || c == '\\')
            tw_buf_printf(&b, "\\%c", c);
        else
            tw_buf_printf(&b, c == '$' ? "$$" : "%c", c);
    }
    tw_buf_puts(&b, "\"");
    return tw_arena_strdup(a, tw_buf_text(&b));
}

/* ---- looking at the baseline ---- */

static void add_command(struct tw_arena *a, struct tw_load_mix *mix, const char *text)
{
    if (mix->items.count == 0)
        (void)load_mix_add(a, mix, "look", text, 1);
    else
        (void)load_statement_add(a, &mix->items.items[0], text);
}

/* All commands of a mix in one pipeline, and their answers. */
static int ask(struct tw_arena *a, const struct tw_load_spec *at, struct tw_load_mix *mix,
               struct answers *ret, struct tw_err *err)
{
    struct load_answer *answer = NULL;
    int r;

    mix->driver = "redis";
    r = load_probe(a, at, mix, &answer, err);
    if (r < 0)
        return r;
    *ret = (struct answers){answer->reply, answer->reply + answer->reply_len};
    return 0;
}

static int sample_keys(struct tw_arena *a, const struct tw_load_spec *at,
                       struct sample *ret, struct tw_err *err)
{
    struct tw_load_mix draw = {0}, types = {0};
    struct answers answers;
    const char *text;
    size_t len;
    int r;

    for (int i = 0; i < SAMPLES; i++)
        add_command(a, &draw, "RANDOMKEY");
    r = ask(a, at, &draw, &answers, err);
    if (r < 0)
        return r;
    while (next_answer(&answers, &text, &len) && ret->all.count < KEYS_MOST) {
        char *word = text && len < 4096 ? quote_word(a, text, len) : NULL;
        bool there = !word;

        for (size_t i = 0; i < ret->all.count && !there; i++)
            there = !strcmp(ret->all.items[i], word);
        if (there)
            continue;
        TW_PUSH(a, &ret->all, word);
        add_command(a, &types, tw_arena_printf(a, "TYPE %s", word));
    }
    if (ret->all.count == 0)
        return 0;
    r = ask(a, at, &types, &answers, err);
    for (size_t i = 0; r >= 0 && i < ret->all.count && next_answer(&answers, &text, &len);
         i++)
        for (size_t t = 0; text && t < TYPE_COUNT; t++)
            if (strlen(type_names[t]) == len && !strncmp(type_names[t], text, len))
                TW_PUSH(a, &ret->keys[t], ret->all.items[i]);
    return r;
}

static void add_value(struct tw_arena *a, struct sample *s, size_t size)
{
    char *value;

    size = size < 1 ? 1 : size > VALUE_MOST ? VALUE_MOST : size;
    value = tw_arena_alloc(a, size + 1);
    memset(value, 'x', size);
    TW_PUSH(a, &s->values, value);
}

/* Sizes of values, drawn from the strings that are there. */
static int sample_sizes(struct tw_arena *a, const struct tw_load_spec *at,
                        struct sample *s, struct tw_err *err)
{
    struct tw_load_mix sizes = {0};
    struct answers answers;
    const char *text;
    size_t len;
    int r;

    for (size_t i = 0; i < s->keys[STRING].count && i < SIZES_MOST; i++)
        add_command(a, &sizes, tw_arena_printf(a, "STRLEN %s", s->keys[STRING].items[i]));
    if (sizes.items.count > 0) {
        r = ask(a, at, &sizes, &answers, err);
        if (r < 0)
            return r;
        while (next_answer(&answers, &text, &len))
            if (text)
                add_value(a, s, (size_t)strtoul(text, NULL, 10));
    }
    if (s->values.count == 0)
        add_value(a, s, 64);
    return 0;
}

static int look(struct tw_arena *a, const struct tw_load_spec *at, struct sample *ret,
                struct tw_err *err)
{
    int r = sample_keys(a, at, ret, err);

    if (r >= 0)
        r = sample_sizes(a, at, ret, err);
    return r < 0 ? tw_wrap(err, r, "looking at the keys of the baseline") : 0;
}

/* ---- commands made ---- */

static int add_pick(struct tw_arena *a, struct tw_load_item *item, const char *name,
                    const char *const *values, size_t count)
{
    struct tw_load_variable *v = load_variable_add(a, item, name);

    v->kind = TW_VAR_PICK;
    v->values.items = (const char **)values;
    v->values.count = count;
    return (int)item->variables.count - 1;
}

/* A key as it goes over the wire: the driver reads words, parameters are bytes. */
static const char *const *unquoted(struct tw_arena *a, const char *const *words,
                                   size_t count)
{
    const char **keys = tw_arena_alloc(a, (count + 1) * sizeof *keys);

    for (size_t i = 0; i < count; i++) {
        size_t len;
        char *key = load_unescape(a, words[i] + 1, strlen(words[i]) - 2, &len), *to = key;

        for (const char *from = key; *from; from++) {
            *to++ = *from;
            from += *from == '$' && from[1] == '$';
        }
        *to = '\0';
        keys[i] = key;
    }
    return keys;
}

static int variable_for(struct tw_arena *a, char letter, const struct command *c,
                        const struct sample *s, struct tw_load_item *item)
{
    struct tw_load_variable *v;

    if (letter == 'V')
        return add_pick(a, item, "value", s->values.items, s->values.count);
    if (letter == 'K' && c->type == ANY)
        return add_pick(a, item, "key", unquoted(a, s->all.items, s->all.count),
                        s->all.count);
    if (letter == 'K')
        return add_pick(a, item, "key",
                        unquoted(a, s->keys[c->type].items, s->keys[c->type].count),
                        s->keys[c->type].count);
    v = load_variable_add(a, item, "number");
    v->kind = TW_VAR_UNIFORM;
    v->low = 1;
    v->high = 1000;
    return (int)item->variables.count - 1;
}

/* K, V and N standing alone, or N after a colon, become parameters. */
static void make_command(struct tw_arena *a, const struct command *c,
                         const struct sample *s, double weight, struct tw_load_mix *mix)
{
    struct tw_load_item *item = load_mix_add(a, mix, c->sent, "", weight);
    tw_auto_buf b = {0};

    tw_buf_init(&b, 4096);
    for (const char *at = c->sent; *at; at++) {
        bool begins = at > c->sent && (at[-1] == ' ' || at[-1] == ':');
        bool ends = at[1] == '\0' || at[1] == ' ';

        if (begins && ends && strchr("KVN", *at)) {
            TW_PUSH(a, &item->statements.items[0].variables,
                    variable_for(a, *at, c, s, item));
            tw_buf_printf(&b, "$%zu", item->statements.items[0].variables.count);
        } else {
            tw_buf_add(&b, at, 1);
        }
    }
    item->statements.items[0].sql = tw_arena_strdup(a, tw_buf_text(&b));
    item->writes = c->writes;
}

static bool has_keys(const struct sample *s, enum type type)
{
    return type == NONE || (type == ANY ? s->all.count : s->keys[type].count) > 0;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(commands); i++)
        if (!strcasecmp(commands[i].name, name))
            return &commands[i];
    return NULL;
}

static bool is_beside(const char *name)
{
    size_t word = strcspn(name, "| ");

    for (size_t i = 0; i < TW_COUNT_OF(beside); i++)
        if (strlen(beside[i]) == word && !strncasecmp(beside[i], name, word))
            return true;
    return false;
}

static int known(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_load_spec *at, struct tw_load_mix *mix,
                 struct tw_err *err)
{
    double all = 0, taken = 0;
    struct sample sample = {0};
    int r;

    for (size_t i = 0; i < s->requests.count; i++)
        if (s->requests.items[i].method && !is_beside(s->requests.items[i].method))
            all += (double)s->requests.items[i].count;
    if (!(all > 0))
        return 0;
    r = look(a, at, &sample, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < s->requests.count; i++) {
        const struct tw_sample_request *q = &s->requests.items[i];
        const struct command *c = q->method ? find_command(q->method) : NULL;

        if (!q->method || q->count <= 0 || is_beside(q->method))
            continue;
        if (!c || !has_keys(&sample, c->type)) {
            TW_PUSH(a, &mix->missing,
                    tw_arena_printf(a, "%s (%.1f %% of the commands): %s", q->method,
                                    100 * (double)q->count / all,
                                    c ? "the baseline holds no key of its type"
                                      : "what it works on is not known"));
            continue;
        }
        make_command(a, c, &sample, (double)q->count, mix);
        mix->items.items[mix->items.count - 1].source_share = (double)q->count / all;
        mix->items.items[mix->items.count - 1].source_mean_ms = q->mean_s * 1000;
        taken += (double)q->count;
    }
    mix->coverage = taken / all;
    mix->source = "requests";
    mix->description = tw_arena_printf(
        a,
        "%zu commands of the command statistics, %.0f %% of the calls, on %zu keys found",
        mix->items.count, 100 * taken / all, sample.all.count);
    return 0;
}

/* Reads of each type by its share of the keys, and a write of a string for four of them. */
static int guess(struct tw_arena *a, const struct tw_snapshot *s,
                 const struct tw_load_spec *at, struct tw_load_mix *mix,
                 struct tw_err *err)
{
    static const char *const reads[TYPE_COUNT] = {"get", "hgetall", "lrange", "smembers",
                                                  "zrange"};
    struct sample sample = {0};
    int r = look(a, at, &sample, err);

    (void)s;
    if (r < 0)
        return r;
    mix->source = "sampled keys";
    mix->description = tw_arena_printf(
        a, "reads and writes of %zu keys found, four to one: no statistics tell more",
        sample.all.count);
    if (sample.all.count == 0) {
        for (int i = 1; i <= 1000; i++)
            TW_PUSH(a, &sample.keys[STRING], tw_arena_printf(a, "\"twin:key:%d\"", i));
        sample.all.items = sample.keys[STRING].items;
        sample.all.count = sample.keys[STRING].count;
        mix->source = "nothing known";
        mix->description =
            "GET and SET of 1000 keys of its own, four to one: the baseline "
            "is empty and has counted nothing";
    }
    for (size_t t = 0; t < TYPE_COUNT; t++)
        if (sample.keys[t].count > 0)
            make_command(a, find_command(reads[t]), &sample,
                         4 * (double)sample.keys[t].count / (double)sample.all.count,
                         mix);
    if (sample.keys[STRING].count > 0)
        make_command(a, find_command("set"), &sample,
                     (double)sample.keys[STRING].count / (double)sample.all.count, mix);
    return 0;
}

static const char *judge(struct tw_arena *a, struct tw_load_item *item,
                         const struct load_answer *answer, int recorded,
                         const char **ret_told)
{
    (void)item, (void)recorded, (void)ret_told;
    if (answer->event == LOAD_ANSWERED)
        return NULL;
    return tw_arena_printf(a, "the baseline answers %s %s",
                           answer->code && *answer->code ? answer->code : "nothing",
                           answer->text ? answer->text : "");
}

const struct load_mix_kind load_mix_redis = {
    .driver = "redis",
    .words = "a file with one command per line (\"SET key:$id value\")",
    .known = known,
    .guess = guess,
    .judge = judge,
};
