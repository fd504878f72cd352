"""Configurations as nnU-Net v2 resolves them: inheritance over several steps, and plans of the old format.

    python make.py          (needs nnunetv2, versions.txt names the one used)

Writes plans.json (that of ../plan/Dataset803_small with more configurations) and resolved.json.
"""
import json
from importlib.metadata import version
from pathlib import Path

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

HERE = Path(__file__).resolve().parent


def old(plans, base, network, base_features):
    """`base` as the first versions wrote it."""
    configuration = dict(plans["configurations"][base])
    kwargs = configuration.pop("architecture")["arch_kwargs"]
    stages = kwargs["n_stages"]
    configuration.update({
        "UNet_class_name": network, "UNet_base_num_features": base_features,
        "n_conv_per_stage_encoder": list(range(2, 2 + stages)), "n_conv_per_stage_decoder": [2] * (stages - 1),
        "num_pool_per_axis": [stages - 1] * len(configuration["patch_size"]),
        "pool_op_kernel_sizes": kwargs["strides"], "conv_kernel_sizes": kwargs["kernel_sizes"],
        "unet_max_num_features": 100, "batch_dice": False})
    return configuration


def main():
    plans = json.loads((HERE.parent / "plan/Dataset803_small/nnUNetPlans.json").read_text())
    plans["configurations"].update({
        "larger": {"inherits_from": "3d_fullres", "patch_size": [48, 56, 40], "next_stage": ["cascade"], "mine": 1},
        "largest": {"inherits_from": "larger", "batch_size": 5, "mine": {"a": None}},
        "cascade": {"inherits_from": "largest", "previous_stage": "larger", "next_stage": None},
        "old_plain": old(plans, "3d_fullres", "PlainConvUNet", 24),
        "old_residual": old(plans, "2d", "ResidualEncoderUNet", 32),
        "old_batch": {"inherits_from": "old_plain", "batch_size": 3, "unet_max_num_features": 64},
    })
    (HERE / "plans.json").write_text(json.dumps(plans, indent=1))
    manager = PlansManager(str(HERE / "plans.json"))
    resolved = {name: manager.get_configuration(name).configuration for name in plans["configurations"]}
    (HERE / "resolved.json").write_text(json.dumps(resolved, indent=1))
    (HERE / "versions.txt").write_text(f"nnunetv2 {version('nnunetv2')}\n")


if __name__ == "__main__":
    main()
