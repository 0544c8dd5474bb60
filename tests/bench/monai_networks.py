# SPDX-License-Identifier: Apache-2.0
"""Times MONAI's MAISI networks, full size: python monai_networks.py WORK SIZE PRECISION REPEATS THREADS [FOLDER].

WORK is decode, encode, unet, generate (30 steps of the U-Net under its ControlNet, and the decoder), train-vae or train-unet (a step of
training with Adam); PRECISION is fp32, or bf16 for autocast. FOLDER has what bench_networks left: the weights, and what it took and gave,
to which the result is compared. Without it all is random. Prints one line of JSON.
"""

import json
import pathlib
import resource
import statistics
import sys
import time

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi


FOLDER = None


def tensors_of(name):
    """Of a file of float32 tensors, one after the other: all at once would be the process's peak."""
    with open(FOLDER / f"{name}.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        header.pop("__metadata__", None)
        begin = file.tell()
        for key, about in header.items():
            first, end = about["data_offsets"]
            file.seek(begin + first)
            yield key, torch.frombuffer(bytearray(file.read(end - first)), dtype=torch.float32).reshape(about["shape"])


def with_weights(name, network):
    if FOLDER is None:
        return network
    state = network.state_dict()
    for key, value in tensors_of(name):
        state.pop(key).copy_(value)
    if state:
        raise SystemExit(f"{name}: no weights for {sorted(state)}")
    return network


def input_of(*shape):
    return torch.randn(*shape) if FOLDER is None else dict(tensors_of("result"))["x"]


def make_unet():
    return with_weights("unet", DiffusionModelUNetMaisi(
        spatial_dims=3, in_channels=4, out_channels=4, num_channels=[64, 128, 256, 512], num_res_blocks=2,
        attention_levels=[False, False, True, True], num_head_channels=[0, 0, 32, 32], norm_num_groups=32, norm_eps=1e-6,
        include_fc=True, resblock_updown=True, include_spacing_input=True, num_class_embeds=128, use_flash_attention=False))


def make_autoencoder(splits):
    return with_weights("autoencoder", AutoencoderKlMaisi(
        spatial_dims=3, in_channels=1, out_channels=1, latent_channels=4, num_channels=[64, 128, 256],
        num_res_blocks=[2, 2, 2], norm_num_groups=32, norm_eps=1e-6, attention_levels=[False, False, False],
        with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False, use_checkpointing=False,
        use_convtranspose=False, norm_float16=False, num_splits=splits, dim_split=1))


def make_controlnet():
    return with_weights("controlnet", ControlNetMaisi(
        spatial_dims=3, in_channels=4, num_channels=[64, 128, 256, 512], num_res_blocks=2,
        attention_levels=[False, False, True, True], num_head_channels=[0, 0, 32, 32], norm_num_groups=32, norm_eps=1e-6,
        include_fc=True, resblock_updown=True, num_class_embeds=128, use_flash_attention=False,
        conditioning_embedding_in_channels=8, conditioning_embedding_num_channels=[8, 32, 64]))


def unet_inputs(x):
    return {"x": x, "timesteps": torch.tensor([500.0]),
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
    network, inputs = make_unet(), unet_inputs(torch.randn(1, 4, size, size, size))
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
    inputs = unet_inputs(input_of(1, 4, size, size, size))
    condition = torch.ones(1, 8, 4 * size, 4 * size, 4 * size)

    def work():
        x = inputs["x"]
        for _ in range(steps):
            down, middle = control(x, inputs["timesteps"], condition, class_labels=inputs["class_labels"])
            velocity = unet(**{**inputs, "x": x}, down_block_additional_residuals=down, mid_block_additional_residual=middle)
            x = x + velocity.float() / steps
        return autoencoder.decode(x)

    return work


def prediction_of(what, size, precision):
    if what == "generate":
        work = generation_of(size)
    elif what == "unet":
        network, inputs = make_unet().eval(), unet_inputs(input_of(1, 4, size, size, size))
        work = lambda: network(**inputs)
    else:
        network = make_autoencoder(4).eval()
        channels, call = (4, network.decode) if what == "decode" else (1, lambda x: network.encode(x)[0])
        x = input_of(1, channels, size, size, size)
        work = lambda: call(x)

    def predict():
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            return work()

    return predict


def work_of(what, size, precision):
    if what == "train-unet":
        return training_of_unet(size, precision)
    if what == "train-vae":
        return training_of_vae(size, precision)
    return prediction_of(what, size, precision)


def difference(result):
    """Of both results, relative L2."""
    ours = dict(tensors_of("result"))["y"].double()
    return ((result.double() - ours).norm() / ours.norm()).item()


def main():
    global FOLDER
    if len(sys.argv) > 6:
        FOLDER = pathlib.Path(sys.argv[6])
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
    compares = FOLDER is not None and not what.startswith("train")
    print(json.dumps({"who": "monai", "work": what, "size": size, "precision": precision,
                      "seconds": statistics.median(times), "peak_bytes": peak, "threads": threads,
                      "difference": difference(work()) if compares else None}))


if __name__ == "__main__":
    main()
