#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters as peft writes them, imported for a small U-Net: what is generated, and what is refused."""
import json
import math
import random
import sys
import unittest

import nifti
import tensors
import tool

UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 1, "num_channels": [4, 8], "num_res_blocks": 1,
        "attention_levels": [False, True], "num_head_channels": 4, "norm_num_groups": 2}
MODEL = {"medgen_model": 1, "components": {
    "denoiser": {"component": "maisi.unet", "config": UNET, "weights": "denoiser.safetensors"},
    "scheduler": {"component": "scheduler.rflow", "config": {"use_discrete_timesteps": False}}},
    "data": {"output": "float32"}}
RANK, ALPHA = 2, 3


def product(b, a, columns):
    """B (rows, RANK) times A (RANK, columns), flat."""
    rows = len(b) // RANK
    return [sum(b[i * RANK + r] * a[r * columns + j] for r in range(RANK)) for i in range(rows) for j in range(columns)]


class Adapters(tool.Case):
    def setUp(self):
        super().setUp()
        draw = random.Random(1)
        (self.folder / "unet.json").write_text(json.dumps(UNET))
        facts = tool.run("probe", "maisi.unet", "--describe", "--config", self.folder / "unet.json", "--json")
        self.assertEqual(facts.returncode, 0, facts.stderr)
        self.weights = {weight["name"]: (weight["shape"], [draw.uniform(-0.3, 0.3) for _ in range(math.prod(weight["shape"]))])
                        for weight in json.loads(facts.stdout)["facts"]["weights"]}
        self.package("base", self.weights)
        self.layers = [name[:-len(".weight")] for name, (shape, _) in self.weights.items()
                       if name.endswith(".weight") and ("to_q" in name or "to_v" in name or len(shape) == 5)]
        self.halves = {}
        for layer in self.layers:
            out, *rest = self.weights[layer + ".weight"][0]
            down, up = [RANK, *rest], [out, RANK, *[1] * (len(rest) - 1)]
            for half, shape in (("A", down), ("B", up)):
                values = [draw.uniform(-0.2, 0.2) for _ in range(math.prod(shape))]
                self.halves[f"base_model.model.{layer}.lora_{half}.weight"] = (shape, values)
        self.config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", "modules_to_save": None}

    def package(self, name, weights):
        (self.folder / name).mkdir()
        tensors.write(self.folder / name / "denoiser.safetensors", weights)
        (self.folder / name / "model.json").write_text(json.dumps(MODEL))

    def bring(self, *arguments, to="adapter", config=True):
        """`medgen import` of the adapter in its present state."""
        folder = self.folder / "peft"
        folder.mkdir(exist_ok=True)
        tensors.write(folder / "adapter_model.safetensors", self.halves)
        (folder / "adapter_config.json").unlink(missing_ok=True)
        if config:
            (folder / "adapter_config.json").write_text(json.dumps(self.config))
        return tool.run("import", self.folder / "base", f"denoiser={folder / 'adapter_model.safetensors'}", *arguments,
                        "--to", self.folder / to)

    def generated(self, to, model, **keys):
        make = {"generate": model, "size": [8, 8, 8], "spacing_mm": [1, 1, 1], "steps": 2, **keys}
        self.run_pipeline({"medgen": 1, "seed": 5, "runtime": {"precision": "fp32"},
                           "steps": {"ct": make, "save": {"write": "@ct", "to": to}}})
        return nifti.Volume(next((self.folder / to).glob("images/*.nii.gz"))).values

    def refused(self, code, text, result):
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(text, result.stderr)
        self.assertFalse((self.folder / "adapter").exists())

    def test_what_is_generated_is_that_of_the_merged_weights(self):
        report = self.bring("--json")
        self.assertEqual(report.returncode, 0, report.stderr)
        self.assertIn(f"rank {RANK} for {len(self.layers)} layers", json.loads(report.stdout)["report"])
        looked = tool.run("doctor", self.folder / "adapter", "--json")
        self.assertEqual(looked.returncode, 0, looked.stdout)
        told = {check["subject"]: check["text"] for check in json.loads(looked.stdout)["checks"]}
        self.assertIn(f"denoiser, rank {RANK}, for weights of", told["adapter"])
        merged = dict(self.weights)
        for layer in self.layers:
            shape, values = self.weights[layer + ".weight"]
            a, b = (self.halves[f"base_model.model.{layer}.lora_{half}.weight"][1] for half in "AB")
            change = product(b, a, len(values) // shape[0])
            merged[layer + ".weight"] = (shape, [w + ALPHA / RANK * d for w, d in zip(values, change)])
        self.package("merged", merged)
        adapted = self.generated("adapted", "base", adapters=["adapter"])
        expected = self.generated("expected", "merged")
        plain = self.generated("plain", "base")
        scale = max(map(abs, expected))
        self.assertLess(max(abs(x - y) for x, y in zip(adapted, expected)), 1e-5 * scale)
        self.assertGreater(max(abs(x - y) for x, y in zip(adapted, plain)), 1e-2 * scale)

    def test_alpha_is_told_once(self):
        self.refused(3, "give it with --alpha", self.bring(config=False))
        self.refused(3, "leave --alpha out", self.bring("--alpha", 5))
        self.refused(2, "--alpha", self.bring("--alpha", -1))
        result = self.bring("--alpha", 5, config=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads((self.folder / "adapter" / "adapter.json").read_text())["alpha"], 5)

    def test_an_adapter_that_was_changed_is_found(self):
        self.assertEqual(self.bring().returncode, 0)
        description = self.folder / "adapter" / "adapter.json"
        told = json.loads(description.read_text())
        description.write_text(json.dumps({**told, "sha256": "0" * 64}))
        looked = tool.run("doctor", self.folder / "adapter")
        self.assertEqual(looked.returncode, 1, looked.stdout)
        self.assertIn("is not the file that adapter.json describes", looked.stdout)

    def test_layers_and_shapes_that_the_model_does_not_have(self):
        name = f"base_model.model.{self.layers[0]}.lora_B.weight"
        shape, values = self.halves[name]
        self.halves[name] = ([shape[0] + 1, *shape[1:]], values + values[:math.prod(shape[1:])])
        self.refused(4, f"{self.layers[0]}.lora_B  needs F32", self.bring())
        self.halves[name] = (shape, values)
        self.halves["base_model.model.middle.lora_A.weight"] = ([RANK, 4], [0.0] * 4 * RANK)
        self.refused(4, "1 unexpected in the file:\n  middle.lora_A", self.bring())

    def test_what_is_for_whole_models_alone(self):
        self.refused(2, "--latent-scale", self.bring("--latent-scale", 2))
        self.refused(2, "--config", self.bring("--config", f"denoiser={self.folder / 'unet.json'}"))
        self.refused(2, "one adapter at a time", self.bring("compressor=other.safetensors"))
        result = tool.run("import", "maisi.rflow-ct", "denoiser=x.pt", "--alpha", 2, "--to", self.folder / "adapter")
        self.refused(2, "--alpha is for adapters", result)


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
