/* Directives that a block inherits only while it has none of that name itself: one line more in a location, and
 * what stood around it holds there no more. nginx says nothing, and every request is served.
 * Source: nginx documentation of each: "inherited from the previous configuration level if and only if there are
 * no ... directives defined on the current level". */
#include "kind_nginx_internal.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *name, *what;
} rows[] = {
    {"add_header", "headers of its answers"},
    {"add_trailer", "trailers of its answers"},
    {"proxy_set_header", "headers that the server behind gets"},
    {"grpc_set_header", "headers that the server behind gets"},
    {"fastcgi_param", "parameters that the server behind gets"},
    {"uwsgi_param", "parameters that the server behind gets"},
    {"scgi_param", "parameters that the server behind gets"},
    {"limit_req", "limits of requests"},
    {"limit_conn", "limits of connections"},
};

static bool has_own(const struct nginx_conf *c, int block, const char *name)
{
    return nginx_child(c, block, name) != NULL;
}

/* The level whose lines hold in the block; -2: none. */
static int level_of(const struct nginx_conf *c, int block, const char *name)
{
    for (int at = block; at >= 0; at = c->list.items[at].parent)
        if (has_own(c, at, name))
            return at;
    return -2;
}

static bool stands(const struct nginx_conf *c, int level, const struct nginx_directive *d)
{
    for (size_t i = 0; i < c->list.count; i++) {
        const struct nginx_directive *e = &c->list.items[i];
        const char *key = nginx_arg(e, 0);

        if (e->parent == level && nginx_is(e, d->name) && key && strcasecmp(key, nginx_arg(d, 0)) == 0)
            return true;
    }
    return false;
}

/* Those of one name that hold at a level of from and not in the block; NULL: all of them do. */
static const char *lost(struct tw_arena *a, const struct nginx_conf *from, int level,
                        const struct nginx_conf *now, int block, const char *name)
{
    const char *text = NULL;

    for (size_t i = 0; i < from->list.count; i++) {
        const struct nginx_directive *d = &from->list.items[i];

        if (d->parent == level && nginx_is(d, name) && nginx_arg(d, 0) && !stands(now, block, d))
            text = text ? tw_arena_printf(a, "%s, %s", text, nginx_arg(d, 0)) : nginx_arg(d, 0);
    }
    return text;
}

void nginx_judge_inherited(struct tw_arena *a, const struct nginx_conf *before, int old,
                           const struct nginx_conf *now, int block, struct tw_issues *issues)
{
    for (size_t i = 0; i < TW_COUNT_OF(rows); i++) {
        const char *name = rows[i].name, *gone;
        /* a block that is new took its requests from the one around it */
        const struct nginx_conf *from = old < 0 ? now : before;
        int was = old < 0 ? now->list.items[block].parent : old;
        int level = level_of(from, was, name);

        if (!has_own(now, block, name) || level == -2 || (old >= 0 && level == old))
            continue;
        gone = lost(a, from, level, now, block, name);
        if (gone)
            tw_issue_add(a, issues, TW_HIGH, TW_REVIEW, "inherit.lost",
                         tw_arena_printf(a, "%s in %s ends what held there: %s", name,
                                         nginx_context(a, now, block), gone),
                         tw_arena_printf(a, "%s line %d; %s come from the blocks around only while a block has "
                                            "no %s of its own",
                                         now->list.items[block].file, nginx_child(now, block, name)->line,
                                         rows[i].what, name),
                         tw_arena_printf(a, "repeat the outer %s lines in that block", name));
    }
}
