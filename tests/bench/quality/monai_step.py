#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times a training step of the demo's networks in MONAI with bfloat16 autocast: monai_step.py unet|vae [STEPS].

The same sizes, batch, loss, clipping and optimiser as examples/pipelines/train-hippocampus-mr.json, on random numbers; needs
monai==1.6.1. medgen's time is in the log of its training ("seconds").
"""

import sys
import time

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi


def unet(batch=2):
    network = DiffusionModelUNetMaisi(
        spatial_dims=3, in_channels=24, out_channels=8, num_channels=[32, 64, 96], num_res_blocks=[1, 2, 2],
        attention_levels=[False, False, True], num_head_channels=[0, 0, 32], norm_num_groups=16, include_fc=True)
    x, t = torch.randn(batch, 24, 16, 24, 16), torch.rand(batch) * 1000
    target = torch.randn(batch, 8, 16, 24, 16)
    return network, lambda: (network(x, t).float() - target).square().mean()


def vae(batch=2):
    network = AutoencoderKlMaisi(
        spatial_dims=3, in_channels=1, out_channels=1, latent_channels=8, num_channels=[16, 32], num_res_blocks=[1, 1],
        attention_levels=[False, False], norm_num_groups=8, num_splits=1, norm_float16=False, save_mem=False,
        print_info=False, with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False, use_convtranspose=True)
    x = torch.rand(batch, 1, 24, 32, 24)

    def loss():
        image, mean, sigma = network(x)
        variance = sigma.float().square()
        kl = 0.5 * (mean.float().square() + variance - (variance + 1e-10).log() - 1).sum() / batch
        return (image.float() - x).abs().mean() + 1e-7 * kl

    return network, loss


def main():
    network, loss = {"unet": unet, "vae": vae}[sys.argv[1]]()
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    start = 0.0
    for step in range(count + 5):
        if step == 5:  # the first ones prepare
            start = time.monotonic()
        with torch.autocast("cpu", torch.bfloat16):
            value = loss()
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    print(f"{sys.argv[1]}: {(time.monotonic() - start) / count:.3f} s a step, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
