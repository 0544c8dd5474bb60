#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One training step of MONAI's MAISI networks and of ours, side by side, on random configurations, weights and inputs.

Needs what compare_with_monai.py needs, and for the perceptual loss the packages lpips 0.1.4 and torchvision:

    tests/golden/maisi/compare_training.py --probe "build/bin/medgen probe" --cases 20

Compared are every loss and the norm of the gradients of every network, of the VAE (with discriminator and perceptual
loss), of the image U-Nets (DDPM and rectified flow), of a ControlNet behind a frozen U-Net (with weights on voxels and the
region contrast), of the mask VAE (cross-entropy) and of the mask U-Net. Prints one line per case;
the exit code is the number of cases in which a number differs by more than the tolerance, relative to its size.
"""
import argparse
import functools
import json
import math
import pathlib
import random
import shlex
import subprocess
import sys
import tempfile

import torch
from compare_with_monai import autoencoder_config, backbone, common_inputs, fill, one_hot
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.losses import PatchAdversarialLoss, perceptual
from monai.networks.nets import DiffusionModelUNet, PatchDiscriminator
from monai.networks.schedulers import DDPMScheduler, RFlowScheduler
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-4
l1_loss = torch.nn.functional.l1_loss


def gradient_norm(network):
    return math.sqrt(sum(p.grad.double().square().sum().item() for p in network.parameters() if p.grad is not None))


def perceptual_network(seed):
    """MONAI's loss with random weights, or None without the packages."""
    try:
        perceptual.LPIPS = functools.partial(perceptual.LPIPS, pnet_rand=True)
        loss = perceptual.PerceptualLoss(3, "squeeze", is_fake_3d=True, fake_3d_ratio=0.2, pretrained=False)
    except Exception:
        return None
    constants = {k: v.clone() for k, v in loss.state_dict().items() if "scaling_layer" in k}
    fill(loss, seed)
    loss.load_state_dict(constants, strict=False)
    return loss


def begun_state(vae, discriminator):
    """A checkpoint of a training that has not made a step."""
    state = {"optimizer/step": torch.zeros(1), "optimizer/discriminator/optimizer/step": torch.zeros(1)}
    for prefix, network in (("optimizer/", vae), ("optimizer/discriminator/optimizer/", discriminator)):
        for name, value in network.named_parameters():
            state[f"{prefix}{name}/m"] = state[f"{prefix}{name}/v"] = torch.zeros_like(value)
    for name, value in discriminator.state_dict().items():
        state[f"optimizer/discriminator/weights/{name}"] = value
    return {name: value.clone() for name, value in state.items()}


def vae_case(rng, batch):
    config = autoencoder_config(rng) | {"in_channels": 1, "out_channels": 1}
    vae = fill(AutoencoderKlMaisi(**config, num_splits=1), rng.getrandbits(32))
    discriminator = fill(PatchDiscriminator(spatial_dims=3, num_layers_d=3, channels=32, in_channels=1, out_channels=1,
                                            norm="INSTANCE"), rng.getrandbits(32))
    features = perceptual_network(rng.getrandbits(32))
    options = {"kl_weight": 1e-4, "adversarial_weight": 0.5, "perceptual_weight": 10 if features else 0,
               "loss": rng.choice(["l1", "l2"])}
    x = torch.rand(batch, 1, *[rng.choice([24, 28]) for _ in range(3)])
    mean, sigma = vae.encode(x)
    noise = torch.randn_like(mean)
    image = vae.decode(mean + sigma * noise)
    kl = 0.5 * (mean**2 + sigma**2 - torch.log(sigma**2 + 1e-10) - 1).sum() / batch
    distance = l1_loss(image, x) if options["loss"] == "l1" else torch.nn.functional.mse_loss(image, x)
    criterion = PatchAdversarialLoss(criterion="least_squares")
    fooled = criterion(discriminator(image)[-1], target_is_real=True, for_discriminator=False)
    loss = distance + options["kl_weight"] * kl + options["adversarial_weight"] * fooled
    want = {options["loss"]: distance, "kl": kl, "adversarial": fooled}
    inputs, peers = {"x": x, "noise": noise}, {}
    if features:
        orders = {axis: torch.randperm(batch * x.shape[2 + i]) for i, axis in enumerate("xyz")}
        inputs |= {f"slices.{axis}": order[:len(order) // 5].float() for axis, order in orders.items()}
        given, randperm = iter(orders.values()), torch.randperm
        torch.randperm = lambda count: next(given)
        want["perceptual"] = features(image, x)
        torch.randperm = randperm
        loss = loss + options["perceptual_weight"] * want["perceptual"]
        state = {k.removeprefix("perceptual_function."): v for k, v in features.state_dict().items()}
        peers["perceptual"] = ("maisi.lpips", {"network": "squeeze"}, state, False)
    loss.backward()
    discriminator.zero_grad()
    want["discriminator"] = 0.5 * (
        criterion(discriminator(image.detach())[-1], target_is_real=False, for_discriminator=True)
        + criterion(discriminator(x)[-1], target_is_real=True, for_discriminator=True))
    want["discriminator"].backward()
    want |= {"loss": loss, "gradient_norm": gradient_norm(vae), "gradient_norm/discriminator": gradient_norm(discriminator)}
    return "maisi.autoencoder", config, vae, inputs, options, peers, begun_state(vae, discriminator), want


def noisy(rng, x0, time):
    """x_t and the target of one of the two methods."""
    noise = torch.randn_like(x0)
    if rng.random() < 0.5:
        return RFlowScheduler().add_noise(x0, noise, time), x0 - noise
    scheduler = DDPMScheduler(num_train_timesteps=1000, schedule="scaled_linear_beta", beta_start=0.0015,
                              beta_end=0.0195, clip_sample=False)
    return scheduler.add_noise(x0, noise, time), noise


def unet_parts(rng, batch):
    config = backbone(rng, 3)
    config["out_channels"] = config["in_channels"]
    for name in ("top_region_index", "bottom_region_index", "spacing"):
        config[f"include_{name}_input"] = rng.random() < 0.5
    network = fill(DiffusionModelUNetMaisi(**config), rng.getrandbits(32))
    inputs = common_inputs(rng, config, batch)
    inputs["timesteps"] = torch.randint(0, 1000, (batch,))
    inputs["x"], target = noisy(rng, inputs["x"], inputs["timesteps"])
    for name in ("top_region_index", "bottom_region_index"):
        if config[f"include_{name}_input"]:
            inputs[name] = one_hot(batch)
    if config["include_spacing_input"]:
        inputs["spacing"] = 50 + 300 * torch.rand(batch, 3)
    call = {k + "_tensor" if k.endswith("index") or k == "spacing" else k: v for k, v in inputs.items()}
    return config, network, inputs, call, target


def unet_case(rng, batch):
    config, network, inputs, call, target = unet_parts(rng, batch)
    loss = l1_loss(network(**call), target)
    loss.backward()
    want = {"loss": loss, "gradient_norm": gradient_norm(network)}
    return "maisi.unet", config, network, inputs | {"target": target}, {}, {}, {}, want


def mask_vae_case(rng, batch):
    """Label ids in, as planes of their bits, and a logit for each of some classes out."""
    planes = rng.randint(2, 5)
    classes = sorted(rng.sample(range(2 ** planes), rng.randint(2, 2 ** planes)))
    config = autoencoder_config(rng) | {"in_channels": planes, "out_channels": len(classes)}
    vae = fill(AutoencoderKlMaisi(**config, num_splits=1), rng.getrandbits(32))
    index = torch.randint(0, len(classes), (batch, 1, *[rng.choice([8, 12, 16]) for _ in range(3)]))
    labels = torch.tensor(classes)[index]
    mean, sigma = vae.encode(torch.cat([(labels >> bit) & 1 for bit in range(planes)], 1).float())
    noise = torch.randn_like(mean)
    entropy = torch.nn.functional.cross_entropy(vae.decode(mean + sigma * noise), index[:, 0])
    kl = 0.5 * (mean**2 + sigma**2 - torch.log(sigma**2 + 1e-10) - 1).sum() / batch
    loss = entropy + 1e-4 * kl
    loss.backward()
    want = {"cross_entropy": entropy, "kl": kl, "loss": loss, "gradient_norm": gradient_norm(vae)}
    return ("maisi.autoencoder", config | {"classes": classes}, vae, {"x": labels.float(), "noise": noise},
            {"kl_weight": 1e-4}, {}, {}, want)


def mask_unet_case(rng, batch):
    config = backbone(rng, 3)
    # Of four channels layer norms are so badly conditioned that MONAI's own fp32 differs from its fp64 by 2e-4.
    config["channels"] = [2 * channels for channels in config.pop("num_channels")]
    config["out_channels"] = config["in_channels"]
    network = fill(DiffusionModelUNet(**config), rng.getrandbits(32))
    inputs = common_inputs(rng, config | {"num_channels": config["channels"]}, batch)
    inputs["timesteps"] = torch.randint(0, 1000, (batch,))
    inputs["x"], target = noisy(rng, inputs["x"], inputs["timesteps"])
    squared = rng.random() < 0.5
    loss = (torch.nn.functional.mse_loss if squared else l1_loss)(network(**inputs), target)
    loss.backward()
    return ("maisi.mask_unet", config, network, inputs | {"target": target}, {"loss": "l2" if squared else "l1"}, {}, {},
            {"loss": loss, "gradient_norm": gradient_norm(network)})


def region_contrast(with_tumours, without, conditions, target, dilation, margin):
    """The loss of docs/training.md, over the voxels of the latent's grid where the conditions differ."""
    region = (conditions[0] != conditions[1]).any(1, keepdim=True)
    for axis in range(2, 5):
        fine, coarse = region.shape[axis], target.shape[axis]
        region = region.index_select(axis, torch.arange(coarse) * fine // coarse)
    if not region.any():
        return torch.zeros(())

    def mean_where(values, where):
        return (values * where).sum() / (where.sum() * values.shape[1]).clamp_min(1)

    near = torch.nn.functional.max_pool3d(region.float(), dilation, 1, dilation // 2) > 0
    apart = mean_where((with_tumours - without).abs(), region)
    return torch.relu(margin - apart) - margin + mean_where((without - target).abs(), ~near)


def controlnet_case(rng, batch):
    config, network, inputs, call, target = unet_parts(rng, batch)
    own = {k: v for k, v in config.items() if not k.startswith("include_") or k == "include_fc"}
    own.pop("out_channels")
    own |= {"conditioning_embedding_in_channels": 3, "conditioning_embedding_num_channels": [3, 4]}
    controlnet = fill(ControlNetMaisi(**own, use_checkpointing=False), rng.getrandbits(32))
    network.requires_grad_(False)
    condition = torch.randint(0, 2, (batch, 3, *[2 * s for s in inputs["x"].shape[2:]])).float()
    shared = {k: v for k, v in inputs.items() if k in ("x", "timesteps", "context", "class_labels")}

    def predict(cond):
        down, mid = controlnet(**shared, controlnet_cond=cond)
        return network(**call, down_block_additional_residuals=down, mid_block_additional_residual=mid)

    options, want = {"train_denoiser": False}, {}
    predicted, inputs = predict(condition), inputs | {"target": target, "controlnet_cond": condition}
    each = (predicted - target).abs()
    if rng.random() < 0.7:
        inputs["weight"] = torch.where(torch.rand(batch, 1, *target.shape[2:]) < 0.2, 100.0, 1.0)
        each = each * inputs["weight"]
    want["loss"] = each.mean()
    if rng.random() < 0.7:
        contrast = {"weight": 0.3, "margin": rng.choice([0.5, 2]), "dilation": rng.choice([1, 3])}
        options["contrast"] = contrast
        changed = torch.rand(batch, 1, *condition.shape[2:]) < rng.choice([0, 0.05])
        inputs["null/controlnet_cond"] = torch.where(changed, 1 - condition, condition)
        without = predict(inputs["null/controlnet_cond"])
        want["contrast"] = contrast["weight"] * region_contrast(
            predicted, without, (condition, inputs["null/controlnet_cond"]), target, contrast["dilation"], contrast["margin"])
        want["loss"] = want["loss"] + want["contrast"]
    want["loss"].backward()
    want["gradient_norm/controlnet"] = gradient_norm(controlnet)
    peers = {"controlnet": ("maisi.controlnet", own, controlnet.state_dict(), True)}
    return "maisi.unet", config, network, inputs, options, peers, {}, want


CASES = {"vae": vae_case, "unet": unet_case, "controlnet": controlnet_case, "mask_vae": mask_vae_case,
         "mask_unet": mask_unet_case}


def save(tensors, path):
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, path)
    return str(path)


def run_probe(command, folder, component, config, network, inputs, options, peers, state):
    (folder / "config.json").write_text(json.dumps(config))
    arguments = ["--config", str(folder / "config.json"), "--params", json.dumps(options),
                 "--weights", save(network.state_dict(), folder / "weights.safetensors"),
                 "--in", save({k: v.float() for k, v in inputs.items()}, folder / "in.safetensors"),
                 "--out", str(folder / "out.safetensors")]
    if state:
        arguments += ["--state", save(state, folder / "state.safetensors")]
    for role, (peer, peer_config, weights, trained) in peers.items():
        save(weights, folder / f"{role}.safetensors")
        (folder / f"{role}.json").write_text(json.dumps(
            {"component": peer, "config": peer_config, "weights": f"{role}.safetensors", "trained": trained}))
        arguments += ["--peer", f"{role}={folder / role}.json"]
    done = subprocess.run([*shlex.split(command), component, "train", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"probe ended with {done.returncode}: {done.stderr.strip()[:400]}")
    return {name: value.item() for name, value in load_file(folder / "out.safetensors").items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", default="medgen probe", help="the command that runs one component on tensors")
    parser.add_argument("--networks", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failures, worst = 0, 0.0
    for index in range(options.cases):
        rng = random.Random(f"{options.seed}/{index}")
        torch.manual_seed(rng.getrandbits(32))
        name = options.networks[index % len(options.networks)]
        with tempfile.TemporaryDirectory() as folder:
            *call, want = CASES[name](rng, rng.randint(1, 2))
            want = {k: v if isinstance(v, float) else v.item() for k, v in want.items()}
            try:
                got = run_probe(options.probe, pathlib.Path(folder), *call)
                errors = {k: abs(got[k] - v) / max(abs(v), 1e-30) if got[k] != v else 0.0 for k, v in want.items()}
                term, error = max(errors.items(), key=lambda item: item[1])
                text = f"{error:.2e} ({term}), {', '.join(f'{k} {v:.6g}' for k, v in want.items())}"
            except (RuntimeError, KeyError) as problem:
                error, text = float("inf"), repr(problem)
        bad = not error <= TOLERANCE
        failures, worst = failures + bad, max(worst, error)
        print(f"{'FAIL' if bad else 'ok  '} {index:3d} {name}: {text}" + (f"\n{call[1]}" if bad else ""), flush=True)
    print(f"{options.cases - failures} of {options.cases} within {TOLERANCE}, the largest difference {worst:.2e}")
    return min(failures, 100)


if __name__ == "__main__":
    sys.exit(main())
