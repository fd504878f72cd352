"""Prediction with both programs as whole processes, without mirroring.

    python prediction.py NNUNET MODEL IMAGES [--cases N] [--runs N] [--work DIR]

NNUNET is our program; python must have nnunetv2. Fold 0 of MODEL, a model folder, runs on the first N (default 20) cases
of the folder IMAGES. For a network of full size with random weights and one image of 160x160x96 voxels:

    cargo run --release -p nnunet --example random_model -- OUT 4 96 160 160 1.5

and then OUT/model and OUT. The two programs run alternately on the processor, alternate.py says what is measured; the
labels of both are compared.
"""
import argparse
import os
import shutil
import sys
from pathlib import Path

from alternate import alternate


def first_images(folder, count, work):
    """A folder of links to the images of the first `count` cases."""
    links = work / "images"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    for path in sorted(folder.glob("*_0000.*"))[:count]:
        stem = path.name.split("_0000.")[0]
        for channel in folder.glob(f"{stem}_[0-9][0-9][0-9][0-9].*"):
            os.symlink(channel.resolve(), links / channel.name)
    return links


def compare(ours, reference):
    """Prints how many voxels have the same label."""
    import SimpleITK as sitk
    same = total = 0
    for path in sorted(reference.glob("*.nii.gz")):
        a, b = (sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (ours / path.name, path))
        same, total = same + int((a == b).sum()), total + a.size
    print(f"labels equal: {same} of {total} voxels ({100 * same / max(total, 1):.4f} %)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("prediction"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    images = first_images(options.images, options.cases, options.work)
    outputs = {side: options.work / f"predicted_{side}" for side in ("ours", "reference")}
    reference = str(Path(sys.executable).with_name("nnUNetv2_predict_from_modelfolder"))
    arguments = ["-i", str(images), "-m", str(options.model), "-f", "0", "--disable_tta", "-device", "cpu",
                 "-npp", "1", "-nps", "1"]
    sides = {
        "ours": [options.program, "nnUNetv2_predict_from_modelfolder", *arguments, "-o", str(outputs["ours"])],
        "reference": [reference, *arguments, "-o", str(outputs["reference"])],
    }

    def prepare(side):
        shutil.rmtree(outputs[side], ignore_errors=True)
        return dict(os.environ)

    alternate("predict", sides, options.runs, options.work, prepare)
    compare(outputs["ours"], outputs["reference"])


if __name__ == "__main__":
    main()
