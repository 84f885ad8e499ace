"""Tails and quantiles of the normal, Student's t and chi-squared distribution, without SciPy, which sites may lack.

The incomplete beta function by Lentz' method for its continued fraction (DLMF 8.17.22); chi-squared by its closed form
for whole degrees of freedom (Abramowitz and Stegun 26.4.4 and 26.4.5).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

_STEPS: Final = 1000
_TINY: Final = 1e-300


def normal_p(statistic: float) -> float:
    """Two-sided."""
    return math.erfc(abs(statistic) / math.sqrt(2))


def normal_quantile(confidence: float) -> float:
    """How many standard errors to each side hold this share: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def student_p(statistic: float, degrees: float) -> float:
    """Two-sided."""
    square = statistic * statistic
    return _beta(degrees / (degrees + square), degrees / 2, 0.5) if math.isfinite(square) else 0.0


def student_quantile(confidence: float, degrees: float) -> float:
    """How many standard errors to each side hold this share, by bisection."""
    low, high = 0.0, 1.0
    while student_p(high, degrees) > 1 - confidence:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if student_p(middle, degrees) > 1 - confidence else (low, middle)
    return (low + high) / 2


def chi_squared_p(statistic: float, degrees: int) -> float:
    """The upper tail."""
    if statistic <= 0:
        return 1.0
    half = statistic / 2
    total, term = 0.0, math.exp(-half)
    if degrees % 2:
        term *= math.sqrt(statistic) * math.sqrt(2 / math.pi)
        for step in range(1, degrees - 1, 2):
            total += term
            term *= statistic / (step + 2)
        return min(1.0, math.erfc(math.sqrt(half)) + total)
    for step in range(1, degrees // 2 + 1):
        total += term
        term *= half / step
    return min(1.0, total)


def _beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta(1 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _STEPS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away(1.0 + numerator * d)
            c = _away(1.0 + numerator / c)
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return math.exp(log_front) * fraction / a


def _away(value: float) -> float:
    """Not nothing: what is divided by."""
    return value if abs(value) > _TINY else _TINY
