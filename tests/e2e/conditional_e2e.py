#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Conditional training with small networks: ControlNet, inpainting, adapters, a mask generator; and what is made with them."""
import json
import random
import sys
import tempfile
import unittest
from pathlib import Path

import nifti
import tool

SIZE = (8, 12, 8)
VOXELS = SIZE[0] * SIZE[1] * SIZE[2]
VAE = {"spatial_dims": 3, "num_channels": [4, 8], "num_res_blocks": 1, "attention_levels": [False, False],
       "latent_channels": 2, "norm_num_groups": 2, "use_convtranspose": True}
BACKBONE = {"spatial_dims": 3, "in_channels": 2, "num_channels": [4, 8], "num_res_blocks": 1,
            "attention_levels": [False, True], "num_head_channels": 4, "norm_num_groups": 2, "include_fc": True,
            "num_class_embeds": 16}
UNET = {**BACKBONE, "out_channels": 2, "include_spacing_input": True}
CONDITIONS = {"component": "maisi.conditions", "config": {"spacing": True, "modality": "ct_contrast", "num_class_embeds": 16}}
LABELS = {"component": "maisi.labels", "config": {"encoding": "bits", "null_labels": {"2": 1}}}
INPAINTING = {"component": "maisi.inpainting", "config": {"classes": [2]}}
RFLOW = {"component": "scheduler.rflow", "config": {"use_discrete_timesteps": False}}
DATA = {"modality": "ct", "axes": "xyz", "intensity": {"kind": "window", "low": 0, "high": 100},
        "labels": {"organ": 1, "tumour": 2}}


def controlnet(planes):
    return {"component": "maisi.controlnet",
            "config": {**BACKBONE, "conditioning_embedding_in_channels": planes, "conditioning_embedding_num_channels": [4, 4]}}


def model(conditioners=None, **more):
    return {"components": {"compressor": {"component": "maisi.autoencoder", "config": VAE},
                           "denoiser": {"component": "maisi.unet", "config": UNET}, "scheduler": RFLOW,
                           "conditioners": {"conditions": CONDITIONS, **(conditioners or {})}},
            "data": DATA, "defaults": {"steps": 2}, **more}


def label(i):
    x, y = i % SIZE[0], i // SIZE[0] % SIZE[1]
    return 2 if 2 <= x < 5 and 4 <= y < 8 else int(x >= 2)


def voxels_of(path):
    return nifti.Volume(path).values


class Conditional(tool.Case):
    """The base model and its data are made once, in a folder of their own."""

    @classmethod
    def setUpClass(cls):
        cls.base = tempfile.TemporaryDirectory(prefix="medgen-e2e-")
        cls.addClassCleanup(cls.base.cleanup)
        cls.data = Path(cls.base.name) / "data"
        draw = random.Random(1)
        for name in ("a", "b"):
            nifti.write(cls.data / "images" / f"{name}.nii", SIZE, [draw.randint(0, 60) + 20 * label(i) for i in range(VOXELS)], "int16")
            nifti.write(cls.data / "labels" / f"{name}.nii", SIZE, [label(i) for i in range(VOXELS)])
        document = {"medgen": 1, "seed": 3, "runtime": {"precision": "fp32"}, "steps": {
            "vae": {**cls.training(), "train": model(), "component": "compressor", "to": "vae"},
            "unet": {**cls.training(), "train": "@vae", "component": "denoiser", "to": "model", "iterations": 20,
                     "options": {"modality_dropout": 0.1}, "schedule": "polynomial"}}}
        path = Path(cls.base.name) / "base.json"
        path.write_text(json.dumps(document))
        result = tool.run("run", path)
        if result.returncode != 0:
            raise AssertionError(result.stderr)
        cls.model = Path(cls.base.name) / "model"

    @classmethod
    def training(cls):
        return {"data": str(cls.data), "iterations": 4, "learning_rate": 0.01, "log_every": 1}

    def run_steps(self, **steps):
        self.run_pipeline({"medgen": 1, "seed": 3, "runtime": {"precision": "fp32"}, "steps": steps})

    def planned(self, **steps):
        result = tool.run("plan", self.write_pipeline({"medgen": 1, "seed": 3, "steps": steps}), "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def refused(self, code, *texts, **steps):
        document = {"medgen": 1, "seed": 3, "runtime": {"precision": "fp32"}, "steps": steps}
        result = tool.run("run", self.write_pipeline(document))
        self.assertEqual(result.returncode, code, result.stderr)
        for text in texts:
            self.assertIn(text, result.stderr)

    def with_controlnet(self, conditioner, planes):
        """The base model with a ControlNet to be trained, in line."""
        described = json.loads((self.model / "model.json").read_text())
        for part in ("compressor", "denoiser"):
            described["components"][part]["weights"] = str(self.model / f"{part}.safetensors")
        described["components"]["conditioners"].update(planes=conditioner, controlnet=controlnet(planes))
        return described

    def train_controlnet(self, conditioner, planes, **options):
        return {**self.training(), "train": self.with_controlnet(conditioner, planes), "component": "denoiser", "with": ["controlnet"],
                "loss_weights": {"tumour": 100}, "to": "controlnet",
                "options": {"train_denoiser": False, "weight_decay": 0.01, **options}}

    def log(self, to, step):
        return [json.loads(line) for line in (self.folder / to / "training" / step / "log.jsonl").read_text().splitlines()]

    def test_a_controlnet_learns_beside_its_frozen_unet(self):
        self.run_steps(net=self.train_controlnet(LABELS, 8, contrast={}),
                       ct={"generate": "@net", "mask": str(self.data / "labels" / "a.nii")}, save={"write": "@ct", "to": "out"})
        name = "denoiser.safetensors"
        self.assertEqual((self.folder / "controlnet" / name).read_bytes(), (self.model / name).read_bytes())
        self.assertTrue((self.folder / "controlnet" / "controlnet.safetensors").exists())
        self.assertTrue(all("contrast" in line for line in self.log("controlnet", "net")))
        self.assertEqual(len(tool.contents(self.folder / "out")), 2)
        scales = [json.loads((folder / "model.json").read_text())["latent"]["scale"] for folder in (self.model, self.folder / "controlnet")]
        self.assertEqual(*scales)

    def test_a_contrast_needs_to_know_what_tumours_become(self):
        ignorant = {**LABELS, "config": {"encoding": "bits"}}
        self.refused(3, "net.options.contrast", "'planes' (maisi.labels)", '"null_labels"',
                     net=self.train_controlnet(ignorant, 8, contrast={}))

    def test_only_labels_of_the_model_are_weighted(self):
        step = self.train_controlnet(LABELS, 8)
        step["loss_weights"] = {"tumor": 100}
        self.refused(3, "tumour", net=step)

    def test_an_image_gets_a_tumour_and_stays_itself_elsewhere(self):
        given = {"mask": str(self.data / "labels" / "a.nii"), "image": str(self.data / "images" / "a.nii")}
        (self.folder / "tumour").mkdir()
        nifti.write(self.folder / "tumour" / "a.nii", SIZE, [2 if label(i) == 2 else 0 for i in range(VOXELS)])
        given["mask"] = "tumour/a.nii"
        make = {"generate": "@net", **given}
        train = {**self.train_controlnet(INPAINTING, 2), "samples": {"every": 1}}
        self.run_steps(net=train, ct=make, free={**make, "outside_mask": "generated"},
                       save={"write": "@ct", "to": "out"}, save_free={"write": "@free", "to": "free"})
        self.assertTrue(list((self.folder / "controlnet" / "training" / "net" / "samples").glob("*.png")))
        tested = tool.run("doctor", self.folder / "controlnet")
        self.assertRegex(tested.stdout, r"ok +self-test")
        before = voxels_of(self.data / "images" / "a.nii")
        kept, free = (voxels_of(next((self.folder / to).glob("images/*.nii.gz"))) for to in ("out", "free"))
        outside = [i for i in range(VOXELS) if label(i) != 2]
        self.assertEqual([kept[i] for i in outside], [before[i] for i in outside])
        self.assertNotEqual([free[i] for i in outside], [before[i] for i in outside])
        inside = [i for i in range(VOXELS) if label(i) == 2]
        self.assertEqual([kept[i] for i in inside], [free[i] for i in inside])
        self.assertNotEqual([kept[i] for i in inside], [before[i] for i in inside])
        net = {"generate": "controlnet", **given}
        for change, text in (({"image": [given["image"], str(self.data / "images" / "b.nii")]}, "2 images for 1 masks"),
                             ({"image": None}, 'has no "image"'), ({"spacing_mm": [2, 2, 2]}, "spacing_mm")):
            step = {key: value for key, value in {**net, **change}.items() if value is not None}
            self.refused(3, text, ct=step, save={"write": "@ct", "to": "refused"})

    def test_conditions_and_inputs_of_another_model(self):
        save = {"write": "@ct", "to": "no"}
        make = {"generate": str(self.model), "size": list(SIZE), "spacing_mm": [1, 1, 1]}
        for value, text in (("marsian", "marsian"), ("mri_t1", "MR"), (99, "99")):
            self.refused(3, "p.json:", "conditions", text, ct={**make, "conditions": {"modality": value}}, save=save)
            labelled = {"generate": str(self.model), "mask": str(self.data / "labels"), "conditions": {"modality": value}}
            self.refused(3, "p.json:", "conditions", text, ct=labelled, save=save)
        nifti.write(self.folder / "two.nii", SIZE, [1] * 2 * VOXELS, dim=(4, *SIZE, 2, 1, 1, 1))
        self.refused(4, "two.nii", "2 channels", z={"encode": str(self.model), "image": "two.nii"}, save={**save, "write": "@z"})
        self.run_steps(z={"encode": str(self.model), "image": str(self.data / "images/a.nii")}, save={"write": "@z", "to": "z"})
        latent = next((self.folder / "z").rglob("*.safetensors"))
        other = {"components": {"compressor": {"component": "null.compressor"}}}
        self.refused(4, latent.name, "1x2x4x6x4", x={"decode": other, "latent": str(latent)}, save={**save, "write": "@x"})

    def test_an_image_for_a_model_that_takes_none(self):
        self.refused(3, "takes no image", ct={"generate": str(self.model), "mask": str(self.data / "labels"),
                                              "image": str(self.data / "images")}, save={"write": "@ct", "to": "out"})

    def test_an_adapter_is_small_and_changes_its_own_base_alone(self):
        lora = {**self.training(), "train": str(self.model), "component": "denoiser", "to": "adapter",
                "options": {"lora": {"rank": 2, "convolutions": True}}}
        make = {"generate": str(self.model), "size": list(SIZE), "spacing_mm": [1, 1, 1]}
        changes = {"plain": {}, "adapted": {"adapters": ["@lora"]},
                   "none": {"adapters": [{"adapter": "@lora", "strength": 0}]}}
        steps = {name: {**make, **change} for name, change in changes.items()}
        saves = {f"save_{name}": {"write": f"@{name}", "to": name} for name in changes}
        self.run_steps(lora=lora, **steps, **saves)
        images = {name: voxels_of(next((self.folder / name).glob("images/*.nii.gz"))) for name in changes}
        self.assertEqual(images["plain"], images["none"])
        self.assertNotEqual(images["plain"], images["adapted"])
        self.assertFalse((self.folder / "adapter" / "model.json").exists())
        self.assertIn("denoiser.adapters", self.manifest("adapted")["run"]["models"][0]["weights"])
        again = tool.run("run", self.folder / "adapted" / "run.json", "--set",
                         f"steps.save_adapted.to={self.folder}/again")
        self.assertEqual(again.returncode, 0, again.stderr)
        other = Path(self.base.name) / "vae"
        self.refused(3, "has none with weights", ct={**make, "generate": str(other), "adapters": ["adapter"]},
                     save={"write": "@ct", "to": "refused"})

    def test_an_adapter_is_no_model(self):
        lora = {**self.training(), "train": str(self.model), "component": "denoiser", "to": "adapter", "options": {"lora": {}}}
        make = {"size": list(SIZE), "spacing_mm": [1, 1, 1]}
        save = {"write": "@ct", "to": "out"}
        self.refused(3, "makes an adapter, no model", lora=lora, ct={"generate": "@lora", **make}, save=save)
        self.run_steps(lora=lora)
        self.refused(3, "holds an adapter; name the model", ct={"generate": "adapter", **make}, save=save)

    def test_a_pipeline_goes_on_with_an_adapter_that_is_half_trained(self):
        lora = {**self.training(), "train": str(self.model), "component": "denoiser", "to": "adapter", "options": {"lora": {}}}
        steps = {"lora": lora, "save": {"write": "@ct", "to": "out"},
                 "ct": {"generate": str(self.model), "size": list(SIZE), "spacing_mm": [1, 1, 1], "adapters": ["@lora"]}}
        (self.folder / "adapter" / "training").mkdir(parents=True)  # as one that was killed leaves it
        self.planned(**{name: steps[name] for name in ("lora", "ct", "save")})
        self.run_steps(**{name: steps[name] for name in ("lora", "ct", "save")})
        self.assertEqual(len(tool.contents(self.folder / "out")), 1)

    def test_an_adapter_proves_itself_with_its_base(self):
        self.run_steps(lora={**self.training(), "train": str(self.model), "component": "denoiser", "to": "adapter",
                             "options": {"lora": {"rank": 2}}})

        def self_test(folder, *arguments):
            result = tool.run("doctor", self.folder / folder, *arguments, "--json")
            return next(check for check in json.loads(result.stdout)["checks"] if check["subject"] == "self-test")

        self.assertEqual(self_test("adapter")["status"], "ok")
        (self.folder / "deeper").mkdir()
        (self.folder / "adapter").rename(self.folder / "deeper" / "adapter")
        self.assertIn("--base tells where it is", self_test("deeper/adapter")["text"])
        self.assertEqual(self_test("deeper/adapter", "--base", self.model)["status"], "ok")
        self.assertEqual(self_test("deeper/adapter", "--base", Path(self.base.name) / "vae")["status"], "problem")
        refused = tool.run("doctor", self.model, "--base", self.model)
        self.assertEqual(refused.returncode, 2, refused.stderr)

    def test_an_adapter_of_other_weights_is_refused(self):
        steps = {"more": {**self.training(), "train": str(self.model), "component": "denoiser", "to": "more"},
                 "lora": {**self.training(), "train": "@more", "component": "denoiser", "to": "adapter", "options": {"lora": {}}}}
        self.run_steps(**steps)
        self.refused(3, "was trained on", ct={"generate": str(self.model), "size": list(SIZE), "spacing_mm": [1, 1, 1],
                                              "adapters": ["adapter"]}, save={"write": "@ct", "to": "out"})
        self.refused(3, "has none yet", lora={**steps["lora"], "train": model(), "to": "other"})

    def test_label_maps_and_then_images_from_one_package(self):
        masks = {"components": {
            "compressor": {"component": "maisi.autoencoder",
                           "config": {**VAE, "in_channels": 8, "out_channels": 3, "classes": [0, 1, 2]}},
            "denoiser": {"component": "maisi.mask_unet",
                         "config": {"spatial_dims": 3, "in_channels": 2, "out_channels": 2, "channels": [4, 8], "num_res_blocks": 1,
                                    "attention_levels": [False, True], "num_head_channels": 4, "norm_num_groups": 2,
                                    "with_conditioning": True, "cross_attention_dim": 2}},
            "scheduler": RFLOW,
            "conditioners": {"sizes": {"component": "maisi.anatomy_sizes", "config": {"slots": [
                {"name": "organ", "label": 1}, {"name": "tumour", "label": 2, "tumour": True}]}}}},
            "data": {"modality": "labels", "axes": "xyz", "labels": {"organ": 1, "tumour": 2}}, "defaults": {"steps": 2}}
        images = self.with_controlnet(LABELS, 8)
        images["mask_generator"] = "masks"
        asked = {"size": list(SIZE), "spacing_mm": [1, 1, 1], "count": 2, "conditions": {"anatomy_sizes": {"tumour": 0.5}}}
        self.run_steps(
            masks_vae={**self.training(), "train": masks, "component": "compressor", "to": "masks_vae", "iterations": 60},
            masks={**self.training(), "train": "@masks_vae", "component": "denoiser", "to": "masks"},
            net={**self.training(), "train": images, "component": "denoiser", "with": ["controlnet"], "to": "package",
                 "options": {"train_denoiser": False}})
        losses = [line["cross_entropy"] for line in self.log("masks_vae", "masks_vae")]
        self.assertLess(losses[-1], losses[0])
        volumes = json.loads((self.folder / "masks" / "model.json").read_text())["data"]["label_volumes_ml"]
        self.assertEqual({name: len(known) for name, known in volumes.items()}, {"organ": 11, "tumour": 11})
        self.assertNotIn("label_volumes_ml", json.loads((self.folder / "masks_vae" / "model.json").read_text())["data"])
        self.refused(3, "is not yours to give", net={**self.training(), "train": "masks", "component": "denoiser", "to": "no",
                                                     "conditions": {"label_volumes_ml": {}}})
        (self.folder / "masks").rename(self.folder / "elsewhere")  # the package holds all it needs
        make = {"generate": "package", **asked}
        labelled = {"generate": "package", "mask": str(self.data / "labels")}
        both, one = (self.planned(ct=step, save={"write": "@ct", "to": "p"})["steps"][0] for step in (make, labelled))
        self.assertGreater(both["weights_bytes"], 1.3 * one["weights_bytes"])  # the generator's too
        self.run_steps(ct=make, save={"write": "@ct", "to": "out", "contact_sheet": "sheet.png"})
        made = tool.contents(self.folder / "out")
        self.assertEqual(len(made), 4)
        for path in (self.folder / "out").glob("labels/*.nii.gz"):
            self.assertLessEqual(set(voxels_of(path)), {0, 1, 2})
        self.run_steps(ct=make, save={"write": "@ct", "to": "again"})
        self.assertEqual(list(tool.contents(self.folder / "again").values()), list(made.values()))
        self.assertEqual(len(self.manifest()["run"]["models"]), 2)
        self.run_steps(maps={"generate": "elsewhere", **asked}, save={"write": "@maps", "to": "maps"})
        self.assertEqual(len(tool.contents(self.folder / "maps")), 2)
        self.refused(3, "is no condition", ct={**make, "conditions": {"anatomy_size": {}}}, save={"write": "@ct", "to": "no"})
        for step in ({**make, "generate": "elsewhere"}, make):  # known beforehand, and when the label map is made
            self.refused(3, "p.json:", "tumour is 7", ct={**step, "conditions": {"anatomy_sizes": {"tumour": 7}}},
                         save={"write": "@ct", "to": "no"})
        in_line = {"medgen": 1, "steps": {"ct": {**make, "generate": json.loads((self.folder / "package/model.json").read_text())},
                                          "save": {"write": "@ct", "to": "again"}}}
        for code, conditions in ((0, asked["conditions"]), (3, {"anatomy_size": {}})):
            in_line["steps"]["ct"]["conditions"] = conditions
            (self.folder / "package/in_line.json").write_text(json.dumps(in_line))
            result = tool.run("validate", self.folder / "package/in_line.json")
            self.assertEqual(result.returncode, code, result.stderr)


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
