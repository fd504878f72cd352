"""Preprocessed phantom cases as nnU-Net v2 makes them.

    python make.py          (needs nnunetv2 and SimpleITK, versions.txt names those used)

Writes <case>/{images,dataset.json,plans.json,info.json,<run>_{data,seg}.npy,...} beside this file.
Data are stored for training runs only: those of test runs are the same.
"""
import contextlib
import io
import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = tempfile.TemporaryDirectory()
for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[name] = os.path.join(WORK.name, name)

import numpy as np
import SimpleITK as sitk
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


def grid(shape):
    return np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")


def regions_ignore(rng):
    """Thick slices along x, zero background with a hole, regions with an ignore label, two channels."""
    shape = (22, 24, 9)
    z, y, x = grid(shape)
    body = (z ** 2 + y ** 2 + x ** 2) < .7
    seg = np.zeros(shape, np.uint8)
    seg[body & (y > -.3)] = 1
    seg[body & (y > .2)] = 2
    seg[body & (z > .5)] = 3
    images = [np.round(100 + 40 * z + rng.normal(0, 20, shape)), np.round(rng.normal(300, 90, shape))]
    for image in images:
        image[~body] = 0
        image[10:12, 11:13, 4] = 0
    dataset = {"channel_names": {"0": "T1", "1": "CT"}, "numTraining": 1, "file_ending": ".nii.gz",
               "labels": {"background": 0, "all": [1, 2], "inner": [2], "ignore": 3}, "regions_class_order": [1, 2]}
    return images, seg, dataset, (4.0, 1.1, 0.9), (1.4, 1.4, 3.0)


def flat(rng):
    """A two-dimensional image with its geometry, rescaled to 0..1, resampled."""
    shape = (1, 40, 36)
    _, y, x = grid(shape)
    seg = ((y ** 2 + x ** 2) < .3).astype(np.uint8)
    images = [np.round(rng.normal(50, 5, shape) + 30 * seg)]
    dataset = {"channel_names": {"0": "rescale_to_0_1"}, "numTraining": 1, "file_ending": ".nii.gz",
               "labels": {"background": 0, "disc": 1}}
    return images, seg, dataset, (0.8, 0.7), None


CASES = {"Dataset811_regions": regions_ignore, "Dataset812_flat": flat}


def save(path, content):
    path.write_text(json.dumps(content, indent=1))


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def make(name, phantom):
    out = HERE / name
    out.mkdir(exist_ok=True)
    images, seg, dataset, spacing, target = phantom(np.random.default_rng(11))
    raw = Path(os.environ["nnUNet_raw"], name)
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    save(raw / "dataset.json", dataset)
    save(out / "dataset.json", dataset)
    is_flat = len(spacing) == 2

    def write(array, *paths):
        image = sitk.GetImageFromArray(array[0] if is_flat else array)
        image.SetSpacing(spacing)
        image.SetOrigin((-5.5, 7.25, 3.0)[:len(spacing)])
        image.SetDirection((0., 1., -1., 0.) if is_flat else (0., -1., 0., 1., 0., 0., 0., 0., 1.))
        for path in paths:
            sitk.WriteImage(image, str(path), useCompression=True)

    files = [f"case_{c:04d}.nii.gz" for c in range(len(images))]
    for image, file in zip(images, files):
        write(image.astype(np.int16), raw / "imagesTr" / file, out / file)
    write(seg, raw / "labelsTr" / "case.nii.gz", out / "case.nii.gz")

    identifier = int(name[7:10])
    preprocessed = Path(os.environ["nnUNet_preprocessed"], name)
    preprocessed.mkdir(parents=True)
    DatasetFingerprintExtractor(identifier, 1).run(overwrite_existing=True)
    if target is None:
        # At its own spacing a single case would not be resampled.
        fingerprint = json.loads((preprocessed / "dataset_fingerprint.json").read_text())
        fingerprint["spacings"] = [[fingerprint["spacings"][0][0], .9, 1.3]]
        save(preprocessed / "dataset_fingerprint.json", fingerprint)
    ExperimentPlanner(identifier, overwrite_target_spacing=list(target) if target else None).plan_experiment()
    (out / "plans.json").write_bytes((preprocessed / "nnUNetPlans.json").read_bytes())

    plans = PlansManager(str(out / "plans.json"))
    runs = []
    for config in [c for c in ("3d_fullres", "2d") if c in plans.available_configurations]:
        for with_seg in (True, False):
            data, segmentation, properties = DefaultPreprocessor(verbose=False).run_case(
                [str(out / f) for f in files], str(out / "case.nii.gz") if with_seg else None, plans,
                plans.get_configuration(config), dataset)
            tag = f"{config}_{'train' if with_seg else 'test'}"
            locations = properties.pop("class_locations", None)
            save(out / f"{tag}_properties.json", plain(properties))
            if with_seg:
                np.save(out / f"{tag}_data.npy", data)
                np.save(out / f"{tag}_seg.npy", segmentation)
                np.savez_compressed(out / f"{tag}_class_locations.npz",
                                    **{str(tuple(plain(k)) if isinstance(k, tuple) else int(k)):
                                       np.asarray(v, np.int32) for k, v in locations.items() if len(v)})
            runs.append({"config": config, "with_seg": with_seg, "tag": tag, "data_shape": list(data.shape)})
    save(out / "info.json", {"images": files, "seg": "case.nii.gz", "runs": runs})


def main():
    for name, phantom in CASES.items():
        with contextlib.redirect_stdout(io.StringIO()):
            make(name, phantom)
    modules = ("nnunetv2", "numpy", "scipy", "scikit-image", "SimpleITK")
    (HERE / "versions.txt").write_text("".join(f"{m} {version(m)}\n" for m in modules)
                                       + f"python {sys.version.split()[0]}\n")


if __name__ == "__main__":
    main()
