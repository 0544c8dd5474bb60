#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The promises of `medgen run`, tried from outside: run_e2e.py MEDGEN PLUGIN_FOLDER [unittest arguments]"""
import json
import signal
import subprocess
import sys
import time
import unittest

import nifti
import tool
from tool import Case, contents, model, pipeline, run

SLOW = {"fail": "predict", "mode": "slow", "slow_ms": 150}
LABELS = [i % 3 * 7 for i in range(6 * 5 * 4)]
AFFINES = {
    "flipped": ((-1, 0, 0, 90), (0, -1, 0, 126), (0, 0, 2, -72)),
    "permuted": ((0, 0, 2.5, -10), (1.25, 0, 0, 3), (0, -0.75, 0, 8)),
    "oblique": ((0.96, -0.25, 0.1, -31.5), (0.28, 0.93, -0.2, 17.25), (-0.04, 0.22, 1.9, -64)),
}


class Reproducible(Case):
    def test_a_run_can_be_run_again_from_its_manifest(self):
        self.run_pipeline(pipeline({"count": 2}))
        self.assertEqual(self.manifest()["run"]["status"], "complete")
        first = contents(self.folder / "out")
        self.assertEqual(sorted(first), ["images/ct_0001.nii.gz", "images/ct_0002.nii.gz"])
        self.assertNotEqual(*first.values())
        again = run("run", self.folder / "out/run.json", "--set", f"steps.save.to={self.folder}/other")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(contents(self.folder / "other"), first)

    def test_a_second_run_keeps_what_is_there(self):
        document = pipeline({"count": 2})
        self.run_pipeline(document)
        files = sorted((self.folder / "out").rglob("*.nii.gz"))
        before = [path.stat().st_mtime_ns for path in files]
        record = self.manifest()
        result = self.run_pipeline(document)
        self.assertIn("2 of 2", result.stderr)
        self.assertEqual([path.stat().st_mtime_ns for path in files], before)
        self.assertEqual(self.manifest(), record)  # of the run that made them

    def test_what_a_finished_run_lacks_is_added(self):
        self.run_pipeline(pipeline())
        self.run_pipeline(pipeline(write={"contact_sheet": "sheet.png"}))
        self.assertTrue((self.folder / "out/sheet.png").exists())
        self.assertEqual(self.manifest()["steps"]["save"]["contact_sheet"], "sheet.png")

    def test_samples_that_nobody_takes_are_told(self):
        document = pipeline()
        del document["steps"]["save"]
        self.assertIn("steps.ct: no step takes its samples", self.run_pipeline(document).stderr)

    def test_a_damaged_sample_is_made_again(self):
        document = pipeline({"count": 2})
        self.run_pipeline(document)
        whole = contents(self.folder / "out")
        (self.folder / "out/images/ct_0002.nii.gz").write_bytes(b"damaged")
        self.run_pipeline(document)
        self.assertEqual(contents(self.folder / "out"), whole)

    def test_guidance_0_is_off_as_in_released_files(self):
        for scale in (0, 1):
            self.run_pipeline(pipeline({"guidance": scale}, {"to": f"out{scale}"}))
        self.assertEqual(contents(self.folder / "out0"), contents(self.folder / "out1"))

    def test_another_seed_differs(self):
        self.run_pipeline(pipeline())
        self.run_pipeline(pipeline(write={"to": "other"}), "--seed", 8)
        one, other = contents(self.folder / "out"), contents(self.folder / "other")
        self.assertEqual(one.keys(), other.keys())
        self.assertTrue(all(one[name] != other[name] for name in one))

    def test_neither_batch_nor_threads_change_a_sample(self):
        reference = None
        for batch, threads in ((1, 1), (8, 1), (3, 2), (1, 2)):
            to = f"out-{batch}-{threads}"
            self.run_pipeline(pipeline({"count": 8, "batch": batch}, {"to": to}), "--threads", threads)
            reference = reference or contents(self.folder / to)
            self.assertEqual(len(reference), 8)
            self.assertEqual(contents(self.folder / to), reference, to)

    def test_windows_of_known_slices_do_not_depend_on_the_batch(self):
        for known in ("clean", "renoise"):
            config = {"axis": 0, "window": 3, "overlap": 1, "known": known}
            parts = model(propagator={"component": "null.propagator", "config": config})
            for batch in (1, 4):
                to = f"{known}-{batch}"
                self.run_pipeline(pipeline({"generate": parts, "count": 4, "batch": batch}, {"to": to}))
            self.assertEqual(contents(self.folder / f"{known}-1"), contents(self.folder / f"{known}-4"))


class Interrupted(Case):
    def slow_pipeline(self):
        return pipeline({"generate": model(SLOW), "count": 3, "steps": 4})

    def expected(self):
        """The same samples, uninterrupted: how slow a denoiser is does not change them."""
        self.run_pipeline(pipeline({"count": 3, "steps": 4}, {"to": "whole"}), name="whole.json")
        return contents(self.folder / "whole")

    def interrupt(self, sign):
        """Runs until the second sample has had its first evaluation: the process, and the events after the signal."""
        path = self.write_pipeline(self.slow_pipeline())
        process = subprocess.Popen(tool.command("run", path, "--progress=json"), stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, text=True, env=tool.environment())
        sampling, sent = [], None
        for line in process.stderr:
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("task") == "sampling" and event.get("item") == "ct_0002":
                sampling.append(event["done"])
                if sent is None and event["done"] == 1:
                    process.send_signal(sign)
                    sent = time.monotonic()
        process.stderr.close()
        return process.wait(), max(sampling)

    def check_goes_on(self, first):
        self.run_pipeline(self.slow_pipeline())
        self.assertEqual(contents(self.folder / "out"), self.expected())
        self.assertEqual(self.manifest()["run"]["status"], "complete")
        self.assertEqual((self.folder / "out/images/ct_0001.nii.gz").stat().st_mtime_ns, first)

    def test_ctrl_c_stops_within_a_step_and_the_next_run_goes_on(self):
        code, evaluations = self.interrupt(signal.SIGINT)
        self.assertEqual(code, 130)
        self.assertLessEqual(evaluations, 2)
        self.assertEqual(list(contents(self.folder / "out")), ["images/ct_0001.nii.gz"])
        manifest = self.manifest()
        self.assertEqual(manifest["run"]["status"], "incomplete")
        self.assertEqual([sample["name"] for sample in manifest["run"]["samples"]], ["ct_0001"])
        self.check_goes_on((self.folder / "out/images/ct_0001.nii.gz").stat().st_mtime_ns)

    def test_a_killed_run_goes_on(self):
        code, _ = self.interrupt(signal.SIGKILL)
        self.assertEqual(code, -signal.SIGKILL)
        self.check_goes_on((self.folder / "out/images/ct_0001.nii.gz").stat().st_mtime_ns)

    def test_two_runs_do_not_share_a_folder(self):
        path = self.write_pipeline(pipeline({"generate": model(SLOW), "steps": 200}))
        with subprocess.Popen(tool.command("run", path, "--progress=json"), stderr=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, text=True, env=tool.environment()) as first:
            for line in first.stderr:
                if '"sampling"' in line:
                    break
            second = run("run", path)
            first.send_signal(signal.SIGINT)
            first.stderr.read()
        self.assertEqual(second.returncode, 1, second.stderr)
        self.assertIn("another run is writing", second.stderr)

    def test_a_killed_run_is_not_replaced_by_another(self):
        self.interrupt(signal.SIGKILL)
        before = contents(self.folder / "out")
        result = run("run", self.write_pipeline(pipeline({"count": 2})))
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertEqual(contents(self.folder / "out"), before)
        self.check_goes_on((self.folder / "out/images/ct_0001.nii.gz").stat().st_mtime_ns)

    def test_a_torn_journal_line_costs_one_sample(self):
        self.interrupt(signal.SIGKILL)
        journal = self.folder / "out/run.journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-20])
        self.run_pipeline(self.slow_pipeline())
        self.assertEqual(contents(self.folder / "out"), self.expected())


class OtherFolders(Case):
    def refused(self, document, *names):
        for command in ("plan", "run"):
            result = run(command, self.write_pipeline(document))
            self.assertEqual(result.returncode, 4, result.stderr)
            for name in names:
                self.assertIn(name, result.stderr)

    def test_a_plan_tells_of_the_results_of_another_pipeline(self):
        self.run_pipeline(pipeline())
        before = contents(self.folder / "out"), self.manifest()
        self.assertEqual(run("plan", self.write_pipeline(pipeline())).returncode, 0)
        other = self.write_pipeline(pipeline({"steps": 2}))
        result = run("plan", other)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("holds the results of another run (steps.ct.steps is 2, was 3)", result.stderr)
        self.assertIn("(seed is 8, was 7)", run("plan", self.write_pipeline(pipeline(seed=8))).stderr)
        self.assertEqual(run("plan", other, "--set", "steps.save.overwrite=true").returncode, 0)
        self.assertEqual((contents(self.folder / "out"), self.manifest()), before)

    def test_results_of_another_pipeline_are_not_replaced_unasked(self):
        self.run_pipeline(pipeline())
        before = contents(self.folder / "out")
        self.refused(pipeline({"steps": 4}, seed=8), "out", "overwrite")
        self.assertEqual(contents(self.folder / "out"), before)
        self.run_pipeline(pipeline({"steps": 4}, {"overwrite": True}, seed=8))
        self.assertNotEqual(contents(self.folder / "out"), before)

    def test_files_of_somebody_else_are_not_replaced_however_often_it_is_tried(self):
        theirs = self.folder / "out/images/ct_0001.nii.gz"
        theirs.parent.mkdir(parents=True)
        theirs.write_bytes(b"theirs")
        for _ in range(2):
            self.refused(pipeline(), "ct_0001.nii.gz", "overwrite")
            self.assertEqual(theirs.read_bytes(), b"theirs")

    def test_a_sample_that_cannot_be_finished_leaves_none_of_its_files(self):
        nifti.write(self.folder / "case.nii.gz", (6, 5, 4), LABELS, "uint8", AFFINES["oblique"])
        (self.folder / "out").mkdir()
        (self.folder / "out/images").write_text("where a folder is wanted")  # after the label map is there
        document = pipeline({"mask": "case.nii.gz"})
        self.assertNotEqual(run("run", self.write_pipeline(document)).returncode, 0)
        self.assertEqual(contents(self.folder / "out"), {})
        (self.folder / "out/images").unlink()
        self.run_pipeline(document)
        self.assertEqual(list(contents(self.folder / "out")), ["images/case.nii.gz", "labels/case.nii.gz"])

    def test_paths_of_the_command_line_start_where_it_was_typed(self):
        (self.folder / "elsewhere").mkdir()
        nifti.write(self.folder / "elsewhere/case.nii.gz", (6, 5, 4), LABELS, "uint8", AFFINES["oblique"])
        arguments = ("--set", "steps.ct.mask=case.nii.gz", "--set", "steps.save.to=here")
        command = tool.command("run", self.write_pipeline(pipeline({"mask": "none.nii.gz"})), *arguments)
        result = subprocess.run(command, cwd=self.folder / "elsewhere", capture_output=True, text=True, env=tool.environment())
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue((self.folder / "elsewhere/here/images/case.nii.gz").exists())
        record = self.manifest("elsewhere/here")  # a pipeline of its own, which can be run from anywhere
        self.assertEqual((record["steps"]["ct"]["mask"], record["steps"]["save"]["to"]), ("../case.nii.gz", "."))

    def test_an_input_is_never_replaced(self):
        mask = self.folder / "out/labels/case.nii.gz"
        nifti.write(mask, (6, 5, 4), LABELS, "uint8", AFFINES["oblique"])
        before = mask.read_bytes()
        self.refused(pipeline({"mask": "out/labels"}, {"overwrite": True}), "case.nii.gz", "is an input of this run")
        self.assertEqual(mask.read_bytes(), before)
        self.assertEqual(list(contents(self.folder / "out")), ["labels/case.nii.gz"])

    def test_a_manifest_that_is_garbage_is_that_of_another_run(self):
        self.run_pipeline(pipeline())
        path = self.folder / "out/run.json"
        whole = json.loads(path.read_text())
        for run_part in (3, {"fingerprint": 3}, {"fingerprint": [1], "samples": 3}, None):
            path.write_text(json.dumps({**whole, "run": run_part}))
            self.refused(pipeline(), "out")
        path.write_text("{")
        self.refused(pipeline(), "out")

    def test_records_that_are_garbage_only_cost_their_samples(self):
        self.run_pipeline(pipeline())
        before = contents(self.folder / "out")
        path = self.folder / "out/run.json"
        whole = json.loads(path.read_text())
        name = whole["run"]["samples"][0]["name"]
        for samples in (3, [3], [{"name": 3}], [{"name": name, "files": 3}], [{"name": name, "files": {"a": 3}}],
                        [{"name": name}], {"a": {"name": name}}):
            whole["run"]["samples"] = samples
            path.write_text(json.dumps(whole))
            self.run_pipeline(pipeline())
            self.assertEqual(contents(self.folder / "out"), before)


class Geometry(Case):
    def test_label_maps_keep_ids_type_and_affine(self):
        for kind, affine in AFFINES.items():
            for dtype in ("uint8", "int16"):
                nifti.write(self.folder / f"masks/{kind}-{dtype}.nii.gz", (6, 5, 4), LABELS, dtype, affine)
        compressor = {"component": "null.compressor", "config": {"factor": 4}}
        for orientation in ("RAS", "LPI", "SAR"):
            document = pipeline({"generate": model(data={"orientation": orientation, "output": "int16"},
                                                   compressor=compressor), "mask": "masks"},
                                {"to": orientation})
            self.run_pipeline(document)
            for kind in AFFINES:
                for dtype in ("uint8", "int16"):
                    with self.subTest(orientation=orientation, kind=kind, dtype=dtype):
                        self.check(orientation, f"{kind}-{dtype}", dtype)

    def check(self, to, name, dtype):
        source = nifti.Volume(self.folder / f"masks/{name}.nii.gz")
        label = nifti.Volume(self.folder / f"{to}/labels/{name}.nii.gz")
        image = nifti.Volume(self.folder / f"{to}/images/{name}.nii.gz")
        self.assertEqual((label.dtype, image.dtype), (dtype, "int16"))
        self.assertEqual(label.values, source.values)
        for volume in (label, image):
            self.assertEqual(volume.size, source.size)
            for mine, theirs in zip(volume.affine, source.affine):
                for a, b in zip(mine, theirs):
                    self.assertAlmostEqual(a, b, delta=1e-6)

    def test_encode_and_decode_give_the_image_back(self):
        values = [(i * 37) % 1000 - 300 for i in range(120)]
        nifti.write(self.folder / "head.nii.gz", (6, 5, 4), values, "int16", AFFINES["oblique"])
        vae = {"components": {"compressor": {"component": "null.compressor"}}, "data": {"orientation": "PIR"}}
        self.run_pipeline({"medgen": 1, "steps": {"z": {"encode": vae, "image": "head.nii.gz"},
                                                  "x": {"decode": vae, "latent": "@z"},
                                                  "save": {"write": "@x", "to": "out"}}})
        back = nifti.Volume(self.folder / "out/images/head.nii.gz")
        self.assertEqual((back.values, back.dtype), (values, "int16"))

    def test_a_decoded_image_has_the_type_it_came_in(self):
        vae = {"components": {"compressor": {"component": "null.compressor"}}}
        for dtype, values in (("float32", [i / 128 for i in range(120)]), ("uint8", list(range(120))),
                              ("int32", [100000 + i for i in range(120)])):
            with self.subTest(dtype):
                nifti.write(self.folder / f"{dtype}.nii.gz", (6, 5, 4), values, dtype)
                self.run_pipeline({"medgen": 1, "steps": {"z": {"encode": vae, "image": f"{dtype}.nii.gz"},
                                                          "x": {"decode": vae, "latent": "@z"},
                                                          "save": {"write": "@x", "to": dtype}}})
                back = nifti.Volume(self.folder / f"{dtype}/images/{dtype}.nii.gz")
                self.assertEqual((back.values, back.dtype), (values, dtype))


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
