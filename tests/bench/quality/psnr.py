#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How near volumes came back from a VAE: psnr.py DECODED ORIGINAL, two folders with files of the same names.

Peak signal to noise ratio in dB of each, and their mean; the peak is the range of the original between its minimum and its 99.5th
percentile, where a model of percentiles cuts it.
"""

import argparse
import pathlib

import nibabel
import numpy


def voxels(file):
    return numpy.asarray(nibabel.load(file).dataobj, dtype=numpy.float64)


def psnr(decoded, original):
    low, high = numpy.percentile(original, [0, 99.5])
    error = decoded - numpy.clip(original, low, high)
    return 10 * numpy.log10((high - low) ** 2 / numpy.mean(error ** 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("decoded", type=pathlib.Path)
    parser.add_argument("original", type=pathlib.Path)
    arguments = parser.parse_args()
    values = []
    for file in sorted(arguments.decoded.glob("*.nii.gz")):
        values.append(psnr(voxels(file), voxels(arguments.original / file.name)))
        print(f"{file.name}: {values[-1]:.3f} dB")
    print(f"mean of {len(values)}: {numpy.mean(values):.3f} dB")


if __name__ == "__main__":
    main()
