# SPDX-License-Identifier: Apache-2.0
"""Writes monai.json: what MONAI's schedulers give for a set of parameters. Made with monai 1.6.1, torch 2.15.0 (CPU).

    python make_monai.py > monai.json

Coefficients are read off `step` by giving it unit samples and outputs in float64; nothing but its public interface is used.
"""
import json
import random

import torch
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler, PNDMScheduler, RFlowScheduler

ONE = torch.ones(1, 1, 1, 1, dtype=torch.float64)
ZERO = torch.zeros(1, 1, 1, 1, dtype=torch.float64)


def response(step, *args):
    """How (next, x0) depend on (x, m): the four coefficients of a linear step."""
    next_x, x0_x = (float(v) for v in step(ZERO, args[0], ONE, *args[1:])[:2])
    next_m, x0_m = (float(v) for v in step(ONE, args[0], ZERO, *args[1:])[:2])
    return [next_x, next_m, x0_x, x0_m]


def table(scheduler):
    picks = sorted({0, 1, 2, len(scheduler.betas) // 3, len(scheduler.betas) // 2, len(scheduler.betas) - 1})
    return {"at": picks, "betas": [float(scheduler.betas[i]) for i in picks],
            "alpha_bars": [float(scheduler.alphas_cumprod[i]) for i in picks],
            "sum": float(scheduler.alphas_cumprod.double().sum())}


def picks_of(times, rng):
    inner = rng.sample(range(len(times)), min(4, len(times)))
    return sorted({0, len(times) - 1, *inner})


def ddpm(config, n, rng):
    s = DDPMScheduler(clip_sample=False, **config)
    s.set_timesteps(n)
    times = [int(t) for t in s.timesteps]
    steps = []
    for i in picks_of(times, rng):
        t = times[i]

        def seeded(m, at, x):
            torch.manual_seed(0)
            return s.step(m, at, x)

        noise = float(seeded(ZERO, t, ZERO)[0])  # the same in every call: taken off, the rest is linear
        torch.manual_seed(0)
        drawn = float(torch.randn(1, 1, 1, 1, dtype=torch.float64))
        linear = response(seeded, t)
        steps.append({"i": i, "response": [linear[0] - noise, linear[1] - noise, *linear[2:]], "noise": noise / drawn})
    return {"config": dict(config, clip_sample=False), "n": n, "table": table(s), "timesteps": times, "steps": steps}


def ddim(config, eta, n, rng):
    s = DDIMScheduler(clip_sample=False, **config)
    s.set_timesteps(n)
    times = [int(t) for t in s.timesteps]
    steps = []
    for i in picks_of(times, rng):
        t, stride = times[i], s.num_train_timesteps // n
        steps.append({"i": i, "response": response(lambda m, at, x: s.step(m, at, x), t)})
        if eta > 0:
            generator = torch.Generator()
            plain = response(lambda m, at, x: s.step(m, at, x, eta=eta, generator=generator.manual_seed(1)), t)
            base = float(s.step(ZERO, t, ZERO, eta=eta, generator=generator.manual_seed(1))[0])
            drawn = float(torch.randn(1, 1, 1, 1, dtype=torch.float64, generator=generator.manual_seed(1)))
            steps[-1] = {"i": i, "response": [plain[0] - base, plain[1] - base, *plain[2:]], "noise": base / drawn}
    return {"config": dict(config, clip_sample=False, eta=eta), "n": n, "table": table(s), "timesteps": times, "steps": steps}


def rflow(config, shape, n):
    s = RFlowScheduler(**config)
    s.set_timesteps(n, input_img_size_numel=int(torch.prod(torch.tensor(shape[1:]))))
    times = s.timesteps
    following = torch.cat((times[1:], torch.zeros(1, dtype=times.dtype)))
    responses = [response(s.step, t, u) for t, u in zip(times, following)]
    training = []
    if config.get("sample_method", "uniform") == "uniform":
        torch.manual_seed(n)
        u = torch.rand(4)
        torch.manual_seed(n)
        t = s.sample_timesteps(torch.zeros(4, *shape))
        training = [[float(a), float(b)] for a, b in zip(u, t)]
    return {"config": config, "shape": shape, "n": n, "timesteps": [float(t) for t in times], "responses": responses,
            "training": training}


def pndm(config, n, rng):
    """Its steps remember earlier ones: each is given a sample and an output of its own, and the next sample is recorded."""
    s = PNDMScheduler(**config)
    s.set_timesteps(n)
    times = [int(t) for t in s.timesteps]
    steps = []
    for t in times:
        x, m = round(rng.gauss(0, 1), 3), round(rng.gauss(0, 1), 3)
        steps.append([x, m, float(s.step(m * ONE, t, x * ONE)[0])])
    return {"config": config, "n": n, "table": table(s), "timesteps": times, "steps": steps}


def pndm_cases(rng):
    yield {"schedule": "scaled_linear_beta", "beta_start": 0.0015, "beta_end": 0.0195, "skip_prk_steps": True}, 50
    yield {"skip_prk_steps": False}, 4
    yield {"skip_prk_steps": True}, 1
    for _ in range(18):
        config = {"num_train_timesteps": rng.choice([1000, 500, 250, 40]),
                  "schedule": rng.choice(["linear_beta", "scaled_linear_beta", "sigmoid_beta"]),
                  "beta_start": round(rng.uniform(1e-5, 3e-3), 6), "beta_end": round(rng.uniform(5e-3, 0.03), 6),
                  "prediction_type": rng.choice(["epsilon", "v_prediction"]), "skip_prk_steps": rng.random() < 0.5,
                  "set_alpha_to_one": rng.random() < 0.5}
        n = rng.randint(4, 40)
        if config["num_train_timesteps"] // n > 1:
            config["steps_offset"] = rng.choice([0, 1])
        yield config, n


def main():
    rng = random.Random(7)
    out = {"ddpm": [], "ddim": [], "rflow": []}
    maisi = {"schedule": "scaled_linear_beta", "beta_start": 0.0015, "beta_end": 0.0195}
    out["ddpm"] += [ddpm(maisi, n, rng) for n in (1000, 10, 1)]
    out["ddim"] += [ddim(maisi, 0.0, n, rng) for n in (1000, 10, 50)]
    for case in range(24):
        schedule = rng.choice(["linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"])
        config = {"num_train_timesteps": rng.choice([1000, 500, 250, 40, 4000]), "schedule": schedule,
                  "prediction_type": rng.choice(["epsilon", "sample", "v_prediction"])}
        if schedule != "cosine":
            config |= {"beta_start": round(rng.uniform(1e-5, 3e-3), 6), "beta_end": round(rng.uniform(5e-3, 0.03), 6)}
        n = rng.randint(1, config["num_train_timesteps"])
        if case % 2 == 0:
            config["variance_type"] = rng.choice(["fixed_small", "fixed_large"])
            out["ddpm"].append(ddpm(config, n, rng))
        else:
            config |= {"set_alpha_to_one": rng.choice([True, False]), "steps_offset": rng.choice([0, 0, 1])}
            out["ddim"].append(ddim(config, rng.choice([0.0, 0.5, 1.0]), n, rng))
    mri = {"use_discrete_timesteps": False, "use_timestep_transform": True}
    out["rflow"] += [rflow(mri, [4, *shape], 30) for shape in ([64, 64, 32], [64, 64, 64], [128, 128, 128], [128, 128, 192])]
    for _ in range(24):
        config = {"num_train_timesteps": rng.choice([1000, 1000, 500, 64, 3000]),
                  "use_discrete_timesteps": rng.random() < 0.5, "use_timestep_transform": rng.random() < 0.6,
                  "transform_scale": rng.choice([1.0, 1.4]), "steps_offset": rng.choice([0, 0, 1, 5]),
                  "base_img_size_numel": rng.choice([32768, 4096]), "spatial_dim": rng.choice([2, 3])}
        shape = [4] + [rng.choice([8, 12, 16, 40]) for _ in range(config["spatial_dim"])]
        out["rflow"].append(rflow(config, shape, rng.randint(1, min(60, config["num_train_timesteps"]))))
    rng = random.Random(8)
    out["pndm"] = [pndm(config, n, rng) for config, n in pndm_cases(rng)]
    print(json.dumps(out, indent=None, separators=(",", ":")))


main()
