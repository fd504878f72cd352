"""Compares the throughput of the augmentation with the reference's in one run: patches per second with as many processes
as threads, and CPU seconds per patch, which other programs on the machine disturb less.

Run with nnunetv2 installed, after cargo bench -p nnunet-train --bench throughput --no-run:
    python throughput_reference.py PROGRAM [THREADS] [SAMPLES]
"""
import os

os.environ["OMP_NUM_THREADS"] = "1"
import resource
import subprocess
import sys
import time
from multiprocessing import get_context

import numpy as np
import torch
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerDA5 import nnUNetTrainerDA5

PATCH = (128, 128, 128)
LISTS = {"default": (nnUNetTrainer, 0.85), "da5": (nnUNetTrainerDA5, 0.7)}


def crop(shape):
    grid = np.indices(shape).astype(np.float32)
    index = np.arange(np.prod(shape)).reshape(shape)
    image = np.sin(grid * 0.1).sum(0) + (index * 7919 % 1009) / 2000
    distance = np.sqrt(sum((g - s // 2) ** 2 for g, s in zip(grid, shape)))
    radius = min(shape) / 3
    labels = (distance < radius).astype(np.int16) + (distance < radius / 2)
    return torch.from_numpy(image[None].astype(np.float32)), torch.from_numpy(labels[None].astype(np.int16))


def work(name, seed, samples, ready, results):
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)
    trainer, smallest = LISTS[name]
    angle = (-np.pi / 6, np.pi / 6)
    scales = [[s] * 3 for s in (1, 0.5, 0.25)]
    transforms = trainer.get_training_transforms(PATCH, angle, scales, (0, 1, 2), False, use_mask_for_norm=[False])
    image, labels = crop(tuple(int(s) for s in get_patch_size(PATCH, angle, angle, angle, (smallest, 1))))
    transforms(image=image.clone(), segmentation=labels.clone())
    ready.wait()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(samples):
        transforms(image=image.clone(), segmentation=labels.clone())
    results.put((time.process_time() - cpu, time.perf_counter() - wall))


def reference(name, processes, samples):
    context = get_context("spawn")
    ready, results = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=work, args=(name, seed, samples, ready, results)) for seed in range(processes)]
    for worker in workers:
        worker.start()
    times = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    total = processes * samples
    return total / max(wall for _, wall in times), sum(cpu for cpu, _ in times) / total


def ours(program, name, threads, samples):
    def cpu_of(samples):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        arguments = [program, name, ",".join(map(str, PATCH)), str(threads), str(samples)]
        output = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return float(output.split()[0]), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # What the program does before the first patch is in both runs.
    (_, few), (rate, many) = cpu_of(1), cpu_of(samples + 1)
    return rate, (many - few) / (threads * samples)


if __name__ == "__main__":
    program, threads, samples = sys.argv[1], int((sys.argv[2:3] or [2])[0]), int((sys.argv[3:4] or [30])[0])
    for name in LISTS:
        rate, cpu = ours(program, name, threads, 4 * samples)
        their_rate, their_cpu = reference(name, threads, samples)
        print(f"{name}: {rate:.1f} patches per second, reference {their_rate:.1f}: {rate / their_rate:.1f}x; "
              f"CPU {cpu * 1e3:.0f} ms per patch, reference {their_cpu * 1e3:.0f} ms: {their_cpu / cpu:.1f}x", flush=True)
