/* What a rule-set text is and which interfaces it names: only its words are looked at. The kernel is asked
 * for the rest. */
#include "filter_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- formats ---- */

/* "*filter" at the begin of a line: no word of nft is written so. A text that lacks its COMMIT is a
 * saved one all the same, and its reader says what is missing. */
static bool is_saved(const char *text)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (line[0] == '*' && islower((unsigned char)line[1]))
            return true;
    }
    return false;
}

static bool is_v6(const char *path, const char *text)
{
    return tw_ends_with(path, ".v6") || strstr(path, "ip6tables") || strstr(text, "ip6tables-save") ||
           strstr(text, "icmp6") || strstr(text, "ipv6-icmp");
}

static const char *joined(struct tw_arena *a, const char *x, const char *y)
{
    return x ? tw_arena_printf(a, "%s\n%s", x, y) : y;
}

/* Tables that iptables keeps are told by its own save; nft's words for them cannot be loaded again. */
static const char *without_xt_tables(struct tw_arena *a, const char *nft, const bool has[2])
{
    static const char *const families[] = {"table ip ", "table ip6 "};
    static const char *const tables[] = {"filter", "nat", "mangle", "raw", "security"};
    tw_auto_buf out = {0};
    bool skip = false;

    if (!has[0] && !has[1])
        return nft;
    tw_buf_init(&out, strlen(nft) + 1);
    for (const char *line = nft; *line;) {
        size_t len = strcspn(line, "\n");

        for (int v6 = 0; v6 < 2 && tw_starts_with(line, "table "); v6++) {
            const char *name = line + strlen(families[v6]);

            for (size_t t = 0; t < TW_COUNT_OF(tables); t++)
                if (has[v6] && tw_starts_with(line, families[v6]) && tw_starts_with(name, tables[t]) &&
                    name[strlen(tables[t])] == ' ')
                    skip = true;
        }
        if (!skip) {
            tw_buf_add(&out, line, len);
            tw_buf_puts(&out, "\n");
        }
        if (line[0] == '}')
            skip = false;
        line += len + (line[len] == '\n');
    }
    return tw_arena_strdup(a, tw_buf_text(&out));
}

void tw_filter_text_of(struct tw_arena *a, const struct tw_file *files, size_t count,
                       struct tw_filter_text *ret)
{
    *ret = (struct tw_filter_text){0};
    for (size_t i = 0; i < count; i++) {
        const struct tw_file *f = &files[i];

        if (is_saved(f->text)) {
            const char **of = &ret->xt[is_v6(f->path, f->text)];

            *of = joined(a, *of, f->text);
        } else {
            ret->nft = joined(a, ret->nft, f->text);
            ret->name = f->path;
            if (f->path[0] == '/')
                ret->dir = tw_arena_strndup(a, f->path, (size_t)(strrchr(f->path, '/') - f->path));
        }
    }
    if (ret->nft)
        ret->nft = without_xt_tables(a, ret->nft, (bool[]){ret->xt[0] != NULL, ret->xt[1] != NULL});
}

/* ---- interfaces ---- */

bool filter_name_is_fine(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > 15 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("_-.", name[i]))
            return false;
    return name[0] != '-';
}

static void add_name(struct tw_arena *a, struct filter_names *names, const char *word, size_t len)
{
    char *name = tw_arena_strndup(a, word, len);

    /* of a pattern, one that fits it */
    if (len && strchr("*+", name[len - 1]))
        name[len - 1] = '0';
    if (!filter_name_is_fine(name) || strcmp(name, "lo") == 0 || isdigit((unsigned char)name[0]))
        return;
    if (names->list.count < FILTER_LINKS &&
        tw_name_index(name, names->list.items, names->list.count) < 0)
        TW_PUSH(a, &names->list, name);
}

/* One word, its quotes taken off; returns what follows. */
static const char *next_word(const char *at, const char **ret, size_t *ret_len, bool *ret_quoted)
{
    at += strspn(at, " \t");
    *ret_quoted = *at == '"';
    at += *ret_quoted;
    *ret = at;
    *ret_len = *ret_quoted ? strcspn(at, "\"\n") : strcspn(at, " \t\n,{};");
    at += *ret_len;
    return at + (*ret_quoted && *at == '"');
}

/* After a word that takes interfaces: one, or those in braces. */
static void take_names(struct tw_arena *a, const char *at, bool only_quoted, struct filter_names *names)
{
    bool braces = false, quoted;
    const char *word;
    size_t len;

    for (;;) {
        at += strspn(at, braces ? " \t\n,=!" : " \t=!");
        if (*at == '{' && !braces) {
            braces = true;
            at++;
            continue;
        }
        if (!*at || strchr("\n;{}", *at))
            return;
        at = next_word(at, &word, &len, &quoted);
        if (quoted || !only_quoted)
            add_name(a, names, word, len);
        if (!braces || (len == 0 && !quoted))
            return;
    }
}

void filter_names_of(struct tw_arena *a, const char *text, struct filter_names *ret)
{
    static const struct {
        const char *word;
        bool only_quoted;
    } words[] = {{"iifname", false}, {"oifname", false}, {"iif", false},      {"oif", false},
                 {"device", false},  {"devices", false}, {"-i", false},       {"-o", false},
                 {"elements", true}, {"define", true}};

    for (const char *at = text; at && *at; at++) {
        if (at > text && !strchr(" \t\n;{!", at[-1]))
            continue;
        for (size_t i = 0; i < TW_COUNT_OF(words); i++) {
            size_t len = strlen(words[i].word);

            if (strncmp(at, words[i].word, len) != 0 || !strchr(" \t=", at[len]) || !at[len])
                continue;
            /* define NAME = value */
            take_names(a, strcmp(words[i].word, "define") == 0 ? at + strcspn(at, "=\n") : at + len,
                       words[i].only_quoted && strcmp(words[i].word, "define") != 0, ret);
        }
    }
}
