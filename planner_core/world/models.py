"""The outcome model of a world's configuration."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from planner_core.errors import ConfigError
from planner_core.world.config import (
    Expands,
    Formless,
    GivesUp,
    OutcomeParameters,
    PerToken,
    SameFate,
    Tries,
    WorldConfig,
)
from planner_core.world.formless import FormlessModel
from planner_core.world.outcomes import OutcomeModel
from planner_core.world.tries import TriesModel
from planner_core.world.variants import ExpandsModel, GivesUpModel, PerTokenModel, SameFateModel

_TABULATED: dict[type[OutcomeParameters], type[TriesModel]] = {
    Tries: TriesModel,
    GivesUp: GivesUpModel,
    SameFate: SameFateModel,
    PerToken: PerTokenModel,
    Expands: ExpandsModel,
}


def outcome_model(config: WorldConfig, seed: np.random.SeedSequence) -> OutcomeModel:
    """What actions lead to in a world. ``seed`` draws what is random about it: the trees of ``formless``, nothing else.

    Tables are made once a process for the same numbers, in a second or a few. Raises :class:`ConfigError` for an
    outcome that no model is written for.
    """
    outcome, noise = config.outcome, config.difficulty.noise_sd
    if isinstance(outcome, Formless):
        return FormlessModel(outcome, noise, np.random.Generator(np.random.PCG64(seed)))
    if type(outcome) not in _TABULATED:
        raise ConfigError(f"no outcome model is written for {type(outcome).__name__}")
    return _tabulated(type(outcome), msgspec.json.encode(outcome), noise)


@lru_cache(maxsize=8)
def _tabulated(kind: type[Tries], parameters: bytes, noise_sd: float) -> TriesModel:
    return _TABULATED[kind](msgspec.json.decode(parameters, type=kind), noise_sd)
