/* Texts with holes: "$1" is the first parameter, "$$" a dollar. */
#include "load_internal.h"

#include <ctype.h>
#include <string.h>

char *load_bytes_copy(struct tw_arena *a, const void *bytes, size_t len)
{
    char *copy = tw_arena_alloc(a, len + 1);

    if (len)
        memcpy(copy, bytes, len);
    return copy;
}

static void add_text(struct tw_arena *a, struct load_template *t, const char *text,
                     size_t len)
{
    if (len == 0)
        return;
    TW_PUSH(a, &t->pieces, (struct load_piece){.text = text, .len = len});
    t->fixed += len;
}

/* The number after a dollar; 0: none. */
static size_t number_at(const char *at, const char *end, const char **ret_after)
{
    size_t n = 0;

    for (; at < end && isdigit((unsigned char)*at) && n < 10000; at++)
        n = n * 10 + (size_t)(*at - '0');
    *ret_after = at;
    return n;
}

void load_template_compile(struct tw_arena *a, const char *text, size_t len,
                           size_t parameters, struct load_template *ret)
{
    const char *end, *from, *after;
    struct load_template t = {0};

    text = from = load_bytes_copy(a, text, len);
    end = text + len;
    while (text < end) {
        size_t n;

        if (*text != '$') {
            text++;
            continue;
        }
        if (text + 1 < end && text[1] == '$') {
            add_text(a, &t, from, (size_t)(text + 1 - from));
            from = text += 2;
            continue;
        }
        n = number_at(text + 1, end, &after);
        if (n > 0 && n <= parameters) {
            add_text(a, &t, from, (size_t)(text - from));
            TW_PUSH(a, &t.pieces, (struct load_piece){.parameter = n - 1});
            t.parameters = true;
            from = text = after;
            continue;
        }
        text++;
    }
    add_text(a, &t, from, (size_t)(end - from));
    *ret = t;
}

size_t load_template_length(const struct load_template *t, const char *const *parameters)
{
    size_t len = t->fixed;

    for (size_t i = 0; t->parameters && i < t->pieces.count; i++)
        if (!t->pieces.items[i].text)
            len += strlen(parameters[t->pieces.items[i].parameter]);
    return len;
}

void load_template_render(const struct load_template *t, const char *const *parameters,
                          struct tw_buf *to)
{
    for (size_t i = 0; i < t->pieces.count; i++) {
        const struct load_piece *p = &t->pieces.items[i];

        if (p->text)
            tw_buf_add(to, p->text, p->len);
        else
            tw_buf_puts(to, parameters[p->parameter]);
    }
}

char *load_template_quote(struct tw_arena *a, const char *text)
{
    char *quoted = tw_arena_alloc(a, 2 * strlen(text) + 1), *to = quoted;

    for (; *text; text++) {
        *to++ = *text;
        if (*text == '$')
            *to++ = '$';
    }
    return quoted;
}

static int hex_of(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

char *load_unescape(struct tw_arena *a, const char *text, size_t len, size_t *ret_len)
{
    static const char letters[] = "nrt0", meanings[] = "\n\r\t\0";
    char *ret = tw_arena_alloc(a, len + 1), *to = ret;
    const char *end = text + len, *known;

    while (text < end) {
        if (*text != '\\' || text + 1 == end) {
            *to++ = *text++;
            continue;
        }
        known = strchr(letters, text[1]);
        if (text[1] == 'x' && text + 3 < end && hex_of(text[2]) >= 0 &&
            hex_of(text[3]) >= 0) {
            *to++ = (char)(hex_of(text[2]) * 16 + hex_of(text[3]));
            text += 4;
        } else {
            *to++ = known ? meanings[known - letters] : text[1];
            text += 2;
        }
    }
    *ret_len = (size_t)(to - ret);
    return ret;
}
