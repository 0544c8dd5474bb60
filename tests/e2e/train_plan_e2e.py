#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is told of a training before it begins: the memory and the disk that it takes, packages that it would replace, and
what a later step could not do."""
import copy
import json
import re
import signal
import struct
import sys
import unittest

import tool
from train_faults_e2e import Faults


class Folders(Faults):
    """Nothing that was learnt or brought is lost by a training, and what cannot work is told before an earlier step trains."""

    def trained(self):
        document = self.document("out", iterations=2)
        self.run_pipeline(document)
        return document

    def planned(self, document, *texts):
        pipeline = self.write_pipeline(document, "failing.json")
        result = tool.run("plan", pipeline)
        self.assertEqual(result.returncode, 3, result.stderr)
        for text in texts:
            self.assertIn(text, result.stderr)

    def test_the_package_of_another_training_stays(self):
        self.trained()
        before = (self.folder / "out" / "model" / "denoiser.safetensors").read_bytes()
        other = self.document("other")
        other["steps"]["unet"]["to"] = "out/vae"
        self.planned(other, "steps.unet.to holds a model package already")
        model = str(self.folder / "out" / "model")
        on = {"train": model, "component": "denoiser", "data": "data", "crop": [8, 8, 8], "iterations": 1, "to": model}
        self.planned({"medgen": 1, "steps": {"more": on}}, "steps.more.to is the folder of the model that the training starts")
        self.assertEqual((self.folder / "out" / "model" / "denoiser.safetensors").read_bytes(), before)

    def test_going_on_after_a_change_that_decides_nothing(self):
        self.trained()
        before = (self.folder / "out" / "model" / "denoiser.safetensors").read_bytes()
        document = self.document("out", iterations=2)
        document["steps"]["vae"].update(credit="somebody", log_every=3)
        document["steps"]["vae"]["options"] = {"checkpoint_activations": True}
        result = self.run_pipeline(document)
        self.assertIn("steps.unet: all 2 iterations are done", result.stderr)
        self.assertEqual((self.folder / "out" / "model" / "denoiser.safetensors").read_bytes(), before)

    def test_the_checkpoint_of_another_training(self):
        self.trained()
        same = tool.run("plan", self.write_pipeline(self.document("out", iterations=2)))
        self.assertEqual(same.stdout.count("where it has ended already"), 2, same.stderr)
        other = self.write_pipeline(self.document("out", iterations=2, learning_rate=0.02), "failing.json")
        result = tool.run("plan", other)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("belongs to another training (step.learning_rate is 0.02, was 0.01)", result.stderr)

    def test_a_checkpoint_knows_the_weights_of_a_model_in_line(self):
        self.trained()
        package = self.folder / "out" / "vae"
        model = json.loads((package / "model.json").read_text())
        for key in ("provenance", "medgen_model"):
            model.pop(key, None)
        part = model["components"]["compressor"]
        del part["sha256"]
        moved = [self.folder / name for name in ("one.safetensors", "two.safetensors")]
        for file in moved:
            file.write_bytes((package / "compressor.safetensors").read_bytes())
        step = {"train": model, "component": "denoiser", "data": "data", "crop": [8, 8, 8], "iterations": 2, "to": "inline"}

        def run(file):
            part["weights"] = str(file)
            return tool.run("run", self.write_pipeline({"medgen": 1, "runtime": {"precision": "fp32"}, "steps": {"net": step}}))

        self.assertEqual(run(moved[0]).returncode, 0)
        self.assertEqual(run(moved[1]).returncode, 0)  # the same weights elsewhere
        contents = bytearray(moved[1].read_bytes())
        contents[-1] ^= 1
        moved[1].write_bytes(contents)
        refused = run(moved[1])
        self.assertEqual(refused.returncode, 4, refused.stderr)
        self.assertIn("belongs to another training (training.weights.compressor", refused.stderr)

    def test_an_interrupted_training(self):
        self.kill_during("out", signal.SIGINT)
        plan = tool.run("plan", self.write_pipeline(self.document("out")))
        self.assertRegex(plan.stdout, r"unet: train into '.*', from iteration \d+ of 60 on")

    def test_a_crop_that_a_later_step_cannot_take(self):
        self.planned(self.document("out", crop=[6, 8, 8]), "steps.unet.crop size", "not a multiple of 4")

    def test_networks_that_do_not_fit(self):
        for part, key, value, said in (
                ("denoiser", "in_channels", 11, "2 channels and 8 that are joined to it (concat) make 10, the denoiser takes 11"),
                ("compressor", "latent_channels", 3, "3 channels and 8 that are joined"),
                ("labels", "unshuffle", 1, "what is joined to the latent (concat) has the shape")):
            with self.subTest(part=part):
                document = copy.deepcopy(self.document("out"))
                components = document["steps"]["vae"]["train"]["components"]
                (components.get(part) or components["conditioners"][part])["config"][key] = value
                self.planned(document, "steps.unet.train has parts that do not fit one another", said)

    def test_a_mask_generator_that_is_not_there(self):
        document = copy.deepcopy(self.document("out"))
        document["steps"]["vae"]["train"]["mask_generator"] = "nowhere"
        self.planned(document, "mask_generator", "nowhere")

    def test_damaged_weights_are_not_learnt_from(self):
        self.trained()
        file = self.folder / "out" / "model" / "denoiser.safetensors"
        contents = bytearray(file.read_bytes())
        contents[-1] ^= 1
        file.write_bytes(contents)
        step = {"train": str(self.folder / "out" / "model"), "component": "denoiser", "data": "data", "crop": [8, 8, 8],
                "iterations": 1, "to": "more"}
        self.fails({"medgen": 1, "steps": {"more": step}}, 4, "sha256 is", "changed or damaged")
        self.assertFalse((self.folder / "more").exists())


class Memory(Faults):
    def setUp(self):
        super().setUp()
        self.add_cases("d", "e", "f")

    def planned(self, document, *arguments):
        result = tool.run("plan", self.write_pipeline(document), "--json", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_it_is_planned(self):
        plan = self.planned(self.document("out"))
        self.assertTrue(plan["complete"])
        self.assertTrue(all(step["memory_bytes"] > 0 and not step["unknown"] for step in plan["steps"]))
        many = {"batch": 4000}
        full, bf16, again = (self.planned(self.short(**many, options=options))["memory_bytes"] for options in
                             ({}, {"precision": "bf16"}, {"checkpoint_activations": True}))
        self.assertLess(bf16, full)
        self.assertLess(again, full)
        self.assertLess(self.planned(self.short(batch=8))["memory_bytes"], 0.5 * full)
        self.assertFalse((self.folder / "out").exists())

    def test_what_cannot_fit_is_refused_before_the_data_is_read(self):
        (self.folder / "data" / "images" / "b.nii").write_bytes(b"nothing")
        document = self.short(batch=4000)
        document["runtime"]["memory"] = "700MiB"
        self.fails(document, 6, "steps.vae needs about", "steps.vae.accumulate=4000", "runtime.memory=")
        self.assertFalse((self.folder / "out").exists())

    def test_smaller_patches_that_fit_are_advised(self):
        document = self.short(crop=[160, 160, 160], batch=3)
        document["runtime"]["memory"] = "1GiB"
        refused = tool.run("plan", self.write_pipeline(document))
        self.assertEqual(refused.returncode, 6, refused.stderr)
        advice = re.search(r"smaller patches: --set (steps.vae.crop=\S+) --set (steps.vae.batch=1)", refused.stderr)
        self.planned(document, "--set", advice[1], "--set", advice[2])

    def test_moments_on_disk_take_less(self):
        part = {"component": "maisi.autoencoder",
                "config": {"spatial_dims": 3, "num_channels": [256, 512], "num_res_blocks": 2, "attention_levels": [False, False],
                           "latent_channels": 2, "norm_num_groups": 2}}
        document = copy.deepcopy(self.short(options={}))
        document["steps"]["vae"]["train"]["components"]["compressor"] = part
        in_memory = self.planned(document)
        document["steps"]["vae"]["options"] = {"optimizer_state": "disk"}
        on_disk = self.planned(document)
        one, other = in_memory["steps"][0], on_disk["steps"][0]
        parameters = other["scratch_bytes"] // 8
        self.assertEqual(on_disk["disk_bytes"], in_memory["disk_bytes"] + 8 * parameters)
        # Two checkpoints, of weights and two moments, and the weights once more.
        self.assertEqual((one["output_bytes"], other["output_bytes"]), (28 * parameters, 28 * parameters))
        self.assertLess(on_disk["memory_bytes"], 0.8 * in_memory["memory_bytes"])
        document["steps"]["vae"]["options"] = {}
        document["runtime"]["memory"] = f"{(on_disk['memory_bytes'] >> 20) + 32}MiB"
        self.fails(document, 6, "steps.vae needs about", '"optimizer_state": "disk" in the options of steps.vae')

    def test_cases_that_cannot_stay_in_memory(self):
        edge = 600
        for name in "abcdef":  # headers of large volumes; a plan reads no more
            with open(self.folder / "data" / "images" / f"{name}.nii", "r+b") as file:
                file.seek(42)
                file.write(struct.pack("<3h", edge, edge, edge))
                file.truncate(352 + 4 * edge ** 3)
        document = self.short(crop=[4, 4, 4], loader={"memory": "64GiB"})
        document["runtime"]["memory"] = "2GiB"
        self.fails(document, 6, "steps.vae needs about", "steps.vae.loader.memory=0")
        document["steps"]["vae"]["loader"]["memory"] = 0
        self.planned(document)


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
