"""The whole vector of SPEC section 4: its layout, its forms, and what holds of any valid input."""

from __future__ import annotations

import numpy as np
import pytest
from encoder_positions import ACTION_SPACE, ISSUE, MINIMAL, NOW_MS, RUN, UNIVERSE, on
from hypothesis import given, settings
from hypothesis import strategies as st

from planner_core.encoder import EncoderConfig, PlannerInputEncoder, bucket
from planner_core.errors import DataError

# ---------------------------------------------------------------------------------------------------- whole vector


def test_minimal_input_is_exactly_the_hand_written_set(make_input):
    assert on(make_input()) == MINIMAL


def test_minimal_run_is_exactly_the_hand_written_set(make_input, make_run):
    assert on(make_input(runs=[make_run()])) == MINIMAL | RUN


BLOCKS = ("issue", "history", "action_space", "universe_defaults", "system_state")


def test_default_layout_is_the_table():
    config = EncoderConfig()
    assert config.d_in == 3779
    assert {name: config.group(name) for name in BLOCKS} == {
        "issue": range(0, 1052),
        "history": range(1052, 3708),
        "action_space": range(3708, 3740),
        "universe_defaults": range(3740, 3754),
        "system_state": range(3754, 3779),
    }
    assert config.group("run", slot=1) == range(1052 + 332, 1052 + 2 * 332)


def test_groups_have_names():
    encoder = PlannerInputEncoder()
    assert encoder.group("risk") == range(4, 8)
    assert encoder.group("tags") == range(28, 1052)
    assert encoder.group("status", slot=0) == range(1052 + 24, 1052 + 27)
    assert encoder.group("filled", slot=7) == range(3707, 3708)
    assert encoder.group("present") == range(3778, 3779)
    with pytest.raises(KeyError):
        encoder.group("status")  # a group of a slot, and no slot named
    with pytest.raises(IndexError, match="no history slot 8; the encoder has 8"):
        encoder.group("status", slot=8)


def test_groups_tile_the_vector():
    """Every feature belongs to exactly one block, and every position of a block to exactly one group."""
    config = EncoderConfig(history_slots=2, tag_buckets=7, fail_code_buckets=5)
    inside = ("priority", "risk", "size", "attempts", "tool_hint", "tags")
    offered = ("offered_swarms", "offered_candidates", "offered_minutes", "offered_iterations")
    system = ("workcells", "queue", "hour", "budget", "toolchains", "present")
    run = ("job_type", "domain", "swarm", "candidates", "minutes", "iterations", "status", "fail_codes", "gates")
    run += ("duration", "cost", "recency", "filled")
    groups = [config.group(name) for name in (*inside, *offered, "default_swarm", "objective", *system)]
    groups += [config.group(name, slot) for name in run for slot in (0, 1)]
    assert sorted(i for group in groups for i in group) == list(range(config.d_in))
    assert [i for name in BLOCKS for i in config.group(name)] == list(range(config.d_in))


@pytest.mark.parametrize(
    ("slots", "d_in", "action_space"),
    [
        (0, 1123, 1052),  # 1052 + 0 x 332 + 32 + 14 + 25
        (1, 1455, 1384),
        (4, 2451, 2380),
        (8, 3779, 3708),
        (16, 6435, 6364),
    ],
)
def test_history_slots_move_what_comes_after(make_input, make_run, slots, d_in, action_space):
    config = EncoderConfig(history_slots=slots)
    document = make_input(runs=[make_run()] * 20)
    assert config.d_in == d_in
    assert PlannerInputEncoder(config).encode(document).shape == (d_in,)
    expected = set(ISSUE) | {i - 3708 + action_space for i in ACTION_SPACE | UNIVERSE}
    for slot in range(slots):
        expected |= {i + slot * 332 for i in RUN}
    assert on(document, config) == expected


def test_bucket_counts_are_configuration(make_input, make_run):
    config = EncoderConfig(tag_buckets=512, fail_code_buckets=128)
    # issue 28 + 512 = 540, slot 76 + 128 = 204, action space at 540 + 8 x 204 = 2172, then 32, 14 and 25
    assert (config.group("tags").stop, config.d_run, config.group("action_space").start) == (540, 204, 2172)
    assert config.d_in == 2243
    document = make_input(issue={"tags": ["bug"]}, runs=[make_run(outcome={"fail_codes": ["tests_failed"]})])
    found = on(document, config)
    assert {i for i in found if 28 <= i < 540} == {338}  # 28 + 0xecb53f36 % 512 = 310
    assert {i for i in found if 567 <= i < 695} == {691}  # 540 + 27 + 0xdfcada7c % 128 = 124
    assert {i for i in found if 540 <= i < 567} == {i - 512 for i in RUN if i < 1079}
    # the rest of the slot stands 512 tags and 128 fail codes earlier
    assert {i for i in found if 695 <= i < 744} == {i - 640 for i in RUN if i > 1334}


@pytest.mark.parametrize("bad", [{"history_slots": -1}, {"tag_buckets": 0}, {"fail_code_buckets": 0}])
def test_impossible_configuration_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        EncoderConfig(**bad)


@pytest.mark.parametrize(
    ("text", "number", "buckets", "expected"),
    [
        ("claude", 0xC857D09D, 1024, 157),
        ("tests_failed", 0xDFCADA7C, 256, 124),
        ("größe", 0xD353A267, 1024, 615),  # the UTF-8 bytes are hashed
    ],
)
def test_bucket_is_the_first_eight_hex_digits(text, number, buckets, expected):
    assert number % buckets == expected
    assert bucket(text, buckets) == expected


# ---------------------------------------------------------------------------------------------------- output forms


def test_output_types(make_input):
    encoder = PlannerInputEncoder()
    dense = encoder.encode(make_input())
    assert (dense.dtype, dense.shape) == (np.float32, (3779,))
    indices = encoder.encode_indices(make_input())
    assert (indices.dtype, indices.shape) == (np.int32, (24,))


def test_all_forms_agree(make_input, make_run):
    encoder = PlannerInputEncoder()
    documents = [make_input(), make_input(runs=[make_run()] * 3, system_state={}), make_input(issue={"tags": ["bug"]})]
    expected = np.zeros((3, 3779), np.float32)
    for row, document in zip(expected, documents, strict=True):
        row[list(on(document))] = 1
    np.testing.assert_array_equal(np.stack([encoder.encode(d) for d in documents]), expected)
    np.testing.assert_array_equal(encoder.encode_batch(documents), expected)
    flat, starts = encoder.encode_indices_batch(documents)
    assert starts.tolist() == [0, 24, 24 + 24 + 33 + 5, 24 + 24 + 33 + 5 + 25]
    for i, document in enumerate(documents):
        assert flat[starts[i] : starts[i + 1]].tolist() == sorted(on(document))


def test_batch_of_nothing():
    encoder = PlannerInputEncoder()
    assert encoder.encode_batch([]).shape == (0, 3779)
    flat, starts = encoder.encode_indices_batch([])
    assert (flat.tolist(), starts.tolist()) == ([], [0])


def test_dict_is_checked_before_it_is_encoded(make_input):
    with pytest.raises(DataError, match=r"\$\.issue\.dk_risk"):
        PlannerInputEncoder().encode(make_input(issue={"dk_risk": "severe"}))


def test_text_that_is_no_utf8_is_a_data_error(make_input):
    # json.loads turns "\ud800" into a lone surrogate, which has no UTF-8 bytes to hash
    with pytest.raises(DataError):
        PlannerInputEncoder().encode(make_input(issue={"tags": ["\ud800"]}))


# ---------------------------------------------------------------------------------------------------- any valid input

names = st.one_of(
    st.sampled_from(["serial_handoff", "speculate_vote", "code", "fab-world", "test", "lint:x", "6+", "night"]),
    st.text(max_size=12),
)
maybe_count = st.none() | st.integers(0, 500)


def bins(*values):
    return st.lists(st.sampled_from([*values, "NA", 7]), max_size=7)


runs = st.fixed_dictionaries(
    {
        "run_id": names,
        "started_ms": st.integers(0, 2 * NOW_MS),
        "job_type": names,
        "domain": st.sampled_from(["code", "fab_world", "fab_asset"]),
        "action_executed": st.fixed_dictionaries(
            {},
            optional={
                "swarm_id": st.none() | names,
                "max_candidates": maybe_count,
                "max_minutes": maybe_count,
                "max_iterations": maybe_count,
            },
        ),
        "outcome": st.fixed_dictionaries(
            {
                "status": st.sampled_from(["success", "failed", "timeout"]),
                "fail_codes": st.lists(names, max_size=7),
                "gates": st.lists(st.fixed_dictionaries({"name": names, "passed": st.booleans()}), max_size=6),
            }
        ),
        "runtime": st.fixed_dictionaries({"duration_ms": st.integers(0, 10**8)}),
    },
    optional={"cost_usd_est": st.none() | st.floats(0, 100)},
)
inputs = st.fixed_dictionaries(
    {
        "schema_version": st.just("cyntra.planner_input.v1"),
        "created_at": st.datetimes().map(lambda t: t.isoformat(timespec="seconds") + "Z"),
        "universe_id": names,
        "job_type": names,
        "universe_defaults": st.fixed_dictionaries(
            {}, optional={"swarm_id": st.none() | names, "objective_id": st.none() | names}
        ),
        "issue": st.fixed_dictionaries(
            {
                "issue_id": names,
                "dk_priority": st.sampled_from(["P0", "P1", "P2", "P3"]),
                "dk_risk": st.sampled_from(["low", "medium", "high", "critical"]),
                "dk_size": st.sampled_from(["XS", "S", "M", "L", "XL"]),
                "dk_tool_hint": st.none() | names,
                "dk_attempts": st.integers(0, 50) | st.integers(0, 50).map(str),
                "tags": st.lists(names, max_size=12),
            }
        ),
        "history": st.fixed_dictionaries({"last_n_similar_runs": st.lists(runs, max_size=10)}),
        "action_space": st.fixed_dictionaries(
            {
                "swarm_ids": st.lists(names, max_size=3),
                "max_candidates_bins": bins(1, 2, 3),
                "max_minutes_bins": bins(15, 30, 45, 60, 120),
                "max_iterations_bins": bins(1, 2, 3, 5),
                "validity_rules": st.just([]),
            }
        ),
        "system_state": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "active_workcells_bin": st.none() | names | st.integers(-2, 40),
                "queue_depth_bin": st.none() | names | st.integers(-2, 40),
                "hour_bucket": st.none() | names,
                "budget_remaining_bin": st.none() | names,
                "available_toolchains": st.none() | st.lists(names, max_size=5),
            },
        ),
    }
)
configs = st.builds(
    EncoderConfig,
    history_slots=st.sampled_from([0, 1, 4, 8, 16]),
    tag_buckets=st.sampled_from([1, 64, 1024]),
    fail_code_buckets=st.sampled_from([1, 256]),
)


@given(document=inputs, config=configs)
@settings(max_examples=150, deadline=None)
def test_any_valid_input_gives_ascending_unique_positions(document, config):
    encoder = PlannerInputEncoder(config)
    indices = encoder.encode_indices(document).tolist()
    assert indices == sorted(set(indices))
    assert min(indices) >= 0
    assert max(indices) < config.d_in
    dense = encoder.encode(document)
    assert np.flatnonzero(dense).tolist() == indices
    assert set(np.unique(dense)) <= {np.float32(0), np.float32(1)}
    np.testing.assert_array_equal(encoder.encode_batch([document, document])[1], dense)
