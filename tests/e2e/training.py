# SPDX-License-Identifier: Apache-2.0
"""A small VAE and U-Net, and data to train them on, for tests of training."""
import json
import random
import subprocess
import time

import nifti
import tool
from tool import Case

SIZE = (8, 12, 8)
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

# Without label maps, but with voxel size and modality.
CONDITIONS = {"component": "maisi.conditions", "config": {"spacing": True, "modality": "mri", "num_class_embeds": 16}}
WITH_MODALITY = {
    "components": {**MODEL["components"], "conditioners": {"conditions": CONDITIONS},
                   "denoiser": {"component": "maisi.unet", "config": {
                       **UNET, "in_channels": 2, "num_class_embeds": 16, "include_spacing_input": True}}},
    "data": MODEL["data"], "defaults": {"steps": 2}}


class TrainingCase(Case):
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

    def start(self, pipeline):
        return subprocess.Popen(tool.command("run", pipeline), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                env=tool.environment())

    def kill_during(self, to, signal_number, **unet):
        pipeline = self.write_pipeline(self.document(to, **unet), "killed.json")
        process = self.start(pipeline)
        deadline = time.monotonic() + 60
        while len(self.log(to)) < 12 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal_number)
        process.wait(60)
