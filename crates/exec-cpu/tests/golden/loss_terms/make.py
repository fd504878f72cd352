"""Writes goldens.json: losses by name and options, with value and gradient, on logits and targets that follow from integer
formulas (see `logits` and `labels`; the test has the same). Gradients are stored for every `stride`-th element.

Losses that nnU-Net has are its own; the others are their papers' formulas in f64 with PyTorch's derivatives, and equal
MONAI's where MONAI has them. Run with the packages of versions.txt: python make.py
"""
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss, FocalLoss, HausdorffDTLoss, TverskyLoss
from monai.losses.cldice import soft_skel as monai_skeleton
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss, DC_and_topk_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.loss.robust_ce_loss import RobustCrossEntropyLoss, TopKLoss
from nnunetv2.utilities.helpers import softmax_helper_dim1
from scipy.ndimage import distance_transform_edt

torch.set_num_threads(1)
HERE = Path(__file__).parent
CLASSES = 3
IGNORE = CLASSES
SHAPES = {"volume": (2, CLASSES, 6, 11, 13), "plane": (2, CLASSES, 1, 23, 19)}


def logits(shape):
    i = np.arange(np.prod(shape), dtype=np.int64)
    # Cubes modulo this prime are all different, and so are the differences between channels of most voxels: ties would leave
    # the gradient open.
    i = i**3 % 99989
    return torch.from_numpy((i.astype(np.float32) / np.float32(12500) - np.float32(4)).reshape(shape))


def labels(shape, ignore):
    """A ball (1) and a corner (2), which lie elsewhere in each sample; ignored voxels are spread over all."""
    n, _, z, y, x = shape
    k, a, b, c = np.meshgrid(*[np.arange(s) for s in (n, z, y, x)], indexing="ij")
    result = np.where((a - 2) ** 2 * 2 + (b - 5 - k) ** 2 + (c - 4) ** 2 <= 12, 1, np.where(b + c >= 16 + 2 * k, 2, 0))
    if ignore:
        result = np.where((c + 2 * b + 3 * a + k) % 11 == 0, IGNORE, result)
    return torch.from_numpy(result)


def regions(seg):
    """Region r holds the labels above r; with ignored voxels, the last channel is those."""
    return torch.stack([seg > c for c in range(CLASSES - 1)], 1)


# Formulas on probabilities p, targets t, both (n, c, z, y, x), and mask m (n, 1, z, y, x), all in f64.

def overlap(p, t, m, batch, score):
    axes = (0, 2, 3, 4) if batch else (2, 3, 4)
    p, t = p * m, t * m
    return score(p, t, lambda v: v.sum(axes)).mean()


def squared_dice(p, t, m, batch):
    return overlap(p, t, m, batch, lambda p, t, s: -(2 * s(p * t) + 1e-5) / (s(p**2) + s(t) + 1e-5))


def plain_dice(p, t, m, batch):
    return overlap(p, t, m, batch, lambda p, t, s: -(2 * s(p * t) + 1e-5) / (s(p) + s(t) + 1e-5))


def tversky(p, t, m, batch, alpha=0.3, beta=0.7, gamma=1.0, smooth=1e-5):
    def score(p, t, s):
        tp, fp, fn = s(p * t), s(p * (1 - t)), s((1 - p) * t)
        return (1 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth)) ** (1 / gamma)
    return overlap(p, t, m, batch, score)


def focal(p, t, m, gamma, weights, softmax):
    w = weights.view(1, -1, 1, 1, 1)
    value = -w * t * (1 - p) ** gamma * p.log()
    if not softmax:
        value = value - w * (1 - t) * p**gamma * (1 - p).log()
    return (value * m).sum() / (m.sum() * (1 if softmax else p.shape[1]))


def signed_distance(mask, spacing):
    if mask.all() or not mask.any():
        return np.zeros(mask.shape)
    outside, inside = distance_transform_edt(~mask, spacing), distance_transform_edt(mask, spacing)
    return np.where(mask, -(inside - 1), outside)


def distance(mask, spacing):
    if mask.all() or not mask.any():
        return np.zeros(mask.shape)
    return distance_transform_edt(~mask, spacing) + distance_transform_edt(mask, spacing)


def fields(function, masks, spacing):
    return torch.from_numpy(np.stack([[function(c, spacing) for c in n] for n in masks.numpy()]))


def boundary(p, t, m, spacing=(1, 1, 1)):
    phi = fields(signed_distance, (t * m) > 0, spacing)
    return (p * phi * m).sum() / (m.sum() * p.shape[1])


def hausdorff(p, t, m, alpha=2.0, spacing=(1, 1, 1)):
    far = sum(fields(distance, mask, spacing) ** alpha for mask in ((p * m).detach() > 0.5, (t * m) > 0))
    return ((p - t) ** 2 * far * m).sum() / (m.sum() * p.shape[1])


def skeleton(image, iterations):
    def erode(v):
        pooled = [-F.max_pool3d(-v, k, 1, tuple(s // 2 for s in k)) for k in ((3, 1, 1), (1, 3, 1), (1, 1, 3))]
        return torch.min(torch.min(pooled[0], pooled[1]), pooled[2])

    def opened(v):
        return F.max_pool3d(erode(v), 3, 1, 1)

    result = F.relu(image - opened(image))
    for _ in range(iterations):
        image = erode(image)
        lost = F.relu(image - opened(image))
        result = result + F.relu(lost - result * lost)
    return result


def cldice(p, t, m, batch, iterations=3, smooth=1.0):
    def score(p, t, s):
        sp, st = skeleton(p, iterations), skeleton(t, iterations)
        precision = (s(sp * t) + smooth) / (s(sp) + smooth)
        sensitivity = (s(st * p) + smooth) / (s(st) + smooth)
        return 1 - 2 * precision * sensitivity / (precision + sensitivity)
    return overlap(p, t, m, batch, score)


cases = []


def add(kind, function, options=None, shape="volume", target="labels", ignore=False, batch_dice=True, stride=31):
    """`function(x, seg, p, t, m)`: logits, target as nnU-Net has it, and what the formulas take (foreground and all)."""
    size = SHAPES[shape]
    seg = labels(size, ignore)
    if target == "regions":
        size = (size[0], CLASSES - 1, *size[2:])
    x = logits(size).double().requires_grad_()
    m = (seg != IGNORE).double()[:, None]
    if target == "labels":
        p = x.softmax(1)
        t = F.one_hot(torch.where(seg == IGNORE, 0, seg), CLASSES).movedim(-1, 1).double()
        reference = seg[:, None]
    else:
        p = x.sigmoid()
        t = regions(torch.where(seg == IGNORE, 0, seg)).double()
        reference = torch.cat([t.bool(), seg[:, None] == IGNORE], 1) if ignore else t.bool()
    value = function(x, reference, p, t, m)
    value.backward()
    gradient = x.grad.flatten()[::stride]
    name = " ".join([kind, *(f"{k}={v}" for k, v in (options or {}).items()), shape, target]
                    + ["ignore"] * ignore + ["batch"] * batch_dice)
    cases.append({"name": name, "kind": kind, "options": options or {}, "shape": list(size), "target": target,
                  "ignore": ignore, "batch_dice": batch_dice, "stride": stride, "loss": value.item(),
                  "gradient": [float(f"{g:.9g}") for g in gradient.tolist()]})


def near(a, b, tolerance=1e-6):
    assert abs(a.item() - b.item()) < tolerance * max(1, abs(b.item())), (a.item(), b.item())


weights = torch.tensor([0.5, 2.0, 1.25], dtype=torch.float64)
dice = dict(batch_dice=True, smooth=1e-5, do_bg=False, ddp=False)
ignore_index = dict(ignore_index=IGNORE)
of_labels = dict(apply_nonlin=softmax_helper_dim1)

# nnU-Net's losses.
for batch in (True, False):
    d = {**dice, "batch_dice": batch}
    add("dice", lambda x, y, *_: MemoryEfficientSoftDiceLoss(**d, **of_labels)(x, y), batch_dice=batch)
    add("dice", lambda x, y, *_: MemoryEfficientSoftDiceLoss(**{**d, "do_bg": True}, apply_nonlin=torch.sigmoid)(x, y),
        target="regions", batch_dice=batch)
    add("dice_topk", lambda x, y, *_: DC_and_topk_loss(dict(d), {"k": 10, "label_smoothing": 0.0}, ignore_label=IGNORE)(x, y),
        ignore=True, batch_dice=batch)
for ignore in (False, True):
    no_smooth = {**dice, "smooth": 0}
    ignored = IGNORE if ignore else None
    add("dice_ce", lambda x, y, *_: DC_and_CE_loss(no_smooth, {}, ignore_label=ignored, dice_class=MemoryEfficientSoftDiceLoss)(x, y),
        {"smooth": 0}, ignore=ignore)
    add("dice_ce", lambda x, y, *_: DC_and_BCE_loss({}, {**no_smooth, "do_bg": True}, use_ignore_label=ignore,
                                                    dice_class=MemoryEfficientSoftDiceLoss)(x, y),
        {"smooth": 0}, target="regions", ignore=ignore)
    add("dice_ce", lambda x, y, *_: DC_and_CE_loss(dict(dice), {}, 0.25, 0.5, ignored, MemoryEfficientSoftDiceLoss)(x, y),
        {"weight_ce": 0.25, "weight_dice": 0.5}, ignore=ignore)
    kwargs = ignore_index if ignore else {}
    add("ce", lambda x, y, *_: RobustCrossEntropyLoss(**kwargs)(x, y), ignore=ignore)
    add("ce", lambda x, y, *_: RobustCrossEntropyLoss(weight=weights, label_smoothing=0.1, **kwargs)(x, y),
        {"class_weights": weights.tolist(), "label_smoothing": 0.1}, ignore=ignore)
    add("topk", lambda x, y, *_: TopKLoss(k=10, **kwargs)(x, y), ignore=ignore)
    add("topk", lambda x, y, *_: TopKLoss(k=10, label_smoothing=0.1, **kwargs)(x, y), {"label_smoothing": 0.1}, ignore=ignore)
    add("topk", lambda x, y, *_: TopKLoss(weight=weights, k=35.5, **kwargs)(x, y),
        {"k": 35.5, "class_weights": weights.tolist()}, shape="plane", ignore=ignore)
add("bce", lambda x, y, *_: torch.nn.BCEWithLogitsLoss()(x, y.double()), target="regions")
smoothed = lambda t: t * 0.8 + 0.1
region_weights = torch.tensor([0.5, 2.0], dtype=torch.float64)
add("bce", lambda x, y, p, t, m: (F.binary_cross_entropy_with_logits(
    x, smoothed(t), region_weights.view(1, 2, 1, 1, 1), reduction="none") * m).sum() / m.sum(),
    {"label_smoothing": 0.2, "class_weights": region_weights.tolist()}, target="regions", ignore=True)

# Formulas of papers.
for target in ("labels", "regions"):
    for ignore in (False, True):
        here = dict(target=target, ignore=ignore)
        softmax = target == "labels"
        first = 1 if softmax else 0

        def on(function):
            """`function(p, t, m)` of what is no background."""
            return lambda x, y, p, t, m: function(p[:, first:], t[:, first:], m)

        monai = dict(softmax=softmax, sigmoid=not softmax, include_background=False)
        for batch in (True, False):
            add("dice", on(lambda p, t, m: squared_dice(p, t, m, batch)), {"squared": True}, batch_dice=batch, **here)
            add("tversky", on(lambda p, t, m: tversky(p, t, m, batch)), batch_dice=batch, **here)
            add("focal_tversky", on(lambda p, t, m: tversky(p, t, m, batch, 0.4, 0.6, 4 / 3, 0.5)),
                {"alpha": 0.4, "beta": 0.6, "smooth": 0.5}, batch_dice=batch, **here)
            for shape in SHAPES:
                add("cldice", on(lambda p, t, m: cldice(p, t, m, batch)), {"weight_ce": 0, "weight_dice": 0},
                    shape=shape, batch_dice=batch, **here)
        add("cldice", on(lambda p, t, m: plain_dice(p, t, m, True) + 0.5 * cldice(p, t, m, True, 1, 0.5)),
            {"weight_ce": 0, "weight_cldice": 0.5, "iterations": 1, "cldice_smooth": 0.5}, **here)
        w = weights if softmax else region_weights
        ones = torch.ones_like(w)
        add("focal", lambda x, y, p, t, m: focal(p, t, m, 2.0, ones, softmax), **here)
        add("focal", lambda x, y, p, t, m: focal(p, t, m, 0.5, w, softmax),
            {"gamma": 0.5, "class_weights": w.tolist()}, shape="plane", **here)
        add("dice_focal", lambda x, y, p, t, m: plain_dice(p[:, first:], t[:, first:], m, False)
            + 3 * focal(p, t, m, 2.0, ones, softmax), {"weight_focal": 3}, batch_dice=False, **here)
        only = {"weight_ce": 0, "weight_dice": 0}
        add("boundary", on(boundary), {**only, "weight_boundary": 1}, **here)
        add("boundary", on(lambda p, t, m: boundary(p, t, m, (2.5, 0.75, 1))),
            {**only, "weight_boundary": 1, "spacing": [2.5, 0.75, 1]}, **here)
        add("hausdorff", on(hausdorff), {**only, "weight_hausdorff": 1}, **here)
        add("hausdorff", on(lambda p, t, m: hausdorff(p, t, m, 1.5)),
            {**only, "weight_hausdorff": 1, "alpha": 1.5}, shape="plane", **here)
for kind, function in (("dice", lambda x, y, p, t, m: plain_dice(p, t, m, True)),
                       ("tversky", lambda x, y, p, t, m: tversky(p, t, m, True))):
    add(kind, function, {"background": True})
add("boundary", lambda x, y, p, t, m: boundary(p, t, m), {**only, "weight_boundary": 1, "background": True}, ignore=True)

# The formulas are MONAI's where MONAI has them.
size = SHAPES["volume"]
x, seg = logits(size).double(), labels(size, False)
t = F.one_hot(seg, CLASSES).movedim(-1, 1).double()
p, m = x.softmax(1), torch.ones(size[0], 1, *size[2:], dtype=torch.float64)
inner = dict(softmax=True, include_background=False)
for batch in (True, False):
    near(squared_dice(p[:, 1:], t[:, 1:], m, batch),
         DiceLoss(squared_pred=True, batch=batch, smooth_nr=1e-5, smooth_dr=1e-5, **inner)(x, t) - 1)
    near(tversky(p[:, 1:], t[:, 1:], m, batch), TverskyLoss(alpha=0.3, beta=0.7, batch=batch, **inner)(x, t))
near(focal(p, t, m, 2.0, torch.ones(CLASSES, dtype=torch.float64), True), CLASSES * FocalLoss(gamma=2.0, use_softmax=True)(x, t))
near(focal(x.sigmoid(), t, m, 2.0, torch.ones(CLASSES, dtype=torch.float64), False), FocalLoss(gamma=2.0)(x, t))
near(hausdorff(p[:, 1:], t[:, 1:], m), HausdorffDTLoss(**inner)(x, t), 1e-5)
assert torch.equal(skeleton(p, 3), monai_skeleton(p, 3))

(HERE / "goldens.json").write_text(json.dumps(cases).replace('{"name"', '\n{"name"') + "\n")
packages = ["nnunetv2", "monai", "numpy", "scipy", "torch"]
(HERE / "versions.txt").write_text("".join(f"{p} {version(p)}\n" for p in packages))
