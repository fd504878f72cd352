"""Statistics of paired measurements and of groups, by SciPy, statsmodels and pingouin; what they lack by its definition.

Run: pip install scipy statsmodels pingouin && python make.py   (writes statistics.json and versions.txt beside itself)
"""
import json
import pathlib
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
import pingouin as pg
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

here = pathlib.Path(__file__).parent


def agreement(a, b):
    d, m, n = b - a, (a + b) / 2, len(a)
    t = stats.t.ppf(0.975, n - 1)
    sd = d.std(ddof=1)
    fit, calibration = stats.linregress(m, d), stats.linregress(a, b)
    reach = stats.t.ppf(0.975, n - 2)
    long = pd.DataFrame({"s": list(range(n)) * 2, "r": ["a"] * n + ["b"] * n, "v": np.r_[a, b]})
    icc = pg.intraclass_corr(long, "s", "r", "v").set_index("Type")["ICC"]
    return {
        "bias": d.mean(), "bias_low": d.mean() - t * sd / np.sqrt(n), "sd": sd,
        "lower": d.mean() - 1.96 * sd, "lower_low": d.mean() - 1.96 * sd - t * sd * np.sqrt(3 / n),
        "upper_high": d.mean() + 1.96 * sd + t * sd * np.sqrt(3 / n),
        "slope": fit.slope, "slope_p": fit.pvalue,
        "calibration": calibration.slope, "calibration_low": calibration.slope - reach * calibration.stderr,
        "intercept": calibration.intercept, "correlation": calibration.rvalue,
        "ccc": 2 * np.cov(a, b, ddof=0)[0, 1] / (a.var() + b.var() + (a.mean() - b.mean()) ** 2),
        "icc": float(icc[[name for name in icc.index if name in ("ICC2", "ICC(A,1)")][0]]),
    }


def effects(a, b):
    welch = stats.ttest_ind(b, a, equal_var=False)
    interval = welch.confidence_interval()
    se = np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    margin = 0.5
    tost = max(stats.t.sf((b.mean() - a.mean() + margin) / se, welch.df), stats.t.sf((margin - b.mean() + a.mean()) / se, welch.df))
    single = stats.ttest_1samp(a, 0)
    return {
        "difference": b.mean() - a.mean(), "low": interval.low, "t": welch.statistic, "degrees": welch.df, "p": welch.pvalue,
        "rank_p": stats.mannwhitneyu(a, b, method="asymptotic").pvalue,
        "g": pg.compute_effsize(b, a, eftype="hedges"), "tost": tost,
        "one_t": single.statistic, "one_p": single.pvalue,
    }


def main():
    rs = np.random.RandomState(3)
    out = {"agreement": [], "effects": [], "power": []}
    for n in [5, 12, 40]:
        a = np.round(np.exp(rs.normal(2, 0.7, n)), 6)
        b = np.round(a * np.exp(rs.normal(0.1, 0.15, n)) + 0.3, 6)
        out["agreement"].append({"a": list(a), "b": list(b), "expected": agreement(a, b)})
    for na, nb in [(4, 6), (20, 15), (60, 60)]:
        a, b = np.round(rs.normal(1, 1, na), 2), np.round(rs.normal(1.4, 2, nb), 2)
        b[:2] = a[:2]  # ties
        out["effects"].append({"a": list(a), "b": list(b), "expected": effects(a, b)})
    for effect in [2.5, 1.2, 0.8, 0.5, 0.2, 0.05, -0.35]:
        groups = TTestIndPower().solve_power(abs(effect), power=0.8, alpha=0.05)
        pairs = TTestPower().solve_power(abs(effect), power=0.8, alpha=0.05)
        out["power"].append({"effect": effect, "groups": int(np.ceil(groups)), "pairs": int(np.ceil(pairs))})
    values = np.round(rs.gamma(2, 3, 17), 4)
    draws = stats.bootstrap((values,), np.mean, n_resamples=500, method="percentile", random_state=np.random.RandomState(11))
    out["bootstrap"] = {"values": list(values), "low": draws.confidence_interval.low, "high": draws.confidence_interval.high}
    plain = lambda value: float(value) if isinstance(value, np.floating) else value
    (here / "statistics.json").write_text(json.dumps(out, default=plain, indent=1) + "\n")
    packages = ["scipy", "statsmodels", "pingouin", "numpy", "pandas"]
    lines = [f"python {sys.version.split()[0]}"] + [f"{package} {version(package)}" for package in packages]
    (here / "versions.txt").write_text("\n".join(lines) + "\n")


main()
