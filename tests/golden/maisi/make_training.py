#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what MONAI computes in one training step: make_training.py > training.json (monai 1.6.1, torch 2.15, CPU).

Networks, weights and conditions are those of the fixtures beside this file; noise is torch.randn from the seeds below.
The adversarial and perceptual losses want the packages lpips 0.1.4 and torchvision besides.
"""
import functools
import json
import math
import pathlib

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.losses import PatchAdversarialLoss, perceptual
from monai.networks.nets import PatchDiscriminator
from monai.networks.schedulers import DDPMScheduler, RFlowScheduler
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).parent
NOISE_SEED = 10
POSTERIOR_SEED = 11
IMAGE_SEED = 12
DISCRIMINATOR_SEED = 4321
PERCEPTUAL_WEIGHT, ADVERSARIAL_WEIGHT = 30, 1  # as much, for losses of random weights
KL_WEIGHT = 1e-3  # so that the divergence shows in the gradients
TIME = 500


def fixture(name):
    return load_file(HERE / f"{name}_small.safetensors")


def randn(seed, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def fill(network, seed):
    """The fixtures' rule (README.md)."""
    for index, (name, value) in enumerate(network.state_dict().items()):
        noise = randn(seed + index, value.shape)
        if value.dim() >= 2:
            value.copy_(noise / math.sqrt(value[0].numel()))
        else:
            value.copy_(noise * 0.05 + (1.0 if name.endswith(".weight") else 0.0))
    return network


def backbone(rflow):
    config = dict(spatial_dims=3, in_channels=4, num_channels=[16, 32, 64, 64], num_res_blocks=2,
                  attention_levels=[False, False, True, True], num_head_channels=[0, 0, 16, 16], norm_num_groups=8,
                  norm_eps=1e-6)
    if rflow:
        config.update(resblock_updown=True, include_fc=True, num_class_embeds=128)
    return config


def gradient_norm(network):
    return math.sqrt(sum(p.grad.double().square().sum().item() for p in network.parameters() if p.grad is not None))


def planes(label):
    return torch.cat([(label >> bit & 1).float() for bit in range(8)], dim=1)


def without_tumour(label):
    """As if the labels of a corner were tumours in the background."""
    free = label.clone()
    free[:, :, :16, :16, :8] = 0
    return free


def contrastive(with_tumour, free, target, differs):
    """The tumour-weighted and region-contrastive loss of MAISI v2 (weight 100, margin 2, factor 0.01)."""
    region = torch.nn.functional.interpolate(differs.float(), size=target.shape[2:], mode="nearest")
    away = 1 - torch.nn.functional.max_pool3d(region, 3, stride=1, padding=1)
    mean = lambda value, where: (value * where).sum() / (where.sum() * value.shape[1])
    weighted = ((1 + 99 * region) * (with_tumour - target).abs()).mean()
    difference = torch.relu(2 - mean((with_tumour - free).abs(), region)) - 2
    return weighted + 0.01 * (difference + mean((free - target).abs(), away))


def diffusion(rflow, with_controlnet, with_contrast=False):
    family = "rflow" if rflow else "ddpm"
    unet = fill(DiffusionModelUNetMaisi(**backbone(rflow), out_channels=4, include_top_region_index_input=not rflow,
                                        include_bottom_region_index_input=not rflow, include_spacing_input=True), 1234)
    inputs = {name[3:]: value for name, value in fixture(f"unet_{family}").items() if name.startswith("in.")}
    x0, time = inputs["x"], torch.tensor([TIME])
    noise = randn(NOISE_SEED, x0.shape)
    if rflow:
        noisy, target = RFlowScheduler().add_noise(x0, noise, time), x0 - noise
    else:
        scheduler = DDPMScheduler(num_train_timesteps=1000, schedule="scaled_linear_beta", beta_start=0.0015,
                                  beta_end=0.0195, clip_sample=False)
        noisy, target = scheduler.add_noise(x0, noise, time), noise
    inputs.update(x=noisy, timesteps=time)
    learner = unet
    if with_controlnet:
        unet.requires_grad_(False)
        learner = fill(ControlNetMaisi(**backbone(rflow), conditioning_embedding_in_channels=8,
                                       conditioning_embedding_num_channels=[8, 16, 32]), 777)
        label = fixture(f"controlnet_{family}")["in.label"]
        classes = {"class_labels": inputs["class_labels"]} if rflow else {}

        def guided(label):
            down, mid = learner(x=noisy, timesteps=time, controlnet_cond=planes(label), **classes)
            return unet(**inputs, down_block_additional_residuals=down, mid_block_additional_residual=mid)

    if with_contrast:
        free = without_tumour(label)
        loss = contrastive(guided(label), guided(free), target, label != free)
    else:
        predicted = guided(label) if with_controlnet else unet(**inputs)
        loss = torch.nn.functional.l1_loss(predicted, target)
    loss.backward()
    return {"loss": loss.item(), "gradient_norm": gradient_norm(learner)}


def vae():
    return fill(AutoencoderKlMaisi(
        spatial_dims=3, in_channels=1, out_channels=1, latent_channels=4, num_channels=[16, 32, 64],
        num_res_blocks=[2, 2, 2], norm_num_groups=8, norm_eps=1e-6, attention_levels=[False] * 3,
        with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False, norm_float16=False, num_splits=1,
        dim_split=1, save_mem=False), 1234)


def autoencoded(network, x):
    """The image, L1 and KL."""
    mean, sigma = network.encode(x)
    image = network.decode(mean + sigma * randn(POSTERIOR_SEED, mean.shape))
    l1 = torch.nn.functional.l1_loss(image, x)
    return image, l1, 0.5 * (mean**2 + sigma**2 - torch.log(sigma**2 + 1e-10) - 1).sum() / len(x)


def autoencoder():
    network = vae()
    _, l1, kl = autoencoded(network, fixture("autoencoder")["in.x"])
    (l1 + KL_WEIGHT * kl).backward()
    return {"l1": l1.item(), "kl": kl.item(), "gradient_norm": gradient_norm(network)}


@torch.no_grad()
def perceptual_loss():
    """Random weights in place of those that would be downloaded; every fifth slice in place of a random fifth."""
    from make_lpips import fill as fill_lpips

    perceptual.LPIPS = functools.partial(perceptual.LPIPS, pnet_rand=True)
    loss = perceptual.PerceptualLoss(3, "squeeze", is_fake_3d=True, fake_3d_ratio=0.2, pretrained=False)
    fill_lpips(loss.perceptual_function, 1234)
    return loss


def adversarial():
    network, features = vae(), perceptual_loss()
    discriminator = fill(PatchDiscriminator(spatial_dims=3, num_layers_d=3, channels=32, in_channels=1, out_channels=1,
                                            norm="INSTANCE"), DISCRIMINATOR_SEED)
    criterion = PatchAdversarialLoss(criterion="least_squares")
    x = 0.25 * randn(IMAGE_SEED, (2, 1, 24, 24, 28)) + 0.5
    image, l1, kl = autoencoded(network, x)
    torch.randperm = lambda count: torch.arange(count) * 5 % count
    perceived = features(image.float(), x.float())
    fooled = criterion(discriminator(image)[-1], target_is_real=True, for_discriminator=False)
    loss = l1 + KL_WEIGHT * kl + PERCEPTUAL_WEIGHT * perceived + ADVERSARIAL_WEIGHT * fooled
    loss.backward()
    discriminator.zero_grad()
    judged = 0.5 * (criterion(discriminator(image.detach())[-1], target_is_real=False, for_discriminator=True)
                    + criterion(discriminator(x)[-1], target_is_real=True, for_discriminator=True))
    judged.backward()
    return {"loss": loss.item(), "l1": l1.item(), "kl": kl.item(), "perceptual": perceived.item(),
            "adversarial": fooled.item(), "discriminator": judged.item(), "gradient_norm": gradient_norm(network),
            "discriminator_gradient_norm": gradient_norm(discriminator)}


def main():
    cases = {f"{part}_{family}": diffusion(family == "rflow", part == "controlnet")
             for part in ("unet", "controlnet") for family in ("ddpm", "rflow")}
    cases["contrast_rflow"] = diffusion(True, True, with_contrast=True)
    print(json.dumps({**cases, "autoencoder": autoencoder(), "adversarial": adversarial()}, indent=1))


if __name__ == "__main__":
    main()
