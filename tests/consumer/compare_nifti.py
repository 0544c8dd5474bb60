#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: compare_nifti.py EXPECTED FOLDER: the only NIfTI volume under FOLDER has the voxels, type and affine of EXPECTED."""
import gzip
import struct
import sys
from pathlib import Path


def read(path):
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    shape = struct.unpack_from("<3h", data, 42)
    kind, slope, inter = *struct.unpack_from("<h", data, 70), *struct.unpack_from("<2f", data, 112)
    if slope not in (0.0, 1.0) or inter != 0.0 or kind != 4:
        sys.exit(f"{path}: type {kind}, scaled by {slope}, {inter}; plain int16 was expected")
    offset = int(struct.unpack_from("<f", data, 108)[0])
    count = shape[0] * shape[1] * shape[2]
    return shape, struct.unpack_from("<12f", data, 280), struct.unpack_from(f"<{count}h", data, offset)


def main():
    expected, folder = Path(sys.argv[1]), Path(sys.argv[2])
    found = sorted(folder.rglob("*.nii*"))
    if len(found) != 1:
        sys.exit(f"{folder} has {len(found)} volumes, one was expected: {found}")
    shape, affine, voxels = read(expected)
    got_shape, got_affine, got_voxels = read(found[0])
    if got_shape != shape or got_voxels != voxels:
        sys.exit(f"{found[0]}: shape or voxels differ")
    if max(abs(a - b) for a, b in zip(affine, got_affine)) > 1e-6:
        sys.exit(f"{found[0]}: affine {got_affine}, expected {affine}")
    print(f"{found[0]} is {expected.name} again")


if __name__ == "__main__":
    main()
