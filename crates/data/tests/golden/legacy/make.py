"""Preprocessed cases as nnU-Net v2 before 2.5 stored them (and still reads them), and one of them as Blosc2 too.

    python make.py        # writes beside itself; versions.txt says with what
"""
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2, nnUNetDatasetNumpy

HERE = Path(__file__).parent
rng = np.random.default_rng(7)
# Small labels were stored in 8 bits.
for case, shape, label_type in (("a", (2, 4, 6, 5), np.int8), ("b", (1, 3, 5, 7), np.int16)):
    data = rng.normal(size=shape).astype(np.float32)
    seg = rng.integers(-1, 3, (1, *shape[1:])).astype(label_type)
    locations = {label: np.argwhere(seg == label).astype(np.int64) for label in (1, 2)}
    properties = {
        "sitk_stuff": {"spacing": (1., 1., 2.), "origin": (0., 0., 0.),
                       "direction": (1., 0., 0., 0., 1., 0., 0., 0., 1.)},
        "spacing": [2., 1., 1.],
        "shape_before_cropping": shape[1:],
        "bbox_used_for_cropping": [[0, n] for n in shape[1:]],
        "shape_after_cropping_and_before_resampling": shape[1:],
        "class_locations": locations,
    }
    nnUNetDatasetNumpy.save_case(data, seg, properties, str(HERE / case))
    if case == "a":
        for file in HERE.glob("a*.b2nd"):
            file.unlink()
        nnUNetDatasetBlosc2.save_case(data, seg, properties, str(HERE / case), chunks=shape, blocks=shape,
                                      chunks_seg=seg.shape, blocks_seg=seg.shape)
lines = [f"{name} {version(name)}" for name in ("nnunetv2", "blosc2", "numpy")]
(HERE / "versions.txt").write_text("\n".join([f"python {sys.version.split()[0]}", *lines]) + "\n")
