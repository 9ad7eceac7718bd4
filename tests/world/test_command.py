"""``planner data synth``: which world, and how much of it was explored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from planner_core.cli.app import app
from planner_core.errors import ConfigError


def synth(out: Path, *options: str) -> object:
    return CliRunner().invoke(app, ["data", "synth", "--out", str(out), "--examples", "40", *options])


def test_world_and_exploration(tmp_path: Path) -> None:
    done = synth(tmp_path / "w", "--world", "gives-up", "--exploration", "0", "--json")
    assert done.exit_code == 0
    meta = json.loads((tmp_path / "w" / "meta.json").read_bytes())
    assert meta["world"] == json.loads(done.stdout)["world"]
    assert (meta["world"]["name"], meta["world"]["exploration"]) == ("gives-up", 0.0)
    assert meta["world"]["outcome"]["give_up_share"] == 0.6
    for line in (tmp_path / "w" / "dataset.jsonl").read_bytes().splitlines():
        assert json.loads(line)["executed"]["propensity"] == 1.0


def test_defaults(tmp_path: Path) -> None:
    assert synth(tmp_path / "w").exit_code == 0
    meta = json.loads((tmp_path / "w" / "meta.json").read_bytes())
    assert (meta["world"]["name"], meta["world"]["exploration"]) == ("default", 0.2)


@pytest.mark.parametrize(("options", "code"), [(("--exploration", "1.5"), 2), (("--world", "flat"), 1)])
def test_refusals_leave_nothing(tmp_path: Path, options: tuple[str, str], code: int) -> None:
    refused = synth(tmp_path / "w", *options)
    assert refused.exit_code == code
    assert code == 2 or isinstance(refused.exception, ConfigError)  # the command's main prints it
    assert not list(tmp_path.iterdir())
