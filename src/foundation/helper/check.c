/* What a packet must be before anything is done with it. Whoever sends it is taken for an enemy. */
#include "helper_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NUMBER = 1, WHAT = 2, ID = 4 };
static const struct verb_row {
    const char *name;
    size_t fds;
    unsigned has;
} rows[HELPER_VERB_COUNT] = {
    [HELPER_PING] = {"ping", 0, 0},
    [HELPER_WORK] = {"work", 2, NUMBER | WHAT | ID},
    [HELPER_STOP] = {"stop", 0, NUMBER},
    [HELPER_KILL] = {"kill", 0, NUMBER},
    [HELPER_HAND] = {"hand", 1, NUMBER},
};

/* Text, then nothing but NUL to the end. */
static bool is_padded(const char *field, size_t size)
{
    size_t len = strnlen(field, size);

    if (len == size)
        return false;
    for (size_t i = len; i < size; i++)
        if (field[i])
            return false;
    return true;
}

static bool is_among(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (tw_streq(word, *list))
            return true;
    return false;
}

static int check_fields(const struct helper_request *rq, const struct verb_row *row,
                        const char *const *verbs, struct tw_err *err)
{
    if (!is_padded(rq->what, sizeof(rq->what)) || !is_padded(rq->id, sizeof(rq->id)))
        return tw_fail(err, -EPROTO, "a text of '%s' is not filled up with NUL",
                       row->name);
    if (!(row->has & NUMBER) != !rq->number)
        return tw_fail(err, -EPROTO, "'%s' came %s a number", row->name,
                       rq->number ? "with" : "without");
    if (row->has & WHAT ? !is_among(rq->what, verbs) : rq->what[0] != '\0')
        return tw_fail(err, -EPROTO, "'%s' came with a verb of workers that there is not",
                       row->name);
    if (row->has & ID ? !tw_id_valid(rq->id) : rq->id[0] != '\0')
        return tw_fail(err, -EPROTO, "'%s' came with an id that is none", row->name);
    return 0;
}

int helper_check(const void *packet, size_t len, size_t fds, const char *const *verbs,
                 struct helper_request *ret, struct tw_err *err)
{
    struct helper_request rq;
    int r;

    if (len != sizeof(rq))
        return tw_fail(err, -EPROTO, "a packet of %zu bytes, where %zu were expected",
                       len, sizeof(rq));
    memcpy(&rq, packet, sizeof(rq));
    if (rq.magic != HELPER_MAGIC || rq.verb >= HELPER_VERB_COUNT || rq.zero)
        return tw_fail(err, -EPROTO, "a packet of another protocol");
    if (fds != rows[rq.verb].fds)
        return tw_fail(err, -EPROTO, "'%s' came with %zu descriptors, not %zu",
                       rows[rq.verb].name, fds, rows[rq.verb].fds);
    r = check_fields(&rq, &rows[rq.verb], verbs, err);
    if (r == 0)
        *ret = rq;
    return r;
}

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

int helper_check_input(int input, struct tw_err *err)
{
    struct stat st;
    int seals = fcntl(input, F_GET_SEALS);

    /* what is read must be what was sent: nobody may write to it any more */
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(input, &st) < 0 ||
        !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > HELPER_JOB_MAX)
        return tw_fail(err, -EPROTO, "a job that is not sealed memory of 1 to %lld bytes",
                       (long long)HELPER_JOB_MAX);
    return 0;
}

int helper_check_output(int output, struct tw_err *err)
{
    struct stat st;
    int flags = fcntl(output, F_GETFL);

    if (flags < 0 || (flags & O_ACCMODE) != O_WRONLY || fstat(output, &st) < 0 ||
        !S_ISFIFO(st.st_mode))
        return tw_fail(err, -EPROTO, "an output that is not the writing end of a pipe");
    return 0;
}
