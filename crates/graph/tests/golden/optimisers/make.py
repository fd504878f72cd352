"""Steps of PyTorch's optimisers, and of the package's Adan that nnU-Net uses, on fixed gradients, and gradient clipping.
Writes optimisers.json.

Two parameters of shapes (2, 3) and (4,); the second has no gradient in the first step.
"""
import json
from importlib.metadata import version

import torch
from adan_pytorch import Adan

STEPS = 5
CASES = {
    "sgd_nesterov": (torch.optim.SGD, dict(momentum=0.99, weight_decay=3e-5, nesterov=True)),
    "sgd_momentum": (torch.optim.SGD, dict(momentum=0.9, weight_decay=1e-2)),
    "sgd_plain": (torch.optim.SGD, dict(weight_decay=1e-2)),
    "adam": (torch.optim.Adam, dict(weight_decay=1e-2)),
    "adamw": (torch.optim.AdamW, dict()),
    "adamw_amsgrad": (torch.optim.AdamW, dict(weight_decay=3e-5, amsgrad=True)),
    "adan": (Adan, dict(weight_decay=1e-2)),
}
torch.manual_seed(0)
start = [torch.randn(2, 3), torch.randn(4)]
gradients = [[torch.randn(2, 3), torch.randn(4) if s else None] for s in range(STEPS)]
rates = [0.01, 0.02, 0.005, 0.01, 0.01]
flat = lambda t: t.flatten().tolist() if isinstance(t, torch.Tensor) else t
out = {"start": [flat(t) for t in start], "gradients": [[flat(g) for g in s] for s in gradients], "rates": rates, "cases": {}, "clip": []}
for name, (kind, options) in CASES.items():
    parameters = [t.clone().requires_grad_() for t in start]
    optimiser = kind(parameters, lr=1.0, **options)
    steps = []
    for rate, grads in zip(rates, gradients):
        optimiser.param_groups[0]["lr"] = rate
        for p, g in zip(parameters, grads):
            p.grad = None if g is None else g.clone()
        optimiser.step()
        state = optimiser.state_dict()["state"]
        steps.append({"parameters": [flat(p.detach()) for p in parameters],
                      "state": {str(i): {k: flat(v) for k, v in s.items() if v is not None} for i, s in state.items()}})
    out["cases"][name] = steps
for max_norm in (12.0, 0.5):
    parameters = [torch.zeros(2, 3, requires_grad=True), torch.zeros(4, requires_grad=True)]
    for p, g in zip(parameters, gradients[1]):
        p.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm).item()
    out["clip"].append({"max_norm": max_norm, "norm": norm, "gradients": [flat(p.grad) for p in parameters]})
json.dump(out, open("optimisers.json", "w"))
open("versions.txt", "w").write("".join(f"{p} {version(p)}\n" for p in ("torch", "adan-pytorch")))
