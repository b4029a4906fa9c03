/* The audit chain: the code of an entry is keyed and covers the one before it, so that nothing can be
 * changed, left out or put in without the key, which lies outside the store. The newest code is also
 * written beside the key, so that a chain cut short is seen. */
#include "tw/gate.h"

#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_LEN 32
#define BATCH   5000

struct tw_audit {
    unsigned char key[KEY_LEN];
    char *head_path;
    pthread_mutex_t lock; /* of the head */
    int64_t head_seq, marked_seq;
    unsigned char head_mac[32];
};

/* ---- the key ---- */

static int read_key(const char *path, unsigned char key[KEY_LEN], struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    size_t len = 0;
    struct stat st;
    int r = tw_read_file(AT_FDCWD, path, 4096, &text, NULL, err);

    if (r < 0)
        return r;
    if (stat(path, &st) == 0 && (st.st_mode & 077))
        return tw_fail(
            err, -EPERM,
            "the audit key '%s' may be read by others; chmod 600 it, and have it "
            "replaced if somebody did",
            path);
    if (sodium_hex2bin(key, KEY_LEN, text, strlen(text), "\n", &len, NULL) != 0 ||
        len != KEY_LEN)
        return tw_fail(err, -EINVAL, "the audit key '%s' is not 64 hexadecimal digits",
                       path);
    return 0;
}

static int make_key(const char *path, unsigned char key[KEY_LEN], struct tw_err *err)
{
    char text[2 * KEY_LEN + 2];
    tw_auto_close int fd =
        open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return errno == EEXIST
                   ? read_key(path, key, err)
                   : tw_fail_errno(err, errno, "making the audit key '%s'", path);
    randombytes_buf(key, KEY_LEN);
    (void)sodium_bin2hex(text, sizeof(text), key, KEY_LEN);
    text[2 * KEY_LEN] = '\n';
    if (write(fd, text, 2 * KEY_LEN + 1) != 2 * KEY_LEN + 1 || fsync(fd) < 0)
        return tw_fail_errno(err, errno, "writing the audit key '%s'", path);
    return 0;
}

int tw_audit_open(const char *state_dir, const char *path, struct tw_audit **ret,
                  struct tw_err *err)
{
    tw_auto_free char *own = path ? NULL : tw_strf("%s/audit.key", state_dir);
    struct tw_audit *au = tw_alloc(sizeof *au);
    int r = sodium_init() < 0 ? tw_fail(err, -EIO, "libsodium could not be started") : 0;

    path = path ? path : own;
    au->head_path = tw_strf("%s.head", path);
    (void)pthread_mutex_init(&au->lock, NULL);
    if (r == 0)
        r = tw_make_dirs(state_dir, 0700, err);
    if (r == 0 && access(path, F_OK) == 0)
        r = read_key(path, au->key, err);
    else if (r == 0)
        r = make_key(path, au->key, err);
    if (r < 0) {
        tw_audit_close(au);
        return r;
    }
    *ret = au;
    return 0;
}

void tw_audit_close(struct tw_audit *au)
{
    if (!au)
        return;
    sodium_memzero(au->key, sizeof(au->key));
    (void)pthread_mutex_destroy(&au->lock);
    free(au->head_path);
    free(au);
}

/* ---- the chain ---- */

/* Every part with its length before it: no two entries give the same bytes. */
static void add_part(crypto_generichash_state *state, const void *data, size_t len)
{
    unsigned char size[8];

    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)((uint64_t)len >> (8 * i));
    (void)crypto_generichash_update(state, size, sizeof(size));
    (void)crypto_generichash_update(state, data, len);
}

static void compute(const struct tw_audit *au, const unsigned char previous[32],
                    const struct tw_store_audit *e, unsigned char ret_mac[32])
{
    const char *texts[] = {e->actor,  e->action, e->object,
                           e->result, e->source, e->detail};
    int64_t numbers[] = {e->seq, e->at_wall_ns};
    crypto_generichash_state state;

    (void)crypto_generichash_init(&state, au->key, KEY_LEN, 32);
    add_part(&state, previous, 32);
    for (size_t i = 0; i < TW_COUNT_OF(numbers); i++) {
        tw_auto_free char *text = tw_strf("%lld", (long long)numbers[i]);

        add_part(&state, text, strlen(text));
    }
    for (size_t i = 0; i < TW_COUNT_OF(texts); i++)
        add_part(&state, texts[i], strlen(texts[i]));
    (void)crypto_generichash_final(&state, ret_mac, 32);
}

static void remember_head(struct tw_audit *au, const struct tw_store_audit *e)
{
    (void)pthread_mutex_lock(&au->lock);
    au->head_seq = e->seq;
    memcpy(au->head_mac, e->mac, 32);
    (void)pthread_mutex_unlock(&au->lock);
}

int tw_audit_add(struct tw_audit *au, struct tw_store *s, const struct tw_actor *actor,
                 const struct tw_audit_entry *e, struct tw_err *err)
{
    tw_auto(tw_arena) *a = tw_arena_new();
    struct tw_store_audit last, entry;
    int r = tw_store_audit_last(s, a, &last, err);

    if (r < 0)
        return r;
    entry = (struct tw_store_audit){.seq = last.seq + 1,
                                    .at_wall_ns = tw_wall_ns(),
                                    .actor = actor->person ? actor->person : "anonymous",
                                    .action = e->action,
                                    .object = e->object ? e->object : "",
                                    .result = e->result,
                                    .source = actor->source ? actor->source : "",
                                    .detail = e->detail ? e->detail : "{}"};
    compute(au, last.mac, &entry, entry.mac);
    r = tw_store_audit_add(s, &entry, err);
    if (r == 0)
        remember_head(au, &entry);
    return r;
}

/* What root's command line writes is the daemon's as well, whose the key is. */
static void give_away(const struct tw_audit *au)
{
    tw_auto_free char *key =
        strndup(au->head_path, strlen(au->head_path) - strlen(".head"));
    struct stat st;

    if (geteuid() == 0 && lstat(key, &st) == 0 && st.st_uid != 0)
        (void)!lchown(au->head_path, st.st_uid, st.st_gid);
}

int tw_audit_mark(struct tw_audit *au, struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    char hex[65];
    int64_t seq;
    int r;

    (void)pthread_mutex_lock(&au->lock);
    seq = au->head_seq;
    (void)sodium_bin2hex(hex, sizeof(hex), au->head_mac, 32);
    (void)pthread_mutex_unlock(&au->lock);
    if (seq == 0 || seq == au->marked_seq)
        return 0;
    text = tw_strf("%lld %s\n", (long long)seq, hex);
    r = tw_write_file(au->head_path, text, strlen(text), 0600, err);
    if (r == 0) {
        give_away(au);
        au->marked_seq = seq;
    }
    return r;
}

/* ---- verifying ---- */

struct head {
    int64_t seq; /* 0: none written */
    unsigned char mac[32];
};

static int read_head(const struct tw_audit *au, struct head *ret, struct tw_err *err)
{
    tw_auto_free char *text = NULL;
    char *end;
    size_t len = 0;
    int r = tw_read_file(AT_FDCWD, au->head_path, 4096, &text, NULL, err);

    *ret = (struct head){0};
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    ret->seq = strtoll(text, &end, 10);
    if (*end != ' ' ||
        sodium_hex2bin(ret->mac, 32, end + 1, strlen(end + 1), "\n", &len, NULL) != 0 ||
        len != 32)
        return tw_fail(err, -EINVAL, "'%s' is not the head of an audit chain",
                       au->head_path);
    return 0;
}

static int found(struct tw_audit_state *state, int64_t seq, const char *what,
                 struct tw_err *err)
{
    state->bad_seq = seq;
    state->what = what;
    return tw_fail(err, -EBADMSG, "the audit chain does not hold at entry %lld: %s",
                   (long long)seq, what);
}

static int verify_entry(struct tw_audit *au, const struct head *head,
                        const struct tw_store_audit *e, unsigned char previous[32],
                        struct tw_audit_state *state, struct tw_err *err)
{
    unsigned char mac[32];

    if (e->seq != state->last_seq + 1)
        return found(state, state->last_seq + 1, "entries are missing", err);
    compute(au, previous, e, mac);
    if (sodium_memcmp(mac, e->mac, 32) != 0)
        return found(state, e->seq, "the entry, or the one before it, was changed", err);
    if (e->seq == head->seq && sodium_memcmp(head->mac, e->mac, 32) != 0)
        return found(state, e->seq, "it is not the entry that was noted beside the key",
                     err);
    memcpy(previous, e->mac, 32);
    state->last_seq = e->seq;
    state->entries++;
    return 0;
}

int tw_audit_verify(struct tw_audit *au, struct tw_store *s, struct tw_arena *a,
                    struct tw_audit_state *ret, struct tw_err *err)
{
    struct tw_store_audits page = {0};
    unsigned char previous[32] = {0};
    struct head head;
    int r = read_head(au, &head, err);

    *ret = (struct tw_audit_state){.first_seq = 1};
    do {
        tw_auto(tw_arena) *own = tw_arena_new();

        if (r == 0)
            r = tw_store_audit_list(s, own, ret->last_seq, 0, BATCH, &page, err);
        for (size_t i = 0; i < page.list.count && r == 0; i++)
            r = verify_entry(au, &head, &page.list.items[i], previous, ret, err);
    } while (r == 0 && page.list.count);
    (void)a;
    if (r == 0 && head.seq > ret->last_seq)
        return found(ret, ret->last_seq + 1,
                     "the end is missing: a later entry was noted beside the key", err);
    if (r == 0 && head.seq == 0 && ret->entries)
        ret->what =
            "the head beside the key is missing: a chain cut short would not be seen";
    return r;
}

json_t *tw_audit_to_json(struct tw_arena *a, const struct tw_store_audit *e)
{
    json_t *detail = json_loads(e->detail, JSON_DECODE_ANY, NULL);
    char mac[65];

    (void)sodium_bin2hex(mac, sizeof(mac), e->mac, 32);
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s}", "seq",
                     (json_int_t)e->seq, "at", tw_iso_time(a, e->at_wall_ns), "actor",
                     e->actor, "action", e->action, "object", e->object, "result",
                     e->result, "source", e->source, "detail",
                     detail ? detail : json_null(), "mac", mac);
}
