# SPDX-License-Identifier: Apache-2.0
"""Safetensors files of float32, written and read without anything but Python."""
import array
import json
import math
import struct
from pathlib import Path

TYPES = {"F32": "f", "F64": "d"}


def write(path, tensors, metadata=None):
    """tensors: name to (shape, values)."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (shape, values) in tensors.items():
        raw = array.array("f", values).tobytes()
        assert len(raw) == 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path):
    """Name to the flat values of every tensor of floating point."""
    raw = Path(path).read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + length])
    header.pop("__metadata__", None)
    result = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        result[name] = array.array(TYPES[entry["dtype"]], raw[8 + length + begin:8 + length + end]).tolist()
    return result
