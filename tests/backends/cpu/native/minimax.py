"""Where the numbers in vector_math.h come from: ``python -m tests.backends.cpu.native.minimax`` prints them.

Each is the polynomial whose largest relative error is least, found by Lawson's iteration: least squares, with more
weight wherever the error was large (Lawson 1961, Contributions to the theory of linear least maximum approximation).
"""

from __future__ import annotations

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
    return {
        "exp: (e^r - 1 - r) / r^2": minimax(r, (np.expm1(r) - r) / r**2, 4, r**2 / np.exp(r)),
        "tanh: ((e^2r - 1) / 2 - r) / r^2": minimax(
            r / 2, (np.expm1(r) / 2 - r / 2) / (r / 2) ** 2, 4, np.abs((r / 2) ** 2 * 2 / np.expm1(r))
        ),
        "log: (log(1 + f) - f + f^2 / 2) / f^3": minimax(f, (np.log1p(f) - f + f**2 / 2) / f**3, 6, f**3 / np.log1p(f)),
        "softplus: (log(1 + t) - t) / t^2": minimax(t, (np.log1p(t) / t - 1) / t, 8, t**2 / np.log1p(t)),
    }


if __name__ == "__main__":
    for name, (coefficients, error) in fits().items():
        numbers = ", ".join(str(number) for number in coefficients.astype(np.float32))
        sys.stdout.write(f"{name}: {numbers}   (relative error {error * 2**24:.2f} · 2^-24)\n")
