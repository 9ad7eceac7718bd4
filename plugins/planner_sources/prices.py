"""What tokens cost: a price file of the user's. There are no built-in prices, which would go stale without a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from planner_core import DataError, LogReading, read_file

OPTION = {
    "prices": "a JSON file {MODEL: {input, output, cache_read, cache_write, cache_write_1h}} in USD a million tokens;"
    " * in MODEL stands for any characters, the first that fits counts. Without it sessions have no cost."
}
NO_PRICES = "no price file, so sessions have tokens and no cost (--set prices=FILE)"
Price = Annotated[float, Meta(ge=0.0)]
MILLION = 1_000_000


class ModelPrice(Struct, forbid_unknown_fields=True):
    """Closed. USD a million tokens; what is left out is not known, unless no such token was used."""

    input: Price
    output: Price
    cache_read: Price | None = None
    cache_write: Price | None = None
    cache_write_1h: Price | None = None


@dataclass
class Usage:
    """Tokens of one model: those read from the cache and written to it are not among ``input``."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0

    def add(self, other: Usage) -> None:
        """Count another one's tokens too."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def tokens_in(self) -> int:
        """All that was sent."""
        return self.input + self.cache_read + self.cache_write + self.cache_write_1h


class Prices:
    """The prices of a file; without one nothing has a price."""

    def __init__(self, models: Mapping[str, ModelPrice]) -> None:
        self._models = dict(models)

    @classmethod
    def of(cls, reading: LogReading) -> Prices:
        """Those of ``--set prices=FILE``. :class:`DataError` for a file that is none, or prices nothing."""
        name = reading.options.get("prices")
        if name is None:
            return cls({})
        models = read_file(Path(name), dict[str, ModelPrice])
        if not models:
            raise DataError(name, found="no model", expected="prices of at least one model")
        return cls(models)

    def cost(self, used: Mapping[str, Usage], reading: LogReading) -> float | None:
        """USD of a session's tokens by model; None, and told, where the price of some of them is not known."""
        if not self._models:
            reading.account.note(NO_PRICES)
            return None
        total = 0.0
        for model, usage in used.items():
            price = self._price(model)
            if price is None:
                reading.account.guess(f"the price of {model} is not in the price file: no cost")
                return None
            for name, tokens in vars(usage).items():
                rate = getattr(price, name)
                if tokens and rate is None:
                    reading.account.guess(f"the price file has no {name} of {model}: no cost")
                    return None
                total += tokens * (rate or 0.0) / MILLION
        return round(total, 6)

    def _price(self, model: str) -> ModelPrice | None:
        if model in self._models:
            return self._models[model]
        return next((price for pattern, price in self._models.items() if fnmatchcase(model, pattern)), None)
