/* A deployment: the container of today, and what the change makes of it. */
#include "run_deployment.h"

#include <string.h>

const char *deployment_change(const struct deployment *d, const char *name)
{
    const struct tw_plan *plan = &d->r->v.sim->plan;

    for (size_t i = 0; i < plan->steps.count; i++)
        if (plan->steps.items[i].kind == TW_STEP_VERSION &&
            tw_streq(plan->steps.items[i].name, name))
            return plan->steps.items[i].value;
    return NULL;
}

/* ---- today's container, and the image that is to come ---- */

int deployment_inspect(struct deployment *d, const char *id,
                       struct tw_docker_container *to, struct tw_err *err)
{
    json_auto_t *json = NULL;
    int rc = tw_docker_container_inspect(d->engine, id, &json, err);

    return rc < 0 ? rc : tw_docker_container_read(d->a, json, to, err);
}

/* "registry:5000/web:1@sha256:…" and "2" give "registry:5000/web:2". */
static const char *with_tag(struct tw_arena *a, const char *image, const char *tag)
{
    char *base = tw_arena_strndup(a, image, strcspn(image, "@"));
    char *slash = strrchr(base, '/'), *colon = strrchr(slash ? slash : base, ':');

    if (colon)
        *colon = '\0';
    return tw_arena_printf(a, "%s:%s", base, tag);
}

int deployment_find_image(struct deployment *d, struct tw_err *err)
{
    const char *image = deployment_change(d, "image"), *tag = deployment_change(d, "tag");
    int rc;

    d->image_name = tag ? with_tag(d->a, d->like.image, tag)
                        : tw_arena_strdup(d->a, image ? image : d->like.image_id);
    rc = tw_docker_image_inspect(d->engine, d->image_name, &d->image, err);
    if (rc == -ENOENT)
        return tw_fail_at(
            err, rc, "/change/image",
            "the Engine at '%s' has no image '%s'; nothing is pulled: docker "
            "pull %s",
            tw_docker_host(d->engine), d->image_name, d->image_name);
    if (!image && !tag)
        d->image_name = d->like.image;
    return rc;
}

const json_t *deployment_image(const struct deployment *d)
{
    return json_object_get(d->image, "Config");
}

/* ---- the changes ---- */

static void set_variable(struct deployment *d, const char *name, const char *value)
{
    struct tw_docker_container *c = &d->changed;
    size_t kept = 0;

    for (size_t i = 0; i < c->env.count; i++)
        if (!tw_streq(c->env.items[i].name, name))
            c->env.items[kept++] = c->env.items[i];
    c->env.count = kept;
    if (value)
        TW_PUSH(d->a, &d->made[TW_SIDE_NEW].env,
                tw_arena_printf(d->a, "%s=%s", name, value));
}

/* A JSON array of words, or one text for the shell's kind of splitting at blanks. */
static void add_words(struct deployment *d, const char *text, void *to)
{
    __typeof__(d->made[0].argv) *argv = to;
    json_auto_t *json = *text == '[' ? json_loads(text, 0, NULL) : NULL;
    size_t i;
    json_t *word;

    json_array_foreach (json, i, word)
        if (json_is_string(word))
            TW_PUSH(d->a, argv, tw_arena_strdup(d->a, json_string_value(word)));
    while (!json && *(text += strspn(text, " \t"))) {
        size_t n = strcspn(text, " \t");

        TW_PUSH(d->a, argv, tw_arena_strndup(d->a, text, n));
        text += n;
    }
}

static void change_words(struct deployment *d)
{
    const char *command = deployment_change(d, "command"),
               *entrypoint = deployment_change(d, "entrypoint");
    const json_t *own = json_object_get(deployment_image(d), "Entrypoint");
    struct tw_sandbox_container *to = &d->made[TW_SIDE_NEW];
    size_t i;
    json_t *word;

    if (!command && !entrypoint)
        return;
    if (entrypoint)
        add_words(d, entrypoint, &to->argv);
    else
        json_array_foreach (own, i, word)
            TW_PUSH(d->a, &to->argv, tw_arena_strdup(d->a, json_string_value(word)));
    if (command)
        add_words(d, command, &to->argv);
}

void deployment_apply(struct deployment *d)
{
    const struct tw_plan *plan = &d->r->v.sim->plan;
    struct tw_docker_pair *env =
        tw_arena_alloc(d->a, (d->like.env.count + 1) * sizeof(*env));

    d->changed = d->like;
    for (size_t i = 0; i < d->like.env.count; i++)
        env[i] = d->like.env.items[i];
    d->changed.env.items = env;
    d->made[TW_SIDE_NEW].like = &d->changed;
    if (deployment_change(d, "image") || deployment_change(d, "tag"))
        d->made[TW_SIDE_NEW].image = d->image_name;
    for (size_t i = 0; i < plan->steps.count; i++) {
        const struct tw_plan_step *s = &plan->steps.items[i];

        if (s->kind == TW_STEP_VERSION && tw_starts_with(s->name, "env."))
            set_variable(d, s->name + strlen("env."), s->value);
    }
    change_words(d);
    if (deployment_change(d, "user"))
        d->changed.user = deployment_change(d, "user");
    if (deployment_change(d, "cwd"))
        d->changed.cwd = deployment_change(d, "cwd");
}
