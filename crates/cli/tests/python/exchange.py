"""Checkpoints travel both ways between this program and the Python package nnunetv2 (2.8.1).

    PYTHON exchange.py PATH/TO/nnunet [FOLDER]

On a small phantom, in FOLDER (default: a temporary one) and on the processor:
1. the program plans, preprocesses and trains; Python predicts with its checkpoint: the labels are equal in
   99.99 % of the voxels, probabilities within 1e-3;
2. Python resumes the training (--c): it begins at the epoch where the program stopped, with its curves,
   weights and momentum;
3. Python takes the checkpoint as -pretrained_weights: every tensor but the segmentation heads is taken over;
4. the program predicts with the checkpoint that Python wrote: the same bounds; and resumes and fine-tunes it;
5. a cascade: what our validation of 3d_lowres leaves for the next stage is what Python's leaves with the same
   weights, in 99.99 % of the voxels; both predict the same with the second stage; Python trains it on our files.

Ends with status 1 and a line that says which of it does not hold.
"""

import functools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

program = Path(sys.argv[1]).resolve()
root = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="exchange")).resolve()
for name in ("raw", "preprocessed", "results"):
    (root / name).mkdir(parents=True, exist_ok=True)
    os.environ[f"nnUNet_{name}"] = str(root / name)
os.environ.update(nnUNet_n_proc_DA="0", nnUNet_compile="f", nnUNet_def_n_proc="1")

import blosc2
import numpy as np
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

import steps
from steps import check

torch.set_num_threads(2)
run = functools.partial(steps.run, program)
DATASET = "Dataset077_Exchange"


def write_dataset():
    rng = np.random.default_rng(5)
    for case in range(6):
        shape = (24, 26, 22)
        grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
        centre = np.array(shape) * rng.uniform(0.42, 0.58, 3)
        distance = np.linalg.norm(grid - centre, axis=-1)
        label = (distance < 7).astype(np.uint8) + (distance < 3.5)
        image = (60 * label + rng.normal(100, 15, shape)).astype(np.float32)
        for folder, array, ending in (("imagesTr", image, "_0000"), ("labelsTr", label, "")):
            path = root / "raw" / DATASET / folder / f"ball_{case}{ending}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    dataset = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "shell": 1, "core": 2},
        "numTraining": 6,
        "file_ending": ".nii.gz",
    }
    (root / "raw" / DATASET / "dataset.json").write_text(json.dumps(dataset))


def shrink_plans():
    folder = root / "preprocessed" / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(patch_size=[16, 16, 16], batch_size=2)
    configuration["architecture"]["arch_kwargs"].update(
        n_stages=3,
        features_per_stage=[8, 16, 32],
        kernel_sizes=[[3, 3, 3]] * 3,
        strides=[[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        n_conv_per_stage=[1, 1, 1],
        n_conv_per_stage_decoder=[1, 1],
    )
    low = json.loads(json.dumps(configuration))
    low.update(spacing=[1.5, 1.5, 1.5], data_identifier="nnUNetPlans_3d_lowres", next_stage="3d_cascade_fullres")
    plans["configurations"].update({
        "3d_lowres": low,
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    })
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))


def model_folder(trainer, configuration="3d_fullres"):
    return root / "results" / DATASET / f"{trainer}__nnUNetPlans__{configuration}"


def predict_with_python(model, output, previous=None):
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,), "checkpoint_final.pth")
    images = root / "raw" / DATASET / "imagesTr"
    predictor.predict_from_files(str(images), str(output), save_probabilities=True,
                                 folder_with_segs_from_prev_stage=previous and str(previous),
                                 num_processes_preprocessing=1, num_processes_segmentation_export=1)


def compare(ours, theirs, what):
    equal = total = 0
    worst = 0.0
    for case in range(6):
        read = lambda folder: sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"ball_{case}.nii.gz")))
        a, b = read(ours), read(theirs)
        equal, total = equal + int((a == b).sum()), total + a.size
        scores = [np.load(folder / f"ball_{case}.npz")["probabilities"] for folder in (ours, theirs)]
        # The reference adds logits up in f16; single values near the corners differ by a rounding of it.
        worst = max(worst, float(np.quantile(np.abs(scores[0] - scores[1]), 0.9999)))
        check(len(np.unique(b)) == 3, f"{what}: the network has learned all labels of case {case}")
    check(equal >= 0.9999 * total, f"{what}: {equal} of {total} labels are equal")
    check(worst <= 1e-3, f"{what}: probabilities differ by {worst:.1e}")


def trainer(name, start, pretrained=None, configuration="3d_fullres", fold=0):
    made = get_trainer_from_args(DATASET, configuration, fold, name, "nnUNetPlans", device=torch.device("cpu"))
    made.num_iterations_per_epoch, made.num_val_iterations_per_epoch = 5, 2
    made.initialize()
    maybe_load_checkpoint(made, start == "resume", start == "validate", pretrained)
    return made


def weights(checkpoint):
    return torch.load(checkpoint, map_location="cpu", weights_only=False)["network_weights"]


def cascade():
    schedule = ("--epochs", 5, "--iterations-per-epoch", 60, "--threads", 2)
    run("preprocess", "-d", 77, "-c", "3d_lowres")
    run("train", 77, "3d_lowres", "all", *schedule)
    left = model_folder("nnUNetTrainer_5epochs", "3d_lowres") / "predicted_next_stage" / "3d_cascade_fullres"
    read = lambda: {case: blosc2.open(str(left / f"ball_{case}.b2nd"))[:] for case in range(6)}
    ours = read()
    run("train", 77, "3d_cascade_fullres", 0, *schedule)
    trainer("nnUNetTrainer_5epochs", "validate", None, "3d_lowres", "all").perform_actual_validation()
    theirs = read()
    check(all(ours[c].dtype == t.dtype and ours[c].shape == t.shape for c, t in theirs.items()),
          "the next stage gets arrays of Python's type and shape")
    equal = sum(int((ours[c] == t).sum()) for c, t in theirs.items())
    total = sum(t.size for t in theirs.values())
    check(equal >= 0.9999 * total and all(t.max() == 2 for t in theirs.values()),
          f"and its labels: {equal} of {total}")

    images = root / "raw" / DATASET / "imagesTr"
    second = model_folder("nnUNetTrainer_5epochs", "3d_cascade_fullres")
    run("predict", "-i", images, "-o", root / "e", "-m", second, "-f", 0, "--save_probabilities")
    predict_with_python(second, root / "f", root / "e" / "prediction_3d_lowres")
    compare(root / "e", root / "f", "both predict with the second stage")

    shutil.copytree(model_folder("nnUNetTrainer_5epochs", "3d_lowres"), model_folder("nnUNetTrainer_1epoch", "3d_lowres"))
    made = trainer("nnUNetTrainer_1epoch", "new", str(second / "fold_0" / "checkpoint_final.pth"), "3d_cascade_fullres")
    made.run_training()
    final = model_folder("nnUNetTrainer_1epoch", "3d_cascade_fullres") / "fold_0" / "checkpoint_final.pth"
    losses = torch.load(final, map_location="cpu", weights_only=False)["logging"]["train_losses"]
    check(np.isfinite(losses).all(), f"Python trains the second stage on our files: loss {np.round(losses, 3).tolist()}")


def main():
    write_dataset()
    run("plan-and-preprocess", "-d", 77, "-c", "3d_fullres", "--no_pp")
    shrink_plans()
    run("preprocess", "-d", 77, "-c", "3d_fullres")
    run("train", 77, "3d_fullres", 0, "--epochs", 5, "--iterations-per-epoch", 60, "--threads", 2)
    ours = model_folder("nnUNetTrainer_5epochs")
    images = root / "raw" / DATASET / "imagesTr"

    run("predict", "-i", images, "-o", root / "a", "-m", ours, "-f", 0, "--save_probabilities")
    predict_with_python(ours, root / "b")
    compare(root / "a", root / "b", "Python predicts with our checkpoint")

    checkpoint = ours / "fold_0" / "checkpoint_final.pth"
    target = model_folder("nnUNetTrainer_10epochs") / "fold_0" / "checkpoint_latest.pth"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(checkpoint.read_bytes())
    saved = torch.load(checkpoint, map_location="cpu", weights_only=False)
    resumed = trainer("nnUNetTrainer_10epochs", "resume")
    check(resumed.current_epoch == 5, "Python resumes at our epoch")
    now = resumed.network.state_dict()
    check(now.keys() == saved["network_weights"].keys(), "our state dict has exactly Python's names")
    check(all(torch.equal(now[k], v) for k, v in saved["network_weights"].items()), "with our weights")
    momentum = resumed.optimizer.state_dict()["state"]
    check(all(torch.equal(momentum[i]["momentum_buffer"], s["momentum_buffer"])
              for i, s in saved["optimizer_state"]["state"].items()), "and our momentum")
    resumed.run_training()
    final = torch.load(target.with_name("checkpoint_final.pth"), map_location="cpu", weights_only=False)
    losses = final["logging"]["train_losses"]
    check(len(losses) == 10 and losses[:5] == saved["logging"]["train_losses"], "and goes on with our curves")
    check(all(np.isfinite(losses)), f"to finite losses {np.round(losses, 3).tolist()}")

    tuned = trainer("nnUNetTrainer_1epoch", "new", str(checkpoint)).network.state_dict()
    heads = [k for k in tuned if ".seg_layers." in k]
    same = {k for k, v in tuned.items() if torch.equal(v, saved["network_weights"][k])}
    check(set(tuned) - set(heads) <= same, "Python fine-tunes: all but the heads are ours")
    check(all(k not in same for k in heads if k.endswith("weight")), "and the heads are new")

    theirs = model_folder("nnUNetTrainer_10epochs")
    run("predict", "-i", images, "-o", root / "c", "-m", theirs, "-f", 0, "--save_probabilities")
    predict_with_python(theirs, root / "d")
    compare(root / "c", root / "d", "we predict with Python's checkpoint")
    before = weights(theirs / "fold_0" / "checkpoint_final.pth")
    run("train", 77, "3d_fullres", 0, "--epochs", 1, "--iterations-per-epoch", 1,
        "-pretrained_weights", theirs / "fold_0" / "checkpoint_final.pth")
    after = weights(model_folder("nnUNetTrainer_1epoch") / "fold_0" / "checkpoint_final.pth")
    near = max(float((after[k] - v).abs().max()) for k, v in before.items() if ".seg_layers." not in k)
    check(near < 0.1, f"we fine-tune Python's checkpoint: after one step weights differ by {near:.1e}")
    latest = model_folder("nnUNetTrainer_20epochs") / "fold_0" / "checkpoint_latest.pth"
    latest.parent.mkdir(parents=True, exist_ok=True)
    latest.write_bytes((theirs / "fold_0" / "checkpoint_final.pth").read_bytes())
    run("train", 77, "3d_fullres", 0, "-tr", "nnUNetTrainer_20epochs", "--c", "--iterations-per-epoch", 2)
    done = torch.load(latest.with_name("checkpoint_final.pth"), map_location="cpu", weights_only=False)
    check(done["logging"]["train_losses"][:10] == losses and done["current_epoch"] == 20,
          "we resume Python's training with its curves")
    cascade()


if __name__ == "__main__":
    main()
