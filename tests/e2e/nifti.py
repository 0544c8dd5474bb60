# SPDX-License-Identifier: Apache-2.0
"""NIfTI-1 files for tests, written and read without any library."""
import gzip
import struct
from pathlib import Path

CODES = {"uint8": (2, "B"), "int16": (4, "h"), "int32": (8, "i"), "float32": (16, "f")}
IDENTITY = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))


def header(size, dtype="uint8", affine=IDENTITY, **changes):
    """The 352 bytes before the voxels; `changes` overwrite fields: dim, code, bits, offset, magic, slope."""
    code, letter = CODES[dtype]
    spacing = [sum(affine[r][c] ** 2 for r in range(3)) ** 0.5 for c in range(3)]
    data = bytearray(352)
    struct.pack_into("<i", data, 0, changes.get("header_size", 348))
    struct.pack_into("<8h", data, 40, *changes.get("dim", (3, *size, 1, 1, 1, 1)))
    struct.pack_into("<hh", data, 70, changes.get("code", code), changes.get("bits", 8 * struct.calcsize(letter)))
    struct.pack_into("<8f", data, 76, 1, *spacing, 1, 1, 1, 1)
    struct.pack_into("<3f", data, 108, changes.get("offset", 352), changes.get("slope", 1), 0)
    data[123] = 2  # millimetres
    struct.pack_into("<hh", data, 252, 0, changes.get("sform", 1))
    struct.pack_into("<12f", data, 280, *(value for row in affine for value in row))
    data[344:348] = changes.get("magic", b"n+1\0")
    return bytes(data)


def write(path, size, values, dtype="uint8", affine=IDENTITY, **changes):
    """Voxels with x fastest."""
    data = header(size, dtype, affine, **changes) + struct.pack(f"<{len(values)}{CODES[dtype][1]}", *values)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(gzip.compress(data, 1) if str(path).endswith(".gz") else data)


class Volume:
    def __init__(self, path):
        data = Path(path).read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        assert struct.unpack_from("<i", data, 0)[0] == 348, f"{path}: no NIfTI-1 header"
        dim = struct.unpack_from("<8h", data, 40)
        code = struct.unpack_from("<h", data, 70)[0]
        self.size = dim[1:4]
        self.dtype, letter = next((name, letter) for name, (c, letter) in CODES.items() if c == code)
        self.affine = [struct.unpack_from("<4f", data, 280 + 16 * row) for row in range(3)]
        count = self.size[0] * self.size[1] * self.size[2]
        offset = int(struct.unpack_from("<f", data, 108)[0])
        self.values = list(struct.unpack_from(f"<{count}{letter}", data, offset))
