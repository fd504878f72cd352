"""TensorBoard reads the event file of a training, and finds the numbers of epochs.jsonl in it.

    PYTHON records.py PATH/TO/nnunet [FOLDER]

PYTHON needs the packages tensorboard and pillow. On the phantom of the verb demo, in FOLDER (default: a temporary one):
1. a training with --log tensorboard,jsonl is interrupted within an epoch and resumed;
2. TensorBoard's own reader finds each epoch once, with the numbers of epochs.jsonl, and the pictures as PNG.

Ends with status 1 and a line that says which of it does not hold.
"""

import io
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from steps import check, run

program = Path(sys.argv[1]).resolve()
root = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="records")).resolve()
DATASET = "Dataset078_Records"
for name in ("raw", "preprocessed", "results"):
    (root / name).mkdir(parents=True, exist_ok=True)
    os.environ[f"nnUNet_{name}"] = str(root / name)


def write_dataset():
    rng = np.random.default_rng(3)
    folder = root / "raw" / DATASET
    for case in range(6):
        grid = np.indices((24, 24)).transpose(1, 2, 0)
        label = (np.linalg.norm(grid - rng.uniform(9, 15, 2), axis=-1) < 6).astype(np.uint8)
        image = (120 * label + rng.normal(60, 10, label.shape)).clip(0, 255).astype(np.uint8)
        for sub, array, ending in (("imagesTr", image, "_0000"), ("labelsTr", label, "")):
            path = folder / sub / f"disc_{case}{ending}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    dataset = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "disc": 1},
        "numTraining": 6,
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(dataset))


write_dataset()
run(program, "plan-and-preprocess", "-d", 78, "-c", "2d")
train = [str(program), *"train 78 2d 0 --epochs 3 --iterations-per-epoch 6 --batch-size 2 --threads 2".split()]
train += "--log tensorboard,jsonl --save-every 1".split()
(root / "pictures.toml").write_text("picture_epochs = 2\n")
train += ["-tr", str(root / "pictures.toml")]

child = subprocess.Popen(train)
lines = root / "results" / DATASET / "pictures_3epochs__nnUNetPlans__2d" / "fold_0" / "epochs.jsonl"
while child.poll() is None and not (lines.is_file() and lines.read_text()):
    time.sleep(0.02)
child.send_signal(signal.SIGTERM)
child.wait()
check(child.returncode in (0, 130), "the training stops when it is told to")
run(*train, "--c")

epochs = [json.loads(line) for line in lines.read_text().splitlines()]
check([epoch["epoch"] for epoch in epochs] == [0, 1, 2], "epochs.jsonl has each epoch once")
events = EventAccumulator(str(lines.parent / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
events.Reload()
tags = {
    "loss/train": "train_loss",
    "loss/validation": "validation_loss",
    "moving_average_of_pseudo_dice": "moving_average",
    "learning_rate": "learning_rate",
    "epoch/seconds": "seconds",
    "epoch/share_of_waiting": "waiting",
}
scalars = {tag: [epoch[key] for epoch in epochs] for tag, key in tags.items()}
scalars["pseudo_dice/disc"] = [epoch["pseudo_dice"][0] for epoch in epochs]
check(sorted(events.Tags()["scalars"]) == sorted(scalars), "TensorBoard finds the scalars")
for tag, expected in scalars.items():
    found = events.Scalars(tag)
    check([event.step for event in found] == [0, 1, 2], f"{tag}: each epoch once")
    same = all(
        math.isnan(event.value) if value is None else math.isclose(event.value, value, rel_tol=1e-6)
        for event, value in zip(found, expected)
    )
    check(same, f"{tag}: the numbers of epochs.jsonl")
[tag] = events.Tags()["images"]
pictures = events.Images(tag)
check([event.step for event in pictures] == [0, 2], "a picture each second epoch")
for event in pictures:
    picture = Image.open(io.BytesIO(event.encoded_image_string))
    check(picture.size == (event.width, event.height) and picture.mode == "RGB", f"a picture of {picture.size}")
    check(len(np.unique(np.asarray(picture))) > 8, "which shows something")
