/* A small web application for twins: HTTP/1.1 with keep-alive, a thread for each connection.
 *
 *   GET /         a page            GET /health   200 while it can serve
 *   GET /item     one row by SQL (DATABASE_URL; 503 without)   GET /version   VERSION
 *   GET /items    a list               GET /visits   counted in the file STATE (404 without)
 *
 * PORT (8080), DATABASE_URL (conninfo or URL), POOL (4 connections), WORK_US (0: CPU spent per request).
 * BUGS: comma-separated faults, each a row below, "latency=20,error=50": for tests that have to find them;
 * the last rows are harmless changes, which tests must not blame. */
#include <arpa/inet.h>
#include <errno.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum bug {
    LATENCY,
    ERROR,
    LEAK,
    SLOW_START,
    IGNORE_TERM,
    MISSING_FIELD,
    CONTENT_TYPE,
    HEADER,
    LOG_FLOOD,
    GREEN_HEALTH,
    TIME_ZONE,
    DATA_FORMAT,
    NEW_FIELD,
    WORDING,
    NEW_HEADER,
    MORE_MEMORY,
    GREETING,
    BUG_COUNT
};
static const struct {
    const char *name, *text;
} bug_rows[BUG_COUNT] = {
    [LATENCY] = {"latency", "milliseconds added to each request"},
    [ERROR] = {"error", "one answer in so many is a 500"},
    [LEAK] = {"leak", "bytes kept for each request"},
    [SLOW_START] = {"slow_start", "seconds until it listens"},
    [IGNORE_TERM] = {"ignore_term", "SIGTERM is not heeded"},
    [MISSING_FIELD] = {"missing_field", "/item lacks \"price\""},
    [CONTENT_TYPE] = {"content_type", "JSON is sent as text/plain"},
    [HEADER] = {"header", "Cache-Control says the opposite"},
    [LOG_FLOOD] = {"log_flood", "lines written for each request"},
    [GREEN_HEALTH] = {"green_health", "/health is 200 although the database is gone"},
    [TIME_ZONE] = {"time_zone", "times are told so many hours off"},
    [DATA_FORMAT] = {"data_format", "STATE is written as only this version reads it"},
    [NEW_FIELD] = {"new_field", "harmless: /item has \"stock\" too"},
    [WORDING] = {"wording", "harmless: the page says something else"},
    [NEW_HEADER] = {"new_header", "harmless: X-Shop is sent too"},
    [MORE_MEMORY] = {"more_memory", "harmless: megabytes taken at the start"},
    [GREETING] = {"greeting", "harmless: lines written at the start"},
};
static long bugs[BUG_COUNT]; /* 0: not there */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    PGconn *all[64];
    bool busy[64];
    int count;
    const char *conninfo;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER};
static atomic_ulong requests;

static long number(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

static void read_bugs(const char *text)
{
    while (text && *text) {
        size_t len = strcspn(text, ","), name = strcspn(text, "=,");
        int i = 0;

        while (i < BUG_COUNT && (strlen(bug_rows[i].name) != name ||
                                 strncmp(text, bug_rows[i].name, name)))
            i++;
        if (i == BUG_COUNT) {
            fprintf(stderr, "web: BUGS: '%.*s' is not known; there are:\n", (int)name,
                    text);
            for (i = 0; i < BUG_COUNT; i++)
                fprintf(stderr, "  %-14s %s\n", bug_rows[i].name, bug_rows[i].text);
            exit(2);
        }
        bugs[i] = name < len ? strtol(text + name + 1, NULL, 10) : 1;
        text += len + (text[len] == ',');
    }
}

/* ---- the database ---- */

static int take(void)
{
    int i;

    pthread_mutex_lock(&pool.lock);
    for (;;) {
        for (i = 0; i < pool.count && pool.busy[i]; i++)
            ;
        if (i < pool.count)
            break;
        pthread_cond_wait(&pool.freed, &pool.lock);
    }
    pool.busy[i] = true;
    pthread_mutex_unlock(&pool.lock);
    return i;
}

static void give(int i)
{
    pthread_mutex_lock(&pool.lock);
    pool.busy[i] = false;
    pthread_cond_signal(&pool.freed);
    pthread_mutex_unlock(&pool.lock);
}

/* The first value of the first row; a connection that broke is made anew once. */
static bool ask(const char *sql, char *to, size_t room)
{
    bool fine = false;
    int i;

    if (!pool.conninfo)
        return false;
    i = take();
    for (int attempt = 0; attempt < 2 && !fine; attempt++) {
        PGresult *result;

        if (pool.all[i] && PQstatus(pool.all[i]) != CONNECTION_OK) {
            PQfinish(pool.all[i]);
            pool.all[i] = NULL;
        }
        if (!pool.all[i])
            pool.all[i] = PQconnectdb(pool.conninfo);
        result = PQexec(pool.all[i], sql);
        fine = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
        if (fine)
            snprintf(to, room, "%s", PQgetvalue(result, 0, 0));
        PQclear(result);
        if (PQstatus(pool.all[i]) == CONNECTION_OK)
            break;
    }
    give(i);
    return fine;
}

/* ---- what it keeps on disk: "format 1 visits N" ---- */

static struct {
    pthread_mutex_t lock;
    const char *path;
    long visits;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void write_state(void)
{
    FILE *f = fopen(state.path, "w");

    if (!f)
        return;
    fprintf(f, "format %d visits %ld\n", bugs[DATA_FORMAT] ? 2 : 1, state.visits);
    fclose(f);
}

static void read_state(void)
{
    int format = 1;
    FILE *f;

    state.path = getenv("STATE");
    f = state.path ? fopen(state.path, "r") : NULL;
    if (f && (fscanf(f, "format %d visits %ld", &format, &state.visits) != 2 ||
              format > (bugs[DATA_FORMAT] ? 2 : 1))) {
        fprintf(stderr, "web: %s: format %d is not known to this version\n", state.path,
                format);
        exit(3);
    }
    if (f)
        fclose(f);
    if (state.path)
        write_state();
}

/* ---- pages ---- */

struct answer {
    int status;
    const char *type;
    char body[2048];
};

static void put(struct answer *a, int status, const char *type, const char *fmt, ...)
{
    va_list args;

    a->status = status;
    a->type = type;
    va_start(args, fmt);
    vsnprintf(a->body, sizeof(a->body), fmt, args);
    va_end(args);
}

static void page_home(struct answer *a)
{
    put(a, 200, "text/html",
        "<!doctype html><title>shop</title><h1>%s</h1><a href=/item>item</a> <a "
        "href=/items>all</a> <a href=/visits>visits</a>\n",
        bugs[WORDING] ? "The shop" : "Shop");
}

static void page_health(struct answer *a)
{
    char one[8];
    bool fine = !pool.conninfo || bugs[GREEN_HEALTH] || ask("SELECT 1", one, sizeof(one));

    put(a, fine ? 200 : 503, "text/plain", fine ? "ok\n" : "no database\n");
}

static void page_item(struct answer *a)
{
    const char *sql = getenv("ITEM_SQL");
    time_t now = time(NULL) + 3600 * bugs[TIME_ZONE];
    char name[512] = "", when[32];
    struct tm tm;

    if (!ask(sql && *sql ? sql : "SELECT 'lamp ' || count(*) FROM pg_class", name,
             sizeof(name))) {
        put(a, 503, "application/json", "{\"error\": \"no database\"}\n");
        return;
    }
    for (char *c = name; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = ' ';
    strftime(when, sizeof(when), "%FT%H:%MZ", gmtime_r(&now, &tm));
    put(a, 200, "application/json", "{\"name\": \"%s\",%s%s \"seen\": \"%s\"}\n", name,
        bugs[MISSING_FIELD] ? "" : " \"price\": 12.5,",
        bugs[NEW_FIELD] ? " \"stock\": 7," : "", when);
}

static void page_items(struct answer *a)
{
    put(a, 200, "application/json",
        "{\"items\": [{\"name\": \"lamp\", \"price\": 12.5}, {\"name\": \"desk\", "
        "\"price\": 80}], \"request\": %lu}\n",
        atomic_load(&requests));
}

static void page_visits(struct answer *a)
{
    if (!state.path)
        return;
    pthread_mutex_lock(&state.lock);
    state.visits++;
    write_state();
    put(a, 200, "application/json", "{\"visits\": %ld}\n", state.visits);
    pthread_mutex_unlock(&state.lock);
}

static void page_version(struct answer *a)
{
    const char *version = getenv("VERSION");

    put(a, 200, "text/plain", "%s\n", version ? version : "1");
}

static const struct {
    const char *path;
    void (*make)(struct answer *a);
} pages[] = {{"/", page_home},         {"/health", page_health},
             {"/item", page_item},     {"/items", page_items},
             {"/visits", page_visits}, {"/version", page_version}};

static void burn(long us)
{
    struct timespec t;
    long end;

    if (us <= 0)
        return;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    end = t.tv_sec * 1000000 + t.tv_nsec / 1000 + us;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    while (t.tv_sec * 1000000 + t.tv_nsec / 1000 < end);
}

/* The faults that any page may have. */
static void misbehave(struct answer *a)
{
    unsigned long n = atomic_fetch_add(&requests, 1) + 1;

    if (bugs[LATENCY])
        usleep((useconds_t)(bugs[LATENCY] * 1000));
    if (bugs[LEAK]) {
        static char *volatile kept; /* seen from outside, or the compiler leaves it out */

        kept = malloc((size_t)bugs[LEAK]);
        if (kept)
            memset(kept, 1, (size_t)bugs[LEAK]);
    }
    for (long i = 0; i < bugs[LOG_FLOOD]; i++)
        fprintf(stderr, "web: request %lu, still here\n", n);
    if (bugs[ERROR] && n % (unsigned long)bugs[ERROR] == 0)
        put(a, 500, "text/plain", "internal error\n");
    if (bugs[CONTENT_TYPE] && !strcmp(a->type, "application/json"))
        a->type = "text/plain";
}

static bool respond(int fd, const char *method, const char *path, bool keep)
{
    static const char *const words[6] = {[2] = "OK", [4] = "Not Found", [5] = "Error"};
    struct answer a;
    char head[512];
    size_t len, have;
    int n;

    put(&a, 404, "text/plain", "not found\n");
    for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
        if (!strcmp(path, pages[i].path))
            pages[i].make(&a);
    if (strcmp(path, "/health")) {
        burn(number("WORK_US", 0));
        misbehave(&a);
    }
    len = strlen(a.body);
    n = snprintf(head, sizeof(head),
                 "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: "
                 "%zu\r\nCache-Control: %s\r\n"
                 "%sConnection: %s\r\n\r\n",
                 a.status, words[a.status / 100], a.type, len,
                 bugs[HEADER] ? "public, max-age=3600" : "no-store",
                 bugs[NEW_HEADER] ? "X-Shop: 2\r\n" : "", keep ? "keep-alive" : "close");
    have = (size_t)n;
    if (send(fd, head, have, MSG_NOSIGNAL | MSG_MORE) != n)
        return false;
    if (!strcmp(method, "HEAD"))
        len = 0;
    return send(fd, a.body, len, MSG_NOSIGNAL) == (ssize_t)len && keep;
}

static void *serve(void *arg)
{
    int fd = (int)(long)arg;
    char head[8192];
    size_t have = 0;

    for (;;) {
        char method[8] = "", path[256] = "", *end;
        ssize_t n;
        bool keep;

        head[have] = 0;
        end = strstr(head, "\r\n\r\n");
        if (!end) {
            n = have < sizeof(head) - 1
                    ? recv(fd, head + have, sizeof(head) - 1 - have, 0)
                    : 0;
            if (n <= 0)
                break;
            have += (size_t)n;
            continue;
        }
        *end = 0;
        keep = strstr(head, "HTTP/1.1") && !strcasestr(head, "connection: close");
        if (sscanf(head, "%7s %255[^ ?]", method, path) != 2 ||
            (strcmp(method, "GET") && strcmp(method, "HEAD")))
            break;
        have -= (size_t)(end + 4 - head);
        memmove(head, end + 4, have);
        if (!respond(fd, method, path, keep))
            break;
    }
    close(fd);
    return NULL;
}

/* ---- begin and end ---- */

static void on_term(int signal)
{
    (void)signal;
    if (!bugs[IGNORE_TERM])
        _exit(0);
}

/* For a health check without a further program in the image. */
static int check(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const char say[] =
        "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    char got[32] = "";
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) ||
        send(fd, say, sizeof(say) - 1, 0) < 0 ||
        recv(fd, got, sizeof(got) - 1, MSG_WAITALL) < 12)
        return 1;
    return strncmp(got + 9, "200", 3) != 0;
}

int main(int argc, char **argv)
{
    int port = (int)number("PORT", 8080), one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)port)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_attr_t attr;

    if (argc > 1 && !strcmp(argv[1], "--check"))
        return check(port);
    read_bugs(getenv("BUGS"));
    read_state();
    pool.conninfo = getenv("DATABASE_URL");
    pool.count = (int)number("POOL", 4);
    if (pool.count < 1 || pool.count > 64) {
        fprintf(stderr, "web: POOL %d: expected 1 to 64\n", pool.count);
        return 2;
    }
    signal(SIGTERM, on_term);
    signal(SIGINT, on_term);
    sleep((unsigned)bugs[SLOW_START]);
    if (bugs[MORE_MEMORY])
        memset(calloc((size_t)bugs[MORE_MEMORY], 1 << 20), 1,
               (size_t)bugs[MORE_MEMORY] << 20);
    for (long i = 0; i < bugs[GREETING]; i++)
        fprintf(stderr, "web: welcome\n");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 1024)) {
        fprintf(stderr, "web: port %d: %s\n", port, strerror(errno));
        return 1;
    }
    fprintf(stderr, "web: serves on port %d, %s\n", port,
            pool.conninfo ? "with a database" : "without a database");
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 << 10);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        pthread_t thread;

        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (pthread_create(&thread, &attr, serve, (void *)(long)fd))
            close(fd);
    }
}
