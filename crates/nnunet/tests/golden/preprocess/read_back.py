"""Checks that nnU-Net v2 takes a folder preprocessed by this program for its own.

    NNUNET_PREPROCESS_OUTPUT=/tmp/out cargo test --test preprocess_dataset -- --ignored
    python read_back.py RAW_DATASET_FOLDER /tmp/out/Dataset004_Hippocampus [--every N] [--train]

Every Nth case is preprocessed by the reference, too: arrays, their types and the properties must agree
(data within 1e-4). With --train its trainer loads augmented batches from the folder and makes one step.
"""
import argparse
import os
import tempfile
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("raw", type=Path)
parser.add_argument("preprocessed", type=Path)
parser.add_argument("--every", type=int, default=13)
parser.add_argument("--train", action="store_true")
args = parser.parse_args()
results = tempfile.TemporaryDirectory()
os.environ.update(nnUNet_raw=str(args.raw.parent), nnUNet_preprocessed=str(args.preprocessed.parent),
                  nnUNet_results=results.name, nnUNet_n_proc_DA="0", nnUNet_compile="f")

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

dataset = load_json(str(args.preprocessed / "dataset.json"))
plans = PlansManager(str(args.preprocessed / "nnUNetPlans.json"))


def same_properties(ours, theirs):
    assert ours.keys() == theirs.keys()
    locations, expected = ours.pop("class_locations"), theirs.pop("class_locations")
    assert ours == theirs and {k: type(v) for k, v in ours.items()} == {k: type(v) for k, v in theirs.items()}
    assert list(locations) == list(expected)
    for key, value in expected.items():
        assert type(locations[key]) is type(value)
        assert np.array_equal(locations[key], value) and np.asarray(locations[key]).dtype == np.asarray(value).dtype


for configuration in ("3d_fullres", "2d"):
    manager = plans.get_configuration(configuration)
    folder = str(args.preprocessed / manager.data_identifier)
    stored = infer_dataset_class(folder)(folder)
    largest = 0.
    cases = stored.identifiers[::args.every]
    for case in cases:
        data, seg, _, properties = stored.load_case(case)
        expected = DefaultPreprocessor(verbose=False).run_case(
            [str(args.raw / "imagesTr" / f"{case}_{c:04d}{dataset['file_ending']}")
             for c in range(len(dataset["channel_names"]))],
            str(args.raw / "labelsTr" / f"{case}{dataset['file_ending']}"), plans, manager, dataset)
        assert (str(data.dtype), str(seg.dtype)) == ("float32", "int16")
        assert data.shape == expected[0].shape and np.array_equal(seg[:], expected[1])
        largest = max(largest, float(np.abs(data[:] - expected[0]).max()))
        same_properties(properties, expected[2])
    assert largest <= 1e-4
    print(f"{configuration}: {len(cases)} of {len(stored.identifiers)} cases agree, largest difference {largest:.2g}")

if args.train:
    trainer = nnUNetTrainer({**plans.plans, "continue_training": False}, "2d", 0, dataset, torch.device("cpu"))
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    loss = trainer.train_step(next(trainer.dataloader_train))["loss"]
    print(f"the reference trains on the folder: loss of its first step {loss:.3f}")
