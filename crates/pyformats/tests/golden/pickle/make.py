"""Writes the same values with every pickle protocol, as Python and numpy do; versions.txt names them.

Run: python make.py (in this folder)."""
import collections
import pickle
import sys

import numpy as np

VALUE = {
    "spacing": [np.float64(1.2000000476837158), np.float64(0.5), np.float64(3.0)],
    "shape": (35, 51, 35),
    "bbox": [[0, 35], [0, 51], [-1, 70000]],
    "class_locations": {
        1: np.arange(12, dtype=np.int64).reshape(3, 4),
        (1, 2): np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        "ä😀": np.zeros((0, 4), dtype=np.int64),
    },
    "floats": [0.1, -0.0, float("inf"), 1e-300],
    "ints": [0, 255, 256, 65536, -1, 2**31, -(2**63), 2**63, -(2**200), True, False, None],
    "arrays": [
        np.array([1.5, -2.0], dtype="f4"),
        np.array([[1.5], [-2.0]], dtype=">f8"),
        np.array([1.5, -2.0], dtype="f2"),
        np.array([True, False]),
        np.array([-1, 2], dtype=">i2"),
        np.array(7, dtype="u1"),
    ],
    "scalars": [np.float32(0.1), np.int64(-5), np.bool_(True), np.uint8(200), np.float16(0.5)],
    "bytes": bytes(range(256)),
    "bytearray": bytearray(b"\x00\xff"),
    "set": {7},
    "frozen": frozenset([(1, 2)]),
    "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
    "shared": None,
    "empty": [(), [], {}, ""],
    "long": "x" * 300,
}
VALUE["shared"] = [VALUE["bbox"], VALUE["bbox"]]

for protocol in range(6):
    with open(f"protocol{protocol}.pkl", "wb") as f:
        pickle.dump(VALUE, f, protocol=protocol)
with open("versions.txt", "w") as f:
    f.write(f"python {sys.version.split()[0]}, numpy {np.__version__}\n")
