#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Malformed input of every kind: malformed_e2e.py MEDGEN PLUGIN_FOLDER. Each ends with the documented exit code, one
message that names the file and the place, and without output."""
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import unittest
from pathlib import Path

import nifti
import tool
from tool import Case, model, pipeline, run

USAGE, CONFIG, DATA, PLUGIN, DEVICE = 2, 3, 4, 5, 7


def steps(**named):
    return {"medgen": 1, "steps": named}


def broken_model(**changes):
    return pipeline({"generate": {**model(), **changes}})


def part(name, **component):
    parts = model()
    parts["components"][name] = component
    return pipeline({"generate": parts})


# (name, pipeline, exit code, what the message says)
PIPELINES = [
    ("empty", "", CONFIG, ["p.json:1:1"]),
    ("not json", "{\"medgen\": 1,\n  steps: {}}", CONFIG, ["p.json:2:3"]),
    ("torn", "{\"medgen\": 1, \"steps\": {", CONFIG, ["p.json:1:"]),
    ("binary", "\x00\x01\x02\x7f", CONFIG, ["p.json:1:1"]),
    ("deep", "[" * 100000, CONFIG, ["p.json:1:"]),
    ("twice", '{"medgen": 1, "medgen": 1, "steps": {}}', CONFIG, ["p.json:1:", "medgen"]),
    ("array", "[]", CONFIG, ["p.json:1:1", "object"]),
    ("version", {**pipeline(), "medgen": 2}, CONFIG, ["p.json:", "medgen"]),
    ("no version", {"steps": pipeline()["steps"]}, CONFIG, ["p.json:", "medgen"]),
    ("no steps", {"medgen": 1, "steps": {}}, CONFIG, ["p.json:", "steps"]),
    ("typo in a key", pipeline({"cuont": 2}), CONFIG, ["p.json:", "cuont", "count"]),
    ("typo in a verb", steps(ct={"genrate": "m"}), CONFIG, ["p.json:", "steps.ct", "generate"]),
    ("two verbs", steps(ct={"generate": "m", "encode": "m"}), CONFIG, ["p.json:", "two verbs"]),
    ("step name", steps(**{"1 ct": {"generate": "m"}}), CONFIG, ["p.json:", "1 ct"]),
    ("negative seed", pipeline(seed=-1), CONFIG, ["p.json:", "seed"]),
    ("seed beyond 64 bits", pipeline(seed=2**64), CONFIG, ["p.json:3:"]),
    ("seed as text", pipeline(seed="7"), CONFIG, ["p.json:", "seed"]),
    ("no samples", pipeline({"count": 0}), CONFIG, ["p.json:", "count"]),
    ("too many samples", pipeline({"count": 10**18}), CONFIG, ["p.json:", "count"]),
    ("no steps of sampling", pipeline({"steps": 0}), CONFIG, ["p.json:", "steps"]),
    ("times that rise", pipeline({"timesteps": [1, 500, 900]}), CONFIG, ["p.json:", "timesteps", "number 2 is 500"]),
    ("a time below nothing", pipeline({"timesteps": [900, -4]}), CONFIG, ["p.json:", "timesteps", "-4"]),
    ("half a sample", pipeline({"count": 1.5}), CONFIG, ["p.json:", "count"]),
    ("two axes", pipeline({"size": [4, 4]}), CONFIG, ["p.json:", "size"]),
    ("no spacing", pipeline({"spacing_mm": [1, 0, 1]}), CONFIG, ["p.json:", "spacing_mm"]),
    ("absurd size", pipeline({"size": [2**62, 2**62, 4]}), CONFIG, ["p.json:", "size"]),
    ("largest integer", pipeline({"size": [2**63 - 1, 1, 1]}), CONFIG, ["p.json:", "size"]),
    ("mask and size", pipeline() | {"steps": {"ct": {"generate": model(), "mask": "m", "size": [1, 1, 1]}}}, CONFIG,
     ["p.json:", "mask"]),
    ("reference to nothing", pipeline(write={"write": "@mr"}), CONFIG, ["p.json:", "@mr"]),
    ("reference to itself", pipeline(write={"write": "@save"}), CONFIG, ["p.json:", "@save"]),
    ("reference to a later step", steps(save={"write": "@ct", "to": "out"}, ct=pipeline()["steps"]["ct"]), CONFIG,
     ["p.json:", "@ct"]),
    ("write without a place", steps(ct=pipeline()["steps"]["ct"], save={"write": "@ct"}), CONFIG, ["p.json:", "to"]),
    ("layout", pipeline(write={"layout": "bids"}), CONFIG, ["p.json:", "bids"]),
    ("contact sheet in another folder", pipeline(write={"contact_sheet": "../evil.png"}), CONFIG,
     ["p.json:", "contact_sheet", "../evil.png"]),
    ("contact sheet somewhere else", pipeline(write={"contact_sheet": "/tmp/evil.png"}), CONFIG,
     ["p.json:", "contact_sheet", "/tmp/evil.png"]),
    ("contact sheet without a name", pipeline(write={"contact_sheet": ".png"}), CONFIG, ["p.json:", "contact_sheet"]),
    ("device", pipeline(runtime={"device": "tpu"}), CONFIG, ["p.json:", "device"]),
    ("GPU that is not there", pipeline(runtime={"device": "cuda:99"}), DEVICE, ["cuda:99", "\"cpu\""]),
    ("memory", pipeline(runtime={"memory": "4 bananas"}), CONFIG, ["p.json:", "memory"]),
    ("no memory", pipeline(runtime={"memory": 0}), CONFIG, ["p.json:", "memory"]),
    ("no memory, as text", pipeline(runtime={"memory": "0"}), CONFIG, ["p.json:", "memory", "1MiB"]),
    ("threads", pipeline(runtime={"threads": 1000000}), CONFIG, ["p.json:", "threads", "4096"]),
    ("batch", pipeline({"batch": 10**9}), CONFIG, ["p.json:", "batch"]),
    ("guidance", pipeline({"guidance": 1e308}), CONFIG, ["p.json:", "guidance"]),
    ("name of a conditioner", part("conditioners", **{"bad name!": {"component": "null.conditioner"}}), CONFIG,
     ["p.json:", "bad name!"]),
    ("model folder", pipeline({"generate": "nowhere"}), CONFIG, ["p.json:", "nowhere"]),
    ("method", broken_model(method="null.methd"), CONFIG, ["p.json:", "null.methd"]),
    ("model key", broken_model(componets={}), CONFIG, ["p.json:", "componets", "components"]),
    ("latent scale", broken_model(latent={"scale": 0}), CONFIG, ["p.json:", "scale"]),
    ("orientation", broken_model(data={"orientation": "RRS"}), CONFIG, ["p.json:", "RRS"]),
    ("window upside down", broken_model(data={"intensity": {"kind": "window", "low": 1, "high": 0}}), CONFIG,
     ["p.json:", "high"]),
    ("no denoiser", pipeline({"generate": {"components": {}}}), CONFIG, ["denoiser"]),
    ("component that does not exist", part("denoiser", component="null.denoser"), CONFIG,
     ["p.json:", "null.denoser", "null.denoiser"]),
    ("component of another kind", part("denoiser", component="null.scheduler"), CONFIG,
     ["p.json:", "null.scheduler", "a denoiser is needed"]),
    ("scheduler that is none", pipeline({"scheduler": {"component": "null.denoiser", "config": {"eta": 1}}}), CONFIG,
     ["p.json:", "null.denoiser", "a scheduler is needed"]),
    ("conditioner that is none", part("conditioners", labels={"component": "null.compressor"}), CONFIG,
     ["p.json:", "null.compressor", "a conditioner is needed"]),
    ("two steps into one folder", steps(ct=pipeline()["steps"]["ct"], one={"write": "@ct", "to": "out"},
                                        two={"write": "@ct", "to": "./out/", "layout": "pairs", "overwrite": True}),
     CONFIG, ["p.json:", "./out/", "steps.one"]),
    ("latents of a step that makes none", steps(ct=pipeline()["steps"]["ct"],
                                                x={"decode": {"components": {"compressor": {"component": "null.compressor"}}},
                                                   "latent": "@ct"}, save={"write": "@x", "to": "out"}),
     CONFIG, ["p.json:", "@ct", "encode step is needed"]),
    ("adapter that is not there", pipeline({"adapters": ["nowhere"]}), CONFIG, ["p.json:", "adapters", "nowhere"]),
    ("mask generator that is not there", broken_model(mask_generator="nowhere"), CONFIG,
     ["p.json:", "mask_generator", "nowhere"]),
    ("times beyond the training's", pipeline({"timesteps": [1500, 900],
                                              "scheduler": {"component": "scheduler.rflow"}}), CONFIG,
     ["p.json:", "timesteps", "1500"]),
    ("more steps than the scheduler has", pipeline({"steps": 1001, "scheduler": {"component": "scheduler.ddim"}}),
     CONFIG, ["p.json:", "steps", "1001"]),
    ("component's config", part("denoiser", component="null.denoiser", config={"scael": 1}), CONFIG,
     ["p.json:", "scael", "scale"]),
    ("weights that are not there", part("denoiser", component="null.denoiser", weights="w.safetensors"), CONFIG,
     ["p.json:", "w.safetensors"]),
    ("mask that is not there", pipeline({"mask": "nothing/*.nii.gz"}), None, ["nothing"]),
    ("denoiser that fails", pipeline({"generate": model({"fail": "predict", "mode": "fail"})}), PLUGIN,
     ["null.denoiser", "predict"]),
    ("denoiser of another shape", pipeline({"generate": model({"fail": "predict", "mode": "garbage-shape"})}), PLUGIN,
     ["null.denoiser"]),
    ("denoiser without output", pipeline({"generate": model({"fail": "predict", "mode": "no-output"})}), PLUGIN,
     ["null.denoiser"]),
    ("denoiser with a bad status", pipeline({"generate": model({"fail": "predict", "mode": "bad-status"})}), PLUGIN,
     ["null.denoiser"]),
    ("denoiser that gives NaN", pipeline({"generate": model({"fail": "predict", "mode": "nan"})}), PLUGIN,
     ["null.denoiser", "predict", "NaN"]),
    ("compressor that gives NaN", part("compressor", component="null.compressor",
                                       config={"fail": "decode", "mode": "nan"}), PLUGIN, ["null.compressor", "decode"]),
    ("propagator that gives NaN", part("propagator", component="null.propagator",
                                       config={"fail": "finish", "mode": "nan"}), PLUGIN, ["null.propagator", "finish"]),
    ("denoiser that overflows", pipeline({"generate": model({"scale": 1e30}), "steps": 9}), PLUGIN,
     ["null.denoiser", "infinite"]),
    ("scheduler without times", part("scheduler", component="null.scheduler",
                                     config={"fail": "begin", "mode": "garbage-shape"}), PLUGIN, ["null.scheduler"]),
    ("scheduler with a bad update", part("scheduler", component="null.scheduler",
                                         config={"fail": "update", "mode": "garbage-shape"}), PLUGIN, ["null.scheduler"]),
    ("window out of the volume", part("propagator", component="null.propagator",
                                      config={"fail": "next", "mode": "garbage-shape"}), PLUGIN, ["null.propagator"]),
]

SIZE = (6, 5, 4)
VOXELS = [1] * 120


def nifti_file(**changes):
    return nifti.header(SIZE, **changes) + bytes(VOXELS)


NIFTI_FILES = {
    "empty": b"",
    "header cut": nifti_file()[:200],
    "voxels cut": nifti_file()[:-30],
    "no voxels": nifti.header(SIZE),
    "text": b"not an image" * 50,
    "header size": nifti_file(header_size=12345),
    "magic": nifti_file(magic=b"abc\0"),
    "no axes": nifti_file(dim=(0, 6, 5, 4, 1, 1, 1, 1)),
    "nine axes": nifti_file(dim=(9, 6, 5, 4, 1, 1, 1, 1)),
    "negative axis": nifti_file(dim=(3, 6, -5, 4, 1, 1, 1, 1)),
    "axis of nothing": nifti_file(dim=(3, 6, 0, 4, 1, 1, 1, 1)),
    "two volumes": nifti.header((6, 5, 2), dim=(4, 6, 5, 2, 2, 1, 1, 1)) + bytes(VOXELS),
    "larger than the file": nifti_file(dim=(3, 32767, 32767, 32767, 1, 1, 1, 1)),
    "element type": nifti_file(code=999),
    "complex numbers": nifti_file(code=32, bits=64),
    "bits that do not fit the type": nifti_file(bits=32),
    "offset beyond the end": nifti_file(offset=1e9),
    "offset that is no number": nifti_file(offset=float("nan")),
    "offset in the header": nifti_file(offset=12),
    "flat affine": nifti_file(affine=((1, 0, 0, 0), (1, 0, 0, 0), (1, 0, 0, 0))),
    "affine that is no number": nifti_file(affine=((float("nan"), 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))),
}


def safetensors(head, body=b""):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + body


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


WEIGHT_FILES = {
    "empty": b"",
    "length cut": b"\x08\0\0",
    "length absurd": struct.pack("<Q", 2**63) + b"{}",
    "header cut": struct.pack("<Q", 100) + b"{",
    "not json": safetensors(b"hello"),
    "array": safetensors(b"[]"),
    "type": safetensors(tensor("F31"), bytes(8)),
    "negative axis": safetensors(tensor(shape=(-2,)), bytes(8)),
    "overflow": safetensors(tensor(shape=(2**62, 2**62)), bytes(8)),
    "size and shape differ": safetensors(tensor(shape=(3,)), bytes(8)),
    "offsets backwards": safetensors(tensor(offsets=(8, 0)), bytes(8)),
    "beyond the end": safetensors(tensor(offsets=(0, 8)), bytes(4)),
    "pickle": b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.",
}

MODELS = {
    "empty": ("", ["model.json:1:1"]),
    "not json": ("{", ["model.json:1:"]),
    "array": ("[]", ["model.json:1:1"]),
    "version": ({"medgen_model": 9}, ["model.json:", "medgen_model"]),
    "component as text": ({"components": {"denoiser": "null.denoiser"}}, ["model.json:", "denoiser"]),
    "component without id": ({"components": {"denoiser": {}}}, ["model.json:", "component"]),
    "hash": ({"components": {"denoiser": {"component": "null.denoiser", "sha256": "12"}}}, ["model.json:", "sha256"]),
    "kind": ({"components": {"denoiser": {"component": "null.compressor"}}}, ["model.json:", "a denoiser is needed"]),
    "mask generator": ({**model(), "mask_generator": "nowhere"}, ["model.json:", "mask_generator", "nowhere"]),
    "labels": ({"data": {"labels": {"liver": -1}}}, ["model.json:", "liver"]),
}

MANIFESTS = {
    "empty": "",
    "not json": "{",
    "no id": {"id": None},
    "id": {"id": "Bad Id"},
    "version": {"medgen_plugin": 2},
    "abi": {"abi": {"major": 99, "minor": 0}},
    "library outside": {"library": "../x.so"},
    "library absolute": {"library": "/lib/libc.so.6"},
    "library missing": {"library": "nothing.so"},
    "kind": {"components": [{"id": "null.x", "kind": "denoiser"}]},
    "twice": {"components": [{"id": "null.x", "kind": "medgen.denoiser/1"}] * 2},
    "unknown key": {"componets": []},
    "hash": {"sha256": "0" * 64},
    "kind that does not exist": {"components": [{"id": "null.x", "kind": "medgen.foo/1"}]},
    "revision that does not exist": {"components": [{"id": "null.x", "kind": "medgen.denoiser/9"}]},
    "version in words": {"version": "one"},
    "schema of a configuration": {"components": [{"id": "null.x", "kind": "medgen.denoiser/1",
                                                  "config_schema": {"type": "objct"}}]},
}


class Malformed(Case):
    def check(self, result, code, says):
        text = result.stderr
        codes = (CONFIG, DATA, PLUGIN) if code is None else (code,)
        self.assertIn(result.returncode, codes, text)
        self.assertEqual(text.count("error:"), 1, text)
        self.assertNotIn("internal error", text)
        self.assertNotIn("json.exception", text)
        self.assertLess(len(text), 2000)
        for part_of_message in says:
            self.assertIn(part_of_message, text)
        self.assertEqual([str(path) for path in (self.folder / "out").rglob("*")], [])

    def check_run(self, document, code, says, *arguments):
        self.check(run("run", self.write_pipeline(document), "--no-progress", *arguments), code, says)

    def test_pipelines(self):
        for name, document, code, says in PIPELINES:
            with self.subTest(name):
                self.check_run(document, code, says)

    def test_volumes(self):
        path = self.folder / "mask.nii"
        for name, data in NIFTI_FILES.items():
            with self.subTest(name):
                path.write_bytes(data)
                self.check_run(pipeline({"mask": "mask.nii"}), DATA, ["mask.nii"])

    def test_compressed_volumes(self):
        path = self.folder / "mask.nii.gz"
        nifti.write(path, SIZE, VOXELS)
        whole = path.read_bytes()
        for name, data in {"cut": whole[:-20], "text": b"hello", "damaged": whole[:40] + b"\xff" * 20}.items():
            with self.subTest(name):
                path.write_bytes(data)
                self.check_run(pipeline({"mask": "mask.nii.gz"}), DATA, ["mask.nii.gz"])

    def test_label_maps_outside_the_contract(self):
        nifti.write(self.folder / "mask.nii", SIZE, VOXELS)
        for name, data, says in (("labels", {"labels": {"liver": 5}}, ["1", "liver"]),
                                 ("spacing", {"spacing_mm": {"minimum": [2, 2, 2]}}, ["spacing", "2, 2, 2"]),
                                 ("size", {"size": {"maximum": [5, 5, 5]}}, ["size", "6, 5, 4"])):
            with self.subTest(name):
                self.check_run(pipeline({"generate": model(data=data), "mask": "mask.nii"}), DATA, ["mask.nii", *says])

    def test_weights(self):
        path = self.folder / "w.safetensors"
        document = part("denoiser", component="null.denoiser", weights="w.safetensors")
        for name, data in WEIGHT_FILES.items():
            with self.subTest(name):
                path.write_bytes(data)
                self.check_run(document, DATA, ["w.safetensors"])
        path.write_bytes(safetensors({}))
        other = hashlib.sha256(b"other").hexdigest()
        self.check_run(part("denoiser", component="null.denoiser", weights="w.safetensors", sha256=other), DATA,
                       ["w.safetensors", other])

    def test_weights_of_another_network(self):
        if not (Path(tool.PLUGINS) / "maisi.medgen-plugin.json").exists():
            self.skipTest("the maisi plugin was not built")
        shipped = Path(__file__).parents[2] / "examples/models/hippocampus-mr"
        nifti.write(self.folder / "head.nii.gz", (32, 48, 32), range(32 * 48 * 32), "float32")
        encode = steps(z={"encode": "m", "image": "head.nii.gz"}, save={"write": "@z", "to": "out"})
        for name, change, says in (("swapped", {"weights": "denoiser.safetensors"}, ["denoiser.safetensors"]),
                                   ("none", {"weights": None}, ["model.json:", "compressor", "no weights"]),
                                   ("size", {"config": {"num_channels": [8, 16]}}, ["compressor.safetensors"])):
            with self.subTest(name):
                shutil.copytree(shipped, self.folder / "m", dirs_exist_ok=True)
                description = json.loads((shipped / "model.json").read_text())
                compressor = description["components"]["compressor"]
                compressor.pop("sha256")
                for key, value in change.items():
                    compressor[key] = {**compressor[key], **value} if key == "config" else value
                if compressor["weights"] is None:
                    compressor.pop("weights")
                (self.folder / "m/model.json").write_text(json.dumps(description))
                self.check_run(encode, DATA, says)
        config = self.folder / "c.json"
        config.write_text(json.dumps(json.loads((shipped / "model.json").read_text())["components"]["denoiser"]["config"]))
        self.check(run("probe", "maisi.unet", "--describe", "--config", config, "--weights",
                       shipped / "compressor.safetensors"), DATA, ["compressor.safetensors"])

    def test_a_file_name_that_is_not_utf8(self):
        nifti.write(self.folder / "mask.nii", SIZE, VOXELS)
        os.rename(self.folder / "mask.nii", os.fsencode(self.folder / "mask") + b"\xff.nii")
        self.check_run(pipeline({"mask": "*.nii"}), DATA, ["not UTF-8", "rename"])

    def test_command_lines(self):
        path = self.write_pipeline(pipeline())
        self.check(run("run", path, "--set", "steps.ct.count"), USAGE, ["steps.ct.count", "PATH=VALUE"])
        self.check(run("run", path, "--shard", ""), USAGE, ["is no part"])
        for number in ("nan", "0", "-1", "1e", "inf"):
            self.check(run("import", "maisi.rflow-ct", "denoiser=x.pt", "--to", self.folder / "m", "--latent-scale", number), USAGE,
                       ["--latent-scale", "a number above 0", number])
        for arguments, says in ((["body", "x.nii", "--to", self.folder / "b.nii", "--air-below", "nan"], "finite"),
                                (["view", self.folder, "--samples", "1.5"], "whole number")):
            result = subprocess.run([tool.MEDGEN, *arguments], capture_output=True, text=True, env=tool.environment())
            self.check(result, USAGE, [*arguments[-2:], says])
        self.check(run("probe", "null.denoiser", "predcit", "--out", self.folder / "y"), USAGE, ["predcit", "predict"])

    def test_an_import_of_an_unknown_method(self):
        (self.folder / "w.pt").write_bytes(b"")
        document = {"medgen": 1, "steps": {"m": {"import": {"denoiser": "w.pt"}, "method": "maisi.rflo", "to": "m"}}}
        self.check_run(document, CONFIG, ["p.json:", "method", "maisi.rflo"])

    def test_imports_of_roles_and_files_that_are_not_there(self):
        if not (Path(tool.PLUGINS) / "maisi.medgen-plugin.json").exists():
            self.skipTest("the maisi plugin was not built")
        (self.folder / "w.pt").write_bytes(b"")
        step = {"import": {"denoiser": "w.pt"}, "method": "maisi.rflow-ct", "to": "m"}
        for change, validated, says in (
                ({"import": {"denoisre": "w.pt"}}, True, ["import.denoisre", "'denoiser'"]),
                ({"key": {"compressor": "x"}}, True, ["key.compressor", "does not name"]),
                ({"config": {"unet": {}}}, True, ["config.unet", "it has: "]),
                ({"config": {"denoiser": {"norm_num_groups": 7}}}, True, ["norm_num_groups"]),
                ({"import": {"denoiser": "none.pt"}}, False, ["import.denoiser", "names no file", "none.pt"])):
            path = self.write_pipeline(steps(m={**step, **change}))
            for command in ("validate", "plan", "run") if validated else ("plan", "run"):
                with self.subTest(says[0], command=command):
                    self.check(run(command, path), CONFIG, ["p.json:", *says])
            self.assertFalse((self.folder / "m").exists())

    def test_masks_that_hold_no_labels(self):
        path = self.folder / "mask.nii"
        for name, write in (("half", lambda: nifti.write(path, SIZE, [0.5] * 120, "float32")),
                            ("no number", lambda: nifti.write(path, SIZE, [float("nan")] * 120, "float32")),
                            ("scaled", lambda: nifti.write(path, SIZE, VOXELS, slope=0.5))):
            with self.subTest(name):
                write()
                self.check_run(pipeline({"mask": "mask.nii"}), DATA, [str(path), "label"])
        nifti.write(path, SIZE, VOXELS)
        self.check_run(pipeline({"mask": "mask.nii", "spacing_mm": [1e-5] * 3}), DATA, [str(path), "spacing_mm"])

    def test_models(self):
        for name, (document, says) in MODELS.items():
            with self.subTest(name):
                path = self.folder / "m/model.json"
                path.parent.mkdir(exist_ok=True)
                path.write_text(document if isinstance(document, str) else json.dumps(document))
                self.check(run("validate", path), CONFIG, says)
                self.check_run(pipeline({"generate": "m"}), CONFIG, says)

    def test_configs_that_only_the_component_refuses(self):
        if not (Path(tool.PLUGINS) / "maisi.medgen-plugin.json").exists():
            self.skipTest("the maisi plugin was not built")
        document = {"components": {"compressor": {"component": "maisi.autoencoder", "config": {
            "num_channels": [8, 16], "num_res_blocks": [1, 1], "attention_levels": [False, False], "norm_num_groups": 7}}}}
        folder = self.folder / "m"
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps(document))
        self.check(run("validate", folder), CONFIG, ["model.json:", "norm_num_groups"])
        in_line = self.write_pipeline(steps(z={"encode": document, "image": "head.nii.gz"}))
        self.check(run("validate", in_line), CONFIG, ["p.json:", "norm_num_groups"])

    def test_plans_look_at_all_that_a_run_would_stumble_over(self):
        for name, ids in (("a", VOXELS), ("b", [1] * 119 + [7])):
            nifti.write(self.folder / "masks" / f"{name}.nii", SIZE, ids)
        labels = {"generate": model(data={"labels": {"organ": 1}}), "mask": "masks"}
        (self.folder / "file").write_text("")
        cases = ((labels, {}, DATA, ["b.nii", "label 7"]), ({}, {"to": "file"}, 1, ["file"]), ({}, {"to": "file/in"}, 1, ["file"]))
        for generate, write, code, says in cases:
            for command in ("plan", "run"):
                with self.subTest(command=command, **write):
                    self.check(run(command, self.write_pipeline(pipeline(generate, write))), code, says)

    def test_what_the_file_alone_shows_is_found_by_validate(self):
        for generate, document, says in (({"timesteps": [1, 2]}, {}, "must descend"), ({}, {"runtime": {"memory": "4XB"}}, "4XB"),
                                         ({"timesteps": [900], "steps": 3}, {}, "timesteps"),
                                         ({"scheduler": {"component": "scheduler.rflow", "config": {"stesp": 1}}}, {}, "stesp")):
            with self.subTest(says):
                whole = pipeline(generate, **document)
                if "steps" in generate:
                    whole["steps"]["ct"]["steps"] = generate["steps"]
                self.check(run("validate", self.write_pipeline(whole)), CONFIG, ["p.json:", says])

    def test_latents_whose_record_is_damaged(self):
        decode = {"decode": {"components": {"compressor": {"component": "null.compressor"}}}, "latent": "z.safetensors"}
        grid = {"size": [1, 1, 2], "affine": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], "low": 0, "high": 1,
                "clip_low": False, "clip_high": False, "type": "float32"}
        for facts in ("", "[]", "{}", {"grid": 1}, {"grid": {**grid, "affine": 1}}, {"grid": grid, "compressor": 5}):
            with self.subTest(facts):
                text = facts if isinstance(facts, str) else json.dumps(facts)
                mean = {"dtype": "F32", "shape": [1, 1, 2, 1, 1], "data_offsets": [0, 8]}
                head = {"__metadata__": {"medgen.facts": text}, "mean": mean}
                (self.folder / "z.safetensors").write_bytes(safetensors(head, bytes(8)))
                self.check_run(steps(x=decode, save={"write": "@x", "to": "out"}), DATA, ["z"])

    def test_no_folder_for_temporary_files(self):
        result = subprocess.run(tool.command("run", self.write_pipeline(pipeline())), capture_output=True, text=True,
                                env={**tool.environment(), "TMPDIR": "/nowhere"})
        self.check(result, 1, ["TMPDIR", "/nowhere"])

    def test_one_folder_by_two_names(self):
        self.write_pipeline(steps(ct=pipeline()["steps"]["ct"], one={"write": "@ct", "to": "out"},
                                  two={"write": "@ct", "to": "./x/../out", "overwrite": True}))
        result = subprocess.run(tool.command("validate", "p.json"), cwd=self.folder, capture_output=True, text=True,
                                env=tool.environment())
        self.check(result, CONFIG, ["p.json:", "./x/../out", "steps.one"])

    def test_a_mask_generator_that_makes_no_label_maps(self):
        folder = self.folder / "m"
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps({**model(), "mask_generator": "."}))
        self.check_run(pipeline({"generate": "m"}), CONFIG, ["model.json:", "mask_generator", "no label maps"])

    def test_manifests(self):
        whole = json.loads((Path(tool.PLUGINS) / "null.medgen-plugin.json").read_text())
        path = self.folder / "plugins/null.medgen-plugin.json"
        path.parent.mkdir()
        shutil.copy(Path(tool.PLUGINS) / whole["library"], path.parent)
        for name, change in MANIFESTS.items():
            with self.subTest(name):
                path.write_text(change if isinstance(change, str) else json.dumps({**whole, **change}))
                self.check(run("validate", path), CONFIG, ["null.medgen-plugin.json"])


if __name__ == "__main__":
    tool.MEDGEN, tool.PLUGINS = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
