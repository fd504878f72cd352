"""Wilcoxon's signed-rank test by SciPy, and Holm's correction by its definition.

Run: pip install scipy && python make_signed_rank.py   (writes signed_rank.json beside itself)
"""
import json
import pathlib
from importlib.metadata import version

import numpy as np
from scipy import stats

here = pathlib.Path(__file__).parent


def holm(p):
    """Step-down: the k-th smallest p times the number of those left, never below the one before."""
    order, out, largest = np.argsort(p, kind="stable"), np.empty(len(p)), 0.0
    for k, i in enumerate(order):
        largest = min(1.0, max(largest, (len(p) - k) * p[i]))
        out[i] = largest
    return list(out)


def case(d):
    d = np.asarray(d, float)
    result = stats.wilcoxon(d)
    ranks = stats.rankdata(np.abs(d[d != 0]))
    plus, minus = ranks[d[d != 0] > 0].sum(), ranks[d[d != 0] < 0].sum()
    return {"differences": list(d), "p": float(result.pvalue), "statistic": float(result.statistic),
            "rank_biserial": float((plus - minus) / (plus + minus))}


rs = np.random.RandomState(7)
cases = [case([0.3]), case([-0.1, 0.2]), case([1, 2, 3, 4, 5, 6]), case([0, 0, 0.5, -0.25, 1.0])]
for n in [5, 13, 14, 30, 50, 51, 200]:
    plain = np.round(rs.normal(0.1, 1, n), 9)
    tied = np.round(rs.normal(0.2, 1, n), 1)
    zeros = tied * (rs.uniform(size=n) > 0.3)
    cases += [case(plain), case(tied), case(zeros)]
p = [0.01, 0.04, 0.03, 0.005, 0.9]
out = {"cases": cases, "holm": {"p": p, "corrected": holm(np.array(p))}, "scipy": version("scipy")}
(here / "signed_rank.json").write_text(json.dumps(out, indent=1) + "\n")
