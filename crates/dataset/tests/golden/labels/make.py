"""What nnU-Net's LabelManager makes of various labels.

Run: python make.py   (writes labels.json and versions.txt beside itself)
Regions are written as lists, single labels as numbers; an error as null.
"""
import json
import pathlib
import sys
from importlib.metadata import version

from nnunetv2.utilities.label_handling.label_handling import LabelManager

here = pathlib.Path(__file__).parent
inputs = [
    ({"background": 0, "a": 1}, None),
    ({"background": 0, "b": 2, "a": 1, "ignore": 3}, None),
    ({"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}, [1, 2, 3]),
    ({"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}, [1, 2]),
    ({"background": 0, "a": [1]}, None),
    ({"background": 0, "a": [1], "b": 2}, [1, 2]),
    ({"background": 0, "nothing": [0, 0], "a": [1, 2]}, [1]),
    ({"background": 0, "with_background": [0, 1], "b": 2}, [1, 2]),
    ({"background": 0, "a": 1, "b": 5}, None),
    ({"background": 0, "same": 1, "again": 1}, None),
    ({"background": 0, "a": [1, 2]}, None),
    ({"background": 0, "a": [1, 2], "b": 2}, [1]),
    ({"background": 1, "a": 0}, None),
    ({"background": [0], "a": 1}, None),
    ({"a": 1}, None),
    ({"background": 0, "a": 1, "ignore": 1}, None),
    ({"background": 0, "a": 1, "ignore": 3}, None),
    ({"background": 0, "a": 1, "ignore": [2]}, None),
    ({"background": 0}, None),
]
out = []
for labels, order in inputs:
    case = {"labels": labels, "regions_class_order": order}
    try:
        m = LabelManager(labels, order)
        case["expected"] = {
            "has_regions": m.has_regions,
            "all_labels": [int(i) for i in m.all_labels],
            "foreground_labels": [int(i) for i in m.foreground_labels],
            "foreground_regions": [list(r) if isinstance(r, tuple) else r for r in m.foreground_regions]
            if m.has_regions else [],
            "keys": [str(r) for r in (m.foreground_regions if m.has_regions else map(int, m.foreground_labels))],
            "ignore_label": m.ignore_label,
            "heads": m.num_segmentation_heads,
        }
    except (AssertionError, RuntimeError):
        case["expected"] = None
    out.append(case)
json.dump(out, open(here / "labels.json", "w"), indent=1)
open(here / "versions.txt", "w").write(f"python {sys.version.split()[0]}\nnnunetv2 {version('nnunetv2')}\n")
