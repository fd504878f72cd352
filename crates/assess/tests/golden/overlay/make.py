"""Makes small datasets and the overlays that nnU-Net 2.8.1 draws of them. Run: python make.py (in this folder).

raw/Dataset821_Volumes        two channels, 9 labels, one case without foreground
raw/Dataset822_Pictures       RGB
preprocessed/Dataset821_Volumes/{nnUNetPlans.json, nnUNetPlans_3d_fullres/*.b2nd}
expected/{volumes, second_channel, pictures, preprocessed}/CASE.png"""
import json
import os
import shutil
import sys

import numpy as np

ROOT = os.path.dirname(os.path.abspath(__file__))
os.environ["nnUNet_raw"] = os.path.join(ROOT, "raw")
os.environ["nnUNet_preprocessed"] = os.path.join(ROOT, "preprocessed")
os.environ["nnUNet_results"] = os.path.join(ROOT, "results")


def blobs(rng, shape, labels):
    seg = np.zeros(shape, np.int16)
    for label in range(1, labels + 1):
        size = [max(1, int(n * rng.uniform(0.2, 0.5))) for n in shape]
        start = [rng.integers(0, n - s + 1) for n, s in zip(shape, size)]
        seg[tuple(slice(a, a + s) for a, s in zip(start, size))] = label
    return seg


def dataset(name, channels, labels, ending, cases):
    folder = os.path.join(ROOT, "raw", name)
    for sub in ("imagesTr", "labelsTr"):
        os.makedirs(os.path.join(folder, sub))
    with open(os.path.join(folder, "dataset.json"), "w") as f:
        json.dump({
            "channel_names": {str(i): c for i, c in enumerate(channels)},
            "labels": {"background": 0, **{f"l{i}": i for i in range(1, labels + 1)}},
            "numTraining": cases,
            "file_ending": ending,
        }, f, indent=1)
    return folder


def volumes():
    import SimpleITK as sitk

    rng = np.random.default_rng(1)
    folder = dataset("Dataset821_Volumes", ["MR", "T2"], 9, ".nii.gz", 4)
    for case, labels in enumerate((9, 2, 1, 0)):
        seg = blobs(rng, (7, 9, 11), labels)
        for channel in range(2):
            image = (rng.normal(size=seg.shape) * 40 + seg * 9 - 30 * channel).astype(np.float32).round(2)
            sitk.WriteImage(sitk.GetImageFromArray(image), f"{folder}/imagesTr/v{case}_{channel:04d}.nii.gz")
        sitk.WriteImage(sitk.GetImageFromArray(seg.astype(np.uint8)), f"{folder}/labelsTr/v{case}.nii.gz")


def pictures():
    from skimage import io

    rng = np.random.default_rng(2)
    folder = dataset("Dataset822_Pictures", ["R", "G", "B"], 2, ".png", 2)
    for case in range(2):
        seg = blobs(rng, (12, 14), 2)
        image = rng.integers(0, 256, (*seg.shape, 3), dtype=np.uint8)
        io.imsave(f"{folder}/imagesTr/p{case}_0000.png", image, check_contrast=False)
        io.imsave(f"{folder}/labelsTr/p{case}.png", seg.astype(np.uint8), check_contrast=False)


def preprocessed():
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    rng = np.random.default_rng(3)
    folder = os.path.join(ROOT, "preprocessed", "Dataset821_Volumes")
    data = os.path.join(folder, "nnUNetPlans_3d_fullres")
    os.makedirs(data)
    # An existing plan of that kind of dataset, so that both programs take it.
    with open(os.path.join(ROOT, "../plan/Dataset803_small/nnUNetPlans.json")) as f:
        plans = json.load(f)
    plans["dataset_name"] = "Dataset821_Volumes"
    with open(os.path.join(folder, "nnUNetPlans.json"), "w") as f:
        json.dump(plans, f, indent=1)
    for case in range(2):
        seg = blobs(rng, (8, 10, 12), 3)
        seg[:, :2] = -1
        images = (rng.normal(size=(2, *seg.shape)) + seg).astype(np.float32)
        nnUNetDatasetBlosc2.save_case(images, seg[None].astype(np.int8), {"spacing": [1.0, 1.0, 1.0]}, os.path.join(data, f"c{case}"),
                                      chunks=images.shape, blocks=(1, 8, 10, 12), chunks_seg=(1, *seg.shape),
                                      blocks_seg=(1, *seg.shape))


def main():
    for name in ("raw", "preprocessed", "expected"):
        shutil.rmtree(os.path.join(ROOT, name), ignore_errors=True)
    volumes()
    pictures()
    preprocessed()
    from nnunetv2.utilities.overlay_plots import generate_overlays_from_preprocessed, generate_overlays_from_raw

    out = lambda name: os.path.join(ROOT, "expected", name)
    generate_overlays_from_raw(821, out("volumes"), 1)
    generate_overlays_from_raw(821, out("second_channel"), 1, channel_idx=1, overlay_intensity=0.25)
    generate_overlays_from_raw(822, out("pictures"), 1)
    generate_overlays_from_preprocessed(821, out("preprocessed"), 1, channel_idx=1)

    from importlib.metadata import version

    with open(os.path.join(ROOT, "versions.txt"), "w") as f:
        names = ("nnunetv2", "numpy", "matplotlib", "pandas", "SimpleITK", "scikit-image", "blosc2")
        f.write("\n".join([f"python {sys.version.split()[0]}"] + [f"{name} {version(name)}" for name in names]) + "\n")


if __name__ == "__main__":
    main()
