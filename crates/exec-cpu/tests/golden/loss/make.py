"""Writes goldens.json: losses and gradients of the reference on logits and targets that follow from
integer formulas (see `logits` and `labels`; the test has the same). Gradients are stored for every
`stride`-th element.

Run with the packages of versions.txt: python make.py
"""
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

torch.set_num_threads(1)
HERE = Path(__file__).parent


def logits(shape):
    i = np.arange(np.prod(shape), dtype=np.int64)
    return torch.from_numpy(((i * 7919 % 1009).astype(np.float32) / np.float32(64) - np.float32(8)).reshape(shape))


def labels(shape, count):
    i = np.arange(np.prod(shape), dtype=np.int64)
    return torch.from_numpy((i // 3 * 31 % count).astype(np.int16).reshape(shape))


def dice(batch_dice, do_bg):
    return {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": do_bg, "ddp": False}


cases = []


def add(name, kind, loss, x, target, stride, **facts):
    x = x.requires_grad_()
    value = loss(x, target)
    value.backward()
    gradient = x.grad.flatten()[::stride]
    cases.append({"name": name, "kind": kind, "shape": list(x.shape), "stride": stride, "loss": value.item(),
                  "gradient": [float(f"{g:.9g}") for g in gradient.tolist()], **facts})


for name, shape, count, batch_dice, ignore, stride in [
    ("volume", (2, 3, 5, 11, 13), 3, True, None, 7),
    ("volume_per_sample", (2, 4, 5, 11, 13), 4, False, None, 7),
    ("volume_ignore", (2, 3, 5, 11, 13), 4, True, 3, 7),
    ("large", (2, 2, 1, 91, 103), 2, True, None, 61),
    ("absent_class", (1, 4, 1, 9, 9), 2, False, None, 3),
    ("all_ignored", (1, 2, 1, 5, 5), 1, True, 0, 1),
]:
    loss = DC_and_CE_loss(dice(batch_dice, False), {}, ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss)
    add(name, "labels", loss, logits(shape), labels((shape[0], 1, *shape[2:]), count), stride,
        labels=count, batch_dice=batch_dice, ignore=ignore)

for name, shape, batch_dice, ignore, stride in [
    ("regions", (2, 3, 5, 11, 13), True, False, 7),
    ("regions_per_sample", (2, 2, 5, 11, 13), False, False, 7),
    ("regions_ignore", (2, 2, 5, 11, 13), True, True, 7),
    ("regions_large", (1, 2, 1, 91, 103), False, True, 61),
]:
    channels = shape[1] + ignore
    # Region c holds the labels above c; the ignored part is the last label alone.
    seg = labels((shape[0], 1, *shape[2:]), shape[1] + 2)
    target = torch.cat([seg > c for c in range(channels)], 1)
    loss = DC_and_BCE_loss({}, dice(batch_dice, True), use_ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss)
    add(name, "regions", loss, logits(shape), target, stride, labels=shape[1] + 2, batch_dice=batch_dice, ignore=ignore)

(HERE / "goldens.json").write_text(json.dumps(cases).replace('{"name"', '\n{"name"') + "\n")
packages = ["nnunetv2", "numpy", "torch"]
(HERE / "versions.txt").write_text("".join(f"{p} {version(p)}\n" for p in packages))
