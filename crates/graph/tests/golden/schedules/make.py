"""Writes schedules.json: learning rates of nnU-Net's and PyTorch's schedules, for each epoch of a training.

nnU-Net calls `lr_scheduler.step(epoch)` before each epoch; PyTorch's other schedules are stepped once after each. Each entry
is a schedule's name and options, the number of epochs, and the rates. Run with the packages of versions.txt: python make.py
"""
import json
import warnings
from importlib.metadata import version
from pathlib import Path

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.lr_scheduler.warmup import CosineAnnealingLR_offset, Lin_incr_LRScheduler, PolyLRScheduler_offset
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, OneCycleLR

warnings.simplefilter("ignore")
HERE = Path(__file__).parent
INITIAL = 0.01
cases = []


def optimiser():
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], INITIAL)


def by_epoch(schedule, first, last):
    """`schedule(optimiser)`, told each epoch's number."""
    o = optimiser()
    s = schedule(o)
    rates = []
    for epoch in range(first, last):
        s.step(epoch)
        rates.append(o.param_groups[0]["lr"])
    return rates


def chained(schedule, epochs):
    """`schedule(optimiser)`, stepped after each epoch."""
    o = optimiser()
    s = schedule(o)
    rates = []
    for _ in range(epochs):
        rates.append(o.param_groups[0]["lr"])
        o.step()
        if len(rates) < epochs:
            s.step()
    return rates


def add(kind, epochs, rates, **options):
    assert len(rates) == epochs
    cases.append({"kind": kind, "options": options, "epochs": epochs, "rates": rates})


add("polynomial", 40, by_epoch(lambda o: PolyLRScheduler(o, INITIAL, 40), 0, 40))
add("polynomial", 30, by_epoch(lambda o: PolyLRScheduler(o, INITIAL, 30, 2.0), 0, 30), exponent=2)
# nnUNetTrainer_warmup: one schedule for the warm-up, another one after it.
rise = lambda epochs: by_epoch(lambda o: Lin_incr_LRScheduler(o, INITIAL, epochs), 0, epochs)
add("polynomial", 60, rise(50) + by_epoch(lambda o: PolyLRScheduler_offset(o, INITIAL, 60, 50), 50, 60), warmup_epochs=50)
add("cosine", 40, by_epoch(lambda o: CosineAnnealingLR(o, T_max=40), 0, 40))
add("cosine", 40, by_epoch(lambda o: CosineAnnealingLR(o, T_max=40, eta_min=1e-4), 0, 40), eta_min=1e-4)


def offset(o):
    s = CosineAnnealingLR_offset.__new__(CosineAnnealingLR_offset)
    # Its constructor hands one argument too many to today's PyTorch.
    s.offset = 7
    CosineAnnealingLR.__init__(s, o, 40)
    return s


add("cosine", 40, rise(7) + by_epoch(offset, 7, 40), warmup_epochs=7)
add("cosine_restarts", 45, by_epoch(lambda o: CosineAnnealingWarmRestarts(o, 6, 2), 0, 45), period=6)
add("cosine_restarts", 25, by_epoch(lambda o: CosineAnnealingWarmRestarts(o, 5, 1, 1e-3), 0, 25),
    period=5, period_growth=1, eta_min=1e-3)
add("one_cycle", 40, chained(lambda o: OneCycleLR(o, INITIAL, 40), 40))
add("one_cycle", 23, chained(lambda o: OneCycleLR(o, INITIAL, 23, pct_start=0.45, anneal_strategy="linear", div_factor=10,
                                                  final_div_factor=100), 23),
    pct_start=0.45, anneal="linear", div_factor=10, final_div_factor=100)
add("constant", 5, [INITIAL] * 5)

(HERE / "schedules.json").write_text(json.dumps(cases).replace('{"kind"', '\n{"kind"') + "\n")
(HERE / "versions.txt").write_text("".join(f"{p} {version(p)}\n" for p in ("nnunetv2", "torch")))
