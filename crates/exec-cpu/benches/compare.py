"""Measures rows of networks.json alternately with this program and with PyTorch, and prints medians of ratios.

Usage, from the repository, with a Python that has torch and nnunetv2:
    python crates/exec-cpu/benches/compare.py NAME... [--rounds N] [--threads N] [--bf16] [--precision NAME] [--once]
--bf16 runs PyTorch in bf16 autocast, --precision is what this program computes in.
Each round runs both programs once, each with a warm-up and the median of three repetitions of its own (one repetition without
warm-up with --once, for rows that take minutes). A ratio is that of one round, so that a change of the machine's load between
rounds does not matter; medians are over rounds.
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys

here = pathlib.Path(__file__).resolve().parent


def bench(name):
    """Builds the bench and returns its program."""
    command = ["cargo", "bench", "-q", "-p", "nnunet-exec-cpu", "--bench", name, "--no-run", "--message-format=json"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=here).stdout.splitlines()
    built = [json.loads(line) for line in lines if line.startswith("{")]
    return next(b["executable"] for b in built if b.get("executable") and b["target"]["name"] == name)


def measure(command):
    """Seconds and peak MiB that the program prints."""
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(re.search(rf"^\S+ {what} ([\d.]+)$", text, re.M).group(1)) for what in ("seconds", "peak_mib")]


parser = argparse.ArgumentParser()
parser.add_argument("names", nargs="+")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", default="2")
parser.add_argument("--bf16", action="store_true")
parser.add_argument("--precision", default="fast")
parser.add_argument("--once", action="store_true")
arguments = parser.parse_args()
once = ["once"] * arguments.once
for name in arguments.names:
    ours = [bench(name), arguments.threads, arguments.precision, *once]
    theirs = [sys.executable, str(here / "torch_reference.py"), name, arguments.threads, *["bf16"] * arguments.bf16, *once]
    rounds = []
    for _ in range(arguments.rounds):
        rounds.append((measure(ours), measure(theirs)))
        (own, own_memory), (other, other_memory) = rounds[-1]
        print(f"{name}: {own:.3f} s, {own_memory:.0f} MiB; torch {other:.3f} s, {other_memory:.0f} MiB", flush=True)
    ratios = [other[0] / own[0] for own, other in rounds]
    memory = [own[1] / other[1] for own, other in rounds]
    print(f"{name} median of ratios {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}),"
          f" memory {100 * statistics.median(memory):.0f} %", flush=True)
