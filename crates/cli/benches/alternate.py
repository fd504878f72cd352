"""Times two programs alternately as whole processes. Works on Linux.

For each run: CPU seconds with all child processes, wall clock, and the peak of the memory of the whole process tree
(proportional set size, sampled every 50 ms); at the end the medians of the ratios reference / ours.
"""
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path


def tree(pid):
    """The process and its descendants."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                found += [int(c) for c in Path(f"/proc/{parent}/task/{task}/children").read_text().split()]
        except OSError:
            pass
    return found


def memory(pid):
    """Proportional set size of a process in bytes."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def measure(command, environment, log):
    """CPU seconds, wall seconds and peak memory (GiB) of a command with its children."""
    with open(log, "wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
        peak, done = [0], threading.Event()

        def watch():
            while not done.wait(.05):
                peak[0] = max(peak[0], sum(memory(p) for p in tree(process.pid)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        done.set()
        watcher.join()
    if status != 0:
        sys.exit(f"{command} ended with {status}; see {log}")
    return usage.ru_utime + usage.ru_stime, wall, peak[0] / 2 ** 30


def alternate(name, sides, runs, logs, prepare):
    """Runs the commands `sides["ours"]` and `sides["reference"]` in turn; `prepare(side)` gives the environment."""
    ratios = []
    for run in range(runs):
        figures = {}
        for side, command in sides.items():
            figures[side] = cpu, wall, peak = measure(command, prepare(side), Path(logs) / f"{side}_{name}.log")
            figure = f"cpu {cpu:8.1f} s  wall {wall:8.1f} s  peak {peak:6.2f} GiB"
            print(f"{name} run {run + 1} {side:<9} {figure}", flush=True)
        ratios.append([r / o for r, o in zip(figures["reference"], figures["ours"])])
    cpu, wall, peak = (statistics.median(column) for column in zip(*ratios))
    print(f"{name} reference / ours: cpu {cpu:.1f}x  wall {wall:.1f}x  peak memory {peak:.1f}x", flush=True)
