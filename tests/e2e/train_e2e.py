#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small VAE and U-Net trained from a data folder: killed and resumed, other seeds, bad data."""
import json
import random
import signal
import subprocess
import sys
import time
import unittest

import nifti
import tool
from tool import Case

SIZE = (8, 12, 8)
SIZE_OF_SELF_TEST = (16, 16, 16)
VAE = {"spatial_dims": 3, "num_channels": [4, 8], "num_res_blocks": 1, "attention_levels": [False, False], "latent_channels": 2,
       "norm_num_groups": 2, "use_convtranspose": True}
UNET = {"spatial_dims": 3, "in_channels": 10, "out_channels": 2, "num_channels": [4, 8], "num_res_blocks": 1,
        "attention_levels": [False, True], "num_head_channels": 4, "norm_num_groups": 2}
LABELS = {"component": "maisi.labels",
          "config": {"encoding": "one_hot", "classes": [1], "unshuffle": 2, "output": "concat"}}
MODEL = {
    "components": {
        "compressor": {"component": "maisi.autoencoder", "config": VAE},
        "denoiser": {"component": "maisi.unet", "config": UNET},
        "scheduler": {"component": "scheduler.rflow", "config": {"use_discrete_timesteps": False}},
        "conditioners": {"labels": LABELS}},
    "data": {"axes": "xyz", "intensity": {"kind": "percentile", "clip": True}, "labels": {"thing": 1}}}


class Training(Case):
    def setUp(self):
        super().setUp()
        draw = random.Random(1)
        count = SIZE[0] * SIZE[1] * SIZE[2]
        for name in ("a", "b", "c"):
            nifti.write(self.folder / "data" / "images" / f"{name}.nii", SIZE,
                        [draw.uniform(0, 100) for _ in range(count)], "float32")
            nifti.write(self.folder / "data" / "labels" / f"{name}.nii", SIZE, [draw.randint(0, 1) for _ in range(count)])

    def document(self, to, seed=3, **unet):
        common = {"data": "data", "batch": 2, "learning_rate": 0.01, "checkpoint_every": 5, "log_every": 1}
        return {"medgen": 1, "seed": seed, "runtime": {"precision": "fp32"}, "steps": {
            "vae": {"train": MODEL, "component": "compressor", "crop": [8, 8, 8], "iterations": 4, "to": f"{to}/vae",
                    **common},
            "unet": {"train": "@vae", "component": "denoiser", "iterations": 60, "options": {"ema": 0.9},
                     "to": f"{to}/model", **common, **unet}}}

    def weights(self, to):
        return (self.folder / to / "model" / "denoiser.safetensors").read_bytes()

    def log(self, to):
        path = self.folder / to / "model" / "training" / "unet" / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def kill_during(self, to, signal_number, **unet):
        pipeline = self.write_pipeline(self.document(to, **unet), "killed.json")
        process = subprocess.Popen(tool.command("run", pipeline), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   env=tool.environment())
        deadline = time.monotonic() + 60
        while len(self.log(to)) < 12 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal_number)
        process.wait(60)

    def test_a_package_proves_itself(self):
        self.run_pipeline(self.document("proof", iterations=2))
        for step, made_of in (("vae", "image"), ("model", "mask")):
            package = self.folder / "proof" / step
            pipeline = json.loads((package / "self-test" / "pipeline.json").read_text())
            self.assertIn(made_of, json.dumps(pipeline))
            self.assertIn("what it gave", self.self_test(package)["text"])
            self.assertEqual(self.self_test(package)["status"], "ok")
        expected = self.folder / "proof" / "model" / "self-test" / "expected.nii.gz"
        nifti.write(expected, SIZE_OF_SELF_TEST, range(SIZE_OF_SELF_TEST[0] ** 3), "int16")
        self.assertEqual(self.self_test(package)["status"], "problem")
        expected.write_bytes(b"")
        self.assertIn("expected.nii.gz", self.self_test(package)["text"])

    def test_a_package_without_its_weights_is_a_problem(self):
        self.run_pipeline(self.document("bare", iterations=2))
        package = self.folder / "bare" / "model"
        (package / "denoiser.safetensors").write_bytes(b"0" * 100)
        self.assertEqual(self.finding(package, "weights")["status"], "problem")

    def finding(self, package, subject):
        checks = json.loads(tool.run("doctor", package, "--json").stdout)["checks"]
        return next(check for check in checks if check["subject"] == subject)

    def self_test(self, package):
        return self.finding(package, "self-test")

    def test_killed_and_resumed_ends_as_the_whole_run(self):
        self.run_pipeline(self.document("whole"))
        for number in (signal.SIGKILL, signal.SIGINT):
            with self.subTest(signal=number):
                to = f"killed{int(number)}"
                self.kill_during(to, number)
                self.assertFalse((self.folder / to / "model" / "denoiser.safetensors").exists())
                self.run_pipeline(self.document(to), name="killed.json")
                self.assertEqual(self.weights(to), self.weights("whole"))
                self.assertEqual([line["iteration"] for line in self.log(to)], list(range(1, 61)))

    def test_augmented_and_resumed_ends_as_the_whole_run(self):
        keys = {"crop": [4, 4, 4], "crop_at": {"thing": 0.5},
                "augment": {"preset": "maisi-mr", "elastic": {"probability": 0.5, "spacing_voxels": 3, "sigma_voxels": 1}}}
        self.run_pipeline(self.document("whole", **keys))
        self.kill_during("killed", signal.SIGKILL, **keys)
        self.assertFalse((self.folder / "killed" / "model" / "denoiser.safetensors").exists())
        self.run_pipeline(self.document("killed", **keys, loader={"threads": 3, "ahead": 4}), name="killed.json")
        self.assertEqual(self.weights("killed"), self.weights("whole"))

    def test_a_mirror_that_mixes_up_sides_is_warned_of(self):
        keys = {"crop": [4, 4, 4], "iterations": 1, "augment": {"flip": {"probability": 1, "axes": ["x"]}}}
        document = self.document("out", **keys)
        document["steps"]["vae"]["train"] = {**MODEL, "data": {**MODEL["data"], "labels": {"left thing": 1}}}
        result = tool.run("run", self.write_pipeline(document))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("left thing", result.stderr)

    def test_a_label_to_crop_at_that_there_is_not(self):
        document = self.document("out", crop=[4, 4, 4], crop_at={"thong": 1})
        result = tool.run("run", self.write_pipeline(document))
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("did you mean 'thing'", result.stderr)

    def test_images_changed_under_the_same_names_are_other_data(self):
        self.run_pipeline(self.document("out", iterations=3))
        size = SIZE[0] * SIZE[1] * SIZE[2]
        nifti.write(self.folder / "data" / "images" / "b.nii", SIZE, [float(i) for i in range(size)], "float32")
        result = tool.run("run", self.write_pipeline(self.document("out", iterations=3)))
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("another training", result.stderr)

    def test_patches_that_lie_still_get_fresh_noise_every_time(self):
        self.run_pipeline(self.document("out", iterations=9))
        losses = [line["loss"] for line in self.log("out")]
        self.assertEqual(len(set(losses)), len(losses))

    def test_the_seed_decides(self):
        for to, seed in (("one", 3), ("same", 3), ("other", 4)):
            self.run_pipeline(self.document(to, seed, iterations=3))
        self.assertEqual(self.weights("one"), self.weights("same"))
        self.assertNotEqual(self.weights("one"), self.weights("other"))

    def test_a_case_without_labels_is_named(self):
        (self.folder / "data" / "labels" / "b.nii").unlink()
        result = tool.run("run", self.write_pipeline(self.document("out")))
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("b", result.stderr)
        self.assertFalse((self.folder / "out" / "model").exists())

    def test_a_checkpoint_of_another_training_is_refused(self):
        self.run_pipeline(self.document("out", iterations=3))
        result = tool.run("run", self.write_pipeline(self.document("out", iterations=3, batch=1)))
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("another training", result.stderr)


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
