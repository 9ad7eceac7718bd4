"""Which source reads which input: the registered sources, and the surest of them for each file or folder."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from planner_core.data.sources.inputs import FileInput, FolderInput
from planner_core.errors import DataError, PlannerError, suggestion
from planner_core.plugins.collecting import Offer, collect
from planner_core.plugins.loading import Plugin, PluginFailed
from planner_core.plugins.log_sources import LogInput, LogSample, LogSource
from planner_core.plugins.registry import NAME

_ENCODINGS = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))


@cache
def log_sources() -> tuple[Offer[LogSource], ...]:
    """Every sound source of the hook ``planner_log_sources``, asked for once; a warning for each other one."""
    return tuple(collect("planner_log_sources", LogSource, _problem))


def _problem(source: LogSource, plugin: Plugin) -> str | None:
    if not NAME.fullmatch(source.name):
        return f"its name is {source.name!r}; expected letters, digits and ._- only"
    if not isinstance(source.summary, str) or not callable(source.sniff) or not callable(source.read):
        return "its summary is no string, or its sniff or read not callable"
    return None


def source_named(name: str) -> Offer[LogSource]:
    """The source that ``--as`` names. Raises :class:`PlannerError` with the nearest name."""
    offers = {offer.name: offer for offer in log_sources()}
    if name not in offers:
        known = ", ".join(sorted(offers))
        raise PlannerError(f"no source of logs is called '{name}'{suggestion(name, offers)}; there are: {known}")
    return offers[name]


@dataclass
class Chosen:
    """Which source reads what, in the order of the inputs; and files of folders that no source knows."""

    inputs: dict[str, list[LogInput]] = field(default_factory=dict)
    offers: dict[str, Offer[LogSource]] = field(default_factory=dict)
    not_understood: list[str] = field(default_factory=list)

    def give(self, offer: Offer[LogSource], taken: LogInput) -> None:
        """An input to its source."""
        self.offers[offer.name] = offer
        self.inputs.setdefault(offer.name, []).append(taken)

    def in_reading_order(self) -> list[tuple[Offer[LogSource], tuple[LogInput, ...]]]:
        """Sources that make links before those that follow them; else in the order of the inputs."""
        pairs = [(self.offers[name], tuple(found)) for name, found in self.inputs.items()]
        return sorted(pairs, key=lambda pair: bool(pair[0].record.follows_links))


def choose(inputs: Sequence[FileInput | FolderInput], named: str | None = None) -> Chosen:
    """Find a source for every input, the one ``named`` for all of them if it is given.

    :class:`DataError` for a file that no source knows, that two know equally well, that is empty or not in UTF-8 by its
    byte order mark, and for a folder in which no source knows anything.
    """
    chosen = Chosen()
    for given in inputs:
        if named is not None:
            chosen.give(source_named(named), given)
        elif isinstance(given, FolderInput):
            before = sum(map(len, chosen.inputs.values()))
            _take_folder(given, chosen)
            if sum(map(len, chosen.inputs.values())) == before:
                raise _unknown(given.name, "a folder with nothing in it that a source knows")
        else:
            sample = given.sample()
            if not sample.head.strip():
                raise DataError(given.name, found="an empty file", expected="logs or issues")
            _require_utf8(sample)
            offer = surest(sample)
            if offer is None:
                raise _unknown(given.name, f"a file that begins with {_start(sample.head)}")
            chosen.give(offer, given)
    return chosen


def _take_folder(folder: FolderInput, chosen: Chosen) -> None:
    offer = surest(folder.sample())
    if offer is not None:
        chosen.give(offer, folder)
        return
    for part in folder.parts():
        if isinstance(part, FolderInput):
            _take_folder(part, chosen)
            continue
        sample = part.sample()
        offer = surest(sample) if sample.head.strip() else None
        if offer is None:
            chosen.not_understood.append(part.name)
        else:
            chosen.give(offer, part)


def surest(sample: LogSample) -> Offer[LogSource] | None:
    """The source that claims a sample most surely; None where none does. A tie is a :class:`PlannerError`."""
    claims = [(_sniffed(offer, sample), offer) for offer in log_sources()]
    best = max((claim for claim, _ in claims), default=0.0)
    if best <= 0.0:
        return None
    first, *others = [offer for claim, offer in claims if claim == best]
    if others:
        names = " and ".join(offer.name for offer in (first, *others))
        raise PlannerError(f"{sample.name}: may be of {names}; choose with --as NAME")
    return first


def _sniffed(offer: Offer[LogSource], sample: LogSample) -> float:
    try:
        return float(offer.plugin.run("sniffing", partial(offer.record.sniff, sample)))
    except PluginFailed as problem:
        raise PlannerError(f"the log source '{offer.name}' of {offer.plugin.origin} failed in sniff: {problem}") from (
            problem
        )


def _require_utf8(sample: LogSample) -> None:
    for mark, encoding in _ENCODINGS:
        if sample.head.startswith(mark):
            found = f"text in {encoding} (byte order mark {mark.hex(' ')})"
            raise DataError(sample.name, found=found, expected=f"UTF-8 (iconv -f {encoding} -t UTF-8 makes it)")


def _unknown(name: str, found: str) -> DataError:
    known = "; ".join(f"{offer.name} ({offer.record.summary})" for offer in log_sources())
    return DataError(name, found=found, expected=f"one of: {known}; or a choice with --as NAME")


def _start(head: bytes) -> str:
    return ascii(head[:40].decode("utf-8", "replace"))
