#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cuts a data folder as a model was trained on it: cut.py DATA MODEL OUT.

DATA has images/ and labels/. OUT/held-out gets the cases that MODEL has never seen, OUT/training the others, each the
middle of the volume in the size of MODEL's crops.
"""

import pathlib
import sys

import cases
import nibabel


def main():
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    data, model, out = sys.argv[1:]
    held_out, size = cases.held_out(model), cases.size(model)
    for kind in ("images", "labels"):
        for file in cases.files(data, kind):
            folder = pathlib.Path(out, "held-out" if cases.name(file) in held_out else "training", kind)
            folder.mkdir(parents=True, exist_ok=True)
            nibabel.save(cases.cut(file, size), folder / file.name)
    print(f"{out}: {len(held_out)} cases held out")


if __name__ == "__main__":
    main()
