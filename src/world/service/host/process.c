/* Processes of this host, as /proc tells. */
#include "host.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROC_TEXT_MAX ((size_t)1 << 20)

static const char *link_of(struct tw_arena *a, pid_t pid, const char *what)
{
    tw_auto_free char *path = tw_strf("/proc/%d/%s", (int)pid, what);
    char to[4096];
    ssize_t n = readlink(path, to, sizeof(to) - 1);

    return n > 0 ? tw_arena_strndup(a, to, (size_t)n) : NULL;
}

static char *text_of(pid_t pid, const char *what, size_t *ret_len)
{
    tw_auto_free char *path = tw_strf("/proc/%d/%s", (int)pid, what);
    char *text = NULL;

    return tw_read_file(AT_FDCWD, path, PROC_TEXT_MAX, &text, ret_len, NULL) < 0 ? NULL
                                                                                 : text;
}

static _Thread_local pid_t home; /* 0: ourselves */

static _Thread_local const struct tw_service_start *home_start;

void tw_service_stand_at(int pid, const struct tw_service_start *start)
{
    home = (pid_t)pid;
    home_start = start;
}

/* A process may have written over its command line, which its supervisor has not. */
static void take_start(struct tw_arena *a, const struct tw_service_start *start,
                       struct host_process *p)
{
    p->told = true;
    p->argv.count = p->env.count = 0;
    for (size_t i = 0; i < start->argv.count; i++)
        TW_PUSH(a, &p->argv, start->argv.items[i]);
    for (size_t i = 0; i < start->env.count; i++)
        TW_PUSH(a, &p->env, start->env.items[i]);
    p->cwd = start->cwd ? start->cwd : "/";
}

/* A twin's service is no service of this host, and neither is one of a container: what its files
 * are called here is not what it calls them. */
static bool is_ours(struct tw_arena *a, pid_t pid)
{
    /* Not of mounts: units have their own (PrivateTmp=), and we have while clones are made. */
    static const char *const spaces[] = {"ns/net", "ns/pid"};

    for (size_t i = 0; i < TW_COUNT_OF(spaces); i++)
        if (!tw_streq(link_of(a, pid, spaces[i]), link_of(a, home ? home : getpid(), spaces[i])))
            return false;
    return true;
}

#define READ_WORDS(a, pid, what, array)                                                  \
    do {                                                                                 \
        size_t len_ = 0;                                                                 \
        tw_auto_free char *text_ = text_of(pid, what, &len_);                            \
        for (size_t at_ = 0; text_ && at_ < len_; at_ += strlen(text_ + at_) + 1)        \
            TW_PUSH(a, array, tw_arena_strdup(a, text_ + at_));                          \
    } while (0)

static void read_limits(pid_t pid, struct host_process *p)
{
    tw_auto_free char *text = text_of(pid, "limits", NULL);
    const char *at = text ? strstr(text, "Max open files") : NULL;

    p->nofile = at ? strtoll(at + strlen("Max open files"), NULL, 10) : 0;
}

/* The last part of its control group that is a unit: ".../redis-server.service". */
static void read_unit(struct tw_arena *a, pid_t pid, struct host_process *p)
{
    tw_auto_free char *text = text_of(pid, "cgroup", NULL);
    char *rest = text;

    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *slash = strrchr(line, '/');

        if (slash && tw_ends_with(slash, ".service"))
            p->unit = tw_arena_strdup(a, slash + 1);
    }
}

static void read_user(struct tw_arena *a, pid_t pid, struct host_process *p)
{
    tw_auto_free char *path = tw_strf("/proc/%d", (int)pid);
    struct passwd pw, *found = NULL;
    char text[4096];
    struct stat st;

    if (stat(path, &st) < 0)
        return;
    p->uid = st.st_uid;
    p->gid = st.st_gid;
    if (getpwuid_r(st.st_uid, &pw, text, sizeof(text), &found) == 0 && found)
        p->user = tw_arena_strdup(a, pw.pw_name);
}

/* ---- sockets ---- */

struct sockets {
    TW_ARRAY(unsigned long) inodes;
};

static void own_sockets(struct tw_arena *a, pid_t pid, struct sockets *ret)
{
    tw_auto_free char *path = tw_strf("/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    unsigned long inode;

    if (!dir)
        return;
    for (struct dirent *e; (e = readdir(dir));) {
        tw_auto_free char *name = tw_strf("fd/%s", e->d_name);
        const char *to = link_of(a, pid, name);

        if (to && sscanf(to, "socket:[%lu]", &inode) == 1)
            TW_PUSH(a, &ret->inodes, inode);
    }
    (void)closedir(dir);
}

static bool owns(const struct sockets *s, unsigned long inode)
{
    for (size_t i = 0; i < s->inodes.count; i++)
        if (s->inodes.items[i] == inode)
            return true;
    return false;
}

/* "0100007F:18EB" and its long form, as the kernel keeps them: words in host order. */
static const char *show_address(struct tw_arena *a, const char *hex)
{
    unsigned word[4] = {0};
    char text[INET6_ADDRSTRLEN];
    bool six = strlen(hex) > 8;

    for (int i = 0; i < (six ? 4 : 1); i++) {
        char part[9] = {0};

        memcpy(part, hex + 8 * i, 8);
        word[i] = (unsigned)strtoul(part, NULL, 16);
    }
    return inet_ntop(six ? AF_INET6 : AF_INET, word, text, sizeof(text))
               ? tw_arena_strdup(a, text)
               : NULL;
}

struct tcp_line {
    char address[33];
    int port, state;
    unsigned long inode;
};

static bool read_tcp_line(const char *line, struct tcp_line *ret)
{
    unsigned port, state;

    if (sscanf(line, " %*d: %32[0-9A-F]:%X %*[0-9A-F]:%*X %X %*s %*s %*s %*d %*d %lu",
               ret->address, &port, &state, &ret->inode) != 4)
        return false;
    ret->port = (int)port;
    ret->state = (int)state;
    return true;
}

#define TCP_LISTEN      0x0A
#define TCP_ESTABLISHED 0x01

static void count_line(struct tw_arena *a, const struct tcp_line *t,
                       const struct sockets *own, bool first_pass, struct host_process *p)
{
    if (first_pass && t->state == TCP_LISTEN && owns(own, t->inode))
        TW_PUSH(a, &p->listens,
                (struct tw_endpoint){.protocol = "tcp",
                                     .address = show_address(a, t->address),
                                     .port = t->port});
    if (first_pass || t->state != TCP_ESTABLISHED)
        return;
    for (size_t i = 0; i < p->listens.count; i++)
        if (p->listens.items[i].port == t->port) {
            p->connections++;
            return;
        }
}

static void read_tcp(struct tw_arena *a, const char *path, const struct sockets *own,
                     bool first_pass, struct host_process *p)
{
    FILE *f = fopen(path, "re");
    struct tcp_line t;
    char line[512];

    while (f && fgets(line, sizeof(line), f))
        if (read_tcp_line(line, &t))
            count_line(a, &t, own, first_pass, p);
    if (f)
        (void)fclose(f);
}

static void read_sockets(struct tw_arena *a, struct host_process *p)
{
    struct sockets own = {0};

    own_sockets(a, p->pid, &own);
    for (int pass = 0; pass < 2; pass++) {
        read_tcp(a, "/proc/thread-self/net/tcp", &own, pass == 0, p);
        read_tcp(a, "/proc/thread-self/net/tcp6", &own, pass == 0, p);
    }
}

/* ---- one, some ---- */

/* "NSpid:\t4711\t7": of the innermost namespace last. */
static pid_t own_number(pid_t pid)
{
    tw_auto_free char *text = text_of(pid, "status", NULL);
    const char *line = text ? strstr(text, "\nNSpid:") : NULL;
    const char *end = line ? line + 1 + strcspn(line + 1, "\n") : NULL;

    while (end && end > line && isdigit((unsigned char)end[-1]))
        end--;
    return end ? atoi(end) : 0;
}

pid_t host_process_called(struct tw_arena *a, pid_t number)
{
    DIR *dir = home ? opendir("/proc") : NULL;
    pid_t found = home ? 0 : number;

    for (struct dirent *e; dir && !found && (e = readdir(dir));) {
        pid_t pid = isdigit((unsigned char)*e->d_name) ? atoi(e->d_name) : 0;

        if (pid && is_ours(a, pid) && own_number(pid) == number)
            found = pid;
    }
    if (dir)
        (void)closedir(dir);
    return found;
}

bool host_is_away(void)
{
    return home != 0;
}

bool host_process_home(struct tw_arena *a, struct host_process *ret)
{
    return home && host_process_read(a, home, ret, NULL) == 0;
}

/* Where a target stands in a container nothing of it may be run by us, and access() says so. */
bool host_is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

int host_process_read(struct tw_arena *a, pid_t pid, struct host_process *ret,
                      struct tw_err *err)
{
    struct host_process p = {.pid = pid, .exe = link_of(a, pid, "exe")};

    if (pid <= 0 || !p.exe || !is_ours(a, pid))
        return tw_fail(err, -ESRCH, "process %d is not one of this host", (int)pid);
    p.cwd = link_of(a, pid, "cwd");
    READ_WORDS(a, pid, "cmdline", &p.argv);
    READ_WORDS(a, pid, "environ", &p.env);
    read_limits(pid, &p);
    read_unit(a, pid, &p);
    read_user(a, pid, &p);
    read_sockets(a, &p);
    if (home && pid == home && home_start)
        take_start(a, home_start, &p);
    *ret = p;
    return 0;
}

static pid_t parent_of(pid_t pid)
{
    tw_auto_free char *text = text_of(pid, "stat", NULL);
    const char *at = text ? strrchr(text, ')') : NULL;
    int parent = 0;

    return at && sscanf(at + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

/* A program that was replaced while it runs shows as "/usr/bin/x (deleted)". */
static bool has_name(const char *exe, const char *program)
{
    const char *slash = exe ? strrchr(exe, '/') : NULL;
    size_t n = strlen(program);

    return slash && strncmp(slash + 1, program, n) == 0 &&
           (slash[1 + n] == '\0' || slash[1 + n] == ' ');
}

void host_process_find(struct tw_arena *a, const char *program,
                       struct host_processes *ret)
{
    DIR *dir = opendir("/proc");
    struct host_process p;

    *ret = (struct host_processes){0};
    for (struct dirent *e; dir && (e = readdir(dir));) {
        pid_t pid = isdigit((unsigned char)*e->d_name) ? atoi(e->d_name) : 0;

        if (!pid || !has_name(link_of(a, pid, "exe"), program) ||
            has_name(link_of(a, parent_of(pid), "exe"), program))
            continue;
        if (host_process_read(a, pid, &p, NULL) == 0)
            TW_PUSH(a, &ret->list, p);
    }
    if (dir)
        (void)closedir(dir);
}

/* The inode of the socket that listens there (port 0: anywhere); 0: none. */
static unsigned long listener_of(const char *path, int port)
{
    FILE *f = fopen(path, "re");
    unsigned long inode = 0;
    struct tcp_line t;
    char line[512];

    while (f && !inode && fgets(line, sizeof(line), f))
        if (read_tcp_line(line, &t) && t.state == TCP_LISTEN && (!port || t.port == port))
            inode = t.inode;
    if (f)
        (void)fclose(f);
    return inode;
}

bool host_process_listening(struct tw_arena *a, int port, struct host_process *ret)
{
    unsigned long inode = port ? listener_of("/proc/thread-self/net/tcp", port) : 0;
    DIR *dir;
    bool found = false;

    if (!inode && port)
        inode = listener_of("/proc/thread-self/net/tcp6", port);
    dir = inode ? opendir("/proc") : NULL;
    for (struct dirent *e; dir && !found && (e = readdir(dir));) {
        pid_t pid = isdigit((unsigned char)*e->d_name) ? atoi(e->d_name) : 0;
        struct sockets own = {0};

        if (pid)
            own_sockets(a, pid, &own);
        found = owns(&own, inode) && host_process_read(a, pid, ret, NULL) == 0;
    }
    if (dir)
        (void)closedir(dir);
    return found;
}

/* ---- in a sandbox ---- */

static bool stands_in(pid_t pid, const struct stat *netns)
{
    tw_auto_free char *path = tw_strf("/proc/%d/ns/net", (int)pid);
    struct stat st;

    return stat(path, &st) == 0 && st.st_ino == netns->st_ino &&
           st.st_dev == netns->st_dev;
}

static pid_t anybody_in(int netns)
{
    struct stat st;
    DIR *dir = fstat(netns, &st) == 0 ? opendir("/proc") : NULL;
    pid_t pid = 0;

    for (struct dirent *e; dir && !pid && (e = readdir(dir));)
        if (isdigit((unsigned char)*e->d_name) && stands_in(atoi(e->d_name), &st))
            pid = atoi(e->d_name);
    if (dir)
        (void)closedir(dir);
    return pid;
}

static const char *const tcp_tables[] = {"tcp", "tcp6"};

/* Sockets of a namespace are shown by any process in it: nobody has to enter. */
bool host_netns_listens(int netns, int port)
{
    pid_t pid = netns >= 0 ? anybody_in(netns) : 0;
    bool found = false;

    for (size_t i = 0; pid && i < TW_COUNT_OF(tcp_tables) && !found; i++) {
        tw_auto_free char *path = tw_strf("/proc/%d/net/%s", (int)pid, tcp_tables[i]);

        found = listener_of(path, port) != 0;
    }
    return found;
}

static void add_listeners(struct tw_arena *a, const char *path, struct host_endpoints *ret)
{
    FILE *f = fopen(path, "re");
    struct tcp_line t;
    char line[512];

    while (f && fgets(line, sizeof(line), f))
        if (read_tcp_line(line, &t) && t.state == TCP_LISTEN) {
            struct tw_endpoint e = {
                .protocol = "tcp", .address = show_address(a, t.address), .port = t.port};

            TW_PUSH(a, &ret->list, e);
        }
    if (f)
        (void)fclose(f);
}

void host_listeners(struct tw_arena *a, int netns, struct host_endpoints *ret)
{
    pid_t pid = netns >= 0 ? anybody_in(netns) : 0;

    for (size_t i = 0; (netns < 0 || pid) && i < TW_COUNT_OF(tcp_tables); i++) {
        tw_auto_free char *path = netns < 0
                                      ? tw_strf("/proc/thread-self/net/%s", tcp_tables[i])
                                      : tw_strf("/proc/%d/net/%s", (int)pid, tcp_tables[i]);

        add_listeners(a, path, ret);
    }
}
