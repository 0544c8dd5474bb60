#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tissues of generated CTs beside those of the real ones: tissue.py LABELS GENERATED REAL.

Folders with files of the same names; the real CTs may be larger than the label maps, but have their axes and voxel size. Of each
label: mean and deviation in HU, both cut to -300..500, and the shares of fat, muscle and bone; means over the cases.
"""

import argparse
import pathlib

import nibabel
import numpy

TISSUES = {"fat": (-150, -40), "muscle": (0, 100), "bone": (150, 500.1)}


def on_grid(volume, grid):
    """The voxels of a larger volume that lie on those of the grid."""
    corner = numpy.linalg.solve(volume.affine, grid.affine)[:3, 3].round().astype(int)
    values = numpy.asarray(volume.dataobj, dtype=float)
    return values[tuple(slice(c, c + n) for c, n in zip(corner, grid.shape))].clip(-300, 500)


def row(values):
    shares = [((values >= low) & (values < high)).mean() for low, high in TISSUES.values()]
    return numpy.array([values.mean(), values.std(), *shares])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("labels", "generated", "real"):
        parser.add_argument(name, type=pathlib.Path)
    folders = parser.parse_args()
    rows = {}
    for file in sorted(folders.labels.glob("*.nii.gz")):
        label = nibabel.load(file)
        ids = numpy.asarray(label.dataobj)
        for kind in ("generated", "real"):
            ct = on_grid(nibabel.load(getattr(folders, kind) / file.name), label)
            for each in numpy.unique(ids[ids > 0]):
                rows.setdefault((int(each), kind), []).append(row(ct[ids == each]))
    print("label  of         mean   sd  " + "  ".join(f"{name:>6}" for name in TISSUES))
    for (each, kind), found in sorted(rows.items()):
        mean = numpy.mean(found, axis=0)
        print(f"{each:<6} {kind:<10} {mean[0]:4.0f} {mean[1]:4.0f}  " + "  ".join(f"{share:6.2f}" for share in mean[2:]))


if __name__ == "__main__":
    main()
