#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""MONAI's networks to compare the demo's model with, and the time of a training step: monai_step.py unet|vae [STEPS] [--same].

The networks are those of a yardstick (VAE 16, 32 channels, U-Net 32, 64, 128), with --same those of
examples/pipelines/train-hippocampus-mr.json. Batch, loss, clipping and optimiser are that pipeline's, on random numbers, with
bfloat16 autocast; needs monai==1.6.1. medgen's time is in the log of its training ("seconds").
"""

import argparse
import time

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi

LATENT, CONDITION = 4, 16


def make_vae(latent=LATENT):
    return AutoencoderKlMaisi(
        spatial_dims=3, in_channels=1, out_channels=1, latent_channels=latent, num_channels=[16, 32], num_res_blocks=[1, 1],
        attention_levels=[False, False], norm_num_groups=8, num_splits=1, norm_float16=False, save_mem=False, print_info=False,
        with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False, use_convtranspose=True)


def make_unet(latent=LATENT, channels=(32, 64, 128), blocks=(1, 1, 1)):
    return DiffusionModelUNetMaisi(
        spatial_dims=3, in_channels=latent + CONDITION, out_channels=latent, num_channels=channels, num_res_blocks=blocks,
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


def unet_step(same, batch=2):
    latent = 8 if same else LATENT
    network = make_unet(8, (32, 64, 96), (1, 2, 2)) if same else make_unet()
    x, t = torch.randn(batch, latent + CONDITION, 16, 24, 16), torch.rand(batch) * 1000
    target = torch.randn(batch, latent, 16, 24, 16)
    return network, lambda: (network(x, t).float() - target).square().mean()


def vae_step(same, batch=2):
    network = make_vae(8 if same else LATENT)
    x = torch.rand(batch, 1, 24, 32, 24)
    return network, lambda: vae_loss(network, x)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=["unet", "vae"])
    parser.add_argument("steps", type=int, nargs="?", default=40)
    parser.add_argument("--same", action="store_true", help="the networks of the pipeline")
    arguments = parser.parse_args()
    network, loss = {"unet": unet_step, "vae": vae_step}[arguments.network](arguments.same)
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
