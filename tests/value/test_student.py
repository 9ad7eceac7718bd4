"""Student's t distribution against SciPy, and against what is known of it without SciPy."""

import math
from statistics import NormalDist

import pytest

from planner_core.value.student import quantile, two_sided_p, upper_tail

DFS = (1, 2, 3, 5, 19, 30, 100, 999, 9_999, 20_000, 10**6, 10**8)


def test_known_cases():
    assert quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-10)  # Cauchy
    assert upper_tail(math.sqrt(2), 2) == pytest.approx(0.5 - math.sqrt(2) / (2 * math.sqrt(4)), rel=1e-12)
    assert quantile(0.975, 10**9) == pytest.approx(NormalDist().inv_cdf(0.975), rel=1e-8)
    assert quantile(0.25, 7) == -quantile(0.75, 7)
    assert two_sided_p(0.0, 5) == 1.0
    assert two_sided_p(-3.0, 5) == two_sided_p(3.0, 5)
    assert math.isnan(upper_tail(math.nan, 3))
    assert upper_tail(math.inf, 3) == 0.0


@pytest.mark.parametrize("df", DFS)
def test_quantile_undoes_the_tail(df):
    for probability in (0.6, 0.9, 0.975, 0.9995):
        assert 1 - upper_tail(quantile(probability, df), df) == pytest.approx(probability, rel=1e-10)


@pytest.mark.parametrize("df", DFS)
def test_against_scipy(df):
    stats = pytest.importorskip("scipy.stats")
    for t in (-4.0, -0.1, 0.0, 0.01, 0.7, 2.0, 6.0, 40.0):
        expected = stats.t.sf(t, df)
        if expected > 1e-200:
            assert upper_tail(t, df) == pytest.approx(expected, rel=1e-8)
    for probability in (0.51, 0.8, 0.95, 0.975, 0.999):
        assert quantile(probability, df) == pytest.approx(stats.t.ppf(probability, df), rel=1e-6)


@pytest.mark.parametrize(("probability", "df"), [(0.0, 3), (1.0, 3), (0.9, 0), (math.nan, 2)])
def test_refuses_what_has_no_quantile(probability, df):
    with pytest.raises(ValueError):
        quantile(probability, df)
