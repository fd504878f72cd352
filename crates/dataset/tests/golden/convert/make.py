"""Sources in the layouts of the Medical Segmentation Decathlon and of nnU-Net v1, and what the reference makes of them.

    python make.py        # writes beside itself; versions.txt says with what
"""
import json
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
MSD, V1 = HERE / "Task07_Scene", HERE / "Task031_Old"


def image(array, spacing, quaternion_only=False, slope=None):
    """A turned, shifted image with (x, y, z[, c]) voxels."""
    affine = np.eye(4)
    cos, sin = np.cos(.3), np.sin(.3)
    affine[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag(spacing)
    affine[:3, 3] = -7.5, 3, 21
    out = nib.Nifti1Image(array, affine)
    out.header.set_zooms(spacing + (2.,) * (array.ndim - 3))
    out.set_qform(affine, 1)
    out.set_sform(None if quaternion_only else affine, 0 if quaternion_only else 1)
    if slope:
        out.header.set_slope_inter(*slope)
    return out


def sources():
    rng = np.random.default_rng(3)
    for folder in ("imagesTr", "imagesTs", "labelsTr"):
        (MSD / folder).mkdir(parents=True)
    shape, spacing = (6, 5, 4), (.5, .75, 3.)
    noise = lambda *channels: rng.integers(-300, 900, shape + channels).astype(np.int16)
    label = lambda: image(rng.integers(0, 3, shape).astype(np.uint8), spacing)
    nib.save(image(noise(2), spacing), MSD / "imagesTr/scene_1.nii.gz")
    nib.save(image(noise(2).astype(np.float32) / 7, spacing, True), MSD / "imagesTr/scene_2.nii.gz")
    scaled = image(noise(2), spacing)
    scaled.header.set_slope_inter(.25, -10)
    nib.save(scaled, MSD / "imagesTr/scene_3.nii.gz")
    (MSD / "imagesTr/._scene_1.nii.gz").write_bytes(b"of macOS")
    for case in (1, 2, 3):
        nib.save(label(), MSD / f"labelsTr/scene_{case}.nii.gz")
    nib.save(image(noise(), spacing), MSD / "imagesTs/scene_4.nii.gz")
    nib.save(image(noise(1), spacing), MSD / "imagesTs/scene_5.nii.gz")
    files = [f"scene_{case}.nii.gz" for case in (1, 2, 3)]
    document = {
        "name": "Scene", "description": "a phantom", "licence": "CC0 \u00fc", "release": "1.0", "tensorImageSize": "4D",
        "modality": {"0": "T2", "1": "ADC"}, "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "numTraining": 3, "numTest": 2,
        "training": [{"image": f"./imagesTr/{f}", "label": f"./labelsTr/{f}"} for f in files],
        "test": ["./imagesTs/scene_4.nii.gz", "./imagesTs/scene_5.nii.gz"],
    }
    (MSD / "dataset.json").write_text(json.dumps(document))

    for folder in ("imagesTr", "imagesTs", "labelsTr", "labelsVal/deep"):
        (V1 / folder).mkdir(parents=True)
    nib.save(image(noise(), spacing), V1 / "imagesTr/a_0000.nii.gz")
    nib.save(label(), V1 / "labelsTr/a.nii.gz")
    nib.save(image(noise(), spacing), V1 / "imagesTs/b_0000.nii.gz")
    (V1 / "labelsVal/deep/note.txt").write_text("kept\n")
    document["numTraining"] = 1
    (V1 / "dataset.json").write_text(json.dumps(document))


if __name__ == "__main__":
    raw = HERE / "expected"
    for folder in (MSD, V1, raw):
        shutil.rmtree(folder, ignore_errors=True)
    raw.mkdir()
    os.environ.update(nnUNet_raw=str(raw), nnUNet_preprocessed=str(raw), nnUNet_results=str(raw))
    import nibabel as nib
    import numpy as np
    import SimpleITK
    from importlib.metadata import version
    from nnunetv2.dataset_conversion.convert_MSD_dataset import convert_msd_dataset
    from nnunetv2.dataset_conversion.convert_raw_dataset_from_old_nnunet_format import convert

    sources()
    convert_msd_dataset(str(MSD), None, 1)
    convert(str(V1), "Dataset031_Old")
    lines = [f"{name} {version(name)}" for name in ("nnunetv2", "SimpleITK", "nibabel", "numpy")]
    (HERE / "versions.txt").write_text("\n".join([f"python {sys.version.split()[0]}", *lines]) + "\n")
