#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: check_frozen_plugin.py MEDGEN FOLDER: the plugin that was built from frozen headers is found in FOLDER, passes the
conformance checks, and computes."""
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

PLUGIN = "frozen_v1_0"


def write_safetensors(path, name, shape, values):
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * len(values)]}}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack(f"<{len(values)}f", *values))


def read_safetensors(path):
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = (entry["shape"], struct.unpack_from(f"<{(end - begin) // 4}f", data, 8 + size + begin))
    return tensors


def main():
    medgen, folder = sys.argv[1], Path(sys.argv[2])
    environment = {**os.environ, "MEDGEN_PLUGIN_PATH": str(folder)}

    def run(*arguments):
        print("medgen", *arguments, flush=True)
        return subprocess.run([medgen, *map(str, arguments)], env=environment, check=True, capture_output=True, text=True).stdout

    try:
        assert f'"{PLUGIN}"' in run("plugins", "--json"), "not listed"
        run("check-plugin", folder / f"{PLUGIN}.medgen-plugin.json")
        with tempfile.TemporaryDirectory() as work:
            given, result = Path(work) / "x.safetensors", Path(work) / "y.safetensors"
            values = [0.5 * i - 3 for i in range(12)]
            write_safetensors(given, "x", [1, 1, 3, 2, 2], values)
            run("probe", f"{PLUGIN}.negative", "encode", "--in", given, "--out", result)
            expected = {"mean": ([1, 1, 3, 2, 2], tuple(-value for value in values))}
            assert read_safetensors(result) == expected, read_safetensors(result)
    except subprocess.CalledProcessError as error:
        sys.exit(f"exit code {error.returncode}\n{error.stdout}{error.stderr}")


if __name__ == "__main__":
    main()
