#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `medgen plan` predicts, and what is refused before any work: plan_e2e.py MEDGEN PLUGIN_FOLDER"""
import json
import os
import shutil
import sys
import unittest
from unittest import mock

import nifti
import tool
from tool import Case, model, pipeline, run

MIB = 1 << 20
GIB = 1 << 30
OUT_OF_MEMORY, RUNTIME = 6, 1


def claiming(**cost):
    """A pipeline whose denoiser says that it takes this much."""
    return pipeline({"generate": model(cost)})


class Planning(Case):
    def plan(self, document, *arguments):
        result = run("plan", self.write_pipeline(document), "--json", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def refused(self, document, code, *says, command="run", arguments=()):
        result = run(command, self.write_pipeline(document), *arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        for text in says:
            self.assertIn(text, result.stderr)
        self.assertFalse((self.folder / "out").exists())
        return result


class Predicted(Planning):
    def test_memory_time_disk_and_files_are_told(self):
        plan = self.plan(pipeline({"generate": model({"peak_bytes": 500 * MIB, "weights_bytes": 100 * MIB,
                                                      "flops": 2e9}), "count": 5}))
        make, save = plan["steps"]
        self.assertGreater(make["memory_bytes"], 600 * MIB)
        self.assertLess(make["memory_bytes"], 700 * MIB)
        self.assertEqual(make["weights_bytes"], 100 * MIB)
        self.assertAlmostEqual(make["seconds"], 5 * 3 * 2)  # samples, evaluations, seconds for each
        self.assertEqual((make["unknown"], plan["complete"]), ([], True))
        self.assertEqual(save["samples"], 5)
        self.assertEqual(save["output_bytes"], 5 * 6 * 5 * 4 * 4)
        self.assertEqual(save["folder"], str(self.folder / "out"))
        self.assertEqual(save["files"][0], "images/ct_0001.nii.gz")
        self.assertEqual(len(save["files"]) + save["more_files"], 5)
        self.assertEqual(plan["memory_bytes"], make["memory_bytes"])
        self.assertIsNone(plan["budget_bytes"])

    def test_paths_are_normal(self):
        save = self.plan(pipeline(write={"to": "a/../b/./out"}))["steps"][1]
        self.assertEqual(save["folder"], str(self.folder / "b/out"))
        self.assertIn(str(self.folder / "b/out"), save["text"])

    def test_people_read_it(self):
        result = run("plan", self.write_pipeline(claiming(peak_bytes=500 * MIB, flops=1e9)))
        for text in ("ct: generate 1 sample", "memory", "about 5", "MiB", "time", "about 3 s", "images/ct_0001.nii.gz",
                     "no budget is set"):
            self.assertIn(text, result.stdout)

    def test_guidance_and_batches_count(self):
        flops = {"flops": 1e9}
        seconds = [self.plan(pipeline({"generate": model(flops), "count": 4, **options}))["seconds"]
                   for options in ({}, {"guidance": 2.0}, {"guidance": 2.0, "batched_guidance": True}, {"batch": 4})]
        self.assertEqual(seconds, [12, 24, 12, 3])

    def test_finished_samples_take_no_more_disk(self):
        self.run_pipeline(pipeline({"count": 2}))
        self.assertEqual(self.plan(pipeline({"count": 2}))["disk_bytes"], 0)
        (self.folder / "out/images/ct_0002.nii.gz").unlink()
        self.assertEqual(self.plan(pipeline({"count": 2}))["disk_bytes"], 6 * 5 * 4 * 4)

    def test_samples_that_two_steps_read_are_kept(self):
        nifti.write(self.folder / "x.nii.gz", (64, 64, 64), [1] * 64**3, "int16")
        vae = {"components": {"compressor": {"component": "null.compressor"}}}
        steps = {"z": {"encode": vae, "image": "x.nii.gz"}, "a": {"write": "@z", "to": "a"}}
        once = self.plan({"medgen": 1, "steps": steps})
        twice = self.plan({"medgen": 1, "steps": {**steps, "b": {"write": "@z", "to": "b"}}})
        self.assertGreater(twice["memory_bytes"], once["memory_bytes"] + MIB)

    def test_a_chain_of_steps_is_planned(self):
        nifti.write(self.folder / "x.nii.gz", (6, 5, 4), [1] * 120, "int16")
        vae = {"components": {"compressor": {"component": "null.compressor",
                                             "config": {"flops": 1e9, "weights_bytes": 50 * MIB}}}}
        plan = self.plan({"medgen": 1, "steps": {"z": {"encode": vae, "image": "x.nii.gz"},
                                                 "x": {"decode": vae, "latent": "@z"},
                                                 "save": {"write": "@x", "to": "out"}}})
        z, x, save = plan["steps"]
        self.assertGreater(x["memory_bytes"], z["memory_bytes"] + 49 * MIB)  # both models are loaded
        self.assertEqual((z["seconds"], x["seconds"]), (1, 1))
        self.assertEqual(save["files"], ["images/x.nii.gz"])


class Refused(Planning):
    def test_more_than_the_budget_is_refused_with_what_would_fit(self):
        document = {**claiming(peak_bytes=3 * GIB), "runtime": {"precision": "fp32", "memory": "1GiB"}}
        result = self.refused(document, OUT_OF_MEMORY, "steps.ct", "1.5", "GiB", "1.00 GiB", "runtime.memory=")
        budget = result.stderr.split("runtime.memory=")[1].split()[0]
        self.plan(document, "--set", f"runtime.memory={budget}")
        self.refused(document, OUT_OF_MEMORY, command="plan")
        self.refused(document, OUT_OF_MEMORY, arguments=["--dry-run"])

    def test_components_are_given_less_before_a_run_is_refused(self):
        document = {**claiming(peak_bytes=3 * GIB), "runtime": {"precision": "fp32", "memory": "2GiB"}}
        plan = self.plan(document)
        self.assertLess(plan["memory_bytes"], 2 * GIB)
        self.assertGreater(plan["steps"][0]["scratch_bytes"], GIB)
        self.run_pipeline(document)

    def test_a_component_with_little_to_work_with_may_give_more(self):
        document = claiming(peak_bytes=20 << 20)
        document["steps"]["ct"]["size"] = [256, 256, 128]
        plan = self.plan(document)
        document["runtime"] = {"memory": plan["memory_bytes"] - (5 << 20)}
        plan = self.plan(document)
        self.assertLess(plan["component_budget_bytes"], 256 * 256 * 128 * 4)
        self.run_pipeline(document)

    def test_a_budget_is_not_kept_by_files_in_memory(self):
        document = {**claiming(peak_bytes=3 * GIB), "runtime": {"precision": "fp32", "memory": "2GiB"}}
        with mock.patch.dict(os.environ, TMPDIR="/dev/shm"):
            self.refused(document, RUNTIME, "steps.ct", "temporary files", "'/dev/shm' is a file system in memory",
                         "TMPDIR", "nothing was computed")
            document["runtime"]["memory"] = "8GiB"
            self.plan(document)

    def test_more_than_the_machine_has_is_refused_without_a_budget(self):
        self.refused(claiming(peak_bytes=10**15), OUT_OF_MEMORY, "this machine has", "TiB")
        self.refused(claiming(weights_bytes=10**15), OUT_OF_MEMORY, "this machine has")

    def test_nobody_is_told_to_take_more_than_there_is(self):
        document = {**claiming(peak_bytes=10**15), "runtime": {"memory": "1GiB"}}
        self.assertNotIn("runtime.memory=", self.refused(document, OUT_OF_MEMORY).stderr)

    def test_a_budget_below_the_process_itself_is_refused(self):
        self.refused({**pipeline(), "runtime": {"memory": "1MiB"}}, OUT_OF_MEMORY, "budget")

    def test_more_than_the_disk_holds_is_refused(self):
        self.refused(claiming(scratch_bytes=10**17), RUNTIME, "disk", "TMPDIR", "nothing was computed")
        big = pipeline({"size": [4096, 4096, 4096], "count": 1000000})
        big["steps"]["ct"]["generate"]["components"]["denoiser"]["config"] = {}
        self.assertNotEqual(run("run", self.write_pipeline(big)).returncode, 0)


class CompressedOutputs(Planning):
    """Volumes are written compressed, by how much nobody knows before."""
    SAMPLE = 256**3 * 4

    def times_the_free_disk(self, factor):
        free = shutil.disk_usage(self.folder).free
        return pipeline({"size": [256, 256, 256], "count": int(free * factor / self.SAMPLE) + 1})

    def test_what_may_fit_is_planned_with_a_warning(self):
        plan = self.plan(self.times_the_free_disk(2))
        self.assertGreater(plan["disk_bytes"], plan["steps"][1]["output_least_bytes"])
        self.assertTrue(any("before compression" in text for text in plan["steps"][1]["warnings"]))
        self.assertIn("before compression", run("plan", self.write_pipeline(self.times_the_free_disk(2))).stdout)

    def test_what_fits_needs_no_warning(self):
        self.assertEqual(self.plan(self.times_the_free_disk(0.1))["steps"][1]["warnings"], [])

    def test_what_no_compression_makes_fit_is_refused(self):
        self.refused(self.times_the_free_disk(70), RUNTIME, "at least", "however well", "nothing was computed")


class Unknown(Planning):
    def test_an_estimate_that_makes_no_sense_refuses_nothing(self):
        for config in ({"estimate": "garbage"}, {"estimate": "[1]"}, {"estimate": "{}"}, {"estimate": "\u0001"},
                       {"peak_bytes": -1}, {"peak_bytes": 1e30}, {"flops": -1},
                       *({"fail": "estimate", "mode": mode} for mode in ("fail", "bad-status", "no-output"))):
            with self.subTest(config):
                document = pipeline({"generate": model(config)}, {"overwrite": True})
                plan = self.plan(document)
                self.assertEqual(plan["steps"][0]["unknown"], ["null.denoiser"])
                self.assertFalse(plan["complete"])
                self.assertIsNone(plan["seconds"])
                self.assertTrue(any("estimate" in text for text in plan["steps"][0]["warnings"]))
                self.assertIn("unknown", run("plan", self.write_pipeline(document)).stdout)
                self.assertEqual(run("run", self.write_pipeline(document)).returncode, 0)


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
