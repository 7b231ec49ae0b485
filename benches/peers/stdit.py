#!/usr/bin/env python3
"""StDit of the `cpu` preset beside the same network in PyTorch eager: equal numbers first, then time.

Reads the weights, a batch, its loss and gradients that models/benches/stdit.rs writes, computes the loss and
gradients in PyTorch from the same numbers, and compares; then times a training step (16 windows of 8 frames, fused
attention, fused AdamW, clipping, EMA) and a dreamed frame at batch 1 with a cache of keys and values.

    python benches/peers/stdit.py --program PATH [--threads 2] [--json FILE]

PATH is the bench program: `cargo bench -p worldloom-models --no-run` prints it.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

import common
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

PATCH, DIM, DEPTH, HEADS, TIME_EVERY, CONTEXT = 8, 128, 6, 4, 2, 32
EPS, ROPE_BASE, MOTION_UNIT = 1e-6, 1000.0, 8.0


def patchify(x):
    b, t, c, h, w = x.shape
    x = x.reshape(b, t, c, h // PATCH, PATCH, w // PATCH, PATCH)
    return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(b, t, -1, c * PATCH * PATCH)


def unpatchify(x, h=64, w=64):
    b, t = x.shape[:2]
    c = x.shape[3] // PATCH**2
    x = x.view(b, t, h // PATCH, w // PATCH, c, PATCH, PATCH)
    return x.permute(0, 1, 4, 2, 5, 3, 6).reshape(b, t, c, h, w)


def warp(frames, motion):
    """frames [b, t, c, h, w] looked up at positions moved by motion [b, t, 2, h, w] pixels."""
    b, t, c, h, w = frames.shape
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    at = torch.stack([x, y]).to(motion.dtype) + motion.reshape(b * t, 2, h, w)
    size = torch.tensor([w - 1, h - 1], dtype=motion.dtype).view(1, 2, 1, 1)
    grid = (2 * at / size - 1).permute(0, 2, 3, 1)
    out = F.grid_sample(frames.reshape(b * t, c, h, w), grid, padding_mode="border", align_corners=True)
    return out.view(b, t, c, h, w)


def level_features(tau):
    half = 32
    rates = math.pi * 1000 ** (torch.arange(half, dtype=torch.float64) / (half - 1))
    angles = tau.unsqueeze(2) * rates.to(tau.dtype)
    return torch.cat([angles.sin(), angles.cos()], 2)


def shifted(x):
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)


def rope(first, frames, dim):
    half = dim // 2
    angles = torch.arange(first, first + frames, dtype=torch.float64)[:, None] * ROPE_BASE ** (
        -torch.arange(half, dtype=torch.float64) / half
    )
    return angles.cos().float(), angles.sin().float()


def rotate(x, tables):
    """x [.., L, Dh]"""
    a, b = x.chunk(2, -1)
    cos, sin = tables
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class StDit:
    def __init__(self, weights):
        self.w = weights

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def embedder(self, name, x):
        return self.linear(name + ".second", F.silu(self.linear(name + ".first", x)))

    def heads(self, x):
        b, t, n, c = x.shape
        return x.view(b, t, n, 3, HEADS, c // 3 // HEADS).unbind(3)

    def space(self, block, x):
        b, t, n, c = x.shape
        q, k, v = (y.reshape(b * t, n, HEADS, -1).transpose(1, 2) for y in self.heads(self.linear(block + ".qkv", x)))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, n, c)
        return self.linear(block + ".out", out)

    def time(self, block, x, cache, first):
        b, t, n, c = x.shape
        q, k, v = (
            y.permute(0, 2, 3, 1, 4).reshape(b * n, HEADS, t, -1) for y in self.heads(self.linear(block + ".qkv", x))
        )
        tables = rope(first, t, c // HEADS)
        q, k = rotate(q, tables), rotate(k, tables)
        if cache is not None:
            if block in cache["old"]:
                k = torch.cat([cache["old"][block][0], k], 2)
                v = torch.cat([cache["old"][block][1], v], 2)
            cache["new"][block] = (k[:, :, -(CONTEXT - 1) :], v[:, :, -(CONTEXT - 1) :])
        out = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None)
        out = out.view(b, n, HEADS, t, -1).permute(0, 3, 1, 2, 4).reshape(b, t, n, c)
        return self.linear(block + ".out", out)

    def branch(self, x, modulation, index, f):
        shift, scale, gate = (modulation[..., (3 * index + i) * DIM : (3 * index + i + 1) * DIM] for i in range(3))
        normal = F.layer_norm(x, (DIM,), eps=EPS)
        inner = f(torch.addcmul(shift.unsqueeze(2), normal, 1 + scale.unsqueeze(2)))
        return torch.addcmul(x, gate.unsqueeze(2), inner)

    def mlp(self, block, x):
        a, b = self.linear(block + ".up", x).chunk(2, -1)
        return self.linear(block + ".down", F.silu(a) * b)

    def forward(self, frames, past, level, tau, action, cache=None):
        """past: the frame before each, the one before that, and the level of the first of them"""
        before, earlier, tau_before = past
        first = 0 if cache is None else cache["position"]
        # Of the noise as much as the finest step (of 8) reaches, and no motion that goes on.
        noisy = frames * (tau + 1 / 8).clamp(max=1)[:, :, None, None, None]
        inertia = torch.zeros_like(frames)
        patches = torch.cat([patchify(noisy), patchify(before), patchify(earlier), patchify(inertia)], -1)
        b, t, n, _ = patches.shape
        x = self.linear("embed", patches) + self.w["place"].view(n, DIM)
        condition = self.embedder("tau", level_features(tau)) + self.embedder("tau_before", level_features(tau_before))
        condition = F.silu(condition + F.embedding(level, self.w["level"]) + self.embedder("action", action))
        shared = self.linear("modulation", condition)
        for i in range(DEPTH):
            block = f"blocks.{i}"
            modulation = shared + self.w[block + ".modulation"]
            x = self.branch(x, modulation, 0, lambda x: self.space(block + ".space", x))
            if (i + 1) % TIME_EVERY == 0:
                x = self.branch(x, modulation, 1, lambda x: self.time(block + ".time", x, cache, first))
            x = self.branch(x, modulation, 2, lambda x: self.mlp(block + ".mlp", x))
        shift, scale = self.linear("last_modulation", condition).chunk(2, -1)
        x = torch.addcmul(shift.unsqueeze(2), F.layer_norm(x, (DIM,), eps=EPS), 1 + scale.unsqueeze(2))
        carried = warp(before, unpatchify(self.linear("motion", x)) * MOTION_UNIT)
        change, gate = unpatchify(self.linear("out", x)).chunk(2, 2)
        return carried + gate * carried + change


def loss_of(model, batch, noise, past_noise, tau, tau_before, weight):
    clean = batch["clean"]
    noisy = torch.lerp(noise, clean, tau[:, :, None, None, None])
    before = torch.lerp(past_noise, shifted(clean), tau_before[:, :, None, None, None])
    before = torch.cat([torch.zeros_like(before[:, :1]), before[:, 1:]], 1)
    past = (before, shifted(before), tau_before)
    predicted = model.forward(noisy, past, torch.zeros_like(tau, dtype=torch.int64), tau, batch["action"])
    error = (predicted - clean).square().mean((2, 3, 4))
    return (error * weight).sum() / weight.sum()


def compare(program):
    """Largest relative difference of the gradients, of the loss, and the tensors of the export."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "stdit.safetensors")
        subprocess.run([program, "export", path], check=True)
        batch = load_file(path)
    weights = {k.removeprefix("weight."): v.requires_grad_() for k, v in batch.items() if k.startswith("weight.")}
    noise, levels = (batch["noise"], batch["past_noise"]), (batch["tau"], batch["tau_before"])
    loss = loss_of(StDit(weights), batch, *noise, *levels, batch["weight_of_frame"])
    loss.backward()
    theirs = batch["loss"].item()
    worst = ("", 0.0)
    for name, weight in weights.items():
        ours = batch["gradient." + name]
        difference = ((ours - weight.grad).norm() / weight.grad.norm()).item()
        if not difference <= worst[1]:
            worst = (name, difference)
    return batch, weights, abs(loss.item() - theirs) / abs(theirs), worst


def measure(repetitions, run):
    run()
    times, cpu = [], time.process_time()
    for _ in range(repetitions):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times), (time.process_time() - cpu) * 1e3 / repetitions


def time_torch(batch, weights):
    model = StDit(weights)
    parameters = list(weights.values())
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    average = [p.detach().clone() for p in parameters]

    def train():
        tau = torch.where(torch.rand(16, 8) < 0.5, torch.ones(16, 8), torch.rand(16, 8))
        optimiser.zero_grad(set_to_none=True)
        weight = (tau < 1).float() + 1e-6
        noise = (torch.randn_like(batch["clean"]), torch.randn_like(batch["clean"]))
        loss_of(model, batch, *noise, tau, 1 - 0.2 * torch.rand(16, 8), weight).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, parameters, 0.001)

    result = {}
    result["train_step_ms"], result["train_step_cpu_ms"] = measure(9, train)

    @torch.no_grad()
    def dream(steps):
        action = batch["action"][:1, :1]
        nothing = torch.zeros(1, 1, 3, 64, 64)
        state = {"old": {}, "past": (nothing, nothing, torch.zeros(1, 1)), "position": 0}

        def predict(frame, tau):
            cache = dict(state, new={})
            level = torch.zeros(1, 1, dtype=torch.int64)
            clean = model.forward(frame, state["past"], level, torch.full((1, 1), tau), action, cache)
            return clean, cache["new"]

        def take(frame):
            _, new = predict(frame, 1.0)
            past = (frame, state["past"][0], torch.ones(1, 1))
            state.update(old=new, past=past, position=state["position"] + 1)

        for i in range(8):
            take(batch["clean"][:1, i : i + 1])

        def one():
            frame = torch.randn(1, 1, 3, 64, 64)
            for step in range(steps):
                clean, _ = predict(frame, step / steps)
                frame = frame + (clean - frame) / (steps - step)
            take(frame)

        return measure(40, one)

    result["frame_4_steps_ms"], result["frame_4_steps_cpu_ms"] = dream(4)
    result["frame_2_steps_ms"], _ = dream(2)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    environment = dict(os.environ, RAYON_NUM_THREADS=str(options.threads))
    batch, weights, loss, (name, gradient) = compare(options.program)
    print(f"loss: relative difference {loss:.2e} (wanted at most 1e-5)")
    print(f"gradients: largest relative difference {gradient:.2e}, of {name} (wanted at most 1e-4)")
    ours, theirs = [], []
    for _ in range(options.rounds):
        out = subprocess.run([options.program, "time"], env=environment, check=True, capture_output=True, text=True)
        ours.append(json.loads(out.stdout.splitlines()[-1]))
        theirs.append(time_torch(batch, weights))
    rows = {"loss, relative difference": loss, "gradients, largest relative difference": gradient}
    wanted = {"train_step_ms": 0.8, "frame_4_steps_ms": 0.5}
    for key in theirs[0]:
        a, b = (statistics.median(x[key] for x in rows) for rows in (ours, theirs))
        rows |= {f"{key}, Worldloom": a, f"{key}, PyTorch": b, f"{key}, ratio": a / b}
        note = f"   (wanted at most {wanted[key]})" if key in wanted else ""
        print(f"{key:24}{a:10.2f}{b:10.2f}  ratio {a / b:.2f}{note}")
    rate = statistics.median(x["frames_per_second_2_steps"] for x in ours)
    print(f"dreamed frames a second at 64 x 64 with 2 steps: {rate:.0f} (wanted at least 60)")
    rows["dreamed frames a second in 2 steps"] = rate
    settings = {"threads": options.threads, "rounds": options.rounds}
    common.record(options.json, "Video model: Worldloom against PyTorch", settings, ["torch"], rows)
    return 0 if loss <= 1e-5 and gradient <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
