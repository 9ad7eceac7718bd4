"""Splits and hash of a dataset directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from planner_core.data.writer import SPLITS, assign_splits, dataset_hash
from planner_core.errors import DataError


@pytest.mark.parametrize(("n", "counts"), [(1, "100"), (2, "101"), (5, "401"), (6, "411"), (10, "811"), (25, "20/2/3")])
def test_splits_of_small_datasets(n: int, counts: str) -> None:
    splits = assign_splits(list(range(n, 0, -1)), [f"r{i}" for i in range(n)])
    wanted = [int(c) for c in (counts.split("/") if "/" in counts else counts)]
    assert [splits.count(split) for split in SPLITS] == wanted
    assert splits == sorted(splits, key=SPLITS.index, reverse=True)


def test_splits_break_ties_by_run_id() -> None:
    assert assign_splits([7, 7], ["b", "a"]) == ["test", "train"]


def test_hash_covers_lines_names_and_arrays(tmp_path: Path) -> None:
    (tmp_path / "dataset.jsonl").write_bytes(b"{}\n")
    plain = dataset_hash(tmp_path)
    arrays = {name: np.zeros((1, 150), np.float32) for name in ("passed", "minutes", "cost_usd")}
    np.savez(tmp_path / "outcomes.npz", **arrays)
    zeros = dataset_hash(tmp_path)
    np.savez_compressed(tmp_path / "outcomes.npz", **{**arrays, "more": np.ones(3)})
    assert dataset_hash(tmp_path) == zeros != plain
    arrays["minutes"][0, 3] = 1
    np.savez(tmp_path / "outcomes.npz", **arrays)
    assert dataset_hash(tmp_path) != zeros


def test_hash_of_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.jsonl: expected a readable file"):
        dataset_hash(tmp_path)
    (tmp_path / "dataset.jsonl").write_bytes(b"{}\n")
    (tmp_path / "outcomes.npz").write_bytes(b"PK not a zip")
    with pytest.raises(DataError, match=r"outcomes\.npz: .*npz file with the arrays passed, minutes, cost_usd"):
        dataset_hash(tmp_path)
