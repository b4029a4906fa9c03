#include "tw/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Every chunk is one malloc; an allocation larger than a chunk gets a chunk of its own. */
#define CHUNK_SIZE ((size_t)16 * 1024)
#define ALIGNMENT  ((size_t)16)

struct chunk {
    struct chunk *next;
    size_t used, room;
    char data[] __attribute__((aligned(16)));
};

struct tw_arena {
    struct chunk *head;
};

static void *must(void *p)
{
    if (!p) {
        static const char text[] = "twin: out of memory\n";

        (void)!write(STDERR_FILENO, text, sizeof text - 1);
        _exit(1);
    }
    return p;
}

void *tw_alloc(size_t size)
{
    return must(calloc(1, size ? size : 1));
}

void *tw_realloc_array(void *p, size_t count, size_t size)
{
    return must(reallocarray(p, count ? count : 1, size));
}

void tw_close_p(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1; /* another thread may get this number in the next moment */
}

void tw_free_p(void *pointer_to_pointer)
{
    void *p;

    memcpy(&p, pointer_to_pointer, sizeof p);
    free(p);
}

struct tw_arena *tw_arena_new(void)
{
    return tw_alloc(sizeof(struct tw_arena));
}

void tw_arena_free(struct tw_arena *a)
{
    struct chunk *c, *next;

    if (!a)
        return;
    for (c = a->head; c; c = next) {
        next = c->next;
        free(c);
    }
    free(a);
}

void tw_arena_adopt(struct tw_arena *into, struct tw_arena *from)
{
    struct chunk *last = from->head;

    while (last && last->next)
        last = last->next;
    if (last) {
        /* Behind the first: that one goes on being filled. */
        last->next = into->head ? into->head->next : NULL;
        *(into->head ? &into->head->next : &into->head) = from->head;
    }
    free(from);
}

void *tw_arena_alloc(struct tw_arena *a, size_t size)
{
    struct chunk *c = a->head;
    size_t need = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1), room;
    void *p;

    if (!c || c->room - c->used < need) {
        room = need > CHUNK_SIZE ? need : CHUNK_SIZE;
        c = must(malloc(sizeof *c + room));
        c->room = room;
        c->used = 0;
        c->next = a->head;
        a->head = c;
    }
    p = c->data + c->used;
    c->used += need;
    return memset(p, 0, size);
}

char *tw_arena_strndup(struct tw_arena *a, const char *s, size_t n)
{
    char *copy;

    if (!s)
        return NULL;
    n = strnlen(s, n);
    copy = tw_arena_alloc(a, n + 1);
    memcpy(copy, s, n);
    return copy;
}

char *tw_arena_strdup(struct tw_arena *a, const char *s)
{
    return s ? tw_arena_strndup(a, s, strlen(s)) : NULL;
}

char *tw_arena_printf(struct tw_arena *a, const char *fmt, ...)
{
    va_list args, again;
    char *text;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    text = tw_arena_alloc(a, (size_t)(n < 0 ? 0 : n) + 1);
    (void)vsnprintf(text, (size_t)(n < 0 ? 0 : n) + 1, fmt, again);
    va_end(again);
    return text;
}

void *tw_arena_grow(struct tw_arena *a, void *items, size_t count, size_t size)
{
    void *more;

    /* the room is the next power of two, so only a count that is one is full */
    if (count != 0 && (count & (count - 1)) != 0)
        return items;
    more = tw_arena_alloc(a, (count ? count * 2 : 1) * size);
    if (count)
        memcpy(more, items, count * size);
    return more;
}

void tw_buf_init(struct tw_buf *b, size_t max)
{
    *b = (struct tw_buf){.max = max};
}

void tw_buf_done(struct tw_buf *b)
{
    free(b->data);
    *b = (struct tw_buf){.max = b->max};
}

void tw_buf_clear(struct tw_buf *b)
{
    b->len = 0;
    b->overflow = false;
    if (b->data)
        b->data[0] = '\0';
}

void tw_buf_add(struct tw_buf *b, const void *data, size_t len)
{
    size_t room;

    if (len > b->max - b->len) {
        len = b->max - b->len;
        b->overflow = true;
    }
    if (b->len + len + 1 > b->room) {
        room = b->room ? b->room * 2 : 256;
        while (room < b->len + len + 1)
            room *= 2;
        b->data = must(realloc(b->data, room));
        b->room = room;
    }
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void tw_buf_puts(struct tw_buf *b, const char *s)
{
    tw_buf_add(b, s, strlen(s));
}

void tw_buf_printf(struct tw_buf *b, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    int n;

    va_start(args, fmt);
    n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        must(NULL);
    tw_buf_add(b, text, (size_t)n);
    free(text);
}

char *tw_buf_take(struct tw_buf *b)
{
    char *data = b->data ? b->data : tw_alloc(1);

    *b = (struct tw_buf){.max = b->max};
    return data;
}

const char *tw_buf_text(const struct tw_buf *b)
{
    return b->data ? b->data : "";
}
