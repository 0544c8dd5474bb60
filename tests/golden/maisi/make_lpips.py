#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what the published perceptual networks compute: make_lpips.py > lpips.json.

Needs torch, torchvision and the packages lpips 0.1.4 and stlpips-pytorch 0.0.2. Weights follow the fixtures' rule
(README.md) over the state dict without its constants ("scaling_layer") and second heads ("lins"); the images are
torch.randn from the seeds below.
"""
import json
import math
import sys
import types

import torch

for absent in ("IPython", "torchsummary"):  # stlpips asks for them and does not use them
    sys.modules.setdefault(absent, types.SimpleNamespace(embed=None, summary=None))
import lpips
from stlpips_pytorch import stlpips

SEEDS = {"x": 20, "y": 21}
SHAPES = {"grey": (2, 1, 33, 40), "colour": (1, 3, 24, 21)}


def randn(seed, shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def fill(network, seed):
    state = {k: v for k, v in network.state_dict().items() if not k.startswith(("scaling_layer", "lins"))}
    for index, (name, value) in enumerate(state.items()):
        noise = randn(seed + index, value.shape)
        if value.dim() >= 2:
            value.copy_(noise / math.sqrt(value[0].numel()))
        else:
            value.copy_(noise * 0.05 + (1.0 if name.endswith(".weight") else 0.0))
    return network.eval()


def recorded(network, shape):
    x, y = (randn(SEEDS[name], shape) for name in "xy")
    x.requires_grad_(True)
    distance = network(x, y).flatten()
    distance.mean().backward()
    return {"distance": distance.tolist(), "gradient_norm": x.grad.double().norm().item()}


def main():
    networks = {"squeeze": lpips.LPIPS(net="squeeze", pretrained=False, pnet_rand=True, verbose=False),
                "st_alex": stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)}
    print(json.dumps({name: {kind: recorded(fill(network, 1234), shape) for kind, shape in SHAPES.items()}
                      for name, network in networks.items()}, indent=1))


if __name__ == "__main__":
    main()
