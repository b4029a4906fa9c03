/* Readers for several threads, one writer for all: SQLite waits for the disk at every commit, so what
 * arrives meanwhile is committed together (570 commits a second here, thousands of works). */
#include "store_internal.h"

#include <pthread.h>
#include <stdlib.h>

#define MAX_TOGETHER 1000

struct work {
    struct work *next;
    tw_store_work_fn *fn;
    tw_store_done_fn *done;
    void *arg;
    int result;
    struct tw_err err;
};

struct tw_store_pool {
    char *state_dir;
    pthread_mutex_t lock; /* of all below but writer */
    pthread_cond_t arrived;
    struct tw_store *readers[16]; /* at rest */
    size_t reader_count;
    struct work *works, **end;
    bool closing, running;
    pthread_t thread;
    struct tw_store *writer; /* of the thread */
    struct tw_store_pool_counts counts;
};

/* ---- the writer ---- */

static struct work *take_works(struct tw_store_pool *p)
{
    struct work *first = p->works, *last = first;

    for (int n = 1; last && last->next && n < MAX_TOGETHER; n++)
        last = last->next;
    p->works = last ? last->next : NULL;
    if (!p->works)
        p->end = &p->works;
    if (last)
        last->next = NULL;
    return first;
}

/* Whole or not at all, whatever becomes of its neighbours. */
static void do_work(struct tw_store *s, struct work *w)
{
    w->result = store_exec(s, "SAVEPOINT work", "beginning a change", &w->err);
    if (w->result < 0)
        return;
    w->result = w->fn(w->arg, s, &w->err);
    if (w->result < 0)
        (void)sqlite3_exec(s->db, "ROLLBACK TO work", NULL, NULL, NULL);
    (void)sqlite3_exec(s->db, "RELEASE work", NULL, NULL, NULL);
}

static void do_works(struct tw_store_pool *p, struct work *works)
{
    struct tw_err err = {0};
    int r = tw_store_begin(p->writer, &err);

    for (struct work *w = works; w && r == 0; w = w->next)
        do_work(p->writer, w);
    if (r == 0)
        r = tw_store_commit(p->writer, &err);
    if (r < 0)
        tw_store_rollback(p->writer);
    for (struct work *w = works, *next; w; w = next) {
        next = w->next;
        if (r < 0 && w->result >= 0) {
            w->result = r;
            w->err = err;
        }
        p->counts.works++;
        p->counts.failed += w->result < 0;
        if (w->done)
            w->done(w->arg, w->result, &w->err);
        free(w);
    }
    p->counts.commits++;
}

static void *writer_main(void *arg)
{
    struct tw_store_pool *p = arg;
    struct work *works;

    for (;;) {
        (void)pthread_mutex_lock(&p->lock);
        while (!p->works && !p->closing)
            (void)pthread_cond_wait(&p->arrived, &p->lock);
        works = take_works(p);
        (void)pthread_mutex_unlock(&p->lock);
        if (!works)
            return NULL;
        do_works(p, works);
    }
}

void tw_store_pool_write(struct tw_store_pool *p, tw_store_work_fn *fn,
                         tw_store_done_fn *done, void *arg)
{
    struct work *w = tw_alloc(sizeof(*w));

    *w = (struct work){.fn = fn, .done = done, .arg = arg};
    (void)pthread_mutex_lock(&p->lock);
    *p->end = w;
    p->end = &w->next;
    (void)pthread_cond_signal(&p->arrived);
    (void)pthread_mutex_unlock(&p->lock);
}

/* ---- waiting for it ---- */

struct waiting {
    tw_store_work_fn *fn;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool over;
    int result;
    struct tw_err err;
};

static int waiting_work(void *arg, struct tw_store *s, struct tw_err *err)
{
    struct waiting *w = arg;

    return w->fn(w->arg, s, err);
}

static void waiting_done(void *arg, int result, const struct tw_err *err)
{
    struct waiting *w = arg;

    (void)pthread_mutex_lock(&w->lock);
    w->over = true;
    w->result = result;
    w->err = *err;
    (void)pthread_cond_signal(&w->done);
    (void)pthread_mutex_unlock(&w->lock);
}

int tw_store_pool_write_wait(struct tw_store_pool *p, tw_store_work_fn *fn, void *arg,
                             struct tw_err *err)
{
    struct waiting w = {.fn = fn,
                        .arg = arg,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .done = PTHREAD_COND_INITIALIZER};

    tw_store_pool_write(p, waiting_work, waiting_done, &w);
    (void)pthread_mutex_lock(&w.lock);
    while (!w.over)
        (void)pthread_cond_wait(&w.done, &w.lock);
    (void)pthread_mutex_unlock(&w.lock);
    if (w.result < 0 && err)
        *err = w.err;
    return w.result;
}

struct tw_store_pool_counts tw_store_pool_counts(struct tw_store_pool *p)
{
    return p->counts;
}

/* ---- readers ---- */

struct tw_store *tw_store_pool_take(struct tw_store_pool *p, struct tw_err *err)
{
    struct tw_store *s = NULL;

    (void)pthread_mutex_lock(&p->lock);
    if (p->reader_count)
        s = p->readers[--p->reader_count];
    (void)pthread_mutex_unlock(&p->lock);
    if (!s)
        (void)tw_store_open(p->state_dir, &s, err);
    return s;
}

void tw_store_pool_give(struct tw_store_pool *p, struct tw_store *s)
{
    if (!s)
        return;
    (void)pthread_mutex_lock(&p->lock);
    if (p->reader_count < TW_COUNT_OF(p->readers)) {
        p->readers[p->reader_count++] = s;
        s = NULL;
    }
    (void)pthread_mutex_unlock(&p->lock);
    tw_store_close(s);
}

/* ---- the pool ---- */

int tw_store_pool_open(const char *state_dir, struct tw_store_pool **ret,
                       struct tw_err *err)
{
    struct tw_store_pool *p = tw_alloc(sizeof *p);
    int r = tw_store_open(state_dir, &p->writer, err);

    p->state_dir = tw_strf("%s", state_dir);
    p->end = &p->works;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->arrived, NULL);
    if (r == 0) {
        r = -pthread_create(&p->thread, NULL, writer_main, p);
        if (r < 0)
            (void)tw_fail_errno(err, -r, "starting the writer of the store");
    }
    p->running = r == 0;
    if (r < 0) {
        tw_store_pool_close(p);
        return r;
    }
    *ret = p;
    return 0;
}

void tw_store_pool_close(struct tw_store_pool *p)
{
    if (!p)
        return;
    if (p->running) {
        (void)pthread_mutex_lock(&p->lock);
        p->closing = true;
        (void)pthread_cond_signal(&p->arrived);
        (void)pthread_mutex_unlock(&p->lock);
        (void)pthread_join(p->thread, NULL);
    }
    while (p->reader_count)
        tw_store_close(p->readers[--p->reader_count]);
    tw_store_close(p->writer);
    (void)pthread_cond_destroy(&p->arrived);
    (void)pthread_mutex_destroy(&p->lock);
    free(p->state_dir);
    free(p);
}
