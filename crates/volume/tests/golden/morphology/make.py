"""Makes the morphology golden files with scipy.ndimage: random masks, their components and filled holes.

expected.json: for each case shape, bits of the mask (hex of np.packbits), number and sizes of components per
connectivity, a checksum of the label image (sum of label * (index % 1009)), and the bits of the filled mask.
"""
import json
from pathlib import Path
import numpy as np
import scipy
from scipy import ndimage

HERE = Path(__file__).parent


def bits(mask):
    return np.packbits(mask.ravel()).tobytes().hex()


def main():
    cases = []
    for i, (shape, share) in enumerate([((9, 11, 13), .3), ((9, 11, 13), .12), ((12, 12, 12), .7), ((7, 17, 9), .85), ((1, 15, 16), .5),
                                        ((2, 9, 9), .8), ((6, 6, 40), .45), ((10, 10, 10), .93), ((5, 5, 5), 0.), ((4, 4, 4), 1.1)]):
        rng = np.random.default_rng(i)
        mask = rng.random(shape) < share
        case = {"shape": shape, "mask": bits(mask), "filled": bits(ndimage.binary_fill_holes(mask))}
        for rank, name in ((1, "face"), (2, "edge"), (3, "corner")):
            labels, count = ndimage.label(mask, ndimage.generate_binary_structure(3, rank))
            weights = np.arange(labels.size) % 1009
            case[name] = {"sizes": np.bincount(labels.ravel(), minlength=count + 1)[1:].tolist(),
                          "checksum": int((labels.ravel().astype(np.int64) * weights).sum())}
        cases.append(case)
    (HERE / "expected.json").write_text(json.dumps(cases, indent=0))
    (HERE / "versions.txt").write_text(f"scipy {scipy.__version__}\nnumpy {np.__version__}\n")


main()
