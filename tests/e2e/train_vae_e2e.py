#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Autoencoders trained with adversarial and perceptual losses, of label maps, and one step of it by `medgen probe`."""
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path
from unittest import mock

import nifti
import tensors
import tool
from tool import Case

SIZE = (24, 24, 24)
VAE = {"spatial_dims": 3, "num_channels": [4, 8], "num_res_blocks": 1, "attention_levels": [False, False], "latent_channels": 2,
       "norm_num_groups": 2, "use_convtranspose": True}
MASK_VAE = {**VAE, "in_channels": 3, "out_channels": 3, "classes": [0, 2, 5]}
GAN = {"adversarial_weight": 0.1, "perceptual_weight": 0.3, "ema": 0.9}


def model(config, **data):
    return {"components": {"compressor": {"component": "maisi.autoencoder", "config": config}},
            "data": {"axes": "xyz", "intensity": {"kind": "none"}, **data}}


class VaeTraining(Case):
    def setUp(self):
        super().setUp()
        self.draw = random.Random(1)
        for name in ("a", "b"):
            count = math.prod(SIZE)
            nifti.write(self.folder / "data" / "images" / f"{name}.nii", SIZE,
                        [self.draw.uniform(0, 1) for _ in range(count)], "float32")
            labels = [(0, 2, 5)[i % SIZE[0] // 8] for i in range(count)]
            for kind in ("images", "labels"):
                nifti.write(self.folder / "maps" / kind / f"{name}.nii", SIZE, labels)

    def random_weights(self, component, path, config="{}"):
        """A file that the component takes."""
        (self.folder / "config.json").write_text(config)
        described = tool.run("probe", component, "--describe", "--json", "--config", self.folder / "config.json")
        self.assertEqual(described.returncode, 0, described.stderr)
        made = {}
        for entry in json.loads(described.stdout)["facts"]["weights"]:
            shape, count = entry["shape"], math.prod(entry["shape"])
            scale = 1 / math.sqrt(count / shape[0]) if len(shape) > 1 else 0.05
            made[entry["name"]] = (shape, [self.draw.gauss(0, scale) for _ in range(count)])
        tensors.write(path, made)

    def document(self, to, **train):
        if not (self.folder / "lpips.safetensors").exists():
            self.random_weights("maisi.lpips", self.folder / "lpips.safetensors")
        step = {"train": model(VAE), "component": "compressor", "data": "data", "iterations": 8, "learning_rate": 0.001,
                "checkpoint_every": 2, "log_every": 1, "options": GAN, "to": to,
                "perceptual": {"component": "maisi.lpips", "weights": "lpips.safetensors"}, **train}
        return {"medgen": 1, "seed": 3, "runtime": {"precision": "fp32"}, "steps": {"vae": step}}

    def weights(self, to):
        return (self.folder / to / "compressor.safetensors").read_bytes()

    def log(self, to):
        path = self.folder / to / "training" / "vae" / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def test_killed_and_resumed_ends_as_the_whole_run(self):
        self.run_pipeline(self.document("whole"))
        for key in ("l1", "kl", "perceptual", "adversarial", "discriminator", "loss"):
            self.assertIn(key, self.log("whole")[0])
        pipeline = self.write_pipeline(self.document("killed"), "killed.json")
        process = subprocess.Popen(tool.command("run", pipeline), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   env=tool.environment())
        deadline = time.monotonic() + 60
        while len(self.log("killed")) < 5 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        self.assertFalse((self.folder / "killed" / "compressor.safetensors").exists())
        # Going on with moments on disk, which lie in the folder of the program: that of the system may be in memory.
        with mock.patch.dict(os.environ, TMPDIR=str(Path(tool.MEDGEN).parent)):
            self.run_pipeline(self.document("killed", options={**GAN, "optimizer_state": "disk"}), name="killed.json")
        self.assertEqual(self.weights("killed"), self.weights("whole"))

    @unittest.skipUnless(Path("/dev/shm").is_dir(), "no folder in memory")
    def test_moments_on_a_disk_that_is_none_are_refused(self):
        pipeline = self.write_pipeline(self.document("out", options={**GAN, "optimizer_state": "disk"}))
        with mock.patch.dict(os.environ, TMPDIR="/dev/shm"):
            result = tool.run("plan", pipeline)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("'/dev/shm' is a file system in memory; set TMPDIR", result.stderr)
        self.assertFalse((self.folder / "out" / "compressor.safetensors").exists())

    def test_the_package_holds_the_autoencoder_alone(self):
        self.run_pipeline(self.document("out", iterations=1))
        self.assertFalse([name for name in tensors.read(self.folder / "out" / "compressor.safetensors")
                          if "discriminator" in name])
        self.assertNotIn(str(self.folder), (self.folder / "out" / "model.json").read_text())

    def test_checkpointed_activations_change_no_bit(self):
        self.run_pipeline(self.document("kept", iterations=2))
        self.run_pipeline(self.document("again", iterations=2, options={**GAN, "checkpoint_activations": True}))
        self.assertEqual(self.weights("kept"), self.weights("again"))

    def test_label_maps_are_learnt(self):
        options = {"kl_weight": 0}
        document = self.document("out", train=model(MASK_VAE, modality="labels", labels={"two": 2, "five": 5}), data="maps",
                                 options=options, iterations=40, learning_rate=0.01)
        document["steps"]["vae"].pop("perceptual")
        self.run_pipeline(document)
        losses = [line["cross_entropy"] for line in self.log("out")]
        self.assertLess(losses[-1], 0.8 * losses[0])
        checks = json.loads(tool.run("doctor", self.folder / "out", "--json").stdout)["checks"]
        self.assertEqual([check["status"] for check in checks if check["subject"] == "self-test"], ["ok"])

    def test_a_label_that_is_no_class_is_named(self):
        config = {**MASK_VAE, "classes": [0, 2, 4]}
        document = self.document("out", train=model(config, modality="labels"), data="maps", options={})
        document["steps"]["vae"].pop("perceptual")
        result = tool.run("run", self.write_pipeline(document))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("label 5", result.stderr)
        self.assertRegex(result.stderr, r"iteration 0 \(case [ab]\)")

    def test_what_does_not_fit_is_refused(self):
        missing = {"component": "maisi.lpips", "weights": "missing.safetensors"}
        nobody = {"component": "maisi.lpipz", "weights": "lpips.safetensors"}
        for text, change in (("missing.safetensors", {"perceptual": missing}), ("maisi.lpips", {"perceptual": nobody}),
                             ("adversarial_wait", {"options": {"adversarial_wait": 1}})):
            with self.subTest(text):
                result = tool.run("run", self.write_pipeline(self.document("out", **change)))
                self.assertEqual(result.returncode, 3, result.stderr)
                self.assertIn(text, result.stderr)
        document = self.document("out")
        document["steps"]["vae"].pop("perceptual")
        result = tool.run("run", self.write_pipeline(document))
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("no feature network", result.stderr)

    def test_the_example_is_valid(self):
        example = Path(__file__).parents[2] / "examples" / "pipelines" / "train-vae-gan.json"
        weights = self.folder / "features.safetensors"
        self.random_weights("maisi.lpips", weights, '{"network": "st_alex"}')
        settings = ["--set", f"steps.vae.data={self.folder / 'data'}", "--set", f"steps.vae.perceptual.weights={weights}"]
        result = tool.run("validate", example, *settings)
        self.assertEqual(result.returncode, 0, result.stderr)

    def probe(self, *arguments):
        config, weights = self.folder / "vae.json", self.folder / "vae.safetensors"
        config.write_text(json.dumps(VAE))
        if not weights.exists():
            self.random_weights("maisi.autoencoder", weights, json.dumps(VAE))
        tensors.write(self.folder / "x.safetensors",
                      {"x": ((1, 1, *SIZE), [math.sin(i) for i in range(math.prod(SIZE))]),
                       "noise": ((1, 2, 12, 12, 12), [math.cos(i) for i in range(2 * 12**3)])})
        return tool.run("probe", "maisi.autoencoder", "train", "--config", config, "--weights", weights, "--in",
                        self.folder / "x.safetensors", "--out", self.folder / "y.safetensors", *arguments)

    def test_probe_does_a_step(self):
        options = '{"adversarial_weight": 0.5, "kl_weight": 0.25}'
        result = self.probe("--params", options, "--gradients")
        self.assertEqual(result.returncode, 0, result.stderr)
        out = tensors.read(self.folder / "y.safetensors")
        scalar = {name: values[0] for name, values in out.items() if len(values) == 1}
        self.assertAlmostEqual(scalar["loss"], scalar["l1"] + 0.25 * scalar["kl"] + 0.5 * scalar["adversarial"], delta=1e-3)
        for prefix, norm in (("gradients/", "gradient_norm"), ("discriminator/gradients/", "gradient_norm/discriminator")):
            total = math.sqrt(sum(v * v for name, values in out.items() if name.startswith(prefix) for v in values))
            self.assertAlmostEqual(total / scalar[norm], 1, delta=1e-6)
        self.probe("--params", options, "--seed", "9")
        again = tensors.read(self.folder / "y.safetensors")
        self.assertNotIn("gradients/encoder.blocks.0.conv.conv.weight", again)
        self.assertEqual(again["l1"], out["l1"])  # the noise is given
        self.assertNotEqual(again["discriminator"], out["discriminator"])  # its weights are not

    def test_probe_takes_a_feature_network(self):
        self.random_weights("maisi.lpips", self.folder / "lpips.safetensors")
        peer = self.folder / "peer.json"
        peer.write_text('{"component": "maisi.lpips", "weights": "lpips.safetensors"}')
        result = self.probe("--params", '{"perceptual_weight": 1}', "--peer", f"perceptual={peer}")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("perceptual", tensors.read(self.folder / "y.safetensors"))

    def test_a_probe_of_training_that_cannot_be_done(self):
        peer = self.folder / "peer.json"
        peer.write_text('{"component": "maisi.lpips", "wieghts": "x"}')
        for code, text, arguments in ((2, "ROLE=FILE", ["--peer", "x.json"]), (3, "did you mean", ["--peer", f"a={peer}"]),
                                      (3, "adversarial", ["--params", '{"adversarial": 1}']),
                                      (3, "--params", ["--params", "[1"]),
                                      (4, "no.safetensors", ["--state", self.folder / "no.safetensors"])):
            with self.subTest(text):
                result = self.probe(*arguments)
                self.assertEqual(result.returncode, code, result.stderr)
                self.assertIn(text, result.stderr)
        self.assertFalse((self.folder / "y.safetensors").exists())
        result = tool.run("probe", "null.denoiser", "train", "--out", self.folder / "y.safetensors")
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("cannot be trained", result.stderr)
        result = tool.run("probe", "null.denoiser", "predict", "--gradients", "--out", self.folder / "y.safetensors")
        self.assertEqual(result.returncode, 2, result.stderr)


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
