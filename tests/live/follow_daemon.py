#!/usr/bin/python3
"""Changes at real targets, seen by the daemon: a PostgreSQL cluster, a file, the kernel's rule set.
   follow_daemon.py PROGRAM DIRECTORY; started in a network namespace of its own. Exit 0: nothing failed."""
import http.server
import json
import os
import pwd
import signal
import subprocess
import sys
import threading
import time

import requests

PROGRAM, TOP = sys.argv[1], sys.argv[2]
STATE, PG, BIN = TOP + "/state", TOP + "/pg", "/usr/lib/postgresql/15/bin"
OWNER = pwd.getpwnam("postgres")
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TWIN_STATE_DIR": STATE, "HOME": TOP,
       "XDG_CONFIG_HOME": TOP}
RULES = """table inet f {
  chain in {
    type filter hook input priority 0; policy drop;
    tcp dport 8080 accept
  }
}
"""
failures, alerts = [], []


def check(what, good, seen=None):
    if not good:
        failures.append(what)
        print("FAILED:", what, "| seen:", str(seen)[:600], flush=True)


def wait_for(what, test, seconds=30):
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        got = test()
        if got:
            print(f"{what}: {time.monotonic() - begun:.2f} s", flush=True)
            return got
        time.sleep(0.05)
    check("waited for: " + what, False)
    return None


def as_owner(*args, **kw):
    return subprocess.run(args, user=OWNER.pw_uid, group=OWNER.pw_gid, extra_groups=[], check=True, text=True,
                          capture_output=True, cwd="/", timeout=60, **kw)


def sql(text):
    return as_owner(BIN + "/psql", "-X", "-q", "-h", PG + "-run", "-p", "28431", "-d", "postgres", "-Atc", text).stdout


def cli(*args):
    return subprocess.run([PROGRAM, *args], env=ENV, capture_output=True, text=True, timeout=60)


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        alerts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def service(url, name):
    for e in requests.get(url + "/api/v1/environments", timeout=20).json()["items"]:
        for s in e["services"]:
            if s["name"] == name:
                return s
    return {}


def drift_of(url, name, what):
    return next((d for d in service(url, name).get("last_drift") or [] if d["name"] == what), None)


def follows(url):
    for name in ("pg", "app", "rules"):
        wait_for(f"'{name}' is stored and followed", lambda: service(url, name).get("synced_at") and service(url, name).get("followed"))
    sql("ALTER SYSTEM SET work_mem = '9MB'")
    sql("SELECT pg_reload_conf()")
    d = wait_for("a setting is told", lambda: drift_of(url, "pg", "work_mem"))
    check("with its values before and after", d and (d["before"], d["after"]) == ("4096", "9216"), d)
    with open(TOP + "/app.nft", "w") as f:
        f.write(RULES.replace("8080", "8443"))
    d = wait_for("a line of a file is told", lambda: drift_of(url, "app", TOP + "/app.nft"))
    check("with both its lines", d and "8080" in d["before"] and "8443" in d["after"] and "policy" not in d["after"], d)
    subprocess.run(["nft", "add", "table", "inet", "seen"], check=True)
    d = wait_for("a rule set is told", lambda: drift_of(url, "rules", "nft list ruleset"))
    check("by what is new in it", d and "seen" in (d["after"] or ""), d)
    wait_for("each is an alert", lambda: {a.get("target") for a in alerts} >= {"pg", "app", "rules"}, 60)
    check("which names the change", any("work_mem: '4096' is now '9216'" in json.dumps(a) for a in alerts), alerts)


def costs(url):
    """What following takes from production, as the server's own process counts it."""
    pid = sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'twin' AND state = 'idle'").strip()

    def cpu():
        with open(f"/proc/{pid}/schedstat") as f:
            return int(f.read().split()[0]) / 1e9

    begun, before = time.monotonic(), cpu()
    for _ in range(200):
        sql("SELECT 1") if _ % 100 == 0 else time.sleep(0.02)
    share = (cpu() - before) / (time.monotonic() - begun)
    print(f"following costs the server {100 * share:.4f} % of a core", flush=True)
    check("at most a thousandth of a core", share < 0.001, share)
    get = lambda m: requests.get(f"{url}/api/v1/environments/default/metrics?step=1&target=pg&metric={m}", timeout=20).json()["points"]
    wait_for("the load is recorded", lambda: get("load_per_s"))
    check("and the cost of it", get("follow_statements_per_s") and get("sync_statements")[0]["value"] > 0)
    c = cli("env", "metrics", "pg", "--metric", "connections", "-o", "json")
    check("twin env metrics shows it", c.returncode == 0 and json.loads(c.stdout)["points"], c.stdout + c.stderr)
    c = cli("env", "metrics", "pg", "--server", url)
    check("and asks a daemon", c.returncode == 0 and "load_per_s" in c.stdout, c.stdout + c.stderr)
    c = cli("env", "show", "pg")
    check("twin env show tells the drift", "work_mem: '4096' is now '9216'" in c.stdout, c.stdout + c.stderr)
    c = cli("run", "--target", "pg", "--set", "work_mem=8MB", "--scenario", "recorded", "--dry-run")
    check("recorded says how much is missing", c.returncode == 2 and "24 h" in c.stderr and "recorded" in c.stderr, c.stderr)


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.makedirs(STATE, mode=0o700)
    for d in (PG, PG + "-run"):
        os.makedirs(d, mode=0o700)
        os.chown(d, OWNER.pw_uid, OWNER.pw_gid)
    os.chmod(TOP, 0o755)
    as_owner(BIN + "/initdb", "-D", PG, "-A", "trust", "-N")
    with open(PG + "/postgresql.conf", "a") as f:
        f.write(f"port = 28431\nunix_socket_directories = '{PG}-run'\nlisten_addresses = ''\nfsync = off\nshared_buffers = '16MB'\n")
    with open(TOP + "/app.nft", "w") as f:
        f.write(RULES)
    hook = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    with open(TOP + "/twin.yaml", "w") as f:
        f.write("environment:\n  metrics_interval_seconds: 1\nalerts:\n  allow: [127.0.0.0/8]\n  webhooks:\n"
                f"    - {{name: h, url: 'http://127.0.0.1:{hook.server_port}/', kinds: drift}}\n")
    daemon = None
    as_owner(BIN + "/pg_ctl", "-D", PG, "-w", "-l", PG + "/log", "start")
    try:
        for args in (("pg", "--type", "postgresql", "--data", "clone", "--data-dir", PG),
                     ("app", "--type", "firewall", "--file", TOP + "/app.nft"), ("rules", "--type", "firewall")):
            c = cli("env", "add", *args)
            check("a target is added", c.returncode == 0, c.stderr)
        with open(TOP + "/log", "w") as log:
            daemon = subprocess.Popen([PROGRAM, "serve", "--listen", "127.0.0.1:0", "--config", TOP + "/twin.yaml"],
                                      env={**ENV, "TWIN_LOG": "info"}, text=True, stdout=subprocess.PIPE, stderr=log)
        url = "http://127.0.0.1:" + daemon.stdout.readline().split(" port ")[1].split(",")[0].strip()
        follows(url)
        costs(url)
        daemon.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        check("it ends cleanly", daemon.wait(timeout=60) == 0)
        print(f"it ended in {time.monotonic() - begun:.2f} s", flush=True)
    finally:
        if daemon and daemon.poll() is None:
            daemon.kill()
        as_owner(BIN + "/pg_ctl", "-D", PG, "-m", "immediate", "stop")
    if failures:
        print(open(TOP + "/log").read()[-3000:])
    sys.exit(1 if failures else 0)


main()
