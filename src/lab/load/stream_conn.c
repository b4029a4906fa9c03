/* What connections with a stream of their own have in common, whatever they speak. */
#include "load_internal.h"

#include <stdlib.h>

void load_conn_show(struct load_conn *c)
{
    const struct load_stream *s = c->own;

    c->fd = s->step == LOAD_STREAM_CLOSED ? -1 : s->fd;
    c->events = load_stream_events(s);
}

enum load_event load_conn_lost(struct load_conn *c)
{
    load_stream_close(c->own, true);
    load_conn_show(c);
    c->state = LOAD_CLOSED;
    return LOAD_LOST;
}

int load_conn_connect(struct load_conn *c)
{
    int r;

    load_stream_close(c->own, true);
    c->renewed = true;
    r = load_stream_open(c->own, c->target, &c->fault);
    load_conn_show(c);
    return r;
}

void load_conn_abandon(struct load_conn *c)
{
    load_stream_close(c->own, true);
    c->state = LOAD_IDLE;
    load_conn_show(c);
}

void load_conn_end(struct load_conn *c, bool reset)
{
    struct load_stream *s = c->own;

    c->state = LOAD_CLOSED;
    c->fd = -1;
    if (!s)
        return;
    load_stream_close(s, reset);
    tw_buf_done(&s->out);
    free(s);
    c->own = NULL;
}
