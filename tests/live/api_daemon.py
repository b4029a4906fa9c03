#!/usr/bin/python3
"""The daemon through its API: started, used, killed. Prints what failed; exit 0: nothing.
   api_daemon.py PROGRAM DIRECTORY [KILLS]"""
import asyncio
import concurrent.futures
import json
import os
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import time

import requests
import websockets

PROGRAM, TOP = sys.argv[1], sys.argv[2]
KILLS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
STATE = TOP + "/state"
HERE = os.path.dirname(os.path.abspath(__file__))
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TWIN_STATE_DIR": STATE, "HOME": TOP,
       "TWIN_WORKER": HERE + "/standin_worker.py", "XDG_CONFIG_HOME": TOP}
CHANGE = {"type": "config_change", "target": "pg", "change": {"max_connections": 500, "shared_buffers": "2GB"}}
failures = []


def check(what, good, seen=None):
    if not good:
        failures.append(what)
        print("FAILED:", what, "| seen:", str(seen)[:400], flush=True)


def cli(*args, **env):
    return subprocess.run([PROGRAM, *args], env={**ENV, **env}, capture_output=True, text=True, timeout=60)


def wait_for(what, test, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = test()
        if got:
            return got
        time.sleep(0.02)
    check("waited for: " + what, False)
    return None


class Daemon:
    def __init__(self, *args, listen="127.0.0.1:0"):
        self.log = open(TOP + "/log", "a")
        self.p = subprocess.Popen([PROGRAM, "serve", "--listen", listen, *args], env=ENV, text=True,
                                  stdout=subprocess.PIPE, stderr=self.log)
        line = self.p.stdout.readline()
        check("the daemon says where it listens", " port " in line, line)
        self.port = int(line.split(" port ")[1].split(",")[0]) if " port " in line else 0
        self.url = f"http://127.0.0.1:{self.port}"

    def kill(self, how=signal.SIGKILL):
        self.p.send_signal(how)
        code = self.p.wait(timeout=60)
        self.p.stdout.close()
        self.log.close()
        return code

    def ask(self, method, path, body=None, token=None, **headers):
        h = {k.replace("_", "-"): v for k, v in headers.items()}
        if token:
            h["Authorization"] = "Bearer " + token
        return requests.request(method, self.url + path, json=body, headers=h, timeout=60)

    def post(self, path, body=None, token=None, **headers):
        return self.ask("POST", path, body, token, **headers)

    def get(self, path, token=None, **headers):
        return self.ask("GET", path, None, token, **headers)


def change(**more):
    return {**CHANGE, "metadata": more}


def simple(d):
    """What the specification's snippet does, and what stands around it."""
    r = requests.post(d.url + "/api/v1/simulation/run",
                      json={"change_request": change(end="proceed"), "duration_hours": 24, "risk_level": "high"}).json()
    safe = r["predicted_impact"]["risk_score"] < 50 if r["status"] == "success" else r["error"]
    check("the snippet calls a harmless change safe", safe is True, r)
    c = d.post("/api/v1/simulation/create", CHANGE)
    check("create answers 201 with a place", c.status_code == 201 and c.headers["Location"].endswith(c.json()["id"]), c.text)
    check("created is its status", c.json()["status"] == "created" and c.json()["error"], c.text)
    r = d.post("/api/v1/simulation/run", {"id": c.json()["id"]})
    check("run by id ends it", r.status_code == 200 and r.json()["status"] == "success", r.text)
    again = d.post("/api/v1/simulation/run", {"id": c.json()["id"]})
    check("run again gives the same answer", again.json() == r.json(), again.text)
    g = d.get(c.headers["Location"])
    check("GET gives the body of run", g.json() == r.json(), g.text)
    check("the same tag gives 304", d.get(c.headers["Location"], If_None_Match=g.headers["ETag"]).status_code == 304)
    r = d.post("/api/v1/simulation/run", change(steps=1, step_s=30), Prefer="respond-async")
    check("respond-async answers 202", r.status_code == 202 and r.json()["status"] in ("queued", "running"), r.text)
    w = d.post("/api/v1/simulation/run", {"id": r.json()["id"]}, Prefer="wait=0.05")
    check("wait ends in 202", w.status_code == 202, w.text)
    where = "/api/v1/simulation/" + r.json()["id"]
    check("cancel is accepted", d.ask("DELETE", where).status_code in (200, 202))
    wait_for("it is cancelled", lambda: d.get(where).json()["status"] == "cancelled")
    page = d.get("/api/v1/simulation?limit=2").json()
    rest = d.get("/api/v1/simulation?limit=2&cursor=" + page["next_cursor"]).json()
    check("pages do not overlap", not {i["id"] for i in page["items"]} & {i["id"] for i in rest["items"]}, rest)
    html = d.get("/api/v1/simulation/" + c.json()["id"] + "/report?format=markdown")
    check("a report in another format", html.status_code == 200 and "markdown" in html.headers["Content-Type"], html.text)


def ends(d):
    """However a worker ends, the simulation ends and says why."""
    r = d.post("/api/v1/simulation/run", change(end="crash")).json()
    check("a crash is told with its signal", r["status"] == "failed" and "signal 9" in r["error"], r)
    r = d.post("/api/v1/simulation/run", change(end="silent")).json()
    check("a silent end is told", r["status"] == "failed" and "exit code 3" in r["error"], r)
    r = d.post("/api/v1/simulation/run", change(end="refused"))
    check("what the service calls invalid is 422", r.status_code == 422 and r.json()["pointer"] == "/change/work_mem", r.text)
    check("and names the simulation", d.get("/api/v1/simulation/" + r.json()["id"]).json()["status"] == "failed")


def figure(d, name):
    rows = [line.split()[1] for line in d.get("/metrics").text.splitlines() if line.startswith(name + " ")]
    return float(rows[0]) if rows else -1


def standing_ready(d):
    """The next change of a target goes to the worker that waits for it; a crash of that one costs nothing else."""
    wait_for("twins stand ready after a simulation", lambda: figure(d, "twin_warm_targets") == 1)
    used = figure(d, "twin_warm_used_total")
    r = d.post("/api/v1/simulation/run", change(end="proceed", steps=3)).json()
    check("a simulation that was handed over ends well", r["status"] == "success", r)
    check("it was handed over", figure(d, "twin_warm_used_total") == used + 1)
    wait_for("and the next ones stand ready", lambda: figure(d, "twin_warm_targets") == 1)
    r = d.post("/api/v1/simulation/run", change(end="crash")).json()
    check("a crash is told of its own simulation", r["status"] == "failed" and "signal 9" in r["error"], r)
    r = d.post("/api/v1/simulation/run", change(end="proceed")).json()
    check("the next one is as any other", r["status"] == "success", r)


def rights(d):
    """Whoever owns the process that parses has no right over the host."""
    def status(pid):
        return dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
    s = status(d.p.pid)
    check("it is not root", s["Uid"].split()[0] != "0" and s["Groups"].strip() == "", s)
    check("it has no capability", all(int(s[k], 16) == 0 for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")), s)
    check("it is in a filter and gets no new privileges", s["Seccomp"] == "2" and s["NoNewPrivs"] == "1", s)
    seen = set(os.listdir(f"/proc/{d.p.pid}/root"))
    check("it sees neither homes nor sockets of others", not seen & {"home", "root", "var", "srv", "opt"} - {STATE.split("/")[1]}, seen)
    children = open(f"/proc/{d.p.pid}/task/{d.p.pid}/children").read().split()
    check("it has one child, the helper", len(children) == 1, children)
    h = status(children[0])
    check("the helper is in a filter too", h["Seccomp"] == "2" and h["NoNewPrivs"] == "1" and int(h["CapBnd"], 16) < 1 << 32, h)
    own = {n: os.stat(f"{STATE}/{n}").st_uid for n in ("twin.db", "audit.key", "environments.json", "declared.json", "run", "pool")}
    check("history and key are the daemon's, targets and journals root's",
          [own[n] == 0 for n in own] == [False, False, True, True, True, True], own)


def repeats(d):
    a = d.post("/api/v1/simulation/create", CHANGE, Idempotency_Key="k1")
    b = d.post("/api/v1/simulation/create", CHANGE, Idempotency_Key="k1")
    check("a repeat gets the first answer", a.text == b.text and b.status_code == 201, b.text)
    c = d.post("/api/v1/simulation/create", change(x=1), Idempotency_Key="k1")
    check("the key with another body is refused", c.status_code == 422, c.text)
    a = d.post("/api/v1/simulation/run", CHANGE, Idempotency_Key="k1")
    b = d.post("/api/v1/simulation/run", CHANGE, Idempotency_Key="k1")
    check("a repeated run is one simulation", a.json()["id"] == b.json()["id"] and b.status_code == 200, b.text)


def mistakes(d):
    sim = "/api/v1/simulation/create"
    rows = [
        ("an unknown key", d.post(sim, {**CHANGE, "durations": 1}), 422, "/durations"),
        ("an unknown target", d.post(sim, {**CHANGE, "target": "pgg"}), 422, "/target"),
        ("a horizon too long", d.post(sim, {**CHANGE, "duration_hours": 9999}), 422, "/duration_hours"),
        ("a file of the daemon's host", d.post(sim, {**CHANGE, "profile": "/etc/shadow"}), 422, "/profile"),
        ("a script of the daemon's host", d.post(sim, {**CHANGE, "mixes": ["/etc/passwd@1"]}), 422, "/mixes"),
        ("broken JSON", requests.post(d.url + sim, data='{"a":', headers={"Content-Type": "application/json"}), 400, None),
        ("a key given twice", requests.post(d.url + sim, data='{"type":"x","type":"y"}', headers={"Content-Type": "application/json"}), 400, None),
        ("no JSON at all", requests.post(d.url + sim, data="a=b", headers={"Content-Type": "application/x-www-form-urlencoded"}), 415, None),
        ("a body too large", requests.post(d.url + sim, data=b"[" + b" " * (1 << 20) + b"]", headers={"Content-Type": "application/json"}), 413, None),
        ("an unknown path", d.get("/api/v1/simulations"), 404, None),
        ("an unknown simulation", d.get("/api/v1/simulation/" + "0" * 26), 404, None),
        ("a wrong method", d.ask("PATCH", sim), 405, None),
        ("an unknown parameter", d.get("/api/v1/simulation?limt=3"), 422, None),
        ("a limit too large", d.get("/api/v1/simulation?limit=1000"), 422, None),
        ("a name that is not ours", d.get("/healthz", Host="evil.example"), 421, None),
        ("a page of somebody else", d.get("/healthz", Origin="http://evil.example"), 403, None),
        ("plain HTTP to the stream", d.get("/ws/simulation"), 426, None),
    ]
    for what, r, status, pointer in rows:
        check(what, r.status_code == status, (r.status_code, r.text))
        check(what + " is a problem", r.headers.get("Content-Type") == "application/problem+json" and r.json()["error"], r.text)
        if pointer:
            check(what + " names its place", r.json().get("pointer") == pointer, r.text)
    check("the method that would do is named", d.ask("PATCH", sim).headers["Allow"] == "POST")


def token(*args):
    r = cli("token", "create", *args)
    check("a token is made", r.stdout.startswith("twn_"), r.stderr)
    return r.stdout.strip()


def roles(d, tokens):
    """Every route with every role, as the table says."""
    may = {"viewer": {"read"}, "operator": {"read", "simulate", "sync"}, "approver": {"read", "approve", "audit"},
           "admin": {"read", "simulate", "sync", "approve", "audit", "administer"}}
    for path, methods in d.get("/openapi.json").json()["paths"].items():
        for method, op in methods.items():
            for role, secret in tokens.items():
                if path == "/api/v1/environments/sync" and "sync" in may[role]:
                    continue
                body = {} if "requestBody" in op else None
                r = d.ask(method.upper(), path.replace("{id}", "0" * 26), body, secret)
                want = op.get("x-permission") is None or op["x-permission"] in may[role]
                check(f"{role} {method} {path}", (r.status_code != 403) == want and r.status_code != 401, (r.status_code, r.text))
                if not want:
                    check(f"{role} {method} {path} names the role", "role" in r.json()["error"], r.text)


def states(d, tokens):
    """Every route of a simulation in each state that it may be in, with each role: what the role may is decided
    before the state is looked at, and each refusal is in the audit chain."""
    ids = {"created": d.post("/api/v1/simulation/create", CHANGE).json()["id"]}
    for end in ("proceed", "crash"):
        r = d.post("/api/v1/simulation/run", change(end=end)).json()
        ids[r["status"]] = r["id"]
    r = d.post("/api/v1/simulation/run", change(steps=1, step_s=60), Prefer="respond-async").json()
    wait_for("one runs", lambda: d.get("/api/v1/simulation/" + r["id"]).json()["status"] == "running")
    ids["running"] = r["id"]
    may = {"viewer": {"read"}, "operator": {"read", "simulate"}, "approver": {"read"}, "admin": {"read", "simulate"}}
    refused = 0
    for path, methods in d.get("/openapi.json").json()["paths"].items():
        if not path.startswith("/api/v1/simulation/{id}"):
            continue
        for method, op in methods.items():
            for state, sim in ids.items():
                for role, secret in tokens.items():
                    if method == "delete" and "simulate" in may[role]:
                        continue
                    body = {"applied": True} if "requestBody" in op else None
                    r = d.ask(method.upper(), path.replace("{id}", sim), body, secret)
                    want = op["x-permission"] in may[role]
                    refused += not want
                    check(f"{role} {method} {path} while {state}", (r.status_code == 403) != want and r.status_code < 500,
                          (r.status_code, r.text))
    seen = cursor = 0
    while cursor is not None and seen < refused:
        page = d.get("/api/v1/audit?limit=200" + (f"&cursor={cursor}" if cursor else ""), tokens["admin"]).json()
        seen += sum(e["result"] == "refused" for e in page["items"])
        cursor = page["next_cursor"]
    check("each refusal is audited", seen >= refused > 0, (seen, refused))
    for state in ("running", "created"):
        where = "/api/v1/simulation/" + ids[state]
        check(f"what is {state} is cancelled", d.ask("DELETE", where, token=tokens["operator"]).status_code in (200, 202))
        wait_for("it is", lambda: d.get(where).json()["status"] == "cancelled")


def approvals(d, tokens):
    asked = token("--person", "otto", "--roles", "operator,approver")
    r = d.post("/api/v1/simulation/run", CHANGE, asked).json()
    check("a review opens an approval", r["decision"] == "review" and r["approval_id"], r)
    where = "/api/v1/approvals/" + r["approval_id"]
    own = d.post(where, {"decision": "approve"}, asked)
    check("nobody approves what he asked for", own.status_code == 403 and "another person" in own.json()["error"], own.text)
    bad = d.post(where, {"decision": "approve", "plan_sha256": "0" * 64}, tokens["approver"])
    check("an approval is bound to its plan", bad.status_code == 409 and bad.json()["pointer"] == "/plan_sha256", bad.text)
    check("the word has to be one of two", d.post(where, {"decision": "yes"}, tokens["approver"]).status_code == 422)
    ok = d.post(where, {"decision": "approve", "plan_sha256": r["plan_sha256"], "comment": "fine"}, tokens["approver"])
    check("another person approves", ok.status_code == 200 and ok.json()["state"] == "approved", ok.text)
    check("only once", d.post(where, {"decision": "reject"}, tokens["admin"]).status_code == 409)
    second = d.post("/api/v1/simulation/run", CHANGE, asked).json()["approval_id"]
    c = cli("reject", second, "--comment", "no")
    check("the command line rejects too", c.returncode == 0 and "rejected" in c.stdout, c.stderr)


async def read_stream(url, count=None, **kw):
    out = []
    async with websockets.connect(url, **kw) as ws:
        async for text in ws:
            out.append(json.loads(text))
            if count and len(out) >= count:
                break
    return out


def stream(d):
    r = d.post("/api/v1/simulation/run", change(steps=5, step_s=0.4), Prefer="respond-async").json()
    url = f"ws://127.0.0.1:{d.port}/ws/simulation?id=" + r["id"]
    got = asyncio.run(asyncio.wait_for(read_stream(url), 30))
    for m in got:
        check("every message has its four parts",
              isinstance(m["id"], str) and isinstance(m["metrics"], dict) and isinstance(m["prediction"], dict)
              and 0 <= m["confidence"] <= 1, m)
    check("the stream ends with the end", got[-1]["status"] == "success" and got[-1]["prediction"]["risk_score"] == 60, got)
    check("numbers rise", all(a["seq"] < b["seq"] for a, b in zip(got, got[1:])), got)
    again = asyncio.run(asyncio.wait_for(read_stream(url + f"&after={got[0]['seq']}"), 30))
    check("a client that comes back misses nothing", again[len(again) - len(got) + 1:] == got[1:], (got, again))
    late = asyncio.run(asyncio.wait_for(read_stream(url), 30))
    check("a client that comes late gets the end", len(late) == 1 and late[0]["status"] == "success", late)


def gone_before_the_answer(d):
    """Clients that hang up in the middle of the handshake do not count for ever."""
    hello = (b"GET /ws/simulation HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    for _ in range(1000):
        with socket.create_connection(("127.0.0.1", d.port)) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.sendall(hello)
    wait_for("nobody counts as a client of the stream", lambda: figure(d, "twin_websocket_clients") == 0)


def knowledge(d):
    r = d.post("/api/v1/predict/impact", {**CHANGE, "change": {"wal_level": "logical"}}).json()
    check("what is not known is said to be so", r["predicted_impact"] is None and r["basis"]["known"] is False
          and "not known" in r["error"], r)
    r = d.post("/api/v1/predict/impact", CHANGE).json()
    check("the same change is remembered", r["basis"]["known"] and r["predicted_impact"]["risk_score"] > 0, r)
    for value in ("4MB", "64MB"):
        d.post("/api/v1/simulation/run", {**change(end="proceed"), "change": {"work_mem": value}})
    r = d.post("/api/v1/predict/performance", {**CHANGE, "change": {"work_mem": "16MB"}}).json()
    check("between two values it interpolates", r["basis"]["known"] and r["basis"]["runs"] == 2
          and abs(r["predicted_impact"]["performance"]["p50_ms"]["ratio"] - 1.1) < 1e-3, r)
    before = r["predicted_impact"]["performance"]["p50_ms"]["ratio"]
    d.post("/api/v1/simulation/" + r["basis"]["simulations"][0] + "/outcome",
           {"applied": True, "performance": {"p50_ms": {"ratio": 1.5}}})
    r = d.post("/api/v1/predict/performance", {**CHANGE, "change": {"work_mem": "16MB"}}).json()
    check("what really happened moves what is foretold", r["basis"]["outcomes"] == 1
          and before < r["predicted_impact"]["performance"]["p50_ms"]["ratio"] < 1.5, r)
    r = d.get("/api/v1/predict/failures?target=pg&hours=700").json()
    check("failures so far ahead are not known", r["failures"] is None and "not known" in r["error"], r)
    r = d.post("/api/v1/policy/check", CHANGE).json()
    check("the policy says what is required", r["simulation_required"] and r["risk_level"] == "medium", r)
    r = d.post("/api/v1/environments/sync", {}).json()
    check("a sync gives what it cost", r["status"] == "success" and r["syncs"][0]["cost"]["statements"] == 3, r)
    m = d.get("/api/v1/environments/default/metrics?metric=connections_used").json()
    check("its metrics are kept", m["points"] and m["points"][0]["value"] == 7, m)
    sim = d.get("/api/v1/simulation?status=success&limit=1").json()["items"][0]["id"]
    r = d.post(f"/api/v1/simulation/{sim}/outcome", {"applied": True, "note": "went well"})
    check("an outcome is taken", r.status_code == 201 and d.get(f"/api/v1/simulation/{sim}/outcome").json()["outcome"]["applied"], r.text)


def commands(d):
    c = cli("run", "--target", "pg", "--set", "work_mem=8MB", "-o", "json", TWIN_SERVER=d.url)
    check("twin run asks the daemon", c.returncode == 4 and json.loads(c.stdout)["decision"] == "review", (c.returncode, c.stderr))
    c = cli("show", json.loads(c.stdout)["id"], "-o", "json", "--server", d.url)
    check("twin show asks the daemon", c.returncode == 0, c.stderr)
    c = cli("list", "--server", d.url)
    check("twin list asks the daemon", c.returncode == 0 and json.loads(c.stdout), c.stderr)
    c = cli("predict", "--target", "pg", "--set", "work_mem=8MB", "--server", d.url)
    check("twin predict asks the daemon", c.returncode == 0 and json.loads(c.stdout)["basis"]["known"], c.stderr)
    c = cli("run", "--target", "pgg", "--set", "work_mem=8MB", "--server", d.url)
    check("its refusals are bad input", c.returncode == 2 and "pgg" in c.stderr, (c.returncode, c.stderr))


def tokens_end(d, tokens):
    r = cli("token", "revoke", tokens["viewer"].split("_")[1])
    check("a token is revoked", r.returncode == 0, r.stderr)
    gone = d.get("/api/v1/simulation", tokens["viewer"])
    check("and is refused from then on", gone.status_code == 401 and "revoked" in gone.json()["error"], gone.text)
    codes = [d.get("/api/v1/simulation", "twn_aaaaaaaaaa_" + "A" * 43).status_code for _ in range(12)]
    check("who guesses is locked out", codes[0] == 401 and codes[-1] == 429, codes)


def kills(d):
    """Killed while creates are in flight: what was answered is there."""
    for _ in range(KILLS):
        accepted = []

        def create(n, url):
            try:
                for _ in range(1000):
                    r = requests.post(url + "/api/v1/simulation/create", json=change(n=n), timeout=20)
                    if r.status_code == 201:
                        accepted.append(r.json()["id"])
            except requests.RequestException:
                pass  # unknown, not refused

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for n in range(8):
                pool.submit(create, n, d.url)
            wait_for("some are accepted", lambda: len(accepted) > 20)
            d.kill()
        d = Daemon()
        lost = [i for i in accepted if d.get("/api/v1/simulation/" + i).status_code != 200]
        check("nothing that was accepted is lost", not lost, lost)
    r = d.post("/api/v1/simulation/run", change(steps=1, step_s=2), Prefer="respond-async").json()
    where = "/api/v1/simulation/" + r["id"]
    wait_for("it runs", lambda: d.get(where).json()["status"] == "running")
    d.kill()
    d = Daemon()
    wait_for("it is taken up after a kill", lambda: d.get(where).json()["status"] == "success")
    return d


def audit(d):
    c = cli("audit", "verify")
    check("the chain holds after all of it", c.returncode == 0 and "holds" in c.stdout, c.stdout + c.stderr)
    db = sqlite3.connect(STATE + "/twin.db")
    db.execute("DROP TRIGGER audit_stays")
    db.execute("UPDATE audit SET actor = 'somebody' WHERE seq = 5")
    db.commit()
    c = cli("audit", "verify")
    check("a changed entry is named", c.returncode != 0 and "entry 5" in c.stderr, c.stderr)
    db.execute("DELETE FROM audit WHERE seq >= 5")
    db.commit()
    db.close()
    c = cli("audit", "verify")
    check("a chain cut short is seen", c.returncode != 0 and "end is missing" in c.stderr, c.stderr)


def outside():
    r = subprocess.run([PROGRAM, "serve", "--listen", "0.0.0.0:0"], env=ENV, capture_output=True, text=True, timeout=60)
    check("it does not listen for everybody in plain", r.returncode == 2 and "openssl req" in r.stderr, r.stderr)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", TOP + "/k", "-out", TOP + "/c"],
                   check=True, capture_output=True)
    with open(TOP + "/twin.yaml", "w") as f:
        f.write(f"server:\n  tls_cert: {TOP}/c\n  tls_key: {TOP}/k\n")
    secret = token("--person", "tls", "--roles", "operator")
    d = Daemon("--config", TOP + "/twin.yaml")
    base = f"https://localhost:{d.port}"
    check("TLS needs a token", requests.get(base + "/api/v1/simulation", verify=TOP + "/c").status_code == 401)
    h = {"Authorization": "Bearer " + secret}
    r = requests.post(base + "/api/v1/simulation/run", json=change(steps=3, step_s=0.05), headers={**h, "Prefer": "respond-async"}, verify=TOP + "/c")
    check("and works with one", r.status_code == 202, r.text)
    context = ssl.create_default_context(cafile=TOP + "/c")
    got = asyncio.run(asyncio.wait_for(read_stream(
        f"wss://localhost:{d.port}/ws/simulation?id=" + r.json()["id"], ssl=context,
        subprotocols=["twin.v1", "bearer." + secret]), 30))
    check("the stream works under TLS, its token as a subprotocol", got[-1]["status"] == "success", got)
    check("it ends cleanly", d.kill(signal.SIGTERM) == 0)


def main():
    os.makedirs(STATE, mode=0o700)
    cli("env", "add", "pg", "--type", "postgresql", "--data", "clone", "--data-dir", "/nonexistent", "--tier", "staging")
    d = Daemon()
    try:
        simple(d)
        standing_ready(d)
        rights(d)
        ends(d)
        repeats(d)
        mistakes(d)
        tokens = {r: token("--person", r + "-1", "--roles", r) for r in ("viewer", "operator", "approver", "admin")}
        roles(d, tokens)
        states(d, tokens)
        approvals(d, tokens)
        stream(d)
        gone_before_the_answer(d)
        knowledge(d)
        commands(d)
        tokens_end(d, tokens)
        d = kills(d)
        check("it ends cleanly", d.kill(signal.SIGTERM) == 0)
        audit(d)
        outside()
    finally:
        if d.p.poll() is None:
            d.kill()
    sys.exit(1 if failures else 0)


main()
