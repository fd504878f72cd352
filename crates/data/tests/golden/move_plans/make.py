"""Plans moved to another dataset by nnU-Net v2.

    python make.py          (needs nnunetv2, versions.txt names the one used)

Moves ../plan/Dataset802_oriented/nnUNetResEncUNetLPlans.json to a dataset of one PNG; writes that dataset to raw/, and
the plans under their own and under another name.
"""
import json
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = tempfile.TemporaryDirectory()
for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[name] = os.path.join(WORK.name, name)

import numpy as np
from skimage import io
from nnunetv2.experiment_planning.plans_for_pretraining.move_plans_between_datasets import move_plans_between_datasets

SOURCE, TARGET, PLANS = "Dataset802_oriented", "Dataset900_Target", "nnUNetResEncUNetLPlans"


def main():
    raw = HERE / "raw"
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True, exist_ok=True)
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    io.imsave(raw / "imagesTr/a_0000.png", image, check_contrast=False)
    io.imsave(raw / "labelsTr/a.png", image // 32, check_contrast=False)
    dataset = {"channel_names": {"0": "grey"}, "labels": {"background": 0, "a": 1}, "numTraining": 1,
               "file_ending": ".png"}
    (raw / "dataset.json").write_text(json.dumps(dataset, indent=1))
    shutil.copytree(raw, Path(os.environ["nnUNet_raw"], TARGET))
    preprocessed = Path(os.environ["nnUNet_preprocessed"])
    for name in (SOURCE, TARGET):
        (preprocessed / name).mkdir(parents=True)
    shutil.copy(HERE.parent / "plan" / SOURCE / f"{PLANS}.json", preprocessed / SOURCE)
    move_plans_between_datasets(SOURCE, TARGET, PLANS)
    shutil.copy(preprocessed / TARGET / f"{PLANS}.json", HERE / "same_name.json")
    move_plans_between_datasets(SOURCE, TARGET, PLANS, "moved")
    shutil.copy(preprocessed / TARGET / "moved.json", HERE / "other_name.json")
    (HERE / "versions.txt").write_text(f"nnunetv2 {version('nnunetv2')}\n")


if __name__ == "__main__":
    main()
