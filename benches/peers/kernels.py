#!/usr/bin/env python3
"""Our operations beside PyTorch eager's, forward alone and with the backward pass, on the same threads.

Runs kernels/benches/ops.rs and the same operations on the same shapes in PyTorch, three rounds by turns, and
prints medians over the rounds of wall time with the ratio (below 1: ours is faster); the time of a round is the one that a tenth
of its repetitions stay below, since other programs on the machine only ever add. Needs an idle machine: PyTorch's threads
spin while they wait, so that on a busy one both its times say nothing; there, compare CPU times with `--threads 1`.
Our program keeps freed memory and candle off the other cores (`worldloom_kernels::memory`, `candle_threads`); PyTorch
runs as installed. Both are given the gradient of the output, made before: a backward pass begins with what the next
operation's has given, and ends with a gradient of each input.

    python benches/peers/kernels.py --program PATH [--threads 2] [--json FILE] [NAME…]

PATH is the bench program: `cargo bench -p worldloom-kernels --no-run` prints it.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time

import common

BUDGET_SECS = 0.6
FEWEST, MOST = 5, 200
KEYS = ("forward_ms", "both_ms", "forward_cpu_ms", "both_cpu_ms")


def measure(run):
    """Wall time that a tenth of the repetitions stay below, and mean of CPU time over all threads, ms."""
    run()
    times = []
    start, cpu = time.perf_counter(), time.process_time()
    while len(times) < MOST and (len(times) < FEWEST or time.perf_counter() - start < BUDGET_SECS):
        before = time.perf_counter()
        run()
        times.append((time.perf_counter() - before) * 1e3)
    cpu_ms = (time.process_time() - cpu) * 1e3 / len(times)
    return sorted(times)[len(times) // 10], cpu_ms


def attention(axis, causal, heads=4, window=None):
    import torch
    import torch.nn.functional as F

    def run(qkv):
        b, t, n, c = qkv.shape
        c //= 3
        q, k, v = qkv.view(b, t, n, 3, heads, c // heads).unbind(3)
        if axis == "space":
            rows = lambda x: x.reshape(b * t, n, heads, -1).transpose(1, 2)
        else:
            rows = lambda x: x.permute(0, 2, 3, 1, 4).reshape(b * n, heads, t, -1)
        mask = None
        if window:
            mask = torch.ones(t, t, dtype=torch.bool).tril().triu(1 - window)
        out = F.scaled_dot_product_attention(rows(q), rows(k), rows(v), attn_mask=mask, is_causal=causal)
        if axis == "space":
            return out.transpose(1, 2).reshape(b, t, n, c)
        return out.view(b, n, heads, t, c // heads).permute(0, 3, 1, 2, 4).reshape(b, t, n, c)

    return run


def branch(inside):
    import torch
    import torch.nn.functional as F

    def run(x, modulation, w1, b1, w2, b2):
        shift, scale, gate = modulation.unsqueeze(2).chunk(3, -1)
        h = torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)
        return torch.addcmul(x, gate, F.linear(inside(F.linear(h, w1, b1)), w2, b2))

    return run


def patchify(x, p=8):
    b, t, c, h, w = x.shape
    x = x.reshape(b, t, c, h // p, p, w // p, p).permute(0, 1, 3, 5, 2, 4, 6)
    return x.reshape(b, t, -1, c * p * p)


@functools.cache
def weights(rows):
    import torch

    return torch.ones(rows, 1)


@functools.cache
def ids(count, rows):
    """The ids of ops.rs."""
    import torch

    return torch.arange(count) * 37 % rows


@functools.cache
def frames(which, *shape):
    """Data that asks for no gradient; `which` tells two of one shape apart."""
    import torch

    return torch.randn(shape)


def carry_patches(out, p=8):
    import torch

    b, t, n, c = out.shape[0], out.shape[1], int(out.shape[2] ** 0.5), out.shape[3] // (2 * p * p)
    squares = out.view(b, t, n, n, 2, c, p, p).permute(4, 0, 1, 5, 2, 6, 3, 7)
    change, gain = squares.reshape(2, b, t, c, n * p, n * p)
    return torch.addcmul(change, frames("a", *change.shape), 1 + gain)


@functools.cache
def pixels(height, width):
    import torch

    return torch.stack(torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy"), -1).float()


def warp(x, flow):
    import torch
    import torch.nn.functional as F

    height, width = x.shape[-2:]
    size = torch.tensor([width - 1, height - 1])
    grid = (pixels(height, width) + flow.permute(0, 2, 3, 1)) * (2 / size) - 1
    return F.grid_sample(x, grid, padding_mode="border", align_corners=True)


def operations():
    """What a PyTorch model would call, by the names of ops.rs."""
    import torch
    import torch.nn.functional as F

    def swiglu(x):
        a, b = x.chunk(2, -1)
        return F.silu(a) * b

    return {
        "layer_norm": lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b, 1e-6),
        "rms_norm": lambda x, w: F.rms_norm(x, x.shape[-1:], w, 1e-6),
        "layer_norm_modulated": lambda x, shift, scale: torch.addcmul(
            shift.unsqueeze(1), F.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale.unsqueeze(1)
        ),
        "gated_residual": lambda x, branch, gate: torch.addcmul(x, gate.unsqueeze(1), branch),
        "silu": F.silu,
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "swiglu": swiglu,
        "bias_gelu": lambda x, b: F.gelu(x + b),
        "linear": F.linear,
        "branch_mlp": branch(swiglu),
        "branch_space": branch(attention("space", False)),
        "branch_time": branch(attention("time", True)),
        "patchify": patchify,
        "blend": lambda a, b: torch.lerp(a, b, weights(a.shape[0]) * 0.25),
        "carry_patches": carry_patches,
        "warp": warp,
        "weighted_mse": lambda a, b: ((a - b).square() * weights(a.shape[0])).mean(),
        "mse": F.mse_loss,
        "sum_dim0": lambda x: x.sum(0),
        "sum_members": lambda x: x.sum(0),
        "sum_tokens": lambda x: x.sum(1),
        "embedding": lambda x: F.embedding(ids(8192, x.shape[0]), x),
        "mean_all": lambda x: x.mean(),
        "group_norm": lambda x, w, b: F.group_norm(x, 8, w, b, 1e-5),
        "group_norm_silu": lambda x, w, b: F.silu(F.group_norm(x, 8, w, b, 1e-5)),
        "conv3x3": lambda x, w, b: F.conv2d(x, w, b, padding=1),
        "conv3x3_small": lambda x, w, b: F.conv2d(x, w, b, padding=1),
        "conv3x3_stride2": lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1),
        "conv1x1": F.conv2d,
        "conv_patches": lambda x, w, b: F.conv2d(x, w, b, stride=8),
        "conv_depthwise": lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=64),
        "attention_space": attention("space", False),
        "attention_time": attention("time", True),
        "attention_window": attention("time", False, window=4),
        "attention_long": attention("space", False),
        "attention_long_causal": attention("space", True),
    }


def measure_torch(op, shapes):
    import torch

    torch.manual_seed(0)
    inputs = [torch.randn(shape) for shape in shapes]
    run = operations()[op]
    with torch.no_grad():
        forward = measure(lambda: run(*inputs))
        grad = torch.randn_like(run(*inputs))
    tracked = [x.requires_grad_() for x in inputs]

    def both():
        for x in tracked:
            x.grad = None
        run(*tracked).backward(grad)

    both = measure(both)
    return {"op": op, "forward_ms": forward[0], "both_ms": both[0], "forward_cpu_ms": forward[1], "both_cpu_ms": both[1]}


def measure_torch_adamw(shapes):
    """clip_grad_norm_, the fused AdamW and a foreach average of the weights: PyTorch's fastest eager step."""
    import torch

    torch.manual_seed(0)
    parameters = [torch.randn(shape, requires_grad=True) for shape in shapes]
    averages = [parameter.detach().clone() for parameter in parameters]
    gradients = [2 * parameter.detach() for parameter in parameters]
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step():
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 0.001)

    wall_ms, cpu_ms = measure(step)
    return {"op": "adamw", "forward_ms": wall_ms, "forward_cpu_ms": cpu_ms}


def measure_ours(program, threads, names):
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads))
    out = subprocess.run([program, *names], env=environment, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    ours, theirs, shapes = {}, {}, {}
    for _ in range(options.rounds):
        for found in measure_ours(options.program, options.threads, options.names):
            ours.setdefault(found["op"], []).append(found)
            shapes[found["op"]] = found["shape"]
        for op in ours:
            if op == "adamw":
                theirs.setdefault(op, []).append(measure_torch_adamw(shapes[op]))
            elif op in operations():
                theirs.setdefault(op, []).append(measure_torch(op, shapes[op]))
    rows = []
    for op, found in ours.items():
        row = {"op": op, "shape": shapes[op]}
        for key in KEYS:
            if key not in found[0]:
                continue
            row[key] = statistics.median(x[key] for x in found)
            if op in theirs:
                row["torch_" + key] = statistics.median(x[key] for x in theirs[op])
                row["ratio_" + key[:-3]] = row[key] / row["torch_" + key]
        rows.append(row)
    settings = {"threads": options.threads, "rounds": options.rounds, "shapes": shapes}
    ratios = {f"{row['op']}, {key[6:]} ratio": value for row in rows for key, value in row.items() if key.startswith("ratio_")}
    times = {f"{row['op']}, {key}": value for row in rows for key, value in row.items() if key.endswith("_ms")}
    common.record(options.json, "Operations: Worldloom against PyTorch", settings, ["torch"], times | ratios)
    heads = "".join(f"{head:>10}{'torch':>10}{'ratio':>7}" for head in ("forward", "both", "fwd CPU", "both CPU"))
    print(f"{'operation':22}{heads}   ms: wall time, means of CPU time")
    for row in rows:
        line = f"{row['op']:22}"
        for key in KEYS:
            if key not in row:
                line += f"{'':27}"
                continue
            theirs_ms = row.get("torch_" + key)
            line += f"{row[key]:10.3f}"
            line += f"{theirs_ms:10.3f}{row[key] / theirs_ms:7.2f}" if theirs_ms else f"{'':17}"
        print(line)
    slower = [row["op"] for row in rows if row.get("ratio_both", row.get("ratio_forward", 0)) > 1]
    print("slower than PyTorch: " + (", ".join(slower) or "none"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
