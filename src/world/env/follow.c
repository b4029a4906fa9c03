/* Changes at targets as they happen. This thread has the files and the kernel's rule sets; what answers by
 * itself has threads of its own (follow_live.c). What is told is put together for a moment: one save of an
 * editor is several events. */
#include "env_internal.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TOGETHER_NS (300 * TW_MSEC_NS) /* events of one change */
#define ROUND_MS    200
#define DECLARED_S  2.0             /* how often declarations are asked for */
#define KNOWN_S     60.0            /* files may be included that were not */
#define KNOWN_SOON  (3 * TW_SEC_NS) /* after a change, once its snapshot is taken */
#define METRICS_S   60.0

struct follow {
    const struct tw_follow_options *o;
    pthread_mutex_t lock; /* of the callbacks, and of what one is touched by */
    pthread_cond_t wake;
    bool ended;             /* of this round, under lock */
    struct tw_arena *arena; /* of this round */
    TW_ARRAY(struct followed) list;
    struct env_files *files;
    int rules; /* descriptor; -1: none */
    int64_t stamp[6];
};

/* ---- for the threads ---- */

void env_follow_touched(struct followed *one, const char *what)
{
    (void)pthread_mutex_lock(&one->f->lock);
    if (!one->touched_ns) {
        one->touched_ns = tw_now_ns();
        free(one->what);
        one->what = strdup(what);
    }
    (void)pthread_mutex_unlock(&one->f->lock);
}

void env_follow_metric(struct followed *one, const char *name, double value)
{
    (void)pthread_mutex_lock(&one->f->lock);
    one->f->o->metric(one->f->o->arg, &one->t, name, value);
    (void)pthread_mutex_unlock(&one->f->lock);
}

void env_follow_state(struct followed *one, const char *problem)
{
    (void)pthread_mutex_lock(&one->f->lock);
    one->f->o->state(one->f->o->arg, &one->t, problem);
    (void)pthread_mutex_unlock(&one->f->lock);
}

double env_follow_metrics_s(const struct followed *one)
{
    return one->f->o->metrics_s > 0 ? one->f->o->metrics_s : METRICS_S;
}

bool env_follow_ended(struct followed *one)
{
    bool ended;

    (void)pthread_mutex_lock(&one->f->lock);
    ended = one->f->ended;
    (void)pthread_mutex_unlock(&one->f->lock);
    return ended;
}

bool env_follow_wait(struct followed *one, double seconds)
{
    int64_t until = tw_wall_ns() + (int64_t)(seconds * (double)TW_SEC_NS);
    struct timespec at = {(time_t)(until / TW_SEC_NS), (long)(until % TW_SEC_NS)};
    bool ended;
    int r = 0;

    (void)pthread_mutex_lock(&one->f->lock);
    while (!one->f->ended && r == 0)
        r = pthread_cond_timedwait(&one->f->wake, &one->f->lock, &at);
    ended = one->f->ended;
    (void)pthread_mutex_unlock(&one->f->lock);
    return !ended;
}

/* ---- a round: the targets as they are declared now ---- */

static void stamp_of(const char *state_dir, int64_t ret[6])
{
    static const char *const names[] = {"declared.json", "environments.json"};

    for (size_t i = 0; i < TW_COUNT_OF(names); i++) {
        tw_auto_free char *path = tw_strf("%s/%s", state_dir, names[i]);
        struct stat st = {0};

        (void)stat(path, &st);
        ret[3 * i] = (int64_t)st.st_ino;
        ret[3 * i + 1] = (int64_t)st.st_mtim.tv_sec * TW_SEC_NS + st.st_mtim.tv_nsec;
        ret[3 * i + 2] = (int64_t)st.st_size;
    }
}

/* What the declaration itself names, for targets nothing is stored of and files that are not there yet. */
static void add_declared(struct tw_arena *a, struct followed *one)
{
    static const char *const of_cluster[] = {"postgresql.conf", "postgresql.auto.conf",
                                             "pg_hba.conf", "pg_ident.conf"};
    const char *own[] = {one->t.config, one->t.file};

    for (size_t i = 0; i < TW_COUNT_OF(own); i++)
        if (own[i])
            TW_PUSH(a, &one->known.paths, own[i]);
    for (size_t i = 0; one->t.data_dir && i < TW_COUNT_OF(of_cluster); i++)
        TW_PUSH(a, &one->known.paths,
                tw_arena_printf(a, "%s/%s", one->t.data_dir, of_cluster[i]));
}

static void ask_known(struct follow *f, struct followed *one)
{
    one->known = (struct tw_follow_known){0};
    one->arena = tw_arena_new();
    f->o->known(f->o->arg, one->arena, &one->t, &one->known);
    add_declared(one->arena, one);
    one->ask_known_ns = tw_now_ns() + (int64_t)(KNOWN_S * (double)TW_SEC_NS);
}

static bool is_live_rules(const struct followed *one)
{
    return one->kind && tw_streq(one->kind->name, "firewall") && !one->t.file;
}

/* Whether a change would be seen at all is said of each. */
static void watch_one(struct follow *f, struct followed *one, bool say)
{
    struct tw_err why = {0};
    int r = env_files_add(f->files, one, &why);

    if (is_live_rules(one)) {
        if (f->rules < 0) {
            f->rules = env_rules_open();
            r = f->rules < 0
                    ? tw_fail_errno(&why, -f->rules, "the kernel's monitor of rule sets")
                    : 0;
        } else {
            r = 0;
        }
    }
    if (say)
        env_follow_state(one, r < 0 && !one->has_thread ? why.text : NULL);
}

static void start_thread(struct followed *one)
{
    void *(*body)(void *) = one->kind && one->kind->pulse ? env_follow_pulse
                            : !one->kind                  ? env_follow_engine
                                                          : NULL;

    if (body)
        one->has_thread = pthread_create(&one->thread, NULL, body, one) == 0;
}

static void watch_all(struct follow *f, bool say)
{
    env_files_free(f->files);
    f->files = env_files_new();
    for (size_t i = 0; i < f->list.count; i++)
        watch_one(f, &f->list.items[i], say);
}

static int begin_round(struct follow *f, struct tw_err *err)
{
    struct tw_env_list all = {0};
    int r;

    stamp_of(f->o->state_dir, f->stamp);
    f->arena = tw_arena_new();
    f->ended = false;
    r = tw_env_load(f->arena, f->o->state_dir, &all, err);
    for (size_t i = 0; i < all.targets.count; i++)
        TW_PUSH(f->arena, &f->list,
                (struct followed){
                    .f = f,
                    .t = all.targets.items[i],
                    .kind = tw_service_kind_find(all.targets.items[i].type, NULL)});
    /* from here on nobody moves: threads hold pointers to them */
    for (size_t i = 0; i < f->list.count; i++) {
        struct followed *one = &f->list.items[i];

        ask_known(f, one);
        start_thread(one);
        env_follow_touched(one, one->known.stored ? "from now on it is followed"
                                                  : "nothing is stored of it yet");
    }
    watch_all(f, true);
    return r;
}

static void end_round(struct follow *f)
{
    (void)pthread_mutex_lock(&f->lock);
    f->ended = true;
    (void)pthread_cond_broadcast(&f->wake);
    (void)pthread_mutex_unlock(&f->lock);
    for (size_t i = 0; i < f->list.count; i++) {
        if (f->list.items[i].has_thread)
            (void)pthread_join(f->list.items[i].thread, NULL);
        free(f->list.items[i].what);
        tw_arena_free(f->list.items[i].arena);
    }
    f->list.items = NULL;
    f->list.count = 0;
    env_files_free(f->files);
    f->files = NULL;
    tw_close_p(&f->rules);
    f->rules = -1;
    tw_arena_free(f->arena);
    f->arena = NULL;
}

/* ---- turns ---- */

static void tell_touched(struct follow *f, struct followed *one, int64_t now)
{
    tw_auto_free char *what = NULL;

    (void)pthread_mutex_lock(&f->lock);
    if (one->touched_ns && now - one->touched_ns >= TOGETHER_NS) {
        what = tw_take_ptr(&one->what);
        one->touched_ns = 0;
        one->ask_known_ns = now + KNOWN_SOON;
    }
    (void)pthread_mutex_unlock(&f->lock);
    if (!what)
        return;
    (void)pthread_mutex_lock(&f->lock);
    f->o->touched(f->o->arg, &one->t, what);
    (void)pthread_mutex_unlock(&f->lock);
}

/* true: other files than before. */
static bool renew_known(struct follow *f, struct followed *one)
{
    struct tw_follow_known before = one->known;
    struct tw_arena *old = one->arena;
    bool same;

    ask_known(f, one);
    same = before.paths.count == one->known.paths.count;
    for (size_t i = 0; i < before.paths.count && same; i++)
        same = tw_streq(before.paths.items[i], one->known.paths.items[i]);
    tw_arena_free(old);
    return !same;
}

static void turn(struct follow *f)
{
    struct pollfd fds[2] = {{.fd = env_files_fd(f->files), .events = POLLIN},
                            {.fd = f->rules, .events = POLLIN}};
    bool anew = false;
    int64_t now;

    (void)poll(fds, 2, ROUND_MS);
    anew = env_files_read(f->files);
    now = tw_now_ns();
    if (f->rules >= 0 && env_rules_read(f->rules))
        for (size_t i = 0; i < f->list.count; i++)
            if (is_live_rules(&f->list.items[i]))
                env_follow_touched(&f->list.items[i], "the kernel's rule set");
    for (size_t i = 0; i < f->list.count; i++) {
        struct followed *one = &f->list.items[i];

        tell_touched(f, one, now);
        if (now >= one->ask_known_ns)
            anew |= renew_known(f, one);
    }
    if (anew)
        watch_all(f, false);
    /* at most five turns a second, whatever happens in those directories */
    tw_sleep_ns(ROUND_MS / 2 * TW_MSEC_NS);
}

static bool declared_anew(const struct follow *f)
{
    int64_t stamp[6];

    stamp_of(f->o->state_dir, stamp);
    return memcmp(stamp, f->stamp, sizeof(stamp)) != 0;
}

int tw_env_follow(const struct tw_follow_options *options, struct tw_err *err)
{
    struct follow f = {.o = options, .rules = -1};
    int r = 0;

    (void)pthread_mutex_init(&f.lock, NULL);
    (void)pthread_cond_init(&f.wake, NULL);
    while (r == 0 && !*options->cancel) {
        int64_t asked = tw_now_ns();

        r = begin_round(&f, err);
        while (r == 0 && !*options->cancel) {
            turn(&f);
            if (tw_seconds(tw_now_ns() - asked) < DECLARED_S)
                continue;
            asked = tw_now_ns();
            if (declared_anew(&f))
                break;
        }
        if (*options->cancel)
            return 0; /* a request of the Engine's is not waited for */
        end_round(&f);
    }
    (void)pthread_cond_destroy(&f.wake);
    (void)pthread_mutex_destroy(&f.lock);
    return r;
}
