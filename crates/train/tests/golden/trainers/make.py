"""Writes what each trainer of nnU-Net (but Primus) does in its first two steps, and what it decides.

    python make.py

Every trainer takes two steps from the same weights on the same batch of labels, on the CPU; the first one of Adan only
remembers the gradient. Convolutions have no bias: before
an instance norm its gradient is rounding noise, of which Adam makes steps as long as any other. Needs nnunetv2 and, for the
Adan trainers, adan-pytorch. Writes trainers.json, weights.npz (before) and steps.npz (after; trainers with equal steps share
theirs).
"""

import hashlib
import importlib
import json
import os
import pkgutil
import tempfile
from pathlib import Path

SCRATCH = tempfile.mkdtemp()
for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[folder] = os.path.join(SCRATCH, folder)
os.environ["nnUNet_compile"] = "f"
# Trainers look at the files' ending.
CASES = Path(SCRATCH, "nnUNet_preprocessed", "Dataset001_Golden", "nnUNetPlans_3d_fullres")
CASES.mkdir(parents=True)
(CASES / "case.b2nd").touch()

import numpy as np  # noqa: E402
import torch  # noqa: E402
import nnunetv2.training.nnUNetTrainer as package  # noqa: E402
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # noqa: E402

HERE = Path(__file__).parent
PATCH = [16, 16, 16]
EPOCHS = [0, 1, 49, 50, 51, 500, 999]
SOURCE = {"labels": {"background": 0, "a": 1, "b": 2}, "channel_names": {"0": "CT"}, "numTraining": 5, "file_ending": ".nii.gz"}


def plans():
    kwargs = {
        "n_stages": 4, "features_per_stage": [2, 2, 3, 3], "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 4, "strides": [[1, 1, 1]] + [[2, 2, 2]] * 3, "n_conv_per_stage": [1] * 4,
        "n_conv_per_stage_decoder": [1] * 3, "conv_bias": False,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
    }
    resampling = {
        "resampling_fn_data": "resample_data_or_seg_to_shape", "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    }
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
        "patch_size": PATCH, "median_image_size_in_voxels": [16.0, 16.0, 16.0], "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [False], **resampling,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": kwargs, "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }
    statistics = {key: 1.0 for key in ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std")}
    return {
        "dataset_name": "Dataset001_Golden", "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0], "original_median_shape_after_transp": [16, 16, 16],
        "image_reader_writer": "SimpleITKIO", "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration}, "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager", "foreground_intensity_properties_per_channel": {"0": statistics},
    }


def trainers():
    found = {}
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if ".primus" in module.name:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, type) and issubclass(value, nnUNetTrainer):
                found[name] = value
    return dict(sorted(found.items()))


def batch(count):
    random = np.random.RandomState(7)
    data = random.randn(2, 1, *PATCH).astype(np.float32)
    labels = (random.rand(2, 1, *PATCH) * 3).astype(np.int16)
    scales = [labels[:, :, :: 2**i, :: 2**i, :: 2**i] for i in range(count)]
    return data, [np.ascontiguousarray(scale) for scale in scales]


def weights(network):
    random = np.random.RandomState(3)
    return {name: (0.3 * random.randn(*p.shape) + p.detach().numpy().mean()).astype(np.float32)
            for name, p in network.named_parameters()}


def main():
    golden, steps, start = {}, {}, None
    (HERE / "plans.json").write_text(json.dumps(plans(), indent=1) + "\n")
    (HERE / "dataset.json").write_text(json.dumps(SOURCE, indent=1) + "\n")
    data, targets = batch(3)
    for name, cls in trainers().items():
        benchmark = "Benchmark" in name
        if benchmark:
            # They ask for a GPU when they are made.
            available, torch.cuda.is_available = torch.cuda.is_available, lambda: True
        torch.manual_seed(0)
        trainer = cls({**plans(), "continue_training": False}, "3d_fullres", 0, SOURCE, device=torch.device("cpu"))
        if benchmark:
            torch.cuda.is_available = available
        trainer.initialize()
        network = trainer.network
        start = start or weights(network)
        with torch.no_grad():
            for key, parameter in network.named_parameters():
                parameter.copy_(torch.from_numpy(start[key]))
        rates = {}
        for epoch in [*range(52), *EPOCHS[-2:]]:
            if epoch >= trainer.num_epochs:
                break
            trainer.current_epoch = epoch
            trainer.on_train_epoch_start()
            if epoch in EPOCHS:
                rates[epoch] = trainer.optimizer.param_groups[0]["lr"]
        for group in trainer.optimizer.param_groups:
            group["lr"] = rates[0]
        outputs = len(targets) if trainer.enable_deep_supervision else 1
        target = [torch.from_numpy(t) for t in targets[:outputs]]
        norms, clip = [], torch.nn.utils.clip_grad_norm_

        def clip_and_note(*arguments):
            norms.append(float(clip(*arguments)))

        torch.nn.utils.clip_grad_norm_ = clip_and_note
        made = {"data": torch.from_numpy(data), "target": target if outputs > 1 else target[0]}
        losses = [float(trainer.train_step(made)["loss"]) for _ in range(2)]
        torch.nn.utils.clip_grad_norm_ = clip
        after = {key: p.detach().numpy().copy() for key, p in network.named_parameters()}
        digest = hashlib.sha256(b"".join(value.tobytes() for value in after.values())).hexdigest()[:12]
        steps.update({f"{digest}/{key}": value for key, value in after.items()})
        _, _, crop, mirrored = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        axes = trainer.inference_allowed_mirroring_axes
        assert mirrored == axes
        golden[name] = {
            "losses": losses, "gradient_norms": norms, "step": digest, "rates": rates,
            "epochs": trainer.num_epochs, "iterations": trainer.num_iterations_per_epoch,
            "validation_iterations": trainer.num_val_iterations_per_epoch, "save_every": trainer.save_every,
            "mirroring_axes": None if axes is None else list(axes), "crop": [int(v) for v in crop],
            "foreground": trainer.oversample_foreground_percent,
            "probabilistic": bool(trainer.probabilistic_oversampling), "outputs": outputs,
        }
    (HERE / "trainers.json").write_text(json.dumps(golden, indent=1) + "\n")
    np.savez_compressed(HERE / "weights.npz", data=data, **{f"target{i}": t for i, t in enumerate(targets)}, **start)
    np.savez_compressed(HERE / "steps.npz", **steps)
    versions = {module: importlib.metadata.version(module) for module in ("nnunetv2", "torch", "numpy", "adan-pytorch")}
    (HERE / "versions.txt").write_text("".join(f"{name} {version}\n" for name, version in versions.items()))


if __name__ == "__main__":
    import importlib.metadata

    main()
