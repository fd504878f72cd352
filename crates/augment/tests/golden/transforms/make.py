"""Writes goldens.npz and index.json: transforms of batchgeneratorsv2 with fixed parameters, and the distributions of
summary statistics of transforms with drawn parameters, among them every transform of the trainers' lists.

Run with the packages of versions.txt: python make.py
"""
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from batchgenerators.augmentations.utils import elastic_deform_coordinates
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.inversion import InvertImageTransform
from batchgeneratorsv2.transforms.intensity.random_clip import CutOffOutliersTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.local.local_contrast import LocalContrastTransform
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.local.local_smoothing import LocalSmoothingTransform
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
    RemoveRandomConnectedComponentFromOneHotEncodingTransform,
)
from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform
from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform
from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform
from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform
from batchgeneratorsv2.transforms.spatial.channel_misalignment import ChannelMisalignmentTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import (
    SpatialTransform,
    _convert_my_grid_to_grid_sample_grid,
    _create_centered_identity_grid2,
    create_affine_matrix_2d,
    create_affine_matrix_3d,
)
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import OneOfTransform, RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import (
    nnUNetTrainerDA5,
    nnUNetTrainerDA5ord0,
    nnUNetTrainerDA5Segord0,
)
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDAOrd0 import nnUNetTrainer_DASegOrd0
from scipy.ndimage import fourier_gaussian

HERE = Path(__file__).parent
torch.set_num_threads(1)
np.random.seed(31)
torch.manual_seed(31)
rng = np.random.default_rng(31)
arrays, fixed, distributions = {}, [], []
SHAPES = {"volume": (5, 8, 7), "slice": (9, 8)}


def image(channels, shape):
    return rng.normal(size=(channels, *shape)).astype(np.float32)


def add(name, data, out, **parameters):
    arrays[f"{name}.image"], arrays[f"{name}.out"] = np.asarray(data), np.asarray(out)
    fixed.append({"name": name, **parameters})


def tensor(data):
    return torch.from_numpy(data.copy())


for kind, shape in SHAPES.items():
    dim = len(shape)
    data = image(1, shape)
    for strength, clamp in [(0.3, False), (0.9, True)]:
        out = SharpeningTransform()._apply_to_image(
            tensor(data), strengths=[strength], clamp_intensities=[clamp], apply_channel=[True])
        add(f"sharpen_{kind}_{int(clamp)}", data, out, strength=strength, clamp=clamp)
    for size in range(2, 8):
        out = MedianFilterTransform(size)._apply_to_image(tensor(data), apply_channel=[True], filter_sizes=[size])
        add(f"median_{kind}_{size}", data, out, size=size)
    lower, upper = [1] * dim, [4, 7, 5][:dim]
    out = BlankRectangleTransform(1, torch.mean, 1)._apply_to_image(
        tensor(data), apply_channel=[True], rectangles=[[(lower, upper)]])
    add(f"blank_{kind}", data, out, lower=lower, upper=upper)

    for far, scales, locations in [(False, [3.0, 2.0, 4.5], [0.3, 0.8, 0.5]), (True, [2.0, 4.0, 3.0], [-0.5, 1.4, 0.2])]:
        scales, locations = scales[:dim], locations[:dim]
        bump = {"scales": scales, "locations": locations}
        where = {"scale": lambda _, d: scales[d], "loc": lambda _, d: locations[d]}
        name = f"{kind}_{'far' if far else 'near'}"
        kernel = LocalContrastTransform(**where)._generate_kernel(shape)
        add(f"bump_{name}", data, kernel[None], **bump)
        for centred in (False, True):
            transform = BrightnessGradientAdditiveTransform(**where, max_strength=-2.5, mean_centered=centred)
            out = transform(image=tensor(data))["image"]
            add(f"gradient_{name}_{int(centred)}", data, out, strength=-2.5, mean_centred=centred, **bump)
        out = LocalContrastTransform(**where, new_contrast=1.7)(image=tensor(data))["image"]
        add(f"local_contrast_{name}", data, out, factor=1.7, **bump)
        out = LocalGammaTransform(**where, gamma=2.3)(image=tensor(data))["image"]
        add(f"local_gamma_{name}", data, out, gamma=2.3, **bump)
        out = LocalSmoothingTransform(**where, smoothing_strength=0.8, kernel_size=1.2)(image=tensor(data))["image"]
        add(f"local_smoothing_{name}", data, out, strength=0.8, sigma=1.2, **bump)

    noise = image(dim, shape)
    for sigma, magnitude in [(0.7, 1.5), (2.1, 4.0)]:
        out = []
        for component in noise:
            smooth = np.fft.ifftn(fourier_gaussian(np.fft.fftn(component), sigma)).real
            out.append((smooth / (np.abs(smooth).max() / magnitude)).astype(np.float32))
        add(f"elastic_magnitude_{kind}_{sigma}", noise, np.stack(out), sigma=sigma, magnitude=magnitude)
    state = np.random.get_state()
    uniform = np.stack([np.random.random(shape) * 2 - 1 for _ in shape]).astype(np.float32)
    np.random.set_state(state)
    coordinates = np.zeros((dim, *shape))
    add(f"elastic_alpha_{kind}", uniform, elastic_deform_coordinates(coordinates, 30.0, 1.1).astype(np.float32), alpha=30.0, sigma=1.1)

    patch = (4, 6, 6)[-dim:]
    angles, scales = [0.3, -0.2, 0.4][:dim], [1.2, 0.9, 1.1][:dim]
    affine = create_affine_matrix_3d(angles, scales) if dim == 3 else create_affine_matrix_2d(angles[-1], scales)
    seg = (rng.integers(0, 4, size=(1, *shape)) - 1).astype(np.int16)
    offsets = image(dim, patch) * 0.8
    centre = [0.7, -1.2, 0.4][:dim]
    for mode, displaced in [("nearest", False), ("bilinear", True), ("nearest", True)]:
        transform = SpatialTransform(patch, 0, False, mode_image=mode, mode_seg=mode, border_mode_seg="constant", padding_value_seg=-1)
        grid = _create_centered_identity_grid2(patch).float()
        if displaced:
            grid += torch.from_numpy(np.moveaxis(offsets, 0, -1).copy())
        grid = torch.matmul(grid, torch.from_numpy(affine.T).float())
        mean = grid.mean(dim=list(range(dim))) if displaced else 0
        grid += torch.Tensor(centre) - mean
        params = {"grid": _convert_my_grid_to_grid_sample_grid(grid, shape), "center_location_in_pixels": None}
        name = f"spatial_{kind}_{mode}_{int(displaced)}"
        add(name, data, transform._apply_to_image(tensor(data), **params), patch=patch, angles=angles, scales=scales,
            centre=centre, mode=mode, displaced=displaced)
        arrays[f"{name}.seg"] = seg
        arrays[f"{name}.out_seg"] = transform._apply_to_segmentation(tensor(seg), **params).numpy()
        arrays[f"{name}.offsets"] = offsets

    both = image(2, shape)
    for name, matrix, shift in [("affine", affine, [0] * dim), ("shift", None, [1, -2, 3][:dim]), ("both", affine, [-1, 2, 1][:dim])]:
        transform = ChannelMisalignmentTransform([1], rad_or_deg="deg")
        out = transform._apply_to_image(
            tensor(both), affine=matrix, elastic_offsets=None,
            center_location_in_pixels=[s / 2 + d for s, d in zip(shape, shift)])
        add(f"misalignment_{kind}_{name}", both, out, angles=None if matrix is None else angles, scales=scales, shift=shift)

cube = image(1, (4, 4, 4))
for turns in range(4):
    for axes in [(0, 1), (0, 2), (1, 2)]:
        out = Rot90Transform(1)._maybe_rot90(tensor(cube), [turns], [[a + 1 for a in axes]])
        add(f"rotate90_{turns}_{axes[0]}{axes[1]}", cube, out.contiguous(), turns=turns, axes=axes)
for order in [(1, 0, 2), (2, 0, 1), (1, 2, 0)]:
    out = TransposeAxesTransform({0, 1, 2})._apply_to_image(tensor(cube), axis_order=[0] + [o + 1 for o in order])
    add("transpose_%d%d%d" % order, cube, out, order=order)

data = image(1, (5, 8, 7))
add("invert", data, InvertImageTransform(1)._apply_to_image(tensor(data), apply=True, apply_to_channel=[0]))
for retain in (False, True):
    out = CutOffOutliersTransform()._apply_to_image(tensor(data), percentiles=[(3.7, 91.2)], retain_std=[retain])
    add(f"cut_off_{int(retain)}", data, out, lower=3.7, upper=91.2, retain=retain)
out = ContrastTransform(1, False, False)._apply_to_image(
    tensor(data), apply_to_channel=torch.tensor([0]), multipliers=torch.tensor([1.4]))
add("contrast_free", data, out, factor=1.4)
no = torch.tensor([False])
out = GammaTransform(1, 0, False, 1, 0)._apply_to_image(
    tensor(data), apply_to_channel=torch.tensor([0]), retain_stats=no, invert_image=no, gamma=torch.tensor([1.6]))
add("gamma_free", data, out, gamma=1.6)
both = image(2, (4, 5, 6))
torch.manual_seed(5)
out = RicianNoiseTransform()._apply_to_image(tensor(both), variance=0.3)
torch.manual_seed(5)
noise = [torch.empty_like(torch.from_numpy(both)).normal_(mean=0.0, std=0.3).numpy() for _ in range(2)]
add("rician", both, out)
arrays["rician.noise"] = np.stack(noise)


# Distributions: the same input on both sides, DRAWS results, three statistics of each.
DRAWS = 300


def waves(channels, shape):
    """The image that the Rust test makes."""
    i = np.arange(channels * int(np.prod(shape)))
    return (((i * 7919) % 1009) / 512 - 1 + (i % shape[-1]) / 8).astype(np.float32).reshape(channels, *shape)


def stripes(channels, shape):
    """The segmentation that the Rust test makes."""
    i = np.arange(channels * int(np.prod(shape)))
    return ((i // 7) % 4 - 1).astype(np.int16).reshape(channels, *shape)


def statistics(image, seg):
    flat = image.reshape(-1).double().numpy()
    weights = np.arange(flat.size) % 97
    labels = seg.reshape(-1).numpy().astype(np.int64)
    return [flat.std(), (flat * weights).mean(), float((labels * (np.arange(labels.size) % 89)).sum())]


def blocks(shape):
    """Two labels as channels, which the Rust test makes too."""
    label = (sum(k * (i // (3 + k)) for k, i in enumerate(np.indices(shape), 1))) % 3
    return np.stack([label == 1, label == 2]).astype(np.float32)


def distribution(name, transform, shape, seg_channels=1, one_hot=False, **description):
    results = []
    for _ in range(DRAWS):
        data = blocks(shape) if one_hot else waves(2, shape)
        result = transform(image=torch.from_numpy(data), segmentation=torch.from_numpy(stripes(seg_channels, shape)))
        results.append(statistics(result["image"], result["segmentation"]))
    arrays[f"{name}.statistics"] = np.sort(np.array(results, dtype=np.float32), axis=0).T
    distributions.append({"name": name, "shape": shape, "seg_channels": seg_channels, "one_hot": one_hot, **description})


def transforms_of(trainer, patch, angle, slices, cascade):
    angle = (-np.deg2rad(angle), np.deg2rad(angle))
    return trainer.get_training_transforms(
        patch, angle, None, tuple(range(len(patch))), slices, use_mask_for_norm=[False, True],
        is_cascaded=cascade, foreground_labels=[1, 2] if cascade else None).transforms


def steps(transforms):
    """Transforms of a list without those that only change the layout; slices are put around the spatial one."""
    slices = any(isinstance(t, Convert3DTo2DTransform) for t in transforms)
    for t in transforms:
        if isinstance(t, (Convert3DTo2DTransform, Convert2DTo3DTransform, RemoveLabelTansform)):
            continue
        if isinstance(t, SpatialTransform) and slices:
            t = ComposeTransforms([Convert3DTo2DTransform(), t, Convert2DTo3DTransform()])
        yield t


LISTS = [
    ("default", nnUNetTrainer, 0.85),
    ("da_segord0", nnUNetTrainer_DASegOrd0, 0.85),
    ("da5", nnUNetTrainerDA5, 0.7),
    ("da5_ord0", nnUNetTrainerDA5ord0, 0.7),
    ("da5_segord0", nnUNetTrainerDA5Segord0, 0.7),
]
CONFIGURATIONS = [("volume", (10, 12, 12), 30, False), ("stack", (6, 19, 19), 180, True), ("slice", (14, 13), 180, False)]
seen = set()
for list_name, trainer, smallest in LISTS:
    for kind, patch, degrees, slices in CONFIGURATIONS:
        cascade = kind == "volume"
        crop = get_patch_size(patch, *[np.deg2rad(degrees)] * 3, (smallest, 1))
        if slices:
            crop[0] = patch[0]
        for index, transform in enumerate(steps(transforms_of(trainer, patch, degrees, slices, cascade))):
            parts = [(None, 1.0, transform)]
            if isinstance(transform, RandomTransform):
                parts = [(None, transform.apply_probability, transform.transform)]
            if isinstance(transform, OneOfTransform):
                parts = [(k, t.apply_probability, t.transform) for k, t in enumerate(transform.list_of_transforms)]
            for part, probability, inner in parts:
                entry = {"list": list_name, "patch": patch, "cascade": cascade, "index": index, "part": part, "probability": probability}
                shape = tuple(int(s) for s in crop) if index == 0 else patch
                name = f"{list_name}_{kind}_{index}" + ("" if part is None else f"_{part}")
                key = (kind, shape, repr(inner), str(getattr(inner, "transforms", "")))
                if key in seen:
                    # Another list has it too; its probability is compared alone.
                    distributions.append({"name": name, "shape": None, **entry})
                    continue
                seen.add(key)
                one_hot = "OneHot" in type(inner).__name__ or "BinaryOperator" in type(inner).__name__
                previous = isinstance(inner, MoveSegAsOneHotToDataTransform)
                distribution(name, inner, shape, 2 if previous else 1, one_hot and not previous, **entry)

# Transforms that no list has.
patch, shape = (10, 12, 12), (13, 15, 14)
for name, transform, of_patch, choice in [
    ("rician", RicianNoiseTransform((0.1, 0.4)), True, {"kind": "rician_noise", "deviation": [0.1, 0.4]}),
    ("invert", InvertImageTransform(0.6, 0.3, 0.5), True,
     {"kind": "invert", "probability": 0.6, "synchronised_probability": 0.3, "channel_probability": 0.5}),
    ("cut_off", CutOffOutliersTransform((1, 10), (80, 99), False, 0.7, 0.5), True,
     {"kind": "cut_off", "lower": [1, 10], "upper": [80, 99], "channel_probability": 0.7, "retain_probability": 0.5}),
    ("local_contrast", LocalContrastTransform((2, 6), (-0.2, 1.2), (0.4, 2.0), False, 0.8), True,
     {"kind": "local_contrast", "scale": [2, 6], "location": [-0.2, 1.2], "factor": [0.4, 2.0],
      "synchronised_channels": False, "channel_probability": 0.8}),
    ("local_smoothing", LocalSmoothingTransform((2, 6), (-0.2, 1.2), (0.5, 1.0), (0.5, 1.5), True, 1.0), True,
     {"kind": "local_smoothing", "scale": [2, 6], "location": [-0.2, 1.2], "strength": [0.5, 1.0], "sigma": [0.5, 1.5]}),
    ("brightness_shift_synchronised", BrightnessAdditiveTransform(0.1, 0.5, True, 0.8), True,
     {"kind": "brightness_shift", "mean": 0.1, "deviation": 0.5, "synchronised_channels": True, "channel_probability": 0.8}),
    ("misalignment", ChannelMisalignmentTransform([1], (0.1, 0.2, 0.1), 0.5, (10, 20, 15), "deg", 0.5, (1, 3, 2), 0.5), True,
     {"kind": "channel_misalignment", "channels": [1], "squeeze": [0.1, 0.2, 0.1], "squeeze_probability": 0.5,
      "rotation": [10, 20, 15], "rotation_probability": 0.5, "shift": [1, 3, 2], "shift_probability": 0.5}),
    ("elastic", SpatialTransform(patch, 0, False, 1, (0.05, 0.2), (0.5, 3.0), 0.3, border_mode_seg="constant", padding_value_seg=-1), False,
     {"kind": "spatial", "elastic_probability": 1, "elastic_scale": [0.05, 0.2], "elastic_magnitude": [0.5, 3.0],
      "elastic_synchronised_scale": 0.3}),
    ("random_crop", SpatialTransform(patch, 3, True, border_mode_seg="constant", padding_value_seg=-1), False,
     {"kind": "spatial", "random_crop": True, "border_distance": 3}),
    ("random_crop_rotated", SpatialTransform(patch, 3, True, p_rotation=1, rotation=(-0.2, 0.2), border_mode_seg="constant", padding_value_seg=-1), False,
     {"kind": "spatial", "random_crop": True, "border_distance": 3, "rotation_probability": 1,
      "rotation": [-float(np.rad2deg(0.2)), float(np.rad2deg(0.2))]}),
]:
    distribution(name, transform, patch if of_patch else shape, patch=patch, choice=choice)

initial = []
for patch in [(128, 128, 128), (20, 320, 256), (64, 48, 192), (56, 40), (512, 320)]:
    for degrees in (15, 30, 180):
        out = get_patch_size(patch, *[np.deg2rad(degrees)] * 3, (0.7, 1.43))
        initial.append({"patch": patch, "degrees": degrees, "smallest_scale": 0.7, "out": [int(i) for i in out]})

np.savez_compressed(HERE / "goldens.npz", **{name: np.ascontiguousarray(array) for name, array in arrays.items()})
(HERE / "index.json").write_text(json.dumps({"fixed": fixed, "distributions": distributions, "initial_patch": initial}, indent=0) + "\n")
packages = ["batchgeneratorsv2", "batchgenerators", "nnunetv2", "numpy", "torch", "scipy"]
(HERE / "versions.txt").write_text("".join(f"{p} {version(p)}\n" for p in packages))
