# SPDX-License-Identifier: Apache-2.0
"""Which cases a model of medgen has never seen, and all of them cut as it was trained."""

import json
import pathlib

import nibabel
import numpy


def provenance(model):
    """Of the training step that made the denoiser of a model package."""
    steps = json.loads(pathlib.Path(model, "model.json").read_text())["provenance"].values()
    found = [step for step in steps if step.get("component") == "denoiser" and step.get("held_out")]
    if not found:
        raise SystemExit(f"'{model}' does not tell which cases were held out: train it with \"validation\"")
    return found[-1]


def held_out(model):
    parts = provenance(model)["held_out"]
    return {*parts["validation"], *parts["test"]}


def size(model):
    return provenance(model)["crop"]


def name(file):
    return file.name.split(".")[0]


def files(folder, kind):
    found = sorted(pathlib.Path(folder, kind).glob("*.nii*"))
    if not found:
        raise SystemExit(f"no NIfTI files in '{folder}/{kind}'")
    return found


def middle(shape, to):
    """Where a part of size `to` begins; before the array's own beginning where it is to be padded."""
    return [(n - s) // 2 if n >= s else -((s - n) // 2) for s, n in zip(to, shape)]


def fitted(array, to, corner=None):
    """The middle of an array, or the part from `corner` on; what is missing is padded with the edge."""
    short = [max(0, s - n) for s, n in zip(to, array.shape)]
    array = numpy.pad(array, [(p // 2, p - p // 2) for p in short], mode="edge")
    return array[tuple(slice(c, c + s) for c, s in zip(corner or middle(array.shape, to), to))]


def cut(file, to):
    """The middle of a volume, where it lies."""
    volume = nibabel.load(file)
    values = numpy.asarray(volume.dataobj)
    affine = volume.affine.copy()
    affine[:3, 3] = (affine @ [*middle(values.shape, to), 1])[:3]
    return nibabel.Nifti1Image(fitted(values, to), affine)
