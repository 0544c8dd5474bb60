#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes MAISI's full-size networks from an imported checkpoint on a folder of CT, and prints what the loss does.

    tests/bench/quality/finetune.py --medgen build/release/bin/medgen --data FOLDER --checkpoint autoencoder.pt unet.pt

FOLDER is a data folder as train steps take it. Without --checkpoint the networks get random weights, as the published
constructors start them, in files with the published names. With --lora R adapters of rank R learn alone. Needs numpy.
"""
import argparse
import ast
import json
import math
import pathlib
import subprocess
import tempfile

import numpy

KEYS = pathlib.Path(__file__).parents[2] / "golden" / "maisi" / "keys"
ZERO_STARTS = (".conv2.conv.weight", ".conv2.conv.bias", "out.2.conv.weight", "out.2.conv.bias")


def start(name, shape, draw):
    """As PyTorch's layers start, with MAISI's zeros; gains of normalisation are 1."""
    if name.endswith(ZERO_STARTS):
        return numpy.zeros(shape, "float32")
    if len(shape) == 1:
        return numpy.full(shape, 1.0 if name.endswith(".weight") else 0.0, "float32")
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    return draw.uniform(-bound, bound, shape).astype("float32")


def random_checkpoint(path, keys):
    """A .safetensors file with all tensors of a key list."""
    draw = numpy.random.default_rng(1)
    header, offset, tensors = {}, 0, []
    for line in (KEYS / keys).read_text().splitlines():
        name, shape = parse(line)
        tensors.append(start(name, shape, draw))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + tensors[-1].nbytes]}
        offset += tensors[-1].nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            file.write(tensor.tobytes())


def parse(line):
    name, shape = line.split("\t")
    return name, list(ast.literal_eval(shape))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medgen", default="build/release/bin/medgen")
    parser.add_argument("--data", required=True)
    parser.add_argument("--checkpoint", nargs=2, metavar=("VAE", "UNET"))
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--lora", type=int, help="rank")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        files = arguments.checkpoint
        if not files:
            files = [folder / "autoencoder.safetensors", folder / "unet.safetensors"]
            random_checkpoint(files[0], "autoencoder_full.txt")
            random_checkpoint(files[1], "unet_rflow_full.txt")
        options = {"clip_norm": 1, "modality_dropout": 0.1}
        if arguments.lora:
            options["lora"] = {"rank": arguments.lora}
        document = {"medgen": 1, "seed": 1, "steps": {
            "base": {"import": {"compressor": str(files[0]), "denoiser": str(files[1])}, "method": "maisi.rflow-ct",
                     "to": "base"},
            "tune": {"train": "@base", "component": "denoiser", "data": str(pathlib.Path(arguments.data).resolve()),
                     "crop": [arguments.crop] * 3, "iterations": arguments.iterations,
                     "learning_rate": arguments.rate, "schedule": "polynomial", "options": options, "log_every": 1,
                     "checkpoint_every": 0, "to": "tuned"}}}
        if not arguments.lora:
            document["steps"]["tune"]["weights_type"] = "fp16"
        if not arguments.checkpoint:
            document["steps"]["tune"]["latent_scale"] = 1.0
        (folder / "finetune.json").write_text(json.dumps(document))
        subprocess.run([arguments.medgen, "run", folder / "finetune.json"], check=True)
        log = [json.loads(line) for line in (folder / "tuned/training/tune/log.jsonl").read_text().splitlines()]
        losses = [line["loss"] for line in log]
        tenth = max(1, len(losses) // 6)
        print(f"loss: first {tenth} iterations {sum(losses[:tenth]) / tenth:.4f}, "
              f"last {tenth} {sum(losses[-tenth:]) / tenth:.4f}; {log[-1]['seconds'] / len(log):.2f} s each")
        for name in ("denoiser.safetensors", "adapter.safetensors"):
            if (folder / "tuned" / name).exists():
                print(f"{name}: {(folder / 'tuned' / name).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
