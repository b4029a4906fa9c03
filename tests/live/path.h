/* Targets that are files and no cluster: a directory of their own, a web server behind a load balancer. */
#ifndef TESTS_PATH_H
#define TESTS_PATH_H

#include "live.h"

/* Not below /tmp: a sandbox has one of its own there. */
LIVE void path_dir_open(struct live *l, const char *name)
{
    tw_auto_free char *top = tw_strf("/var/tmp/twin-%s-XXXXXX", name);

    cr_assert(strlen(top) < sizeof l->top);
    strcpy(l->top, top);
    cr_assert(mkdtemp(l->top));
    cr_assert_eq(chmod(l->top, 0755), 0);
    tw_buf_init(&l->ids, 1 << 20);
    l->state = tw_strf("%s/state", l->top);
    l->data = tw_strf("%s", l->top);
}

LIVE void path_dir_close(struct live *l)
{
    tw_buf_done(&l->ids);
    (void)tw_remove_tree(l->top, NULL);
    free(l->state);
    free(l->data);
}

LIVE void path_write(const struct live *l, const char *name, const char *text)
{
    tw_auto_free char *path = tw_strf("%s/%s", l->top, name);

    cr_assert_eq(tw_write_file(path, text, strlen(text), 0644, NULL), 0, "%s", path);
}

LIVE void path_add(struct live *l, const char *name, const char *type, const char *config)
{
    tw_auto_free char *path = tw_strf("%s/%s", l->top, config);
    struct live_answer got;

    live_twin(l, &got, "env", "add", name, "--type", type, "--config", path);
    cr_assert_eq(got.exit_code, 0, "%s", got.err);
    live_answer_done(&got);
}

/* "web" (nginx) listens on one port, "lb" (HAProxy) on the other, in front of it. */
LIVE void path_open(struct live *l, const char *name, int lb_port, int web_port)
{
    tw_auto_free char *web = NULL, *lb = NULL, *dir = NULL;

    path_dir_open(l, name);
    dir = tw_strf("mkdir -p %s/web/www %s/lb", l->top, l->top);
    cr_assert_eq(system(dir), 0);
    web = tw_strf("user www-data;\nworker_processes 1;\npid %1$s/web/nginx.pid;\n"
                  "error_log %1$s/web/error.log;\n"
                  "events { worker_connections 512; }\n"
                  "http { access_log %1$s/web/access.log; server { listen %2$d; "
                  "root %1$s/web/www; location / { } } }\n",
                  l->top, web_port);
    lb = tw_strf("global\n    maxconn 500\n    log stdout format raw local0\n"
                 "defaults\n    mode http\n    timeout connect 2s\n    timeout client 10s\n"
                 "    timeout server 10s\n    log global\n"
                 "frontend front\n    bind :%d\n    default_backend app\n"
                 "backend app\n    server s1 127.0.0.1:%d check\n",
                 lb_port, web_port);
    path_write(l, "web/nginx.conf", web);
    path_write(l, "web/www/index.html", "hello\n");
    path_write(l, "lb/haproxy.cfg", lb);
    path_add(l, "web", "nginx", "web/nginx.conf");
    path_add(l, "lb", "haproxy", "lb/haproxy.cfg");
}

#endif
