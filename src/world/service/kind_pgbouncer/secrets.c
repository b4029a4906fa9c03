/* No secret of production is in a clone: users of its list, and roles that its databases are entered as,
 * have the passwords that they have in clones of the servers behind. */
#include "kind_pgb_internal.h"

#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* "…" with "" for a quote in it; moves at behind it. NULL: there is none. */
static const char *take_quoted(struct tw_arena *a, const char **at)
{
    tw_auto_buf b = {0};
    const char *p = *at + strspn(*at, " \t");

    if (*p++ != '"')
        return NULL;
    tw_buf_init(&b, 4096);
    for (; *p && (*p != '"' || p[1] == '"'); p++) {
        tw_buf_add(&b, p, 1);
        p += *p == '"';
    }
    if (*p != '"')
        return NULL;
    *at = p + 1;
    return tw_arena_strdup(a, tw_buf_text(&b));
}

/* Of the kind that the secret is: an md5 sum stays one. One for SCRAM alone could not be used at the server,
 * whose own has another salt, so it becomes the password itself, which serves both. */
static const char *own_secret(struct tw_arena *a, const struct tw_snapshot *s,
                              const char *user, const char *secret)
{
    const char *password = tw_service_clone_password(a, s, user);

    if (!*secret)
        return secret;
    return tw_starts_with(secret, "md5") && strlen(secret) == 35
               ? tw_pg_md5_password(a, password, user)
               : password;
}

const char *pgb_list_entry(struct tw_arena *a, const char *line, const char **ret_user)
{
    *ret_user = take_quoted(a, &line);
    return *ret_user ? take_quoted(a, &line) : NULL;
}

static const char *list_line(struct tw_arena *a, const struct tw_snapshot *s,
                             const char *line)
{
    const char *at = line;
    const char *user = take_quoted(a, &at);
    size_t head = (size_t)(at - line);
    const char *secret = user ? take_quoted(a, &at) : NULL;

    return secret ? tw_arena_printf(a, "%.*s \"%s\"%s", (int)head, line,
                                    own_secret(a, s, user, secret), at)
                  : line;
}

/* "shop = host=… user=app password=…": without a user it is the client's, which we do not know. */
static const char *database_line(struct tw_arena *a, const struct tw_snapshot *s,
                                 const char *line)
{
    static const char word[] = "password=";
    const char *at = strstr(line, word), *equals = strchr(line, '=');
    const char *user = equals ? pgb_word(a, equals + 1, "user") : NULL;
    const char *end;

    if (!at || *line == ';' || *line == '#' || at == line || !strchr(" \t=", at[-1]))
        return line;
    end = at + sizeof word - 1;
    end += *end == '\'' ? strcspn(end + 1, "'") + 2 : strcspn(end, " \t");
    return tw_arena_printf(a, "%.*s%s%s%s", (int)(at - line), line, word,
                           tw_service_clone_password(a, s, user ? user : ""), end);
}

static int rewrite(struct tw_arena *a, const char *root, const char *path,
                   const struct tw_snapshot *s,
                   const char *(*own)(struct tw_arena *, const struct tw_snapshot *,
                                      const char *),
                   unsigned uid, unsigned gid, struct tw_err *err)
{
    const char *text = host_text(a, root, path);
    tw_auto_free char *there = tw_strf("%s%s", root, path);
    char *rest = tw_arena_strdup(a, text);
    tw_auto_buf b = {0};
    struct stat st;

    if (!*text || stat(there, &st) < 0)
        return 0;
    tw_buf_init(&b, 16 << 20);
    for (char *line; (line = strsep(&rest, "\n"));)
        tw_buf_printf(&b, "%s%s", own(a, s, line), rest ? "\n" : "");
    if (tw_streq(tw_buf_text(&b), text))
        return 0;
    return host_put_file(root, path, tw_arena_strdup(a, tw_buf_text(&b)), st.st_mode & 07777,
                         uid, gid, err);
}

int pgb_own_secrets(struct tw_arena *a, const char *root, const struct tw_snapshot *s,
                    unsigned uid, unsigned gid, struct tw_err *err)
{
    const char *list;
    struct pgb_ini ini;
    int r = 0;

    pgb_ini_read(a, root, s->config_file, &ini);
    for (size_t i = 0; i < ini.files.count && r == 0; i++)
        r = rewrite(a, root, ini.files.items[i], s, database_line, uid, gid, err);
    list = pgb_ini_value(&ini, "auth_file", "");
    return r == 0 && *list == '/' ? rewrite(a, root, list, s, list_line, uid, gid, err) : r;
}
