"""Writes goldens.npz and index.json: batchgeneratorsv2 transforms with fixed parameters.

Run with the packages of versions.txt: python make.py
"""
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.nnunet.random_binary_operator import (
    ApplyRandomBinaryOperatorTransform,
    binary_closing_torch,
    binary_dilation_torch,
    binary_erosion_torch,
    binary_opening_torch,
)
from batchgeneratorsv2.transforms.noise.gaussian_blur import blur_dimension
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.spatial import (
    SpatialTransform,
    create_affine_matrix_2d,
    create_affine_matrix_3d,
)
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

HERE = Path(__file__).parent
rng = np.random.default_rng(20)
torch.manual_seed(20)
arrays, index = {}, []


def blobs(shape, labels):
    """A smooth label map with -1 along one border."""
    noise = rng.normal(size=shape)
    for axis in range(len(shape)):
        noise = sum(np.roll(noise, s, axis) for s in (-1, 0, 1))
    ranks = noise.ravel().argsort().argsort().reshape(shape)
    seg = (ranks * labels // ranks.size).astype(np.int16)
    seg[..., :2] = -1
    return seg


def image(channels, shape):
    return rng.normal(size=(channels, *shape)).astype(np.float32)


def fixed_affine(transform, affine, patch, shape):
    """The parameters that SpatialTransform.get_parameters returns for this affine matrix."""
    space = [torch.linspace((1 - s) / 2, (s - 1) / 2, s) for s in patch]
    grid = torch.stack(torch.meshgrid(space, indexing="ij"), -1).float().contiguous()
    grid = torch.matmul(grid, torch.from_numpy(affine.T).float())
    for d, s in enumerate(shape):
        grid[..., d] /= s / 2
    return {"grid": torch.flip(grid, (grid.ndim - 1,)), "center_location_in_pixels": [s / 2 for s in shape]}


SPATIAL = [
    ("spatial_volume", (14, 13, 15), (9, 11, 10), [0.4, -0.3, 0.25], 1.3),
    ("spatial_ties", (12, 12, 12), (8, 8, 8), [0.0, 0.0, 0.0], 0.75),
    ("spatial_outside", (8, 9, 7), (10, 10, 10), [0.1, 0.5, -0.2], 1.4),
    ("spatial_slice", (22, 19), (14, 16), [2.6], 0.8),
    ("spatial_slice_ties", (16, 16), (12, 12), [0.0], 1.25),
    ("spatial_crop", (9, 12, 7), (6, 7, 10), None, None),
]
for name, shape, patch, angles, factor in SPATIAL:
    data, seg = image(2 if len(shape) == 2 else 1, shape), blobs(shape, 4)[None]
    transform = SpatialTransform(patch, 0, False, border_mode_seg="constant", padding_value_seg=-1)
    if angles is None:
        params = {"grid": None, "center_location_in_pixels": [s / 2 for s in shape]}
    elif len(shape) == 3:
        params = fixed_affine(transform, create_affine_matrix_3d(angles, [factor] * 3), patch, shape)
    else:
        params = fixed_affine(transform, create_affine_matrix_2d(angles[-1], [factor] * 2), patch, shape)
    arrays[f"{name}.image"], arrays[f"{name}.seg"] = data, seg
    arrays[f"{name}.out_image"] = transform._apply_to_image(torch.from_numpy(data.copy()), **params).numpy()
    arrays[f"{name}.out_seg"] = transform._apply_to_segmentation(torch.from_numpy(seg.copy()), **params).numpy()
    index.append({"name": name, "patch": patch, "angles": angles, "scales": None if angles is None else [factor] * len(shape)})

for name, shape, sigmas in [("blur_volume", (5, 8, 7), [0.5, 0.81, 1.0]), ("blur_slice", (9, 8), [0.75, 0.93])]:
    data = image(1, shape)
    out = torch.from_numpy(data.copy())
    for d, sigma in enumerate(sigmas):
        out = blur_dimension(out, sigma, d)
    arrays[f"{name}.image"], arrays[f"{name}.out_image"] = data, out.numpy()
    index.append({"name": name, "sigmas": sigmas})

LOW_RESOLUTION = [("lowres_volume", (7, 9, 8), 0.63, None), ("lowres_stack", (4, 9, 8), 0.5, [0]), ("lowres_slice", (11, 10), 0.87, None)]
for name, shape, scale, ignore in LOW_RESOLUTION:
    data = image(1, shape)
    scales = torch.Tensor([[scale] * len(shape)])
    if ignore:
        scales[:, ignore] = 1
    transform = SimulateLowResolutionTransform(0.5, False, True, ignore)
    out = transform._apply_to_image(torch.from_numpy(data.copy()), apply_to_channel=[0], scales=scales)
    arrays[f"{name}.image"], arrays[f"{name}.out_image"] = data, out.numpy()
    index.append({"name": name, "scale": scale, "ignore_axes": ignore})

one = torch.tensor([True])
for name, gamma, invert in [("gamma_plain", 0.7, 0), ("gamma_inverted", 1.43, 1)]:
    data = image(1, (6, 7, 8))
    out = GammaTransform(1, 0, False, 1, 1)._apply_to_image(
        torch.from_numpy(data.copy()), apply_to_channel=torch.tensor([0]), retain_stats=one,
        invert_image=torch.tensor([bool(invert)]), gamma=torch.tensor([gamma]))
    arrays[f"{name}.image"], arrays[f"{name}.out_image"] = data, out.numpy()
    index.append({"name": name, "gamma": gamma, "invert": invert, "retain_stats": True})

for name, factor in [("contrast_less", 0.76), ("contrast_more", 1.24)]:
    data = image(1, (6, 7, 8)) + 3
    out = ContrastTransform(1, True, False)._apply_to_image(
        torch.from_numpy(data.copy()), apply_to_channel=torch.tensor([0]), multipliers=torch.tensor([factor]))
    arrays[f"{name}.image"], arrays[f"{name}.out_image"] = data, out.numpy()
    index.append({"name": name, "factor": factor})

for name, shape, scales in [
    ("dsseg_volume", (9, 10, 12), [[1, 1, 1], [1, 0.5, 0.5], [0.5, 0.25, 0.25]]),
    ("dsseg_slice", (14, 11), [[1, 1], [0.5, 0.5], [0.25, 0.25]]),
]:
    seg = blobs(shape, 4)[None]
    for k, out in enumerate(DownsampleSegForDSTransform(scales)._apply_to_segmentation(torch.from_numpy(seg.copy()))):
        arrays[f"{name}.out{k}"] = out.numpy()
    arrays[f"{name}.seg"] = seg
    index.append({"name": name, "scales": scales})

OPERATORS = {"dilate": binary_dilation_torch, "erode": binary_erosion_torch, "close": binary_closing_torch, "open": binary_opening_torch}
case = 0
for shape in [(9, 11, 10), (17, 15)]:
    for operator, radius in [("dilate", 1.0), ("dilate", 1.7), ("erode", 1.3), ("close", 2.45), ("open", 1.55), ("dilate", 3.2)]:
        name = f"operator{case}"
        case += 1
        seg = blobs(shape, 3)
        one_hot = np.stack([(seg == label) for label in (1, 2)]).astype(np.float32)
        transform = ApplyRandomBinaryOperatorTransform([0, 1])
        out = transform._apply_to_image(
            torch.from_numpy(one_hot.copy()), apply_to_channels=[1], operators=[OPERATORS[operator]], strel_size=[radius])
        arrays[f"{name}.image"], arrays[f"{name}.out_image"] = one_hot.astype(np.uint8), out.numpy().astype(np.uint8)
        index.append({"name": name, "operator": operator, "radius": radius})

initial = []
for patch in [(128, 128, 128), (40, 56, 40), (20, 320, 256), (96, 160, 160), (64, 48, 192), (56, 40), (512, 320), (448, 448)]:
    for degrees in (15, 30, 180):
        angle = (-degrees / 360 * 2 * np.pi, degrees / 360 * 2 * np.pi)
        out = get_patch_size(patch, angle, angle, angle, (0.85, 1.25))
        initial.append({"patch": patch, "deg": degrees, "out": [int(i) for i in out]})

np.savez_compressed(HERE / "goldens.npz", **arrays)
(HERE / "index.json").write_text(json.dumps({"transforms": index, "initial_patch": initial}, indent=0) + "\n")
packages = ["batchgeneratorsv2", "nnunetv2", "numpy", "torch", "scikit-image"]
(HERE / "versions.txt").write_text("".join(f"{p} {version(p)}\n" for p in packages))
