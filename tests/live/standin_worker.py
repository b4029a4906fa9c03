#!/usr/bin/python3
"""A worker that runs no sandbox: the queue, the API and the stream are tested with it.
The request's metadata says how it behaves: {"steps": 3, "step_s": 0.05, "end": "review"}."""
import json
import os
import signal
import socket
import sys
import time

job = json.load(sys.stdin)
sim = json.loads(job["simulation"])
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))


def tell(**event):
    print(json.dumps(event), flush=True)


def end(body, refused=False):
    tell(event="result", refused=refused, body=body)
    sys.exit(0)


if job["verb"] == "follow":
    while not stopped:
        time.sleep(0.05)
    end({"code": 0, "error": None})
if job["verb"] == "warm":  # the simulation comes later
    tell(event="ready")
    hand = socket.socket(fileno=3)
    hand.setblocking(True)
    hand.settimeout(0.05)
    while not stopped:
        try:
            _, fds, _, _ = socket.recv_fds(hand, 1, 1)
        except TimeoutError:
            continue
        with os.fdopen(fds[0]) as f:
            f.seek(0)
            job = json.load(f)
        sim = json.loads(job["simulation"])
        tell(event="taken")
        break
    if stopped:
        sys.exit(0)
how = sim.get("metadata") or {}
if how.get("child"):  # somebody who would be left behind
    os.posix_spawn("/bin/sleep", ["sleep", "300"], os.environ)
if job["verb"] != "run":
    n = {"sha256": "0" * 64, "taken_at": "2026-01-01T00:00:00Z", "version": "15.1", "connections_used": 7,
         "settings": [{"name": "work_mem", "value": str(os.getppid())}],
         "cost": {"statements": 3, "bytes": 100, "seconds": 0.1}}
    end({"snapshot": n, "seconds": 0.1})
for i in range(how.get("steps", 2)):
    both = {"baseline": 1.0, "candidate": 1.1}
    tell(event="progress", stage="trial", done=i / 10, elapsed_s=0.1 * i, left_s=None, p50_ms=both, p95_ms=both,
         throughput_per_s=both, pairs=i, confidence=0.5)
    until = time.monotonic() + how.get("step_s", 0.01)
    while time.monotonic() < until and not stopped:
        time.sleep(0.01)
    if stopped:
        end(dict(sim, status="cancelled", error="cancelled before stage 'trial'"))
what = how.get("end", "review")
if what == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "silent":
    sys.exit(3)
if what == "refused":
    end(dict(sim, status="failed", error="'work_mem' takes 64 to 2147483647",
             problem={"code": -22, "pointer": "/change/work_mem", "text": "'work_mem' takes 64 to 2147483647"}), True)
score = {"proceed": 10, "review": 60, "block": 90}[what]
row = {"before": 1.0, "after": 1.1, "ratio": 1.1, "low": 1.09, "high": 1.11, "level": 0.9, "n": 10}
impact = {"risk_score": score, "risk_level": "high", "issues": [], "confidence": 0.9, "performance": {"p50_ms": row}}
end(dict(sim, status="success", error=None, decision=what, predicted_impact=impact, plan_sha256="ab" * 32))
