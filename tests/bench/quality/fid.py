#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""2.5D Frechet and kernel distance (FID, KID) between two folders of NIfTI volumes: fid.py GENERATED REAL [--blur SIGMA]
[--enlarge N] [--count N].

As MAISI's script computes it, with ImageNet features of EfficientNet-Lite0 in place of RadImageNet's: every slice of three
planes, scaled to 0..1 over the volume, enlarged (twice, so that small volumes leave the network more than one pixel), grey
repeated to three channels minus 0.406, 0.456, 0.485; features averaged over the slice; the distance of each plane in
double, and the mean of the three. KID (Binkowski et al. 2018): the unbiased squared MMD with the kernel (x.y/d + 1)^3 over all
slices. --blur smooths GENERATED first, for a yardstick.
"""

import argparse
import pathlib

import network
import nibabel
import numpy
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

MEANS = torch.tensor([0.406, 0.456, 0.485]).view(1, 3, 1, 1)


def volumes(folder, blur, count):
    files = sorted(pathlib.Path(folder).glob("*.nii*"))
    if not files:
        raise SystemExit(f"fid: no NIfTI files in '{folder}'")
    files = [files[i * len(files) // count] for i in range(min(count, len(files)))] if count else files
    for file in files:
        values = numpy.asarray(nibabel.load(file).dataobj, dtype=numpy.float32)
        yield gaussian_filter(values, blur) if blur else values


def features(net, volume, enlarge):
    """One array (slices, 1280) for each plane."""
    v = torch.tensor(volume)
    v = (v - v.min()) / (v.max() - v.min() + 1e-10)
    for axis in (2, 0, 1):
        slices = v.movedim(axis, 0)[:, None]
        if enlarge > 1:
            slices = F.interpolate(slices, scale_factor=enlarge, mode="bilinear", align_corners=False)
        with torch.inference_mode():
            yield net.features(slices.expand(-1, 3, -1, -1) - MEANS).double().numpy()


def planes_of(net, folder, enlarge, blur=0.0, count=0):
    """All slices' features, for each plane."""
    each = (list(features(net, v, enlarge)) for v in volumes(folder, blur, count))
    return [numpy.concatenate(plane) for plane in zip(*each)]


def statistics(plane):
    return plane.mean(0), numpy.cov(plane, rowvar=False)


def kernel_distance(x, y):
    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def without_itself(a):
        k = kernel(a, a)
        return (k.sum() - numpy.trace(k)) / (len(a) * (len(a) - 1))

    return float(without_itself(x) + without_itself(y) - 2 * kernel(x, y).mean())


def root(matrix):
    values, vectors = numpy.linalg.eigh(matrix)
    return (vectors * numpy.sqrt(numpy.maximum(values, 0))) @ vectors.T


def distance(a, b):
    half = root(a[1])
    cross = numpy.sqrt(numpy.maximum(numpy.linalg.eigvalsh(half @ b[1] @ half), 0)).sum()
    return float(((a[0] - b[0]) ** 2).sum() + numpy.trace(a[1]) + numpy.trace(b[1]) - 2 * cross)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generated")
    parser.add_argument("real")
    parser.add_argument("--blur", type=float, default=0.0, metavar="SIGMA", help="voxels")
    parser.add_argument("--enlarge", type=int, default=2, metavar="N", help="of slices, 1: as they are")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="of GENERATED, evenly picked; 0: all")
    arguments = parser.parse_args()
    net = network.load()
    generated = planes_of(net, arguments.generated, arguments.enlarge, arguments.blur, arguments.count)
    real = planes_of(net, arguments.real, arguments.enlarge)
    for name, each in (("FID", [distance(statistics(a), statistics(b)) for a, b in zip(generated, real)]),
                       ("KID", [kernel_distance(a, b) for a, b in zip(generated, real)])):
        print("{}  axial {:.4g}  sagittal {:.4g}  coronal {:.4g}  mean {:.4g}".format(name, *each, sum(each) / 3))


if __name__ == "__main__":
    main()
