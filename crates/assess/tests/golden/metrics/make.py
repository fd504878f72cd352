"""Metrics beyond overlap, by the packages that define them: surface-distance (hd, hd95, assd, masd, nsd), the BraTS 2023
scripts (lesions), panoptica (pq), scikit-image (cldice, betti), NumPy and scikit-learn (ece, brier).

Run: pip install surface-distance panoptica scikit-image scikit-learn pandas nibabel connected-components-3d
     git clone https://github.com/rachitsaluja/BraTS-2023-Metrics BRATS
     python make.py BRATS   (writes metrics.json and versions.txt beside itself)

surface-distance 0.1 was written for NumPy 1; the names that NumPy 2 and SciPy 1.15 dropped are given back first. The package
`surface_distance` of the BraTS scripts is an older copy of the same; they get the released one.
"""
import json
import os
import pathlib
import sys
import tempfile
import types
from importlib.metadata import version

here = pathlib.Path(__file__).parent
os.chdir(here)

import numpy as np
from scipy import ndimage

np.Inf, np.NaN = np.inf, np.nan
if not hasattr(ndimage, "filters"):
    ndimage.filters = types.SimpleNamespace(correlate=ndimage.correlate)
    ndimage.morphology = types.SimpleNamespace(distance_transform_edt=ndimage.distance_transform_edt)

import surface_distance as sd

released = sd.compute_surface_distances
# The older copy took masks of integers.
sd.compute_surface_distances = lambda truth, seen, spacing: released(truth.astype(bool), seen.astype(bool), spacing)


def masks():
    """Name, spacing (z, y, x), reference and prediction."""
    rs = np.random.RandomState(7)

    def blobs(shape, sigma, share, seed):
        noise = ndimage.gaussian_filter(np.random.RandomState(seed).normal(size=shape), sigma)
        return noise > np.quantile(noise, 1 - share)

    def near(mask, share, sigma, seed):
        """The same with a border moved at random."""
        noise = ndimage.gaussian_filter(np.random.RandomState(seed).normal(size=mask.shape), sigma)
        soft = ndimage.gaussian_filter(mask.astype(float), 1) + share * noise / noise.std()
        return soft > 0.5

    for i, (shape, spacing) in enumerate([
        ((14, 20, 22), (1.0, 1.0, 1.0)), ((8, 24, 18), (3.0, 0.75, 0.75)), ((16, 11, 23), (0.5, 2.0, 1.25)),
        ((6, 30, 30), (5.0, 0.5, 0.5)),
    ]):
        truth = blobs(shape, 1.5, 0.15, i)
        yield f"blobs {i}", spacing, truth, near(truth, 0.15, 1.5, 50 + i)
    small = blobs((18, 22, 22), 1.0, 0.04, 9)
    yield "small lesions", (1.0, 1.0, 1.0), small, near(small, 0.25, 1.0, 59)
    yield "noise", (1.0, 1.5, 0.5), rs.uniform(size=(7, 9, 8)) < 0.3, rs.uniform(size=(7, 9, 8)) < 0.3

    z, y, x = np.mgrid[:24, :24, :24]
    tube = (np.hypot(y - 8 - 4 * np.sin(z / 4), x - 11 - 3 * np.cos(z / 5)) < 2.5)
    tube |= (np.hypot(z - 12, y - 12) < 2) & (x > 8)
    ring = np.hypot(np.hypot(y - 12, x - 12) - 7, z - 18) < 1.8
    shell = np.abs(np.sqrt((z - 6) ** 2 + (y - 17) ** 2 + (x - 17) ** 2) - 3.5) < 1
    yield "tubes", (1.0, 1.0, 1.0), tube | ring | shell, near(tube | ring, 0.1, 1.0, 3) | shell & (x < 17)
    cut = tube.copy()
    cut[14:16] = False
    yield "cut tube", (1.25, 0.5, 0.5), tube, cut
    box = np.zeros((9, 9, 9), bool)
    box[2:6, 1:7, 3:8] = True
    yield "equal", (2.0, 1.0, 1.0), box, box
    yield "prediction empty", (1.0, 1.0, 1.0), box, np.zeros_like(box)
    yield "reference empty", (1.0, 1.0, 1.0), np.zeros_like(box), box
    yield "both empty", (1.0, 1.0, 1.0), np.zeros_like(box), np.zeros_like(box)
    full = np.ones((4, 5, 6), bool)
    yield "whole image", (1.0, 2.0, 0.5), full, full & (np.arange(6) < 5)

    for i, spacing in enumerate([(1.0, 1.0, 1.0), (1.0, 0.5, 2.0)]):
        truth = blobs((30, 34), 2.0, 0.25, 20 + i)[None]
        yield f"flat {i}", spacing, truth, near(truth[0], 0.15, 1.5, 70 + i)[None]


def surfaces(spacing, truth, seen):
    flat = truth.shape[0] == 1
    distances = sd.compute_surface_distances(*((truth[0], seen[0], spacing[1:]) if flat else (truth, seen, spacing)))
    areas = [distances["surfel_areas_gt"], distances["surfel_areas_pred"]]
    lengths = [distances["distances_gt_to_pred"], distances["distances_pred_to_gt"]]
    averages = sd.compute_average_surface_distance(distances)
    out = {"hd": sd.compute_robust_hausdorff(distances, 100), "hd95": sd.compute_robust_hausdorff(distances, 95)}
    # The package has the averages of either surface; both together, and the mean of the two.
    out["assd"] = sum(np.sum(d * a) for d, a in zip(lengths, areas)) / sum(np.sum(a) for a in areas)
    out["masd"] = np.nanmean(averages)
    for tolerance in ["1", "2.5"]:
        out[f"nsd@{tolerance}"] = sd.compute_surface_dice_at_tolerance(distances, float(tolerance))
    return out


def lesions(spacing, truth, seen):
    import nibabel as nib
    import pandas
    import metrics as brats

    def replace(frame, old, new, inplace=False):
        """pandas 2 compares the arrays among the values with a number, and fails."""
        replaced = frame.map(lambda value: new if isinstance(value, float) and value == old else value)
        if not inplace:
            return replaced
        frame[:] = replaced

    pandas.DataFrame.replace = replace
    pandas.DataFrame.append = pandas.DataFrame._append
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, mask in [("seen", seen), ("truth", truth)]:
            image = nib.Nifti1Image(3 * mask.astype(np.uint8).transpose(2, 1, 0), np.diag([*spacing[::-1], 1.0]))
            paths.append(f"{folder}/{name}.nii.gz")
            nib.save(image, paths[-1])
        for track, suffix in [("GLI", ""), ("MET", "@met")]:
            row = brats.get_LesionWiseResults(*paths, f"BraTS-{track}").set_index("Labels").loc["ET"]
            for key, column in [("dice", "LesionWise_Score_Dice"), ("hd95", "LesionWise_Score_HD95"),
                                ("tp", "Num_TP"), ("fp", "Num_FP"), ("fn", "Num_FN")]:
                out[f"lesion_{key}{suffix}"] = float(row[column])
    return out


def panoptic(truth, seen):
    from panoptica import ConnectedComponentsInstanceApproximator, InputType, NaiveThresholdMatching, Panoptica_Evaluator
    flat = truth.shape[0] == 1
    out = {}
    for suffix, threshold in [("", 0.5), ("@0.1", 0.1)]:
        evaluator = Panoptica_Evaluator(
            expected_input=InputType.SEMANTIC,
            instance_approximator=ConnectedComponentsInstanceApproximator(),
            instance_matcher=NaiveThresholdMatching(matching_threshold=threshold),
            global_metrics=[],
        )
        pair = [m[0] if flat else m for m in (seen, truth)]
        result = evaluator.evaluate(*(m.astype(np.uint8) for m in pair), verbose=False)
        result = list(result.values())[0]
        for key in ["pq", "rq", "sq", "tp", "fp", "fn"]:
            value = float(getattr(result, key))
            out[(key if len(key) == 2 and key[1] == "q" else f"pq_{key}") + suffix] = value
    return out


def tubes(truth, seen):
    from skimage.measure import euler_number
    from skimage.morphology import skeletonize
    flat = truth.shape[0] == 1
    line = lambda mask: skeletonize(mask[0], method="lee")[None] > 0 if flat else skeletonize(mask) > 0
    out = {}
    with np.errstate(all="ignore"):
        inside = [np.sum(line(a) & b) / np.sum(line(a)) for a, b in [(seen, truth), (truth, seen)]]
        out["cldice"] = 2 * inside[0] * inside[1] / (inside[0] + inside[1])
    if truth.any() != seen.any():
        out["cldice"] = 0.0  # 0 / 0 in the definition: nothing of the one centreline is covered
    betti = []
    for mask in (truth, seen):
        cube = np.pad(mask, 1)
        parts = ndimage.label(cube, np.ones((3, 3, 3)))[1]
        cavities = ndimage.label(~cube)[1] - 1
        betti.append(np.array([parts, parts + cavities - euler_number(cube, connectivity=3), cavities]))
    for i, error in enumerate(np.abs(betti[0] - betti[1])):
        out[f"betti{i}_error"] = float(error)
    return out


def calibration(truth):
    from sklearn.metrics import brier_score_loss
    present = truth.ravel().astype(float)
    p = (np.arange(present.size) * 7919 % 1009 / 1008).astype(np.float32).astype(float)
    out = {"brier": float(np.mean((p - present) ** 2))}
    assert not 0 < present.sum() < present.size or abs(out["brier"] - brier_score_loss(present, p)) < 1e-12
    for suffix, bins in [("", 15), ("@4", 4)]:
        bin = np.minimum((p * bins).astype(int), bins - 1)
        out[f"ece{suffix}"] = float(sum(
            np.sum(bin == b) / p.size * abs(p[bin == b].mean() - present[bin == b].mean()) for b in range(bins) if (bin == b).any()
        ))
    return out


def main():
    sys.path.append(str(pathlib.Path(sys.argv[1]).resolve()))
    cases = []
    for name, spacing, truth, seen in masks():
        flat = truth.shape[0] == 1
        with np.errstate(all="ignore"):
            expected = surfaces(spacing, truth, seen)
        expected |= panoptic(truth, seen) | tubes(truth, seen) | calibration(truth)
        if not flat:
            expected |= lesions(spacing, truth, seen)
        bits = lambda mask: np.packbits(mask.ravel()).tobytes().hex()
        cases.append({
            "name": name, "shape": truth.shape, "spacing": spacing, "reference": bits(truth), "prediction": bits(seen),
            "expected": {key: str(float(value)) for key, value in expected.items()},
        })
        print(name, {k: round(float(v), 4) for k, v in expected.items()})
    (here / "metrics.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    packages = ["surface-distance", "panoptica", "scikit-image", "scikit-learn", "connected-components-3d", "scipy", "numpy"]
    lines = [f"python {sys.version.split()[0]}"] + [f"{package} {version(package)}" for package in packages]
    (here / "versions.txt").write_text("\n".join(lines + ["BraTS-2023-Metrics 43c9052"]) + "\n")


main()
