"""One row of networks.json through libtorch and in PyTorch's Python, in turn, with the ratio of the medians.

PyTorch's side has the loss, deep supervision, clipping and optimiser of nnU-Net 2.8.1, as nnUNetTrainer.train_step has them.
Usage: python compare_row.py BENCH NAME [threads] [rounds] [cuda] [--compile]
BENCH: the program of `cargo bench -p nnunet-exec-torch --bench row --no-run`. Needs torch and nnunetv2.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import torch

bench, name = sys.argv[1], sys.argv[2]
numbers = [int(a) for a in sys.argv[3:] if a.isdigit()]
threads, rounds = (numbers + [os.cpu_count(), 3])[0], (numbers[1:] + [3])[0]
device = "cuda" if "cuda" in sys.argv else "cpu"
row = json.loads((pathlib.Path(__file__).parent / "../../exec-cpu/benches/networks.json").read_text())[name]


def reference():
    """Seconds of a step, the median of five after two."""
    import numpy as np
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    dimensions, stages = row["dimensions"], len(row["features"])
    kwargs = {
        "n_stages": stages, "features_per_stage": row["features"], "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": row["kernels"], "strides": row["strides"], "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
    }
    if "blocks" in row:
        kwargs |= {"n_blocks_per_stage": row["blocks"], "n_conv_per_stage_decoder": [1] * (stages - 1)}
    else:
        kwargs |= {"n_conv_per_stage": [2] * stages, "n_conv_per_stage_decoder": [2] * (stages - 1)}
    net = get_network_from_plans(
        "dynamic_network_architectures.architectures.unet." + row["class"], kwargs,
        ["conv_op", "norm_op", "dropout_op", "nonlin"], row["channels"], row["classes"],
        deep_supervision=row["train"]).to(device)
    shape = row["shape"]
    image = torch.randn(shape if dimensions == 3 else shape[:2] + shape[3:])
    net.train(row["train"])
    if "--compile" in sys.argv:
        net = torch.compile(net)
    if row["train"]:
        with torch.no_grad():
            outputs = net(image.to(device))
        weights = np.array([1 / 2 ** i for i in range(len(outputs))])
        weights[-1] = 0
        loss = DeepSupervisionWrapper(
            DC_and_CE_loss({"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}, {}, weight_ce=1,
                           weight_dice=1, ignore_label=None, dice_class=MemoryEfficientSoftDiceLoss),
            weights / weights.sum())
        targets = [torch.randint(0, row["classes"], (o.shape[0], 1, *o.shape[2:])).float() for o in outputs]
        optimiser = torch.optim.SGD(net.parameters(), 1e-6, momentum=0.99, weight_decay=3e-5, nesterov=True)
        scaler = torch.amp.GradScaler("cuda") if device == "cuda" else None

    def step():
        if not row["train"]:
            with torch.inference_mode(), torch.autocast(device, enabled=device == "cuda"):
                net(image.to(device)).float().cpu()
            return
        data, target = image.to(device, non_blocking=True), [t.to(device, non_blocking=True) for t in targets]
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device, enabled=device == "cuda"):
            value = loss(net(data), target)
        if scaler is None:
            value.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 12)
            optimiser.step()
        else:
            scaler.scale(value).backward()
            scaler.unscale_(optimiser)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 12)
            scaler.step(optimiser)
            scaler.update()
        value.detach().cpu().numpy()

    times = []
    for _ in range(7):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


if "--reference" in sys.argv:
    print(reference())
    sys.exit()

environment = dict(os.environ, NNUNET_LIBTORCH=str(pathlib.Path(torch.__file__).parent))
own, others = [], []
for _ in range(rounds):
    words = [bench, name, str(threads)] + (["cuda", "f16"] if device == "cuda" else [])
    own.append(float(subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.split()[-1]))
    words = [sys.executable, __file__, *sys.argv[1:], "--reference"]
    others.append(float(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[-1]))
a, b = statistics.median(own), statistics.median(others)
how = " with compile" if "--compile" in sys.argv else ""
print(f"{name} on {device}, {threads} threads, torch {torch.__version__}: {a:.4f} s, PyTorch's Python{how} {b:.4f} s, ratio {b / a:.2f}")
