"""A recipe of one's own is trained, and its model predicts here and in the Python package nnunetv2 (2.8.1).

    PYTHON own_recipe.py PATH/TO/nnunet RAW_DATASET [PREPROCESSED_DATASET]

RAW_DATASET is a dataset's folder, e.g. nnUNet_raw/Dataset004_Hippocampus; PREPROCESSED_DATASET its preprocessed copy, which
is only read and saves the time to make one. In a temporary folder and on the processor:
1. focal loss, AdamW, a cosine schedule and averaged weights in a file are trained for a few iterations;
2. the model is validated again by the recipe's name alone, without the file;
3. `nnUNetv2_predict -tr NAME` predicts two cases with the model: Python looks for the folder by the recipe's name, and for
   the trainer by the class that the checkpoint names, nnUNetTrainer, which builds the network that plans.json describes;
4. the program predicts them too: the labels are equal in 99.9 % of the voxels.

Ends with status 1 and a line that says which of it does not hold.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

program, raw = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
root = Path(tempfile.mkdtemp(prefix="own_recipe"))
folders = {name: root / name for name in ("raw", "preprocessed", "results")}
for name, folder in folders.items():
    folder.mkdir()
    os.environ[f"nnUNet_{name}"] = str(folder)
os.environ.update(nnUNet_compile="f", nnUNet_def_n_proc="1")

import SimpleITK as sitk

from steps import check, run

(folders["raw"] / raw.name).symlink_to(raw)
ending = "".join(next((raw / "imagesTr").glob("*_0000*")).suffixes)
if len(sys.argv) > 3:
    shutil.copytree(sys.argv[3], folders["preprocessed"] / raw.name, symlinks=True)
else:
    run(program, "plan-and-preprocess", "-d", raw.name, "-c", "3d_fullres")

cases = sorted(path.name.removesuffix(ending) for path in (raw / "labelsTr").glob(f"*{ending}"))
splits = folders["preprocessed"] / raw.name / "splits_final.json"
splits.write_text(json.dumps([{"train": cases[2:], "val": cases[:2]}]))
recipe = root / "focal_adamw.toml"
recipe.write_text(
    """epochs = 2
iterations_per_epoch = 2
validation_iterations = 1
batch_size = 2
initial_learning_rate = 1e-3
loss = { kind = "focal", gamma = 2.0 }
schedule = "cosine"
ema = { decay = 0.5 }

[optimiser]
kind = "adamw"
weight_decay = 0.01
"""
)
words = [raw.name, "3d_fullres", 0]
run(program, "train", *words, "-tr", recipe)
recipe.unlink()
run(program, "train", *words, "-tr", recipe.stem, "--val")

images = root / "images"
images.mkdir()
for case in cases[:2]:
    for channel in (raw / "imagesTr").glob(f"{case}_*{ending}"):
        shutil.copy(channel, images)
names = ["-d", raw.name, "-c", "3d_fullres", "-tr", recipe.stem, "-f", 0, "--disable_tta"]
run(program, "predict", "-i", images, "-o", root / "here", *names, "--precision", "exact")
reference = Path(sys.executable).with_name("nnUNetv2_predict")
run(reference, "-i", images, "-o", root / "python", *names, "-device", "cpu", "-npp", 1, "-nps", 1)
outputs = sorted((root / "python").glob(f"*{ending}"))
check(len(outputs) == 2, "Python predicts with the model")
for output in outputs:
    ours = sitk.GetArrayFromImage(sitk.ReadImage(str(root / "here" / output.name)))
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(output)))
    equal = (ours == theirs).mean()
    check(ours.shape == theirs.shape and equal >= 0.999, f"{output.name}: {100 * equal:.4f} % of the voxels are equal")
shutil.rmtree(root)
