"""Reference numbers for models/src/perceptual: LPIPS and I3D in PyTorch, with torchvision's trunks and weights made up.

    python tests/it/parity/perceptual.py            compares with models/src/perceptual/reference.json
    python tests/it/parity/perceptual.py --write    makes it anew

needs torch, torchvision and numpy. Weights and films are whole-number formulas that both sides write out, so that the file
holds results alone. `./x compat perceptual` runs the comparison.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

FILE = Path(__file__).resolve().parents[3] / "models" / "src" / "perceptual" / "reference.json"
# Two orders of the same f32 sums.
TOLERANCE = 1e-4
HEADS = {"alex": ([0, 3, 6, 8, 10], [64, 192, 384, 256, 256]), "vgg16": ([2, 7, 14, 21, 28], [64, 128, 256, 512, 512])}
SHIFT, SCALE = [-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]
MIXED = {
    "Mixed_3b": (192, [64, 96, 128, 16, 32, 32]),
    "Mixed_3c": (256, [128, 128, 192, 32, 96, 64]),
    "Mixed_4b": (480, [192, 96, 208, 16, 48, 64]),
    "Mixed_4c": (512, [160, 112, 224, 24, 64, 64]),
    "Mixed_4d": (512, [128, 128, 256, 24, 64, 64]),
    "Mixed_4e": (512, [112, 144, 288, 32, 64, 64]),
    "Mixed_4f": (528, [256, 160, 320, 32, 128, 128]),
    "Mixed_5b": (832, [256, 160, 320, 32, 128, 128]),
    "Mixed_5c": (832, [384, 192, 384, 48, 128, 128]),
}


def unit(name, shape):
    """Numbers in [-1, 1) that depend on a tensor's name and on their place: the bytes of the name and the index, mixed."""
    salt = 0
    for byte in name.encode():
        salt = (salt * 131 + byte) % 2**32
    x = (np.arange(int(np.prod(shape)), dtype=np.uint64) * np.uint64(2654435761) + np.uint64(salt)) % np.uint64(2**32)
    x ^= x >> np.uint64(15)
    x = (x * np.uint64(2246822519)) % np.uint64(2**32)
    x ^= x >> np.uint64(13)
    return torch.from_numpy(((x >> np.uint64(8)).astype(np.float32) / 2**23 - 1).reshape(shape))


def value(name, shape):
    """A weight: kernels that keep the size of their input, variances and heads above 0, the rest small."""
    shape = list(shape)
    if name.endswith("running_var") or name.endswith("bn.weight") or name.startswith("lin"):
        return 1 + 0.5 * unit(name, shape)
    if len(shape) > 1:
        return unit(name, shape) * np.float32(np.sqrt(6 / np.prod(shape[1:])))
    return 0.1 * unit(name, shape)


def film(frames, height, width, which):
    """[T, H, W, 3] bytes."""
    t, y, x, c = np.meshgrid(*(np.arange(n) for n in (frames, height, width, 3)), indexing="ij")
    base = 60 + (x * y + 5 * c + 3 * t) % 97 + 2 * ((x + t) % 16)
    return (base + which * ((7 * x + 11 * y + 3 * t * t + c) % 23)).astype(np.uint8)


def pictures(film):
    """[T, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(film).permute(0, 3, 1, 2).float() / 127.5 - 1


def lpips(net):
    """By frame: version 0.1 of LPIPS on torchvision's trunk."""
    trunk = {"alex": torchvision.models.alexnet, "vgg16": torchvision.models.vgg16}[net](weights=None).features.eval()
    trunk.load_state_dict({k: value(f"features.{k}", v.shape) for k, v in trunk.state_dict().items()})
    shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in (SHIFT, SCALE))

    def features(x):
        found, x = [], (x - shift) / scale
        for index, layer in enumerate(trunk):
            x = layer.forward(x) if not isinstance(layer, nn.ReLU) else F.relu(x)
            if index - 1 in HEADS[net][0]:
                found.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
            if len(found) == len(HEADS[net][0]):
                return found
        raise AssertionError("the trunk ends too early")

    a, b = (features(pictures(film(2, 40, 48, which))) for which in (0, 1))
    total = 0
    for index, (one, other, channels) in enumerate(zip(a, b, HEADS[net][1], strict=True)):
        head = value(f"lin{index}.model.1.weight", [1, channels, 1, 1])
        total = total + F.conv2d((one - other) ** 2, head).mean((2, 3))
    return total[:, 0].tolist()


class Same:
    """TensorFlow's SAME padding."""

    def pad(self, x, kernel, stride):
        amounts = []
        for size, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
            pad = max(k - s, 0) if size % s == 0 else max(k - size % s, 0)
            amounts += [pad // 2, pad - pad // 2]
        return F.pad(x, amounts)


class Unit3d(nn.Module, Same):
    def __init__(self, inputs, outputs, kernel, stride=1):
        super().__init__()
        self.kernel, self.stride = [kernel] * 3, [stride] * 3
        self.conv3d = nn.Conv3d(inputs, outputs, self.kernel, self.stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x):
        return F.relu(self.bn(self.conv3d(self.pad(x, self.kernel, self.stride))))


class Pool(nn.Module, Same):
    def __init__(self, kernel, stride):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        return F.max_pool3d(self.pad(x, self.kernel, self.stride), self.kernel, self.stride)


class Inception(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = outputs
        self.b0 = Unit3d(inputs, b0, 1)
        self.b1a, self.b1b = Unit3d(inputs, b1a, 1), Unit3d(b1a, b1b, 3)
        self.b2a, self.b2b = Unit3d(inputs, b2a, 1), Unit3d(b2a, b2b, 3)
        self.b3a, self.b3b = Pool([3, 3, 3], [1, 1, 1]), Unit3d(inputs, b3b, 1)

    def forward(self, x):
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], 1)


class I3d(nn.Module):
    def __init__(self):
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3d(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = Unit3d(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit3d(64, 192, 3)
        for name, (inputs, outputs) in MIXED.items():
            setattr(self, name, Inception(inputs, outputs))
        self.logits = nn.Module()
        self.logits.conv3d = nn.Conv3d(1024, 400, 1)

    def forward(self, x):
        pool = Pool([1, 3, 3], [1, 2, 2])
        x = pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(pool(self.Conv3d_1a_7x7(x)))))
        for name in MIXED:
            if name == "Mixed_4b":
                x = Pool([3, 3, 3], [2, 2, 2])(x)
            if name == "Mixed_5b":
                x = Pool([2, 2, 2], [2, 2, 2])(x)
            x = getattr(self, name)(x)
        x = F.avg_pool3d(x, [2, 7, 7], stride=1)
        return self.logits.conv3d(x)[..., 0, 0].mean(2)


def i3d():
    """Every 25th logit of a film of 11 frames."""
    model = I3d().eval()
    state = {k: value(k, v.shape) for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    model.load_state_dict(state, strict=False)
    x = F.interpolate(pictures(film(11, 40, 48, 0)), (224, 224), mode="bilinear", align_corners=False)
    return model(x.permute(1, 0, 2, 3)[None])[0, ::25].tolist()


def found():
    """What the real ones give."""
    with torch.no_grad():
        return {"alex": lpips("alex"), "vgg16": lpips("vgg16"), "i3d": i3d()}


def compare():
    """The largest relative difference from the file; an assertion if it is above the tolerance."""
    expected, now = json.loads(FILE.read_text(encoding="utf-8")), found()
    worst = 0.0
    for name, values in now.items():
        scale = max(abs(v) for v in values)
        worst = max(worst, *(abs(a - b) / scale for a, b in zip(values, expected[name], strict=True)))
    assert worst < TOLERANCE, f"expected {expected}, found {now}"
    return f"relative difference of {worst:.1e}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        FILE.write_text(json.dumps(found(), indent=2) + "\n", encoding="utf-8")
    else:
        print(f"torch {torch.__version__}, torchvision {torchvision.__version__}: {compare()}")
    sys.exit(0)
