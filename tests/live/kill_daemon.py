#!/usr/bin/python3
"""kill -9 of the daemon and of its helper: at random moments, at named steps, while they recover.
Prints counts; exit 0: nobody was left behind, nothing accepted was lost, the audit chain holds.
   kill_daemon.py PROGRAM DIRECTORY [ROUNDS [SEED]]"""
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import requests

TOP = sys.argv[2]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 300
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else random.randrange(1 << 30)
rng = random.Random(SEED)
STATE, SOCKET, PROGRAM = TOP + "/state", TOP + "/helper.sock", TOP + "/twin"
WORKER = TOP + "/worker.py"
USER = "61873"  # that of a daemon without an account of its own
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TWIN_STATE_DIR": STATE, "HOME": TOP,
       "TWIN_WORKER": WORKER, "XDG_CONFIG_HOME": TOP, "TWIN_ENVIRONMENT_SYNC_INTERVAL_MINUTES": "0"}
STEPS = ["helper.ready", "helper.asked", "helper.started", "helper.ended", "helper.buried", "priv.journal.opened",
         "priv.cgroup.made", "priv.cgroup.removed", "priv.reap.undone", "priv.journal.reaped"]
SLOW = 60  # seconds for what takes a moment on a machine that does nothing else
counts = dict.fromkeys(["kills", "of the daemon", "of the helper", "at a named step", "during recovery", "as two services",
                        "accepted", "lost", "orphans", "not ended"], 0)
worst_clear_s = 0.0
failures = []


def fail(what):
    failures.append(what)
    print("FAILED:", what, flush=True)


def wait_for(test, seconds=SLOW):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = test()
        if got:
            return got
        time.sleep(0.01)
    return None


def stat_of(pid):
    """State and parent; None: it is gone."""
    try:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        return fields[0], int(fields[1])
    except (OSError, IndexError):
        return None


def ours():
    """Processes of this test, by the state directory in their environment."""
    found = set()
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as f:
                mine = b"TWIN_STATE_DIR=" + STATE.encode() in f.read()
        except OSError:
            continue
        pid = int(path.split("/")[2])
        state = stat_of(pid)
        if mine and state and state[0] not in "ZX":
            found.add(pid)
    return found


def parts(pid):
    """A process with all below it."""
    parents = {}
    for p in ours():
        state = stat_of(p)
        if state:
            parents.setdefault(state[1], []).append(p)
    found, more = set(), [pid]
    while more:
        p = more.pop()
        found.add(p)
        more += parents.get(p, [])
    return found


class System:
    """The daemon alone, with its own helper; or the two as services, this script in the place of systemd."""

    def __init__(self, two):
        self.two, self.daemon, self.helper, self.url = two, None, None, None

    def popen(self, args, env, **kw):
        with open(TOP + "/log", "a") as log:
            return subprocess.Popen(args, env={**ENV, **env}, stderr=log, text=True, **kw)

    def start_helper(self, **env):
        self.helper = self.popen([PROGRAM, "sandboxd"], {"TWIN_SANDBOX_HELPER_SOCKET": SOCKET, **env})

    def start(self, **env):
        if self.two:
            if not self.helper or self.helper.poll() is not None:
                self.start_helper(**env)
            if not wait_for(lambda: os.path.exists(SOCKET) or self.helper.poll() is not None):
                fail("the helper does not listen")
        as_user = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"] if self.two else []
        own = {"TWIN_SANDBOX_HELPER_SOCKET": SOCKET} if self.two else {}
        self.daemon = self.popen(as_user + [PROGRAM, "serve", "--listen", "127.0.0.1:0"], {**own, **env},
                                 stdout=subprocess.PIPE)

    def ready(self):
        """False: it ended before it was."""
        line = self.daemon.stdout.readline()
        if " port " not in line:
            self.daemon.wait()
            return False
        self.url = "http://127.0.0.1:" + line.split(" port ")[1].split(",")[0].strip() + "/api/v1/simulation"
        return True

    def helper_pid(self):
        if self.two:
            return self.helper.pid if self.helper and self.helper.poll() is None else None
        for p in ours():
            state = stat_of(p)
            if state and state[1] == self.daemon.pid:
                return p
        return None

    def kill(self, which):
        pid = self.daemon.pid if which == "daemon" else self.helper_pid()
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            counts["kills"] += 1
            counts["of the " + which] += 1
        if self.two and which == "helper":
            self.helper.wait()

    def gone(self):
        """Whoever lost the other half without a way back ends by itself."""
        try:
            self.daemon.wait(timeout=SLOW)
        except subprocess.TimeoutExpired:
            fail("a daemon without its helper goes on")
            self.daemon.kill()
            self.daemon.wait()
        self.daemon.stdout.close()

    def end(self):
        self.daemon.send_signal(signal.SIGTERM)
        code = self.daemon.wait(timeout=SLOW)
        self.daemon.stdout.close()
        if self.two:
            self.helper.send_signal(signal.SIGTERM)
            self.helper.wait(timeout=SLOW)
        return code


def client(url, accepted, stop):
    n = 0
    body = {"type": "config_change", "target": "pg", "change": {"work_mem": "8MB"},
            "metadata": {"steps": 2, "step_s": 0.02, "child": True, "end": "proceed"}}
    try:
        while not stop.is_set():
            n += 1
            where = "/create" if n % 3 else "/run"
            r = requests.post(url + where, json=body, headers={"Prefer": "respond-async"}, timeout=SLOW)
            if r.status_code in (201, 202):
                accepted.append((r.json()["id"], where == "/run"))
            stop.wait(0.005)
    except (requests.RequestException, ValueError):
        pass  # unknown, not refused


def load(system, seconds):
    """Calls in flight for so long; gives what was accepted, and how to end it."""
    accepted, stop = [], threading.Event()
    threads = [threading.Thread(target=client, args=(system.url, accepted, stop)) for _ in range(3)]
    for t in threads:
        t.start()
    time.sleep(seconds)
    return accepted, stop, threads


def census(system):
    """Who of us lives and belongs to nobody that runs now."""
    alive = parts(system.daemon.pid) | (parts(system.helper.pid) if system.two else set())
    return sorted(p for p in ours() - alive if stat_of(p))


def journals():
    """Of helpers and workers; each that lives has one."""
    return len(glob.glob(STATE + "/run/*.journal"))


def check_left(system):
    global worst_clear_s
    begun = time.monotonic()
    clear = wait_for(lambda: not census(system), 5)
    worst_clear_s = max(worst_clear_s, time.monotonic() - begun)
    if not clear:
        left = census(system)
        counts["orphans"] += len(left)
        fail(f"left behind 5 s after the restart: {left}")


def check_accepted(system, all_accepted):
    for sim, _ in all_accepted:
        try:
            there = requests.get(system.url + "/" + sim, timeout=SLOW).status_code == 200
        except requests.RequestException as e:
            return fail(f"the daemon does not answer: {e}")
        if not there:
            counts["lost"] += 1
            fail(f"{sim} was accepted and is not there")
    return None


def one_round(system, number):
    step = rng.choice(STEPS) if number % 3 == 2 else None
    victim = "helper" if number % 2 else "daemon"
    if step:  # whoever comes to it kills himself
        system.start(TWIN_KILL_AT=step)
        counts["at a named step"] += 1
        counts["kills"] += 1
    else:
        system.start()
    accepted = []
    if system.ready():
        accepted, stop, threads = load(system, rng.uniform(0, 0.3))
        if not step or system.two:
            system.kill(victim)
        if step and not system.two and system.daemon.poll() is None:
            # a worker's own step, or one that was not come to: end it as the others
            wait_for(lambda: system.daemon.poll() is not None, 0.3)
            if system.daemon.poll() is None:
                system.kill("daemon")
        if system.two and victim == "helper":  # as systemd does; the daemon goes back to it
            system.start_helper()
            counts["as two services"] += 1
            time.sleep(rng.uniform(0, 0.3))
            system.kill("daemon")
        stop.set()
        for t in threads:
            t.join()
    system.gone()
    while rng.random() < 0.3:  # once more, while it recovers
        system.start()
        time.sleep(rng.uniform(0, 0.1))
        if system.daemon.poll() is None:
            system.kill(rng.choice(["daemon", "helper"]))
            if system.daemon.poll() is None:
                system.kill("daemon")
            counts["during recovery"] += 1
        system.gone()
    if system.two and system.helper.poll() is not None:
        system.helper = None
    system.start()
    if not system.ready():
        fail(f"round {number}: it does not start again")
        return accepted
    counts["accepted"] += len(accepted)
    check_left(system)
    check_accepted(system, accepted)
    system.kill("daemon")  # the next round begins where this one was killed
    system.gone()
    return accepted


def finish(system, everything):
    """All that was to run ends, and says how; the chain holds."""
    system.start()
    if not system.ready():
        return fail("the last start fails")

    def open_ones():
        return [i for i, runs in everything if runs and requests.get(system.url + "/" + i, timeout=SLOW).json()["status"]
                not in ("success", "failed", "cancelled")]
    if not wait_for(lambda: not open_ones(), 120):
        counts["not ended"] = len(open_ones())
        fail(f"{counts['not ended']} simulations do not end")
    if system.end() != 0:
        fail("it does not end cleanly")
    left = wait_for(lambda: not ours(), 5)
    if left is None:
        fail(f"left behind after a clean end: {sorted(ours())}")
    if journals():
        fail(f"{journals()} journals are left after a clean end")
    groups = [g for g in glob.glob("/sys/fs/cgroup/*/twin/*/worker-*")
              if any(i in g for i, _ in everything)]
    if groups:
        fail(f"control groups are left: {groups[:3]}")


def main():
    os.chmod(TOP, 0o711)
    os.makedirs(STATE, mode=0o711)
    shutil.copy(sys.argv[1], PROGRAM)
    shutil.copy(os.path.dirname(os.path.abspath(__file__)) + "/standin_worker.py", WORKER)
    subprocess.run([PROGRAM, "env", "add", "pg", "--type", "postgresql", "--data", "clone", "--data-dir", "/nonexistent"],
                   env=ENV, check=True, capture_output=True)
    begun = time.monotonic()
    everything = []
    try:
        for two in (False, True):
            system = System(two)
            for number in range(ROUNDS):
                if counts["kills"] >= (ROUNDS * (1 + two)) / 2:
                    break
                everything += one_round(system, number)
            finish(system, everything)
    finally:
        for p in ours():
            os.kill(p, signal.SIGKILL)
    r = subprocess.run([PROGRAM, "audit", "verify"], env=ENV, capture_output=True, text=True)
    if r.returncode != 0:
        fail("the audit chain does not hold: " + r.stderr)
    counts["failures"] = len(failures)
    print(json.dumps({**counts, "seconds": round(time.monotonic() - begun), "longest to clear, s": round(worst_clear_s, 2),
                      "seed": SEED, "audit": r.stdout.strip()}, indent=1))
    sys.exit(1 if failures else 0)


main()
