#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a training makes of its cases: voxel sizes that are brought to one."""
import json
import subprocess
import sys
import unittest

import nifti
import tool
from training import MODEL, SIZE, TrainingCase


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


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
