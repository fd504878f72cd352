"""Writes small files with torch.save: weights.pth (zip), legacy.pth (older form), weights.safetensors.

Tensor k has the values k + i / 16 at linear index i, so that the test computes them itself.
Run: python make.py (in this folder)."""
import collections
import sys

import numpy as np
import torch


def tensor(k, *shape, dtype=torch.float32):
    return (k + torch.arange(int(np.prod(shape)), dtype=torch.float64) / 16).reshape(shape).to(dtype)


def checkpoint():
    conv, bias, norm = tensor(1, 4, 2, 3, 3), tensor(2, 4), tensor(3, 4)
    weights = collections.OrderedDict()
    prefix = "module._orig_mod."
    for name in ("encoder.a.", "decoder.encoder.a."):
        weights[prefix + name + "conv.weight"] = conv
        weights[prefix + name + "conv.bias"] = bias
        weights[prefix + name + "norm.weight"] = norm
        weights[prefix + name + "all_modules.0.weight"] = conv
        weights[prefix + name + "all_modules.0.bias"] = bias
        weights[prefix + name + "all_modules.1.weight"] = norm
    weights[prefix + "half"] = tensor(4, 3, dtype=torch.float16)
    weights[prefix + "bfloat"] = tensor(5, 3, dtype=torch.bfloat16)
    weights[prefix + "double"] = tensor(6, 3, dtype=torch.float64)
    weights[prefix + "count"] = torch.tensor(7, dtype=torch.int64)
    weights[prefix + "transposed"] = tensor(8, 3, 2).T
    flat = tensor(9, 8)
    weights[prefix + "first"], weights[prefix + "second"] = flat[:3], flat[3:]
    weights[prefix + "parameter"] = torch.nn.Parameter(tensor(10, 2))
    weights._metadata = {"": {"version": 1}}
    state = {0: {"momentum_buffer": tensor(11, 4, 2, 3, 3)}, 2: {"momentum_buffer": None}, 3: {"step": torch.tensor(5.0)}}
    return {
        "network_weights": weights,
        "optimizer_state": {"state": state, "param_groups": [{"lr": 0.005, "momentum": 0.99, "params": [0, 1, 2, 3]}]},
        "grad_scaler_state": None,
        "logging": {"ema_fg_dice": [np.float32(0.5), np.float32(0.625)], "lrs": [0.01, 0.005], "extra": tensor(12, 2)},
        "_best_ema": np.float32(0.625),
        "current_epoch": 2,
        "init_args": {"plans": {"x": [1, 2.5]}, "configuration": "3d_fullres", "fold": "all", "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        "note": "kept",
    }


if __name__ == "__main__":
    from safetensors.torch import save_file

    torch.save(checkpoint(), "weights.pth")
    torch.save(checkpoint(), "legacy.pth", _use_new_zipfile_serialization=False)
    save_file({"a": tensor(1, 2, 3), "b": tensor(2, 4, dtype=torch.bfloat16), "c": torch.tensor(3)}, "weights.safetensors",
              metadata={"by": "make.py"})
    with open("versions.txt", "w") as f:
        f.write(f"python {sys.version.split()[0]}, numpy {np.__version__}, torch {torch.__version__}\n")
