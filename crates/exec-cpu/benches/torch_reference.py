"""The rows of networks.json in PyTorch, as nnU-Net calls them on the CPU.

Usage: python torch_reference.py NAME [threads] [bf16] [once]
Prints "torch_NAME seconds N" (the median of three repetitions after one warm-up; one without warm-up with "once") and the peak
memory of the process. "bf16" runs the network under bfloat16 autocast. Needs torch and nnunetv2. compare.py measures a row
alternately with this program.
"""
import json
import pathlib
import resource
import statistics
import sys
import time

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

name, options = sys.argv[1], sys.argv[2:]
row = json.loads(pathlib.Path(__file__).with_name("networks.json").read_text())[name]
for option in options:
    if option.isdigit():
        torch.set_num_threads(int(option))
bf16, once, train = "bf16" in options, "once" in options, row["train"]
dimensions, stages = row["dimensions"], len(row["features"])
kwargs = {
    "n_stages": stages, "features_per_stage": row["features"], "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
    "kernel_sizes": row["kernels"], "strides": row["strides"], "conv_bias": True,
    "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
}
if "blocks" in row:
    kwargs |= {"n_blocks_per_stage": row["blocks"], "n_conv_per_stage_decoder": [1] * (stages - 1)}
else:
    kwargs |= {"n_conv_per_stage": [2] * stages, "n_conv_per_stage_decoder": [2] * (stages - 1)}
net = get_network_from_plans(
    "dynamic_network_architectures.architectures.unet." + row["class"], kwargs, ["conv_op", "norm_op", "dropout_op", "nonlin"],
    row["channels"], row["classes"], deep_supervision=train)
shape = row["shape"]
x = torch.randn(shape if dimensions == 3 else shape[:2] + shape[3:])
optimiser = torch.optim.SGD(net.parameters(), 1e-6, momentum=0.99, weight_decay=3e-5, nesterov=True)
gradients = None


def forward():
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        net(x)


def training_step():
    global gradients
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        outputs = net(x)
    gradients = gradients or [torch.randn_like(o) for o in outputs]
    torch.autograd.backward(outputs, gradients)
    torch.nn.utils.clip_grad_norm_(net.parameters(), 12)
    optimiser.step()


net.train(train)
step = training_step if train else forward
if not once:
    step()
times = []
for _ in range(1 if once else 3):
    start = time.perf_counter()
    step()
    times.append(time.perf_counter() - start)
label = f"torch_{name}{'_bf16' if bf16 else ''}"
print(f"{label} seconds {statistics.median(times):.4f}")
print(f"{label} peak_mib {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")
