"""Makes the resampling golden files with nnU-Net's own function (nnunetv2.preprocessing.resampling).

Writes index.json and <name>_in.npy / <name>_out.npy: data f32, labels i8, shapes with a leading channel axis.
"""
import importlib.metadata as metadata
import json
from pathlib import Path
import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

HERE = Path(__file__).parent


def data(rng, shape, channels):
    x = rng.normal(size=(channels, *shape)).astype(np.float32)
    return x * np.float32(30) + np.float32(500)


def labels(rng, shape):
    """Blocks of labels with many borders, so that ties occur."""
    coarse = rng.integers(-1, 4, size=[-(-s // 2) for s in shape])
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)[:shape[0], :shape[1], :shape[2]]
    noise = rng.integers(-1, 4, size=shape)
    return np.where(rng.random(shape) < .3, noise, fine).astype(np.int8)[None]


CASES = [
    # shape, new shape, current spacing, new spacing, segmentation, order, order_z, force_separate_z, channels
    ((7, 9, 8), (10, 13, 9), (2, 1, 1), (1.4, .7, .9), False, 3, 0, None, 2),
    ((7, 9, 8), (5, 4, 6), (1, 1, 1), (1.4, 2, 1.3), False, 3, 0, None, 1),
    ((5, 9, 8), (11, 9, 8), (2, 1, 1), (.9, 1, 1), False, 3, 0, None, 1),
    ((5, 9, 8), (5, 12, 8), (2, 1, 1), (2, .7, 1), False, 3, 0, None, 1),
    ((5, 9, 8), (5, 12, 11), (4, 1, 1), (4, .7, .7), False, 3, 0, None, 1),
    ((5, 9, 8), (13, 12, 11), (4, 1, 1), (1.5, .7, .7), False, 3, 0, None, 1),
    ((5, 9, 8), (3, 12, 11), (4, 1, 1), (6.5, .7, .7), False, 3, 1, None, 1),
    ((5, 9, 8), (9, 12, 11), (4, 1, 1), (2.2, .7, .7), False, 3, 3, None, 1),
    ((8, 5, 9), (6, 9, 12), (1, 4, 1), (1.3, 2.2, .75), False, 3, 1, None, 1),
    ((8, 9, 5), (6, 12, 9), (1, 1, 4), (1.3, .75, 2.2), False, 1, 0, None, 1),
    ((1, 9, 8), (1, 5, 11), (999, 1, 1), (999, 1.8, .7), False, 3, 0, None, 1),
    ((2, 3, 1), (5, 2, 4), (1, 1, 1), (.4, 1.5, .25), False, 3, 0, False, 1),
    ((7, 9, 8), (9, 5, 11), (1, 1, 1), (.8, 1.8, .7), False, 0, 0, None, 1),
    ((8, 10, 12), (16, 20, 24), (1, 1, 1), (.5, .5, .5), True, 1, 0, None, 1),
    ((8, 10, 12), (4, 5, 6), (1, 1, 1), (2, 2, 2), True, 1, 0, None, 1),
    ((8, 10, 12), (11, 7, 15), (1, 1, 1), (.7, 1.4, .8), True, 1, 0, None, 1),
    ((8, 10, 12), (12, 20, 6), (4, 1, 1), (2.6, .5, 2), True, 1, 0, None, 1),
    ((8, 10, 12), (16, 9, 13), (4, 1, 1), (2, 1.1, .9), True, 1, 1, None, 1),
    ((10, 12, 8), (9, 13, 16), (1, 1, 4), (1.1, .9, 2), True, 1, 0, None, 1),
    ((10, 8, 12), (20, 12, 6), (1, 4, 1), (.5, 2.6, 2), True, 1, 0, None, 1),
    ((8, 10, 12), (5, 20, 13), (1, 1, 1), (1.6, .5, .9), True, 0, 0, None, 1),
]


def main():
    index = []
    for i, (shape, new, cur, tar, seg, order, order_z, force, channels) in enumerate(CASES):
        rng = np.random.default_rng(i)
        x = labels(rng, shape) if seg else data(rng, shape, channels)
        y = resample_data_or_seg_to_shape(x, new, cur, tar, is_seg=seg, order=order, order_z=order_z,
                                          force_separate_z=force)
        name = f"g{i:02}"
        np.save(HERE / f"{name}_in.npy", x)
        np.save(HERE / f"{name}_out.npy", y)
        index.append(dict(name=name, current_spacing=cur, new_spacing=tar, new_shape=new, is_seg=seg, order=order,
                          order_z=order_z, force_separate_z=force))
    (HERE / "index.json").write_text(json.dumps(index, indent=0))
    packages = ["nnunetv2", "batchgenerators", "scikit-image", "scipy", "numpy"]
    (HERE / "versions.txt").write_text("".join(f"{p} {metadata.version(p)}\n" for p in packages))


main()
