#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Peak memory and time of one training step with and without checkpointed activations, random numbers:

    tests/bench/training_memory.py --medgen build/release/bin/medgen --size 64 --precision fp32

The network is MAISI's autoencoder, full size; --options adds to those of its trainer. Prints one line of JSON for each.
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
import tensors  # noqa: E402

AUTOENCODER = {"spatial_dims": 3, "in_channels": 1, "out_channels": 1, "latent_channels": 4, "num_channels": [64, 128, 256],
               "num_res_blocks": [2, 2, 2], "norm_num_groups": 32, "norm_eps": 1e-6,
               "attention_levels": [False, False, False]}


def step(options, folder, trainer):
    process = subprocess.Popen(
        [options.medgen, "probe", "maisi.autoencoder", "train", "--config", folder / "config.json", "--in",
         folder / "x.safetensors", "--out", folder / "out.safetensors", "--params", json.dumps(trainer), "--precision",
         options.precision, "--threads", str(options.threads), "--json", "--progress", "none"],
        stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit("the probe failed")
    return {**trainer, "size": options.size, "precision": options.precision, "threads": options.threads,
            "seconds": round(json.loads(text)["seconds"], 2), "peak_MiB": usage.ru_maxrss // 1024,
            "gradient_norm": tensors.read(folder / "out.safetensors")["gradient_norm"][0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medgen", default="medgen")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--options", default="{}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw = random.Random(1)
        (folder / "config.json").write_text(json.dumps(AUTOENCODER))
        tensors.write(folder / "x.safetensors",
                      {"x": ((1, 1, *[options.size] * 3), [draw.random() for _ in range(options.size**3)])})
        for checkpoint in (False, True):
            trainer = {**json.loads(options.options), "checkpoint_activations": checkpoint}
            print(json.dumps(step(options, folder, trainer)), flush=True)


if __name__ == "__main__":
    main()
