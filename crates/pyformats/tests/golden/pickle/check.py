"""Reads written2.pkl and written4.pkl, which the Rust writer made, and compares them with make.py's values.

Run: python check.py (in this folder); it ends silently when all is equal."""
import pickle

import numpy as np

import make


def same(a, b):
    if isinstance(b, np.ndarray):
        assert a.dtype == b.dtype.newbyteorder("="), (a.dtype, b.dtype)
        assert a.shape == b.shape and (a == b).all(), (a, b)
        return
    if isinstance(b, (bytearray, frozenset)):
        b = {bytearray: bytes, frozenset: set}[type(b)](b)
    if isinstance(b, dict):
        assert isinstance(a, dict) and list(a) == list(b), (list(a), list(b))
        for k in b:
            same(a[k], b[k])
        return
    assert type(a) is type(b), (type(a), type(b))
    if isinstance(b, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    else:
        assert a == b, (a, b)


for protocol in (2, 4):
    with open(f"written{protocol}.pkl", "rb") as f:
        same(pickle.load(f), make.VALUE)
