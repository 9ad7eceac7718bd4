"""Checks of ``predict``: the form of the scores, and that nothing but the row decides them."""

from __future__ import annotations

import numpy as np

from planner_core.decision import PARITY_TOLERANCE as TOLERANCE
from planner_core.decision import Scores
from planner_core.encoder import EncoderConfig
from planner_core.features import Batch, SparseFeatures
from planner_core.plugins.records import CheckSetup, PolicyCheck
from planner_core.policy import PolicyContext, TrainablePolicy
from planner_core.testing.support import (
    check_scores,
    encoded,
    fit,
    largest_difference,
    mixed_batch,
    predict_rows,
    require,
    rows,
    same_bits,
    sample_batch,
)

OTHER_ENCODER = EncoderConfig(history_slots=2, tag_buckets=64, fail_code_buckets=16, log_figures=True)


def scores(setup: CheckSetup) -> None:
    """Names, types, shapes and finiteness of the scores, for batches of 1, 2 and many."""
    policy = setup.trained()
    batches = {f"{count} inputs": sample_batch(count, count) for count in (1, 2, 65)}
    for job_type in ("code", "fab-world", "fab-asset", "research"):
        batches[f"job type {job_type}"] = sample_batch(16, 3, job_type=job_type)
    batches["the world"] = setup.valid.batch()
    for where, batch in batches.items():
        found = policy.predict(batch)
        check_scores(found, policy.score_kind, len(batch), setup, where, np.float32)
        if policy.score_kind == "outcomes":
            check_ranges(found, where)


def check_ranges(found: Scores, where: str) -> None:
    """Raise :class:`CheckFailed` where expected outcomes are no outcomes: probabilities, minutes, US dollars."""
    for name, (low, high) in {"passed": (0.0, 1.0), "minutes": (0.0, np.inf), "cost_usd": (0.0, np.inf)}.items():
        least, most = float(found[name].min(initial=np.inf)), float(found[name].max(initial=-np.inf))
        wanted = f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} or more"
        require(low <= least and most <= high, f"{where}: '{name}' is {least:.3g} to {most:.3g}, expected {wanted}")


def input_unchanged(setup: CheckSetup) -> None:
    """The arrays of the batch are after ``predict`` what they were before."""
    policy, given = setup.trained(), mixed_batch(setup)
    features = given.features
    arrays = {"features.indices": features.indices, "features.starts": features.starts, "job_type": given.job_type}
    before = {name: values.copy() for name, values in arrays.items()}
    policy.predict(given)
    for name, values in arrays.items():
        require(np.array_equal(values, before[name]), f"predict changes {name} of its batch")
    for values in arrays.values():
        values.flags.writeable = False  # memory-mapped examples cannot be written at all
    policy.predict(given)


def repeatable(setup: CheckSetup) -> None:
    """The same batch gives the same bits again, whatever is done with the scores in between."""
    policy, given = setup.trained(), mixed_batch(setup)
    first = policy.predict(given)
    kept = {name: values.copy() for name, values in first.items()}
    require(same_bits(kept, policy.predict(given)), "a second call with the same batch gives other scores")
    writeable = [name for name, values in first.items() if values.flags.writeable]
    for name in writeable:
        first[name][:] = 7.0
    changed = not same_bits(kept, policy.predict(given))
    for name in writeable:
        first[name][:] = kept[name]  # in case they are the policy's own, which the other checks use too
    require(not changed, "writing into the scores it returned changes its later scores")


def rows_independent(setup: CheckSetup) -> None:
    """A row's scores depend neither on its neighbours nor on how the rows are batched."""
    policy, given = setup.trained(), mixed_batch(setup)
    whole = policy.predict(given)
    every = np.arange(len(given))
    splits = {
        "one at a time": [every[i : i + 1] for i in every],
        "in batches of 7": [every[i : i + 7] for i in range(0, len(every), 7)],
        "in reverse": [every[::-1]],
    }
    for how, parts in splits.items():
        found = [predict_rows(policy, given, part) for part in parts]
        order = np.concatenate(parts)
        joined = {name: np.empty_like(values) for name, values in whole.items()}
        for name in joined:
            joined[name][order] = np.concatenate([part[name] for part in found])
        difference, name = largest_difference(whole, joined)
        require(
            difference <= TOLERANCE,
            f"'{name}' differs by {difference:.1e} between all rows at once and {how} (tolerance {TOLERANCE:.0e})",
        )


def other_encoder(setup: CheckSetup) -> None:
    """An encoder of other widths (``--set history_slots=2``) and with the log figures works, in training too."""
    context = PolicyContext(OTHER_ENCODER, seed=setup.seed)
    policy = setup.make(context, epochs=1)
    if isinstance(policy, TrainablePolicy) and setup.spec.trainable:
        train, valid = (encoded(rows(part, 0, 120), OTHER_ENCODER) for part in (setup.train, setup.valid))
        fit(policy, train, valid, setup.directory)
    batch = sample_batch(16, 9, OTHER_ENCODER)
    where = f"an encoder of {OTHER_ENCODER.d_in} features"
    check_scores(policy.predict(batch), policy.score_kind, 16, setup, where)
    # No feature on at all, as for an input whose values are all outside the known sets.
    unknown = np.zeros((2, OTHER_ENCODER.n_figures), np.float32)
    nothing = SparseFeatures(np.empty(0, np.int32), np.zeros(3, np.int64), OTHER_ENCODER.d_in, unknown)
    empty = Batch(nothing, np.zeros(2, np.int64))
    check_scores(policy.predict(empty), policy.score_kind, 2, setup, "rows without features")


CHECKS = (
    PolicyCheck("scores", "Calibration and decision read float32 scores of fixed names, shapes and ranges.", scores),
    PolicyCheck("input-unchanged", "The same batch goes to the heuristic and to other policies.", input_unchanged),
    PolicyCheck("repeatable", "The same issue must get the same plan twice.", repeatable),
    PolicyCheck("rows-independent", "An issue's plan must not depend on what else is decided.", rows_independent),
    PolicyCheck("other-encoder", "Ablations change the encoder's widths.", other_encoder),
)
