/* How a service was begun, kept beside its files in a clone: its twins are begun in the same way. */
#include "host.h"

#include <string.h>

/* One line each: directory, words, an empty line, environment. Words with a line end do not travel. */
int host_command_keep(struct tw_arena *a, const char *root, const struct host_command *c,
                      unsigned uid, unsigned gid, struct tw_err *err)
{
    const char *text = tw_arena_printf(a, "%s\n", c->cwd ? c->cwd : "/");

    for (size_t i = 0; i < c->argv.count; i++)
        text = tw_arena_printf(a, "%s%s\n", text, c->argv.items[i]);
    text = tw_arena_printf(a, "%s\n", text);
    for (size_t i = 0; i < c->env.count; i++)
        text = tw_arena_printf(a, "%s%s\n", text, c->env.items[i]);
    return host_put_file(root, HOST_COMMAND, text, 0600, uid, gid, err);
}

/* Where its own supervisor is spoken to: there is none in a twin. */
static bool is_of_supervisor(const char *line)
{
    return tw_starts_with(line, "NOTIFY_SOCKET=") || tw_starts_with(line, "LISTEN_");
}

void host_command_kept(struct tw_arena *a, const char *root, struct host_command *ret)
{
    char *rest = tw_arena_strdup(a, host_text(a, root, HOST_COMMAND));
    bool words = true;

    *ret = (struct host_command){.cwd = strsep(&rest, "\n")};
    for (char *line; rest && (line = strsep(&rest, "\n"));) {
        if (!*line)
            words = false;
        else if (words)
            TW_PUSH(a, &ret->argv, line);
        else if (!is_of_supervisor(line))
            TW_PUSH(a, &ret->env, line);
    }
}

/* Of a process of a container, whose supervisor gave it all that it has. */
static void of_home(struct tw_arena *a, struct host_command *ret)
{
    struct host_process p;

    *ret = (struct host_command){0};
    if (!host_process_home(a, &p))
        return;
    ret->cwd = p.cwd;
    for (size_t i = 0; i < p.argv.count; i++)
        TW_PUSH(a, &ret->argv, p.argv.items[i]);
    for (size_t i = 0; i < p.env.count; i++)
        TW_PUSH(a, &ret->env, p.env.items[i]);
}

int host_command_keep_home(struct tw_arena *a, const char *root, unsigned uid,
                           unsigned gid, struct tw_err *err)
{
    struct host_command c;

    of_home(a, &c);
    return c.argv.count ? host_command_keep(a, root, &c, uid, gid, err) : 0;
}

void host_command_of(struct tw_arena *a, const char *root, struct host_command *ret)
{
    if (*root)
        host_command_kept(a, root, ret);
    else
        of_home(a, ret);
}
