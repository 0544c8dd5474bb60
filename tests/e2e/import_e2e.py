#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An import step: run again it keeps its package, and nothing else is taken for it."""
import json
import math
import random
import sys
import unittest

import tensors
import tool

UNET = {"num_channels": [4, 8], "num_res_blocks": 1, "attention_levels": [False, True], "num_head_channels": 4,
        "norm_num_groups": 2}


class Imports(tool.Case):
    def setUp(self):
        super().setUp()
        self.write_weights(1)
        self.document = {"medgen": 1, "steps": {"model": {
            "import": {"denoiser": "unet.safetensors"}, "method": "maisi.rflow-ct", "config": {"denoiser": UNET}, "to": "m"}}}

    def write_weights(self, seed):
        method = json.loads(tool.run("describe", "maisi.rflow-ct", "--json").stdout)
        config = {**method["method"]["components"]["denoiser"]["config"], **UNET}
        (self.folder / "unet.json").write_text(json.dumps(config))
        facts = tool.run("probe", "maisi.unet", "--describe", "--config", self.folder / "unet.json", "--json")
        self.assertEqual(facts.returncode, 0, facts.stderr)
        draw = random.Random(seed)
        tensors.write(self.folder / "unet.safetensors", {
            weight["name"]: (weight["shape"], [draw.uniform(-0.3, 0.3) for _ in range(math.prod(weight["shape"]))])
            for weight in json.loads(facts.stdout)["facts"]["weights"]})

    def refused(self, command):
        result = tool.run(command, self.write_pipeline(self.document))
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("already holds a model package", result.stderr)

    def test_run_again_it_keeps_its_package(self):
        self.run_pipeline(self.document)
        package = self.folder / "m"
        times = {path.name: path.stat().st_mtime_ns for path in package.iterdir()}
        self.assertEqual(tool.run("plan", self.write_pipeline(self.document)).returncode, 0)
        self.assertIn("before", self.run_pipeline(self.document).stderr)
        self.assertEqual({path.name: path.stat().st_mtime_ns for path in package.iterdir()}, times)

    def test_other_weights_or_options_are_another_package(self):
        self.run_pipeline(self.document)
        kept = (self.folder / "m/denoiser.safetensors").read_bytes()
        self.write_weights(2)
        for command in ("plan", "run"):
            self.refused(command)
        self.write_weights(1)
        self.document["steps"]["model"]["latent_scale"] = 2
        self.refused("run")
        self.assertEqual((self.folder / "m/denoiser.safetensors").read_bytes(), kept)

    def test_a_damaged_description_is_no_package_of_ours(self):
        (self.folder / "m").mkdir()
        for text in ("", "[]", '{"provenance": 3}', '{"provenance": {"import": {"request": 1}}}'):
            with self.subTest(text):
                (self.folder / "m/model.json").write_text(text)
                self.refused("run")


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
