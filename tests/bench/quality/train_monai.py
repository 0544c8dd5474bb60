#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo's model in MONAI, for comparison: train_monai.py DATA LABELS OUT [--vae MINUTES] [--unet MINUTES].

MONAI's own networks in the sizes of examples/pipelines/train-hippocampus-mr.json learn from DATA (images/ and labels/) for so many
minutes with bfloat16 autocast, then OUT gets one volume for each label map of LABELS (30 steps). Crops, batch and learning rate
are those of the pipeline; loss (L1), polynomial schedule and the last weights (no EMA) are those of the published scripts.
Needs monai==1.6.1 and nibabel.
"""

import argparse
import pathlib
import time

import nibabel
import numpy
import torch
import torch.nn.functional as F
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.networks.schedulers.rectified_flow import RFlowScheduler

SIZE, PATCH, BATCH, CHANNELS = (32, 48, 32), (24, 32, 24), 2, 8


def fitted(array, size, corner=None):
    """The middle of an array, or the part from `corner` on; what is missing is padded with the edge."""
    short = [max(0, s - n) for s, n in zip(size, array.shape)]
    array = numpy.pad(array, [(p // 2, p - p // 2) for p in short], mode="edge")
    corner = corner or [(n - s) // 2 for s, n in zip(size, array.shape)]
    return array[tuple(slice(c, c + s) for c, s in zip(corner, size))]


def load(folder):
    """Whole images in 0..1 with their label maps."""
    cases = []
    for file in sorted(pathlib.Path(folder, "images").glob("*.nii*")):
        image = numpy.asarray(nibabel.load(file).dataobj, dtype=numpy.float32)
        low, high = numpy.percentile(image, [0, 99.5])
        label = numpy.asarray(nibabel.load(pathlib.Path(folder, "labels", file.name)).dataobj)
        cases.append((numpy.clip((image - low) / (high - low), 0, 1), label))
    return cases


def planes(label):
    """One-hot labels at the latent's size: every 2x2x2 block of voxels becomes channels."""
    one_hot = numpy.stack([label == c for c in (1, 2)]).astype(numpy.float32)
    c, x, y, z = one_hot.shape
    blocks = one_hot.reshape(c, x // 2, 2, y // 2, 2, z // 2, 2).transpose(0, 2, 4, 6, 1, 3, 5)
    return torch.tensor(blocks.reshape(8 * c, x // 2, y // 2, z // 2))


def train(network, loss, minutes, learning_rate):
    """Until the time is over, with the schedule by the time."""
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    start, steps = time.monotonic(), 0
    while (part := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - part) ** 2 * min(1, (steps + 1) / 100)
        with torch.autocast("cpu", torch.bfloat16):
            value = loss()
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        steps += 1
        if steps % 100 == 0:
            print(f"{steps}: loss {float(value):.4f}, {60 * minutes * (1 - part):.0f} s left", flush=True)
    return steps


def make_vae():
    return AutoencoderKlMaisi(
        spatial_dims=3, in_channels=1, out_channels=1, latent_channels=CHANNELS, num_channels=[16, 32], num_res_blocks=[1, 1],
        attention_levels=[False, False], norm_num_groups=8, num_splits=1, norm_float16=False, save_mem=False, print_info=False,
        with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False, use_convtranspose=True)


def make_unet():
    return DiffusionModelUNetMaisi(
        spatial_dims=3, in_channels=CHANNELS + 16, out_channels=CHANNELS, num_channels=[32, 64, 96], num_res_blocks=[1, 2, 2],
        attention_levels=[False, False, True], num_head_channels=[0, 0, 32], norm_num_groups=16, include_fc=True)


def train_vae(vae, cases, minutes, draw):
    def patch():
        image = cases[draw.integers(len(cases))][0]
        image = fitted(image, [max(n, p) for n, p in zip(image.shape, PATCH)])
        corner = [int(draw.integers(n - p + 1)) for n, p in zip(image.shape, PATCH)]
        return torch.tensor(fitted(image, PATCH, corner))[None]

    def loss():
        x = torch.stack([patch() for _ in range(BATCH)])
        image, mean, sigma = vae(x)
        variance = sigma.float().square()
        kl = 0.5 * (mean.float().square() + variance - (variance + 1e-10).log() - 1).sum() / BATCH
        return (image.float() - x).abs().mean() + 1e-7 * kl

    return train(vae, loss, minutes, 2e-3)


def train_unet(unet, scheduler, latents, minutes, draw):
    def loss():
        picked = [latents[draw.integers(len(latents))] for _ in range(BATCH)]
        x0 = torch.stack([mean + sigma * torch.randn_like(mean) for mean, sigma, _ in picked])
        noise, t = torch.randn_like(x0), scheduler.sample_timesteps(x0)
        x = scheduler.add_noise(original_samples=x0, noise=noise, timesteps=t)
        predicted = unet(torch.cat([x, torch.stack([c for _, _, c in picked])], 1), t)
        return (predicted.float() - (x0 - noise)).abs().mean()

    return train(unet, loss, minutes, 1e-3)


@torch.inference_mode()
def generate(vae, unet, scheduler, condition, scale, shape, steps=30):
    x = torch.randn(1, CHANNELS, *shape)
    scheduler.set_timesteps(num_inference_steps=steps)
    following = torch.cat([scheduler.timesteps[1:], torch.zeros(1)])
    with torch.autocast("cpu", torch.bfloat16):
        for t, after in zip(scheduler.timesteps, following):
            velocity = unet(torch.cat([x, condition[None]], 1), torch.full((1,), float(t))).float()
            x, _ = scheduler.step(velocity, t, x, after)
        return vae.decode(x / scale).float()[0, 0].clip(0, 1).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("labels")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--vae", type=float, default=10, metavar="MINUTES")
    parser.add_argument("--unet", type=float, default=35, metavar="MINUTES")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    draw = numpy.random.default_rng(1)
    cases = load(arguments.data)
    vae, unet = make_vae(), make_unet()
    print("VAE:", train_vae(vae, cases, arguments.vae, draw), "iterations")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        encoded = [vae.eval().encode(torch.tensor(fitted(image, SIZE))[None, None]) for image, _ in cases]
    scale = 1 / float(torch.stack([mean.float() for mean, _ in encoded]).std())
    latents = [((mean.float() * scale)[0].clone(), (sigma.float() * scale)[0].clone(), planes(fitted(label, SIZE)))
               for (mean, sigma), (_, label) in zip(encoded, cases)]
    shape = latents[0][0].shape[1:]
    scheduler = RFlowScheduler(num_train_timesteps=1000, use_discrete_timesteps=False, sample_method="logit-normal",
                               use_timestep_transform=False)
    print("U-Net:", train_unet(unet, scheduler, latents, arguments.unet, draw), "iterations")
    (arguments.out / "images").mkdir(parents=True, exist_ok=True)
    for file in sorted(pathlib.Path(arguments.labels).glob("*.nii*")):
        source = nibabel.load(file)
        image = generate(vae, unet.eval(), scheduler, planes(fitted(numpy.asarray(source.dataobj), SIZE)), scale, shape)
        nibabel.save(nibabel.Nifti1Image((1000 * image).astype(numpy.int16), source.affine), arguments.out / "images" / file.name)


if __name__ == "__main__":
    main()
