/* Passwords of connection strings stand in a file of their own beside the declarations, which only their owner
 * reads (root, where there is one): the daemon lists targets, and never enters one. In the declarations stands
 * the redacted text; what does not fit it any more is not used.
 *
 * Form  {"environment/target": "the whole connection string"} */
#include "env_internal.h"

#include "tw/redact.h"

#include <fcntl.h>
#include <string.h>

static json_t *read_all(const char *path)
{
    tw_auto_free char *text = NULL;
    json_t *json = NULL;
    size_t len;

    if (tw_read_file(AT_FDCWD, path, 8 << 20, &text, &len, NULL) < 0 ||
        tw_json_parse(text, len, &json, NULL) < 0)
        return NULL; /* none, or not ours to read */
    return json;
}

static const char *key_of(struct tw_arena *a, const struct tw_target *t)
{
    return tw_arena_printf(a, "%s/%s", t->environment ? t->environment : "", t->name);
}

void env_secrets_join(struct tw_arena *a, const char *path, struct tw_env_list *list, size_t from)
{
    json_auto_t *all = read_all(path);

    for (size_t i = from; i < list->targets.count && all; i++) {
        struct tw_target *t = &list->targets.items[i];
        const char *whole = json_string_value(json_object_get(all, key_of(a, t)));

        if (whole && t->dsn && tw_streq(tw_redact_text(NULL, a, whole), t->dsn))
            t->dsn = tw_arena_strdup(a, whole);
    }
}

int env_secrets_part(struct tw_arena *a, const char *path, const struct tw_env_list *list,
                     struct tw_env_list *ret_open, struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    json_auto_t *all = json_object();

    for (size_t i = 0; i < list->targets.count; i++) {
        struct tw_target t = list->targets.items[i];
        const char *shown = t.dsn ? tw_redact_text(NULL, a, t.dsn) : NULL;

        if (!tw_streq(shown, t.dsn))
            (void)json_object_set_new(all, key_of(a, &t), json_string(t.dsn));
        t.dsn = shown;
        TW_PUSH(a, &ret_open->targets, t);
    }
    text = tw_json_dump(all, JSON_INDENT(2));
    return tw_write_file(path, text, strlen(text), 0600, err);
}
