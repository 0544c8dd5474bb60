#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo's model in MONAI, for comparison: train_monai.py DATA MODEL OUT [--vae N] [--unet N].

MONAI's own networks, of the same sizes (VAE 16, 32 channels, U-Net 32, 64, 128, labels as input channels), learn from the
cases of DATA (images/ and labels/) that MODEL, a package of medgen, has learnt from, with bfloat16 autocast, for so many
iterations; then OUT gets one volume for each label map that was held out from MODEL (30 steps). Crops, batch and
learning rate are those of examples/pipelines/train-hippocampus-mr.json; loss (L1), polynomial schedule and the last weights
(no EMA) are those of the published scripts. monai_step.py tells how long an iteration takes on a quiet machine.
"""

import argparse
import pathlib
import time

import cases
import monai_step
import nibabel
import numpy
import torch
from monai.networks.schedulers.rectified_flow import RFlowScheduler

SIZE, PATCH, BATCH = (32, 48, 32), (24, 32, 24), 2


def load(files):
    """Whole images in 0..1 with their label maps."""
    for image_file, label_file in files:
        image = numpy.asarray(nibabel.load(image_file).dataobj, dtype=numpy.float32)
        low, high = numpy.percentile(image, [0, 99.5])
        image = numpy.clip((image - low) / (high - low), 0, 1).astype(numpy.float32)
        yield image, numpy.asarray(nibabel.load(label_file).dataobj)


def planes(label):
    """One-hot labels at the latent's size: every 2x2x2 block of voxels becomes channels."""
    one_hot = numpy.stack([cases.fitted(label, SIZE) == c for c in (1, 2)]).astype(numpy.float32)
    c, x, y, z = one_hot.shape
    blocks = one_hot.reshape(c, x // 2, 2, y // 2, 2, z // 2, 2).transpose(0, 2, 4, 6, 1, 3, 5)
    return torch.tensor(blocks.reshape(8 * c, x // 2, y // 2, z // 2))


def train(network, loss, iterations, learning_rate):
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    start = time.monotonic()
    for step in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / iterations) ** 2 * min(1, (step + 1) / 100)
        value = monai_step.step(network, loss, optimizer)
        if (step + 1) % 100 == 0:
            print(f"{step + 1}/{iterations}: loss {value:.4f}, {time.monotonic() - start:.0f} s", flush=True)


def train_vae(vae, known, iterations, draw):
    def patch():
        image = known[draw.integers(len(known))][0]
        image = cases.fitted(image, [max(n, p) for n, p in zip(image.shape, PATCH)])
        corner = [int(draw.integers(n - p + 1)) for n, p in zip(image.shape, PATCH)]
        return torch.tensor(cases.fitted(image, PATCH, corner))[None]

    train(vae, lambda: monai_step.vae_loss(vae, torch.stack([patch() for _ in range(BATCH)])), iterations, 2e-3)


def train_unet(unet, scheduler, latents, iterations, draw):
    def loss():
        picked = [latents[draw.integers(len(latents))] for _ in range(BATCH)]
        x0 = torch.stack([mean + sigma * torch.randn_like(mean) for mean, sigma, _ in picked])
        noise, t = torch.randn_like(x0), scheduler.sample_timesteps(x0)
        x = scheduler.add_noise(original_samples=x0, noise=noise, timesteps=t)
        predicted = unet(torch.cat([x, torch.stack([c for _, _, c in picked])], 1), t)
        return (predicted.float() - (x0 - noise)).abs().mean()

    train(unet, loss, iterations, 1e-3)


@torch.inference_mode()
def encode(vae, known):
    """Mean, deviation and condition of every case, scaled to unit variance, and the scale."""
    with torch.autocast("cpu", torch.bfloat16):
        encoded = [vae.eval().encode(torch.tensor(cases.fitted(image, SIZE))[None, None]) for image, _ in known]
    scale = 1 / float(torch.stack([mean.float() for mean, _ in encoded]).std())
    return [((mean.float() * scale)[0].clone(), (sigma.float() * scale)[0].clone(), planes(label))
            for (mean, sigma), (_, label) in zip(encoded, known)], scale


@torch.inference_mode()
def generate(vae, unet, scheduler, condition, scale, steps=30):
    x = torch.randn(1, monai_step.LATENT, *condition.shape[1:])
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
    parser.add_argument("model")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--vae", type=int, default=3000, metavar="N", help="iterations")
    parser.add_argument("--unet", type=int, default=6900, metavar="N", help="iterations")
    parser.add_argument("--learn-from", metavar="PREFIX",
                        help="also make volumes from the label maps of the training cases whose names begin so, in OUT/learn-from")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    draw = numpy.random.default_rng(1)
    held_out = cases.held_out(arguments.model)
    pairs = list(zip(cases.files(arguments.data, "images"), cases.files(arguments.data, "labels")))
    known = list(load(pair for pair in pairs if cases.name(pair[0]) not in held_out))
    vae, unet = monai_step.make_vae(), monai_step.make_unet()
    train_vae(vae, known, arguments.vae, draw)
    latents, scale = encode(vae, known)
    scheduler = RFlowScheduler(num_train_timesteps=1000, use_discrete_timesteps=False, sample_method="logit-normal",
                               use_timestep_transform=False)
    train_unet(unet, scheduler, latents, arguments.unet, draw)

    def write(folder, wanted):
        for kind in ("images", "labels"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for image_file, label_file in pairs:
            if wanted(cases.name(image_file)):
                label = cases.cut(label_file, SIZE)
                image = generate(vae, unet.eval(), scheduler, planes(numpy.asarray(nibabel.load(label_file).dataobj)), scale)
                nibabel.save(nibabel.Nifti1Image((1000 * image).astype(numpy.int16), label.affine),
                             folder / "images" / image_file.name)
                nibabel.save(label, folder / "labels" / image_file.name)

    write(arguments.out, lambda name: name in held_out)
    if arguments.learn_from:
        write(arguments.out / "learn-from", lambda name: name not in held_out and name.startswith(arguments.learn_from))


if __name__ == "__main__":
    main()
