/* Mutations that know a little of structure: they move whole tokens and lines, nest, repeat, and put extreme
 * numbers where numbers were; and now and then they break single bytes. */
#include "fuzz.h"

#include <string.h>

#define MOST    ((size_t)1 << 16)
#define PARTS   4096
#define CHANGES 6
#define DEEPEST 300

struct part {
    size_t from, len;
};
struct cut {
    struct part parts[PARTS];
    size_t count;
};

static size_t below(struct tw_rng *rng, size_t n)
{
    return n ? (size_t)tw_rng_below(rng, n) : 0;
}

static int kind_of(unsigned char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80)
        return 1;
    if ((c >= '0' && c <= '9') || c == '.')
        return 2;
    return c == ' ' || c == '\t' ? 3 : 0; /* 0: each alone */
}

static void cut_tokens(const struct tw_buf *b, struct cut *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < b->len && ret->count < PARTS;) {
        size_t n = 1;
        int kind = kind_of((unsigned char)b->data[i]);

        while (kind && i + n < b->len && kind_of((unsigned char)b->data[i + n]) == kind)
            n++;
        ret->parts[ret->count++] = (struct part){i, n};
        i += n;
    }
}

static void cut_lines(const struct tw_buf *b, struct cut *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < b->len && ret->count < PARTS;) {
        const char *end = memchr(b->data + i, '\n', b->len - i);
        size_t n = end ? (size_t)(end - b->data) - i + 1 : b->len - i;

        ret->parts[ret->count++] = (struct part){i, n};
        i += n;
    }
}

/* The bytes from, len are replaced by these. */
static void put(struct tw_buf *b, size_t from, size_t len, const void *text, size_t n)
{
    tw_auto_buf out = {0};

    tw_buf_init(&out, MOST);
    tw_buf_add(&out, b->data, from);
    tw_buf_add(&out, text, n);
    tw_buf_add(&out, b->data + from + len, b->len - from - len);
    tw_buf_clear(b);
    tw_buf_add(b, tw_buf_text(&out), out.len);
}

static const char *word_of(const struct fuzz_reader *r, struct tw_rng *rng)
{
    size_t n = 0;

    while (r->words[n])
        n++;
    return n ? r->words[below(rng, n)] : "";
}

static const char *number_of(struct tw_rng *rng)
{
    static const char *const rows[] = {"0",
                                       "-1",
                                       "1",
                                       "2147483647",
                                       "2147483648",
                                       "4294967295",
                                       "4294967296",
                                       "9223372036854775807",
                                       "9223372036854775808",
                                       "-9223372036854775808",
                                       "18446744073709551616",
                                       "1e308",
                                       "1e-308",
                                       "1e999",
                                       "0x7f",
                                       "00",
                                       "1.",
                                       ".5",
                                       "999999999999999999999999999999",
                                       "-0",
                                       "nan",
                                       "inf",
                                       "65535",
                                       "65536",
                                       "256"};

    return rows[below(rng, TW_COUNT_OF(rows))];
}

enum change {
    DROP,
    DOUBLE,
    SWAP,
    WORD,
    NUMBER,
    BYTE,
    FLIP,
    NEST,
    REPEAT,
    CUT,
    JOIN,
    CHANGE_COUNT
};

static void change_part(const struct fuzz_reader *r, struct tw_rng *rng, struct tw_buf *b,
                        const struct cut *cut, enum change what)
{
    struct part p = cut->parts[below(rng, cut->count)];
    struct part q = cut->parts[below(rng, cut->count)];
    char copy[4096];
    size_t n = p.len < sizeof(copy) ? p.len : sizeof(copy);
    const char *text;

    memcpy(copy, b->data + p.from, n);
    switch (what) {
    case DROP:
        put(b, p.from, p.len, "", 0);
        break;
    case DOUBLE:
        put(b, p.from, 0, copy, n);
        break;
    case SWAP:
        put(b, q.from, q.len, copy, n);
        break;
    case WORD:
        text = word_of(r, rng);
        put(b, p.from, below(rng, 2) ? p.len : 0, text, strlen(text));
        break;
    default:
        text = number_of(rng);
        put(b, p.from, p.len, text, strlen(text));
    }
}

static void nest(struct tw_rng *rng, struct tw_buf *b)
{
    static const char *const opens[] = {"[", "{", "(", "{\"a\":", "[[", "\"", "'", "- "};
    const char *open = opens[below(rng, TW_COUNT_OF(opens))];
    size_t n = below(rng, DEEPEST), at = below(rng, b->len);

    for (size_t i = 0; i < n && b->len < MOST / 2; i++)
        put(b, at, 0, open, strlen(open));
}

static void repeat(struct tw_rng *rng, struct tw_buf *b)
{
    size_t at = below(rng, b->len), len = 1 + below(rng, b->len - at);
    char copy[256];

    len = len < sizeof(copy) ? len : sizeof(copy);
    memcpy(copy, b->data + at, len);
    for (size_t n = below(rng, 200); n > 0 && b->len < MOST / 4; n--)
        put(b, at, 0, copy, len);
}

static void join(const struct fuzz_reader *r, struct tw_rng *rng, struct tw_buf *b)
{
    size_t n = 0, at, from;
    const char *other;

    while (r->seeds[n])
        n++;
    other = r->seeds[below(rng, n)];
    from = below(rng, strlen(other) + 1);
    at = below(rng, b->len + 1);
    put(b, at, b->len - at, other + from, strlen(other) - from);
}

static void break_byte(struct tw_rng *rng, struct tw_buf *b, enum change what)
{
    size_t at = below(rng, b->len);
    char c = (char)below(rng, 256);

    if (what == FLIP)
        b->data[at] = (char)(b->data[at] ^ (1 << below(rng, 8)));
    else if (what == CUT)
        put(b, at, b->len - at, "", 0);
    else
        put(b, at, below(rng, 2), &c, 1);
}

static void change(const struct fuzz_reader *r, struct tw_rng *rng, struct tw_buf *b)
{
    enum change what = (enum change)below(rng, CHANGE_COUNT);
    static struct cut cut; /* one thread fuzzes */

    if (!b->len)
        tw_buf_puts(b, word_of(r, rng));
    if (!b->len)
        return;
    if (below(rng, 3) == 0)
        cut_lines(b, &cut);
    else
        cut_tokens(b, &cut);
    if (what <= NUMBER)
        change_part(r, rng, b, &cut, what);
    else if (what == NEST)
        nest(rng, b);
    else if (what == REPEAT)
        repeat(rng, b);
    else if (what == JOIN)
        join(r, rng, b);
    else
        break_byte(rng, b, what);
}

void fuzz_mutate(const struct fuzz_reader *r, struct tw_rng *rng, struct tw_buf *out)
{
    size_t n = 0, changes = below(rng, CHANGES);

    while (r->seeds[n])
        n++;
    tw_buf_clear(out);
    tw_buf_puts(out, r->seeds[below(rng, n)]);
    for (size_t i = 0; i <= changes; i++)
        change(r, rng, out);
}
