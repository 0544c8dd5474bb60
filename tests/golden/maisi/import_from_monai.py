#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Saves MONAI's full-size MAISI networks as the published checkpoints are saved, and imports them; then spoils them in
every way that a reader must refuse.

Needs monai 1.6.1, torch and safetensors, a built medgen, and 6 GB of disk in the temporary folder:

    tests/golden/maisi/import_from_monai.py --medgen build/release/bin/medgen

Prints one line per case; the exit code is the number of those that went otherwise than they should.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.data import MetaTensor

warnings.filterwarnings("ignore")
DATA_ERROR = 4
SCALE = 1.0123
VAE = {"num_splits": 4, "use_checkpointing": False, "with_encoder_nonlocal_attn": False, "with_decoder_nonlocal_attn": False}


class RunsACommand:
    def __init__(self, witness):
        self.command = f"touch {witness}"

    def __reduce__(self):
        return os.system, (self.command,)


class Importer:
    def __init__(self, medgen, folder):
        self.medgen, self.folder, self.failures = medgen, folder, 0

    def method(self, name):
        described = subprocess.run([self.medgen, "describe", name, "--json"], capture_output=True, text=True, check=True)
        return json.loads(described.stdout)["method"]["components"]

    def told(self, good, what, detail):
        self.failures += not good
        print(f"{'ok  ' if good else 'FAIL'}  {what}: {detail}", flush=True)

    def run(self, method, **files):
        start = time.monotonic()
        result = subprocess.run([self.medgen, "import", method, *(f"{role}={self.folder / file}" for role, file in files.items()),
                                 "--to", self.folder / "package", "--json"], capture_output=True, text=True)
        return result, time.monotonic() - start

    def accepted(self, what, method, parameters, scale, **files):
        result, seconds = self.run(method, **files)
        package = self.folder / "package"
        if result.returncode != 0:
            return self.told(False, what, result.stderr)
        description = json.loads((package / "model.json").read_text())
        counted = sum(self.parameters(description["components"][role]) for role in files)
        good = counted == parameters and abs(description["latent"]["scale"] - scale) < 1e-6
        ignored = [line for line in json.loads(result.stdout)["report"].splitlines() if "ignored" in line]
        self.told(good, what, f"{counted} parameters in {seconds:.1f} s, latent scale {description['latent']['scale']:.4f}"
                              f"{'; ' + ignored[0] if ignored else ''}")
        for file in package.iterdir():
            file.unlink()
        package.rmdir()

    def parameters(self, component):
        config = self.folder / "config.json"
        config.write_text(json.dumps(component["config"]))
        facts = subprocess.run([self.medgen, "probe", component["component"], "--describe", "--config", config, "--json"],
                               capture_output=True, text=True, check=True)
        return json.loads(facts.stdout)["facts"]["parameters"]

    def refused(self, what, says, **files):
        result, seconds = self.run("maisi.rflow-ct", **files)
        text = json.loads(result.stdout)["error"]["message"] if result.stdout else result.stderr
        good = result.returncode == DATA_ERROR and says in text and not (self.folder / "package").exists()
        self.told(good, what, f"exit code {result.returncode} after {seconds:.1f} s, {' '.join(text.split())[:150]}")


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def with_projections(state):
    """The surplus keys that older exports have."""
    state = dict(state)
    for key in [key for key in state if key.endswith("attn.to_q.weight")]:
        width = state[key].shape[0]
        prefix = key[:-len("to_q.weight")]
        state[prefix + "out_proj.weight"], state[prefix + "out_proj.bias"] = torch.zeros(width, width), torch.zeros(width)
    return state


def write_bomb(path):
    """10 GB of zeros in 10 MB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as entry:
            for _ in range(160):
                entry.write(bytes(1 << 26))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medgen", default="build/release/bin/medgen")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        importer = Importer(pathlib.Path(arguments.medgen).absolute(), folder)
        rflow, ddpm = importer.method("maisi.rflow-ct"), importer.method("maisi.ddpm-ct")
        vae = AutoencoderKlMaisi(**{**rflow["compressor"]["config"], **VAE})
        unet = DiffusionModelUNetMaisi(**rflow["denoiser"]["config"])
        older = DiffusionModelUNetMaisi(**ddpm["denoiser"]["config"])
        state = {"module." + key: value for key, value in unet.state_dict().items()}
        torch.save({"module." + key: value for key, value in vae.state_dict().items()}, folder / "vae.pt")
        torch.save({"unet_state_dict": state, "scale_factor": MetaTensor(torch.tensor(SCALE)), "epoch": 3}, folder / "unet.pt")
        torch.save({"unet_state_dict": with_projections(older.state_dict()), "scale_factor": torch.tensor(0.9)}, folder / "ddpm.pt")
        torch.save(unet.state_dict(), folder / "legacy.pt", _use_new_zipfile_serialization=False)
        importer.accepted("VAE and rflow U-Net", "maisi.rflow-ct", count(vae) + count(unet), SCALE, compressor="vae.pt",
                          denoiser="unet.pt")
        importer.accepted("ddpm U-Net", "maisi.ddpm-ct", count(older), 0.9, denoiser="ddpm.pt")
        importer.accepted("rflow U-Net in the legacy form", "maisi.rflow-ct", count(unet), 1.0, denoiser="legacy.pt")

        key = list(state)[5]
        spoilt = {"missing": {k: v for k, v in state.items() if k != key},
                  "renamed": {k + "x" if k == key else k: v for k, v in state.items()},
                  "misshapen": {**state, key: torch.zeros(3)}}
        for name, tensors in spoilt.items():
            torch.save({"unet_state_dict": tensors}, folder / "spoilt.pt")
            importer.refused(f"a key {name}", key.removeprefix("module."), denoiser="spoilt.pt")
        whole = (folder / "unet.pt").read_bytes()
        (folder / "spoilt.pt").write_bytes(whole[:-5_000_000])
        importer.refused("a tail cut off", "spoilt.pt", denoiser="spoilt.pt")
        witness = folder / "executed"
        torch.save({"unet_state_dict": state, "note": RunsACommand(witness)}, folder / "spoilt.pt")
        importer.refused("a pickle that runs a command", "system", denoiser="spoilt.pt")
        importer.told(not witness.exists(), "nothing was executed", "no witness" if not witness.exists() else "a witness")
        write_bomb(folder / "spoilt.pt")
        importer.refused("a zip bomb", "spoilt.pt", denoiser="spoilt.pt")
    return importer.failures


if __name__ == "__main__":
    sys.exit(main())
