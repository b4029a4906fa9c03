/* pgbouncer.ini: read as PgBouncer reads it, changed in place. */
#include "kind_pgb_internal.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#define INCLUDE_DEPTH 10

struct reading {
    struct tw_arena *a;
    const char *root;
    struct pgb_ini *ini;
    const char *section;
};

static char *trim(char *text)
{
    char *end;

    text += strspn(text, " \t\r");
    for (end = text + strlen(text); end > text && isspace((unsigned char)end[-1]);)
        *--end = '\0';
    return text;
}

bool pgb_is_entry(const char *name)
{
    return strncasecmp(name, "databases.", 10) == 0 ||
           strncasecmp(name, "users.", 6) == 0 || strncasecmp(name, "peers.", 6) == 0;
}

/* "key = value" of a section; false: neither. */
static bool split(struct tw_arena *a, const char *section, char *line,
                  struct pgb_entry *ret)
{
    char *equals;

    line = trim(line);
    if (!*line || *line == ';' || *line == '#' || *line == '%' || *line == '[' ||
        !(equals = strchr(line, '=')))
        return false;
    *equals = '\0';
    line = trim(line);
    ret->name = strcasecmp(section, "pgbouncer") == 0
                    ? tw_arena_strdup(a, line)
                    : tw_arena_printf(a, "%s.%s", section, line);
    ret->value = tw_arena_strdup(a, trim(equals + 1));
    return true;
}

static const char *section_of(struct tw_arena *a, const char *line)
{
    line += strspn(line, " \t");
    return *line == '[' ? tw_arena_strndup(a, line + 1, strcspn(line + 1, "]")) : NULL;
}

static void read_file(struct reading *r, const char *path, int depth);

static void read_line(struct reading *r, char *line, const char *path, int number,
                      int depth)
{
    struct pgb_entry e = {.file = path, .line = number};
    const char *section = section_of(r->a, line);
    char *text = trim(line);

    if (section)
        r->section = section;
    else if (strncasecmp(text, "%include", 8) == 0)
        read_file(r, trim(text + 8), depth + 1);
    else if (split(r->a, r->section, text, &e))
        TW_PUSH(r->a, &r->ini->entries, e);
}

static void read_file(struct reading *r, const char *path, int depth)
{
    const char *name = tw_arena_strdup(r->a, path);
    tw_auto_free char *host = tw_strf("%s%s", r->root, path);
    tw_auto_free char *text = NULL;
    char *rest;
    int number = 0;

    if (depth > INCLUDE_DEPTH ||
        tw_read_file(AT_FDCWD, host, 8 << 20, &text, NULL, NULL) < 0) {
        if (!r->ini->problem)
            r->ini->problem = tw_arena_printf(r->a, "'%s' cannot be read", name);
        return;
    }
    TW_PUSH(r->a, &r->ini->files, name);
    rest = text;
    for (char *line; (line = strsep(&rest, "\n"));)
        read_line(r, line, name, ++number, depth);
}

void pgb_ini_read(struct tw_arena *a, const char *root, const char *path,
                  struct pgb_ini *ret)
{
    struct reading r = {a, root, ret, ""};

    *ret = (struct pgb_ini){0};
    read_file(&r, path, 0);
}

const struct pgb_entry *pgb_ini_last(const struct pgb_ini *ini, const char *name)
{
    for (size_t i = ini->entries.count; i-- > 0;)
        if (strcasecmp(ini->entries.items[i].name, name) == 0)
            return &ini->entries.items[i];
    return NULL;
}

const char *pgb_ini_value(const struct pgb_ini *ini, const char *name,
                          const char *fallback)
{
    const struct pgb_entry *e = pgb_ini_last(ini, name);

    return e ? e->value : fallback;
}

/* ---- changing a text ---- */

struct place {
    const char *section, *key;
};

static struct place place_of(struct tw_arena *a, const char *name)
{
    const char *dot = pgb_is_entry(name) ? strchr(name, '.') : NULL;

    return dot ? (struct place){tw_arena_strndup(a, name, (size_t)(dot - name)), dot + 1}
               : (struct place){"pgbouncer", name};
}

/* The last line of that name holds, so the others go; a new one comes at the end of its section. */
char *pgb_ini_set(struct tw_arena *a, const char *text, const char *name,
                  const char *value)
{
    struct place p = place_of(a, name);
    const char *line = value ? tw_arena_printf(a, "%s = %s\n", p.key, value) : "";
    char *rest = tw_arena_strdup(a, text);
    const char *section = "";
    bool inside = false, done = false;
    tw_auto_buf out = {0};

    tw_buf_init(&out, 16 << 20);
    for (char *old; (old = strsep(&rest, "\n"));) {
        const char *next = section_of(a, old);
        struct pgb_entry e;

        if (next && inside && !done) {
            tw_buf_puts(&out, line);
            done = true;
        }
        section = next ? next : section;
        inside = strcasecmp(section, p.section) == 0;
        if (!next && inside && split(a, section, tw_arena_strdup(a, old), &e) &&
            strcasecmp(e.name, name) == 0) {
            tw_buf_puts(&out, done ? "" : line);
            done = true;
        } else if (rest || *old) {
            tw_buf_printf(&out, "%s\n", old);
        }
    }
    if (!done && !inside && value)
        tw_buf_printf(&out, "[%s]\n", p.section);
    if (!done)
        tw_buf_puts(&out, line);
    return tw_arena_strdup(a, tw_buf_text(&out));
}

/* key=value, key='quoted value' */
const char *pgb_word(struct tw_arena *a, const char *connstr, const char *key)
{
    size_t n = strlen(key);

    for (const char *p = connstr; *p;) {
        size_t name;
        const char *value;
        size_t len;

        p += strspn(p, " \t");
        name = strcspn(p, "= \t");
        value = p + name + strspn(p + name, " \t");
        if (*value != '=')
            return NULL;
        value += 1 + strspn(value + 1, " \t");
        len = *value == '\'' ? strcspn(value + 1, "'") + 2 : strcspn(value, " \t");
        if (name == n && strncasecmp(p, key, n) == 0)
            return *value == '\'' ? tw_arena_strndup(a, value + 1, len - 2)
                                  : tw_arena_strndup(a, value, len);
        p = value + strnlen(value, len);
    }
    return NULL;
}
