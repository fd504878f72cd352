"""Times the reference's default training transforms: one thread, CPU milliseconds per sample.

Run with OMP_NUM_THREADS=1 and nnunetv2 installed: python augment_reference.py
"""
import time

import numpy as np
import torch
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

torch.set_num_threads(1)


def milliseconds(transform, image, seg, repeats):
    times = []
    for _ in range(repeats):
        sample = {"image": image.clone(), "segmentation": seg.clone()}
        start = time.process_time()
        transform(**sample)
        times.append(time.process_time() - start)
    return np.mean(times) * 1e3


for patch, degrees, slice_by_slice, repeats in [
    ((40, 56, 40), 30, False, 200),
    ((16, 160, 160), 180, True, 60),
    ((56, 40), 180, False, 300),
    ((128, 128, 128), 30, False, 12),
]:
    angle = (-degrees / 360 * 2 * np.pi, degrees / 360 * 2 * np.pi)
    crop = get_patch_size(patch, angle, angle, angle, (0.85, 1.25))
    if slice_by_slice:
        crop[0] = patch[0]
    scales = [[s] * len(patch) for s in (1, 0.5, 0.25)]
    axes = tuple(range(len(patch)))
    transforms = nnUNetTrainer.get_training_transforms(patch, angle, scales, axes, slice_by_slice, use_mask_for_norm=[False])
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, *crop)).astype(np.float32))
    grid = np.meshgrid(*[np.arange(s) for s in crop], indexing="ij")
    distance = np.sqrt(sum((g - s / 2) ** 2 for g, s in zip(grid, crop)))
    radius = min(crop) / 3
    seg = torch.from_numpy(((distance < radius).astype(np.int16) + (distance < radius / 2))[None].astype(np.int16))
    print(patch, "default policy %.2f ms" % milliseconds(transforms, image, seg, repeats))
    if not slice_by_slice:
        spatial = transforms.transforms[0]
        spatial.p_rotation = spatial.p_scaling = 1
        print("    rotate and scale %.2f ms" % milliseconds(spatial, image, seg, max(5, repeats // 10)))
