# SPDX-License-Identifier: Apache-2.0
"""Times MONAI's MAISI networks, full size, random weights: python monai_networks.py WORK SIZE PRECISION REPEATS THREADS.

WORK is decode, encode, unet, generate (30 steps of the U-Net under its ControlNet, and the decoder), train-vae or train-unet (a step of
training with Adam); PRECISION is fp32, or bf16 for autocast. Prints one line of JSON.
"""

import json
import resource
import statistics
import sys
import time

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi


def make_unet():
    return DiffusionModelUNetMaisi(
        spatial_dims=3, in_channels=4, out_channels=4, num_channels=[64, 128, 256, 512], num_res_blocks=2,
        attention_levels=[False, False, True, True], num_head_channels=[0, 0, 32, 32], norm_num_groups=32, norm_eps=1e-6,
        include_fc=True, resblock_updown=True, include_spacing_input=True, num_class_embeds=128, use_flash_attention=False)


def make_autoencoder(splits):
    return AutoencoderKlMaisi(
        spatial_dims=3, in_channels=1, out_channels=1, latent_channels=4, num_channels=[64, 128, 256],
        num_res_blocks=[2, 2, 2], norm_num_groups=32, norm_eps=1e-6, attention_levels=[False, False, False],
        with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False, use_checkpointing=False,
        use_convtranspose=False, norm_float16=False, num_splits=splits, dim_split=1)


def make_controlnet():
    return ControlNetMaisi(
        spatial_dims=3, in_channels=4, num_channels=[64, 128, 256, 512], num_res_blocks=2,
        attention_levels=[False, False, True, True], num_head_channels=[0, 0, 32, 32], norm_num_groups=32, norm_eps=1e-6,
        include_fc=True, resblock_updown=True, num_class_embeds=128, use_flash_attention=False,
        conditioning_embedding_in_channels=8, conditioning_embedding_num_channels=[8, 32, 64])


def unet_inputs(size):
    return {"x": torch.randn(1, 4, size, size, size), "timesteps": torch.tensor([500.0]),
            "class_labels": torch.tensor([1]), "spacing_tensor": torch.full((1, 3), 100.0)}


def training_of(network, loss, precision):
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def training_of_unet(size, precision):
    network, inputs = make_unet(), unet_inputs(size)
    target = torch.randn_like(inputs["x"])
    return training_of(network, lambda: (network(**inputs).float() - target).abs().mean(), precision)


def training_of_vae(size, precision):
    network, x = make_autoencoder(1), torch.randn(1, 1, size, size, size)

    def loss():
        image, mean, sigma = network(x)
        variance = sigma.float().square()
        kl = 0.5 * (mean.float().square() + variance - (variance + 1e-10).log() - 1).sum()
        return (image.float() - x).abs().mean() + 1e-7 * kl

    return training_of(network, loss, precision)


def generation_of(size, steps=30):
    control, unet, autoencoder = make_controlnet().eval(), make_unet().eval(), make_autoencoder(4).eval()
    inputs = unet_inputs(size)
    condition = torch.ones(1, 8, 4 * size, 4 * size, 4 * size)

    def work():
        x = torch.randn(1, 4, size, size, size)
        for _ in range(steps):
            down, middle = control(x, inputs["timesteps"], condition, class_labels=inputs["class_labels"])
            velocity = unet(**{**inputs, "x": x}, down_block_additional_residuals=down, mid_block_additional_residual=middle)
            x = x + velocity.float() / steps
        autoencoder.decode(x)

    return work


def prediction_of(what, size, precision):
    if what == "generate":
        work = generation_of(size)
    elif what == "unet":
        network, inputs = make_unet().eval(), unet_inputs(size)
        work = lambda: network(**inputs)
    else:
        network = make_autoencoder(4).eval()
        channels, call = (4, network.decode) if what == "decode" else (1, network.encode)
        x = torch.randn(1, channels, size, size, size)
        work = lambda: call(x)

    def predict():
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            work()

    return predict


def work_of(what, size, precision):
    if what == "train-unet":
        return training_of_unet(size, precision)
    if what == "train-vae":
        return training_of_vae(size, precision)
    return prediction_of(what, size, precision)


def main():
    what, size, precision, repeats, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    torch.set_num_threads(threads)
    work = work_of(what, size, precision)
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"who": "monai", "work": what, "size": size, "precision": precision,
                      "seconds": statistics.median(times), "peak_bytes": peak, "threads": threads}))


if __name__ == "__main__":
    main()
