"""One family of errors: what is wrong with a bundle or a model is told, counted and survived; the rest passes."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import signal
import time

import numpy as np
import pytest

from planner_core.data.samples import sample_inputs
from planner_core.errors import BundleError, PlannerError
from planner_core.failures import is_foreign
from planner_core.runtime.limits import Caps
from planner_core.runtime.planner import Planner

DOCUMENTS = sample_inputs(20, seed=2)


class Model:
    """A predictor that raises what it is told to, or answers evenly."""

    def __init__(self, problem=None, answer=None):
        self.problem, self.answer = problem, answer

    def action_probs(self, inputs):
        if self.problem is not None:
            raise self.problem
        return np.full((len(inputs), 150), 1 / 150, np.float32) if self.answer is None else self.answer


# -- bundles that cannot be read


def no_access(path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("planner_core.runtime.bundle.system.opened_directory", refuse)


def not_text(path, monkeypatch):
    monkeypatch.setattr("planner_core.runtime.opening.read_bundle", lambda path: b"\xff".decode())


def overflow(path, monkeypatch):
    monkeypatch.setattr("planner_core.runtime.opening.read_bundle", lambda path: float(10**400))


def too_deep(path, monkeypatch):
    monkeypatch.setattr("planner_core.runtime.opening.read_bundle", lambda path: too_deep(path, monkeypatch))


@pytest.mark.parametrize("spoil", [no_access, not_text, overflow])
def test_load_falls_back_whatever_is_wrong(bundles, monkeypatch, spoil):
    serving = Planner.load(bundles["mlp"], strict=True)
    spoil(bundles["mlp"], monkeypatch)
    with pytest.raises(BundleError):
        Planner.load(bundles["mlp"], strict=True)
    assert Planner.load(bundles["mlp"]).decide(DOCUMENTS[0])["reason"].startswith("bundle_unusable: ")
    with pytest.raises(BundleError):
        serving.reload(bundles["mlp"])
    assert serving.decide(DOCUMENTS[0])["abstain_to_default"] is False


@pytest.mark.parametrize("name", ["a\x00b", "x" * 5000, "caf\udce9", "/dev/null", "/proc/self/mem"])
def test_paths_that_are_none(name):
    with pytest.raises(BundleError):
        Planner.load(name, strict=True)
    assert Planner.load(name).decide(DOCUMENTS[0])["reason"].startswith("bundle_unusable: ")


def test_documents_that_are_not_text(bundles, tmp_path):
    path = shutil.copytree(bundles["heuristic"], tmp_path / "b")
    for name in os.listdir(path):
        content = (path / name).read_bytes()
        (path / name).write_bytes(b"\xff\xfe" * 50)
        with pytest.raises(BundleError):
            Planner.load(path, strict=True)
        (path / name).write_bytes(content)


# -- a model that fails, and what is not its failure


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (Model(RuntimeError("the session died")), "RuntimeError"),
        (Model(MemoryError()), "MemoryError"),
        (Model(PlannerError("the policy raised")), "PlannerError"),
        (Model(answer=None, problem=ZeroDivisionError("x")), "ZeroDivisionError"),
        (Model(answer=np.zeros((1, 3), np.float32)), "ValueError"),
        (Model(answer=np.zeros((1, 150), object)), "ValueError"),
        (Model(answer=[0.0]), "AttributeError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_that_fails_is_told_counted_and_logged_once(model, kind, caplog):
    planner = Planner(model)
    with caplog.at_level(logging.WARNING, "planner"):
        for _ in range(3):
            assert planner.decide(DOCUMENTS[0])["reason"].startswith(f"inference_failed: {kind}")
    assert caplog.text.count("a session call failed") == 1 and kind in caplog.text
    assert planner.stats() == {
        **{"decisions": 3, "model": 0, "fallbacks": {"inference_failed": 3}, "failures": {kind: 3}},
        **{"arms": {"model": 3}, "unlogged": 0},
    }


def test_a_session_that_fails(bundles):
    planner = Planner.load(bundles["mlp"], strict=True)
    planner.predictor._outputs = ["no such output"]
    action = planner.decide(DOCUMENTS[0])
    assert action["reason"].startswith("inference_failed: ")
    [kind] = planner.stats()["failures"]
    assert kind in ("InvalidArgument", "ValueError", "Fail")


class Deadline(Exception):
    pass


class Late(RuntimeError):
    pass


@pytest.mark.parametrize("problem", [Deadline(), TimeoutError("late"), KeyboardInterrupt(), OSError("no number")])
def test_what_is_not_a_failure_of_the_model_passes(problem):
    with pytest.raises(type(problem)):
        Planner(Model(problem)).decide(DOCUMENTS[0])


class Handler:
    def __init__(self, kind):
        self.kind = kind

    def method(self, *_):
        raise self.kind

    def __call__(self, *_):
        raise self.kind


@pytest.mark.parametrize("form", ["method", "object", "partial"])
@pytest.mark.parametrize("kind", [Deadline, TimeoutError, Late, ValueError])
def test_a_deadline_set_by_a_signal_is_never_swallowed(bundles, kind, form):
    """An exception class that could be the model's own is known by the handler that raised it."""
    planner = Planner.load(bundles["mlp"], strict=True)
    handler = Handler(kind)
    forms = {"method": handler.method, "object": handler, "partial": functools.partial(Handler.method, handler)}
    before = signal.signal(signal.SIGALRM, forms[form])
    tries, passed = 150, 0
    try:
        for i in range(tries):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + 1e-5 * (i % 40))
                end = time.monotonic() + 5
                while time.monotonic() < end:
                    planner.decide(DOCUMENTS[i % 20])
            except kind:
                passed += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert passed == tries and planner.stats()["failures"] == {}


def test_errors_of_the_operating_system_are_not_foreign():
    assert not is_foreign(OSError(5, "Input/output error")) and is_foreign(TimeoutError("late"))
    assert not is_foreign(ValueError("x"))


# -- counters and the callback


def test_counts_by_reason(bundles):
    planner = Planner.load(bundles["mlp"], strict=True, caps=Caps(max_minutes=15))
    actions = [planner.decide(x) for x in DOCUMENTS] + planner.decide_batch(DOCUMENTS)
    planner.plan(DOCUMENTS[0])
    actions.append(planner.decide(DOCUMENTS[0]))
    stats = planner.stats()
    words = [None if a["reason"] is None else a["reason"].split(":")[0] for a in actions] + [None]
    assert stats["decisions"] == 42 and stats["failures"] == {}
    assert stats["fallbacks"].keys() == {"over_cap"} and stats["model"] + stats["fallbacks"]["over_cap"] == 42
    assert abs(stats["fallbacks"]["over_cap"] - words.count("over_cap")) <= 1


def test_the_callback_sees_every_action(bundles):
    seen = []
    planner = Planner.load(bundles["mlp"], strict=True, on_decision=seen.append)
    given = [planner.decide(DOCUMENTS[0]), *planner.decide_batch(DOCUMENTS), planner.plan(DOCUMENTS[1]).action]
    assert seen == given


def test_what_the_callback_raises_reaches_the_caller():
    def refuse(action):
        raise Deadline

    with pytest.raises(Deadline):
        Planner(Model(), on_decision=refuse).decide(DOCUMENTS[0])


# -- options


@pytest.mark.parametrize(
    ("caps", "call"),
    [
        ({"max_candidates": 2}, r"write caps=Caps\(max_candidates=2\)"),
        ({"max_cost": 2}, r"write caps=Caps\(max_candidates=2, max_minutes=60\)"),
        ((2, 3), "not a tuple"),
    ],
)
def test_caps_that_are_none(bundles, caps, call):
    with pytest.raises(TypeError, match=call):
        Planner.load(bundles["mlp"], caps=caps)
    with pytest.raises(TypeError, match=call):
        Planner(None, caps=caps)


@pytest.mark.parametrize("value", ["3", 1.5, True])
def test_a_cap_that_is_no_integer(value):
    with pytest.raises(TypeError, match="max_minutes must be an integer"):
        Caps(max_minutes=value)


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"threads": 0}, ValueError), ({"threads": "4"}, ValueError), ({"threshold": "0.5"}, TypeError)],
)
def test_options_that_are_none_are_refused_with_any_bundle(tmp_path, options, kind):
    with pytest.raises(kind):
        Planner.load(tmp_path / "none", **options)
