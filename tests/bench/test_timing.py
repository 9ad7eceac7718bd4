"""The benchmark's arithmetic: turns, percentiles, ratios, and the verdict on noise. On synthetic times."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest

from planner_bench.timing import (
    MAX_DRIFT,
    MAX_TAIL,
    MAX_WAITING,
    ROUNDS,
    WARM_UP,
    curve,
    interleave,
    judge_noise,
    percentiles,
    ratio,
    rounds,
)


def test_percentiles():
    """Linear interpolation between the order statistics of 1..1001: position q (n - 1) / 100."""
    found = percentiles(np.random.default_rng(0).permutation(np.arange(1.0, 1002.0)))
    assert found == pytest.approx({"p50": 501.0, "p90": 901.0, "p99": 991.0, "p99.9": 1000.0, "mean": 501.0})


def test_contestants_take_turns():
    calls = []
    timed = interleave({name: lambda turn, name=name: calls.append((name, turn)) for name in "abc"}, 200)
    warm, timed_calls = calls[: 3 * WARM_UP], calls[3 * WARM_UP :]
    assert warm == [(name, turn) for turn in range(WARM_UP) for name in "abc"]
    by_turn = [timed_calls[i : i + 3] for i in range(0, 600, 3)]
    assert [{turn for _, turn in group} for group in by_turn] == [{turn} for turn in range(200)]
    orders = {"".join(name for name, _ in group) for group in by_turn}
    assert orders == {"abc", "acb", "bac", "bca", "cab", "cba"}  # nobody always comes after the same one
    assert {name: values.shape for name, values in timed.times.items()} == {name: (200,) for name in "abc"}
    assert all((values > 0).all() for values in timed.times.values())


def test_a_seed_repeats_the_order():
    def order(seed):
        calls = []
        interleave({name: lambda turn, name=name: calls.append(name) for name in "ab"}, 50, seed=seed, warm_up=0)
        return "".join(calls)

    assert order(3) == order(3) != order(4)


def test_times_are_those_of_the_calls():
    timed = interleave({"slow": lambda turn: time.sleep(0.003), "fast": lambda turn: None}, 5, warm_up=1)
    assert timed["slow"].min() >= 3.0 > np.median(timed["fast"])
    assert timed.waiting > 0.5  # asleep, it does not run


def test_a_primed_contestant_is_called_once_more_untimed():
    calls = []
    timed = interleave(
        {"a": lambda turn: calls.append(("a", turn)), "b": lambda turn: None}, 4, warm_up=0, primed={"a"}
    )
    assert calls == [("a", turn) for turn in range(4) for _ in range(2)]
    assert timed["a"].shape == (4,)


def test_progress_is_told_between_rounds():
    told, during = [], []
    interleave({"a": lambda turn: during.append(len(told))}, 100, tell=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 100) and told[-1] == (100, 100)
    assert [done for done, _ in told[:-1]] == list(range(0, 100, 100 // ROUNDS))


def test_collector_is_off_while_timing_and_on_again():
    seen = []
    interleave({"a": lambda turn: seen.append(gc.isenabled())}, 3)
    assert seen[-3:] == [False] * 3 and gc.isenabled()

    def fails(turn):
        if not gc.isenabled():
            raise RuntimeError("in the timed part")

    with pytest.raises(RuntimeError):
        interleave({"a": fails}, 3)
    assert gc.isenabled()


def test_rounds_have_enough_calls():
    assert [len(part) for part in rounds(np.zeros(1000))] == [50] * 20
    assert [len(part) for part in rounds(np.zeros(23))] == [6, 6, 6, 5]
    assert [len(part) for part in rounds(np.zeros(3))] == [3]


def test_a_ratio_survives_a_change_of_speed():
    """Both take twice as long in half of the rounds, which a ratio of medians over everything would not see so."""
    speed = np.where(np.arange(1000) < 450, 1.0, 2.0)
    jitter = np.random.default_rng(0).uniform(0.9, 1.1, 1000)
    assert ratio(30 * speed * jitter, 10 * speed) == pytest.approx(3.0, rel=0.02)


def test_the_curve_goes_no_further_than_the_calls_do():
    times = np.arange(1.0, 1001.0)
    assert curve(times)[-1] == (99.5, pytest.approx(995.005))
    assert [q for q, _ in curve(times[:10])][-1] == 90.0
    assert curve(np.arange(50_000.0))[-1][0] == 99.99


@pytest.mark.parametrize(
    ("change", "waiting", "quiet"),
    [
        (lambda t: t, 0.0, True),
        (lambda t: t, MAX_WAITING * 1.01, False),
        (lambda t: t, None, True),
        (lambda t: np.where(np.arange(1000) % 50 == 0, MAX_TAIL * 1.1, t), 0.0, False),  # one in fifty is interrupted
        (lambda t: np.where(np.arange(1000) % 200 == 0, 50.0, t), 0.0, True),  # one in two hundred is not in p99
        (lambda t: np.where(np.arange(1000) < 60, t * MAX_DRIFT * 1.1, t), 0.0, False),  # slower at first
    ],
)
def test_the_verdict_on_noise(change, waiting, quiet):
    times = change(np.random.default_rng(0).uniform(0.99, 1.01, 1000))
    found = judge_noise(times, waiting)
    assert found.quiet is quiet
    words = found.sentence
    assert ("quiet" in words) is quiet and ("noisy" in words) is not quiet
    assert f"limit {MAX_TAIL:g}" in words and f"limit {MAX_DRIFT:g}" in words
    assert ("others had the processor" in words) is (waiting is not None)
