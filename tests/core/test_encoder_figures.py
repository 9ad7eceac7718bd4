"""The log figures behind the bits: there only where the configuration asks for them."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core import (
    Batch,
    ConfigError,
    DataError,
    EncoderConfig,
    PlannerInput,
    PlannerInputEncoder,
    SparseFeatures,
    TrunkConfig,
    canonical,
    convert,
    make_settings,
    sample_inputs,
)

WITH = EncoderConfig(log_figures=True)
FIGURES = {
    "known": 0.5,
    "passed": {"overall": [1, 2, 3], "tags": [4, 5, 6], "tool": [7, 8, 9]},
    "minutes": {"overall": [-1, -2, -3], "tags": [-4, -5, -6], "tool": [-7, -8, -9]},
}
VALUES = [0.5, *range(1, 10), *range(-1, -10, -1)]


def test_a_configuration_without_them_is_written_as_before():
    plain = b'{"fail_code_buckets":256,"history_slots":8,"tag_buckets":1024}'
    assert canonical(EncoderConfig()) == canonical(EncoderConfig(log_figures=False)) == plain
    assert EncoderConfig() == EncoderConfig(log_figures=False) != WITH
    assert (EncoderConfig().d_in, EncoderConfig().n_figures) == (3779, 0)
    assert (WITH.d_in, WITH.n_figures) == (3798, 19)
    assert convert({"log_figures": True}, EncoderConfig, "encoder.json") == WITH


def test_they_are_the_last_group():
    assert WITH.group("log_figures") == range(3779, 3798)
    assert [len(WITH.group(name)) for name in ("known", "log_passed", "log_minutes")] == [1, 9, 9]
    assert len(EncoderConfig().group("log_figures")) == 0
    assert WITH.group("system_state") == EncoderConfig().group("system_state")


def test_they_follow_the_bits_in_the_order_of_the_contract(make_input):
    given = make_input(log_figures=FIGURES)
    dense = PlannerInputEncoder(WITH).encode(given)
    assert dense[3779:].tolist() == VALUES
    assert (dense[:3779] == PlannerInputEncoder().encode(given)).all()
    assert (
        PlannerInputEncoder(WITH).encode_batch([given, make_input()]) == [dense, [*dense[:3779], *[0.0] * 19]]
    ).all()


@pytest.mark.parametrize("absent", [{}, {"log_figures": None}])
def test_an_input_without_any_knows_nothing(make_input, absent):
    assert not PlannerInputEncoder(WITH).encode(make_input(**absent))[3779:].any()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("known",), 1.5),
        (("known",), None),
        (("passed", "tags"), [0, 0]),
        (("passed", "tags"), [0, 0, 2000]),
        (("minutes", "tool"), [0, "x", 0]),
        (("minutes", "more"), [0, 0, 0]),
    ],
)
def test_what_breaks_the_contract_is_named(make_input, path, value):
    figures = {**FIGURES, "passed": dict(FIGURES["passed"]), "minutes": dict(FIGURES["minutes"])}
    place = figures
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(DataError, match=r"log_figures"):
        PlannerInputEncoder(WITH).encode(make_input(log_figures=figures))


def test_sparse_features_carry_them_along():
    inputs = [convert(x, PlannerInput, "sample") for x in sample_inputs(12, 3, log_figures=True)]
    encoder = PlannerInputEncoder(WITH)
    features = Batch.from_inputs(inputs, encoder).features
    dense = encoder.encode_batch(inputs)
    assert (features.dense() == dense).all() and features.figures.any()
    rows = np.array([7, 2, 2])
    assert (features.take(rows).dense() == dense[rows]).all()
    back = SparseFeatures.from_dense(dense, WITH.n_figures)
    assert (back.dense() == dense).all() and (back.indices == features.indices).all()
    assert Batch.from_inputs(inputs, PlannerInputEncoder()).features.figures is None


def test_sample_inputs_differ_by_them_alone():
    plain, more = sample_inputs(8, 1), sample_inputs(8, 1, log_figures=True)
    assert [{k: v for k, v in x.items() if k != "log_figures"} for x in more] == plain
    assert 0 < sum("log_figures" in x for x in more) < 8


def test_they_are_asked_for_by_a_setting():
    assert make_settings("mlp", TrunkConfig, {"log_figures": True}).encoder == WITH
    assert "log_figures" not in make_settings("mlp", TrunkConfig, {}).to_dict()
    with pytest.raises(ConfigError, match="log_figures"):
        make_settings("mlp", TrunkConfig, {"log_figures": "perhaps"})
