/* The request that makes a container, from a list of what may be in it: whatever the target has, only
 * this is ever asked for. No mount of the host but the directory of our init, no device, no namespace of
 * another, no port, no network of the Engine. */
#include "box_internal.h"

#include <math.h>
#include <string.h>

#define PERIOD_US 100000

/* ---- capabilities ---- */

enum { BY_DEFAULT = 1, SAFE = 2 }; /* an Engine gives it; a twin may have it */

/* Every capability that an Engine gives by default, and those beyond that a twin may have when its target
 * has. All others reach devices, the kernel, or other namespaces. */
static const struct capability {
    const char *name;
    unsigned flags;
} capabilities[] = {
    {"CHOWN", BY_DEFAULT | SAFE},
    {"DAC_OVERRIDE", BY_DEFAULT | SAFE},
    {"FOWNER", BY_DEFAULT | SAFE},
    {"FSETID", BY_DEFAULT | SAFE},
    {"KILL", BY_DEFAULT | SAFE},
    {"SETGID", BY_DEFAULT | SAFE},
    {"SETUID", BY_DEFAULT | SAFE},
    {"SETPCAP", BY_DEFAULT | SAFE},
    {"NET_BIND_SERVICE", BY_DEFAULT | SAFE},
    {"SYS_CHROOT", BY_DEFAULT | SAFE},
    {"MKNOD", BY_DEFAULT},
    {"NET_RAW", BY_DEFAULT},
    {"SETFCAP", BY_DEFAULT},
    {"AUDIT_WRITE", BY_DEFAULT},
    {"IPC_LOCK", SAFE},
    {"SYS_NICE", SAFE},
};

/* "CAP_NET_ADMIN", "net_admin", "NET_ADMIN" */
static bool same_capability(const char *given, const char *name)
{
    if (strncasecmp(given, "CAP_", 4) == 0)
        given += 4;
    return strcasecmp(given, name) == 0;
}

struct names {
    TW_ARRAY(const char *) list;
};

static bool lists(const char *const *items, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (same_capability(items[i], name) || same_capability(items[i], "ALL"))
            return true;
    return false;
}

/* As the Engine reckons: what is dropped by name is gone, also beside "add ALL". */
static bool target_has(const struct tw_docker_container *like, const struct capability *c)
{
    bool by_default = c->flags & BY_DEFAULT;

    if (!like)
        return by_default;
    if (like->privileged)
        return true;
    if (lists(like->cap_add.items, like->cap_add.count, c->name))
        return true;
    return by_default && !lists(like->cap_drop.items, like->cap_drop.count, c->name);
}

static json_t *capabilities_of(const struct tw_sandbox_spec *spec)
{
    const struct tw_sandbox_container *c = spec->container;
    json_t *list = json_array();

    if (!c->own_user && !spec->as_root)
        return list; /* a plain user: a program of it could only gain them by a file that grants them */
    for (size_t i = 0; i < TW_COUNT_OF(capabilities); i++)
        if ((capabilities[i].flags & SAFE) && target_has(c->like, &capabilities[i]))
            (void)json_array_append_new(list, json_string(capabilities[i].name));
    return list;
}

/* ---- what is told ---- */

static bool is_given(const char *name)
{
    for (size_t i = 0; i < TW_COUNT_OF(capabilities); i++)
        if (same_capability(name, capabilities[i].name) && (capabilities[i].flags & SAFE))
            return true;
    return false;
}

static bool is_mounted(const struct tw_sandbox_spec *spec, const char *place)
{
    for (size_t i = 0; i < spec->mounts.count; i++) {
        const char *to = spec->mounts.items[i].to;
        size_t n = strlen(to);

        if (strncmp(place, to, n) == 0 && (!place[n] || place[n] == '/'))
            return true;
    }
    return false;
}

static void tell_left_out(struct tw_arena *a, const struct tw_sandbox_spec *spec,
                          struct box_words *left_out)
{
    const struct tw_docker_container *like = spec->container->like;
    struct tw_docker_words dangers = {0};

    for (size_t i = 0; i < like->mounts.count; i++) {
        const struct tw_docker_mount *m = &like->mounts.items[i];

        if (m->destination && !tw_streq(m->type, "tmpfs") &&
            !is_mounted(spec, m->destination))
            TW_PUSH(a, &left_out->list,
                    tw_arena_printf(a,
                                    "what the target mounts on '%s' is not there: only "
                                    "what its image has",
                                    m->destination));
    }

    tw_docker_container_dangers(a, like, &dangers);
    for (size_t i = 0; i < dangers.list.count; i++) {
        const char *text = dangers.list.items[i];
        static const char further[] = "has the further capability '";

        if (tw_starts_with(text, further)) {
            tw_auto_free char *name = tw_strf("%s", text + strlen(further));

            name[strcspn(name, "'")] = '\0';
            if (is_given(name))
                continue;
        }
        if (tw_starts_with(text, "sets '") || tw_starts_with(text, "mounts '"))
            continue; /* told, or given, below */
        TW_PUSH(a, &left_out->list,
                tw_arena_printf(
                    a, "not as at the target, which %s: no twin is given that", text));
    }
}

/* ---- texts that image and target bring ---- */

static const json_t *config_of(const json_t *image, const char *key)
{
    return json_object_get(json_object_get(image, "Config"), key);
}

/* Of another image than the target's? Then what the old one brought is not the target's own. */
static bool is_other_image(const struct box_plan *p)
{
    const struct tw_docker_container *like = p->spec->container->like;
    const char *id = json_string_value(json_object_get(p->image, "Id"));

    return like && id && !tw_streq(id, like->image_id);
}

static bool has_text(const json_t *list, const char *text)
{
    size_t i;
    json_t *item;

    json_array_foreach (list, i, item)
        if (tw_streq(json_string_value(item), text))
            return true;
    return false;
}

static bool has_name(const json_t *list, const char *text)
{
    size_t n = strcspn(text, "="), i;
    json_t *item;

    json_array_foreach (list, i, item) {
        const char *other = json_string_value(item);

        if (other && strncmp(other, text, n) == 0 && (other[n] == '=' || !other[n]))
            return true;
    }
    return false;
}

static json_t *environment(struct tw_arena *a, const struct box_plan *p)
{
    const struct tw_sandbox_container *c = p->spec->container;
    bool other = is_other_image(p);
    json_t *env = json_array();

    for (size_t i = 0; i < c->env.count; i++)
        if (!has_name(env, c->env.items[i]))
            (void)json_array_append_new(env, tw_json_text(c->env.items[i]));
    for (size_t i = 0; c->like && i < c->like->env.count; i++) {
        const struct tw_docker_pair *e = &c->like->env.items[i];
        const char *text =
            e->value ? tw_arena_printf(a, "%s=%s", e->name, e->value) : e->name;

        if (!has_name(env, text) &&
            !(other && has_text(config_of(p->old_image, "Env"), text)))
            (void)json_array_append_new(env, tw_json_text(text));
    }
    return env;
}

/* The target's own text, NULL where its image had brought it and another one runs. */
static const char *own_text(const struct box_plan *p, const char *text, const char *key)
{
    if (is_other_image(p) &&
        tw_streq(text, json_string_value(config_of(p->old_image, key))))
        return NULL;
    return text;
}

static void push_texts(struct tw_arena *a, const json_t *json, struct box_words *to)
{
    size_t i;
    json_t *item;

    if (json_is_string(json))
        TW_PUSH(a, &to->list, tw_arena_strdup(a, json_string_value(json)));
    json_array_foreach (json, i, item)
        if (json_is_string(item))
            TW_PUSH(a, &to->list, tw_arena_strdup(a, json_string_value(item)));
}

static bool begins_with(const struct tw_docker_container *c,
                        const struct box_words *words)
{
    if (c->argv.count < words->list.count)
        return false;
    for (size_t i = 0; i < words->list.count; i++)
        if (!tw_streq(c->argv.items[i], words->list.items[i]))
            return false;
    return true;
}

/* Of another image the entrypoint is the new one; the command too, unless the target has its own. */
struct box_words box_entrypoint(struct tw_arena *a, const struct box_plan *p)
{
    const struct tw_sandbox_container *c = p->spec->container;
    const struct tw_docker_container *like = c->like;
    struct box_words words = {0}, old = {0};
    size_t from = 0;
    bool own_command = like && !is_other_image(p);

    if (c->argv.count) {
        for (size_t i = 0; i < c->argv.count; i++)
            TW_PUSH(a, &words.list, c->argv.items[i]);
    } else {
        push_texts(a, config_of(p->old_image, "Entrypoint"), &old);
        if (like && is_other_image(p) && begins_with(like, &old)) {
            push_texts(a, config_of(p->image, "Entrypoint"), &words);
            from = old.list.count;
            push_texts(a, config_of(p->old_image, "Cmd"), &old);
            own_command = like->argv.count != old.list.count || !begins_with(like, &old);
        } else if (like && is_other_image(p)) {
            own_command = true;
        } else if (!like) {
            push_texts(a, config_of(p->image, "Entrypoint"), &words);
        }
        for (size_t i = from; own_command && i < like->argv.count; i++)
            TW_PUSH(a, &words.list, like->argv.items[i]);
        if (!own_command)
            push_texts(a, config_of(p->image, "Cmd"), &words);
    }
    if (words.list.count) {
        TW_PUSH(a, &words.list, NULL);
        words.list.count--;
    }
    return words;
}

/* ---- the host's part ---- */

/* Parameters of namespaces that the container has of its own. */
static const char *const own_sysctls[] = {
    "net.ipv4.",  "net.ipv6.",  "net.core.somaxconn", "kernel.shm",
    "kernel.msg", "kernel.sem", "fs.mqueue."};

static json_t *sysctls(struct tw_arena *a, const struct tw_docker_container *like,
                       bool own_network, struct box_words *left_out)
{
    json_t *map = json_object();

    /* an Engine takes IPv6 away where it gives no address of it; the links are ours */
    if (own_network)
        (void)json_object_set_new(map, "net.ipv6.conf.all.disable_ipv6",
                                  json_string("0"));
    for (size_t i = 0; like && i < like->sysctls.count; i++) {
        const struct tw_docker_pair *s = &like->sysctls.items[i];
        bool own = false;

        for (size_t k = 0; k < TW_COUNT_OF(own_sysctls); k++)
            own = own || tw_starts_with(s->name, own_sysctls[k]);
        own = own && !strstr(s->name, "..") &&
              (own_network || !tw_starts_with(s->name, "net."));
        if (own && s->value)
            (void)json_object_set_new(map, s->name, tw_json_text(s->value));
        else
            TW_PUSH(a, &left_out->list,
                    tw_arena_printf(
                        a, "'%s' of the kernel is this host's, not as the target sets it",
                        s->name));
    }
    return map;
}

static json_t *ulimits(const struct tw_docker_container *like)
{
    json_t *list = json_array();

    for (size_t i = 0; like && i < like->ulimits.count; i++) {
        const struct tw_docker_ulimit *u = &like->ulimits.items[i];

        if (!tw_streq(u->name, "core"))
            (void)json_array_append_new(
                list, json_pack("{s:o, s:I, s:I}", "Name", tw_json_text(u->name), "Soft",
                                (json_int_t)u->soft, "Hard", (json_int_t)u->hard));
    }
    (void)json_array_append_new(
        list, json_pack("{s:s, s:i, s:i}", "Name", "core", "Soft", 1, "Hard", 1));
    return list;
}

/* An absolute path below the root that is none of the kernel's or ours. */
static bool is_plain_place(const char *path)
{
    static const char *const kept[] = {"/proc", "/sys", "/dev", BOX_DIR};

    if (!path || path[0] != '/' || !path[1] || strstr(path, "/..") || strpbrk(path, ":,"))
        return false;
    for (size_t i = 0; i < TW_COUNT_OF(kept); i++)
        if (tw_starts_with(path, kept[i]) &&
            (!path[strlen(kept[i])] || path[strlen(kept[i])] == '/'))
            return false;
    return true;
}

static json_t *tmpfs(struct tw_arena *a, const struct tw_sandbox_spec *spec)
{
    const struct tw_docker_container *like = spec->container->like;
    json_t *map = json_object();

    for (size_t i = 0; like && i < like->mounts.count; i++)
        if (tw_streq(like->mounts.items[i].type, "tmpfs") &&
            is_plain_place(like->mounts.items[i].destination))
            (void)json_object_set_new(map, like->mounts.items[i].destination,
                                      json_string("mode=1777,exec"));
    if (spec->tmp_bytes > 0)
        (void)json_object_set_new(
            map, "/tmp",
            json_string(tw_arena_printf(a, "mode=1777,exec,size=%lld",
                                        (long long)spec->tmp_bytes)));
    return map;
}

static void set_number(json_t *object, const char *key, int64_t value)
{
    if (value > 0)
        (void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void set_text(json_t *object, const char *key, const char *value)
{
    if (value)
        (void)json_object_set_new(object, key, tw_json_text(value));
}

static json_t *security(struct tw_arena *a, const struct box_plan *p)
{
    json_t *list = json_pack("[s]", "no-new-privileges");

    (void)json_array_append_new(
        list, json_string(tw_arena_printf(a, "seccomp=%s",
                                          p->profile ? p->profile : "unconfined")));
    return list;
}

static json_t *host_part(struct tw_arena *a, const struct box_plan *p,
                         struct box_words *left_out)
{
    const struct tw_sandbox_spec *spec = p->spec;
    const struct tw_docker_container *like = spec->container->like;
    json_t *h = json_object();

    set_text(h, "NetworkMode", p->network);
    set_text(h, "CgroupParent", p->cgroup_parent);
    set_text(h, "CgroupnsMode", "private");
    set_text(h, "IpcMode", "private");
    (void)json_object_set_new(h, "CapDrop", json_pack("[s]", "ALL"));
    (void)json_object_set_new(h, "CapAdd", capabilities_of(spec));
    (void)json_object_set_new(h, "SecurityOpt", security(a, p));
    (void)json_object_set_new(h, "ReadonlyRootfs", json_boolean(like && like->read_only));
    (void)json_object_set_new(h, "Sysctls",
                              sysctls(a, like, tw_streq(p->network, "none"), left_out));
    (void)json_object_set_new(h, "Ulimits", ulimits(like));
    (void)json_object_set_new(h, "Tmpfs", tmpfs(a, spec));
    (void)json_object_set_new(h, "Mounts",
                              json_pack("[{s:s, s:o, s:s, s:b}]", "Type", "bind",
                                        "Source", tw_json_text(p->init_dir), "Target",
                                        BOX_DIR, "ReadOnly", 1));
    (void)json_object_set_new(h, "LogConfig", json_pack("{s:s}", "Type", "none"));
    (void)json_object_set_new(h, "RestartPolicy", json_pack("{s:s}", "Name", "no"));
    set_number(h, "Memory", spec->memory_bytes);
    set_number(h, "MemorySwap", spec->memory_bytes); /* the same: no swap on top */
    if (spec->cpus > 0) {
        set_number(h, "CpuPeriod", PERIOD_US);
        set_number(h, "CpuQuota", (int64_t)(spec->cpus * PERIOD_US + 0.5));
    }
    set_number(h, "CpuShares", spec->cpu_weight);
    set_text(h, "CpusetCpus", spec->cpuset);
    set_number(h, "ShmSize",
               spec->shm_bytes ? spec->shm_bytes
               : like          ? like->shm_bytes
                               : 0);
    (void)json_object_set_new(h, "OomScoreAdj", json_integer(500));
    return h;
}

/* ---- the whole ---- */

static const char *user_of(struct tw_arena *a, const struct box_plan *p)
{
    const struct tw_sandbox_spec *spec = p->spec;

    if (spec->container->own_user)
        return spec->container->like ? own_text(p, spec->container->like->user, "User")
                                     : NULL;
    return spec->as_root ? "0:0" : tw_arena_printf(a, "%u:%u", spec->uid, spec->gid);
}

json_t *box_create_body(struct tw_arena *a, const struct box_plan *p,
                        struct box_words *left_out)
{
    const struct tw_sandbox_spec *spec = p->spec;
    const struct tw_docker_container *like = spec->container->like;
    json_t *b = json_object();

    set_text(b, "Image", json_string_value(json_object_get(p->image, "Id")));
    (void)json_object_set_new(b, "Entrypoint", json_pack("[s, s]", BOX_INIT, BOX_SOCKET));
    (void)json_object_set_new(b, "Cmd", json_array());
    (void)json_object_set_new(b, "Env", environment(a, p));
    set_text(b, "User", user_of(a, p));
    set_text(b, "WorkingDir", like ? own_text(p, like->cwd, "WorkingDir") : NULL);
    /* one that shares a network shares its name too */
    if (tw_streq(p->network, "none"))
        set_text(b, "Hostname", spec->hostname ? spec->hostname : spec->name);
    (void)json_object_set_new(b, "Healthcheck", json_pack("{s:[s]}", "Test", "NONE"));
    (void)json_object_set_new(
        b, "Labels",
        json_pack("{s:o, s:o, s:o}", BOX_LABEL_ID, tw_json_text(p->id), BOX_LABEL_STATE,
                  tw_json_text(p->state_dir), BOX_LABEL_NAME, tw_json_text(spec->name)));
    (void)json_object_set_new(b, "HostConfig", host_part(a, p, left_out));
    if (like)
        tell_left_out(a, spec, left_out);
    return b;
}
