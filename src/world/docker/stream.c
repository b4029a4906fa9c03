/* What comes piece by piece: the two outputs of a container in frames, JSON objects in a row. A piece may
 * end anywhere. */
#include "docker_internal.h"

#include <string.h>

#define MAX_OBJECT ((size_t)4 << 20)

void docker_demux_init(struct docker_demux *x, bool raw, struct tw_buf *out,
                       struct tw_buf *errors)
{
    *x = (struct docker_demux){.raw = raw, .out = out, .errors = errors};
}

/* A frame: stream (0 input echoed, 1 output, 2 errors), three zeros, length of the payload, big end
 * first. */
static bool begin_frame(struct docker_demux *x)
{
    const unsigned char *h = x->head;

    x->left = (size_t)h[4] << 24 | (size_t)h[5] << 16 | (size_t)h[6] << 8 | h[7];
    x->broken = h[0] > 2 || h[1] || h[2] || h[3];
    return !x->broken;
}

bool docker_demux_take(void *demux, const char *data, size_t len)
{
    struct docker_demux *x = demux;

    if (x->raw) {
        tw_buf_add(x->out, data, len);
        return !x->out->overflow;
    }
    while (len) {
        struct tw_buf *to = x->head[0] == 2 ? x->errors : x->out;
        size_t n;

        if (x->have < sizeof(x->head)) {
            x->head[x->have++] = (unsigned char)*data++;
            len--;
            if (x->have == sizeof(x->head) && !begin_frame(x))
                return false;
        } else {
            n = len < x->left ? len : x->left;
            tw_buf_add(to, data, n);
            data += n;
            len -= n;
            x->left -= n;
        }
        if (x->have == sizeof(x->head) && x->left == 0)
            x->have = 0;
    }
    return true;
}

/* An output that is longer than its buffer was cut, which the buffer tells. */
int docker_demux_end(const struct docker_demux *x, struct tw_err *err)
{
    if (x->broken)
        return tw_fail(err, -EPROTO,
                       "the output of the container came in no known framing");
    if (x->have || x->left)
        return tw_fail(err, -EPROTO, "the output of the container ended in the middle");
    return 0;
}

/* ---- objects ---- */

void docker_objects_init(struct docker_objects *o,
                         bool (*on_object)(void *arg, const json_t *object), void *arg)
{
    *o = (struct docker_objects){.on_object = on_object, .arg = arg};
    tw_buf_init(&o->pending, MAX_OBJECT);
}

void docker_objects_done(struct docker_objects *o)
{
    tw_buf_done(&o->pending);
}

/* Follows braces outside of texts; true at the end of an object. */
static bool ends_object(struct docker_objects *o, char c)
{
    if (o->text) {
        bool was = o->escaped;

        o->escaped = !was && c == '\\';
        o->text = was || c != '"';
        return false;
    }
    o->text = c == '"';
    if (c == '{' || c == '[')
        o->depth++;
    else if ((c == '}' || c == ']') && o->depth > 0)
        return --o->depth == 0;
    return false;
}

static bool give(struct docker_objects *o)
{
    json_auto_t *json = NULL;

    if (tw_json_parse(tw_buf_text(&o->pending), o->pending.len, &json, NULL) < 0) {
        o->broken = true;
        return false;
    }
    tw_buf_clear(&o->pending);
    o->ended = !o->on_object(o->arg, json);
    return !o->ended;
}

bool docker_objects_take(void *objects, const char *data, size_t len)
{
    struct docker_objects *o = objects;

    for (size_t i = 0; i < len; i++) {
        bool between = o->depth == 0;

        if (between && strchr(" \t\r\n", data[i]) && data[i])
            continue;
        if (between && data[i] != '{') {
            o->broken = true;
            return false;
        }
        tw_buf_add(&o->pending, &data[i], 1);
        if (o->pending.overflow) {
            o->broken = true;
            return false;
        }
        if (ends_object(o, data[i]) && !give(o))
            return false;
    }
    return true;
}
