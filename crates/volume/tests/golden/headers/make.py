"""Writes a few files with random headers of `tests/python/differential.py` and what SimpleITK and tifffile read.

    python make.py

The seeds were chosen for what they hold: forms that disagree or nearly agree, axis mins, list axes, ranks of keys, tiles,
planes, MinIsWhite, one bit, Zstandard.
"""

import json
import sys
from pathlib import Path

import numpy as np

here = Path(__file__).parent
sys.path.insert(0, str(here.parent.parent / "python"))
import differential  # noqa: E402

KINDS = {"nifti": "nii", "nrrd": "nrrd", "metaimage": "mha", "tiff": "tif"}


def main():
    import nibabel, SimpleITK, tifffile  # noqa: E401

    expected = {}
    for name, ending in KINDS.items():
        make, _, _, read = differential.FORMATS[name]
        kept = 0
        for seed in range(1000):
            if kept == 10:
                break
            rng = np.random.default_rng([7, seed])
            path = here / f"{name}_{seed:03}_0000.{ending}"
            make(rng, path)
            path.with_name(f"{name}_{seed:03}.json").unlink(missing_ok=True)
            try:
                found = read(path)
            except Exception:  # noqa: BLE001: whatever the library raises is its refusal
                found = None
            if found is None or path.stat().st_size > 2500 or not np.isfinite(found["values"]).all():
                path.unlink()
                continue
            kept += 1
            found["first"] = [float(v) for v in found.pop("values")[:8]]
            expected[path.name] = found
    (here / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    versions = [f"{m.__name__} {v}" for m, v in
                [(SimpleITK, SimpleITK.Version_VersionString()), (tifffile, tifffile.__version__),
                 (nibabel, nibabel.__version__), (np, np.__version__)]]
    (here / "versions.txt").write_text("\n".join(versions) + "\n")


if __name__ == "__main__":
    main()
