"""Two tiny raw datasets and the fingerprints that nnU-Net takes of them.

Run: python make_datasets.py   (writes Dataset001_Cropped, Dataset002_Flat and versions.txt beside itself)
The first has two channels, a zero margin to crop, a hole, a case without foreground and anisotropic
spacing; the second has flat (2-D) NIfTI files.
"""
import json
import os
import pathlib
import shutil
import sys
import tempfile
from importlib.metadata import version

here = pathlib.Path(__file__).parent
work = tempfile.mkdtemp()
os.environ.update(nnUNet_raw=str(here), nnUNet_preprocessed=work, nnUNet_results=work)

import numpy as np
import SimpleITK as sitk


def write(array, spacing, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path), True)


def main():
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    rs = np.random.RandomState(0)
    root = here / "Dataset001_Cropped"
    for case, shape in enumerate([(7, 12, 11), (8, 10, 13), (6, 11, 10)]):
        label = np.zeros(shape, np.uint8)
        if case != 1:
            label[2:5, 3:8, 4:8] = rs.randint(0, 3, (3, 5, 4))
        for channel in range(2):
            image = np.zeros(shape, np.float32)
            image[1:-1, 2:-2, 1:-3] = rs.normal(100 * channel, 20, (shape[0] - 2, shape[1] - 4, shape[2] - 4))
            image[3, 4:6, 5:7] = 0
            write(image, (0.7, 0.8, 3.3), root / "imagesTr" / f"c{case}_{channel:04d}.nii.gz")
        write(label, (0.7, 0.8, 3.3), root / "labelsTr" / f"c{case}.nii.gz")
    flat = here / "Dataset002_Flat"
    for case in range(2):
        image = rs.randint(1, 255, (9, 14 + case)).astype(np.int16)
        label = (image > 120).astype(np.uint8)
        write(image, (0.4, 0.5), flat / "imagesTr" / f"f{case}_0000.nii.gz")
        write(label, (0.4, 0.5), flat / "labelsTr" / f"f{case}.nii.gz")
    for folder, channels, labels, cases in [(root, 2, 3, 3), (flat, 1, 2, 2)]:
        json.dump({"channel_names": {str(i): "MR" for i in range(channels)},
                   "labels": {["background", "a", "b"][i]: i for i in range(labels)},
                   "numTraining": cases, "file_ending": ".nii.gz"}, open(folder / "dataset.json", "w"))
        DatasetFingerprintExtractor(folder.name, 1).run()
        shutil.copy(pathlib.Path(work) / folder.name / "dataset_fingerprint.json", folder)
    packages = ["numpy", "nnunetv2", "SimpleITK"]
    open(here / "versions.txt", "w").write(
        "".join([f"python {sys.version.split()[0]}\n"] + [f"{p} {version(p)}\n" for p in packages]))


if __name__ == "__main__":
    main()
