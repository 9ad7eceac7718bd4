"""Disk full, permission denied and kill -9 at every step: a reader sees the old, the new or nothing, and a retry works.

Beside each place stands a file of the user's, which must not change, and in the end nothing but the two may be there.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil

import numpy as np
import pytest
import torch
from faults import DONE, FAULTS, walk

from planner_core.data.dataset import load_dataset
from planner_core.errors import PlannerError
from planner_core.files import write_bytes
from planner_core.harness.predict import write_actions
from planner_core.harness.run_dir import config_document, write_json
from planner_core.harness.run_files import seal, verify
from planner_core.harness.train import train
from planner_core.harness.work_dir import work_directory
from planner_core.rules import default_action
from planner_core.runtime.bundle import MANIFEST, read_bundle
from planner_core.settings import make_settings
from planner_core.torch import checkpoint
from planner_core.world.generate import synthesize
from planner_export.bundle import export_bundle, write_bundle


@pytest.fixture
def places(tmp_path):
    """``places(fill)``: a maker of fresh directories, each with a file of the user's and what ``fill`` puts there."""
    numbers = itertools.count()

    def maker(fill=lambda place: None):
        def make():
            place = tmp_path / str(next(numbers))
            place.mkdir()
            (place / "mine.txt").write_text("work")
            fill(place)
            return place

        return make

    return maker


def only(place, code, *names):
    """The user's file is whole; after a run that was not killed nothing else is there but ``names``."""
    assert (place / "mine.txt").read_text() == "work"
    if code == DONE:
        assert sorted(os.listdir(place)) == sorted(["mine.txt", *names])


@pytest.fixture(params=[pytest.param(11, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)])
def every(request):
    """One step in eleven in the fast suite, each in the slow one."""
    return request.param


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Syncing is a step that may fail; what it does shows only when the power goes."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def contents(tmp_path_factory, registry):
    """Two bundles' files, the old one's and the new one's, by the version in their metadata."""
    place = tmp_path_factory.mktemp("bundle") / "b"
    export_bundle("heuristic", registry, place)
    files = {p.name: p.read_bytes() for p in place.iterdir() if p.name != MANIFEST}
    metadata = json.loads(files["metadata.json"])
    return [{**files, "metadata.json": json.dumps({**metadata, "version": v}).encode()} for v in ("old", "new")]


def report(name, tries):
    print(f"{name}: " + ", ".join(f"{count} x {kind}" for kind, count in tries.items()))


@pytest.mark.parametrize("swap", ["exchange", "two renames"])
@pytest.mark.parametrize("earlier", [True, False])
def test_bundle(every, places, contents, earlier, swap, monkeypatch):
    if swap == "two renames":
        monkeypatch.setattr("planner_core.system.replacing._renameat2", lambda: None)
    old, new = contents

    def check(place, code):
        only(place, code, "b")
        # A process that ends between two renames leaves nothing at the path; the next export puts the old one back.
        if code == DONE or (earlier and swap == "exchange") or (place / "b").exists():
            version = read_bundle(place / "b").metadata["version"]
            assert version == "new" if code == DONE else version in ("old", "new")

    make = places((lambda place: write_bundle(place / "b", old)) if earlier else lambda place: None)
    tries = walk(make, lambda place: write_bundle(place / "b", new), check, every)
    report(f"bundle, {swap}, {'over an old one' if earlier else 'new'}", tries)
    assert set(tries) == set(FAULTS) and min(tries.values()) > 30 // every


def test_world(every, places):
    def operation(place):
        try:
            synthesize(place / "w", examples=12, seed=1, baseline=baseline)
        except PlannerError as problem:  # a world is not made twice; what an earlier try left beside it is cleaned
            if "already exists" not in str(problem):
                raise

    def check(place, code):
        only(place, code, "w")
        if code == DONE or (place / "w").exists():
            assert len(load_dataset(place / "w", cache=False).everything) == 12

    baseline = default_action
    operation(places()())  # what is computed once a process is inherited by the children
    report("synth", walk(places(), operation, check, every))


@pytest.mark.parametrize("damaged", [False, True])
def test_cache(every, places, tmp_path_factory, damaged):
    source = tmp_path_factory.mktemp("source") / "w"
    synthesize(source, examples=12, seed=1, baseline=default_action)
    whole = load_dataset(source, cache=False).everything.features.dense()
    if damaged:
        load_dataset(source)
        (cache,) = (source / ".encoded").iterdir()
        (cache / "indices.npy").write_bytes(b"damaged")

    def check(place, code):
        only(place, code, "w")
        (place / "w" / "mine.txt").read_text()
        assert np.array_equal(load_dataset(place / "w", cache=False).everything.features.dense(), whole)
        if code == DONE:
            assert sorted(os.listdir(place / "w")) == [
                ".encoded",
                "dataset.jsonl",
                "meta.json",
                "mine.txt",
                "outcomes.npz",
            ]

    def fill(place):
        shutil.copytree(source, place / "w")
        (place / "w" / "mine.txt").write_text("work")

    tries = walk(places(fill), lambda place: load_dataset(place / "w"), check, 1 if every == 1 else 5 * every)
    report(f"cache, {'over a damaged one' if damaged else 'new'}", tries)


def test_file(every, places):
    def check(place, code):
        only(place, code, "a.jsonl")
        content = (place / "a.jsonl").read_text()
        assert content == "new" if code == DONE else content in ("old", "new")

    fill = places(lambda place: (place / "a.jsonl").write_text("old"))
    report("a file", walk(fill, lambda place: write_bytes(place / "a.jsonl", b"new"), check, every))


def test_actions(every, places):
    actions = [{"n": i} for i in range(2000)]

    def check(place, code):
        only(place, code, "a.jsonl")
        if code == DONE or (place / "a.jsonl").exists():
            assert [json.loads(line) for line in (place / "a.jsonl").read_text().splitlines()] == actions

    report("predict --out", walk(places(), lambda place: write_actions(actions, place / "a.jsonl"), check, every))


def module(value):
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(value)
    return layer, torch.optim.AdamW(layer.parameters())


def test_checkpoint(every, places):
    """With one earlier epoch at least that one is found, whatever happens."""

    def save(place, epoch):
        checkpoint.save(place, checkpoint.LoopState(epoch=epoch), *module(float(epoch)))

    def check(place, code):
        layer, optimiser = module(0.0)
        state = checkpoint.restore(place, layer, optimiser)
        assert state.epoch == 3 if code == DONE else state.epoch in (2, 3)
        assert float(layer.weight[0, 0].detach()) == state.epoch
        only(place, code, checkpoint.FILE, checkpoint.EARLIER)

    def fill(place):
        save(place, 1)
        save(place, 2)

    report("checkpoint", walk(places(fill), lambda place: save(place, 3), check, every))


def test_end_of_a_training(every, places, registry):
    """From a finished fit to the run directory: sealed, synced, renamed, its checkpoint removed."""
    settings = make_settings("mlp", registry.spec("mlp").config_type, {})
    document, source = config_document("mlp", 0, settings), {"directory": "w", "hash": "0" * 64}

    def operation(place):
        if (place / "r" / "results.json").exists():
            return
        with work_directory(place / "r", document, source, resume=True) as work:
            write_bytes(work.path / "checkpoint.pt", b"an epoch")
            write_bytes(work.path / "best_model.pt", b"weights")
            write_json(work.path, "results.json", {"value": 1})
            seal(work.path)
            work.publish()

    def check(place, code):
        assert (place / "mine.txt").read_text() == "work"
        if code == DONE or (place / "r").exists():
            verify(place / "r")
            assert json.loads((place / "r" / "results.json").read_text()) == {"value": 1}
        if code == DONE:
            assert not (place / "r.partial").exists()

    report("end of a training", walk(places(), operation, check, every))


@pytest.mark.slow
def test_whole_export(places, registry, bundles):
    """The command's own function, from the policy to the bundle."""
    old = {p.name: p.read_bytes() for p in bundles["mlp"].iterdir() if p.name != MANIFEST}

    def check(place, code):
        only(place, code, "b")
        policy = read_bundle(place / "b").metadata["policy"]
        assert policy == "heuristic" if code == DONE else policy in ("mlp", "heuristic")

    make = places(lambda place: write_bundle(place / "b", old))
    report("export", walk(make, lambda place: export_bundle("heuristic", registry, place / "b"), check))


@pytest.mark.slow
def test_whole_training(places, registry, dataset):
    values = {"d_hidden": 8, "epochs": 2, "lr": 0.01}
    settings = make_settings("mlp", registry.spec("mlp").config_type, values)
    weights = []

    def operation(place):
        train("mlp", dataset, place / "r", settings, registry, seed=1, resume=True)

    def check(place, code):
        assert (place / "mine.txt").read_text() == "work"
        if code == DONE or (place / "r" / "results.json").exists():
            verify(place / "r")
            weights.append(torch.load(place / "r" / "best_model.pt", weights_only=True))
            assert all(torch.equal(weights[0][name], value) for name, value in weights[-1].items())

    report("training", walk(places(), operation, check))
