#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the checkpoints in this folder: python make.py. Needs torch (2.15), numpy, safetensors and MONAI (1.6.1), and Python
3.11, which stores members of enums by getattr.

The expected values stand in core/weights/*_test.cpp: they are written here by hand or by arange, not drawn.
"""

import argparse
import collections
import datetime
import io
import pathlib
import zipfile

import numpy
import safetensors.torch
import torch
from monai.data import MetaTensor

HERE = pathlib.Path(__file__).parent


def state_dict(prefix=""):
    return collections.OrderedDict(
        [
            (prefix + "conv.weight", torch.arange(6, dtype=torch.float32).reshape(2, 3) / 2),
            (prefix + "conv.bias", torch.tensor([-1.0, 1.0])),
            (prefix + "norm.count", torch.tensor(41)),
        ]
    )


def save(name, value, **options):
    torch.save(value, HERE / name, **options)


def save_legacy(name, value, **options):
    save(name, value, _use_new_zipfile_serialization=False, **options)


def nested():
    return {
        "epoch": 7,
        "loss": numpy.float64(0.25),
        "num_train_timesteps": 1000,
        "scale_factor": torch.tensor(1.5),
        "note": "best",
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(6)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}]},
        "unet_state_dict": state_dict(),
    }


def dtypes():
    names = "float16 bfloat16 float32 float64 int8 uint8 int16 int32 int64 uint16 uint32 uint64".split()
    tensors = {name: torch.tensor([1, 2, 100]).to(getattr(torch, name)) for name in names}
    return tensors | {"bool": torch.tensor([True, False, True])}


def views():
    base = torch.arange(24, dtype=torch.float32)
    cube = base.reshape(2, 3, 4)
    return {
        "base": base,
        "alias": base,
        "tail": base[20:],
        "transposed": cube.transpose(0, 2),
        "every_other": base[::2],
        "expanded": base[3:4].expand(5),
        "channels_last": torch.arange(16.0).reshape(1, 2, 2, 4).contiguous(memory_format=torch.channels_last),
        "nothing": torch.zeros(0, 4),
    }


def objects():
    return {
        "weight": torch.arange(4.0),
        "array": numpy.arange(6, dtype=numpy.float64).reshape(2, 3),
        "fortran": numpy.asfortranarray(numpy.arange(6, dtype=numpy.int16).reshape(2, 3)),
        "parameter": torch.nn.Parameter(torch.arange(3.0)),
        "arguments": argparse.Namespace(lr=1e-3),
        "path": pathlib.PurePosixPath("a/b"),
        "date": datetime.date(2020, 1, 2),
        "set": {1, 2},
        "frozen": frozenset([3]),
        "device": torch.device("cpu"),
        "dtype": torch.bfloat16,
        "size": torch.Size([1, 2]),
        "float32": numpy.float32(0.5),
        "int64": numpy.int64(-3),
        "flag": numpy.bool_(True),
        "huge": 1 << 80,
        "negative": -(1 << 40),
        "counts": collections.defaultdict(int, a=1),
        "bytes": b"\x00\xff",
        "complex": 1 + 2j,
        "nothing": None,
    }


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.arange(3.0))

    def forward(self, x):
        return self.weight * x


def rezip(source, target, method=zipfile.ZIP_STORED):
    """A copy of an archive, without the debug records that hold the paths of this machine."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(HERE / target, "w", method) as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry), method)


def main():
    torch.manual_seed(0)
    save("state_dict.pt", state_dict())
    save("protocol_1.pt", state_dict(), pickle_protocol=1)
    save("protocol_4.pt", nested(), pickle_protocol=4)
    save("protocol_5.pt", objects(), pickle_protocol=5)
    save_legacy("legacy.pt", state_dict())
    save_legacy("legacy_nested.pth", nested())
    save_legacy("legacy_protocol_1.pt", state_dict(), pickle_protocol=1)
    save_legacy("legacy_protocol_4.pt", views(), pickle_protocol=4)
    save("data_parallel.pt", state_dict("module."))
    save("compiled_parallel.pt", {"state_dict": state_dict("_orig_mod.module.")})
    save("lightning.ckpt", {"epoch": 3, "state_dict": state_dict("model."), "hyper_parameters": argparse.Namespace(a=1)})
    save("nested.pt", nested())
    save("metatensor_enums.pt", {"scale_factor": MetaTensor(torch.tensor(1.0389)), "unet_state_dict": state_dict()})
    save("ambiguous.pt", {"model": state_dict(), "ema": {"shadow": state_dict()}, "step": 5})
    save("dtypes.pt", dtypes())
    save("views.pt", views())
    save("objects.pt", objects())
    save("module.pt", Small())
    save("module_state.pt", torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).state_dict())
    save("complex.pt", {"weight": torch.arange(3.0), "spectrum": torch.ones(2, dtype=torch.complex64)})
    save("scalar.pt", {"epoch": 3, "loss": 0.5})
    torch.serialization.set_crc32_options(False)
    save("no_checksums.pt", state_dict())
    torch.serialization.set_crc32_options(True)
    rezip(HERE / "state_dict.pt", "deflated.pt", zipfile.ZIP_DEFLATED)
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(Small()), script)
    rezip(script, "script.pt")
    safetensors.torch.save_file(dtypes() | {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 2)},
                                HERE / "reference.safetensors", metadata={"scale_factor": "1.5", "note": "hello"})


if __name__ == "__main__":
    main()
