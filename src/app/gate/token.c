/* Bearer tokens: 256 random bits shown once, kept as a hash; and the patience with those who guess. */
#include "tw/gate.h"

#include <math.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX     "twn_"
#define ID_LEN     10
#define SECRET_LEN 43 /* 32 bytes in base64 without padding */
#define MAX_DAYS   3660.0
#define DAY_NS     (86400 * (double)TW_SEC_NS)

static void hash_secret(const char *secret, unsigned char ret_hash[32])
{
    (void)crypto_generichash(ret_hash, 32, (const unsigned char *)secret, strlen(secret),
                             NULL, 0);
}

/* Ids stand in logs and commands; they are no secret. */
static const char *make_id(struct tw_arena *a)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    char *id = tw_arena_alloc(a, ID_LEN + 1);

    for (int i = 0; i < ID_LEN; i++)
        id[i] = digits[randombytes_uniform(32)];
    return id;
}

static int check_wish(const struct tw_token_wish *w, struct tw_err *err)
{
    unsigned roles;

    if (!w->person || !*w->person || strlen(w->person) > 128)
        return tw_fail_at(err, -EINVAL, "/person",
                          "a token belongs to a person: name it");
    if (tw_streq(w->person, "anonymous"))
        return tw_fail_at(err, -EINVAL, "/person",
                          "'anonymous' stands for requests without a token");
    if (!(w->days > 0 && w->days <= MAX_DAYS))
        return tw_fail_at(err, -EINVAL, "/days",
                          "a token expires after more than 0 and up to 3660 days");
    if (tw_gate_roles_parse(w->roles ? w->roles : "", &roles, err) < 0) {
        if (err)
            memcpy(err->pointer, "/roles", sizeof("/roles"));
        return -EINVAL;
    }
    if (w->automaton && (roles & (1u << TW_APPROVER)))
        return tw_fail_at(err, -EINVAL, "/roles",
                          "the token of an automaton never approves; leave out the role "
                          "'approver'");
    return 0;
}

int tw_gate_token_make(struct tw_store *s, struct tw_arena *a,
                       const struct tw_token_wish *w, const char **ret_secret,
                       struct tw_store_token *ret, struct tw_err *err)
{
    unsigned char random[32];
    char text[SECRET_LEN + 1];
    int64_t now = tw_wall_ns();
    struct tw_store_token t = {.person = w->person,
                               .roles = w->roles,
                               .environments = w->environments,
                               .types = w->types,
                               .note = w->note,
                               .automaton = w->automaton,
                               .created_by = w->created_by,
                               .created_wall_ns = now,
                               .expires_wall_ns = now + (int64_t)(w->days * DAY_NS)};
    const char *secret;
    int r = sodium_init() < 0 ? tw_fail(err, -EIO, "libsodium could not be started")
                              : check_wish(w, err);

    if (r < 0)
        return r;
    randombytes_buf(random, sizeof(random));
    (void)sodium_bin2base64(text, sizeof(text), random, sizeof(random),
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    t.id = make_id(a);
    secret = tw_arena_printf(a, PREFIX "%s_%s", t.id, text);
    hash_secret(secret, t.hash);
    sodium_memzero(random, sizeof(random));
    sodium_memzero(text, sizeof(text));
    r = tw_store_token_put(s, &t, err);
    if (r < 0)
        return r;
    *ret_secret = secret;
    *ret = t;
    return 0;
}

/* The id inside a secret of the right form, or NULL. */
static const char *id_of(struct tw_arena *a, const char *secret)
{
    const char *id = secret + strlen(PREFIX);

    if (!tw_starts_with(secret, PREFIX) ||
        strlen(secret) != strlen(PREFIX) + ID_LEN + 1 + SECRET_LEN || id[ID_LEN] != '_')
        return NULL;
    return tw_arena_strndup(a, id, ID_LEN);
}

int tw_gate_token_check(struct tw_store *s, struct tw_arena *a, const char *secret,
                        struct tw_actor *ret, struct tw_err *err)
{
    const char *id = id_of(a, secret);
    struct tw_store_token t = {0};
    unsigned char hash[32];
    unsigned roles = 0;
    int64_t now = tw_wall_ns();

    hash_secret(secret, hash);
    if (!id || tw_store_token_get(s, a, id, &t, NULL) < 0 ||
        sodium_memcmp(hash, t.hash, 32) != 0)
        return tw_fail(err, -EACCES, "the token is not known here");
    if (t.revoked_wall_ns)
        return tw_fail(err, -EACCES, "the token '%s' of '%s' was revoked on %s", id,
                       t.person, tw_iso_time(a, t.revoked_wall_ns));
    if (now >= t.expires_wall_ns)
        return tw_fail(err, -EACCES, "the token '%s' of '%s' expired on %s", id, t.person,
                       tw_iso_time(a, t.expires_wall_ns));
    if (tw_gate_roles_parse(t.roles, &roles, err) < 0)
        return -EACCES;
    *ret = (struct tw_actor){.person = t.person,
                             .token = t.id,
                             .roles = roles,
                             .environments = t.environments,
                             .types = t.types,
                             .automaton = t.automaton};
    return 0;
}

int tw_gate_token_revoke(struct tw_store *s, struct tw_arena *a, const char *id,
                         struct tw_err *err)
{
    struct tw_store_token t;
    int r = tw_store_token_get(s, a, id, &t, err);

    if (r < 0)
        return r;
    if (t.revoked_wall_ns)
        return tw_fail(err, -EALREADY, "the token '%s' was revoked on %s", id,
                       tw_iso_time(a, t.revoked_wall_ns));
    t.revoked_wall_ns = tw_wall_ns();
    return tw_store_token_put(s, &t, err);
}

/* ---- lock-out ---- */

#define SOURCES  1024 /* remembered; the one that failed longest ago makes room */
#define FAILURES 10
#define WINDOW   (60 * TW_SEC_NS)

struct source {
    unsigned char address[16];
    int failures;
    int64_t since_ns, last_ns;
};
struct tw_lockout {
    pthread_mutex_t lock;
    struct source sources[SOURCES];
};

struct tw_lockout *tw_lockout_new(void)
{
    struct tw_lockout *l = tw_alloc(sizeof *l);

    (void)pthread_mutex_init(&l->lock, NULL);
    return l;
}

void tw_lockout_free(struct tw_lockout *l)
{
    if (!l)
        return;
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

static struct source *find_source(struct tw_lockout *l, const unsigned char address[16])
{
    for (size_t i = 0; i < SOURCES; i++)
        if (l->sources[i].failures && memcmp(l->sources[i].address, address, 16) == 0)
            return &l->sources[i];
    return NULL;
}

static struct source *oldest_source(struct tw_lockout *l)
{
    struct source *oldest = &l->sources[0];

    for (size_t i = 1; i < SOURCES; i++)
        if (l->sources[i].last_ns < oldest->last_ns)
            oldest = &l->sources[i];
    return oldest;
}

int tw_lockout_left_s(struct tw_lockout *l, const unsigned char address[16])
{
    const struct source *s;
    int64_t left = 0;

    (void)pthread_mutex_lock(&l->lock);
    s = find_source(l, address);
    if (s && s->failures >= FAILURES)
        left = s->last_ns + WINDOW - tw_now_ns();
    (void)pthread_mutex_unlock(&l->lock);
    return left > 0 ? (int)ceil(tw_seconds(left)) : 0;
}

void tw_lockout_failed(struct tw_lockout *l, const unsigned char address[16])
{
    int64_t now = tw_now_ns();
    struct source *s;

    (void)pthread_mutex_lock(&l->lock);
    s = find_source(l, address);
    if (!s || now - s->since_ns > WINDOW) {
        s = s ? s : oldest_source(l);
        *s = (struct source){.since_ns = now};
        memcpy(s->address, address, 16);
    }
    s->failures++;
    s->last_ns = now;
    (void)pthread_mutex_unlock(&l->lock);
}
