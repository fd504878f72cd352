"""Makes golden files of nnU-Net's resampling with PyTorch (nnunetv2.preprocessing.resampling.resample_torch).

Writes index.json and <name>_in.npy / <name>_out.npy: data f32 or f16, labels i8, shapes with a leading channel axis.
"""
import importlib.metadata as metadata
import json
from pathlib import Path
import numpy as np
import torch
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

HERE = Path(__file__).parent


def labels(rng, shape):
    """Blocks of labels with many borders, so that ties occur."""
    coarse = rng.integers(-1, 4, size=[-(-s // 2) for s in shape])
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:shape[0], :shape[1], :shape[2]]
    noise = rng.integers(-1, 4, size=shape)
    return np.where(rng.random(shape) < .3, noise, fine).astype(np.int8)[None]


CT = (8, 10, 12)
CASES = [
    # shape, new shape, current spacing, new spacing, segmentation, channels, options
    (CT, (11, 7, 15), (1, 1, 1), (.7, 1.4, .8), False, 2, {}),
    (CT, (16, 20, 6), (1, 1, 1), (.5, .5, 2), False, 1, {"force_separate_z": False}),
    (CT, (12, 13, 9), (4, 1, 1), (2.6, .8, 1.3), False, 1, {"force_separate_z": False}),
    (CT, (12, 13, 9), (4, 1, 1), (2.6, .8, 1.3), False, 2, {}),
    ((10, 12, 8), (9, 13, 16), (1, 1, 4), (1.1, .9, 2), False, 1, {}),
    ((10, 8, 12), (20, 12, 6), (1, 4, 1), (.5, 2.6, 2), False, 1, {"aniso_axis_mode": "linear"}),
    (CT, (12, 13, 9), (4, 1, 1), (2.6, .8, 1.3), False, 1, {"mode": "nearest", "aniso_axis_mode": "nearest"}),
    (CT, (12, 13, 9), (1, 1, 1), (.7, .8, 1.3), False, 1, {"mode": "nearest"}),
    (CT, (12, 13, 9), (4, 1, 1), (2.6, .8, 1.3), False, 1, {"separate_z_anisotropy_threshold": 5}),
    (CT, (12, 10, 12), (4, 1, 1), (2.6, 1, 1), False, 1, {}),
    (CT, (8, 13, 9), (4, 1, 1), (4, .8, 1.3), False, 1, {}),
    ((1, 9, 8), (1, 5, 11), (9, 1, 1), (9, 1.8, .7), False, 1, {}),
    ((2, 70, 60), (1, 77, 61), (1, 1, 1), (2, .9, 1), False, 1, {}),
    (CT, (16, 20, 24), (1, 1, 1), (.5, .5, .5), True, 1, {"force_separate_z": False}),
    (CT, (4, 5, 6), (1, 1, 1), (2, 2, 2), True, 1, {}),
    (CT, (11, 7, 15), (1, 1, 1), (.7, 1.4, .8), True, 1, {}),
    (CT, (12, 20, 6), (4, 1, 1), (2.6, .5, 2), True, 1, {}),
    (CT, (12, 20, 6), (4, 1, 1), (2.6, .5, 2), True, 1, {"force_separate_z": False}),
    ((10, 12, 8), (9, 13, 16), (1, 1, 4), (1.1, .9, 2), True, 1, {"aniso_axis_mode": "linear"}),
    ((10, 8, 12), (20, 12, 6), (1, 4, 1), (.5, 2.6, 2), True, 1, {}),
    (CT, (12, 13, 9), (4, 1, 1), (2.6, .8, 1.3), True, 1, {"mode": "nearest-exact", "aniso_axis_mode": "nearest"}),
    (CT, (16, 20, 24), (1, 1, 1), (.5, .5, .5), True, 1, {"memefficient_seg_resampling": True}),
    (CT, (11, 7, 15), (1, 1, 1), (.7, 1.4, .8), True, 1, {"memefficient_seg_resampling": True}),
    (CT, (12, 20, 6), (4, 1, 1), (2.6, .5, 2), True, 1, {"memefficient_seg_resampling": True}),
    ((20, 30, 24), (17, 37, 29), (1, 1, 1), (1.1, .8, .8), True, 1, {}),
    ((7, 50, 46), (11, 63, 69), (5, 1, 1), (3, .8, .7), True, 1, {}),
    # Logits of a prediction: halves in, floats out.
    ((9, 10, 12), (13, 17, 20), (1.3, 1.2, 1.1), (.9, .7, .66), "logits", 3, {"force_separate_z": False}),
    ((9, 10, 12), (21, 17, 20), (5, 1.2, 1.1), (2.1, .7, .66), "logits", 3, {}),
]


def main():
    index = []
    for i, (shape, new, cur, tar, kind, channels, options) in enumerate(CASES):
        rng = np.random.default_rng(i)
        seg = kind is True
        if seg:
            x = labels(rng, shape)
        else:
            x = (rng.normal(size=(channels, *shape)) * 30 + (0 if kind == "logits" else 500)).astype(np.float32)
        if kind == "logits":
            x = x.astype(np.float16)
        given = torch.from_numpy(x) if kind == "logits" else x
        y = np.asarray(resample_torch_fornnunet(given, new, cur, tar, is_seg=seg, num_threads=1, **options))
        name = f"t{i:02}"
        np.save(HERE / f"{name}_in.npy", x)
        np.save(HERE / f"{name}_out.npy", y)
        index.append(dict(name=name, current_spacing=cur, new_spacing=tar, new_shape=new, is_seg=seg, **options))
    (HERE / "index.json").write_text(json.dumps(index, indent=0))
    packages = ["nnunetv2", "torch", "numpy"]
    (HERE / "versions.txt").write_text("".join(f"{p} {metadata.version(p)}\n" for p in packages))


main()
