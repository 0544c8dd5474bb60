#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs MONAI's MAISI networks and ours side by side on random configurations, weights and inputs.

Needs monai 1.6.1, torch and safetensors (pip install monai==1.6.1 torch safetensors), and a built medgen:

    tests/golden/maisi/compare_with_monai.py                       # 40 cases with `medgen probe`
    tests/golden/maisi/compare_with_monai.py --probe "build/bin/medgen probe" --cases 100 --seed 7
    tests/golden/maisi/compare_with_monai.py --precision bf16      # ours in bf16, by relative L2

Every case draws a network, a configuration that the published constructor accepts, weights (randn / sqrt(fan in), so that
layers that start at zero count too) and inputs with a batch of 1 to 3. Prints one line per case; the exit code is the number
of cases above the tolerance.
"""
import argparse
import json
import pathlib
import random
import shlex
import subprocess
import sys
import tempfile
import warnings

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.networks.nets import DiffusionModelUNet, PatchDiscriminator
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")


def fill(network, seed):
    """Random weights in place of the constructor's, many of which are zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim >= 2:
                value.copy_(noise / (value.numel() / value.shape[0]) ** 0.5)
            elif name.endswith("running_var"):
                value.copy_(1 + 0.5 * noise.abs())
            else:
                value.copy_(0.1 * noise + (1 if name.endswith("weight") else 0))
    return network.eval()


def sizes(rng, factor, rank, most):
    """Spatial lengths, multiples of `factor`, not all alike."""
    return [factor * rng.randint(1, max(1, most // factor)) for _ in range(rank)]


def backbone(rng, rank):
    """What the U-Nets and the ControlNet share."""
    levels = rng.randint(1, 4)
    groups = rng.choice([1, 2, 4, 8])
    channels = [groups * 4 * rng.randint(1, max(1, 8 // groups)) for _ in range(levels)]
    attention = [rng.random() < 0.5 for _ in range(levels)]
    heads = [rng.choice([d for d in (1, 2, 4, 8, c) if c % d == 0]) for c in channels]
    if all(c % 4 == 0 for c in channels) and rng.random() < 0.4:
        heads = 4
    config = {
        "spatial_dims": rank,
        "in_channels": rng.randint(1, 5),
        "num_channels": channels,
        "num_res_blocks": rng.randint(1, 2) if rng.random() < 0.5 else [rng.randint(1, 3) for _ in range(levels)],
        "attention_levels": attention,
        "num_head_channels": heads,
        "norm_num_groups": groups,
        "norm_eps": rng.choice([1e-6, 1e-5]),
        "resblock_updown": rng.random() < 0.5,
        "include_fc": rng.random() < 0.5,
        "use_combined_linear": rng.random() < 0.3,
        "upcast_attention": rng.random() < 0.3,
    }
    if rng.random() < 0.4:
        config |= {
            "with_conditioning": True,
            "cross_attention_dim": rng.randint(1, 12),
            "transformer_num_layers": rng.randint(1, 2),
        }
    if rng.random() < 0.5:
        config["num_class_embeds"] = rng.randint(1, 20)
    return config


def common_inputs(rng, config, batch):
    rank, levels = config["spatial_dims"], len(config["num_channels"])
    inputs = {
        "x": torch.randn(batch, config["in_channels"], *sizes(rng, 2 ** (levels - 1), rank, 12)),
        "timesteps": torch.rand(batch) * 1000,
    }
    if config.get("with_conditioning"):
        inputs["context"] = torch.randn(batch, rng.randint(1, 4), config["cross_attention_dim"])
    if config.get("num_class_embeds"):
        inputs["class_labels"] = torch.randint(0, config["num_class_embeds"], (batch,))
    return inputs


def one_hot(batch):
    return 100.0 * torch.nn.functional.one_hot(torch.randint(0, 4, (batch,)), 4).float()


def unet_case(rng, batch):
    config = backbone(rng, rng.choice([3, 3, 3, 2]))
    config["out_channels"] = rng.randint(1, 5)
    for name in ("top_region_index", "bottom_region_index", "spacing"):
        config[f"include_{name}_input"] = rng.random() < 0.5
    network = fill(DiffusionModelUNetMaisi(**config), rng.getrandbits(32))
    inputs = common_inputs(rng, config, batch)
    if config["include_top_region_index_input"]:
        inputs["top_region_index"] = one_hot(batch)
    if config["include_bottom_region_index_input"]:
        inputs["bottom_region_index"] = one_hot(batch)
    if config["include_spacing_input"]:
        inputs["spacing"] = 50 + 300 * torch.rand(batch, 3)
    call = {k + "_tensor" if k.endswith("index") or k == "spacing" else k: v for k, v in inputs.items()}
    if rng.random() < 0.5:
        add_residuals(rng, config, network, inputs, call)
    return "maisi.unet", "predict", config, network, inputs, {"out": network(**call)}


def add_residuals(rng, config, network, inputs, call):
    """Residuals as a ControlNet of the same shape would give them; the released U-Net adds them in place."""
    blocks = config["num_res_blocks"]
    levels = len(config["num_channels"])
    blocks = [blocks] * levels if isinstance(blocks, int) else blocks
    batch, spatial = inputs["x"].shape[0], list(inputs["x"].shape[2:])
    shapes = [(config["num_channels"][0], spatial)]
    for level, channels in enumerate(config["num_channels"]):
        shapes += [(channels, spatial)] * blocks[level]
        if level + 1 < levels:
            spatial = [s // 2 for s in spatial]
            shapes.append((channels, spatial))
    residuals = [torch.randn(batch, c, *s) for c, s in shapes]
    mid = torch.randn(batch, shapes[-1][0], *shapes[-1][1])
    inputs |= {f"down{i}": r for i, r in enumerate(residuals)} | {"mid": mid}
    call |= {"down_block_additional_residuals": tuple(r.clone() for r in residuals), "mid_block_additional_residual": mid}


def mask_unet_case(rng, batch):
    config = backbone(rng, 3)
    config["channels"] = config.pop("num_channels")
    config["out_channels"] = rng.randint(1, 5)
    network = fill(DiffusionModelUNet(**config), rng.getrandbits(32))
    inputs = common_inputs(rng, config | {"num_channels": config["channels"]}, batch)
    return "maisi.mask_unet", "predict", config, network, inputs, {"out": network(**inputs)}


def controlnet_case(rng, batch):
    config = backbone(rng, 3)
    channels = [rng.choice([3, 4, 6, 8]) for _ in range(rng.randint(1, 3))]
    config |= {"conditioning_embedding_in_channels": rng.randint(1, 8), "conditioning_embedding_num_channels": channels}
    network = fill(ControlNetMaisi(**config, use_checkpointing=False), rng.getrandbits(32))
    inputs = common_inputs(rng, config, batch)
    factor = 2 ** (len(channels) - 1)
    spatial = [factor * s for s in inputs["x"].shape[2:]]
    inputs["controlnet_cond"] = torch.randint(0, 2, (batch, config["conditioning_embedding_in_channels"], *spatial)).float()
    down, mid = network(**inputs)
    return "maisi.controlnet", "step", config, network, inputs, {f"down{i}": d for i, d in enumerate(down)} | {"mid": mid}


def autoencoder_config(rng):
    levels = rng.randint(1, 3)
    groups = rng.choice([1, 2, 4, 8])
    config = {
        "spatial_dims": 3,
        "in_channels": rng.randint(1, 4),
        "out_channels": rng.randint(1, 4),
        "num_channels": [groups * rng.randint(1, 4) for _ in range(levels)],
        "num_res_blocks": [rng.randint(1, 3) for _ in range(levels)],
        "attention_levels": [rng.random() < 0.3 for _ in range(levels)],
        "latent_channels": rng.randint(1, 5),
        "norm_num_groups": groups,
        "norm_eps": rng.choice([1e-6, 1e-5]),
    }
    for name in ("with_encoder_nonlocal_attn", "with_decoder_nonlocal_attn", "include_fc", "use_combined_linear"):
        config[name] = rng.random() < 0.4
    config["use_convtranspose"] = rng.random() < 0.4
    return config


def encode_case(rng, batch):
    config = autoencoder_config(rng)
    network = fill(AutoencoderKlMaisi(**config, num_splits=1), rng.getrandbits(32))
    least = 2 ** len(config["num_channels"])
    x = torch.randn(batch, config["in_channels"], *[rng.randint(least, 20) for _ in range(3)])
    mean, sigma = network.encode(x)
    return "maisi.autoencoder", "encode", config, network, {"x": x}, {"mean": mean, "sigma": sigma}


def decode_case(rng, batch):
    config = autoencoder_config(rng)
    network = fill(AutoencoderKlMaisi(**config, num_splits=1), rng.getrandbits(32))
    z = torch.randn(batch, config["latent_channels"], *[rng.randint(2, 6) for _ in range(3)])
    return "maisi.autoencoder", "decode", config, network, {"z": z}, {"x": network.decode(z)}


def discriminator_case(rng, batch):
    """Only for a probe that has it; medgen uses the discriminator in training."""
    norm = rng.choice(["INSTANCE", "BATCH", ["GROUP", {"num_groups": 2}], ["INSTANCE", {"affine": True}]])
    config = {
        "spatial_dims": rng.choice([2, 3]),
        "channels": rng.choice([2, 4, 6]),
        "in_channels": rng.randint(1, 3),
        "num_layers_d": rng.randint(1, 3),
        "kernel_size": rng.choice([3, 4]),
        "norm": norm,
        "bias": rng.random() < 0.5,
        "activation": rng.choice(["RELU", "SWISH", ["LEAKYRELU", {"negative_slope": 0.2}]]),
    }
    call = config | {k: tuple(v) for k, v in config.items() if isinstance(v, list)}
    network = fill(PatchDiscriminator(**call), rng.getrandbits(32))
    x = torch.randn(batch, config["in_channels"], *[rng.randint(40, 48) for _ in range(config["spatial_dims"])])
    return "maisi.discriminator", "judge", config, network, {"x": x}, {f"out{i}": f for i, f in enumerate(network(x))}


CASES = {
    "unet": unet_case,
    "mask_unet": mask_unet_case,
    "controlnet": controlnet_case,
    "encode": encode_case,
    "decode": decode_case,
    "discriminator": discriminator_case,
}


def run_probe(command, folder, component, function, config, network, inputs, precision):
    """Our outputs for the same network and inputs."""
    paths = {name: str(folder / f"{name}.safetensors") for name in ("weights", "in", "out")}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, paths["weights"])
    save_file({k: v.contiguous() for k, v in inputs.items()}, paths["in"])
    arguments = ["--config", str(folder / "config.json")]
    for name, path in paths.items():
        arguments += [f"--{name}", path]
    if precision != "fp32":
        arguments += ["--precision", precision]
    done = subprocess.run([*shlex.split(command), component, function, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"probe ended with {done.returncode}: {done.stderr.strip()[:400]}")
    return load_file(paths["out"])


def error_of(got, want, precision):
    if got.shape != want.shape:
        return float("inf")
    difference = (got.double() - want.double()).abs()
    if precision == "fp32":
        return float(difference.max() / want.abs().max())
    return float(difference.norm() / want.double().norm())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", default="medgen probe", help="the command that runs one component on tensors")
    parser.add_argument("--networks", nargs="*", choices=list(CASES), default=[n for n in CASES if n != "discriminator"])
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    options = parser.parse_args()
    tolerance = 1e-4 if options.precision == "fp32" else 1e-2
    failures = 0
    for index in range(options.cases):
        rng = random.Random(f"{options.seed}/{index}")
        torch.manual_seed(rng.getrandbits(32))
        name = options.networks[index % len(options.networks)]
        with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
            component, function, config, network, inputs, want = CASES[name](rng, rng.randint(1, 3))
            try:
                got = run_probe(options.probe, pathlib.Path(folder), component, function, config, network, inputs,
                                options.precision)
                error = max(error_of(got[key], value, options.precision) for key, value in want.items())
                text = f"{error:.2e}"
            except RuntimeError as problem:
                error, text = float("inf"), str(problem)
        bad = not error <= tolerance
        failures += bad
        print(f"{'FAIL' if bad else 'ok  '} {index:3d} {component} {function}: {text}" + (f"\n{config}" if bad else ""))
    print(f"{options.cases - failures} of {options.cases} within {tolerance}")
    return min(failures, 100)


if __name__ == "__main__":
    sys.exit(main())
