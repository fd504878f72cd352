"""Compares two checkpoints of nnU-Net entry by entry, types included.

Used to see that a file which was read and written again says the same to Python:
python check.py original.pth rewritten.pth"""
import sys

import numpy as np
import torch


def same(a, b, where):
    if torch.is_tensor(a):
        assert torch.is_tensor(b) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b), where
        assert a.stride() == b.stride(), where
        return
    assert type(a) is type(b), (where, type(a), type(b))
    if isinstance(a, dict):
        assert list(a) == list(b), (where, list(a), list(b))
        for k in a:
            same(a[k], b[k], f"{where}.{k}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)):
            same(x, y, f"{where}[{i}]")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and np.array_equal(a, b), where
    else:
        assert a == b or a != a, (where, a, b)


def sharing(weights):
    """Which keys have one storage."""
    groups = {}
    for key, tensor in weights.items():
        groups.setdefault(tensor.untyped_storage().data_ptr(), []).append(key)
    return sorted(map(tuple, groups.values()))


a, b = (torch.load(path, map_location="cpu", weights_only=False) for path in sys.argv[1:3])
same(a, b, "checkpoint")
assert sharing(a["network_weights"]) == sharing(b["network_weights"])
print("equal:", len(a["network_weights"]), "entries")
