"""The shapes of resample.rs through nnU-Net's own resampling. Prints CPU seconds and nanoseconds per output voxel."""
import time
import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

CASES = [("CT, separate z", (120, 512, 512), (200, 410, 410), (5.0, .8, .8), (3.0, 1.0, 1.0)),
         ("CT, three-dimensional", (120, 512, 512), (160, 384, 384), (2.0, .8, .8), (1.5, 1.066, 1.066)),
         ("MRI, three-dimensional", (155, 240, 240), (186, 288, 288), (1., 1., 1.), (.833, .833, .833))]


def measure(name, function, voxels):
    start = time.process_time()
    function()
    cpu = time.process_time() - start
    print(f"{name:<40} {cpu:8.2f} s CPU {cpu / voxels * 1e9:8.1f} ns CPU/voxel", flush=True)


for name, old, new, current, target in CASES:
    index = np.arange(np.prod(old))
    data = ((index % 977) * .5 + np.random.default_rng(1).random(index.size) * 40).astype(np.float32).reshape(1, *old)
    radius = np.sqrt(sum(((np.arange(s) / s - .5) ** 2).reshape([-1 if i == a else 1 for i in range(3)])
                         for a, s in enumerate(old)))
    seg = np.minimum((radius * 8).astype(np.int8) - 1, 2).astype(np.int8)[None]
    voxels = np.prod(new)
    measure(name + ", cubic", lambda: resample_data_or_seg_to_shape(
        data, new, current, target, is_seg=False, order=3, order_z=0, force_separate_z=None), voxels)
    measure(name + ", labels", lambda: resample_data_or_seg_to_shape(
        seg, new, current, target, is_seg=True, order=1, order_z=0, force_separate_z=None), voxels)
    measure(name + ", logits", lambda: resample_data_or_seg_to_shape(
        data, new, current, target, is_seg=False, order=1, order_z=0, force_separate_z=None), voxels)
