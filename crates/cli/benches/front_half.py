"""The front half of both programs as whole processes: verify, fingerprint, plan, preprocess.

    python front_half.py NNUNET SET... [--runs N] [--work DIR] [--hippocampus DIR]

NNUNET is our program; python must have nnunetv2. SET is one of
    hippocampus   MSD Task04 in nnU-Net's raw layout, from --hippocampus
    ct            8 volumes of 512x512x120 voxels at 0.8x0.8x5 mm, resampled to 1x1x2.5 mm
    mri           4 cases of four channels, 240x240x155 at 1 mm, resampled to 1.2 mm

The two programs run alternately with two workers each; alternate.py says what is measured.
"""
import argparse
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from alternate import alternate

SETS = {
    "hippocampus": dict(id=4, name="Dataset004_Hippocampus", spacing=None),
    "ct": dict(id=501, name="Dataset501_CtLike", spacing=["2.5", "1", "1"]),
    "mri": dict(id=502, name="Dataset502_FourChannels", spacing=["1.2", "1.2", "1.2"]),
}
WORKERS = "2"


def body(shape, rng, blobs):
    """A smooth ellipsoid with spheres in it: intensities (f32, zero outside) and labels."""
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    inside = z ** 2 + y ** 2 + x ** 2 < .8
    image = np.where(inside, 50 + 30 * np.sin(9 * x + 5 * y) * np.cos(7 * z), 0).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    for label in range(1, blobs + 1):
        cz, cy, cx = rng.uniform(-.45, .45, 3)
        ball = (z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < .03
        labels[ball] = label
        image[ball] += 40 * label
    return image, labels, inside


def write(path, array, spacing_xyz):
    import SimpleITK as sitk
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_xyz)
    sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)


def make(name, raw):
    """Makes a synthetic set below `raw`, unless it is there."""
    folder = raw / SETS[name]["name"]
    if (folder / "dataset.json").exists():
        return
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    rng = np.random.default_rng(5)
    cases, channels, shape, spacing = {
        "ct": (8, ["CT"], (120, 512, 512), (.8, .8, 5.)),
        "mri": (4, ["T1", "T1ce", "T2", "FLAIR"], (155, 240, 240), (1., 1., 1.)),
    }[name]
    for case in range(cases):
        image, labels, inside = body(shape, rng, 3)
        write(folder / f"labelsTr/case_{case:02d}.nii.gz", labels, spacing)
        for channel in range(len(channels)):
            noisy = image * (1 + .2 * channel) + rng.normal(0, 8, shape).astype(np.float32)
            stored = noisy - 1000 * ~inside if name == "ct" else np.where(inside, np.maximum(noisy, 1), 0)
            write(folder / f"imagesTr/case_{case:02d}_{channel:04d}.nii.gz", stored.astype(np.int16), spacing)
    names = ", ".join(f'"{i}": "{c}"' for i, c in enumerate(channels))
    (folder / "dataset.json").write_text(
        f'{{"channel_names": {{{names}}}, "labels": {{"background": 0, "a": 1, "b": 2, "c": 3}}, '
        f'"numTraining": {cases}, "file_ending": ".nii.gz"}}\n')


def commands(program, name):
    """Our command and the reference's, with the same meaning."""
    entry = SETS[name]
    arguments = ["-d", str(entry["id"]), "-c", "3d_fullres", "--verify_dataset_integrity", "--clean", "-npfp", WORKERS,
                 "-np", WORKERS]
    if entry["spacing"]:
        arguments += ["-overwrite_target_spacing", *entry["spacing"], "-overwrite_plans_name", "other"]
    reference = str(Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess"))
    return [program, "nnUNetv2_plan_and_preprocess", *arguments], [reference, *arguments]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("sets", nargs="+", choices=SETS)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("front_half"))
    parser.add_argument("--hippocampus", type=Path)
    options = parser.parse_args()
    raw = options.work / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        if name != "hippocampus":
            make(name, raw)
        elif not (raw / SETS[name]["name"]).exists():
            os.symlink(options.hippocampus.resolve(), raw / SETS[name]["name"])
        sides = dict(zip(("ours", "reference"), commands(options.program, name)))

        def prepare(side):
            """A fresh folder of results; the environment that names it."""
            out = (options.work / side).resolve()
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            return dict(os.environ, nnUNet_raw=str(raw.resolve()), nnUNet_preprocessed=str(out),
                        nnUNet_results=str(out / "results"), OMP_NUM_THREADS="1")

        alternate(name, sides, options.runs, options.work, prepare)


if __name__ == "__main__":
    main()
