"""Student's t distribution without SciPy: its tail, and the quantile that an interval multiplies its error by.

The tail is half the regularised incomplete beta function I_x(df/2, 1/2) at x = df / (df + t^2) (Abramowitz and Stegun,
26.7.1), evaluated by the continued fraction 26.5.8 in the form of Lentz. Tested against SciPy to a relative 1e-9.
"""

from __future__ import annotations

import math
from functools import lru_cache

_TINY = 1e-300
_PRECISION = 1e-15
_MOST_TERMS = 20_000


def upper_tail(t: float, df: float) -> float:
    """P(T > t) of Student's t with ``df`` > 0 degrees of freedom; NaN where ``t`` is NaN."""
    if math.isnan(t):
        return math.nan
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    # x and 1 - x are each computed from what is small in them, so that neither loses its digits.
    square = t * t
    half = 0.5 * _incomplete_beta(df / 2, 0.5, df / (df + square), square / (df + square))
    return half if t >= 0 else 1.0 - half


def two_sided_p(t: float, df: float) -> float:
    """P(|T| > |t|): the p-value of a two-sided test."""
    return min(1.0, 2.0 * upper_tail(abs(t), df))


@lru_cache(maxsize=4096)
def quantile(probability: float, df: float) -> float:
    """The t with P(T <= t) = ``probability``, for 0 < ``probability`` < 1 and ``df`` > 0; by bisection of the tail."""
    if not 0.0 < probability < 1.0 or not df > 0.0:
        raise ValueError(f"no t quantile of probability {probability} on {df} degrees of freedom")
    if probability < 0.5:
        return -quantile(1.0 - probability, df)
    wanted = 1.0 - probability
    low, high = 0.0, 1.0
    while upper_tail(high, df) > wanted:
        low, high = high, high * 2.0
    while high - low > 1e-13 * high:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if upper_tail(middle, df) > wanted else (low, middle)
    return 0.5 * (low + high)


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """I_x(a, b) with ``y`` = 1 - x."""
    if x <= 0.0:
        return 0.0
    if y <= 0.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # the fraction converges fast only on this side
        return 1.0 - _incomplete_beta(b, a, y, x)
    # log x loses its digits where x is nearly 1, log1p(-y) does not.
    log_x = math.log1p(-y) if y < 0.5 else math.log(x)
    log_y = math.log1p(-x) if x < 0.5 else math.log(y)
    front = math.exp(a * log_x + b * log_y - math.log(a) - _log_beta(a, b))
    return front * _fraction(a, b, x)


def _log_beta(a: float, b: float) -> float:
    """log B(a, b); for a large argument by Stirling's series, where the difference of two lgamma loses its digits."""
    large, small = max(a, b), min(a, b)
    if large < 1e4:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    total = large + small
    stirling = (large - 0.5) * math.log1p(-small / total) - small * math.log(total) + small
    return math.lgamma(small) + stirling + (1.0 / large - 1.0 / total) / 12.0


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1.0 + term * d
            c = 1.0 + term / c
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = c if abs(c) > _TINY else _TINY
            step = d * c
            value *= step
        if abs(step - 1.0) < _PRECISION:
            return value
    raise ArithmeticError(f"the incomplete beta function did not converge at a={a}, b={b}, x={x}")
