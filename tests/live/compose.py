#!/usr/bin/python3
"""docker-compose.yml as a user has it: brought up, the three requests of the specification, a decision
   taken by the snippet of the integration guide, a WebSocket client; taken down, and nothing is left.
   compose.py DIRECTORY: of a private Engine that runs. Prints what failed; exit 0: nothing."""
import asyncio
import ctypes
import json
import os
import socket
import subprocess
import sys
import time

import requests
import websockets

DIRECTORY = sys.argv[1]
ENV = {**os.environ, "DOCKER_HOST": f"unix://{DIRECTORY}/s.sock", "DOCKER_SOCKET": f"{DIRECTORY}/s.sock"}
PROJECT = "demo"
BASE = "http://digital-twin:8090"
CLONE_NEWNET = 0x40000000
REQUESTS = {
    "config_change": {"type": "config_change", "target": "postgresql-primary",
                      "change": {"max_connections": 500, "shared_buffers": "2GB"}, "duration_hours": 24},
    "scaling": {"type": "scaling", "target": "web-app-cluster",
                "change": {"instances": 10, "cpu": "2 cores", "memory": "4GB"}, "load_scenario": "peak_traffic"},
    "security": {"type": "security", "target": "firewall-rules",
                 "change": {"action": "add_rule", "port": 443, "source": "0.0.0.0/0", "protocol": "tcp"},
                 "security_scan": True},
}
failures = []


def check(what, good, seen=None):
    if not good:
        failures.append(what)
        print("FAILED:", what, "| seen:", str(seen)[:600], flush=True)


def docker(*args, program="docker", within=300):
    return subprocess.run([program, *args], env=ENV, capture_output=True, text=True, timeout=within)


def compose(*args):
    return docker("-p", PROJECT, *args, program="docker-compose")


def container(service):
    return f"{PROJECT}_{service}_1"


def as_second_container():
    """This process is from now on where the container `load` is: its network, its names."""
    inspected = json.loads(docker("inspect", container("load"), container("digital-twin")).stdout)
    address = next(iter(inspected[1]["NetworkSettings"]["Networks"].values()))["IPAddress"]
    fd = os.open(f"/proc/{inspected[0]['State']['Pid']}/ns/net", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **more: resolve(
        address if host in ("digital-twin", b"digital-twin") else host, *rest, **more)


def wait_until_ready():
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if requests.get(BASE + "/readyz", timeout=2).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    check("the daemon is ready", False, docker("logs", container("digital-twin")).stderr)


def wait_for_data():
    """The load makes its tables first."""
    end = time.monotonic() + 180
    count = "SELECT count(*) FROM pgbench_history"
    while time.monotonic() < end:
        got = docker("exec", container("postgresql"), "psql", "-h", "/run/postgresql", "-U", "shop", "-Atc", count, "shop")
        if got.returncode == 0 and int(got.stdout) > 0:
            return
        time.sleep(0.5)
    check("somebody uses the database", False, docker("logs", container("load")).stderr)


def targets():
    seen = requests.get(BASE + "/api/v1/environments", timeout=10).json()
    names = sorted(s["name"] for e in seen["items"] for s in e["services"])
    check("exactly the three targets", names == ["firewall-rules", "postgresql-primary", "web-app-cluster"], names)


def decide(change):
    """As in the specification."""
    r = requests.post(BASE + "/api/v1/simulation/run",
                      json={"change_request": change, "duration_hours": 24, "risk_level": "high"}, timeout=300).json()
    if r["status"] == "success":
        return r, r["predicted_impact"]["risk_score"] < 50, r["predicted_impact"]["issues"]
    return r, None, r["error"]


def three_requests():
    for kind, change in REQUESTS.items():
        r, safe, why = decide(change)
        check(f"{kind} is simulated", safe is not None, why)
        check(f"{kind}: below 50 if and only if proceed",
              safe is None or safe == (r["decision"] == "proceed"), r.get("decision"))


def a_change_that_fails():
    r, safe, why = decide({**REQUESTS["config_change"], "change": {"shared_buffers": "60000GB"}})
    check("a value beyond the range is refused with a sentence", safe is None and "shared_buffers" in why, why)
    r, safe, why = decide({**REQUESTS["config_change"], "change": {"shared_preload_libraries": "missing"}})
    check("a change that does not start is not safe", safe is False and r["decision"] == "block", why)


async def stream():
    created = requests.post(BASE + "/api/v1/simulation/create", json=REQUESTS["security"], timeout=10).json()
    seen = []
    async with websockets.connect("ws://digital-twin:8090/ws/simulation?id=" + created["id"]) as ws:
        requests.post(BASE + "/api/v1/simulation/run", json={"id": created["id"]}, timeout=10,
                      headers={"Prefer": "respond-async"})
        while not seen or seen[-1].get("status") not in ("success", "failed", "cancelled"):
            m = json.loads(await asyncio.wait_for(ws.recv(), 60))
            seen.append(m)
            check("every message has its four parts",
                  isinstance(m.get("id"), str) and isinstance(m.get("metrics"), dict) and
                  isinstance(m.get("prediction"), dict) and 0 <= m.get("confidence", -1) <= 1, m)
    check("several messages came", len(seen) >= 3, seen)


def main():
    up = compose("up", "-d")
    check("docker-compose up", up.returncode == 0, up.stderr)
    if up.returncode != 0:
        return
    as_second_container()
    wait_until_ready()
    wait_for_data()
    targets()
    three_requests()
    a_change_that_fails()
    asyncio.run(stream())


try:
    main()
finally:
    check("docker-compose down", compose("down", "-v", "-t", "5").returncode == 0)
    left = docker("ps", "-aq").stdout.split() + docker("volume", "ls", "-q").stdout.split()
    check("no container and no volume is left", not left, left)
    print(f"{len(failures)} failed")
sys.exit(1 if failures else 0)
