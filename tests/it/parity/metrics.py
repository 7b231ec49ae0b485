"""Reference numbers for the metrics of models/: SSIM by scikit-image, the Fréchet distance by scipy.

    python tests/it/parity/metrics.py

needs numpy, scipy and scikit-image, and prints what stands in the tests of models/src/metrics/ssim.rs and
models/src/metrics/distance/tests.rs. The inputs are whole-number formulas that both sides write out.
"""

from importlib import metadata

import numpy as np
from scipy import linalg
from skimage.metrics import structural_similarity


def clips():
    """A texture [T, H, W, 3], and the same with an error."""
    t, y, x, c = np.meshgrid(np.arange(3), np.arange(24), np.arange(32), np.arange(3), indexing="ij")
    truth = 60 + (x * y + 5 * c + 3 * t) % 97 + 2 * ((x + t) % 16)
    prediction = truth + (7 * x + 11 * y + 3 * t * t + c) % 23
    assert prediction.max() < 256
    return truth, prediction


def ssim(truth, prediction):
    return structural_similarity(
        truth, prediction, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


def features(n, p, scale):
    i, k = np.meshgrid(np.arange(n), np.arange(6), indexing="ij")
    return ((i * i * 31 + k * k * 17 + i * k * p) % 101) * scale + k % 3


def frechet(a, b):
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(cov_a @ cov_b).real
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)


if __name__ == "__main__":
    print(*(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "scikit-image")))
    lumas = [clip @ np.array([0.299, 0.587, 0.114]) for clip in clips()]
    changes = [np.diff(luma, axis=0) for luma in lumas]
    print("REFERENCE", [float(ssim(a, b)) for a, b in zip(*lumas, strict=True)])
    print("TEMPORAL_REFERENCE", [float(ssim(a, b)) for a, b in zip(*changes, strict=True)])
    print("Fréchet", float(frechet(features(40, 7, 0.05), features(50, 13, 0.08))))
