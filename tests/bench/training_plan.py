#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that `medgen plan` predicts for a training and what the training takes with a budget of a twentieth more, two
iterations on random numbers:

    tests/bench/training_plan.py --medgen build/release/bin/medgen --network vae --size 64 --precision bf16

The networks are MAISI's, full size; --size is the edge of the VAE's patch, or of the U-Net's latent, which is the image here.
Prints one line of JSON without and one with checkpointed activations.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
import nifti  # noqa: E402
from training_memory import AUTOENCODER  # noqa: E402

UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 1, "num_channels": [64, 128, 256, 512], "num_res_blocks": 2,
        "attention_levels": [False, False, True, True], "num_head_channels": [0, 0, 32, 32], "resblock_updown": True,
        "include_fc": True}
PARTS = {"vae": ("compressor", {"compressor": {"component": "maisi.autoencoder", "config": AUTOENCODER}}),
         "unet": ("denoiser", {"denoiser": {"component": "maisi.unet", "config": UNET},
                               "scheduler": {"component": "scheduler.rflow"}})}


def pipeline(options, checkpoint):
    part, components = PARTS[options.network]
    step = {"train": {"components": components, "data": {"axes": "xyz", "intensity": {"kind": "percentile", "clip": True}}},
            "component": part, "data": "data", "iterations": 2, "checkpoint_every": 2, "batch": options.batch, "to": "out",
            "options": {**json.loads(options.options), "checkpoint_activations": checkpoint}}
    return {"medgen": 1, "runtime": {"precision": options.precision, "threads": options.threads}, "steps": {"net": step}}


def peak_of(command):
    """Bytes of its largest resident memory."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit("the training failed")
    return usage.ru_maxrss * 1024


def compare(options, folder, checkpoint):
    file = folder / f"train-{checkpoint}.json"
    document = pipeline(options, checkpoint)
    document["steps"]["net"]["to"] = f"out-{checkpoint}"
    file.write_text(json.dumps(document))
    plan = subprocess.run([options.medgen, "plan", file, "--json"], capture_output=True, text=True, check=True)
    predicted = json.loads(plan.stdout)["steps"][0]["memory_bytes"] or 0
    budget = f"runtime.memory={predicted * 21 // 20 >> 20}MiB"
    measured = predicted if options.plan else peak_of([options.medgen, "run", file, "--progress", "none", "--set", budget])
    return {"network": options.network, "size": options.size, "batch": options.batch, "precision": options.precision,
            "checkpoint_activations": checkpoint, "predicted_MiB": predicted >> 20, "measured_MiB": measured >> 20,
            "difference": round(predicted / measured - 1, 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medgen", default="medgen")
    parser.add_argument("--network", default="vae", choices=PARTS)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--options", default="{}", help="of the trainer, JSON")
    parser.add_argument("--plan", action="store_true", help="without the training")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw = random.Random(1)
        size = (options.size,) * 3
        for case in "ab":
            nifti.write(folder / "data" / "images" / f"{case}.nii", size,
                        [draw.random() for _ in range(options.size**3)], "float32")
        for checkpoint in (False, True):
            print(json.dumps(compare(options, folder, checkpoint)), flush=True)


if __name__ == "__main__":
    main()
