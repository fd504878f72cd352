"""Plans of phantom datasets as nnU-Net v2 makes them: fingerprints are drawn here, plans are the reference's.

    python make.py          (needs nnunetv2, versions.txt names the one used)

Writes <dataset>/{dataset.json,dataset_fingerprint.json,meta.json,<plans>.json} beside this file.
"""
import contextlib
import io
import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = tempfile.TemporaryDirectory()
for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[name] = os.path.join(WORK.name, name)

import numpy as np
from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    ResEncUNetPlanner, nnUNetPlannerResEncM, nnUNetPlannerResEncL, nnUNetPlannerResEncXL)
from nnunetv2.experiment_planning.experiment_planners.resampling.planners_no_resampling import (
    nnUNetPlannerResEncL_noResampling)
from nnunetv2.experiment_planning.experiment_planners.resampling.resample_with_torch import (
    nnUNetPlanner_torchres, nnUNetPlannerResEncL_torchres, nnUNetPlannerResEncL_torchres_sepz)
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

default_experiment_planner.get_filenames_of_train_images_and_targets = lambda *a: {}
ExperimentPlanner.determine_reader_writer = lambda self: SimpleITKIO

DATASETS = {
    # name: (channels, labels, cases, median spacing, spread, median shape, spread, relative size)
    "Dataset801_thick": ({"0": "T2", "1": "ADC"}, 2, 20, (3.3, .6, .6), .4, (22, 330, 320), .2, .6),
    "Dataset802_oriented": ({"0": "CT", "1": "noNorm"}, 4, 40, (.8, .8, 2.5), .1, (400, 380, 120), .3, 1.),
    "Dataset803_small": ({"0": "MRI"}, 3, 8, (1., 1., 1.), 0., (35, 51, 36), .15, .9),
    # Single slices: thick ones, ones as thin as the pixels, and ones whose axis is last and finest.
    "Dataset804_slices": ({"0": "MRI"}, 3, 9, (6., .7, .7), 0., (1, 300, 280), 0., 1.),
    "Dataset805_thin": ({"0": "MRI"}, 2, 9, (1., 1., 1.), 0., (1, 200, 220), 0., 1.),
    "Dataset806_last": ({"0": "MRI"}, 2, 9, (1., 1., .5), 0., (190, 170, 1), 0., 1.),
}


def fingerprint(rng, channels, cases, spacing, spacing_spread, shape, shape_spread, relative):
    draw = lambda centre, spread: centre * np.exp(rng.uniform(-spread, spread, 3))
    keys = ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std")
    return {
        "foreground_intensity_properties_per_channel": {c: dict(zip(keys, rng.normal(100, 30, 7).tolist()))
                                                        for c in channels},
        "median_relative_size_after_cropping": relative,
        "shapes_after_crop": [[int(round(v)) for v in draw(np.array(shape), shape_spread)] for _ in range(cases)],
        "spacings": [draw(np.array(spacing), spacing_spread).tolist() for _ in range(cases)],
    }


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def main():
    rng = np.random.default_rng(7)
    for name, (channels, labels, cases, *rest) in DATASETS.items():
        dataset = {"channel_names": channels, "labels": {"background": 0, **{f"l{i}": i for i in range(1, labels)}},
                   "numTraining": cases, "file_ending": ".nii.gz"}
        raw = Path(os.environ["nnUNet_raw"], name)
        preprocessed = Path(os.environ["nnUNet_preprocessed"], name)
        found = fingerprint(rng, channels, cases, *rest)
        for folder in (HERE / name, raw, preprocessed):
            save(folder / "dataset.json", dataset)
            save(folder / "dataset_fingerprint.json", found)
        plans = []
        runs = [(ExperimentPlanner, {}), (nnUNetPlannerResEncL, {}),
                (ResEncUNetPlanner, {"gpu_memory_target_in_gb": 4., "plans_name": "resenc_4G"})]
        if name in ("Dataset804_slices", "Dataset805_thin", "Dataset806_last"):
            runs = [(ExperimentPlanner, {}), (nnUNetPlannerResEncM, {})]
        if name == "Dataset803_small":
            runs += [(nnUNetPlanner_torchres, {"gpu_memory_target_in_gb": 6.}),
                     (nnUNetPlannerResEncL_torchres_sepz, {"plans_name": "own"})]
        if name == "Dataset802_oriented":
            runs += [(planner, {}) for planner in (
                ResEncUNetPlanner, nnUNetPlannerResEncM, nnUNetPlannerResEncXL, nnUNetPlanner_torchres,
                nnUNetPlannerResEncL_torchres, nnUNetPlannerResEncL_torchres_sepz, nnUNetPlannerResEncL_noResampling)]
            runs += [(ExperimentPlanner, {"suppress_transpose": True, "plans_name": "suppressed"}),
                     (nnUNetPlannerResEncM, {"overwrite_target_spacing": [1.5, 1.25, 4.0], "plans_name": "given"})]
        for planner, kwargs in runs:
            with contextlib.redirect_stdout(io.StringIO()):
                p = planner(name, **kwargs)
                p.plan_experiment()
            file = p.plans_identifier + ".json"
            (HERE / name / file).write_bytes((preprocessed / file).read_bytes())
            plans.append({"file": file, "planner": planner.__name__, "kwargs": kwargs,
                          "gpu_memory_target_in_gb": p.UNet_vram_target_GB})
        save(HERE / name / "meta.json", {"dataset_name": name, "plans": plans})
    (HERE / "versions.txt").write_text("".join(f"{m} {version(m)}\n" for m in ("nnunetv2", "numpy", "torch"))
                                       + f"python {sys.version.split()[0]}\n")


if __name__ == "__main__":
    main()
