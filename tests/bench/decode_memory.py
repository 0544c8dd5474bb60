#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory that `medgen plan` predicts for decoding volumes, and what the run takes:

    tests/bench/decode_memory.py MODEL --size 256 100x72x88 --precision bf16 --memory 1GiB

MODEL is a package of MAISI's autoencoder, such as `medgen import` or tests/golden/maisi/import_from_monai.py makes; its latents are
random. Prints one line of JSON for each size, with the hash of the decoded volume.
"""
import argparse
import gzip
import hashlib
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
import tensors  # noqa: E402

IDENTITY = [1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0]


def write_latent(path, model, size):
    """As a `write` step does after `encode`."""
    compressor = json.loads((model / "model.json").read_text())["components"]["compressor"]
    shape = (1, compressor["config"]["latent_channels"], *(length // 4 for length in size))
    draw = random.Random(1)
    facts = {"source": "random", "compressor": compressor["sha256"],
             "grid": {"size": size, "affine": IDENTITY, "low": 0.0, "high": 1.0, "clip_low": True, "clip_high": True,
                      "type": "F32"}}
    values = [draw.gauss(0, 1) for _ in range(math.prod(shape))]
    tensors.write(path, {"mean": (shape, values)}, {"medgen.facts": json.dumps(facts)})


def compare(options, folder, size):
    write_latent(folder / "latent.safetensors", options.model, size)
    runtime = {"precision": options.precision, "threads": options.threads}
    if options.memory:
        runtime["memory"] = options.memory
    document = {"medgen": 1, "runtime": runtime,
                "steps": {"image": {"decode": str(options.model), "latent": "latent.safetensors"},
                          "save": {"write": "@image", "to": "out"}}}
    file = folder / "decode.json"
    file.write_text(json.dumps(document))
    plan = subprocess.run([options.medgen, "plan", file, "--json"], capture_output=True, text=True, check=True)
    predicted = max(step["memory_bytes"] or 0 for step in json.loads(plan.stdout)["steps"])
    start = time.monotonic()
    process = subprocess.Popen([options.medgen, "run", file, "--progress", "none"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    if status != 0:
        sys.exit("decoding failed")
    measured = usage.ru_maxrss * 1024
    image = gzip.decompress(next((folder / "out").rglob("*.nii.gz")).read_bytes())
    return {"size": size, "precision": options.precision, "memory": options.memory, "predicted_MiB": predicted >> 20,
            "measured_MiB": measured >> 20, "difference": round(predicted / measured - 1, 3),
            "seconds": round(seconds, 1),
            "sha256": hashlib.sha256(image).hexdigest()[:16]}


def lengths(text):
    return [int(length) for length in text.split("x")] if "x" in text else [int(text)] * 3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=lambda text: Path(text).resolve())
    parser.add_argument("--medgen", default="build/release/bin/medgen")
    parser.add_argument("--size", type=lengths, nargs="+", default=[[128] * 3], metavar="N|XxYxZ")
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--memory", help="the run's budget, such as 1GiB")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    for size in options.size:
        with tempfile.TemporaryDirectory() as name:
            print(json.dumps(compare(options, Path(name), size)), flush=True)


if __name__ == "__main__":
    main()
