"""The guard around a policy's methods: everything blamed, nothing of ours hidden, and the policy what it was."""

from __future__ import annotations

import abc
import pickle

import msgspec
import numpy as np
import pytest

from planner_core import (
    HEADS,
    ActionSpace,
    Batch,
    DataError,
    MissingExtra,
    PlannerError,
    PolicyContext,
    PolicyFailed,
    PolicySpec,
    SparseFeatures,
)
from planner_core.errors import MAX_MESSAGE, describe
from planner_core.plugins.guard import guarded, make_policy, policy_class
from planner_core.policy import BasePolicy, TrainablePolicy

SIZES = dict(zip(HEADS, ActionSpace().head_sizes, strict=True))
CONTEXT = PolicyContext()


class Config(msgspec.Struct):
    """Nothing to configure."""


class Plain:
    """A policy that does what it is told to."""

    score_kind = "heads"
    answer = None
    problem = None

    def __init__(self, config, context):
        self.config = config

    def predict(self, batch):
        if self.problem is not None:
            raise self.problem
        if self.answer is not None:
            return self.answer
        return {name: np.zeros((len(batch), size), np.float32) for name, size in SIZES.items()}

    def export_scorer(self):
        return self.predict(batch_of(1))


class Learner(Plain):
    def fit(self, session):
        raise self.problem

    def save(self, directory):
        raise self.problem

    def load(self, directory):
        raise self.problem


def batch_of(n):
    return Batch(SparseFeatures(np.zeros(0, np.int32), np.zeros(n + 1, np.int64), 3779), np.zeros(n, np.int64))


def made(cls, trainable=False, origin="acme-planner 1.2"):
    spec = PolicySpec("odd", "", Config, lambda: cls, trainable=trainable, origin=origin)
    return make_policy(spec, Config(), CONTEXT)


def test_a_sound_policy_is_what_it_was():
    policy = made(Plain)
    assert isinstance(policy, Plain) and isinstance(policy, BasePolicy) and not isinstance(policy, TrainablePolicy)
    assert type(policy).__name__ == "Plain" and type(policy).__doc__ == Plain.__doc__
    assert policy.config == Config()
    assert policy.predict(batch_of(3))["swarm"].shape == (3, 2)
    assert policy.predict(batch=batch_of(2))["minutes"].shape == (2, 6)
    assert isinstance(made(Learner, trainable=True), TrainablePolicy)


def test_the_class_itself_is_not_touched():
    before = Plain.predict
    made(Plain)
    assert Plain.predict is before
    policy = Plain(Config(), CONTEXT)
    policy.problem = ValueError("x")
    with pytest.raises(ValueError, match="x"):
        policy.predict(batch_of(1))


def test_one_guarded_class_for_a_class_and_a_name():
    assert guarded(Plain, "policy 'a'") is guarded(Plain, "policy 'a'")
    assert guarded(Plain, "policy 'a'") is not guarded(Plain, "policy 'b'")


@pytest.mark.parametrize("method", ["fit", "save", "load"])
def test_every_method_is_blamed(method):
    policy = made(Learner, trainable=True)
    policy.problem = KeyError("x")
    with pytest.raises(
        PolicyFailed, match=rf"^policy 'odd' \(acme-planner 1\.2\) failed in {method}: KeyError: 'x'$"
    ) as e:
        getattr(policy, method)(None)
    assert e.value.__cause__ is policy.problem


def test_the_innermost_method_is_named():
    policy = made(Plain)
    policy.problem = ValueError("x")
    with pytest.raises(PolicyFailed, match="failed in predict: ValueError: x"):
        policy.export_scorer()


@pytest.mark.parametrize(
    "ours",
    [PlannerError("ours"), DataError("f", expected="x"), MissingExtra("a", "train", "torch"), KeyboardInterrupt()],
)
def test_our_own_errors_pass(ours):
    policy = made(Learner, trainable=True)
    policy.problem = ours
    for call in (lambda: policy.predict(batch_of(1)), lambda: policy.fit(None)):
        with pytest.raises(type(ours)) as caught:
            call()
        assert caught.value is ours


def test_a_loss_that_diverges_is_the_loops_word():
    policy = made(Learner, trainable=True)
    policy.problem = FloatingPointError("diverged")
    with pytest.raises(FloatingPointError):
        policy.fit(None)
    with pytest.raises(PolicyFailed, match="failed in save: FloatingPointError: diverged"):
        policy.save(None)


def test_without_an_origin_there_is_still_a_name():
    policy = made(Plain, origin=None)
    policy.problem = ValueError("x")
    with pytest.raises(PolicyFailed, match=r"^policy 'odd' failed in predict"):
        policy.predict(batch_of(1))


def scores(**changes):
    return {**{name: np.zeros((2, size), np.float32) for name, size in SIZES.items()}, **changes}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (5, "it returned a int, expected a dict of swarm, candidates, minutes, iterations"),
        ({}, "it returned an empty dict; expected swarm"),
        ({"joint": np.zeros((2, 150), np.float32)}, "it returned joint; expected swarm"),
        (scores(more=np.zeros((2, 2))), "it returned swarm, candidates, minutes, iterations, more; expected swarm"),
        (scores(swarm=np.zeros((2, 3), np.float32)), r"'swarm' is a ndarray of shape \(2, 3\); .* of shape \(2, 2\)"),
        (scores(swarm=np.zeros((1, 2), np.float32)), r"'swarm' is a ndarray of shape \(1, 2\)"),
        (scores(swarm=[[0.0, 0.0]] * 2), r"'swarm' is a list of shape \(2, 2\); expected an array"),
        (scores(swarm=np.zeros((2, 2), np.int64)), "'swarm' is of type int64; expected float32"),
        (scores(minutes=np.full((2, 6), np.nan, np.float32)), "'minutes' holds NaN"),
    ],
)
def test_scores_that_are_none(answer, said):
    policy = made(Plain)
    policy.answer = answer
    with pytest.raises(PolicyFailed, match=rf"policy 'odd' .* failed in predict: {said}"):
        policy.predict(batch_of(2))


def test_scores_that_are_allowed():
    """Double precision, and minus infinity for what a policy rules out, have always been fine."""
    policy = made(Plain)
    policy.answer = scores(swarm=np.array([[0.0, -np.inf]] * 2))
    assert policy.predict(batch_of(2)) is policy.answer


@pytest.mark.parametrize("kind", [None, "logits"])
def test_a_score_kind_that_is_none(kind):
    with pytest.raises(PolicyFailed, match=f"has the score_kind {kind!r}; expected 'heads' or 'joint' or 'outcomes'"):
        made(type("Odd", (Plain,), {"score_kind": kind}))


def test_classes_of_every_kind():
    class Slotted(Plain):
        __slots__ = ("extra",)

    class Abstract(Plain, abc.ABC):
        @abc.abstractmethod
        def predict(self, batch): ...

    class Static(Plain):
        @staticmethod
        def predict(batch):
            raise ValueError("static")

    class Final(Plain):
        def __init_subclass__(cls):
            raise TypeError("final")

    assert made(Slotted).predict(batch_of(1))
    with pytest.raises(PolicyFailed, match=r"failed in __init__: TypeError: .*abstract"):
        made(Abstract)
    with pytest.raises(PolicyFailed, match="failed in predict: ValueError: static"):
        made(Static).predict(batch_of(1))
    with pytest.raises(PolicyFailed, match="failed in __init__: TypeError: final"):
        made(Final)


@pytest.mark.parametrize(
    ("module", "error", "said"),
    [
        ("torch", MissingExtra, r"'train' extra \(torch is not installed\)"),
        ("onnx.helper", MissingExtra, r"'train' extra \(onnx.helper is not installed\)"),
        ("lightgbm", PolicyFailed, "failed in load: ModuleNotFoundError: No module named 'lightgbm'"),
    ],
)
def test_whose_module_is_missing(module, error, said):
    """The ``train`` extra brings torch, and nothing that only a stranger's policy needs."""

    def load():
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)

    with pytest.raises(error, match=said):
        policy_class(PolicySpec("odd", "", Config, load, origin="acme-planner 1.2"))


def test_a_message_is_one_line_of_bearable_length():
    assert describe(ValueError("a\n  b")) == "ValueError: a b"
    assert describe(KeyError()) == "KeyError"
    long = describe(ValueError("x" * 10_000))
    assert len(long) == MAX_MESSAGE and long.endswith("...")


def test_errors_survive_a_process_boundary():
    """Ablation cells send theirs to another process."""
    error = PolicyFailed("policy 'odd' failed in fit: ValueError: x")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
