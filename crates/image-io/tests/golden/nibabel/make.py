"""What nnU-Net's NibabelIO and NibabelIOWithReorient read from the files in ../nifti.

    python make.py            # writes expected.json (null where a reader fails) and versions.txt
    python make.py --check D  # compares label images that the tests wrote to D (plain_* and turned_*) with the originals
"""
import importlib.metadata as metadata
import json, sys
from pathlib import Path
import nibabel
import numpy as np
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient

HERE = Path(__file__).parent
FILES = sorted((HERE.parent / "nifti").glob("*.nii*"))


def describe(reader, path):
    try:
        values, properties = reader.read_images((str(path),))
    except Exception as error:
        print(path.name, type(reader).__name__, error)
        return None
    stuff = properties["nibabel_stuff"]
    affine = stuff.get("reoriented_affine", stuff["original_affine"])
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=0, posinf=0, neginf=0)
    weights = np.arange(values.size) % 1009 + 1
    return {"shape": values.shape[1:], "spacing": [float(v) for v in properties["spacing"]], "affine": affine.tolist(),
            "first": [float(v) for v in values.ravel()[:8]], "checksum": float((values.ravel().astype(float) * weights).sum())}


def make():
    expected = {p.name: {"plain": describe(NibabelIO(), p), "turned": describe(NibabelIOWithReorient(), p)} for p in FILES}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=0))
    packages = ["nnunetv2", "nibabel", "numpy"]
    (HERE / "versions.txt").write_text("".join(f"{p} {metadata.version(p)}\n" for p in packages))


def check(folder):
    worst, count = 0., 0
    for kind in ("plain", "turned"):
        for written in sorted(Path(folder).glob(f"{kind}_*.nii.gz")):
            original = nibabel.load(next(p for p in FILES if p.name.split(".")[0] == written.name[len(kind) + 1:].split(".")[0]))
            again = nibabel.load(written)
            assert np.array_equal(np.abs(np.round(original.get_fdata())) % 200, again.get_fdata()), written
            worst = max(worst, np.abs(original.affine - again.affine).max())
            count += 1
    print(count, "files, largest difference of an affine:", worst)


if __name__ == "__main__":
    check(sys.argv[2]) if sys.argv[1:2] == ["--check"] else make()
