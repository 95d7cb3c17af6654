"""Where the numbers in vector_math.h come from: ``python -m tests.backends.cpu.native.minimax`` prints them.

Each is the polynomial whose largest relative error is least, found by Lawson's iteration: least squares, with more
weight wherever the error was large (Lawson 1961, Contributions to the theory of linear least maximum approximation).
"""

from __future__ import annotations

import math
import sys

import numpy as np

HALF = np.log(2) / 2 * 1.0005
"""A little more than what is left of x when a multiple of log 2 is taken away."""


def minimax(x: np.ndarray, f: np.ndarray, degree: int, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients, lowest first, of the polynomial with the least largest ``weight · |f - p(x)|``, and that."""
    scale = np.abs(x).max()
    powers = np.stack([(x / scale) ** k for k in range(degree + 1)], 1)
    share, best = np.full(len(x), 1 / len(x)), (np.inf, np.zeros(degree + 1))
    for _ in range(3000):
        root = np.sqrt(share) * weight
        c = np.linalg.lstsq(powers * root[:, None], f * root, rcond=None)[0]
        error = weight * np.abs(f - powers @ c)
        best = min(best, (error.max(), c), key=lambda found: found[0])
        share = share * error / (share * error).sum()
    return best[1] / scale ** np.arange(degree + 1), best[0]


def points(low: float, high: float, apart: float = 0) -> np.ndarray:
    """About a thousand points, so far from 0: nearer the quotient to be fitted drowns in its rounding."""
    fine = np.linspace(low, high, 40_000)
    return fine[np.abs(fine) > apart][::40]


def fits() -> dict[str, tuple[np.ndarray, float]]:
    """What each function needs, with the largest relative error of the function that results."""
    r, f, t = points(-HALF, HALF), points(-0.2930, 0.4143, apart=2e-3), np.linspace(1e-6, 1, 1000)
    angle, half_angle = np.linspace(1e-3, np.pi / 4 * 1.0005, 1200), np.linspace(3e-2, np.pi / 4 * 1.0005, 1200)
    z, small = np.linspace(0, 9.4, 1500), np.linspace(1e-4, 0.85, 1500)
    scaled_erfc, erf = np.vectorize(math.erfc)(z) * np.exp(z * z), np.vectorize(math.erf)(small)
    ratio = np.linspace(1e-3, (np.sqrt(2) - 1) / (np.sqrt(2) + 1) * 1.0005, 1500)  # (m - 1) / (m + 1)
    away, between = r[np.abs(r) > 2e-3], np.linspace(-0.5005, 0.5005, 1500)
    return {
        "exp: (e^r - 1 - r) / r^2": minimax(r, (np.expm1(r) - r) / r**2, 4, r**2 / np.exp(r)),
        "tanh: ((e^2r - 1) / 2 - r) / r^2": minimax(
            r / 2, (np.expm1(r) / 2 - r / 2) / (r / 2) ** 2, 4, np.abs((r / 2) ** 2 * 2 / np.expm1(r))
        ),
        "log: (log(1 + f) - f + f^2 / 2) / f^3": minimax(f, (np.log1p(f) - f + f**2 / 2) / f**3, 6, f**3 / np.log1p(f)),
        "softplus: (log(1 + t) - t) / t^2": minimax(t, (np.log1p(t) / t - 1) / t, 8, t**2 / np.log1p(t)),
        "expm1: (e^r - 1 - r) / r^2": minimax(
            away, (np.expm1(away) - away) / away**2, 4, away**2 / np.abs(np.expm1(away))
        ),
        "erf(x) / x of x^2": minimax(small**2, erf / small, 5, small / erf),
        "(x + 3) e^(x^2) erfc(x) of (x - 3) / (x + 3)": minimax(
            (z - 3) / (z + 3), scaled_erfc * (z + 3), 9, 1 / (scaled_erfc * (z + 3))
        ),
        "sin: (sin(r) / r - 1) / r^2 of r^2": minimax(
            angle**2, (np.sin(angle) / angle - 1) / angle**2, 2, angle**3 / np.sin(angle)
        ),
        "cos: (cos(r) - 1 + r^2 / 2) / r^4 of r^2": minimax(
            half_angle**2, (np.cos(half_angle) - 1 + half_angle**2 / 2) / half_angle**4, 2, half_angle**4
        ),
        "pow in double: log2((1 + s) / (1 - s)) / s of s^2": minimax(
            ratio**2, 2 * np.arctanh(ratio) / ratio / np.log(2), 5, ratio / np.arctanh(ratio)
        ),
        "pow in double: 2^r": minimax(between, np.exp2(between), 6, np.exp2(-between)),
    }


if __name__ == "__main__":
    for name, (coefficients, error) in fits().items():
        numbers = ", ".join(
            str(number) for number in coefficients.astype(np.float64 if "double" in name else np.float32)
        )
        sys.stdout.write(f"{name}: {numbers}   (relative error {error * 2**24:.2f} · 2^-24)\n")
