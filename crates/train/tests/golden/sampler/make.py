"""Writes goldens.json: where the reference's data loader may start boxes, where it starts them around
a given voxel, and which samples of a batch it forces to contain foreground.

Run with the packages of versions.txt: python make.py
"""
import json
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

HERE = Path(__file__).parent
rng = np.random.default_rng(5)
data = SimpleNamespace(identifiers=["a"])
labels = SimpleNamespace(all_labels=[0, 1], has_ignore_label=False)
draws = []


def record(low, high):
    draws.append([int(low), int(high) - 1])
    return low


np.random.randint = record
boxes = []
for case in range(40):
    patch = rng.integers(1, 12, 3)
    crop = patch + rng.integers(0, 8, 3) * (rng.random() < 0.8)
    shape = rng.integers(1, 26, 3)
    voxel = [int(rng.integers(0, s)) for s in shape]
    loader = nnUNetDataLoader(data, 2, crop, patch, labels, 0.33)
    draws.clear()
    loader.get_bbox(shape, False, None)
    ranges = list(draws)
    forced, _ = loader.get_bbox(shape, True, {1: np.array([[0, *voxel]])})
    boxes.append({"patch": patch.tolist(), "crop": crop.tolist(), "shape": shape.tolist(), "ranges": ranges,
                  "voxel": voxel, "forced": [int(i) for i in forced]})

forced = []
for batch_size in range(1, 25):
    loader = nnUNetDataLoader(data, batch_size, (2, 2, 2), (2, 2, 2), labels, 0.33)
    forced.append([bool(loader.get_do_oversample(j)) for j in range(batch_size)].count(True))

(HERE / "goldens.json").write_text(json.dumps({"boxes": boxes, "forced": forced}).replace('{"patch"', '\n{"patch"') + "\n")
packages = ["nnunetv2", "numpy"]
(HERE / "versions.txt").write_text("".join(f"{p} {version(p)}\n" for p in packages))
