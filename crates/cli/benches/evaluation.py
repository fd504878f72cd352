"""Metrics beyond Dice: this program against the Python packages that define them, in one run on one machine.

Run: pip install surface-distance panoptica scikit-image nibabel, then python evaluation.py PROGRAM [SIZE [CASES]]

Makes CASES pairs of NIfTI segmentations of SIZE³ voxels (default 128, 4) with lesions and tubes and evaluates hd, hd95, assd,
masd, nsd@1, pq, cldice and the Betti numbers: once with the packages, case by case, and with `PROGRAM evaluate`, with one thread
and with all. Both read the same files; the times of Python leave out its imports. Prints seconds and ratios. How the packages are
made to run with NumPy 2 is in crates/assess/tests/golden/metrics/make.py.
"""
import pathlib
import subprocess
import sys
import tempfile
import time
import types

import nibabel as nib
import numpy as np
from scipy import ndimage

np.Inf, np.NaN = np.inf, np.nan
if not hasattr(ndimage, "filters"):
    ndimage.filters = types.SimpleNamespace(correlate=ndimage.correlate)
    ndimage.morphology = types.SimpleNamespace(distance_transform_edt=ndimage.distance_transform_edt)

import surface_distance as sd
from panoptica import ConnectedComponentsInstanceApproximator, InputType, NaiveThresholdMatching, Panoptica_Evaluator
from skimage.measure import euler_number
from skimage.morphology import skeletonize


def make(folder, size, cases):
    for i in range(cases):
        noise = lambda seed: ndimage.gaussian_filter(np.random.RandomState(seed).normal(size=(size,) * 3), size / 24)
        truth = noise(i)
        seen = truth + 0.2 * noise(100 + i)
        for name, image in [("gt", truth), ("pred", seen)]:
            (folder / name).mkdir(exist_ok=True)
            mask = (image > np.quantile(image, 0.93)).astype(np.uint8)
            nib.save(nib.Nifti1Image(mask, np.diag([1.0, 1.0, 1.0, 1])), folder / name / f"case{i}.nii.gz")


def packages(folder, cases):
    """Seconds by part."""
    seconds = {}
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC, instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(), global_metrics=[],
    )

    def timed(name, work):
        start = time.perf_counter()
        result = work()
        seconds[name] = seconds.get(name, 0) + time.perf_counter() - start
        return result

    for i in range(cases):
        read = lambda name: np.asarray(nib.load(folder / name / f"case{i}.nii.gz").dataobj).T > 0
        truth, seen = timed("read", lambda: (read("gt"), read("pred")))

        def surfaces():
            distances = sd.compute_surface_distances(truth, seen, (1.0, 1.0, 1.0))
            sd.compute_robust_hausdorff(distances, 100), sd.compute_robust_hausdorff(distances, 95)
            sd.compute_average_surface_distance(distances)
            sd.compute_surface_dice_at_tolerance(distances, 1.0)

        def lines():
            a, b = skeletonize(truth) > 0, skeletonize(seen) > 0
            np.sum(a & seen) / np.sum(a), np.sum(b & truth) / np.sum(b)

        def betti():
            for mask in (truth, seen):
                cube = np.pad(mask, 1)
                ndimage.label(cube, np.ones((3, 3, 3))), ndimage.label(~cube), euler_number(cube, connectivity=3)

        timed("hd,hd95,assd,masd,nsd@1", surfaces)
        timed("pq", lambda: getattr(list(evaluator.evaluate(seen.astype(np.uint8), truth.astype(np.uint8), verbose=False).values())[0], "pq"))
        timed("cldice", lines)
        timed("betti", betti)
    return seconds


def program(path, folder, metrics, threads):
    start = time.perf_counter()
    command = [path, "evaluate", folder / "gt", folder / "pred", "-l", "1", "--metrics", metrics, "--progress", "none"]
    command += ["-o", folder / "out.json"] + (["-np", str(threads)] if threads else [])
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main():
    path = pathlib.Path(sys.argv[1]).resolve()
    size, cases = (int(v) for v in (sys.argv[2:] + ["128", "4"][len(sys.argv) - 2:])[:2])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make(folder, size, cases)
        seconds = packages(folder, cases)
        parts = [name for name in seconds if name != "read"]
        seconds["all"] = sum(seconds.values())
        print(f"{cases} cases of {size}³; seconds of the packages and of the program (with reading), and the ratio")
        for name in parts + ["all"]:
            metrics = ",".join(parts) if name == "all" else name
            python = seconds[name] + (0 if name == "all" else seconds["read"])
            for threads, label in [(1, "one thread"), (None, "all threads")]:
                ours = program(path, folder, metrics, threads)
                print(f"{name:26} {label:12} {python:8.2f} {ours:8.3f} {python / ours:7.1f}x")


main()
