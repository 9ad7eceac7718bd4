"""What ``--map`` and ``--map-value`` say, and the file in which an import keeps what it understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field

from planner_core.errors import ConfigError
from planner_core.jsonio import read_file
from planner_core.plugins.log_sources import LogAccount, LogMapping

MAPPING_SCHEMA = "swarm_planner.import_mapping.v1"
MAPPING = "mapping.json"


class SourceMapping(Struct, forbid_unknown_fields=True):
    """Closed. ``fields`` is ``{field: column}``, ``values`` is ``{column: {value: meaning}}``."""

    fields: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


class MappingFile(Struct, forbid_unknown_fields=True):
    """Closed. What each source read as what, by its name."""

    schema_version: str = MAPPING_SCHEMA
    sources: dict[str, SourceMapping] = field(default_factory=dict)


class GivenMapping:
    """All that the user said, for one source after the other; what is typed counts more than what a file says."""

    def __init__(self, maps: Sequence[str], values: Sequence[str], options: Sequence[str]) -> None:
        files = [text for text in maps if "=" not in text]
        self._files = [_read(Path(text)) for text in files]
        self._fields = dict(_pair(text, "--map", "FIELD=COLUMN") for text in maps if "=" in text)
        self._options = dict(_pair(text, "--set", "NAME=VALUE") for text in options)
        self._values: dict[str, dict[str, str]] = {}
        for text in values:
            left, _, meaning = text.rpartition("=")
            column, colon, value = left.partition(":")
            if not (colon and column and meaning):
                raise ConfigError(f"--map-value {text}: expected COLUMN:VALUE=MEANING")
            self._values.setdefault(column, {})[value] = meaning
        self._typed: list[LogMapping] = []
        self._options_asked: set[str] = set()

    def for_source(self, name: str) -> LogMapping:
        """The mapping of one source."""
        fields, values = dict(self._fields), {column: dict(pairs) for column, pairs in self._values.items()}
        for file in self._files:
            said = file.sources.get(name, SourceMapping())
            fields = {**said.fields, **fields}
            for column, pairs in said.values.items():
                values[column] = {**pairs, **values.get(column, {})}
        mapping = LogMapping(fields, values)
        self._typed.append(mapping)
        return mapping

    def options_for(self, name: str, known: Mapping[str, str]) -> dict[str, str]:
        """The options of one source, of those it knows."""
        self._options_asked.update(known)
        saved: dict[str, str] = {}
        for file in self._files:
            saved |= file.sources.get(name, SourceMapping()).options
        return {option: value for option, value in {**saved, **self._options}.items() if option in known}

    def check_all_used(self) -> None:
        """:class:`ConfigError` for what was typed and no source has asked for."""
        ours = {f"{name}={column}" for name, column in self._fields.items()}
        ours |= {f"{column}:{value}={to}" for column, pairs in self._values.items() for value, to in pairs.items()}
        left = ours.intersection(*(mapping.unused() for mapping in self._typed)) if self._typed else ours
        left |= {f"{name}={value}" for name, value in self._options.items() if name not in self._options_asked}
        if left:
            raise ConfigError(f"no source that was read knows: {', '.join(sorted(left))}")


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"{option} {text}: expected {form}")
    return name, value


def _read(path: Path) -> MappingFile:
    found = read_file(path, MappingFile)
    if found.schema_version != MAPPING_SCHEMA:
        raise ConfigError(f"{path}: is of {found.schema_version!r}; expected {MAPPING_SCHEMA!r}")
    return found


def saved_mapping(accounts: Mapping[str, LogAccount], options: Mapping[str, Mapping[str, str]]) -> MappingFile:
    """What each source told its account, as ``--map FILE`` takes it back."""
    return MappingFile(
        sources={
            name: SourceMapping(
                account.fields,
                {column: {v: meaning for v, (meaning, _) in told.items()} for column, told in account.values.items()},
                dict(options[name]),
            )
            for name, account in accounts.items()
        }
    )
