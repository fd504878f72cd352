"""Statistics of sampled foreground intensities, computed with NumPy as nnU-Net 2.8.1 does it.

Run: python make.py   (writes intensity.json and versions.txt beside itself)
Two cases of two channels; the second case has its second channel constant.
"""
import json
import pathlib
import sys

import numpy as np

here = pathlib.Path(__file__).parent
data = np.random.RandomState(0)
cases = [
    [data.normal(100, 30, 300).astype(np.float32), data.uniform(-5, 5, 300).astype(np.float32)],
    [data.normal(-50, 1000, 77).astype(np.float32), np.full(77, 2.25, np.float32)],
]
samples = 5003
drawn = [[], []]
for case in cases:
    rs = np.random.RandomState(1234)
    for c in range(2):
        drawn[c].append(rs.choice(case[c], samples, replace=True))
statistics = []
for c in range(2):
    v = np.concatenate(drawn[c])
    low, median, high = np.percentile(v, np.array((0.5, 50.0, 99.5)))
    statistics.append({"mean": float(np.mean(v)), "median": float(median), "std": float(np.std(v)),
                       "min": float(np.min(v)), "max": float(np.max(v)),
                       "percentile_99_5": float(high), "percentile_00_5": float(low)})
out = {"samples": samples, "cases": [[[float(x) for x in c] for c in case] for case in cases],
       "statistics": statistics}
json.dump(out, open(here / "intensity.json", "w"), indent=0)
open(here / "versions.txt", "w").write(f"python {sys.version.split()[0]}\nnumpy {np.__version__}\n")
