"""The benches' networks in PyTorch, as nnU-Net calls them on the CPU.

Usage: python torch_reference.py forward_128|train_step|train_step_128 [threads] [bf16]
Prints "torch_NAME seconds N": the median of three runs after one warm-up.
Needs torch and dynamic_network_architectures. Measure alternately with `cargo bench -p nnunet-network --bench NAME`.
"""
import statistics
import sys
import time

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

name = sys.argv[1]
if len(sys.argv) > 2:
    torch.set_num_threads(int(sys.argv[2]))
bf16 = "bf16" in sys.argv[3:]
features, classes, shape = {
    "forward_128": ([32, 64, 128, 256, 320, 320], 4, (1, 1, 128, 128, 128)),
    "train_step_128": ([32, 64, 128, 256, 320, 320], 4, (1, 1, 128, 128, 128)),
    "train_step": ([32, 64, 128, 256], 3, (2, 1, 40, 56, 40)),
}[name]
stages = len(features)
net = PlainConvUNet(1, stages, features, nn.Conv3d, 3, [1] + [2] * (stages - 1), 2, classes, 2, True, nn.InstanceNorm3d,
                    {"eps": 1e-5, "affine": True}, None, None, nn.LeakyReLU, {"inplace": True}, deep_supervision=name != "forward_128")
net.apply(PlainConvUNet.initialize)
x = torch.randn(shape)
optimiser = torch.optim.SGD(net.parameters(), 1e-6, momentum=0.99, weight_decay=3e-5, nesterov=True)
gradients = None


def forward():
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        net(x)


def train():
    global gradients
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        outputs = net(x)
    gradients = gradients or [torch.randn_like(o) for o in outputs]
    torch.autograd.backward(outputs, gradients)
    torch.nn.utils.clip_grad_norm_(net.parameters(), 12)
    optimiser.step()


step = forward if name == "forward_128" else train
times = []
for _ in range(4):
    start = time.perf_counter()
    step()
    times.append(time.perf_counter() - start)
print(f"torch_{name}{'_bf16' if bf16 else ''} seconds {statistics.median(times[1:]):.4f}")
