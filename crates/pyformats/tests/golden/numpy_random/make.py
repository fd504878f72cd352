"""Draws of numpy.random.RandomState for the tests of `nnunet::numpy_random`.

Run: python make.py   (writes draws.json and versions.txt beside itself)
Long results are stored as their first entries and sum((index + 1) * value) modulo 2**64.
"""
import json
import pathlib
import sys

import numpy as np

here = pathlib.Path(__file__).parent


def digest(values):
    v = np.asarray(values).astype(np.uint64)
    weights = np.arange(1, len(v) + 1, dtype=np.uint64)
    return {"len": len(v), "first": [int(x) for x in v[:8]], "sum": str(int((v * weights).sum(dtype=np.uint64)))}


out = {}
rs = np.random.RandomState(1234)
out["random_sample_1234"] = [float(x) for x in rs.random_sample(700)]
out["after_random_sample"] = int(rs.randint(0, 1 << 32))
out["uniform"] = [float(x) for x in np.random.RandomState(7).uniform(-3.5, 11.25, 20)]
out["normal"] = [float(x) for x in np.random.RandomState(99).normal(2.0, 0.5, 21)]

out["randint"] = []
for seed, low, high, n in [(0, 0, 1, 5), (0, 0, 2, 40), (5, -7, 1000, 300), (1, 0, 1 << 32, 50),
                           (2, 10, (1 << 40) + 3, 50), (4294967295, 0, 624, 2000)]:
    rs = np.random.RandomState(seed)
    v = rs.randint(low, high, n)
    out["randint"].append({"seed": seed, "low": low, "high": high, "n": n,
                           "values": [int(x) for x in v[:20]],
                           "sum": str(int(v.astype(np.int64).sum())), "next": int(rs.randint(0, 1 << 32))})

out["choice_replace"] = []
for seed, n, size in [(1234, 1, 10), (1234, 3000, 100000), (1234, 4096, 5000), (1234, 4097, 497512)]:
    rs = np.random.RandomState(seed)
    d = digest(rs.choice(n, size, replace=True))
    out["choice_replace"].append({"seed": seed, "n": n, "size": size, **d, "next": int(rs.randint(0, 1 << 32))})

out["permutation"] = []
for seed, n in [(12345, 201), (12345, 5), (3, 1), (3, 0), (3, 2)]:
    rs = np.random.RandomState(seed)
    out["permutation"].append({"seed": seed, "n": n, "values": [int(x) for x in rs.permutation(n)],
                               "next": int(rs.randint(0, 1 << 32))})

out["choice_without_replacement"] = []
for seed, n, k in [(1234, 10, 10), (1234, 1000, 7), (1234, 70000, 10000), (12345, 201, 160),
                   (1234, 3000000, 30000), (1234, 5000000, 50000), (8, 4500000, 0)]:
    rs = np.random.RandomState(seed)
    d = digest(rs.choice(n, k, replace=False))
    out["choice_without_replacement"].append({"seed": seed, "n": n, "k": k, **d,
                                              "next": int(rs.randint(0, 1 << 32))})

json.dump(out, open(here / "draws.json", "w"), indent=1)
open(here / "versions.txt", "w").write(f"python {sys.version.split()[0]}\nnumpy {np.__version__}\n")
