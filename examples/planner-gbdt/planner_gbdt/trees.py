"""Boosters whose leaves add up to the same bits in every order.

An ONNX runtime adds up leaves in float32, in another order for another batch or number of threads, and over thousands
of trees the sums drift apart. So after training every leaf is rounded to a multiple of one power of two, coarse enough
that no sum of leaves needs more than float32's 24 bits. Such sums are exact: in any order, in either precision, on any
number of threads. What it costs is a leaf value that is off by at most a millionth or so.
"""

from __future__ import annotations

import math
from typing import Any

import lightgbm

FLOAT32_BITS = 24


def with_exact_sums(booster: lightgbm.Booster, rounds: int) -> lightgbm.Booster:
    """A copy of the first ``rounds`` rounds whose leaves are multiples of one power of two (see above)."""
    text = booster.model_to_string(num_iteration=rounds)
    if "\nobjective=" not in text:
        # Trained on a function of ours. The scores are logits all the same, and the converter asks what they are.
        form = f"objective=multiclass num_class:{booster.num_model_per_iteration()}"
        text = text.replace("\nfeature_names=", f"\n{form}\nfeature_names=", 1)
        text = text.replace("\n[objective: custom]\n", "\n[objective: multiclass]\n")
    kept = lightgbm.Booster(model_str=text)
    leaves = [_leaves(tree["tree_structure"]) for tree in kept.dump_model()["tree_info"]]
    unit = unit_for(leaves, kept.num_model_per_iteration())
    for tree, values in enumerate(leaves):
        for leaf, value in values.items():
            kept.set_leaf_output(tree, leaf, round(value / unit) * unit)
    return kept


def unit_for(leaves: list[dict[int, float]], classes: int) -> float:
    """The power of two of which every leaf is to be a multiple; trees take turns among the ``classes``."""
    worst = [max(map(abs, values.values())) for values in leaves]
    bound = max(sum(worst[i::classes]) for i in range(classes))
    # One bit more than the largest sum has, for what rounding up may add to it.
    return math.ldexp(1.0, math.frexp(bound)[1] + 1 - FLOAT32_BITS)


def _leaves(node: dict[str, Any]) -> dict[int, float]:
    """Value of every leaf below ``node`` by its number; a tree that is a single leaf has number 0."""
    if "leaf_value" in node:
        return {node.get("leaf_index", 0): node["leaf_value"]}
    return {**_leaves(node["left_child"]), **_leaves(node["right_child"])}
