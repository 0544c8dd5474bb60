#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small VAE and U-Net trained from a data folder: killed and resumed, other seeds, bad data."""
import json
import shutil
import signal
import subprocess
import sys
import unittest

import nifti
import tool
from training import MODEL, SIZE, UNET, TrainingCase


class Training(TrainingCase):
    def test_a_package_proves_itself(self):
        self.run_pipeline(self.document("proof", iterations=2))
        for step, made_of in (("vae", "image"), ("model", "mask")):
            package = self.folder / "proof" / step
            pipeline = json.loads((package / "self-test" / "pipeline.json").read_text())
            self.assertIn(made_of, json.dumps(pipeline))
            self.assertIn("what it gave", self.self_test(package)["text"])
            self.assertEqual(self.self_test(package)["status"], "ok")
        expected = self.folder / "proof" / "model" / "self-test" / "expected.nii.gz"
        nifti.write(expected, (16, 16, 16), range(16 ** 3), "int16")
        self.assertEqual(self.self_test(package)["status"], "problem")
        expected.write_bytes(b"")
        self.assertIn("expected.nii.gz", self.self_test(package)["text"])

    def test_a_pipeline_may_be_named_from_another_folder(self):
        self.write_pipeline(self.document("here", iterations=2))
        for _ in range(2):  # the second time with the packages that the first one made
            result = subprocess.run(tool.command("run", f"{self.folder.name}/p.json"), cwd=self.folder.parent,
                                    capture_output=True, text=True, env=tool.environment())
            self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue((self.folder / "here/model/model.json").exists())

    def test_a_package_without_its_weights_is_a_problem(self):
        self.run_pipeline(self.document("bare", iterations=2))
        package = self.folder / "bare" / "model"
        whole = json.loads((package / "model.json").read_text())
        spoilt = json.loads(json.dumps(whole))
        spoilt["components"]["conditioners"]["labels"]["config"]["classes"] = [1, 2]
        (package / "model.json").write_text(json.dumps(spoilt))
        nifti.write(self.folder / "mask.nii", SIZE, [1] * (SIZE[0] * SIZE[1] * SIZE[2]))
        result = tool.run("run", self.write_pipeline(tool.pipeline({"generate": str(package), "mask": "mask.nii"})))
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("do not fit one another", result.stderr)
        del whole["components"]["denoiser"]["weights"], whole["components"]["denoiser"]["sha256"]
        (package / "model.json").write_text(json.dumps(whole))
        self.assertIn("has no weights", self.finding(package, "weights")["text"])
        whole["components"]["denoiser"]["weights"] = "denoiser.safetensors"
        (package / "model.json").write_text(json.dumps(whole))
        self.assertEqual(self.finding(package, "weights")["status"], "ok")
        (package / "denoiser.safetensors").write_bytes(b"0" * 100)
        self.assertEqual(self.finding(package, "weights")["status"], "problem")

    def test_the_doctor_finds_a_package_healthy_that_is_still_to_be_trained(self):
        document = self.document("half")
        del document["steps"]["unet"]
        self.run_pipeline(document)
        result = tool.run("doctor", self.folder / "half" / "vae", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        weights = self.finding(self.folder / "half" / "vae", "weights")
        self.assertEqual(weights["status"], "note")
        self.assertIn("none yet: denoiser", weights["text"])
        (self.folder / "half" / "vae" / "compressor.safetensors").write_bytes(b"0" * 100)
        self.assertEqual(self.finding(self.folder / "half" / "vae", "weights")["status"], "problem")

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

    def test_a_denoiser_without_labels_is_trained_on_images_alone(self):
        shutil.rmtree(self.folder / "data" / "labels")
        components = {**MODEL["components"],
                      "denoiser": {"component": "maisi.unet",
                                   "config": {**UNET, "in_channels": 2, "include_spacing_input": True}},
                      "conditioners": {"conditions": {"component": "maisi.conditions", "config": {"spacing": True}}}}
        document = self.document("out", iterations=2)
        document["steps"]["vae"]["train"] = {**MODEL, "components": components}
        self.run_pipeline(document)
        self.assertEqual(len(self.log("out")), 2)

    def test_a_checkpoint_of_another_training_is_refused(self):
        self.run_pipeline(self.document("out", iterations=3))
        result = tool.run("run", self.write_pipeline(self.document("out", iterations=3, batch=1)))
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("another training", result.stderr)


    def test_a_checkpoint_belongs_to_its_precision_which_the_package_names(self):
        document = self.document("out", iterations=3)
        self.run_pipeline(document)
        record = json.loads((self.folder / "out" / "model" / "model.json").read_text())["provenance"]["unet"]
        self.assertEqual(record["options"]["precision"], "fp32")
        self.assertEqual(record["options"]["ema"], 0.9)
        self.assertEqual(record["options"]["beta2"], 0.999)  # nobody said so
        document["runtime"]["precision"] = "bf16"
        result = tool.run("run", self.write_pipeline(document))
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("precision", result.stderr)


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
