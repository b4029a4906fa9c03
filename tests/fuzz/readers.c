/* What is fuzzed, a row each. Readers of files are given a file in memory. */
#include "fuzz.h"

#include "service/kind_haproxy/kind_haproxy_internal.h"
#include "service/kind_nginx/kind_nginx_internal.h"
#include "service/kind_pgbouncer/kind_pgb_internal.h"
#include "service/kind_postgresql/kind_pg_internal.h"
#include "service/kind_redis/kind_redis_internal.h"
#include "tw/decide.h"
#include "tw/flow.h"
#include "tw/io.h"
#include "tw/pg.h"
#include "tw/predict.h"
#include "tw/redact.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST(...)                                                                        \
    (const char *const[])                                                                \
    {                                                                                    \
        __VA_ARGS__, NULL                                                                \
    }

/* ---- a file, in a directory that has nothing else in it ---- */

static char memory_dir[32], *memory_path;
static int memory = -1;

static int memory_open(void)
{
    static const char pattern[] = "/dev/shm/twin-fuzz-XXXXXX";

    memcpy(memory_dir, pattern, sizeof(pattern));
    if (!mkdtemp(memory_dir))
        return -1;
    memory_path = tw_strf("%s/file", memory_dir);
    memory = open(memory_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return memory < 0;
}

static void memory_close(void)
{
    tw_close_p(&memory);
    memory = -1;
    (void)tw_remove_tree(memory_dir, NULL);
    free(memory_path);
    memory_path = NULL;
}

static const char *as_file(const char *data, size_t len)
{
    (void)!ftruncate(memory, 0);
    (void)!pwrite(memory, data, len, 0);
    return memory_path;
}

/* ---- JSON ---- */

static void read_request(struct tw_arena *a, const char *data, size_t len)
{
    json_auto_t *json = NULL;
    struct tw_request r;
    struct tw_target t;
    struct tw_err err;

    if (tw_json_parse(data, len, &json, &err) < 0)
        return;
    (void)tw_target_from_json(a, json, &t, &err);
    if (tw_request_from_json(a, json, &r, &err) == 0) {
        json_auto_t *back = tw_request_to_json(&r);

        (void)tw_request_summary(a, &r);
        (void)back;
    }
}

static void read_simulation(struct tw_arena *a, const char *data, size_t len)
{
    struct tw_simulation *sim = NULL;
    struct tw_err err;

    (void)a, (void)len;
    if (tw_simulation_from_json(data, &sim, &err) == 0) {
        json_auto_t *back = tw_simulation_to_json(sim);

        (void)back;
        tw_simulation_free(sim);
    }
}

/* ---- the rest ---- */

static void read_yaml(struct tw_arena *a, const char *data, size_t len)
{
    struct tw_yaml yaml;
    struct tw_policy policy;
    struct tw_err err;

    (void)tw_yaml_read(a, data, "fuzz", &yaml, &err);
    (void)tw_policy_load(a, as_file(data, len), &policy, &err);
}

static void read_nft(struct tw_arena *a, const char *data, size_t len)
{
    const struct tw_flow_rules *rules;

    if (tw_flow_read_nft(a, data, len, &rules, NULL) == 0)
        (void)tw_flow_rule_count(rules);
}

static void read_iptables(struct tw_arena *a, const char *data, size_t len)
{
    const struct tw_flow_rules *rules;

    for (int v6 = 0; v6 < 2; v6++)
        if (tw_flow_read_iptables(a, data, len, v6, &rules, NULL) == 0)
            (void)tw_flow_rule_count(rules);
}

static void read_postgresql(struct tw_arena *a, const char *data, size_t len)
{
    struct kind_pg_conf conf;

    kind_pg_conf_read(a, "", as_file(data, len), "/nonexistent", &conf);
    (void)kind_pg_conf_last(&conf, "work_mem");
    (void)kind_pg_conf_set(a, data, "work_mem", "4MB");
}

static void read_sql(struct tw_arena *a, const char *data, size_t len)
{
    struct tw_pg_assignments assignments;
    struct tw_pg_relations relations;
    struct tw_pg_script script;
    struct tw_pg_tokens tokens;

    (void)len;
    (void)tw_pg_parse_assignments(a, data, &assignments, NULL);
    (void)tw_pg_split(a, data, &script, NULL);
    tw_pg_tokens(a, data, &tokens);
    tw_pg_relations(a, data, &relations);
    (void)tw_pg_normalize(a, data);
}

static void read_redis(struct tw_arena *a, const char *data, size_t len)
{
    struct redis_where where;
    struct redis_conf conf;

    redis_conf_read(a, "", as_file(data, len), &conf);
    (void)redis_conf_last(&conf, "maxmemory");
    (void)redis_conf_set(a, data, "maxmemory", "1gb");
    (void)redis_parse_address(a, data, &where, NULL);
}

static void read_nginx(struct tw_arena *a, const char *data, size_t len)
{
    struct nginx_conf conf;

    (void)len;
    nginx_conf_text(a, "", "/nonexistent/nginx.conf", data, &conf);
    (void)nginx_child(&conf, -1, "http");
}

static void read_haproxy(struct tw_arena *a, const char *data, size_t len)
{
    struct haproxy_conf conf;

    (void)len;
    haproxy_conf_text(a, "/nonexistent/haproxy.cfg", data, &conf);
}

static void read_pgbouncer(struct tw_arena *a, const char *data, size_t len)
{
    struct pgb_ini ini;

    pgb_ini_read(a, "", as_file(data, len), &ini);
    (void)pgb_ini_set(a, data, "databases.shop", "host=x");
}

static void read_words(struct tw_arena *a, const char *data, size_t len)
{
    struct tw_client client;
    struct tw_profile profile;
    unsigned char address[16];
    int64_t bytes;
    double cores;
    int bits;

    (void)len;
    (void)tw_client_from_text(a, data, &client, NULL);
    (void)tw_profile_make(a, "steady", 1, 24, data, &profile, NULL);
    (void)tw_net_parse(data, address, &bits, NULL);
    (void)tw_parse_bytes(data, &bytes, NULL);
    (void)tw_parse_cores(data, &cores, NULL);
    (void)tw_redact_text(NULL, a, data);
    (void)tw_redact_literals(a, data);
}

#define CHANGE                                                                           \
    "{\"type\": \"config_change\", \"target\": \"pg\", \"change\": "                     \
    "{\"max_connections\": 500, "                                                        \
    "\"shared_buffers\": \"2GB\"}, \"duration_hours\": 24}"
const struct fuzz_reader fuzz_readers[] = {
    {"request", read_request,
     LIST(CHANGE,
          "{\"change_request\": " CHANGE
          ", \"duration_hours\": 12, \"risk_level\": \"high\"}",
          "{\"type\": \"schema_change\", \"target\": \"pg\", \"change\": {\"sql\": "
          "[\"ALTER TABLE a ADD b int\"]}}",
          "{\"type\": \"security\", \"target\": \"fw\", \"change\": {\"action\": "
          "\"add_rule\", \"port\": 443, "
          "\"source\": \"0.0.0.0/0\", \"protocol\": \"tcp\"}, \"security_scan\": true}",
          "{\"type\": \"scaling\", \"target\": \"web\", \"change\": {\"instances\": 10, "
          "\"cpu\": \"2 cores\", "
          "\"memory\": \"4GB\"}, \"load_scenario\": \"peak_traffic\"}",
          "{\"type\": \"deployment\", \"target\": \"shop/web\", \"change\": {\"image\": "
          "\"web:2\", \"env\": {}}, "
          "\"smoke\": [{\"http\": \"/health\", \"expect\": {\"status\": 200}}], "
          "\"rollback\": true}",
          "{\"type\": \"config_change\", \"target\": \"pg\", \"changes\": [{\"a\": 1}, "
          "{\"b\": null}], "
          "\"metadata\": {\"x\": [1, 2.5, \"\\u00e4\"]}}",
          "{\"environment\": \"e\", \"name\": \"pg\", \"type\": \"postgresql\", "
          "\"tier\": \"dev\", \"data\": "
          "\"clone\", \"memory_bytes\": 1}"),
     LIST("null", "true", "{}", "[]", "\"\\ud800\"", "\"\\u0000\"",
          "\"type\":", "\"target\"", "\"change\"", "\"files\"", "\"sql\"", "\"rules\"",
          "\"duration_hours\"", ","),
     3, NULL, NULL},
    {"simulation", read_simulation,
     LIST("{\"id\": \"01234567890123456789012345\", \"status\": \"success\", \"type\": "
          "\"config_change\", "
          "\"target\": \"pg\", \"request\": " CHANGE
          ", \"predicted_impact\": {\"risk_score\": 60, \"issues\": "
          "[{\"severity\": \"high\", \"code\": \"x\", \"title\": \"t\"}], "
          "\"performance\": {\"p95_ms\": "
          "{\"before\": 1, \"after\": 2, \"ratio\": 2, \"low\": 1, \"high\": 3, "
          "\"level\": 0.9, \"n\": 7}}, "
          "\"failures\": [{\"kind\": \"oom\", \"at_hours\": 3, \"probability\": 0.5}]}, "
          "\"measured\": {\"pairs\": 4}}",
          "{\"id\": \"\", \"status\": \"created\", \"snapshot\": {\"settings\": "
          "[{\"name\": \"a\", \"value\": \"b\"}], "
          "\"tables\": [], \"clients\": [{\"user\": \"u\"}]}, \"plan\": {\"steps\": []}, "
          "\"request\": " CHANGE "}"),
     LIST("null", "{}", "[]", "\"snapshot\"", "\"plan\"", "\"predicted_impact\"", "-1",
          "\"timeline\""),
     2, NULL, NULL},
    {"yaml", read_yaml,
     LIST("simulation:\n  default_duration_hours: 24\nserver:\n  names: [a, "
          "b]\nenvironments:\n  - name: p\n"
          "    tier: production\n    services:\n      - {name: pg, type: postgresql, "
          "data_dir: /x}\n",
          "name: default\nthresholds:\n  review: 50\n  block: 80\nmargins: {p50: 1.25, "
          "p95: 1.5}\n",
          "a: &x [1, 2]\nb: *x\n<<: {c: d}\n",
          "a: |\n  text\n  more\nb: >-\n  folded\n\"q\\x41\": 'it''s'\n"),
     LIST("&a", "*a", "<<:", "- ", "? ", ": ", "|", ">", "%YAML 1.2", "---", "...",
          "!!binary", "#", "\t", "{", "["),
     2, memory_open, memory_close},
    {"nft", read_nft,
     LIST("{\"nftables\": [{\"table\": {\"family\": \"inet\", \"name\": \"f\"}}, "
          "{\"chain\": {\"family\": \"inet\", "
          "\"table\": \"f\", \"name\": \"in\", \"type\": \"filter\", \"hook\": "
          "\"input\", \"prio\": 0, \"policy\": "
          "\"drop\"}}, {\"rule\": {\"family\": \"inet\", \"table\": \"f\", \"chain\": "
          "\"in\", \"expr\": [{\"match\": "
          "{\"op\": \"==\", \"left\": {\"payload\": {\"protocol\": \"tcp\", \"field\": "
          "\"dport\"}}, \"right\": 443}}, "
          "{\"accept\": null}]}}]}",
          "{\"nftables\": [{\"table\": {\"family\": \"ip\", \"name\": \"t\"}}, {\"set\": "
          "{\"family\": \"ip\", \"table\": "
          "\"t\", \"name\": \"s\", \"type\": \"ipv4_addr\", \"flags\": [\"interval\"], "
          "\"elem\": [{\"prefix\": "
          "{\"addr\": \"10.0.0.0\", \"len\": 8}}, {\"range\": [\"1.1.1.1\", "
          "\"1.1.1.9\"]}]}}, {\"chain\": {\"family\": "
          "\"ip\", \"table\": \"t\", \"name\": \"c\"}}, {\"rule\": {\"family\": \"ip\", "
          "\"table\": \"t\", \"chain\": "
          "\"c\", \"expr\": [{\"match\": {\"op\": \"in\", \"left\": {\"ct\": {\"key\": "
          "\"state\"}}, \"right\": "
          "[\"established\"]}}, {\"vmap\": {\"key\": {\"payload\": {\"protocol\": "
          "\"ip\", \"field\": \"saddr\"}}, "
          "\"data\": {\"set\": [[\"1.2.3.4\", {\"drop\": null}]]}}}, {\"jump\": "
          "{\"target\": \"c\"}}]}}]}"),
     LIST("\"@s\"", "{\"goto\": {\"target\": \"c\"}}", "{\"return\": null}", "\"::/0\"",
          "{\"&\": [1, 2]}", "{\"concat\": []}", "\"prefix\"", "\"len\"", "[]", "{}",
          "null", "\"ct\"", "\"meta\""),
     2, NULL, NULL},
    {"iptables", read_iptables,
     LIST("*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:x - [0:0]\n-A INPUT -i lo "
          "-j ACCEPT\n-A INPUT -p tcp -m "
          "tcp --dport 22 -j x\n-A x -s 10.0.0.0/8 -m conntrack --ctstate "
          "NEW,ESTABLISHED -j ACCEPT\nCOMMIT\n",
          "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp --dport 80 -j DNAT "
          "--to-destination 10.0.0.2:8080\n"
          "COMMIT\n*filter\n:INPUT ACCEPT [0:0]\n-A INPUT ! -s fe80::/10 -m multiport "
          "--dports 1:9,80 -j REJECT\nCOMMIT\n"),
     LIST("-A", "-j", "-g", "!", "-m", "--dport", "--sports", "/33", "/0", "65536",
          "::/129", "COMMIT", "*mangle", "--set-xmark 0x1/0x1", "-I", "\"", ":"),
     2, NULL, NULL},
    {"postgresql", read_postgresql,
     LIST("port = 5432\nshared_buffers = '128MB' # c\ninclude_if_exists "
          "'x.conf'\nsearch_path = '\"$user\", public'\n"
          "log_line_prefix '%m''%p'\nwork_mem=4MB\n",
          "include_dir 'conf.d'\ncustom.x = on\n\"quoted\" = 1\nlisten_addresses = "
          "'a,b\\'c'\n"),
     LIST("include", "include_dir", "'", "''", "\\'", "=", "#", "\n", "''''", "kB"), 1,
     memory_open, memory_close},
    {"sql", read_sql,
     LIST("ALTER SYSTEM SET work_mem = '4MB'; SET a TO 1, 2;",
          "CREATE INDEX CONCURRENTLY i ON t (a) WHERE b > 3;\n"
          "ALTER TABLE s.t ADD COLUMN c int DEFAULT 7, DROP d;",
          "DO $x$ BEGIN PERFORM 1; END $x$; WITH q AS (SELECT 'it''s' /* c */ FROM a "
          "JOIN b USING (x)) DELETE FROM q;",
          "-- c\n\\copy t from stdin\nCOPY t FROM STDIN;\n1\t2\n\\.\nSELECT E'\\x41' || "
          "U&'\\0041', $1, 1e9;"),
     LIST("$$", "$x$", "'", "\"", "/*", "*/", "--", ";", "\\", "E'", "(", "VACUUM",
          "BEGIN", "::int", "$1"),
     1, NULL, NULL},
    {"redis", read_redis,
     LIST("bind 127.0.0.1 -::1\nport 6379\nsave 900 1\nmaxmemory 2gb\nrequirepass "
          "\"a\\x41b\"\ninclude /nonexistent\n"
          "rename-command FLUSHALL ''\nuser a on >p ~* +@all\n",
          "redis://u:p%40@localhost:6379/0", "unix:///run/redis.sock"),
     LIST("\"", "'", "\\x", "%", "include", "rename-command", "user", "-1", ":", "//",
          "@"),
     1, memory_open, memory_close},
    {"nginx", read_nginx,
     LIST("user www;\nevents { worker_connections 768; }\nhttp {\n  upstream u { server "
          "127.0.0.1:1 max_fails=3; }\n"
          "  server { listen [::]:80; server_name a ~^b$; location ~ \\.php$ { "
          "proxy_pass http://u; } }\n}\n",
          "http { map $a $b { default 0; \"~x\" 1; } include conf.d/*.conf; # c\n "
          "log_format m '$a \"$b\"'; }",
          "content_by_lua_block { local a = { 1, \"}\" } }\nstream { server { listen 1; "
          "} }\n"),
     LIST("{", "}", ";", "\"", "'", "\\", "#", "include", "${", "_by_lua_block", "\n"), 1,
     NULL, NULL},
    {"haproxy", read_haproxy,
     LIST("global\n  maxconn 2000\ndefaults\n  mode http\n  timeout client 5s\nfrontend "
          "f\n  bind :80\n  acl a path -i "
          "/x\n  use_backend b if a !b || { src 10.0.0.0/8 }\nbackend b\n  server s "
          "127.0.0.1:8080 check weight 10\n",
          "listen l\n  bind *:1-9 ssl crt \"/a b\"\n  server-template s 1-5 x:1\n.if "
          "defined(X)\n.endif\n"),
     LIST("\"", "'", "\\", "${X}", "#", "frontend", "backend", "listen", "defaults",
          ".if", "\\ ", "from"),
     1, NULL, NULL},
    {"pgbouncer", read_pgbouncer,
     LIST("[databases]\nshop = host=/run port=5432 dbname='a b'\n* = "
          "host=x\n[pgbouncer]\nlisten_port = 6432\n%include "
          "/nonexistent\nauth_type = md5\n;c\n[users]\nu = pool_mode=session\n"),
     LIST("[", "]", "=", "'", "''", "%include", ";", "#", "*"), 1, memory_open,
     memory_close},
    {"words", read_words,
     LIST("user=app dbname=shop sslmode=verify-full tls_max=1.2 source=10.0.3.7 "
          "send='SELECT 1'",
          "4GB", "500m", "0,10\n1.5,20\n", "10.0.0.0/8",
          "password = 'x' token=abc https://u:p@h/ AKIA0000000000000000",
          "SELECT 'a', 12, $x$b$x$ -- c"),
     LIST("'", "\"", "=", "/", ":", "kB", "cores", "1e9", ",",
          "-----BEGIN PRIVATE KEY-----", "password"),
     1, NULL, NULL},
    {"http", fuzz_http,
     LIST("GET /a/b?x=1&y=%20 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
          "POST /c HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
          "application/json\r\nContent-Length: 8\r\n\r\n{\"a\": 1}",
          "POST /c HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: "
          "chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
          "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: "
          "websocket\r\nSec-WebSocket-Version: "
          "13\r\nSec-WebSocket-Key: "
          "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x80\x01\x02\x03\x04",
          "DELETE /%2e%2e/x HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\nGET / "
          "HTTP/1.1\r\nHost: b\r\n\r\n"),
     LIST("\r\n", "\n", "\r", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n",
          "Host: x\r\n", "%00", "..", "//", "?", "&", "#", " HTTP/2.0",
          "Expect: 100-continue\r\n", "ffffffffffffffff", " : ", "\t"),
     1, fuzz_server_open, fuzz_server_close},
    {"websocket", fuzz_websocket,
     LIST("\x81\x85\x01\x02\x03\x04ig`ln",
          "\x89\x80\x01\x02\x03\x04\x88\x82\x01\x02\x03\x04\x02\xea",
          "\x01\x83\x01\x02\x03\x04```\x80\x83\x01\x02\x03\x04```",
          "\x82\xfe\x01\x01zzzz", "\x81\x05hello"),
     LIST("\x81", "\x88", "\x89", "\x8a", "\xff", "\xfe", "\x7f",
          "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff", "\xc1\x80", "\x83\x80",
          "\x01\x02\x03\x04"),
     1, fuzz_server_open, fuzz_server_close},
};
const size_t fuzz_reader_count = TW_COUNT_OF(fuzz_readers);
