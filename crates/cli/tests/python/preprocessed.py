"""Preprocessed data travel both ways between this program and the Python package nnunetv2 (2.8.1).

    PYTHON preprocessed.py PATH/TO/nnunet [--raw RAW_DATASET_FOLDER] [--every N] [--work DIR]

On a phantom of two channels, or on every Nth case of a raw dataset (a tenth of them), on the processor:
1. both programs preprocess with the same plans: what Python reads from our files is what it makes itself: labels,
   class locations and properties equal, of the same types, data within 1e-4;
2. Python trains on our folder for a short epoch;
3. the program trains on Python's folder: the weights are those of a training on our own within 1e-3; and on the same
   cases as older versions stored them (.npz): the weights are equal.

Ends with status 1 and a line that says which of it does not hold.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("program", type=Path)
parser.add_argument("--raw", type=Path)
parser.add_argument("--every", type=int, default=10)
parser.add_argument("--work", type=Path)
parser.add_argument("--step", choices=["preprocess", "train"], help=argparse.SUPPRESS)
parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
args = parser.parse_args()
root = (args.work or Path(tempfile.mkdtemp(prefix="preprocessed"))).resolve()
program = args.program.resolve()
CONFIGURATIONS = ("3d_fullres", "2d")
NUMBER = 78
DATASET = f"Dataset{NUMBER:03d}_Interchange"
# Steps of the reference run in processes of their own: it reads its folders when it is imported.
os.environ.update(nnUNet_raw=str(root / "raw"), nnUNet_preprocessed=str(args.folder or root / "ours"),
                  nnUNet_results=str(root / "results"), nnUNet_n_proc_DA="0", nnUNet_compile="f")

import numpy as np
import torch

from steps import check, run


def reference(step, folder):
    run(sys.executable, __file__, program, "--work", root, "--step", step, "--folder", folder)


def write_phantom(folder):
    import SimpleITK as sitk
    rng = np.random.default_rng(5)
    for case in range(6):
        shape = (14 + case, 40, 36)
        grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * (2.5, 1, 1)
        distance = np.linalg.norm(grid - np.array(shape) * (2.5, 1, 1) * rng.uniform(.42, .58, 3), axis=-1)
        label = (distance < 12).astype(np.uint8) + (distance < 6)
        spacing = (1., 1., 2.5) if case else (.8, .9, 3.)
        for channel in range(2):
            image = np.where(distance < 17, (60 - 20 * channel) * label + rng.normal(100, 15, shape), 0)
            write(sitk, folder / "imagesTr" / f"ball_{case}_{channel:04d}.nii.gz", image.astype(np.int16), spacing)
        write(sitk, folder / "labelsTr" / f"ball_{case}.nii.gz", label, spacing)
    dataset = {"channel_names": {"0": "CT", "1": "MR"}, "labels": {"background": 0, "shell": 1, "core": 2},
               "numTraining": 6, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(dataset))


def write(sitk, path, array, spacing):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


def copy_part(raw, folder):
    """Every Nth case of a raw dataset."""
    dataset = json.loads((raw / "dataset.json").read_text())
    ending = dataset["file_ending"]
    labels = sorted(path.name.removesuffix(ending) for path in (raw / "labelsTr").glob(f"*{ending}"))[::args.every]
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
    for case in labels:
        for channel in range(len(dataset["channel_names"])):
            name = f"{case}_{channel:04d}{ending}"
            shutil.copy(raw / "imagesTr" / name, folder / "imagesTr" / name)
        shutil.copy(raw / "labelsTr" / (case + ending), folder / "labelsTr" / (case + ending))
    dataset["numTraining"] = len(labels)
    (folder / "dataset.json").write_text(json.dumps(dataset))


def shrink_plans(path):
    """Networks that train in seconds."""
    plans = json.loads(path.read_text())
    for name in CONFIGURATIONS:
        configuration = plans["configurations"][name]
        configuration["batch_size"] = 2
        arguments = configuration["architecture"]["arch_kwargs"]
        arguments["features_per_stage"] = [8] * len(arguments["features_per_stage"])
    path.write_text(json.dumps(plans))


def preprocess_with_python():
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    for name in CONFIGURATIONS:
        DefaultPreprocessor(verbose=False).run(NUMBER, name, "nnUNetPlans", num_processes=2)


def train_with_python():
    from nnunetv2.run.run_training import get_trainer_from_args
    torch.set_num_threads(2)
    for name in CONFIGURATIONS:
        trainer = get_trainer_from_args(str(NUMBER), name, 0, "nnUNetTrainer", "nnUNetPlans",
                                        device=torch.device("cpu"))
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, 2, 1
        trainer.run_training()
        losses = trainer.logger.get_value("train_losses", step=None)
        check(len(losses) == 1 and np.isfinite(losses[0]), f"Python trains on our {name}: loss {losses[0]:.3f}")


def same_properties(ours, theirs):
    locations, expected = ours.pop("class_locations"), theirs.pop("class_locations")
    return ours == theirs and {k: type(v) for k, v in ours.items()} == {k: type(v) for k, v in theirs.items()} \
        and list(locations) == list(expected) \
        and all(type(locations[key]) is type(value) and np.array_equal(locations[key], value)
                and np.asarray(locations[key]).dtype == np.asarray(value).dtype for key, value in expected.items())


def compare(ours, theirs, name):
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    folder = f"nnUNetPlans_{name}"
    a, b = (infer_dataset_class(str(side / DATASET / folder))(str(side / DATASET / folder)) for side in (ours, theirs))
    check(a.identifiers == b.identifiers, f"{name}: the same {len(b.identifiers)} cases")
    worst, labels, properties = 0., True, True
    for case in b.identifiers:
        data, seg, _, described = a.load_case(case)
        data_too, seg_too, _, described_too = b.load_case(case)
        worst = max(worst, float(np.abs(data[:] - data_too[:]).max())) if data.shape == data_too.shape else np.inf
        labels &= data.dtype == data_too.dtype and seg.dtype == seg_too.dtype and np.array_equal(seg[:], seg_too[:])
        properties &= same_properties(described, described_too)
    check(worst <= 1e-4, f"{name}: largest difference of the data {worst:.2g}")
    check(labels, f"{name}: labels and types are equal")
    check(properties, f"{name}: properties and class locations are equal")


def store_as_npz(source, target):
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2, nnUNetDatasetNumpy
    shutil.copytree(source / DATASET, target / DATASET, ignore=shutil.ignore_patterns("nnUNetPlans_*"))
    for name in CONFIGURATIONS:
        cases = nnUNetDatasetBlosc2(str(source / DATASET / f"nnUNetPlans_{name}"))
        folder = target / DATASET / f"nnUNetPlans_{name}"
        folder.mkdir()
        for case in cases.identifiers:
            data, seg, _, properties = cases.load_case(case)
            nnUNetDatasetNumpy.save_case(data[:], seg[:], properties, str(folder / case))


def train(preprocessed, name):
    """Weights after a short epoch of our program."""
    results = root / "results" / preprocessed.name
    run(program, "train", NUMBER, name, 0, "--epochs", 1, "--iterations-per-epoch", 2, "--seed", 3, "--threads", 1,
        "--preprocessed", preprocessed, "--results", results)
    checkpoint = next(results.glob(f"{DATASET}/*__nnUNetPlans__{name}/fold_0/checkpoint_final.pth"))
    return torch.load(checkpoint, map_location="cpu", weights_only=False)["network_weights"]


def main():
    for folder in ("raw", "ours", "theirs", "npz", "results"):
        shutil.rmtree(root / folder, ignore_errors=True)
    raw, ours, theirs, npz = root / "raw" / DATASET, root / "ours", root / "theirs", root / "npz"
    raw.mkdir(parents=True)
    copy_part(args.raw, raw) if args.raw else write_phantom(raw)
    run(program, "plan-and-preprocess", "-d", NUMBER, "--no_pp")
    shrink_plans(ours / DATASET / "nnUNetPlans.json")
    shutil.copytree(ours, theirs)
    run(program, "preprocess", "-d", NUMBER, "-c", *CONFIGURATIONS)
    reference("preprocess", theirs)
    shutil.copytree(ours / DATASET / "gt_segmentations", theirs / DATASET / "gt_segmentations", dirs_exist_ok=True)
    for name in CONFIGURATIONS:
        compare(ours, theirs, name)
    reference("train", ours)
    store_as_npz(theirs, npz)
    for name in CONFIGURATIONS:
        own, other, old = (train(folder, name) for folder in (ours, theirs, npz))
        worst = max(float((own[key] - other[key]).abs().max()) for key in own)
        check(worst < 1e-3, f"{name}: we train on Python's folder; weights differ from those on ours by {worst:.2g}")
        check(all(torch.equal(other[key], old[key]) for key in other), f"{name}: and on .npz files, to the same weights")


if __name__ == "__main__":
    {None: main, "preprocess": preprocess_with_python, "train": train_with_python}[args.step]()
