"""Small networks of the reference with random weights, inputs and output gradients.

Writes for every case NAME.json (class, arch_kwargs, channels, keys of the state dict with shapes) and NAME.npz
(parameters as "p:<name>", input "x", outputs "y0".., output gradients "d0".., parameter gradients "g:<name>"; with a batch norm
also buffers before and after that step as "b:<name>" and "a:<name>" and outputs in evaluation after it as "e0"..; with a dropout
outputs in evaluation only). Arithmetic is f64, stored as f32 after the inputs were rounded to f32: the numbers are exact to f32 rounding.
Usage: python make.py [CASE ...] (in an environment with dynamic_network_architectures and torch)
"""
import importlib.metadata
import json
import pydoc
import sys

import numpy as np
import torch

UNET = "dynamic_network_architectures.architectures.unet."
CONV = "torch.nn.modules.conv.Conv%dd"
NORM = "torch.nn.modules.instancenorm.InstanceNorm%dd"


BATCH = "torch.nn.modules.batchnorm.BatchNorm%dd"


class GroupNorm(torch.nn.GroupNorm):
    """With the number of channels first, as the blocks call a norm."""

    def __init__(self, channels, num_groups, **others):
        super().__init__(num_groups, channels, **others)


def kwargs(dim, **changes):
    base = dict(
        n_stages=3, features_per_stage=[3, 5, 17], conv_op=CONV % dim, kernel_sizes=[[3] * dim] * 3,
        strides=[[1] * dim, [2] * dim, [2] * dim], n_conv_per_stage_decoder=[1, 1], conv_bias=True,
        norm_op=NORM % dim, norm_op_kwargs={"eps": 1e-5, "affine": True}, dropout_op=None, dropout_op_kwargs=None,
        nonlin="torch.nn.LeakyReLU", nonlin_kwargs={"inplace": True})
    base.update(changes)
    return base


CASES = {
    "plain3d": ("PlainConvUNet", kwargs(3, n_conv_per_stage=[2, 2, 1], n_conv_per_stage_decoder=[2, 1]), 2, 3, (2, 2, 8, 12, 4)),
    "plain3d_anisotropic": ("PlainConvUNet", kwargs(3, n_conv_per_stage=1, kernel_sizes=[[1, 3, 3], [3, 1, 3], [3, 5, 3]], strides=[[1, 1, 1], [1, 2, 2], [1, 3, 2]], features_per_stage=[3, 17, 6], conv_bias=False, n_conv_per_stage_decoder=1), 1, 2, (1, 1, 5, 12, 8)),
    "plain3d_relu_no_norm": ("PlainConvUNet", kwargs(3, n_conv_per_stage=[1, 2, 1], norm_op=None, norm_op_kwargs=None, nonlin="torch.nn.ReLU"), 1, 2, (2, 1, 4, 8, 8)),
    "plain2d": ("PlainConvUNet", kwargs(2, n_conv_per_stage=[2, 1, 2], norm_op_kwargs={"eps": 1e-3, "affine": True}, nonlin_kwargs={"negative_slope": 0.2}), 3, 4, (3, 3, 1, 12, 20)),
    "plain2d_not_affine": ("PlainConvUNet", kwargs(2, n_conv_per_stage=[1, 1, 1], norm_op_kwargs={}), 1, 2, (2, 1, 1, 8, 8)),
    "residual3d": ("ResidualEncoderUNet", kwargs(3, n_blocks_per_stage=[1, 2, 1], kernel_sizes=[[1, 3, 3], [3, 3, 3], [3, 3, 3]], strides=[[1, 1, 1], [1, 2, 2], [2, 2, 2]]), 1, 3, (2, 1, 4, 8, 12)),
    "residual2d_stem": ("ResidualEncoderUNet", kwargs(2, n_blocks_per_stage=[1, 1, 2], stem_channels=5), 2, 2, (2, 2, 1, 16, 8)),
    "residual3d_bottleneck": ("ResidualEncoderUNet", kwargs(3, n_blocks_per_stage=[1, 1, 1], features_per_stage=[5, 5, 8], block="dynamic_network_architectures.building_blocks.residual.BottleneckD", bottleneck_channels=[3, 4, 6]), 1, 2, (1, 1, 4, 8, 8)),
    "plain3d_batch": ("PlainConvUNet", kwargs(3, n_conv_per_stage=[2, 1, 1], norm_op=BATCH % 3, norm_op_kwargs={"eps": 1e-3, "momentum": 0.3}), 1, 2, (3, 1, 4, 4, 8)),
    "residual2d_batch": ("ResidualEncoderUNet", kwargs(2, n_blocks_per_stage=[1, 2, 1], norm_op=BATCH % 2, norm_op_kwargs={"momentum": None}, nonlin="torch.nn.ReLU", conv_bias=False), 2, 2, (2, 2, 1, 8, 8)),
    "plain3d_batch_untracked": ("PlainConvUNet", kwargs(3, n_conv_per_stage=1, norm_op=BATCH % 3, norm_op_kwargs={"track_running_stats": False, "affine": False}), 1, 2, (2, 1, 4, 4, 8)),
    "plain3d_group": ("PlainConvUNet", kwargs(3, n_conv_per_stage=[1, 1, 2], features_per_stage=[4, 6, 18], norm_op="torch.nn.modules.normalization.GroupNorm", norm_op_kwargs={"num_groups": 2, "eps": 1e-4}), 1, 2, (2, 1, 4, 8, 4)),
    "plain2d_gelu": ("PlainConvUNet", kwargs(2, n_conv_per_stage=2, nonlin="torch.nn.modules.activation.GELU", nonlin_kwargs=None), 1, 2, (2, 1, 1, 8, 12)),
    "residual3d_gelu": ("ResidualEncoderUNet", kwargs(3, n_blocks_per_stage=[1, 1, 2], nonlin="torch.nn.GELU", nonlin_kwargs={}), 1, 2, (1, 1, 8, 8, 8)),
    "plain3d_nonlin_first": ("PlainConvUNet", kwargs(3, n_conv_per_stage=[2, 1, 1], norm_op=BATCH % 3, norm_op_kwargs={}, nonlin_first=True), 1, 2, (2, 1, 8, 8, 8)),
    "plain2d_gelu_first": ("PlainConvUNet", kwargs(2, n_conv_per_stage=1, nonlin="torch.nn.GELU", nonlin_kwargs={}, nonlin_first=True), 1, 2, (2, 1, 1, 8, 12)),
    "plain3d_dropout": ("PlainConvUNet", kwargs(3, n_conv_per_stage=1, dropout_op="torch.nn.modules.dropout.Dropout3d", dropout_op_kwargs={"p": 0.2, "inplace": True}), 1, 2, (1, 1, 4, 8, 4)),
    "residual3d_dropout_bottleneck": ("ResidualEncoderUNet", kwargs(3, n_blocks_per_stage=1, features_per_stage=[5, 5, 8], block="dynamic_network_architectures.building_blocks.residual.BottleneckD", bottleneck_channels=4, dropout_op="torch.nn.Dropout", dropout_op_kwargs={"p": 0.5}), 1, 2, (1, 1, 4, 8, 4)),
}


def build(name, class_name, arch, channels, classes, shape):
    resolved = dict(arch)
    for key in ("conv_op", "norm_op", "dropout_op", "nonlin", "block"):
        if resolved.get(key) is not None:
            resolved[key] = pydoc.locate(resolved[key])
    if resolved["norm_op"] is torch.nn.GroupNorm:
        resolved["norm_op"] = GroupNorm
    torch.manual_seed(sum(map(ord, name)))
    net = pydoc.locate(UNET + class_name)(input_channels=channels, num_classes=classes, deep_supervision=True, **resolved)
    with torch.no_grad():
        for key, p in net.named_parameters():
            p.copy_(torch.randn_like(p) * (0.3 if p.ndim == 1 else (1.5 / p[0].numel()) ** 0.5) + (1.0 if "norm.weight" in key else 0.0))
        for key, b in net.named_buffers():
            b.copy_({"mean": torch.randn_like, "var": lambda t: torch.rand_like(t) + 0.5}.get(key.rsplit("_")[-1], lambda t: t + 3)(b))
    names = {key: list(value.shape) for key, value in net.state_dict().items()}
    order = [key for key, _ in net.named_parameters()]
    net = net.double()
    two = arch["conv_op"].endswith("2d")
    flat = lambda t: t[:, :, 0] if two else t
    full = lambda t: t[:, :, None] if two else t
    x = torch.randn(shape).double()
    buffers = lambda prefix: {prefix + k: b.clone() for k, b in net.named_buffers()}
    arrays = {"x": x} | {"p:" + k: p for k, p in net.named_parameters()} | buffers("b:")
    if arch["dropout_op"] is None:
        outputs = net(flat(x))
        grads = [torch.randn(o.shape).double() for o in outputs]
        sum((o * g).sum() for o, g in zip(outputs, grads)).backward()
        arrays |= {"g:" + k: p.grad for k, p in net.named_parameters()}
        arrays |= {f"y{i}": full(o) for i, o in enumerate(outputs)} | {f"d{i}": full(g) for i, g in enumerate(grads)}
    if buffers("") or arch["dropout_op"] is not None:
        arrays |= buffers("a:") | {f"e{i}": full(o) for i, o in enumerate(net.eval()(flat(x)))}
    np.savez_compressed(name + ".npz", **{k: v.detach().numpy().astype(np.float32) for k, v in arrays.items()})
    json.dump(dict(network_class_name=UNET + class_name, arch_kwargs=arch, input_channels=channels, output_channels=classes,
                   parameters=order, state_dict=names), open(name + ".json", "w"), indent=1)


for case in sys.argv[1:] or CASES:
    class_name, arch, channels, classes, shape = CASES[case]
    build(case, class_name, arch, channels, classes, shape)
open("versions.txt", "w").write("".join(f"{p} {importlib.metadata.version(p)}\n" for p in ("torch", "dynamic_network_architectures", "numpy")))
