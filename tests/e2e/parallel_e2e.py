#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several processes on one pipeline: parts of the samples, and ranks that train together (mpirun)."""
import array
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest
from pathlib import Path

import nifti
import tool
from tool import Case
from training import MODEL, WITH_MODALITY, TrainingCase

MPI = ("mpirun was not found", "this medgen was built without MPI")


def no_mpi():
    """Why tests with mpirun cannot run, or nothing."""
    if shutil.which("mpirun") is None:
        return MPI[0]
    module = Path(tool.MEDGEN).resolve().parent.parent / "lib" / "medgen" / "medgen-mpi.so"
    return "" if module.exists() else MPI[1]


def mpi_environment(**more):
    return {**tool.environment(), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none", **more}


def mpi_command(ranks, *arguments):
    return ["mpirun", "-q", "-n", str(ranks), *tool.command(*arguments)]


def weights_of(path):
    """Tensors of a float32 safetensors file, flat, by name."""
    data = Path(path).read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = array.array("f", data[8 + length + begin:8 + length + end])
    return tensors


def difference(one, other, prefix=""):
    """The largest difference of two files of weights, relative to the largest weight of its tensor."""
    a, b = weights_of(one), weights_of(other)
    assert a.keys() == b.keys()
    worst = 0.0
    names = [name for name in a if name.startswith(prefix)]
    assert names
    for name in names:
        values = a[name]
        scale = max(abs(value) for value in values) or 1.0
        worst = max(worst, max(abs(x - y) for x, y in zip(values, b[name])) / scale)
    return worst


def rank_process(launcher, rank):
    """The process id of a rank that this mpirun has started."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == launcher and f"OMPI_COMM_WORLD_RANK={rank}\0" in (entry / "environ").read_text():
                return int(entry.name)
        except (OSError, ValueError):
            continue
    return None


class Shards(Case):
    def setUp(self):
        super().setUp()
        self.document = tool.pipeline({"count": 7, "batch": 2})
        self.run_pipeline(self.document, "--set", f"steps.save.to={self.folder}/whole", name="whole.json")

    def shard(self, part, *arguments, env=None):
        path = self.write_pipeline(self.document)
        return subprocess.run(tool.command("run", path, "--shard", part, *arguments), capture_output=True, text=True,
                              timeout=120, env={**tool.environment(), **(env or {})})

    def check_whole(self):
        self.assertEqual(tool.contents(self.folder / "out"), tool.contents(self.folder / "whole"))
        run, whole = self.manifest()["run"], self.manifest("whole")["run"]
        self.assertEqual(run["status"], "complete")
        self.assertEqual(run["samples"], whole["samples"])
        self.assertEqual([path.name for path in (self.folder / "out").glob("run.*")], ["run.json"])

    def test_a_part_looks_at_its_own_label_maps(self):
        for name, ids in (("a", [1] * 8), ("b", [7] * 8)):
            nifti.write(self.folder / "masks" / f"{name}.nii", (2, 2, 2), ids)
        self.document = tool.pipeline({"generate": tool.model(data={"labels": {"organ": 1}}), "mask": "masks"})
        self.assertEqual(self.shard("1/2").returncode, 0)
        result = self.shard("2/2")
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("b.nii", result.stderr)

    def test_parts_make_what_one_run_makes(self):
        for part in ("2/3", "3/3", "1/3"):
            self.assertFalse((self.folder / "out" / "run.json").exists())
            result = self.shard(part)
            self.assertEqual(result.returncode, 0, result.stderr)
        self.check_whole()
        self.assertEqual({part["part"] for part in self.manifest()["run"]["parts"]}, {"1/3", "2/3", "3/3"})

    def test_parts_at_the_same_time(self):
        path = self.write_pipeline(self.document)
        running = [subprocess.Popen(tool.command("run", path, "--shard", f"{i}/4"), stderr=subprocess.PIPE, text=True,
                                    stdout=subprocess.DEVNULL, env=tool.environment()) for i in range(1, 5)]
        for process in running:
            _, errors = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, errors)
        self.check_whole()

    def test_a_part_that_was_killed_goes_on_where_it_was(self):
        self.document = tool.pipeline({"count": 40, "steps": 400})
        self.run_pipeline(self.document, "--set", f"steps.save.to={self.folder}/whole2", name="whole.json")
        path = self.write_pipeline(self.document)
        process = subprocess.Popen(tool.command("run", path, "--shard", "2/2"), stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, env=tool.environment())
        journal = self.folder / "out" / "run.journal.2-of-2.jsonl"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None \
                and (not journal.exists() or len(journal.read_text().splitlines()) < 4):
            time.sleep(0.002)
        process.kill()
        process.wait()
        finished = {path: path.stat().st_mtime_ns for path in (self.folder / "out").rglob("*.nii.gz")}
        self.assertGreater(len(finished), 1)
        self.assertEqual(self.shard("1/2").returncode, 0)
        self.assertFalse((self.folder / "out" / "run.json").exists())
        result = self.shard("2/2")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("are already in", result.stderr)
        untouched = [path for path, time_ns in finished.items() if path.stat().st_mtime_ns == time_ns]
        self.assertGreaterEqual(len(untouched), len(finished) - 1)
        self.assertEqual(tool.contents(self.folder / "out"), tool.contents(self.folder / "whole2"))

    def test_other_parts_and_one_process_go_on_with_what_parts_left(self):
        self.assertEqual(self.shard("1/3").returncode, 0)
        before = {path: path.stat().st_mtime_ns for path in (self.folder / "out").rglob("*.nii.gz")}
        self.assertEqual(self.shard("2/2").returncode, 0)
        self.run_pipeline(self.document)
        self.check_whole()
        for path, time_ns in before.items():
            self.assertEqual(path.stat().st_mtime_ns, time_ns, path)

    def test_a_job_array_of_slurm(self):
        for task in (0, 2):
            result = self.shard("slurm", env={"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_MIN": "0",
                                              "SLURM_ARRAY_TASK_MAX": "2", "SLURM_ARRAY_TASK_STEP": "2"})
            self.assertEqual(result.returncode, 0, result.stderr)
        self.check_whole()

    def test_more_parts_than_samples(self):
        for i in range(1, 10):
            self.assertEqual(self.shard(f"{i}/9").returncode, 0)
        self.check_whole()

    def test_no_part_and_no_array(self):
        for part, says in (("0/2", "no part"), ("3/2", "no part"), ("half", "no part"), ("slurm", "job array")):
            result = self.shard(part)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(says, result.stderr)
        self.assertFalse((self.folder / "out").exists())

    def test_another_pipeline_in_the_folder(self):
        self.assertEqual(self.shard("1/2").returncode, 0)
        self.document["seed"] = 8
        result = self.shard("2/2")
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("another run", result.stderr)
        self.document["steps"]["save"]["overwrite"] = True
        for part in ("1/2", "2/2"):
            self.assertEqual(self.shard(part).returncode, 0)
        self.assertEqual(self.manifest()["run"]["status"], "complete")
        self.assertNotEqual(tool.contents(self.folder / "out"), tool.contents(self.folder / "whole"))

    def test_ranks_divide_the_samples(self):
        if no_mpi():
            self.skipTest(no_mpi())
        for ranks in (2, 4):
            shutil.rmtree(self.folder / "out", ignore_errors=True)
            result = subprocess.run(mpi_command(ranks, "run", self.write_pipeline(self.document)), timeout=120,
                                    capture_output=True, text=True, env=mpi_environment())
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(result.stdout.splitlines(), [str(self.folder / "out")])
            self.check_whole()


class Training(TrainingCase):
    def setUp(self):
        super().setUp()
        if no_mpi():
            self.skipTest(no_mpi())
        if not (Path(tool.PLUGINS) / "maisi.medgen-plugin.json").exists():
            self.skipTest("this medgen was built without LibTorch")

    def document(self, to, **unet):
        # Adam divides by the root of squared gradients, and makes much of the last bits of those near 0: not with this eps.
        common = {"data": "data", "batch": 4, "learning_rate": 0.01, "log_every": 1, "checkpoint_every": 5,
                  "crop": [8, 8, 8]}
        return {"medgen": 1, "seed": 3, "runtime": {"precision": "fp32", "threads": 1}, "steps": {
            "vae": {"train": MODEL, "component": "compressor", "iterations": 4, "to": f"{to}/vae", **common,
                    "options": {"eps": 1e-3}},
            "unet": {"train": "@vae", "component": "denoiser", "iterations": 12, "to": f"{to}/model", **common,
                     "options": {"eps": 1e-3, "clip_norm": 10}, **unet}}}

    def start_ranks(self, ranks, document, name, **environment):
        return subprocess.Popen(mpi_command(ranks, "run", self.write_pipeline(document, name)), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=mpi_environment(**environment))

    def train(self, ranks, document, name="p.json"):
        process = self.start_ranks(ranks, document, name)
        output, errors = process.communicate(timeout=240)
        self.assertEqual(process.returncode, 0, errors)
        return output, errors

    def wait_for_log(self, to, lines, process):
        deadline = time.monotonic() + 120
        while len(self.log(to)) < lines and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        self.assertIsNone(process.poll(), "the training ended too early")

    def check_same(self, one, other):
        for part in ("vae/compressor", "model/denoiser"):
            with self.subTest(part=part, folder=other):
                self.assertLess(difference(self.folder / one / f"{part}.safetensors",
                                           self.folder / other / f"{part}.safetensors"), 2e-5)

    def test_ranks_train_what_one_process_trains(self):
        self.run_pipeline(self.document("one"))
        for ranks in (2, 4, 3):
            to = f"ranks{ranks}"
            output, _ = self.train(ranks, self.document(to))
            self.assertEqual(len(output.splitlines()), 2)
            self.check_same("one", to)
            self.assertEqual([line["iteration"] for line in self.log(to)], list(range(1, 13)))
            for one, several in zip(self.log("one"), self.log(to)):
                self.assertAlmostEqual(one["loss"] / several["loss"], 1, places=5)
        self.train(2, self.document("again"))
        weights = [(self.folder / to / "model" / "denoiser.safetensors").read_bytes() for to in ("again", "ranks2")]
        self.assertEqual(*weights)

    def test_batches_that_are_gathered(self):
        keys = {"batch": 2, "accumulate": 2}
        self.run_pipeline(self.document("one", **keys))
        self.train(2, self.document("two", **keys))
        self.check_same("one", "two")

    def test_conditions_of_each_case(self):
        (self.folder / "cases.csv").write_text("case,modality\na,mri_t1\nb,mri_t2\nc,unknown\n")
        documents = [self.document(to, case_conditions="cases.csv") for to in ("one", "ranks")]
        for document in documents:
            document["steps"]["vae"]["train"] = WITH_MODALITY
        self.run_pipeline(documents[0])
        self.train(2, documents[1])
        self.check_same("one", "ranks")

    def test_held_out_cases_are_shared(self):
        keys = {"validation": 0.34, "validate": {"every": 2, "times": 3}, "keep": "best",
                "samples": {"every": 6, "count": 1, "steps": 2}}
        self.run_pipeline(self.document("one", **keys))
        for ranks in (2, 4):
            to = f"ranks{ranks}"
            self.train(ranks, self.document(to, **keys))
            self.check_same("one", to)
            one, several = ([line for line in self.log(name) if "validation_loss" in line] for name in ("one", to))
            self.assertEqual([line["iteration"] for line in several], [2, 4, 6, 8, 10, 12])
            for a, b in zip(one, several):
                self.assertAlmostEqual(a["validation_loss"] / b["validation_loss"], 1, places=5)
            samples = [sorted(path.name for path in (self.folder / name / "model/training/unet/samples").iterdir())
                       for name in ("one", to)]
            self.assertEqual(*samples)

    def test_the_discriminator_is_everybodys(self):
        draw = random.Random(2)
        for name in ("a", "b"):
            nifti.write(self.folder / "large" / "images" / f"{name}.nii", (24, 24, 24),
                        [draw.uniform(0, 100) for _ in range(24 ** 3)], "float32")
        for to, ranks in (("one", 1), ("two", 2)):
            document = self.document(to)
            document["steps"] = {"vae": {
                **document["steps"]["vae"], "data": "large", "crop": [24, 24, 24], "batch": 2, "iterations": 1,
                "options": {"eps": 1e-3, "clip_norm": 10, "adversarial_weight": 0.1, "checkpoint_activations": True}}}
            self.train(ranks, document)
        place = Path("vae") / "training" / "vae" / "checkpoint.safetensors"
        # Its norms are taken over few voxels of images that hardly vary yet, and make much of the last bits.
        for prefix, tolerance in (("weights/", 2e-4), ("optimizer/discriminator/optimizer/", 1e-3)):
            self.assertLess(difference(self.folder / "one" / place, self.folder / "two" / place, prefix), tolerance)

    def test_stopped_and_resumed_with_another_number(self):
        keys = {"iterations": 60}
        self.run_pipeline(self.document("one", **keys))
        process = self.start_ranks(2, self.document("out", **keys), "p.json")
        self.wait_for_log("out", 8, process)
        os.kill(rank_process(process.pid, 1), signal.SIGINT)  # one of them is told, all stop
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        self.assertEqual(errors.count("training was cancelled"), 1, errors)
        done = len(self.log("out"))
        self.assertLess(done, 60)
        _, errors = self.train(4, self.document("out", **keys))
        self.assertIn("going on from iteration", errors)
        self.check_same("one", "out")
        self.assertEqual([line["iteration"] for line in self.log("out")], list(range(1, 61)))

    def test_a_lost_rank_ends_the_job_and_leaves_a_checkpoint(self):
        keys = {"iterations": 100000}
        process = self.start_ranks(2, self.document("out", **keys), "p.json")
        self.wait_for_log("out", 8, process)
        os.kill(rank_process(process.pid, 1), signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assertLessEqual(errors.count("training was cancelled"), 1, errors)
        self.assertNotIn("medgen: error", errors)
        done = len(self.log("out"))
        process = self.start_ranks(2, self.document("out", **keys), "p.json")
        self.wait_for_log("out", done + 3, process)
        process.terminate()
        _, errors = process.communicate(timeout=60)
        self.assertIn("going on from iteration", errors)
        # Iterations that were done again are logged once.
        *lines, last = self.log("out")
        self.assertEqual([line["iteration"] for line in lines], list(range(1, len(lines) + 1)))
        self.assertIn("stopped", last)

    def test_a_failure_of_one_rank_is_told_once(self):
        good = self.write_pipeline(self.document("out", iterations=100000), "good.json")
        bad = self.write_pipeline(self.document("out", data="nowhere"), "bad.json")
        command = ["mpirun", "-q", "-n", "1", *tool.command("run", good), ":", "-n", "1", *tool.command("run", bad)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=mpi_environment())
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertEqual(result.stderr.count("medgen: error"), 1, result.stderr)
        self.assertIn("process 2 of 2", result.stderr)
        self.assertIn("nowhere", result.stderr)

    def test_errors_of_all_are_told_once(self):
        process = self.start_ranks(4, self.document("out", batch=2), "p.json")
        _, errors = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 3, errors)
        self.assertEqual(errors.count("medgen: error"), 1, errors)
        self.assertIn("4 processes cannot share", errors)

    def test_processes_share_the_memory_of_their_machine(self):
        document = self.document("out")
        planned = tool.run("plan", self.write_pipeline(document), "--json")
        self.assertEqual(planned.returncode, 0, planned.stderr)
        document["runtime"]["memory"] = json.loads(planned.stdout)["memory_bytes"] * 3 // 2  # of one, not of two
        process = self.start_ranks(2, document, "p.json")
        _, errors = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 6, errors)
        self.assertEqual(errors.count("medgen: error"), 1, errors)
        self.assertIn("for 2 processes", errors)
        enough = int(errors.split("runtime.memory=")[1].split("MiB")[0])
        self.assertGreater(enough << 20, document["runtime"]["memory"])
        document["runtime"]["memory"] = f"{enough + 64}MiB"
        self.train(2, document)

    def test_a_shard_does_not_train(self):
        result = tool.run("run", self.write_pipeline(self.document("out")), "--shard", "1/2")
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("steps.vae", result.stderr)


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    if no_mpi():
        print(f"skipped: tests with mpirun: {no_mpi()}", file=sys.stderr)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
