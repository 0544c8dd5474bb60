#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo's networks in MONAI, and the time of a training step: monai_step.py unet|vae [STEPS].

Sizes, batch, loss, clipping and optimiser are those of examples/pipelines/train-hippocampus-mr.json, on random numbers, with
bfloat16 autocast. medgen's time is in the log of its training ("seconds").
"""

import argparse
import time

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi

LATENT, CONDITION = 4, 16


def make_vae():
    return AutoencoderKlMaisi(
        spatial_dims=3, in_channels=1, out_channels=1, latent_channels=LATENT, num_channels=[16, 32], num_res_blocks=[1, 1],
        attention_levels=[False, False], norm_num_groups=8, num_splits=1, norm_float16=False, save_mem=False, print_info=False,
        with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False, use_convtranspose=True)


def make_unet():
    return DiffusionModelUNetMaisi(
        spatial_dims=3, in_channels=LATENT + CONDITION, out_channels=LATENT, num_channels=[32, 64, 128], num_res_blocks=[1, 1, 1],
        attention_levels=[False, False, True], num_head_channels=[0, 0, 32], norm_num_groups=16, include_fc=True)


def vae_loss(vae, x):
    image, mean, sigma = vae(x)
    variance = sigma.float().square()
    kl = 0.5 * (mean.float().square() + variance - (variance + 1e-10).log() - 1).sum() / len(x)
    return (image.float() - x).abs().mean() + 1e-7 * kl


def step(network, loss, optimizer):
    with torch.autocast("cpu", torch.bfloat16):
        value = loss()
    optimizer.zero_grad()
    value.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(value.detach())


def unet_step(batch=2):
    network = make_unet()
    x, t = torch.randn(batch, LATENT + CONDITION, 16, 24, 16), torch.rand(batch) * 1000
    target = torch.randn(batch, LATENT, 16, 24, 16)
    return network, lambda: (network(x, t).float() - target).abs().mean()


def vae_step(batch=2):
    network = make_vae()
    x = torch.rand(batch, 1, 24, 32, 24)
    return network, lambda: vae_loss(network, x)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["unet", "vae"])
    parser.add_argument("steps", type=int, nargs="?", default=40)
    arguments = parser.parse_args()
    network, loss = {"unet": unet_step, "vae": vae_step}[arguments.network]()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(5):  # the first ones prepare
        step(network, loss, optimizer)
    start = time.monotonic()
    for _ in range(arguments.steps):
        step(network, loss, optimizer)
    print(f"{arguments.network}: {(time.monotonic() - start) / arguments.steps:.3f} s a step, "
          f"{torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
