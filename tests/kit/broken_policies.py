"""One broken policy for each check of the kit that holds for all: the honest one with a single mistake people make.

``ALSO`` names the checks that the same mistake cannot help failing.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import replace

import heavy_plugin
import msgspec
import numpy as np
from honest_policy import HeadTable, Table, TableConfig, spec_of

from planner_core import DataError, FitReport, PolicySpec

BROKEN: dict[str, PolicySpec] = {}
ALSO: dict[str, set[str]] = {}


def breaks(check, *, also=(), config=TableConfig):
    """Register a policy class as the one that ``check`` is there for."""

    def register(policy):
        BROKEN[check] = spec_of(policy, config=config)
        ALSO[check] = set(also)
        return policy

    return register


# -- what is registered


def class_made_anew():
    """The class is defined inside the function, so that no two policies are of the same one."""

    class Local(Table):
        pass

    return Local


BROKEN["protocol"] = spec_of(Table, load=class_made_anew)
BROKEN["import-light"] = heavy_plugin.SPEC


class Shadowing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    strength: float = 4.0
    label_smoothing: float = 0.0
    history_slots: int = 8  # the encoder's


class Lenient(msgspec.Struct, frozen=True):
    strength: float = 4.0
    label_smoothing: float = 0.0


class Doubling(msgspec.Struct, forbid_unknown_fields=True):
    strength: float = 2.0
    label_smoothing: float = 0.0

    def __post_init__(self):
        self.strength *= 2.0


BROKEN["config-defaults"] = spec_of(Table, config=Shadowing)
BROKEN["config-unknown-keys"] = spec_of(Table, config=Lenient)
BROKEN["config-round-trip"] = spec_of(Table, config=Doubling)


# -- fit


@breaks("fit")
class TellsNobody(Table):
    def fit(self, session):
        return super().fit(replace(session, on_epoch=lambda report: None))


@breaks("examples-unchanged")
class SpoilsLabels(Table):
    def fit(self, session):
        report = super().fit(session)
        session.train.action[:] = 0
        return report


@breaks("determinism")
class UnseededNoise(Table):
    def as_scores(self, frequencies):
        scores = super().as_scores(frequencies)
        return {n: (v + np.random.normal(0, 1e-3, v.shape)).astype(np.float32) for n, v in scores.items()}


@breaks("instances-independent")
class SharedState(Table):
    shift = 0.0

    def fit(self, session):
        type(self).shift = float(session.train.action.sum() % 97)  # a constant: it moves logits and no decision
        return super().fit(session)

    def predict(self, batch):
        return {name: values + np.float32(self.shift) for name, values in super().predict(batch).items()}


@breaks("finite-loss")
class SmoothsOverForbidden(Table):
    def reported_loss(self, examples):
        mask = self.context.action_space.joint_masks[examples.job_type]
        logits = np.where(mask, self.tables["joint"][self.cells(examples.batch())], -np.inf)
        log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        share = self.config.label_smoothing
        plain = -log[np.arange(len(examples)), examples.action].mean()
        return float(plain if not share else (1 - share) * plain - share * log.mean())


@breaks("small-splits")
class NeedsValidation(Table):
    def fit(self, session):
        session.valid.action[0]
        return super().fit(session)


@breaks("less-known")
class NeedsAllOutcomes(Table):
    def fit(self, session):
        session.train.outcomes.passed[0]
        return super().fit(session)


@breaks("learns")
class LooksAtNothing(Table):
    def count(self, examples):
        everything = np.bincount(examples.action, minlength=len(self.context.action_space.actions)) + 1e-3
        return np.tile(everything, (len(self.tables["joint"]), 1))


# -- predict


@breaks("scores")
class DoublePrecision(Table):
    def predict(self, batch):
        return {name: values.astype(np.float64) for name, values in super().predict(batch).items()}


@breaks("input-unchanged")
class Truncates(Table):
    def predict(self, batch):
        scores = super().predict(batch)
        np.minimum(batch.features.indices, 1000, out=batch.features.indices)
        return scores


@breaks("repeatable")
class HandsOutItsMemory(Table):
    def fit(self, session):
        self.memory = {}
        return super().fit(session)

    def load(self, directory):
        self.memory = {}
        super().load(directory)

    def predict(self, batch):
        key = (batch.features.indices.tobytes(), batch.features.starts.tobytes(), batch.job_type.tobytes())
        memory = self.__dict__.setdefault("memory", {})
        if key not in memory:
            memory[key] = super().predict(batch)
        return memory[key]


@breaks("rows-independent")
class LooksAtTheBatch(Table):
    def predict(self, batch):
        return {name: values + np.float32(1e-3 * len(batch)) for name, values in super().predict(batch).items()}


@breaks("other-encoder")
class KnowsTheWidth(Table):
    def predict(self, batch):
        assert not batch.features.dense()[:, 3778].all() or len(batch)
        return super().predict(batch)


# -- actions


@breaks("valid-actions", also=("restricted-requests", "graph-parity"))  # they decide for other job types too
class Overflows(HeadTable):
    """Finite logits whose sum is not, for a job type that no example has."""

    def as_scores(self, frequencies):
        scores = super().as_scores(frequencies)
        for table in scores.values():
            table.reshape(4, -1, table.shape[1])[3] = 2e38
        return scores


@breaks("restricted-requests")
class ExpectsSpeculation(Table):
    def predict(self, batch):
        for x in batch.inputs or ():
            x.action_space.swarm_ids.index("speculate_vote")
        return super().predict(batch)


# -- files


@breaks("save-load")
class SavesHalf(Table):
    def save(self, directory):
        for name, table in self.tables.items():
            np.save(directory / f"{name}.npy", table.astype(np.float16))

    def load(self, directory):
        super().load(directory)
        self.tables = {name: table.astype(np.float32) for name, table in self.tables.items()}


@breaks("no-pickle")
class Pickles(Table):
    def save(self, directory):
        (directory / "tables.bin").write_bytes(pickle.dumps(self.tables))

    def load(self, directory):
        path = directory / "tables.bin"
        try:
            self.tables = pickle.loads(path.read_bytes())
        except (OSError, pickle.UnpicklingError, EOFError, ValueError) as problem:
            raise DataError(str(path), expected=f"tables ({problem})") from None


@breaks("load-damaged")
class TakesWhatIsThere(Table):
    def load(self, directory):
        for name in self.tables:
            if (directory / f"{name}.npy").exists():
                self.tables[name] = np.load(directory / f"{name}.npy")


# -- the graph


@breaks("graph-export")
class LeavesADangler(Table):
    def nodes(self):
        nodes = super().nodes()
        nodes[-1].input[0] = "no_such_table"
        return nodes


@breaks("graph-self-contained")
class Foreign(Table):
    def model(self, nodes, opset=18):
        return super().model(nodes, opset=16)


@breaks("graph-interface")
class NamesItLogits(Table):
    def nodes(self):
        nodes = super().nodes()
        nodes[-1].output[0] = "logits"
        return nodes

    def outputs(self):
        return {"logits": len(self.context.action_space.actions)}


@breaks("graph-dynamic-batch")
class ExportedWithOneRow(Table):
    def nodes(self):
        from onnx import helper

        *nodes, last = super().nodes()
        last.output[0] = "rows"
        return [*nodes, last, helper.make_node("Reshape", ["rows", "shape"], ["joint"])]

    def constants(self):
        return {**super().constants(), "shape": np.array([1, -1], np.int64)}

    def outputs(self):
        return {"joint": None}


@breaks("graph-parity")
class RoundsInTheGraph(Table):
    def constants(self):
        constants = super().constants()
        constants["table_joint"] = constants["table_joint"] * np.float32(1.001)
        return constants


@breaks("graph-argmax", also=("graph-parity",))  # other actions mean other values
class SwapsColumns(Table):
    def constants(self):
        constants = super().constants()
        constants["table_joint"] = constants["table_joint"][:, ::-1]
        return constants


@breaks("graph-repeatable")
class DatesItsGraph(Table):
    def model(self, nodes, opset=18):
        model = super().model(nodes, opset)
        model.doc_string = f"exported at {time.time_ns()}"
        return model


@breaks("latency")
class Ponders(Table):
    """Squares a large matrix that depends on the input, and adds nothing of it."""

    def nodes(self):
        from onnx import helper

        *nodes, last = super().nodes()
        last.output[0] = "plain"
        return [
            *nodes,
            last,
            helper.make_node("ReduceMax", ["input"], ["most"], keepdims=0),
            helper.make_node("Expand", ["most", "wide"], ["matrix"]),
            helper.make_node("MatMul", ["matrix", "matrix"], ["square"]),
            helper.make_node("ReduceMin", ["square"], ["least"], keepdims=0),
            helper.make_node("Mul", ["least", "nothing"], ["zero"]),
            helper.make_node("Add", ["plain", "zero"], ["joint"]),
        ]

    def constants(self):
        wide, nothing = np.array([1200, 1200], np.int64), np.array(0.0, np.float32)
        return {**super().constants(), "wide": wide, "nothing": nothing}


# -- worse than one mistake; each fails many checks


class CannotFit(Table):
    def fit(self, session):
        raise RuntimeError("no luck\ntoday")


class Exits(Table):
    def predict(self, batch):
        raise SystemExit(3)


class ReportsNothing(Table):
    def fit(self, session) -> FitReport:
        super().fit(session)
        return None
