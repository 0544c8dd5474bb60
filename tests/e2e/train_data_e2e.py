#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a training makes of its cases: voxel sizes that are brought to one, and conditions of each case from a table."""
import json
import subprocess
import sys
import unittest

import nifti
import tool
from training import LABELS, MODEL, SIZE, UNET, WITH_MODALITY, TrainingCase


class Data(TrainingCase):
    def fails(self, document, code, *texts, command="run"):
        result = tool.run(command, self.write_pipeline(document, "failing.json"))
        self.assertEqual(result.returncode, code, result.stderr)
        for text in texts:
            self.assertIn(text, result.stderr)

    def record(self, to, step):
        return json.loads((self.folder / to / "model.json").read_text())["provenance"][step]


class VoxelSizes(Data):
    """a and b have voxels of 1 mm, c has some of 2 mm along x and 0.5 mm along z."""

    def setUp(self):
        super().setUp()
        size, affine = (SIZE[0] // 2, SIZE[1], SIZE[2] * 2), ((2, 0, 0, 0.5), (0, 1, 0, 0), (0, 0, 0.5, -0.25))
        count = size[0] * size[1] * size[2]
        nifti.write(self.folder / "data" / "images" / "c.nii", size, [i % 97 for i in range(count)], "float32", affine)
        nifti.write(self.folder / "data" / "labels" / "c.nii", size, [i // 50 % 2 for i in range(count)], "uint8", affine)

    def whole(self, to="out", **vae):
        """Whole images in one batch: all must have one size."""
        document = self.document(to, iterations=3, batch=3)
        document["steps"]["vae"].update(batch=3, iterations=3, **vae)
        del document["steps"]["vae"]["crop"]
        return document

    def only_vae(self, **vae):
        document = self.whole(**vae)
        del document["steps"]["unet"]
        return document

    def test_cases_of_one_voxel_size_fit_into_a_batch(self):
        self.fails(self.whole(), 4, "cases a, b, c differ in size")
        document = self.whole("one", resample_mm=[1, None, 1])
        document["steps"]["unet"]["data"] = "@vae"  # brings it along
        result = self.run_pipeline(document)
        self.assertNotIn("differ in size", result.stderr)
        for to, step in (("vae", "vae"), ("model", "unet")):
            self.assertEqual(self.record(f"one/{to}", step)["resample_mm"], [1, None, 1])
        own = self.whole("own", resample_mm=1)
        own["steps"]["unet"]["resample_mm"] = 1
        self.run_pipeline(own)
        self.assertEqual(self.weights("own"), self.weights("one"))

    def test_the_cache_gives_the_same(self):
        for to, cache in (("plain", {}), ("first", {"cache": "cache"}), ("second", {"cache": "cache"})):
            document = self.whole(to, resample_mm=1, **cache)
            document["steps"]["unet"].update(cache, data="@vae", crop_at="center")
            self.run_pipeline(document)
            self.assertEqual(self.weights(to), self.weights("plain"))
        other = self.whole("other", resample_mm=2, cache="cache")
        other["steps"]["unet"].update(data="@vae", cache="cache", crop=[4, 4, 4])
        self.run_pipeline(other)
        self.assertEqual(self.record("other/vae", "vae")["resample_mm"], [2, 2, 2])

    def test_a_checkpoint_belongs_to_the_voxel_size(self):
        self.run_pipeline(self.only_vae(resample_mm=1))
        self.run_pipeline(self.only_vae(resample_mm=[1, 1, 1]))
        self.fails(self.only_vae(resample_mm=2), 4, "another training")

    def test_the_plan_goes_by_the_voxels_that_cases_get(self):
        def planned(crop=None, **vae):
            document = self.only_vae(**vae)
            document["steps"]["vae"].update({"crop": crop} if crop else {})
            result = tool.run("plan", self.write_pipeline(document), "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            return json.loads(result.stdout)["steps"][0]["memory_bytes"]

        as_they_are, fine = planned(), planned(resample_mm=0.1)
        self.assertGreater(fine, as_they_are + (200 << 20))
        small_patches = planned(resample_mm=0.1, crop=[8, 8, 8])
        self.assertGreater(small_patches, as_they_are + (10 << 20))  # three cases of 6 MB
        self.assertLess(small_patches, as_they_are + (100 << 20))

    def test_the_plan_counts_latents_that_are_kept(self):
        def planned(**unet):
            document = self.whole(resample_mm=0.05)
            document["steps"]["unet"].update(data="@vae", batch=1, **unet)
            document["steps"]["unet"]["train"] = MODEL
            result = tool.run("plan", self.write_pipeline(document), "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            return json.loads(result.stdout)["steps"][1]["memory_bytes"]

        still = {"crop": [160, 240, 160], "crop_at": "center"}
        kept = planned(**still)
        anew = planned(**{**still, "crop_at": "random"})
        self.assertGreater(kept, anew + (90 << 20))  # three times mean, deviation and eight planes of labels
        self.assertLess(kept, anew + (200 << 20))

    def test_sizes_that_make_no_sense(self):
        for value in (0, -1, [1, 1], [1, 0, 1], "1"):
            for command in ("validate", "run"):
                self.fails(self.only_vae(resample_mm=value), 3, "steps.vae.resample_mm", command=command)
        self.fails(self.only_vae(resample_mm=1e-4), 4, '3 of 3 cases', 'b: "resample_mm" (0.0001, 0.0001, 0.0001) makes')
        self.fails(self.only_vae(resample_mm=[1, 40, 1]), 4, 'c: "resample_mm" is 40 along y', "12 mm")

    def test_sizes_that_the_model_does_not_take(self):
        limits = {"spacing_mm": {"minimum": [0.9, 0.9, 0.9], "maximum": [1.2, 1.2, 1.2]}}
        narrow = {**MODEL, "data": {**MODEL["data"], **limits}}
        self.fails(self.only_vae(train=narrow), 4, "1 of 3 cases", "c: spacing", '"resample_mm" brings cases there')
        self.fails(self.only_vae(train=narrow, resample_mm=2), 3, "steps.vae.resample_mm", "above 1.2", command="validate")
        self.run_pipeline(self.only_vae(train=narrow, resample_mm=1))

    def test_inspect_suggests_one(self):
        result = subprocess.run([tool.MEDGEN, "inspect", self.folder / "data", "--json"], capture_output=True, timeout=60)
        found = json.loads(result.stdout)
        self.assertEqual(found["suggested"]["resample_mm"], [1, 1, 1])
        self.assertIn('"resample_mm"', " ".join(each["text"] for each in found["findings"]))
        self.run_pipeline(self.only_vae(resample_mm=found["suggested"]["resample_mm"]))


class Labels(Data):
    """Label 1 of the model is "thing"."""

    def described(self, **labels):
        cases = [{"image": f"images/{name}.nii", "label": f"labels/{name}.nii"} for name in "abc"]
        (self.folder / "data" / "dataset.json").write_text(json.dumps({"labels": labels, "training": cases}))

    def test_the_same_name_is_the_same_label(self):
        self.run_pipeline(self.document("plain", iterations=3))
        self.described(Thing=1)
        self.run_pipeline(self.document("named", iterations=3))
        self.assertEqual(self.weights("plain"), self.weights("named"))
        for name in "abc":
            path = self.folder / "data" / "labels" / f"{name}.nii"
            values = [5 * value for value in nifti.Volume(path).values]
            nifti.write(path, SIZE, values)
        self.described(thing=5)
        self.run_pipeline(self.document("moved", iterations=3))
        self.assertEqual(self.weights("plain"), self.weights("moved"))

    def test_a_name_that_the_model_lacks(self):
        self.described(spleen=1)
        for command in ("plan", "run"):
            self.fails(self.document("out"), 4, "dataset.json", "'spleen' (id 1)", "nearest: 'thing'", '"labels": {',
                       command=command)
        document = self.document("out", iterations=3, data="@vae")
        document["steps"]["vae"]["labels"] = {"spleen": "thing"}
        self.run_pipeline(document)
        self.assertEqual(self.record("out/model", "unet")["labels"], {"spleen": "thing"})
        document["steps"]["vae"]["labels"] = {"spleen": 0}  # are other data
        self.fails(document, 4, "another training")


class Bodies(Data):
    """Images that are all body."""

    def document(self, to, **unet):
        document = super().document(to, **{"iterations": 4, "data": "@vae", "crop": [8, 8, 8], **unet})
        labels = {"component": "maisi.labels", "config": {**LABELS["config"], "classes": [1, 2]}}
        components = {**MODEL["components"], "conditioners": {"labels": labels},
                      "denoiser": {"component": "maisi.unet", "config": {**UNET, "in_channels": 18}}}
        data = {**MODEL["data"], "modality": "ct", "labels": {"thing": 1, "body": 2}}
        document["steps"]["vae"].update(train={"components": components, "data": data}, body={})
        return document

    def test_a_step_with_the_same_data_makes_it_too(self):
        self.run_pipeline(self.document("taken"))
        self.run_pipeline(self.document("own", data="data", body={}))
        self.run_pipeline(self.document("without", body=False))
        self.assertEqual(self.weights("taken"), self.weights("own"))
        self.assertNotEqual(self.weights("taken"), self.weights("without"))
        self.assertEqual(self.record("taken/model", "unet")["body"], self.record("own/model", "unet")["body"])
        self.assertEqual(self.record("without/model", "unet")["body"], False)
        self.run_pipeline(self.document("taken", body={}))  # is the same training
        self.fails(self.document("taken", body=False), 4, "another training")

    def test_a_model_that_cannot_have_it(self):
        document = self.document("out")
        document["steps"]["unet"]["train"] = {**document["steps"]["vae"]["train"], "data": MODEL["data"]}
        for command in ("validate", "plan", "run"):
            self.fails(document, 3, "steps.vae.body", "steps.unet takes it over", command=command)
        document["steps"]["unet"]["body"] = False
        self.assertEqual(tool.run("validate", self.write_pipeline(document)).returncode, 0)


class Modalities(Data):
    def table(self, *lines, heading="case,modality"):
        (self.folder / "cases.csv").write_text("\n".join((heading, *lines)) + "\n")

    def document(self, to, **unet):
        document = super().document(to, **{"iterations": 6, "case_conditions": "cases.csv", "crop": [8, 8, 8], **unet})
        document["steps"]["vae"]["train"] = WITH_MODALITY
        return document

    def without_table(self, to, **unet):
        document = self.document(to, **unet)
        del document["steps"]["unet"]["case_conditions"]
        return document

    def test_a_case_has_its_own(self):
        self.run_pipeline(self.without_table("step", conditions={"modality": "mri_t1"}))
        self.table("a,mri_t1", "b,T1", "c,9")  # all the same
        self.run_pipeline(self.document("alike"))
        self.assertEqual(self.weights("alike"), self.weights("step"))
        self.table("c,", "a,mri_t1", "d,mri_dwi", "b,")  # leaves it to the step
        self.run_pipeline(self.document("left", conditions={"modality": "mri_t1"}))
        self.assertEqual(self.weights("left"), self.weights("step"))
        self.table("a,mri_t1", "b,mri_t2", "c,unknown")
        self.run_pipeline(self.document("mixed"))
        self.assertNotEqual(self.weights("mixed"), self.weights("step"))
        record = self.record("mixed/model", "unet")
        self.assertEqual(record["case_conditions"], "cases.csv")

    def test_latents_that_are_kept_know_it(self):
        keys = {"crop_at": "center", "cache": "cache"}
        self.table("a,mri_t1", "b,mri_t1", "c,mri_t1")
        self.run_pipeline(self.document("one", **keys))
        self.table("a,mri_t1", "b,mri_t2", "c,mri_t1")
        self.run_pipeline(self.document("two", **keys))
        self.run_pipeline(self.document("again", crop_at="center"))
        self.assertEqual(self.weights("two"), self.weights("again"))
        self.assertNotEqual(self.weights("two"), self.weights("one"))

    def test_held_out_cases_have_their_own(self):
        keys = {"validation": 0.34, "validate": {"every": 3}, "samples": {"every": 3, "steps": 2}, "loader": {"threads": 0}}
        self.table("a,mri", "b,mri", "c,mri")
        self.run_pipeline(self.document("one", **keys))
        held = self.record("one/model", "unet")["held_out"]["validation"]
        self.assertEqual(len(held), 1)
        self.table(*(f"{name},{'mri_t2' if name in held else 'mri'}" for name in "abc"))
        self.run_pipeline(self.document("other", **keys))
        self.assertEqual(self.weights("one"), self.weights("other"))  # is not learnt from
        samples = [(self.folder / to / "model/training/unet/samples" / f"0000006_{held[0]}.nii.gz").read_bytes()
                   for to in ("one", "other")]
        losses = [[line["validation_loss"] for line in self.log(to) if "validation_loss" in line] for to in ("one", "other")]
        self.assertNotEqual(*losses)
        self.assertNotEqual(*samples)

    def test_a_checkpoint_belongs_to_the_table(self):
        self.table("a,mri", "b,mri", "c,mri")
        self.run_pipeline(self.document("out"))
        self.table("c,mri", "b,mri", "x,mri_t2", "a,mri")  # says the same of these cases
        self.run_pipeline(self.document("out"))
        self.table("a,mri", "b,mri_t2", "c,mri")
        self.fails(self.document("out"), 4, "another training")

    def test_tables_that_are_wrong(self):
        for lines, texts in ((("a,mri", "b,mri"), ("cases.csv: no line for 1 of 3 cases: c",)),
                             (("a,mri", "b,mri", "c,mri", "a,mri"), ("cases.csv:5: the case 'a' is in line 2",)),
                             (("a,mri", "b", "c,mri"), ("cases.csv:3: must be case,modality, not 'b'",))):
            self.table(*lines)
            for command in ("plan", "run"):
                self.fails(self.document("out"), 4, *texts, command=command)
            if texts[0].removeprefix("cases.csv:")[0].isdigit():  # the table alone tells
                self.fails(self.without_data(), 4, *texts, command="validate")
        self.table("a,1", "b,1", "c,1", heading="case,modalty")
        for command in ("validate", "run"):
            self.fails(self.document("out"), 4, "cases.csv:1: the column 'modalty' is no condition",
                       "did you mean 'modality'", command=command)
        self.table("a,1", "b,1", "c,1", heading="case,spacing_mm")
        self.fails(self.document("out"), 4, "cases.csv:1", "is not yours to give", command="plan")
        self.assertFalse((self.folder / "out").exists())

    def without_data(self):
        document = self.document("out")
        for step in document["steps"].values():
            step["data"] = "elsewhere"
        return document

    def test_tables_are_validated_without_the_data(self):
        self.fails(self.without_data(), 4, "cases.csv", command="validate")  # is not there
        self.table("x,mri")
        result = tool.run("validate", self.write_pipeline(self.without_data()))
        self.assertEqual(result.returncode, 0, result.stderr)
        trained_before = self.without_data()
        trained_before["steps"] = {"unet": {**trained_before["steps"]["unet"], "train": "models/unet"}}
        self.assertEqual(tool.run("validate", self.write_pipeline(trained_before)).returncode, 0)
        self.table("x,mri", "x,mri")
        self.fails(trained_before, 4, "cases.csv:3: the case 'x' is in line 2", command="validate")
        split = self.without_table("out", split={"validation": 0.1, "subjects": "cases.csv"}, data="elsewhere")
        self.table("x", heading="case,subject")
        self.fails(split, 4, "cases.csv:2", command="validate")

    def test_values_that_the_model_does_not_know(self):
        for value, text in (("mri_t9", "'mri_t9' is unknown"), ("ct", "CT"), ("99", "99 is no code")):
            self.table("a,mri", f"b,{value}", "c,mri")
            self.fails(self.document("out"), 5, "cases.csv:3: case b", text)
            self.assertFalse((self.folder / "out" / "model" / "training" / "unet" / "checkpoint.safetensors").exists())

    def test_a_compressor_takes_none(self):
        self.table("a,mri", "b,mri", "c,mri")
        document = self.document("out")
        document["steps"]["vae"]["case_conditions"] = "cases.csv"
        for command in ("validate", "run"):
            self.fails(document, 3, "steps.vae.case_conditions is for a denoiser", command=command)


class Modalities(Data):
    def only_vae(self, to, **keys):
        document = self.document(to)
        del document["steps"]["unet"]
        document["steps"]["vae"].update(keys)
        return document

    def test_a_compressor_learns_another_modality_beside_its_own(self):
        mr = {"mr": {"cases": ["b"], "intensity": {"kind": "window", "low": 0, "high": 50},
                     "augment": {"gamma": {"probability": 1, "range": [0.5, 2]}}}}
        self.run_pipeline(self.only_vae("ct"))
        self.run_pipeline(self.only_vae("both", modalities=mr, cache="cache"))
        self.run_pipeline(self.only_vae("again", modalities=mr, cache="cache"))
        weights = [(self.folder / to / "vae" / "compressor.safetensors").read_bytes() for to in ("ct", "both", "again")]
        self.assertNotEqual(weights[0], weights[1])
        self.assertEqual(weights[1], weights[2])
        self.assertEqual(self.record("both/vae", "vae")["modalities"]["mr"]["cases"], ["b"])
        self.assertEqual(json.loads((self.folder / "both/vae/model.json").read_text())["data"],
                         json.loads((self.folder / "ct/vae/model.json").read_text())["data"])


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
