"""The stages of one decision as calls to be timed: from the JSON of one input to its action, and around that.

What a decision is made of (:data:`STAGES`) is asked of the planner itself, so the parts are those that
:meth:`planner_core.Planner.decide` goes through.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import cast

import msgspec

from planner_bench.timing import WARM_UP, Call
from planner_core import (
    BUNDLE_UNUSABLE,
    INFERENCE_FAILED,
    BasePolicy,
    Batch,
    BenchSetup,
    BenchStage,
    Planner,
    PlannerError,
    PlannerInput,
    Refusal,
    Request,
    collect,
    describe,
    read_request,
    sample_inputs,
)
from planner_core.runtime.bundle import Bundle
from planner_core.runtime.session import INDICES, Feed, OnnxPredictor, padded_indices

DECODE, ENCODE, SESSION, DECISION = "decode and validate", "encode", "session", "decision"
JSON = "JSON to action"
STAGES = (DECODE, ENCODE, SESSION, DECISION, JSON)
BARE_DENSE, BARE_INDICES = "bare session, dense", "bare session, indices"
TORCH, PYTHON = "torch module", "python policy"
NEW_RUNS = "JSON to action, new runs"


N_INPUTS = 256
HISTORY_RUNS = 8


@dataclass(frozen=True)
class Inputs:
    """The same inputs as JSON and as validated requests."""

    raw: list[bytes]
    requests: list[Request]

    @property
    def structs(self) -> list[PlannerInput]:
        """The validated inputs."""
        return [request.x for request in self.requests]


def make_inputs(seed: int, history_runs: int = HISTORY_RUNS, n: int = N_INPUTS) -> Inputs:
    """``n`` inputs with ``history_runs`` similar runs each."""
    raw = [msgspec.json.encode(x) for x in sample_inputs(n, seed, history_runs=history_runs)]
    return Inputs(raw, [read_request(document) for document in raw])


@dataclass(frozen=True)
class MeasuredBundle:
    """What is measured: a verified bundle, a planner that serves it, and the policy in Python where there is one."""

    path: Path
    bundle: Bundle
    planner: Planner
    policy: BasePolicy | None = None

    @property
    def predictor(self) -> OnnxPredictor:
        """The sessions of the bundle."""
        return cast(OnnxPredictor, self.planner.predictor)

    @property
    def bare(self) -> str:
        """The bare session of the graph that serves a single decision."""
        return BARE_DENSE if self.bundle.index_model is None else BARE_INDICES


def open_subject(path: Path, policy: BasePolicy | None = None, *, threads: int = 1) -> MeasuredBundle:
    """Read a bundle to be measured. Raises :class:`BundleError`: a fallback would pass for a very fast policy."""
    from planner_core.runtime.bundle import read_bundle

    return MeasuredBundle(path, read_bundle(path), Planner.load(path, strict=True, threads=threads), policy)


def check_decisions(subject: MeasuredBundle, inputs: Inputs) -> dict[str, int]:
    """How many of the inputs the rules decide, by reason. Raises :class:`PlannerError` where the session fails."""
    reasons: dict[str, int] = {}
    for document in inputs.raw:
        reason = subject.planner.decide(document)["reason"]
        if reason is None:
            continue
        name = reason.split(":")[0]
        if name in (INFERENCE_FAILED, BUNDLE_UNUSABLE):
            raise PlannerError(f"{subject.path}: it does not decide ({reason}), so there is nothing to measure")
        reasons[name] = reasons.get(name, 0) + 1
    return reasons


def decision_stages(subject: MeasuredBundle, inputs: Inputs) -> dict[str, Call]:
    """:data:`STAGES`, each on what the stage before it makes of the inputs."""
    planner, predictor, n = subject.planner, subject.predictor, len(inputs.raw)
    raw, requests = inputs.raw, inputs.requests
    singles = [[request.x] for request in requests]
    feeds = [predictor.encode(single) for single in singles]
    answers = [predictor.run(feed)[0] for feed in feeds]
    return {
        DECODE: lambda turn: read_request(raw[turn % n]),
        ENCODE: lambda turn: predictor.encode(singles[turn % n]),
        SESSION: lambda turn: predictor.run(feeds[turn % n]),
        DECISION: lambda turn: planner.conclude(requests[turn % n], answers[turn % n]),
        JSON: lambda turn: planner.decide(raw[turn % n]),
    }


def bare_sessions(subject: MeasuredBundle, inputs: Inputs) -> dict[str, Call]:
    """``session.run`` and nothing else, of the dense graph and, where the bundle has one, of the index graph.

    The sessions are the planner's own: a second copy of the weights would push the first out of the caches.
    """
    names, n, predictor = ["action_probs"], len(inputs.requests), subject.predictor
    dense, session = [dense_feed(subject, inputs, [row]) for row in range(n)], predictor.session
    calls: dict[str, Call] = {BARE_DENSE: lambda turn: session.run(names, dense[turn % n])}
    by_indices = predictor.by_indices
    if by_indices is not None:
        width = predictor.encoder.config.d_in
        sparse = [
            {INDICES: padded_indices([predictor.encoder.positions(x)], width), "job_type": feed["job_type"]}
            for x, feed in zip(inputs.structs, dense, strict=True)
        ]
        calls[BARE_INDICES] = lambda turn: by_indices.run(names, sparse[turn % n])
    return calls


def new_runs_stage(subject: MeasuredBundle, inputs: Inputs) -> dict[str, Call]:
    """:data:`JSON` where no run of the history was met before: every call gives them other ids.

    The inputs go round, so elsewhere their runs are known; writing the ids is part of what is timed, some 2 us.
    """
    planner, raw, n, times = subject.planner, inputs.raw, len(inputs.raw), count()

    def call(turn: int) -> object:
        return planner.decide(raw[turn % n].replace(b'"run_id":"', b'"run_id":"%d-' % next(times)))

    return {NEW_RUNS: call}


def dense_feed(subject: MeasuredBundle, inputs: Inputs, rows: list[int]) -> Feed:
    """What the dense graph takes for some of the inputs."""
    batch = batch_of(subject, inputs, rows)
    return {"input": batch.features.dense(), "job_type": batch.job_type}


def batch_of(subject: MeasuredBundle, inputs: Inputs, rows: list[int]) -> Batch:
    """Some of the inputs as a policy sees them, without the inputs themselves: the clock is to meet arrays alone."""
    batch = Batch.from_inputs([inputs.requests[row].x for row in rows], subject.predictor.encoder)
    return Batch(batch.features, batch.job_type)


def python_stage(subject: MeasuredBundle, inputs: Inputs) -> dict[str, Call]:
    """The torch module on dense rows where the policy has one, else the policy itself; nothing without a policy."""
    policy, n = subject.policy, len(inputs.raw)
    if policy is None:
        return {}
    batches = [batch_of(subject, inputs, [row]) for row in range(n)]
    module = getattr(policy, "module", None)
    if module is None:
        return {PYTHON: lambda turn: policy.predict(batches[turn % n])}
    import torch

    torch.set_num_threads(1)
    rows = [torch.from_numpy(batch.features.dense()) for batch in batches]

    def call(turn: int) -> object:
        with torch.inference_mode():
            return module(rows[turn % n])

    return {TORCH: call}


def plugin_stages(subject: MeasuredBundle, inputs: Inputs, taken: Collection[str]) -> tuple[dict[str, Call], list[str]]:
    """The stages that plugins add, and what is to be said of those that were left out.

    A stranger's stage must not take the measurement with it, so one that fails while it is prepared or called for the
    first times is left out.
    """
    feed = dense_feed(subject, inputs, list(range(len(inputs.raw))))
    setup = BenchSetup(subject.planner, subject.path, inputs.raw, feed["input"], feed["job_type"])
    calls: dict[str, Call] = {}
    refusals: list[Refusal] = []
    for stage in collect("planner_bench_stages", BenchStage, taken=taken, refuse=refusals.append):
        try:
            call = stage.record.prepare(setup)
            for turn in range(0 if call is None else WARM_UP):
                cast(Call, call)(turn)
        except Exception as problem:
            refusals.append(stage.refused(describe(problem)))
            continue
        if call is not None:
            calls[stage.name] = call
    return calls, [str(refusal) for refusal in refusals]
