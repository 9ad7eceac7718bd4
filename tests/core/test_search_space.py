"""What may be tried of a configuration, and what of such a declaration is refused."""

from __future__ import annotations

import msgspec
import pytest

from planner_core import IntegerRange, OneOf, PolicySpec, RealRange, load_registry, nested, space_document, value_at
from planner_core.plugins.registry import _problem
from planner_core.search_space import problem_of


class Config(msgspec.Struct):
    depth: int = 8
    rate: float = 0.1
    part: dict[str, float] = msgspec.field(default_factory=lambda: {"a": 1.0})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RealRange(1.0, 0.5), "the lower one first"),
        (lambda: RealRange(0.0, float("inf")), "two finite numbers"),
        (lambda: IntegerRange(0, 8, log=True), "a positive one"),
        (lambda: OneOf(()), "at least one value"),
        (lambda: OneOf(([1],)), "found \\[1\\]"),
    ],
)
def test_a_dimension_of_nothing_is_refused_where_it_is_written(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_what_a_dimension_holds():
    assert RealRange(0.0, 1.0).holds(1) and not RealRange(0.0, 1.0).holds(True) and not RealRange(0, 1).holds("a")
    assert IntegerRange(1, 4).holds(4) and not IntegerRange(1, 4).holds(2.0) and not IntegerRange(1, 4).holds(5)
    assert OneOf((None, 1.0)).holds(None) and not OneOf((1, 2)).holds(True)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ([1], "is a list, expected a mapping"),
        ({"depth": (1, 2)}, "has (1, 2) for 'depth'"),
        ({"dpth": IntegerRange(1, 9)}, "names 'dpth', which is no key"),
        ({"part.b": RealRange(0.0, 2.0)}, "names 'part.b'"),
        ({"depth": IntegerRange(1, 4)}, "of 'depth' does not hold the default 8"),
    ],
)
def test_the_registry_says_what_is_wrong_with_a_search_space(space, said):
    assert said in _problem(PolicySpec("x", "", Config, lambda: object, search_space=space), None)


def test_keys_of_the_encoder_and_nested_ones_may_be_tried():
    space = {"part.a": RealRange(0.5, 2.0), "history_slots": OneOf((4, 8))}
    assert _problem(PolicySpec("x", "", Config, lambda: object, search_space=space), None) is None
    assert nested({"part.a": 2.0, "part.b": 1.0, "x": 1}) == {"part": {"a": 2.0, "b": 1.0}, "x": 1}
    assert value_at({"part": {"a": 2.0}}, "part.a") == 2.0
    assert space_document(space)["history_slots"] == {"kind": "OneOf", "values": (4, 8)}


@pytest.mark.parametrize("name", ["mlp", "joint", "outcome"])
def test_the_built_in_policies_declare_one_whose_ends_are_configurations(name):
    spec = load_registry().spec(name)
    defaults = msgspec.to_builtins(spec.config_type())
    assert spec.search_space and problem_of(spec.search_space, defaults) is None
    for key, one in spec.search_space.items():
        for value in one.values if isinstance(one, OneOf) else (one.low, one.high):
            msgspec.convert({**defaults, key: value}, spec.config_type)
