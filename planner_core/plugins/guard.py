"""The one place where a policy's own code is called from: whatever it raises becomes one error that names the policy.

A stranger's policy is code that nobody here has read. A :class:`planner_core.errors.PolicyFailed` says whose it is,
which method failed and what it raised; the traceback is the error's ``__cause__`` (``PLANNER_DEBUG=1`` prints it). Our
own errors pass unchanged, and a call costs a look-up more.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any

import numpy as np

from planner_core.action_space import ActionSpace
from planner_core.decision import SCORE_KINDS, score_sizes
from planner_core.errors import MissingExtra, PlannerError, PolicyFailed, describe
from planner_core.policy import BasePolicy, PolicyContext, PolicySpec

TRAIN_MODULES = frozenset({"joblib", "matplotlib", "onnx", "onnxscript", "torch", "yaml"})
"""What the ``train`` extra installs; any other module that a policy misses is its own distribution's affair."""

SCORING, LEARNING = ("predict", "export_scorer"), ("fit", "save", "load")
"""The methods of the protocol: of every policy, and of one that learns."""

KINDS = " or ".join(map(repr, SCORE_KINDS))
_SPACE = "_planner_action_space"


@contextmanager
def blaming(label: str, method: str) -> Iterator[None]:
    """Raise whatever the block raises as a :class:`PolicyFailed` of ``label``.

    A :class:`PlannerError` passes, and so does a ``FloatingPointError`` from ``fit``, which is how a training loop says
    that it diverged. ``SystemExit`` does not: a library that calls ``sys.exit`` must not end the program unsaid.
    """
    try:
        yield
    except PlannerError:
        raise
    except (Exception, SystemExit) as problem:
        if method == "fit" and isinstance(problem, FloatingPointError):
            raise
        raise PolicyFailed(f"{label} failed in {method}: {describe(problem)}") from problem


def make_policy(spec: PolicySpec, config: Any, context: PolicyContext) -> BasePolicy:
    """Import the policy of ``spec`` and build it, its methods guarded.

    Raises what :func:`policy_class` raises, and :class:`PolicyFailed` where it cannot be built.
    """
    cls, label = policy_class(spec), spec.label
    with blaming(label, "__init__"):
        policy = guarded(cls, label)(config, context)
    kind = getattr(policy, "score_kind", None)
    if kind not in SCORE_KINDS:
        raise PolicyFailed(f"{label} has the score_kind {kind!r}; expected {KINDS}")
    policy.__dict__[_SPACE] = context.action_space
    return policy


def policy_class(spec: PolicySpec) -> type[BasePolicy]:
    """What ``spec.load`` returns, checked to be a class with the methods of the protocol.

    Raises :class:`MissingExtra` where a package of the ``train`` extra is not installed, and :class:`PolicyFailed` for
    anything else that is wrong.
    """
    label = spec.label
    with blaming(label, "load"):
        try:
            found = spec.load()
        except ModuleNotFoundError as problem:
            if str(problem.name).partition(".")[0] not in TRAIN_MODULES:
                raise
            raise MissingExtra(label, "train", str(problem.name)) from problem
    if not isinstance(found, type):
        raise PolicyFailed(f"{label} failed in load: it returned {found!r:.80}, expected a class")
    if missing := missing_methods(found, spec.trainable):
        raise PolicyFailed(f"{label} failed in load: the class {found.__name__} has no {', '.join(missing)}")
    return found


def missing_methods(cls: type, trainable: bool) -> list[str]:
    """Methods of the protocol that a policy's class lacks."""
    wanted = (*SCORING, *(LEARNING if trainable else ()))
    return [name for name in wanted if not callable(getattr(cls, name, None))]


@lru_cache(maxsize=64)
def guarded(cls: type[BasePolicy], label: str) -> type[BasePolicy]:
    """A subclass of ``cls``, named like it, whose protocol methods blame ``label`` for what they raise.

    A subclass and no wrapper: it stays what it was to ``isinstance``, to the class's own ``super()`` calls and to
    anyone who reads an attribute of it.
    """
    methods = {name: getattr(cls, name) for name in (*SCORING, *LEARNING) if callable(getattr(cls, name, None))}

    def fill(namespace: dict[str, Any]) -> None:
        namespace.update({"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__})
        namespace.update({name: _method(name, inherited) for name, inherited in methods.items()})

    def _method(name: str, inherited: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(inherited)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            with blaming(label, name):
                result = getattr(super(made, self), name)(*args, **kwargs)
            if name == "predict":
                wrong = _wrong_scores(result, self, next(iter((*args, *kwargs.values()))))
                if wrong:
                    raise PolicyFailed(f"{label} failed in predict: {wrong}")
            return result

        return call

    made: type[BasePolicy] = types.new_class(cls.__name__, (cls,), exec_body=fill)
    return made


def _wrong_scores(scores: Any, policy: Any, batch: Any) -> str | None:
    """What is wrong with the names, shapes or values of ``scores``; None where they are those of the policy's kind."""
    space: ActionSpace | None = policy.__dict__.get(_SPACE)
    if space is None:  # called from within __init__
        return None
    sizes = score_sizes(policy.score_kind, space)
    if not isinstance(scores, Mapping):
        return f"it returned a {type(scores).__name__}, expected a dict of {', '.join(sizes)}"
    if len(batch) == 0 and not scores:
        return None
    if set(scores) != set(sizes):
        return f"it returned {', '.join(map(str, scores)) or 'an empty dict'}; expected {', '.join(sizes)}"
    for name, size in sizes.items():
        values, wanted = scores[name], (len(batch), size)
        if not isinstance(values, np.ndarray) or values.shape != wanted:
            found = f"{type(values).__name__} of shape {np.shape(values)}"
            return f"'{name}' is a {found}; expected an array of shape {wanted}"
        if values.dtype.kind != "f":
            return f"'{name}' is of type {values.dtype}; expected float32"
        if np.isnan(values).any():
            return f"'{name}' holds NaN"
    return None
