"""A tiny evaluation by nnU-Net: regions, an ignore label, classes that are missing, values that are no class.

Run: python make.py   (writes gt, pred, dataset.json, plans.json, summary.json and versions.txt beside itself)
"""
import json
import os
import pathlib
import sys
from importlib.metadata import version

here = pathlib.Path(__file__).parent
os.chdir(here)

import numpy as np
import SimpleITK as sitk


def main():
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder2
    rs = np.random.RandomState(0)
    for case in range(11):
        gt = rs.randint(0, [4, 2, 5][case % 3], (4, 5, 6)).astype(np.uint8)
        pred = np.where(rs.uniform(size=gt.shape) < 0.7, gt, rs.randint(0, 5, gt.shape)).astype(np.uint8)
        pred[pred == 4] = 0
        if case == 4:
            gt[:] = 0
            pred[:] = 0
        if case == 5:
            gt[:] = 4
        for name, array in [("gt", gt), ("pred", pred)]:
            pathlib.Path(name).mkdir(exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), f"{name}/c{case:02d}.nii.gz", True)
    json.dump({"channel_names": {"0": "MR"},
               "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "inner": 3, "ignore": 4},
               "regions_class_order": [1, 2, 3], "numTraining": 11, "file_ending": ".nii.gz"},
              open("dataset.json", "w"))
    json.dump({"label_manager": "LabelManager", "plans_name": "nnUNetPlans", "configurations": {}},
              open("plans.json", "w"))
    compute_metrics_on_folder2("gt", "pred", "dataset.json", "plans.json", "summary.json", 1)
    packages = ["numpy", "nnunetv2", "SimpleITK"]
    open("versions.txt", "w").write(
        "".join([f"python {sys.version.split()[0]}\n"] + [f"{p} {version(p)}\n" for p in packages]))


if __name__ == "__main__":
    main()
