#!/usr/bin/python3
"""Simulations one after the other by a few clients: many_simulations.py PORT COUNT PID. Prints what each of the second half
leaves in the memory of the daemon and of its helper, by the median of the looks in each quarter."""
import concurrent.futures
import http.client
import json
import statistics
import sys

PORT, COUNT, PID = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
BODY = json.dumps({"type": "config_change", "target": "pg", "change": {"work_mem": "8MB"}, "metadata": {"steps": 0}})
CLIENTS, LOOKS = 4, 40


def children():
    with open(f"/proc/{PID}/task/{PID}/children") as f:
        return [int(p) for p in f.read().split()]


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith(("Private_Dirty", "Private_Clean")))


def some(n):
    c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
    bad = 0
    for _ in range(n):
        c.request("POST", "/api/v1/simulation/run", BODY, {"Content-Type": "application/json"})
        bad += json.loads(c.getresponse().read())["status"] != "success"
    c.close()
    return bad


everybody = {"daemon": PID, **({"helper": children()[0]} if children() else {})}
looks, bad = {name: [] for name in everybody}, 0
with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
    for _ in range(LOOKS):
        bad += sum(pool.map(some, [COUNT // LOOKS // CLIENTS] * CLIENTS))
        for name, pid in everybody.items():
            looks[name].append(private_kib(pid))
done = COUNT // LOOKS // CLIENTS * CLIENTS * LOOKS
for name, kib in looks.items():
    third, last = (statistics.median(kib[i:i + LOOKS // 4]) for i in (LOOKS // 2, 3 * LOOKS // 4))
    print(f"{name}: {kib[0] / 1024:.1f} MiB at first, {kib[-1] / 1024:.1f} MiB after {done} simulations ({bad} of them failed), "
          f"{1024 * (last - third) / (done / 4):.0f} bytes more for each of the second half")
