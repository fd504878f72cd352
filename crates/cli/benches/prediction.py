"""Prediction with both programs as whole processes, without mirroring.

    python prediction.py NNUNET full [--runs N] [--work DIR]
    python prediction.py NNUNET folder --model MODEL --images IMAGES [--cases N] [--runs N] [--work DIR]

NNUNET is our program; python must have nnunetv2. `full` makes a model with random weights, the default 3-D network
(6 stages, 32 to 320 features, patch 128x128x128), and one image of 160x160x96 voxels. `folder` runs a trained model
on the first N (default 20) images of a folder. The two programs run alternately on the processor, alternate.py says
what is measured; the labels of both are compared.
"""
import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from alternate import alternate


def make_full(work):
    """The model folder and the folder with its image."""
    model, images = work / "full" / "nnUNetTrainer__nnUNetPlans__3d_fullres", work / "full" / "images"
    if (images / "case_0000.nii.gz").exists():
        return model, images
    import SimpleITK as sitk
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    kwargs = {
        "n_stages": 6, "features_per_stage": [32, 64, 128, 256, 320, 320],
        "kernel_sizes": [[3, 3, 3]] * 6, "strides": [[1, 1, 1]] + [[2, 2, 2]] * 5,
        "n_conv_per_stage": [2] * 6, "n_conv_per_stage_decoder": [2] * 5, "conv_bias": True,
        "norm_op_kwargs": {"eps": 1e-05, "affine": True}, "dropout_op_kwargs": None,
        "nonlin_kwargs": {"inplace": True},
    }
    named = {"conv_op": "torch.nn.modules.conv.Conv3d", "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
             "dropout_op": None, "nonlin": "torch.nn.LeakyReLU"}
    resampling = {f"resampling_fn_{kind}": "resample_data_or_seg_to_shape" for kind in ("data", "seg", "probabilities")}
    resampling |= {f"resampling_fn_{kind}_kwargs": {"is_seg": kind == "seg", "order": order, "order_z": 0,
                                                    "force_separate_z": None}
                   for kind, order in (("data", 3), ("seg", 1), ("probabilities", 1))}
    plans = {
        "dataset_name": "Dataset900_Full", "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1., 1., 1.],
        "original_median_shape_after_transp": [160, 160, 96], "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {"3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
            "patch_size": [128, 128, 128], "median_image_size_in_voxels": [160., 160., 96.],
            "spacing": [1., 1., 1.], "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False], "batch_dice": False, **resampling,
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": kwargs | named,
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"]}}},
    }
    torch.manual_seed(0)
    network = PlainConvUNet(1, conv_op=torch.nn.Conv3d, norm_op=torch.nn.InstanceNorm3d, dropout_op=None,
                            nonlin=torch.nn.LeakyReLU, num_classes=4, deep_supervision=True, **kwargs)
    (model / "fold_0").mkdir(parents=True)
    images.mkdir()
    dataset = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1, "b": 2, "c": 3}, "numTraining": 1,
               "file_ending": ".nii.gz"}
    (model / "plans.json").write_text(json.dumps(plans))
    (model / "dataset.json").write_text(json.dumps(dataset))
    torch.save({"network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer",
                "init_args": {"configuration": "3d_fullres"}, "inference_allowed_mirroring_axes": (0, 1, 2)},
               model / "fold_0" / "checkpoint_final.pth")
    noise = np.random.default_rng(1).normal(size=(96, 160, 160)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(images / "case_0000.nii.gz"))
    return model, images


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
    parser.add_argument("what", choices=["full", "folder"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("prediction"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.what == "full":
        model, images = make_full(options.work)
    else:
        model, images = options.model, first_images(options.images, options.cases, options.work)
    outputs = {side: options.work / f"predicted_{side}" for side in ("ours", "reference")}
    reference = str(Path(sys.executable).with_name("nnUNetv2_predict_from_modelfolder"))
    arguments = ["-i", str(images), "-m", str(model), "-f", "0", "--disable_tta", "-device", "cpu", "-npp", "1", "-nps", "1"]
    sides = {
        "ours": [options.program, "nnUNetv2_predict_from_modelfolder", *arguments, "-o", str(outputs["ours"])],
        "reference": [reference, *arguments, "-o", str(outputs["reference"])],
    }

    def prepare(side):
        shutil.rmtree(outputs[side], ignore_errors=True)
        return dict(os.environ)

    alternate(options.what, sides, options.runs, options.work, prepare)
    compare(outputs["ours"], outputs["reference"])


if __name__ == "__main__":
    main()
