/* Connections with a deadline, made under the uid that peer authentication wants. */
#include "pg_internal.h"

#include <stdlib.h>

#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The thread's own effective uid: glibc's seteuid() would change every thread of the
 * process, and other threads are at work under root meanwhile. */
static int become(unsigned uid)
{
    return (int)syscall(SYS_setresuid, -1, uid, -1);
}

static int wait_for(PGconn *conn, PostgresPollingStatusType want, int64_t deadline_ns)
{
    struct pollfd p = {.fd = PQsocket(conn),
                       .events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT};
    int64_t left = deadline_ns - tw_now_ns();
    int r;

    if (left <= 0)
        return -ETIMEDOUT;
    r = poll(&p, 1, (int)(left / TW_MSEC_NS) + 1);
    if (r < 0)
        return errno == EINTR ? 0 : -errno;
    return r == 0 ? -ETIMEDOUT : 0;
}

static int finish_connecting(PGconn *conn, int64_t deadline_ns)
{
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    int r;

    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED)
            return -ECONNREFUSED;
        r = wait_for(conn, state, deadline_ns);
        if (r < 0)
            return r;
        state = PQconnectPoll(conn);
    }
    return 0;
}

/* libpq tells a refused login only in words; the server's own come after "FATAL:". */
static int why_refused(PGconn *conn)
{
    const char *text = PQerrorMessage(conn);
    static const char *const login[] = {"authentication failed", "pg_hba.conf", "role \"",
                                        "password", "permission denied"};

    for (size_t i = 0; i < TW_COUNT_OF(login); i++)
        if (strstr(text, login[i]))
            return -EACCES;
    return -ECONNREFUSED;
}

static const char *one_line(char *text)
{
    size_t n = strlen(text);

    while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
        text[--n] = '\0';
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\t')
            *c = ' ';
    return text;
}

static void no_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

int tw_pg_open(const char *conninfo, unsigned as_uid, int64_t deadline_ns,
               struct tw_pg **ret, struct tw_err *err)
{
    struct tw_pg *pg = tw_alloc(sizeof(*pg));
    bool switched = as_uid != (unsigned)-1 && as_uid != geteuid();
    unsigned self = geteuid();
    int r;

    if (switched && become(as_uid) < 0) {
        r = tw_fail_errno(err, errno, "becoming uid %u to connect as it", as_uid);
        free(pg);
        return r;
    }
    pg->conn = PQconnectStart(conninfo);
    r = pg->conn && PQstatus(pg->conn) != CONNECTION_BAD
            ? finish_connecting(pg->conn, deadline_ns)
            : -ECONNREFUSED;
    if (switched && become(self) < 0) {
        /* Going on under a foreign uid would write files nobody finds again. */
        tw_log(TW_LOG_ERROR, "cannot take the own uid back after connecting");
        abort();
    }
    if (r < 0) {
        tw_auto_free char *text =
            strdup(pg->conn ? PQerrorMessage(pg->conn) : "no memory");

        if (r == -ECONNREFUSED && pg->conn)
            r = why_refused(pg->conn);
        tw_fail(err, r, "%s",
                r == -ETIMEDOUT ? "the server did not answer in time" : one_line(text));
        tw_pg_close(pg);
        return r;
    }
    (void)PQsetNoticeProcessor(pg->conn, no_notice, NULL);
    *ret = pg;
    return 0;
}

void tw_pg_close(struct tw_pg *pg)
{
    if (!pg)
        return;
    PQfinish(pg->conn);
    free(pg);
}

PGconn *tw_pg_raw(struct tw_pg *pg)
{
    return pg->conn;
}

int tw_pg_version(struct tw_pg *pg)
{
    return PQserverVersion(pg->conn);
}

const char *tw_pg_sqlstate(const struct tw_pg *pg)
{
    return pg->sqlstate;
}

void tw_pg_cost(const struct tw_pg *pg, int *ret_statements, int64_t *ret_bytes)
{
    *ret_statements = pg->statements;
    *ret_bytes = pg->bytes;
}

/* The conninfo without its password, which goes to ret_password (NULL: none): for
 * programs whose command line everyone can read. */
int tw_pg_split_password(struct tw_arena *a, const char *conninfo,
                         const char **ret_conninfo, const char **ret_password,
                         struct tw_err *err)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &why);
    tw_auto_buf out = {0};

    if (!options) {
        tw_auto_free char *text = strdup(why ? why : "not a connection string");

        PQfreemem(why);
        return tw_fail(err, -EINVAL, "connection string: %s", one_line(text));
    }
    tw_buf_init(&out, 64 * 1024);
    *ret_password = NULL;
    for (PQconninfoOption *o = options; o->keyword; o++) {
        if (!o->val || !*o->val)
            continue;
        if (tw_streq(o->keyword, "password")) {
            *ret_password = tw_arena_strdup(a, o->val);
            continue;
        }
        tw_buf_printf(&out, "%s%s='", out.len ? " " : "", o->keyword);
        for (const char *c = o->val; *c; c++)
            tw_buf_printf(&out, "%s%c", *c == '\'' || *c == '\\' ? "\\" : "", *c);
        tw_buf_puts(&out, "'");
    }
    PQconninfoFree(options);
    *ret_conninfo = tw_arena_strdup(a, tw_buf_text(&out));
    return 0;
}

/* The value of one keyword of a conninfo, or NULL. */
const char *tw_pg_conninfo_value(struct tw_arena *a, const char *conninfo,
                                 const char *keyword)
{
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    const char *value = NULL;

    if (!options)
        return NULL;
    for (PQconninfoOption *o = options; o->keyword; o++)
        if (o->val && *o->val && tw_streq(o->keyword, keyword))
            value = tw_arena_strdup(a, o->val);
    PQconninfoFree(options);
    return value;
}

const char *tw_pg_md5_password(struct tw_arena *a, const char *password, const char *user)
{
    char *sum = PQencryptPassword(password, user);
    const char *ret = sum ? tw_arena_strdup(a, sum) : "";

    PQfreemem(sum);
    return ret;
}
