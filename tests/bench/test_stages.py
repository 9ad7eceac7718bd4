"""The reference, the stages of a decision, and those that plugins add: that they are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from planner_bench import fallbacks, stages
from planner_bench.latency import bench_bundle
from planner_bench.stages import N_INPUTS, STAGES, decision_stages, make_inputs, plugin_stages
from planner_bench.timing import EMPTY_GRAPH, reference_call
from planner_core import BenchStage, PlannerAction, convert
from planner_core.errors import BundleError, PlannerError
from planner_core.plugins.collecting import handed
from planner_core.runtime.decision_log import DecisionLog
from planner_core.runtime.reasons import BUNDLE_UNUSABLE, MODE_LOG

RULES = ("rules after the model", "rules alone")


# -- the reference


def test_the_reference_is_the_graph_it_says():
    """The bytes that are shipped, built anew: one Identity, opset 17."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info(name, kind, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", values[:1], values[1:])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="swarm-planner"
    )
    onnx.checker.check_model(model)
    assert model.SerializeToString(deterministic=True) == EMPTY_GRAPH


def test_the_reference_runs():
    (found,) = reference_call()(0)
    np.testing.assert_array_equal(found, np.zeros(1, np.float32))


# -- the stages


def test_the_stages_lead_from_json_to_the_action(subject, inputs):
    """Each stage, called by itself, gives what the planner makes of the same input in one go."""
    calls = decision_stages(subject, inputs)
    assert tuple(calls) == STAGES
    for turn in (0, 7, N_INPUTS + 3):
        whole = calls["JSON to action"](turn)
        convert(whole, PlannerAction, "decision")
        last = calls["decision"](turn)
        assert {**last, "created_at": 0} == {**whole, "created_at": 0}
        probs = calls["session"](turn)
        np.testing.assert_array_equal(probs, subject.predictor.run(calls["encode"](turn)))
        assert calls["decode and validate"](turn).digest == whole["input_hash"]


def test_bare_sessions_run_the_same_rows(subject, inputs):
    calls = stages.bare_sessions(subject, inputs)
    assert set(calls) == {stages.BARE_DENSE, stages.BARE_INDICES}
    assert subject.bare == stages.BARE_INDICES
    session = decision_stages(subject, inputs)["session"]
    for turn in (0, 11):
        for call in calls.values():
            np.testing.assert_allclose(call(turn)[0], session(turn), atol=1e-6)


def test_the_inputs_have_the_history_they_say():
    for runs in (0, 1, 8):
        made = make_inputs(3, runs, 5)
        assert [len(x.history.last_n_similar_runs) for x in made.structs] == [runs] * 5
    assert make_inputs(3, 8, 5).raw == make_inputs(3, 8, 5).raw != make_inputs(4, 8, 5).raw


def test_a_bundle_that_does_not_decide_is_not_measured(subject, inputs, monkeypatch):
    """A fallback would be measured as a very fast policy."""
    monkeypatch.setattr(type(subject.predictor), "action_probs", lambda self, inputs: np.full((len(inputs), 3), 0.5))
    with pytest.raises(PlannerError, match="it does not decide"):
        stages.check_decisions(subject, inputs)


def test_inputs_that_fall_back_are_counted(subject, inputs):
    from planner_core import Planner

    shy = Planner.load(subject.path, threshold=1.0, strict=True)
    counted = stages.check_decisions(stages.MeasuredBundle(subject.path, subject.bundle, shy), inputs)
    assert counted == {"low_confidence": N_INPUTS}
    assert stages.check_decisions(subject, inputs) == {}


def test_a_broken_bundle_is_no_benchmark(tmp_path):
    with pytest.raises(BundleError):
        bench_bundle(tmp_path / "nowhere", repeats=20)


# -- the stages of plugins


def test_ours_come_through_the_hook():
    found = [stage for _, stage in handed("planner_bench_stages") if stage.name in (*RULES, "logged")]
    assert found == list(fallbacks.STAGES)


def test_decisions_are_logged_where_that_is_measured(subject, inputs, monkeypatch):
    written = []
    monkeypatch.setattr(DecisionLog, "_append", lambda log, line: written.append(line))
    calls, _ = plugin_stages(subject, inputs, ())
    before = len(written)
    assert not calls["logged"](3)["abstain_to_default"] and len(written) == before + 1


def test_the_rules_decide_where_they_are_measured(subject, inputs):
    calls, notes = plugin_stages(subject, inputs, ())
    assert set(RULES) <= set(calls) and notes == []
    for name, reason in zip(RULES, (MODE_LOG, BUNDLE_UNUSABLE), strict=True):
        action = calls[name](5)
        assert action["abstain_to_default"] and action["reason"].startswith(reason)


def test_a_stage_of_a_plugin_gets_the_inputs_in_every_form(plugged, subject, inputs):
    got = []
    plugged("planner_bench_stages", BenchStage("mine", "", lambda setup: got.append(setup) or (lambda turn: None)))
    calls, _ = plugin_stages(subject, inputs, ())
    assert list(calls) == ["mine"]
    (setup,) = got
    assert setup.planner is subject.planner and setup.bundle == subject.path and setup.raw == inputs.raw
    np.testing.assert_array_equal(setup.features, subject.predictor.encoder.encode_batch(inputs.structs))
    assert setup.job_type.shape == (N_INPUTS,)


def test_a_stage_that_fails_is_left_out_and_said(plugged, subject, inputs):
    def fails_later(setup):
        return lambda turn: 1 / (turn - 3)

    def fails_now(setup):
        raise RuntimeError("no accelerator")

    nothing = BenchStage("c", "", lambda setup: None)
    fine, taken = (BenchStage(name, "", lambda setup: lambda turn: turn) for name in ("d", "encode"))
    given = (BenchStage("a", "", fails_later), BenchStage("b", "", fails_now), nothing, fine, taken, "stage")
    plugged("planner_bench_stages", *given)
    calls, notes = plugin_stages(subject, inputs, {"encode"})
    assert list(calls) == ["d"]
    said = "of acme-planner 1.2 is left out:"
    assert notes == [
        f"the stage 'watch' {said} registered a str, not a BenchStage",
        f"the stage 'encode' {said} shadows the built-in 'encode' of swarm-planner; rename it",
        f"the stage 'a' {said} ZeroDivisionError: division by zero",
        f"the stage 'b' {said} RuntimeError: no accelerator",
    ]
    plugged("planner_bench_stages", fine, ("other-planner 0.1", fine))
    calls, notes = plugin_stages(subject, inputs, {"encode"})
    assert calls == {} and len(notes) == 2
    claimed = "claimed by acme-planner 1.2 and other-planner 0.1; uninstall one"
    assert notes[1] == f"the stage 'd' of other-planner 0.1 is left out: {claimed}"
