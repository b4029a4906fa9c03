/* Lines of pg_hba.conf edited as rules: added, removed, replaced, moved. The first line that fits a
 * connection decides, so where a line stands is half of what it means. */
#include "change_internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 12

struct line {
    const char *text;              /* as it stands, without its end */
    const char *words[WORDS_MAX];  /* of a rule; none in comments and empty lines */
    size_t count;
    int number;                    /* from 1 */
};
struct lines {
    TW_ARRAY(struct line) list;
};

/* ---- reading ---- */

static void split(struct tw_arena *a, const char *text, struct line *ret)
{
    const char *at = text;

    while (ret->count < WORDS_MAX && *(at += strspn(at, " \t\r")) && *at != '#') {
        const char *from = at;

        for (bool quoted = false; *at && (quoted || !strchr(" \t\r#", *at)); at++)
            quoted ^= *at == '"';
        ret->words[ret->count++] = tw_arena_strndup(a, from, (size_t)(at - from));
    }
}

static void read_lines(struct tw_arena *a, const char *text, struct lines *ret)
{
    int number = 0;

    while (*text) {
        size_t n = strcspn(text, "\n");
        struct line l = {.text = tw_arena_strndup(a, text, n), .number = ++number};

        split(a, l.text, &l);
        TW_PUSH(a, &ret->list, l);
        text += n + (text[n] == '\n');
    }
}

static const char *write_lines(struct tw_arena *a, const struct lines *all)
{
    tw_auto_buf b = {0};

    tw_buf_init(&b, (size_t)16 << 20);
    for (size_t i = 0; i < all->list.count; i++)
        tw_buf_printf(&b, "%s\n", all->list.items[i].text);
    return tw_arena_strdup(a, tw_buf_text(&b));
}

static bool same_words(const struct line *x, const struct line *y)
{
    if (x->count != y->count || !x->count)
        return false;
    for (size_t i = 0; i < x->count; i++)
        if (strcmp(x->words[i], y->words[i]) != 0)
            return false;
    return true;
}

static void insert(struct tw_arena *a, struct lines *all, size_t at, struct line l)
{
    TW_PUSH(a, &all->list, l);
    memmove(&all->list.items[at + 1], &all->list.items[at],
            (all->list.count - 1 - at) * sizeof l);
    all->list.items[at] = l;
}

static void take_out(struct lines *all, size_t at)
{
    memmove(&all->list.items[at], &all->list.items[at + 1],
            (all->list.count - 1 - at) * sizeof *all->list.items);
    all->list.count--;
}

/* ---- what a rule is about ---- */

struct network {
    bool all, v6;
    unsigned char bytes[16];
    int bits;
};

static int mask_bits(const char *mask)
{
    unsigned char bytes[4];
    int bits = 0;

    if (inet_pton(AF_INET, mask, bytes) != 1)
        return 128;
    for (int i = 0; i < 32 && (bytes[i / 8] & (0x80 >> i % 8)); i++)
        bits++;
    return bits;
}

/* false: a name, samehost …: where it leads is not known here. */
static bool network_of(const char *address, const char *mask, struct network *ret)
{
    size_t n = strcspn(address, "/");
    tw_auto_free char *base = strndup(address, n);
    const char *slash = address[n] ? address + n + 1 : NULL;

    *ret = (struct network){.all = tw_streq(address, "all")};
    if (ret->all)
        return true;
    ret->v6 = strchr(base, ':') != NULL;
    if (inet_pton(ret->v6 ? AF_INET6 : AF_INET, base, ret->bytes) != 1)
        return false;
    ret->bits = slash ? atoi(slash) : mask ? mask_bits(mask) : ret->v6 ? 128 : 32;
    return true;
}

static bool networks_meet(const struct network *x, const struct network *y)
{
    int bits = x->bits < y->bits ? x->bits : y->bits;

    if (x->all || y->all)
        return true;
    if (x->v6 != y->v6)
        return false;
    for (int i = 0; i < bits; i++)
        if ((x->bytes[i / 8] ^ y->bytes[i / 8]) & (0x80 >> i % 8))
            return false;
    return true;
}

/* One of a list is also in the other, or may be: groups and patterns are not looked into. */
static bool lists_meet(const char *x, const char *y)
{
    tw_auto_free char *copy = strdup(x);
    char *rest = copy;

    for (char *one; rest && (one = strsep(&rest, ","));) {
        tw_auto_free char *in = tw_strf(",%s,", y), *what = tw_strf(",%s,", one);

        if (tw_streq(one, "all") || strpbrk(one, "+@/") || strpbrk(y, "+@/") || strstr(in, ",all,") ||
            strstr(in, what))
            return true;
    }
    return false;
}

static bool is_local(const struct line *l)
{
    return tw_streq(l->words[0], "local");
}

static bool has_mask(const struct line *l)
{
    return !is_local(l) && l->count > 5 && !strchr(l->words[3], '/') && strpbrk(l->words[3], ".:") &&
           strpbrk(l->words[4], ".:");
}

static const char *method_of(const struct line *l)
{
    size_t at = is_local(l) ? 3 : has_mask(l) ? 5 : 4;

    return at < l->count ? l->words[at] : "";
}

static bool types_meet(const char *x, const char *y)
{
    bool ssl = tw_streq(x, "hostssl") || tw_streq(y, "hostssl");
    bool plain = tw_streq(x, "hostnossl") || tw_streq(y, "hostnossl");

    return tw_streq(x, "local") == tw_streq(y, "local") && !(ssl && plain);
}

/* Is there a connection that both fit? What cannot be told counts as yes. */
static bool rules_meet(const struct line *x, const struct line *y)
{
    struct network from[2];

    if (x->count < 4 || y->count < 4 || !types_meet(x->words[0], y->words[0]) ||
        !lists_meet(x->words[1], y->words[1]) || !lists_meet(x->words[2], y->words[2]))
        return false;
    if (is_local(x))
        return true;
    return !network_of(x->words[3], has_mask(x) ? x->words[4] : NULL, &from[0]) ||
           !network_of(y->words[3], has_mask(y) ? y->words[4] : NULL, &from[1]) ||
           networks_meet(&from[0], &from[1]);
}

/* ---- finding the line ---- */

static bool is_rule(const struct line *l)
{
    static const char *const types[] = {"local",   "host",       "hostssl",
                                        "hostnossl", "hostgssenc", "hostnogssenc"};

    return l->count >= 4 && tw_name_index(l->words[0], types, TW_COUNT_OF(types)) >= 0;
}

static int find(struct tw_arena *a, const struct lines *all, const char *text, const char *number,
                const char *pointer, size_t *ret, struct tw_err *err)
{
    struct line wanted = {0};
    int64_t line = 0;

    if (number && tw_parse_int64(number, &line, NULL) < 0)
        return tw_fail_at(err, -EINVAL, pointer, "line '%s': expected the number of one", number);
    if (text)
        split(a, text, &wanted);
    for (size_t i = 0; i < all->list.count; i++) {
        const struct line *l = &all->list.items[i];

        if (text ? same_words(l, &wanted) : l->number == line && l->count) {
            *ret = i;
            return 0;
        }
    }
    return tw_fail_at(err, -EINVAL, pointer, "no rule '%s' in pg_hba.conf; rules stand there word by word",
                      text ? text : number ? number : "");
}

/* Before the n-th rule; behind the last one where there are fewer. */
static int at_position(const struct lines *all, const char *position, const char *pointer, size_t *ret,
                       struct tw_err *err)
{
    int64_t wanted, n = 0;

    if (tw_parse_int64(position, &wanted, NULL) < 0 || wanted < 1)
        return tw_fail_at(err, -EINVAL, pointer, "position '%s': expected 1, the first rule, or more",
                          position);
    *ret = all->list.count;
    for (size_t i = 0; i < all->list.count; i++)
        if (is_rule(&all->list.items[i]) && ++n == wanted) {
            *ret = i;
            return 0;
        }
    return 0;
}

/* Before the first that would decide otherwise for a connection that both fit. */
static size_t before_other(const struct lines *all, const struct line *rule)
{
    for (size_t i = 0; i < all->list.count; i++)
        if (is_rule(&all->list.items[i]) && rules_meet(&all->list.items[i], rule) &&
            !tw_streq(method_of(&all->list.items[i]), method_of(rule)))
            return i;
    return all->list.count;
}

/* ---- the actions ---- */

static int check_word(const char *key, const char *word, const char *const *words, size_t n,
                      const char *pointer, struct tw_err *err)
{
    const char *near;

    if (!word || tw_name_index(word, words, n) >= 0)
        return 0;
    near = tw_nearest(word, words, n);
    return tw_fail_at(err, -EINVAL, pointer, "%s '%s' is not known to pg_hba.conf; did you mean '%s'?", key,
                      word, near ? near : words[0]);
}

static int check_rule(const struct line *l, const char *pointer, struct tw_err *err)
{
    static const char *const methods[] = {"trust",  "reject", "scram-sha-256", "md5",    "password",
                                          "gss",    "sspi",   "ident",         "peer",   "pam",
                                          "ldap",   "radius", "cert",          "bsd"};
    struct network from;

    if (strpbrk(l->text, "\n\\"))
        return tw_fail_at(err, -EINVAL, pointer, "'%.80s': expected one line", l->text);
    if (!is_rule(l) || (!is_local(l) && l->count < 5))
        return tw_fail_at(err, -EINVAL, pointer,
                          "'%.80s' is no rule; expected TYPE DATABASE USER ADDRESS METHOD, as in "
                          "'hostssl shop app 10.0.0.0/8 scram-sha-256'",
                          l->text);
    if (!is_local(l) && strpbrk(l->words[3], "/") && !network_of(l->words[3], NULL, &from))
        return tw_fail_at(err, -EINVAL, pointer, "source '%s': expected a network, say 10.0.0.0/8",
                          l->words[3]);
    return check_word("method", method_of(l), methods, TW_COUNT_OF(methods), pointer, err);
}

static int new_rule(struct tw_arena *a, const struct change_hba_action *k, const char *text, struct line *ret,
                    struct tw_err *err)
{
    const char *type = k->type ? k->type : "host";

    *ret = (struct line){.text = text};
    if (!text)
        ret->text = tw_arena_printf(
            a, "%s %s %s%s%s %s%s%s", type, k->database ? k->database : "all", k->user ? k->user : "all",
            tw_streq(type, "local") ? "" : " ", tw_streq(type, "local") ? "" : k->source ? k->source : "all",
            k->method ? k->method : "scram-sha-256", k->options ? " " : "", k->options ? k->options : "");
    split(a, ret->text, ret);
    return check_rule(ret, k->pointer, err);
}

static const char *place_of(struct tw_arena *a, const struct lines *all, size_t at)
{
    for (size_t i = at + 1; i < all->list.count; i++)
        if (is_rule(&all->list.items[i]))
            return tw_arena_printf(a, "before '%s'", all->list.items[i].text);
    return "as the last rule";
}

static int add(struct tw_arena *a, struct lines *all, const struct change_hba_action *k, const char **told,
               struct tw_err *err)
{
    struct line rule;
    size_t at = 0;
    int rc = new_rule(a, k, k->rule, &rule, err);

    if (rc == 0 && k->position)
        rc = at_position(all, k->position, k->pointer, &at, err);
    else if (rc == 0 && k->before)
        rc = find(a, all, k->before, NULL, k->pointer, &at, err);
    else if (rc == 0)
        at = before_other(all, &rule);
    if (rc < 0)
        return rc;
    insert(a, all, at, rule);
    *told = tw_arena_printf(a, "added: %s, %s", rule.text, place_of(a, all, at));
    return 0;
}

static int change_one(struct tw_arena *a, struct lines *all, const struct change_hba_action *k,
                      const char **told, struct tw_err *err)
{
    struct line was;
    size_t at, to = 0;
    int rc = find(a, all, k->rule, k->line, k->pointer, &at, err);

    if (rc < 0)
        return rc;
    was = all->list.items[at];
    if (tw_streq(k->action, "remove_rule")) {
        take_out(all, at);
        *told = tw_arena_printf(a, "removed: line %d, %s", was.number, was.text);
        return 0;
    }
    if (tw_streq(k->action, "replace_rule")) {
        rc = k->with ? new_rule(a, k, k->with, &all->list.items[at], err)
                     : tw_fail_at(err, -EINVAL, k->pointer, "replace_rule needs the new rule as 'with'");
        *told = tw_arena_printf(a, "line %d, %s: now %s", was.number, was.text, k->with ? k->with : "");
        return rc;
    }
    take_out(all, at);
    rc = k->before     ? find(a, all, k->before, NULL, k->pointer, &to, err)
         : k->position ? at_position(all, k->position, k->pointer, &to, err)
                       : tw_fail_at(err, -EINVAL, k->pointer,
                                    "move_rule needs a place: 'before' (a rule) or 'position' (1 is first)");
    if (rc == 0)
        insert(a, all, to, was);
    if (rc == 0)
        *told = tw_arena_printf(a, "moved: %s, %s", was.text, place_of(a, all, to));
    return rc;
}

int change_hba_edit(struct tw_arena *a, const char *text, const struct change_hba_action *k,
                    const char **ret_text, const char **ret_told, struct tw_err *err)
{
    static const char *const actions[] = {"add_rule", "remove_rule", "replace_rule", "move_rule"};
    struct lines all = {0};
    int rc = check_word("action", k->action, actions, TW_COUNT_OF(actions), k->pointer, err);

    if (rc < 0)
        return rc;
    read_lines(a, text, &all);
    if (!tw_streq(k->action, "add_rule") && !k->rule && !k->line)
        return tw_fail_at(err, -EINVAL, k->pointer, "%s needs to know which rule: give 'rule' or 'line'",
                          k->action);
    rc = tw_streq(k->action, "add_rule") ? add(a, &all, k, ret_told, err)
                                         : change_one(a, &all, k, ret_told, err);
    if (rc == 0)
        *ret_text = write_lines(a, &all);
    return rc;
}
