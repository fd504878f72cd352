"""A tiny cross-validation of two configurations and what nnU-Net makes of it: best configuration, ensembles,
postprocessing, with labels and with regions.

Run: python make.py   (reads plans.json, writes labels, regions, expected and versions.txt beside itself)

labels/results, labels/preprocessed   input of find_best_configuration (folds 0 and 1)
expected/labels                       the results folder afterwards, without what was there before
regions/in0, regions/in1, regions/gt  input of ensemble_folders and determine_postprocessing
expected/regions                      the ensemble, its postprocessing.{pkl,json} and postprocessed
"""
import json
import os
import pathlib
import shutil
import sys
from importlib.metadata import version

here = pathlib.Path(__file__).resolve().parent
os.chdir(here)
os.environ["nnUNet_raw"] = "labels/raw"
os.environ["nnUNet_preprocessed"] = "labels/preprocessed"
os.environ["nnUNet_results"] = "labels/results"
os.environ["nnUNet_def_n_proc"] = "1"

import numpy as np
import SimpleITK as sitk

SHAPE = (8, 10, 9)
NAME = "Dataset811_Tiny"
TRAINER = "nnUNetTrainer__nnUNetPlans__"
CONFIGURATIONS = ["2d", "3d_fullres"]
SPACING, ORIGIN = (0.75, 0.5, 2.0), (-3.0, 4.0, 5.5)
DIRECTION = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    json.dump(content, open(path, "w"), indent=1)


def write_image(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(DIRECTION)
    sitk.WriteImage(image, str(path), True)


def truth(rs):
    z, y, x = np.indices(SHAPE)
    c = rs.uniform([3, 4, 3.5], [4, 5, 4.5])
    r = ((z - c[0]) / 3) ** 2 + ((y - c[1]) / 3) ** 2 + ((x - c[2]) / 3) ** 2
    return np.where(r < 0.35, 2, np.where(r < 1, 1, 0)).astype(np.uint8)


def probabilities(rs, gt, heads, noise):
    """Multiples of 1/16 that are close to the truth, with a blob of a wrong class in a corner."""
    p = np.stack([h(gt) for h in heads]).astype(np.float64) * 0.6 + rs.uniform(0, noise, (len(heads),) + SHAPE)
    p[-1, :2, :2, :2] = 0.9375
    return (np.round(p * 16) / 16).astype(np.float32)


def properties():
    from batchgenerators.utilities.file_and_folder_operations import save_pickle
    values = {"sitk_stuff": {"spacing": SPACING, "origin": ORIGIN, "direction": DIRECTION},
              "spacing": [np.float64(s) for s in SPACING[::-1]], "shape_before_cropping": SHAPE,
              "bbox_used_for_cropping": [[0, s] for s in SHAPE],
              "shape_after_cropping_and_before_resampling": SHAPE}
    return lambda path: save_pickle(values, str(path))


def write_prediction(folder, case, p, segmentation):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{case}.npz", probabilities=p)
    properties()(folder / f"{case}.pkl")
    if segmentation is not None:
        write_image(folder / f"{case}.nii.gz", segmentation)


def labels(plans):
    from nnunetv2.evaluation.find_best_configuration import (dumb_trainer_config_plans_to_trained_models_dict,
                                                             find_best_configuration)
    rs = np.random.RandomState(3)
    heads = [lambda g, k=k: g == k for k in range(3)]
    dataset = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "outer": 1, "inner": 2},
               "numTraining": 6, "file_ending": ".nii.gz"}
    results, preprocessed = pathlib.Path("labels/results") / NAME, pathlib.Path("labels/preprocessed") / NAME
    write_json(preprocessed / "nnUNetPlans.json", plans)
    for case in range(6):
        gt = truth(rs)
        write_image(preprocessed / "gt_segmentations" / f"c{case}.nii.gz", gt)
        for configuration, noise in zip(CONFIGURATIONS, [1.0, 0.95]):
            p = probabilities(rs, gt, heads, noise)
            folder = results / f"{TRAINER}{configuration}" / f"fold_{case % 2}" / "validation"
            write_prediction(folder, f"c{case}", p, p.argmax(0).astype(np.uint8))
    for configuration in CONFIGURATIONS:
        write_json(results / f"{TRAINER}{configuration}" / "plans.json", plans)
        write_json(results / f"{TRAINER}{configuration}" / "dataset.json", dataset)
    work = pathlib.Path("labels/before")
    shutil.copytree("labels/results", work)
    models = dumb_trainer_config_plans_to_trained_models_dict(
        ["nnUNetTrainer"], CONFIGURATIONS + ["3d_lowres"], ["nnUNetPlans"])
    find_best_configuration(NAME, models, True, 1, True, (0, 1))
    expected = pathlib.Path("expected/labels")
    shutil.move("labels/results", expected)
    shutil.move(work, "labels/results")
    for file in pathlib.Path("labels/results").rglob("*"):
        if file.is_file():
            (expected / file.relative_to("labels/results")).unlink()


def regions(plans):
    from nnunetv2.ensembling.ensemble import ensemble_folders
    from nnunetv2.postprocessing.remove_connected_components import determine_postprocessing
    rs = np.random.RandomState(5)
    heads = [lambda g: g > 0, lambda g: g == 2]
    dataset = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "whole": [1, 2], "inner": 2},
               "regions_class_order": [1, 2], "numTraining": 3, "file_ending": ".nii.gz"}
    for case in range(3):
        gt = truth(rs)
        write_image(pathlib.Path(f"regions/gt/r{case}.nii.gz"), gt)
        for member in range(2):
            write_prediction(pathlib.Path(f"regions/in{member}"), f"r{case}",
                             probabilities(rs, gt, heads, 0.4 + 0.3 * member), None)
    for member in range(2):
        write_json(pathlib.Path(f"regions/in{member}/plans.json"), plans)
        write_json(pathlib.Path(f"regions/in{member}/dataset.json"), dataset)
    expected = "expected/regions"
    ensemble_folders(["regions/in0", "regions/in1"], expected, True, 1)
    determine_postprocessing(expected, "regions/gt", "regions/in0/plans.json", "regions/in0/dataset.json", 1)


def main():
    for folder in ["labels", "regions", "expected"]:
        shutil.rmtree(folder, ignore_errors=True)
    plans = json.load(open("plans.json"))
    labels(plans)
    regions(plans)
    packages = ["numpy", "nnunetv2", "SimpleITK", "acvl_utils", "scikit-image"]
    open("versions.txt", "w").write(
        "".join([f"python {sys.version.split()[0]}\n"] + [f"{p} {version(p)}\n" for p in packages]))


if __name__ == "__main__":
    main()
