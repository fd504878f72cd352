"""Phantoms of ../preprocess with plans that name PyTorch's resampling: preprocessed, and predictions brought back.

    python make.py          (needs nnunetv2, versions.txt names those used)

Writes <name>_{plans.json,data.npy,seg.npy,logits.npy,export_seg.npy,export_probabilities.npy} beside this file.
"""
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from nnunetv2.experiment_planning.experiment_planners.resampling.planners_no_resampling import (
    nnUNetPlannerResEncL_noResampling)
from nnunetv2.experiment_planning.experiment_planners.resampling.resample_with_torch import (
    nnUNetPlannerResEncL_torchres_sepz, nnUNetPlanner_torchres)
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

HERE = Path(__file__).resolve().parent
CASES = {
    # name: (phantom, configuration, planner whose resampling is taken)
    "separate": ("Dataset811_regions", "3d_fullres", nnUNetPlannerResEncL_torchres_sepz),
    "together": ("Dataset811_regions", "3d_fullres", nnUNetPlanner_torchres),
    "flat": ("Dataset812_flat", "2d", nnUNetPlannerResEncL_torchres_sepz),
    "unchanged": ("Dataset811_regions", "3d_fullres", nnUNetPlannerResEncL_noResampling),
}


def main():
    for index, (name, (phantom, configuration, planner)) in enumerate(CASES.items()):
        folder = HERE.parent / "preprocess" / phantom
        plans = json.loads((folder / "plans.json").read_text())
        data_fn, data_kwargs, seg_fn, seg_kwargs = planner.determine_resampling(None)
        probabilities_fn, probabilities_kwargs = planner.determine_segmentation_softmax_export_fn(None)
        plans["configurations"][configuration].update({
            "resampling_fn_data": data_fn.__name__, "resampling_fn_data_kwargs": data_kwargs,
            "resampling_fn_seg": seg_fn.__name__, "resampling_fn_seg_kwargs": seg_kwargs,
            "resampling_fn_probabilities": probabilities_fn.__name__,
            "resampling_fn_probabilities_kwargs": probabilities_kwargs})
        plans["configurations"] = {configuration: plans["configurations"][configuration]}
        (HERE / f"{name}_plans.json").write_text(json.dumps(plans, indent=1))
        manager = PlansManager(str(HERE / f"{name}_plans.json"))
        config = manager.get_configuration(configuration)
        dataset = json.loads((folder / "dataset.json").read_text())
        images = [str(folder / file) for file in json.loads((folder / "info.json").read_text())["images"]]
        data, seg, properties = DefaultPreprocessor(verbose=False).run_case(
            images, str(folder / "case.nii.gz"), manager, config, dataset)
        np.save(HERE / f"{name}_data.npy", data)
        np.save(HERE / f"{name}_seg.npy", seg)
        labels = manager.get_label_manager(dataset)
        rng = np.random.default_rng(index)
        logits = rng.normal(0, 3, (labels.num_segmentation_heads, *data.shape[1:])).astype(np.float16)
        np.save(HERE / f"{name}_logits.npy", logits)
        segmentation, probabilities = convert_predicted_logits_to_segmentation_with_correct_shape(
            torch.from_numpy(logits), manager, config, labels, properties, return_probabilities=True,
            num_threads_torch=1)
        np.save(HERE / f"{name}_export_seg.npy", segmentation)
        np.save(HERE / f"{name}_export_probabilities.npy", probabilities)
    modules = ("nnunetv2", "numpy", "torch", "SimpleITK")
    (HERE / "versions.txt").write_text("".join(f"{m} {version(m)}\n" for m in modules))


if __name__ == "__main__":
    main()
