#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Are generated images good to learn from? segment.py TEST REAL [GENERATED] [--real N] [--iterations N] [--seeds N].

A 3D U-Net (MONAI's, 16 to 128 channels, Dice + cross-entropy) learns labels from the first N cases of REAL, and of
GENERATED where that is given, half of every batch from each; printed is its Dice on TEST for every label, the mean over seeds. All three are
folders with images/ and labels/ of the same size. Needs monai==1.6.1.
"""

import argparse
import pathlib
import statistics

import nibabel
import numpy
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet


def load(folder, limit=None):
    cases = []
    for file in sorted(pathlib.Path(folder, "images").glob("*.nii*"))[:limit]:
        image = numpy.asarray(nibabel.load(file).dataobj, dtype=numpy.float32)
        label = numpy.asarray(nibabel.load(pathlib.Path(folder, "labels", file.name)).dataobj)
        image = (image - image.mean()) / (image.std() + 1e-6)
        cases.append((torch.tensor(image)[None], torch.tensor(label.astype(numpy.int64))[None]))
    if not cases:
        raise SystemExit(f"segment: no cases in '{folder}'")
    return cases


def batch_of(sources, draw, size=4):
    picked = [source[int(draw.integers(len(source)))] for source in sources for _ in range(size // len(sources))]
    images = torch.stack([image for image, _ in picked])
    labels = torch.stack([label for _, label in picked])
    gain, shift = draw.uniform(0.8, 1.2), draw.uniform(-0.2, 0.2)
    axes = [axis for axis in (2, 3, 4) if draw.random() < 0.5]
    return (images.flip(axes) if axes else images) * gain + shift, labels.flip(axes) if axes else labels


def learn(sources, classes, iterations, seed):
    torch.manual_seed(seed)
    draw = numpy.random.default_rng(seed)
    network = UNet(3, 1, classes, channels=(16, 32, 64, 128), strides=(2, 2, 2), num_res_units=1)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for _ in range(iterations):
        images, labels = batch_of(sources, draw)
        optimizer.zero_grad()
        loss(network(images), labels).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def dice(network, cases, classes):
    """Mean over cases, for each label but the background."""
    scores = []
    with torch.inference_mode():
        for image, label in cases:
            predicted = network(image[None]).argmax(1)[0]
            score = [2 * ((predicted == c) & (label[0] == c)).sum() / ((predicted == c).sum() + (label[0] == c).sum())
                     for c in range(1, classes)]
            scores.append([float(s) for s in score])
    return numpy.mean(scores, axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test")
    parser.add_argument("real")
    parser.add_argument("generated", nargs="?")
    parser.add_argument("--real", dest="count", type=int, default=10, metavar="N")
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    test = load(arguments.test)
    sources = [load(arguments.real, arguments.count)] + ([load(arguments.generated)] if arguments.generated else [])
    classes = 1 + max(int(label.max()) for _, label in test)
    runs = [dice(learn(sources, classes, arguments.iterations, seed), test, classes) for seed in range(arguments.seeds)]
    means = [float(run.mean()) for run in runs]
    each = "  ".join(f"label {c + 1}: {numpy.mean([run[c] for run in runs]):.4f}" for c in range(classes - 1))
    spread = statistics.stdev(means) if len(means) > 1 else 0.0
    print(f"Dice {statistics.mean(means):.4f} +- {spread:.4f} over {len(means)} seeds  {each}")


if __name__ == "__main__":
    main()
