# SPDX-License-Identifier: Apache-2.0
"""Runs the built medgen with the null plugin, in a folder of its own."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

MEDGEN = ""
PLUGINS = ""


def command(*arguments):
    return [MEDGEN, *map(str, arguments), "--plugin-dir", PLUGINS]


def environment():
    return {**os.environ, "NO_COLOR": "1", "MEDGEN_PLUGIN_PATH": ""}


def run(*arguments, timeout=120):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout, env=environment(),
                          errors="replace")


def model(denoiser=None, data=None, **components):
    """A model in line, of null components, that works on the volume itself."""
    parts = {name: {"component": f"null.{name}"} for name in ("denoiser", "scheduler", "propagator")}
    if denoiser:
        parts["denoiser"]["config"] = denoiser
    return {"components": {**parts, **components}, "data": {"output": "float32", **(data or {})}}


def pipeline(generate=None, write=None, **document):
    """Generates into "out"; `generate` and `write` overwrite keys of the two steps."""
    grid = {} if generate and "mask" in generate else {"size": [6, 5, 4], "spacing_mm": [1, 1, 2]}
    make = {"generate": model(), **grid, "steps": 3, **(generate or {})}
    if "timesteps" in make:
        make.pop("steps")
    save = {"write": "@ct", "to": "out", **(write or {})}
    return {"medgen": 1, "seed": 7, "runtime": {"precision": "fp32"}, **document, "steps": {"ct": make, "save": save}}


def contents(folder):
    """Bytes of every volume below a folder, by relative path."""
    folder = Path(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.nii.gz"))}


class Case(unittest.TestCase):
    """A test with a temporary folder."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="medgen-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def write_pipeline(self, document, name="p.json"):
        path = self.folder / name
        path.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
        return path

    def run_pipeline(self, document, *arguments, name="p.json"):
        """Runs it, and demands success."""
        result = run("run", self.write_pipeline(document, name), *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def manifest(self, folder="out"):
        return json.loads((self.folder / folder / "run.json").read_text())
