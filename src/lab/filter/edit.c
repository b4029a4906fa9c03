/* Rules found where they stand, and taken out, replaced or moved there by the tool itself. A rule is told by
 * its handle, by its text, or by the port, source and protocol that it names. */
#include "filter_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    const char *family, *table, *chain, *text;
    int64_t handle; /* of nft */
    size_t index;   /* in its chain, from 0 */
    bool xt;
    int v6;
};
struct rows {
    TW_ARRAY(struct row) list;
};

/* ---- all rules, one row each ---- */

/* Blanks made single, counters and quotes taken off: what two ways of writing a rule share. */
static char *plain(struct tw_arena *a, const char *text)
{
    char *out = tw_arena_alloc(a, strlen(text) + 1), *to = out;

    for (const char *at = text; *at;) {
        unsigned long long packets, bytes;
        int used = 0;

        if ((at == text || isspace((unsigned char)at[-1])) &&
            sscanf(at, "counter packets %llu bytes %llu%n", &packets, &bytes, &used) == 2)
            at += used;
        else if ((at == text || isspace((unsigned char)at[-1])) && tw_starts_with(at, "counter") &&
                 (!at[7] || isspace((unsigned char)at[7])))
            at += 7;
        else if (*at == '"')
            at++;
        else if (isspace((unsigned char)*at) && (to == out || to[-1] == ' '))
            at++;
        else
            *to++ = isspace((unsigned char)*at) ? ' ' : *at, at++;
    }
    while (to > out && to[-1] == ' ')
        to--;
    *to = '\0';
    return out;
}

static int nft_rows(struct tw_filter_box *b, struct tw_arena *a, struct rows *ret, struct tw_err *err)
{
    static const char *const list[] = {"nft", "-a", "list", "ruleset", NULL};
    tw_auto_free char *text = NULL;
    struct row at = {0};
    char *save = NULL;
    int r = filter_run(b, list, NULL, NULL, &text, err);

    for (char *line = r < 0 ? NULL : strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char family[16], name[128], *mark = strstr(line, " # handle ");

        line += strspn(line, "\t ");
        if (sscanf(line, "table %15s %127s", family, name) == 2) {
            at.family = tw_arena_strdup(a, family);
            at.table = tw_arena_strdup(a, name);
        } else if (sscanf(line, "chain %127s", name) == 1) {
            at.chain = tw_arena_strdup(a, name);
            at.index = 0;
        } else if (line[0] == '}') {
            at.chain = NULL;
        } else if (at.chain && mark && !tw_starts_with(line, "type ")) {
            at.handle = strtoll(mark + strlen(" # handle "), NULL, 10);
            *mark = '\0';
            at.text = plain(a, line);
            TW_PUSH(a, &ret->list, at);
            at.index++;
        }
    }
    return r;
}

static size_t rules_before(const struct rows *rows, const struct row *row)
{
    size_t n = 0;

    for (size_t i = 0; i < rows->list.count; i++) {
        const struct row *o = &rows->list.items[i];

        n += o->xt && o->v6 == row->v6 && tw_streq(o->table, row->table) && tw_streq(o->chain, row->chain);
    }
    return n;
}

static int xt_rows(struct tw_filter_box *b, struct tw_arena *a, int v6, struct rows *ret, struct tw_err *err)
{
    const char *const list[] = {v6 ? "ip6tables-nft-save" : "iptables-nft-save", NULL};
    tw_auto_free char *text = NULL;
    struct row at = {.xt = true, .v6 = v6, .family = v6 ? "ip6" : "ip", .handle = -1};
    char *save = NULL;
    int r = filter_run(b, list, NULL, NULL, &text, err);

    for (char *line = r < 0 ? NULL : strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        size_t len;

        if (line[0] == '*')
            at.table = tw_arena_strdup(a, line + 1);
        if (!tw_starts_with(line, "-A "))
            continue;
        len = strcspn(line + 3, " ");
        at.chain = tw_arena_strndup(a, line + 3, len);
        at.text = plain(a, line + 3 + len);
        at.index = rules_before(ret, &at);
        TW_PUSH(a, &ret->list, at);
    }
    return r;
}

static int all_rows(struct tw_filter_box *b, struct tw_arena *a, struct rows *ret, struct tw_err *err)
{
    int r = 0;

    *ret = (struct rows){0};
    for (int v6 = 0; v6 < 2 && r == 0; v6++)
        if (b->loaded.xt[v6])
            r = xt_rows(b, a, v6, ret, err);
    if (r == 0 && b->loaded.nft)
        r = nft_rows(b, a, ret, err);
    return r;
}

/* ---- which one ---- */

static const char *key(const json_t *keys, const char *name)
{
    return json_string_value(json_object_get(keys, name));
}

/* "input", "filter input", "inet filter input". */
static bool in_chain(const struct row *row, const char *chain)
{
    tw_auto_free char *full = tw_strf(" %s %s %s", row->family, row->table, row->chain);
    tw_auto_free char *asked = tw_strf(" %s", chain);

    return tw_ends_with(full, asked);
}

static bool has_words(const char *text, const char *words)
{
    tw_auto_free char *in = tw_strf(" %s ", text), *w = tw_strf(" %s ", words);

    return strstr(in, w) != NULL;
}

static bool names_port(const struct row *row, const char *port)
{
    tw_auto_free char *words = tw_strf("%sdport %s", row->xt ? "--" : "", port);

    return has_words(row->text, words);
}

static bool fits(struct tw_arena *a, const struct row *row, const json_t *keys)
{
    static const char *const xt_verdicts[] = {"accept", "ACCEPT", "drop", "DROP", "reject", "REJECT"};
    const char *rule = key(keys, "rule"), *handle = key(keys, "handle"), *verdict = key(keys, "verdict");
    const char *plain_rule = rule ? plain(a, rule) : NULL;

    if (key(keys, "chain") && !in_chain(row, key(keys, "chain")))
        return false;
    if (handle && (row->xt || row->handle != strtoll(handle, NULL, 10)))
        return false;
    if (rule && !tw_streq(row->text, plain_rule) &&
        !(tw_starts_with(plain_rule, "-A ") && tw_ends_with(plain_rule, row->text)))
        return false;
    if (key(keys, "port") && !names_port(row, key(keys, "port")))
        return false;
    if (key(keys, "source") && !has_words(row->text, key(keys, "source")))
        return false;
    if (key(keys, "protocol") && !has_words(row->text, key(keys, "protocol")))
        return false;
    for (size_t i = 0; verdict && i < TW_COUNT_OF(xt_verdicts); i += 2)
        if (tw_streq(verdict, xt_verdicts[i]))
            verdict = row->xt ? xt_verdicts[i + 1] : verdict;
    return !verdict || has_words(row->text, verdict);
}

static int find(struct tw_arena *a, const struct rows *rows, const json_t *keys, const struct row **ret,
                struct tw_err *err)
{
    const struct row *found = NULL;

    for (size_t i = 0; i < rows->list.count; i++) {
        const struct row *row = &rows->list.items[i];

        if (!fits(a, row, keys))
            continue;
        if (found)
            return tw_fail(err, -ENOENT,
                           "two rules are meant: '%s' in %s %s %s and '%s' in %s %s %s; say which by "
                           "chain, handle or the rule's text",
                           found->text, found->family, found->table, found->chain, row->text, row->family,
                           row->table, row->chain);
        found = row;
    }
    if (!found)
        return tw_fail(err, -ENOENT,
                       "no rule of the rule set is the one meant; its text is as nft -a list ruleset or "
                       "iptables-save shows it");
    *ret = found;
    return 0;
}

/* ---- commands ---- */

static const char *tool(const struct row *row)
{
    return row->v6 ? "ip6tables" : "iptables";
}

static const char *remove_command(struct tw_arena *a, const struct row *row)
{
    return row->xt ? tw_arena_printf(a, "%s -t %s -D %s %zu", tool(row), row->table, row->chain, row->index + 1)
                   : tw_arena_printf(a, "nft delete rule %s %s %s handle %lld", row->family, row->table,
                                     row->chain, (long long)row->handle);
}

/* At index `at` of a chain that has `count` rules. */
static const char *insert_command(struct tw_arena *a, const struct row *chain, size_t at, size_t count,
                                  const char *text)
{
    if (chain->xt)
        return tw_arena_printf(a, "%s -t %s -I %s %zu %s", tool(chain), chain->table, chain->chain,
                               (at < count ? at : count) + 1, text);
    if (at >= count)
        return tw_arena_printf(a, "nft add rule %s %s %s %s", chain->family, chain->table, chain->chain, text);
    return tw_arena_printf(a, "nft insert rule %s %s %s index %zu %s", chain->family, chain->table,
                           chain->chain, at, text);
}

static size_t count_in(const struct rows *rows, const struct row *chain)
{
    size_t n = 0;

    for (size_t i = 0; i < rows->list.count; i++) {
        const struct row *o = &rows->list.items[i];

        n += o->xt == chain->xt && o->v6 == chain->v6 && tw_streq(o->family, chain->family) &&
             tw_streq(o->table, chain->table) && tw_streq(o->chain, chain->chain);
    }
    return n;
}

static int do_all(struct tw_filter_box *b, struct tw_arena *a, struct tw_filter_commands *ret,
                  const char *const *commands, size_t n, struct tw_err *err)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        r = tw_filter_command(b, commands[i], err);
        if (r == 0)
            TW_PUSH(a, &ret->list, commands[i]);
    }
    return r;
}

static int edit_remove(struct tw_filter_box *b, struct tw_arena *a, const struct rows *rows,
                       const json_t *keys, struct tw_filter_commands *ret, struct tw_err *err)
{
    const struct row *row;
    int r = find(a, rows, keys, &row, err);

    return r < 0 ? r : do_all(b, a, ret, (const char *[]){remove_command(a, row)}, 1, err);
}

static int edit_replace(struct tw_filter_box *b, struct tw_arena *a, const struct rows *rows,
                        const json_t *keys, struct tw_filter_commands *ret, struct tw_err *err)
{
    const struct row *row;
    int r = find(a, rows, keys, &row, err);
    const char *with = key(keys, "with");

    if (r < 0)
        return r;
    return do_all(b, a, ret,
                  (const char *[]){row->xt ? tw_arena_printf(a, "%s -t %s -R %s %zu %s", tool(row), row->table,
                                                             row->chain, row->index + 1, with)
                                           : tw_arena_printf(a, "nft replace rule %s %s %s handle %lld %s",
                                                             row->family, row->table, row->chain,
                                                             (long long)row->handle, with)},
                  1, err);
}

/* Taken out first: places then count without it. */
static int edit_move(struct tw_filter_box *b, struct tw_arena *a, const struct rows *rows, const json_t *keys,
                     struct tw_filter_commands *ret, struct tw_err *err)
{
    const struct row *row, *before = NULL;
    const char *position = key(keys, "position");
    size_t at, count;
    int r = find(a, rows, keys, &row, err);

    if (r == 0 && key(keys, "before")) {
        json_auto_t *other = json_object();

        (void)json_object_set_new(other, "rule", json_string(key(keys, "before")));
        (void)json_object_set_new(other, "chain", json_string(tw_arena_printf(a, "%s %s %s", row->family,
                                                                             row->table, row->chain)));
        r = find(a, rows, other, &before, err);
    }
    if (r < 0)
        return r;
    at = before ? before->index - (before->index > row->index) : (size_t)strtoull(position, NULL, 10) - 1;
    count = count_in(rows, row) - 1;
    return do_all(b, a, ret,
                  (const char *[]){remove_command(a, row), insert_command(a, row, at, count, row->text)}, 2,
                  err);
}

/* A rule as text, at the top of its chain or where the position says. */
static int edit_add(struct tw_filter_box *b, struct tw_arena *a, const struct rows *rows, const json_t *keys,
                    struct tw_filter_commands *ret, struct tw_err *err)
{
    const char *chain = key(keys, "chain"), *position = key(keys, "position");
    const struct row *in = NULL;

    for (size_t i = 0; i < rows->list.count && !in; i++)
        if (in_chain(&rows->list.items[i], chain ? chain : rows->list.items[i].xt ? "INPUT" : "input"))
            in = &rows->list.items[i];
    if (!in)
        return tw_fail(err, -ENOENT, "there is no chain '%s' with rules in it: name family, table and chain",
                       chain ? chain : "input");
    return do_all(b, a, ret,
                  (const char *[]){insert_command(a, in,
                                                  position ? (size_t)strtoull(position, NULL, 10) - 1 : 0,
                                                  count_in(rows, in), key(keys, "rule"))},
                  1, err);
}

int tw_filter_edit(struct tw_filter_box *b, struct tw_arena *a, const char *action, const json_t *keys,
                   struct tw_filter_commands *ret, struct tw_err *err)
{
    static const struct {
        const char *name;
        int (*edit)(struct tw_filter_box *b, struct tw_arena *a, const struct rows *rows,
                    const json_t *keys, struct tw_filter_commands *ret, struct tw_err *err);
    } edits[] = {{"remove_rule", edit_remove},
                 {"replace_rule", edit_replace},
                 {"move_rule", edit_move},
                 {"add_rule", edit_add}};
    struct rows rows;
    int r = all_rows(b, a, &rows, err);

    for (size_t i = 0; i < TW_COUNT_OF(edits) && r == 0; i++)
        if (tw_streq(edits[i].name, action))
            return edits[i].edit(b, a, &rows, keys, ret, err);
    return r;
}
