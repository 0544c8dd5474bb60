# SPDX-License-Identifier: Apache-2.0
"""Times MONAI's MAISI networks, full size, random weights: python monai_networks.py WORK SIZE PRECISION REPEATS THREADS.

WORK is decode, encode or unet; PRECISION is fp32, or bf16 for autocast. Prints one line of JSON.
"""

import json
import resource
import statistics
import sys
import time

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi


def work_of(what, size):
    if what == "unet":
        network = DiffusionModelUNetMaisi(
            spatial_dims=3, in_channels=4, out_channels=4, num_channels=[64, 128, 256, 512], num_res_blocks=2,
            attention_levels=[False, False, True, True], num_head_channels=[0, 0, 32, 32], norm_num_groups=32,
            norm_eps=1e-6, include_fc=True, resblock_updown=True, include_spacing_input=True, num_class_embeds=128,
            use_flash_attention=False,
        ).eval()
        x = torch.randn(1, 4, size, size, size)
        t, label, spacing = torch.tensor([500.0]), torch.tensor([1]), torch.full((1, 3), 100.0)
        return lambda: network(x=x, timesteps=t, class_labels=label, spacing_tensor=spacing)
    network = AutoencoderKlMaisi(
        spatial_dims=3, in_channels=1, out_channels=1, latent_channels=4, num_channels=[64, 128, 256],
        num_res_blocks=[2, 2, 2], norm_num_groups=32, norm_eps=1e-6, attention_levels=[False, False, False],
        with_encoder_nonlocal_attn=False, with_decoder_nonlocal_attn=False, use_checkpointing=False,
        use_convtranspose=False, norm_float16=False, num_splits=4, dim_split=1,
    ).eval()
    if what == "decode":
        z = torch.randn(1, 4, size, size, size)
        return lambda: network.decode(z)
    x = torch.randn(1, 1, size, size, size)
    return lambda: network.encode(x)


def main():
    what, size, precision, repeats, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    torch.set_num_threads(threads)
    work = work_of(what, size)
    times = []
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        work()
        for _ in range(repeats):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"who": "monai", "work": what, "size": size, "precision": precision,
                      "seconds": statistics.median(times), "peak_bytes": peak, "threads": threads}))


if __name__ == "__main__":
    main()
