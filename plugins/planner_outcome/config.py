"""Configuration of the ``outcome`` policy."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from planner_core import IntegerRange, OneOf, SearchSpace

Positive = Annotated[int, Meta(ge=1)]


class OutcomeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long the parts are fitted, and what is fitted.

    ``rounds`` times ``steps`` of L-BFGS, the priors' widths set anew in between. ``frailty`` fixes the spread of a
    run's luck on the logit (None: learnt from the runs). ``residuals``: correct each action's mean by evidence.
    ``tune``: go on to expected utility where the outcomes of several actions of a row are known. ``threads`` is
    torch's.
    """

    rounds: Positive = 4
    steps: Positive = 50
    frailty: Annotated[float, Meta(gt=0.0, le=10.0)] | None = None
    residuals: bool = True
    tune: bool = True
    threads: Positive = 1


SEARCH_SPACE: SearchSpace = {
    "rounds": IntegerRange(1, 8),
    "steps": IntegerRange(20, 200, log=True),
    "frailty": OneOf((None, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)),
    "residuals": OneOf((True, False)),
    "tune": OneOf((True, False)),
}
"""What a study may try: how long the likelihood is climbed, and the parts that are matters of belief."""
